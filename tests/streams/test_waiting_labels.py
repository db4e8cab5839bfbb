"""Labels that belong to no prediction cannot fill the memory, and every one of them is accounted for."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.values import Accounting
from streams.profile.id_table import GONE, ROW, WAITING, IdTable
from streams.profile.waiting import crowd_out
from streams.stages import InputRecord
from tests.streams.stream_data import label_record, make_events, prediction_record
from tests.streams.test_cold_tier import Line

MODEL, MOST = "loan", 80


def flood(strangers: int) -> list[InputRecord]:
    """Labels of 60 events, half of them a while before their predictions; in between so many of events that nobody
    predicted."""
    events, others = make_events(60, 3), make_events(strangers, 4, prefix="x")
    early = replace(events, label_times_us=np.full(60, events.times_us[0]))
    recent = replace(events, label_times_us=np.full(60, events.times_us[-1] + 1_000_000))
    others.label_times_us = np.linspace(events.times_us[0], events.times_us[-1], strangers).astype(np.int64)
    parts = [
        label_record(early, np.arange(30), MODEL, 0),
        *(
            label_record(others, rows, MODEL, 1 + number)
            for number, rows in enumerate(np.array_split(np.arange(strangers), 20))
        ),
        label_record(recent, np.arange(30, 60), MODEL, 21),
        prediction_record(events, np.arange(60), MODEL, 22),
    ]
    return [replace(part, offset=offset) for offset, part in enumerate(parts)]


def run(records: list[InputRecord], deaths: np.random.Generator | None = None) -> Accounting:
    line = Line(None, max_waiting_labels=MOST, label_horizon_s=3_600.0, hot_horizon_s=3_600.0)
    line.run(records, set(range(0, len(records), 2)), deaths)
    assert len(line.stage._models[MODEL].table) <= 3 * (60 + MOST) + 100  # pyright: ignore[reportPrivateUsage]
    return line.accounting()


def test_of_too_many_the_oldest_are_orphaned_and_the_account_closes() -> None:
    found = run(flood(2_000))
    assert found.label_received == 2_060
    assert found.label_received == found.joined + found.waiting + found.orphaned
    assert found.joined == 30  # those that came just before their predictions
    assert found.waiting <= MOST + MOST // 8


def test_a_few_harm_nobody() -> None:
    found = run(flood(30))
    assert (found.joined, found.waiting, found.orphaned) == (60, 30, 0)


def test_a_restart_in_the_flood_changes_nothing() -> None:
    records = flood(2_000)
    expected = run(records)
    for seed in range(3):
        assert run(records, np.random.default_rng(seed)) == expected


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(0, 4), min_size=1, max_size=60), keep=st.integers(0, 40), seed=st.integers(0)
)
def test_which_ones_go_is_a_matter_of_time_and_key_alone(times: list[int], keep: int, seed: int) -> None:
    def kept(order: np.ndarray) -> set[int]:
        table, rows = IdTable(), np.zeros(len(times), dtype=ROW)
        times_us = np.array(times)[order] * 10
        rows["key"], rows["series"] = (order + 1).astype(np.uint64) << np.uint64(40), WAITING
        rows["pane"] = rows["label_pane"] = table.codes(times_us)
        table.join(rows, times_us, np.zeros(1, np.uint16), (0, 0), 1_000)
        gone = crowd_out(table, keep)
        left = table.row(np.arange(len(table)))
        assert gone == max(0, len(times) - keep) == int(np.count_nonzero(left["series"] == GONE))
        return set((left["key"][left["series"] == WAITING] >> np.uint64(40)).tolist())

    order = np.arange(len(times))
    first = kept(order)
    assert kept(np.random.default_rng(seed % 2**32).permutation(order)) == first
    wanted = sorted(order.tolist(), key=lambda one: (times[one], one))[max(0, len(times) - keep) :]
    assert first == {one + 1 for one in wanted}


@settings(max_examples=15, deadline=None)
@given(
    most=st.integers(0, 60), seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 119), max_size=12)
)
def test_the_size_of_the_batches_does_not_show_in_a_flood(most: int, seed: int, cuts: list[int]) -> None:
    """Labels in any order of time, each once, before anything is predicted; then predictions of them all."""
    rng = np.random.default_rng(seed)
    events = make_events(120, 4)
    events.label_times_us = events.times_us[rng.permutation(120)]
    order = rng.permutation(120)

    def joined(parts: list[np.ndarray]) -> tuple[Accounting, list[int]]:
        records = [label_record(events, rows, MODEL, number) for number, rows in enumerate(parts)]
        records.append(prediction_record(events, np.arange(120), MODEL, len(records)))
        records = [replace(part, offset=offset) for offset, part in enumerate(records)]
        line = Line(None, max_waiting_labels=most, label_horizon_s=3_600.0, hot_horizon_s=3_600.0)
        line.run(records[:-1], set(), None)
        table = line.stage._models[MODEL].table  # pyright: ignore[reportPrivateUsage]
        left = table.row(np.arange(len(table)))
        waiting = sorted(left["key"][left["series"] == WAITING].tolist())
        line.run(records, set(), None)
        return line.accounting(), waiting

    one_by_one = joined([order[number : number + 1] for number in range(120)])
    assert joined(np.split(order, sorted(set(cuts)))) == one_by_one
    assert joined([order]) == one_by_one
