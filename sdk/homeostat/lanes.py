"""A lane holds the rows of one model, version and set of names while they come in, as lists of plain values."""

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np

from homeostat.arguments import Block, Label, Prediction
from homeostat.columns import is_feature_name, name_text
from homeostat.errors import ContractError

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
# What Python keeps for a number or a short text in a list: a pointer, and a header with the value.
_VALUE_BYTES = 56
_ID_BYTES = _VALUE_BYTES + 40
# The header of a `bytes` object, its fixed numbers, and the pointers of a row.
_PACKED_BYTES = 33 + 8 * _PACKED_FIXED + 8 * _PACKED_STRIDE


class NotPlain(Exception):
    """An event that has to be kept as it is."""


class Chunk:
    """Rows of one lane in one list, `stride` values a row, until it has `full` values.

    `seen_s`: when the packer first saw it with a row (of the monotonic clock).
    """

    __slots__ = ("extra_bytes", "full", "line", "make", "packed", "row_bytes", "seen_s", "stride")

    def __init__(
        self,
        make: Callable[[list[Any]], list[Block]],
        *,
        stride: int,
        batch_rows: int,
        row_bytes: int,
        packed: bool = False,
    ) -> None:
        self.line: list[Any] = []
        self.make = make
        self.stride = stride
        self.full = stride * batch_rows
        self.row_bytes = row_bytes
        self.packed = packed
        self.extra_bytes = 0
        self.seen_s: float | None = None

    @property
    def rows(self) -> int:
        return len(self.line) // self.stride

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes + self.extra_bytes

    def blocks(self) -> list[Block]:
        """The rows in columns."""
        return self.make(self.line)


class Lane:
    """Rows of numbers are packed (`packed`); once one has texts, all are kept value by value.

    `values_of` gives a dict's values in the lane's order, `pack` makes bytes of time, prediction, score, latency
    and those values. `row_bytes`: about how much memory a row takes, without long texts.
    """

    __slots__ = (
        "chunk",
        "label",
        "model",
        "names",
        "pack",
        "pack_numbers",
        "packed",
        "row_bytes",
        "segments",
        "spare",
        "values_of",
        "version",
        "width",
    )

    def __init__(
        self,
        model: str,
        version: str | None,
        names: Sequence[str],
        segments: Sequence[str],
        *,
        label: bool = False,
    ) -> None:
        self.model = model
        self.version = version
        self.names = tuple(names)
        self.segments = tuple(segments)
        self.label = label
        self.width = len(self.names)
        self.values_of = _getter(self.names)
        self.pack_numbers = struct.Struct(f"q{_PACKED_FIXED - 1 + self.width}d").pack
        self.pack: Callable[..., bytes] = self.pack_numbers
        self.packed = not segments and not label
        self.row_bytes = _ID_BYTES + _PACKED_BYTES + 8 * self.width
        if not self.packed:
            self.keep_values()
        self.chunk: Chunk | None = None
        self.spare: Chunk | None = None

    def keep_values(self) -> None:
        """From now on rows are kept value by value."""
        self.packed = False
        self.row_bytes = _ID_BYTES + _VALUE_BYTES * (_FLAT_FIXED + self.width + len(self.segments))

    def has(self, features: Mapping[Any, Any]) -> bool:
        """Whether these are the lane's features."""
        return len(features) == self.width and all(map(features.__contains__, self.names))

    def new_chunk(self, batch_rows: int, *, packed: bool) -> Chunk:
        """An empty one, for rows of numbers or of single values."""
        make, stride = self._flat_blocks, _FLAT_FIXED + self.width + len(self.segments)
        if self.label:
            make, stride = self._label_blocks, _LABEL_STRIDE
        elif packed:
            make, stride = self._packed_blocks, _PACKED_STRIDE
        return Chunk(make, stride=stride, batch_rows=batch_rows, row_bytes=self.row_bytes, packed=packed)

    def row(self, event: Prediction) -> tuple[tuple[Any, ...], int, bool]:
        """The event as a row, by how many bytes its texts are longer than usual, and whether it is packed. The
        lane learns from it what its rows are like. Raises `NotPlain`.
        """
        if not _is_plain_id(event.id) or event.class_scores is not None:
            raise NotPlain
        if not _are_texts(event.status, event.trace):
            raise NotPlain
        if self.packed:
            values = (event.score, event.latency_ms, *self.values_of(event.features))
            if event.prediction is not None and _NUMBERS.issuperset(map(type, values)):
                if None in values[2:]:
                    self.pack = self._pack_with_gaps
                try:
                    packed = self._pack_with_gaps(event.time_us, event.prediction, *values)
                except (struct.error, OverflowError):
                    pass
                else:
                    return (event.id, event.status, event.trace, packed), 0, True
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
        self.keep_values()
        return row, extra_bytes, False

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
        return (id, status, trace, time_us, prediction, score, latency_ms, *values), extra_bytes

    def label_row(self, id: Any, value: Any, time_us: int) -> tuple[tuple[Any, ...], int]:
        """A label as a row, and by how many bytes its text is longer than usual. Raises `NotPlain`."""
        kind = type(value)
        if not _is_plain_id(id) or (kind is not str and kind not in _NUMBERS):
            raise NotPlain
        return (id, time_us, value), len(value) if kind is str else 0

    def _pack_with_gaps(self, time_us: int, prediction: Any, *values: Any) -> bytes:
        return self.pack_numbers(time_us, prediction, *[_NAN if value is None else value for value in values])

    def _packed_blocks(self, line: list[Any]) -> list[Block]:
        ids, statuses, traces, rows = (line[i::_PACKED_STRIDE] for i in range(_PACKED_STRIDE))
        table = np.frombuffer(b"".join(rows)).reshape(len(rows), -1).T.copy()
        return self._block([ids, statuses, traces, table[0].view(np.int64), *table[1:]])

    def _flat_blocks(self, line: list[Any]) -> list[Block]:
        stride = _FLAT_FIXED + self.width + len(self.segments)
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

    def _label_blocks(self, line: list[Any]) -> list[Block]:
        ids, times_us, values = (line[i::_LABEL_STRIDE] for i in range(_LABEL_STRIDE))
        return [Block(model=self.model, version=None, ids=ids, values=values, times_us=times_us, label=True)]


class Singles:
    """Events of every other kind, one by one: with vectors, long ids, or values that are still to be judged."""

    __slots__ = ("chunk", "packed", "row_bytes", "spare")

    def __init__(self) -> None:
        self.chunk: Chunk | None = None
        self.spare: Chunk | None = None
        self.packed = False
        self.row_bytes = 0

    def new_chunk(self, batch_rows: int, *, packed: bool) -> Chunk:
        """An empty one."""
        return Chunk(gathered, stride=1, batch_rows=batch_rows, row_bytes=0, packed=packed)


def lane_of(model: Any, version: Any, names: Sequence[Any], segments: Sequence[Any]) -> Lane | None:
    """A lane for such events; None when a name is none, which the packer will tell."""
    try:
        model_text, version_text = name_text("model", model), name_text("version", version)
    except ContractError:
        return None
    fits = len(names) <= _MAX_NAMES and all(map(is_feature_name, (*names, *segments)))
    return Lane(model_text, version_text, names, segments) if fits else None


def label_lane(model: Any) -> Lane | None:
    """A lane for the model's labels; None when the name is none."""
    try:
        return Lane(name_text("model", model), None, (), (), label=True)
    except ContractError:
        return None


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
        return _ID_BYTES + 3 * _VALUE_BYTES
    values = [event.id, event.status, event.class_scores, *event.features.values()]
    values += (event.segments or {}).values()
    return 400 + sum(_bytes_of(value) for value in values)


def _bytes_of(value: Any) -> int:
    if isinstance(value, str):
        return _VALUE_BYTES + len(value)
    if isinstance(value, tuple):
        return _VALUE_BYTES * len(value)
    return int(getattr(value, "nbytes", _VALUE_BYTES))


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
