"""Runs and their scopes.

Every transaction that moves a scope then updates its run's row, in this order: the row is the lock that keeps
the last two scopes of a run from each taking the other for unfinished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, literal, select, update

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import run_scopes, runs, unfinished_answers
from shared.adapters.database.texts import fitting
from shared.adapters.database.types import UtcDateTime
from shared.domain.charges import key_of_group
from shared.ports.runs import RunScope, RunState, RunTrigger, ScopeState, ScopeTarget

FINAL = (ScopeState.DONE, ScopeState.FAILED, ScopeState.SUSPECT)


class SqlRuns:
    """RunLedger on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_run(self, key: str, trigger: RunTrigger, now: datetime) -> None:
        """See RunLedger.open_run."""
        self._database.run(lambda connection: _open_run(connection, key, trigger, now))

    def plan(self, run_key: str, targets: Sequence[ScopeTarget]) -> list[RunScope]:
        """See RunLedger.plan. A run that then has no scopes at all is done."""
        return self._database.run(lambda connection: _plan(connection, run_key, targets))

    def mark_queued(self, scope_id: int, due_at: datetime, now: datetime) -> None:
        """See RunLedger.mark_queued."""
        self._database.run(lambda connection: _mark_queued(connection, scope_id, due_at, now))

    def scope_of(self, run_key: str, trigger: RunTrigger, target: ScopeTarget, now: datetime) -> RunScope:
        """See RunLedger.scope_of."""
        return self._database.run(lambda connection: _scope_of(connection, run_key, trigger, target, now))

    def mark_deferred(self, scope_id: int, reason: str, due_at: datetime) -> None:
        """See RunLedger.mark_deferred."""
        self._database.run(lambda connection: _mark_deferred(connection, scope_id, reason, due_at))

    def failures(self, run_key: str) -> list[tuple[str, str]]:
        """See RunLedger.failures."""
        return self._database.read(lambda connection: _failures(connection, run_key))

    def mark_failed(self, scope_id: int, reason: str, now: datetime) -> None:
        """See RunLedger.mark_failed. A scope that is done stays done: a late copy of its message has failed."""
        self._database.run(lambda connection: _mark_failed(connection, scope_id, reason, now))


def set_scope_state(
    connection: Connection, scope_id: int, state: ScopeState, reason: str | None, now: datetime
) -> None:
    """Gives the scope this state, whatever it was; the run finishes with its last scope, and reopens with any."""
    values = {
        "state": state,
        "reason": None if reason is None else fitting(reason),
        "finished_at": now if state in FINAL else None,
    }
    connection.execute(update(run_scopes).where(run_scopes.c.id == scope_id).values(values))
    run_key = _run_key_of(connection, scope_id)
    if state in FINAL:
        _end(connection, scope_id, run_key, now)
    else:
        _reopen(connection, run_key)


def _end(connection: Connection, scope_id: int, run_key: str, now: datetime) -> None:
    connection.execute(delete(unfinished_answers).where(unfinished_answers.c.run_scope_id == scope_id))
    finish_run_if_through(connection, run_key, now)


def finish_run_if_through(connection: Connection, run_key: str, now: datetime) -> None:
    """Finishes the run if all its scopes are final: as failed if one of them failed or is suspect."""
    # Takes the row's lock, so that what the next statement counts can't change before the end.
    connection.execute(update(runs).where(runs.c.key == run_key).values(state=runs.c.state))
    states = {ScopeState(state) for state in connection.scalars(_states_of(run_key))}
    if not states <= set(FINAL):
        return
    outcome = RunState.DONE if states <= {ScopeState.DONE} else RunState.FAILED
    connection.execute(
        update(runs).where(runs.c.key == run_key, runs.c.state != outcome).values(state=outcome, finished_at=now)
    )


def scope_from_row(row: Row[Any]) -> RunScope:
    """A row with all the columns of run_scopes, as the port's word for it."""
    target = ScopeTarget(row.subscription_id, row.project_id, row.resource_group)
    return RunScope(
        id=row.id,
        run_key=row.run_key,
        target=target,
        state=ScopeState(row.state),
        attempts=row.attempts,
        first_queued_at=row.first_queued_at,
        reason=row.reason,
    )


def _states_of(run_key: str) -> Any:
    return select(run_scopes.c.state).where(run_scopes.c.run_key == run_key).distinct()


def _open_run(connection: Connection, key: str, trigger: RunTrigger, now: datetime) -> None:
    if connection.scalar(select(runs.c.key).where(runs.c.key == key)) is None:
        connection.execute(insert(runs).values(key=key, trigger=trigger, state=RunState.RUNNING, started_at=now))


def _reopen(connection: Connection, run_key: str) -> None:
    # Not only where it is finished: the update also takes the row's lock.
    connection.execute(update(runs).where(runs.c.key == run_key).values(state=RunState.RUNNING, finished_at=None))


def _run_key_of(connection: Connection, scope_id: int) -> str:
    run_key: str = connection.execute(select(run_scopes.c.run_key).where(run_scopes.c.id == scope_id)).scalar_one()
    return run_key


def _key_of(target: ScopeTarget) -> str:
    """The target's subject without regard to the spelling of its group: the same on case-blind databases."""
    group = key_of_group(target.resource_group) if target.resource_group else None
    return replace(target, resource_group=group).subject.lower()


def _plan(connection: Connection, run_key: str, targets: Sequence[ScopeTarget]) -> list[RunScope]:
    wanted = {_key_of(target): target for target in targets}
    missing = {key: wanted[key] for key in wanted.keys() - _scopes_by_key(connection, run_key).keys()}
    if missing:
        new = [_planned_row(run_key, key, target) for key, target in wanted.items() if key in missing]
        connection.execute(insert(run_scopes), new)
        _reopen(connection, run_key)
    planned = _scopes_by_key(connection, run_key)
    if not planned:
        _finish_empty(connection, run_key)
    return [planned[key] for key in wanted if planned[key].state is ScopeState.PLANNED]


def _finish_empty(connection: Connection, run_key: str) -> None:
    started_at = connection.scalar(select(runs.c.started_at).where(runs.c.key == run_key))
    if started_at is not None:
        finish_run_if_through(connection, run_key, started_at)


def _scopes_by_key(connection: Connection, run_key: str) -> dict[str, RunScope]:
    rows = connection.execute(select(run_scopes).where(run_scopes.c.run_key == run_key))
    return {row.subject: scope_from_row(row) for row in rows}


def _planned_row(run_key: str, key: str, target: ScopeTarget) -> dict[str, Any]:
    return {
        "run_key": run_key,
        "subject": key,
        "subscription_id": target.subscription_id,
        "project_id": target.project_id,
        "resource_group": target.resource_group,
        "state": ScopeState.PLANNED,
        "attempts": 0,
    }


def _scope_of(
    connection: Connection, run_key: str, trigger: RunTrigger, target: ScopeTarget, now: datetime
) -> RunScope:
    found = _find_scope(connection, run_key, target)
    if found is not None:
        return found
    _open_run(connection, run_key, trigger, now)
    row = _planned_row(run_key, _key_of(target), target)
    queued = {"state": ScopeState.QUEUED, "first_queued_at": now, "due_at": now}
    connection.execute(insert(run_scopes), [row | queued])
    _reopen(connection, run_key)
    made = _find_scope(connection, run_key, target)
    if made is None:
        raise AssertionError("unreachable: the scope was written in this transaction")
    return made


def _find_scope(connection: Connection, run_key: str, target: ScopeTarget) -> RunScope | None:
    wanted = select(run_scopes).where(run_scopes.c.run_key == run_key, run_scopes.c.subject == _key_of(target))
    row = connection.execute(wanted).one_or_none()
    return None if row is None else scope_from_row(row)


def _mark_queued(connection: Connection, scope_id: int, due_at: datetime, now: datetime) -> None:
    # The message may have been taken, and put back for later, before its sender comes here: that stays.
    overtaken = (run_scopes.c.due_at.is_not(None)) & (run_scopes.c.due_at > due_at)
    connection.execute(
        update(run_scopes)
        .where(run_scopes.c.id == scope_id, run_scopes.c.state.not_in(FINAL), ~overtaken)
        .values(
            state=ScopeState.QUEUED,
            due_at=due_at,
            first_queued_at=func.coalesce(run_scopes.c.first_queued_at, literal(now, UtcDateTime())),
        )
    )


def _mark_deferred(connection: Connection, scope_id: int, reason: str, due_at: datetime) -> None:
    deferred = connection.execute(
        update(run_scopes)
        .where(run_scopes.c.id == scope_id, run_scopes.c.state.not_in((ScopeState.DONE, ScopeState.FAILED)))
        .values(
            state=ScopeState.DEFERRED,
            attempts=run_scopes.c.attempts + 1,
            due_at=due_at,
            reason=fitting(reason),
            finished_at=None,
        )
    )
    if deferred.rowcount:
        _reopen(connection, _run_key_of(connection, scope_id))


def _mark_failed(connection: Connection, scope_id: int, reason: str, now: datetime) -> None:
    failed = connection.execute(
        update(run_scopes)
        .where(run_scopes.c.id == scope_id, run_scopes.c.state != ScopeState.DONE)
        .values(state=ScopeState.FAILED, reason=fitting(reason), finished_at=now)
    )
    if failed.rowcount:
        _end(connection, scope_id, _run_key_of(connection, scope_id), now)


def _failures(connection: Connection, run_key: str) -> list[tuple[str, str]]:
    failed = (
        select(run_scopes.c.subject, run_scopes.c.reason)
        .join(runs, runs.c.key == run_scopes.c.run_key)
        .where(
            runs.c.key == run_key,
            runs.c.finished_at.is_not(None),
            run_scopes.c.state.in_((ScopeState.FAILED, ScopeState.SUSPECT)),
        )
        .order_by(run_scopes.c.id)
    )
    return [(subject, reason or "") for subject, reason in connection.execute(failed)]
