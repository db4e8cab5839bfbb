"""The gate on a real broker: what goes in comes out once, whatever is killed."""

import asyncio
import json
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.stack.kafka import KafkaBroker
from detectors.values import Accounting
from homeostat.contract import decode
from streams.deadletters_read import list_deadletters
from streams.gate.config import GateConfig
from streams.gate.worker import serve_gate
from tests.streams.parts import Worker, make_topics, produce, read, until

CODE = """
import json, sys
from streams.gate.worker import run_gate
from streams.gate.config import GateConfig
run_gate(GateConfig(**json.loads(sys.argv[1])))
"""
PARTITIONS = 3


async def _config(kafka: str, prefix: str, **more: Any) -> dict[str, Any]:
    parts = ("ingest", "halves", "events", "metrics", "state")
    names = {name: f"{prefix}-{name}" for name in (*parts, "deadletters", "control")}
    counts = {names[name]: PARTITIONS for name in parts}
    await make_topics(kafka, counts | {names["deadletters"]: 1, names["control"]: 1})
    return {"broker": kafka, "group": f"{prefix}-gate", **names, **more}


def _prediction(number: int) -> dict[str, Any]:
    return {
        "kind": "prediction",
        "model": f"m{number % 2}",
        "version": "1",
        "id": f"p{number}",
        "time": 1_790_000_000 + number,
        "features": {"x": number / 10},
        "prediction": number % 2,
        "score": 0.5,
    }


def _label(number: int) -> dict[str, Any]:
    return {
        "kind": "label",
        "model": f"m{number % 2}",
        "id": f"p{number}",
        "time": 1_790_000_000,
        "value": 1,
    }


def _records(count: int) -> list[bytes | None]:
    """Singles, arrays, refused rows in arrays, and garbage."""
    found: list[bytes | None] = []
    for number in range(count):
        if number % 50 == 7:
            found.append(b"{ broken")
        elif number % 5 == 0:
            bad = _prediction(number) | {"prediction": ["?"]}
            found.append(json.dumps([_prediction(number), bad, _label(number)]).encode())
        else:
            found.append(json.dumps(_prediction(number)).encode())
    return found


def _expected(count: int) -> tuple[Counter[tuple[str, str]], int, dict[str, tuple[int, int, int]]]:
    ids: Counter[tuple[str, str]] = Counter()
    accounts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    letters = 0
    for number in range(count):
        model = f"m{number % 2}"
        if number % 50 == 7:
            letters += 1
            accounts["_unknown"][0] += 1
            accounts["_unknown"][1] += 1
            continue
        ids["predictions", f"p{number}"] += 1
        accounts[model][0] += 1
        if number % 5 == 0:
            ids["labels", f"p{number}"] += 1
            letters += 1
            accounts[model] = [accounts[model][0] + 1, accounts[model][1] + 1, accounts[model][2] + 1]
    return ids, letters, {model: (a, b, c) for model, (a, b, c) in accounts.items()}


async def _ids(config: dict[str, Any]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for record in await read(config["broker"], config["events"]):
        batch = decode(record.value, record.headers)
        kind = dict(record.headers)["kind"].decode()
        found.update((kind, name) for name in batch.ids)
    return found


async def _accounts(config: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """The sum over partitions of the last record of each model and partition."""
    last: dict[tuple[str, int], Accounting] = {}
    for record in await read(config["broker"], config["metrics"]):
        assert dict(record.headers) == {"kind": b"accounting"}
        account = msgspec.json.decode(record.value, type=Accounting)
        assert record.key == account.model.encode()
        assert account.stage == "gate"
        last[account.model, account.partition] = account
    found: dict[str, tuple[int, int, int]] = {}
    for (model, _), one in last.items():
        a, b, c = found.get(model, (0, 0, 0))
        found[model] = (a + one.received, b + one.deadlettered, c + one.label_received)
    return found


async def _check_all(config: dict[str, Any], count: int) -> None:
    ids, letters, accounts = _expected(count)
    assert await _ids(config) == ids
    assert len(await list_deadletters(config["broker"], 10_000, topic=config["deadletters"])) == letters
    assert await _accounts(config) == accounts
    sequences: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for record in await read(config["broker"], config["events"]):
        headers = dict(record.headers)
        sequences[record.partition, headers["producer"]].append(int(headers["sequence"]))
    assert all(a < b for line in sequences.values() for a, b in pairwise(line))


async def test_rows_pass_and_bad_rows_become_dead_letters(kafka: str, topic_prefix: str) -> None:
    config = await _config(kafka, topic_prefix)
    stop, beats = asyncio.Event(), list[int]()
    gate = asyncio.create_task(serve_gate(GateConfig(**config, ready_callback=lambda: beats.append(1)), stop))
    await produce(kafka, config["ingest"], _records(100))
    expected, _, _ = _expected(100)

    async def done() -> bool:
        return (await _ids(config)).total() >= expected.total()

    await until("all rows passed", done, 30)
    await until("two beats", lambda: len(beats) > 1)
    stop.set()
    await gate
    await _check_all(config, 100)
    letters = await list_deadletters(kafka, 5, topic=config["deadletters"])
    assert len(letters) == 5
    bad = next(one for one in letters if one.row == 1)
    assert bad.field == "prediction"
    assert json.loads(bad.original)["prediction"] == ["?"]
    assert bad.topic == config["ingest"]
    assert bad.model in ("m0", "m1")


@pytest.mark.slow
@pytest.mark.parametrize("instance", [pytest.param(None, marks=pytest.mark.soak), "gate-0"])
async def test_kill_9_in_mid_stream_loses_and_doubles_nothing(
    kafka: str, topic_prefix: str, tmp_path: Path, instance: str | None
) -> None:
    config = await _config(kafka, topic_prefix, instance=instance, max_records=20)
    count, chunks, rng = 1_000, 20, random.Random(7)
    worker = Worker(CODE, config, tmp_path / "gate.log")
    worker.start()
    try:
        records = _records(count)
        kills = set(rng.sample(range(2, chunks), 4 if instance else 2))
        for chunk in range(chunks):
            size = count // chunks
            await produce(kafka, config["ingest"], records[chunk * size : (chunk + 1) * size])
            await asyncio.sleep(rng.random() * 0.3)
            if chunk in kills:
                worker.kill()
                worker.start()
        expected = _expected(count)[0].total()

        async def done() -> bool:
            return (await _ids(config)).total() >= expected

        await until("all rows passed", done, 60)
        assert worker.stop() == 0
        await _check_all(config, count)
    finally:
        worker.close()


@pytest.mark.slow
async def test_two_gates_share_and_take_over(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    config = await _config(kafka, topic_prefix, max_records=20)
    workers = [Worker(CODE, config, tmp_path / f"gate{number}.log") for number in range(2)]
    count, chunks = 600, 12
    records = _records(count)
    try:
        for worker in workers:
            worker.start()
        for chunk in range(chunks):
            size = count // chunks
            await produce(kafka, config["ingest"], records[chunk * size : (chunk + 1) * size])
            await asyncio.sleep(0.3)
            if chunk in (4, 8):
                workers[chunk // 4 - 1].stop()
                workers[chunk // 4 - 1].start()

        expected = _expected(count)[0].total()

        async def done() -> bool:
            return (await _ids(config)).total() >= expected

        await until("all rows passed", done, 60)
        assert [worker.stop() for worker in workers] == [0, 0]
        await _check_all(config, count)
    finally:
        for worker in workers:
            worker.close()


@pytest.mark.slow
async def test_a_stopped_gate_that_wakes_up_is_fenced(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    config = await _config(kafka, topic_prefix, max_records=5)
    workers = [Worker(CODE, config, tmp_path / f"gate{number}.log") for number in range(2)]
    count = 600
    records = _records(count)

    def passed(least: int) -> Callable[[], Coroutine[Any, Any, bool]]:
        async def check() -> bool:
            return (await _ids(config)).total() >= least

        return check

    try:
        workers[0].start()
        await produce(kafka, config["ingest"], records[:200])
        await until("the first gate is at work", passed(20))
        workers[0].send(signal.SIGSTOP)
        workers[1].start()
        await produce(kafka, config["ingest"], records[200:400])
        await until("the second gate has taken over", passed(_expected(400)[0].total()))
        workers[0].send(signal.SIGCONT)
        await produce(kafka, config["ingest"], records[400:])
        await until("all rows passed", passed(_expected(count)[0].total()))
        assert [worker.stop() for worker in workers] == [0, 0]
        await _check_all(config, count)
    finally:
        for worker in workers:
            worker.close()


@pytest.mark.slow
async def test_a_broker_that_goes_away_is_ridden_out(
    kafka_broker: KafkaBroker, topic_prefix: str, tmp_path: Path
) -> None:
    broker = kafka_broker.bootstrap
    config = await _config(broker, topic_prefix, instance="gate-0", max_records=20)
    worker, count = Worker(CODE, config, tmp_path / "gate.log"), 600
    records = _records(count)
    try:
        worker.start()
        await produce(broker, config["ingest"], records[:400])

        async def some() -> bool:
            return (await _ids(config)).total() > 30

        await until("the gate is at work", some)
        await asyncio.to_thread(kafka_broker.kill)
        await until("the gate has noticed", lambda: "Connect call failed" in worker.output)
        await asyncio.to_thread(kafka_broker.start)
        await produce(broker, config["ingest"], records[400:])

        expected = _expected(count)[0].total()

        async def done() -> bool:
            return (await _ids(config)).total() >= expected

        await until("all rows passed", done, 90)
        assert worker.stop() == 0
        await _check_all(config, count)
    finally:
        worker.close()
