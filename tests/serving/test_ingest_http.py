"""Events over HTTP: what is taken, what is refused with which status, and that memory stays bounded."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI

from homeostat.contract import CONTENT_TYPE
from serving.api.problems import MEDIA_TYPE, add_problems
from serving.api.protection import add_protection
from serving.ingest import ingest_router
from serving.ingest_body import IngestLimits
from streams.control.configuration import Configuration
from streams.control.schemas import FeatureSchema, build_schema
from streams.gate.intake import Intake
from streams.gate.mapping import IngestMap
from streams.gate.rows import MAX_ROWS
from streams.topics import INGEST
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import Faults, ManualClock
from tests.streams.exchange_parts import TABLE_ROW, V2_REQUEST, kserve
from tests.streams.test_gate_rows import LABEL, PREDICTION

LIMITS = IngestLimits(body_bytes=200_000, inflated_bytes=2_500_000, in_flight_bytes=3_000_000)


class Topic:
    """Takes records as a broker would; `hold` makes it wait before it confirms."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes, dict[str, bytes]]] = []
        self.hold: asyncio.Event | None = None

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        assert topic == INGEST
        if self.hold is not None:
            await self.hold.wait()
        self.records.append((key, value or b"", dict(headers or {})))


@dataclass
class Guarded:
    """Nobody has a token of their own."""

    token: str | None
    clock: ManualClock = field(default_factory=ManualClock)
    journal: FakeJournal = field(default_factory=lambda: FakeJournal(ManualClock(), Faults()))


def _app(topic: Topic, limits: IngestLimits = LIMITS, token: str | None = None) -> FastAPI:
    app = FastAPI()
    add_protection(app, Guarded(token))  # type: ignore[arg-type]
    add_problems(app)
    app.include_router(ingest_router(Intake(topic.publish, IngestMap()), limits))
    return app


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
async def client(topic: Topic) -> AsyncGenerator[httpx.AsyncClient, None]:
    transport = httpx.ASGITransport(_app(topic))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as found:
        yield found


def _event(number: int, **change: Any) -> dict[str, Any]:
    return PREDICTION | {"id": f"id-{number}"} | change


async def test_rows_are_taken_and_bad_ones_are_told(client: httpx.AsyncClient, topic: Topic) -> None:
    rows = [_event(0), _event(1, score=1.5), _event(2), _event(3, time="soon")]
    answer = await client.post("/v1/events", json=rows)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["accepted"], told["rejected"], told["errors_left_out"]) == (2, 2, 0)
    assert [(one["row"], one["field"]) for one in told["errors"]] == [(1, "score"), (3, "time")]
    [(_, value, headers)] = topic.records
    assert json.loads(value) == rows
    assert headers == {"kind": b"prediction"}


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (json.dumps(LABEL), "application/json"),
        (json.dumps([LABEL, LABEL]), "application/json; charset=utf-8"),
        (json.dumps(LABEL) + "\n\n" + json.dumps(LABEL) + "\n", "application/x-ndjson"),
    ],
)
async def test_labels_come_as_object_array_and_lines(
    client: httpx.AsyncClient, topic: Topic, body: str, media_type: str
) -> None:
    bare = body.replace('"kind": "label", ', "")
    answer = await client.post("/v1/labels", content=bare, headers={"content-type": media_type})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == bare.count('"id"')
    assert answer.json()["rejected"] == 0
    assert topic.records[0][2]["kind"] == b"label"


async def test_only_a_hundred_errors_are_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/events", json=[_event(i, model="") for i in range(150)])
    told = answer.json()
    assert (told["rejected"], len(told["errors"]), told["errors_left_out"]) == (150, 100, 50)


async def test_a_large_body_becomes_several_records_with_the_rows_numbers(
    client: httpx.AsyncClient, topic: Topic
) -> None:
    rows = [_event(i, status="x" * 600) for i in range(2_000)] + [_event(2_000, score=9)]
    body = gzip.compress(json.dumps(rows).encode(), mtime=0)
    answer = await client.post(
        "/v1/events", content=body, headers={"content-encoding": "gzip", "content-type": "application/json"}
    )
    assert answer.json()["accepted"] == 2_000
    assert answer.json()["errors"][0]["row"] == 2_000
    assert len(topic.records) > 1
    assert all(len(value) < 900_000 for _, value, _ in topic.records)
    parts = [(int(headers.get("first-row", b"0")), json.loads(value)) for _, value, headers in topic.records]
    assert [row for _, part in sorted(parts, key=lambda part: part[0]) for row in part] == rows


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[1,", {}, 400),
        (b"{}", {"content-type": "text/html"}, 415),
        (b"{}", {"content-encoding": "br"}, 415),
        (b"{}", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], {"content-encoding": "gzip"}, 400),
        (b"x" * 200_001, {}, 413),
        (gzip.compress(b" " * 2_600_000, mtime=0), {"content-encoding": "gzip"}, 413),
        (b"not arrow", {"content-type": CONTENT_TYPE}, 400),
        (b"{}", {"idempotency-key": "k" * 256}, 400),
        (json.dumps({"status": "x" * 1_000_000}).encode(), {"content-encoding": "gzip"}, 413),
    ],
)
async def test_what_cannot_be_taken_is_a_problem(
    client: httpx.AsyncClient, topic: Topic, content: bytes, headers: dict[str, str], status: int
) -> None:
    if headers.get("content-encoding") == "gzip" and content[:1] == b"{" and len(content) > 2:
        content = gzip.compress(content, mtime=0)
    answer = await client.post("/v1/events", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["detail"]
    assert not topic.records


async def test_a_body_without_length_is_bounded_while_it_comes(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for _ in range(50):
            yield b" " * 10_000

    answer = await client.post("/v1/events", content=chunks())
    assert answer.status_code == 413


async def test_a_bomb_is_stopped_before_it_takes_memory(client: httpx.AsyncClient) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(b" " * 1_000_000) for _ in range(150)) + packer.flush()
    assert len(bomb) < LIMITS.body_bytes
    answer = await client.post("/v1/events", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413


async def test_several_gzip_members_are_one_body(client: httpx.AsyncClient) -> None:
    text = json.dumps([_event(1), _event(2)]).encode()
    body = gzip.compress(text[:40], mtime=0) + gzip.compress(text[40:])
    answer = await client.post("/v1/events", content=body, headers={"content-encoding": "gzip"})
    assert answer.json()["accepted"] == 2


async def test_under_back_pressure_requests_are_put_off_and_nothing_piles_up(
    client: httpx.AsyncClient, topic: Topic
) -> None:
    topic.hold = asyncio.Event()
    body = json.dumps([_event(i, status="x" * 150) for i in range(350)]).encode()
    room = LIMITS.in_flight_bytes // len(body)
    pending = {asyncio.create_task(client.post("/v1/events", content=body)) for _ in range(60)}
    while len(pending) > room:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for answer in [task.result() for task in done]:
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
    assert len(pending) == room
    topic.hold.set()
    taken = await asyncio.gather(*pending)
    assert {answer.status_code for answer in taken} == {202}
    assert len(topic.records) == len(taken)
    assert (await client.post("/v1/events", content=body)).status_code == 202


async def test_a_broker_that_does_not_confirm_is_a_503(topic: Topic) -> None:
    topic.hold = asyncio.Event()
    transport = httpx.ASGITransport(_app(topic, IngestLimits(timeout_s=0.5)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.post("/v1/events", json=_event(1))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_a_retry_under_the_same_key_is_the_same_records(
    client: httpx.AsyncClient, topic: Topic
) -> None:
    for body, key in (([1], "k"), ([1], "k"), ([2], "k"), ([1], "other")):
        await client.post("/v1/events", json=[_event(i) for i in body], headers={"idempotency-key": key})
    first, second, third, fourth = topic.records
    assert first == second
    assert len({one[2]["idempotency"] for one in (first, third, fourth)}) == 3


async def test_a_token_is_needed_where_one_is_set(topic: Topic) -> None:
    transport = httpx.ASGITransport(_app(topic, token="secret"))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        assert (await client.post("/v1/events", json=_event(1))).status_code == 401
        allowed = await client.post("/v1/events", json=_event(1), headers={"authorization": "Bearer secret"})
        assert allowed.status_code == 202


async def test_foreign_formats_come_over_http_too(client: httpx.AsyncClient, topic: Topic) -> None:
    headers = {name.replace("_", "-"): value for name, value in kserve("request", V2_REQUEST).items()}
    answer = await client.post("/v1/events", json=V2_REQUEST, headers=headers)
    assert answer.json() == {"accepted": 1, "rejected": 0, "errors": [], "errors_left_out": 0, "notes": []}
    assert topic.records[0][2]["ce_inferenceservicename"] == b"churn-service"
    assert (await client.post("/v1/events", json=[TABLE_ROW])).json()["accepted"] == 2
    bad = headers | {"ce-type": "something.else"}
    assert (await client.post("/v1/events", json=V2_REQUEST, headers=bad)).json()["rejected"] == 1


async def test_arrow_is_split_into_records(client: httpx.AsyncClient, topic: Topic) -> None:
    rows = 4_000
    table = pa.table(
        {
            "model": ["churn"] * rows,
            "version": ["7"] * rows,
            "id": [f"id-{i:040d}" for i in range(rows)],
            "time": pa.array([1_790_000_000.0] * rows),
            "prediction": [1.0] * rows,
            **{f"f.x{i}": [float(i)] * rows for i in range(25)},
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    limits = IngestLimits(body_bytes=5_000_000)
    transport = httpx.ASGITransport(_app(topic, limits))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as wide:
        answer = await wide.post(
            "/v1/events", content=sink.getvalue().to_pybytes(), headers={"content-type": CONTENT_TYPE}
        )
    assert answer.json()["accepted"] == rows
    assert len(topic.records) > 1
    assert all(headers["content-type"] == CONTENT_TYPE.encode() for _, _, headers in topic.records)


async def test_rows_are_held_against_their_schema_at_once(topic: Topic) -> None:
    registered = Configuration()
    features = [FeatureSchema(name="age"), FeatureSchema(name="plan", kind="categorical", type="text")]
    registered.add_schema(build_schema("churn", "7", features))
    app = FastAPI()
    add_problems(app)
    app.include_router(ingest_router(Intake(topic.publish, IngestMap(), models=registered)))
    rows = [
        _event(0, features={"age": 41, "plan": "gold"}),
        _event(1, features={"age": "forty", "plan": "gold"}),
        _event(2, features={"agee": 41, "plan": None}),
    ]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        told = (await client.post("/v1/events", json=rows)).json()
        labels = [LABEL, LABEL | {"value": "lost"}]
        of_labels = (await client.post("/v1/labels", json=labels)).json()
    assert (told["accepted"], told["rejected"]) == (2, 1)
    [error] = told["errors"]
    assert (error["row"], error["field"]) == (1, "features.age")
    assert "a number (float64), or null" in error["reason"]
    [note] = told["notes"]
    assert note.startswith("churn version 7: not in the schema")
    assert "f.agee" in note
    assert [(one["row"], one["field"]) for one in of_labels["errors"]] == [(1, "value")]
    assert len(topic.records) == 2


async def test_rows_and_tables_beyond_the_limits_are_refused_as_a_whole(
    client: httpx.AsyncClient, topic: Topic
) -> None:
    zipped = {"content-encoding": "gzip", "content-type": "application/json"}
    for body in (b"[" + b"1," * 1_000_000 + b"1]", b"[" + b"{}," * 50_000 + b"{}]", b"{}\n" * 50_001):
        answer = await client.post("/v1/events", content=gzip.compress(body, mtime=0), headers=zipped)
        assert answer.status_code == 413
        assert "50000 rows" in answer.json()["detail"]
    sink = pa.BufferOutputStream()
    table = pa.table({"id": ["a"] * 1_000, "f.x": [0.0] * 1_000})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    content = sink.getvalue().to_pybytes()
    answer = await client.post("/v1/events", content=content, headers={"content-type": CONTENT_TYPE})
    assert answer.status_code == 400
    assert "compressed" in answer.json()["detail"]
    assert not topic.records


async def test_many_small_rows_go_on_in_records_that_the_gate_takes(
    client: httpx.AsyncClient, topic: Topic
) -> None:
    answer = await client.post("/v1/events", content=b"[" + b"{}," * 24_999 + b"{}]")
    assert answer.json()["rejected"] == 25_000
    assert max(len(json.loads(value)) for _, value, _ in topic.records) == MAX_ROWS


async def test_an_empty_array_is_nothing_to_do(client: httpx.AsyncClient, topic: Topic) -> None:
    for body in (b"[]", b" [ ] "):
        answer = await client.post("/v1/events", content=body)
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 0, 0)
    assert not topic.records


async def test_a_time_that_is_none_says_what_is_needed(client: httpx.AsyncClient) -> None:
    rows = [_event(0, time="soon"), _event(1, time="2026-11-21T10:00:00")]
    told = (await client.post("/v1/events", json=rows)).json()
    assert [one["field"] for one in told["errors"]] == ["time", "time"]
    assert all("RFC 3339 with an offset" in one["reason"] for one in told["errors"])
