"""The embedded broker: starts, keeps its address and its records, speaks transactions."""

import os
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.stack.errors import PartFailed
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from streams.broker.admin import BrokerUnreachable, ensure_topics, wait_for_broker
from streams.topics import TopicSpec, all_topics

pytestmark = pytest.mark.slow


async def _read_all(bootstrap: str, topic: str, isolation: str) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    async with AsyncExitStack() as stack:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, isolation_level=isolation, enable_auto_commit=False
        )
        await stack.enter_async_context(consumer)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values.extend(record.value for record in records)
        return values


async def _send(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value, partition=0)


async def test_topics_are_created_once_and_whole(kafka: str, topic_prefix: str) -> None:
    specs = [TopicSpec(f"{topic_prefix}.{spec.name}", spec.partitions, spec.config) for spec in all_topics()]
    assert sorted(await ensure_topics(kafka, specs)) == sorted(spec.name for spec in specs)
    assert await ensure_topics(kafka, specs) == []


async def test_record_goes_in_and_comes_out(kafka: str, topic_prefix: str) -> None:
    await ensure_topics(kafka, [TopicSpec(topic_prefix, 1)])
    await _send(kafka, topic_prefix, b"one")
    assert await _read_all(kafka, topic_prefix, "read_committed") == [b"one"]


async def test_readers_of_committed_records_see_only_committed_transactions(
    kafka: str, topic_prefix: str
) -> None:
    await ensure_topics(kafka, [TopicSpec(topic_prefix, 1)])
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}-tx") as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic_prefix, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic_prefix, b"dropped", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic_prefix, b"kept too", partition=0)
    assert await _read_all(kafka, topic_prefix, "read_committed") == [b"kept", b"kept too"]
    assert await _read_all(kafka, topic_prefix, "read_uncommitted") == [b"kept", b"dropped", b"kept too"]


async def test_newer_owner_of_a_transactional_id_fences_the_older(kafka: str, topic_prefix: str) -> None:
    from aiokafka.errors import ProducerFenced

    await ensure_topics(kafka, [TopicSpec(topic_prefix, 1)])
    transactional_id = f"{topic_prefix}-owner"
    older = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=transactional_id)
    newer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=transactional_id)
    await older.start()
    await older.begin_transaction()
    await older.send_and_wait(topic_prefix, b"from the older", partition=0)
    await newer.start()
    async with newer.transaction():
        await newer.send_and_wait(topic_prefix, b"from the newer", partition=0)
    with pytest.raises(ProducerFenced):
        await older.commit_transaction()
    await newer.stop()
    await older.stop()
    assert await _read_all(kafka, topic_prefix, "read_committed") == [b"from the newer"]


async def test_address_and_records_survive_stop_and_kill(kafka_broker: KafkaBroker) -> None:
    bootstrap = kafka_broker.bootstrap
    await ensure_topics(bootstrap, [TopicSpec("kept", 1)])
    await _send(bootstrap, "kept", b"before stop")
    kafka_broker.stop()
    kafka_broker.start()
    await _send(bootstrap, "kept", b"before kill")
    assert kafka_broker.pid is not None
    os.kill(kafka_broker.pid, signal.SIGKILL)
    kafka_broker.kill()
    assert kafka_broker.start().bootstrap == bootstrap
    assert await _read_all(bootstrap, "kept", "read_committed") == [b"before stop", b"before kill"]


def test_broker_that_cannot_start_tells_why(tmp_path: Path) -> None:
    broker = KafkaBroker(KafkaConfig(tmp_path), launcher=parent_bound_launcher())
    with socket.create_server(("127.0.0.1", broker.port)), pytest.raises(PartFailed) as failure:
        broker.start()
    assert "Kafka ended with exit code 1" in str(failure.value)
    assert "Address already in use" in str(failure.value)
    assert broker.pid is None


def test_setting_that_kafka_refuses_is_told(tmp_path: Path) -> None:
    broker = KafkaBroker(KafkaConfig(tmp_path, properties={"num.io.threads": "many"}))
    with pytest.raises(PartFailed, match=r"num\.io\.threads"):
        broker.start()


async def test_missing_broker_is_named() -> None:
    with pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:9"):
        await wait_for_broker("127.0.0.1:9", timeout_s=0.3)
