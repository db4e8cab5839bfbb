"""What the judge remembers of series is written when it changes, and read again exactly."""

import msgspec
import pytest

from detectors.judgement import SeriesState
from detectors.sequential.values import Memory, Track
from streams.judge import kept
from streams.judge.windows import Kept, Series, SeriesName
from streams.topics import JUDGE_PANES
from tests.streams.window_bench import Judge, configuration, monitor, snapshot

NAME = SeriesName("m", "1", "all", "event")


def judge_of(seconds: int, flush_every: int = 1) -> Judge:
    judge = Judge(configuration(monitor(window_s=10.0)))
    for second in range(seconds):
        judge.send(snapshot(second, 10))
        if second % flush_every == 0:
            judge.flush()
    judge.flush()
    return judge


def test_a_crash_loses_nothing_of_what_deciding_remembers() -> None:
    judge = judge_of(45)
    (before,) = judge.series()
    state = before.state
    assert state.memory is not None
    assert state.memory.windows == 4
    judge.crash()
    (after,) = judge.series()
    assert after.state == state
    assert msgspec.msgpack.encode(after.state) == msgspec.msgpack.encode(state)
    judge.flush()


def test_a_checkpoint_holds_names_of_records_and_no_states() -> None:
    judge = judge_of(45)
    assert judge.state is not None
    _, state, needed = judge.state
    sizes = [len(record.value or b"") for record in judge.merged]
    assert len(sizes) == 4, "one for each window that was decided on"
    assert needed[JUDGE_PANES] == [(3, 3)]
    assert len(state) < 2_000


def test_a_large_state_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE_BYTES", 50)
    memory = Memory(plan="p", tracks={"data_drift": Track(base_sums=bytes(range(256)))})
    state = SeriesState(memory=memory)
    parts = kept.pieces(NAME, state)
    assert len(parts) > 3
    other = kept.pieces(SeriesName("m", "2", "all", "event"), SeriesState())
    ((name, found), _) = kept.read([*enumerate(parts), *enumerate(other, 100)])
    assert (name, found.state, found.offsets) == (NAME, state, list(range(len(parts))))


def test_with_what_has_changed_the_oldest_record_is_written_again() -> None:
    judge = judge_of(15)
    (series,) = judge.series()
    quiet = [
        Series(SeriesName("m", str(number), "all", "event"), lambda _, __: monitor()) for number in (2, 3)
    ]
    for number, one in enumerate(quiet):
        one.state = SeriesState(memory=Memory(plan=str(number)))
        one.kept = Kept(one.state, [number])
    assert kept.to_write([series, *quiet]) == []
    series.state = SeriesState()
    assert kept.to_write([series, *quiet]) == [series, quiet[0]]
