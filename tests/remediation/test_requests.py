"""What single requests around a release say of the service."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from remediation.config import DiagnosisConfig
from remediation.diagnosis import diagnose, needs_testimony
from remediation.requests import ServiceSaid, weigh_requests
from remediation.testimony import Testimony
from tests.remediation.test_causes import SLOW, facts
from tests.remediation.test_witness import Away, Rows, witness

ROWS = 1_200
"""Of each version, the new one after the old one; the release is at 0."""


def frame(*, slow: dict[int, float] | None = None, failing: dict[int, float] | None = None) -> pd.DataFrame:
    """Requests of 40 ms, of which 1 in 200 fails; from a request on (counted from the release) `slow` times as long,
    or with this share of failures."""
    rng, places = np.random.default_rng(5), np.arange(-ROWS, ROWS)
    longer, share = np.ones(2 * ROWS), np.full(2 * ROWS, 0.005)
    for since, factor in (slow or {}).items():
        longer[places >= since] = factor
    for since, failed in (failing or {}).items():
        share[places >= since] = failed
    return pd.DataFrame(
        {
            "time_us": places,
            "version": np.where(places >= 0, "2", "1"),
            "latency_ms": rng.lognormal(np.log(40 * longer), 0.35),
            "failed": (rng.random(2 * ROWS) < share).astype(float),
        }
    )


def of(found: pd.DataFrame) -> ServiceSaid:
    return weigh_requests(found, ("1", "2"))


@pytest.mark.parametrize(
    ("what", "blames"),
    [
        ({"slow": {0: 2.0}}, "release"),
        ({"failing": {0: 0.06}}, "release"),
        ({"slow": {-100: 2.0}}, "other"),
        ({"slow": {60: 2.0}}, "other"),
        ({"failing": {-150: 0.15}}, "other"),
        ({"failing": {240: 0.15}}, "other"),
        ({"slow": {-600: 2.0, 0: 5.0}}, "release"),
        ({"failing": {-600: 0.08, 0: 0.2}}, "release"),
        ({"slow": {-600: 2.0}}, "other"),
        ({"slow": {-900: 2.5}, "failing": {0: 0.1}}, "release"),
        ({}, None),
        ({"slow": {0: 1.1}}, None),
        ({"slow": {-100_000: 3.0}}, None),
    ],
    ids=lambda one: str(one),
)
def test_what_changed_right_at_the_release_is_its_doing(what: dict[str, Any], blames: str | None) -> None:
    assert of(frame(**what)).blames == blames


def test_the_sentence_says_how_many_requests_apart_it_began() -> None:
    early = of(frame(slow={-100: 2.0})).sentence
    assert "requests before version 2 came: a request took" in early
    late = of(frame(failing={240: 0.15})).sentence
    assert late.startswith("it began only after 2")
    assert "of the requests failed, and 0." in late
    assert "the first 1,200 requests of version 2 beside the last" in of(frame(slow={0: 2.0})).sentence


def test_requests_that_say_nothing_or_are_few_leave_it_to_the_windows() -> None:
    silent = frame(slow={0: 3.0}).assign(latency_ms=np.nan, failed=np.nan)
    assert of(silent) == ServiceSaid()
    few = frame(slow={0: 3.0}).iloc[ROWS - 30 : ROWS + 30]
    assert of(few) == ServiceSaid()


class Requests(Rows):
    """An archive of requests."""

    def __init__(self, found: pd.DataFrame) -> None:
        super().__init__()
        self._found = found

    def requests(self, model: str, **asked: Any) -> pd.DataFrame:
        self.asked = {"model": model, **asked}
        return self._found


@pytest.mark.parametrize(("slow", "cause"), [({0: 2.0}, "bad_release"), ({-100: 2.0}, "serving_problem")])
def test_a_service_that_fell_ill_shortly_before_a_release_is_not_its_doing(
    slow: dict[int, float], cause: str
) -> None:
    known = facts([replace(SLOW, version="2")], version="2", released=True)
    assert needs_testimony(known, DiagnosisConfig())
    archive = Requests(frame(slow=slow))
    said = witness(archive).heard(known)
    release = known.release()
    assert release is not None
    assert archive.asked["since_us"] < release.at_us < archive.asked["until_us"] <= known.now_us
    assert diagnose(replace(known, testimony=said), DiagnosisConfig())[0].cause == cause
    assert witness(Away()).heard(known) == Testimony()
