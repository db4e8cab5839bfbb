"""Files of the archive: names, blocks, columns, order, and outsiders who read them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.archive.erasure import Erasures
from streams.archive.files import list_files
from streams.archive.lane import Lane, Mark
from streams.archive.layout import ArchiveFile, Kind, Place, Span, model_of_part, model_part, split_live
from streams.archive.merge import Source, merged
from streams.archive.read import ArchiveReader
from streams.archive.tables import joined, table_of
from streams.archive.upkeep import Upkeep, UpkeepConfig
from streams.archive.worker import first_start
from streams.store import LocalStore, Store
from tests.streams.archive_parts import (
    DAY_US,
    NOW_S,
    PER_DAY,
    PLACE,
    START_US,
    fill,
    ids_of,
    labels,
    predictions,
    record,
    write,
)

# --- names


@pytest.mark.parametrize("model", ["a", "..", "a/b", "🚀" * 200, "x" * 255, "=%", " ", "a b+c"])
def test_every_name_is_one_folder(tmp_path: Path, model: str) -> None:
    store = LocalStore(tmp_path)
    write(store, [predictions(0, 2, model)])
    assert [path.parent for path in tmp_path.glob("*/*/*")] == [
        tmp_path / "kind=predictions" / f"model={model_part(model)}"
    ]
    assert ids_of(ArchiveReader(tmp_path).predictions(model)) == ["e0", "e1"]
    if len(model) < 100:
        assert model_of_part(model_part(model)) == model
        found = duckdb.sql(f"SELECT DISTINCT model FROM read_parquet('{tmp_path}/**/*.parquet')").fetchall()
        assert found == [(model,)]


def test_of_overlapping_files_the_larger_counts() -> None:
    spans = [(0, 0, 0, 9), (0, 0, 10, 19), (0, 0, 0, 19), (0, 0, 20, 29), (0, 1, 0, 9), (1, 0, 0, 9)]
    files = [ArchiveFile(PLACE, Span(*span), 1, 0.0) for span in spans]
    live, replaced = split_live(files)
    assert sorted(one.span for one in replaced) == [Span(0, 0, 0, 9), Span(0, 0, 10, 19)]
    assert len(live) == 4
    other_day = ArchiveFile(Place("predictions", "m", "2026-09-22"), Span(0, 0, 0, 9), 1, 0.0)
    assert other_day in split_live([*files, other_day])[0]


def test_where_a_group_starts_that_was_forgotten() -> None:
    assert first_start([], 0, 5, 100) == (5, Mark())
    files = [ArchiveFile(PLACE, Span(0, run, 0, last), 1, 0.0) for run, last in [(0, 500), (1, 49)]]
    assert first_start(files, 0, 5, 100) == (50, Mark(1)), "the files tell how far the archive was"
    assert first_start(files, 0, 0, 20) == (0, Mark(2)), "a topic that is shorter than its archive is another"
    assert first_start(files, 1, 7, 20) == (7, Mark())


@pytest.mark.parametrize("text", ["", "[]", "{", '{"run": "x", "cut": 1.5}', '{"other": 1}'])
def test_a_foreign_mark_is_no_mark(text: str) -> None:
    assert Mark.from_text(text) == Mark()
    assert Mark.from_text(Mark(3, 17).to_text()) == Mark(3, 17)


# --- blocks


def test_a_block_that_was_begun_is_written_again_as_the_same_files(tmp_path: Path) -> None:
    batches = [predictions(number * 5, 5, f"m{number % 2}") for number in range(6)]
    files: list[dict[str, bytes]] = []
    for more in (0, 2):
        lane = Lane(0, 10, Mark(0, None if more == 0 else 14))
        for number, batch in enumerate(batches[: 4 + more]):
            lane.add(record(batch, 10 + number), batch, 0.0)
        block = lane.block
        assert block is not None
        assert lane.due == (more > 0)
        block.cut = block.cut or block.last + 1
        files.append(
            {str(span): content.to_pybytes() for _, span, content, _ in lane.files(block, Erasures())}
        )
        lane.done(block)
        assert lane.rows == 5 * more
    assert files[0] == files[1]
    assert len(files[0]) == 1


def test_a_begun_block_waits_until_it_is_complete() -> None:
    lane, batch = Lane(0, 10, Mark(0, 14)), predictions(0, 1)
    for offset in (10, 12):
        lane.add(record(batch, offset), batch, 0.0)
        assert lane.block is None
    # 13 holds no record: the offset of a transaction's end, or a record that the broker has deleted
    lane.add(record(batch, 14), batch, 0.0)
    assert lane.block is not None
    assert [offset for _, offset in lane.block.records] == [10, 12]
    lane.done(lane.block)
    assert lane.block is not None
    assert (lane.block.start, lane.block.cut) == (14, None)


def test_a_record_that_cannot_be_archived_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streams.archive import lane as archive_lane

    real = archive_lane.table_of

    def failing(kind: Kind, records: Any, partition: int) -> pa.Table:
        if any(offset == 3 for _, offset in records):
            raise pa.ArrowInvalid("a record that nobody has foreseen")
        return real(kind, records, partition)

    monkeypatch.setattr(archive_lane, "table_of", failing)
    write(LocalStore(tmp_path), [predictions(number * 2, 2) for number in range(7)])
    found = ids_of(ArchiveReader(tmp_path).predictions("churn"))
    assert found == [f"e{number}" for number in range(14) if number not in (6, 7)]


# --- columns


def test_features_may_come_and_go_and_lie(store: Store) -> None:
    reader = ArchiveReader(store)
    cases: list[dict[str, Any]] = [
        {"x": [1.0, 2.0], "plan": ["gold", None]},
        {"x": [np.nan, np.nan]},
        {"x": ["seven", "8"], "extra": [1.0, 2.0]},
        {"x": np.array([5, 6], dtype=np.float32), "plan": [np.nan, np.nan]},
    ]
    for number, features in enumerate(cases):
        write(store, [predictions(number * 2, 2, features=features)], number)
    for _ in range(2):
        table = reader.predictions("churn")
        assert table.column("f.x").to_pylist() == [1.0, 2.0, None, None, None, 8.0, 5.0, 6.0]
        assert table.column("t.x").to_pylist() == [None] * 4 + ["seven", "8"] + [None] * 2
        assert table.column("f.plan").to_pylist() == ["gold"] + [None] * 7
        assert table.column("f.extra").to_pylist() == [None] * 4 + [1.0, 2.0] + [None] * 2
        Upkeep(store, UpkeepConfig()).run(NOW_S)
    assert len(list_files(store)) == 1


def test_a_feature_that_never_has_a_value_is_known_by_name(store: Store) -> None:
    write(store, [predictions(0, 2, features={"x": [np.nan, np.nan]})])
    write(store, [predictions(2, 2, features={"x": [np.nan, np.nan]})], 1)
    for _ in range(2):
        table = ArchiveReader(store).predictions("churn")
        assert table.column("f.x").to_pylist() == [None] * 4
        assert ArchiveReader(store).schema("churn", "predictions").field("f.x").type == pa.float64()
        Upkeep(store, UpkeepConfig()).run(NOW_S)


def test_everything_that_contract_2_carries_comes_back(store: Store) -> None:
    write(
        store,
        [
            predictions(
                0,
                3,
                predictions=["cat", None, "dog"],
                statuses=["ok", "timeout", "ok"],
                scores=None,
                latencies_ms=[1.5, 2.5, np.nan],
                class_scores=[[0.5, 0.25, 0.25], [np.nan] * 3, [0.0, 1.0, 0.0]],
                segments={"country": ["pt", None, "🇵🇹"]},
                traces=["00-a", None, "00-b"],
                features={
                    "e": np.arange(12.0).reshape(3, 4),
                    "n": [1.0, np.nan, 3.0],
                    "big": [2.0**60, 1, 2],
                },
            ),
            labels(0, 3, value="cat"),
        ],
    )
    write(store, [predictions(3, 1, class_scores=[[0.5, 0.5]], features={"e": [[1.0, 2.0]]})], 2)
    for _ in range(2):
        table = ArchiveReader(store).predictions("churn").to_pydict()
        assert table["prediction_text"] == ["cat", None, "dog", None]
        assert table["prediction"] == [None, None, None, 1.0]
        assert table["status"] == ["ok", "timeout", "ok", None]
        assert table["trace"] == ["00-a", None, "00-b", None]
        assert table["s.country"] == ["pt", None, "🇵🇹", None]
        assert [one and len(one) for one in table["scores"]] == [3, None, 3, 2]
        assert table["f.e"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [1, 2]]
        assert table["f.n"] == [1.0, None, 3.0, None]
        assert table["f.big"] == [2.0**60, 1, 2, None]
        assert (table["offset"], table["row"], table["partition"]) == ([0, 0, 0, 2], [0, 1, 2, 0], [0] * 4)
        assert ArchiveReader(store).labels("churn").column("value_text").to_pylist() == ["cat"] * 3
        asked = ArchiveReader(store).requests("churn", since_us=0, until_us=2 * START_US)
        assert asked["failed"].tolist()[:3] == [0.0, 1.0, 0.0]
        assert asked["failed"].isna().tolist() == [False, False, False, True]
        assert ArchiveReader(store).requests("churn", since_us=0, until_us=1).empty
        frame = ArchiveReader(store).labelled("churn")
        assert frame["label"].tolist() == ["cat"] * 3
        assert frame["prediction"].tolist()[::2] == ["cat", "dog"]
        assert frame["s.country"].dropna().tolist() == ["pt", "🇵🇹"]
        Upkeep(store, UpkeepConfig()).run(NOW_S)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.floats(allow_nan=False, width=32),
    "missing": st.just(np.nan),
    "text": st.text(max_size=3),
    "vector": st.lists(st.floats(0, 1), min_size=2, max_size=2),
}
_ONE = st.sampled_from(sorted(_VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), _VALUES[kind]))


@settings(deadline=None, max_examples=50)
@example([("text", "a"), ("vector", [0.5, 1.0]), ("number", 2.5), ("text", "")], 2)
@example([("vector", [0.5, 1.0]), ("number", 0.0), ("text", ""), ("vector", [0.5, 1.0])], 2)
@given(st.lists(_ONE, min_size=1, max_size=6), st.integers(0, 6))
def test_whatever_types_come_nothing_is_lost(cases: list[tuple[str, Any]], cut: int) -> None:
    tables = [
        table_of("predictions", [(predictions(number, 1, features={"x": [value]}), number)], 0)
        for number, (_, value) in enumerate(cases)
    ]
    halves = [joined(part, "predictions") for part in (tables[:cut], tables[cut:]) if part]
    for whole in (joined(tables, "predictions"), joined(halves, "predictions")):
        rows = whole.to_pylist()
        assert [row["id"] for row in rows] == [f"e{number}" for number in range(len(cases))]
        for row, (kind, value) in zip(rows, cases, strict=True):
            held = [row["f.x"], row.get("t.x")]
            if kind == "missing":
                assert held == [None, None]
            else:
                assert any(_same(one, value) for one in held), (held, value)


def _same(held: Any, value: Any) -> bool:
    if held is None or isinstance(value, str):
        return bool(held == value)
    return bool(np.allclose(json.loads(held) if isinstance(held, str) else held, value, equal_nan=True))


# --- order


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=30), max_size=5), st.integers(1, 7))
def test_rows_of_many_sources_come_in_order(times: list[list[int]], step: int) -> None:
    def table(partition: int, found: list[int]) -> pa.Table:
        return pa.table(
            {
                "time": pa.array(sorted(found), pa.int64()).cast(pa.timestamp("us", tz="UTC")),
                "partition": pa.array([partition] * len(found), pa.int32()),
                "offset": pa.array(range(len(found)), pa.int64()),
                "row": pa.array([0] * len(found), pa.int32()),
            }
        )

    def parts(whole: pa.Table) -> Iterator[pa.Table]:
        for first in range(0, whole.num_rows, step):
            yield whole.slice(first, step)

    tables = [table(partition, found) for partition, found in enumerate(times)]
    sources = [
        Source(min(found, default=0), lambda whole=whole: parts(whole))
        for whole, found in zip(tables, times, strict=True)
    ]
    expected = sorted(tuple(row.values()) for whole in tables for row in whole.to_pylist())
    found = [tuple(row.values()) for part in merged(sources) for row in part.to_pylist()]
    assert found == expected
    for index in (0, len(expected) // 2):
        if expected:
            position = (int(pa.scalar(expected[index][0]).cast(pa.int64()).as_py()), *expected[index][1:])
            rest = [tuple(row.values()) for part in merged(sources, position) for row in part.to_pylist()]
            assert rest == expected[index + 1 :]


def test_batches_come_in_order_of_time_from_all_partitions(store: Store) -> None:
    rng = np.random.default_rng(5)
    order = rng.permutation(30)
    for number, start in enumerate(order):
        batch = predictions(int(start) * 20, 20)
        late = labels(int(start) * 20, 20, at_us=START_US + (int(start) + 5) * 20 * DAY_US // PER_DAY)
        write(store, [batch, late], number * 2, number % 3)
    for closed in (False, True):
        Upkeep(store, UpkeepConfig()).run(START_US / 1e6, closed=closed)
        reader = ArchiveReader(store)
        seen: dict[str, list[int]] = {"predictions": [], "labels": []}
        newest = before = 0
        for kind, table in reader.batches("churn", ["predictions", "labels"], columns=["id", "f.x"]):
            assert table.schema.names == ["id", "f.x", "time"]
            times_us = table.column("time").cast(pa.int64()).to_numpy()
            seen[kind] += times_us.tolist()
            # One slice of time: predictions, then labels.
            assert times_us[0] >= (before if kind == "labels" else newest)
            before, newest = (newest if kind == "predictions" else before), max(newest, int(times_us[-1]))
        for times in seen.values():
            assert len(times) == 600
            assert times == sorted(times)
        since_us, until_us = START_US + DAY_US + 7, START_US + 3 * DAY_US
        tables = [t for _, t in reader.batches("churn", ["predictions"], since_us, until_us, ["id"])]
        found = ids_of(pa.concat_tables(tables))
        assert found == [f"e{number}" for number in range(101, 300)]


def test_the_last_label_of_an_id_counts(store: Store) -> None:
    write(store, [predictions(0, 3), labels(0, 3, value=0), labels(1, 1, value=1)])
    write(store, [labels(2, 1, value=5, at_us=START_US - DAY_US)], 3)
    reader = ArchiveReader(store)
    assert reader.labels("churn").num_rows == 5
    current = reader.current_labels("churn").to_pydict()
    assert dict(zip(current["id"], current["value"], strict=True)) == {"e0": 0, "e1": 1, "e2": 0}
    early = reader.current_labels("churn", until_us=START_US).to_pydict()
    assert dict(zip(early["id"], early["value"], strict=True)) == {"e2": 5}


# --- outsiders


def test_duckdb_pandas_and_pyarrow_read_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "archive")
    ids = fill(store, 6)
    write(store, [predictions(90, 2, features={"x": [1.0, 2.0], "new": np.array([1.5, 2.5])})], 12)
    folder = store.location
    everything = f"read_parquet('{folder}/**/*.parquet', hive_partitioning=true, union_by_name=true)"
    assert duckdb.sql(
        f'SELECT count(*), count(DISTINCT id), min(model), count("f.new"), typeof(any_value(key)), '
        f"typeof(any_value(time)), typeof(any_value(day)) FROM {everything} WHERE kind = 'predictions'"
    ).fetchall() == [(92, 92, "churn", 2, "UBIGINT", "TIMESTAMP WITH TIME ZONE", "DATE")]
    current = duckdb.sql(
        f'SELECT id, arg_max(value, (time, "partition", "offset", "row")) FROM {everything} '
        "WHERE kind = 'labels' GROUP BY id"
    ).fetchall()
    assert len(current) == 18

    schema = ArchiveReader(store).schema("churn", "predictions")
    frame = pd.read_parquet(
        f"{folder}/kind=predictions", schema=schema, filters=[("id", "in", ["e3", "e91"])]
    )
    assert sorted(frame["id"]) == ["e3", "e91"]
    assert frame["key"].dtype == np.uint64
    assert frame["f.new"].notna().sum() == 1
    assert str(frame["time"].dt.tz) == "UTC"

    dataset = ds.dataset(f"{folder}/kind=predictions", partitioning="hive", schema=schema)
    assert ids_of(dataset.to_table(columns=["id"])) == [*ids, "e90", "e91"]
    assert dataset.schema.field("f.x").type == pa.float64()


def test_a_type_that_widens(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "archive")
    everything = f"read_parquet('{store.location}/**/*.parquet', union_by_name=true)"
    for number, (type, widest) in enumerate(
        [(pa.bool_(), pa.bool_()), (pa.int64(), pa.int64()), (pa.float32(), pa.float64())]
    ):
        batch = predictions(number, 1, features={"x": [1.0]})
        columns = batch.columns.columns
        columns[-1] = columns[-1].cast(type)
        names = batch.columns.schema.names
        write(store, [replace(batch, columns=pa.RecordBatch.from_arrays(columns, names=names))], number)
        last = Path(store.location) / max(list_files(store), key=lambda one: one.span).path
        assert pq.read_schema(last).field("f.x").type == type, "a file keeps what came"
        assert ArchiveReader(store).schema("churn", "predictions").field("f.x").type == widest
    Upkeep(store, UpkeepConfig()).run(NOW_S)
    assert len(list_files(store)) == 1
    assert duckdb.sql(f'SELECT DISTINCT "f.x", typeof("f.x") FROM {everything}').fetchall() == [
        (1.0, "DOUBLE")
    ]
