"""The bus on a real broker: order, positions of groups, and a broker that goes away."""

import asyncio
from contextlib import aclosing

import pytest

from deploy.stack.kafka import KafkaBroker
from streams.bus import KafkaBus, Message
from tests.patience import PATIENCE_S
from tests.streams.parts import make_topics


async def _take(bus: KafkaBus, topic: str, count: int, *, group: str | None = None) -> list[Message]:
    """The first `count` messages, all of them handled but the last."""
    found: list[Message] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.follow(topic, group=group)) as messages:
        async for message in messages:
            found.append(message)
            if len(found) == count:
                break
    return found


async def test_messages_come_in_order_with_all_they_carry(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-t"
    await make_topics(kafka, {topic: 1})
    async with KafkaBus(kafka, "test") as bus:
        for number in range(20):
            await bus.publish(topic, key=b"k", value=b"%d" % number, headers={"n": b"%d" % number})
        await bus.publish(topic, key=b"gone", value=None)
        found = await bus.read_all(topic)
        assert [message.value for message in found[:-1]] == [b"%d" % number for number in range(20)]
        assert found[3].headers == {"n": b"3"}
        assert found[3].key == b"k"
        assert (found[3].topic, found[3].partition, found[3].offset) == (topic, 0, 3)
        assert found[3].timestamp_ms > 1_700_000_000_000
        assert (found[-1].key, found[-1].value) == (b"gone", None)
        assert await _take(bus, topic, 21) == found


async def test_an_empty_topic_has_nothing_to_read(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-t"
    await make_topics(kafka, {topic: 3})
    async with KafkaBus(kafka) as bus:
        assert await bus.read_all(topic) == []


async def test_all_partitions_are_followed_and_what_comes_later(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-t"
    await make_topics(kafka, {topic: 3})
    async with KafkaBus(kafka) as bus:
        follower = asyncio.create_task(_take(bus, topic, 40))
        for number in range(40):
            await bus.publish(topic, key=b"%d" % number, value=b"%d" % number)
        found = await follower
        assert sorted(int(message.value or b"") for message in found) == list(range(40))
        assert {message.partition for message in found} == {0, 1, 2}


async def test_a_group_goes_on_after_the_last_message_it_handled(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-t"
    await make_topics(kafka, {topic: 1})
    async with KafkaBus(kafka) as bus:
        for number in range(9):
            await bus.publish(topic, key=b"k", value=b"%d" % number)
        first = await _take(bus, topic, 4, group=topic_prefix)
        again = await _take(bus, topic, 6, group=topic_prefix)
        other = await _take(bus, topic, 9, group=f"{topic_prefix}-other")
    assert [message.offset for message in first] == [0, 1, 2, 3]
    assert [message.offset for message in again] == [3, 4, 5, 6, 7, 8]
    assert [message.offset for message in other] == list(range(9))


@pytest.mark.slow
async def test_a_broker_that_goes_away_is_waited_for(kafka_broker: KafkaBroker, topic_prefix: str) -> None:
    topic = f"{topic_prefix}-t"
    await make_topics(kafka_broker.bootstrap, {topic: 1})
    async with KafkaBus(kafka_broker.bootstrap) as bus:
        followers = [
            asyncio.create_task(_collect(bus, topic, 6, group)) for group in (None, f"{topic_prefix}-group")
        ]
        for number in range(3):
            await bus.publish(topic, key=b"k", value=b"%d" % number)
        await asyncio.to_thread(kafka_broker.kill)
        late = asyncio.create_task(bus.publish(topic, key=b"k", value=b"3"))
        everything = asyncio.create_task(bus.read_all(topic))
        done, _ = await asyncio.wait([late, everything, *followers], timeout=6)
        assert not done
        await asyncio.to_thread(kafka_broker.start)
        await asyncio.wait_for(late, PATIENCE_S)
        for number in range(4, 6):
            await bus.publish(topic, key=b"k", value=b"%d" % number)
        expected = [b"%d" % number for number in range(6)]
        for follower in followers:
            values = await asyncio.wait_for(follower, PATIENCE_S)
            assert list(dict.fromkeys(values)) == expected
        assert len(await asyncio.wait_for(everything, PATIENCE_S)) >= 3
        assert [message.value for message in await bus.read_all(topic)] == expected


async def _collect(bus: KafkaBus, topic: str, distinct: int, group: str | None) -> list[bytes | None]:
    found: list[bytes | None] = []
    async with aclosing(bus.follow(topic, group=group)) as messages:
        async for message in messages:
            found.append(message.value)
            if len(set(found)) == distinct:
                break
    return found
