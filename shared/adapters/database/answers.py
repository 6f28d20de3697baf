"""Long answers that broke off, kept between two messages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import unfinished_answers
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery


class SqlAnswers:
    """The AnswerLedger on a SQL database. What is kept goes with its scope (`runs.settle_scope`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, scope_id: int, query: CostQuery, progress: bytes | None, now: datetime) -> None:
        """Keeps how far the answer to a scope's query has come; None forgets it."""
        self._database.run(lambda connection: _keep(connection, scope_id, query, progress, now))

    def kept(self, scope_id: int, query: CostQuery, since: datetime) -> bytes | None:
        """What was kept for this very query, if it was kept at `since` or later."""
        found = select(unfinished_answers.c.progress).where(
            _is_answer(scope_id, query), unfinished_answers.c.kept_at >= since
        )
        progress = self._database.read(lambda connection: connection.scalar(found))
        return None if progress is None else bytes(progress)


def _keep(connection: Connection, scope_id: int, query: CostQuery, progress: bytes | None, now: datetime) -> None:
    connection.execute(delete(unfinished_answers).where(_is_answer(scope_id, query)))
    if progress is not None:
        row = {
            "run_scope_id": scope_id,
            "provider": AZURE,
            "sub_account_id": query.sub_account_id,
            "window_start": query.window.start,
            "window_end": query.window.end,
            "progress": progress,
            "kept_at": now,
        }
        connection.execute(insert(unfinished_answers), [row])


def _is_answer(scope_id: int, query: CostQuery) -> ColumnElement[bool]:
    """The window's end belongs to it: the next page is only given to whoever asks for the very same days."""
    return (
        (unfinished_answers.c.run_scope_id == scope_id)
        & (unfinished_answers.c.sub_account_id == query.sub_account_id)
        & (unfinished_answers.c.window_start == query.window.start)
        & (unfinished_answers.c.window_end == query.window.end)
    )
