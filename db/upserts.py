"""INSERT ... ON CONFLICT, which SQLite and PostgreSQL spell alike but SQLAlchemy keeps in their dialects."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.dml import Insert

from db.tables import AlertLinkRow, Base

_LINK_ALL = text(
    "INSERT INTO alert_links (id, incident_id, silence_id, at_us, value) "
    "SELECT id, incident_id, silence_id, at_us, value "
    "FROM json_to_recordset(CAST(:rows AS json)) AS given(id text, incident_id text, silence_id text, at_us bigint, "
    "value json) ON CONFLICT (id) DO NOTHING"
)
"""One statement and one parameter for any number of rows, as for the audit log."""


def insert_ignore(connection: Connection, table: type[Base], *, ignore: bool = True) -> Insert:
    """INSERT that does nothing (rowcount 0) when the primary key is taken; with `ignore=False` it fails
    instead."""
    statement = _insert(connection, table)
    return statement.on_conflict_do_nothing(index_elements=_key(table)) if ignore else statement


def insert_links(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Insert alert links whose id is not taken; how many there were."""
    if connection.dialect.name == "postgresql":
        return connection.execute(_LINK_ALL, {"rows": msgspec.json.encode(rows).decode()}).rowcount
    statement = insert_ignore(connection, AlertLinkRow)
    options = {"preserve_rowcount": True}
    return sum(connection.execute(statement, row, execution_options=options).rowcount for row in rows)


Columns: TypeAlias = ReadOnlyColumnCollection[str, Any]
Compared: TypeAlias = Callable[[Columns, Columns], ColumnElement[bool]]
"""Takes the columns of the row that is there and those of the new one."""


def upsert(
    connection: Connection, table: type[Base], *, not_below: Sequence[str], unless: Compared | None = None
) -> Insert:
    """INSERT that replaces the row with the same key, unless the new row is lower in one of the `not_below`
    columns, or `unless` holds."""
    statement = _insert(connection, table)
    columns = table.__table__.columns
    conditions: list[ColumnElement[bool]] = [columns[name] <= statement.excluded[name] for name in not_below]
    changes: dict[str, Any] = {
        column.name: statement.excluded[column.name] for column in columns if not column.primary_key
    }
    condition = conditions[0]
    for another in conditions[1:]:
        condition &= another
    if unless is not None:
        condition &= ~unless(columns, statement.excluded)
    return statement.on_conflict_do_update(index_elements=_key(table), set_=changes, where=condition)


def _insert(connection: Connection, table: type[Base]) -> "sqlite.Insert | postgresql.Insert":
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _key(table: type[Base]) -> list[str]:
    return [column.name for column in table.__table__.primary_key]
