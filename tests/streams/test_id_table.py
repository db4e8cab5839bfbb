"""The id table against a plain dictionary that does the same, one event after the other."""

import math
from dataclasses import dataclass, field
from unittest.mock import patch

import msgspec
import numpy as np
import psutil
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.profile import cold_kernels, id_table
from streams.profile import id_kernels as kernels
from streams.profile.cold_segment import Segment, build
from streams.profile.id_rows import Held, logged_rows, read_rows, room
from streams.profile.id_table import GONE, ROW, WAITING, IdTable, Indices, Predicted, Rows

PANE_US = 10
HORIZON_US = 200
LATENESS_US = 60
HOT_US = 120
VERSIONS = np.array([0, 1, 0], dtype=np.uint16)
"""Series 0 and 2 are segments of one version."""
SEGMENT = build("m", "test", Held(np.zeros(1, dtype=ROW), np.zeros(1, dtype=np.int64)))


@dataclass
class Known:
    """One row of the plain model."""

    key: int
    pane_us: int
    label_pane_us: int
    series: int
    label: float = math.nan


@dataclass
class Plain:
    """What the table must do, in words that anybody can check."""

    rows: list[Known] = field(default_factory=list[Known])
    mark_us: int = 0
    label_mark_us: int = 0

    def predict(self, key: int, series: int, time_us: int) -> int:
        self.mark_us = max(self.mark_us, time_us)
        oldest_us = max(self.mark_us, self.label_mark_us) - HORIZON_US
        mine = [row for row in self.rows if row.key == key]
        predicted = [row for row in mine if row.series < GONE and row.pane_us >= self.mark_us - HOT_US]
        if any(VERSIONS[row.series] == VERSIONS[series] for row in predicted):
            return kernels.DUPLICATE
        if time_us < self.mark_us - LATENESS_US:
            return kernels.LATE
        pane_us = time_us // PANE_US * PANE_US
        new = Known(key, pane_us, pane_us, series)
        waiting = [row for row in mine if row.series == WAITING and row.pane_us >= oldest_us]
        sources = waiting or [row for row in predicted if not math.isnan(row.label)]
        if sources:
            new.label, new.label_pane_us = sources[-1].label, max(sources[-1].label_pane_us, pane_us)
        for row in waiting:
            row.series = GONE
        self.rows.append(new)
        return kernels.ACCEPTED

    def label(self, key: int, value: float, time_us: int) -> tuple[int, list[tuple[int, float]]]:
        self.label_mark_us = max(self.label_mark_us, time_us)
        oldest_us = max(self.label_mark_us, self.mark_us) - HORIZON_US
        pane_us = time_us // PANE_US * PANE_US
        mine = [(number, row) for number, row in enumerate(self.rows) if row.key == key]
        predicted = [
            (number, row)
            for number, row in mine
            if row.series < GONE and row.pane_us >= max(self.mark_us, time_us) - HORIZON_US
        ]
        last = {VERSIONS[row.series]: number for number, row in predicted}
        predicted = [(number, self.rows[number]) for number in last.values()]
        if predicted:
            known = [row.label for _, row in predicted if not math.isnan(row.label)]
            if known and known[-1] == value:
                return kernels.SAME, []
            outcomes = [(number, row.label) for number, row in predicted]
            for _, row in predicted:
                if math.isnan(row.label):
                    row.label_pane_us = max(pane_us, row.pane_us)
                row.label = value
            return (kernels.REVISED if known else kernels.JOINED), outcomes
        waiting = [row for _, row in mine if row.series == WAITING and row.pane_us >= oldest_us]
        if waiting:
            if waiting[-1].label == value:
                return kernels.SAME, []
            waiting[-1].label, waiting[-1].pane_us = value, pane_us
            return kernels.REVISED, []
        if time_us < oldest_us:
            return kernels.ORPHANED, []
        self.rows.append(Known(key, pane_us, pane_us, WAITING, value))
        return kernels.STORED, []


EVENTS = st.lists(
    st.tuples(
        st.booleans(),
        st.lists(
            st.tuples(st.integers(0, 12), st.integers(0, 2), st.integers(-90, 40)), min_size=1, max_size=25
        ),
    ),
    max_size=14,
)


def spread(key: int) -> int:
    """Some keys share the upper half, some only the home slot."""
    return (key % 3) << 62 | (key % 5) << 32 | key


def columns(events: list[tuple[int, int, int]], clock_us: int) -> tuple[Rows, np.ndarray]:
    times_us = np.array([clock_us + offset for _, _, offset in events], dtype=np.int64)
    rows = np.zeros(len(events), dtype=ROW)
    rows["key"] = [spread(key) for key, _, _ in events]
    return rows, times_us


def state_of(table: IdTable) -> list[tuple[int, int, int, int, float]]:
    rows = table.row(np.arange(len(table)))
    panes, places = table.starts_us(rows["pane"]).tolist(), table.starts_us(rows["label_pane"]).tolist()
    return [
        (
            int(row["key"]),
            int(row["series"]),
            pane,
            place,
            -1.0 if np.isnan(row["label"]) else float(row["label"]),
        )
        for row, pane, place in zip(rows, panes, places, strict=True)
    ]


def expected(plain: Plain) -> list[tuple[int, int, int, int, float]]:
    return [
        (
            spread(row.key),
            row.series,
            row.pane_us,
            row.label_pane_us,
            -1.0 if math.isnan(row.label) else row.label,
        )
        for row in plain.rows
    ]


def predicted(rows: Rows, times_us: Indices) -> Predicted:
    said, scores = rows["prediction"].astype(np.float64), rows["score"].astype(np.float64)
    return Predicted(rows["key"], times_us, said, scores, rows["series"], rows["pane"])


@settings(max_examples=150, deadline=None)
@given(batches=EVENTS, uncounted=st.sampled_from([0, 1_000_000]))
def test_the_table_does_in_batches_what_is_said_of_single_events(
    batches: list[tuple[bool, list[tuple[int, int, int]]]], uncounted: int
) -> None:
    with patch.object(id_table, "_MOST_OUTCOMES", uncounted):
        _do_in_batches(batches)


def _do_in_batches(batches: list[tuple[bool, list[tuple[int, int, int]]]]) -> None:
    table, plain, clock_us = IdTable(), Plain(mark_us=1_000, label_mark_us=1_000), 1_000
    for is_label, events in batches:
        clock_us += 30
        marks = plain.mark_us, plain.label_mark_us
        rows, times_us = columns(events, clock_us)
        rows["pane"] = rows["label_pane"] = table.codes(times_us // PANE_US * PANE_US)
        if is_label:
            rows["label"], rows["series"] = [value for _, value, _ in events], WAITING
            outcomes, fates = table.join(rows, times_us, VERSIONS, (marks[1], marks[0]), HORIZON_US)
            told = [plain.label(key, float(value), clock_us + offset) for key, value, offset in events]
            assert fates == np.bincount([fate for fate, _ in told], minlength=5).tolist()
            wanted = [(i, *outcome) for i, (_, found) in enumerate(told) for outcome in found]
            found = zip(outcomes.position.tolist(), outcomes.row.tolist(), outcomes.old.tolist(), strict=True)
            assert repr(list(found)) == repr(wanted)
        else:
            rows["series"], rows["label"] = [series for _, series, _ in events], np.nan
            admission = table.admit(
                predicted(rows, times_us), VERSIONS, marks, HORIZON_US, LATENESS_US, HOT_US
            )
            fates = [plain.predict(key, series, clock_us + offset) for key, series, offset in events]
            assert admission.fates.tolist() == fates
        assert state_of(table) == expected(plain)


@settings(max_examples=60, deadline=None)
@given(batches=EVENTS, pieces=st.integers(1, 9))
def test_the_table_is_rebuilt_from_its_log(
    batches: list[tuple[bool, list[tuple[int, int, int]]]], pieces: int
) -> None:
    table, log, clock_us = IdTable(), list[bytes](), 1_000
    for is_label, events in batches:
        clock_us += 30
        rows, times_us = columns(events, clock_us)
        rows["pane"] = rows["label_pane"] = table.codes(times_us // PANE_US * PANE_US)
        if is_label:
            rows["label"], rows["series"] = [value for _, value, _ in events], WAITING
            table.join(rows, times_us, VERSIONS, (clock_us, clock_us), HORIZON_US)
        else:
            rows["series"], rows["label"] = [series for _, series, _ in events], np.nan
            table.admit(
                predicted(rows, times_us), VERSIONS, (clock_us, clock_us), HORIZON_US, LATENESS_US, HORIZON_US
            )
        log += [piece for piece, _ in table.take_changed(pieces)]
    assert table.take_changed(pieces) == []
    restored = IdTable()
    restored.restore(log, before_us=clock_us - HORIZON_US)
    kept = [row for row in state_of(table) if row[1] != GONE and row[2] >= clock_us - HORIZON_US]
    last = {(key, row[0]): row for key, row in ((min(row[1], GONE), row) for row in kept)}
    assert sorted(state_of(restored)) == sorted(last.values())


def test_labels_of_a_model_with_very_many_versions_take_room_for_those_that_were_met() -> None:
    table, versions = IdTable(), np.arange(65_000, dtype=np.uint16)
    rows, times_us = columns([(key, 0, 0) for key in range(20_000)], 1_000)
    rows["key"] = np.random.default_rng(6).integers(0, 2**64, len(rows), dtype=np.uint64)
    rows["pane"] = rows["label_pane"] = table.codes(times_us)
    for series in (0, 64_999):
        rows["series"], rows["label"] = series, np.nan
        table.admit(predicted(rows, times_us), versions, (1_000, 1_000), HORIZON_US, LATENESS_US, HOT_US)
    rows["series"], rows["label"] = WAITING, 1.0
    process = psutil.Process()
    soft, hard = process.rlimit(psutil.RLIMIT_AS)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + 4 * 2**30, hard))
    try:
        outcomes, fates = table.join(rows, times_us, versions, (1_000, 1_000), HORIZON_US)
    finally:
        process.rlimit(psutil.RLIMIT_AS, (soft, hard))
    assert len(outcomes.row) == 40_000
    assert fates[kernels.JOINED] == 20_000


def test_columns_in_any_kind_of_memory_compile_nothing_of_their_own() -> None:
    """Which takes seconds in the middle of the stream."""
    table, rows = IdTable(), np.zeros(2, dtype=ROW)
    frozen = np.arange(2, dtype=np.uint64)
    frozen.flags.writeable = False
    for keys in (np.arange(2, dtype=np.uint64), frozen, rows["key"]):
        table.find(keys)
        Segment(SEGMENT.info(""), b"".join(SEGMENT.parts)).find(keys)
    for codes in (0, np.zeros(2, dtype=np.uint16), rows["series"]):
        batch = predicted(rows, np.zeros(2, dtype=np.int64))._replace(series=codes)
        table.admit(batch, VERSIONS, (0, 0), HORIZON_US, LATENESS_US, HOT_US)
    for kernel in (kernels.find, kernels.admit, cold_kernels.search):
        assert len(kernel.signatures) == 1  # pyright: ignore


def test_a_large_table_forgets_the_old_half_and_finds_the_rest() -> None:
    table, count = IdTable(), 20_000
    keys = np.random.default_rng(3).integers(0, 2**63, count, dtype=np.uint64)
    for start in range(0, count, 500):
        rows = np.zeros(500, dtype=ROW)
        rows["key"], rows["label"] = keys[start : start + 500], np.nan
        times_us = np.full(500, start)
        rows["pane"] = rows["label_pane"] = table.codes(times_us)
        table.admit(predicted(rows, times_us), VERSIONS, (0, 0), 10**9, 10**9, 10**9)
    table.take_changed(8_192)
    held = table.nbytes
    table.expire(before_us=15_000)
    assert len(table) == 5_000
    assert table.nbytes < held / 2
    where, found = table.find(keys[14_990:15_010])
    assert where.tolist() == list(range(10, 20))
    assert (table.row(found)["key"] == keys[15_000:15_010]).all()
    assert set(table.starts_us(table.row(np.arange(5_000))["pane"]).tolist()) == set(
        range(15_000, 20_000, 500)
    )


@settings(deadline=None)
@given(
    codes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=200),
    most=st.sampled_from([4, 64, 1_000]),
)
def test_distinct_pairs_are_found_in_order_of_appearance(codes: list[tuple[int, int]], most: int) -> None:
    first = np.array([pair[0] for pair in codes], dtype=np.uint16)
    second = np.array([pair[1] for pair in codes], dtype=np.uint32)
    pairs, inverse = kernels.distinct(first, second, most)
    expected = list(dict.fromkeys((one << 32) | other for one, other in codes))
    assert pairs.tolist() == expected[:most]
    if len(expected) < most:
        assert pairs[inverse].tolist() == [(one << 32) | other for one, other in codes]


def test_one_code_stands_for_all_rows() -> None:
    second = np.array([3, 3, 5], dtype=np.uint32)
    pairs, inverse = kernels.distinct(np.array([2], dtype=np.uint16), second, 64)
    assert pairs.tolist() == [(2 << 32) | 3, (2 << 32) | 5]
    assert inverse.tolist() == [0, 0, 1]


@given(
    rows=st.integers(0, 50), distinct=st.sampled_from([1, 2, 50]), seed=st.integers(0, 5), whole=st.booleans()
)
@settings(deadline=None)
def test_logged_rows_are_read_as_they_were(rows: int, distinct: int, seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    written = np.frombuffer(rng.bytes(ROW.itemsize * rows), dtype=ROW).copy()
    written["label"] = np.nan
    for name in ("prediction", "score"):
        written[name] = rng.choice([np.nan, 0.25, -0.0, 1.0], rows)
    for name in ("pane", "label_pane"):
        written[name] = rng.integers(2, 9, rows)
    if rows:
        written = written[rng.integers(0, min(distinct, rows), rows)]
    starts_us = np.arange(10) * 1_000
    data, latest_us = logged_rows(written, starts_us, cut_us=5)
    if whole:
        first, starts, _, cut_us = msgspec.msgpack.decode(data)
        data = msgspec.msgpack.encode([first, starts, written.tobytes(), cut_us])
    (read, read_starts_us), cut_us = read_rows(data)
    assert cut_us == 5
    for name in ROW.names or ():
        if name in ("pane", "label_pane"):
            assert read_starts_us[read[name]].tolist() == starts_us[written[name]].tolist()
        else:
            assert read[name].tobytes() == written[name].tobytes()
    if rows:
        assert latest_us >= int(starts_us[max(written["pane"].max(), written["label_pane"].max())])


def test_room_behind_the_rows_takes_no_memory_until_it_is_filled() -> None:
    filled = [bytearray(512 * 1024) for _ in range(128)]
    del filled  # 64 MB that the process may still have in hand
    before = psutil.Process().memory_info().rss
    tables = [room(65_536) for _ in range(64)]
    for table in tables:
        table["key"][:1_024] = 1
    assert psutil.Process().memory_info().rss - before < 16 * 1024 * 1024
    assert sum(table.nbytes for table in tables) == 128 * 1024 * 1024


def test_a_table_that_runs_on_holds_half_as_many_again_as_the_horizon_at_most() -> None:
    table, rng, sizes = IdTable(), np.random.default_rng(4), list[int]()
    for now_us in range(1_000, 1_400):
        rows, times_us = np.zeros(100, dtype=ROW), np.full(100, now_us)
        rows["key"], rows["pane"] = rng.integers(0, 2**64, 100, dtype=np.uint64), table.codes(times_us)
        table.admit(predicted(rows, times_us), VERSIONS, (now_us, now_us), 100, 100, 100)
        table.take_changed(8_192)
        table.expire(now_us - 100)
        sizes.append(len(table))
    assert 10_000 <= max(sizes) <= 1.5 * 10_100 + 100
    assert min(sizes[100:]) >= 10_000
    panes_us = table.starts_us(table.row(np.arange(len(table)))["pane"])
    assert (np.bincount(panes_us - panes_us.min()) == 100).all()
