"""Panes that are older than a day lie in the judge's own state topic: the profiles topic may give them up."""

from dataclasses import replace

import msgspec
import pytest

from detectors.values import Monitor
from streams.judge import carrying
from streams.topics import JUDGE_PANES, PROFILES
from tests.streams.window_bench import BASE_US, SECOND_US, Judge, configuration, monitor, snapshot, watermark

HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US


def by_rows() -> Monitor:
    return monitor(window_rows=100, lateness_s=5.0)


def needed(judge: Judge) -> dict[str, list[tuple[int, int]]]:
    assert judge.state is not None
    return judge.state[2]


def pass_days(judge: Judge, days: float) -> None:
    """Nothing comes, and the clock goes on."""
    judge.stage.tick(BASE_US + int(days * DAY_US), caught_up=True)
    judge.flush()


def retention(judge: Judge) -> None:
    """The broker gives up all that the profiles topic held."""
    for place, record in enumerate(judge.log):
        judge.log[place] = replace(record, value=b"given up")


def half_a_window(judge: Judge) -> None:
    """Of each kind a pane: final, sealed, corrected, and the newest, which no watermark has passed yet."""
    for second in range(4):
        judge.send(snapshot(second, 10), at_us=BASE_US + second * SECOND_US)
    judge.send(snapshot(2, 12, 10, sequence=2, watermark_us=BASE_US + 5 * SECOND_US))
    judge.flush()


def rest_of_the_window(judge: Judge, late: bool) -> None:
    at_us = BASE_US + 9 * DAY_US
    if late:
        judge.send(snapshot(3, 14, 10, sequence=2, watermark_us=BASE_US + 5 * SECOND_US), at_us=at_us)
    for second in range(4, 14):
        judge.send(snapshot(second, 10), at_us=at_us)
    judge.send(watermark(), at_us=at_us)


@pytest.mark.parametrize("late", [False, True])
def test_a_partition_that_was_silent_beyond_the_retention_loses_nothing(late: bool) -> None:
    """The judge is started anew after nine days without a record, and once more behind a late one."""
    judge, plain = Judge(configuration(by_rows())), Judge(configuration(by_rows()))
    half_a_window(judge)
    assert needed(judge)[PROFILES]
    pass_days(judge, 0.5)
    assert PROFILES in needed(judge), "a young pane is not copied"
    pass_days(judge, 1.1)
    assert needed(judge).keys() == {JUDGE_PANES}
    written = len(judge.merged)
    for day in range(2, 9):
        pass_days(judge, day)
    assert len(judge.merged) == written, "once is enough"
    retention(judge)
    judge.crash()
    rest_of_the_window(judge, late)
    judge.flush()
    judge.crash()
    half_a_window(plain)
    rest_of_the_window(plain, late)
    assert judge.windows() == plain.windows()
    assert [one[2] for one in judge.windows()] == [100]
    assert judge.rows() == plain.rows()
    assert judge.flush().points.keys() == plain.flush().points.keys()
    assert {one.id: one.value for one in judge.results.points.values()} == {
        one.id: one.value for one in plain.results.points.values()
    }


def test_what_has_changed_since_it_was_copied_is_copied_again_at_once() -> None:
    judge = Judge(configuration(by_rows()))
    half_a_window(judge)
    pass_days(judge, 1.1)
    written = len(judge.merged)
    judge.send(snapshot(3, 14, 10, sequence=2, watermark_us=BASE_US + 5 * SECOND_US))
    judge.flush()
    assert len(judge.merged) == written + 1
    assert needed(judge).keys() == {JUDGE_PANES}
    retention(judge)
    judge.crash()
    (series,) = judge.series()
    assert sorted(entry.current.rows for entry in series.all_entries()) == [10, 10, 12, 14]


def test_a_silent_model_does_not_keep_the_state_topic_from_being_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "_FAR_BEHIND", 30)
    other = msgspec.structs.replace(by_rows(), model="other", window_rows=10_000)
    judge = Judge(configuration(by_rows(), other))
    half_a_window(judge)
    pass_days(judge, 1.1)
    kept = needed(judge)[JUDGE_PANES][0][0]
    for second in range(800):
        one = snapshot(second, 50, model="other", profile=snapshot(0, 50).profile)
        final_us = one.watermark_us - 10 * SECOND_US
        judge.send(msgspec.structs.replace(one, final_us=final_us), at_us=BASE_US + 2 * DAY_US)
        judge.flush()
    assert len(judge.merged) > 50
    assert kept < len(judge.merged) - 40 <= needed(judge)[JUDGE_PANES][0][0]
    judge.crash()
    rows = {one.name.model: sum(entry.current.rows for entry in one.all_entries()) for one in judge.series()}
    assert rows["loan"] == 42
