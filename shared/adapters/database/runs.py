"""Runs and their scopes.

Every transaction that moves a scope then updates its run's row, in this order: the row is the lock that keeps
the last two scopes of a run from each taking the other for unfinished.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from typing_extensions import override

from shared.adapters.database.chunks import kept_or, select_in
from shared.adapters.database.ledger import Ledger, columns, reads, record, writes
from shared.adapters.database.tables import answers, budgets, mails, projects, run_scopes, runs, schedules
from shared.domain.charges import key_of_group
from shared.domain.coverage import Incomplete
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.mails import MailState
from shared.ports.runs import LateRun, RunLedger, RunScope, RunState, RunTrigger, RunView, ScopeState

run, scope = runs.c, run_scopes.c
BAD = (ScopeState.FAILED, ScopeState.SUSPECT)
FINAL = (ScopeState.DONE, *BAD)
Condition = ColumnElement[bool]
# No queue hides a message for longer.
ON_ITS_WAY = timedelta(days=7)
# By which name the nights' schedule is kept.
NIGHTS = "ProjectUsageCRON"


class SqlRuns(Ledger, RunLedger):
    """RunLedger on a SQL database."""

    @override
    @writes
    def open_run(self, connection: Connection, key: str, trigger: RunTrigger, now: datetime) -> None:
        _open(connection, key, trigger, now)

    @override
    @writes
    def open_night(self, connection: Connection, occurrence: datetime, now: datetime) -> str:
        key = f"night-{occurrence:%Y-%m-%d}"
        of_the_day = select(runs).where((run.scheduled_for == occurrence) | (run.key == key))
        found = connection.execute(of_the_day).all()
        for row in found:
            of_before = row.trigger is RunTrigger.TIMER and row.scheduled_for is None
            if row.scheduled_for == occurrence or of_before:
                return str(row.key)
        key = f"night-{occurrence:%Y-%m-%dT%H-%M-%S}" if found else key
        _open(connection, key, RunTrigger.TIMER, now, occurrence)
        return key

    @override
    @writes
    def plan(self, connection: Connection, run_key: str, targets: Sequence[ScopeTarget]) -> list[RunScope]:
        wanted = {_key_of(target): target for target in targets}
        known = _scopes_by_key(connection, run_key)
        missing = [_row(run_key, target) for key, target in wanted.items() if key not in known]
        if missing:
            connection.execute(insert(run_scopes), missing)
            _reopen(connection, run_key)
            known = _scopes_by_key(connection, run_key)
        if not known:
            _finish(connection, run_key, connection.scalar(select(run.started_at).where(run.key == run_key)))
        return [known[key] for key in wanted if known[key].state is ScopeState.PLANNED]

    @override
    @writes
    def plan_until(self, connection: Connection, run_key: str, until: datetime) -> None:
        is_later = run.planned_until.is_(None) | (run.planned_until < until)
        connection.execute(update(runs).where(run.key == run_key, is_later).values(planned_until=until))

    @override
    @writes
    def mark_queued(self, connection: Connection, scope_id: int, due_at: datetime, now: datetime) -> None:
        # The message may have been taken, and put back for later, before its sender comes here: that stays.
        overtaken = scope.due_at.is_not(None) & (scope.due_at > due_at)
        connection.execute(
            update(run_scopes)
            .where(scope.id == scope_id, scope.state.not_in(FINAL), ~overtaken)
            .values(state=ScopeState.QUEUED, due_at=due_at, first_queued_at=kept_or(scope.first_queued_at, now))
        )

    @override
    @writes
    def scope_of(
        self, connection: Connection, run_key: str, trigger: RunTrigger, target: ScopeTarget, now: datetime
    ) -> RunScope:
        wanted = select(run_scopes).where(scope.run_key == run_key, scope.subject == _key_of(target))
        found = connection.execute(wanted).one_or_none()
        if found is None:
            _open(connection, run_key, trigger, now)
            queued = {"state": ScopeState.QUEUED, "first_queued_at": now, "due_at": now}
            connection.execute(insert(run_scopes), [_row(run_key, target) | queued])
            _reopen(connection, run_key)
            found = connection.execute(wanted).one()
        return _scope(found)

    @override
    @writes
    def mark_deferred(self, connection: Connection, scope_id: int, reason: str, due_at: datetime) -> None:
        deferred = {"state": ScopeState.DEFERRED, "due_at": due_at, "reason": reason, "finished_at": None}
        moved = connection.execute(
            update(run_scopes)
            .where(scope.id == scope_id, scope.state.not_in((ScopeState.DONE, ScopeState.FAILED)))
            .values(attempts=scope.attempts + 1, **deferred)
        )
        if moved.rowcount:
            _reopen(connection, _run_key_of(connection, scope_id))

    @override
    @writes
    def mark_read(self, connection: Connection, scope_id: int, doubt: str | None, now: datetime) -> None:
        _settle(connection, scope_id, ScopeState.SUSPECT if doubt else ScopeState.DONE, doubt, now)

    @override
    @writes
    def mark_failed(self, connection: Connection, scope_id: int, reason: str, now: datetime) -> bool:
        failed = (connection, scope_id, ScopeState.FAILED, reason, now)
        is_new = _settle(*failed, scope.state.not_in((ScopeState.DONE, ScopeState.FAILED)))
        if not is_new:
            # The latest reason counts.
            _settle(*failed, scope.state == ScopeState.FAILED)
        return is_new

    @override
    @reads
    def failures(self, connection: Connection, run_key: str) -> list[tuple[ScopeTarget, str]]:
        failed = select(run_scopes).join(runs).where(run.finished_at.is_not(None), scope.state.in_(BAD))
        rows = connection.execute(failed.where(scope.run_key == run_key).order_by(scope.id))
        return [(each.target, each.reason or "") for each in map(_scope, rows)]

    @override
    @reads
    def recent_runs(self, connection: Connection, limit: int) -> list[RunView]:
        by_message = run.trigger == RunTrigger.MESSAGE
        newest = select(run.key).order_by(run.started_at.desc(), run.key.desc()).limit(limit)
        wanted = run.key.in_(newest.where(~by_message)) | run.key.in_(newest.where(by_message))
        found = _views(connection, select(runs).where(wanted), _due_checks(connection))
        return sorted(found, key=lambda view: (view.started_at, view.key), reverse=True)

    @override
    @reads
    def get(self, connection: Connection, key: str) -> RunView | None:
        return next(iter(_views(connection, select(runs).where(run.key == key))), None)

    @override
    @reads
    def night(self, connection: Connection) -> RunView | None:
        nights = select(run.key).where(run.trigger == RunTrigger.TIMER)
        last = nights.order_by(run.started_at.desc(), run.key.desc()).limit(1)
        return next(iter(_views(connection, select(runs).where(run.key.in_(last)), _due_checks(connection))), None)

    @override
    @reads
    def stuck_scopes(self, connection: Connection, before: datetime) -> list[RunScope]:
        waiting = scope.state.in_((ScopeState.QUEUED, ScopeState.DEFERRED)) & (scope.due_at < before)
        forgotten = (scope.state == ScopeState.PLANNED) & (run.started_at < before)
        stuck = select(run_scopes).join(runs).where(run.state == RunState.RUNNING, waiting | forgotten)
        return [_scope(row) for row in connection.execute(stuck.order_by(scope.id))]

    @override
    @reads
    def due_since(self, connection: Connection, moment: datetime) -> list[RunScope]:
        recent = select(run_scopes).join(runs).where(run.started_at > moment - ON_ITS_WAY, scope.due_at > moment)
        return [_scope(row) for row in connection.execute(recent.order_by(scope.id))]

    @override
    @reads
    def late_runs(self, connection: Connection, before: datetime) -> list[LateRun]:
        found = connection.execute(
            select(runs)
            .select_from(RUNS_AND_MAILS)
            # Only a night is expected to be complete at some hour.
            .where(run.trigger == RunTrigger.TIMER, run.reported_at.is_(None), planned_until < before, ~IS_COMPLETE)
            .order_by(run.started_at, run.key)
        ).all()
        unsent, due_since = _unsent(connection, [row.key for row in found]), _due_checks(connection)
        return [_late_run(connection, row, due_since, unsent[row.key]) for row in found]

    @override
    @reads
    def last_night(self, connection: Connection) -> datetime | None:
        nights = select(func.coalesce(run.scheduled_for, run.started_at)).where(run.trigger == RunTrigger.TIMER)
        last: datetime | None = connection.scalar(nights.order_by(run.started_at.desc()).limit(1))
        return last

    @override
    def schedule_since(self, schedule: str, now: datetime) -> datetime:
        # Nothing is written where nothing changes: whoever writes has the watchdog look again.
        return self._schedule_since(schedule) or self._new_schedule(schedule, now)

    @reads
    def _schedule_since(self, connection: Connection, schedule: str) -> datetime | None:
        its = select(schedules.c.since).where(schedules.c.name == NIGHTS, schedules.c.text == schedule)
        since: datetime | None = connection.scalar(its)
        return since

    @writes
    def _new_schedule(self, connection: Connection, schedule: str, now: datetime) -> datetime:
        its = schedules.c.name == NIGHTS
        changed = update(schedules).where(its, schedules.c.text != schedule)
        connection.execute(changed.values(text=schedule, since=now))
        since: datetime | None = connection.scalar(select(schedules.c.since).where(its))
        if since is None:
            since = connection.scalar(select(func.min(budgets.c.made_at))) or now
            connection.execute(insert(schedules).values(name=NIGHTS, text=schedule, since=since))
        return since

    @override
    @writes
    def mark_reported(self, connection: Connection, run_key: str, now: datetime) -> None:
        connection.execute(update(runs).where(run.key == run_key).values(reported_at=now))


# Of a run from before plans were kept: when it began.
planned_until = func.coalesce(run.planned_until, run.started_at)
UNSENT_MAILS = (
    select(mails.c.run_key, func.count().label("count"))
    .where(mails.c.state.in_((MailState.PENDING, MailState.CLAIMED)), mails.c.run_key.is_not(None))
    .group_by(mails.c.run_key)
    .subquery()
)
RUNS_AND_MAILS = runs.outerjoin(UNSENT_MAILS, UNSENT_MAILS.c.run_key == run.key)
due_check = projects.c.check_due_since
DUE_CHECKS = select(projects.c.acronym, due_check).where(projects.c.active == true(), due_check.is_not(None))
OLDEST_CHECK = DUE_CHECKS.with_only_columns(func.min(due_check)).scalar_subquery()
# What a run is, of RUNS_AND_MAILS, that has read all, compared it with the budgets and told what came of that. By it go
# the mail that a night is not complete and the age of the last complete one. What became due later is of another run or
# of a person; mails that have failed are told by themselves.
IS_COMPLETE = and_(
    run.state == RunState.DONE,
    UNSENT_MAILS.c.run_key.is_(None),
    or_(OLDEST_CHECK.is_(None), run.finished_at < OLDEST_CHECK),
)


def _settle(
    connection: Connection, scope_id: int, state: ScopeState, reason: str | None, now: datetime, *only_if: Condition
) -> bool:
    """Gives the scope a final state; the run finishes with its last scope. Returns whether it is one of `only_if`."""
    values = {"state": state, "reason": reason, "finished_at": now}
    settled = connection.execute(update(run_scopes).where(scope.id == scope_id, *only_if).values(values))
    if settled.rowcount:
        connection.execute(delete(answers).where(answers.c.run_scope_id == scope_id))
        _finish(connection, _run_key_of(connection, scope_id), now)
    return bool(settled.rowcount)


def _finish(connection: Connection, run_key: str, now: datetime | None) -> None:
    """Finishes the run if all its scopes are final: as failed if one of them failed or is suspect."""
    # Takes the row's lock, so that what the next statement counts can't change before the end.
    connection.execute(update(runs).where(run.key == run_key).values(state=run.state))
    states = set(connection.scalars(select(scope.state).where(scope.run_key == run_key).distinct()))
    if states <= set(FINAL):
        outcome = RunState.DONE if states <= {ScopeState.DONE} else RunState.FAILED
        changed = update(runs).where(run.key == run_key, run.state != outcome)
        connection.execute(changed.values(state=outcome, finished_at=now))


def _open(
    connection: Connection, key: str, trigger: RunTrigger, now: datetime, occurrence: datetime | None = None
) -> None:
    if connection.scalar(select(run.key).where(run.key == key)) is None:
        new = {"key": key, "trigger": trigger, "scheduled_for": occurrence}
        connection.execute(insert(runs).values(state=RunState.RUNNING, started_at=now, **new))


def _reopen(connection: Connection, run_key: str) -> None:
    # Not only where it is finished: the update also takes the row's lock.
    connection.execute(update(runs).where(run.key == run_key).values(state=RunState.RUNNING, finished_at=None))


def _run_key_of(connection: Connection, scope_id: int) -> str:
    run_key: str = connection.execute(select(scope.run_key).where(scope.id == scope_id)).scalar_one()
    return run_key


def _key_of(target: ScopeTarget) -> str:
    """The target's subject without regard to the spelling of its group: the same on case-blind databases."""
    group = key_of_group(target.resource_group) if target.resource_group else None
    return replace(target, resource_group=group).subject.lower()


def _scopes_by_key(connection: Connection, run_key: str) -> dict[str, RunScope]:
    rows = connection.execute(select(run_scopes).where(scope.run_key == run_key))
    return {row.subject: _scope(row) for row in rows}


def _row(run_key: str, target: ScopeTarget) -> dict[str, Any]:
    new = {"run_key": run_key, "subject": _key_of(target), "state": ScopeState.PLANNED, "attempts": 0}
    days = {"since_day": target.left.start, "before_day": target.left.end} if target.left else {}
    return columns(target, ScopeTarget, "left") | dict.fromkeys(("since_day", "before_day")) | days | new


def _scope(row: Row[Any]) -> RunScope:
    left = Period(row.since_day, row.before_day) if row.since_day else None
    return record(RunScope, row, target=record(ScopeTarget, row, left=left))


def _late_run(
    connection: Connection, row: Row[Any], due_since: Sequence[tuple[str, datetime]], unsent: Sequence[tuple[str, int]]
) -> LateRun:
    rest = select(run_scopes).where(scope.run_key == row.key, scope.state != ScopeState.DONE).order_by(scope.id)
    scopes = [_scope(found) for found in connection.execute(rest)]
    return record(
        LateRun,
        row,
        planned_until=row.planned_until or row.started_at,
        scopes=tuple((each.target, each.state.value, each.reason) for each in scopes),
        unchecked=_unchecked(due_since, row.finished_at),
        unsent=tuple(unsent),
        planned=bool(scopes) or row.finished_at is not None,
    )


def _due_checks(connection: Connection) -> list[tuple[str, datetime]]:
    """The active projects whose new costs were not compared with their budget yet, and since when that is due."""
    return [
        (row.acronym, row.check_due_since) for row in connection.execute(DUE_CHECKS.order_by(projects.c.acronym_key))
    ]


def _unchecked(due_since: Sequence[tuple[str, datetime]], finished_at: datetime | None) -> tuple[str, ...]:
    return tuple(name for name, due in due_since if finished_at is None or due <= finished_at)


def _unsent(connection: Connection, keys: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """Reason and count of the mails that are not sent, by run."""
    unsent: dict[str, list[tuple[str, int]]] = defaultdict(list)
    counted = select(mails.c.run_key, mails.c.reason, func.count())
    counted = counted.where(mails.c.state != MailState.SENT, mails.c.discarded_at.is_(None))
    counted = counted.group_by(mails.c.run_key, mails.c.reason)
    for key, reason, count in select_in(connection, counted, mails.c.run_key, keys):
        unsent[key].append((reason or "", count))
    return {key: sorted(unsent[key], key=lambda each: (-each[1], each[0])) for key in keys}


def _views(
    connection: Connection, wanted: Select[Any], due_since: Sequence[tuple[str, datetime]] = ()
) -> list[RunView]:
    keys = wanted.with_only_columns(run.key)
    scopes = _counts(connection, scope.run_key, scope.state, keys)
    mailed = _counts(connection, mails.c.run_key, mails.c.state, keys)
    errors = _reasons(connection, keys, (ScopeState.DEFERRED, *BAD))
    found = connection.execute(wanted).all()
    unsent = _unsent(connection, [row.key for row in found])
    return [
        record(
            RunView,
            row,
            scopes=scopes[row.key],
            mails=mailed[row.key],
            errors=tuple(errors[row.key]),
            unsent=tuple(unsent[row.key]),
            unchecked=_unchecked(due_since, row.finished_at) if row.finished_at else (),
            incomplete=Incomplete(),
        )
        for row in found
    ]


def _counts(
    connection: Connection, run_key: Column[Any], state: Column[Any], keys: Select[Any]
) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    counted = select(run_key, state, func.count()).where(run_key.in_(keys)).group_by(run_key, state)
    for key, name, count in connection.execute(counted):
        counts[key][name] = count
    return counts


def _reasons(
    connection: Connection, keys: Select[Any], states: Sequence[ScopeState]
) -> dict[str, list[tuple[str, str]]]:
    """Subject and reason of the scopes in these states, by run."""
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    wanted = scope.run_key.in_(keys) & scope.state.in_(states)
    named = select(scope.run_key, scope.subject, func.coalesce(scope.reason, "")).where(wanted)
    for key, subject, reason in connection.execute(named.order_by(scope.id)):
        reasons[key].append((subject, reason))
    return reasons
