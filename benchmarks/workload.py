"""The fixed work of the stream benchmarks: one model, 13 features, a label for every fifth event."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor
from homeostat.contract import (
    FEATURE_PREFIX,
    LabelBatch,
    PredictionBatch,
    encode_labels,
    encode_predictions,
    headers_of,
    keys_of,
)

LABEL_SHARE = 0.2
START_US = 1_760_000_000_000_000


@dataclass(frozen=True, kw_only=True)
class Workload:
    """`rate` events per second of event time, in batches of `batch_rows`; a batch of labels follows as soon as
    a fifth of the events has filled one."""

    events: int
    model: str = "bench"
    features: int = 13
    batch_rows: int = 1_000
    rate: float = 100_000.0
    horizon_s: float = 20.0
    pane_s: float = 1.0
    lateness_s: float = 600.0
    dtype: str = "float64"
    seed: int = 7

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features."""
        return tuple(f"x{number:02d}" for number in range(self.features))

    def monitor(self) -> Monitor:
        """All defaults, but for windows that close often enough to count."""
        return Monitor(
            model=self.model,
            features=tuple(FeatureSpec(name=name) for name in self.names),
            window_rows=100_000,
            label_window_rows=20_000,
            pane_s=self.pane_s,
            label_horizon_s=self.horizon_s,
            lateness_s=self.lateness_s,
        )

    def reference(self) -> Reference:
        """Built from 10,000 rows of the same distribution."""
        rng = np.random.default_rng(self.seed + 1)
        columns = self._columns(rng, 10_000, "float64")
        scores = _scores(columns)
        return build_reference(
            self.model,
            "1",
            columns,
            [FeatureSpec(name=name) for name in self.names],
            scores=scores,
            labels=(rng.random(10_000) < scores).astype(np.float64),
        )

    def records(self, slots: int = 1) -> Iterator[tuple[int, bytes, list[tuple[str, bytes]], int]]:
        """Slot, value, headers and rows of each Kafka record, in order. Events go to slot key mod `slots`."""
        rng = np.random.default_rng(self.seed)
        waiting: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = []
        pending = 0
        sequences = [0] * slots
        for start in range(0, self.events, self.batch_rows * slots):
            numbers = np.arange(start, min(start + self.batch_rows * slots, self.events))
            columns = self._columns(rng, len(numbers), self.dtype)
            scores = _scores(columns)
            truth = (rng.random(len(numbers)) < scores).astype(np.float64)
            labelled = rng.random(len(numbers)) < LABEL_SHARE
            ids = [f"request-{number:012d}" for number in numbers.tolist()]
            slot_of = keys_of(ids) % np.uint64(slots)
            times_us = self.times_us(numbers)
            for slot in range(slots):
                mine = np.flatnonzero(slot_of == slot)
                batch = PredictionBatch.of(
                    model=self.model,
                    version="1",
                    producer=f"{self.model}-{slot}",
                    sequence=sequences[slot],
                    ids=[ids[i] for i in mine],
                    times_us=times_us[mine],
                    predictions=(scores[mine] >= 0.5).astype(np.float64),
                    scores=scores[mine],
                    features={name: column[mine] for name, column in columns.items()},
                )
                batch = replace(batch, columns=self._typed(batch.columns))
                sequences[slot] += 1
                yield slot, encode_predictions(batch), headers_of(batch), len(mine)
            waiting.append((numbers[labelled], truth[labelled]))
            pending += int(labelled.sum())
            if pending >= self.batch_rows * slots:
                yield from self._labels(waiting, times_us[-1], sequences)
                waiting, pending = [], 0

    def times_us(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """When each event happened."""
        return START_US + (numbers * (1e6 / self.rate)).astype(np.int64)

    def _typed(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        """The features as `dtype`: the batch builder makes all numbers float64."""
        kind = pa.from_numpy_dtype(np.dtype(self.dtype))
        fields = [
            field.with_type(kind) if field.name.startswith(FEATURE_PREFIX) else field
            for field in columns.schema
        ]
        return columns.cast(pa.schema(fields))

    def _columns(
        self, rng: np.random.Generator, rows: int, dtype: str
    ) -> dict[str, npt.NDArray[np.floating]]:
        matrix = rng.standard_normal((self.features, rows))
        matrix[1] = np.exp(matrix[1])
        matrix[2] = np.round(matrix[2] * 3)
        matrix[3] += matrix[4]
        return {name: row.astype(dtype) for name, row in zip(self.names, matrix, strict=True)}

    def _labels(
        self,
        waiting: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]],
        now_us: int,
        sequences: list[int],
    ) -> Iterator[tuple[int, bytes, list[tuple[str, bytes]], int]]:
        slots = len(sequences)
        numbers = np.concatenate([part for part, _ in waiting])
        values = np.concatenate([part for _, part in waiting])
        ids = [f"request-{number:012d}" for number in numbers.tolist()]
        slot_of = keys_of(ids) % np.uint64(slots)
        for slot in range(slots):
            mine = np.flatnonzero(slot_of == slot)
            batch = LabelBatch.of(
                model=self.model,
                producer=f"{self.model}-{slot}",
                sequence=sequences[slot],
                ids=[ids[i] for i in mine],
                times_us=np.full(len(mine), now_us),
                values=values[mine],
            )
            sequences[slot] += 1
            yield slot, encode_labels(batch), headers_of(batch), len(mine)


def _scores(columns: dict[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.float64]:
    total = columns["x00"].astype(np.float64) + columns["x03"] - columns["x05"]
    return 1 / (1 + np.exp(-total))
