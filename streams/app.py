"""Entry points of the two Faust roles."""

from collections.abc import Callable
from functools import partial
from threading import Thread

import structlog

from detectors.structs import lay_out
from streams.broker import memory
from streams.control.configuration import Configuration
from streams.profile.cold_store import segment_stores
from streams.profile.cold_tier import ColdConfig
from streams.profile.stage import ProfileStage
from streams.profile.warm import is_compiled, warm_up
from streams.stages import Stage
from streams.topics import (
    EVENTS,
    JUDGE_CHECKPOINTS,
    JUDGE_PANES,
    PROFILE_CHECKPOINTS,
    PROFILE_IDS,
    PROFILE_PANES,
    PROFILES,
)
from streams.worker.poison import ArrowRows
from streams.worker.role import Role
from streams.worker.runtime import StreamsConfig, run_worker

__all__ = ["StreamsConfig", "prepare", "run_judge", "run_profile"]


def prepare(*, backwards: bool = False) -> None:
    """What a process does once before it serves a stage. backwards: see `streams.profile.warm.warm_up`."""
    if not is_compiled():
        structlog.get_logger().info(
            "This worker compiles its kernels; this happens once and can take minutes."
        )
    with memory.without("pandas", "scipy.linalg"):
        warm_up(backwards=backwards)


def run_profile(config: StreamsConfig) -> None:
    """Fold events into profiles until SIGTERM or SIGINT. Errors: see `streams.worker.runtime.run_worker`."""
    prepare()
    role = profile_role(config)
    lay_out()
    run_worker(config, role)


def run_judge(config: StreamsConfig) -> None:
    """Judge windows of profiles until SIGTERM or SIGINT, and beside it, in a thread, build the references that are to
    be learned. Errors: see `streams.worker.runtime.run_worker`."""
    from streams.control.learning_loop import learn_for_ever

    prepare(backwards=True)
    role = judge_role(config)
    lay_out()
    Thread(target=learn_for_ever, args=(config.broker,), name="homeostat-learner", daemon=True).start()
    run_worker(config, role)


def profile_role(config: StreamsConfig) -> Role:
    """Events in, pane snapshots and accounting out. Raises `StorageInvalid` for segments at a URI that cannot be."""
    return Role(
        "profile",
        EVENTS,
        PROFILE_CHECKPOINTS,
        partial(_profile, config.partitions, _cold(config)),
        (PROFILE_IDS, PROFILE_PANES),
        ArrowRows(),
    )


def judge_role(config: StreamsConfig) -> Role:
    """Pane snapshots in, metric points and alerts out."""
    # What decisions need, SciPy among it, is for the judge's process alone: 25 MB.
    from streams.judge.stage import JudgeStage

    def judge(partition: int, configuration: Configuration) -> Stage:
        return JudgeStage(partition, config.partitions, configuration)

    return Role("judge", PROFILES, JUDGE_CHECKPOINTS, judge, (JUDGE_PANES,))


def _cold(config: StreamsConfig) -> Callable[[int], ColdConfig | None]:
    if config.segments is None:
        return lambda _: None
    stores = segment_stores(config.segments, config.data_dir / "segments")
    return lambda partition: ColdConfig(stores(partition))


def _profile(
    partitions: int,
    cold: Callable[[int], ColdConfig | None],
    partition: int,
    configuration: Configuration,
) -> Stage:
    return ProfileStage(partition, partitions, configuration, cold(partition))
