"""Version 2 of the contract: classes, segments, traces, embeddings, failed requests; and what is too much."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from homeostat.contract import (
    MAX_VALUE_BYTES,
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
    encode_columns,
    encode_labels,
    encode_predictions,
    headers_of,
)
from homeostat.contract_checks import check_written_out
from homeostat.contract_frames import MAX_COLUMNS, check_schema, check_stream, frame_of
from homeostat.contract_layout import layout_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
NAN = np.nan


def multiclass() -> PredictionBatch:
    return PredictionBatch.of(
        model="pets",
        version="2",
        producer="p",
        sequence=3,
        ids=["a", "b", "c", "d"],
        times_us=[1, 2, 3, 4],
        predictions=["cat", None, "dog", "cat"],
        scores=[0.9, NAN, 0.8, 0.7],
        statuses=["ok", "timeout", None, "ok"],
        class_scores=[[0.9, 0.1], [NAN, NAN], [0.2, 0.8], [0.7, 0.3]],
        segments={"region": ["eu", None, "us", "eu"], "shop": ["1", "1", "1", "1"]},
        traces=[TRACE, None, None, TRACE],
        features={"age": [1.0, NAN, 3.0, 4.0], "picture": [[1, 2, 3], [NAN] * 3, [4, 5, 6], [7, 8, 9]]},
        schema="rev-1",
    )


def read(batch: PredictionBatch) -> PredictionBatch:
    found = decode(encode_predictions(batch), headers_of(batch))
    assert isinstance(found, PredictionBatch)
    return found


def with_column(name: str, column: pa.Array) -> PredictionBatch:
    rows = len(column)
    plain = PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=1,
        ids=[str(i) for i in range(rows)],
        times_us=np.arange(rows),
        predictions=np.zeros(rows),
    )
    columns = plain.columns.append_column(name, column)
    return PredictionBatch(columns=columns, model="m", version="1", producer="p", sequence=1)


def refused(value: bytes, batch: PredictionBatch | LabelBatch) -> ContractError:
    with pytest.raises(ContractError) as caught:
        decode(value, headers_of(batch))
    return caught.value


def test_a_batch_of_classes_segments_traces_and_embeddings_comes_back() -> None:
    found = read(multiclass())
    assert found.schema == "rev-1"
    assert found.is_text
    assert np.isnan(found.predictions).all()
    names, codes = found.prediction_classes()
    assert (names, codes.tolist()) == (["cat", "dog"], [0, -1, 1, 0])
    assert found.class_scores is not None
    np.testing.assert_array_equal(found.class_scores, [[0.9, 0.1], [NAN, NAN], [0.2, 0.8], [0.7, 0.3]])
    assert found.segment_names == ("region", "shop")
    assert found.segments["region"].tolist() == ["eu", None, "us", "eu"]
    values, codes = found.segment_codes("region")
    assert (values, codes.tolist()) == (["eu", "us"], [0, -1, 1, 0])
    assert found.traces is not None
    assert found.traces.tolist() == [TRACE, None, None, TRACE]
    assert found.feature_names == ("age", "picture")
    assert found.features["picture"].dtype == np.float32
    np.testing.assert_array_equal(found.features["picture"], [[1, 2, 3], [NAN] * 3, [4, 5, 6], [7, 8, 9]])


def test_labels_may_be_names_of_classes() -> None:
    sent = LabelBatch.of(
        model="pets", producer="p", sequence=0, ids=["a", "b"], times_us=[1, 2], values=["dog", "cat"]
    )
    found = decode(encode_labels(sent), headers_of(sent))
    assert isinstance(found, LabelBatch)
    assert found.is_text
    assert np.isnan(found.values).all()
    names, codes = found.value_classes()
    assert (names, codes.tolist()) == (["dog", "cat"], [0, 1])


def test_numbers_have_no_class_names() -> None:
    found = read(with_column("f.x", pa.array([1.0, 2.0])))
    assert not found.is_text
    names, codes = found.prediction_classes()
    assert (names, codes.tolist()) == ([], [-1, -1])
    assert (found.class_scores, found.traces, found.segments) == (None, None, {})
    with pytest.raises(KeyError, match="no segment 'region'"):
        found.segment_codes("region")


def test_a_failed_request_has_a_status_and_no_prediction() -> None:
    sent = PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=1,
        ids=["a", "b"],
        times_us=[1, 2],
        predictions=[1.0, NAN],
        statuses=["ok", "timeout"],
    )
    np.testing.assert_array_equal(read(sent).predictions, [1.0, NAN])
    headers = {**dict(headers_of(sent)), "contract": b"1"}
    with pytest.raises(ContractError, match="column prediction: found 1 nulls"):
        decode(encode_predictions(sent), headers)


@pytest.mark.parametrize("texts", [[None, "dog"], pa.array([None, "dog"]).dictionary_encode()])
def test_a_row_without_prediction_and_status_is_refused(texts: object) -> None:
    plain = with_column("f.x", pa.array([1.0, 2.0])).columns
    column = texts if isinstance(texts, pa.Array) else pa.array(texts)
    columns = plain.set_column(3, "prediction", column)
    sent = with_column("f.x", pa.array([1.0, 2.0]))
    assert refused(encode_columns(columns), sent).expected == "a prediction or a status in every row"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([True, None, False]), [1.0, NAN, 0.0]),
        (pa.array([[1.0, 2.0], None, [NAN, 4.0]], pa.list_(pa.float64(), 2)), [[1, 2], [NAN, NAN], [NAN, 4]]),
        (pa.array([[1.0], [None], [3.0]], pa.list_(pa.float32(), 1)), [[1], [NAN], [3]]),
        (pa.array([[9.0], [1.0], [None], [3.0]], pa.list_(pa.float32(), 1)).slice(1), [[1], [NAN], [3]]),
    ],
)
def test_flags_and_embeddings_are_read_as_numbers(column: pa.Array, expected: object) -> None:
    np.testing.assert_array_equal(read(with_column("f.x", column)).features["x"], expected)


def test_a_compact_feature_keeps_single_precision_without_a_copy() -> None:
    found = read(with_column("f.x", pa.array([1.5, 2.5], pa.float32())))
    assert found.compact_features["x"].dtype == np.float32
    assert found.features["x"].dtype == np.float64
    assert not found.compact_features["x"].flags.owndata


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b", "a"]),
        pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 2], pa.int8()), ["a", "b", "a"]),
        pa.DictionaryArray.from_arrays(pa.array([0, 3, 1, 2], pa.uint16()), ["a", "b", "a", None]),
        pa.array(["x", "a", None, "b", "a"]).dictionary_encode().slice(1),
    ],
)
def test_codes_of_texts_however_they_travel(column: pa.Array) -> None:
    found = read(with_column("s.t", column))
    values, codes = found.segment_codes("t")
    assert len(set(values)) == len(values)
    assert [values[code] if code >= 0 else None for code in codes] == ["a", None, "b", "a"]
    assert found.segments["t"].tolist() == ["a", None, "b", "a"]


@pytest.mark.parametrize(
    ("name", "column", "field"),
    [
        ("scores", pa.array([[0.5], [0.5]], pa.list_(pa.float64(), 1)), "column scores"),
        ("scores", pa.array([[0.5, 1.5], [0.5, 0.5]], pa.list_(pa.float64(), 2)), "column scores"),
        ("scores", pa.array([0.5, 0.5]), "column scores"),
        ("scores", pa.array([[1.0] * 1025] * 2, pa.list_(pa.float32(), 1025)), "column scores"),
        ("trace", pa.array([1, 2]), "column trace"),
        ("s.region", pa.array([1.0, 2.0]), "column s.region"),
        ("s.", pa.array(["a", "b"]), "column s."),
        ("f." + "x" * 256, pa.array([1.0, 2.0]), "column f." + "x" * 256),
        ("f.e", pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "column f.e"),
        ("f.e", pa.array([[], []], pa.list_(pa.float64(), 0)), "column f.e"),
        ("f.e", pa.array([[1.0] * 4097] * 2, pa.list_(pa.float32(), 4097)), "column f.e"),
        ("f.e", pa.array([{"a": 1, "b": 2}] * 2), "column f.e"),
        ("f.e", pa.array([[[1.0]]] * 2), "column f.e"),
    ],
)
def test_wrong_optional_columns_are_told_by_name(name: str, column: pa.Array, field: str) -> None:
    sent = with_column("f.x", column)
    columns = sent.columns.rename_columns([*sent.columns.schema.names[:-1], name])
    assert refused(encode_columns(columns), sent).field == field


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("s.region", pa.array(["a", "b"])),
        ("trace", pa.array([TRACE, TRACE])),
        ("scores", pa.array([[0.5, 0.5]] * 2, pa.list_(pa.float64(), 2))),
        ("f.flag", pa.array([True, False])),
        ("f.e", pa.array([[0.5]] * 2, pa.list_(pa.float32(), 1))),
    ],
)
def test_a_record_that_says_version_1_keeps_to_version_1(name: str, column: pa.Array) -> None:
    sent = with_column(name, column)
    value = encode_predictions(sent)
    assert decode(value, headers_of(sent)).rows == 2
    with pytest.raises(ContractError, match=f"found 1, with column {name}"):
        decode(value, {**dict(headers_of(sent)), "contract": b"1"})


def test_a_plain_batch_may_say_version_1() -> None:
    sent = with_column("f.x", pa.array([1.0, None]))
    assert decode(encode_predictions(sent), {**dict(headers_of(sent)), "contract": b"1"}).rows == 2


# What follows asks for much memory with few bytes.


def stream(
    write: Callable[[pa.ipc.RecordBatchStreamWriter], object], schema: pa.Schema, **options: object
) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        write(writer)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_compressed_body_is_refused_before_it_inflates(compression: str) -> None:
    sent = with_column("f.x", pa.array(np.zeros(50_000)))
    value = stream(lambda w: w.write_batch(sent.columns), sent.columns.schema, compression=compression)
    assert len(value) < len(encode_predictions(sent)) / 2
    assert "compressed" in refused(value, sent).found


def test_a_record_is_refused_by_its_size_first() -> None:
    sent = with_column("f.x", pa.array([1.0]))
    assert refused(bytes(MAX_VALUE_BYTES + 1), sent).expected == f"at most {MAX_VALUE_BYTES} bytes"


def test_a_dictionary_in_pieces_is_refused() -> None:
    first = with_column("f.x", pa.array(["a", "b"]).dictionary_encode())
    more = with_column("f.x", pa.array(["a", "b", "c"]).dictionary_encode())

    def write(writer: pa.ipc.RecordBatchStreamWriter) -> None:
        writer.write_batch(first.columns)
        writer.write_batch(more.columns)

    value = stream(write, first.columns.schema, emit_dictionary_deltas=True)
    assert "a dictionary" in refused(value, first).found
    assert "a dictionary" in refused(stream(write, first.columns.schema), first).found


def test_bytes_after_the_end_are_refused() -> None:
    sent = with_column("f.x", pa.array([1.0]))
    assert "after the end" in refused(encode_predictions(sent) + b"\0" * 8, sent).found


def test_columns_that_share_their_bytes_are_refused() -> None:
    sent = with_column("f.x", pa.array(np.arange(1_000.0)))
    value = bytearray(encode_predictions(sent))
    batch = frame_of(bytes(value)).batch
    for place in range(batch, batch + 600, 8):
        offset, length = struct.unpack_from("<qq", value, place)
        if length == 8_000 and offset > 0:
            struct.pack_into("<qq", value, place, 0, len(value) // 2)
    assert refused(bytes(value), sent).field == "value"


def test_a_long_text_in_every_row_is_refused_when_written_out_it_is_too_much() -> None:
    sent = with_column(
        "s.t", pa.DictionaryArray.from_arrays(pa.array(np.zeros(9_000, np.int8)), ["x" * 10_000])
    )
    error = refused(encode_predictions(sent), sent)
    assert error.field == "column s.t"
    assert "90000000 bytes when written out" in error.found
    small = with_column(
        "s.t", pa.DictionaryArray.from_arrays(pa.array(np.zeros(5_000, np.int8)), ["x" * 10_000])
    )
    layout = layout_of(small.columns.schema, labels=False)
    check_written_out(small.columns, layout)


@pytest.mark.parametrize("columns", [MAX_COLUMNS + 1, 20_000])
def test_too_many_columns_are_refused(columns: int) -> None:
    sent = with_column("f.x", pa.array([1.0]))
    schema = pa.schema([pa.field(f"f.{i}", pa.float64()) for i in range(columns)])
    assert refused(stream(lambda _: None, schema), sent).field in ("columns", "value")
    with pytest.raises(ContractError, match="at most 4096"):
        layout_of(schema, labels=False)


def test_much_metadata_is_refused() -> None:
    sent = with_column("f.x", pa.array([1.0]))
    noted = sent.columns.replace_schema_metadata({str(i): "x" for i in range(100)})
    assert "100 entries of metadata" in refused(encode_columns(noted), sent).found
    long = sent.columns.replace_schema_metadata({"pandas": "x" * 2**20})
    assert "bytes of metadata" in refused(encode_columns(long), sent).found
    few = sent.columns.replace_schema_metadata({"pandas": "x" * 10_000})
    assert decode(encode_columns(few), headers_of(sent)).rows == 1


def test_names_that_share_their_bytes_are_refused() -> None:
    """300 fields that are all one and the same table in the bytes, with a long name."""
    schema = pa.schema(
        [pa.field("f." + "x" * 200, pa.float64()), *(pa.field(f"f.{i}", pa.float64()) for i in range(300))]
    )
    message = bytearray(stream(lambda _: None, schema))
    stop = 8 + struct.unpack_from("<i", message, 4)[0]
    found = None
    for vector in range(8, stop - 4, 4):
        if struct.unpack_from("<I", message, vector)[0] == 301:
            found = vector
            break
    assert found is not None
    first = found + 4 + struct.unpack_from("<I", message, found + 4)[0]
    for i in range(301):
        struct.pack_into("<I", message, found + 4 + 4 * i, first - (found + 4 + 4 * i))
    check_schema(stream(lambda _: None, schema)[:stop])
    with pytest.raises(ContractError, match="share their bytes"):
        check_schema(bytes(message[:stop]))


def test_a_stream_of_several_batches_keeps_to_the_same_bounds() -> None:
    first = with_column("f.x", pa.array(["a", "b"]).dictionary_encode())
    other = with_column("f.x", pa.array(["c", "b"]).dictionary_encode())

    def write(writer: pa.ipc.RecordBatchStreamWriter) -> None:
        writer.write_batch(first.columns)
        writer.write_batch(other.columns)

    check_stream(stream(write, first.columns.schema), max_batches=2)
    with pytest.raises(ContractError, match="a dictionary that replaces another"):
        check_stream(stream(write, first.columns.schema), max_batches=1)
    plain = with_column("f.x", pa.array([1.0])).columns
    many = stream(lambda w: [w.write_batch(plain) for _ in range(9)], plain.schema)
    with pytest.raises(ContractError, match=r"3 record batches; expected 1 to 2 record batches"):
        check_stream(many, max_batches=2)
    with pytest.raises(ContractError, match="compressed"):
        check_stream(stream(write, first.columns.schema, compression="zstd"), max_batches=2)
    with pytest.raises(ContractError, match="after the end"):
        check_stream(encode_predictions(first) + b"\0" * 8, max_batches=2)
