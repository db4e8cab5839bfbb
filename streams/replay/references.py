"""The reference of a backtest: from a file, or from the first rows of the data."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from pathlib import Path

import pyarrow as pa
import structlog

from detectors.reference import Reference
from detectors.sequential.blocks import Rows
from streams.control.monitor_build import build_from, open_table
from streams.files.cells import without
from streams.files.columns import Roles
from streams.files.monitor import MonitorFile, MonitorFileInvalid
from streams.files.tables import FileInvalid, TableFile

_log = structlog.get_logger()


def learn(data: Path, file: MonitorFile) -> tuple[Reference, Rows]:
    """The reference that the monitor asks for, and the rows that it was built of, in their order.

    Raises `FileInvalid`, `MonitorFileInvalid` or `ReferenceInvalid`.
    """
    source = file.reference
    if source.archive is not None:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: reference is a stretch of the archive, which a backtest does not read; write "
            "it to a file with `homeostat archive export` and name that"
        )
    if source.file is None and source.rows is None:
        raise MonitorFileInvalid(
            f"monitor of {file.model!r}: reference is `registered: true`, which a backtest cannot see; name a "
            "file, or `rows: 10000` for the first rows of the data"
        )
    table = open_table(source.file or data, file)
    roles = Roles.of(file, table)
    found = table.table(roles.needed) if source.rows is None else _first(table, roles, source.rows)
    if table.unreadable:
        cell = next(iter(table.unreadable.values()))
        _log.warning(
            "Rows of the reference were left out: text where a number belongs.",
            rows=len(table.unreadable),
            such_as=cell.told,
        )
    return build_from(file, roles, found)


def _first(table: TableFile, roles: Roles, wanted: int) -> pa.Table:
    taken: list[pa.RecordBatch] = []
    rows = 0
    for batch in table.batches(roles.needed):
        taken.append(batch.slice(0, wanted - rows))
        rows += taken[-1].num_rows
        if rows == wanted:
            return without(pa.Table.from_batches(taken), table.unreadable)
    raise FileInvalid(f"the data have {rows} rows; reference.rows asks for the first {wanted}")
