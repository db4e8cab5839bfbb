"""Reading parts of topics: what does not come is told, for everybody else who reads waits meanwhile."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

import streams.broker.log
from deploy.stack.kafka import KafkaBroker
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.topics import TopicSpec

pytestmark = pytest.mark.slow


async def test_what_does_not_come_is_given_up(
    kafka_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = kafka_broker.bootstrap
    await ensure_topics(broker, [TopicSpec("t", 1)])
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for number in range(5):
            await producer.send_and_wait("t", b"%d" % number)
    async with LogReader(broker, "test-log") as reader:
        assert [one.value for one in await reader.read("t", 0, 1, 3)] == [b"1", b"2", b"3"]
        monkeypatch.setattr(streams.broker.log, "_PATIENCE_S", 1.0)
        with pytest.raises(KafkaTimeoutError, match=r"t/0: nothing came at offset \d+ for 1 s; 12 is to be"):
            async with asyncio.timeout(30):
                await reader.read("t", 0, 10, 12)
        await asyncio.to_thread(kafka_broker.kill)
        with pytest.raises(KafkaTimeoutError):
            async with asyncio.timeout(30):
                await reader.read("t", 0, 1, 3)
