"""In-memory stand-ins for the ports of remediation but the journal, with a hook at every effect where a test can kill
the agent."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from detectors.reference import FeatureReference, Reference, build_reference
from detectors.values import FeatureSpec
from remediation.notices import Notice
from remediation.reminders import Reminder
from remediation.training_values import TrainedModel, TrainingSet
from remediation.values import (
    Acknowledgement,
    Approval,
    Desired,
    Incident,
    ModelVersion,
    Plan,
)
from streams.bus import Message

S = 1_000_000
FEATURES = ("radius", "texture")


class Killed(BaseException):
    """kill -9."""


@dataclass
class Faults:
    """Numbers every effect boundary; kills, or times out after the effect, at the chosen one."""

    kill_at: int | None = None
    raise_at: int | None = None
    passed: list[str] = field(default_factory=list)

    def __call__(self, where: str) -> None:
        position = len(self.passed)
        self.passed.append(where)
        if position == self.kill_at:
            raise Killed(f"{position}: {where}")
        if position == self.raise_at:
            raise TimeoutError(f"{position}: {where}")


class ManualClock:
    """Time that a test moves."""

    def __init__(self, now_us: int = 1_700_000_000 * S) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def advance(self, duration_s: float) -> None:
        self._now_us += round(duration_s * S)


class FakeBus:
    """Topics as lists."""

    def __init__(self, faults: Faults) -> None:
        self.topics: dict[str, list[Message]] = {}
        self.faults = faults
        self.listeners: list[Callable[[str, bytes], None]] = []

    async def publish(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> None:
        self.faults(f"before publish {topic}")
        log = self.topics.setdefault(topic, [])
        message = Message(
            topic=topic,
            partition=0,
            offset=len(log),
            key=key,
            value=value,
            headers=dict(headers or {}),
            timestamp_ms=0,
        )
        log.append(message)
        for listener in self.listeners:
            listener(topic, value or b"")
        self.faults(f"after publish {topic}")

    async def follow(self, topic: str, *, group: str | None = None) -> AsyncIterator[Message]:
        position = 0
        while True:
            for message in self.topics.get(topic, [])[position:]:
                position += 1
                yield message
            await asyncio.sleep(0.005)

    async def follow_batches(
        self, topic: str, *, group: str | None = None, at_most: int
    ) -> AsyncIterator[Sequence[Message]]:
        position = 0
        while True:
            found = self.topics.get(topic, [])[position : position + at_most]
            if found:
                position += len(found)
                yield found
            await asyncio.sleep(0.005)

    async def read_all(self, topic: str) -> list[Message]:
        return list(self.topics.get(topic, []))


def make_onnx(rule: str) -> bytes:
    """`good` knows the truth, `bad` says 1 to everybody; anything after a colon makes the bytes differ."""
    return rule.encode()


def digest_of(onnx: bytes) -> str:
    return "sha256:" + hashlib.sha256(onnx).hexdigest()


class FakeRegistry:
    """Versions in order of registration."""

    def __init__(self, faults: Faults, clock: ManualClock) -> None:
        self.faults = faults
        self._clock = clock
        self.entries: dict[tuple[str, str], ModelVersion] = {}
        self.artifacts: dict[tuple[str, str], bytes] = {}
        self.alias: dict[str, str] = {}

    def add(self, model: str, version: str, rule: str, features: tuple[str, ...] = FEATURES) -> ModelVersion:
        onnx = make_onnx(rule)
        entry = ModelVersion(model=model, version=version, digest=digest_of(onnx), features=features)
        self.entries[model, version] = entry
        self.artifacts[model, version] = onnx
        return entry

    def register(self, trained: TrainedModel, *, tags: Mapping[str, str]) -> ModelVersion:
        self.faults("before register")
        version = str(len(self.versions(trained.model)) + 1)
        entry = ModelVersion(
            model=trained.model,
            version=version,
            digest=trained.digest,
            features=trained.features,
            tags=dict(tags),
        )
        self.entries[trained.model, version] = entry
        self.artifacts[trained.model, version] = trained.onnx
        self.faults("after register")
        return entry

    def version(self, model: str, version: str) -> ModelVersion | None:
        return self.entries.get((model, version))

    def versions(self, model: str) -> list[ModelVersion]:
        return [entry for (name, _), entry in self.entries.items() if name == model]

    def models(self) -> dict[str, list[str]]:
        return {name: [each.version for each in self.versions(name)] for name, _ in self.entries}

    def onnx(self, model: str, version: str) -> bytes:
        return self.artifacts[model, version]

    def reference(self, model: str, version: str) -> Reference:
        edges, counts = (1.0, 2.0, 3.0), (10, 20, 20, 10)
        columns = tuple(
            FeatureReference(spec=FeatureSpec(name=name), missing=0, edges=edges, counts=counts)
            for name in self.entries[model, version].features
        )
        return Reference(
            model=model, version=version, rows=60, effective_rows=60, rows_identify=True, features=columns
        )

    def set_champion(self, model: str, version: str) -> None:
        self.faults("before alias")
        self.alias[model] = version
        self.faults("after alias")

    def champion(self, model: str) -> str | None:
        return self.alias.get(model)


class FakeTrainer:
    """Gives the rule it was told to give."""

    def __init__(self, faults: Faults, rule: str = "good") -> None:
        self.faults = faults
        self.rule = rule
        self.sets: list[TrainingSet] = []
        self.takes: asyncio.Event | None = None
        """Until it is set the training goes on."""

        self.broken_off = 0

    async def train(self, data: TrainingSet, *, seed: int) -> TrainedModel:
        self.faults("before train")
        self.sets.append(data)
        try:
            if self.takes is not None:
                await self.takes.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        columns = {name: data.features[name].to_numpy() for name in data.features.columns}
        reference = build_reference(
            data.model,
            "new",
            columns,
            [FeatureSpec(name=name) for name in columns],
            labels=data.labels.to_numpy(),
        )
        self.faults("after train")
        return TrainedModel(
            model=data.model,
            algorithm="fake",
            onnx=make_onnx(f"{self.rule}:{seed}"),
            features=tuple(columns),
            metrics={"f1": 1.0},
            candidates={"fake": 1.0},
            reference=reference,
            rows=len(data.features),
        )


class FakeScorer:
    """Runs the rules of `make_onnx`."""

    def score(self, onnx: bytes, features: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
        if onnx.startswith(b"good"):
            return (features["radius"].to_numpy() > 0).astype(np.float64)
        return np.ones(len(features))


class FakeArchive:
    """Events whose label is 1 where the radius is above 0; since `change_us` the radius is shifted up."""

    def __init__(self, change_us: int, rows: int = 900, people: int = 120, seed: int = 0) -> None:
        self.change_us = change_us
        self.rows = rows
        self.people = people
        self.seed = seed
        self.asked_until_us: tuple[int | None, int | None] = (None, None)

    def labelled(
        self,
        model: str,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        known_until_us: int | None = None,
    ) -> pd.DataFrame:
        self.asked_until_us = (until_us, known_until_us)
        generator = np.random.default_rng(self.seed)
        parts = [
            self._part(generator, self.change_us - 3_600 * S, 0.0),
            self._part(generator, self.change_us, 0.5),
        ]
        frame = pd.concat(parts, ignore_index=True)
        return frame[frame["time_us"] >= (since_us or 0)].reset_index(drop=True)

    def requests(self, model: str, *, since_us: int, until_us: int) -> pd.DataFrame:
        return pd.DataFrame({name: [] for name in ("time_us", "version", "latency_ms", "failed")})

    def _part(self, generator: np.random.Generator, start_us: int, shift: float) -> pd.DataFrame:
        people = generator.normal(shift, 1.0, size=(self.people, 2))
        visits = people[generator.integers(self.people, size=self.rows)]
        time_us = start_us + np.arange(self.rows) * 6_000
        return pd.DataFrame(
            {
                "id": [f"{start_us}-{n}" for n in range(self.rows)],
                "time_us": time_us,
                "version": "1",
                "prediction": 1,
                "score": 0.5,
                "label": (visits[:, 0] > 0).astype(np.int64),
                "label_time_us": time_us + 1_000,
                "f.radius": visits[:, 0],
                "f.texture": visits[:, 1],
            }
        )


class FakeNotifier:
    """Remembers what was said; `down` answers False."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.down = False

    async def approval_requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        return self._say("requested", approval.id)

    async def approval_changed(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        return self._say("changed", approval.id)

    async def approval_decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        return self._say("decided", approval.id)

    async def approval_reminded(
        self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder
    ) -> bool:
        return self._say(reminder.name, approval.id)

    async def incident_closed(self, incident: Incident) -> bool:
        return self._say("closed", incident.id)

    async def noticed(self, notice: Notice, incident: Incident | None) -> bool:
        return self._say(notice.kind, notice.id)

    def _say(self, what: str, about: str) -> bool:
        if not self.down:
            self.said.append((what, about))
        return not self.down


class FakeServing:
    """Inference servers that follow the desired state and acknowledge on the bus."""

    def __init__(
        self, bus: FakeBus, registry: FakeRegistry, clock: ManualClock, servers: Sequence[str]
    ) -> None:
        self._bus, self._registry, self._clock = bus, registry, clock
        self.servers = list(servers)
        self.refuses: set[str] = set()
        self.silent: set[str] = set()
        self.serves: dict[str, Desired] = {}
        self.acknowledgements: list[Acknowledgement] = []
        bus.listeners.append(self._hear)

    def _hear(self, topic: str, value: bytes) -> None:
        if topic != "desired":
            return
        desired = msgspec.json.decode(value, type=Desired)
        known = self.serves.get(desired.model)
        if known is not None and known.epoch > desired.epoch:
            return
        loaded = desired.version not in self.refuses
        if loaded:
            self.serves[desired.model] = desired
        for server in self.servers:
            if server not in self.silent:
                self.acknowledgements.append(self._said(desired, server, loaded))

    def _said(self, desired: Desired, server: str, loaded: bool) -> Acknowledgement:
        return Acknowledgement(
            model=desired.model,
            version=desired.version,
            digest=desired.digest if loaded else "",
            epoch=desired.epoch,
            server=server,
            loaded=loaded,
            detail="" if loaded else "the file is broken",
            at_us=self._clock.now_us(),
            arrangement=desired.arrangement.hash,
        )
