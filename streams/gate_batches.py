"""From accepted rows to the columnar batches of the contract. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from homeostat.batches import LabelBatch, PredictionBatch
from homeostat.contract import (
    MAX_RECORD_BYTES,
    encode_labels,
    encode_predictions,
    headers_of,
    key_of,
    partition_of,
)
from streams.gate_rows import LabelRow, PredictionRow

MAX_ROWS = 2_000

_SEQUENCE_BITS = 20
"""A batch's sequence is its last input offset and a number: the 63 bits of the contract hold a million
batches of one transaction and offsets up to 2**43."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One record for the events topic."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class _Group:
    rows: list[PredictionRow | LabelRow] = field(default_factory=list[PredictionRow | LabelRow])
    texts: dict[str, bool] = field(default_factory=dict[str, bool])
    """Which features have come as text (True) or as numbers (False) here."""

    def takes(self, row: PredictionRow | LabelRow) -> bool:
        if len(self.rows) >= MAX_ROWS:
            return False
        if isinstance(row, LabelRow):
            return True
        return all(
            value is None or self.texts.get(name, isinstance(value, str)) == isinstance(value, str)
            for name, value in row.features.items()
        )

    def add(self, row: PredictionRow | LabelRow) -> None:
        self.rows.append(row)
        if isinstance(row, PredictionRow):
            for name, value in row.features.items():
                self.texts.setdefault(name, isinstance(value, str)) if value is not None else None


class Grouping:
    """Rows by kind, model, version and target partition, in their order. A row whose feature has another type
    than in its group so far opens the next: one producer's mistake must not turn all numbers into text."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._groups: dict[tuple[str, str | None, int], list[_Group]] = {}

    def add(self, row: PredictionRow | LabelRow) -> None:
        """Put the row into its group."""
        partition = partition_of(row.model, key_of(row.id), self._partitions)
        version = row.version if isinstance(row, PredictionRow) else None
        groups = self._groups.setdefault((row.model, version, partition), [])
        for group in groups:
            if group.takes(row):
                group.add(row)
                return
        groups.append(_Group())
        groups[-1].add(row)

    def __iter__(self) -> Iterator[tuple[int, Sequence[PredictionRow | LabelRow]]]:
        for (_, _, partition), groups in self._groups.items():
            for group in groups:
                yield partition, group.rows


def to_records(grouping: Grouping, *, producer: str, offset: int) -> list[Batch]:
    """Encode every group, in pieces that fit a record. `offset` is the last input offset that the rows come
    from; with a running number it makes the sequence, which so rises along every partition."""
    found: list[Batch] = []
    for partition, rows in grouping:
        pending = [rows]
        while pending:
            piece = pending.pop()
            sequence = (offset << _SEQUENCE_BITS) + len(found)
            batch = _record(piece, partition, producer, sequence)
            if len(batch.value) > MAX_RECORD_BYTES and len(piece) > 1:
                half = len(piece) // 2
                pending += [piece[half:], piece[:half]]
            else:
                found.append(batch)
    return found


def _record(rows: Sequence[PredictionRow | LabelRow], partition: int, producer: str, sequence: int) -> Batch:
    model = rows[0].model
    predictions = [row for row in rows if isinstance(row, PredictionRow)]
    if predictions:
        batch = _predictions(predictions, producer, sequence)
        return Batch(partition, model.encode(), encode_predictions(batch), headers_of(batch))
    labels = [row for row in rows if isinstance(row, LabelRow)]
    batch = LabelBatch.of(
        model=model,
        producer=producer,
        sequence=sequence,
        ids=[row.id for row in labels],
        times_us=[row.time_us for row in labels],
        values=[row.value for row in labels],
    )
    return Batch(partition, model.encode(), encode_labels(batch), headers_of(batch))


def _predictions(rows: Sequence[PredictionRow], producer: str, sequence: int) -> PredictionBatch:
    names = dict.fromkeys(name for row in rows for name in row.features)
    return PredictionBatch.of(
        model=rows[0].model,
        version=rows[0].version,
        producer=producer,
        sequence=sequence,
        ids=[row.id for row in rows],
        times_us=[row.time_us for row in rows],
        predictions=[row.prediction for row in rows],
        scores=_numbers([row.score for row in rows]),
        latencies_ms=_numbers([row.latency_ms for row in rows]),
        statuses=[row.status for row in rows],
        features={name: _feature([row.features.get(name) for row in rows]) for name in names},
    )


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _feature(values: Sequence[float | str | None]) -> np.ndarray:
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
