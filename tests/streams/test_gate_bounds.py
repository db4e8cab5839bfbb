"""How much may come of a record: rows, dead letters, bytes. And Arrow tables that lie."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from homeostat.contract import CONTENT_TYPE
from streams.deadletters import MAX_ORIGINAL_BYTES
from streams.deadletters_replay import Unsendable
from streams.deadletters_replay import _content as content_of  # pyright: ignore[reportPrivateUsage]
from streams.gate.arrow_table import MAX_JSON_BYTES, json_bytes, read_table, split_table
from streams.gate.output import MAX_COPIES
from streams.gate.payloads import PayloadError, rows_of
from streams.gate.rows import MAX_ROWS
from tests.streams.exchange_parts import TABLE_ROW
from tests.streams.gate_parts import batches, predictions, record, written
from tests.streams.test_gate_rows import LABEL, PREDICTION

_MESSAGE_BYTES = 1_040_000
"""What the gate's producer takes."""


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def table(rows: int = 3, **columns: Any) -> pa.Table:
    found = {
        "id": [f"a{i}" for i in range(rows)],
        "time": pa.array([1_790_000_000] * rows),
        "prediction": [1.0] * rows,
    }
    return pa.table(found | columns).replace_schema_metadata({"model": "churn", "version": "7"})


@pytest.mark.parametrize(
    "value",
    [
        b"[" + b"1," * 200_000 + b"1]",
        b"[" + b"{}," * MAX_ROWS + b"{}]",
        b"{}\n" * (MAX_ROWS + 2),
        b"[" + b"NaN," * MAX_ROWS + b"NaN]",
    ],
    ids=["numbers", "objects", "lines", "NaN"],
)
@pytest.mark.parametrize(
    "headers", [{}, {"kind": "label"}, {"content_type": "application/cloudevents-batch+json"}]
)
def test_a_record_of_too_many_rows_is_one_dead_letter(value: bytes, headers: dict[str, str]) -> None:
    output = written(record(value, **headers))
    [letter] = output.letters
    if headers.get("content_type") and value[:1] == b"{":
        return
    assert f"more than {MAX_ROWS} rows at once" in letter.reason
    assert letter.row is None
    assert sum(counts.received + counts.label_received for counts in output.counts.values()) == 1
    assert sum(counts.deadlettered + counts.label_deadlettered for counts in output.counts.values()) == 1


def test_as_many_rows_as_allowed_are_told_one_by_one() -> None:
    output = written(record(b"[" + b"1," * (MAX_ROWS - 1) + b"1]"))
    assert len(output.letters) == output.counts["_unknown"].deadlettered == MAX_ROWS


def test_what_a_large_request_is_refused_for_is_not_kept_once_per_row() -> None:
    """100 rows that share 300 kB: their letters hold them a few times, and all are told."""
    body = {"instances": [[{"no": "feature"}]] * 100, "padding": "x" * 300_000}
    event = TABLE_ROW | {"request": body, "response": {"predictions": [1] * 100}}
    output = written(record(json.dumps(event).encode()))
    assert [letter.only_row for letter in output.letters] == list(range(100))
    assert [bool(letter.original) for letter in output.letters] == [n < MAX_COPIES for n in range(100)]
    assert sum(len(letter.to_json()) for letter in output.letters) < 10_000_000


async def test_why_a_letter_without_its_bytes_cannot_be_sent_again() -> None:
    event = TABLE_ROW | {
        "request": {"instances": [[{"no": "feature"}]] * 20},
        "response": {"predictions": [1] * 20},
    }
    letters = written(record(json.dumps(event).encode())).letters
    with pytest.raises(Unsendable, match="first dead letters of the same record"):
        await content_of(None, letters[-1], "events")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "event",
    [
        {"specversion": "1.0", "type": "x" * 800_000, "id": "1"},
        {"specversion": "1.0", "type": "org.kubeflow.serving.inference.request", "id": "x" * 800_000},
        TABLE_ROW | {"timestamp_ms": "x" * 700_000},
        TABLE_ROW
        | {"request": {"inputs": [{"name": "x" * 300, "shape": [1, 1], "datatype": "FP64", "data": [1]}]}},
        TABLE_ROW
        | {"request": {"inputs": [{"name": "x", "shape": [2**62] * 50_000, "datatype": "FP64", "data": []}]}},
    ],
    ids=["type", "id", "time", "tensor name", "shape"],
)
def test_a_dead_letter_fits_into_a_record_whatever_it_is_for(event: dict[str, Any]) -> None:
    output = written(record(json.dumps(event).encode()))
    [letter] = output.letters
    assert len(letter.reason) < 1_100
    assert len(letter.to_json()) < _MESSAGE_BYTES


def test_headers_and_keys_without_end_fit_into_a_record() -> None:
    headers = {f"ce_{n}": "x" * 4_000 for n in range(200)} | {
        "ce_type": "what",
        "ce_id": "1",
        "idempotency": "k" * 900_000,
    }
    [letter] = written(record(b"x" * (2 * MAX_ORIGINAL_BYTES), **headers)).letters
    assert len(letter.to_json()) < _MESSAGE_BYTES


def test_many_rows_in_a_request_are_counted_before_they_are_made() -> None:
    for body in (
        {"instances": [1] * 100_001},
        {"inputs": {"a": [1] * 100_001}},
        {"dataframe_records": [1] * 100_001},
        {"dataframe_split": {"columns": ["a"], "data": [1] * 100_001}},
        {"inputs": [{"name": "a", "shape": [100_001], "datatype": "INT64", "data": [1] * 100_001}]},
    ):
        with pytest.raises(PayloadError, match="more than 100000 rows"):
            rows_of(body)


# Arrow.


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_table_is_refused_unread(codec: str) -> None:
    value = stream(table(1_000, **{"f.x": np.zeros(1_000)}), compression=codec)
    [letter] = written(record(value, content_type=CONTENT_TYPE)).letters
    assert "compressed" in letter.reason


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([{"a": 1}] * 3), "struct"),
        (pa.array([b"a"] * 3), "binary"),
        (pa.array([[None]] * 3), "list<"),
        (pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)), "decimal"),
    ],
    ids=["struct", "bytes", "list of nothing", "decimal"],
)
def test_a_column_that_cannot_be_a_feature_is_named(column: pa.Array, reason: str) -> None:
    [letter] = written(record(stream(table(**{"f.x": column})), content_type=CONTENT_TYPE)).letters
    assert letter.field == "f.x"
    assert reason in letter.reason
    assert "numbers, truth values, texts, times and lists of numbers are read" in letter.reason


def test_a_table_without_ids_or_with_a_name_twice_says_so() -> None:
    for wrong, field in (
        (table().drop_columns(["id"]), "id"),
        (table().append_column("id", [["a"] * 3]), "id"),
    ):
        [letter] = written(record(stream(wrong), content_type=CONTENT_TYPE)).letters
        assert letter.field == field


@pytest.mark.parametrize("zone", ["nowhere", "\0TC", "Europe/Lisbon"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_read_in_any_unit_and_zone(zone: str, unit: str) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array([1_790_000_000 * per_second, 2**62, -1], pa.int64()).view(pa.timestamp(unit, zone))
    output = written(record(stream(table(time=times)), content_type=CONTENT_TYPE))
    kept = 2 if unit == "ns" else 1
    assert predictions(output).times_us[:1].tolist() == [1_790_000_000_000_000]
    assert [letter.field for letter in output.letters] == ["time"] * (3 - kept)


def test_dictionaries_are_texts_and_bounded_when_written_out() -> None:
    plan = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), ["gold", "basic"])
    output = written(record(stream(table(**{"f.plan": plan})), content_type=CONTENT_TYPE))
    assert predictions(output).features["plan"].tolist() == ["gold", "basic", "gold"]
    bomb = pa.DictionaryArray.from_arrays(pa.array(np.zeros(50_000, np.int8)), ["x" * 20_000])
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    value = stream(table(50_000, **{"s.text": bomb}))
    [letter] = written(record(value, content_type=CONTENT_TYPE)).letters
    assert "written out" in letter.reason
    assert pool.max_memory() - before < 200_000_000


def test_a_table_whose_names_weigh_more_than_its_values_is_refused() -> None:
    names = {f"f.{'x' * 200}{n}": pa.nulls(2_000) for n in range(100)}
    value = stream(table(2_000, **names))
    [letter] = written(record(value, content_type=CONTENT_TYPE)).letters
    assert "when written as rows" in letter.reason
    assert len(value) < 200_000
    found = read_table(value)
    parts = list(split_table(found, 800_000))
    assert [first for first, _ in parts] == sorted({first for first, _ in parts})
    assert all(json_bytes(read_table(part)) <= MAX_JSON_BYTES for _, part in parts)
    assert sum(read_table(part).num_rows for _, part in parts) == 2_000


def test_half_precision_and_whole_numbers_are_numbers() -> None:
    columns = {"f.h": pa.array(np.array([1, 2, 3], np.float16)), "f.i": pa.array([1, 2, 3], pa.uint8())}
    batch = predictions(written(record(stream(table(**columns)), content_type=CONTENT_TYPE)))
    assert batch.features["h"].tolist() == batch.features["i"].tolist() == [1, 2, 3]


def test_labels_and_predictions_of_one_array_are_told_apart() -> None:
    assert len(batches(written(record(json.dumps([PREDICTION, LABEL]).encode())))) == 2


def test_refused_rows_are_counted_by_the_part_that_was_wrong_and_the_parts_are_few() -> None:
    changes: list[dict[str, Any]] = [
        *({"features": {f"column-{number}.x": {}}} for number in range(20)),
        {"score": "high"},
        {"kind": "prophecy"},
        {"time": None},
    ]
    events = [PREDICTION | change for change in changes]
    output = written(record(json.dumps([*events, LABEL | {"value": []}, 7]).encode()), record(b"{"))
    assert output.refused() == {"features": 20, "score": 1, "kind": 1, "time": 1, "value": 1, "row": 2}
