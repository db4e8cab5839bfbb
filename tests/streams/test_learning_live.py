"""A reference that real workers learn, killed in between: it is the same, and a replay says what the live run said."""

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deploy.stack.kafka import KafkaBroker
from homeostat.contract import decode
from streams.broker.admin import ensure_topics
from streams.broker.log import LogReader
from streams.bus import KafkaBus
from streams.control.bus import publish_reference
from streams.control.configuration import Configuration
from streams.control.feed import ControlFeed
from streams.replay.replay import Stretch, replay
from streams.replay.replay_check import check
from streams.stages import InputRecord
from streams.topics import all_topics
from tests.patience import patient_s
from tests.streams.learning_parts import MODEL, SECOND_US, World, sent, steady
from tests.streams.live import Worker, collect, publish, publish_configuration
from tests.streams.stream_data import START_US, make_events, make_reference, prediction_record
from tests.streams.test_replay import wait_until_all_is_told
from tests.streams.test_timezone_followed import BERLIN, summer_and_night, watching

pytestmark = [pytest.mark.soak, pytest.mark.timeout(480)]


CHANGE_US = START_US + 60 * SECOND_US
"""From here on another reference is in force."""


STRANGER = prediction_record(make_events(1, 1), np.arange(1), "stranger", 0)
"""Of a model that is new, so a worker looks at what is configured before it goes on; of a batch that came before, so it
counts nowhere else."""


def time_of(record: InputRecord) -> int:
    return int(decode(record.value, record.headers).times_us[0])


@pytest.fixture
def workers(kafka_broker: KafkaBroker, tmp_path: Path) -> Iterator[list[Worker]]:
    found = [Worker(role, kafka_broker.bootstrap, tmp_path, 1) for role in ("profile", "judge")]
    yield found
    for worker in found:
        worker.stop()


async def learned_by(broker: str, timeout_s: float = 120) -> Configuration:
    """What is on the control topic, once a version has its reference."""
    deadline = time.monotonic() + patient_s(timeout_s)
    async with LogReader(broker, "test-control") as reader:
        configuration = Configuration()
        feed = ControlFeed(reader, configuration)
        while configuration.reference(MODEL, "1") is None:
            await feed.refresh()
            assert time.monotonic() < deadline, "no reference was learned"
            await asyncio.sleep(0.2)
    return configuration


async def test_a_kill_while_a_reference_is_learned_changes_nothing(
    kafka_broker: KafkaBroker, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.streams.test_replay.PARTITIONS", 1)
    broker = kafka_broker.bootstrap
    await ensure_topics(broker, all_topics(1))
    records = sent(steady(8_000))
    whole = World(idle_s=60.0)
    await publish_configuration(broker, [whole.configuration.monitor(MODEL, 0)], [])
    for worker in workers:
        worker.start()
    half = len(records) // 4
    cuts = [0, 21, 31, 42, half]
    for number, (first, end) in enumerate(pairwise(cuts)):
        await publish(broker, records[first:end])
        for worker in workers if number < 3 else ():
            worker.stop()
            worker.start(wait=False)
    configuration = await learned_by(broker)
    whole.feed(records[:half])
    reference = whole.configuration.reference(MODEL, "1")
    assert reference is not None
    assert configuration.reference(MODEL, "1") == reference
    assert configuration.orders() == []
    later = make_reference(MODEL, "1")
    sooner = sum(time_of(record) < CHANGE_US - SECOND_US for record in records)
    await publish(broker, records[half:sooner])
    async with KafkaBus(broker) as bus:
        await publish_reference(bus, later, CHANGE_US)
    await publish(broker, [STRANGER])
    await publish(broker, records[sooner:])
    await wait_until_all_is_told(broker)
    results = await collect(broker, 1)
    measured = [one for one in results.points.values() if one.reference_revision == reference.revision]
    assert min(one.start_us for one in measured) == whole.orders[0].effective_us
    after = [one for one in results.points.values() if one.reference_revision == later.revision]
    assert min(one.start_us for one in after) == CHANGE_US
    assert max(one.end_us for one in measured if one.axis == "event") <= CHANGE_US
    found = check(await replay(broker, Stretch()))
    assert found.holds, found.as_dict()


async def test_a_season_by_the_clocks_of_a_place_is_learned_and_followed_by_workers(
    kafka_broker: KafkaBroker, workers: list[Worker], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over the night in which the clocks are set back; a worker is killed in that night."""
    monkeypatch.setattr("tests.streams.test_replay.PARTITIONS", 1)
    broker = kafka_broker.bootstrap
    await ensure_topics(broker, all_topics(1))
    whole = watching(tmp_path, BERLIN, idle_s=60.0)
    records = summer_and_night()
    await publish_configuration(broker, [whole.configuration.monitor(MODEL, 0)], [])
    for worker in workers:
        worker.start()
    learned, night = len(records) * 16 // 25, len(records) * 19 // 25
    await publish(broker, records[:learned])
    configuration = await learned_by(broker)
    whole.feed(records[:learned])
    assert configuration.reference(MODEL, "1") == whole.configuration.reference(MODEL, "1")
    await publish(broker, records[learned:night])
    for worker in workers:
        worker.stop()
        worker.start()
    await publish(broker, records[night:])
    await wait_until_all_is_told(broker)
    results = await collect(broker, 1)
    measured = [one for one in results.points.values() if one.measure == "ks" and one.feature == "age"]
    assert max(one.end_us for one in measured) > time_of(records[night])
    assert [one for one in results.alerts if one.kind == "data_drift"] == []
    found = check(await replay(broker, Stretch()))
    assert found.holds, found.as_dict()
