"""What got stuck, and what is late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, true, update

from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.engine import Database
from shared.adapters.database.runs import scope_from_row
from shared.adapters.database.tables import mails, projects, run_scopes, runs
from shared.ports.mails import MailState
from shared.ports.runs import LateRun, RunScope, RunState, RunTrigger, ScopeState

UNSENT = (MailState.PENDING, MailState.CLAIMED)


class SqlWatch:
    """WatchLedger on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stuck_scopes(self, before: datetime) -> list[RunScope]:
        """See WatchLedger.stuck_scopes."""
        return self._database.read(lambda connection: _stuck_scopes(connection, before))

    def stuck_projects(self, before: datetime) -> list[int]:
        """See WatchLedger.stuck_projects."""
        return self._database.read(lambda connection: list(connection.scalars(_stuck_projects(before))))

    def stuck_mails(self, before: datetime) -> list[int]:
        """See WatchLedger.stuck_mails."""
        return self._database.read(lambda connection: list(connection.scalars(_stuck_mails(before))))

    def mark_requeued(self, projects: Sequence[int], mails: Sequence[int], now: datetime) -> None:
        """See WatchLedger.mark_requeued."""
        self._database.run(lambda connection: _mark_requeued(connection, projects, mails, now))

    def late_runs(self, started_before: datetime) -> list[LateRun]:
        """See WatchLedger.late_runs; oldest first.

        A project is unchecked if its check has been due since before the run ended (of a run that has not
        ended: if its check is due at all). What became due later is of another run or of a person.
        """
        return self._database.read(lambda connection: _late_runs(connection, started_before))

    def last_nights(self) -> list[datetime]:
        """See WatchLedger.last_nights."""
        nights = select(runs.c.started_at).where(runs.c.trigger == RunTrigger.TIMER)
        newest = nights.order_by(runs.c.started_at.desc()).limit(2)
        return self._database.read(lambda connection: list(connection.scalars(newest)))

    def mark_reported(self, run_key: str, now: datetime) -> None:
        """See WatchLedger.mark_reported."""
        reported = update(runs).where(runs.c.key == run_key).values(reported_at=now)
        self._database.run(lambda connection: connection.execute(reported))


def _stuck_scopes(connection: Connection, before: datetime) -> list[RunScope]:
    waiting = and_(
        run_scopes.c.state.in_((ScopeState.QUEUED, ScopeState.DEFERRED)),
        run_scopes.c.due_at < before,
    )
    forgotten = and_(run_scopes.c.state == ScopeState.PLANNED, runs.c.started_at < before)
    stuck = (
        select(run_scopes)
        .join(runs, runs.c.key == run_scopes.c.run_key)
        .where(runs.c.state == RunState.RUNNING, or_(waiting, forgotten))
        .order_by(run_scopes.c.id)
    )
    return [scope_from_row(row) for row in connection.execute(stuck)]


def _stuck_projects(before: datetime) -> Select[Any]:
    requeued = projects.c.check_requeued_at
    return (
        select(projects.c.id)
        .where(
            projects.c.active == true(),
            projects.c.check_due_since < before,
            or_(requeued.is_(None), requeued < before),
        )
        .order_by(projects.c.id)
    )


def _stuck_mails(before: datetime) -> Select[Any]:
    lapsed = and_(mails.c.state == MailState.CLAIMED, mails.c.claimed_until < before)
    return (
        select(mails.c.id)
        .where(mails.c.due_at < before, or_(mails.c.state == MailState.PENDING, lapsed))
        .order_by(mails.c.id)
    )


def _mark_requeued(connection: Connection, project_ids: Sequence[int], mail_ids: Sequence[int], now: datetime) -> None:
    for chunk in in_chunks(project_ids):
        connection.execute(update(projects).where(projects.c.id.in_(chunk)).values(check_requeued_at=now))
    for chunk in in_chunks(mail_ids):
        connection.execute(update(mails).where(mails.c.id.in_(chunk)).values(due_at=now))


def _late_runs(connection: Connection, started_before: datetime) -> list[LateRun]:
    due_since = list(connection.scalars(_due_since()))
    unsent = {row.run_key: row.mails for row in connection.execute(_unsent_mails())}
    late = [
        runs.c.state != RunState.DONE,
        runs.c.key.in_(select(mails.c.run_key).where(mails.c.state.in_(UNSENT), mails.c.run_key.is_not(None))),
    ]
    if due_since:
        late.append(runs.c.finished_at >= min(due_since))
    found = connection.execute(
        select(runs)
        .where(
            # Only a night is expected to be complete at some hour.
            runs.c.trigger == RunTrigger.TIMER,
            runs.c.reported_at.is_(None),
            runs.c.started_at < started_before,
            or_(*late),
        )
        .order_by(runs.c.started_at, runs.c.key)
    ).all()
    return [_late_run(connection, row, due_since, unsent.get(row.key, 0)) for row in found]


def _due_since() -> Select[Any]:
    return select(projects.c.check_due_since).where(
        projects.c.active == true(), projects.c.check_due_since.is_not(None)
    )


def _unsent_mails() -> Select[Any]:
    return (
        select(mails.c.run_key, func.count().label("mails"))
        .where(mails.c.state.in_(UNSENT), mails.c.run_key.is_not(None))
        .group_by(mails.c.run_key)
    )


def _late_run(connection: Connection, run: Row[Any], due_since: Sequence[datetime], unsent_mails: int) -> LateRun:
    open_scopes = connection.execute(
        select(run_scopes)
        .where(run_scopes.c.run_key == run.key, run_scopes.c.state != ScopeState.DONE)
        .order_by(run_scopes.c.id)
    )
    scopes = [scope_from_row(row) for row in open_scopes]
    return LateRun(
        key=run.key,
        started_at=run.started_at,
        scopes=tuple((scope.target.subject, scope.state.value, scope.reason) for scope in scopes),
        unchecked_projects=sum(run.finished_at is None or due <= run.finished_at for due in due_since),
        unsent_mails=unsent_mails,
        planned=bool(scopes) or run.finished_at is not None,
    )
