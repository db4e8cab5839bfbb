"""Records that are told to be plain without Arrow: the answer is the one that Arrow and all checks would give."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat import contract
from homeostat.contract import (
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
    encode_labels,
    encode_predictions,
    headers_of,
)

ROWS = 11
Record = tuple[bytes, list[tuple[str, bytes]]]


def predictions(**more: object) -> Record:
    rng = np.random.default_rng(5)
    columns: dict[str, object] = {
        "ids": [f"id-{number}" for number in range(ROWS)],
        "times_us": rng.integers(0, 10**9, ROWS),
        "predictions": rng.integers(0, 2, ROWS).astype(np.float64),
        "scores": rng.random(ROWS),
        "features": {"a": rng.standard_normal(ROWS), "b": np.where(rng.random(ROWS) < 0.3, np.nan, 1.0)},
    }
    batch = PredictionBatch.of(
        model="m",
        version="1",
        producer="p",
        sequence=1,
        **(columns | more),  # pyright: ignore[reportArgumentType]
    )
    return encode_predictions(batch), headers_of(batch)


def labels() -> Record:
    ids = [f"id-{number}" for number in range(ROWS)]
    times_us, values = np.arange(ROWS), np.ones(ROWS)
    batch = LabelBatch.of(model="m", producer="p", sequence=1, ids=ids, times_us=times_us, values=values)
    return encode_labels(batch), headers_of(batch)


STATUSES = ["ok", None, "timeout", *["ok"] * (ROWS - 3)]
RECORDS = {
    "predictions": predictions(),
    "without scores": predictions(scores=None),
    "with holes in the scores": predictions(scores=np.where(np.arange(ROWS) == 3, np.nan, 0.5)),
    "with latencies and statuses": predictions(latencies_ms=np.arange(ROWS), statuses=STATUSES),
    "with traces": predictions(traces=[f"trace-{number}" for number in range(ROWS)]),
    "with segments": predictions(segments={"plan": ["gold"] * ROWS}),
    "labels": labels(),
}
PLAIN = {"predictions", "without scores", "with latencies and statuses", "with traces", "labels"}


def told(value: bytes, headers: list[tuple[str, bytes]]) -> object:
    """All that a batch says, or why it is refused."""
    try:
        batch = decode(value, headers)
    except ContractError as error:
        return error.field, str(error)
    views = [batch.rows, batch.keys.tolist(), batch.times_us.tolist(), batch.span_us, batch.id_ends.tolist()]
    views += [np.array(batch.outcomes).tobytes(), batch.ids, batch.columns.to_pydict()]
    if isinstance(batch, PredictionBatch):
        matrix = batch.feature_matrix
        views += [batch.version, batch.silent, np.array(batch.scores).tobytes()]
        views += [None if matrix is None else np.array(matrix[:, : batch.rows]).tobytes()]
    return repr((type(batch), batch.model, batch.producer, batch.sequence, batch.schema, views))


def without_shortcut(look: Callable[[], object]) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "plain_of", lambda *_: None)
        return look()


@pytest.mark.parametrize("name", RECORDS)
def test_the_second_record_of_a_kind_says_what_the_first_says(name: str) -> None:
    value, headers = RECORDS[name]
    first = without_shortcut(lambda: told(value, headers))
    assert told(value, headers) == first
    assert ("_read" in vars(decode(value, headers))) == (name in PLAIN)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(RECORDS)), st.data())
def test_damage_anywhere_is_told_as_arrow_tells_it(name: str, data: st.DataObject) -> None:
    value, headers = RECORDS[name]
    decode(value, headers)
    changed = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(changed)
    assert told(damaged, headers) == without_shortcut(lambda: told(damaged, headers))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"predictions": np.full(ROWS, np.inf)}, "column prediction"),
        ({"predictions": np.array([0.0, -np.inf, *[0.0] * (ROWS - 2)])}, "column prediction"),
        ({"times_us": np.full(ROWS, -1)}, "column time"),
        ({"times_us": np.full(ROWS, 10**18)}, "column time"),
        ({"scores": np.full(ROWS, 1.1)}, "column score"),
        ({"scores": np.array([-0.1, *[0.5] * (ROWS - 1)])}, "column score"),
        ({"ids": ["id-0", "", "id-22", *[f"id-{n}" for n in range(3, ROWS)]]}, "column id"),
    ],
)
def test_what_is_wrong_is_told_after_a_good_record_of_the_same_kind(
    more: dict[str, object], field: str
) -> None:
    decode(*RECORDS["predictions"])
    with pytest.raises(ContractError) as caught:
        decode(*predictions(**more))
    assert caught.value.field == field


def test_ids_beyond_ascii_are_read_by_arrow_and_checked() -> None:
    value, headers = predictions(ids=[f"é-{number}" for number in range(ROWS)])
    for _ in range(2):
        assert decode(value, headers).ids[3] == "é-3"
    broken = value.replace("é-3".encode(), b"\xff\xff-3")
    with pytest.raises(ContractError):
        decode(broken, headers)
