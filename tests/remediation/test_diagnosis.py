"""Facts in, ranked causes out: tables."""

from typing import Any

import msgspec
import pytest

from detectors.values import Alert, Evidence, Explanation, MetricPoint
from remediation.config import DiagnosisConfig
from remediation.diagnosis import diagnose, more_may_come, ready, summary
from remediation.evidence import Facts
from remediation.values import Desired, Incident
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, alert, point

RELEASE_S = 1_000
CONFIG = DiagnosisConfig()


def _deployment(version: str, epoch: int, at_s: int) -> Desired:
    return Desired(
        model=MODEL,
        version=version,
        digest=f"d{version}",
        epoch=epoch,
        decided_by="ada",
        reason="r",
        at_us=at_s * S,
    )


HISTORY = (_deployment("1", 1, 100), _deployment("2", 2, RELEASE_S))


def _facts(alerts: list[Alert], points: list[MetricPoint], version: str = "2", **more: Any) -> Facts:
    change_us = min(each.change_us for each in alerts)
    incident = Incident(id="inc", model=MODEL, version=version, change_us=change_us, opened_us=2_000 * S)
    return Facts(
        incident=incident,
        alerts=tuple(alerts),
        points=tuple(points),
        deployments=more.get("deployments", HISTORY),
        desired=HISTORY[-1],
        blamed=frozenset(),
        now_us=more.get("now_us", 2_010 * S),
    )


def _labels(version: str, start_s: int, values: list[float]) -> list[MetricPoint]:
    return [
        point(version, end_us=(start_s + 10 * n) * S, value=value, breach=value < 0.9, length_s=10)
        for n, value in enumerate(values)
    ]


def _inputs(version: str, start_s: int, breaches: list[bool]) -> list[MetricPoint]:
    return [
        point(
            version,
            end_us=(start_s + 10 * n) * S,
            value=1.4 if breach else 0.05,
            breach=breach,
            axis="event",
            feature="radius",
            length_s=10,
        )
        for n, breach in enumerate(breaches)
    ]


HEALTHY_ONE = _labels("1", 950, [0.95, 0.96, 0.95, 0.95])
ILL_TWO = _labels("2", 1_015, [0.7, 0.71])
DROP = alert(at_us=1_025 * S, change_us=1_005 * S)
DRIFT = alert("data_drift", at_us=1_025 * S, change_us=1_005 * S)


def _cause(facts: Facts) -> str:
    return diagnose(facts, CONFIG)[0].cause


def test_worse_than_its_predecessor_since_its_first_window_is_a_bad_release() -> None:
    facts = _facts([DROP], HEALTHY_ONE + ILL_TWO)
    best = diagnose(facts, CONFIG)[0]
    assert (best.cause, best.confidence) == ("bad_release", 0.95)
    assert "accuracy of version 2 is 0.705 on 1,000 labelled rows" in best.reasons[0]
    assert "version 1 had 0.953 on its last 1,500" in best.reasons[0]
    assert summary(facts, best).startswith("cancer: version 2 is a bad release (accuracy")


def test_the_alert_can_be_faster_than_the_points() -> None:
    assert _cause(_facts([DROP], HEALTHY_ONE)) == "bad_release"


def test_drift_against_its_own_reference_since_its_first_window_is_a_bad_release_without_labels() -> None:
    points = _inputs("1", 960, [False] * 4) + _inputs("2", 1_015, [True, True])
    assert _cause(_facts([DRIFT], points)) == "bad_release"


@pytest.mark.parametrize(("labels", "surely"), [([0.95, 0.95], False), ([0.95], True), ([0.9, 0.92], True)])
def test_a_release_whose_labels_are_as_good_as_before_is_not_surely_a_bad_one(
    labels: list[float], surely: bool
) -> None:
    points = _inputs("1", 960, [False] * 4) + _inputs("2", 1_015, [True, True])
    found = diagnose(_facts([DRIFT], points + HEALTHY_ONE + _labels("2", 1_015, labels)), CONFIG)
    (release,) = (each for each in found if each.cause == "bad_release")
    assert (release.confidence > 0.5) == surely
    assert ("and was 0.953 before it" in " ".join(release.reasons)) != surely


def test_a_shift_that_the_predecessor_already_saw_is_no_bad_release() -> None:
    points = _inputs("1", 960, [False, False, True, True]) + _inputs("2", 1_015, [True, True])
    assert _cause(_facts([DRIFT], points)) == "population_shift"


def test_a_version_that_was_well_after_its_release_was_made_ill_by_the_world() -> None:
    later = alert("data_drift", at_us=1_095 * S, change_us=1_075 * S)
    drop = alert(at_us=1_095 * S, change_us=1_075 * S)
    points = (
        HEALTHY_ONE + _labels("2", 1_015, [0.95, 0.95, 0.95, 0.95, 0.95, 0.95]) + _labels("2", 1_085, [0.7])
    )
    assert (
        _cause(_facts([later, drop], points + _inputs("2", 1_015, [False] * 6 + [True])))
        == "population_shift"
    )
    assert _cause(_facts([drop], points)) == "concept_shift"


def test_without_a_release_drift_is_a_shift_and_a_bare_drop_a_changed_concept() -> None:
    first = (HISTORY[0],)
    drift = alert("data_drift", version="1", at_us=900 * S)
    drop = alert(version="1", at_us=900 * S)
    assert _cause(_facts([drift], [], "1", deployments=first)) == "population_shift"
    assert _cause(_facts([drift, drop], [], "1", deployments=first)) == "population_shift"
    assert _cause(_facts([drop], [], "1", deployments=first)) == "concept_shift"
    turned = alert("concept_drift", version="1", at_us=890 * S)
    assert _cause(_facts([turned], [], "1", deployments=first)) == "concept_shift"
    alone = diagnose(_facts([drop], [], "1", deployments=first), CONFIG)[0].confidence
    assert diagnose(_facts([drop, turned], [], "1", deployments=first), CONFIG)[0].confidence > alone


@pytest.mark.parametrize(("share", "confidence"), [(0.1, 0.5), (0.9, 0.15), (None, 0.15)])
def test_a_drop_that_the_shift_hardly_explains_is_suspected_of_a_changed_concept(
    share: float | None, confidence: float
) -> None:
    told = Explanation(
        measure="accuracy",
        reference=0.9,
        expected=0.9,
        realized=0.7,
        shift=0.0,
        concept=-0.2,
        share=share,
        message="the shift explains 10% of it",
    )
    drop = msgspec.structs.replace(alert(version="1", at_us=900 * S), explained=told)
    drift = alert("data_drift", version="1", at_us=900 * S)
    found = diagnose(_facts([drift, drop], [], "1", deployments=(HISTORY[0],)), CONFIG)
    assert found[0].cause == "population_shift"
    concept = next(one for one in found if one.cause == "concept_shift")
    assert concept.confidence == pytest.approx(confidence * 0.98, abs=0.01)
    assert (told.message in concept.reasons) == (confidence == 0.5)


def test_a_release_that_turned_answers_is_a_bad_release_before_its_performance_is_judged() -> None:
    turned = alert("concept_drift", at_us=DROP.end_us, change_us=DROP.change_us)
    assert _cause(_facts([turned], HEALTHY_ONE + _labels("2", 1_015, [0.7, 0.7]))) == "bad_release"
    assert _cause(_facts([turned, DROP], HEALTHY_ONE + _labels("2", 1_015, [0.7, 0.7]))) == "bad_release"


@pytest.mark.parametrize(
    ("measure", "value", "with_drift", "expected"),
    [
        ("missing_rate", 0.98, True, "upstream_data_break"),
        ("point_mass", 0.98, True, "upstream_data_break"),
        ("point_mass", 0.05, True, "population_shift"),
        ("missing_rate", 0.06, False, "upstream_data_break"),
        ("out_of_range_rate", 0.4, True, "population_shift"),
        ("out_of_range_rate", 0.4, False, "population_shift"),
    ],
)
def test_what_counts_as_a_break(measure: str, value: float, with_drift: bool, expected: str) -> None:
    found = Evidence(
        measure=measure,
        feature="chol",
        value=value,
        reference=0.0,
        threshold=0.01,
        rows=1_000,
        effect=value * 100,
    )
    alerts = [alert("data_quality", version="1", at_us=900 * S, evidence=(found,))]
    if with_drift:
        alerts.append(alert("data_drift", version="1", at_us=900 * S))
    assert _cause(_facts(alerts, [], "1", deployments=(HISTORY[0],))) == expected


@pytest.mark.parametrize(
    ("reference", "value", "expected"),
    [
        (0.0, 0.3, "upstream_data_break"),
        (0.44, 0.68, "population_shift"),
        (0.44, 0.99, "upstream_data_break"),
    ],
)
def test_a_value_that_was_common_may_become_more_common(
    reference: float, value: float, expected: str
) -> None:
    found = Evidence(
        measure="point_mass",
        feature="ink",
        value=value,
        reference=reference,
        threshold=0.1,
        rows=500,
        effect=3.0,
    )
    alerts = [
        alert("data_quality", version="1", at_us=900 * S, evidence=(found,)),
        alert("data_drift", version="1", at_us=900 * S),
    ]
    assert _cause(_facts(alerts, [], "1", deployments=(HISTORY[0],))) == expected


def test_a_strange_output_alone_is_unknown() -> None:
    strange = alert("prediction_drift", version="1", at_us=900 * S)
    assert _cause(_facts([strange], [], "1", deployments=(HISTORY[0],))) == "unknown"


def test_confidences_are_ranked_and_within_bounds() -> None:
    ranked = diagnose(_facts([DROP, DRIFT], HEALTHY_ONE + ILL_TWO), CONFIG)
    confidences = [each.confidence for each in ranked]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= each <= 1 for each in confidences)
    assert {each.cause for each in ranked} >= {"bad_release", "population_shift", "unknown"}
    assert all(each.reasons for each in ranked)


@pytest.mark.parametrize(
    ("kinds", "age_s", "expected"),
    [
        (("data_drift",), 1.0, False),  # labels may come yet
        (("data_drift",), 4.5, False),  # for as long as a window takes
        (("data_drift",), 6.5, True),  # or never
        (("data_drift", "performance"), 1.0, False),  # what broke shows in a whole window
        (("data_drift", "performance"), 6.5, True),
        (("performance",), 1.0, True),  # near a release
        (("prediction_drift",), 10.0, False),
        (("prediction_drift",), 31.0, True),
    ],
)
def test_when_the_evidence_is_enough(kinds: tuple[Any, ...], age_s: float, expected: bool) -> None:
    alerts = [alert(kind, at_us=1_025 * S, change_us=1_005 * S) for kind in kinds]
    facts = _facts(alerts, [], now_us=2_000 * S + round(age_s * S))
    assert (ready(facts, CONFIG) is not None) == expected


def test_a_drop_long_after_the_release_waits_for_the_inputs_to_speak() -> None:
    drop = alert(at_us=1_925 * S, change_us=1_905 * S)
    facts = _facts([drop], [], now_us=2_001 * S)
    assert ready(facts, CONFIG) is None
    assert ready(msgspec.structs.replace(facts, now_us=2_007 * S), CONFIG) is not None


def test_what_is_unknown_is_called_so_only_when_nothing_more_is_to_be_expected() -> None:
    early = _facts([DRIFT], [], now_us=2_000 * S + 1)
    late = _facts([DRIFT], [], now_us=2_007 * S)
    assert (more_may_come(early, CONFIG), more_may_come(late, CONFIG)) == (True, False)
