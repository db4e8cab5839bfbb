"""Counting what the model said, and what was true, by the task of the model."""

from typing import Final, TypeGuard

import numpy as np

from detectors.columns import Column, Flags, Floats, Integers, Singles, numbers, readable, single_column
from detectors.kernels_outputs import count_above_half, count_binary_outcomes, count_binary_said, count_scores
from detectors.layout import Layout
from detectors.outcome_counts import binned, class_codes, errors_of, regression_sums
from detectors.outcome_slots import BinarySlots, MulticlassSlots, OutcomeSlots, RegressionSlots
from detectors.ranks import plain, rank_counts

_NO_SCORES: Final = np.zeros(0, dtype=np.float32)


def count_said(layout: Layout, counters: Integers, predictions: Column | None, scores: Column | None) -> None:
    """Count predictions and scores; changes counters in place."""
    outcomes = layout.outcomes
    if isinstance(outcomes, BinarySlots) and _are_doubles(predictions) and _are_doubles(scores):
        places = layout.predicted, outcomes.positive, layout.scores.start
        count_binary_said(readable(predictions), readable(scores), counters, *places)
        return
    if predictions is not None:
        said, slots = single_column(predictions), layout.outcomes
        if isinstance(slots, MulticlassSlots):
            codes = class_codes(plain(said[~np.isnan(said)]), slots.classes)
            counters[layout.predicted] += len(codes)
            counters[slots.said] += np.bincount(codes, minlength=slots.classes)
        elif isinstance(slots, RegressionSlots):
            given = said[~np.isnan(said)]
            counters[layout.predicted] += len(given)
            counters[slots.said] += binned(given, slots.edges)
        else:
            known, positive = count_above_half(said)
            counters[layout.predicted] += known
            counters[slots.positive] += positive
    if scores is not None:
        count_scores(single_column(scores), counters[layout.scores])


def _are_doubles(column: Column | None) -> TypeGuard[Column]:
    return column is not None and column.dtype == np.float64


def count_outcomes(
    slots: OutcomeSlots,
    counters: Integers,
    sign: int,
    predictions: Column,
    scores: Column | None,
    labels: Column,
) -> Flags:
    """Count (sign 1) or take back (sign -1) outcomes, changing counters in place; which rows counted."""
    said = single_column(predictions)
    if isinstance(slots, RegressionSlots):
        truth = numbers(labels)
        known = ~(np.isnan(said) | np.isnan(truth))
        _count_regression(slots, counters, sign, said[known], truth[known])
        return known
    truth, score = single_column(labels), _NO_SCORES if scores is None else single_column(scores)
    known = ~(np.isnan(said) | np.isnan(truth))
    if isinstance(slots, MulticlassSlots):
        _count_multiclass(slots, counters, sign, said[known], truth[known], score[known[: len(score)]])
        return known
    places = (slots.confusion, slots.positive_scores, slots.negative_scores)
    count_binary_outcomes(sign, said, score, truth, *(counters[place] for place in places))
    return known


def _count_multiclass(
    slots: MulticlassSlots, counters: Integers, sign: int, said: Singles, truth: Singles, scores: Singles
) -> None:
    predicted, actual = class_codes(plain(said), slots.classes), class_codes(truth, slots.classes)
    pairs = np.bincount(predicted * slots.classes + actual, minlength=slots.classes**2)
    counters[slots.confusion] += sign * pairs
    ranked = rank_counts(said, actual, slots.classes) if slots.ranks.stop > slots.ranks.start else None
    if ranked is not None:
        counters[slots.ranks] += sign * ranked
    if len(scores):
        right = predicted == actual
        for place, rows in ((slots.right_scores, right), (slots.wrong_scores, ~right)):
            found = np.zeros(place.stop - place.start, dtype=np.int64)
            count_scores(scores[rows], found)
            counters[place] += sign * found


def _count_regression(
    slots: RegressionSlots, counters: Integers, sign: int, said: Singles, truth: Floats
) -> None:
    counters[slots.errors] += sign * binned(errors_of(said, truth), slots.error_edges)
    counters[slots.sums] += sign * regression_sums(said, truth, slots.center, slots.scale)
