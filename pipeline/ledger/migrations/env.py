"""Runs the steps on the connection that `Ledger.migrate` holds, inside its transaction and under its lock."""

from alembic import context

from pipeline.ledger import work_tables  # noqa: F401 - it adds its tables to the metadata
from pipeline.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
