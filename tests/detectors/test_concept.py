"""Detectors of concept drift: equal to river's on single events, lawful, and within the run length that they state."""

import math

import msgspec
import numpy as np
import pytest
from river import drift
from scipy import stats

from detectors.concept import catalogue, run
from detectors.concept.adapter import Replayed
from detectors.concept.glr import GLR_SIZE, evidence, glr
from detectors.concept.kswin import critical_step, draw
from detectors.concept.mixture import mixture
from detectors.concept.outcomes import CONFIDENCE_STRATA, outcome_pane
from detectors.concept.values import LEVELS, ConceptState, ConceptVerdict, Pane
from detectors.concept.watch import watch
from detectors.concept.words import sentence
from detectors.errors import MonitorInvalid, ProfileInvalid
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.values import FeatureSpec

EVENTS = 4_000


def errors(seed):
    rng = np.random.default_rng(seed)
    rates = np.repeat(rng.uniform(0.02, 0.7, 8), EVENTS // 8)
    return (rng.random(EVENTS) < rates).astype(np.float64)


def numbers(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(np.repeat(rng.normal(0, 1, 8), EVENTS // 8), 1.0)


def panes_of(values, size=1):
    return [
        Pane(count=len(part), total=float(part.sum()), squares=float(np.square(part).sum()))
        for part in (values[i : i + size] for i in range(0, len(values), size))
    ]


def levels(detector, values, size=1):
    return [told.level for told in detector.run(detector.start(), panes_of(values, size))[1]]


def rivers(peer, values):
    found = []
    for value in values:
        peer.update(value)
        warned = getattr(peer, "warning_detected", False)
        found.append("drift" if peer.drift_detected else "warning" if warned else "steady")
    return found


class Drawn(drift.KSWIN):
    """River's KSWIN that draws as ours does, so that only the drawing differs from what it ships."""

    def _reset(self):
        super()._reset()
        self._rng = self

    def sample(self, places, size):
        return draw(5, self.n, len(places), size).tolist()


SAME = {
    "adwin": (catalogue.adwin(), drift.ADWIN, numbers),
    "adwin every event": (catalogue.adwin(clock=1), lambda: drift.ADWIN(clock=1), errors),
    "page_hinkley": (catalogue.page_hinkley(), drift.PageHinkley, numbers),
    "page_hinkley up": (
        catalogue.page_hinkley(threshold=8.0, down=False),
        lambda: drift.PageHinkley(threshold=8.0, mode="up"),
        errors,
    ),
    "ddm": (catalogue.ddm(), drift.binary.DDM, errors),
    "eddm": (catalogue.eddm(), drift.binary.EDDM, errors),
    "hddm_a": (catalogue.hddm_a(), drift.binary.HDDMA, errors),
    "hddm_w": (catalogue.hddm_w(), drift.binary.HDDMW, errors),
    "hddm_w both": (
        catalogue.hddm_w(two_sided=True),
        lambda: drift.binary.HDDMW(two_sided_test=True),
        errors,
    ),
    "kswin": (catalogue.kswin(seed=5), lambda: Drawn(seed=5), numbers),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SAME)
def test_every_verdict_on_single_events_is_rivers(name, seed):
    ours, peer, stream = SAME[name]
    values = stream(seed)[: 1_000 if name == "kswin" else EVENTS]
    found = levels(ours, values)
    if "both" in name:
        found = [level if level == "drift" else "" for level in found]
        assert found == [level if level == "drift" else "" for level in rivers(peer(), values)]
        return
    assert found == rivers(peer(), values)
    assert "drift" in found


def test_the_critical_distance_is_that_of_the_exact_test():
    for alpha in (0.05, 0.005, 0.0001):
        step = critical_step(alpha, 30)
        sample = np.arange(30.0)
        assert stats.ks_2samp(sample, sample + step).pvalue <= alpha
        assert stats.ks_2samp(sample, sample + step - 1).pvalue > alpha


@pytest.mark.parametrize("name", catalogue.CATALOGUE)
def test_the_laws_of_a_detector(name):
    detector = catalogue.CATALOGUE[name]()
    rng = np.random.default_rng(3)
    panes = []
    for pane in range(150):
        wrong = rng.binomial(5, 0.1 if pane < 100 else 0.7, CONFIDENCE_STRATA).astype(float)
        counts = (5.0,) * CONFIDENCE_STRATA
        panes.append(Pane(count=sum(counts), total=wrong.sum(), counts=counts, totals=tuple(wrong)))
    state, found = detector.run(detector.start(), panes)
    assert any(told.drift for told in found[100:])
    assert name in ("ddm", "eddm") or not any(told.drift for told in found[:100])
    step, steps = detector.start(), []
    for pane in panes:
        step = msgspec.json.decode(msgspec.json.encode(step), type=ConceptState)
        step, told = detector.update(step, pane)
        steps.append(told)
        if told.drift:
            assert step == detector.start()
    assert (step, tuple(steps)) == (state, found)
    same, told = detector.update(state, Pane(count=0, total=0.0))
    assert (same, told.level, told.undefined) == (state, "undefined", "no label arrived")
    assert detector.update(state, Pane(count=3, total=math.nan))[1].undefined
    with pytest.raises(ProfileInvalid, match="another"):
        detector.update(ConceptState(detector="another"), panes[0])


def test_panes_of_whole_numbers_compile_nothing_of_their_own():
    for one, none in ((1.0, 0.0), (1, 0)):
        for name in ("glr", "mixture", "watch"):
            detector = getattr(catalogue, name)(**({} if name == "glr" else {"strata": 1}))
            detector.update(detector.start(), Pane(count=one, total=none))
    assert len(run.step.signatures) == len(mixture.signatures) == len(watch.signatures) == 1


def test_impossible_panes_and_settings_are_named():
    told = catalogue.ddm().update(catalogue.ddm().start(), Pane(count=3, total=4.0))[1]
    assert told.undefined == "4 errors in 3 outcomes cannot be"
    odd = Pane(count=3, total=1.0, counts=(3.0,), totals=(1.0,))
    told = catalogue.watch().update(catalogue.watch().start(), odd)[1]
    assert told.undefined == f"the pane has 1 strata; it takes {CONFIDENCE_STRATA}, or none"
    with pytest.raises(MonitorInvalid, match="run_length"):
        catalogue.glr(run_length=0)
    with pytest.raises(MonitorInvalid, match="half of window"):
        catalogue.kswin(last=80)


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_the_hull_keeps_the_strongest_change(variance):
    rng = np.random.default_rng(4)
    values = rng.normal(0, 1, 300) if variance else (rng.random(300) < 0.3).astype(float)
    memory = np.zeros(GLR_SIZE)
    settings = np.array([1.0, 1e9, 1e9, 1e9, 0.0, variance])
    for t, value in enumerate(values, start=1):
        glr(memory, settings, 1.0, value)
        sums = np.cumsum(values[:t])
        tried = [
            evidence(v, sums[v - 1], t - v, sums[-1] - sums[v - 1], variance)
            for v in range(1, t)
            if (sums[-1] - sums[v - 1]) / (t - v) > sums[v - 1] / v
        ]
        assert memory[4] == pytest.approx(max(tried, default=0.0), abs=1e-9)
    assert memory[2] < 30


def test_the_ratio_tells_when_and_by_how_much():
    detector, rng = catalogue.glr(), np.random.default_rng(5)
    values = (rng.random(3_000) < np.repeat([0.1, 0.3], [2_500, 500])).astype(float)
    found = detector.run(detector.start(), panes_of(values))[1]
    first = next(i for i, told in enumerate(found) if told.drift)
    told = found[first]
    assert 2_500 < first < 2_700
    assert first + 1 - told.since == pytest.approx(2_500, abs=40)
    assert told.before == pytest.approx(0.1, abs=0.02)
    assert told.after == pytest.approx(0.3, abs=0.1)
    assert told.statistic >= told.threshold


def test_an_improvement_becomes_the_baseline():
    detector, rng = catalogue.glr(), np.random.default_rng(6)
    values = (rng.random(2_600) < np.repeat([0.5, 0.1, 0.3], [1_000, 1_000, 600])).astype(float)
    found = detector.run(detector.start(), panes_of(values))[1]
    first = next(i for i, told in enumerate(found) if told.drift)
    assert 2_000 < first < 2_200
    assert found[first].before == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", ["glr", "mixture"])
@pytest.mark.parametrize("rate", [0.02, 0.15, 0.4])
def test_the_run_length_is_kept(name, rate):
    detector = getattr(catalogue, name)(run_length=2_000)
    rng = np.random.default_rng(7)
    alarms = sum(level == "drift" for level in levels(detector, (rng.random(40_000) < rate).astype(float)))
    assert alarms <= 20 + 3 * math.sqrt(20)


def test_a_drift_is_seen_in_panes_too():
    rng = np.random.default_rng(8)
    values = (rng.random(8_000) < np.repeat([0.1, 0.5], [4_000, 4_000])).astype(float)
    for name in ("adwin", "ddm", "hddm_a", "hddm_w", "glr", "mixture", "page_hinkley"):
        for size in (10, 100):
            found = levels(catalogue.CATALOGUE[name](), values, size)
            first = next(i for i, level in enumerate(found) if level == "drift")
            assert 4_000 / size <= first < 5_000 / size


def outcome_profile(task, **columns):
    rng, rows = np.random.default_rng(9), 2_000
    x = rng.normal(0, 1, rows)
    known = {
        "binary": {
            "scores": 1 / (1 + np.exp(-3 * x)),
            "labels": (rng.random(rows) < 1 / (1 + np.exp(-3 * x))) * 1.0,
        },
        "regression": {"predictions": x, "labels": x + rng.normal(0, 1, rows)},
    }[task]
    reference = build_reference("m", "1", {"x": x}, (FeatureSpec(name="x"),), task=task, **known)
    profile = Profile.empty(reference)
    profile.fold_outcomes(columns["predictions"], columns.get("scores"), columns["labels"])
    return profile


def test_panes_of_outcomes_count_errors_by_confidence():
    scores = np.array([0.1, 0.1, 0.55, 0.65, 0.8, 0.99])
    labels = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    pane = outcome_pane(
        outcome_profile("binary", predictions=(scores > 0.5) * 1.0, scores=scores, labels=labels)
    )
    assert isinstance(pane, Pane)
    assert (pane.count, pane.total) == (6, 3)
    assert (sum(pane.counts), sum(pane.totals)) == (6, 3)
    assert pane.counts[0] == 1
    said = (scores > 0.7) * 1.0
    other = outcome_pane(outcome_profile("binary", predictions=said, scores=scores, labels=labels))
    assert isinstance(other, Pane)
    assert (sum(other.counts), other.total, sum(other.totals)) == (6, 3, 3)
    bare = outcome_pane(outcome_profile("binary", predictions=said, labels=labels))
    assert bare == Pane(count=6, total=3)
    right = (scores > 0.5) * 1.0
    against = outcome_pane(outcome_profile("binary", predictions=1 - right, scores=scores, labels=right))
    assert against == Pane(count=6, total=6)
    assert outcome_pane(Profile.empty(None)) == "no label arrived"


def test_the_errors_of_a_regression_are_the_large_ones():
    rng = np.random.default_rng(10)
    said = rng.normal(0, 1, 3_000)
    same = outcome_pane(
        outcome_profile("regression", predictions=said, labels=said + rng.normal(0, 1, 3_000))
    )
    worse = outcome_pane(
        outcome_profile("regression", predictions=said, labels=said + rng.normal(0, 2, 3_000))
    )
    assert isinstance(same, Pane)
    assert isinstance(worse, Pane)
    assert same.total / same.count == pytest.approx(0.19, abs=0.03)
    assert worse.total / worse.count > 0.4


@pytest.mark.parametrize("make", [drift.ADWIN, drift.PageHinkley, drift.binary.HDDMW])
def test_rivers_own_is_behind_the_same_protocol(make):
    values = errors(1)[:2_500]
    detector = Replayed(name="river", make=make, most=10_000)
    panes = panes_of(values)
    state, found = detector.run(detector.start(), panes)
    assert [told.level for told in found] == rivers(make(), values)
    half = detector.run(detector.start(), panes[:1_700])[0]
    again = Replayed(name="river", make=make, most=10_000)
    assert again.run(msgspec.json.decode(msgspec.json.encode(half), type=ConceptState), panes[1_700:]) == (
        state,
        found[1_700:],
    )


def test_what_a_replayed_detector_remembers_is_bounded():
    calm = [Pane(count=10, total=2.0)] * 500
    detector = Replayed(name="river", make=drift.ADWIN, most=50)
    state = detector.run(detector.start(), calm)[0]
    assert len(state.memory) <= 2 * 50 * 16
    assert any(told.drift for told in detector.run(state, [Pane(count=10, total=8.0)] * 60)[1])
    told = detector.update(state, Pane(count=0, total=0.0))[1]
    assert told.undefined == "no label arrived"
    with pytest.raises(ProfileInvalid, match="another"):
        detector.update(ConceptState(detector="another"), calm[0])


def test_verdicts_are_told_in_words():
    told = ConceptVerdict(
        level="drift", statistic=14.21, threshold=13.0, since=120.4, before=0.08, after=0.31
    )
    assert sentence(told) == (
        "the error rate changed from 8.0 % to 31 % about 120 labelled rows ago (evidence 14.2, alarm from 13)"
    )
    assert sentence(ConceptVerdict(level="warning")) == "the error rate may be changing"
    assert sentence(ConceptVerdict(level="steady"), "the share of large errors").endswith("is as it was")
    assert sentence(ConceptVerdict(level="undefined", undefined="no label arrived")).endswith(
        "no label arrived"
    )


@pytest.mark.parametrize("name", ["adwin", "hddm_w", "glr", "mixture", "watch"])
def test_a_scan_says_what_the_panes_say_one_by_one(name):
    detector = getattr(catalogue, name)(**({"strata": 1} if name == "watch" else {}))
    values = errors(2)
    shape = (EVENTS, 1) if name in ("mixture", "watch") else (EVENTS,)
    state, found = detector.scan(detector.start(), np.ones(shape), values.reshape(shape))
    after, told = detector.run(detector.start(), panes_of(values))
    assert state == after
    assert [LEVELS[level] for level in found] == [one.level for one in told]
