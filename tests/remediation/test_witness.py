"""A release beside the version before it: rows of the archive, and how slow the service is of either."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from detectors.values import MetricPoint
from remediation.config import DiagnosisConfig
from remediation.diagnosis import diagnose, needs_testimony
from remediation.evidence import Facts
from remediation.testimony import Testimony
from remediation.values import Arrangement
from remediation.witness import Witness
from tests.remediation.fakes import FakeRegistry, FakeScorer, Faults, ManualClock, S
from tests.remediation.test_causes import DROP, ONSET_S, SILENCE, SLOW, facts
from tests.remediation.world import MODEL, World, point

CONFIG = DiagnosisConfig()
NEW = replace(DROP, version="2")


class Rows:
    """An archive: version 2 follows version 1 at the onset, and answers 1 to everybody. A label is 1 where the radius
    is above 0; from the onset on, where `turned`, below it."""

    def __init__(self, turned: bool = False) -> None:
        self._turned = turned
        self.asked: dict[str, Any] = {}

    def labelled(self, model: str, **asked: Any) -> pd.DataFrame:
        self.asked = {"model": model, **asked}
        rng, count = np.random.default_rng(1), 800
        new, radius = np.arange(count) >= 400, rng.normal(0, 1, count)
        right = (radius > 0).astype(float)
        return pd.DataFrame(
            {
                "time_us": ONSET_S * S + (np.arange(count) - 400) * 10_000,
                "label_time_us": ONSET_S * S + (np.arange(count) - 400) * 10_000 + 5_000,
                "version": np.where(new, "2", "1"),
                "prediction": np.where(new & ~np.full(count, self._turned), 1.0, right),
                "label": np.where(new & self._turned, 1 - right, right),
                "f.radius": radius,
                "f.texture": rng.normal(0, 1, count),
            }
        )

    def requests(self, model: str, **asked: Any) -> pd.DataFrame:
        self.asked = {"model": model, **asked}
        return pd.DataFrame({name: [] for name in ("time_us", "version", "latency_ms", "failed")})


class Away:
    def labelled(self, model: str, **asked: Any) -> pd.DataFrame:
        raise OSError("the store is away")

    requests = labelled


def witness(archive: Any) -> Witness:
    registry = FakeRegistry(Faults(), ManualClock())
    registry.add(MODEL, "1", "good")
    return Witness(archive, registry, FakeScorer())


def released(**more: Any) -> Facts:
    return replace(facts([NEW], version="2", released=True), **more)


def best(found: Facts) -> tuple[str, float]:
    first = diagnose(found, CONFIG)[0]
    return first.cause, first.confidence


def test_the_version_before_tells_a_bad_release_from_a_world_that_turned() -> None:
    assert needs_testimony(released(), CONFIG)
    bad, world = witness(Rows()).heard(released()), witness(Rows(turned=True)).heard(released())
    assert (bad.convicts, world.clears) == (True, True)
    cause, confidence = best(released(testimony=bad))
    assert (cause, confidence >= 0.9) == ("bad_release", True)
    assert best(released(testimony=world))[0] == "concept_shift"
    assert best(released(testimony=Testimony()))[0] == "bad_release"


def test_what_a_version_scored_as_a_shadow_before_its_release_is_not_what_it_answered() -> None:
    found = released()
    beside = Arrangement(shadows=("2",), digests={"2": "sha256:2"})
    deployments = tuple(
        replace(each, arrangement=beside if each.version == "1" else each.arrangement)
        for each in found.deployments
    )
    archive = Rows()
    frame = archive.labelled(MODEL)
    shadow = frame.loc[frame["version"] == "1"].assign(version="2")
    archive.labelled = lambda model, **asked: pd.concat([shadow, frame])  # type: ignore[method-assign]
    alone = witness(Rows()).heard(found)
    assert alone.convicts
    assert witness(archive).heard(replace(found, deployments=deployments)) == alone


def test_rows_are_asked_for_around_the_release_and_up_to_now() -> None:
    archive = Rows()
    found = released()
    witness(archive).heard(found)
    assert archive.asked["since_us"] < ONSET_S * S < archive.asked["until_us"] <= found.now_us
    assert archive.asked["known_until_us"] == found.now_us


def test_an_archive_that_is_away_and_a_version_that_is_gone_are_done_without() -> None:
    assert witness(Away()).heard(released()) == Testimony()
    gone = Witness(Rows(), FakeRegistry(Faults(), ManualClock()), FakeScorer())
    assert gone.heard(released()).blame is None


def test_nobody_is_asked_without_a_release_or_about_the_traffic_alone() -> None:
    assert not needs_testimony(facts([DROP]), CONFIG)
    assert not needs_testimony(facts([replace(SILENCE, version="2")], version="2", released=True), CONFIG)


def slow(*windows: tuple[str, float]) -> list[MetricPoint]:
    """The median latency of windows of ten seconds around the release, which is at their first window of version 2."""
    first = next(place for place, (version, _) in enumerate(windows) if version == "2")
    return [
        point(
            version,
            end_us=(ONSET_S + 10 * (place - first + 1)) * S,
            value=value,
            axis="event",
            measure="latency_p50_ms",
            length_s=10,
        )
        for place, (version, value) in enumerate(windows)
    ]


@pytest.mark.parametrize(
    ("windows", "cause"),
    [
        ([("1", 40.0)] * 3 + [("2", 95.0)] * 3, "bad_release"),
        ([("1", 40.0)] * 2 + [("1", 80.0)] + [("2", 95.0)] * 3, "serving_problem"),
        ([("1", 95.0)] * 3 + [("2", 95.0)] * 3, "serving_problem"),
        ([("1", 40.0)] * 3 + [("2", 60.0)] + [("2", 95.0)] * 3, "serving_problem"),
        ([("1", 95.0)] * 3 + [("2", 260.0)] * 3, "bad_release"),
    ],
    ids=[
        "of the release alone",
        "one window before it",
        "long before it",
        "within its first window",
        "on top",
    ],
)
def test_a_slow_service_is_the_doing_of_a_release_only_where_it_began_with_it(
    windows: list[tuple[str, float]], cause: str
) -> None:
    alert = replace(SLOW, version="2", end_us=(ONSET_S + 40) * S)
    assert best(facts([alert], slow(*windows), "2", released=True))[0] == cause


def test_a_busy_machine_on_which_the_version_before_is_slow_too_is_not_blamed_on_the_release() -> None:
    both = [*slow(*[("1", 40.0)] * 3, *[("2", 95.0)] * 3), *slow(*[("1", 95.0)] * 1, ("2", 95.0))[:1]]
    late = replace(both[-1], start_us=ONSET_S * S, end_us=(ONSET_S + 10) * S, id="late", window="late")
    alert = replace(SLOW, version="2", end_us=(ONSET_S + 40) * S)
    assert best(facts([alert], [*both[:-1], late], "2", released=True))[0] == "serving_problem"


async def test_an_agent_that_is_begun_anew_asks_people_no_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = Testimony(blame=0.0, sentences=("both are wrong on the same rows",))
    monkeypatch.setattr(Witness, "heard", lambda *_: said)
    world = World()
    world.verdict = None
    await world.agent.receive(await world.bad_release())
    await world.run(until=lambda: bool(world.journal.state.approvals))
    (incident,) = world.incidents()
    assert incident.cause != "bad_release"
    world.agent = world.new_agent()
    for _ in range(5):
        await world.round()
    assert [each.state for each in world.journal.state.approvals.values()] == ["pending"]
