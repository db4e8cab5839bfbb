"""A broker of our own for one benchmark, with the system's topics and a filled events topic."""

import asyncio
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer

from benchmarks.workload import Workload
from deploy.stack.kafka import KafkaBroker, KafkaConfig, parent_bound_launcher
from streams.broker.admin import ensure_topics
from streams.control.configuration import monitor_record, reference_record
from streams.topics import CONTROL, EVENTS, all_topics

Record = tuple[int, bytes, list[tuple[str, bytes]], int]

_IN_FLIGHT = 200


@contextmanager
def running(partitions: int, **properties: str) -> Generator[tuple[str, Path]]:
    """The broker's address and an empty folder. `properties`: more of the broker's own, `_` for `.`."""
    with tempfile.TemporaryDirectory(prefix="homeostat-bench-") as folder:
        home = Path(folder)
        config = KafkaConfig(
            home / "kafka", properties={name.replace("_", "."): value for name, value in properties.items()}
        )
        with KafkaBroker(config, launcher=parent_bound_launcher()) as broker:
            asyncio.run(ensure_topics(broker.bootstrap, all_topics(partitions)))
            yield broker.bootstrap, home


async def fill(broker: str, *workloads: Workload, slots: int = 1) -> int:
    """Publish monitors, references and all events, those of several models in turns; slot s goes to partition s.
    Returns the rows, labels included."""
    rows = 0
    async with AIOKafkaProducer(bootstrap_servers=broker, max_batch_size=1_000_000, linger_ms=5) as producer:
        for one in workloads:
            for key, value in (monitor_record(one.monitor()), reference_record(one.reference())):
                await producer.send_and_wait(CONTROL, value, key=key, partition=0)
        sent: list[asyncio.Future[object]] = []
        for slot, value, headers, count in _in_turns([one.records(slots) for one in workloads]):
            sent.append(await producer.send(EVENTS, value, partition=slot, headers=headers))
            rows += count
            if len(sent) >= _IN_FLIGHT:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)
    return rows


def _in_turns(sources: list[Iterator[Record]]) -> Iterator[Record]:
    while sources:
        for source in list(sources):
            found = next(source, None)
            if found is None:
                sources.remove(source)
            else:
                yield found
