"""A column of a file as its values show it, and how two columns go together."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_compute: Any = pc
"""Its functions are made at import, where no type checker sees them."""

MOST_CLASSES: Final = 30
_LEAST_BOTH: Final = 30
_POSITIVE: Final = r"yes|true|1|y|t|pos(itive)?|bad|default|fraud|churn|up|spam"
_TELLS: Final = 0.1
"""Least difference of mean predictions or scores between two texts by which the positive one is known."""
_SAME: Final = 0.999
_WITH_COMMAS: Final = r"^\s*[+-]?(\d+|\d{1,3}([.,]\d{3})+)([.,]\d+)?([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True)
class Seen:
    """A column of the first rows."""

    name: str
    kind: pa.DataType
    values: pa.Array
    distinct: int
    known: int

    @classmethod
    def of(cls, rows: pa.Table, name: str) -> "Seen":
        """One column of a table."""
        values = rows.column(name).combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        known = len(values) - values.null_count
        return cls(name, values.type, values, int(_compute.count_distinct(values).as_py()), known)

    @property
    def plain(self) -> str:
        """The name in small letters, its words joined by underscores."""
        return plain_name(self.name)

    @property
    def is_text(self) -> bool:
        return pa.types.is_string(self.kind) or pa.types.is_large_string(self.kind)

    @property
    def is_number_with_commas(self) -> bool:
        """Whether every text is a number as a spreadsheet writes it: `1.234,5` or `1,234.5`."""
        if not self.is_text or not self.known:
            return False
        numbers = _compute.match_substring_regex(self.values, pattern=_WITH_COMMAS)
        return bool(_compute.all(numbers).as_py()) and bool(
            _compute.any(_compute.match_substring(self.values, pattern=",")).as_py()
        )

    @property
    def is_number(self) -> bool:
        return pa.types.is_integer(self.kind) or pa.types.is_floating(self.kind)

    @property
    def is_time(self) -> bool:
        return pa.types.is_temporal(self.kind)

    @property
    def is_share(self) -> bool:
        """Whether it holds numbers between 0 and 1, and others than these two."""
        if not pa.types.is_floating(self.kind) or not self.known:
            return False
        least, greatest = _compute.min_max(self.values).as_py().values()
        return least >= 0 and greatest <= 1 and self.distinct > 2

    @property
    def is_binary(self) -> bool:
        """Whether it holds 0 and 1, or false and true."""
        return not self.is_text and not self.is_time and set(self.codes()) - {None} == {"0", "1"}

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole."""
        numbers = self.numbers()
        return bool(np.all(np.isnan(numbers) | (numbers == np.round(numbers))))

    @property
    def is_continuous(self) -> bool:
        """Whether it holds more numbers than there could be classes."""
        return self.is_number and self.distinct > MOST_CLASSES

    def numbers(self) -> npt.NDArray[np.float64]:
        """As float64; booleans as 0 and 1."""
        values = self.values.cast(pa.uint8()) if pa.types.is_boolean(self.kind) else self.values
        found: npt.NDArray[np.float64] = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return found

    def codes(self) -> npt.NDArray[np.object_]:
        """Values as text, equal numbers as equal texts; None where missing."""
        if self.is_text:
            return np.array(self.values.to_pylist(), dtype=object)
        return np.array([None if np.isnan(one) else f"{one:g}" for one in self.numbers()], dtype=object)

    def texts(self) -> list[str]:
        """Its different values as texts, in order."""
        return sorted({str(one) for one in self.codes() if one is not None})

    def counts(self) -> dict[str, int]:
        """How often each value is there, the rarest first."""
        found = _compute.value_counts(self.values.drop_null()).to_pylist()
        return {
            str(one["values"]): int(one["counts"]) for one in sorted(found, key=lambda one: one["counts"])
        }


def plain_name(name: str) -> str:
    """A name in small letters, its words joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def agreement(one: Seen, said: Seen | None, score: Seen | None) -> float:
    """How well a column agrees with what the model said, beyond chance: Cohen's kappa, of numbers the squared
    correlation."""
    if one.is_time or one.distinct < 2:
        return 0.0
    if said is not None and said.is_continuous:
        if not one.is_continuous:
            return 0.0
        strength = abs(correlation(one, said))
        # What the prediction follows from without any error is a feature.
        return strength**2 if strength < _SAME else 0.0
    if said is not None and not (one.is_text and said.is_binary):
        return _kappa(one.codes(), said.codes())
    if one.distinct != 2:
        return 0.0
    if said is not None:
        yes = said.codes()
    elif score is not None:
        yes = np.where(score.numbers() >= 0.5, "1", "0").astype(object)
    else:
        return 0.0
    return _kappa(one.codes() if not one.is_text else _as_binary(one, said, score), yes)


def ranks_apart(score: Seen, outcome: Seen) -> float:
    """The chance that a score is higher where the outcome is the positive one of two, ties counting half (the area
    under the ROC curve); 0.5 where that is not known."""
    if outcome.distinct != 2 or outcome.is_time:
        return 0.5
    numbers = score.numbers()
    yes = (outcome.codes() if not outcome.is_text else _as_binary(outcome, None, score)) == "1"
    known = np.isfinite(numbers) & np.array([one is not None for one in outcome.codes()])
    first, second = numbers[known & yes], numbers[known & ~yes]
    if min(len(first), len(second)) < _LEAST_BOTH:
        return 0.5
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, side="left") + np.searchsorted(ordered, first, side="right")
    return float(below.mean()) / (2 * len(second))


def correlation(one: Seen, other: Seen) -> float:
    """Of two columns of numbers; 0 where either is constant or there are too few."""
    first, second = one.numbers(), other.numbers()
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < _LEAST_BOTH or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return 0.0
    return float(np.corrcoef(first[both], second[both])[0, 1])


def says_the_same(one: Seen, label: Seen) -> bool:
    """Whether a column of numbers is the label in other words."""
    if label.is_text or not (label.is_number or pa.types.is_boolean(label.kind)):
        return False
    return abs(correlation(one, label)) > _SAME


def positive_of(outcome: Seen, said: Seen | None, score: Seen | None) -> str:
    """The text that means 1: the one with the higher predictions or scores; where they do not tell, by the word, or the
    rarest."""
    values = outcome.texts()
    told = said if said is not None and said.is_binary else score
    if told is not None:
        numbers, texts = told.numbers(), outcome.codes()
        groups = {value: numbers[texts == value] for value in values}
        means = {value: float(np.nanmean(one)) for value, one in groups.items() if np.isfinite(one).any()}
        if means and max(means.values()) - min(means.values()) >= _TELLS:
            return max(means, key=lambda value: means[value])
    named = [one for one in values if re.fullmatch(_POSITIVE, one.lower())]
    return (named or list(outcome.counts()))[0]


def _as_binary(one: Seen, said: Seen | None, score: Seen | None) -> npt.NDArray[np.object_]:
    """A text of two values as 1 where it is the one that goes with a positive answer, else 0; None where missing."""
    positive = positive_of(one, said, score)
    return np.array([None if v is None else "1" if v == positive else "0" for v in one.codes()], dtype=object)


def _kappa(first: npt.NDArray[np.object_], second: npt.NDArray[np.object_]) -> float:
    """Agreement beyond chance of two columns over the same values; 0 where the values are others. Source: Cohen
    (1960)."""
    both = np.array([a is not None and b is not None for a, b in zip(first, second, strict=True)])
    if both.sum() < _LEAST_BOTH:
        return 0.0
    values = sorted(set(first[both]) | set(second[both]))
    if len(values) > MOST_CLASSES or set(first[both]) != set(second[both]):
        return 0.0
    chance = sum(float((first[both] == v).mean() * (second[both] == v).mean()) for v in values)
    same = float((first[both] == second[both]).mean())
    return (same - chance) / (1 - chance) if chance < 1 else 0.0
