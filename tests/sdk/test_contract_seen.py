"""What the decoder sees in place is what Arrow reads, and a batch made of another one does not inherit it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
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

NAMES = ("a", "b", "c")


def batch_of(rows: int, seed: int = 1, width: int = 3, **more: object) -> PredictionBatch:
    rng = np.random.default_rng(seed)
    return PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=seed,
        ids=[f"id-{number}" * (1 + number % width) for number in range(rows)],
        times_us=rng.integers(0, 10**9, rows),
        predictions=rng.integers(0, 2, rows).astype(np.float64),
        scores=rng.random(rows),
        features={name: rng.standard_normal(rows) for name in NAMES},
        **more,  # pyright: ignore[reportArgumentType]
    )


def decoded(batch: PredictionBatch) -> PredictionBatch:
    found = decode(encode_predictions(batch), headers_of(batch))
    assert isinstance(found, PredictionBatch)
    return found


def with_features(batch: PredictionBatch, *columns: pa.Array) -> PredictionBatch:
    names = [f"f.{name}" for name in NAMES]
    kept = [name for name in batch.columns.schema.names if not name.startswith("f.")]
    arrays = [batch.columns.column(name) for name in kept] + list(columns)
    fields = [batch.columns.schema.field(name) for name in kept]
    fields += [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)]
    return replace(batch, columns=pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 70), seed=st.integers(0, 9), width=st.integers(1, 5))
def test_views_in_place_are_the_columns_that_arrow_reads(rows: int, seed: int, width: int) -> None:
    found = decoded(batch_of(rows, seed, width))
    plain = PredictionBatch(columns=found.columns, model="m", version="1", producer="p", sequence=seed)
    assert {"keys", "times_us", "outcomes", "scores", "id_ends"} <= vars(found).keys()
    for name in ("rows", "keys", "times_us", "predictions", "scores", "id_ends", "span_us", "feature_names"):
        assert np.array_equal(getattr(found, name), getattr(plain, name)), name
    assert found.feature_matrix is not None
    assert plain.feature_matrix is None
    for row, name in zip(found.feature_matrix, NAMES, strict=True):
        assert np.array_equal(row[:rows], plain.features[name])


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 65])
def test_single_precision_columns_are_padded_and_still_seen(rows: int) -> None:
    values = np.random.default_rng(rows).standard_normal((3, rows)).astype(np.float32)
    found = decoded(with_features(batch_of(rows), *(pa.array(row) for row in values)))
    assert found.feature_matrix is not None
    assert found.feature_matrix.dtype == np.float32
    assert np.array_equal(found.feature_matrix[:, :rows], values)


WHOLE, HOLES = pa.array(np.arange(19.0)), pa.array([1.0, None, 3.0, *[None] * 6, *range(10)], pa.float64())
SINGLE, SINGLE_HOLES = (column.cast(pa.float32()) for column in (WHOLE, HOLES))
INTEGERS, NOTHING = pa.array([None, *range(18)], pa.int64()), pa.nulls(19, pa.float64())
FLAGS, TEXTS = pa.array([True, None] * 9 + [False]), pa.array(["x", None, "z"] * 6 + ["x"])


@pytest.mark.parametrize(
    "columns",
    [
        (WHOLE, HOLES, WHOLE),
        (HOLES, NOTHING, INTEGERS),
        (WHOLE, SINGLE, WHOLE),
        (SINGLE_HOLES, SINGLE, SINGLE_HOLES),
        (NOTHING, NOTHING, NOTHING),
        (INTEGERS, INTEGERS, INTEGERS),
    ],
)
def test_what_lacks_something_or_is_mixed_is_copied(columns: tuple[pa.Array, ...]) -> None:
    found = decoded(with_features(batch_of(19), *columns))
    single = all(column.type == pa.float32() for column in columns)
    assert found.feature_matrix is not None
    assert found.feature_matrix.dtype == (np.float32 if single else np.float64)
    for row, name in zip(found.feature_matrix, NAMES, strict=True):
        assert np.array_equal(row, found.features[name], equal_nan=True)


@pytest.mark.parametrize("other", [FLAGS, TEXTS])
def test_what_is_no_column_of_numbers_is_left_to_arrow(other: pa.Array) -> None:
    found = decoded(with_features(batch_of(19), WHOLE, other, WHOLE))
    assert found.feature_matrix is None
    assert len(found.features["b"]) == 19


def test_outcomes_and_scores_that_are_missing_are_read_by_arrow() -> None:
    lacking = decoded(
        PredictionBatch.of(
            model="m",
            version="1",
            producer="p",
            sequence=0,
            ids=["a", "b"],
            times_us=[1, 2],
            predictions=[np.nan, 1.0],
            statuses=["timeout", None],
        )
    )
    assert "outcomes" not in vars(lacking)
    assert np.array_equal(lacking.predictions, [np.nan, 1.0], equal_nan=True)
    assert np.isnan(lacking.scores).all()


def test_a_batch_made_of_another_one_reads_its_own_columns() -> None:
    found = decoded(batch_of(6))
    part = replace(found, columns=found.columns.slice(2, 3))
    assert part.rows == 3
    assert part.feature_matrix is None
    assert np.array_equal(part.keys, found.keys[2:5])
    assert np.array_equal(part.times_us, found.times_us[2:5])
    assert np.array_equal(np.diff(part.id_ends), np.diff(found.id_ends)[2:5])
    again = decode(encode_columns(part.columns), headers_of(part))
    assert np.array_equal(again.keys, part.keys)


def test_labels_are_seen_too() -> None:
    batch = LabelBatch.of(
        model="m", producer="p", sequence=0, ids=["a", "bc"], times_us=[5, 3], values=[0.0, 1.0]
    )
    found = decode(encode_labels(batch), headers_of(batch))
    assert isinstance(found, LabelBatch)
    assert {"keys", "times_us", "outcomes"} <= vars(found).keys()
    assert "scores" not in vars(found)
    assert found.values.tolist() == [0.0, 1.0]
    assert found.span_us == (3, 5)


DAMAGEABLE = (
    with_features(batch_of(19), WHOLE, HOLES, SINGLE),
    batch_of(19),
    with_features(batch_of(19), *[SINGLE] * 3),
)


@settings(max_examples=400, deadline=None)
@given(
    which=st.integers(0, 2),
    changes=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_whatever_was_damaged_both_ways_of_reading_agree(which: int, changes: list[tuple[int, int]]) -> None:
    value = bytearray(encode_predictions(DAMAGEABLE[which]))
    for place, byte in changes:
        value[place % len(value)] = byte
    try:
        found = decode(bytes(value), headers_of(DAMAGEABLE[which]))
    except ContractError:
        return
    assert isinstance(found, PredictionBatch)
    plain = replace(found)
    for name in ("rows", "keys", "times_us", "predictions", "scores", "id_ends"):
        assert np.array_equal(getattr(found, name), getattr(plain, name), equal_nan=True), name
    if found.feature_matrix is not None:
        for row, column in zip(found.feature_matrix, plain.compact_features.values(), strict=True):
            assert np.array_equal(row[: found.rows], column, equal_nan=True)
