"""The row parser: what is accepted, what is refused with which field, and that no bytes make it raise."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.contract import decode
from streams.gate_batches import Grouping, to_records
from streams.gate_rows import MAX_ROW_BYTES, BadRow, LabelRow, PredictionRow, parse_record

PREDICTION: dict[str, Any] = {
    "kind": "prediction",
    "model": "churn",
    "version": "7",
    "id": "a-1",
    "time": "2026-11-21T10:00:00.25+02:00",
    "features": {"age": 41, "plan": "gold", "debt": None, "member": True},
    "prediction": 1,
    "score": 0.75,
    "latency_ms": 3.5,
    "status": "ok",
}
LABEL: dict[str, Any] = {"kind": "label", "model": "churn", "id": "a-1", "value": 0, "time": 1_790_000_000}


def _parse(*events: object) -> list[Any]:
    return list(parse_record(json.dumps(list(events)).encode()))


def test_an_event_and_an_array_are_read() -> None:
    [row] = parse_record(json.dumps(PREDICTION).encode())
    assert row == PredictionRow(
        model="churn",
        version="7",
        id="a-1",
        time_us=1_795_248_000_250_000,
        features={"age": 41.0, "plan": "gold", "debt": None, "member": 1.0},
        prediction=1.0,
        score=0.75,
        latency_ms=3.5,
        status="ok",
    )
    assert _parse(PREDICTION, LABEL) == [row, LabelRow("churn", "a-1", 1_790_000_000_000_000, 0.0)]


@pytest.mark.parametrize(
    ("time", "time_us"),
    [
        (1_790_000_000, 1_790_000_000_000_000),
        (1_790_000_000.5, 1_790_000_000_500_000),
        (1_790_000_000_123, 1_790_000_000_123_000),
        ("2026-09-21T14:13:20Z", 1_790_000_000_000_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times_are_read_as_seconds_milliseconds_or_rfc_3339(time: object, time_us: int) -> None:
    [row] = _parse(LABEL | {"time": time})
    assert row.time_us == time_us


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "prophecy"}, "kind"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": "m" * 256}, "model"),
        ({"version": None}, "version"),
        ({"id": ""}, "id"),
        ({"id": {"a": 1}}, "id"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-11-21T10:00:00"}, "time"),
        ({"time": -1}, "time"),
        ({"time": 10**30}, "time"),
        ({"prediction": "yes"}, "prediction"),
        ({"prediction": None}, "prediction"),
        ({"score": 1.1}, "score"),
        ({"score": -0.1}, "score"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"features": [1, 2]}, "features"),
        ({"features": {"age": [1]}}, "features.age"),
        ({"features": {"": 1}}, "features"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], field: str) -> None:
    good, bad, last = _parse(PREDICTION, PREDICTION | change, LABEL)
    assert isinstance(good, PredictionRow)
    assert isinstance(last, LabelRow)
    assert isinstance(bad, BadRow)
    assert (bad.field, bad.row) == (field, 1)
    assert json.loads(bad.original) == PREDICTION | change
    assert bad.model == ("_unknown" if field == "model" else "churn")


@pytest.mark.parametrize("name", ["model", "version", "id", "time", "features", "prediction", "kind"])
def test_a_missing_field_is_named(name: str) -> None:
    [bad] = _parse({key: value for key, value in PREDICTION.items() if key != name})
    assert isinstance(bad, BadRow)
    assert bad.field == name


def test_a_refused_label_counts_as_a_label() -> None:
    [bad] = _parse(LABEL | {"value": "high"})
    assert bad.label
    assert bad.model == "churn"


def test_one_nan_does_not_take_its_array_with_it() -> None:
    text = json.dumps([PREDICTION, PREDICTION | {"prediction": float("nan")}, LABEL])
    rows = list(parse_record(text.encode()))
    assert [type(row) for row in rows] == [PredictionRow, BadRow, LabelRow]
    assert rows[1].model == "churn"


@pytest.mark.parametrize(
    "value", [None, b"", b"  ", b"{", b"[1,", b"\xff\xfe", b"[" * 100_000, b"nothing", b"3"]
)
def test_what_is_no_event_is_one_bad_row(value: bytes | None) -> None:
    [bad] = parse_record(value)
    assert isinstance(bad, BadRow)
    assert bad.model == "_unknown"
    assert bad.original == (value or b"")


def test_an_event_that_is_too_large_is_refused() -> None:
    [bad] = _parse(PREDICTION | {"status": "x" * MAX_ROW_BYTES})
    assert "bytes" in bad.reason
    assert bad.row == 0


def test_half_a_surrogate_pair_is_refused() -> None:
    text = json.dumps([PREDICTION | {"id": "\ud800"}, PREDICTION | {"features": {"\udc00": 1.0}}, LABEL])
    assert [type(row) for row in parse_record(text.encode())] == [BadRow, BadRow, LabelRow]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_fields = st.sampled_from([*PREDICTION, *LABEL])
_events = st.builds(
    lambda base, changes: base | changes,
    st.sampled_from([PREDICTION, LABEL]),
    st.dictionaries(_fields, _json, max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_events | _json, max_size=5))
def test_every_row_is_accepted_or_refused_and_the_accepted_can_be_sent(events: list[Any]) -> None:
    rows = list(parse_record(json.dumps(events).encode()))
    assert len(rows) == len(events)
    grouping = Grouping(4)
    good = [row for row in rows if not isinstance(row, BadRow)]
    for row in good:
        grouping.add(row)
    batches = [decode(batch.value, batch.headers) for batch in to_records(grouping, producer="g", offset=5)]
    assert sorted(name for batch in batches for name in batch.ids) == sorted(row.id for row in good)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass")))
def test_no_bytes_make_it_raise(value: bytes) -> None:
    assert all(isinstance(row, BadRow) for row in parse_record(value))


def test_a_feature_of_another_type_does_not_turn_numbers_into_text() -> None:
    grouping = Grouping(1)
    values: list[object] = [1.0, "one", None, 2.0, "two"]
    for number, value in enumerate(values):
        [row] = _parse(PREDICTION | {"id": number, "features": {"x": value}})
        grouping.add(row)
    records = to_records(grouping, producer="g", offset=9)
    batches = [decode(record.value, record.headers) for record in records]
    assert [batch.ids for batch in batches] == [["0", "2", "3"], ["1", "4"]]
    assert [batch.sequence for batch in batches] == [9 << 20, (9 << 20) + 1]


def test_batches_are_cut_to_fit_a_record() -> None:
    grouping = Grouping(1)
    for number in range(12):
        [row] = _parse(PREDICTION | {"id": number, "status": "x" * 200_000})
        grouping.add(row)
    records = to_records(grouping, producer="g", offset=1)
    assert all(len(record.value) <= 900_000 for record in records)
    ids = [name for record in records for name in decode(record.value, record.headers).ids]
    assert ids == [str(number) for number in range(12)]
