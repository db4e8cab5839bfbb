"""Bringing the schema up to date, and saying in plain words why it is not."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from db.engine import connect, reading, writing
from db.errors import SchemaError

VERSION_TABLE = "homeostat_version"
"""Not Alembic's usual name, so that a database shared with another program (MLflow uses Alembic too)
works."""

_LOCK = 0x686F6D656F  # "homeo": the key of the advisory lock under which PostgreSQL migrates


def upgrade(url: str) -> None:
    """Create or upgrade the schema in one transaction; nothing to do is fine.

    Two processes may start at once: the first takes the write lock (SQLite) or an advisory lock (PostgreSQL)
    before Alembic looks at the version, the second waits and then finds the work done.

    Raises `Unavailable` when the database cannot be reached and `SchemaError` when its schema is newer.
    """
    engine = connect(url)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config = _config()
            _refuse_newer(_revision(connection), config)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def current(url: str) -> str | None:
    """The schema's revision; None for a database that `upgrade` has never seen."""
    engine = connect(url)
    try:
        with reading(engine) as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def check(url: str) -> None:
    """Return quietly when the schema is the one that this version needs; otherwise `SchemaError` or
    `Unavailable`."""
    revision, config = current(url), _config()
    _refuse_newer(revision, config)
    head = ScriptDirectory.from_config(config).get_current_head()
    if revision != head:
        raise SchemaError(
            f"The database's schema is at revision {revision or 'none'}, this version of Homeostat needs "
            f"{head}. Run `homeostat db upgrade`."
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()


def _refuse_newer(revision: str | None, config: Config) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaError(
            f"The database's schema is at revision {revision}, which this version of Homeostat (up to "
            f"{max(known)}) does not know: it was written by a newer one. Upgrade Homeostat."
        )
