"""Where the words of a redaction still stand: it removes them from one entry and the rows that this wrote last, and the
same words may have been said in others."""

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, cast, func, or_, select

from db.audit.rows import BOUND
from db.tables import AlertRow, ClickRow, LeafRow

_SHOWN = 20
_SHORT_CHARS = 4
"""Shorter words are only found where they are the whole of what was said: `tom` is a part of `customer`."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """`entries`: how many entries of the log hold the words where a redaction takes them out, `first` the places of the
    earliest. `open`: the places of the earliest that hold them in the text that is hashed, for good. `rows`: by table,
    how many rows of the database do."""

    entries: int = 0
    first: tuple[int, ...] = ()
    open: tuple[int, ...] = ()
    rows: dict[str, int] = field(default_factory=dict[str, int])


def leftovers(connection: Connection, words: Collection[str]) -> Leftovers:
    """What still holds any of the words. Reads the whole log and every row of the state tables."""
    sought = [_as_stored(word) for word in words if word]
    if not sought:
        return Leftovers()
    held = _holds(LeafRow.__table__.c.personal, sought)
    rows: dict[str, int] = {}
    for table in (*BOUND, AlertRow, ClickRow):
        stored = cast(table.__table__.c.value, Text)
        count = connection.scalar(select(func.count()).select_from(table).where(_holds(stored, sought)))
        if count:
            rows[table.__tablename__] = count
    entries = connection.scalar(select(func.count()).select_from(LeafRow).where(held)) or 0
    said = _holds(LeafRow.__table__.c.leaf, sought)
    return Leftovers(entries, _first(connection, held), _first(connection, said), rows)


def _first(connection: Connection, held: ColumnElement[bool]) -> tuple[int, ...]:
    query = select(LeafRow.idx).where(held, LeafRow.idx.is_not(None)).order_by(LeafRow.idx).limit(_SHOWN)
    return tuple(index for index in connection.scalars(query) if index is not None)


def _as_stored(word: str) -> str:
    quoted = msgspec.json.encode(word).decode()
    return quoted if len(word) < _SHORT_CHARS else quoted[1:-1]


def _holds(stored: ColumnElement[str], sought: Collection[str]) -> ColumnElement[bool]:
    return or_(*(stored.contains(each, autoescape=True) for each in sought))
