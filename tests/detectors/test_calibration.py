"""The demo's own setting: few patients, drawn again and again. No false alarm, and real changes are found."""

import copy
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from detectors.decide import decide
from detectors.judgement import SeriesState, Window
from detectors.measures import measure
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import Reference, build_reference
from detectors.values import FeatureSpec, Monitor

DATA = load_breast_cancer()
ROWS, MALIGNANT = DATA.data, 1 - DATA.target
NAMES = [str(name).replace(" ", "_") for name in DATA.feature_names]
SPECS = tuple(FeatureSpec(name=name) for name in NAMES)
MONITOR = Monitor(model="tumour", features=SPECS)
RADIUS_60 = np.quantile(ROWS[:, 0], 0.6)


class Setting(NamedTuple):
    rng: np.random.Generator
    reference: Reference
    model: RandomForestClassifier
    live: np.ndarray
    large: np.ndarray


def columns(rows):
    return {name: rows[:, i] for i, name in enumerate(NAMES)}


def setting(seed, share=1 / 3):
    """A model and its reference from a share of the small tumours, and other patients to come."""
    made = _made(seed, share)
    return made._replace(rng=copy.deepcopy(made.rng))


@cache
def _made(seed, share):
    rng = np.random.default_rng(seed)
    small = rng.permutation(np.flatnonzero(ROWS[:, 0] <= RADIUS_60))
    size = int(len(small) * share)
    known = small[:size]
    model = RandomForestClassifier(10, min_samples_leaf=2, random_state=seed)
    scores = cross_val_predict(model, ROWS[known], MALIGNANT[known], cv=4, method="predict_proba")[:, 1]
    model.fit(ROWS[known], MALIGNANT[known])
    reference = build_reference(
        "tumour", "1", columns(ROWS[known]), SPECS, scores=scores, labels=MALIGNANT[known]
    )
    return Setting(rng, reference, model, small[size : 2 * size], np.flatnonzero(ROWS[:, 0] > RADIUS_60))


class Judge:
    """Folds windows of 500 and decides on both axes; keeps (window, kind, state)."""

    def __init__(self, reference):
        self.reference, self.states, self.seen, self.windows = (
            reference,
            [SeriesState(), SeriesState()],
            [],
            0,
        )

    def window(self, rows, labels, scores):
        profile, said = Profile.empty(self.reference), (scores >= 0.5).astype(int)
        cells = profile.fold(columns(rows), said, scores)
        profile.fold_outcomes(said, scores, labels, cells)
        number, self.windows = self.windows, self.windows + 1
        measured = (measure(profile, self.reference, MONITOR), performance(profile, self.reference))
        for i, axis in enumerate(("event", "label")):
            name = Window(
                model="tumour",
                version="1",
                axis=axis,
                window=str(number),
                start_us=number,
                end_us=number + 1,
                rows=500,
            )
            judgement = decide(name, measured[i], MONITOR, self.reference, self.states[i], profile)
            self.states[i] = judgement.state
            self.seen += [(number, one.kind, one.state) for one in judgement.transitions]


@pytest.mark.parametrize("seed", range(6))
def test_no_alarm_in_forty_windows_of_other_patients(seed):
    rng, reference, model, live, _ = setting(seed)
    scores = model.predict_proba(ROWS[live])[:, 1]
    judge = Judge(reference)
    for _ in range(40):
        drawn = rng.integers(0, len(live), 500)
        judge.window(ROWS[live[drawn]], MALIGNANT[live[drawn]], scores[drawn])
    assert judge.seen == []


def inches(rows, _rng):
    rows[:, NAMES.index("mean_radius")] *= 2.54


def never_measured(rows, rng):
    rows[rng.random(len(rows)) < 0.95, NAMES.index("mean_compactness")] = np.nan


def zero(rows, _rng):
    rows[:, NAMES.index("mean_texture")] = 0


def nothing_at_all(rows, _rng):
    rows[:] = np.nan


def untouched(_rows, _rng):
    return None


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("change", "kind", "latest"),
    [
        (inches, "data_quality", 1),
        (inches, "data_drift", 1),
        (never_measured, "data_quality", 0),
        (zero, "data_quality", 0),
        (nothing_at_all, "data_quality", 0),
        (untouched, "data_drift", 1),
        (untouched, "prediction_drift", 1),
    ],
)
def test_a_real_change_is_found_in_its_first_windows_and_its_end_too(seed, change, kind, latest):
    rng, reference, model, live, large = setting(seed, 1 / 2)
    judge = Judge(reference)
    for number in range(12):
        ill = 3 <= number < 7
        pool = large if ill and change is untouched else live
        drawn = pool[rng.integers(0, len(pool), 500)]
        rows = ROWS[drawn].copy()
        if ill:
            change(rows, rng)
        judge.window(rows, MALIGNANT[drawn], model.predict_proba(rows)[:, 1])
    mine = [(number, state) for number, found, state in judge.seen if found == kind]
    assert mine[0][1] == "firing"
    assert 3 <= mine[0][0] <= 3 + latest
    assert mine[1:] == [(8, "cleared")]


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_fell_ill_is_found_by_its_labels(seed):
    rng, reference, model, live, _ = setting(seed, 1 / 2)
    scores = model.predict_proba(ROWS[live])[:, 1]
    judge = Judge(reference)
    for number in range(6):
        drawn = rng.integers(0, len(live), 500)
        wrong = (rng.random(500) < 0.35) & (number >= 3)
        judge.window(ROWS[live[drawn]], np.where(wrong, 1, 0) ^ MALIGNANT[live[drawn]], scores[drawn])
    assert ("performance", "firing") in [
        (kind, state) for number, kind, state in judge.seen if number in (3, 4)
    ]
    assert not [one for one in judge.seen if one[0] < 3]


@pytest.mark.parametrize("rows", [200, 1_000])
def test_independent_rows_of_odd_columns_do_not_alarm(rows):
    """Heavy tails, a column that is almost always zero, and more categories than a list can hold."""
    rng = np.random.default_rng(rows)

    def draw(count):
        rare = np.where(rng.random(count) < 0.995, 0.0, rng.exponential(1, count))
        town = rng.zipf(1.5, count).clip(0, 10**6).astype(float)
        return {
            "heavy": rng.standard_t(3, count),
            "rare": rare,
            "calm": rng.normal(0, 1, count),
            "town": town,
        }

    specs = [
        FeatureSpec(name=name, kind="categorical" if name == "town" else "numeric")
        for name in ("heavy", "rare", "calm", "town")
    ]
    reference, state = build_reference("m", "1", draw(5_000), specs), SeriesState()
    for number in range(100):
        profile = Profile.empty(reference)
        profile.fold(draw(rows), None, None)
        name = Window(
            model="m", version="1", axis="event", window=str(number), start_us=0, end_us=1, rows=rows
        )
        judgement = decide(
            name, measure(profile, reference, Monitor(model="m")), Monitor(model="m"), reference, state
        )
        state = judgement.state
        assert [one.reason for one in judgement.decisions if one.verdict == "breach"] == []
