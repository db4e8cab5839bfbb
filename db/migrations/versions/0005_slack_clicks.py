"""Clicks in Slack that were acknowledged."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table."""
    op.create_table(
        "slack_clicks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_slack_clicks"),
    )
    op.create_index("ix_slack_clicks_state_at_us", "slack_clicks", ["state", "at_us"])


def downgrade() -> None:
    """Without it."""
    op.drop_table("slack_clicks")
