"""Alembic's entry point. The connection, its transaction and its lock come from `db.migrate`."""

from alembic import context

from db.migrate import VERSION_TABLE
from db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
