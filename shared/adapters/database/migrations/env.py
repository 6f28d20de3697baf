"""Alembic's entry: runs the steps on the connection that migrate.py hands in, or prints them as SQL."""

from __future__ import annotations

from alembic import context

from shared.adapters.database.tables import metadata


def print_sql() -> None:
    """Prints the SQL for the backend in `attributes["dialect"]`, without a server."""
    dialect = context.config.attributes["dialect"]
    # Without a server to ask, the types are those of an old one: DATETIME for DATE, NTEXT for text.
    options = {"paramstyle": "named"} | ({"deprecate_large_types": True} if dialect == "mssql" else {})
    context.configure(dialect_name=dialect, target_metadata=metadata, dialect_opts=options)
    if dialect == "mssql":
        context.get_context().dialect.server_version_info = (16, 0)
    with context.begin_transaction():
        context.run_migrations()


def run_steps() -> None:
    """Runs the steps inside the caller's transaction."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    context.run_migrations()


if context.is_offline_mode():
    print_sql()
else:
    run_steps()
