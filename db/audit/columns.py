"""Entries as columns, thousands at a time: one row of arrays costs the driver half of what rows cost it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, event, text

BLOCK = 4_096

_PLAIN = "id, at_us, actor, action, subject"
_TAKEN = {
    "sequenced": "idx > :after ORDER BY idx",
    "waiting": "idx IS NULL AND position > :after ORDER BY position",
}
_SQLITE = (
    "SELECT position, idx, CAST(leaf AS BLOB), leaf_hash, CAST(personal AS BLOB), {plain} FROM audit_leaves "
    "WHERE {taken} LIMIT :limit"
)
_POSTGRESQL = (
    "SELECT max(position), array_agg(idx), array_agg(convert_to(leaf, 'UTF8')), array_agg(leaf_hash), "
    "array_agg(convert_to(personal, 'UTF8')), {plain} FROM "
    "(SELECT * FROM audit_leaves WHERE {taken} LIMIT :limit) AS taken"
)
_BINARY = "homeostat_binary"


class Columns(NamedTuple):
    """Some entries in their order: index, text, stored hash, sealed values, and what stands beside the text."""

    idx: Sequence[int | None]
    leaf: Sequence[bytes]
    leaf_hash: Sequence[bytes]
    personal: Sequence[bytes | None]
    id: Sequence[str]
    at_us: Sequence[int]
    actor: Sequence[str]
    action: Sequence[str]
    subject: Sequence[str]


def sequenced(connection: Connection, after: int) -> Columns | None:
    """The next entries after an index, in the order of the log; None where there are no more."""
    taken = _take(connection, "sequenced", after)
    return None if taken is None else taken[1]


def waiting(connection: Connection) -> Iterator[Columns]:
    """The entries that wait for their place, in the order in which they were written."""
    after = -(2**62)
    while (taken := _take(connection, "waiting", after)) is not None:
        after, columns = taken
        yield columns


def _take(connection: Connection, which: str, after: int) -> tuple[int, Columns] | None:
    """Up to `BLOCK` entries, and the last one's position."""
    given = {"after": after, "limit": BLOCK}
    if connection.dialect.name == "postgresql":
        plain = ", ".join(f"array_agg({name})" for name in _PLAIN.split(", "))
        query = text(_POSTGRESQL.format(plain=plain, taken=_TAKEN[which]))
        if not event.contains(connection, "before_cursor_execute", _ask_binary):
            event.listen(connection, "before_cursor_execute", _ask_binary)
        row = connection.execute(query, given, execution_options={_BINARY: True}).one()
        return None if row[0] is None else (row[0], Columns(*row[1:]))
    rows = connection.execute(text(_SQLITE.format(plain=_PLAIN, taken=_TAKEN[which])), given).all()
    if not rows:
        return None
    positions, *columns = zip(*rows, strict=True)
    return positions[-1], Columns(*columns)


def _ask_binary(*given: Any) -> None:
    """Have the driver take arrays as the server has them, not as text."""
    _, cursor, _, _, context, _ = given
    if context.execution_options.get(_BINARY):
        cursor.format = 1
