"""Causes around the model and its inputs, and what the past tells: tables."""

from typing import Any

import pytest
from msgspec.structs import replace

from detectors.values import Alert, Contribution, Evidence, MetricPoint
from remediation.config import DiagnosisConfig
from remediation.diagnosis import diagnose
from remediation.evidence import Facts
from remediation.experience import Precedent, name_cause, precedents
from remediation.facets import of_operation
from remediation.routing import route
from remediation.silences import Link
from remediation.values import Desired, Incident
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import Faults, ManualClock, S
from tests.remediation.world import MODEL, alert, point

CONFIG = DiagnosisConfig()
ONSET_S = 1_000


def facts(
    alerts: list[Alert], points: list[MetricPoint] | None = None, version: str = "1", released: bool = False
) -> Facts:
    history = [_deployment("1", 1, 100)]
    if released:
        history.append(_deployment("2", 2, ONSET_S))
    change_us = min(each.change_us for each in alerts)
    return Facts(
        incident=Incident(id="inc", model=MODEL, version=version, change_us=change_us, opened_us=2_000 * S),
        alerts=tuple(alerts),
        points=tuple(points or ()),
        deployments=tuple(history),
        desired=history[-1],
        blamed=frozenset(),
        now_us=2_010 * S,
    )


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


def labels(
    accuracy: float, precision: float, recall: float | None, at_s: int, version: str = "1", auc: float = 0.9
) -> list[MetricPoint]:
    """A window of 500 labels."""
    told = {"accuracy": accuracy, "precision": precision, "recall": recall, "auc": auc}
    return [
        replace(point(version, end_us=at_s * S, value=0.0, measure=name, length_s=10), value=value)
        for name, value in told.items()
    ]


def answers(share: float, version: str = "1") -> MetricPoint:
    return point(
        version, end_us=(ONSET_S + 20) * S, value=share, axis="event", measure="positive_rate", length_s=10
    )


def evidence(measure: str, value: float, reference: float, feature: str | None = None) -> Evidence:
    return Evidence(
        measure=measure,
        feature=feature,
        value=value,
        reference=reference,
        threshold=2 * reference,
        rows=400,
        effect=5,
    )


DROP = alert(version="1", at_us=(ONSET_S + 20) * S, change_us=ONSET_S * S)
SLOW = alert(
    "data_quality",
    version="1",
    at_us=(ONSET_S + 20) * S,
    change_us=ONSET_S * S,
    evidence=(evidence("latency_p95_ms", 480.0, 110.0),),
)
SILENCE = alert("volume", version="1", at_us=(ONSET_S + 20) * S, change_us=ONSET_S * S, evidence=())


def best(found: Facts) -> tuple[str, str]:
    first = diagnose(found, CONFIG)[0]
    return first.cause, "; ".join(first.reasons)


def test_labels_of_one_class_only_are_a_problem_of_the_labels() -> None:
    points = [*labels(0.82, 0.8, 0.82, ONSET_S - 5), *labels(0.52, 0.0, None, ONSET_S + 20), answers(0.48)]
    cause, why = best(facts([DROP], points))
    assert cause == "label_problem"
    assert "100.0% of the last 500 labels are negative" in why


def test_labels_of_other_rows_than_those_that_come_are_a_problem_of_the_labels() -> None:
    """Positives that do not come: within each class the model is as good as before."""
    points = [*labels(0.82, 0.8, 0.82, ONSET_S - 5), *labels(0.82, 0.33, 0.82, ONSET_S + 20), answers(0.48)]
    cause, why = best(facts([DROP], points))
    assert cause == "label_problem"
    assert "of the rows that are labelled, and to 48.0% of all" in why


def test_labels_that_say_the_opposite_are_a_problem_of_the_labels_unless_a_release_turned_the_answers() -> (
    None
):
    points = [
        *labels(0.82, 0.8, 0.82, ONSET_S - 5),
        *labels(0.2, 0.2, 0.2, ONSET_S + 20, auc=0.1),
        answers(0.5),
    ]
    cause, why = best(facts([DROP], points))
    assert cause == "label_problem"
    assert "below chance" in why
    turned = alert(version="2", at_us=(ONSET_S + 20) * S, change_us=ONSET_S * S)
    after = [
        point("1", end_us=(ONSET_S - 5) * S, value=0.82),
        *labels(0.2, 0.2, 0.2, ONSET_S + 20, "2", auc=0.1),
        answers(0.5, "2"),
    ]
    assert best(facts([turned], after, "2", released=True))[0] == "bad_release"


def test_a_turned_concept_leaves_the_choice_of_the_labelled_rows_alone() -> None:
    points = [*labels(0.82, 0.8, 0.82, ONSET_S - 5), *labels(0.65, 0.62, 0.66, ONSET_S + 20), answers(0.49)]
    assert best(facts([DROP], points))[0] == "concept_shift"


def test_a_slow_service_is_a_serving_problem_and_one_of_a_new_version_alone_a_bad_release() -> None:
    assert best(facts([SLOW]))[0] == "serving_problem"
    assert of_operation(SLOW)
    well = [point("1", end_us=(ONSET_S - 5 * n) * S, value=100.0, axis="event") for n in (1, 2)]
    slow = alert(
        "data_quality",
        version="2",
        at_us=(ONSET_S + 20) * S,
        change_us=ONSET_S * S,
        evidence=(evidence("error_rate", 0.2, 0.004), evidence("missing_rate", 0.2, 0.004)),
    )
    assert of_operation(slow)
    assert best(facts([slow], well, "2", released=True))[0] == "bad_release"


@pytest.mark.parametrize("beside", [DROP, alert("data_drift", version="1", at_us=(ONSET_S + 20) * S)])
def test_what_is_ill_around_the_model_explains_no_illness_of_the_model(beside: Alert) -> None:
    for operation in (SLOW, SILENCE):
        assert best(facts([operation, beside]))[0] in ("concept_shift", "population_shift")


def test_silence_alone_and_a_mix_that_moved_are_a_change_of_the_traffic() -> None:
    assert best(facts([SILENCE]))[0] == "traffic_change"
    part = Contribution(
        name="region=north",
        rows=400,
        share_before=0.2,
        share=0.8,
        value_before=0.4,
        value=0.4,
        mix=0.15,
        within=0.01,
    )
    found = diagnose(facts([replace(DROP, parts=(part,))]), CONFIG)
    traffic = next(each for each in found if each.cause == "traffic_change")
    assert traffic.confidence >= 0.8
    assert "94% of the drop" in traffic.reasons[0]


def test_a_first_window_that_is_ill_in_part_only_clears_the_release() -> None:
    drift = alert(
        "data_drift",
        version="2",
        at_us=(ONSET_S + 20) * S,
        change_us=ONSET_S * S,
        evidence=(evidence("ks", 0.6, 0.0, "age"),),
    )
    before = [
        point("1", end_us=(ONSET_S - 10 * n) * S, value=0.02, axis="event", measure="ks", feature="age")
        for n in (1, 2)
    ]
    windows = {
        share: [
            point(
                "2",
                end_us=(ONSET_S + 10 * n) * S,
                value=value,
                axis="event",
                measure="ks",
                feature="age",
                breach=True,
                length_s=10,
            )
            for n, value in enumerate((share, 0.6), start=1)
        ]
        for share in (0.15, 0.58)
    }
    assert best(facts([drift], before + windows[0.58], "2", released=True))[0] == "bad_release"
    assert best(facts([drift], before + windows[0.15], "2", released=True))[0] == "population_shift"


@pytest.mark.parametrize(
    ("effect", "since", "cause"),
    [(0.9, 0.82, "unknown"), (0.9, 0.7, "concept_shift"), (4.0, 0.82, "concept_shift")],
)
def test_a_drop_that_chance_may_have_picked_takes_a_window_that_was_not_picked(
    effect: float, since: float, cause: str
) -> None:
    faint = replace(DROP, evidence=(replace(evidence("error_rate", 0.21, 0.18), effect=effect),))
    later = point("1", end_us=(ONSET_S + 40) * S, value=since, reference=0.82)
    assert best(facts([faint], [later]))[0] == cause


@pytest.mark.parametrize(("effect", "cause"), [(0.9, "unknown"), (4.0, "population_shift")])
def test_a_drift_that_is_hardly_one_is_left_to_people(effect: float, cause: str) -> None:
    drift = alert(
        "data_drift",
        version="1",
        at_us=(ONSET_S + 20) * S,
        evidence=(replace(evidence("location", 0.13, 0.0, "age"), effect=effect),),
    )
    assert best(facts([drift]))[0] == cause


def test_after_a_slow_service_was_left_to_people_an_ill_model_is_told() -> None:
    closed = Incident(
        id="old",
        model=MODEL,
        version="1",
        state="escalated",
        change_us=ONSET_S * S,
        opened_us=(ONSET_S + 20) * S,
        closed_us=(ONSET_S + 25) * S,
    )
    given: dict[str, Any] = {
        "current": None,
        "last_closed": closed,
        "desired": None,
        "now_us": (ONSET_S + 30) * S,
        "uncured_hold_s": 86_400.0,
    }
    assert route(DROP, closed_alerts=lambda: [SLOW], **given).decision == "open"
    assert route(SLOW, closed_alerts=lambda: [SLOW], **given).decision == "attach"
    missing = alert("data_quality", version="1", at_us=(ONSET_S + 20) * S)
    assert route(DROP, closed_alerts=lambda: [missing], **given).decision == "attach"


def test_what_a_person_said_of_an_incident_that_showed_the_same_is_told_and_counts() -> None:
    clock = ManualClock()
    journal: Any = FakeJournal(clock, Faults())
    points = [*labels(0.82, 0.8, 0.82, ONSET_S - 5), *labels(0.65, 0.62, 0.66, ONSET_S + 20)]
    now = facts([DROP], points)
    with journal.transaction() as unit:
        for model in (MODEL, "other"):
            past = Incident(
                id=f"past-{model}", model=model, version="1", change_us=1, opened_us=2, state="escalated"
            )
            unit.add_incident(past, actor="agent")
            seen = alert(version="1", at_us=10 * S, model=model, name=model)
            assert unit.link_alerts([Link(alert=seen, incident_id=past.id)]) == 1
        assert precedents(unit, now.incident, now.alerts) == ()
    name_cause(journal, incident_id="past-other", cause="traffic_change", by="ben")
    name_cause(journal, incident_id=f"past-{MODEL}", cause="concept_shift", by="ada")
    name_cause(journal, incident_id=f"past-{MODEL}", cause="label_problem", by="ada", why="swapped")
    with journal.reading() as unit:
        first, second = precedents(unit, now.incident, now.alerts)
    assert (first.cause, first.by, first.likeness) == ("label_problem", "ada", 1.0)
    assert (second.cause, second.model) == ("traffic_change", "other")
    assert second.weight < first.weight
    known = facts([DROP], points)
    told = {each.cause: each for each in diagnose(_with(known, first), CONFIG)}
    alone = {each.cause: each for each in diagnose(known, CONFIG)}
    assert told["label_problem"].confidence > alone["label_problem"].confidence + 0.3
    assert told["label_problem"].reasons[-1].endswith("ada said it was: Labels cannot be trusted")
    assert diagnose(_with(known, first), CONFIG)[0].cause == "concept_shift", "the evidence weighs more"


def _with(known: Facts, found: Precedent) -> Facts:
    return replace(known, precedents=(found,))


def faint(effect: float, **more: Any) -> Alert:
    shown = Evidence(
        measure="location",
        feature="tenure",
        value=0.15,
        reference=0.0,
        threshold=0.18,
        rows=860,
        effect=effect,
    )
    return alert(
        "data_drift",
        version="2",
        at_us=(ONSET_S + 20) * S,
        change_us=ONSET_S * S,
        evidence=(shown,),
        **more,
    )


def test_a_release_is_not_undone_for_inputs_that_hardly_moved() -> None:
    before = labels(0.9, 0.9, 0.9, ONSET_S - 10)
    for effect, cause in ((0.9, "unknown"), (3.0, "bad_release")):
        best = diagnose(facts([faint(effect)], before, "2", released=True), CONFIG)[0]
        assert best.cause == cause
    followed = [faint(0.9), replace(DROP, version="2")]
    assert diagnose(facts(followed, before, "2", released=True), CONFIG)[0].cause == "bad_release"


@pytest.mark.parametrize(("change_s", "release"), [(-60, 0.05), (20, 0.3), (5_000, 0.05)])
def test_a_silence_is_hardly_the_doing_of_a_release(change_s: int, release: float) -> None:
    silent = replace(
        SILENCE, version="2", change_us=(ONSET_S + change_s) * S, start_us=(ONSET_S + change_s) * S
    )
    found = diagnose(facts([silent], version="2", released=True), CONFIG)
    assert found[0].cause == "traffic_change"
    assert next(each.confidence for each in found if each.cause == "bad_release") == release
