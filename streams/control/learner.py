"""Builds a reference that the judge has asked for, from the events themselves."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.columns import Column
from detectors.errors import ReferenceInvalid
from detectors.ranks import answers
from detectors.reference import Reference
from detectors.season import season_learned
from detectors.sequential.blocks import Rows
from detectors.values import FeatureSpec, Monitor
from homeostat.contract import HEADER_MODEL, ContractError, LabelBatch, PredictionBatch, decode
from streams.control.evolution import outcomes
from streams.control.learning import LearningOrder
from streams.control.monitor_build import ReferenceName, complete_reference, seasonal_reference
from streams.control.schemas import Schema, build_schema
from streams.stages import InputRecord
from streams.times import MICROSECONDS

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


class Gathered:
    """The rows of an order, as the records of events bring them: of an id the first row, and its last label."""

    def __init__(self, order: LearningOrder, monitor: Monitor, schema: Schema | None) -> None:
        self._order = order
        self._monitor = monitor
        self._schema = schema or _outputs_only(order, monitor)
        self._is_multiclass = monitor.task == "multiclass"
        self._seen: set[int] = set()
        self._labels: dict[int, tuple[float, int]] = {}
        self._parts: list[dict[str, npt.NDArray[Any]]] = []
        self._segments: list[dict[str, npt.NDArray[Any]]] = []
        self._keys: list[npt.NDArray[np.uint64]] = []
        self._times_us: list[npt.NDArray[np.int64]] = []
        self._said: list[Floats] = []
        self._scores: list[Floats] = []

    def take(self, record: InputRecord) -> None:
        """Take one record of the events topic; what is of another model or cannot be read is left out, as the profile
        stage does."""
        if dict(record.headers).get(HEADER_MODEL) != self._order.model.encode():
            return
        try:
            batch = decode(record.value, record.headers)
        except ContractError:
            return
        if isinstance(batch, LabelBatch):
            known = zip(outcomes(self._schema, batch).tolist(), batch.times_us.tolist(), strict=True)
            self._labels |= dict(zip(batch.keys.tolist(), known, strict=True))
        elif batch.version == self._order.version:
            self._predictions(record, batch)

    def reference(self) -> Reference:
        """The reference of the rows, in order of their time. Raises `ReferenceInvalid`."""
        specs, rows, times_us = self.rows()
        learning = self._monitor.learning
        classes = () if learning is None else learning.classes
        named = ReferenceName(
            self._order.model, self._order.version, self._monitor.task, classes, self._monitor.measures
        )
        season = season_learned(learning)
        if season is None:
            return complete_reference(named, specs, rows)
        return seasonal_reference(named, specs, rows, season, times_us)[0]

    def rows(self) -> tuple[tuple[FeatureSpec, ...], Rows, tuple[Times, Times]]:
        """The features, the rows in order of their time, and the times of rows and labels (that of the row where there
        is none). Raises `ReferenceInvalid` where there are no rows."""
        if not self._parts:
            raise ReferenceInvalid("its events are not on the topic any more; longer retention keeps them")
        times_us = np.concatenate(self._times_us)
        order = np.argsort(times_us, kind="stable")
        times_us = times_us[order]
        keys = np.concatenate(self._keys)[order].tolist()
        told = [self._labels.get(key, (np.nan, at)) for key, at in zip(keys, times_us.tolist(), strict=True)]
        labels, label_times_us = np.array([one for one, _ in told]), np.array([at for _, at in told])
        scores = np.concatenate(self._scores)[order]
        said = np.concatenate(self._said)[order]
        specs = self._specs()
        features = {spec.name: self._column(spec)[order] for spec in specs}
        rows = Rows(
            features,
            None if np.isnan(said).all() else said,
            None if np.isnan(scores).all() else np.clip(scores, 0.0, 1.0),
            None if np.isnan(labels).all() else labels,
            segments={name: self._segment(name)[order].tolist() for name in self._monitor.segments},
        )
        return specs, rows, (times_us, label_times_us)

    def _predictions(self, record: InputRecord, batch: PredictionBatch) -> None:
        order, times_us = self._order, batch.times_us
        inside = (times_us >= order.start_us) & (times_us < order.end_us)
        if record.timestamp_us > 0:
            inside &= times_us <= record.timestamp_us + int(self._monitor.max_ahead_s * MICROSECONDS)
        chosen: list[int] = []
        for place, key in zip(np.flatnonzero(inside).tolist(), batch.keys[inside].tolist(), strict=True):
            if key not in self._seen:
                self._seen.add(key)
                chosen.append(place)
        if not chosen:
            return
        self._keys.append(batch.keys[chosen])
        self._times_us.append(times_us[chosen])
        said = outcomes(self._schema, batch)
        self._said.append((answers(said, batch.class_scores) if self._is_multiclass else said)[chosen])
        self._scores.append(batch.scores[chosen])
        self._parts.append({name: column[chosen] for name, column in batch.features.items()})
        self._segments.append({name: batch.segments[name][chosen] for name in batch.segment_names})

    def _specs(self) -> tuple[FeatureSpec, ...]:
        """Those of the monitor, or all that came; what holds text is a category, and what holds vectors an
        embedding."""
        found: dict[str, npt.NDArray[Any]] = {}
        for part in self._parts:
            for name, column in part.items():
                found.setdefault(name, column)
        wanted = self._monitor.features or tuple(FeatureSpec(name=name) for name in found)
        absent = [spec.name for spec in wanted if spec.name not in found]
        if absent:
            raise ReferenceInvalid(f"the events have no features {absent}; they have {sorted(found)}")
        return tuple(_as_it_came(spec, found[spec.name]) for spec in wanted)

    def _column(self, spec: FeatureSpec) -> Column:
        size = (spec.size,) if spec.kind == "embedding" else ()
        parts = [
            part[spec.name] if spec.name in part else np.full((len(keys), *size), np.nan)
            for part, keys in zip(self._parts, self._keys, strict=True)
        ]
        mixed = any(part.dtype == object for part in parts)
        return np.concatenate([_as_text(part) if mixed else part for part in parts])

    def _segment(self, name: str) -> npt.NDArray[np.object_]:
        """The value of each row, None where it has none."""
        parts = [
            part[name] if name in part else np.full(len(keys), None, dtype=object)
            for part, keys in zip(self._segments, self._keys, strict=True)
        ]
        return np.concatenate(parts)


def learned(
    order: LearningOrder, monitor: Monitor, schema: Schema | None, records: Iterable[InputRecord]
) -> Reference:
    """The reference of an order, from the records of its stretches. The same records, the same reference.

    monitor: the revision that the order names. schema: what was registered for the version, if anything.
    Raises `ReferenceInvalid` where the rows cannot be a reference.
    """
    gathered = Gathered(order, monitor, schema)
    for record in records:
        gathered.take(record)
    return gathered.reference()


def _outputs_only(order: LearningOrder, monitor: Monitor) -> Schema:
    classes = () if monitor.learning is None else monitor.learning.classes
    return build_schema(order.model, order.version, (), task=monitor.task, classes=classes)


def _as_it_came(spec: FeatureSpec, column: npt.NDArray[Any]) -> FeatureSpec:
    if column.ndim == 2:
        return FeatureSpec(name=spec.name, kind="embedding", size=int(column.shape[1]))
    return FeatureSpec(name=spec.name, kind="categorical") if column.dtype == object else spec


def _as_text(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype == object:
        return column
    return np.array([None if value != value else str(value) for value in column.tolist()], dtype=object)
