"""Remediation's durable memory: every write is conditional and adds its line to the audit log."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Engine, func, select, update

from db.audit.leaves import NewEntry, append_prepared, prepared
from db.audit.request import REQUEST_ID
from db.codec import checked
from db.engine import reading, writing
from db.journal_rows import (
    action_detail,
    action_fields,
    approval_detail,
    approval_fields,
    incident_fields,
    link_detail,
    link_fields,
    silence_detail,
    silence_fields,
    token_detail,
    verb_of,
)
from db.reader import Paged, SqlReader
from db.tables import (
    ActionRow,
    AlertLinkRow,
    ApprovalRow,
    Base,
    ChangeRow,
    DeploymentRow,
    DesiredRow,
    HeartbeatRow,
    IncidentRow,
    NoticeRow,
    PlanRow,
    SilenceRow,
    SwitchRow,
    TokenRow,
)
from db.upserts import insert_ignore, insert_links, upsert
from detectors.values import Alert
from remediation.changes import Change
from remediation.notices import AUDITED_AS, Notice
from remediation.silences import Held, Link, Silence
from remediation.switches import Switch, verb
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
"""The actor of `link_alerts`: only the agent links alerts."""


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
        self._told: list[dict[str, Any]] = []

    def add_incident(self, incident: Incident, *, actor: str) -> None:
        """A new incident. Raises `StoreError` when the id is taken."""
        self._insert(IncidentRow, incident_fields(incident))
        detail = {"model": incident.model, "version": incident.version, "severity": incident.severity}
        self._audit("incident", incident.state, incident, actor, detail)

    def save_incident(self, incident: Incident, *, expected: IncidentState, actor: str, why: str) -> bool:
        """Replace the incident if its state still is `expected`; False when somebody was faster."""
        if not self._replace(IncidentRow, incident_fields(incident), expected):
            return False
        detail = {"from": expected, "to": incident.state, "why": why, "cause": incident.cause}
        self._audit("incident", verb_of(expected, incident.state), incident, actor, detail)
        return True

    def link_alerts(self, links: Sequence[Link]) -> int:
        """Keep each alert with its incident, or with the silence that holds it; how many were not linked before. With
        fewer than all of them the transaction must be given up: the audit log would tell of all."""
        if not links:
            return 0
        linked = insert_links(self._connection, [link_fields(each) for each in links])
        for each in links:
            self._audit("alert", "linked", each.alert, LINKER, link_detail(each), table=AlertLinkRow)
        return linked

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

    def add_notice(self, notice: Notice) -> bool:
        """Something that people are to be told; False when this notice was written before."""
        row = {"id": notice.id, "at_us": notice.at_us, "value": checked(notice)}
        if not self._insert(NoticeRow, row, ignore=True):
            return False
        subject = f"incident/{notice.incident_id}" if notice.incident_id else f"notice/{notice.id}"
        self._tell(
            LINKER,
            AUDITED_AS[notice.kind],
            subject,
            {"model": notice.model, "why": notice.text},
            {f"notices/{notice.id}": notice},
        )
        return True

    def beat(self, name: str, at_us: int) -> None:
        """A part did its work; an older time changes nothing. No line in the audit log."""
        row = {"name": name, "at_us": at_us}
        self._connection.execute(upsert(self._connection, HeartbeatRow, not_below=["at_us"]), row)

    def set_switch(self, switch: Switch, *, actor: str) -> None:
        """Turn a switch; the last one to do so counts."""
        row = {"name": switch.name, "value": checked(switch)}
        # A key is never below itself: the last one always counts.
        self._connection.execute(upsert(self._connection, SwitchRow, not_below=["name"]), row)
        detail = {"on": switch.on, "why": switch.reason}
        self._tell(actor, verb(switch), f"switch/{switch.name}", detail, {f"switches/{switch.name}": switch})

    def alone(self, what: str) -> None:
        """Wait until no other transaction is between this call for `what` and its end. SQLite has one writer anyway."""
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"homeostat.{what}"))))

    def add_token(self, token: Token) -> None:
        """A new token. Raises `StoreError` when the id is taken."""
        row = {"id": token.id, "at_us": token.created_us, "value": checked(token)}
        self._insert(TokenRow, row)
        self._audit("token", "created", token, token.created_by, token_detail(token))

    def revoke_token(self, token: Token) -> None:
        """Replace a token by itself with an end."""
        self._connection.execute(update(TokenRow).where(TokenRow.id == token.id).values(value=checked(token)))
        self._audit("token", "revoked", token, token.revoked_by or LINKER, token_detail(token))

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
        self._insert(SilenceRow, silence_fields(silence))
        self._audit("silence", "set", silence, silence.author, silence_detail(silence))

    def extend_silence(self, silence: Silence, *, by: str, why: str) -> bool:
        """Replace a silence by itself with a later end; False when somebody has ended it before."""
        if not self._replace(SilenceRow, silence_fields(silence), "set"):
            return False
        self._audit("silence", "extended", silence, by, silence_detail(silence) | {"why": why})
        return True

    def end_silence(self, silence: Silence) -> bool:
        """Replace a silence by itself with an end; False when somebody has ended it before."""
        if not self._replace(SilenceRow, silence_fields(silence), "set"):
            return False
        self._audit("silence", "ended", silence, silence.ended_by or LINKER, silence_detail(silence))
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
        self._insert(ApprovalRow, approval_fields(approval))
        self._audit("approval", "requested", approval, actor, approval_detail(approval))

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
        if not self._replace(ApprovalRow, approval_fields(approval), expected):
            return False
        detail = {"from": expected, "to": approval.state, **approval_detail(approval)}
        detail |= {"decided_by": approval.decided_by, "channel": approval.channel, "reason": approval.reason}
        verb = verb_of(expected, approval.state)
        if approval.broken_glass:
            detail["broken_glass"] = True
        elif verb == "updated" and bound is not None and _has_new_vote(approval, bound):
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
        if not self._insert(ActionRow, action_fields(action), ignore=True):
            return False
        self._audit("action", action.state, action, actor, action_detail(action))
        return True

    def save_action(self, action: Action, *, expected: ActionState, actor: str) -> bool:
        """Replace the action if its state still is `expected`; False when somebody was faster."""
        if not self._replace(ActionRow, action_fields(action), expected):
            return False
        detail = {"from": expected, "to": action.state, **action_detail(action)}
        self._audit("action", verb_of(expected, action.state), action, actor, detail)
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
        self._tell(
            actor,
            "model.desired",
            f"model/{model}",
            {"version": desired.version, "digest": desired.digest, "epoch": epoch, "why": desired.reason},
            {f"desired/{model}": desired, f"deployments/{model}/{epoch}": desired},
        )
        return True

    def audit(self, *, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
        """A line of its own in the audit log, for what has no row here."""
        self._tell(actor, action, subject, detail)

    def finish(self) -> None:
        """Write the lines of the audit log, all in one statement. Part of the same transaction."""
        append_prepared(self._connection, self._told)
        self._told = []

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
        self._tell(actor, f"{kind}.{verb}", f"{kind}/{value.id}", detail, {f"{name}/{value.id}": value})

    def _tell(
        self,
        actor: str,
        action: str,
        subject: str,
        detail: Mapping[str, object],
        rows: Mapping[str, Any] | None = None,
    ) -> None:
        request_id = REQUEST_ID.get()
        entry = NewEntry(
            at_us=self._clock.now_us(),
            actor=actor,
            action=action,
            subject=subject,
            detail=detail if request_id is None else {**detail, "request_id": request_id},
            rows=rows or {},
        )
        self._told.append(prepared(entry))


def _has_new_vote(approval: Approval, bound: dict[str, Any]) -> bool:
    """A new one can come in place of one that counts no more, so that there are not more of them."""
    known = msgspec.convert(bound, Approval).votes
    return any(each not in known for each in approval.votes)


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
            unit = SqlUnit(connection, self._clock)
            yield unit
            unit.finish()

    @contextmanager
    def reading(self) -> Generator[SqlReader]:
        """A consistent view that cannot write and waits for no writer: for the API and the console."""
        with reading(self._engine) as connection:
            yield SqlReader(connection)
