"""What each column of a file probably is: a first monitor, with the reason for every guess."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.values import Task
from streams.files.guess_columns import MOST_CLASSES, Seen, positive_of, says_the_same
from streams.files.guess_outputs import Taken, class_scores_of, label_of, score_of
from streams.files.tables import FileInvalid, TableFile

_compute: Any = pc
"""Its functions are made at import, where no type checker sees them."""

Role = Literal[
    "time",
    "id",
    "version",
    "prediction",
    "score",
    "class score",
    "label",
    "label_time",
    "feature",
    "left out",
]
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
_SEGMENT: Final = (
    r"(.*_)?(region|country|segment|channel|market|tenant|group|tier|site|store|hospital|gender|sex)"
)
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
    class_scores: list[str] = field(default_factory=list[str])
    positive: str | None = None
    segments: list[str] = field(default_factory=list[str])

    def of(self, role: Role) -> str | None:
        """The first column with this role."""
        return next((one.column for one in self.guesses.values() if one.role == role), None)

    def all_of(self, role: Role) -> list[str]:
        """All columns with this role."""
        return [one.column for one in self.guesses.values() if one.role == role]

    def note(self, one: Seen, role: Role, why: str, hint: str = "") -> Seen:
        """Give a column its role."""
        self.guesses[one.name] = Guess(one.name, role, why, hint)
        return one


def guess(table: TableFile, said_so: Mapping[str, str] | None = None) -> Guessed:
    """Look at the first 50,000 rows of a table. said_so: columns by role (see `Role`), as a person names
    them.

    Raises `FileInvalid` where it has none, no column for a feature, or not one that a person names."""
    rows, more = _first_rows(table)
    found = Guessed(rows.num_rows, more)
    odd = [field.name for field in rows.schema if pa.types.is_nested(field.type) or _is_bytes(field.type)]
    for name in odd:
        kind = rows.schema.field(name).type
        found.guesses[name] = Guess(name, "left out", f"{kind} is no number and no text")
    left = {name: Seen.of(rows, name) for name in table.columns if name not in odd}
    chosen = _chosen(table, found, left, said_so or {})

    def take(role: Role, wanted: Callable[[Seen], bool], why: str) -> Seen | None:
        if role in chosen:
            return chosen[role]
        named = [one for one in left.values() if _is_called(one, role) and wanted(one)]
        return found.note(left.pop(named[0].name), role, why) if named else None

    take("label_time", lambda one: one.is_time, "a time, and named like when a label became known")
    if "time" not in chosen:
        _take_time(found, left)
    take("id", lambda one: one.distinct == rows.num_rows, "another one in every row, and named like an id")
    take("version", lambda one: one.distinct <= MOST_CLASSES and not one.is_time, "few values, named so")
    said = take("prediction", lambda one: one.distinct > 1 and not one.is_time, "named so")
    score, label, why_not = _take_outputs(found, left, chosen, said)
    _take_task(found, label or said, said, score)
    _take_class_scores(found, left, label or said, score)
    for one in left.values():
        found.guesses[one.name] = _feature(one, rows.num_rows, label, why_not.get(one.name, ""))
    found.guesses = {name: found.guesses[name] for name in table.columns}
    if not found.all_of("feature"):
        raise FileInvalid(f"{table.path}: no column can be a feature: {list(found.guesses.values())}")
    found.segments = [one.name for one in left.values() if _is_segment(one, rows.num_rows)]
    return found


def _chosen(
    table: TableFile, found: Guessed, left: dict[str, Seen], said_so: Mapping[str, str]
) -> dict[Role, Seen]:
    absent = [f"{role}: {name!r}" for role, name in said_so.items() if name not in left]
    if absent:
        raise FileInvalid(
            f"{table.path}: there is no column of numbers or texts for {', '.join(absent)}; it has {table.columns}"
        )
    twice = [name for name in said_so.values() if list(said_so.values()).count(name) > 1]
    if twice:
        raise FileInvalid(
            f"{table.path}: column {twice[0]!r} is named for two roles; each takes one of its own"
        )
    chosen = cast("Mapping[Role, str]", said_so)
    return {role: found.note(left.pop(name), role, "you said so") for role, name in chosen.items()}


def _take_outputs(
    found: Guessed, left: dict[str, Seen], chosen: Mapping[Role, Seen], said: Seen | None
) -> tuple[Seen | None, Seen | None, dict[str, str]]:
    """Score, label, and why columns that are named like one are features."""
    named = [one for one in left.values() if _is_called(one, "label") and one.known and not one.is_time]
    score, label = chosen.get("score"), chosen.get("label")
    why_not: dict[str, str] = {}
    if score is None:
        shares = [one for one in left.values() if _is_called(one, "score") and one.is_share]
        taken, why_not = score_of(shares, said, [label] if label is not None else named)
        score = _noted(found, left, "score", taken)
    if label is None:
        taken, others = label_of(named, left, said, score)
        label, why_not = _noted(found, left, "label", taken), why_not | others
    return score, label, why_not


def _noted(found: Guessed, left: dict[str, Seen], role: Role, taken: Taken | None) -> Seen | None:
    return None if taken is None else found.note(left.pop(taken.column.name), role, taken.why, taken.hint)


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


def _is_called(one: Seen, role: Role) -> bool:
    return re.fullmatch(_NAMES[role], one.plain) is not None


def _take_time(found: Guessed, left: dict[str, Seen]) -> None:
    """A column of times; where several are, the one that is named so, or else the first."""
    times = [one for one in left.values() if one.is_time and not pa.types.is_time(one.kind)]
    named = [one for one in times if _is_called(one, "time")]
    seconds = [one for one in left.values() if _is_epoch(one) and _is_called(one, "time")]
    for one in [*named, *times, *seconds][:1]:
        found.note(left.pop(one.name), "time", "a time" if one.is_time else "seconds since 1970")


def _is_epoch(one: Seen) -> bool:
    if not one.is_number or not one.known:
        return False
    least, greatest = _compute.min_max(one.values).as_py().values()
    return least > 1e8 and greatest < 1e10


def _take_task(found: Guessed, outcome: Seen | None, said: Seen | None, score: Seen | None) -> None:
    if outcome is None:
        return
    if outcome.distinct == 2 or (score is not None and outcome.distinct < 3):
        if outcome.is_text:
            found.positive = positive_of(outcome, said, score)
        return
    found.task = "regression"
    if outcome.is_text:
        found.task, found.classes = "multiclass", outcome.texts()[:MOST_CLASSES]


def _take_class_scores(
    found: Guessed, left: dict[str, Seen], outcome: Seen | None, score: Seen | None
) -> None:
    """The probabilities of the classes, where a column for each is named after it and they add up to 1."""
    if outcome is None or outcome.distinct > MOST_CLASSES or outcome.is_time:
        return
    classes = outcome.texts()
    if not outcome.is_text and classes != [str(place) for place in range(len(classes))]:
        return
    taken = class_scores_of(classes, left)
    if taken is None:
        return
    for name, one in taken.columns.items():
        del left[one.name]
        if not taken.holds:
            off = f"do not add up to 1 in {1 - taken.adding_up:.0%} of the rows: no probabilities"
            found.note(one, "left out", f"named like the probability of {name!r}, but these columns {off}")
        elif len(classes) > 2:
            found.note(one, "class score", f"probability of {name!r}: named so, and they add up to 1")
        elif name == (found.positive or "1") and score is None:
            found.note(one, "score", f"probability of {name!r}: named so, and they add up to 1")
        else:
            found.note(one, "left out", f"the probability of {name!r}: says the same as the score")
    if taken.holds and len(classes) > 2:
        found.task, found.classes = "multiclass", classes
        found.class_scores = [one.name for one in taken.columns.values()]


def _feature(one: Seen, rows: int, label: Seen | None, why_not: str) -> Guess:
    if one.is_time:
        return Guess(one.name, "left out", "a time")
    if one.is_number_with_commas:
        return Guess(one.name, "left out", "numbers with commas: write them like 1234.5, then run this again")
    if one.is_text and one.distinct > max(1_000, rows // 2):
        return Guess(one.name, "left out", "text that is another one in most rows: an id, or free text")
    if label is not None and one.is_number and says_the_same(one, label):
        return Guess(one.name, "left out", f"says the same as the label {label.name!r}")
    if not one.known:
        return Guess(
            one.name, "feature", "missing in every row", "leave it out if that is not meant to change"
        )
    if one.distinct <= 1:
        return Guess(one.name, "feature", "constant", "watched so that it is told when it is not any more")
    if one.is_number and one.distinct == rows and one.is_whole and rows > 100:
        return Guess(one.name, "left out", "whole numbers, another one in every row: a number of the row")
    if one.is_number and one.distinct >= _CLOCK_VALUES and _never_falls(one):
        return Guess(
            one.name, "left out", "never falls from row to row: a clock or a counter, which drifts by nature"
        )
    words = "text: categories" if one.is_text else "numbers"
    few = one.is_number and 2 < one.distinct <= 10 and one.is_whole
    hint = (
        f"{{name: {one.name}, kind: categorical}} if its {one.distinct} values have no order" if few else ""
    )
    words = "true or false" if pa.types.is_boolean(one.kind) else words
    return Guess(one.name, "feature", f"{words}; {why_not}" if why_not else words, hint)


def _never_falls(one: Seen) -> bool:
    return bool((np.diff(one.numbers()) >= 0).all())


def _is_segment(one: Seen, rows: int) -> bool:
    if not re.fullmatch(_SEGMENT, one.name.lower()) or not 2 <= one.distinct <= _MOST_SEGMENTS or one.is_time:
        return False
    return min(one.counts().values()) >= max(30, rows // 50)


def described(found: Guessed) -> Sequence[dict[str, Any]]:
    """For JSON, and for a table."""
    return [
        {"column": one.column, "role": one.role, "why": one.why, "hint": one.hint}
        for one in found.guesses.values()
    ]
