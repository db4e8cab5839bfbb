"""Where a measure is heading, in a word."""

import numpy as np
import pytest

from detectors.trend import LEAST, heading
from detectors.values import MetricPoint


def points(values, measure="accuracy", reference=0.9, threshold=0.85):
    return [
        MetricPoint(
            id=str(number),
            model="m",
            version="1",
            axis="label",
            window=str(number),
            start_us=number,
            end_us=number + 1,
            rows=500,
            measure=measure,
            value=None if value is None else float(value),
            reference=reference,
            threshold=threshold,
        )
        for number, value in enumerate(values)
    ]


NOISE = np.random.default_rng(1).normal(0, 0.005, 20)


@pytest.mark.parametrize(
    ("values", "measure", "word"),
    [
        (0.9 + NOISE, "accuracy", "stable"),
        (np.linspace(0.9, 0.8, 20) + NOISE, "accuracy", "degrading"),
        (np.linspace(0.8, 0.9, 20) + NOISE, "accuracy", "improving"),
        (np.linspace(0.8, 0.9, 20) + NOISE, "estimated_auc", "improving"),
        (np.linspace(0.8, 0.9, 20) + NOISE, "mae", "degrading"),
        (np.linspace(0.8, 0.9, 20) + NOISE, "quantile_loss_0.9", "degrading"),
        (np.linspace(90, 60, 20) + NOISE, "latency_p95_ms", "improving"),
        (np.linspace(0.9, 0.98, 20), "class_recall", "improving"),
        (np.linspace(0.9, 0.8, 20), "large_error_share", "improving"),
        (np.linspace(0.9, 1.0, 20), "error_rate", "degrading"),
        (np.linspace(-0.1, -0.3, 20), "estimation_error", "degrading"),
        (np.linspace(0.5, 0.9, 20), "calibration_slope", "improving"),
        (np.linspace(0.6, 0.9, 20), "top_3_accuracy", "improving"),
        (np.linspace(0.9, 1.0, 20), "positive_rate", "degrading"),
        (np.linspace(0.9, 0.8, 20), "positive_rate", "degrading"),
        (np.linspace(0.7, 0.9, 20), "positive_rate", "improving"),
        (np.linspace(0.9, 0.895, 20), "accuracy", "stable"),
        ([0.9] * 20, "accuracy", "stable"),
        ([*[0.9] * 19, 0.2], "accuracy", "stable"),
        ([*[0.9] * 10, *[0.7] * 10], "accuracy", "degrading"),
    ],
)
def test_the_word_is_about_good_and_bad_and_about_what_is_worth_one(values, measure, word):
    found = heading(points(values, measure))
    assert found.trend == word
    assert found.windows == 20


def test_distances_have_no_reference_and_what_has_no_threshold_is_judged_by_its_floor():
    far = np.linspace(0.0, 0.3, 10)
    assert heading(points(far, "psi", None, 0.2)).trend == "degrading"
    assert heading(points(far[::-1], "psi", None, None)).trend == "improving"
    assert heading(points(far / 100, "psi", None, None)).trend == "stable"


@pytest.mark.parametrize("values", [[], [0.9] * (LEAST - 1), [None] * 30, [float("nan")] * 30])
def test_few_windows_have_no_trend(values):
    found = heading(points(values))
    assert found.trend is None
    assert "it takes 6" in (found.undefined or "")


def test_noise_has_a_trend_in_few_of_many_series():
    rng = np.random.default_rng(5)
    words = [heading(points(0.9 + rng.normal(0, 0.02, 20))).trend for _ in range(1_000)]
    assert 1_000 - words.count("stable") <= 20


def test_what_is_decided_on_by_nobody_is_worth_a_word_from_a_twentieth_on():
    up = np.linspace(1.0, 1.01, 20)
    assert heading(points(up, "log_loss", 1.0, None)).trend == "stable"
    assert heading(points(1.0 + 20 * (up - 1.0), "log_loss", 1.0, None)).trend == "degrading"
