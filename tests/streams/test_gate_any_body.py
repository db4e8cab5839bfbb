"""Whatever a logger sends, the gate raises nothing but its own errors and loses no exchange."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.contract import PredictionBatch
from streams.gate.payloads import PayloadError, rows_of
from tests.streams.exchange_parts import (
    TABLE_ROW,
    half,
    joined,
)
from tests.streams.gate_parts import batches, record, written

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


_bodies = st.one_of(
    _json,
    st.builds(
        lambda name, value: {name: value},
        st.sampled_from(
            ["inputs", "outputs", "instances", "predictions", "data", "dataframe_records", "dataframe_split"]
        ),
        _json
        | st.lists(
            st.fixed_dictionaries({"name": _json, "shape": _json, "datatype": _json, "data": _json}),
            max_size=2,
        ),
    ),
)


@settings(max_examples=200, deadline=None)
@given(_bodies)
def test_no_body_makes_the_reader_raise_anything_else(body: object) -> None:
    try:
        assert isinstance(rows_of(body), list)
    except PayloadError:
        return


@settings(max_examples=150, deadline=None)
@given(_bodies, _bodies, st.dictionaries(st.sampled_from([*TABLE_ROW, "request_id"]), _json, max_size=3))
def test_no_exchange_is_lost(request: object, response: object, change: dict[str, Any]) -> None:
    row = TABLE_ROW | {"request": request, "response": response} | change
    capture = {"captureData": {"endpointInput": request, "endpointOutput": response}, "eventMetadata": change}
    output = joined(half("request", request), half("response", response))
    assert output.batches or output.letters
    for event in (row, capture):
        output = written(record(json.dumps(event).encode()))
        assert output.batches or output.letters
        assert all(isinstance(batch, PredictionBatch) for batch in batches(output))
        assert not any("the gate failed" in letter.reason for letter in output.letters)
