"""The record role: metric points, accounting and alerts from their topics into a database.

At least once, into upserts: offsets are committed when the store has the rows, so a crash repeats some and
loses none.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from detectors.structs import lay_out
from detectors.values import Accounting, Alert, MetricPoint
from streams.broker.group import (
    COMMIT_TIMEOUT_S,
    KAFKA_TROUBLE,
    Batches,
    GroupConfig,
    Record,
    consume,
    run_until_signal,
    wait_for_stop,
)
from streams.topics import ALERTS, METRICS

_log = structlog.get_logger()

_Row = TypeVar("_Row")

_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class RecordStore(Protocol):
    """Where the record goes. Each call is one transaction and idempotent; it is called from a worker thread.

    A point replaces one with the same id and no higher revision; an alert with a known id is the same alert;
    an accounting replaces the one with the same model, stage and partition unless its counts are older: a worker that
    slept beyond its session writes what it had in its hands after the one that took over. Any exception means "not
    stored": the call is repeated until it succeeds.
    """

    def upsert_points(self, points: list[MetricPoint]) -> None: ...
    def upsert_alerts(self, alerts: list[Alert]) -> None: ...
    def upsert_accounting(self, accounts: list[Accounting]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordConfig(GroupConfig):
    """How the record role runs; the topics differ from the defaults in tests only."""

    group: str = "homeostat-record"
    metrics: str = METRICS
    alerts: str = ALERTS
    max_records: int = 2_000


def run_record(config: RecordConfig, store: RecordStore) -> None:
    """Run until SIGTERM or SIGINT."""
    lay_out()
    run_until_signal(lambda stop: serve_record(config, store, stop))


async def serve_record(config: RecordConfig, store: RecordStore, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    await consume(config, [config.metrics, config.alerts], lambda: _Recorder(config, store, stop), stop)


@dataclass(slots=True)
class _Rows:
    """What one poll brought; of several with the same identity only the newest is written."""

    points: dict[str, MetricPoint] = field(default_factory=dict[str, MetricPoint])
    alerts: dict[str, Alert] = field(default_factory=dict[str, Alert])
    accounts: dict[tuple[str, str, int], Accounting] = field(
        default_factory=dict[tuple[str, str, int], Accounting]
    )

    def add(self, record: Record, *, alerts: bool) -> None:
        """Take one record; raises msgspec's error for one that cannot be read."""
        value = record.value or b""
        if alerts:
            alert = msgspec.json.decode(value, type=Alert)
            self.alerts.setdefault(alert.id, alert)
        elif dict(record.headers).get("kind") == b"accounting":
            account = msgspec.json.decode(value, type=Accounting)
            self.accounts[account.model, account.stage, account.partition] = account
        else:
            point = msgspec.json.decode(value, type=MetricPoint)
            known = self.points.get(point.id)
            if known is None or known.revision <= point.revision:
                self.points[point.id] = point


class _Recorder:
    def __init__(self, config: RecordConfig, store: RecordStore, stop: asyncio.Event) -> None:
        self._config = config
        self._store = store
        self._stop = stop

    async def assigned(
        self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]
    ) -> dict[TopicPartition, int]:
        return {}

    async def handle(self, consumer: AIOKafkaConsumer, batches: Batches) -> None:
        if not batches:
            return
        rows = self._rows(batches)
        stored = (
            await self._write(self._store.upsert_points, list(rows.points.values()))
            and await self._write(self._store.upsert_accounting, list(rows.accounts.values()))
            and await self._write(self._store.upsert_alerts, list(rows.alerts.values()))
        )
        if stored:
            await self._commit(consumer, {one: records[-1].offset + 1 for one, records in batches.items()})

    async def released(self, consumer: AIOKafkaConsumer | None) -> None:
        pass

    def _rows(self, batches: Batches) -> _Rows:
        rows = _Rows()
        for partition, records in batches.items():
            for record in records:
                try:
                    rows.add(record, alerts=partition.topic == self._config.alerts)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    _log.error(
                        "A record of the judge cannot be read and is left out.",
                        topic=record.topic,
                        partition=record.partition,
                        offset=record.offset,
                        reason=str(error),
                    )
        return rows

    async def _write(self, upsert: Callable[[list[_Row]], None], rows: list[_Row]) -> bool:
        """Store the rows, however long it takes; False when the worker is to stop first."""
        failures = 0
        while rows:
            try:
                await asyncio.to_thread(upsert, rows)
                return True
            except Exception as error:  # noqa: BLE001 - the database's own errors are unknown here
                pause_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
                failures += 1
                _log.warning(
                    "The database did not take the record; trying again. Nothing is lost meanwhile.",
                    rows=len(rows),
                    reason=repr(error),
                    retry_in_s=pause_s,
                )
                if await wait_for_stop(self._stop, pause_s):
                    return False
        return True

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        try:
            await asyncio.wait_for(consumer.commit(dict(offsets)), COMMIT_TIMEOUT_S)
        except KAFKA_TROUBLE as error:
            # What is read again is upserted again.
            _log.info("Offsets of the record could not be committed yet.", reason=repr(error))
