"""One input partition of the gate: its producer, what it has read and not yet written, and its state.

One transaction holds the batches, the dead letters, the halves of exchanges, the accounting, the state's deltas and
the consumed offset of some input records: a crash leaves all of it or nothing. Opening the producer fences an older
owner; only then is the state read, so that nobody can add to it any more. The position to go on from is in the state,
too, because a broker may still show an older committed offset just after a take-over.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.values import Accounting
from homeostat.contract import key_of
from streams.broker.group import Record, close_within
from streams.control.configuration import Configuration
from streams.gate.config import GateConfig
from streams.gate.join import encode_half, give_up, join_halves
from streams.gate.known import KnownModels
from streams.gate.output import Output, Target, output_of
from streams.gate.places import STAGE
from streams.gate.reader import Reader
from streams.gate.spreads import Spreads
from streams.gate.strangers import Strangers
from streams.gate.waiting import Seen, Waiting

HEADER_KIND = "kind"
KIND_ACCOUNTING = b"accounting"

_ACCOUNT, _HALF, _SEEN, _NEXT = "account/", "half/", "seen/", "next"
"""Keys of the state topic."""

_TRANSACTION_TIMEOUT_MS = 15_000
"""How long a dead gate's open transaction can hold back readers of committed records; a restart ends it."""
_REQUEST_TIMEOUT_MS = 15_000
_MAX_REQUEST_BYTES = 1_040_000
_STOP_TIMEOUT_S = 5.0
_MAX_PENDING_RECORDS = 20_000
_MAX_PENDING_S = 0.4


class Lane:
    """One input partition. `take` reads records, `commit` writes what came of them, in one transaction. `refused`
    counts rows by the part of the event that was wrong."""

    def __init__(
        self,
        config: GateConfig,
        partition: TopicPartition,
        models: KnownModels,
        registered: Configuration,
    ) -> None:
        self._config = config
        self._models = models
        self._registered = registered
        self.partition = partition
        self.next_offset: int | None = None
        self.accounts: dict[str, Accounting] = {}
        self.refused: Counter[str] = Counter()
        self.waiting = Waiting()
        self._seen = Seen()
        self._strangers = Strangers(registered)
        self._reader = self._new_reader()
        self._first_s = 0.0
        self._newest_ms = 0
        self._newest_s = time.monotonic()
        self._event_partitions = self._half_partitions = 0
        self.number = account_partition(config, partition)
        name = config.name_of(partition.topic, partition.partition)
        self._name = name
        self._spreads = Spreads(registered, name)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=config.broker,
            client_id=f"{config.group}-{name}",
            transactional_id=f"{config.group}-{name}",
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            max_request_size=_MAX_REQUEST_BYTES,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )

    async def open(self) -> None:
        """Fence an older owner, then take over its state."""
        await self._producer.start()
        self._event_partitions = len(await self._producer.partitions_for(self._config.events))
        self._half_partitions = len(await self._producer.partitions_for(self._config.halves))
        state = self._config.state_of(self.partition.topic)
        states: set[int] = await self._producer.partitions_for(state)
        if self.partition.partition not in states:
            raise ValueError(
                f"{state} has {len(states)} partitions and {self.partition.topic} more: "
                f"partition {self.partition.partition} has no place for its state; give both the same number"
            )
        await self._restore(TopicPartition(state, self.partition.partition))

    async def close(self) -> None:
        """What is not committed is aborted by the next owner, or by the broker when its time is over."""
        await close_within(self._producer.stop(), _STOP_TIMEOUT_S)

    def take(self, records: Sequence[Record]) -> None:
        """Read records; what comes of them waits for `commit`."""
        if not self._reader.records:
            self._first_s = time.monotonic()
        self.next_offset = records[-1].offset + 1
        self._newest_ms = max(self._newest_ms, records[-1].timestamp)
        self._newest_s = time.monotonic()
        if self.partition.topic == self._config.halves:
            join_halves(records, self.waiting, self._reader, self._config.mapping)
        else:
            self._reader.read(records)
        give_up(self._newest_ms, self.waiting, self._reader, self._config.mapping)

    def idle(self) -> None:
        """Nothing comes: time passes for the halves that wait, too."""
        passed_ms = (time.monotonic() - self._newest_s) * 1_000
        give_up(self._newest_ms + int(passed_ms), self.waiting, self._reader, self._config.mapping)

    def is_due(self, *, busy: bool) -> bool:
        """Whether to commit now: while much comes, transactions are few and large."""
        reader = self._reader
        if not (reader.records or reader.bad):
            return False
        return (
            not busy
            or reader.records >= _MAX_PENDING_RECORDS
            or time.monotonic() - self._first_s >= _MAX_PENDING_S
        )

    async def commit(self, metadata: str = "") -> None:
        """One transaction for everything that was read since the last one; `metadata` goes with its offset."""
        target = Target(
            partitions=self._event_partitions,
            producer=f"gate-{self._name}",
            offset=(self.next_offset or 1) - 1,
            models=self._registered,
            admits=self._strangers.admits,
        )
        output = output_of(self._reader, target)
        for model, counts in output.counts.items():
            known = self.accounts.get(model) or Accounting(model=model, stage=STAGE, partition=self.number)
            self.accounts[model] = counts.onto(known)
        self._spreads.use(output.counts)
        self._reader = self._new_reader()
        try:
            # The client itself waits without end for a coordinator that is away. Whether a commit that timed
            # out took place is seen by the next owner, in the state.
            async with asyncio.timeout(_TRANSACTION_TIMEOUT_MS / 1_000):
                await self._producer.begin_transaction()
                await self._send_all(output)
                if self.next_offset is not None:
                    await self._producer.send_offsets_to_transaction(
                        {self.partition: (self.next_offset, metadata)}, self._config.group
                    )
                await self._producer.commit_transaction()
                self.refused.update(output.refused())
        except AssertionError as error:
            # How this client says that its producer is beyond use; a new one aborts and takes over.
            raise OSError(f"the transaction of partition {self.partition.partition} broke") from error

    async def _send_all(self, output: Output) -> None:
        config, send = self._config, self._producer.send
        sent = [
            await send(config.events, batch.value, batch.key, batch.partition, headers=batch.headers)
            for batch in output.batches
        ]
        sent += [await send(config.deadletters, one.to_json(), one.model.encode()) for one in output.letters]
        for half in output.halves:
            key = half.join.encode(errors="replace")
            place = key_of(half.join) % self._half_partitions
            sent.append(await send(config.halves, encode_half(half), key, place))
        for model in sorted(output.counts):
            value = msgspec.json.encode(self.accounts[model])
            headers = [(HEADER_KIND, KIND_ACCOUNTING)]
            sent.append(await send(config.metrics, value, model.encode(), headers=headers))
        state, partition = config.state_of(self.partition.topic), self.partition.partition
        for key, value in self._deltas(output):
            sent.append(await send(state, value, key.encode(errors="replace"), partition))
        # All are awaited before the first failure is told: one transaction fails once, not once per record.
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _deltas(self, output: Output) -> Iterator[tuple[str, bytes | None]]:
        for model in sorted(output.counts):
            yield _ACCOUNT + model, msgspec.json.encode(self.accounts[model])
        for join, half in self.waiting.halves.deltas():
            yield _HALF + join, half
        for key, arrived in self._seen.keys.deltas():
            yield _SEEN + key, arrived
        if self.next_offset is not None:
            yield _NEXT, str(self.next_offset).encode()

    async def _restore(self, place: TopicPartition) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._config.broker, isolation_level="read_committed")
        try:
            await consumer.start()
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(place, timeout_ms=1_000)).get(place, []):
                    self._apply((record.key or b"").decode(), record.value)
            self._newest_ms = int(time.time() * 1_000)
            self.waiting.resume(self._newest_ms)
        finally:
            await close_within(consumer.stop(), _STOP_TIMEOUT_S)

    def _apply(self, key: str, value: bytes | None) -> None:
        if key == _NEXT and value is not None:
            self.next_offset = int(value)
        elif key.startswith(_HALF):
            self.waiting.restore(key.removeprefix(_HALF), value)
        elif key.startswith(_SEEN):
            self._seen.keys.restore(key.removeprefix(_SEEN), value)
        elif key.startswith(_ACCOUNT) and value is not None:
            account = msgspec.json.decode(value, type=Accounting)
            self.accounts[account.model] = account
            self._strangers.restore(account.model)

    def _new_reader(self) -> Reader:
        return Reader(self._config.mapping, self._models, self._seen)


def account_partition(config: GateConfig, partition: TopicPartition) -> int:
    """The number of this input in the accounting: the partition's own for the main topic, and for other topics one
    that no partition of it has."""
    if partition.topic == config.ingest:
        return partition.partition
    return (key_of(partition.topic) % (2**20 - 1) + 1) * 1_024 + partition.partition
