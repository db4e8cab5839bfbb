"""A lane holds the rows of one model, version and set of names while they come in, as lists of plain values."""

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np

from homeostat.arguments import Block, Label, Prediction
from homeostat.columns import is_feature_name, name_text
from homeostat.errors import ContractError
from homeostat.lines import ID_BYTES, VALUE_BYTES, Line

MAX_PLAIN_ID_CHARS: Final = 128
"""Longer ids take the slow way, where their memory is counted."""

_MAX_NAMES = 1_024
_PACKED_STRIDE = 4
_PACKED_FIXED = 4
_FLAT_FIXED = 7
_LABEL_STRIDE = 3
_NAN: Final = float("nan")
_NUMBERS: Final = frozenset(
    (float, int, bool, type(None), np.float64, np.float32, np.int64, np.int32, np.bool_)
)
# So many characters all texts of a row may have together before they are counted.
_TEXTS_BYTES = 128
# The header of a `bytes` object, its fixed numbers, and the pointers of a row.
_PACKED_BYTES = 33 + 8 * _PACKED_FIXED + 8 * _PACKED_STRIDE


class NotPlain(Exception):
    """An event that has to be kept as it is."""


class Lane:
    """Where the rows of one model, version and set of names wait: in `numbers` those whose values are all numbers, in
    `mixed` the others. Once a row has texts, all are kept value by value (`numbers` is None).

    `values_of` gives a dict's values in the lane's order; `pack` makes bytes of time (nanoseconds), prediction,
    score, latency and those values.
    """

    __slots__ = (
        "lines",
        "mixed",
        "model",
        "names",
        "numbers",
        "pack",
        "pack_numbers",
        "segments",
        "values_of",
        "version",
        "width",
    )

    def __init__(self, model: str, version: str, names: Sequence[str], segments: Sequence[str]) -> None:
        self.model = model
        self.version = version
        self.names = tuple(names)
        self.segments = tuple(segments)
        self.width = len(self.names)
        self.values_of = _getter(self.names)
        self.pack_numbers = struct.Struct(f"q{_PACKED_FIXED - 1 + self.width}d").pack
        self.pack: Callable[..., bytes] = self.pack_numbers
        packed_bytes = ID_BYTES + _PACKED_BYTES + 8 * self.width
        numbers = Line(self._packed_blocks, stride=_PACKED_STRIDE, row_bytes=packed_bytes)
        stride = _FLAT_FIXED + self.width + len(self.segments)
        mixed_bytes = ID_BYTES + VALUE_BYTES * stride + _TEXTS_BYTES
        self.mixed = Line(self._flat_blocks, stride=stride, row_bytes=mixed_bytes)
        self.lines = (numbers, self.mixed)
        self.numbers: Line | None = None if segments else numbers

    def has(self, features: Mapping[Any, Any]) -> bool:
        """Whether these are the lane's features."""
        return len(features) == self.width and all(map(features.__contains__, self.names))

    def row(self, event: Prediction) -> tuple[Line, tuple[Any, ...], int]:
        """The line for the event, the row, and by how many bytes its texts are longer than usual. The lane learns
        from it what its rows are like. Raises `NotPlain`.
        """
        if not _is_plain_id(event.id) or event.class_scores is not None:
            raise NotPlain
        if not _are_texts(event.status, event.trace):
            raise NotPlain
        if self.numbers is not None and event.prediction is not None:
            values = (event.score, event.latency_ms, *self.values_of(event.features))
            if _NUMBERS.issuperset(map(type, values)):
                if None in values[2:]:
                    self.pack = self._pack_with_gaps
                try:
                    packed = self._pack_with_gaps(1_000 * event.time_us, event.prediction, *values)
                except (struct.error, OverflowError):
                    pass
                else:
                    return self.numbers, (event.id, event.status, event.trace, packed), 0
        row, extra_bytes = self.flat_row(
            event.id,
            event.status,
            event.trace,
            event.time_us,
            event.prediction,
            event.score,
            event.latency_ms,
            event.features,
            event.segments,
        )
        if event.prediction is not None:
            # A request that failed says nothing of the others.
            self.numbers = None
        return self.mixed, row, extra_bytes

    def flat_row(
        self,
        id: str,
        status: str | None,
        trace: str | None,
        time_us: int,
        prediction: Any,
        score: Any,
        latency_ms: Any,
        features: Mapping[Any, Any],
        segments: Mapping[Any, Any] | None,
    ) -> tuple[tuple[Any, ...], int]:
        """A row of single values, and by how many bytes its texts are longer than usual. Raises `NotPlain` for
        values that the host could still change.
        """
        values = self.values_of(features)
        if segments:
            values += tuple(map(segments.__getitem__, self.segments))
        extra_bytes = 0
        for value in values:
            kind = type(value)
            if kind is str:
                extra_bytes += len(value)
            elif kind is not float and kind not in _NUMBERS:
                raise NotPlain
        for value in (prediction, score, latency_ms):
            kind = type(value)
            if kind is str:
                extra_bytes += len(value)
            elif kind not in _NUMBERS:
                raise NotPlain
        row = (id, status, trace, time_us, prediction, score, latency_ms, *values)
        return row, max(0, extra_bytes - _TEXTS_BYTES)

    def _pack_with_gaps(self, time_ns: int, prediction: Any, *values: Any) -> bytes:
        return self.pack_numbers(time_ns, prediction, *[_NAN if value is None else value for value in values])

    def _packed_blocks(self, line: list[Any]) -> list[Block]:
        ids, statuses, traces, rows = (line[i::_PACKED_STRIDE] for i in range(_PACKED_STRIDE))
        table = np.frombuffer(b"".join(rows)).reshape(len(rows), -1).T.copy()
        return self._block([ids, statuses, traces, table[0].view(np.int64) // 1_000, *table[1:]])

    def _flat_blocks(self, line: list[Any]) -> list[Block]:
        stride = self.mixed.stride
        return self._block([line[i::stride] for i in range(stride)])

    def _block(self, columns: list[Any]) -> list[Block]:
        ids, statuses, traces, times_us, predictions, scores, latencies_ms, *values = columns
        return [
            Block(
                model=self.model,
                version=self.version,
                ids=ids,
                values=predictions,
                times_us=times_us,
                scores=given(scores),
                latencies_ms=given(latencies_ms),
                statuses=given(statuses),
                traces=given(traces),
                features=dict(zip(self.names, values, strict=False)),
                segments=dict(zip(self.segments, values[self.width :], strict=True)) or None,
            )
        ]


def lane_of(model: Any, version: Any, names: Sequence[Any], segments: Sequence[Any]) -> Lane | None:
    """A lane for such events; None when a name is none, which the packer will tell."""
    try:
        model_text, version_text = name_text("model", model), name_text("version", version)
    except ContractError:
        return None
    fits = len(names) <= _MAX_NAMES and all(map(is_feature_name, (*names, *segments)))
    return Lane(model_text, version_text, names, segments) if fits else None


def label_line(model: Any) -> Line | None:
    """A line for the model's labels; None when the name is none."""
    try:
        name = name_text("model", model)
    except ContractError:
        return None

    def blocks(line: list[Any]) -> list[Block]:
        ids, times_us, values = (line[i::_LABEL_STRIDE] for i in range(_LABEL_STRIDE))
        return [Block(model=name, version=None, ids=ids, values=values, times_us=times_us, label=True)]

    return Line(blocks, stride=_LABEL_STRIDE, row_bytes=ID_BYTES + 2 * VALUE_BYTES, label=True)


def label_row(label: Label) -> tuple[tuple[Any, ...], int]:
    """A label as a row, and by how many bytes its text is longer than usual. Raises `NotPlain`."""
    kind = type(label.value)
    if not _is_plain_id(label.id) or (kind is not str and kind not in _NUMBERS):
        raise NotPlain
    return (label.id, label.time_us, label.value), len(label.value) if kind is str else 0


def gathered(events: Sequence[Prediction | Label]) -> list[Block]:
    """Single events in columns, by model, version and names."""
    predictions: dict[tuple[object, ...], list[Prediction]] = {}
    labels: dict[object, list[Label]] = {}
    for event in events:
        if isinstance(event, Prediction):
            segments = tuple(event.segments or ())
            key = (_plain(event.model), _plain(event.version), segments, *event.features)
            predictions.setdefault(key, []).append(event)
        else:
            labels.setdefault(_plain(event.model), []).append(event)
    return [*map(_prediction_block, predictions.values()), *map(_label_block, labels.values())]


def given(column: Any) -> Any:
    """The column, or None when nothing was given in any row."""
    if isinstance(column, np.ndarray):
        return None if np.isnan(column).all() else column
    return None if column.count(None) == len(column) else column


def bytes_of_event(event: Prediction | Label) -> int:
    """About how much memory a single event takes."""
    if isinstance(event, Label):
        return ID_BYTES + 3 * VALUE_BYTES
    values = [event.id, event.status, event.class_scores, *event.features.values()]
    values += (event.segments or {}).values()
    total = 400 + VALUE_BYTES * len(values)
    for value in values:
        if type(value) not in _NUMBERS:
            total += _bytes_of(value) - VALUE_BYTES
    return total


def _bytes_of(value: Any) -> int:
    if isinstance(value, str):
        return VALUE_BYTES + len(value)
    if isinstance(value, tuple):
        return VALUE_BYTES * len(value)
    return int(getattr(value, "nbytes", VALUE_BYTES))


def _prediction_block(events: Sequence[Prediction]) -> Block:
    first = events[0]
    columns = zip(*events, strict=True)
    _, _, ids, rows, values, scores, times_us, latencies_ms, statuses, segments, vectors, traces = columns
    return Block(
        model=first.model,
        version=first.version,
        ids=ids,
        values=values,
        times_us=times_us,
        scores=given(scores),
        latencies_ms=given(latencies_ms),
        statuses=given(statuses),
        traces=given(traces),
        class_scores=given(vectors),
        segments={name: [row[name] for row in segments] for name in first.segments or ()} or None,
        features={name: [row[name] for row in rows] for name in first.features},
    )


def _label_block(events: Sequence[Label]) -> Block:
    _, ids, values, times_us = zip(*events, strict=True)
    return Block(model=events[0].model, version=None, ids=ids, values=values, times_us=times_us, label=True)


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda features: tuple(features[name] for name in names)


def _is_plain_id(id: Any) -> bool:
    return type(id) is str and len(id) <= MAX_PLAIN_ID_CHARS


def _are_texts(*values: Any) -> bool:
    return all(value is None or (type(value) is str and len(value) <= MAX_PLAIN_ID_CHARS) for value in values)


def _plain(name: object) -> object:
    """Names come unchecked: no method of a host's own type may run here. What is no name is refused later."""
    if isinstance(name, str):
        return str.__str__(name)
    return int.__int__(name) if isinstance(name, int) else type(name)
