"""The trace that an event belongs to, from wherever it comes to the archive (W3C trace context)."""

import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from homeostat.contract import CONTENT_TYPE, PredictionBatch
from homeostat.tracing import trace_of
from streams.archive.read import ArchiveReader
from streams.store import LocalStore
from tests.sdk.test_sdk_middleware import Logged, app_with, ask
from tests.serving.test_ingest_http import Topic, _app  # pyright: ignore[reportPrivateUsage]
from tests.streams.archive_parts import predictions as archived
from tests.streams.archive_parts import write
from tests.streams.gate_parts import json_record, predictions, record, written
from tests.streams.test_gate_rows import LABEL, PREDICTION

TRACE, OWN = "0af7651916cd43dd8448eb211c80319c", "ab" * 16
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
UNTRACED: dict[str, Any] = PREDICTION | {"trace_id": None}


@pytest.mark.parametrize("header", [PARENT, f" {PARENT} ", f"cc-{TRACE}-b7ad6b7169203331-01-what-comes"])
def test_the_trace_is_read_from_the_header(header: str) -> None:
    assert trace_of(header) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331",
        "🚀" * 55,
    ],
)
def test_what_is_no_trace_context_is_left_out(header: str) -> None:
    assert trace_of(header) is None


def sent_in_trace(value: Any, **more: Any) -> PredictionBatch:
    return predictions(written(json_record(value, traceparent=PARENT, **more)))


@pytest.mark.parametrize("more", [{}, {"kind": "prediction"}])
def test_rows_at_the_gate_belong_to_the_trace_of_their_record(more: dict[str, str]) -> None:
    rows = [UNTRACED | {"id": str(i)} for i in range(3)] + [PREDICTION | {"id": "own", "trace_id": OWN}]
    assert _traces(sent_in_trace(UNTRACED, **more)) == [TRACE]
    assert _traces(sent_in_trace(rows, **more)) == [TRACE] * 3 + [OWN]
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    assert _traces(predictions(written(record(lines, traceparent=PARENT)))) == [TRACE] * 3 + [OWN]
    assert predictions(written(json_record(UNTRACED, traceparent="nonsense"))).traces is None


def test_a_refused_row_keeps_its_trace_and_labels_have_none() -> None:
    [letter] = written(json_record(UNTRACED | {"score": 7}, traceparent=PARENT)).letters
    assert ("traceparent", PARENT.encode()) in letter.headers
    assert written(json_record(LABEL, traceparent=PARENT)).letters == []


def test_rows_of_an_arrow_table_too() -> None:
    columns = {"id": ["a", "b"], "time": [1_790_000_000] * 2, "prediction": [1.0, 0.0], "trace": [None, OWN]}
    table = pa.table(columns).replace_schema_metadata({"model": "churn", "version": "7"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    value = sink.getvalue().to_pybytes()
    output = written(record(value, content_type=CONTENT_TYPE, traceparent=PARENT))
    assert _traces(predictions(output)) == [TRACE, OWN]


async def test_a_request_hands_its_trace_on() -> None:
    topic = Topic()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(_app(topic)), base_url="http://api") as client:
        for header in (PARENT, "nonsense"):
            await client.post("/v1/events", json=UNTRACED, headers={"traceparent": header})
    assert [headers.get("traceparent") for _, _, headers in topic.records] == [PARENT.encode(), None]


async def test_the_middleware_logs_the_trace_of_the_request() -> None:
    log = Logged()
    body = {"request_id": "r-1", "features": {"age": 41}}
    for header in (PARENT, "nonsense"):
        await ask(app_with(log), "/predict", json=body, headers={"traceparent": header})
    assert [event["trace_id"] for _, event in log.events] == [TRACE, None]


def test_the_archive_keeps_the_trace_of_a_record_for_rows_that_have_none(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "archive")
    write(
        store,
        [
            archived(0, 2, traceparent=PARENT),
            archived(2, 2, traces=[OWN, None], traceparent=PARENT),
            archived(4, 1, traces=[OWN]),
            archived(5, 1),
            archived(6, 1, traceparent="nonsense"),
        ],
    )
    found = ArchiveReader(store).predictions("churn").column("trace").to_pylist()
    assert found == [TRACE, TRACE, OWN, TRACE, OWN, None, None]


def _traces(batch: PredictionBatch) -> list[str | None]:
    assert batch.traces is not None
    return batch.traces.tolist()
