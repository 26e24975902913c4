"""Alembic's entry: runs on the connection that `syncd.store.migrations` hands over."""

from alembic import context

from syncd.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
    transaction_per_migration=False,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        # Several processes may start at once: one upgrades, the others wait and find it done.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7311071)")
    context.run_migrations()
