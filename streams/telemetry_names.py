"""The metrics of the stream workers: the one list that the code, the alert rules, the dashboard and the docs share.

Every metric also has the label `role`. Counters that belong to a partition are kept in its checkpoint, so they go
on where they were when the partition moves.
"""

from typing import Literal, NamedTuple


class MetricName(NamedTuple):
    """One metric. `many` says how values of several models become one where there are too many to name."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    many: Literal["sum", "max", "min"] = "sum"

    def together(self, one: float, other: float) -> float:
        """The value of two series that are shown as one."""
        return (
            one + other if self.many == "sum" else max(one, other) if self.many == "max" else min(one, other)
        )


_PARTITION = ("partition",)

LAG_RECORDS = MetricName(
    "homeostat_lag_records", "gauge", "Records of the input that are not worked on yet.", _PARTITION
)
LAG_SECONDS = MetricName(
    "homeostat_lag_seconds",
    "gauge",
    "How long the oldest record that waits has waited, at most; 0 when none does.",
    _PARTITION,
    "max",
)
RECORDS = MetricName(
    "homeostat_records_total", "counter", "Input records worked on by this process.", _PARTITION
)
BYTES = MetricName("homeostat_bytes_total", "counter", "Bytes of the records worked on.", _PARTITION)
EVENTS = MetricName(
    "homeostat_events_total",
    "counter",
    "Where the rows of each model went since its first event: the accounting.",
    ("partition", "model", "outcome"),
)
WAITING = MetricName(
    "homeostat_waiting_labels", "gauge", "Labels whose prediction has not come yet.", ("partition", "model")
)
WATERMARK = MetricName(
    "homeostat_watermark_seconds",
    "gauge",
    "Event time up to which a model is complete, as seconds since the epoch.",
    ("partition", "model", "axis"),
    "min",
)
PANES = MetricName("homeostat_panes", "gauge", "Panes held in memory.", _PARTITION)
IDS = MetricName("homeostat_ids", "gauge", "Event ids held for duplicates and labels.", _PARTITION)
COLD_IDS = MetricName(
    "homeostat_cold_ids", "gauge", "Event ids held for labels in segment files.", _PARTITION
)
SERIES = MetricName("homeostat_series", "gauge", "Series of windows held by the judge.", _PARTITION)
CHECKPOINTS = MetricName("homeostat_checkpoints_total", "counter", "Checkpoints written.", _PARTITION)
CHECKPOINT_SECONDS_TOTAL = MetricName(
    "homeostat_checkpoint_seconds_total", "counter", "Time that checkpoints took.", _PARTITION
)
CHECKPOINT_SECONDS = MetricName(
    "homeostat_checkpoint_last_seconds", "gauge", "Time that the last checkpoint took.", _PARTITION
)
CHECKPOINT_BYTES = MetricName(
    "homeostat_checkpoint_last_bytes", "gauge", "Size of the last checkpoint: state and deltas.", _PARTITION
)
CHECKPOINT_AGE = MetricName(
    "homeostat_checkpoint_age_seconds",
    "gauge",
    "How long records that were worked on have waited for a checkpoint; 0 when none waits.",
    _PARTITION,
)
RESTORE_SECONDS = MetricName(
    "homeostat_restore_seconds", "gauge", "Time that taking over the partition took.", _PARTITION
)
POISONED = MetricName(
    "homeostat_poisoned_rows_total",
    "counter",
    "Rows set aside because the stage failed on them.",
    _PARTITION,
)
PARTITIONS = MetricName("homeostat_partitions", "gauge", "Partitions that this worker owns.")
BEAT = MetricName(
    "homeostat_heartbeat_seconds", "gauge", "When the worker last was well, as seconds since the epoch."
)
GATE_HALVES = MetricName(
    "homeostat_gate_halves", "gauge", "Requests and answers that wait for their other half.", _PARTITION
)

CATALOGUE: tuple[MetricName, ...] = (
    *(LAG_RECORDS, LAG_SECONDS, RECORDS, BYTES, EVENTS, WAITING, WATERMARK, PANES, IDS, COLD_IDS, SERIES),
    *(
        CHECKPOINTS,
        CHECKPOINT_SECONDS_TOTAL,
        CHECKPOINT_SECONDS,
        CHECKPOINT_BYTES,
        CHECKPOINT_AGE,
        RESTORE_SECONDS,
    ),
    *(POISONED, PARTITIONS, BEAT),
    GATE_HALVES,
)
"""Every metric; a room that adds one adds it here."""
