"""What is registered on the control topic holds at the gate: schemas row by row, the spread, the order of time."""

# pyarrow ships no types.
# pyright: reportUnknownParameterType=false

import asyncio
import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from detectors.values import Monitor
from homeostat.contract import LabelBatch, decode, partition_of
from streams.control import feed
from streams.control.configuration import Configuration, monitor_record
from streams.control.evolution import check
from streams.control.schemas import FeatureSchema, Schema, build_schema, schema_record
from streams.gate.config import GateConfig
from streams.gate.spreads import Spreads
from streams.gate.worker import serve_gate
from tests.streams.gate_parts import batches, json_record, written
from tests.streams.parts import make_topics, produce, read, until

FEATURES = [
    FeatureSchema(name="age"),
    FeatureSchema(name="plan", kind="categorical", type="text"),
    FeatureSchema(name="code", kind="categorical", type="any"),
    FeatureSchema(name="face", kind="embedding", type="vector", size=2),
]
START = 1_790_000_000


def schema(**changes: Any) -> Schema:
    asked: dict[str, Any] = {"task": "multiclass", "classes": ["cat", "dog", "owl"]}
    return build_schema("pets", "7", FEATURES, **(asked | changes))


def registered(found: Schema) -> Configuration:
    configuration = Configuration()
    configuration.add_schema(found)
    return configuration


def event(number: int, **changes: Any) -> dict[str, Any]:
    features = {"age": 4.5, "plan": "gold", "code": 3, "face": [0.5, 1.5]} | changes.pop("features", {})
    base = {
        "kind": "prediction",
        "model": "pets",
        "version": "7",
        "id": f"id-{number}",
        "time": START + number,
    }
    return base | {"prediction": "dog", "features": features} | changes


def label(number: int, **changes: Any) -> dict[str, Any]:
    return {"kind": "label", "model": "pets", "id": f"id-{number}", "time": START, "value": "cat"} | changes


WRONG = [
    ({"features": {"age": "old"}}, "features.age", "a number (float64), or null"),
    ({"features": {"plan": 3}}, "features.plan", "text, or null"),
    ({"features": {"face": [1, 2, 3]}}, "features.face", "an embedding of size 2, or null"),
    ({"features": {"code": [1, 2]}}, "features.code", "text or a number, or null"),
    ({"scores": [0.5, 0.5]}, "scores", "3, one for each class"),
]


@pytest.mark.parametrize(("change", "field", "expected"), WRONG, ids=[field for _, field, _ in WRONG])
def test_a_row_that_clashes_with_its_schema_is_told_alone(
    change: dict[str, Any], field: str, expected: str
) -> None:
    rows = [event(0), event(1, **change), event(2, features={"age": None, "plan": None, "face": None})]
    output = written(json_record(rows), registered=registered(schema()))
    [letter] = output.letters
    assert (letter.row, letter.field) == (1, field)
    assert expected in letter.reason
    assert "version 7 (revision" in letter.reason
    found = batches(output)
    assert sorted(name for batch in found for name in batch.ids) == ["id-0", "id-2"]
    assert all(check(schema(), batch).accepted for batch in found)
    counts = output.counts["pets"]
    assert (counts.received, counts.deadlettered) == (3, 1)


def test_a_class_by_name_needs_classes() -> None:
    rows = [
        event(0),
        event(1, prediction=1),
        event(2, prediction=None, status="timeout"),
        label(0),
        label(1, value=2),
    ]
    output = written(json_record(rows), registered=registered(schema(task="regression", classes=())))
    assert [(letter.row, letter.field) for letter in output.letters] == [(0, "prediction"), (3, "value")]
    assert "a number" in output.letters[0].reason
    plain = schema(task="regression", classes=())
    assert all(check(plain, batch).accepted for batch in batches(output))
    assert output.counts["pets"].label_deadlettered == 1


def test_rows_that_all_clash_leave_no_batch() -> None:
    rows = [event(number, features={"age": "x"}) for number in range(40)]
    output = written(*(json_record(row, i) for i, row in enumerate(rows)), registered=registered(schema()))
    assert not output.batches
    assert [letter.offset for letter in output.letters] == list(range(40))


def test_what_the_schema_does_not_know_passes() -> None:
    rows = [event(0, features={"new": "text"}, prediction="fox"), event(1, segments={"shop": "a"})]
    output = written(json_record(rows), registered=registered(schema()))
    assert not output.letters
    assert sum(batch.rows for batch in batches(output)) == 2


def test_a_backlog_goes_on_in_the_order_of_time() -> None:
    """Two versions and labels, an hour of them in one transaction: written table by table, most would be late."""
    records = []
    for second in range(3_600):
        kind = second % 3
        at = {"time": START + second}
        one = label(second, **at) if kind == 2 else event(second, version=str(kind), prediction=1, **at)
        records.append(json_record(one, second))
    registered_models = Configuration()
    registered_models.add_monitor(Monitor(model="pets", lateness_s=600))
    found = batches(written(*records, registered=registered_models))
    assert sum(batch.rows for batch in found) == 3_600
    newest_us, behind_us = 0, 0
    for batch in found:
        behind_us = max(behind_us, newest_us - int(batch.times_us.min()))
        newest_us = max(newest_us, int(batch.times_us.max()))
    assert behind_us < 200 * 1_000_000
    own: dict[tuple[type, str], list[int]] = defaultdict(list)
    for batch in found:
        own[type(batch), getattr(batch, "version", "")] += batch.times_us.tolist()
    assert all(times == sorted(times) for times in own.values())


def test_events_of_one_moment_go_on_in_few_batches() -> None:
    rows = [event(n, version=str(n % 2), time=START + n / 1000) for n in range(1_000)]
    assert len(written(*(json_record(row, n) for n, row in enumerate(rows))).batches) == 2


def test_a_later_label_of_another_type_stays_the_later_one() -> None:
    rows = [label(0, value=1), label(1, value="cat"), label(0, value="dog"), label(1, value=0)]
    found = batches(written(json_record(rows)))
    assert [(batch.ids, batch.is_text) for batch in found if isinstance(batch, LabelBatch)] == [
        (["id-0"], False),
        (["id-1", "id-0"], True),
        (["id-1"], False),
    ]


def test_mixed_types_keep_the_order_of_time() -> None:
    rows = [event(n, features={"age": n if n % 2 else "x"}, time=START + n) for n in range(1_000)]
    newest_us = 0
    for batch in batches(written(*(json_record(row, n) for n, row in enumerate(rows)))):
        assert newest_us - int(batch.times_us.min()) < 60 * 1_000_000
        newest_us = max(newest_us, int(batch.times_us.max()))


def test_an_event_sent_again_after_the_spread_has_changed_is_found_nowhere() -> None:
    """Written down in docs/ingest.md: half of the keys have another place, and nobody there knows the first copy."""
    rows = [json_record(event(number), number) for number in range(200)]
    found: list[dict[str, int]] = []
    for spread in (1, 2):
        models = Configuration()
        models.add_monitor(Monitor(model="pets", spread=spread))
        output = written(*rows, partitions=4, registered=models)
        places = [one.partition for one in output.batches]
        found.append({name: at for at, one in zip(places, batches(output), strict=True) for name in one.ids})
    moved = sum(found[0][name] != found[1][name] for name in found[0])
    assert 60 < moved < 140


async def test_spread_and_schema_are_followed_on_a_broker(kafka: str, topic_prefix: str) -> None:
    names = {name: f"{topic_prefix}-{name}" for name in ("ingest", "halves", "events", "metrics", "state")}
    rest = {name: f"{topic_prefix}-{name}" for name in ("deadletters", "control")}
    await make_topics(kafka, dict.fromkeys(names.values(), 4) | dict.fromkeys(rest.values(), 1))
    config, stop = GateConfig(broker=kafka, group=f"{topic_prefix}-gate", **names, **rest), asyncio.Event()
    gate = asyncio.create_task(serve_gate(config, stop))

    async def rows() -> Counter[str]:
        found = [decode(one.value, one.headers) for one in await read(kafka, config.events)]
        return Counter(name for batch in found for name in batch.ids)

    async def passed(count: int) -> bool:
        return (await rows()).total() >= count

    async def send(*events: dict[str, Any]) -> None:
        await produce(kafka, config.ingest, [json.dumps(one).encode() for one in events])

    try:
        await send(event(-1))
        await until("the gate runs", lambda: passed(1), 30)
        async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
            for key, value in (monitor_record(Monitor(model="pets", spread=2)), schema_record(schema())):
                await producer.send_and_wait(config.control, value, key)
        # Sent after it was registered: it holds at once.
        await send(*(event(number) for number in range(100)), event(100, features={"age": "x"}))
        await send(*(label(number) for number in range(100)))
        await until("all have passed", lambda: passed(201), 30)
    finally:
        stop.set()
        await gate
    places: dict[str, set[int]] = defaultdict(set)
    for one in await read(kafka, config.events):
        batch = decode(one.value, one.headers)
        for name, key in zip(batch.ids, batch.keys.tolist(), strict=True):
            if name != "id--1":
                assert one.partition == partition_of("pets", key, 4, 2)
                places[type(batch).__name__].add(one.partition)
    assert places["PredictionBatch"] == places["LabelBatch"]
    assert len(places["PredictionBatch"]) == 2


async def test_the_api_follows_what_is_registered(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_INTERVAL_S", 0.1)
    topic = f"{topic_prefix}-control"
    await make_topics(kafka, {topic: 1})
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        key, value = schema_record(schema())
        await producer.send_and_wait(topic, value, key)
        async with feed.followed(kafka, "test-followed", topic) as models:
            assert models.schema("pets", "7") == schema()
            later = schema(task="binary", classes=())
            await producer.send_and_wait(topic, later.to_json(), schema_record(later)[0])
            await until("the change is known", lambda: models.schema("pets", "7") == later, 20)


def test_a_spread_that_changes_under_events_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    models = Configuration()
    spreads = Spreads(models, "0")
    for spread in (1, 1, 2, 2):
        models.add_monitor(Monitor(model="pets", spread=spread))
        spreads.use(["pets", "others"])
    assert capsys.readouterr().out.count("The spread of a model has changed") == 1
