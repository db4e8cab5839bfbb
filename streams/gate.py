"""The gate: single JSON events in, columnar batches out, refused rows to dead letters. Effectively once.

Each input partition has a transactional producer of its own (`{group}-{partition}`). One transaction holds
the batches, the dead letters, the accounting, the gate's state and the consumed offset of some input records:
a crash leaves all of it or nothing. Opening the producer fences an older owner; only then is the state read,
so that nobody can add to it any more. The position to go on from is in the state too, because a broker may
still show an older committed offset just after a take-over.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.values import Accounting
from streams.deadletters import DeadLetter
from streams.gate_batches import Batch, Grouping, to_records
from streams.gate_rows import BadRow, LabelRow, parse_record
from streams.group import (
    Batches,
    GroupConfig,
    Record,
    close_within,
    consume,
    run_until_signal,
)
from streams.topics import DEADLETTERS, EVENTS, GATE_STATE, INGEST, METRICS

_log = structlog.get_logger()

HEADER_KIND = "kind"
KIND_ACCOUNTING = b"accounting"
HEADER_NEXT = "next"
"""On a state record: the input offset to go on from."""

STAGE = "gate"

_LINGER_S = 0.05
"""Pause after a transaction, so that slow single events come together in batches and commits stay few."""
_TRANSACTION_TIMEOUT_MS = 15_000
"""How long a dead gate's open transaction can hold back readers of committed records; a restart ends it."""
_REQUEST_TIMEOUT_MS = 15_000
_MAX_REQUEST_BYTES = 1_040_000
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig(GroupConfig):
    """How the gate runs; the topics differ from the defaults in tests only."""

    group: str = "homeostat-gate"
    ingest: str = INGEST
    events: str = EVENTS
    deadletters: str = DEADLETTERS
    metrics: str = METRICS
    state: str = GATE_STATE


def run_gate(config: GateConfig) -> None:
    """Run until SIGTERM or SIGINT."""
    run_until_signal(lambda stop: serve_gate(config, stop))


async def serve_gate(config: GateConfig, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    await consume(config, [config.ingest], lambda: _Gate(config), stop)


class _Gate:
    """All partitions that this process owns."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._lanes: dict[TopicPartition, _Lane] = {}

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        lanes = [_Lane(self._config, partition) for partition in sorted(partitions)]
        self._lanes = {lane.partition: lane for lane in lanes}
        await asyncio.gather(*(lane.open() for lane in lanes))
        starts: dict[TopicPartition, int] = {}
        for lane in lanes:
            known = [lane.next_offset, await consumer.committed(lane.partition)]
            offsets = [offset for offset in known if offset is not None]
            if offsets:
                starts[lane.partition] = max(offsets)
        _log.info("The gate reads.", partitions=[partition.partition for partition in sorted(partitions)])
        return starts

    async def handle(self, consumer: AIOKafkaConsumer, batches: Batches) -> None:
        if not batches:
            return
        await asyncio.gather(
            *(self._lanes[partition].pass_on(records) for partition, records in batches.items())
        )
        await asyncio.sleep(_LINGER_S)

    async def released(self, consumer: AIOKafkaConsumer | None) -> None:
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.close() for lane in lanes.values()))


class _Lane:
    """One input partition: its producer and what it has counted."""

    def __init__(self, config: GateConfig, partition: TopicPartition) -> None:
        self._config = config
        self.partition = partition
        self.next_offset: int | None = None
        self._accounts: dict[str, Accounting] = {}
        self._event_partitions = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=config.broker,
            client_id=f"{config.group}-{partition.partition}",
            transactional_id=f"{config.group}-{partition.partition}",
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            max_request_size=_MAX_REQUEST_BYTES,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )

    async def open(self) -> None:
        """Fence an older owner, then take over its state."""
        await self._producer.start()
        self._event_partitions = len(await self._producer.partitions_for(self._config.events))
        states: set[int] = await self._producer.partitions_for(self._config.state)
        if self.partition.partition not in states:
            raise ValueError(
                f"{self._config.state} has {len(states)} partitions and {self.partition.topic} more: "
                f"partition {self.partition.partition} has no place for its state; give both the same number"
            )
        await self._restore()

    async def pass_on(self, records: Sequence[Record]) -> None:
        """One transaction for these records."""
        next_offset = records[-1].offset + 1
        accounts = dict(self._accounts)
        grouping = Grouping(self._event_partitions)
        letters: list[DeadLetter] = []
        changed: set[str] = set()
        for record in records:
            for row in parse_record(record.value):
                label = row.label if isinstance(row, BadRow) else isinstance(row, LabelRow)
                account = accounts.get(row.model) or self._new_account(row.model)
                accounts[row.model] = _counted(account, label=label, dead=isinstance(row, BadRow))
                changed.add(row.model)
                if isinstance(row, BadRow):
                    letters.append(_letter(record, row))
                else:
                    grouping.add(row)
        batches = to_records(grouping, producer=f"gate-{self.partition.partition}", offset=records[-1].offset)
        await self._commit(batches, letters, [accounts[model] for model in sorted(changed)], next_offset)
        self._accounts = accounts
        self.next_offset = next_offset

    async def close(self) -> None:
        """What is not committed is aborted by the next owner, or by the broker when its time is over."""
        await close_within(self._producer.stop(), _STOP_TIMEOUT_S)

    async def _commit(
        self,
        batches: Sequence[Batch],
        letters: Sequence[DeadLetter],
        accounts: Sequence[Accounting],
        next_offset: int,
    ) -> None:
        try:
            # The client itself waits without end for a coordinator that is away. Whether a commit that timed
            # out took place is seen by the next owner, in the state.
            async with asyncio.timeout(_TRANSACTION_TIMEOUT_MS / 1_000):
                await self._producer.begin_transaction()
                await self._send_all(batches, letters, accounts, next_offset)
                await self._producer.send_offsets_to_transaction(
                    {self.partition: next_offset}, self._config.group
                )
                await self._producer.commit_transaction()
        except AssertionError as error:
            # How this client says that its producer is beyond use; a new one aborts and takes over.
            raise OSError(f"the transaction of partition {self.partition.partition} broke") from error

    async def _send_all(
        self,
        batches: Sequence[Batch],
        letters: Sequence[DeadLetter],
        accounts: Sequence[Accounting],
        next_offset: int,
    ) -> None:
        config, send = self._config, self._producer.send
        sent = [
            await send(config.events, batch.value, batch.key, batch.partition, headers=batch.headers)
            for batch in batches
        ]
        sent += [await send(config.deadletters, one.to_json(), one.model.encode()) for one in letters]
        for account in accounts:
            key, value = account.model.encode(), msgspec.json.encode(account)
            sent.append(await send(config.metrics, value, key, headers=[(HEADER_KIND, KIND_ACCOUNTING)]))
            headers = [(HEADER_NEXT, str(next_offset).encode())]
            sent.append(await send(config.state, value, key, self.partition.partition, headers=headers))
        # All are awaited before the first failure is told: one transaction fails once, not once per record.
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _restore(self) -> None:
        place = TopicPartition(self._config.state, self.partition.partition)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._config.broker, isolation_level="read_committed")
        await consumer.start()
        try:
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(place, timeout_ms=1_000)).get(place, []):
                    self._apply(record)
        finally:
            await close_within(consumer.stop(), _STOP_TIMEOUT_S)

    def _apply(self, record: Record) -> None:
        account = msgspec.json.decode(record.value or b"", type=Accounting)
        self._accounts[account.model] = account
        self.next_offset = int(dict(record.headers)[HEADER_NEXT])

    def _new_account(self, model: str) -> Accounting:
        return Accounting(model=model, stage=STAGE, partition=self.partition.partition)


def _counted(account: Accounting, *, label: bool, dead: bool) -> Accounting:
    if label:
        return msgspec.structs.replace(
            account,
            label_received=account.label_received + 1,
            label_deadlettered=account.label_deadlettered + dead,
        )
    return msgspec.structs.replace(
        account, received=account.received + 1, deadlettered=account.deadlettered + dead
    )


def _letter(record: Record, row: BadRow) -> DeadLetter:
    return DeadLetter(
        reason=row.reason,
        field=row.field,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        row=row.row,
        model=row.model,
        stage=STAGE,
        original=row.original,
    )
