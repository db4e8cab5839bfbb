"""The names of the topics, who writes them and how the broker keeps them."""

from dataclasses import dataclass, field

INGEST = "homeostat.ingest"
"""JSON events from foreign producers, one or an array per record, read by the gate."""

EVENTS = "homeostat.events"
"""Arrow batches of predictions and labels (`homeostat.contract`), keyed by partition choice of the producer."""

DEADLETTERS = "homeostat.deadletters"
"""Rows that could not be accepted: reason, position and original bytes."""

CONTROL = "homeostat.control"
"""Monitors and references, compacted. One partition: one order of configuration for everybody."""

PROFILES = "homeostat.profiles"
"""Cumulative pane snapshots (`detectors.values.PaneSnapshot`), partitioned by model."""

SEALS = "homeostat.seals"
"""Logged decisions that a window is made of these panes."""

METRICS = "homeostat.metrics"
"""Metric points and accounting, partitioned by model."""

ALERTS = "homeostat.alerts"
"""Alerts of the judge, partitioned by model."""

PROFILE_CHECKPOINTS = "homeostat.checkpoints.profile"
PROFILE_IDS = "homeostat.state.profile.ids"
PROFILE_PANES = "homeostat.state.profile.panes"
JUDGE_CHECKPOINTS = "homeostat.checkpoints.judge"
JUDGE_PANES = "homeostat.state.judge.panes"
"""State topics: partition p holds the state of input partition p, written in one transaction with the outputs."""

GATE_STATE = "homeostat.state.gate"
"""What the gate has counted, per model, and how far it has read: partition p belongs to partition p of the
ingest topic, written in one transaction with the outputs."""

GATE_HALVES = "homeostat.ingest.halves"
"""Requests and answers that came as two events, partitioned by what they have in common; the gate's own."""

REPLAYS = "homeostat.state.replays"
"""Which dead letters were sent again, compacted: no letter is sent twice by mistake."""

DESIRED = "homeostat.serving.desired"
"""Which version of each model shall serve, with its epoch; compacted, one partition."""

ACKNOWLEDGEMENTS = "homeostat.serving.acknowledgements"
"""What an inference server has loaded, by digest, or why it refused."""

AUDIT_CHECKPOINTS = "homeostat.audit.checkpoints"
"""The signed checkpoints of the audit log, in their order: a copy outside the database and outside its folder. Kept for
good; let the agent alone write to it, and nobody delete from it."""

DEFAULT_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as the broker must have it. `config` holds the broker's own setting names."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


COMPACT = {"cleanup.policy": "compact"}
"""The last record of each key is kept."""
COMPACT_SOON = {**COMPACT, "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.01"}
"""For state that is read from its start: an active segment is not compacted, so it must not grow old."""

_DATED_BY_BROKER = {"message.timestamp.type": "LogAppendTime"}
"""So that a producer's wrong clock can be told by comparing with it."""
_STATE = {"retention.ms": "-1", "segment.bytes": str(64 * 1024 * 1024)}
"""Deltas: kept as long as a checkpoint needs them, then deleted by their owner; a segment is the least that goes."""
_FOR_GOOD = {"retention.ms": "-1", "retention.bytes": "-1"}
_CHECKPOINTS = {**COMPACT, "segment.bytes": str(64 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.1"}


def all_topics(partitions: int = DEFAULT_PARTITIONS) -> list[TopicSpec]:
    """Every topic of the system; `partitions` is the number of the partitioned ones."""
    return [
        TopicSpec(INGEST, partitions, _DATED_BY_BROKER),
        TopicSpec(EVENTS, partitions, _DATED_BY_BROKER),
        TopicSpec(DEADLETTERS, 1),
        TopicSpec(CONTROL, 1, COMPACT),
        TopicSpec(PROFILES, partitions, _DATED_BY_BROKER),
        TopicSpec(SEALS, partitions),
        TopicSpec(METRICS, partitions),
        TopicSpec(ALERTS, partitions),
        TopicSpec(PROFILE_CHECKPOINTS, partitions, _CHECKPOINTS),
        TopicSpec(PROFILE_IDS, partitions, _STATE),
        TopicSpec(PROFILE_PANES, partitions, _STATE),
        TopicSpec(JUDGE_CHECKPOINTS, partitions, _CHECKPOINTS),
        TopicSpec(JUDGE_PANES, partitions, _STATE),
        TopicSpec(GATE_STATE, partitions, COMPACT_SOON),
        TopicSpec(GATE_HALVES, partitions),
        TopicSpec(REPLAYS, 1, COMPACT),
        TopicSpec(DESIRED, 1, COMPACT),
        TopicSpec(ACKNOWLEDGEMENTS, 1),
        TopicSpec(AUDIT_CHECKPOINTS, 1, _FOR_GOOD),
    ]
