"""Rows that a contract suite needs to be there and that are another ledger's to make."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from shared.adapters.database.engine import Database
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.tables import projects, runs, scopes
from shared.ports.runs import RunScope, ScopeState

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def add_project(database: Database, project_id: int, **values: Any) -> None:
    """A project's row, active and not due unless `values` say so."""
    row = {
        "id": project_id,
        "acronym": f"P{project_id}",
        "acronym_key": f"p{project_id}",
        "name": f"Project {project_id}",
        "contacts": [],
        "active": True,
        "budget_number": 1,
        "checks": 0,
    }
    database.run(lambda connection: connection.execute(insert(projects), [row | values]))


def set_project(database: Database, project_id: int, **values: Any) -> None:
    """Changes a project's row."""
    changed = update(projects).where(projects.c.id == project_id).values(**values)
    database.run(lambda connection: connection.execute(changed))


def set_scopes(database: Database, project_id: int, **values: Any) -> None:
    """Changes the rows of a project's scopes."""
    changed = update(scopes).where(scopes.c.project_id == project_id).values(**values)
    database.run(lambda connection: connection.execute(changed))


def run_row(database: Database, key: str) -> Any:
    """A run's row: key, trigger, state, started_at, finished_at, reported_at."""
    return database.read(lambda connection: connection.execute(select(runs).where(runs.c.key == key)).one())


def settle(database: Database, scope: RunScope, state: ScopeState, reason: str | None = None) -> None:
    """What the end of a scope does to it."""
    runs, at = SqlRuns(database), NIGHT + HOUR
    if state is ScopeState.FAILED:
        runs.mark_failed(scope.id, str(reason), at)
    else:
        runs.mark_read(scope.id, reason or (None if state is ScopeState.DONE else "doubtful"), at)
