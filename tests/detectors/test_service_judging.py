"""A service that becomes slower or fails more often is told; bursts, queues and heavy tails are not."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from detectors.columns import Floats
from detectors.compiled import compiled
from detectors.judgement import Transition, Window
from detectors.profile import Profile
from detectors.sequential.budget import Threshold, threshold_of
from detectors.service.judging import judge_service, say, take_back
from detectors.service.measures import count_latencies, count_statuses
from detectors.service.usual import LEARNED
from detectors.service.values import ServiceMemory
from detectors.values import Budget

ROWS = 500
LIMIT: Threshold = threshold_of(Budget(incidents=1, windows=1_000), 0.036, 10.0, None)
Latencies = Callable[[np.random.Generator, int], Floats]


class Stream:
    """Windows of requests that come at random."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.memory: ServiceMemory | None = None
        self.number = 0
        self.told: list[tuple[int, Transition]] = []

    def take(self, latencies_ms: Floats, failing: float = 0.005) -> None:
        profile = Profile.empty(None)
        count_latencies(profile, latencies_ms)
        count_statuses(profile, self.rng.random(len(latencies_ms)) < failing)
        start_us = self.number * 10_000_000
        window = Window(
            model="m",
            version="1",
            axis="event",
            window=str(self.number),
            start_us=start_us,
            end_us=start_us + 10_000_000,
            rows=len(latencies_ms),
        )
        found = judge_service(window, profile, LIMIT, self.memory)
        self.memory = found.memory
        self.told += [(self.number, one) for one in found.transitions]
        self.number += 1

    def run(self, windows: int, latencies: Latencies, failing: float = 0.005) -> None:
        for _ in range(windows):
            self.take(latencies(self.rng, int(self.rng.poisson(ROWS))), failing)


def heavy(rng: np.random.Generator, rows: int) -> Floats:
    return rng.lognormal(3.0, 0.8, rows)


@compiled
def waited(service_ms: Floats, gaps_ms: Floats) -> Floats:
    """Lindley's recursion: how long each request is in a queue of one server."""
    found, wait = np.zeros(len(service_ms)), 0.0
    for i in range(len(service_ms)):
        found[i] = wait + service_ms[i]
        wait = max(0.0, wait + service_ms[i] - gaps_ms[i])
    return found


def queue(rng: np.random.Generator, rows: int) -> Floats:
    """Poisson arrivals at a load of 0.6, and service times with the tail of Pareto's 2.5."""
    service = (rng.pareto(2.5, rows) + 1) * 10
    return waited(service, rng.exponential(10 * 2.5 / 1.5 / 0.6, rows))


@pytest.mark.parametrize(
    "latencies",
    [heavy, lambda rng, rows: (rng.pareto(1.5, rows) + 1) * 20, queue],
    ids=["log", "pareto", "queue"],
)
def test_nothing_is_told_of_a_service_that_stays_as_it_is(latencies: Latencies) -> None:
    told = 0
    for seed in range(2):
        stream = Stream(seed)
        everything = latencies(stream.rng, 120 * ROWS)
        stream.run(120, lambda _, rows, one=everything, on=stream: one[on.number * ROWS :][:ROWS])
        told += len(stream.told)
    assert told == 0


def test_a_slower_service_is_told_in_words_and_its_return_too() -> None:
    stream = Stream(1)
    stream.run(60, heavy)
    stream.run(20, lambda rng, rows: 3 * heavy(rng, rows))
    stream.run(30, heavy)
    (begun, first), (_, last) = stream.told
    assert 60 <= begun <= 64
    assert first.change_us == 60 * 10_000_000
    assert first.reason.startswith("Data quality: the service is worse than usual: ")
    assert "of the requests take up to" in first.reason
    assert "(usually " in first.reason
    assert "threshold of 27,778" in first.reason
    one = first.decisions[0]
    assert one.value is not None
    assert one.reference is not None
    assert one.value > 1.5 * one.reference
    assert last.state == "cleared"


def test_failing_requests_are_told_at_once_and_one_slow_window_is_not() -> None:
    stream = Stream(2)
    stream.run(40, heavy)
    stream.run(1, lambda rng, rows: 5 * heavy(rng, rows))
    stream.run(10, heavy)
    assert stream.told == []
    stream.run(1, heavy, failing=0.3)
    ((number, told),) = stream.told
    assert number == 51
    assert told.decisions[0].measure == "error_rate"
    assert "requests (before 0." in told.reason


def test_a_few_milliseconds_are_nothing_that_anybody_notices() -> None:
    stream = Stream(3)
    stream.run(30, lambda rng, rows: 0.5 * rng.lognormal(0, 0.3, rows))
    stream.run(30, lambda rng, rows: 4 * rng.lognormal(0, 0.3, rows))
    assert stream.told == []


@pytest.mark.parametrize("said", ["false alarm", "expected", "new normal"])
def test_what_a_person_says_ends_it_and_can_be_taken_back(said: str) -> None:
    stream = Stream(4)
    stream.run(LEARNED + 20, heavy)
    stream.run(8, heavy, failing=0.1)
    assert stream.memory is not None
    assert stream.memory.firing
    open_before = stream.memory
    stream.memory = say(open_before, said, "s1")  # pyright: ignore[reportArgumentType]
    assert not stream.memory.firing
    assert take_back(stream.memory, "s1").track.opened == open_before.track.opened
    assert take_back(stream.memory, "another") == stream.memory
    stream.run(6, heavy, failing=0.1)
    if said != "false alarm":
        assert len(stream.told) == 1, "what has been said is not asked again"


def test_the_first_windows_teach_and_events_that_tell_nothing_change_nothing() -> None:
    stream = Stream(5)
    stream.run(LEARNED - 1, heavy)
    assert stream.memory is not None
    assert stream.memory.usual is None
    empty = judge_service(
        Window(model="m", version="1", axis="event", window="w", start_us=0, end_us=1, rows=0),
        Profile.empty(None),
        None,
        stream.memory,
    )
    assert empty.memory == stream.memory
    stream.run(1, heavy)
    usual = stream.memory.usual
    assert usual is not None
    assert usual.quantiles_ms[0] == pytest.approx(np.exp(3.0), rel=0.1)
    assert replace(stream.memory, learning=()) == stream.memory
