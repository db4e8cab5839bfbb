"""The rows of a file as the records that a live service would have sent."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from homeostat.contract import (
    SCORE_TOLERANCE,
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
    encode_labels,
    encode_predictions,
    headers_of,
)
from homeostat.contract_layout import Layout
from streams.files.cells import Cell
from streams.files.columns import Floats, Roles, Rows, Times
from streams.files.id_keys import Keys, keys_of_column
from streams.files.labels import LabelFile
from streams.replay.inprocess import Handed
from streams.stages import InputRecord
from streams.times import now_us
from streams.topics import EVENTS

_PRODUCER = "backtest"
_MOST_LABELS = 50_000


@dataclass
class Skipped:
    """Rows of the file that are no event, by reason."""

    time: int = 0
    id: int = 0
    prediction: int = 0
    score: int = 0
    number: int = 0


@dataclass
class RowIndex:
    """Where in the file a moment is: the first row of each pane."""

    pane_us: int
    starts_us: list[int] = field(default_factory=list[int])
    rows: list[int] = field(default_factory=list[int])
    total: int = 0

    def note(self, times_us: Times, first_row: int) -> None:
        """Take the times of the next rows."""
        self.total = first_row + len(times_us)
        last_us = self.starts_us[-1] if self.starts_us else -1
        starts = np.maximum.accumulate(np.maximum(times_us // self.pane_us * self.pane_us, last_us))
        new = np.flatnonzero(np.diff(starts, prepend=last_us))
        self.starts_us += starts[new].tolist()
        self.rows += (new + first_row).tolist()

    def row(self, time_us: int) -> int:
        """The first row at or after this moment; the number of rows where there is none."""
        place = bisect_left(self.starts_us, time_us)
        return self.rows[place] if place < len(self.rows) else self.total


class _Ids(NamedTuple):
    """Ids of rows and their keys."""

    texts: pa.Array
    keys: Keys


@dataclass
class _Labels:
    """Labels on their way, in no order. `due_us`: when they meet their predictions, the later one of the two."""

    ids: pa.Array
    keys: Keys
    times_us: Times
    due_us: Times
    values: Floats

    @classmethod
    def none(cls) -> "_Labels":
        nothing = np.zeros(0)
        times_us = nothing.astype(np.int64)
        return cls(pa.array([], pa.string()), nothing.astype(np.uint64), times_us, times_us, nothing)

    def plus(self, other: "_Labels") -> "_Labels":
        if not len(self.keys) or not len(other.keys):
            return other if len(other.keys) else self
        return _Labels(
            pa.concat_arrays([self.ids, other.ids]),
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.times_us, other.times_us]),
            np.concatenate([self.due_us, other.due_us]),
            np.concatenate([self.values, other.values]),
        )

    def only(self, chosen: npt.NDArray[np.bool_]) -> "_Labels":
        return self if chosen.all() else self.at(np.flatnonzero(chosen))

    def at(self, places: npt.NDArray[np.int64]) -> "_Labels":
        return _Labels(
            self.ids.take(pa.array(places)),
            self.keys[places],
            self.times_us[places],
            self.due_us[places],
            self.values[places],
        )

    def part(self, first: int, end: int) -> "_Labels":
        return _Labels(
            self.ids.slice(first, end - first),
            self.keys[first:end],
            self.times_us[first:end],
            self.due_us[first:end],
            self.values[first:end],
        )


class Feed:
    """Makes records of batches of a file: the predictions, and each label behind its own and those of its time.

    `row_us`: time of a row where the file has none. Labels without a time are known at once. `span_us`: how far
    predictions go ahead of their labels. `apart_us`: how far one version may go ahead of another.
    """

    def __init__(
        self,
        model: str,
        version: str,
        roles: Roles,
        labels: LabelFile | None,
        row_us: int,
        index: RowIndex,
        span_us: int,
        apart_us: int,
    ) -> None:
        self.skipped = Skipped()
        self.rows = 0
        self.unreadable: Mapping[int, Cell] = {}
        """By row of the file, a cell that is no number where one belongs."""
        self.ahead = 0
        self.unlike = 0
        self.labels = 0
        self.index = index
        self._model = model
        self._version = version
        self._roles = roles
        self._label_file = labels
        self._row_us = row_us
        self._span_us = max(1, span_us)
        self._apart_us = max(1, apart_us)
        self._waiting = _Labels.none()
        self._offset = 0
        self._layouts: dict[str | None, Layout | None] = {}
        """By version (None: labels), what the first record of it was like; None where it could not be read."""

    def records(self, batch: pa.RecordBatch) -> Iterator[InputRecord]:
        """The records of the next rows of the file. Raises `FileInvalid`."""
        rows = self._roles.rows(batch, self.rows, self._row_us)
        if "time" in self._roles.by_role:
            self.ahead += int(np.count_nonzero(rows.times_us > now_us()))
        self.unlike += rows.unlike
        self.index.note(np.maximum(rows.times_us, 0), self.rows)
        self.rows += batch.num_rows
        ids = _Ids(rows.ids, keys_of_column(rows.ids))
        for chosen in self._parts(rows.times_us, self._good(rows, self.rows - batch.num_rows)):
            yield from self._labels_until(int(rows.times_us[chosen[0]]) - 1)
            for piece in self._pieces(rows, chosen):
                yield from self._predictions(rows, ids, piece)
            self._waiting = self._waiting.plus(self._labels_of(rows, ids, chosen))
            yield from self._labels_until(int(rows.times_us[chosen].max()))

    def rest(self) -> Iterator[InputRecord]:
        """The labels that became known after the last prediction."""
        yield from self._labels_until(2**62)

    def _good(self, rows: Rows, first_row: int) -> npt.NDArray[np.int64]:
        """The rows that can be events."""
        timeless = rows.times_us < 0
        nameless = pc.call_function("binary_length", [rows.ids]).to_numpy() == 0
        silent = ~np.isfinite(rows.predictions)
        outside = (rows.scores < -SCORE_TOLERANCE) | (rows.scores > 1 + SCORE_TOLERANCE)
        if rows.class_scores is not None:
            told = rows.class_scores
            outside |= ((told < -SCORE_TOLERANCE) | (told > 1 + SCORE_TOLERANCE)).any(axis=1)
        bad = np.zeros(len(timeless), dtype=np.bool_)
        unread = bad.copy()
        unread[[row - first_row for row in self.unreadable if 0 <= row - first_row < len(bad)]] = True
        by_reason = {
            "number": unread,
            "time": timeless,
            "id": nameless,
            "prediction": silent,
            "score": outside,
        }
        for name, flags in by_reason.items():
            setattr(self.skipped, name, getattr(self.skipped, name) + int((flags & ~bad).sum()))
            bad |= flags
        return np.flatnonzero(~bad)

    def _parts(self, times_us: Times, chosen: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        """Rows that are sent before their labels."""
        if not len(chosen):
            return
        reached = np.maximum.accumulate(times_us[chosen])
        cuts = np.flatnonzero(np.diff((reached - reached[0]) // self._span_us)) + 1
        yield from np.split(chosen, cuts)

    def _pieces(self, rows: Rows, chosen: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """A record holds one version, and one must not run away from the others: rows of several are sent pane by pane,
        and in parts of a pane that is longer than the lateness."""
        if rows.versions is None or (rows.versions[chosen] == rows.versions[chosen[0]]).all():
            return [chosen]
        reached = np.maximum.accumulate(rows.times_us[chosen])
        ends = np.diff(reached // self.index.pane_us) + np.diff(reached // self._apart_us)
        return np.split(chosen, np.flatnonzero(ends) + 1)

    def _predictions(self, rows: Rows, ids: _Ids, chosen: npt.NDArray[np.int64]) -> Iterator[InputRecord]:
        if rows.versions is None:
            groups = [(self._version, chosen)]
        else:
            given = rows.versions[chosen]
            groups = [
                (str(one) or self._version, chosen[given == one]) for one in dict.fromkeys(given.tolist())
            ]
        for version, places in groups:
            if not len(places):
                continue
            yield self._predicted(rows, ids, version, places)

    def _predicted(self, rows: Rows, ids: _Ids, version: str, places: npt.NDArray[np.int64]) -> InputRecord:
        """The record of some rows of one version."""
        # A slice copies nothing.
        part, texts = slice(None), ids.texts
        if len(places) < len(ids.keys):
            part, texts = places, texts.take(pa.array(places))
        batch_of = partial(
            PredictionBatch.of,
            model=self._model,
            version=version,
            producer=_PRODUCER,
            sequence=self._offset,
            ids=texts,
            keys=ids.keys[part],
            times_us=rows.times_us[part],
            predictions=rows.predictions[part],
            scores=rows.scores[part],
            class_scores=None if rows.class_scores is None else rows.class_scores[part],
            features={name: column[part] for name, column in rows.features.items()},
            segments={name: [texts[place] for place in places] for name, texts in rows.segments.items()},
        )
        layout = self._layouts.get(version)
        if layout is None or rows.segments or rows.class_scores is not None:
            return self._encoded(batch_of())
        features = [rows.features[name] for name in layout.feature_names]
        if any(column.dtype != np.float64 for column in features):
            return self._encoded(batch_of())
        seen = {
            "version": version,
            "keys": ids.keys[part],
            "times_us": rows.times_us[part],
            "outcomes": rows.predictions[part],
            "scores": rows.scores[part],
            "feature_matrix": np.stack([column[part] for column in features]),
            "silent": True,
        }
        return self._handed(PredictionBatch, batch_of, layout, len(places), seen)

    def _labels_of(self, rows: Rows, ids: _Ids, chosen: npt.NDArray[np.int64]) -> _Labels:
        if not self._roles.has_outputs or (self._label_file is None and not self._roles.has_labels):
            return _Labels.none()
        if self._label_file is not None:
            # As live: a label is sent once, and is for the predictions of all versions.
            places, values, times_us = self._label_file.of(ids.keys[chosen], once=True)
            places = chosen[places]
        else:
            places, values, times_us = chosen, rows.labels[chosen], rows.label_times_us[chosen]
        times_us = np.where(times_us < 0, rows.times_us[places], times_us)
        due_us = np.maximum(times_us, rows.times_us[places])
        found = _Labels(ids.texts.take(pa.array(places)), ids.keys[places], times_us, due_us, values)
        return found.only(np.isfinite(found.values))

    def _labels_until(self, time_us: int) -> Iterator[InputRecord]:
        due = self._waiting.due_us <= time_us
        if not due.any():
            return
        ready = self._waiting.only(due)
        self._waiting = self._waiting.only(~due)
        ready = ready.at(np.lexsort((ready.times_us, ready.due_us)))
        self.labels += len(ready.keys)
        for start in range(0, len(ready.keys), _MOST_LABELS):
            yield self._known(ready.part(start, min(start + _MOST_LABELS, len(ready.keys))))

    def _known(self, part: _Labels) -> InputRecord:
        """The record of some labels."""
        batch_of = partial(
            LabelBatch.of,
            model=self._model,
            producer=_PRODUCER,
            sequence=self._offset,
            ids=part.ids,
            keys=part.keys,
            times_us=part.times_us,
            values=part.values,
        )
        layout = self._layouts.get(None)
        if layout is None:
            return self._encoded(batch_of())
        seen = {"keys": part.keys, "times_us": part.times_us, "outcomes": part.values}
        return self._handed(LabelBatch, batch_of, layout, len(part.keys), seen)

    def _encoded(self, batch: PredictionBatch | LabelBatch) -> InputRecord:
        """As a service sends it. What the first of its kind shows holds for those after it."""
        labels = isinstance(batch, LabelBatch)
        value, headers = (
            encode_labels(batch) if labels else encode_predictions(batch),
            tuple(headers_of(batch)),
        )
        version = None if labels else batch.version
        if version not in self._layouts:
            try:
                self._layouts[version] = decode(value, headers).layout
            except ContractError:
                self._layouts[version] = None
        return InputRecord(EVENTS, 0, self._next(), self._model.encode(), value, headers)

    def _handed(
        self,
        kind: type[PredictionBatch | LabelBatch],
        batch_of: Callable[[], PredictionBatch | LabelBatch],
        layout: Layout,
        rows: int,
        seen: dict[str, Any],
    ) -> InputRecord:
        """A batch as it is: what a decoder looks at in its rows, `_good` has, and in its columns the first record."""
        for one in seen.values():
            if isinstance(one, np.ndarray):
                # Compiled code knows arrays of records, which nobody changes.
                one.flags.writeable = False
        known = {"model": self._model, "producer": _PRODUCER, "sequence": self._offset, "rows": rows}
        known |= {"traceparent": None, "schema": None, "known_layout": layout}
        batch = kind.in_place(lambda: batch_of().columns, known | seen)
        return Handed(
            EVENTS, 0, self._next(), self._model.encode(), None, tuple(headers_of(batch)), batch=batch
        )

    def _next(self) -> int:
        offset, self._offset = self._offset, self._offset + 1
        return offset
