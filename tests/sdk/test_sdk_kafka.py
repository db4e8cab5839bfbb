"""The client against a real broker: outages, restarts, forks and exits lose nothing."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.stack.kafka import KafkaBroker
from homeostat import Client, delivery
from homeostat.contract import LabelBatch, PredictionBatch, decode, partition_of

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Record:
    partition: int
    key: bytes | None
    batch: PredictionBatch | LabelBatch


def create_topic(bootstrap: str, name: str, partitions: int = 3, **configs: str) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            settings = {name.replace("_", "."): value for name, value in configs.items()}
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
        finally:
            await admin.close()

    asyncio.run(create())


def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Everything the topic holds now, partition by partition in order, duplicates included."""

    async def read() -> list[Record]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            places = sorted(consumer.assignment())
            assert places
            ends = await consumer.end_offsets(places)
            records: list[Record] = []
            for place in places:
                while await consumer.position(place) < ends[place]:
                    for record in (await consumer.getmany(place, timeout_ms=200)).get(place, []):
                        batch = decode(record.value, record.headers)
                        records.append(Record(record.partition, record.key, batch))
            return records
        finally:
            await consumer.stop()

    return asyncio.run(read())


def distinct_ids(records: list[Record], kind: type = PredictionBatch) -> Counter[str]:
    """How often each id is there, after what the consumers do: the same producer and sequence count once."""
    batches = {(r.batch.producer, r.batch.sequence): r.batch for r in records if isinstance(r.batch, kind)}
    return Counter(id for batch in batches.values() for id in batch.ids)


def check_sequences_rise(records: list[Record]) -> None:
    """Along a partition what is new has a higher sequence than all before it; what has not is a resend."""
    seen: dict[tuple[str, int], set[int]] = {}
    for record in records:
        sequences = seen.setdefault((record.batch.producer, record.partition), {-1})
        assert record.batch.sequence in sequences or record.batch.sequence > max(sequences)
        sequences.add(record.batch.sequence)


def log_rows(client: Client, start: int, stop: int, model: str = "m") -> None:
    for i in range(start, stop):
        client.log(
            model, version="1", id=f"{model}-{i}", features={"x": i, "c": "ab"[i % 2]}, prediction=i % 2
        )


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.close(timeout_s=0)


def test_every_row_arrives_once_on_its_partition(client: Client, kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + ".events"
    create_topic(kafka, topic, partitions=5)
    client.open(kafka, topic=topic, spread={"wide": 3}, linger_s=0.02)
    for model in ("m", "n", "wide"):
        log_rows(client, 0, 3_000, model)
        client.label(model, id=[f"{model}-{i}" for i in range(500)], value=[1] * 500)
    assert client.flush(30)
    stats = client.stats()
    assert (stats.logged, stats.labelled, stats.acknowledged, stats.pending) == (9_000, 1_500, 10_500, 0)
    assert (stats.sent, stats.dropped, stats.rejected) == (10_500, {}, 0)

    records = read_topic(kafka, topic)
    check_sequences_rise(records)
    assert set(distinct_ids(records).values()) == {1}
    assert len(distinct_ids(records)) == 9_000
    assert len(distinct_ids(records, LabelBatch)) == 1_500
    for record in records:
        model, spread = record.batch.model, 3 if record.batch.model == "wide" else 1
        assert record.key == model.encode()
        assert {partition_of(model, key, 5, spread) for key in record.batch.keys.tolist()} == {
            record.partition
        }
    assert len({record.partition for record in records if record.batch.model == "wide"}) == 3


@pytest.mark.parametrize("end", [pytest.param("stop", marks=pytest.mark.soak), "kill"])
def test_an_outage_is_ridden_out(
    client: Client, kafka_broker: KafkaBroker, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    bootstrap = kafka_broker.bootstrap
    create_topic(bootstrap, "homeostat.events")
    client.open(bootstrap, linger_s=0.02)
    log_rows(client, 0, 1_500)
    assert client.flush(20)
    log_rows(client, 1_500, 3_000)
    getattr(kafka_broker, end)()
    log_rows(client, 3_000, 6_000)
    client.label("m", id="m-1", value=1)
    assert client.flush(timeout_s=8) is False
    log_rows(client, 6_000, 8_000)
    kafka_broker.start()
    assert client.flush(40), client.stats()
    stats = client.stats()
    assert (stats.acknowledged, stats.pending, stats.dropped) == (8_001, 0, {})

    records = read_topic(bootstrap, "homeostat.events")
    check_sequences_rise(records)
    assert distinct_ids(records) == Counter(f"m-{i}" for i in range(8_000))
    assert distinct_ids(records, LabelBatch) == Counter(["m-1"])
    assert not [record for record in caplog.records if record.name.startswith("aiokafka.producer")]


@pytest.mark.parametrize(
    "acknowledge_timeout_s",
    [0.5, pytest.param(delivery.ACKNOWLEDGE_TIMEOUT_S, marks=pytest.mark.soak)],
)
def test_a_frozen_broker_gets_every_row_when_it_thaws(
    client: Client, kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch, acknowledge_timeout_s: float
) -> None:
    # The short one makes sessions end while their records are at the broker: the next ones resend them.
    monkeypatch.setattr(delivery, "ACKNOWLEDGE_TIMEOUT_S", acknowledge_timeout_s)
    bootstrap = kafka_broker.bootstrap
    create_topic(bootstrap, "homeostat.events")
    client.open(bootstrap, linger_s=0.02, kafka={"request_timeout_ms": 1_500})
    log_rows(client, 0, 1_000)
    assert client.flush(20)
    assert kafka_broker.pid is not None
    os.kill(kafka_broker.pid, signal.SIGSTOP)
    try:
        log_rows(client, 1_000, 4_000)
        assert client.flush(timeout_s=6) is False
    finally:
        os.kill(kafka_broker.pid, signal.SIGCONT)
    assert client.flush(40), client.stats()
    records = read_topic(bootstrap, "homeostat.events")
    check_sequences_rise(records)
    assert distinct_ids(records) == Counter(f"m-{i}" for i in range(4_000))


def test_a_topic_that_comes_late_gets_every_row(
    client: Client, kafka: str, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "homeostat")
    client.open(kafka, topic=topic_prefix, kafka={"request_timeout_ms": 1_000})
    log_rows(client, 0, 100)
    assert client.flush(timeout_s=3) is False
    create_topic(kafka, topic_prefix)
    assert client.flush(30), client.stats()
    assert distinct_ids(read_topic(kafka, topic_prefix)) == Counter(f"m-{i}" for i in range(100))
    assert sum(topic_prefix in message for message in caplog.messages) == 1
    assert sum("is back after" in message for message in caplog.messages) == 1


def test_what_the_broker_finds_too_large_is_sent_in_parts(
    client: Client, kafka: str, topic_prefix: str
) -> None:
    create_topic(kafka, topic_prefix, partitions=1, max_message_bytes="9000")
    client.open(kafka, topic=topic_prefix)
    text = "long" * 1_000
    log_rows(client, 0, 300)
    for name in ("fits", "huge"):
        features = {f"{name}{i}": text[: 4_000 if name == "huge" else 10] for i in range(4)}
        client.log("m", version="1", id=name, features=features, prediction=1)
    assert client.flush(60), client.stats()
    log_rows(client, 300, 400)
    assert client.flush(60), client.stats()
    assert client.stats().dropped == {"too_large": 1}
    records = read_topic(kafka, topic_prefix)
    check_sequences_rise(records)
    assert distinct_ids(records) == Counter(["fits", *(f"m-{i}" for i in range(400))])


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_an_exiting_process_leaves_nothing_behind(kafka: str, topic_prefix: str) -> None:
    create_topic(kafka, topic_prefix)
    script = """
        import sys
        import homeostat
        homeostat.init(sys.argv[1], topic=sys.argv[2], exit_timeout_s=40)
        for i in range(1500):
            homeostat.log("m", version="1", id=f"m-{i}", features={"x": 1.0}, prediction=1)
    """
    # By name, because looking a name up is what an exiting interpreter has no helper threads for.
    done = run_python(script, kafka.replace("127.0.0.1", "localhost"), topic_prefix)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(distinct_ids(read_topic(kafka, topic_prefix))) == 1_500


def test_an_exit_without_a_broker_takes_a_bounded_time() -> None:
    script = """
        import homeostat
        homeostat.init("127.0.0.1:1", exit_timeout_s=1)
        homeostat.log("m", version="1", id="a", features={"x": 1.0}, prediction=1)
    """
    done = run_python(script)
    assert done.returncode == 0
    assert "1 events were not acknowledged within 1.0 s, and are lost" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_afresh(kafka: str, topic_prefix: str) -> None:
    create_topic(kafka, topic_prefix)
    script = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import homeostat

        def log(who, count):
            for i in range(count):
                homeostat.log("m", version="1", id=f"{who}-{i}", features={"x": 1.0}, prediction=1)

        homeostat.init(sys.argv[1], topic=sys.argv[2], exit_timeout_s=40)
        log("before", 700)                  # in the parent's memory, or just under way, when it forks
        children = []
        for name in ("left", "right"):
            child = os.fork()
            if child == 0:
                assert homeostat.stats().logged == 0
                log(name, 500)
                sys.exit(0)                 # at the end of the child's own interpreter
            children.append(child)
        log("after", 300)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        assert homeostat.stats().logged == 1000
    """
    done = run_python(script, kafka, topic_prefix)
    assert (done.returncode, done.stderr) == (0, "")
    records = read_topic(kafka, topic_prefix)
    expected = {"before": 700, "after": 300, "left": 500, "right": 500}
    ids = Counter(id for record in records for id in record.batch.ids)
    assert ids == Counter(f"{who}-{i}" for who, count in expected.items() for i in range(count))
    assert len({record.batch.producer for record in records}) == 3
