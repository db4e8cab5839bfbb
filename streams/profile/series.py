"""What a prediction belongs to: its version and, where the monitor names segments, one value of each."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import structlog

from homeostat.contract import PredictionBatch
from streams.profile.id_table import MAX_SERIES

_log = structlog.get_logger()

Codes = npt.NDArray[np.uint16]

ALL = "all"
OTHER = "(other)"
MAX_SEGMENT_VALUES = 50
"""Values of one segment column that are told apart, in order of appearance; later ones are `OTHER`."""
_MOST_COMBINATIONS = 2**62
"""Of the values of all columns: so many have numbers of 64 bits."""
_MOST_SERIES = MAX_SERIES - 1_024
"""From here on only versions are told apart, so that those always find room."""


class SeriesCodes:
    """Numbers (16 bits) for pairs of a version and the segments of one prediction, such as ("7", ("plan=gold",)).

    Which values get a number of their own depends on the order of the input alone. `known` is the state.
    """

    def __init__(self, known: Sequence[tuple[str, Sequence[str]]] = ()) -> None:
        self.known: list[tuple[str, tuple[str, ...]]] = []
        self._crowded: dict[str, bool] = {}
        self.versions: Codes = np.zeros(0, dtype=np.uint16)
        self._codes: dict[tuple[str, tuple[str, ...]], int] = {}
        self._numbers: dict[str, int] = {}
        self._labels: dict[str, set[str]] = {}
        for version, labels in known:
            self._code(version, tuple(labels))

    def of(self, batch: PredictionBatch, names: Sequence[str]) -> Codes | int:
        """The code of each row, one number where all are the same; `names` are the segment columns that
        count."""
        present = [name for name in names if name in batch.segment_names]
        if not present:
            return self._code(batch.version, ())
        columns = [self._column(batch, name) for name in present]
        mixed, combinations = np.zeros(batch.rows, dtype=np.int64), 1
        for labels, codes in columns:
            if combinations * len(labels) > _MOST_COMBINATIONS:
                kinds, mixed = np.unique(mixed, return_inverse=True)
                combinations = len(kinds)
            mixed = mixed * len(labels) + codes
            combinations *= len(labels)
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        chosen = np.zeros(len(first), dtype=np.uint16)
        for place in np.argsort(first).tolist():
            row = first[place]
            labels = tuple(labels[codes[row]] for labels, codes in columns if labels[codes[row]])
            chosen[place] = self._code(batch.version, labels)
        return chosen[inverse]

    def segments(self, code: int) -> tuple[str, ...]:
        """The segments in which a row of this code counts, the one of all rows first."""
        return (ALL, *self.known[code][1])

    def version(self, code: int) -> str:
        """The version of a code."""
        return self.known[code][0]

    def tell_crowded(self, model: str, spread: int) -> None:
        """Warn, once, of columns that have more values than are told apart."""
        for column in [column for column, told in self._crowded.items() if not told]:
            self._crowded[column] = True
            _log.warning(
                "A segment column has more values than are told apart; the others count together as `(other)`. The "
                "first ones to come are told apart, in each partition by itself: where the model is spread, a value "
                "may be among them in one and not in another. Watch a column with fewer values, or put some together.",
                model=model,
                column=column,
                told_apart=MAX_SEGMENT_VALUES,
                spread=spread,
            )

    def __iter__(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        return iter(self.known)

    def _column(self, batch: PredictionBatch, name: str) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Labels, and for each row the index of its own; a row without a value has the empty label."""
        values, codes = batch.segment_codes(name)
        indices = np.where(codes < 0, len(values), codes).astype(np.int64)
        labels = ["", *[""] * len(values)]
        known = self._labels.setdefault(name, set())
        distinct, first = np.unique(indices, return_index=True)
        for place in distinct[np.argsort(first)].tolist():
            if place == len(values):
                continue
            label = f"{name}={values[place]}"
            if label not in known and len(known) >= MAX_SEGMENT_VALUES:
                label = f"{name}={OTHER}"
                self._crowded.setdefault(name, False)
            elif values[place] != OTHER:
                known.add(label)
            labels[place] = label
        return labels, indices

    def _code(self, version: str, labels: tuple[str, ...]) -> int:
        found = self._codes.get((version, labels))
        if found is not None:
            return found
        if labels and len(self.known) >= _MOST_SERIES:
            return self._code(version, ())
        if len(self.known) >= MAX_SERIES:
            raise ValueError(f"a model has more than {MAX_SERIES} versions in one partition")
        number = self._numbers.setdefault(version, len(self._numbers))
        self._codes[version, labels] = len(self.known)
        self.known.append((version, labels))
        self.versions = np.append(self.versions, np.uint16(number))
        for label in labels:
            name, _, value = label.partition("=")
            if value != OTHER:
                self._labels.setdefault(name, set()).add(label)
        return self._codes[version, labels]
