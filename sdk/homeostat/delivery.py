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

from homeostat.config import Config
from homeostat.intake import Intake
from homeostat.ledger import Ledger
from homeostat.outbox import ADOPT_EVERY_S, Outbox
from homeostat.packing import Parcel, parcels_of_unit

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
# How often the line is looked at for full batches.
LOOK_EVERY_S = 0.1
# A broker that is well answers much sooner.
SPOOL_AFTER_S = 1.0
# Between two batches the host's threads have the interpreter to themselves for a moment.
BREATH_S = 0.0005

_AIOKAFKA_LOGGERS = ("aiokafka", "aiokafka.conn", "aiokafka.cluster", "aiokafka.producer.sender")


class _NewProducerNeeded(Exception):
    """The session must end, though the broker is well."""


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in its own thread: helper threads cannot start any more while a process exits."""

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> list[Any]:
        return socket.getaddrinfo(host, port, **kwargs)


class Delivery:
    """Owns the thread, which starts with the first row and ends with `stop`; `intake` is what it packs."""

    def __init__(self, config: Config, ledger: Ledger, producer: str) -> None:
        self.intake = Intake(config, ledger, self.start, self.wake)
        self._config = config
        self._ledger = ledger
        self._producer_id = producer
        self._outbox = Outbox(config, ledger, producer)
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._packed = asyncio.Event()
        self._one_by_one: set[int] = set()
        self._pause_s = FIRST_PAUSE_S
        self._away_since_s: float | None = None

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is not None:
            return
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

    def wake(self) -> None:
        """Pack now rather than at the next look."""
        loop = self._loop
        if loop is not None:
            # Between two sessions there is no loop to wake; the next one looks at the line first.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._woken.set)

    def stop(self, timeout_s: float) -> None:
        """End the thread without waiting for the broker any longer; what has a spool goes there."""
        with self._start_lock:
            self._stopping = True
        if self._thread is not None:
            self.wake()
            self._thread.join(timeout_s)

    def abandon(self) -> None:
        """In a forked child: thread, loop and sockets are the parent's, and stay untouched."""
        self._outbox.abandon()

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
            if self._config.spool_dir is not None:
                self.intake.close()
                while (unit := self.intake.take()) is not None:
                    self._outbox.add(parcels_of_unit(unit, self._config, self._ledger))
                self._outbox.spool_waiting(longer_than_s=0)
            self._outbox.close()

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
        linger_s = self._config.linger_s
        look_s = min(linger_s, LOOK_EVERY_S)
        while not self._stopping:
            self.intake.look(older_than_s=linger_s - look_s)
            while not self._stopping and (unit := self.intake.take()) is not None:
                # No await between taking a unit and keeping its parcels: a session may end at any await.
                self._outbox.add(parcels_of_unit(unit, self._config, self._ledger))
                self._packed.set()
                await asyncio.sleep(BREATH_S)
            hurry = self._away_since_s is not None or self._ledger.half_full
            self._outbox.spool_waiting(longer_than_s=0 if hurry else SPOOL_AFTER_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), look_s)
            self._woken.clear()

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
        sending: dict[int, asyncio.Task[None]] = {}
        while True:
            self._outbox.adopt()
            self._outbox.assign(partitions)
            for partition, lane in self._outbox.lanes.items():
                if lane and partition not in sending:
                    sending[partition] = asyncio.create_task(self._deliver(producer, partition, lane))
            news = asyncio.create_task(self._packed.wait())
            done, _ = await asyncio.wait(
                {news, *sending.values()}, timeout=ADOPT_EVERY_S, return_when=asyncio.FIRST_COMPLETED
            )
            news.cancel()
            self._packed.clear()
            for partition in [partition for partition, task in sending.items() if task in done]:
                sending.pop(partition).result()

    async def _deliver(self, producer: AIOKafkaProducer, partition: int, lane: deque[Parcel]) -> None:
        while lane:
            most = 1 if partition in self._one_by_one else len(lane)
            batch = producer.create_batch()
            taken: list[Parcel] = []
            for parcel, value, sequence in self._outbox.ready(lane, most):
                headers = parcel.headers(self._producer_id, sequence)
                key = parcel.model.encode()
                if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    break
                taken.append(parcel)
            batch.close()
            if not taken:
                continue
            self._hand_over(taken)
            try:
                sent = await producer.send_batch(batch, self._config.topic, partition=partition)
                await asyncio.wait_for(sent, ACKNOWLEDGE_TIMEOUT_S)
            except MessageSizeTooLargeError as error:
                if len(taken) == 1:
                    self._outbox.make_smaller(lane)
                self._one_by_one.add(partition)
                # The refused request has used up sequence numbers of Kafka's own that the broker never saw.
                raise _NewProducerNeeded from error
            for parcel in taken:
                lane.popleft()
                self._outbox.delivered(parcel)
        self._one_by_one.discard(partition)

    def _hand_over(self, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            if not parcel.handed_over:
                parcel.handed_over = True
                self._ledger.sent(parcel.rows)

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
            # Kafka's own errors begin with their names.
            reason = str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}"
            logger.warning(
                "homeostat: no delivery to topic %s of broker %s (%s); up to %d events wait in memory%s",
                self._config.topic,
                self._config.broker,
                reason,
                self._config.max_rows,
                "" if self._config.spool_dir is None else f", others in {self._config.spool_dir}",
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
