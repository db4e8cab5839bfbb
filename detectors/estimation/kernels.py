"""The measures of an expected confusion matrix and how they vary, in one pass over the cells."""

import math

import numpy as np

from detectors.columns import Floats
from detectors.compiled import compiled

ACCURACY, BALANCED, PRECISION, RECALL, F1, AUC, LOG_LOSS, BRIER, COUNT = range(9)
"""Places of the measures, in the order of `expected.MEASURES`."""
MEANS, POSITIVE_LOSSES, NEGATIVE_LOSSES = range(3)
"""Rows of the facts by cell."""


@compiled
def measured(counts: Floats, chances: Floats, facts: Floats, concordance: Floats) -> tuple[Floats, ...]:
    """Values, standard deviations from drawing labels and from drawing rows, and by replicate the steps of the values
    along their slopes; NaN where a measure has nothing to divide by.

    counts: rows by cell (2 bin + said). chances: of the positive class, shape (replicates, cells), the first being the
    one that is measured. facts: shape (3, cells). concordance: by bin.
    """
    values = np.full(COUNT, np.nan)
    up, down = np.zeros((COUNT, len(counts))), np.zeros((COUNT, len(counts)))
    _slopes(counts, chances[0], facts, values, up, down)
    if not math.isnan(values[BALANCED]):
        values[AUC] = _area(counts, chances[0], concordance, up[AUC], down[AUC])
    sampling, mix = np.zeros(COUNT), np.zeros(COUNT)
    steps = np.zeros((len(chances) - 1, COUNT))
    for k in range(COUNT):
        noise, spread = 0.0, 0.0
        for i in range(len(counts)):
            chance, apart = chances[0, i], up[k, i] - down[k, i]
            noise += counts[i] * chance * (1 - chance) * apart * apart
            expected = chance * up[k, i] + (1 - chance) * down[k, i]
            spread += counts[i] * expected * expected
            for r in range(len(steps)):
                steps[r, k] += counts[i] * (chances[r + 1, i] - chance) * apart
        sampling[k], mix[k] = math.sqrt(noise), math.sqrt(spread)
    return values, sampling, mix, steps


@compiled
def _slopes(counts: Floats, chances: Floats, facts: Floats, values: Floats, up: Floats, down: Floats) -> None:
    """All measures but the area: values, and slopes in the positives and the negatives of each cell."""
    rows, tp, fp, positives, negatives, right, loss, brier = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(counts)):
        good, bad, yes = counts[i] * chances[i], counts[i] * (1 - chances[i]), i % 2
        rows += counts[i]
        positives += good
        negatives += bad
        tp += good * yes
        fp += bad * yes
        right += good * yes + bad * (1 - yes)
        loss += good * facts[POSITIVE_LOSSES, i] + bad * facts[NEGATIVE_LOSSES, i]
        mean = facts[MEANS, i]
        brier += good * (1 - mean) ** 2 + bad * mean**2
    if rows <= 0:
        return
    values[ACCURACY], values[LOG_LOSS], values[BRIER] = right / rows, loss / rows, brier / rows
    said, whole = tp + fp, tp + fp + positives
    if said > 0:
        values[PRECISION] = tp / said
    if positives > 0:
        values[RECALL], values[F1] = tp / positives, 2 * tp / whole
    both = positives > 0 and negatives > 0
    recall, specificity = 0.0, 0.0
    if both:
        recall, specificity = tp / positives, 1 - fp / negatives
        values[BALANCED] = (recall + specificity) / 2
    for i in range(len(counts)):
        yes, mean = i % 2, facts[MEANS, i]
        up[ACCURACY, i] = (yes - values[ACCURACY]) / rows
        down[ACCURACY, i] = (1 - yes - values[ACCURACY]) / rows
        up[LOG_LOSS, i] = (facts[POSITIVE_LOSSES, i] - values[LOG_LOSS]) / rows
        down[LOG_LOSS, i] = (facts[NEGATIVE_LOSSES, i] - values[LOG_LOSS]) / rows
        up[BRIER, i] = ((1 - mean) ** 2 - values[BRIER]) / rows
        down[BRIER, i] = (mean**2 - values[BRIER]) / rows
        if said > 0:
            up[PRECISION, i] = yes * (1 - values[PRECISION]) / said
            down[PRECISION, i] = -yes * values[PRECISION] / said
        if positives > 0:
            up[RECALL, i] = (yes - values[RECALL]) / positives
            up[F1, i] = (2 * yes - values[F1] * (1 + yes)) / whole
            down[F1, i] = -values[F1] * yes / whole
        if both:
            up[BALANCED, i] = (yes - recall) / positives / 2
            down[BALANCED, i] = (1 - yes - specificity) / negatives / 2


@compiled
def _area(counts: Floats, chances: Floats, concordance: Floats, up: Floats, down: Floats) -> float:
    """The area under the ROC curve, and its slopes in the positives and the negatives of each cell."""
    positives, negatives, area = 0.0, 0.0, 0.0
    for i in range(len(counts)):
        positives += counts[i] * chances[i]
        negatives += counts[i] * (1 - chances[i])
    goods, bads = 0.0, 0.0
    for place in range(len(concordance)):
        good, bad = 0.0, 0.0
        for i in range(2 * place, 2 * place + 2):
            good += counts[i] * chances[i]
            bad += counts[i] * (1 - chances[i])
        below = bads + concordance[place] * bad
        above = positives - goods - good + concordance[place] * good
        goods += good
        bads += bad
        area += good * below
        for i in range(2 * place, 2 * place + 2):
            up[i], down[i] = below / positives / negatives, above / positives / negatives
    area /= positives * negatives
    for i in range(len(counts)):
        up[i] -= area / positives
        down[i] -= area / negatives
    return area


@compiled
def spreads(values: Floats) -> Floats:
    """By column, the sum of the squares of what lies between its values and their mean; NaN is none."""
    rows, columns = values.shape
    found = np.zeros(columns)
    for k in range(columns):
        count, total = 0, 0.0
        for r in range(rows):
            if not math.isnan(values[r, k]):
                count += 1
                total += values[r, k]
        for r in range(rows):
            if not math.isnan(values[r, k]):
                found[k] += (values[r, k] - total / count) ** 2
    return found
