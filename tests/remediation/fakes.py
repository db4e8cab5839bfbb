"""In-memory stand-ins for the ports of remediation, with a hook at every effect where a test can kill the
agent."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from detectors.reference import Reference, build_reference
from detectors.values import Alert, Axis, FeatureSpec, MetricPoint
from remediation.ports import TrainedModel, TrainingSet
from remediation.values import (
    Acknowledgement,
    Action,
    Approval,
    AuditEntry,
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


@dataclass
class State:
    """What a database would hold."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    alerts: dict[str, tuple[Alert, str | None]] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    desired: dict[str, Desired] = field(default_factory=dict)
    deployments: list[Desired] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    points: list[MetricPoint] = field(default_factory=list)

    def copy(self) -> "State":
        return State(**{name: type(value)(value) for name, value in vars(self).items()})


class FakeUnit:
    """One transaction over a copy of the state."""

    def __init__(self, state: State, clock: ManualClock) -> None:
        self.state = state
        self._clock = clock

    def add_incident(self, incident: Incident, *, actor: str) -> None:
        assert incident.id not in self.state.incidents
        self.state.incidents[incident.id] = incident
        self._log(actor, "incident.open", incident.id)

    def save_incident(self, incident: Incident, *, expected: str, actor: str, why: str) -> bool:
        return self._replace(self.state.incidents, incident, expected, actor, "incident", why)

    def incident(self, incident_id: str) -> Incident | None:
        return self.state.incidents.get(incident_id)

    def incidents(
        self,
        *,
        model: str | None = None,
        states: Sequence[str] | None = None,
        cause: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        found = [
            each
            for each in reversed(self.state.incidents.values())
            if (model is None or each.model == model)
            and (states is None or each.state in states)
            and (cause is None or each.cause == cause)
        ]
        return found[:limit]

    def link_alert(self, alert: Alert, incident_id: str | None) -> bool:
        assert incident_id is None or incident_id in self.state.incidents
        if alert.id in self.state.alerts:
            return False
        self.state.alerts[alert.id] = (alert, incident_id)
        self._log("agent", "alert.linked", alert.id)
        return True

    def alerts(self, incident_id: str) -> list[Alert]:
        return [alert for alert, linked in self.state.alerts.values() if linked == incident_id]

    def add_plan(self, plan: Plan, approval: Approval, *, actor: str) -> None:
        assert plan.id not in self.state.plans
        self.state.plans[plan.id] = plan
        self.state.approvals[approval.id] = approval
        self._log(actor, "plan.proposed", plan.id)

    def plan(self, plan_id: str) -> Plan | None:
        return self.state.plans.get(plan_id)

    def plans(self, incident_id: str) -> list[Plan]:
        return [each for each in self.state.plans.values() if each.incident_id == incident_id]

    def approval(self, approval_id: str) -> Approval | None:
        return self.state.approvals.get(approval_id)

    def approvals(
        self,
        *,
        state: str | None = None,
        incident_id: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        found = [
            each
            for each in reversed(self.state.approvals.values())
            if (state is None or each.state == state)
            and (incident_id is None or each.incident_id == incident_id)
        ]
        return found[:limit]

    def save_approval(self, approval: Approval, *, expected: str, actor: str) -> bool:
        return self._replace(self.state.approvals, approval, expected, actor, "approval")

    def add_action(self, action: Action, *, actor: str) -> bool:
        if action.id in self.state.actions:
            return False
        self.state.actions[action.id] = action
        self._log(actor, "action.intended", action.id)
        return True

    def save_action(self, action: Action, *, expected: str, actor: str) -> bool:
        return self._replace(self.state.actions, action, expected, actor, "action")

    def action(self, action_id: str) -> Action | None:
        return self.state.actions.get(action_id)

    def actions(
        self,
        *,
        model: str | None = None,
        incident_id: str | None = None,
        states: Sequence[str] | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Action]:
        found = [
            each
            for each in reversed(self.state.actions.values())
            if (incident_id is None or each.incident_id == incident_id)
            and (model is None or each.model == model)
            and (states is None or each.state in states)
        ]
        return found[:limit]

    def desired(self, model: str) -> Desired | None:
        return self.state.desired.get(model)

    def set_desired(self, desired: Desired, *, expected_epoch: int, actor: str) -> bool:
        current = self.state.desired.get(desired.model)
        if (current.epoch if current else 0) != expected_epoch:
            return False
        assert desired.epoch > expected_epoch
        self.state.desired[desired.model] = desired
        self.state.deployments.append(desired)
        self._log(actor, "model.desired", desired.model)
        return True

    def deployments(self, model: str) -> list[Desired]:
        return [each for each in self.state.deployments if each.model == model]

    def deployed_models(self) -> list[str]:
        return sorted(self.state.desired)

    def points(
        self,
        model: str,
        *,
        version: str | None = None,
        measures: Sequence[str] | None = None,
        axis: Axis | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        limit: int = 10_000,
    ) -> list[MetricPoint]:
        found = [
            each
            for each in self.state.points
            if each.model == model
            and (version is None or each.version == version)
            and (measures is None or each.measure in measures)
            and (axis is None or each.axis == axis)
            and (since_us is None or each.end_us >= since_us)
            and (until_us is None or each.end_us < until_us)
        ]
        return sorted(found, key=lambda each: each.end_us)[-limit:]

    def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        self._log(actor, action, subject, dict(detail))

    def audit_entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> list[AuditEntry]:
        found = [
            each
            for each in self.state.audit
            if (action is None or each.action == action) and (subject is None or each.subject == subject)
        ]
        return found[-limit:]

    def _replace(
        self, table: dict[str, Any], value: Any, expected: str, actor: str, kind: str, why: str = ""
    ) -> bool:
        if table[value.id].state != expected:
            return False
        table[value.id] = value
        self._log(actor, f"{kind}.{value.state}", value.id, {"why": why})
        return True

    def _log(self, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
        index = len(self.state.audit)
        entry = AuditEntry(
            index=index,
            id=str(index),
            at_us=self._clock.now_us(),
            actor=actor,
            action=action,
            subject=subject,
            detail=detail or {},
        )
        self.state.audit.append(entry)


class FakeJournal:
    """Serialised transactions; what raises changes nothing."""

    def __init__(self, clock: ManualClock, faults: Faults) -> None:
        self.state = State()
        self.faults = faults
        self._clock = clock
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[FakeUnit]:
        with self._lock:
            unit = FakeUnit(self.state.copy(), self._clock)
            written = len(self.state.audit)
            yield unit
            if len(unit.state.audit) == written:
                return
            self.faults("before commit")
            self.state = unit.state
            self.faults("after commit")

    @contextmanager
    def reading(self) -> Iterator[FakeUnit]:
        with self._lock:
            yield FakeUnit(self.state.copy(), self._clock)


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

    def models(self) -> list[str]:
        return sorted({name for name, _ in self.entries})

    def onnx(self, model: str, version: str) -> bytes:
        return self.artifacts[model, version]

    def reference(self, model: str, version: str) -> Reference:
        raise AssertionError("remediation reads no reference")

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

    def train(self, data: TrainingSet, *, seed: int) -> TrainedModel:
        self.faults("before train")
        self.sets.append(data)
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

    def labelled(
        self, model: str, *, since_us: int | None = None, until_us: int | None = None
    ) -> pd.DataFrame:
        generator = np.random.default_rng(self.seed)
        parts = [
            self._part(generator, self.change_us - 3_600 * S, 0.0),
            self._part(generator, self.change_us, 0.5),
        ]
        frame = pd.concat(parts, ignore_index=True)
        return frame[frame["time_us"] >= (since_us or 0)].reset_index(drop=True)

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

    async def approval_decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        return self._say("decided", approval.id)

    async def incident_closed(self, incident: Incident) -> bool:
        return self._say("closed", incident.id)

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
        )
