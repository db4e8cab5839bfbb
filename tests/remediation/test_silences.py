"""Silences: what they cover and when, and that nothing that they hold is ever lost."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.values import Alert, Evidence
from remediation.config import AgentConfig
from remediation.errors import SilenceRefused, UnknownSilence
from remediation.reception import receive_alert, release_alerts
from remediation.silences import Matcher, Silence, checked, parse_matcher, silencing
from remediation.silencing import end_silence, set_silence
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import Faults, ManualClock, S
from tests.remediation.world import MODEL, alert

CONFIG = AgentConfig(alerts_topic="a", acknowledgements_topic="b", desired_topic="c")
HOUR_S = 3_600


def _silence(*matchers: str, starts_s: int = 0, ends_s: int = 2 * HOUR_S, **changes: object) -> Silence:
    found = Silence(
        id="sil-1",
        matchers=tuple(parse_matcher(each) for each in matchers or ("model=*",)),
        starts_us=starts_s * S,
        ends_us=ends_s * S,
        author="mira",
        reason="campaign",
        created_us=0,
    )
    return msgspec.structs.replace(found, **changes)


@pytest.mark.parametrize(
    ("matchers", "covered"),
    [
        (["model=*"], True),
        ([f"model={MODEL}", "kind=data_*"], True),
        ([f"model={MODEL}", "kind!=data_drift"], False),
        (["feature=ag?"], True),
        (["feature=income", "model=*"], False),
        (["segment=all", "axis=event"], True),
        (["version=1"], False),
    ],
)
def test_every_matcher_has_to_fit(matchers: list[str], covered: bool) -> None:
    named = Evidence(measure="psi", feature="age", value=1.0, threshold=0.2, rows=10, effect=3.0)
    incoming = msgspec.structs.replace(alert("data_drift", version="2", at_us=S), evidence=(named,))
    assert _silence(*matchers).covers(incoming) is covered


@pytest.mark.parametrize("text", ["", "model", "model=", "colour=red", "model>3"])
def test_a_matcher_that_cannot_be_read_is_refused_by_what_would_be_right(text: str) -> None:
    with pytest.raises(SilenceRefused, match=r"must look like|known are"):
        parse_matcher(text)


@given(st.sampled_from(["model", "feature", "kind"]), st.text("abc*?_-", min_size=1), st.booleans())
def test_a_matcher_reads_what_it_writes(field: str, pattern: str, negated: bool) -> None:
    found = parse_matcher(f"{field}{'!=' if negated else '='}{pattern}")
    assert parse_matcher(str(found)) == found == Matcher(field=found.field, pattern=pattern, negated=negated)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-22T01:59:59", False),  # a Sunday
        ("2026-11-22T02:00:00", True),
        ("2026-11-22T03:59:59", True),
        ("2026-11-22T04:00:00", False),
        ("2026-11-23T03:00:00", False),
    ],
)
def test_a_maintenance_window_comes_again_every_sunday(at: str, expected: bool) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    window = _silence(schedule="0 2 * * 0", lasts_s=2.0 * HOUR_S, ends_s=2**32)
    assert window.in_force(round(moment.timestamp()) * S) is expected


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"matchers": ()}, "at least one"),
        ({"reason": " "}, "say why"),
        ({"author": ""}, "who silences"),
        ({"ends_us": 0}, "end after it begins"),
        ({"ends_us": 400 * 86_400 * S}, "366 days"),
        ({"schedule": "0 2 * * 0"}, "belong together"),
        ({"schedule": "every night", "lasts_s": 5.0}, "fields"),
        ({"schedule": "0 2 * * 0", "lasts_s": 0.0}, "above 0"),
    ],
)
def test_what_could_not_be_a_silence_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SilenceRefused, match=told):
        checked(_silence(**changes))  # type: ignore[arg-type]


class _Desk:
    """A journal with a clock, and a silence of the model for an hour."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_000 * S)
        self.journal = FakeJournal(self.clock, Faults())

    def silence(self, for_s: int = HOUR_S, also: str = "model=*") -> Silence:
        ends_us = self.clock.now_us() + for_s * S
        matchers = (parse_matcher(f"model={MODEL}"), parse_matcher(also))
        return set_silence(
            self.journal, self.clock, matchers=matchers, ends_us=ends_us, author="mira", reason="campaign"
        ).silence

    def take(self, incoming: Alert) -> str:
        found = receive_alert(self.journal, incoming, now_us=self.clock.now_us(), config=CONFIG)
        return found.decision if found else "known"

    def release(self) -> list[str]:
        return [
            each.decision for each in release_alerts(self.journal, now_us=self.clock.now_us(), config=CONFIG)
        ]


def test_what_is_silenced_already_is_not_silenced_twice() -> None:
    desk = _Desk()
    now_us = desk.clock.now_us()

    def ask(*matchers: str, last_s: int = HOUR_S, starts_s: int = 0, **more: Any) -> tuple[str, str, int]:
        told = set_silence(
            desk.journal,
            desk.clock,
            matchers=tuple(parse_matcher(each) for each in matchers),
            starts_us=now_us + starts_s * S,
            ends_us=now_us + last_s * S,
            author="otto",
            reason="again",
            **more,
        )
        return told.outcome, told.silence.id, (told.silence.ends_us - now_us) // S

    outcome, first, _ = ask("model=a", "kind=data_drift")
    assert outcome == "set"
    assert ask("kind=data_drift", "model=a", last_s=60) == ("known", first, HOUR_S)
    assert ask("model=a", "kind=data_drift", last_s=2 * HOUR_S) == ("extended", first, 2 * HOUR_S)
    assert ask("model=a", "kind=data_drift", starts_s=HOUR_S, last_s=3 * HOUR_S)[:2] == ("extended", first)
    assert ask("model=a")[0] == "set"
    assert ask("model=a", "kind=data_drift", starts_s=4 * HOUR_S, last_s=5 * HOUR_S)[0] == "set"
    weekly: dict[str, Any] = {"schedule": "0 2 * * 0", "lasts_s": 60.0}
    assert [ask("model=a", **weekly)[0] for _ in range(2)] == ["set", "known"]
    assert [each.action for each in desk.journal.state.audit].count("silence.extended") == 2
    year_s = 366 * 24 * HOUR_S
    assert ask("model=a", "kind=data_drift", starts_s=HOUR_S, last_s=HOUR_S + year_s)[0] == "set", (
        "too long for one"
    )
    end_silence(desk.journal, desk.clock, silence_id=first, by="mira")
    assert ask("model=a", "kind=data_drift")[0] == "set"


def test_an_alert_that_still_fires_when_its_silence_is_over_becomes_an_incident() -> None:
    desk = _Desk()
    desk.silence()
    assert desk.take(alert("data_drift", version="2", at_us=1_000 * S)) == "hold"
    assert desk.release() == []
    desk.clock.advance(HOUR_S)
    assert desk.release() == ["open"]
    (incident,) = desk.journal.state.incidents.values()
    assert "mira had set (campaign), and it still fires" in incident.summary
    assert desk.release() == []


def test_what_ended_under_the_silence_wakes_nobody() -> None:
    desk = _Desk()
    desk.silence()
    fired = alert("data_drift", version="2", at_us=1_000 * S)
    cleared = msgspec.structs.replace(fired, id="clear", state="cleared", end_us=1_060 * S)
    assert [desk.take(fired), desk.take(cleared)] == ["hold", "hold"]
    desk.clock.advance(HOUR_S)
    assert desk.release() == ["keep", "keep"]
    assert desk.journal.state.incidents == {}


def test_the_all_clear_that_comes_first_after_the_silence_still_finds_its_alert() -> None:
    desk = _Desk()
    desk.silence()
    fired = alert("data_drift", version="2", at_us=1_000 * S)
    desk.take(fired)
    desk.clock.advance(HOUR_S)
    cleared = msgspec.structs.replace(fired, id="clear", state="cleared", end_us=1_060 * S)
    assert desk.take(cleared) == "attach"
    assert len(desk.journal.state.incidents) == 1


def test_an_alert_goes_from_one_silence_to_the_next() -> None:
    desk = _Desk()
    desk.silence()
    desk.take(alert("data_drift", version="2", at_us=1_000 * S))
    second = desk.silence(3 * HOUR_S, also="kind=data_*")
    desk.clock.advance(HOUR_S)
    assert desk.release() == ["hold"]
    assert list(desk.journal.state.holds.values()) == [second.id]


def test_an_open_incident_goes_on_receiving_its_alerts() -> None:
    desk = _Desk()
    assert desk.take(alert("data_drift", version="2", at_us=1_000 * S)) == "open"
    desk.silence()
    assert desk.take(alert("performance", version="2", at_us=1_010 * S)) == "attach"


def test_ending_a_silence_twice_is_ending_it_once() -> None:
    desk = _Desk()
    silence = desk.silence()
    desk.take(alert("data_drift", version="2", at_us=1_000 * S))
    first = end_silence(desk.journal, desk.clock, silence_id=silence.id, by="otto")
    desk.clock.advance(60)
    assert end_silence(desk.journal, desk.clock, silence_id=silence.id, by="mira") == first
    assert desk.release() == ["open"]
    with pytest.raises(UnknownSilence, match="sil-x"):
        end_silence(desk.journal, desk.clock, silence_id="sil-x", by="otto")


def test_the_silence_that_lasts_longest_holds_the_alert() -> None:
    short, long = _silence(), _silence(ends_s=3 * HOUR_S, id="sil-2")
    assert silencing([long, short], alert("data_drift", at_us=S), S) == long
    assert silencing([short], alert("data_drift", at_us=S), 2 * HOUR_S * S) is None
