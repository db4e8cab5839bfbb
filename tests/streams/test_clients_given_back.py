"""A Kafka client whose start failed or was cut off is closed: it may hold connections already."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from streams.broker.admin import wait_for_broker
from streams.broker.log import LogReader
from streams.bus import KafkaBus


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clients that were stopped."""
    found: list[str] = []

    async def stop(client: object) -> None:
        found.append(type(client).__name__)

    for kind in (AIOKafkaProducer, AIOKafkaConsumer):
        monkeypatch.setattr(kind, "stop", stop)
        monkeypatch.setattr(kind, "__del__", lambda _: None)
    monkeypatch.setattr(AIOKafkaAdminClient, "close", stop)
    return found


async def test_a_publisher_that_is_cancelled_while_it_connects(
    monkeypatch: pytest.MonkeyPatch, stopped: list[str]
) -> None:
    connecting = asyncio.Event()

    async def start(_: AIOKafkaProducer) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaProducer, "start", start)
    publishing = asyncio.create_task(KafkaBus("127.0.0.1:1").publish("t", key=b"k", value=None))
    await connecting.wait()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert stopped == ["AIOKafkaProducer"]


async def test_a_reader_that_does_not_get_a_connection(
    monkeypatch: pytest.MonkeyPatch, stopped: list[str]
) -> None:
    async def start(_: AIOKafkaConsumer) -> None:
        raise KafkaConnectionError

    monkeypatch.setattr(AIOKafkaConsumer, "start", start)
    with pytest.raises(KafkaConnectionError):
        async with LogReader("127.0.0.1:1", "test"):
            pass
    assert stopped == ["AIOKafkaConsumer"]


async def test_who_is_cancelled_while_waiting_for_a_broker(
    monkeypatch: pytest.MonkeyPatch, stopped: list[str]
) -> None:
    connecting = asyncio.Event()

    async def start(_: AIOKafkaAdminClient) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaAdminClient, "start", start)
    waiting = asyncio.create_task(wait_for_broker("127.0.0.1:1", 60))
    await connecting.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stopped == ["AIOKafkaAdminClient"]
