"""Silences, the alerts that they hold, changes around the models, and personal tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables, and which silence holds an alert."""
    op.create_table(
        "silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("row_revision", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_silences"),
    )
    op.create_index("ix_silences_at_us_id", "silences", ["at_us", "id"])
    op.create_index("ix_silences_until_us", "silences", ["until_us"])
    op.add_column("alert_links", sa.Column("silence_id", sa.Text(), nullable=True))
    op.create_index("ix_alert_links_silence_id", "alert_links", ["silence_id"])
    op.create_table(
        "changes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
    )
    op.create_index("ix_changes_at_us_id", "changes", ["at_us", "id"])
    op.create_index("ix_changes_until_us", "changes", ["until_us"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    )
    op.create_index("ix_tokens_at_us", "tokens", ["at_us"])


def downgrade() -> None:
    """Without them."""
    op.drop_table("tokens")
    op.drop_table("changes")
    op.drop_index("ix_alert_links_silence_id", "alert_links")
    op.drop_column("alert_links", "silence_id")
    op.drop_table("silences")
