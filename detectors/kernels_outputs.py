"""Loops over what a model said and what was true."""

from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.columns import SCORE_BINS, SKETCH_CELLS, Cells
from detectors.compiled import compiled
from detectors.kernels import NumericTables, finish_cells, fold_numeric
from detectors.kernels_rows import Bytes, Longs, Places, Singles

_LAST = np.float32(SCORE_BINS - 1)


@compiled
def score_bin(score: np.float32) -> int:
    """The bin of a score that is not missing: equal bins on [0, 1], what lies outside in the nearest."""
    place = np.float32(score * np.float32(SCORE_BINS))
    place = place if place > np.float32(0) else np.float32(0)
    return int(place if place < _LAST else _LAST)


@compiled
def count_scores(scores: Singles, counters: Longs) -> None:
    """Add the scores to a histogram of them."""
    for row in range(len(scores)):
        if scores[row] == scores[row]:
            counters[score_bin(scores[row])] += 1


@compiled
def count_above_half(predictions: Singles) -> tuple[int, int]:
    """How many predictions there are, and how many of them are positive."""
    known, positive = 0, 0
    for row in range(len(predictions)):
        known += predictions[row] == predictions[row]
        positive += predictions[row] > np.float32(0.5)
    return known, positive


@compiled
def count_binary_said(
    predictions: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    counters: Longs,
    predicted: int,
    positive: int,
    first: int,
) -> None:
    """Both of it in one go, for numbers of any kind. predicted, positive, first: where in `counters` the predictions,
    the positive ones and the histogram of the scores are."""
    for row in range(len(predictions)):
        said = np.float32(predictions[row])
        counters[predicted] += said == said
        counters[positive] += said > np.float32(0.5)
    for row in range(len(scores)):
        score = np.float32(scores[row])
        if score == score:
            counters[first + score_bin(score)] += 1


@compiled
def count_cells(cells: Cells, sign: int, counters: Longs) -> None:
    """Count rows by cell; a cell beyond the last counts in the last."""
    for row in range(len(cells)):
        counters[min(np.int64(cells[row]), SKETCH_CELLS - 1)] += sign


@compiled
def fold_numbers(
    columns: npt.NDArray[Any],
    places: Places,
    start: int,
    tables: NumericTables,
    counters: Longs,
    registers: Bytes,
    cells: Cells,
    repeats: Longs,
) -> None:
    """Count a batch of as many rows as `cells` has, and their cells; see `kernels.fold_numeric`."""
    totals = np.zeros(len(cells), np.uint32)
    fold_numeric(columns, places, start, tables, counters, registers, totals)
    finish_cells(totals, cells)
    count_cells(cells, 1, repeats)


@compiled
def count_binary_outcomes(
    sign: int,
    predictions: Singles,
    scores: Singles,
    labels: Singles,
    confusion: Longs,
    positive_scores: Longs,
    negative_scores: Longs,
) -> None:
    """Add (sign 1) or take back (-1) outcomes; rows without prediction or label are left out.

    scores: as long as predictions, or empty where there are none.
    """
    for row in range(len(predictions)):
        said, truth = predictions[row], labels[row]
        if said != said or truth != truth:
            continue
        positive, actual = said > np.float32(0.5), truth > np.float32(0.5)
        confusion[(0 if actual else 1) if positive else (2 if actual else 3)] += sign
        if len(scores) and scores[row] == scores[row]:
            if actual:
                positive_scores[score_bin(scores[row])] += sign
            else:
                negative_scores[score_bin(scores[row])] += sign


@compiled
def fold_binary_outcomes(
    sign: int,
    predictions: Singles,
    scores: Singles,
    labels: Singles,
    cells: Cells,
    counters: Longs,
    places: tuple[int, int, int, int],
) -> None:
    """Add (sign 1) or take back (-1) outcomes with the cells of their rows, in one go. places: where in `counters` the
    confusion, the scores of the positive and of the negative class, and the cells are."""
    confusion, positives, negatives, repeats = places
    for row in range(len(predictions)):
        said, truth = predictions[row], labels[row]
        if said != said or truth != truth:
            continue
        positive, actual = said > np.float32(0.5), truth > np.float32(0.5)
        counters[confusion + ((0 if actual else 1) if positive else (2 if actual else 3))] += sign
        if scores[row] == scores[row]:
            counters[(positives if actual else negatives) + score_bin(scores[row])] += sign
        counters[repeats + min(np.int64(cells[row]), SKETCH_CELLS - 1)] += sign
