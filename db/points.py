"""Measurements, alerts and accounting: idempotent writes for the recorder, queries for the API and the
reports."""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Engine, and_, func, or_, select

from db.accounting import totals
from db.codec import checked
from db.engine import reading, writing
from db.queries import select_points
from db.tables import AccountingRow, AlertRow, PointRow
from db.upserts import Columns, insert_ignore, upsert
from detectors.values import Accounting, Alert, AlertKind, Axis, MetricPoint


class SqlRecordStore:
    """What the judge sent. Every write may be repeated, in any order, and the result is the same."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def upsert_points(self, points: Iterable[MetricPoint]) -> None:
        """Keep each point, unless a higher revision of it is there already. One transaction."""
        # In order of id, so that two recorders lock rows in the same order.
        rows = sorted(
            (_point_fields(point) for point in points), key=lambda row: (row["id"], row["revision"])
        )
        if rows:
            with writing(self._engine) as connection:
                connection.execute(upsert(connection, PointRow, not_below=["revision"]), rows)

    def upsert_alerts(self, alerts: Iterable[Alert]) -> None:
        """Keep each alert; one that is known is left as it is, for an alert is never rewritten."""
        rows = sorted((_alert_fields(alert) for alert in alerts), key=lambda row: row["id"])
        if rows:
            with writing(self._engine) as connection:
                connection.execute(insert_ignore(connection, AlertRow), rows)

    def upsert_accounting(self, accounts: Iterable[Accounting]) -> None:
        """Replace the counts of a stage and partition. Counts are cumulative, so lower ones are old and are
        ignored; and with the same labels fewer and fewer wait, so more that wait are old, too."""
        rows = sorted((_accounting_fields(account) for account in accounts), key=_accounting_order)
        if rows:
            with writing(self._engine) as connection:
                statement = upsert(
                    connection, AccountingRow, not_below=["received", "label_received"], unless=_more_wait
                )
                connection.execute(statement, rows)

    def models(self) -> list[str]:
        """Every model of which anything was recorded."""
        with reading(self._engine) as connection:
            query = select(PointRow.model).union(select(AccountingRow.model), select(AlertRow.model))
            return sorted(connection.scalars(query))

    def series(
        self,
        model: str,
        measure: str,
        feature: str | None = None,
        version: str | None = None,
        axis: Axis | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        segment: str | None = "all",
        limit: int = 10_000,
    ) -> list[MetricPoint]:
        """One measure over time, oldest first. `feature=None`: of every feature, and of the model as a
        whole."""
        with reading(self._engine) as connection:
            return select_points(
                connection,
                model,
                version=version,
                segment=segment,
                measures=[measure],
                feature=feature,
                axis=axis,
                since_us=since_us,
                until_us=until_us,
                limit=limit,
            )

    def without_reference(self, model: str) -> str | None:
        """Why the newest window of a model's events could not be compared with anything; None where it could, or there
        is no window."""
        with reading(self._engine) as connection:
            newest = select_points(connection, model, segment="all", axis="event", limit=1)
            if not newest:
                return None
            since_us = newest[-1].end_us
            found = select_points(
                connection,
                model,
                segment="all",
                axis="event",
                measures=["reference"],
                since_us=since_us,
                limit=1,
            )
        return found[-1].undefined if found else None

    def recent(
        self, model: str, *, version: str, axis: Axis | None = None, limit: int = 10_000
    ) -> list[MetricPoint]:
        """The newest points of a version over all rows, of every measure, oldest first."""
        with reading(self._engine) as connection:
            return select_points(connection, model, version=version, segment="all", axis=axis, limit=limit)

    def alerts(
        self,
        model: str | None = None,
        *,
        kind: AlertKind | None = None,
        state: str | None = None,
        since_us: int | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Alert]:
        """Newest first by the end of their windows; `before` is the id of the last alert of the previous
        page."""
        _check_limit(limit)
        query = select(AlertRow.value).order_by(AlertRow.at_us.desc(), AlertRow.id.desc()).limit(limit)
        for column, wanted in ((AlertRow.model, model), (AlertRow.kind, kind), (AlertRow.state, state)):
            if wanted is not None:
                query = query.where(column == wanted)
        if since_us is not None:
            query = query.where(AlertRow.at_us >= since_us)
        with reading(self._engine) as connection:
            if before is not None:
                at_us = connection.scalar(select(AlertRow.at_us).where(AlertRow.id == before))
                if at_us is None:
                    raise ValueError(f"before={before!r} names no alert")
                query = query.where(
                    or_(AlertRow.at_us < at_us, and_(AlertRow.at_us == at_us, AlertRow.id < before))
                )
            return [msgspec.convert(value, Alert) for value in connection.scalars(query)]

    def accounting(self, model: str | None = None) -> list[Accounting]:
        """The latest counts of every stage and partition."""
        query = select(AccountingRow.value).order_by(
            AccountingRow.model, AccountingRow.stage, AccountingRow.partition
        )
        if model is not None:
            query = query.where(AccountingRow.model == model)
        with reading(self._engine) as connection:
            return [msgspec.convert(value, Accounting) for value in connection.scalars(query)]

    def accounting_totals(self, model: str) -> dict[str, Any]:
        """Both equations of invariant 8, per stage, and whether they close: see `db.accounting.totals`."""
        return totals(model, self.accounting(model))


def _check_limit(limit: int) -> None:
    if not 0 < limit <= 10_000:
        raise ValueError(f"limit must be between 1 and 10000, got {limit}")


def _point_fields(point: MetricPoint) -> dict[str, Any]:
    return {
        "id": point.id,
        "model": point.model,
        "version": point.version,
        "segment": point.segment,
        "axis": point.axis,
        "window": point.window,
        "start_us": point.start_us,
        "end_us": point.end_us,
        "rows": point.rows,
        "measure": point.measure,
        "feature": point.feature,
        "verdict": point.verdict,
        "revision": point.revision,
        "value": point,
    }


def _alert_fields(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "model": alert.model,
        "kind": alert.kind,
        "state": alert.state,
        "at_us": alert.end_us,
        "value": checked(alert),
    }


def _accounting_fields(count: Accounting) -> dict[str, Any]:
    return {
        "model": count.model,
        "stage": count.stage,
        "partition": count.partition,
        "received": count.received,
        "label_received": count.label_received,
        "value": count,
    }


def _accounting_order(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *(row[name] for name in ("model", "stage", "partition", "received", "label_received")),
        -row["value"].waiting,
    )


def _more_wait(known: Columns, new: Columns) -> ColumnElement[bool]:
    same = known["label_received"] == new["label_received"]
    return and_(same, _waiting(known) < _waiting(new))


def _waiting(columns: Columns) -> ColumnElement[int]:
    return func.coalesce(columns["value"]["waiting"].as_integer(), 0)
