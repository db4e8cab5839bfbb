"""How the database is opened, and the two kinds of transaction: `writing` and `reading`."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from db.codec import dumps
from db.errors import StoreError, explain

BUSY_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10


def connect(url: str) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql://...`. Nothing is opened before the first transaction.

    SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned survives not only kill -9 (NORMAL
    would do) but a power loss too. An approval or an intent that the disk forgets could be carried out twice,
    and the checkpoint file outside the database would vouch for entries that are gone. One fsync per commit
    is the price.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    try:
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
            json_serializer=dumps,
            json_deserializer=msgspec.json.decode,
        )
    except ModuleNotFoundError as error:
        raise StoreError(
            "PostgreSQL needs the driver psycopg: install `homeostat-server[postgres]`."
        ) from error


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError as error:
        raise StoreError(
            "The database's URL cannot be read. It should look like sqlite:////path/homeostat.db or "
            "postgresql://user:password@host/name."
        ) from error
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise StoreError(f"A database of kind {backend!r} is not supported: use sqlite or postgresql.")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(
            "Several processes share the database, so SQLite needs a file: sqlite:////path/name.db."
        )
    return parsed


def _sqlite(url: URL) -> Engine:
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder of the database {url.database} cannot be made: {error}.") from error
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None},
        json_serializer=dumps,
        json_deserializer=msgspec.json.decode,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for its busy timeout when the journal mode is switched, so the waiting is done
    here."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for a writer (SQLITE_BUSY_SNAPSHOT), so
    # a writer takes the lock at its start.
    reads = connection.get_execution_options().get("homeostat_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """A transaction that commits at the end and rolls back on an exception.

    On SQLite writers queue up (30 s at most); on PostgreSQL it is READ COMMITTED, so every change must be
    conditional.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise explain(error, engine.url) from error


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """A transaction that sees one unchanging state of the database and never blocks a writer."""
    options: dict[str, Any] = {"homeostat_reads": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                yield connection
    except DBAPIError as error:
        raise explain(error, engine.url) from error
