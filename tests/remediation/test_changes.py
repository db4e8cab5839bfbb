"""Changes around a model: which are near, and what they may and may not do to a diagnosis."""

import msgspec
import pytest

from remediation.changes import Change, ChangeKind, near
from remediation.config import DiagnosisConfig
from remediation.diagnosis import diagnose
from remediation.evidence import Facts
from remediation.values import Cause, Incident
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, alert

CONFIG = DiagnosisConfig()
ONSET_S = 10_000


def _change(kind: ChangeKind = "pipeline", starts_s: float = ONSET_S - 600, **more: object) -> Change:
    change = Change(
        id=f"{kind}-{starts_s}", kind=kind, title="t", starts_us=round(starts_s * S), by="etl", recorded_us=0
    )
    return msgspec.structs.replace(change, **more)


def _confidences(*changes: Change) -> dict[Cause, float]:
    drift = alert("data_drift", at_us=(ONSET_S + 60) * S, change_us=ONSET_S * S)
    onset_us = drift.change_us
    facts = Facts(
        incident=Incident(
            id="inc", model=MODEL, version="2", change_us=onset_us, opened_us=onset_us + 70 * S
        ),
        alerts=(drift,),
        points=(),
        deployments=(),
        desired=None,
        blamed=frozenset(),
        now_us=onset_us + 100 * S,
        changes=near(changes, MODEL, onset_us, CONFIG.near_change_s),
    )
    return {each.cause: each.confidence for each in diagnose(facts, CONFIG)}


@pytest.mark.parametrize(
    ("change", "is_near"),
    [
        (_change(), True),
        (_change(starts_s=ONSET_S - 3_601), False),
        (_change(starts_s=ONSET_S + 300), True),
        (_change(starts_s=ONSET_S + 400), False),
        (_change(models="canc*"), True),
        (_change(models="churn"), False),
        (_change("campaign", starts_s=0, ends_us=(ONSET_S + 1) * S), True),
        (_change("campaign", starts_s=0, ends_us=(ONSET_S - 1) * S), False),
    ],
)
def test_what_is_near_an_onset(change: Change, is_near: bool) -> None:
    assert bool(near([change], MODEL, ONSET_S * S, 3_600.0)) is is_near


def test_the_nearest_comes_first() -> None:
    far, close = _change(starts_s=ONSET_S - 900), _change(starts_s=ONSET_S - 30)
    assert near([far, close], MODEL, ONSET_S * S, 3_600.0) == (close, far)


def test_a_campaign_speaks_for_a_shift_of_the_population() -> None:
    without, with_it = _confidences(), _confidences(_change("campaign"))
    assert with_it["population_shift"] > without["population_shift"]
    assert with_it["upstream_data_break"] == without["upstream_data_break"]


def test_a_harmless_change_makes_no_cause_of_its_own() -> None:
    assert _confidences(_change("pipeline"), _change("other")) == _confidences()


def test_a_change_is_told_with_its_time() -> None:
    told = _change(starts_s=ONSET_S - 600).told(ONSET_S * S)
    assert told == "pipeline 't' (etl) began 10 min before"
    assert _change(starts_s=ONSET_S + 30).told(ONSET_S * S).endswith("30 s after the estimated onset")
