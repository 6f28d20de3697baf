"""What is unfinished, in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select, true
from typing_extensions import override

from shared.adapters.database.ledger import Ledger, reads
from shared.adapters.database.runs import FINAL, IS_COMPLETE, NIGHTS, RUNS_AND_MAILS, planned_until
from shared.adapters.database.tables import dead_letters, locks, mails, projects, run_scopes, runs, schedules
from shared.ports.mails import MailState
from shared.ports.runs import RunState, RunTrigger, ScopeState
from shared.ports.watch import Standing, WatchLedger

run, scope, project, mail, letter = runs.c, run_scopes.c, projects.c, mails.c, dead_letters.c


class SqlWatch(Ledger, WatchLedger):
    """WatchLedger on a SQL database."""

    @override
    @reads
    def standing(self, connection: Connection) -> Standing:
        waiting: list[datetime | None] = [connection.scalar(each) for each in WAITING]
        return Standing(
            waits_since=min(filter(None, waiting), default=None),
            late_from=connection.scalar(LATE_FROM),
            look_at=connection.scalar(select(func.min(locks.c.look_due_at))),
            is_untold=connection.scalar(UNTOLD) is not None,
            complete_at=connection.scalar(COMPLETE_AT),
            since=connection.scalar(select(schedules.c.since).where(schedules.c.name == NIGHTS)),
        )


def _later(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """The later of two moments, of which the other may be missing; none where the one is."""
    return case((one < other, other), else_=one)


# When the earliest of what `stuck_scopes`, `stuck_projects`, `stuck` and `abandoned` find was, or is, to be taken.
WAITING: list[Select[Any]] = [
    select(func.min(case((scope.state == ScopeState.PLANNED, run.started_at), else_=scope.due_at)))
    .select_from(run_scopes)
    .join(runs)
    .where(run.state == RunState.RUNNING, scope.state.not_in(FINAL)),
    select(func.min(_later(project.check_due_since, project.check_requeued_at))).where(project.active == true()),
    select(func.min(mail.due_at)).where(mail.state == MailState.PENDING),
    select(func.min(_later(mail.claimed_until, mail.due_at))).where(mail.state == MailState.CLAIMED),
]
UNTOLD = select(letter.id).where(letter.replayed_at.is_(None), letter.discarded_at.is_(None), letter.told_at.is_(None))
UNTOLD = UNTOLD.limit(1)
LATE_FROM: Select[Any] = (
    select(func.min(planned_until))
    .select_from(RUNS_AND_MAILS)
    .where(run.trigger == RunTrigger.TIMER, run.reported_at.is_(None), ~IS_COMPLETE)
)
COMPLETE_AT: Select[Any] = (
    select(func.max(run.finished_at)).select_from(RUNS_AND_MAILS).where(run.trigger == RunTrigger.TIMER, IS_COMPLETE)
)
