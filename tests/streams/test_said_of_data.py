"""What a person says about findings, estimates and the traffic of a model: heard, silent, and taken back."""

import numpy as np
import pytest

from detectors.judgement import KindState, SeriesState, Transition
from detectors.measurement import Measurement
from detectors.quality.feedback import say, take_back
from detectors.quality.values import QualityMemory
from detectors.sequential.hearing import Saying, Statement, hear, is_told
from detectors.standing import moved, renewed
from detectors.values import Alert
from tests.streams.test_judge_findings import (
    MONITOR,
    REFERENCE,
    context,
    judge,
    people,
    profile_of,
    swapped,
)
from tests.streams.test_judge_traffic import HOUR_US, MODEL, SECOND_US, Bench, two_days

SAYINGS: list[Saying] = ["false alarm", "expected", "new normal"]


def statement(said: Saying, kind: str = "data_quality", name: str = "s1", about: str = "s1") -> Statement:
    return Statement(
        id=name,
        model="m",
        version="1",
        axis="event",
        kind=kind,  # pyright: ignore[reportArgumentType]
        said=said,
        about=about,
        after_us=0,
        by="ada",
    )


def told(state: SeriesState, said: Statement) -> tuple[SeriesState, tuple[Transition, ...]]:
    return hear(context(99, 300), [said], MONITOR, REFERENCE, state)


@pytest.mark.parametrize("said", SAYINGS)
def test_a_finding_that_a_person_has_spoken_about_keeps_no_alert_open(said: Saying) -> None:
    rng = np.random.default_rng(2)
    state, alerts = SeriesState(), list[Alert]()
    for number in range(6):
        judgement, found = judge(number, profile_of(*swapped(rng)), state)
        state = judgement.state
        alerts += [one for one in found if one.kind == "data_quality"]
    assert [one.state for one in alerts][:1] == ["firing"]
    before = state
    state, (ended,) = told(state, statement(said))
    assert (ended.kind, ended.state) == ("data_quality", "cleared")
    assert f"ada said: {said}" in ended.reason
    quality = state.quality
    assert quality is not None
    assert not quality.open
    judgement, found = judge(6, profile_of(*swapped(rng)), state)
    assert "misaligned" not in " ".join(one.reason for one in found)
    assert {one.verdict for one in judgement.decisions if one.measure == "misaligned_columns"} == {"ok"}
    again, (back,) = told(state, statement("taken back", name="s2"))
    assert (back.state, is_told(again, "data_quality")) == ("firing", True)
    assert again.quality is not None
    assert before.quality is not None
    assert set(again.quality.open) == set(before.quality.open)


def test_what_was_expected_is_news_again_once_it_has_passed() -> None:
    memory = say(QualityMemory(open=("unit_change:income",), reference=REFERENCE.revision), "expected", "s1")
    rng, state = np.random.default_rng(3), SeriesState(quality=memory)
    for number in range(2):
        columns, scores, _ = people(rng, 300)
        state = judge(number, profile_of(columns, scores), state)[0].state
    assert state.quality is not None
    assert state.quality.silent == ()
    columns, scores, _ = people(rng, 300)
    _, alerts = judge(3, profile_of(columns | {"income": columns["income"] * 100}, scores), state)
    assert "another unit" in " ".join(one.reason for one in alerts)
    assert take_back(memory, "nothing") == memory


@pytest.mark.parametrize("said", SAYINGS)
def test_an_alert_that_is_decided_on_window_by_window_hears_too(said: Saying) -> None:
    state = SeriesState(kinds={"estimated_performance": KindState(firing=True)})
    after, (ended,) = told(state, statement(said, "estimated_performance"))
    assert ended.state == "cleared"
    kind = after.kinds["estimated_performance"]
    found = Measurement(measure="estimated_accuracy", value=0.7, reference=0.9, rows=500)
    if said == "new normal":
        kind = renewed(kind, [found])
        shown, limit = moved(found, 0.85, kind.standing)
        assert (shown.reference, limit) == (0.7, pytest.approx(0.65))
    elif said == "false alarm":
        assert moved(found, 0.85, kind.standing)[1] == pytest.approx(0.825)
    else:
        assert kind.firing
        assert not kind.told
    back, (again,) = told(after, statement("taken back", "estimated_performance", "s2"))
    assert again.state == "firing"
    assert is_told(back, "estimated_performance")
    assert back.kinds["estimated_performance"].standing == KindState().standing


def test_nothing_is_heard_about_what_is_over() -> None:
    state, transitions = told(SeriesState(), statement("expected"))
    assert transitions == ()
    assert state.heard == ("s1",)


@pytest.mark.parametrize("said", SAYINGS)
def test_a_silence_that_a_person_has_spoken_about_is_over_and_can_be_taken_back(said: Saying) -> None:
    bench = Bench()
    end_us = two_days(bench)
    bench.stage.tick(end_us + 3_000 * SECOND_US, caught_up=True)
    (first,) = bench.alerts()
    heard = Statement(
        id="s1",
        model=MODEL,
        version="1",
        axis="event",
        kind="volume",
        said=said,
        about=first.id,
        after_us=first.end_us,
        by="ada",
    )
    bench.configuration.add_statement(heard)
    bench.stage.tick(end_us + 3_100 * SECOND_US, caught_up=True)
    _, over = bench.alerts()
    assert over.state == "cleared"
    assert over.reason.startswith(f"Volume: ada said: {said}")
    bench.stage.tick(end_us + 2 * HOUR_US, caught_up=True)
    assert len(bench.alerts()) == 2
    bench.configuration.add_statement(
        Statement(
            id="s2",
            model=MODEL,
            version="1",
            axis="event",
            kind="volume",
            said="taken back",
            about="s1",
            after_us=first.end_us,
            by="ada",
        )
    )
    bench.stage.tick(end_us + 2 * HOUR_US + SECOND_US, caught_up=True)
    assert [one.state for one in bench.alerts()] == ["firing", "cleared", "firing"]
    bench.pane(2 * 144 + 30)
    assert bench.alerts()[-1].state == "cleared"
