"""The record role on a real broker: everything in the store, whatever is killed or away."""

import asyncio
import random
import signal
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from db.engine import connect, reading
from db.migrate import upgrade
from db.points import SqlRecordStore
from db.tables import PointRow
from detectors.values import Accounting, Alert, MetricPoint
from streams.record import RecordConfig, serve_record
from tests.patience import PATIENCE_S
from tests.streams.parts import Worker, make_topics, produce, until

CODE = """
import json, sys
from streams.record import RecordConfig, run_record
from tests.streams.test_record import SqliteStore
config = json.loads(sys.argv[1])
run_record(RecordConfig(**config), SqliteStore(config["group"] + ".db"))
"""
SLEEPY_CODE = """
import json, sys
from pathlib import Path
from streams.record import RecordConfig, run_record
from tests.streams.test_record import SleepyStore
config = json.loads(sys.argv[1])
store = SleepyStore(Path(config.pop("folder")))
run_record(RecordConfig(**config), store)
"""
ACCOUNTING = [("kind", b"accounting")]


class SqliteStore:
    """A store as small as can be, in a file, so that it survives its process."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS points (id PRIMARY KEY, revision, value)")
            database.execute("CREATE TABLE IF NOT EXISTS alerts (id PRIMARY KEY)")
            database.execute(
                "CREATE TABLE IF NOT EXISTS accounts (model, partition, received, UNIQUE (model, partition))"
            )

    def upsert_points(self, points: list[MetricPoint]) -> None:
        with self._open() as database:
            database.executemany(
                "INSERT INTO points VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision,"
                " value = excluded.value WHERE excluded.revision >= revision",
                [(point.id, point.revision, point.value) for point in points],
            )

    def upsert_alerts(self, alerts: list[Alert]) -> None:
        with self._open() as database:
            database.executemany(
                "INSERT INTO alerts VALUES (?) ON CONFLICT DO NOTHING", [(one.id,) for one in alerts]
            )

    def upsert_accounting(self, accounts: list[Accounting]) -> None:
        with self._open() as database:
            database.executemany(
                "INSERT INTO accounts VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET received = excluded.received",
                [(one.model, one.partition, one.received) for one in accounts],
            )

    def rows(self, table: str) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as database:
            return sorted(database.execute(f"SELECT * FROM {table}"))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=PATIENCE_S)


class _Refusing(SqliteStore):
    """Away for the first calls."""

    calls = 0

    def upsert_points(self, points: list[MetricPoint]) -> None:
        self.calls += 1
        if self.calls < 3:
            raise sqlite3.OperationalError("database is locked")
        super().upsert_points(points)


class SleepyStore(SqlRecordStore):
    """The product's. Where it is told to, it falls asleep with rows in its hands, at the worst of all moments: they are
    as old as its sleep is long when they are written."""

    def __init__(self, folder: Path) -> None:
        self.engine = connect(f"sqlite:///{folder / 'record.db'}")
        super().__init__(self.engine)
        self.orders, self.awake = folder / "sleep", folder / "awake"

    def upsert_points(self, points: Iterable[MetricPoint]) -> None:
        if self.orders.exists():
            self.orders.unlink()
            # To this thread: it is the one that must not take another step.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        super().upsert_points(points)

    def upsert_accounting(self, accounts: Iterable[Accounting]) -> None:
        super().upsert_accounting(accounts)
        self.awake.touch()

    def everything(self) -> tuple[dict[str, MetricPoint], list[Accounting]]:
        """All points and accounts."""
        with reading(self.engine) as connection:
            found = [msgspec.convert(one, MetricPoint) for one in connection.scalars(select(PointRow.value))]
        return {point.id: point for point in found}, self.accounting()


def _point(number: int, revision: int) -> bytes:
    point = MetricPoint(
        id=f"p{number}",
        model="m",
        version="1",
        axis="event",
        window="w",
        start_us=0,
        end_us=1,
        rows=1,
        measure="psi",
        value=float(number * 10 + revision),
        revision=revision,
    )
    return msgspec.json.encode(point)


def _alert(number: int) -> bytes:
    alert = Alert(
        id=f"a{number}",
        model="m",
        version="1",
        kind="performance",
        state="firing",
        axis="label",
        window="w",
        start_us=0,
        end_us=1,
        change_us=0,
        rows=1,
        reason="accuracy fell",
    )
    return msgspec.json.encode(alert)


def _account(partition: int, received: int) -> bytes:
    return msgspec.json.encode(Accounting(model="m", stage="gate", partition=partition, received=received))


async def _config(kafka: str, prefix: str, **more: Any) -> dict[str, Any]:
    names = {"metrics": f"{prefix}-metrics", "alerts": f"{prefix}-alerts"}
    await make_topics(kafka, dict.fromkeys(names.values(), 2))
    return {"broker": kafka, "group": prefix, **names, **more}


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
async def test_records_reach_a_store_that_was_away(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    config = RecordConfig(**await _config(kafka, topic_prefix))
    store, stop = _Refusing(str(tmp_path / "r.db")), asyncio.Event()
    await produce(kafka, config.metrics, [_point(1, 2), _point(2, 1), b"{}", None], partition=0)
    await produce(kafka, config.metrics, [_point(1, 1)], partition=0)
    await produce(kafka, config.metrics, [_account(0, 5), _account(0, 7)], partition=1, headers=ACCOUNTING)
    await produce(kafka, config.alerts, [_alert(1), _alert(1), b"\xff"])
    record = asyncio.create_task(serve_record(config, store, stop))
    await until("alerts are stored", lambda: store.rows("alerts"))
    await until("points are stored", lambda: len(store.rows("points")) == 2)
    await until("accounts are stored", lambda: store.rows("accounts"))
    stop.set()
    await record
    assert store.calls >= 3
    assert store.rows("points") == [("p1", 2, 12.0), ("p2", 1, 21.0)]
    assert store.rows("alerts") == [("a1",)]
    assert store.rows("accounts") == [("m", 0, 7)]


async def test_it_stops_while_the_store_is_away(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    config = RecordConfig(**await _config(kafka, topic_prefix))
    store, stop = _Refusing(str(tmp_path / "r.db")), asyncio.Event()
    store.calls = -1_000_000
    await produce(kafka, config.metrics, [_point(1, 1)])
    record = asyncio.create_task(serve_record(config, store, stop))
    await until("the store has refused", lambda: store.calls > -1_000_000)
    stop.set()
    await asyncio.wait_for(record, PATIENCE_S)
    assert store.rows("points") == []


@pytest.mark.slow
async def test_who_sleeps_beyond_its_session_turns_nothing_back(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Its rows are written after those of the worker that took over, which had newer ones."""
    config = await _config(kafka, topic_prefix, folder=str(tmp_path))
    upgrade(f"sqlite:///{tmp_path / 'record.db'}")
    store = SleepyStore(tmp_path)
    sleeper, other = (Worker(SLEEPY_CODE, config, tmp_path / f"record{number}.log") for number in range(2))
    accounts = [
        Accounting(
            model="m",
            stage="profile",
            partition=0,
            received=9,
            label_received=5,
            joined=joined,
            waiting=5 - joined,
        )
        for joined in range(6)
    ]
    numbers = range(40)

    async def send(revision: int, count: Accounting) -> None:
        await produce(kafka, config["metrics"], [_point(n, revision) for n in numbers], partition=0)
        value: list[bytes | None] = [msgspec.json.encode(count)]
        await produce(kafka, config["metrics"], value, partition=0, headers=ACCOUNTING)

    try:
        store.orders.touch()
        await send(1, accounts[0])
        sleeper.start()
        await until("it sleeps", lambda: not store.orders.exists())
        other.start()
        for revision in range(2, 6):
            await send(revision, accounts[revision])
        final = {f"p{number}": msgspec.json.decode(_point(number, 5), type=MetricPoint) for number in numbers}
        await until("the other has everything", lambda: store.everything() == (final, [accounts[5]]))
        store.awake.unlink()
        sleeper.send(signal.SIGCONT)
        await until("the sleeper has written what it had", store.awake.exists)
        assert store.everything() == (final, [accounts[5]])
        assert [sleeper.stop(), other.stop()] == [0, 0]
        assert store.everything() == (final, [accounts[5]])
    finally:
        sleeper.close()
        other.close()
        store.engine.dispose()


@pytest.mark.slow
async def test_kill_9_in_mid_stream_changes_nothing(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    config = await _config(kafka, topic_prefix, instance="record-0", max_records=20)
    config["group"] = str(tmp_path / topic_prefix)
    store = SqliteStore(config["group"] + ".db")
    worker, rng, count = Worker(CODE, config, tmp_path / "record.log"), random.Random(5), 750
    worker.start()
    try:
        for start in range(0, count, 50):
            numbers = range(start, start + 50)
            await produce(
                kafka,
                config["metrics"],
                [_point(n // 3, n % 3 + 1) for n in numbers],
                partition=start // 50 % 2,
            )
            await produce(
                kafka, config["metrics"], [_account(0, start + 50)], partition=0, headers=ACCOUNTING
            )
            await produce(kafka, config["alerts"], [_alert(n) for n in numbers])
            await asyncio.sleep(rng.random() * 0.2)
            if start in (250, 300, 500):
                worker.kill()
                worker.start()
        await until("all alerts", lambda: len(store.rows("alerts")) == count)
        await until("all points", lambda: len(store.rows("points")) == count // 3)
        await until("the last accounting", lambda: store.rows("accounts") == [("m", 0, count)])
        assert worker.stop() == 0
    finally:
        worker.close()
