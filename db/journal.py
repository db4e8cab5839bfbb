"""Remediation's durable memory: every write is conditional and adds its line to the audit log."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select, update

from db.audit.leaves import append
from db.codec import checked
from db.engine import reading, writing
from db.reader import Paged, SqlReader
from db.tables import (
    ActionRow,
    AlertLinkRow,
    ApprovalRow,
    Base,
    ChangeRow,
    DeploymentRow,
    DesiredRow,
    IncidentRow,
    PlanRow,
    SilenceRow,
    TokenRow,
)
from db.upserts import insert_ignore
from detectors.values import Alert
from remediation.changes import Change
from remediation.silences import Held, Silence, told
from remediation.tokens import Token
from remediation.values import (
    Action,
    ActionState,
    Approval,
    ApprovalState,
    Desired,
    Incident,
    IncidentState,
    Plan,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from remediation.ports import Clock

LINKER = "agent"
"""The actor of `link_alert`: only the agent links alerts."""


class SqlUnit(SqlReader):
    """`remediation.ports.Unit` over one database transaction.

    A save is an UPDATE whose WHERE compares the state with the expected one and, when this transaction has
    read the row, its revision too: of two executors that see the same expired lease, one wins even if the
    state stays the same. A row read by its id is locked until the end (PostgreSQL; SQLite has one writer
    anyway), so that read, decide, save is not lost to a harmless change in between.
    """

    _locks_rows = True

    def __init__(self, connection: "Connection", clock: "Clock") -> None:
        super().__init__(connection)
        self._clock = clock

    def add_incident(self, incident: Incident, *, actor: str) -> None:
        """A new incident. Raises `StoreError` when the id is taken."""
        self._insert(IncidentRow, _incident_fields(incident))
        detail = {"model": incident.model, "version": incident.version, "severity": incident.severity}
        self._audit("incident", incident.state, incident, actor, detail)

    def save_incident(self, incident: Incident, *, expected: IncidentState, actor: str, why: str) -> bool:
        """Replace the incident if its state still is `expected`; False when somebody was faster."""
        if not self._replace(IncidentRow, _incident_fields(incident), expected):
            return False
        detail = {"from": expected, "to": incident.state, "why": why, "cause": incident.cause}
        self._audit("incident", _verb(expected, incident.state), incident, actor, detail)
        return True

    def link_alert(self, alert: Alert, incident_id: str | None, silence_id: str | None = None) -> bool:
        """Keep the alert with its incident, or with the silence that holds it; False when this alert was linked
        before."""
        row = {
            "id": alert.id,
            "incident_id": incident_id,
            "silence_id": silence_id,
            "at_us": alert.end_us,
            "value": checked(alert),
        }
        if not self._insert(AlertLinkRow, row, ignore=True):
            return False
        detail = {"incident_id": incident_id, "model": alert.model, "kind": alert.kind, "state": alert.state}
        if silence_id is not None:
            detail["silence_id"] = silence_id
        self._audit("alert", "linked", alert, LINKER, detail, table=AlertLinkRow)
        return True

    def release_alert(self, held: Held, *, incident_id: str | None, silence_id: str | None, why: str) -> bool:
        """Give a held alert to an incident, to another silence, or to neither; False when somebody was faster."""
        released = (
            update(AlertLinkRow)
            .where(AlertLinkRow.id == held.alert.id, AlertLinkRow.silence_id == held.silence_id)
            .values(incident_id=incident_id, silence_id=silence_id)
        )
        if self._connection.execute(released).rowcount != 1:
            return False
        detail = {"incident_id": incident_id, "silence_id": silence_id, "from": held.silence_id, "why": why}
        self._audit("alert", "released", held.alert, LINKER, detail, table=AlertLinkRow)
        return True

    def add_token(self, token: Token) -> None:
        """A new token. Raises `StoreError` when the id is taken."""
        row = {"id": token.id, "at_us": token.created_us, "value": checked(token)}
        self._insert(TokenRow, row)
        self._audit("token", "created", token, token.created_by, _token_detail(token))

    def revoke_token(self, token: Token) -> None:
        """Replace a token by itself with an end."""
        self._connection.execute(update(TokenRow).where(TokenRow.id == token.id).values(value=checked(token)))
        self._audit("token", "revoked", token, token.revoked_by or LINKER, _token_detail(token))

    def add_change(self, change: Change) -> bool:
        """A change around the models; False when its id is taken."""
        row = {
            "id": change.id,
            "at_us": change.starts_us,
            "until_us": change.starts_us if change.ends_us is None else change.ends_us,
            "value": checked(change),
        }
        if not self._insert(ChangeRow, row, ignore=True):
            return False
        detail = {"kind": change.kind, "title": change.title, "models": change.models}
        self._audit("change", "recorded", change, change.by, detail)
        return True

    def add_silence(self, silence: Silence) -> None:
        """A new silence, by its author. Raises `StoreError` when the id is taken."""
        self._insert(SilenceRow, _silence_fields(silence))
        self._audit("silence", "set", silence, silence.author, _silence_detail(silence))

    def end_silence(self, silence: Silence) -> bool:
        """Replace a silence by itself with an end; False when somebody has ended it before."""
        if not self._replace(SilenceRow, _silence_fields(silence), "set"):
            return False
        self._audit("silence", "ended", silence, silence.ended_by or LINKER, _silence_detail(silence))
        return True

    def add_plan(self, plan: Plan, approval: Approval, *, actor: str) -> None:
        """A plan and the ticket that asks for it. Raises `ValueError` when the ticket is for another plan."""
        asked = (approval.plan_id, approval.plan_hash, approval.incident_id)
        if asked != (plan.id, plan.hash, plan.incident_id):
            raise ValueError(
                f"approval {approval.id!r} is bound to {asked}, not to plan {plan.id!r} ({plan.hash})"
            )
        row = {
            "id": plan.id,
            "incident_id": plan.incident_id,
            "at_us": plan.created_us,
            "value": checked(plan),
        }
        self._insert(PlanRow, row)
        detail = {
            "incident_id": plan.incident_id,
            "action": plan.action,
            "model": plan.model,
            "hash": plan.hash,
        }
        detail |= {"from_version": plan.from_version, "to_version": plan.to_version or ""}
        self._audit("plan", "proposed", plan, actor, detail)
        self._insert(ApprovalRow, _approval_fields(approval))
        self._audit("approval", "requested", approval, actor, _approval_detail(approval))

    def save_approval(self, approval: Approval, *, expected: ApprovalState, actor: str) -> bool:
        """Replace the approval if its state still is `expected`. Raises `ValueError` for another plan's
        hash."""
        bound = self._connection.scalar(select(ApprovalRow.value).where(ApprovalRow.id == approval.id))
        if bound is not None and (bound["plan_id"], bound["plan_hash"]) != (
            approval.plan_id,
            approval.plan_hash,
        ):
            raise ValueError(
                f"approval {approval.id!r} is bound to plan {bound['plan_id']!r} and cannot be moved"
            )
        if not self._replace(ApprovalRow, _approval_fields(approval), expected):
            return False
        detail = {"from": expected, "to": approval.state, **_approval_detail(approval)}
        detail |= {"decided_by": approval.decided_by, "channel": approval.channel, "reason": approval.reason}
        verb = _verb(expected, approval.state)
        if approval.broken_glass:
            detail["broken_glass"] = True
        elif verb == "updated" and bound is not None and len(approval.votes) > len(bound.get("votes", ())):
            verb = "voted"
            detail |= {"by": actor, "votes": len(approval.votes), "quorum": approval.quorum}
        elif (
            verb == "updated"
            and bound is not None
            and approval.snoozed_until_us != bound.get("snoozed_until_us")
        ):
            verb = "snoozed"
            detail |= {"by": actor, "until_us": approval.snoozed_until_us}
        self._audit("approval", verb, approval, actor, detail)
        return True

    def add_action(self, action: Action, *, actor: str) -> bool:
        """Record the intent; False when an action with this id exists."""
        if not self._insert(ActionRow, _action_fields(action), ignore=True):
            return False
        self._audit("action", action.state, action, actor, _action_detail(action))
        return True

    def save_action(self, action: Action, *, expected: ActionState, actor: str) -> bool:
        """Replace the action if its state still is `expected`; False when somebody was faster."""
        if not self._replace(ActionRow, _action_fields(action), expected):
            return False
        detail = {"from": expected, "to": action.state, **_action_detail(action)}
        self._audit("action", _verb(expected, action.state), action, actor, detail)
        return True

    def set_desired(self, desired: Desired, *, expected_epoch: int, actor: str) -> bool:
        """Conditional update: only while the stored epoch is `expected_epoch` (0: none yet)."""
        if desired.epoch <= expected_epoch:
            raise ValueError(f"the epoch must grow: got {desired.epoch} after {expected_epoch}")
        row = {"model": desired.model, "epoch": desired.epoch, "value": checked(desired)}
        if expected_epoch == 0:
            changed = self._insert(DesiredRow, row, ignore=True)
        else:
            condition = (DesiredRow.model == desired.model) & (DesiredRow.epoch == expected_epoch)
            changed = self._connection.execute(update(DesiredRow).where(condition).values(row)).rowcount == 1
        if not changed:
            return False
        self._insert(DeploymentRow, row)
        model, epoch = desired.model, desired.epoch
        append(
            self._connection,
            at_us=self._clock.now_us(),
            actor=actor,
            action="model.desired",
            subject=f"model/{model}",
            detail={
                "version": desired.version,
                "digest": desired.digest,
                "epoch": epoch,
                "why": desired.reason,
            },
            rows={f"desired/{model}": desired, f"deployments/{model}/{epoch}": desired},
        )
        return True

    def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        """A line of its own in the audit log, for what has no row here."""
        append(
            self._connection,
            at_us=self._clock.now_us(),
            actor=actor,
            action=action,
            subject=subject,
            detail=detail,
        )

    def _insert(self, table: type[Base], row: dict[str, Any], *, ignore: bool = False) -> bool:
        statement = insert_ignore(self._connection, table, ignore=ignore)
        done = self._connection.execute(statement, row, execution_options={"preserve_rowcount": True})
        return done.rowcount == 1

    def _replace(self, table: Paged, row: dict[str, Any], expected: str) -> bool:
        key = (table.__tablename__, row["id"])
        statement = update(table).where(table.id == row["id"], table.state == expected)
        if key in self._seen:
            statement = statement.where(table.row_revision == self._seen[key])
        changes = {**row, "row_revision": table.row_revision + 1}
        if self._connection.execute(statement.values(changes)).rowcount == 1:
            if key in self._seen:
                self._seen[key] += 1
            return True
        if self._connection.scalar(select(table.id).where(table.id == row["id"])) is None:
            raise ValueError(f"{row['id']!r} is not in {table.__tablename__}: add it before saving it")
        return False

    def _audit(
        self,
        kind: str,
        verb: str,
        value: "Incident | Alert | Plan | Approval | Action | Silence | Change | Token",
        actor: str,
        detail: Mapping[str, object],
        table: type[Base] | None = None,
    ) -> None:
        name = f"{kind}s" if table is None else table.__tablename__
        append(
            self._connection,
            at_us=self._clock.now_us(),
            actor=actor,
            action=f"{kind}.{verb}",
            subject=f"{kind}/{value.id}",
            detail=detail,
            rows={f"{name}/{value.id}": value},
        )


class SqlJournal:
    """`remediation.ports.Journal` over SQLite or PostgreSQL. Give it a migrated database
    (`db.migrate.upgrade`)."""

    def __init__(self, engine: Engine, clock: "Clock") -> None:
        self._engine = engine
        self._clock = clock

    @contextmanager
    def transaction(self) -> Generator[SqlUnit]:
        """Commits at the end of the block, rolls back on an exception. Raises `Unavailable` (a
        `ConnectionError`)."""
        with writing(self._engine) as connection:
            yield SqlUnit(connection, self._clock)

    @contextmanager
    def reading(self) -> Generator[SqlReader]:
        """A consistent view that cannot write and waits for no writer: for the API and the console."""
        with reading(self._engine) as connection:
            yield SqlReader(connection)


def _verb(before: str, after: str) -> str:
    return after if after != before else "updated"


def _incident_fields(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "model": incident.model,
        "state": incident.state,
        "cause": incident.cause,
        "at_us": incident.opened_us,
        "row_revision": 1,
        "value": checked(incident),
    }


def _token_detail(token: Token) -> dict[str, object]:
    return {"person": token.person, "scopes": list(token.scopes), "expires_us": token.expires_us}


def _silence_fields(silence: Silence) -> dict[str, Any]:
    return {
        "id": silence.id,
        "state": "set" if silence.ended_us is None else "ended",
        "at_us": silence.created_us,
        "until_us": silence.until_us,
        "row_revision": 1,
        "value": checked(silence),
    }


def _silence_detail(silence: Silence) -> dict[str, object]:
    return {"covers": told(silence.matchers), "until_us": silence.until_us, "why": silence.reason}


def _approval_fields(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "plan_id": approval.plan_id,
        "incident_id": approval.incident_id,
        "state": approval.state,
        "at_us": approval.requested_us,
        "row_revision": 1,
        "value": checked(approval),
    }


def _approval_detail(approval: Approval) -> dict[str, object]:
    return {"incident_id": approval.incident_id, "plan_id": approval.plan_id, "plan_hash": approval.plan_hash}


def _action_fields(action: Action) -> dict[str, Any]:
    return {
        "id": action.id,
        "plan_id": action.plan_id,
        "incident_id": action.incident_id,
        "model": action.model,
        "state": action.state,
        "at_us": action.started_us,
        "row_revision": 1,
        "value": checked(action),
    }


def _action_detail(action: Action) -> dict[str, object]:
    detail: dict[str, object] = {
        "incident_id": action.incident_id,
        "plan_id": action.plan_id,
        "kind": action.kind,
    }
    if action.steps:
        detail["step"] = action.steps[-1]
    if action.outcome:
        detail["outcome"] = action.outcome
    return detail
