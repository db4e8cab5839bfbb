"""Migrated databases for tests, at a small part of what migrating takes."""

from typing import Any

from sqlalchemy import URL, Connection, Engine, event

from db.engine import connect, writing
from db.migrate import upgrade

_SAID: dict[str, list[tuple[str, Any]]] = {}
"""What the migrations said to the first empty database of each kind."""


def migrate(url: str) -> None:
    """As `db.migrate.upgrade` of an empty database: the first of a kind is migrated, the others are told the same."""
    engine = connect(url)
    try:
        kind = engine.dialect.name
        if kind not in _SAID:
            _SAID[kind] = _heard(engine.url)
            return
        with writing(engine) as connection:
            for statement, parameters in _SAID[kind]:
                connection.exec_driver_sql(statement, parameters)
    finally:
        engine.dispose()


def _heard(url: URL) -> list[tuple[str, Any]]:
    said: list[tuple[str, Any]] = []

    def hear(connection: Connection, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
        if connection.engine.url == url and not statement.startswith("BEGIN"):
            said.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        upgrade(url.render_as_string(hide_password=False))
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    return said
