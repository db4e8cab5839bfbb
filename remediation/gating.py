"""Is a candidate better where it matters, and no worse elsewhere? Judged on held-out groups that it never saw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from remediation.demands import Demand, Measure, named
from remediation.ports import Scorer
from remediation.training_values import TrainingSet

_DECISION = 0.5

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


Scores = Mapping[Measure, float]
"""Each measure of `demands.JUDGED`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The comparison on held-out groups. `missed`: the measures by which it did not do what was asked."""

    candidate: Scores
    champion: Scores
    groups: int
    demand: Demand
    missed: tuple[Measure, ...]

    @property
    def passed(self) -> bool:
        """Nothing is missed."""
        return not self.missed

    @property
    def told(self) -> str:
        """One sentence."""
        verb = "beat" if self.passed else "did not beat"
        names = tuple(dict.fromkeys((self.demand.better, *self.demand.not_worse)))
        ours, theirs = (
            ", ".join(f"{named(each)} {one[each]:.3f}" for each in names)
            for one in (self.candidate, self.champion)
        )
        why = f" (by {', '.join(map(named, self.missed))})" if self.missed else ""
        return f"candidate ({ours}) {verb} champion ({theirs}){why} on {self.groups} held-out groups"


def gate(candidate: bytes, champion: bytes, holdout: TrainingSet, scorer: Scorer, demand: Demand) -> Gate:
    """Compare two ONNX models on held-out groups, each counted once."""
    features, truth = _one_line_per_group(holdout)
    ours = _score(truth, scorer.score(candidate, features))
    theirs = _score(truth, scorer.score(champion, features))
    missed = tuple(demand.missed(ours, theirs))
    return Gate(candidate=ours, champion=theirs, groups=len(truth), demand=demand, missed=missed)


def _one_line_per_group(lines: TrainingSet) -> tuple[pd.DataFrame, Integers]:
    """A group whose rows carry both labels counts once, with the label that most of its rows have (a tie is
    0)."""
    group, label = lines.groups.to_numpy(np.int64), lines.labels.to_numpy(np.int64)
    rows = np.ones(len(group)) if lines.weights is None else lines.weights.to_numpy(np.float64)
    _, pair = np.unique(np.column_stack([group, label]), axis=0, return_inverse=True)
    weight = np.bincount(pair.reshape(-1), weights=rows)[pair.reshape(-1)]
    order = np.lexsort((label, -weight, group))
    chosen = order[np.unique(group[order], return_index=True)[1]]
    return lines.features.iloc[chosen].reset_index(drop=True), label[chosen]


def _score(truth: Integers, probability: npt.ArrayLike) -> Scores:
    chance = np.asarray(probability, dtype=np.float64)
    said = chance >= _DECISION
    hit, miss = int((said & (truth == 1)).sum()), int((~said & (truth == 1)).sum())
    alarm, quiet = int((said & (truth == 0)).sum()), int((~said & (truth == 0)).sum())
    recall, specificity = _share(hit, hit + miss), _share(quiet, quiet + alarm)
    return {
        "accuracy": _share(hit + quiet, len(truth)),
        "balanced_accuracy": (recall + specificity) / 2,
        "f1": _share(2 * hit, 2 * hit + alarm + miss),
        "recall": recall,
        "precision": _share(hit, hit + alarm),
        "auc": _auc(truth, chance),
        "brier": float(np.mean((chance - truth) ** 2)) if len(truth) else 0.0,
    }


def _auc(truth: Integers, chance: Floats) -> float:
    """How often one of class 1 has the higher chance than one of class 0 (Mann and Whitney 1947); ties count half."""
    above, below = chance[truth == 1], np.sort(chance[truth == 0])
    pairs = len(above) * len(below)
    if not pairs:
        return 0.5
    places = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(places.sum()) / 2 / pairs


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
