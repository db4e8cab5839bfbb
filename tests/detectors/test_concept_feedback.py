"""What a person says about concept drift ends it, or keeps it silent, and can be taken back."""

from detectors.concept.feedback import say, take_back
from detectors.concept.values import ConceptMemory
from detectors.judgement import SeriesState, Window
from detectors.sequential.hearing import Saying, Statement, hear
from tests.detectors.test_concept_against import MONITOR, Stream

DRIFTED = 5


def drifted() -> Stream:
    stream = Stream("binary").send(DRIFTED).send(3, turned=0.3)
    assert [alert.state for alert in stream.alerts] == ["firing"]
    return stream


def tell(stream: Stream, said: Saying, about: str = "alert") -> list[str]:
    n = stream.number
    window = Window(
        model="m",
        version="1",
        axis="label",
        window=str(n),
        start_us=n * 10**6,
        end_us=(n + 1) * 10**6,
        rows=200,
    )
    statement = Statement(
        id=f"{said} {n}",
        model="m",
        version="1",
        axis="label",
        kind="concept_drift",
        said=said,
        about=about,
        after_us=0,
        by="ada",
        why="known",
    )
    stream.state, told = hear(window, [statement], MONITOR, stream.reference, stream.state)
    assert all("ada" in one.reason for one in told)
    return [one.state for one in told]


def test_a_new_normal_ends_it_and_what_gets_worse_from_there_is_told() -> None:
    stream = drifted()
    assert tell(stream, "new normal") == ["cleared"]
    stream.send(30, turned=0.3)
    assert len(stream.alerts) == 1
    stream.send(10, turned=0.6)
    assert [alert.state for alert in stream.alerts] == ["firing", "firing"]


def test_a_false_alarm_raises_the_threshold() -> None:
    stream = drifted()
    assert tell(stream, "false alarm") == ["cleared"]
    assert stream.state.concept is not None
    assert stream.state.concept.caution == 1.5
    assert not stream.state.kinds["concept_drift"].firing
    stream.send(20, turned=0.3)
    assert len(stream.alerts) == 1


def test_what_is_expected_is_silent_until_it_has_passed() -> None:
    stream = drifted()
    assert tell(stream, "expected") == ["cleared"]
    stream.send(10, turned=0.6).send(10)
    assert len(stream.alerts) == 1
    stream.send(8, turned=0.3)
    assert [alert.state for alert in stream.alerts] == ["firing", "firing"]


def test_a_statement_can_be_taken_back() -> None:
    stream = drifted()
    before = stream.state.concept
    tell(stream, "new normal")
    assert tell(stream, "taken back", about=f"new normal {stream.number}") == ["firing"]
    assert stream.state.concept == before
    assert tell(stream, "taken back", about="unknown") == []


def test_nothing_is_said_where_nothing_is_open() -> None:
    memory = ConceptMemory(plan="p")
    assert say(memory, "expected", "s") is memory
    assert take_back(memory, "s") is memory
    stream = Stream("binary")
    assert stream.state == SeriesState()
    assert tell(stream, "expected") == []
