"""Foreign formats through a real gate on a real broker: every format from a topic of its own, and a gate that is killed
between the halves of exchanges."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from homeostat.contract import PredictionBatch, decode
from streams.deadletters import Wanted
from streams.deadletters_read import list_deadletters
from streams.gate import worker as gate_module
from streams.gate.config import GateConfig
from streams.gate.mapping import Format, IngestMap, Source
from streams.gate.worker import serve_gate
from tests.streams.exchange_parts import CAPTURE, TABLE_ROW, V2_REQUEST, V2_RESPONSE, kserve
from tests.streams.parts import Worker, make_topics, produce, read, until

CODE = """
import json, sys
import msgspec
from streams.gate import waiting as gate_waiting
from streams.gate.worker import run_gate
from streams.gate.config import GateConfig
from streams.gate.mapping import IngestMap
given = json.loads(sys.argv[1])
gate_waiting.HALVES_KEPT_MS = given.pop("halves_kept_ms")
given["mapping"] = msgspec.convert(given["mapping"], IngestMap)
run_gate(GateConfig(**given))
"""
PARTS = ("ingest", "halves", "events", "metrics", "state")


async def _config(kafka: str, prefix: str, topics: dict[str, Format], **more: Any) -> dict[str, Any]:
    names = {name: f"{prefix}-{name}" for name in (*PARTS, "deadletters", "control")}
    foreign = {f"{prefix}-{name}": form for name, form in topics.items()}
    counts = {names[name]: 3 for name in PARTS} | dict.fromkeys(foreign, 2)
    await make_topics(kafka, counts | {names["deadletters"]: 1, names["control"]: 1})
    sources = (Source(when={"topic": f"{prefix}-captures"}, model="captured", threshold=0.5),)
    mapping = IngestMap(topics=foreign, sources=sources)
    return {"broker": kafka, "group": f"{prefix}-gate", **names, "mapping": mapping, **more}


async def _ids(config: dict[str, Any]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for one in await read(config["broker"], config["events"]):
        batch = decode(one.value, one.headers)
        assert isinstance(batch, PredictionBatch)
        found.update((batch.model, name) for name in batch.ids)
    return found


def _half(part: str, body: object, identity: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    headers = kserve(part, body, identity)
    return json.dumps(body).encode(), [(name, value.encode()) for name, value in headers.items()]


async def test_every_format_comes_through_from_topics_of_its_own(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "LOOK_EVERY_S", 0.5)
    topics = {"logs": Format.CLOUDEVENTS, "captures": Format.SAGEMAKER, "tables": Format.AUTO}
    config = await _config(kafka, topic_prefix, topics)
    late = f"{topic_prefix}-late"
    mapping: IngestMap = config["mapping"]
    config["mapping"] = msgspec.structs.replace(mapping, topics={**mapping.topics, late: Format.AUTO})
    stop = asyncio.Event()
    gate = asyncio.create_task(serve_gate(GateConfig(**config), stop))
    for number, part in enumerate(("response", "request")):
        value, headers = _half(part, V2_RESPONSE if part == "response" else V2_REQUEST, "r-1")
        await produce(kafka, f"{topic_prefix}-logs", [value], partition=number, headers=headers)
    await produce(kafka, f"{topic_prefix}-captures", [json.dumps(CAPTURE).encode(), b"{}"])
    await produce(kafka, f"{topic_prefix}-tables", [json.dumps([TABLE_ROW]).encode()])
    await produce(kafka, config["ingest"], [json.dumps(TABLE_ROW | {"request_id": "x"}).encode()])
    await make_topics(kafka, {late: 1})
    await produce(kafka, late, [json.dumps(TABLE_ROW | {"databricks_request_id": "late"}).encode()])
    expected = {
        *(("churn-service", f"r-1-{row}") for row in range(2)),
        *(("captured", f"e-1-{row}") for row in range(2)),
        *(("churn", f"d-1-{row}") for row in range(2)),
        *(("churn", f"late-{row}") for row in range(2)),
    }

    async def done() -> bool:
        return (await _ids(config)).total() >= 10

    await until("all rows have come", done, 30)
    stop.set()
    await gate
    found = await _ids(config)
    assert set(found) == expected
    assert found["churn", "d-1-0"] == 2
    [letter] = await list_deadletters(kafka, 9, topic=config["deadletters"])
    assert (letter.topic, letter.field) == (f"{topic_prefix}-captures", "captureData")
    accounts = [msgspec.json.decode(one.value) for one in await read(kafka, config["metrics"])]
    partitions = {one["partition"] for one in accounts if one["model"] != "churn"}
    assert min(partitions) > 1_000


def _structured(part: str, number: int) -> bytes:
    data = {"instances": [[float(number)]]} if part == "request" else {"predictions": [number % 2]}
    attributes = {
        "specversion": "1.0",
        "type": f"org.kubeflow.serving.inference.{part}",
        "id": f"r-{number}",
        "inferenceservicename": "iris",
        "time": "2026-11-21T10:00:00Z",
    }
    return json.dumps(attributes | {"data": data}).encode()


@pytest.mark.slow
async def test_kill_9_between_the_halves_loses_and_doubles_nothing(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    config = await _config(kafka, topic_prefix, {"logs": Format.AUTO}, instance="gate-0", max_records=20)
    rng, count, alone = random.Random(3), 400, 9
    given = config | {"mapping": msgspec.to_builtins(config["mapping"]), "halves_kept_ms": 600_000}
    worker = Worker(CODE, given, tmp_path / "gate.log")
    halves = [(part, number) for number in range(count) for part in ("request", "response")]
    # The halves of an exchange are at most 200 others apart, in either order.
    order = sorted(range(len(halves)), key=lambda place: place + rng.uniform(0, 200))
    sent = [halves[place] for place in order if halves[place] not in [("response", i) for i in range(alone)]]
    worker.start()
    try:
        await produce(kafka, f"{topic_prefix}-logs", [_structured(*one) for one in sent[: len(sent) // 2]])

        async def some() -> bool:
            return (await _ids(config)).total() > 20

        await until("some of it has come", some, 90)
        worker.kill()
        await produce(kafka, f"{topic_prefix}-logs", [_structured(*one) for one in sent[len(sent) // 2 :]])
        worker.start()

        async def joined() -> bool:
            return (await _ids(config)).total() >= count - alone

        await until("all exchanges are joined", joined, 90)
        assert worker.stop() == 0
        assert await list_deadletters(kafka, 100, topic=config["deadletters"]) == []
        worker = Worker(CODE, given | {"halves_kept_ms": 500}, tmp_path / "gate.log")
        worker.start()

        async def given_up() -> bool:
            return len(await list_deadletters(kafka, 100, topic=config["deadletters"])) >= alone

        await until("the others are given up", given_up, 60)
        assert worker.stop() == 0
        assert await _ids(config) == Counter(("iris", f"r-{number}") for number in range(alone, count))
        wanted = Wanted(reason="no response")
        letters = await list_deadletters(kafka, 100, wanted=wanted, topic=config["deadletters"])
        assert len(letters) == alone
        assert {letter.model for letter in letters} == {"iris"}
    finally:
        worker.close()
