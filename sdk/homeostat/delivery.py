"""The background thread: packs what waits, and delivers it to the broker for as long as that takes.

A session is one connection. When anything fails for good (the broker went away, forgot its producers,
answered nonsense), the session ends, and the next one resends what was not acknowledged: the same records,
the same sequences, in the same order. A partition has one request under way at a time, so its sequences
only rise.
"""

import asyncio
import logging
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from homeostat.arguments import Block
from homeostat.config import Config
from homeostat.keys import key_of
from homeostat.ledger import Ledger
from homeostat.packing import Item, Parcel, blocks_of, parcels_of

logger = logging.getLogger("homeostat")

CONNECT_TIMEOUT_S = 15.0
# Longer than the producer's own time-out of a request and its retry: only a client that is stuck gets there.
ACKNOWLEDGE_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_MS = 10_000
RETRY_BACKOFF_MS = 200
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
DISCONNECT_TIMEOUT_S = 1.0
# The broker's default limit, 1 MiB + 12 bytes, holds for a whole Kafka batch.
KAFKA_BATCH_BYTES = 1_000_000

_AIOKAFKA_LOGGERS = ("aiokafka", "aiokafka.conn", "aiokafka.cluster", "aiokafka.producer.sender")


class _NewProducerNeeded(Exception):
    """The session must end, though the broker is well."""


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in its own thread: helper threads cannot start any more while a process exits."""

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> list[Any]:
        return socket.getaddrinfo(host, port, **kwargs)


class Delivery:
    """Owns the thread: it starts with the first `wake` and ends with `stop`."""

    def __init__(self, config: Config, ledger: Ledger[Item], producer: str) -> None:
        self._config = config
        self._ledger = ledger
        self._producer_id = producer
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._packed = asyncio.Event()
        self._blocks: deque[Block] = deque()
        self._outbox: deque[Parcel] = deque()
        self._lanes: dict[int, deque[Parcel]] = {}
        self._one_by_one: set[int] = set()
        self._next_sequence = 0
        self._pause_s = FIRST_PAUSE_S
        self._away_since_s: float | None = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def wake(self) -> None:
        """Pack now rather than at the next tick."""
        if self._thread is None:
            self._start()
        loop = self._loop
        if loop is not None:
            # Between two sessions there is no loop to wake; the next one looks at the line first.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._woken.set)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is not None or self._stopping:
                return
            thread = threading.Thread(target=self._run, name="homeostat-sdk", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # Python refuses new threads while a process ends; the last rows then have no sender.
                self._ledger.tell("no thread", f"the background thread could not start ({error})")
            else:
                self._thread = thread

    def stop(self, timeout_s: float) -> None:
        """End the thread without waiting for the broker any longer."""
        with self._start_lock:
            self._stopping = True
        if self._thread is not None:
            self.wake()
            self._thread.join(timeout_s)

    def _run(self) -> None:
        filters = [(logging.getLogger(name), _Quiet(threading.get_ident())) for name in _AIOKAFKA_LOGGERS]
        for target, quiet in filters:
            target.addFilter(quiet)
        try:
            while not self._stopping:
                with asyncio.Runner(loop_factory=_Loop) as runner:
                    runner.get_loop().set_exception_handler(_note)
                    runner.run(self._session())
        finally:
            for target, quiet in filters:
                target.removeFilter(quiet)

    async def _session(self) -> None:
        self._woken, self._packed = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        packer = asyncio.create_task(self._pack())
        sender = asyncio.create_task(self._send())
        try:
            await asyncio.wait({packer, sender}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop = None
            packer.cancel()
            sender.cancel()
            outcomes = await asyncio.gather(packer, sender, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                self._note_failure(outcome)

    async def _pack(self) -> None:
        while not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._config.linger_s)
            self._woken.clear()
            items = self._ledger.take()
            self._blocks.extend(blocks_of(items, self._config.batch_rows))
            while self._blocks:
                # No await between taking a block and keeping its parcels: a session may end at any await.
                self._outbox.extend(parcels_of(self._blocks.popleft(), self._config, self._ledger))
                self._packed.set()
                await asyncio.sleep(0)

    async def _send(self) -> None:
        if self._away_since_s is not None:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        options: dict[str, Any] = {
            "bootstrap_servers": [address.strip() for address in self._config.broker.split(",")],
            "client_id": self._producer_id,
            "acks": "all",
            "enable_idempotence": True,
            "max_batch_size": KAFKA_BATCH_BYTES,
            "request_timeout_ms": REQUEST_TIMEOUT_MS,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            **self._config.kafka,
        }
        producer = AIOKafkaProducer(**options)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await producer.start()
                partitions = len(await producer.partitions_for(self._config.topic))
            self._note_connected()
            await self._dispatch(producer, partitions)
        finally:
            await _disconnect(producer)

    async def _dispatch(self, producer: AIOKafkaProducer, partitions: int) -> None:
        self._rehome(partitions)
        sending: dict[int, asyncio.Task[None]] = {}
        while True:
            while self._outbox:
                parcel = self._outbox.popleft()
                partition = (key_of(parcel.model) + parcel.slot) % partitions
                self._lanes.setdefault(partition, deque()).append(parcel)
            for partition, lane in self._lanes.items():
                if lane and partition not in sending:
                    sending[partition] = asyncio.create_task(self._deliver(producer, partition, lane))
            news = asyncio.create_task(self._packed.wait())
            done, _ = await asyncio.wait({news, *sending.values()}, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            self._packed.clear()
            for partition in [partition for partition, task in sending.items() if task in done]:
                sending.pop(partition).result()

    def _rehome(self, partitions: int) -> None:
        """A topic that was made anew with fewer partitions has no place for some lanes."""
        for partition in [partition for partition in self._lanes if partition >= partitions]:
            self._outbox.extendleft(reversed(self._lanes.pop(partition)))

    async def _deliver(self, producer: AIOKafkaProducer, partition: int, lane: deque[Parcel]) -> None:
        while lane:
            most = 1 if partition in self._one_by_one else len(lane)
            batch = producer.create_batch()
            taken: list[Parcel] = []
            for parcel in list(lane)[:most]:
                headers = parcel.headers(self._producer_id, self._sequence(parcel))
                key = parcel.model.encode()
                if batch.append(key=key, value=parcel.value, timestamp=None, headers=headers) is None:
                    break
                taken.append(parcel)
            batch.close()
            self._hand_over(taken)
            try:
                sent = await producer.send_batch(batch, self._config.topic, partition=partition)
                await asyncio.wait_for(sent, ACKNOWLEDGE_TIMEOUT_S)
            except MessageSizeTooLargeError as error:
                if len(taken) == 1:
                    self._make_smaller(lane)
                self._one_by_one.add(partition)
                # The refused request has used up sequence numbers of Kafka's own that the broker never saw.
                raise _NewProducerNeeded from error
            for parcel in taken:
                lane.popleft()
                self._ledger.acknowledged(parcel.ticket, parcel.rows)
        self._one_by_one.discard(partition)

    def _sequence(self, parcel: Parcel) -> int:
        if parcel.sequence is None:
            parcel.sequence = self._next_sequence
            self._next_sequence += 1
        return parcel.sequence

    def _hand_over(self, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            if not parcel.handed_over:
                parcel.handed_over = True
                self._ledger.sent(parcel.rows)

    def _make_smaller(self, lane: deque[Parcel]) -> None:
        parcel = lane.popleft()
        if parcel.rows == 1:
            told = (
                f"an event of model {parcel.model} has {len(parcel.value)} bytes, more than the broker takes"
            )
            self._ledger.dropped(parcel.ticket, 1, "too_large", told)
            return
        # The broker refused the sequences that the lane's parcels carry, and never saw those behind.
        for waiting in lane:
            waiting.sequence = None
        first, second = parcel.halves()
        first.handed_over = second.handed_over = True
        lane.extendleft((second, first))

    def _note_connected(self) -> None:
        self._pause_s = FIRST_PAUSE_S
        if self._away_since_s is not None:
            away_s = time.monotonic() - self._away_since_s
            logger.warning("homeostat: the broker %s is back after %.1f s", self._config.broker, away_s)
            self._away_since_s = None

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, _NewProducerNeeded):
            return
        if not isinstance(error, (KafkaError, OSError, TimeoutError)):
            logger.error("homeostat: sending events failed, trying again", exc_info=error)
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            logger.warning(
                "homeostat: no delivery to topic %s of broker %s (%s: %s); up to %d events wait in memory",
                self._config.topic,
                self._config.broker,
                type(error).__name__,
                error,
                self._config.max_rows,
            )


class _Quiet(logging.Filter):
    """Keeps the Kafka client's word on every retry, in this SDK's own thread only, out of the host's log."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread = thread

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


async def _disconnect(producer: AIOKafkaProducer) -> None:
    """Close the connection; what the producer still holds will be sent again by the next session."""
    with suppress(TimeoutError, KafkaError, OSError):
        await asyncio.wait_for(producer.stop(), DISCONNECT_TIMEOUT_S)
        return
    with suppress(TimeoutError, KafkaError, OSError):
        await asyncio.wait_for(producer.client.close(), DISCONNECT_TIMEOUT_S)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a failed session gave up: the failure has been told, and the records will be resent."""
    logger.debug("homeostat: %s", context.get("message"), exc_info=context.get("exception"))
