"""Entry points of the two Faust roles."""

from functools import partial

from streams.control import Configuration
from streams.judge_stage import JudgeStage
from streams.profile_stage import ProfileStage
from streams.runtime import Role, StreamsConfig, run_worker
from streams.stages import Stage
from streams.topics import EVENTS, JUDGE_CHECKPOINTS, PROFILE_CHECKPOINTS, PROFILES

__all__ = ["StreamsConfig", "run_judge", "run_profile"]


def run_profile(config: StreamsConfig) -> None:
    """Fold events into profiles until SIGTERM or SIGINT. Errors: see `streams.runtime.run_worker`."""
    run_worker(config, profile_role(config))


def run_judge(config: StreamsConfig) -> None:
    """Judge windows of profiles until SIGTERM or SIGINT. Errors: see `streams.runtime.run_worker`."""
    run_worker(config, judge_role(config))


def profile_role(config: StreamsConfig) -> Role:
    """Events in, pane snapshots and accounting out."""
    return Role("profile", EVENTS, PROFILE_CHECKPOINTS, partial(_profile, config.partitions))


def judge_role(config: StreamsConfig) -> Role:
    """Pane snapshots in, metric points and alerts out."""
    return Role("judge", PROFILES, JUDGE_CHECKPOINTS, partial(_judge, config.partitions))


def _profile(partitions: int, partition: int, configuration: Configuration) -> Stage:
    return ProfileStage(partition, partitions, configuration)


def _judge(partitions: int, partition: int, configuration: Configuration) -> Stage:
    return JudgeStage(partition, partitions, configuration)
