"""What remediation needs from the outside, as Protocols that other rooms fulfil and `deploy` wires."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from detectors.values import Alert, Axis, MetricPoint
from remediation.notices import Notice
from remediation.reminders import Reminder
from remediation.routing import Situation
from remediation.silences import Held, Link, Silence
from remediation.switches import Switch
from remediation.values import (
    Action,
    ActionKind,
    ActionState,
    Approval,
    ApprovalState,
    AuditEntry,
    Cause,
    Desired,
    Incident,
    IncidentState,
    ModelVersion,
    Plan,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    # Compiled code is behind this one: whoever only reads a file of playbooks need not wait for it.
    from detectors.reference import Reference
    from remediation.acknowledgements import Standing
    from remediation.changes import Change
    from remediation.tokens import Token
    from remediation.training_values import TrainedModel, TrainingSet


class Clock(Protocol):
    """The time of decisions."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...


class Reader(Protocol):
    """One consistent view of the journal."""

    def incident(self, incident_id: str) -> Incident | None: ...
    def incidents(
        self,
        *,
        model: str | None = None,
        states: Sequence[IncidentState] | None = None,
        cause: Cause | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        """Newest first; `before` is the id of the last incident of the previous page."""
        ...

    def alerts(self, incident_id: str) -> list[Alert]: ...
    def silence(self, silence_id: str) -> Silence | None: ...
    def silences(
        self, *, not_over_at_us: int | None = None, before: str | None = None, limit: int = 500
    ) -> list[Silence]:
        """Newest first; with `not_over_at_us` only those that are in force or wait at that time."""
        ...

    def token(self, token_id: str) -> "Token | None": ...
    def tokens(self, *, limit: int = 500) -> "list[Token]":
        """Newest first, also those that are over."""
        ...

    def change(self, change_id: str) -> "Change | None": ...
    def changes(
        self, *, since_us: int | None = None, until_us: int | None = None, limit: int = 500
    ) -> list["Change"]:
        """Changes that began before `until_us` and did not end before `since_us` (one without an end: began then),
        newest first."""
        ...

    def held(self, *, model: str | None = None) -> list[Held]:
        """Alerts that a silence keeps from becoming incidents, in the order of the end of their windows."""
        ...

    def situations(self, models: Sequence[str]) -> dict[str, Situation]:
        """What the journal holds about each of the models; in a transaction that can write, the open incidents are
        kept from being moved until its end."""
        ...

    def known_alerts(self, alert_ids: Sequence[str]) -> set[str]:
        """Those of the alerts that were linked before."""
        ...

    def notices(self, *, since_us: int, limit: int = 100) -> list[Notice]:
        """What people are to be told besides, newest first."""
        ...

    def heartbeats(self) -> dict[str, int]:
        """When each part last did its work, by the part's name."""
        ...

    def switch(self, name: str) -> Switch | None:
        """Who turned it last; None when nobody ever did."""
        ...

    def plan(self, plan_id: str) -> Plan | None: ...
    def plans(self, incident_id: str) -> list[Plan]: ...
    def approval(self, approval_id: str) -> Approval | None: ...
    def approvals(
        self,
        *,
        state: ApprovalState | None = None,
        incident_id: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Approval]: ...

    def action(self, action_id: str) -> Action | None: ...
    def actions(
        self,
        *,
        model: str | None = None,
        incident_id: str | None = None,
        states: Sequence[ActionState] | None = None,
        kind: ActionKind | None = None,
        since_us: int | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Action]:
        """Newest first; with `since_us` those that were begun then or later."""
        ...

    def desired(self, model: str) -> Desired | None: ...
    def deployments(self, model: str) -> list[Desired]:
        """Every version that was ever made to serve, oldest first."""
        ...

    def deployed_models(self) -> list[str]:
        """Every model that has a desired state."""
        ...

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
        """Latest revisions, in order of `end_us`."""
        ...

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
        """Sequenced entries by index; `after` / `before` are exclusive indices (cursor)."""
        ...


class Unit(Reader, Protocol):
    """One database transaction. Every write adds its line to the audit log in the same transaction."""

    def add_incident(self, incident: Incident, *, actor: str) -> None: ...
    def save_incident(self, incident: Incident, *, expected: IncidentState, actor: str, why: str) -> bool:
        """Replace the incident if its state still is `expected`; False when somebody was faster."""
        ...

    def link_alerts(self, links: Sequence[Link]) -> int:
        """Keep each alert with its incident, or with the silence that holds it; how many were not linked before. With
        fewer than all of them the transaction must be given up."""
        ...

    def release_alert(self, held: Held, *, incident_id: str | None, silence_id: str | None, why: str) -> bool:
        """Give a held alert to an incident, to another silence, or to neither; False when somebody was faster."""
        ...

    def add_notice(self, notice: Notice) -> bool:
        """Something that people are to be told; False when this notice was written before."""
        ...

    def set_switch(self, switch: Switch, *, actor: str) -> None: ...
    def alone(self, what: str) -> None:
        """Wait until no other transaction is between this call for `what` and its end."""
        ...

    def beat(self, name: str, at_us: int) -> None:
        """A part did its work. No line in the audit log."""
        ...

    def add_token(self, token: "Token") -> None: ...
    def revoke_token(self, token: "Token") -> None: ...
    def add_change(self, change: "Change") -> bool:
        """False when its id is taken."""
        ...

    def add_silence(self, silence: Silence) -> None: ...
    def extend_silence(self, silence: Silence, *, by: str, why: str) -> bool:
        """Replace a silence by itself with a later end; False when somebody has ended it before."""
        ...

    def end_silence(self, silence: Silence) -> bool:
        """Replace a silence by itself with an end; False when somebody has ended it before."""
        ...

    def add_plan(self, plan: Plan, approval: Approval, *, actor: str) -> None: ...
    def save_approval(self, approval: Approval, *, expected: ApprovalState, actor: str) -> bool: ...
    def add_action(self, action: Action, *, actor: str) -> bool:
        """Record the intent; False when an action with this id exists."""
        ...

    def save_action(self, action: Action, *, expected: ActionState, actor: str) -> bool: ...
    def set_desired(self, desired: Desired, *, expected_epoch: int, actor: str) -> bool:
        """Conditional update: only while the stored epoch is `expected_epoch` (0: none yet)."""
        ...

    def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None: ...


class Journal(Protocol):
    """The durable memory of remediation."""

    def transaction(self) -> AbstractContextManager[Unit]:
        """Commits at the end of the block, rolls back on an exception."""
        ...

    def reading(self) -> AbstractContextManager[Reader]:
        """A view that cannot write and waits for no writer."""
        ...


class Registry(Protocol):
    """Where versions live. The alias is a projection of the decided state, never the authority."""

    def register(self, trained: "TrainedModel", *, tags: Mapping[str, str]) -> ModelVersion: ...
    def version(self, model: str, version: str) -> ModelVersion | None: ...
    def versions(self, model: str) -> list[ModelVersion]: ...
    def models(self) -> dict[str, list[str]]:
        """The numbers of the versions of each registered model, oldest first."""
        ...

    def onnx(self, model: str, version: str) -> bytes:
        """The ONNX bytes, checked against the registered digest."""
        ...

    def reference(self, model: str, version: str) -> "Reference": ...
    def set_champion(self, model: str, version: str) -> None: ...
    def champion(self, model: str) -> str | None: ...


class Archive(Protocol):
    """Labelled events of the past."""

    def labelled(
        self,
        model: str,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        known_until_us: int | None = None,
    ) -> "pd.DataFrame":
        """Events of [`since_us`, `until_us`) with the labels that became known before `known_until_us`. Columns id,
        time_us, version, prediction, score, label, label_time_us, `f.<feature>`, and `s.<column>` of the
        segments that events name (missing where one is in none); one row per event and version: an id stands once for
        each version that scored it."""
        ...

    def requests(self, model: str, *, since_us: int, until_us: int) -> "pd.DataFrame":
        """Requests of [`since_us`, `until_us`) in order of time, labelled or not. Columns time_us, version, latency_ms,
        failed (1 or 0); missing where nobody told."""
        ...


class Trainer(Protocol):
    """Trains several candidates and returns the best by F1."""

    async def train(self, data: "TrainingSet", *, seed: int) -> "TrainedModel":
        """Cancelled, it stops at once and leaves nothing behind. Raises `StepFailed` when other attempts would end the
        same way."""
        ...


class Scorer(Protocol):
    """Runs a model that is not loaded anywhere, for the gate."""

    def score(self, onnx: bytes, features: "pd.DataFrame") -> "npt.NDArray[np.float64]":
        """P(class 1) per row; columns by name, NaN = missing."""
        ...


class Publisher(Protocol):
    """Makes a decided version known: reference and monitor first, then the desired state, then the alias."""

    async def publish_desired(self, desired: Desired) -> None: ...


class Actuator(Protocol):
    """Brings a decided state to the servers of a model, and says what they did with it. Every call may be repeated."""

    @property
    def proves(self) -> str:
        """One sentence: what an observation of this actuator proves, and what it does not."""
        ...

    def refusal(self, desired: Desired) -> str | None:
        """Why it cannot bring this state about (it knows no shadows, say); None when it can."""
        ...

    async def apply(self, desired: Desired) -> None:
        """Returns when the state is known to whoever has to bring it about; the same state twice is one. Raises when it
        is not known whether the write succeeded."""
        ...

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> "Standing":
        """How far the state has come, `asked_us` being when it was applied first."""
        ...


class Caller(Protocol):
    """Effects outside of serving: an issue, an HTTP call, a command, a fresh reference."""

    async def call(self, kind: ActionKind, parameters: Mapping[str, Any], *, key: str) -> str:
        """Have the effect and answer with a sentence. `key` makes a second attempt the same call; raises `StepFailed`
        when trying again cannot help, anything else when it can."""
        ...

    async def observe(self, kind: ActionKind, parameters: Mapping[str, Any], *, key: str) -> str | None:
        """A sentence when the effect with this key has happened; None when it has not, or cannot be seen."""
        ...


class Notifier(Protocol):
    """Tells people. Must not raise for an unreachable channel: it reports False and the caller tries
    again."""

    async def approval_requested(self, incident: Incident, plan: Plan, approval: Approval) -> bool: ...
    async def approval_changed(self, incident: Incident, plan: Plan, approval: Approval) -> bool:
        """It still waits: another person has consented, or it was snoozed. Only where people decide."""
        ...

    async def approval_decided(self, incident: Incident, plan: Plan, approval: Approval) -> bool: ...
    async def approval_reminded(
        self, incident: Incident, plan: Plan, approval: Approval, reminder: Reminder
    ) -> bool: ...
    async def incident_closed(self, incident: Incident) -> bool: ...
    async def noticed(self, notice: Notice, incident: Incident | None) -> bool:
        """Anything else that people have to know; `incident` is the one that it is about, if any."""
        ...
