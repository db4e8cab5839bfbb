"""Writing lines of the audit log in the transaction of the change that they tell of, and reading them back."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, text

from db.audit.merkle import leaf_hash
from db.audit.sealed import ROWS, commitment, dump, load, new_salt, seal, unsealed
from db.codec import canonical
from db.tables import LeafRow
from remediation.values import AuditEntry

MAX_PAGE = 10_000

_INSERT_ALL = text(
    "INSERT INTO audit_leaves (id, at_us, actor, action, subject, leaf, leaf_hash, personal) "
    "SELECT id, at_us, actor, action, subject, leaf, decode(leaf_hash, 'hex'), personal "
    "FROM json_to_recordset(CAST(:rows AS json)) AS given(id text, at_us bigint, actor text, action text, "
    "subject text, leaf text, leaf_hash text, personal text)"
)
"""One statement and one parameter for any number of rows: on PostgreSQL several times as fast as a statement each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An entry to be written. `rows` names the state rows written in the same transaction, key (`incidents/ID`) to
    value; `verify` compares them with the tables."""

    at_us: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, object] = field(default_factory=dict[str, object])
    rows: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """What is hashed: the entry, with commitments (`sealed`) in the place of what is personal."""

    id: str
    at_us: int
    actor: str = ""
    action: str
    subject: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    sealed: dict[str, str] = msgspec.field(default_factory=dict[str, str])


def append(
    connection: Connection,
    *,
    at_us: int,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, object],
    rows: Mapping[str, Any] | None = None,
) -> str:
    """Insert one entry (see `NewEntry`); it gets its place in the tree when the sequencer comes by. Returns its id.

    Raises `ValueError` for an empty field or a detail that uses the reserved key `rows`.
    """
    entry = NewEntry(at_us=at_us, actor=actor, action=action, subject=subject, detail=detail, rows=rows or {})
    return append_all(connection, [entry])[0]


def append_all(connection: Connection, entries: Sequence[NewEntry]) -> list[str]:
    """Insert many entries at once, in their order. Returns their ids."""
    leaves = [prepared(entry) for entry in entries]
    append_prepared(connection, leaves)
    return [leaf["id"] for leaf in leaves]


def append_prepared(connection: Connection, leaves: Sequence[dict[str, Any]]) -> None:
    """Insert rows that `prepared` made, in their order."""
    if connection.dialect.name == "postgresql" and len(leaves) > 1:
        rows = [{**leaf, "leaf_hash": leaf["leaf_hash"].hex()} for leaf in leaves]
        connection.execute(_INSERT_ALL, {"rows": msgspec.json.encode(rows).decode()})
    elif leaves:
        connection.execute(insert(LeafRow), leaves)


def prepared(entry: NewEntry) -> dict[str, Any]:
    """The entry as a row: what is personal is sealed, and the leaf is hashed. Raises `ValueError` as `append` does."""
    for name in ("actor", "action", "subject"):
        value = getattr(entry, name)
        if not value or "\x00" in value:
            raise ValueError(f"{name} of an audit entry must be a text without NUL characters, got {value!r}")
    if ROWS in entry.detail:
        raise ValueError(
            f"the key {ROWS!r} in an audit entry's detail is reserved, got {entry.detail[ROWS]!r}"
        )
    detail: dict[str, object] = {**entry.detail}
    sealed, personal = seal(entry.actor, detail)
    if entry.rows:
        salt = new_salt()
        personal[ROWS] = (salt, "")
        sealed[ROWS] = commitment(salt, ROWS, "")
        detail[ROWS] = {key: commitment(salt, key, value) for key, value in entry.rows.items()}
    leaf_id = secrets.token_hex(16)
    data = canonical(
        {
            "id": leaf_id,
            "at_us": entry.at_us,
            "action": entry.action,
            "subject": entry.subject,
            "detail": detail,
            "sealed": sealed,
        }
    )
    return {
        "id": leaf_id,
        "at_us": entry.at_us,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "leaf": data.decode(),
        "leaf_hash": leaf_hash(data),
        "personal": dump(personal),
    }


def told(leaf: str, personal: str | None, *, index: int | None, hash_hex: str) -> AuditEntry:
    """The entry as people read it: what is sealed stands in its place again, as far as it was not redacted."""
    read = msgspec.json.decode(leaf, type=Leaf)
    actor = unsealed(read.sealed, load(personal), read.detail)
    return AuditEntry(
        index=index,
        id=read.id,
        at_us=read.at_us,
        actor=read.actor if actor is None else actor,
        action=read.action,
        subject=read.subject,
        detail=read.detail,
        leaf_hash=hash_hex,
    )


def entries(
    connection: Connection,
    *,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    after: int | None = None,
    before: int | None = None,
    limit: int = 100,
    newest_first: bool = True,
) -> list[AuditEntry]:
    """Sequenced entries by index; `after` and `before` are exclusive indices."""
    if not 0 < limit <= MAX_PAGE:
        raise ValueError(f"limit must be between 1 and {MAX_PAGE}, got {limit}")
    query = select(LeafRow.idx, LeafRow.leaf, LeafRow.leaf_hash, LeafRow.personal).where(
        LeafRow.idx.is_not(None)
    )
    for column, wanted in ((LeafRow.actor, actor), (LeafRow.action, action), (LeafRow.subject, subject)):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        query = query.where(LeafRow.idx > after)
    if before is not None:
        query = query.where(LeafRow.idx < before)
    query = query.order_by(LeafRow.idx.desc() if newest_first else LeafRow.idx).limit(limit)
    return [
        told(row.leaf, row.personal, index=row.idx, hash_hex=row.leaf_hash.hex())
        for row in connection.execute(query)
    ]
