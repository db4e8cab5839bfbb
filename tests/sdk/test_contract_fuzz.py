"""Whatever bytes and headers come, the decoder raises nothing but `ContractError`; what passes is sound."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import pickle
from contextlib import suppress

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.contract import (
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
    encode_columns,
    encode_labels,
    encode_predictions,
    headers_of,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def sample() -> PredictionBatch:
    return PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=5,
        ids=[f"id-{i}" for i in range(20)],
        times_us=np.arange(20),
        predictions=np.arange(20) % 2,
        scores=np.linspace(0, 1, 20),
        features={"x": np.arange(20.0), "c": np.array(["a", "b", None, "d"] * 5, dtype=object)},
    )


PREDICTIONS = sample()
LABELS = LabelBatch.of(model="m", producer="p", sequence=5, ids=["a", "b"], times_us=[1, 2], values=[0, 1])
VALUES = [
    (encode_predictions(PREDICTIONS), headers_of(PREDICTIONS)),
    (encode_labels(LABELS), headers_of(LABELS)),
]


def use(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with suppress(ContractError):
        batch = decode(value, headers)
        assert len(batch.ids) == len(batch.keys) == len(batch.times_us) == batch.rows
        if isinstance(batch, PredictionBatch):
            assert all(len(column) == batch.rows for column in batch.features.values())
            silent = np.isnan(batch.predictions)
            assert not np.isinf(batch.predictions).any()
            assert batch.is_text or all(status is not None for status in batch.statuses[silent])
            assert len(batch.scores) == len(batch.statuses) == len(batch.latencies_ms) == batch.rows
        else:
            assert batch.is_text or np.isfinite(batch.values).all()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([headers for _, headers in VALUES]))
def test_any_bytes(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    use(value, headers)


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(VALUES), st.data())
def test_flipped_and_cut_bytes(record: tuple[bytes, list[tuple[str, bytes]]], data: st.DataObject) -> None:
    value, headers = record
    changed = bytearray(value)
    places = st.integers(0, len(value) - 1)
    for place in data.draw(st.lists(places, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    stop = data.draw(st.one_of(st.just(len(value)), places))
    use(bytes(changed[:stop]), headers)


def test_every_cut() -> None:
    for value, headers in VALUES:
        for stop in range(0, len(value), 7):
            use(value[:stop], headers)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([name for name, _ in VALUES[0][1]]), st.binary(max_size=30))))
def test_any_headers(changes: list[tuple[str, bytes]]) -> None:
    value, headers = VALUES[0]
    use(value, [*headers, *changes])


COLUMN_TYPES = st.sampled_from(
    [pa.float64(), pa.float32(), pa.int64(), pa.string(), pa.bool_(), pa.binary(), pa.uint64(), pa.null()]
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PREDICTIONS.columns.schema.names), COLUMN_TYPES, st.booleans())
def test_schemas_that_lie(name: str, type: pa.DataType, append: bool) -> None:
    columns = PREDICTIONS.columns
    column = pa.nulls(columns.num_rows, type)
    if append:
        changed = columns.append_column(name, column)
    else:
        index = columns.schema.get_field_index(name)
        schema = columns.schema.set(index, pa.field(name, type))
        arrays = [column if i == index else old for i, old in enumerate(columns.columns)]
        changed = pa.RecordBatch.from_arrays(arrays, schema=schema)
    use(encode_columns(changed), headers_of(PREDICTIONS))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, st.integers(0, 2**50), NUMBERS, st.one_of(st.none(), TEXTS)), min_size=1),
    TEXTS,
    TEXTS,
)
def test_any_good_batch_comes_back(
    rows: list[tuple[str, int, float, str | None]], model: str, feature: str
) -> None:
    ids, times_us, numbers, texts = (list(column) for column in zip(*rows, strict=True))
    sent = PredictionBatch.of(
        model=model,
        version="1",
        producer="p",
        sequence=0,
        ids=ids,
        times_us=times_us,
        predictions=np.zeros(len(ids)),
        features={feature: np.array(numbers), feature + "c": np.array(texts, dtype=object)},
    )
    read = decode(encode_predictions(sent), headers_of(sent))
    assert isinstance(read, PredictionBatch)
    assert (read.model, read.ids, read.times_us.tolist()) == (model, ids, times_us)
    np.testing.assert_array_equal(read.features[feature], np.array(numbers))
    if any(text is not None for text in texts):
        assert read.features[feature + "c"].tolist() == texts


UNIT = st.floats(0, 1, width=32)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), TEXTS), st.one_of(st.none(), TEXTS), st.lists(UNIT, min_size=3, max_size=3)
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(0, 2))
def test_any_good_batch_of_classes_comes_back(
    rows: list[tuple[str | None, str | None, list[float]]], first: int
) -> None:
    names, segments, vectors = (list(column) for column in zip(*rows, strict=True))
    sent = PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=0,
        ids=[str(i) for i in range(len(rows))],
        times_us=np.arange(len(rows)),
        predictions=names,
        statuses=["failed" if name is None else None for name in names],
        class_scores=vectors,
        segments={"s": segments},
        features={"e": np.array(vectors, dtype=np.float32)},
    )
    read = decode(encode_columns(sent.columns.slice(min(first, len(rows) - 1))), headers_of(sent))
    assert isinstance(read, PredictionBatch)
    start = min(first, len(rows) - 1)
    found, codes = read.prediction_classes()
    if read.is_text:
        assert [found[code] if code >= 0 else None for code in codes] == names[start:]
    values, codes = read.segment_codes("s")
    assert [values[code] if code >= 0 else None for code in codes] == segments[start:]
    assert read.segments["s"].tolist() == segments[start:]
    assert read.class_scores is not None
    assert read.class_scores.tolist() == vectors[start:]
    assert read.features["e"].tolist() == vectors[start:]


def test_a_contract_error_can_cross_processes() -> None:
    error = ContractError("id", "x", "y")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
