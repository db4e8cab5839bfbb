"""The audit log: personal data beside the leaf instead of in it, and inner nodes of the tree for fast proofs."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TILE = 256


def upgrade() -> None:
    """Add the column and the table, and fill the table from the leaves that are there."""
    op.add_column("audit_leaves", sa.Column("personal", sa.Text(), nullable=True))
    nodes = op.create_table(
        "audit_nodes",
        sa.Column("height", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("height", "number", name="pk_audit_nodes"),
    )
    found = _nodes(op.get_bind())
    if found:
        op.bulk_insert(nodes, found)


def downgrade() -> None:
    """Remove both."""
    op.drop_table("audit_nodes")
    with op.batch_alter_table("audit_leaves") as table:
        table.drop_column("personal")


def _nodes(connection: sa.Connection) -> list[dict[str, object]]:
    leaves = connection.execute(
        sa.text("SELECT leaf_hash FROM audit_leaves WHERE idx IS NOT NULL ORDER BY idx")
    )
    hashes, height = [bytes(row[0]) for row in leaves], 0
    found: list[dict[str, object]] = []
    while len(hashes) >= _TILE:
        whole = range(0, len(hashes) - len(hashes) % _TILE, _TILE)
        hashes, height = [_root(hashes[at : at + _TILE]) for at in whole], height + 8
        for number, root in enumerate(hashes):
            found.append({"height": height, "number": number, "hash": root})
    return found


def _root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return hashes[0]
