"""What each column of a file probably is: a first monitor, with the reason for every guess."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detectors.values import Task
from streams.files.tables import FileInvalid, TableFile

_compute: Any = pc
"""Its functions are made at import, where no type checker sees them."""

Role = Literal["time", "id", "version", "prediction", "score", "label", "label_time", "feature", "left out"]
LOOKED_AT: Final = 50_000
"""Rows from which is guessed."""
_NAMES: Final[dict[Role, str]] = {
    "label_time": r"label_?(time|date|at|ts)|(known|labell?ed|resolved|paid)_?(at|on|time|date)",
    "time": r"(event_?|prediction_?|request_?|created_?)?(time(stamp)?|date(time)?|ts|at)",
    "id": r"id|uuid|key|(event|request|row|record|prediction|transaction|order|customer|user|loan|entity)_?id",
    "version": r"(model_?)?version|release|model_?id",
    "score": r"(.*_)?(score|proba(bility)?|prob|pred_proba|y_prob|confidence)s?",
    "prediction": r"(y_?|model_?)?(pred(iction|icted|s)?|hat|output)(_?(label|class|value))?|said|yhat",
    "label": r"(ground_?)?truth|label|target|y|y_?true|actual|outcome|class|response",
}
_POSITIVE: Final = r"yes|true|1|y|t|pos(itive)?|bad|default|fraud|churn|up|spam"
_SEGMENT: Final = (
    r"(.*_)?(region|country|segment|channel|market|tenant|group|tier|site|store|hospital|gender|sex)"
)
_AGREES: Final = 0.4
"""Cohen's kappa, or for numbers the correlation squared, from which a column is taken for the label of a prediction."""
_OUTCOME: Final = (
    r"(is_|was_|has_|did_)?(churn(ed)?|re?paid|default(ed)?|fraud(ulent)?|convert(ed)?|click(ed)?|cancel(l?ed)?|bought|purchased?|"
    r"return(ed)?|surviv(ed)?|died|death|left|attrition|subscribed|accepted|approved|spam|delayed|failed|failure|diagnosis)"
)
_AGREES_AS_OUTCOME: Final = 0.1
"""The same for a column that is named like something that turns out."""
_TELLS: Final = 0.1
"""Least difference of mean predictions or scores between two texts by which the positive one is known."""
_SAME: Final = 0.999
_MOST_CLASSES: Final = 30
_CLOCK_VALUES = 50
"""Distinct values of a column that never falls, from which on it is a clock: fewer may be sorted rows."""
_MOST_SEGMENTS: Final = 12


@dataclass(frozen=True, slots=True)
class Guess:
    """A column, its role, and why. `hint`: what a person may want to say instead."""

    column: str
    role: Role
    why: str
    hint: str = ""


@dataclass
class Guessed:
    """Guesses for all columns in their order, and what follows from them."""

    rows: int
    more: bool
    guesses: dict[str, Guess] = field(default_factory=dict[str, Guess])
    task: Task = "binary"
    classes: list[str] = field(default_factory=list[str])
    positive: str | None = None
    segments: list[str] = field(default_factory=list[str])

    def of(self, role: Role) -> str | None:
        """The first column with this role."""
        return next((one.column for one in self.guesses.values() if one.role == role), None)

    def all_of(self, role: Role) -> list[str]:
        """All columns with this role."""
        return [one.column for one in self.guesses.values() if one.role == role]


@dataclass(frozen=True)
class _Seen:
    """A column of the first rows."""

    name: str
    kind: pa.DataType
    values: pa.Array
    distinct: int
    known: int

    @property
    def is_text(self) -> bool:
        return pa.types.is_string(self.kind) or pa.types.is_large_string(self.kind)

    @property
    def is_number(self) -> bool:
        return pa.types.is_integer(self.kind) or pa.types.is_floating(self.kind)

    @property
    def is_time(self) -> bool:
        return pa.types.is_temporal(self.kind)

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


def guess(table: TableFile) -> Guessed:
    """Look at the first 50,000 rows of a table. Raises `FileInvalid` where it has none, or no column for a feature."""
    rows, more = _first_rows(table)
    found = Guessed(rows.num_rows, more)
    odd = [field.name for field in rows.schema if pa.types.is_nested(field.type) or _is_bytes(field.type)]
    for name in odd:
        found.guesses[name] = Guess(
            name, "left out", f"{rows.schema.field(name).type} is no number and no text"
        )
    seen = [_seen(rows, name) for name in table.columns if name not in odd]
    left = {one.name: one for one in seen}

    def take(role: Role, wanted: Callable[[_Seen], bool], why: str) -> _Seen | None:
        named = [one for one in left.values() if _is_called(one.name, role) and wanted(one)]
        if not named:
            return None
        one = left.pop(named[0].name)
        found.guesses[one.name] = Guess(one.name, role, why)
        return one

    take("label_time", lambda one: one.is_time, "a time, and named like when a label became known")
    _take_time(found, left)
    take("id", lambda one: one.distinct == rows.num_rows, "another one in every row, and named like an id")
    take("version", lambda one: one.distinct <= _MOST_CLASSES and not one.is_time, "few values, named so")
    score = take("score", _is_share, "numbers between 0 and 1, and named so")
    said = take("prediction", lambda one: one.distinct > 1 and not one.is_time, "named so")
    label = take("label", lambda one: one.known > 0 and not one.is_time, "named so")
    if label is None and (said is not None or score is not None):
        label = _by_agreement(found, left, said, score)
    _take_task(found, label or said, said, score)
    for one in left.values():
        found.guesses[one.name] = _feature(one, rows.num_rows, label)
    found.guesses = {name: found.guesses[name] for name in table.columns}
    if not found.all_of("feature"):
        raise FileInvalid(f"{table.path}: no column can be a feature: {list(found.guesses.values())}")
    found.segments = [one.name for one in left.values() if _is_segment(one, rows.num_rows)]
    return found


def _first_rows(table: TableFile) -> tuple[pa.Table, bool]:
    taken: list[pa.RecordBatch] = []
    rows = 0
    for batch in table.batches():
        taken.append(batch.slice(0, LOOKED_AT - rows))
        rows += taken[-1].num_rows
        if rows >= LOOKED_AT:
            return pa.Table.from_batches(taken), True
    if not rows:
        raise FileInvalid(f"{table.path}: it has no rows")
    return pa.Table.from_batches(taken), False


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _seen(rows: pa.Table, name: str) -> _Seen:
    values = rows.column(name).combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    known = len(values) - values.null_count
    return _Seen(name, values.type, values, int(_compute.count_distinct(values).as_py()), known)


def _is_called(name: str, role: Role) -> bool:
    return re.fullmatch(_NAMES[role], _plain(name)) is not None


def _turns_out(one: _Seen) -> bool:
    return re.fullmatch(_OUTCOME, _plain(one.name)) is not None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _is_share(one: _Seen) -> bool:
    if not pa.types.is_floating(one.kind) or not one.known:
        return False
    least, greatest = _compute.min_max(one.values).as_py().values()
    return least >= 0 and greatest <= 1 and one.distinct > 2


def _take_time(found: Guessed, left: dict[str, _Seen]) -> None:
    """A column of times; where several are, the one that is named so, or else the first."""
    times = [one for one in left.values() if one.is_time and not pa.types.is_time(one.kind)]
    named = [one for one in times if _is_called(one.name, "time")]
    seconds = [one for one in left.values() if _is_epoch(one) and _is_called(one.name, "time")]
    for one in [*named, *times, *seconds][:1]:
        left.pop(one.name)
        found.guesses[one.name] = Guess(one.name, "time", "a time" if one.is_time else "seconds since 1970")


def _is_epoch(one: _Seen) -> bool:
    if not one.is_number or not one.known:
        return False
    least, greatest = _compute.min_max(one.values).as_py().values()
    return least > 1e8 and greatest < 1e10


def _by_agreement(
    found: Guessed, left: dict[str, _Seen], said: _Seen | None, score: _Seen | None
) -> _Seen | None:
    """The column that agrees with what the model said far more often than by chance."""
    rated = [(_agreement(one, said, score), one) for one in left.values()]
    rated = [
        (each, one) for each, one in rated if each >= (_AGREES_AS_OUTCOME if _turns_out(one) else _AGREES)
    ]
    if not rated:
        return None
    strength, one = max(rated, key=lambda each: (_turns_out(each[1]), each[0]))
    left.pop(one.name)
    why = f"agrees with what the model said far beyond chance ({strength:.2f})"
    found.guesses[one.name] = Guess(one.name, "label", why, "a feature that the model leans on does so, too")
    return one


def _agreement(one: _Seen, said: _Seen | None, score: _Seen | None) -> float:
    if one.is_time or one.distinct < 2:
        return 0.0
    if said is not None and said.is_number and said.distinct > _MOST_CLASSES:
        if not one.is_number or one.distinct <= _MOST_CLASSES:
            return 0.0
        strength = abs(_correlation(one, said))
        # What the prediction follows from without any error is a feature.
        return strength**2 if strength < _SAME else 0.0
    if said is not None and not (one.is_text and _is_binary(said)):
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


def _is_binary(one: _Seen) -> bool:
    """Whether it holds 0 and 1, or false and true."""
    return not one.is_text and not one.is_time and set(one.codes()) - {None} == {"0", "1"}


def _as_binary(one: _Seen, said: _Seen | None, score: _Seen | None) -> npt.NDArray[np.object_]:
    """A text of two values as 1 where it is the one that goes with a positive answer, else 0; None where missing."""
    positive = _positive(one, said, score)
    return np.array([None if v is None else "1" if v == positive else "0" for v in one.codes()], dtype=object)


def _kappa(first: npt.NDArray[np.object_], second: npt.NDArray[np.object_]) -> float:
    """Agreement beyond chance of two columns over the same values; 0 where the values are others. Source: Cohen
    (1960)."""
    both = np.array([a is not None and b is not None for a, b in zip(first, second, strict=True)])
    if both.sum() < 30:
        return 0.0
    values = sorted(set(first[both]) | set(second[both]))
    if len(values) > _MOST_CLASSES or set(first[both]) != set(second[both]):
        return 0.0
    chance = sum(float((first[both] == v).mean() * (second[both] == v).mean()) for v in values)
    same = float((first[both] == second[both]).mean())
    return (same - chance) / (1 - chance) if chance < 1 else 0.0


def _correlation(one: _Seen, other: _Seen) -> float:
    first, second = one.numbers(), other.numbers()
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 30 or np.ptp(first[both]) == 0 or np.ptp(second[both]) == 0:
        return 0.0
    return float(np.corrcoef(first[both], second[both])[0, 1])


def _take_task(found: Guessed, outcome: _Seen | None, said: _Seen | None, score: _Seen | None) -> None:
    if outcome is None:
        return
    if outcome.distinct == 2 or (score is not None and outcome.distinct < 3):
        if outcome.is_text:
            found.positive = _positive(outcome, said, score)
        return
    if outcome.is_text or (outcome.distinct <= _MOST_CLASSES and _is_whole(outcome)):
        found.task = "multiclass" if outcome.is_text else "regression"
        if outcome.is_text:
            found.classes = sorted({str(one) for one in outcome.values.drop_null().to_pylist()})[
                :_MOST_CLASSES
            ]
        return
    found.task = "regression"


def _positive(outcome: _Seen, said: _Seen | None, score: _Seen | None) -> str:
    """The text that means 1: the one with the higher predictions or scores; where they do not tell, by the word, or the
    rarest."""
    values = sorted({str(one) for one in outcome.values.drop_null().to_pylist()})
    told = said if said is not None and _is_binary(said) else score
    if told is not None:
        numbers, texts = told.numbers(), outcome.codes()
        means = {
            value: float(np.nanmean(found)) for value in values if _any(found := numbers[texts == value])
        }
        if means and max(means.values()) - min(means.values()) >= _TELLS:
            return max(means, key=lambda value: means[value])
    named = [one for one in values if re.fullmatch(_POSITIVE, one.lower())]
    return (named or _rarest(outcome))[0]


def _any(numbers: npt.NDArray[np.float64]) -> bool:
    return bool(np.isfinite(numbers).any())


def _rarest(one: _Seen) -> list[str]:
    counts = _compute.value_counts(one.values.drop_null()).to_pylist()
    return [str(each["values"]) for each in sorted(counts, key=lambda each: each["counts"])]


def _is_whole(one: _Seen) -> bool:
    numbers = one.numbers()
    return bool(np.all(np.isnan(numbers) | (numbers == np.round(numbers))))


def _feature(one: _Seen, rows: int, label: _Seen | None) -> Guess:
    if one.is_time:
        return Guess(one.name, "left out", "a time")
    if one.is_text and one.distinct > max(1_000, rows // 2):
        return Guess(one.name, "left out", "text that is another one in most rows: an id, or free text")
    if label is not None and one.is_number and _same(one, label):
        return Guess(one.name, "left out", f"says the same as the label {label.name!r}")
    if not one.known:
        return Guess(
            one.name, "feature", "missing in every row", "leave it out if that is not meant to change"
        )
    if one.distinct <= 1:
        return Guess(one.name, "feature", "constant", "watched so that it is told when it is not any more")
    if one.is_number and one.distinct == rows and _is_whole(one) and rows > 100:
        return Guess(one.name, "left out", "whole numbers, another one in every row: a number of the row")
    if one.is_number and one.distinct >= _CLOCK_VALUES and _never_falls(one):
        return Guess(
            one.name, "left out", "never falls from row to row: a clock or a counter, which drifts by nature"
        )
    words = "text: categories" if one.is_text else "numbers"
    few = one.is_number and 2 < one.distinct <= 10 and _is_whole(one)
    hint = (
        f"{{name: {one.name}, kind: categorical}} if its {one.distinct} values have no order" if few else ""
    )
    return Guess(one.name, "feature", "true or false" if pa.types.is_boolean(one.kind) else words, hint)


def _never_falls(one: _Seen) -> bool:
    return bool((np.diff(one.numbers()) >= 0).all())


def _same(one: _Seen, label: _Seen) -> bool:
    if label.is_text or not (label.is_number or pa.types.is_boolean(label.kind)):
        return False
    return abs(_correlation(one, label)) > _SAME


def _is_segment(one: _Seen, rows: int) -> bool:
    if not re.fullmatch(_SEGMENT, one.name.lower()) or not 2 <= one.distinct <= _MOST_SEGMENTS or one.is_time:
        return False
    counts = [int(each["counts"]) for each in _compute.value_counts(one.values.drop_null()).to_pylist()]
    return min(counts) >= max(30, rows // 50)


def described(found: Guessed) -> Sequence[dict[str, Any]]:
    """For JSON, and for a table."""
    return [
        {"column": one.column, "role": one.role, "why": one.why, "hint": one.hint}
        for one in found.guesses.values()
    ]
