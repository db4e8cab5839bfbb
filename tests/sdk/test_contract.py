"""The event contract: what is written can be read, and what breaks the contract is told by name."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from homeostat.contract import (
    CONTRACT_VERSION,
    FEATURE_PREFIX,
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
    encode_columns,
    encode_labels,
    encode_predictions,
    headers_of,
    key_of,
    keys_of,
    partition_of,
)


def predictions(rows: int = 5) -> PredictionBatch:
    rng = np.random.default_rng(7)
    return PredictionBatch.of(
        model="heart",
        version="3",
        producer="host-1-ab",
        sequence=41,
        ids=[f"patient-{i}-é🫀" for i in range(rows)],
        times_us=1_700_000_000_000_000 + np.arange(rows),
        predictions=np.arange(rows) % 2,
        scores=np.where(np.arange(rows) % 3 == 0, np.nan, 0.25),
        latencies_ms=np.linspace(0.5, 2.5, rows),
        statuses=[None if i == 0 else "ok" for i in range(rows)],
        features={
            "age": np.where(np.arange(rows) == 1, np.nan, rng.normal(size=rows)),
            "sex": np.array(["m", None, "", "f", "🙂"] * (rows // 5), dtype=object),
        },
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def labels(rows: int = 3) -> LabelBatch:
    return LabelBatch.of(
        model="heart",
        producer="host-1-ab",
        sequence=0,
        ids=[f"p{i}" for i in range(rows)],
        times_us=np.arange(rows),
        values=np.arange(rows) % 2,
    )


def test_predictions_come_back_as_they_were() -> None:
    sent = predictions()
    read = decode(encode_predictions(sent), headers_of(sent))
    assert isinstance(read, PredictionBatch)
    assert (read.model, read.version, read.producer, read.sequence) == ("heart", "3", "host-1-ab", 41)
    assert read.traceparent == sent.traceparent
    assert read.rows == 5
    assert read.ids == sent.ids
    assert read.keys.dtype == np.uint64
    assert read.keys.tolist() == [key_of(id) for id in sent.ids]
    assert read.times_us.tolist() == [1_700_000_000_000_000 + i for i in range(5)]
    assert read.predictions.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(read.scores, [np.nan, 0.25, 0.25, np.nan, 0.25])
    np.testing.assert_allclose(read.latencies_ms, np.linspace(0.5, 2.5, 5))
    assert read.statuses.tolist() == [None, "ok", "ok", "ok", "ok"]
    assert read.feature_names == ("age", "sex")
    np.testing.assert_array_equal(read.features["age"], sent.features["age"])
    assert np.isnan(read.features["age"][1])
    assert read.features["sex"].tolist() == ["m", None, "", "f", "🙂"]


def test_labels_come_back_as_they_were() -> None:
    sent = labels()
    read = decode(encode_labels(sent), dict(headers_of(sent)))
    assert isinstance(read, LabelBatch)
    assert read.values.tolist() == [0, 1, 0]
    assert read.times_us.tolist() == [0, 1, 2]
    assert read.keys.tolist() == keys_of(["p0", "p1", "p2"]).tolist()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.5, None], pa.float32()), [1.5, np.nan]),
        (pa.array([3, None], pa.int64()), [3.0, np.nan]),
        (pa.array([3, 4], pa.int64()), [3.0, 4.0]),
        (pa.array([None, None], pa.float64()), [np.nan, np.nan]),
        (pa.array([np.inf, -np.inf], pa.float64()), [np.inf, -np.inf]),
    ],
)
def test_numeric_features_are_read_as_float64(column: pa.Array, expected: list[float]) -> None:
    sent = with_feature(column)
    read = decode(encode_predictions(sent), headers_of(sent))
    assert isinstance(read, PredictionBatch)
    assert read.features["x"].dtype == np.float64
    np.testing.assert_array_equal(read.features["x"], expected)


@pytest.mark.parametrize("column", [pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()])
def test_text_features_are_read_as_objects(column: pa.Array) -> None:
    sent = with_feature(column)
    read = decode(encode_predictions(sent), headers_of(sent))
    assert isinstance(read, PredictionBatch)
    assert read.features["x"].tolist() == ["a", None]


def with_feature(column: pa.Array) -> PredictionBatch:
    plain = PredictionBatch.of(
        model="m", version="1", producer="p", sequence=1, ids=["a", "b"], times_us=[1, 2], predictions=[0, 1]
    )
    columns = plain.columns.append_column(FEATURE_PREFIX + "x", column)
    return PredictionBatch(columns=columns, model="m", version="1", producer="p", sequence=1)


def test_the_hash_is_xxh3_of_utf8() -> None:
    # The published test vector of XXH3-64 for no input, and one fixed value so that it never changes.
    assert key_of("") == 0x2D06800538D394C2
    assert keys_of(["", "a"]).tolist() == [0x2D06800538D394C2, key_of("a")]
    assert keys_of([]).dtype == np.uint64


def test_a_model_lives_on_spread_neighbouring_partitions() -> None:
    keys = [key_of(str(i)) for i in range(2_000)]
    home = partition_of("m", 0, 12)
    assert {partition_of("m", key, 12) for key in keys} == {home}
    assert {partition_of("m", key, 12, spread=4) for key in keys} == {(home + i) % 12 for i in range(4)}
    assert {partition_of("m", key, 3, spread=9) for key in keys} == {0, 1, 2}
    assert partition_of("m", np.uint64(2**64 - 1), 12, 4) == (key_of("m") + 3) % 12  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        partition_of("m", 0, 0)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("contract", b"3", "header contract", CONTRACT_VERSION),
        ("contract", None, "header contract", "this header"),
        ("kind", b"prediction", "header kind", "predictions or labels"),
        ("model", b"", "header model", "1 to 255 characters"),
        ("model", b"\xff", "header model", "UTF-8"),
        ("model", b"x" * 256, "header model", "1 to 255 characters"),
        ("version", None, "header version", "this header"),
        ("producer", None, "header producer", "this header"),
        ("sequence", b"-1", "header sequence", "a whole number"),
        ("sequence", "²".encode(), "header sequence", "a whole number"),
        ("sequence", b"9" * 19, "header sequence", "a whole number"),
        ("content-type", b"application/json", "header content-type", "arrow.stream"),
        ("traceparent", b"\xff", "header traceparent", "UTF-8"),
    ],
)
def test_wrong_headers_are_told_by_name(name: str, value: bytes | None, field: str, expected: str) -> None:
    sent = predictions()
    headers = dict(headers_of(sent))
    headers.pop(name)
    if value is not None:
        headers[name] = value
    with pytest.raises(ContractError) as caught:
        decode(encode_predictions(sent), headers)
    assert caught.value.field == field
    assert expected in caught.value.expected


def test_labels_with_a_version_are_refused() -> None:
    sent = labels()
    with pytest.raises(ContractError, match="header version"):
        decode(encode_labels(sent), [*headers_of(sent), ("version", b"1")])


def replaced(name: str, column: pa.Array) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        index = batch.schema.get_field_index(name)
        schema = batch.schema.set(index, pa.field(name, column.type))
        columns = [column if i == index else old for i, old in enumerate(batch.columns)]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return change


KEYS = pa.array(keys_of(["a"] * 5))
TIME = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda b: b.select(["id", "key"]), "columns"),
        (lambda b: b.select([*reversed(b.schema.names)]), "columns"),
        (lambda b: b.append_column("age", b.column("f.age")), "column age"),
        (lambda b: b.append_column("f.", b.column("f.age")), "column f."),
        (lambda b: b.append_column("f.age", b.column("f.age")), "columns"),
        (lambda b: b.append_column("f.l", pa.array([[1.0]] * 5)), "column f.l"),
        (lambda b: b.append_column("f.d", pa.array([1] * 5).dictionary_encode()), "column f.d"),
        (replaced("id", pa.array([1] * 5)), "column id"),
        (replaced("id", pa.array(["a", None, "c", "d", "e"])), "column id"),
        (replaced("id", pa.array(["a", "", "c", "d", "e"])), "column id"),
        (replaced("key", pa.array([1] * 5, pa.uint64())), "column key"),
        (replaced("key", pa.array([1] * 5, pa.int64())), "column key"),
        (replaced("time", pa.array([1] * 5, pa.timestamp("us"))), "column time"),
        (replaced("time", pa.array([1, 2, 3, 4, -5], TIME)), "column time"),
        (replaced("time", pa.array([1, 2, 3, 4, 2**62], TIME)), "column time"),
        (replaced("prediction", pa.array([None, 1.0, 1, 1, 1])), "column prediction"),
        (replaced("prediction", pa.array([1.0, np.nan, 1, 1, 1])), "column prediction"),
        (replaced("prediction", pa.array([1.0, np.inf, 1, 1, 1])), "column prediction"),
        (replaced("score", pa.array([0.5, 0.5, 0.5, 0.5, 1.1])), "column score"),
        (replaced("score", pa.array([0.5, 0.5, 0.5, 0.5, -np.inf])), "column score"),
        (lambda b: b.slice(0, 0), "value"),
    ],
)
def test_wrong_columns_are_told_by_name(
    change: Callable[[pa.RecordBatch], pa.RecordBatch], field: str
) -> None:
    sent = predictions()
    with pytest.raises(ContractError) as caught:
        decode(encode_columns(change(sent.columns)), headers_of(sent))
    assert caught.value.field == field


def test_a_score_a_rounding_error_above_one_passes() -> None:
    sent = predictions()
    columns = replaced("score", pa.array(np.full(5, np.float32(1) + np.finfo(np.float32).eps, np.float64)))
    assert decode(encode_columns(columns(sent.columns)), headers_of(sent)).rows == 5


def test_labels_take_no_features() -> None:
    sent = labels()
    columns = sent.columns.append_column("f.x", pa.array([1.0, 2.0, 3.0]))
    with pytest.raises(ContractError, match=r"f\.x"):
        decode(encode_columns(columns), headers_of(sent))


def test_one_record_is_one_batch() -> None:
    sent = predictions()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, sent.columns.schema) as writer:
        writer.write_batch(sent.columns)
        writer.write_batch(sent.columns)
    with pytest.raises(ContractError, match="2 record batches"):
        decode(sink.getvalue().to_pybytes(), headers_of(sent))


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff" * 64])
def test_what_is_no_arrow_is_refused(value: bytes | None) -> None:
    with pytest.raises(ContractError) as caught:
        decode(value, headers_of(predictions()))
    assert caught.value.field == "value"


def test_errors_survive_pickling_and_shorten_what_was_found() -> None:
    error = ContractError("id", "x" * 1_000, "less")
    assert len(error.found) < 200
    assert str(error).startswith("id: found xxx")
