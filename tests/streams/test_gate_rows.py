"""The row parser: what is accepted, what is refused with which field, and that no bytes make it raise."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.gate.rows import MAX_ROW_BYTES, BadRow, LabelRow, PredictionRow, read_row, read_rows

PREDICTION: dict[str, Any] = {
    "kind": "prediction",
    "model": "churn",
    "version": "7",
    "id": "a-1",
    "time": "2026-11-21T10:00:00.25+02:00",
    "features": {"age": 41, "plan": "gold", "debt": None, "member": True, "face": [0.5, 1]},
    "prediction": 1,
    "score": 0.75,
    "latency_ms": 3.5,
    "status": "ok",
}
LABEL: dict[str, Any] = {"kind": "label", "model": "churn", "id": "a-1", "value": 0, "time": 1_790_000_000}


def _rows(value: bytes | None, kind: str | None = None) -> list[Any]:
    return [row for _, _, row in read_rows(value, kind)]


def _parse(*events: object) -> list[Any]:
    return _rows(json.dumps(list(events)).encode())


def test_an_event_an_array_and_lines_are_read() -> None:
    [row] = _rows(json.dumps(PREDICTION).encode())
    assert isinstance(row, PredictionRow)
    assert (row.model, row.version, row.id) == ("churn", "7", "a-1")
    assert row.features == PREDICTION["features"]
    assert _parse(PREDICTION, LABEL) == [
        row,
        LabelRow(model="churn", id="a-1", value=0.0, time=1_790_000_000),
    ]
    lines = "\n".join(json.dumps(event) for event in (PREDICTION, LABEL, {"kind": "label"})) + "\n"
    assert [type(one) for one in _rows(lines.encode())] == [PredictionRow, LabelRow, BadRow]
    assert (_rows(json.dumps(PREDICTION, indent=2).encode())) == [row]


def test_the_kind_can_come_from_outside() -> None:
    bare = {name: value for name, value in LABEL.items() if name != "kind"}
    found = _rows(json.dumps([bare, PREDICTION, bare | {"id": ""}]).encode(), "label")
    assert [
        isinstance(one, kind) for one, kind in zip(found, (LabelRow, PredictionRow, BadRow), strict=True)
    ] == [True] * 3
    assert found[2].label
    assert json.loads(found[2].original) == bare | {"id": ""}


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
        ({"prediction": ["yes"]}, "prediction"),
        ({"prediction": None, "status": None}, "prediction"),
        ({"features": [1, 2]}, "features"),
        ({"features": {"age": {"years": 1}}}, "features.age"),
        ({"features": {"face": [1, None]}}, "features.face"),
        ({"scores": ["high"]}, "scores[0]"),
        ({"segments": {"country": {}}}, "segments[...]"),
        ({"trace_id": 7}, "trace_id"),
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


@pytest.mark.parametrize(("kind", "missing"), [("prediction", "model"), ("label", "model"), (None, "kind")])
def test_an_empty_event_is_told_by_what_it_lacks(kind: str | None, missing: str) -> None:
    bad = read_row(b" {}", None, kind)
    assert isinstance(bad, BadRow)
    assert (bad.field, bad.reason) == (missing, f"Object missing required field `{missing}`")
    assert (bad.original, bad.label) == (b" {}", kind == "label")


def test_a_row_of_a_kind_that_the_record_says_is_read_where_it_stands() -> None:
    bare = {key: value for key, value in PREDICTION.items() if key != "kind"}
    good = read_row(json.dumps(bare).encode(), None, "prediction")
    assert isinstance(good, PredictionRow)
    broken = read_row(b'{"model": "churn",}', None, "prediction")
    assert isinstance(broken, BadRow)
    assert "(byte 18)" in broken.reason
    unheard = read_row(json.dumps(bare).encode(), None, "prophecy")
    assert isinstance(unheard, BadRow)
    assert unheard.field == "kind"


def test_an_id_may_be_as_long_as_one_of_the_sdk() -> None:
    good, bad = _parse(PREDICTION | {"id": "i" * 4_096}, PREDICTION | {"id": "i" * 4_097})
    assert isinstance(good, PredictionRow)
    assert isinstance(bad, BadRow)
    assert bad.field == "id"


def test_a_refused_label_counts_as_a_label() -> None:
    [bad] = _parse(LABEL | {"value": ["high"]})
    assert bad.label
    assert bad.model == "churn"


def test_one_nan_does_not_take_its_array_with_it() -> None:
    text = json.dumps([PREDICTION, PREDICTION | {"prediction": float("nan")}, LABEL])
    rows = _rows(text.encode())
    assert [type(row) for row in rows] == [PredictionRow, BadRow, LabelRow]
    assert rows[1].model == "churn"


@pytest.mark.parametrize(
    "value", [None, b"", b"  ", b"{", b"[1,", b"\xff\xfe", b"[" * 100_000, b"nothing", b"3"]
)
def test_what_is_no_event_is_one_bad_row(value: bytes | None) -> None:
    [bad] = _rows(value)
    assert isinstance(bad, BadRow)
    assert bad.model == "_unknown"
    assert bad.original == (value or b"")


def test_an_event_that_is_too_large_is_refused() -> None:
    [bad] = _parse(PREDICTION | {"status": "x" * MAX_ROW_BYTES})
    assert "bytes" in bad.reason
    assert bad.row == 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass")))
def test_no_bytes_make_it_raise(value: bytes) -> None:
    assert all(isinstance(row, BadRow) for row in _rows(value))
