"""Rows that were set aside because of an error in the stage, sent again when the error is gone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from detectors.values import Accounting
from homeostat.contract import decode
from homeostat.keys import keys_of
from streams.broker.admin import ensure_topics
from streams.control.configuration import Configuration
from streams.deadletters import Wanted
from streams.deadletters_replay import Replayed, replay_deadletters
from streams.profile.stage import ProfileStage
from streams.stages import InputRecord
from streams.topics import METRICS, TopicSpec, all_topics
from streams.worker.poison import ArrowRows
from streams.worker.role import Role, StreamsConfig
from tests.streams.live import publish, publish_configuration
from tests.streams.parts import until
from tests.streams.running import read_all, running
from tests.streams.stream_data import interleaved, make_events, make_monitor, make_reference

pytestmark = pytest.mark.slow

ROWS = 200


def picky(poison: set[int]) -> Callable[[int, Configuration], ProfileStage]:
    """A profile stage that fails on these keys, when it has taken half of the record."""

    class Picky(ProfileStage):
        def process(self, record: InputRecord) -> None:
            super().process(record)
            if poison & set(decode(record.value, record.headers).keys.tolist()):
                raise OverflowError("too large")

    return lambda partition, configuration: Picky(partition, 1, configuration)


async def account(broker: str, model: str) -> Accounting | None:
    """The last one that the stage has told."""
    found = None
    for record in await read_all(broker, METRICS):
        if dict(record.headers).get("kind") == b"accounting":
            one = msgspec.json.decode(record.value or b"", type=Accounting)
            found = one if one.model == model else found
    return found


async def test_poisoned_rows_count_when_the_error_is_gone(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    model, events = f"{topic_prefix}-loan", f"{topic_prefix}.events"
    names = [events, f"{topic_prefix}.checkpoints", f"{topic_prefix}.marks"]
    await ensure_topics(kafka, [*all_topics(1), *(TopicSpec(name, 1) for name in names)])
    await publish_configuration(kafka, [make_monitor(model)], [make_reference(model, "1")])
    made = make_events(ROWS, 5)
    poison = {int(keys_of(made.ids)[row]) for row in (3, 17, 140)}
    records = [replace(one, topic=events) for one in interleaved(made, model)]
    config = StreamsConfig(broker=kafka, data_dir=tmp_path, partitions=1, checkpoint_interval_s=0.1)
    role = Role(topic_prefix, events, names[1], picky(poison), (), ArrowRows())

    async def told(**wanted: int) -> Accounting | None:
        found = await account(kafka, model)
        matches = found and all(getattr(found, name) == value for name, value in wanted.items())
        return found if matches else None

    async def replay() -> Replayed:
        return await replay_deadletters(kafka, Wanted(model=model), events=events, marks=names[2])

    async with running(config, role):
        await publish(kafka, records)
        before = await until("all is accounted for", lambda: told(received=ROWS, label_received=ROWS))
        assert (before.profiled, before.deadlettered, before.label_deadlettered) == (ROWS - 3, 3, 3)
        poison.clear()
        done = await replay()
        assert (len(done.sent), done.refused) == (6, {})
        after = await until(
            "they are measured", lambda: told(received=ROWS + 3, label_received=ROWS + 3), timeout_s=30
        )
    assert (after.deadlettered, after.late, after.duplicates) == (3, 0, 0)
    assert (after.profiled, after.joined) == (ROWS, ROWS)
    assert (await replay()).sent == []
