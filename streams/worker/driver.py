"""Faust's Kafka driver, corrected where this project relies on more than it gives.

Read committed; positions come from the stages and not from committed offsets. What one fetch brings of a partition
travels through Faust as one message, a `Chunk`: Faust's work per message (two tasks, a dozen callbacks) is paid once
for many records. A chunk carries the offset that was fetched before it, so that records lost on the way to the agent
are noticed.
"""

# Faust's classes are partly untyped.
# pyright: reportUnknownParameterType=false

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import faust
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.broker.checksums import CheckingConsumer
from streams.broker.group import COMMIT_TIMEOUT_S, wait_for_stop
from streams.broker.standing import standing
from streams.worker.checkpoint import CheckpointError

_log = structlog.get_logger()

_FETCH_BYTES = 4 * 1024 * 1024
"""Of one partition in one fetch; a single larger record still comes."""
_MAX_POLL_RECORDS = 500
_BUFFERED_CHUNKS = 2
"""Between the fetching thread and the agent. With the one being worked on and the one being fetched a worker holds at
most 4 fetches of 4 MiB per partition, however far behind it is."""
_FETCH_WAIT_MS = 200
_ROOM_WAIT_S = 1.0
"""Nothing may be fetched for so long before it is looked whether the worker is to stop."""
SESSION_TIMEOUT_S = 6.0
_PLACE_WAIT_S = 300.0
"""A member of the group that died without a word holds the others up for half a minute at most."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition in their order. `previous` is the offset fetched before them, or that of the seek less
    one."""

    previous: int
    records: Sequence[Any]

    @property
    def offset(self) -> int:
        """That of the last record: where Faust believes to be."""
        return int(self.records[-1].offset)


class PositionSource(Protocol):
    """Who knows where each partition has to be read from."""

    def positions(self) -> Mapping[TP, int]:
        """The next offset of every partition whose state is here."""
        ...


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Fetches in a thread of its own; called from the main thread through its queue."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        conf = self.app.conf
        self._previous: dict[TP, int] = {}
        return CheckingConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=",".join(driver.server_list(transport.url, transport.default_port)),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=_MAX_POLL_RECORDS,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
        )

    async def seek_to_committed(self) -> Mapping[TP, int]:
        wanted = cast(StageApp, self.app).source.positions()
        return await self.call_thread(self._seek_all, wanted)

    async def _seek_all(self, wanted: Mapping[TP, int]) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp, offset in wanted.items():
            if tp in assigned:
                consumer.seek(TopicPartition(*tp), offset)
                self._previous[tp] = offset - 1
        return wanted

    def reached(self, tp: TP, next_offset: int) -> int | None:
        """See the function of this name."""
        found = standing(self._ensure_consumer(), TopicPartition(*tp))
        if found is None:
            return None
        return found.position if next_offset > self._previous.get(tp, -1) else next_offset

    def waiting(self, tp: TP, next_offset: int) -> int | None:
        """See the function of this name."""
        found, reached = standing(self._ensure_consumer(), TopicPartition(*tp)), self.reached(tp, next_offset)
        return None if found is None else found.waiting(reached)

    async def show_lag(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets that only people read: a failure is told, and the next commit says the same."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        shown = {TopicPartition(*tp): at for tp, at in offsets.items() if tp in assigned}
        try:
            # The client waits for a coordinator without end, and the thread does two things at once at most.
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await consumer.commit(shown)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            _log.info("The lag could not be shown this time.", reason=repr(error))

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Mapping[TP, list[Any]]:
        cast(CheckingConsumer, consumer).raise_damaged()
        found = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        chunks: dict[TP, list[Any]] = {}
        for tp, records in found.items():
            if records:
                chunks[tp] = [Chunk(self._previous.get(tp, -1), records)]
                self._previous[tp] = records[-1].offset
        return chunks


class _Consumer(driver.Consumer):
    """Goes on as soon as a buffer has room again: Faust's own sleeps for a second whenever all were full."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._room = asyncio.Event()

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        self._room.set()

    async def _wait_next_records(
        self, timeout: float
    ) -> tuple[Mapping[TP, list[Any]] | None, set[TP] | None]:
        if self.flow_active and not self._get_active_partitions():
            self._room.clear()
            await self.wait(self._room.wait(), timeout=_ROOM_WAIT_S)
            if not self._get_active_partitions():
                return {}, set()
        return await super()._wait_next_records(timeout)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            *(tp.topic, tp.partition, record.offset, 0.0, 0, None, None, record, None, 0, 0, tp),
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Commits do not come from acknowledged messages here, so nobody needs the list of gaps, which would
        grow."""
        await asyncio.sleep(0)


class _Transport(driver.Transport):
    Consumer = _Consumer


class StageApp(faust.App):
    """A Faust app over one input topic whose positions are owned by the stages. `placed`: the group has told it for the
    first time which partitions are its own."""

    source: PositionSource
    placed: asyncio.Event

    def _new_transport(self) -> driver.Transport:
        return _Transport(self.conf.broker_consumer, self)


async def expect_place(app: StageApp, role: str) -> None:
    """Return when it is `placed`; Faust asks for a place without end. Raises `CheckpointError` after five minutes."""
    if not await wait_for_stop(app.placed, _PLACE_WAIT_S):
        raise CheckpointError(
            f"The {role} worker was given no place in its group homeostat-{role} within {_PLACE_WAIT_S:g} s. Look "
            "whether Kafka's coordinator of groups works (the topic __consumer_offsets needs a leader for every "
            "partition), and whether a worker of this group hangs"
        )


async def commit_offsets(app: StageApp, offsets: Mapping[TP, int]) -> None:
    """Show the lag: commit the next offset of each partition. Nothing is ever restored from it."""
    thread = _thread_of(app)
    await thread.call_thread(thread.show_lag, offsets)


def reached(app: StageApp, tp: TP, next_offset: int) -> int | None:
    """The first offset of an assigned partition behind all that a stage which waits for `next_offset` has seen: what
    was fetched and is on its way to it was not. Marks of transactions count as seen. None where nobody knows yet."""
    return _thread_of(app).reached(tp, next_offset)


def waiting(app: StageApp, tp: TP, next_offset: int) -> int | None:
    """How many offsets that stage has not seen, as far as the broker has told; None where nobody knows yet."""
    return _thread_of(app).waiting(tp, next_offset)


def _thread_of(app: StageApp) -> _ConsumerThread:
    return cast(_ConsumerThread, cast(_Consumer, app.consumer)._thread)  # pyright: ignore[reportPrivateUsage]


def new_app(role: str, broker: str, instance: str, folder: str, source: PositionSource) -> StageApp:
    """The app of one worker: group `homeostat-{role}`, static member `instance`, no tables, no web server."""
    app = StageApp(
        f"homeostat-{role}",
        broker=[f"kafka://{address}" for address in broker.split(",")],
        key_serializer="raw",
        value_serializer="raw",
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        broker_commit_interval=3_600.0,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=1.5,
        broker_rebalance_timeout=30.0,
        stream_wait_empty=False,
        stream_buffer_maxsize=_BUFFERED_CHUNKS,
        consumer_group_instance_id=f"homeostat-{role}-{instance}",
    )
    app.source = source
    app.placed = asyncio.Event()
    return app
