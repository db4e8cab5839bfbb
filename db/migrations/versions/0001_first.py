"""The first schema: remediation's journal, measurements, accounting and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables and the audit log's empty tree."""
    _journal()
    _measurements()
    _audit()


def downgrade() -> None:
    """Drop everything."""
    for table in (
        *("audit_checkpoints", "audit_tree", "audit_leaves", "accounting", "alerts", "metric_points"),
        *("deployments", "desired", "actions", "approvals", "plans", "alert_links", "incidents"),
    ):
        op.drop_table(table)


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable, autoincrement=False)


def _value() -> sa.Column[object]:
    return sa.Column("value", sa.JSON(), nullable=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _refers(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}")


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _journal() -> None:
    op.create_table(
        "incidents",
        *(
            _text("id"),
            _text("model"),
            _text("state"),
            _text("cause"),
            _int("at_us"),
            _int("row_revision"),
            _value(),
        ),
        _key("incidents", "id"),
    )
    op.create_table(
        "alert_links",
        *(_text("id"), _text("incident_id", nullable=True), _int("at_us"), _value()),
        _key("alert_links", "id"),
        _refers("alert_links", "incident_id", "incidents"),
    )
    op.create_table(
        "plans",
        *(_text("id"), _text("incident_id"), _int("at_us"), _value()),
        _key("plans", "id"),
        _refers("plans", "incident_id", "incidents"),
    )
    op.create_table(
        "approvals",
        *(
            _text("id"),
            _text("plan_id"),
            _text("incident_id"),
            _text("state"),
            _int("at_us"),
            _int("row_revision"),
        ),
        _value(),
        _key("approvals", "id"),
        _refers("approvals", "plan_id", "plans"),
        _refers("approvals", "incident_id", "incidents"),
    )
    op.create_table(
        "actions",
        *(_text("id"), _text("plan_id"), _text("incident_id"), _text("model"), _text("state"), _int("at_us")),
        *(_int("row_revision"), _value()),
        _key("actions", "id"),
        _refers("actions", "plan_id", "plans"),
        _refers("actions", "incident_id", "incidents"),
    )
    op.create_table("desired", _text("model"), _int("epoch"), _value(), _key("desired", "model"))
    op.create_table(
        "deployments", _text("model"), _int("epoch"), _value(), _key("deployments", "model", "epoch")
    )
    for table in ("incidents", "approvals", "actions"):
        _index(table, "at_us", "id")
        _index(table, "state")
    for table in ("incidents", "actions"):
        _index(table, "model", "at_us")
    for table in ("alert_links", "plans", "approvals", "actions"):
        _index(table, "incident_id")
    for table in ("approvals", "actions"):
        _index(table, "plan_id")


def _measurements() -> None:
    op.create_table(
        "metric_points",
        *(_text(name) for name in ("id", "model", "version", "segment", "axis", "window")),
        *(_int("start_us"), _int("end_us"), _int("rows"), _text("measure"), _text("feature", nullable=True)),
        *(_text("verdict"), _int("revision"), _value()),
        _key("metric_points", "id"),
    )
    _index("metric_points", "model", "end_us")
    _index("metric_points", "model", "measure", "feature", "end_us")
    op.create_table(
        "alerts",
        *(_text("id"), _text("model"), _text("kind"), _text("state"), _int("at_us"), _value()),
        _key("alerts", "id"),
    )
    _index("alerts", "model", "at_us")
    _index("alerts", "at_us", "id")
    op.create_table(
        "accounting",
        *(
            _text("model"),
            _text("stage"),
            _int("partition"),
            _int("received"),
            _int("label_received"),
            _value(),
        ),
        _key("accounting", "model", "stage", "partition"),
    )


def _audit() -> None:
    position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "audit_leaves",
        sa.Column("position", position, nullable=False, autoincrement=True),
        *(
            _text("id"),
            _int("idx", nullable=True),
            _int("at_us"),
            _text("actor"),
            _text("action"),
            _text("subject"),
        ),
        *(_text("leaf"), sa.Column("leaf_hash", sa.LargeBinary(), nullable=False)),
        _key("audit_leaves", "position"),
        sa.UniqueConstraint("id", name="uq_audit_leaves_id"),
        sa.UniqueConstraint("idx", name="uq_audit_leaves_idx"),
    )
    for column in ("subject", "action", "actor"):
        _index("audit_leaves", column, "idx")
    waiting = sa.text("idx IS NULL")
    op.create_index(
        "ix_audit_leaves_unsequenced",
        "audit_leaves",
        ["position"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    tree = op.create_table(
        "audit_tree",
        *(_int("id"), _int("size"), sa.Column("edge", sa.LargeBinary(), nullable=False)),
        _key("audit_tree", "id"),
    )
    op.bulk_insert(tree, [{"id": 1, "size": 0, "edge": b""}])
    op.create_table(
        "audit_checkpoints",
        *(_int("size"), _int("at_us"), _text("note")),
        _key("audit_checkpoints", "size"),
    )
