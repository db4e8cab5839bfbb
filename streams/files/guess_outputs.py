"""Which columns of a file are the label, the score and the probabilities of classes: by their values and their names.

A name alone decides nothing that the values contradict: a coordinate `y` beside predictions of 0 and 1 is no label.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from detectors.ranks import ROUNDED
from streams.files.guess_columns import MOST_CLASSES, Seen, agreement, plain_name, ranks_apart

_AGREES: Final = 0.4
"""Agreement from which a column is taken for the label of a prediction, whatever its name."""
_AGREES_AS_NAMED: Final = 0.1
"""The same for a column that is named like a label, or like something that turns out."""
_OUTCOME: Final = (
    r"(is_|was_|has_|did_)?(churn(ed)?|re?paid|default(ed)?|fraud(ulent)?|convert(ed)?|click(ed)?|cancel(l?ed)?|bought|purchased?|"
    r"return(ed)?|surviv(ed)?|died|death|left|attrition|subscribed|accepted|approved|spam|delayed|failed|failure|diagnosis)"
)
_ANYTHING: Final = r"y|class|response|outcome|actual"
"""Names of labels that are those of other things, too."""
_COORDINATE: Final = r"x|z|x_?pos|y_?pos"
_SCORE: Final = r"(y_?|model_?|pred(icted|iction)?_?)*(score|proba(bility)?|prob|confidence)s?|y_prob"
"""Names of a model's score; others that end so may be scores of something else, such as a credit score."""
_RANKS: Final = 0.6
"""Area under the ROC curve of a score against prediction or label from which it is the model's."""
_OF_CLASSES: Final = (
    r"(p|prob|proba|probability|score|pred|y|model|class|conf|confidence|softmax|out|output)*"
)
_MOSTLY: Final = 0.95
"""Share of the rows in which the probabilities of classes must add up to 1."""


class Taken(NamedTuple):
    """A column and why it has its role. `hint`: what a person may want to say instead."""

    column: Seen
    why: str
    hint: str = ""


def label_of(
    named: Sequence[Seen], left: Mapping[str, Seen], said: Seen | None, score: Seen | None
) -> tuple[Taken | None, dict[str, str]]:
    """The label, and why columns that are named like one are none. named: these; left: all that may be it."""
    if said is None and score is None:
        fits = [one for one in named if not _is_coordinate(one, left)]
        fits.sort(key=lambda one: re.fullmatch(_ANYTHING, one.plain) is not None)
        why_not = {
            one.name: f"named like a label, but numbers beside {_beside(left)}: a coordinate"
            for one in named
            if one not in fits
        }
        return (Taken(fits[0], "named so") if fits else None), why_not
    rated = [(agreement(one, said, score), one) for one in left.values()]
    agreeing = [
        (each, one, _turns_out(one) or one in named)
        for each, one in rated
        if each >= (_AGREES_AS_NAMED if one in named or _turns_out(one) else _AGREES)
    ]
    if agreeing:
        strength, one, is_named = max(agreeing, key=lambda each: (each[2], each[0]))
        why = f"agrees with what the model said far beyond chance ({strength:.2f})"
        if one in named:
            return Taken(one, f"named so, and {why}"), {}
        hint = "" if is_named else "a feature that the model leans on does so, too"
        others = {
            each.name: f"named like a label, but {one.name!r} agrees with what the model said, and this does not"
            for each in named
        }
        return Taken(one, why, hint), others
    fits = [one for one in named if _can_answer(one, said, score)]
    if fits:
        hint = "it agrees with what the model said no better than chance: is it the label?"
        return Taken(fits[0], "named so", hint), {}
    return None, {one.name: "named like a label, but no answer to what the model said" for one in named}


def score_of(
    named: Sequence[Seen], said: Seen | None, labels: Sequence[Seen]
) -> tuple[Taken | None, dict[str, str]]:
    """The score, and why columns that are named like one are none. named: these, of shares; labels: columns that are
    named like a label."""
    outcomes = [one for one in (said, *labels) if one is not None and one.distinct == 2]
    rated: list[tuple[float, bool, Seen]] = []
    for one in named:
        is_model = re.fullmatch(_SCORE, one.plain) is not None
        strength = ranks_apart(one, outcomes[0]) if outcomes else 0.5
        rated.append((strength, is_model, one))
    fits = [each for each in rated if each[0] >= _RANKS or (not outcomes and each[1])]
    if not fits and said is None:
        fits = [each for each in rated if each[1]]
    why_not = {
        one.name: "named like a score, but "
        + (
            f"not higher where {outcomes[0].name!r} is positive"
            if outcomes
            else "another one is named better"
        )
        for _, _, one in rated
    }
    if not fits:
        return None, why_not
    strength, _, best = max(fits, key=lambda each: (round(each[0], 2), each[1]))
    told = f", and higher where {outcomes[0].name!r} is positive ({strength:.2f})" if strength > 0.5 else ""
    why_not.pop(best.name)
    return Taken(best, f"numbers between 0 and 1, and named so{told}"), why_not


class ClassScores(NamedTuple):
    """Columns that are named like the probabilities of classes, by class, and in which share of the rows they add up
    to 1."""

    columns: dict[str, Seen]
    adding_up: float

    @property
    def holds(self) -> bool:
        """Whether they are probabilities."""
        return self.adding_up >= _MOSTLY


def class_scores_of(classes: Sequence[str], left: Mapping[str, Seen]) -> ClassScores | None:
    """A column of numbers for each class, named after it; None where one lacks."""
    found: dict[str, Seen] = {}
    for name in classes:
        mine = [one for one in left.values() if one.is_number and _is_of_class(one.plain, plain_name(name))]
        if not mine or len(classes) < 2:
            return None
        found[name] = mine[0]
    if len({one.name for one in found.values()}) < len(classes) or not all(
        one.is_share or one.is_continuous for one in found.values()
    ):
        return None
    total = np.sum([one.numbers() for one in found.values()], axis=0)
    known = total[np.isfinite(total)]
    return ClassScores(found, float((np.abs(known - 1.0) <= ROUNDED).mean()) if len(known) else 0.0)


def _is_of_class(column: str, name: str) -> bool:
    """Whether the name of a column is that of a class and words for a probability."""
    parts = column.split("_")
    words = name.split("_")
    for place in range(len(parts) - len(words) + 1):
        if parts[place : place + len(words)] == words:
            rest = parts[:place] + parts[place + len(words) :]
            return bool(rest) and all(re.fullmatch(_OF_CLASSES, each) for each in rest)
    return False


def _turns_out(one: Seen) -> bool:
    return re.fullmatch(_OUTCOME, one.plain) is not None


def _is_coordinate(one: Seen, left: Mapping[str, Seen]) -> bool:
    return (
        re.fullmatch(_ANYTHING, one.plain) is not None
        and one.is_continuous
        and any(re.fullmatch(_COORDINATE, other.plain) and other.is_number for other in left.values())
    )


def _beside(left: Mapping[str, Seen]) -> str:
    return next(repr(one.name) for one in left.values() if re.fullmatch(_COORDINATE, one.plain))


def _can_answer(one: Seen, said: Seen | None, score: Seen | None) -> bool:
    """Whether the values of a column could be what a prediction turned out to be."""
    if said is not None and said.is_continuous:
        return one.is_number
    if said is not None and said.distinct > 2:
        return one.distinct <= MOST_CLASSES and bool(set(one.texts()) & set(said.texts()))
    return one.distinct <= 2 or (score is None and said is None)
