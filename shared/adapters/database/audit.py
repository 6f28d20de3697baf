"""The audit of locks: rows are added and read, and never changed."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import audit, projects
from shared.adapters.database.texts import fitting
from shared.domain.locks import Outcome
from shared.messages import LockAction, LockTrigger
from shared.ports.locks import AuditEntry, AuditView


class SqlAudit:
    """The AuditLedger on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, project_id: int | None = None, limit: int | None = None) -> builtins.list[AuditView]:
        """The last `limit` decisions, oldest first (see the port)."""
        return self._database.read(lambda connection: _list(connection, project_id, limit))


def insert_entry(connection: Connection, entry: AuditEntry, now: datetime) -> bool:
    """Writes the decision, as a part of another's transaction; False where there is one with its key."""
    if connection.scalar(select(audit.c.id).where(audit.c.key == entry.key)) is not None:
        return False
    acronym = connection.execute(select(projects.c.acronym).where(projects.c.id == entry.project_id)).scalar_one()
    # Inline: without asking for the new id by OUTPUT, which SQL Server may refuse on a table that has triggers (334).
    connection.execute(insert(audit).inline(), [_row(entry, acronym, now)])
    return True


def _row(entry: AuditEntry, acronym: str, now: datetime) -> dict[str, Any]:
    return {
        "key": entry.key,
        "at": now,
        "project_id": entry.project_id,
        "acronym": acronym,
        "action": entry.action,
        "outcome": entry.outcome,
        "reason": fitting(entry.reason),
        "trigger": entry.trigger,
        "by": None if entry.by is None else fitting(entry.by, 100),
        "asked": fitting(entry.asked),
        "figures": dict(entry.figures),
        "details": dict(entry.details),
        "run_key": None if entry.run_key is None else fitting(entry.run_key, 100),
    }


def _list(connection: Connection, project_id: int | None, limit: int | None) -> list[AuditView]:
    newest = select(audit).order_by(audit.c.id.desc())
    if project_id is not None:
        newest = newest.where(audit.c.project_id == project_id)
    if limit is not None:
        newest = newest.limit(limit)
    return [_view(row) for row in reversed(connection.execute(newest).all())]


def _view(row: AnyRow) -> AuditView:
    entry = AuditEntry(
        key=row.key,
        project_id=row.project_id,
        action=LockAction(row.action),
        outcome=Outcome(row.outcome),
        reason=row.reason,
        trigger=LockTrigger(row.trigger),
        by=row.by,
        asked=row.asked,
        figures=row.figures,
        details=row.details,
        run_key=row.run_key,
    )
    return AuditView(row.id, row.at, row.acronym, entry)
