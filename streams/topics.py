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
"""State topics: partition p holds the state of input partition p, written in one transaction with the outputs."""

GATE_STATE = "homeostat.state.gate"
"""What the gate has counted, per model, and how far it has read: partition p belongs to partition p of the
ingest topic, written in one transaction with the outputs."""

DESIRED = "homeostat.serving.desired"
"""Which version of each model shall serve, with its epoch; compacted, one partition."""

ACKNOWLEDGEMENTS = "homeostat.serving.acknowledgements"
"""What an inference server has loaded, by digest, or why it refused."""

DEFAULT_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as the broker must have it. `config` holds the broker's own setting names."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


_COMPACT = {"cleanup.policy": "compact"}
_COMPACT_SOON = {**_COMPACT, "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.01"}
"""For state that is read from its start: an active segment is not compacted, so it must not grow old."""


def all_topics(partitions: int = DEFAULT_PARTITIONS) -> list[TopicSpec]:
    """Every topic of the system; `partitions` is the number of the partitioned ones."""
    return [
        TopicSpec(INGEST, partitions),
        TopicSpec(EVENTS, partitions),
        TopicSpec(DEADLETTERS, 1),
        TopicSpec(CONTROL, 1, _COMPACT),
        TopicSpec(PROFILES, partitions),
        TopicSpec(SEALS, partitions),
        TopicSpec(METRICS, partitions),
        TopicSpec(ALERTS, partitions),
        TopicSpec(PROFILE_CHECKPOINTS, partitions, _COMPACT),
        TopicSpec(PROFILE_IDS, partitions),
        TopicSpec(PROFILE_PANES, partitions),
        TopicSpec(JUDGE_CHECKPOINTS, partitions, _COMPACT),
        TopicSpec(GATE_STATE, partitions, _COMPACT_SOON),
        TopicSpec(DESIRED, 1, _COMPACT),
        TopicSpec(ACKNOWLEDGEMENTS, 1),
    ]
