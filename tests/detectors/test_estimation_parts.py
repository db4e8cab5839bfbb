"""The parts of an estimate: expected measures, their sampling errors, and tables that meet their margins."""

import numpy as np
import pytest
from sklearn import metrics

from detectors.estimation.cells import CELLS, cells_of_rows, tilted
from detectors.estimation.expected import Facts, expect
from detectors.estimation.multiclass import joined
from tests.detectors.estimation_parts import loans


def test_expected_measures_of_certain_cells_are_the_measures_of_the_confusion():
    rng = np.random.default_rng(13)
    _, scores, said, labels = loans(rng, 3_000)
    places = cells_of_rows(scores, said)
    counts = np.bincount(places, minlength=CELLS).astype(float)
    chances = np.bincount(places, weights=labels, minlength=CELLS) / np.maximum(counts, 1)
    zeros = np.zeros(CELLS)
    found = expect(counts, chances, Facts(np.stack([zeros, zeros, zeros]), np.full(CELLS // 2, 0.5)))
    assert found.values["accuracy"] == pytest.approx(metrics.accuracy_score(labels, said))
    assert found.values["f1"] == pytest.approx(metrics.f1_score(labels, said))
    assert found.values["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, said))
    assert found.values["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores), abs=0.005)


def test_sampling_errors_are_those_of_drawn_labels():
    rng = np.random.default_rng(14)
    _, scores, said, _ = loans(rng, 800)
    places = cells_of_rows(scores, said)
    counts = np.bincount(places, minlength=CELLS).astype(float)
    chances = np.bincount(places, weights=scores, minlength=CELLS) / np.maximum(counts, 1)
    zeros = np.zeros(CELLS)
    facts = Facts(np.stack([np.clip(chances, 0.01, 0.99), zeros, zeros]), np.full(CELLS // 2, 0.5))
    drawn = [
        expect(counts, rng.binomial(counts.astype(int), chances) / np.maximum(counts, 1), facts).values
        for _ in range(400)
    ]
    found = expect(counts, chances, facts)
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "brier"):
        assert found.sampling[name] == pytest.approx(np.std([one[name] for one in drawn]), rel=0.15)


def test_tilting_meets_the_mean_and_joining_meets_the_margins():
    rng = np.random.default_rng(15)
    weights = rng.integers(0, 50, (30, 3)).astype(float)
    found = tilted(rng.uniform(0.05, 0.95, (30, 3)), weights, np.array([0.1, 0.5, 0.9]))
    assert (found * weights).sum(axis=0) / weights.sum(axis=0) == pytest.approx([0.1, 0.5, 0.9])
    table = joined(
        rng.integers(0, 90, (4, 6)).astype(float), np.array([10.0, 20, 30, 40]), np.full(6, 100 / 6)
    )
    assert table.sum(axis=1) == pytest.approx([10, 20, 30, 40])
    assert table.sum(axis=0) == pytest.approx(np.full(6, 100 / 6))
