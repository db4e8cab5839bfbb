"""What is asked of a candidate: better by one measure, and worse by no other by more than a margin.

What has to be better is the measure that alarmed the most; where no alarm was about outcomes, F1. The others that
alarmed, balanced accuracy and F1 may be worse by so much and no more: a non-inferiority margin (Wellek 2010).
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import msgspec

from detectors.values import Evidence

Measure = Literal["accuracy", "balanced_accuracy", "f1", "recall", "precision", "auc", "brier"]
"""Of class 1 at P >= 0.5; `auc` and `brier` of the probabilities."""

JUDGED: Final[tuple[Measure, ...]] = get_args(Measure)
NOT_WORSE: Final = 0.02
"""By how much a measure may be worse where nobody says otherwise."""

_ALWAYS: Final[tuple[Measure, ...]] = ("balanced_accuracy", "f1")
_USUAL: Final[Mapping[Measure, float]] = {"balanced_accuracy": NOT_WORSE}
_SAME_AS: Final[Mapping[str, Measure]] = {"error_rate": "accuracy"}
_LESS_IS_BETTER: Final[frozenset[Measure]] = frozenset({"brier"})


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate is better by `better` by more than `by`, and worse by no other measure by more than stands in
    `not_worse`."""

    better: Measure = "f1"
    by: float = 0.0
    not_worse: dict[Measure, float] = msgspec.field(default_factory=lambda: dict(_USUAL))

    @property
    def told(self) -> str:
        """For who approves it."""
        others = [f"{named(each)} not worse by over {margin:g}" for each, margin in self._others()]
        first = f"{named(self.better)} on held-out groups better than the champion's by over {self.by:g}"
        return ", ".join([first, *others])

    def missed(self, ours: Mapping[Measure, float], theirs: Mapping[Measure, float]) -> list[Measure]:
        """The measures by which the candidate does not do what is asked. ours, theirs: every one of `JUDGED`."""
        gains = {each: ours[each] - theirs[each] for each in JUDGED}
        gains |= {each: -gains[each] for each in _LESS_IS_BETTER}
        missed: list[Measure] = []
        if gains[self.better] <= self.by:
            missed.append(self.better)
        missed.extend(each for each, margin in self._others() if gains[each] < -margin)
        return missed

    def _others(self) -> list[tuple[Measure, float]]:
        return [(each, self.not_worse[each]) for each in self.not_worse if each != self.better]


def demanded(
    evidence: Iterable[Evidence],
    *,
    better: Measure | None = None,
    by: float = 0.0,
    not_worse: Mapping[Measure, float] | None = None,
) -> Demand:
    """What is asked of a candidate. evidence: what alerts about outcomes have shown; the rest: what the playbook
    says, which counts."""
    effects: dict[Measure, float] = {}
    for each in evidence:
        name = _SAME_AS.get(each.measure, each.measure)
        if name in JUDGED:
            effects[name] = max(each.effect, effects.get(name, 0.0))
    alarmed = sorted(effects, key=lambda each: -effects[each])
    first: Measure = better or (alarmed[0] if alarmed else "f1")
    others = dict.fromkeys((*alarmed, *_ALWAYS), NOT_WORSE) | dict(not_worse or {})
    return Demand(better=first, by=by, not_worse={each: others[each] for each in others if each != first})


def named(measure: Measure) -> str:
    """As people call it."""
    return {"f1": "F1", "auc": "AUC"}.get(measure, measure.replace("_", " "))
