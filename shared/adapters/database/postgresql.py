"""PostgreSQL: how it is reached, itself or through a pooler (PgBouncer), and what its errors mean."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

CONNECT_SECONDS = 15

# SQLSTATEs that psycopg counts among the faulty statements: of a server that is only read from since another took its
# place (25006), of transactions that took too long (25P03, 25P04), and of its own trouble (XX).
UNWELL = re.compile("25006|25P03|25P04|XX...")


def make_engine(url: URL, options: dict[str, Any], statement_seconds: int) -> Engine:
    """The engine of a URL of PostgreSQL; what the URL itself asks for is kept.

    Raises ImportError where the driver's package can't be loaded.
    """
    # A connection whose other end is gone would otherwise hold a function until the host kills the worker.
    time_outs = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 1000 * CONNECT_SECONDS}
    ours: dict[str, Any] = {name: value for name, value in time_outs.items() if name not in url.query}
    # A pooler gives the next transaction another session, in which a prepared statement is not there, or is another's.
    ours["prepare_threshold"] = None
    engine = create_engine(url, pool_pre_ping=True, **({"connect_args": ours} | options))

    if "statement_timeout" not in str(url.query.get("options")):

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            # Not among the `options` of the start, which are the URL's, and which poolers refuse.
            connection.execute(f"SET statement_timeout = {1000 * statement_seconds}")
            connection.commit()

    return engine
