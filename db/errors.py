"""Errors of this room.

StoreError            something the database could not do; `retriable` says whether waiting may help
├── Unavailable       not reachable, locked, or full: try again later (also a `ConnectionError`)
├── SchemaError       the tables are not those that this version of Homeostat needs
└── AuditError        the audit log cannot be continued without hiding what happened
    └── UnknownEntry  what was asked for is not in the audit log
"""

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

_SQLITE_TRANSIENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)


class StoreError(Exception):
    """The database could not do what was asked."""

    retriable = False


class Unavailable(StoreError, ConnectionError):
    """The database cannot be reached or is locked. The caller may try again."""

    retriable = True


class SchemaError(StoreError):
    """The schema is missing, older or newer than this version of Homeostat."""


class AuditError(StoreError):
    """The audit log contradicts what was signed before; nothing more is signed until a person has looked."""


class UnknownEntry(AuditError):
    """There is no such entry, no such field of it, or no such size of the log."""


def explain(error: DBAPIError, url: URL) -> StoreError:
    """The database driver's error in the words of this room, without the password and without the
    statement."""
    where = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
    what = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
    if _transient(error):
        return Unavailable(
            f"The database {where} cannot be used now: {what}. Check HOMEOSTAT_DATABASE_URL, that the "
            "server runs and that the disk has room."
        )
    return StoreError(f"The database {where} refused: {what}.")


def _transient(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_OK)
        return (code & 0xFF) in _SQLITE_TRANSIENT
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
