"""Phases and cost of an incident."""

import msgspec
import pytest

from remediation.durations import cost, phases
from remediation.values import Approval, Incident
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, point

INCIDENT = Incident(
    id="inc-1",
    model=MODEL,
    version="2",
    state="resolved",
    change_us=100 * S,
    opened_us=110 * S,
    diagnosed_us=112 * S,
    approved_us=150 * S,
    acted_us=151 * S,
    closed_us=171 * S,
)
ASKED = Approval(
    id="a",
    plan_id="p",
    plan_hash="h",
    incident_id="inc-1",
    model=MODEL,
    requested_us=115 * S,
    expires_us=999 * S,
)


def test_every_phase_has_its_time() -> None:
    assert phases(INCIDENT, [ASKED]) == {"detect": 10, "diagnose": 2, "approve": 35, "act": 1, "recover": 20}


def test_phases_that_did_not_happen_are_left_out() -> None:
    alone = msgspec.structs.replace(INCIDENT, diagnosed_us=None, approved_us=None, acted_us=None)
    assert phases(alone) == {"detect": 10}


def test_an_onset_after_the_detection_takes_no_time() -> None:
    assert phases(msgspec.structs.replace(INCIDENT, change_us=111 * S))["detect"] == 0


def test_the_cost_counts_the_ill_version_from_onset_to_cure() -> None:
    found = [
        point("2", end_us=90 * S, value=0.2, length_s=10),
        point("2", end_us=120 * S, value=0.7, length_s=10),
        point("2", end_us=130 * S, value=0.7, length_s=10),
        point("2", end_us=170 * S, value=0.2, length_s=10),
        point("1", end_us=130 * S, value=0.2, length_s=10),
        point("2", end_us=130 * S, value=0.2, length_s=10, axis="event", feature="radius"),
        point("2", end_us=130 * S, value=0.3, length_s=10, axis="event", feature="texture"),
    ]
    found = [msgspec.structs.replace(each, reference=0.9) for each in found]
    rows = found[0].rows
    told = cost(INCIDENT, found)
    assert (told.rows, told.labelled) == (rows, 2 * rows)
    assert told.errors == pytest.approx(2 * rows * 0.2)


def test_of_a_regression_the_cost_is_told_by_its_errors() -> None:
    found = [
        point("2", end_us=end_us, value=value, length_s=10, measure="mae")
        for end_us, value in ((120 * S, 3.0), (130 * S, 4.0))
    ]
    found = [msgspec.structs.replace(each, reference=2.0) for each in found]
    told = cost(INCIDENT, found)
    assert (told.labelled, told.errors) == (2 * found[0].rows, 0)
    assert told.error_rise == pytest.approx(1.5)
    assert cost(INCIDENT, []).error_rise is None
