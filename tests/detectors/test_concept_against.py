"""Concept drift judged from profiles, against the reference and within the budget of a monitor."""

import msgspec
import numpy as np
import pytest

from detectors.concept import choice
from detectors.concept.against import plan_of, reference_pane, warm
from detectors.concept.choice import NAMES, check_names
from detectors.concept.values import Pane
from detectors.decide import alert_from, decide, point_from
from detectors.errors import MonitorInvalid
from detectors.judgement import SeriesState, Window
from detectors.performance import performance
from detectors.profile import Profile
from detectors.reference import build_reference
from detectors.sequential.budget import KIND_SHARES, part_of
from detectors.values import Budget, FeatureSpec, Monitor

X = (FeatureSpec(name="x"),)
MONITOR = Monitor(model="m", features=X, budget=Budget(incidents=1, windows=1_000), label_window_rows=200)


def binary(rng, rows, turned=0.0, unsure=1.0):
    logit = rng.normal(0, 2 * unsure, rows)
    labels = rng.random(rows) < 1 / (1 + np.exp(-logit))
    labels ^= rng.random(rows) < turned
    scores = 1 / (1 + np.exp(-logit))
    return (scores >= 0.4) * 1.0, scores, labels * 1.0


def multiclass(rng, rows, turned=0.0):
    labels, sure = rng.integers(0, 3, rows), rng.uniform(0.4, 1, rows)
    wrong = rng.random(rows) > sure * (1 - turned)
    return np.where(wrong, (labels + 1) % 3, labels) * 1.0, sure, labels * 1.0


def regression(rng, rows, turned=0.0):
    said = rng.normal(0, 1, rows)
    return said, None, said + rng.standard_t(3, rows) * (1 + 2 * turned)


TASKS = {"binary": binary, "multiclass": multiclass, "regression": regression}


def reference_of(task, rng, rows=5_000):
    said, scores, labels = TASKS[task](rng, rows)
    options = {"classes": ("a", "b", "c")} if task == "multiclass" else {}
    features = {"x": rng.normal(0, 1, rows)}
    return build_reference("m", "1", features, X, scores, said, labels, task=task, **options)


class Stream:
    """Windows of label arrival of one series, decided on one after the other."""

    def __init__(self, task, monitor=MONITOR, seed=1, reference=None):
        self.rng = np.random.default_rng(seed)
        self.task, self.monitor = task, monitor
        self.reference = reference or reference_of(task, self.rng)
        self.state, self.number, self.alerts, self.points = SeriesState(), 0, [], []

    def send(self, windows, rows=200, **changes):
        for _ in range(windows):
            profile = Profile.empty(self.reference)
            profile.fold_outcomes(*TASKS[self.task](self.rng, rows, **changes))
            n = self.number
            window = Window(
                model="m",
                version="1",
                axis="label",
                window=str(n),
                start_us=n * 10**6,
                end_us=(n + 1) * 10**6,
                rows=rows,
            )
            found = performance(profile, self.reference)
            told = decide(window, found, self.monitor, self.reference, self.state, profile)
            self.state = msgspec.json.decode(msgspec.json.encode(told.state), type=SeriesState)
            assert self.state == told.state
            self.points += [point_from(window, one, self.monitor, self.reference) for one in told.decisions]
            self.alerts += [
                alert_from(window, one, self.monitor, self.reference)
                for one in told.transitions
                if one.kind == "concept_drift"
            ]
            self.number += 1
        return self

    def measure(self, name):
        return [point for point in self.points if point.measure == name]


@pytest.mark.parametrize("task", TASKS)
def test_turned_answers_are_told_with_their_beginning_and_the_return_ends_it(task):
    stream = Stream(task).send(30)
    assert stream.alerts == []
    stream.send(20, turned=0.3)
    first, *others = stream.alerts
    assert (first.state, others) == ("firing", [])
    assert 30 <= int(first.window) <= 34
    assert 29 <= first.change_us / 1e6 <= 31
    assert "% to " in first.reason
    assert first.evidence[0].value > first.evidence[0].threshold > first.evidence[0].reference
    stream.send(6)
    assert [alert.state for alert in stream.alerts] == ["firing", "cleared"]
    assert 50 <= stream.alerts[1].change_us / 1e6 <= 52
    assert all(point.value is not None for point in stream.measure("concept_drift_evidence"))


@pytest.mark.parametrize("task", TASKS)
def test_a_stream_that_is_worse_from_its_first_row_is_found_by_the_reference(task):
    (alert,) = Stream(task).send(8, turned=0.3).alerts
    assert alert.change_us == 0


def test_what_of_the_outcomes_changed_is_told():
    (alert,) = Stream("binary").send(5).send(2, rows=1_000, turned=0.3).alerts
    assert {each.measure for each in alert.evidence} == {
        "error_rate",
        "miss_rate",
        "false_positive_share",
    }
    assert "of the rows that are positive" in alert.reason


def test_more_rows_of_which_the_model_is_unsure_are_no_other_concept():
    for seed in range(5):
        stream = Stream("binary", seed=seed).send(10).send(40, unsure=0.4)
        assert stream.alerts == []
        assert np.mean([point.value for point in stream.measure("accuracy")[10:]]) < 0.68
    (alert,) = stream.send(10, unsure=0.4, turned=0.4).alerts
    assert 50 <= int(alert.window) <= 54


def test_a_stream_that_was_better_than_the_reference_and_is_as_good_again_is_no_drift():
    stream = Stream("multiclass").send(20, turned=-0.3).send(20)
    assert stream.alerts == []


def test_calm_streams_raise_no_alarm_in_a_part_of_the_budget():
    told = sum(len(Stream("binary", seed=seed).send(150).alerts) for seed in range(10))
    assert told == 0


def test_a_drift_that_goes_further_is_told_again():
    stream = Stream("binary").send(5).send(10, turned=0.15).send(10, turned=0.4)
    assert [alert.state for alert in stream.alerts] == ["firing", "firing"]
    assert "has gone further" in stream.alerts[1].reason


def test_a_reference_without_labels_takes_the_first_rows_for_the_baseline():
    rng = np.random.default_rng(2)
    said, scores, _ = binary(rng, 2_000)
    reference = build_reference("m", "1", {"x": rng.normal(0, 1, 2_000)}, X, scores, said)
    assert reference_pane(reference) == "no label arrived"
    stream = Stream("binary", reference=reference).send(20)
    assert stream.alerts == []
    (alert,) = stream.send(10, turned=0.3).alerts
    assert 19 <= alert.change_us / 1e6 <= 21


def test_a_window_without_labels_is_undefined_with_a_reason():
    stream = Stream("binary").send(3)
    before = stream.state.concept
    stream.send(1, rows=0)
    assert stream.state.concept == before
    assert stream.measure("concept_drift_evidence")[-1].undefined == "no label arrived"


def test_another_reference_ends_the_incident_and_begins_anew():
    stream = Stream("binary").send(5).send(5, turned=0.3)
    stream.reference = reference_of("binary", stream.rng)
    stream.send(1)
    assert stream.alerts[-1].state == "cleared"
    assert "other ones" in stream.alerts[-1].reason


def test_what_is_no_longer_looked_for_is_cleared_and_forgotten():
    stream = Stream("binary").send(5).send(5, turned=0.3)
    stream.monitor = msgspec.structs.replace(MONITOR, concept=())
    stream.send(2)
    assert [alert.state for alert in stream.alerts] == ["firing", "cleared"]
    assert stream.state.concept is None


def test_a_detector_that_was_missing_begins_when_it_is_there(monkeypatch):
    monitor = msgspec.structs.replace(MONITOR, concept=("watch", "river_ddm"))
    stream = Stream("binary", monitor)
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    stream.send(3)
    monkeypatch.undo()
    stream.send(2)
    told = [point.undefined for point in stream.measure("river_ddm_evidence")]
    assert told == ["river_ddm takes the package river, which is not installed here"] * 3 + [None] * 2


def test_detectors_are_chosen_by_name_and_a_wrong_name_tells_what_there_is():
    monitor = msgspec.structs.replace(MONITOR, concept=("watch", "ddm", "river_hddm_w"))
    stream = Stream("binary", monitor).send(10).send(10, turned=0.4)
    assert stream.alerts[0].state == "firing"
    assert len(stream.measure("ddm_evidence")) == len(stream.measure("river_hddm_w_evidence")) == 20
    off = Stream("binary", msgspec.structs.replace(MONITOR, concept=())).send(3).send(5, turned=0.4)
    assert off.alerts == []
    assert off.measure("concept_drift_evidence") == []
    strange = Stream("binary", msgspec.structs.replace(MONITOR, concept=("adwim", "watch"))).send(3)
    assert "there is no detector 'adwim'" in (strange.measure("adwim_evidence")[0].undefined or "")
    with pytest.raises(MonitorInvalid, match=r"'adwim'.*adwin, ddm"):
        check_names(["adwim"])
    with pytest.raises(MonitorInvalid, match="twice"):
        check_names(["ddm", "ddm"])


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_detector(name):
    plan = plan_of([name], reference_of("binary", np.random.default_rng(3), 500), 1e5)
    (detector,) = plan.detectors
    assert detector.name == name
    after, told = detector.update(detector.start(), Pane(count=50.0, total=5.0))
    assert told.undefined is None
    assert after.detector == name


def test_the_budget_of_a_model_is_shared_out_and_not_exceeded():
    kinds = ("data_drift", "data_quality", "prediction_drift")
    for labels in (True, False):
        told = [*kinds, "concept_drift", *(["performance"] if labels else [])]
        parts = [
            part_of(each, kinds if each in kinds else (each,), labels=labels, segments=0, is_segment=False)
            for each in told
        ]
        assert sum(parts) == pytest.approx(1.0)
    assert set(KIND_SHARES) >= set(kinds)


def test_a_budget_in_time_counts_the_rows_of_that_time():
    monitor = msgspec.structs.replace(MONITOR, budget=Budget(incidents=1, every_s=1_000.0))
    (alert,) = Stream("binary", monitor).send(10).send(6, turned=0.3).alerts
    assert alert.state == "firing"


@pytest.mark.parametrize("task", TASKS)
def test_the_reference_is_its_first_pane(task):
    pane = reference_pane(reference_of(task, np.random.default_rng(2)))
    assert isinstance(pane, Pane)
    assert pane.count == pytest.approx(5_000, rel=0.01)
    assert 0.05 < pane.total / pane.count < 0.45
    assert sum(pane.totals) == pytest.approx(0.0 if task == "regression" else pane.total)


def test_all_is_compiled_once():
    warm()
    warm()
