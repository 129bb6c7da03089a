"""Alembic's entry: runs inside the transaction that `migrations.migrate` has opened, on its connection."""

from alembic import context

from kongdp.controlplane.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=False,
    # SQLite cannot alter most things in place; Alembic then copies the table.
    render_as_batch=True,
)
context.run_migrations()
