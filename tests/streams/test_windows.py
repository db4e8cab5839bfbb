"""Windows by time, sliding and by rows, against what they must be; the order of arrival does not show."""

from collections import deque
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.errors import MonitorInvalid
from detectors.profile import Profile
from detectors.values import Monitor
from streams.control.window_spec import check_windows
from streams.judge import carrying
from streams.judge.seals import Planned
from streams.judge.windows import SeriesName
from streams.replay.inprocess import Results
from streams.topics import PROFILES
from tests.streams.window_bench import (
    BASE_US,
    SECOND_US,
    Judge,
    Pane,
    configuration,
    monitor,
    reference,
    snapshot,
    stream,
    watermark,
)

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LATENESS = 5

PANES = st.lists(
    st.builds(
        Pane,
        second=st.integers(0, 39),
        rows=st.integers(1, 40),
        late=st.sampled_from([0, 0, 0, 7]),
        after=st.integers(1, 3),
    ),
    min_size=1,
    max_size=14,
    unique_by=lambda pane: pane.second,
).map(lambda panes: sorted(panes, key=lambda pane: pane.second))
SOURCES = st.lists(PANES, min_size=1, max_size=3)


def settings_of(**changes: object) -> Monitor:
    return monitor(**({"lateness_s": float(LATENESS)} | changes))


def run(monitor: Monitor, sources: Sequence[Sequence[Pane]], seed: int, tells_final: bool = True) -> Judge:
    """Feed the sources' snapshots in a random order that keeps each source's own, with flushes and crashes."""
    rng = np.random.default_rng(seed)
    judge = Judge(configuration(monitor))
    waiting = [list(stream(n, panes, LATENESS, tells_final)) for n, panes in enumerate(sources)]
    for source in waiting:
        judge.send(source.pop(0))
    while any(waiting):
        source = waiting[rng.choice([number for number, left in enumerate(waiting) if left])]
        judge.send(source.pop(0))
        chance = rng.random()
        if chance < 0.2:
            judge.flush()
        elif chance < 0.3:
            judge.crash()
    judge.end()
    return judge


def final(results: Results) -> object:
    """All that a run has said, without how often it had to correct itself."""
    points = {name: msgspec.structs.replace(point, revision=1) for name, point in results.points.items()}
    seals = {
        (seal.axis, seal.window, seal.rows, seal.decided): msgspec.structs.replace(seal, offset=0)
        for seal in results.seals
    }
    alerts = {alert.id: alert for alert in results.alerts}
    return points, seals, alerts


def by_second(sources: Sequence[Sequence[Pane]]) -> Iterator[tuple[int, int, int]]:
    """Second, rows at sealing, rows in the end."""
    for second in sorted({pane.second for source in sources for pane in source}):
        mine = [pane for source in sources for pane in source if pane.second == second]
        yield second, sum(pane.rows for pane in mine), sum(pane.rows + pane.late for pane in mine)


@QUICK
@given(sources=SOURCES, window=st.sampled_from([1, 4, 10]), seed=st.integers(0, 2**32 - 1))
def test_windows_by_time_hold_what_lies_between_their_bounds(
    sources: list[list[Pane]], window: int, seed: int
) -> None:
    judge = run(settings_of(window_s=float(window)), sources, seed)
    seconds = list(by_second(sources))
    first, last = seconds[0][0] // window * window, seconds[-1][0] // window * window
    starts = range(first, last + 1, window)
    inside = {start: [each for each in seconds if start <= each[0] < start + window] for start in starts}
    expected = [(start, start + window, sum(s for _, s, _ in inside[start]), True) for start in starts]
    assert list(dict.fromkeys(judge.windows())) == expected
    assert judge.rows() == {(s, s + window): sum(rows for *_, rows in inside[s]) for s in starts}


@QUICK
@given(sources=SOURCES, slide=st.sampled_from([2, 4, 6]), seed=st.integers(0, 2**32 - 1))
def test_sliding_windows_by_time_overlap_and_only_those_side_by_side_decide(
    sources: list[list[Pane]], slide: int, seed: int
) -> None:
    judge = run(settings_of(window_s=12.0, slide_s=float(slide)), sources, seed)
    seconds = list(by_second(sources))
    first, last = seconds[0][0] // slide * slide, seconds[-1][0] // slide * slide
    ends = range(first + slide, last + slide + 1, slide)
    rows = {end: sum(s for at, s, _ in seconds if end - 12 <= at < end) for end in ends}
    # BASE_US is a whole hour, so that seconds from there are aligned as the epoch is.
    assert list(dict.fromkeys(judge.windows())) == [(e - 12, e, rows[e], e % 12 == 0) for e in ends]
    assert judge.rows() == {
        (end - 12, end): sum(late for at, _, late in seconds if end - 12 <= at < end) for end in ends
    }


@QUICK
@given(sources=SOURCES, slides=st.sampled_from([1, 2, 4]), seed=st.integers(0, 2**32 - 1))
def test_windows_by_rows_are_the_last_hops_of_enough_rows(
    sources: list[list[Pane]], slides: int, seed: int
) -> None:
    slide_rows = 40 // slides if slides > 1 else 0
    judge = run(settings_of(window_rows=40, slide_rows=slide_rows), sources, seed)
    hops: list[tuple[int, int, int]] = []
    start, rows = None, 0
    for second, sealed, _ in by_second(sources):
        start, rows = second if start is None else start, rows + sealed
        if rows >= 40 // slides:
            hops.append((start, second + 1, rows))
            start, rows = None, 0
    expected = [
        (hops[n - slides + 1][0], hops[n][1], sum(hop[2] for hop in hops[n - slides + 1 : n + 1]))
        for n in range(slides - 1, len(hops))
    ]
    found = list(dict.fromkeys(judge.windows()))
    assert [window[:3] for window in found] == expected
    assert [window[3] for window in found] == [n % slides == 0 for n in range(len(found))]


@QUICK
@given(
    sources=SOURCES,
    cut=st.sampled_from(
        [
            {"window_s": 10.0},
            {"window_s": 12.0, "slide_s": 4.0},
            {"window_rows": 60},
            {"window_rows": 60, "slide_rows": 20},
        ]
    ),
    seed=st.integers(0, 2**32 - 1),
    all_old=st.booleans(),
)
def test_the_order_of_arrival_flushes_and_crashes_do_not_show(
    sources: list[list[Pane]], cut: dict[str, object], seed: int, all_old: bool
) -> None:
    """Nor does it whether the panes are read from the profiles topic or, because they are old, from the state topic."""
    chosen = settings_of(**cut)
    judge = Judge(configuration(chosen))
    for number, panes in enumerate(sources):
        judge.send(next(stream(number, panes, LATENESS, True)))
    for number, panes in enumerate(sources):
        judge.send(*list(stream(number, panes, LATENESS, True))[1:])
    judge.end()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(carrying, "_LOOK_EVERY_US", -1 if all_old else 2**62)
        patched.setattr(carrying, "_OLD_US", -(2**62))
        assert final(run(chosen, sources, seed).results) == final(judge.results)


def test_an_empty_window_is_told_and_its_late_rows_correct_it() -> None:
    judge = Judge(configuration(settings_of(window_s=4.0)))
    judge.send(snapshot(1, 30), snapshot(13, 30), snapshot(16, 30))
    assert judge.rows() == {(0, 4): 30, (4, 8): 0, (8, 12): 0, (12, 16): 30}
    assert judge.windows()[1] == (4, 8, 0, True)
    judge.send(snapshot(10, 5, 0, watermark_us=BASE_US + 17_500_000))
    assert judge.rows()[8, 12] == 5
    assert len([point for point in judge.results.points.values() if point.measure == "rows"]) == 4


@pytest.mark.parametrize("days", [0, 400])
def test_a_window_by_time_waits_for_its_end_although_all_sources_are_idle(days: int) -> None:
    """Whether the events are of today or were sent again long after."""
    judge = Judge(configuration(settings_of(window_s=60.0)))
    late_us = BASE_US + days * 86_400 * SECOND_US
    judge.send(snapshot(3, 50), watermark(), at_us=late_us + 5 * SECOND_US)
    assert judge.windows() == []
    judge.send(snapshot(20, 50), watermark(), at_us=late_us + 22 * SECOND_US)
    judge.send(watermark(), at_us=late_us + 59 * SECOND_US)
    assert judge.windows() == []
    judge.stage.tick(late_us + 62 * SECOND_US, caught_up=False)
    assert judge.windows() == [], "what is still to be read may say that the model is not silent"
    judge.stage.tick(late_us + 62 * SECOND_US, caught_up=True)
    assert judge.windows() == [(0, 60, 100, True)]
    judge.stage.tick(late_us + 200 * SECOND_US, caught_up=True)
    assert judge.windows()[1:] == [(60, 120, 0, True), (120, 180, 0, True)]


def test_no_window_spans_two_configurations() -> None:
    first = settings_of(window_s=4.0)
    second = settings_of(window_s=4.0, revision=2, effective_us=BASE_US + 6 * SECOND_US)
    judge = Judge(configuration(first, second))
    judge.send(*(snapshot(s, 30, monitor_revision=1 if s < 6 else 2) for s in range(10)))
    found = [
        (seal.start_us // SECOND_US % 3_600, seal.rows, seal.monitor_revision) for seal in judge.flush().seals
    ]
    assert found == [(0, 120, 1), (4, 60, 1), (4, 60, 2)]


def test_rows_give_way_to_time_where_a_new_configuration_says_so() -> None:
    second = settings_of(window_s=4.0, revision=2, effective_us=BASE_US + 5 * SECOND_US)
    judge = Judge(configuration(settings_of(window_rows=70), second))
    judge.send(*(snapshot(s, 30, monitor_revision=1 if s < 5 else 2) for s in range(13)))
    assert [window[:3] for window in judge.windows()] == [(0, 3, 90), (4, 8, 90), (8, 12, 120)]


def test_windows_that_overlap_begin_and_end_no_alert() -> None:
    """Missing ages in every row: the windows breach nine times, and two of them decide."""
    judge = Judge(configuration(settings_of(window_s=8.0, slide_s=2.0)))
    profile = Profile.empty(reference())
    profile.fold({"city": np.array(["Rome"] * 50, dtype=object)}, np.zeros(50), np.full(50, 0.1))
    judge.send(*(snapshot(s, 50, profile=profile.to_bytes()) for s in range(18)))
    results = judge.flush()
    assert len([seal for seal in results.seals if not seal.decided]) == 7
    firing = [alert for alert in results.alerts if alert.kind == "data_quality"]
    assert [(alert.state, (alert.end_us - BASE_US) // SECOND_US) for alert in firing] == [("firing", 8)]
    breaches = [p for p in results.points.values() if p.measure == "missing_rate" and p.verdict == "breach"]
    assert len(breaches) == len(results.seals)


def test_a_series_without_rows_is_forgotten_after_its_time_to_live() -> None:
    judge = Judge(configuration(settings_of(window_s=4.0, series_ttl_s=20.0)))
    judge.send(*(snapshot(s, 30, version="old") for s in range(4)))
    judge.send(*(snapshot(s, 30) for s in range(4, 40)))
    old = [seal.window for seal in judge.flush().seals if seal.version == "old"]
    assert len(old) == 1 + 20 // 4, "told as empty until it is forgotten"
    judge.send(snapshot(2, 5, 0, version="old", sequence=2), snapshot(60, 5, version="new"))
    seals = judge.flush().seals
    assert len([seal for seal in seals if seal.version == "old"]) == len(old), "nothing is told twice"


def test_a_gap_longer_than_the_time_to_live_is_not_filled() -> None:
    judge = Judge(configuration(settings_of(window_s=4.0, series_ttl_s=20.0)))
    judge.send(snapshot(0, 30), snapshot(4_001, 30), snapshot(4_006, 30))
    ends = [end for _, end, _, _ in judge.windows()]
    assert ends == [4, 8, 12, 16, 20, 24, 4_004]


def test_windows_wait_for_all_partitions_of_the_model() -> None:
    judge = Judge(configuration(settings_of(window_s=4.0, spread=2)))
    judge.send(*(snapshot(s, 30) for s in range(6)), at_us=BASE_US)
    assert judge.windows() == [], "the other partition has not spoken"
    judge.send(*(snapshot(s, 20, source=1) for s in range(6)), at_us=BASE_US + SECOND_US)
    assert judge.windows() == [(0, 4, 200, True)]
    alone = Judge(configuration(settings_of(window_s=4.0, spread=2)))
    alone.send(*(snapshot(s, 30) for s in range(6)), at_us=BASE_US)
    alone.send(snapshot(6, 30), at_us=BASE_US + 31 * SECOND_US)
    assert alone.windows() == [(0, 4, 120, True)]


def test_a_long_window_is_kept_in_few_pieces() -> None:
    """One hour of panes of a second: what cannot change any more is merged, in memory and in checkpoints."""
    judge = Judge(configuration(settings_of(window_s=3_600.0)))
    for second in range(3_599):
        told = {"final_us": BASE_US + (second + 1 - LATENESS) * SECOND_US}
        judge.send(snapshot(second, 2, **told, profile=snapshot(second % 7, 2).profile))
        if second % 50 == 0:
            judge.flush()
    judge.flush()
    ((series,),) = [axis.series.values() for axis in judge.stage._axes.values()]  # pyright: ignore[reportPrivateUsage]
    assert len(series.panes) < 80
    assert judge.state is not None
    assert len(judge.state[1]) < 1_000
    judge.crash()
    judge.send(snapshot(3_599, 2), snapshot(3_601, 2))
    assert judge.windows() == [(0, 3_600, 7_200, True)]


def test_a_slow_model_needs_nothing_that_the_profiles_topic_gives_up() -> None:
    """A pane every six hours, 30 days to a window: what the judge needs is never older than two days, also where that
    is a single pane, and the window is what it would have been."""
    hour_us = 3_600 * SECOND_US
    judge = Judge(configuration(settings_of(window_rows=1_200)))
    plain = Judge(configuration(settings_of(window_rows=1_200)))
    for number in range(125):
        at_us = BASE_US + 6 * number * hour_us
        one = snapshot(
            6 * 3_600 * number,
            10,
            watermark_us=at_us,
            final_us=at_us - hour_us,
            profile=snapshot(number % 7, 10).profile,
        )
        judge.send(one, at_us=at_us)
        plain.send(one)
        judge.flush()
        assert judge.state is not None
        needed = judge.state[2].get(PROFILES, [(number, number)])
        assert needed[0][0] >= number - 8
        if number % 40 == 20:
            judge.crash()
    assert judge.windows() == plain.windows()
    assert [(one[2], one[3]) for one in judge.windows()] == [(1_200, True)]
    assert judge.rows() == plain.rows()
    assert judge.results.points == plain.flush().points


def test_the_windows_of_a_log_are_followed() -> None:
    chosen = settings_of(window_s=4.0)
    live = Judge(configuration(chosen))
    live.send(*(snapshot(s, 30) for s in range(12)), watermark())
    live.end()
    name = SeriesName("loan", "1", "all", "event")
    followed = Judge(
        configuration(settings_of(window_rows=10)), {name: deque(map(Planned, live.results.seals[:2]))}
    )
    followed.send(*(snapshot(s, 30) for s in range(12)), watermark())
    followed.end()
    assert [seal.window for seal in followed.results.seals] == [s.window for s in live.results.seals[:2]]
    assert [seal.rows for seal in followed.results.seals] == [120, 120]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"window_s": 2.5}, "window_s is 2.5 s"),
        ({"window_rows": 0}, "window_rows is 0"),
        ({"slide_s": 2.0}, "slide_s is 2 s"),
        ({"window_s": 10.0, "slide_rows": 5}, "slide_rows is 5"),
        ({"window_s": 10.0, "slide_s": 3.0}, "slide_s is 3"),
        ({"window_rows": 100, "slide_rows": 100}, "slide_rows is 100"),
        ({"window_rows": 1_000, "slide_rows": 10}, "slide_rows is 10"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused(changes: dict[str, object], field: str) -> None:
    check_windows(monitor())
    with pytest.raises(MonitorInvalid, match=field):
        check_windows(monitor(**changes))
