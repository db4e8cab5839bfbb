"""What the archive has done and how it stands, for Prometheus and for tests."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from streams import telemetry_names as names
from streams.archive.upkeep import UpkeepReport
from streams.samples import Sample


@dataclass(slots=True)
class ArchiveCounters:
    """What the archive has done since it started, and how it stands.

    `pending_*`: what is read and in no file yet; `pending_since_s`: when the oldest of it came (`time.time`), 0 for
    nothing. `storage_away`: reading is paused until the storage answers. `refused_records` break the contract; their
    dead letters are the profile stage's. `written_again`: files of blocks that were begun before this process.
    `stored_*` and `damaged_files`: as the last upkeep found the archive.
    """

    records: int = 0
    refused_records: int = 0
    rows: int = 0
    bytes: int = 0
    files: int = 0
    written_again: int = 0
    erased_rows: int = 0
    unfit_rows: int = 0
    storage_failures: int = 0
    storage_away: bool = False
    pending_rows: int = 0
    pending_bytes: int = 0
    pending_since_s: float = 0.0
    merged_files: int = 0
    retired_files: int = 0
    upkeep_failures: int = 0
    stored_files: int = 0
    stored_bytes: int = 0
    damaged_files: int = 0

    def tidied(self, report: UpkeepReport) -> None:
        """Upkeep was done; one that found somebody else at it has seen nothing."""
        self.merged_files += report.merged
        self.retired_files += report.retired
        if not report.busy:
            self.stored_files, self.stored_bytes = report.files, report.bytes
            self.damaged_files = len(report.damaged)

    def samples(self, flush_s: float) -> Iterator[Sample]:
        """See `streams.samples.Measured`; `flush_s` is how long a row may wait for its file."""
        waited_s = time.time() - self.pending_since_s if self.pending_since_s else 0.0
        for metric, value in (
            (names.ARCHIVE_FILES, self.files),
            (names.ARCHIVE_ROWS, self.rows),
            (names.ARCHIVE_BYTES, self.bytes),
            (names.ARCHIVE_PENDING, self.pending_rows),
            (names.ARCHIVE_OVERDUE, max(0.0, waited_s - flush_s)),
            (names.ARCHIVE_AWAY, self.storage_away),
            (names.ARCHIVE_FAILURES, self.storage_failures),
            (names.ARCHIVE_REFUSED, self.refused_records),
            (names.ARCHIVE_UNFIT, self.unfit_rows),
            (names.ARCHIVE_ERASED, self.erased_rows),
            (names.ARCHIVE_MERGED, self.merged_files),
            (names.ARCHIVE_RETIRED, self.retired_files),
            (names.ARCHIVE_UPKEEP_FAILURES, self.upkeep_failures),
            (names.ARCHIVE_STORED_FILES, self.stored_files),
            (names.ARCHIVE_STORED_BYTES, self.stored_bytes),
            (names.ARCHIVE_DAMAGED, self.damaged_files),
        ):
            yield Sample(metric, (), float(value))
