"""Binding the state tables to the log: the last entry that wrote a row says what must be in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Connection, select

from db.audit.leaves import ROWS, row_hash
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
)

BOUND: tuple[type[Base], ...] = (
    IncidentRow,
    AlertLinkRow,
    PlanRow,
    ApprovalRow,
    ActionRow,
    DesiredRow,
    DeploymentRow,
    SilenceRow,
    ChangeRow,
)
"""The tables of which every row must have an entry."""

COPIES: Mapping[str, tuple[str, ...]] = {
    "incidents": ("id", "model", "state", "cause"),
    "alert_links": ("id",),
    "plans": ("id", "incident_id"),
    "approvals": ("id", "plan_id", "incident_id", "state"),
    "actions": ("id", "plan_id", "incident_id", "model", "state"),
    "desired": ("model", "epoch"),
    "deployments": ("model", "epoch"),
    "silences": ("id",),
    "changes": ("id",),
}
"""Columns that repeat a field of the row's value, and must agree with it."""


@dataclass(slots=True)
class LastWrites:
    """For every row that the log knows: the hash of its last written value, and the entry that says so."""

    last: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])

    def note(self, detail: Mapping[str, Any], entry: str) -> None:
        """Take in the detail of the next entry, in the order of the log."""
        written: object = detail.get(ROWS)
        if isinstance(written, dict):
            for key, digest in cast("dict[str, str]", written).items():
                self.last[key] = (digest, entry)

    def problems(self, connection: Connection) -> Iterator[str]:
        """What the tables hold that the log does not tell, and the other way round."""
        left = dict(self.last)
        for table in BOUND:
            name = table.__tablename__
            keys = [column.name for column in table.__table__.primary_key]
            query = select(table.__table__)
            for row in connection.execute(query, execution_options={"yield_per": 1_000}).mappings():
                key = "/".join((name, *(str(row[column]) for column in keys)))
                told = left.pop(key, None)
                if told is None:
                    yield f"The row {key} has no audit entry: it was added without one, or the entry is gone."
                    continue
                if row_hash(row["value"]) != told[0]:
                    yield f"The row {key} is not what {told[1]} wrote: it was changed without an entry."
                for column in COPIES[name]:
                    if row["value"].get(column) != row[column]:
                        yield (
                            f"The row {key} contradicts itself: its column {column} is {row[column]!r}, its "
                            f"value says {row['value'].get(column)!r}."
                        )
        for key, (_, entry) in left.items():
            yield f"The row {key} that {entry} wrote is gone: it was removed without an entry."
