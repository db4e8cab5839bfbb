"""Binding the state tables to the log: the last entry that wrote a row says what must be in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, select, update

from db.audit.sealed import commitment
from db.codec import digest
from db.tables import (
    ActionRow,
    AlertLinkRow,
    ApprovalRow,
    Base,
    ChangeRow,
    DeploymentRow,
    DesiredRow,
    IncidentRow,
    NoticeRow,
    PlanRow,
    SilenceRow,
    SwitchRow,
    TokenRow,
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
    TokenRow,
    NoticeRow,
    SwitchRow,
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
    "tokens": ("id",),
    "notices": ("id",),
    "switches": ("name",),
}
"""Columns that repeat a field of the row's value, and must agree with it."""


@dataclass(frozen=True, slots=True)
class Write:
    """The last write of a row: the hash of its value, the hash's salt, the entry that says so and its action.

    `salt` is "" where it was removed without the row being told of again. Entries of the first schema have no salts:
    None.
    """

    hash: str
    salt: str | None
    index: int | None
    action: str

    @property
    def entry(self) -> str:
        """The entry in words."""
        place = "a waiting entry" if self.index is None else f"entry {self.index}"
        return f"{place} ({self.action})"

    def wrote(self, key: str, value: Any) -> bool:
        """Whether the row's value is the one that was written."""
        return self.hash == (digest(value) if self.salt is None else commitment(self.salt, key, value))


@dataclass(slots=True)
class LastWrites:
    """For every row that the log knows: its last write. Notes must be taken in the order of the log."""

    last: dict[str, Write] = field(default_factory=dict[str, Write])

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
                if not told.wrote(key, row["value"]):
                    yield f"The row {key} is not what {told.entry} wrote: it was changed without an entry."
                for column in COPIES[name]:
                    if row["value"].get(column) != row[column]:
                        yield (
                            f"The row {key} contradicts itself: its column {column} is {row[column]!r}, its "
                            f"value says {row['value'].get(column)!r}."
                        )
        for key, write in left.items():
            yield f"The row {key} that {write.entry} wrote is gone: it was removed without an entry."


def bound_row(connection: Connection, key: str) -> dict[str, Any] | None:
    """The value of the state row that entries call `key` (`approvals/ID`); None when there is none."""
    table, condition = _find(key)
    return connection.scalar(select(table.__table__.c.value).where(condition))


def replace_row(connection: Connection, key: str, value: dict[str, Any]) -> None:
    """Write another value; it must agree with the columns beside it. Other rows that say the same stay as they are."""
    table, condition = _find(key)
    changes: dict[str, Any] = {"value": value}
    if "row_revision" in table.__table__.c:
        changes["row_revision"] = table.__table__.c.row_revision + 1
    connection.execute(update(table).where(condition).values(changes))


def _find(key: str) -> tuple[type[Base], Any]:
    name, *parts = key.split("/")
    table = next(one for one in BOUND if one.__tablename__ == name)
    columns = list(table.__table__.primary_key)
    parts = ["/".join(parts[: len(parts) - len(columns) + 1]), *parts[len(parts) - len(columns) + 1 :]]
    values = [
        int(part) if column.name == "epoch" else part for column, part in zip(columns, parts, strict=True)
    ]
    return table, and_(*(column == value for column, value in zip(columns, values, strict=True)))
