"""Answers of a classifier that also name the classes which it held to be most probable: top-k accuracy of a stream.

A prediction that waits for its label is one number. The probabilities of all classes do not fit there, but the first
three classes do, beside the one that was said: four codes below 34 are one whole number below 2^24, which a float32
holds exactly. It is told as a negative number, which no index of a class is.
"""

from typing import Final

import numpy as np

from detectors.columns import Column, Flags, Floats, Integers
from detectors.outcome_counts import CLASSES

RANKS: Final = 3
"""Classes that an answer names."""
RANKED: Final = (2, 3)
"""The k of top-k accuracy; that of k = 1 is the accuracy where the most probable class is said."""
ROUNDED: Final = 0.05
"""By so much the probabilities of a row may miss 1: they may have been rounded."""
_OTHER: Final = CLASSES
_NONE: Final = CLASSES + 1
_CODES: Final = CLASSES + 2
_FIRST: Final = -2


def answers(predictions: Column, class_scores: Column | None) -> Floats:
    """Predictions (indices of classes, -1 for none of them, NaN for none said), each with the first three classes by
    probability.

    class_scores: shape (rows, classes), a row of NaN where none were given; None: no row has any. Of equally probable
    classes the first ones count. A row whose scores are no probabilities of classes (see `add_up`) names none.
    """
    said = np.maximum(np.asarray(predictions, dtype=np.float64), -1.0)
    if class_scores is None:
        return said
    scores = np.asarray(class_scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :RANKS]
    ranks = np.full((len(said), RANKS), _NONE, dtype=np.int64)
    ranks[:, : order.shape[1]] = np.where(order < CLASSES, order, _OTHER)
    code = np.where((said >= 0) & (said < CLASSES), np.nan_to_num(said, nan=-1.0), _OTHER).astype(np.int64)
    for place in range(RANKS):
        code += ranks[:, place] * _CODES ** (place + 1)
    told = add_up(scores) & ~np.isnan(said)
    return np.where(told, _FIRST - code, said)


def add_up(class_scores: Column) -> Flags:
    """Of each row whether its class scores are there and add up to 1, as far as rounding allows: margins, logits and
    independent probabilities do not."""
    return np.abs(np.asarray(class_scores, dtype=np.float64).sum(axis=1) - 1.0) <= ROUNDED


def plain(values: Column) -> Column:
    """The predictions alone."""
    packed = values <= _FIRST
    if not packed.any():
        return values
    said = (_FIRST - np.where(packed, values, _FIRST)) % _CODES
    return np.where(packed, np.where(said < _OTHER, said, -1.0), values).astype(values.dtype)


def rank_counts(values: Column, labels: Integers, classes: int) -> Integers | None:
    """Rows that name classes, and how often the label is among the first 2 and 3 of them; None where no row does.

    labels: codes of classes; from `classes` - 1 on none that is known.
    """
    packed = values <= _FIRST
    if not packed.any():
        return None
    code = (_FIRST - values[packed].astype(np.int64)) // _CODES
    truth = labels[packed]
    hit, counts = np.zeros(len(truth), dtype=np.bool_), [len(truth)]
    for place in range(1, RANKS + 1):
        hit |= (code % _CODES == truth) & (truth < classes - 1)
        code //= _CODES
        counts += [int(hit.sum())] if place in RANKED else []
    return np.array(counts, dtype=np.int64)
