"""How the agent behaves: patience, evidence, limits. Every number has a default that works."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from remediation.changes import NEAR_S
from remediation.playbooks.values import Autonomy, Playbooks
from remediation.policy import Policy


def default_agent_id() -> str:
    """Host and process: what a lease names."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_set(variable: str) -> bool:
    """Whether the environment names something under `variable`: an address that a playbook calls, say."""
    return bool(os.environ.get(variable))


def always_own(model: str) -> str:
    """The default actuator of every model: our own inference servers."""
    del model
    return "homeostat"


def always_suggest(model: str) -> Autonomy:
    """The default autonomy of every model: ask a person."""
    del model
    return "suggest"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisConfig:
    """When the evidence is enough, and how much of it counts.

    `quiet_s`: the least time between the first alert and a diagnosis (alerts of one window come together).
    `settle_s`: how long to wait for more alerts when those at hand do not tell causes apart, `weak_settle_s`
    when they alone could mean anything. `release_s`: a change within so much time of a release is near it.
    `healthy_windows`: a version with so many windows in order before the change was healthy. `history_s`: how
    far back the points of the versions are read, `release_span_s`: the same for the points of single features
    around a release. `min_drop_z`: standard errors by which a rate must have dropped between two versions.
    `min_rise`: by how much of the rows missing values, or one single value, must have risen to be a break.
    `uncured_hold_s`: how long an illness that people were told about, and that was left uncured, is not told
    again. `near_change_s`: how long before the onset of an illness a change around the model can have begun that has
    to do with it.
    """

    quiet_s: float = 0.1
    settle_s: float = 4.0
    weak_settle_s: float = 30.0
    release_s: float = 600.0
    healthy_windows: int = 2
    history_s: float = 86_400.0
    release_span_s: float = 7_200.0
    min_drop_z: float = 4.0
    min_rise: float = 0.02
    uncured_hold_s: float = 86_400.0
    near_change_s: float = NEAR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingConfig:
    """What a retraining needs and how it is judged. A group is one person: all rows with the same features.

    `min_groups` recent groups, of which `holdout_share` are held out; at least `min_groups_per_class` of
    either class on both sides. `max_lines` bounds the training set (newest first). `collect_s`: how long to
    wait for labels.
    """

    min_rows: int = 200
    min_groups: int = 40
    min_groups_per_class: int = 5
    holdout_share: float = 0.3
    max_lines: int = 50_000
    history_s: float | None = None
    collect_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig:
    """Leases, deadlines and patience of the executor, in seconds.

    A server that is silent for `acknowledge_grace_s` after another one has acknowledged is taken for gone,
    and the outcome says so. A failed attempt is repeated after `retry_s`, then after twice as long each time, up to
    `longest_retry_s`. The file of a version that was looked at less than `look_s` ago is not read again before the
    version serves.
    """

    lease_s: float = 10.0
    step_s: float = 120.0
    train_s: float = 900.0
    acknowledge_s: float = 60.0
    acknowledge_grace_s: float = 15.0
    retry_s: float = 1.0
    longest_retry_s: float = 30.0
    look_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationConfig:
    """How surely a recovery is proven, and how long people are not asked about it.

    Whatever is looked at, and however often: a version that has not recovered passes with probability `false_pass` at
    most, one that has is failed with probability `false_fail` at most. Recovered means that more than `regained` of
    what the illness took is back; where nothing was lost in labels, that the version does no worse than before by
    `tolerance` (of an error: by that part of it). A loss counts from `least_loss` (of an error: that part of it) and
    `sure_z` standard errors on. `windows`, `rows`: the fewest that can pass. `healthy_windows`: so many of the last
    ones in order say what healthy is. `limit_s`, and never less than `limit_windows` of the longest windows of the
    alerts: after that a person is asked whether to keep or to undo what is not proven.
    """

    false_pass: float = 0.01
    false_fail: float = 0.01
    regained: float = 0.5
    tolerance: float = 0.05
    least_loss: float = 0.01
    sure_z: float = 3.0
    windows: int = 1
    rows: int = 1
    healthy_windows: int = 10
    limit_s: float = 120.0
    limit_windows: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The agent's configuration. The topics are named by who wires it; the room does not know Kafka."""

    alerts_topic: str
    acknowledgements_topic: str
    desired_topic: str
    group: str = "agent"
    agent_id: str = field(default_factory=default_agent_id)
    sweep_s: float = 0.1
    release_s: float = 1.0
    reconcile_s: float = 30.0
    watch_s: float = 10.0
    approval_ttl_s: float = 3_600.0
    plan_s: float = 300.0
    autonomy: Callable[[str], Autonomy] = always_suggest
    actuator: Callable[[str], str] = always_own
    patience_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """How long a state may take to come into force, by actuator (not named: as long as any step)."""

    policy: Policy = field(default_factory=Policy)
    playbooks: Playbooks = field(default_factory=Playbooks)
    configured: Callable[[str], bool] = is_set
    diagnosis: DiagnosisConfig = DiagnosisConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    execution: ExecutionConfig = ExecutionConfig()
    verification: VerificationConfig = VerificationConfig()
