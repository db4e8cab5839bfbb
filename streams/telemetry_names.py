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
MODEL_LAG_SECONDS = MetricName(
    "homeostat_model_lag_seconds",
    "gauge",
    "How long the model's last record had waited when it was worked on; 0 since no record of its partition waited.",
    ("partition", "model"),
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
CROWDED_OUT = MetricName(
    "homeostat_crowded_out_labels_total",
    "counter",
    "Labels orphaned because more waited than the monitor allows.",
    ("partition", "model"),
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
GATE_REFUSED = MetricName(
    "homeostat_gate_refused_rows_total",
    "counter",
    "Rows that the gate has set aside, by the part of the event that was wrong.",
    ("partition", "field"),
)

ARCHIVE_FILES = MetricName("homeostat_archive_files_total", "counter", "Files that the archive has written.")
ARCHIVE_ROWS = MetricName("homeostat_archive_rows_total", "counter", "Rows in the files written.")
ARCHIVE_BYTES = MetricName("homeostat_archive_bytes_total", "counter", "Bytes of the files written.")
ARCHIVE_PENDING = MetricName(
    "homeostat_archive_pending_rows", "gauge", "Rows that are read and in no file yet."
)
ARCHIVE_OVERDUE = MetricName(
    "homeostat_archive_overdue_seconds",
    "gauge",
    "How long the oldest of these rows has waited beyond HOMEOSTAT_ARCHIVE_FLUSH_S; 0 when none has.",
)
ARCHIVE_AWAY = MetricName(
    "homeostat_archive_storage_away",
    "gauge",
    "1 while the storage takes no files and reading waits for it, else 0.",
)
ARCHIVE_FAILURES = MetricName(
    "homeostat_archive_storage_failures_total", "counter", "Attempts to write that the storage failed."
)
ARCHIVE_REFUSED = MetricName(
    "homeostat_archive_refused_records_total",
    "counter",
    "Records that are not archived because they break the contract; their dead letters are the profile stage's.",
)
ARCHIVE_UNFIT = MetricName(
    "homeostat_archive_unfit_rows_total",
    "counter",
    "Rows that could not be archived; the log names each record.",
)
ARCHIVE_ERASED = MetricName(
    "homeostat_archive_erased_rows_total",
    "counter",
    "Rows left out because an order to erase names their id.",
)
ARCHIVE_MERGED = MetricName(
    "homeostat_archive_merged_files_total", "counter", "Small files that upkeep has merged into larger ones."
)
ARCHIVE_RETIRED = MetricName(
    "homeostat_archive_retired_files_total",
    "counter",
    "Files deleted because their day is past its retention.",
)
ARCHIVE_UPKEEP_FAILURES = MetricName(
    "homeostat_archive_upkeep_failures_total", "counter", "Rounds of upkeep that failed as a whole."
)
ARCHIVE_STORED_FILES = MetricName(
    "homeostat_archive_stored_files", "gauge", "Files in the archive, as the last upkeep found it."
)
ARCHIVE_STORED_BYTES = MetricName(
    "homeostat_archive_stored_bytes", "gauge", "Bytes in the archive, as the last upkeep found it."
)
ARCHIVE_DAMAGED = MetricName(
    "homeostat_archive_damaged_files", "gauge", "Files that upkeep cannot read and leaves alone."
)

CATALOGUE: tuple[MetricName, ...] = (
    *(LAG_RECORDS, LAG_SECONDS, MODEL_LAG_SECONDS, RECORDS, BYTES),
    *(EVENTS, WAITING, CROWDED_OUT, WATERMARK),
    *(PANES, IDS, COLD_IDS, SERIES),
    *(
        CHECKPOINTS,
        CHECKPOINT_SECONDS_TOTAL,
        CHECKPOINT_SECONDS,
        CHECKPOINT_BYTES,
        CHECKPOINT_AGE,
        RESTORE_SECONDS,
    ),
    *(POISONED, PARTITIONS, BEAT),
    *(GATE_HALVES, GATE_REFUSED),
    *(ARCHIVE_FILES, ARCHIVE_ROWS, ARCHIVE_BYTES, ARCHIVE_PENDING, ARCHIVE_OVERDUE, ARCHIVE_AWAY),
    *(ARCHIVE_FAILURES, ARCHIVE_REFUSED, ARCHIVE_UNFIT, ARCHIVE_ERASED, ARCHIVE_MERGED, ARCHIVE_RETIRED),
    *(ARCHIVE_UPKEEP_FAILURES, ARCHIVE_STORED_FILES, ARCHIVE_STORED_BYTES, ARCHIVE_DAMAGED),
)
"""Every metric; a room that adds one adds it here."""
