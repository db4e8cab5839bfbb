"""Scores of a classifier with several classes."""

import math

import numpy as np

from detectors.columns import Integers
from detectors.ranks import RANKED
from detectors.scorecard.intervals import NO_LABELS, Score, around, missing, wilson
from detectors.task_scores import ClassCounts

NAMES = ("accuracy", "balanced_accuracy", "macro_f1")


def class_scores(counts: ClassCounts, worth: float) -> list[Score]:
    """accuracy, balanced_accuracy (the mean recall) and macro_f1, with intervals. worth: independent rows per row."""
    values, rows = counts.measures(), counts.rows
    if rows == 0:
        return [missing(name, 0, NO_LABELS) for name in NAMES]
    naive = {
        "accuracy": int(counts.labels.max()) / rows,
        "balanced_accuracy": 1 / max(int((counts.labels[:-1] > 0).sum()), 1),
    }
    errors = {"balanced_accuracy": counts.balanced_error(worth), "macro_f1": macro_f1_error(counts, worth)}
    found: list[Score] = []
    for name, value in values.items():
        if value is None:
            found.append(missing(name, rows, "no label is of a known class"))
            continue
        careful = (value * rows * worth + 1) / (rows * worth + 2)
        error = errors.get(name, math.sqrt(careful * (1 - careful) / (rows * worth)))
        low, high = wilson(value, rows * worth) if name == "accuracy" else around(value, error, 0.0, 1.0)
        found.append(
            Score(
                measure=name, value=value, low=low, high=high, rows=rows, error=error, naive=naive.get(name)
            )
        )
    return found


def ranked_scores(ranked: Integers, counts: ClassCounts, worth: float) -> list[Score]:
    """Top-k accuracy: the label is among the first k classes by probability. ranked: the counts of `detectors.ranks`,
    empty where the reference knows no probabilities of all classes: then there are no scores. `naive`: the k commonest
    classes."""
    if not len(ranked):
        return []
    rows, common = int(ranked[0]), np.sort(counts.labels[:-1])[::-1]
    found: list[Score] = []
    for k, hits in zip(RANKED, ranked[1:].tolist(), strict=True):
        name = f"top_{k}_accuracy"
        if rows == 0:
            found.append(missing(name, 0, "no labelled row has the probabilities of all classes"))
            continue
        share, size = hits / rows, rows * worth
        low, high = wilson(share, size)
        careful = (share * size + 1) / (size + 2)
        error = math.sqrt(careful * (1 - careful) / size)
        naive = int(common[:k].sum()) / max(counts.rows, 1)
        found.append(
            Score(measure=name, value=share, low=low, high=high, rows=rows, error=error, naive=naive)
        )
    return found


def macro_f1_error(counts: ClassCounts, worth: float) -> float:
    """Standard error of macro F1, by the delta method on the shares of the pairs.

    F1 of class c is 2 d / (r + l), of d right ones, r predicted and l true ones: a pair (i, j) lowers that of i and of
    j by F / (r + l), and raises it by 2 / (r + l) where i = j = c.
    """
    pairs = counts.pairs / max(counts.rows, 1)
    right, either = np.diagonal(pairs)[:-1], (pairs.sum(axis=0) + pairs.sum(axis=1))[:-1]
    used = either > 0
    if not used.any():
        return 0.0
    per = np.zeros(len(pairs), dtype=np.float64)
    per[:-1][used] = 1 / either[used]
    scores = np.zeros(len(pairs), dtype=np.float64)
    scores[:-1][used] = 2 * right[used] / either[used]
    slopes = -(scores * per)[:, None] - (scores * per)[None, :] + np.diag(2 * per)
    slopes = slopes / int(used.sum())
    mean = float((pairs * slopes).sum())
    variance = float((pairs * slopes**2).sum()) - mean * mean
    return math.sqrt(max(variance, 0.0) / (counts.rows * worth))
