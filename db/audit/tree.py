"""The stored Merkle tree: giving leaves their places in it, and signing what it then is. All in one transaction."""

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, insert, select, text, update

from db.audit.merkle import EMPTY_ROOT, Edge, leaf_hash
from db.audit.note import Checkpoint, Note, Signer, parse
from db.errors import AuditError
from db.tables import CheckpointRow, LeafRow, NodeRow, TreeRow

_PLACE_ALL = text(
    "UPDATE audit_leaves SET idx = given.place FROM unnest(CAST(:positions AS bigint[]), CAST(:places AS bigint[])) "
    "AS given(position, place) WHERE audit_leaves.position = given.position"
)


def size_of(connection: Connection) -> int:
    """How many leaves have their place."""
    return connection.execute(select(TreeRow.size)).scalar_one_or_none() or 0


def stored_edge(connection: Connection) -> Edge:
    """The tree as it was left, locked until the end of the transaction; it must give the root signed last."""
    tree = connection.execute(select(TreeRow.size, TreeRow.edge).with_for_update()).one_or_none()
    newest = newest_note(connection)
    signed = (0, EMPTY_ROOT) if newest is None else (newest.checkpoint.size, newest.checkpoint.root)
    try:
        edge = None if tree is None else Edge.from_bytes(tree.size, tree.edge)
    except ValueError:
        edge = None
    if edge is None or (edge.size, edge.root()) != signed:
        raise AuditError(
            f"The audit tree in the database is not the one whose root was signed last ({signed[0]}): "
            "it was changed by hand. Nothing is signed until this is settled."
        )
    return edge


def place_waiting(connection: Connection, edge: Edge, limit: int) -> int:
    """Give up to `limit` waiting leaves their places, in the order in which they were written. Returns how many."""
    waiting = connection.execute(
        select(LeafRow.position, LeafRow.leaf)
        .where(LeafRow.idx.is_(None))
        .order_by(LeafRow.position)
        .limit(limit)
    ).all()
    if not waiting:
        return 0
    first = edge.size
    edge.extend([leaf_hash(leaf.encode()) for _, leaf in waiting])
    _place(connection, [position for position, _ in waiting], first)
    if edge.tiles:
        nodes = [{"height": height, "number": number, "hash": root} for height, number, root in edge.tiles]
        connection.execute(insert(NodeRow), nodes)
        edge.tiles.clear()
    return len(waiting)


def sign(connection: Connection, edge: Edge, signers: Sequence[Signer]) -> None:
    """Store the tree, and a checkpoint with a signature of each signer."""
    note = Note(Checkpoint(signers[0].verifier.name, edge.size, edge.root()), ())
    for signer in signers:
        note = signer.sign(note, 0)
    connection.execute(update(TreeRow).values(size=edge.size, edge=edge.to_bytes()))
    now_us = time.time_ns() // 1_000
    connection.execute(insert(CheckpointRow).values(size=edge.size, at_us=now_us, note=note.text()))


def stored_note(note: str) -> Note:
    """A checkpoint from the database."""
    try:
        return parse(note)
    except ValueError as error:
        raise AuditError(f"A checkpoint in the database was changed by hand: {error}.") from error


def newest_note(connection: Connection) -> Note | None:
    """The newest checkpoint in the database."""
    found = connection.scalar(select(CheckpointRow.note).order_by(CheckpointRow.size.desc()).limit(1))
    return None if found is None else stored_note(found)


def _place(connection: Connection, positions: Sequence[int], first: int) -> None:
    places = range(first, first + len(positions))
    if connection.dialect.name == "postgresql":
        connection.execute(_PLACE_ALL, {"positions": _array(positions), "places": _array(places)})
        return
    connection.execute(
        update(LeafRow).where(LeafRow.position == bindparam("at")).values(idx=bindparam("place")),
        [{"at": position, "place": place} for position, place in zip(positions, places, strict=True)],
    )


def _array(numbers: Iterable[int]) -> str:
    """As PostgreSQL reads an array from a text, which is made many times faster than a driver's array."""
    return f"{{{','.join(map(str, numbers))}}}"
