"""Writing a line of the audit log in the transaction of the change that it tells of, and reading lines
back."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from db.audit.merkle import leaf_hash
from db.codec import canonical, digest
from db.tables import LeafRow
from remediation.values import AuditEntry

ROWS = "rows"
"""Key in a leaf's `detail`: {row key: SHA-256 of the row's new value}. It binds a leaf to the rows it
wrote."""

MAX_PAGE = 10_000


def row_hash(value: Any) -> str:
    """What a leaf says about a row's value: SHA-256 of its canonical JSON."""
    return digest(value)


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
    """Insert a leaf; it gets its place in the tree when the sequencer comes by. Returns the leaf's id.

    `rows` names the state rows written in the same transaction, key (`incidents/ID`) to value; `verify`
    compares them with the tables. Raises `ValueError` for an empty field or a detail that uses the reserved
    key `rows`.
    """
    for name, text in (("actor", actor), ("action", action), ("subject", subject)):
        if not text or "\x00" in text:
            raise ValueError(f"{name} of an audit entry must be a text without NUL characters, got {text!r}")
    if ROWS in detail:
        raise ValueError(f"the key {ROWS!r} in an audit entry's detail is reserved, got {detail[ROWS]!r}")
    content: dict[str, object] = {**detail}
    if rows:
        content[ROWS] = {key: row_hash(value) for key, value in rows.items()}
    leaf_id = secrets.token_hex(16)
    data = canonical(
        {
            "id": leaf_id,
            "at_us": at_us,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": content,
        }
    )
    connection.execute(
        insert(LeafRow).values(
            id=leaf_id,
            at_us=at_us,
            actor=actor,
            action=action,
            subject=subject,
            leaf=data.decode(),
            leaf_hash=leaf_hash(data),
        )
    )
    return leaf_id


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
    query = select(LeafRow.idx, LeafRow.leaf, LeafRow.leaf_hash).where(LeafRow.idx.is_not(None))
    for column, wanted in ((LeafRow.actor, actor), (LeafRow.action, action), (LeafRow.subject, subject)):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        query = query.where(LeafRow.idx > after)
    if before is not None:
        query = query.where(LeafRow.idx < before)
    query = query.order_by(LeafRow.idx.desc() if newest_first else LeafRow.idx).limit(limit)
    return [
        msgspec.structs.replace(
            msgspec.json.decode(row.leaf, type=AuditEntry), index=row.idx, leaf_hash=row.leaf_hash.hex()
        )
        for row in connection.execute(query)
    ]
