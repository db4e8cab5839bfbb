"""Reading remediation's journal: the reading half of `remediation.ports.Unit`."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Select, and_, func, or_, select

from db.audit.leaves import MAX_PAGE, entries
from db.queries import select_points
from db.tables import (
    ActionRow,
    AlertLinkRow,
    ApprovalRow,
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
from detectors.values import Alert, Axis, MetricPoint
from remediation.changes import Change
from remediation.notices import Notice
from remediation.routing import Situation
from remediation.silences import Held, Silence
from remediation.switches import Switch
from remediation.tokens import Token
from remediation.values import (
    CLOSED_INCIDENTS,
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
    Plan,
)

V = TypeVar("V", bound=msgspec.Struct)
Paged = type[IncidentRow] | type[ApprovalRow] | type[ActionRow] | type[SilenceRow]


class SqlReader:
    """Reads within one transaction. It notes the revision of each row it hands out, so that a later write in
    the same transaction can insist on nobody having changed that row in between."""

    _locks_rows = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: dict[tuple[str, str], int] = {}

    def incident(self, incident_id: str) -> Incident | None:
        """One incident."""
        return self._one(IncidentRow, incident_id, Incident)

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
        query = self._page(IncidentRow, before, limit)
        if model is not None:
            query = query.where(IncidentRow.model == model)
        if states is not None:
            query = query.where(IncidentRow.state.in_(states))
        if cause is not None:
            query = query.where(IncidentRow.cause == cause)
        return self._many(IncidentRow, query, Incident)

    def alerts(self, incident_id: str) -> list[Alert]:
        """The incident's alerts, in the order of the end of their windows."""
        query = (
            select(AlertLinkRow.value)
            .where(AlertLinkRow.incident_id == incident_id)
            .order_by(AlertLinkRow.at_us, AlertLinkRow.id)
        )
        return [msgspec.convert(value, Alert) for value in self._connection.scalars(query)]

    def silence(self, silence_id: str) -> Silence | None:
        """One silence."""
        return self._one(SilenceRow, silence_id, Silence)

    def silences(
        self, *, not_over_at_us: int | None = None, before: str | None = None, limit: int = 500
    ) -> list[Silence]:
        """Newest first; with `not_over_at_us` only those that are in force or wait at that time."""
        query = self._page(SilenceRow, before, limit)
        if not_over_at_us is not None:
            query = query.where(SilenceRow.until_us > not_over_at_us)
        return self._many(SilenceRow, query, Silence)

    def token(self, token_id: str) -> Token | None:
        """One token."""
        value = self._connection.scalar(select(TokenRow.value).where(TokenRow.id == token_id))
        return None if value is None else msgspec.convert(value, Token)

    def tokens(self, *, limit: int = 500) -> list[Token]:
        """Newest first, also those that are over."""
        query = select(TokenRow.value).order_by(TokenRow.at_us.desc(), TokenRow.id).limit(limit)
        return [msgspec.convert(value, Token) for value in self._connection.scalars(query)]

    def change(self, change_id: str) -> Change | None:
        """One change."""
        value = self._connection.scalar(select(ChangeRow.value).where(ChangeRow.id == change_id))
        return None if value is None else msgspec.convert(value, Change)

    def changes(
        self, *, since_us: int | None = None, until_us: int | None = None, limit: int = 500
    ) -> list[Change]:
        """Changes that began before `until_us` and did not end before `since_us`, newest first."""
        query = select(ChangeRow.value).order_by(ChangeRow.at_us.desc(), ChangeRow.id.desc()).limit(limit)
        if since_us is not None:
            query = query.where(ChangeRow.until_us >= since_us)
        if until_us is not None:
            query = query.where(ChangeRow.at_us < until_us)
        return [msgspec.convert(value, Change) for value in self._connection.scalars(query)]

    def held(self, *, model: str | None = None, models: Sequence[str] | None = None) -> list[Held]:
        """Alerts that a silence keeps from becoming incidents, in the order of the end of their windows."""
        query = (
            select(AlertLinkRow.value, AlertLinkRow.silence_id)
            .where(AlertLinkRow.silence_id.is_not(None))
            .order_by(AlertLinkRow.at_us, AlertLinkRow.id)
        )
        wanted = [model] if model is not None else models
        if wanted is not None:
            query = query.where(AlertLinkRow.value["model"].as_string().in_(wanted))
        return [
            Held(alert=msgspec.convert(value, Alert), silence_id=silence_id)
            for value, silence_id in self._connection.execute(query)
            if silence_id is not None
        ]

    def situations(self, models: Sequence[str]) -> dict[str, Situation]:
        """What is held about each model. Incidents that are open are locked where rows are (in the order of their ids),
        before it is read which was closed last: none can be closed in between."""
        if not models:
            return {}
        held: dict[str, list[Held]] = {}
        for each in self.held(models=models):
            held.setdefault(each.alert.model, []).append(each)
        open_ones = self._many(IncidentRow, self._open_of(models), Incident)
        while self._locks_rows:
            # Who held one of them may have ended it and opened another, which the look that waited does not see.
            again = self._many(IncidentRow, self._open_of(models), Incident)
            if again == open_ones:
                break
            open_ones = again
        current = {each.model: each for each in sorted(open_ones, key=lambda each: (each.opened_us, each.id))}
        closed = {each.model: each for each in self._many(IncidentRow, _last_closed_of(models), Incident)}
        query = select(DesiredRow.value).where(DesiredRow.model.in_(models))
        desired = {each["model"]: msgspec.convert(each, Desired) for each in self._connection.scalars(query)}
        return {
            model: Situation(
                current=current.get(model),
                last_closed=closed.get(model),
                desired=desired.get(model),
                held=tuple(held.get(model, ())),
            )
            for model in models
        }

    def _open_of(self, models: Sequence[str]) -> Select[*tuple[str, int, dict[str, Any]]]:
        query = (
            select(IncidentRow.id, IncidentRow.row_revision, IncidentRow.value)
            .where(IncidentRow.model.in_(models), IncidentRow.state.not_in(sorted(CLOSED_INCIDENTS)))
            .order_by(IncidentRow.id)
        )
        return query.with_for_update(key_share=True) if self._locks_rows else query

    def known_alerts(self, alert_ids: Sequence[str]) -> set[str]:
        """Those of the alerts that were linked before."""
        query = select(AlertLinkRow.id).where(AlertLinkRow.id.in_(alert_ids))
        return set(self._connection.scalars(query))

    def notices(self, *, since_us: int, limit: int = 100) -> list[Notice]:
        """What people are to be told besides, newest first."""
        query = (
            select(NoticeRow.value)
            .where(NoticeRow.at_us >= since_us)
            .order_by(NoticeRow.at_us.desc(), NoticeRow.id)
            .limit(limit)
        )
        return [msgspec.convert(value, Notice) for value in self._connection.scalars(query)]

    def heartbeats(self) -> dict[str, int]:
        """When each part last did its work, by the part's name."""
        query = select(HeartbeatRow.name, HeartbeatRow.at_us)
        return {row.name: row.at_us for row in self._connection.execute(query)}

    def switch(self, name: str) -> Switch | None:
        """Who turned it last; None when nobody ever did."""
        value = self._connection.scalar(select(SwitchRow.value).where(SwitchRow.name == name))
        return None if value is None else msgspec.convert(value, Switch)

    def plan(self, plan_id: str) -> Plan | None:
        """One plan."""
        value = self._connection.scalar(select(PlanRow.value).where(PlanRow.id == plan_id))
        return None if value is None else msgspec.convert(value, Plan)

    def plans(self, incident_id: str) -> list[Plan]:
        """The incident's plans, oldest first."""
        query = (
            select(PlanRow.value)
            .where(PlanRow.incident_id == incident_id)
            .order_by(PlanRow.at_us, PlanRow.id)
        )
        return [msgspec.convert(value, Plan) for value in self._connection.scalars(query)]

    def approval(self, approval_id: str) -> Approval | None:
        """One approval."""
        return self._one(ApprovalRow, approval_id, Approval)

    def approvals(
        self,
        *,
        state: ApprovalState | None = None,
        incident_id: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """Newest first; `before` is the id of the last approval of the previous page."""
        query = self._page(ApprovalRow, before, limit)
        if state is not None:
            query = query.where(ApprovalRow.state == state)
        if incident_id is not None:
            query = query.where(ApprovalRow.incident_id == incident_id)
        return self._many(ApprovalRow, query, Approval)

    def action(self, action_id: str) -> Action | None:
        """One action."""
        return self._one(ActionRow, action_id, Action)

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
        """Newest first, those that were begun at `since_us` or later; `before` is the id of the last action of the
        previous page."""
        query = self._page(ActionRow, before, limit)
        if kind is not None:
            query = query.where(ActionRow.value["kind"].as_string() == kind)
        if since_us is not None:
            query = query.where(ActionRow.at_us >= since_us)
        if model is not None:
            query = query.where(ActionRow.model == model)
        if incident_id is not None:
            query = query.where(ActionRow.incident_id == incident_id)
        if states is not None:
            query = query.where(ActionRow.state.in_(states))
        return self._many(ActionRow, query, Action)

    def desired(self, model: str) -> Desired | None:
        """The version that shall serve now."""
        value = self._connection.scalar(select(DesiredRow.value).where(DesiredRow.model == model))
        return None if value is None else msgspec.convert(value, Desired)

    def deployments(self, model: str) -> list[Desired]:
        """Every version that was ever made to serve, oldest first."""
        query = select(DeploymentRow.value).where(DeploymentRow.model == model).order_by(DeploymentRow.epoch)
        return [msgspec.convert(value, Desired) for value in self._connection.scalars(query)]

    def deployed_models(self) -> list[str]:
        """Every model for which a version was ever made to serve, by name."""
        query = select(DeploymentRow.model).distinct().order_by(DeploymentRow.model)
        return list(self._connection.scalars(query))

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
        """Latest revisions with since_us <= end_us < until_us, in order of `end_us`; of more than `limit`,
        the newest."""
        return select_points(
            self._connection,
            model,
            version=version,
            measures=measures,
            axis=axis,
            since_us=since_us,
            until_us=until_us,
            limit=limit,
        )

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
        return entries(
            self._connection,
            actor=actor,
            action=action,
            subject=subject,
            after=after,
            before=before,
            limit=limit,
            newest_first=newest_first,
        )

    def _one(self, table: Paged, row_id: str, kind: type[V]) -> V | None:
        query = select(table.id, table.row_revision, table.value).where(table.id == row_id)
        if self._locks_rows:
            query = query.with_for_update(key_share=True)
        found = self._many(table, query, kind)
        return found[0] if found else None

    def _many(self, table: Paged, query: Select[*tuple[str, int, dict[str, Any]]], kind: type[V]) -> list[V]:
        found: list[V] = []
        for row_id, revision, value in self._connection.execute(query):
            self._seen[table.__tablename__, row_id] = revision
            found.append(msgspec.convert(value, kind))
        return found

    def _page(self, table: Paged, before: str | None, limit: int) -> Select[*tuple[str, int, dict[str, Any]]]:
        """Newest first by (time, id); the cursor's own row says where the page starts."""
        if not 0 < limit <= MAX_PAGE:
            raise ValueError(f"limit must be between 1 and {MAX_PAGE}, got {limit}")
        query = select(table.id, table.row_revision, table.value)
        if before is not None:
            at_us = self._connection.scalar(select(table.at_us).where(table.id == before))
            if at_us is None:
                raise ValueError(f"before={before!r} names nothing in {table.__tablename__}")
            query = query.where(or_(table.at_us < at_us, and_(table.at_us == at_us, table.id < before)))
        return query.order_by(table.at_us.desc(), table.id.desc()).limit(limit)


def _last_closed_of(models: Sequence[str]) -> Select[*tuple[str, int, dict[str, Any]]]:
    """The newest of the closed incidents of each model."""
    newest = (
        func.row_number()
        .over(partition_by=IncidentRow.model, order_by=(IncidentRow.at_us.desc(), IncidentRow.id.desc()))
        .label("newest")
    )
    ranked = (
        select(IncidentRow.id, newest)
        .where(IncidentRow.model.in_(models), IncidentRow.state.in_(sorted(CLOSED_INCIDENTS)))
        .subquery()
    )
    return select(IncidentRow.id, IncidentRow.row_revision, IncidentRow.value).join(
        ranked, (ranked.c.id == IncidentRow.id) & (ranked.c.newest == 1)
    )
