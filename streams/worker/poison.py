"""A record on which the stage fails: find the rows that do it, set them aside, keep the rest.

After an exception a stage may be half changed, so nothing is tried on the one that failed: every attempt gets a fresh
stage that stands before the record. The order of the attempts depends on the record alone, so the same record and the
same state always give the same decision: after a crash in the middle it is taken again.
"""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import pyarrow as pa
import structlog

from detectors.values import UNKNOWN_MODEL
from homeostat.contract import HEADER_MODEL
from streams.deadletters import DeadLetter
from streams.stages import InputRecord, Stage

_log = structlog.get_logger()

_MAX_ATTEMPTS = 256
"""One bad row among 1,000 takes about 20, ten of them about 150. Where more are bad the record as a whole is."""


class Parts(Protocol):
    """How a role's records can be taken apart."""

    def rows(self, record: InputRecord) -> int:
        """How many rows the record has; 1 for one that cannot be taken apart."""
        ...

    def part(self, record: InputRecord, rows: Sequence[int]) -> InputRecord:
        """The same record with these rows only."""
        ...


@runtime_checkable
class Rejecting(Protocol):
    """A stage that accounts for rows."""

    def reject(self, record: InputRecord, rows: int) -> None:
        """Account for `rows` rows of the record as received and dead-lettered, and go behind its offset."""
        ...


class Whole:
    """Records that are one thing."""

    def rows(self, record: InputRecord) -> int:
        """See `Parts`."""
        return 1

    def part(self, record: InputRecord, rows: Sequence[int]) -> InputRecord:
        """See `Parts`."""
        return record


class ArrowRows:
    """Records that are Arrow IPC streams: rows are rows."""

    def rows(self, record: InputRecord) -> int:
        """See `Parts`."""
        try:
            return max(1, _table(record).num_rows)
        except (pa.ArrowException, OSError, ValueError, TypeError):
            return 1

    def part(self, record: InputRecord, rows: Sequence[int]) -> InputRecord:
        """See `Parts`."""
        table = _table(record).take(pa.array(rows, type=pa.int64())).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return replace(record, value=sink.getvalue().to_pybytes())


@dataclass(frozen=True, slots=True)
class Isolated:
    """What became of the record: a stage that contains its good rows, and a letter for every bad one (one for the
    whole record where it could not be taken apart). `rows`: how many were set aside."""

    stage: Stage
    letters: list[DeadLetter]
    rows: int


async def isolate(record: InputRecord, fresh: Callable[[], Stage], parts: Parts, stage_name: str) -> Isolated:
    """Find what `record` fails on. `fresh` makes a stage that stands before it; other tasks get their turn between
    the attempts.

    Where the record does not fail a second time nothing is set aside. Rows that fail only together, and more bad rows
    than 256 attempts find, cost the whole record.
    """
    search = _Search(record, fresh, parts)
    stage, error = await search.attempt(range(search.rows))
    if stage is not None:
        return Isolated(stage, [], 0)
    bad = await search.bad_rows() if search.rows > 1 else None
    if bad:
        good = [row for row in range(search.rows) if row not in bad]
        stage = (await search.attempt(good))[0] if good else fresh()
        if stage is not None:
            letters = [
                _letter(parts.part(record, [row]), why, stage_name, row) for row, why in sorted(bad.items())
            ]
            return _told(Isolated(_behind(stage, record, len(bad)), letters, len(bad)), record)
    letters = [_letter(record, error, stage_name, None)]
    return _told(Isolated(_behind(fresh(), record, search.rows), letters, search.rows), record)


class _Search:
    def __init__(self, record: InputRecord, fresh: Callable[[], Stage], parts: Parts) -> None:
        self._record = record
        self._fresh = fresh
        self._parts = parts
        self._attempts = 0
        self.rows = parts.rows(record)

    async def attempt(self, rows: Sequence[int]) -> tuple[Stage | None, Exception]:
        """The stage after these rows, or None and what it failed with."""
        self._attempts += 1
        await asyncio.sleep(0)
        stage = self._fresh()
        part = self._record if len(rows) == self.rows else self._parts.part(self._record, rows)
        try:
            stage.unconfigured(part)
            stage.process(part)
        except Exception as error:  # noqa: BLE001  (whatever a bug in the stage may raise)
            return None, error
        return stage, _NO_ERROR

    async def bad_rows(self) -> dict[int, Exception] | None:
        """The rows that fail alone, by halves; None when there are too many. The record as a whole is known to
        fail."""
        bad: dict[int, Exception] = {}
        spans = [range(self.rows)]
        while spans:
            span = spans.pop()
            middle = (span.start + span.stop) // 2
            for half in (range(middle, span.stop), range(span.start, middle)):
                if self._attempts >= _MAX_ATTEMPTS:
                    return None
                stage, error = await self.attempt(half)
                if stage is None and len(half) == 1:
                    bad[half.start] = error
                elif stage is None:
                    spans.append(half)
        return bad


_NO_ERROR = Exception("none")


def _behind(stage: Stage, record: InputRecord, rows: int) -> Stage:
    if isinstance(stage, Rejecting):
        stage.reject(record, rows)
    stage.offset = record.offset
    return stage


def _letter(record: InputRecord, error: Exception, stage_name: str, row: int | None) -> DeadLetter:
    model = dict(record.headers).get(HEADER_MODEL, UNKNOWN_MODEL.encode())
    return DeadLetter(
        reason=f"the {stage_name} stage failed on it: {type(error).__name__}: {error}"[:2_000],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        row=row,
        model=model.decode(errors="replace"),
        stage=stage_name,
        original=record.value or b"",
        headers=tuple(record.headers),
    )


def _told(found: Isolated, record: InputRecord) -> Isolated:
    _log.error(
        "A record could not be worked on; the rows that fail are dead letters now, the others are not touched.",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        rows=found.rows,
        reason=found.letters[0].reason,
    )
    return found


def _table(record: InputRecord) -> pa.Table:
    with pa.ipc.open_stream(record.value or b"") as reader:
        return reader.read_all()
