"""Events over HTTP on a real broker: what was answered with 202 is there, and a retry under a key is taken once."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
import pyarrow as pa
from fastapi import FastAPI

from homeostat.contract import CONTENT_TYPE, decode
from serving.api.problems import add_problems
from serving.ingest import ingest_router
from streams.bus import KafkaBus
from streams.deadletters_read import list_deadletters
from streams.gate.config import GateConfig
from streams.gate.intake import Intake
from streams.gate.worker import serve_gate
from tests.patience import PATIENCE_S
from tests.streams.exchange_parts import V2_REQUEST, V2_RESPONSE, kserve
from tests.streams.parts import make_topics, read, until
from tests.streams.test_gate_rows import LABEL, PREDICTION

PARTS = ("ingest", "halves", "events", "metrics", "state", "deadletters", "control")


async def test_what_http_takes_comes_out_of_the_gate_once(kafka: str, topic_prefix: str) -> None:
    names = {name: f"{topic_prefix}-{name}" for name in PARTS}
    await make_topics(
        kafka, {topic: 1 if topic.endswith(("deadletters", "control")) else 2 for topic in names.values()}
    )
    config, stop = GateConfig(broker=kafka, group=f"{topic_prefix}-gate", **names), asyncio.Event()
    gate = asyncio.create_task(serve_gate(config, stop))
    app = FastAPI()
    add_problems(app)
    rows = [PREDICTION | {"id": f"id-{i}", "score": 0.5 if i % 10 else 7} for i in range(1_000)]
    table = pa.table(
        {"model": ["churn"], "version": ["7"], "id": ["arrow"], "time": [1.0], "prediction": [1.0]}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    async with KafkaBus(kafka) as bus:
        app.include_router(ingest_router(Intake(bus.publish, config.mapping, names["ingest"])))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", timeout=PATIENCE_S
        ) as client:
            for _ in range(3):
                answer = await client.post("/v1/events", json=rows, headers={"idempotency-key": "batch-1"})
                assert answer.status_code == 202
                assert (answer.json()["accepted"], answer.json()["rejected"]) == (900, 100)
            bare = [{"model": "churn", "id": f"id-{i}", "time": LABEL["time"], "value": 1} for i in range(5)]
            assert (await client.post("/v1/labels", json=bare)).json()["accepted"] == 5
            arrow = {"content-type": CONTENT_TYPE}
            content = sink.getvalue().to_pybytes()
            assert (await client.post("/v1/events", content=content, headers=arrow)).json()["accepted"] == 1
            for part, body in (("response", V2_RESPONSE), ("request", V2_REQUEST)):
                headers = {name.replace("_", "-"): value for name, value in kserve(part, body).items()}
                assert (await client.post("/v1/events", json=body, headers=headers)).status_code == 202

    async def found() -> Counter[tuple[str, str]]:
        ids: Counter[tuple[str, str]] = Counter()
        for record in await read(kafka, names["events"]):
            batch = decode(record.value, record.headers)
            ids.update((type(batch).__name__, name) for name in batch.ids)
        return ids

    async def all_there() -> bool:
        letters = await list_deadletters(kafka, 500, topic=names["deadletters"])
        return (await found()).total() >= 908 and len(letters) >= 100

    await until("everything has come through", all_there, 60)
    stop.set()
    await gate
    expected: list[Any] = [("PredictionBatch", f"id-{i}") for i in range(1_000) if i % 10]
    expected += [("LabelBatch", f"id-{i}") for i in range(5)]
    expected += [("PredictionBatch", name) for name in ("arrow", "r-1-0", "r-1-1")]
    assert await found() == Counter(expected)
    letters = await list_deadletters(kafka, 500, topic=names["deadletters"])
    assert sorted(letter.row or 0 for letter in letters) == list(range(0, 1_000, 10))
    assert all(json.loads(letter.original)["id"] == f"id-{letter.row}" for letter in letters)
