"""Listings of projects and of runs: a few statements, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, select

from shared.adapters.database.budget_rows import (
    BUDGET_TERMS,
    CURRENT_BUDGET,
    MAILED,
    AnyRow,
    Sums,
    period_in,
    sums_by_day,
    sums_in_periods,
    terms_of,
)
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import alerts, budgets, mails, projects, run_scopes, runs, scopes
from shared.domain.budgets import Budget
from shared.domain.money import add
from shared.domain.periods import Period
from shared.ports import ProjectView, RunState, RunTrigger, RunView, ScopeState

SHOWN_STATES = (ScopeState.DEFERRED, ScopeState.FAILED, ScopeState.SUSPECT)


def list_projects(connection: Connection, today: date) -> list[ProjectView]:
    """All the projects by id, each with its usage in the period that holds `today`."""
    rows = connection.execute(
        select(projects, budgets.c.id.label("budget_id"), *BUDGET_TERMS)
        .select_from(projects.join(budgets, CURRENT_BUDGET))
        .order_by(projects.c.id)
    ).all()
    periods = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    sums = _sums(connection, rows, periods)
    groups = _groups(connection)
    mailed = _mailed(connection, periods)
    return [
        _view(row, periods[row.id], sums.get(row.id, {}), groups.get(row.id, ()), mailed.get(row.id, ()))
        for row in rows
    ]


def _view(
    row: AnyRow,
    period: Period | None,
    sums: Mapping[str, Decimal],
    groups: Sequence[tuple[str, str]],
    mailed: Sequence[int],
) -> ProjectView:
    terms = terms_of(row)
    return ProjectView(
        id=row.id,
        acronym=row.acronym,
        name=row.name,
        active=row.active,
        language=row.language,
        contacts=tuple(row.contacts),
        scopes=tuple(groups),
        budget=Budget(row.budget_id, row.budget_number, terms) if terms.amount else None,
        period=period,
        spent=sums.get(terms.currency, Decimal(0)),
        currency=terms.currency or None,
        updated_at=row.costs_read_at,
        problem=row.problem,
        alerts=tuple(mailed),
    )


def _sums(connection: Connection, rows: Sequence[AnyRow], periods: Mapping[int, Period | None]) -> Sums:
    """What each project spent in its period, by currency."""
    held = {row.id for row in rows if period_in(row) == periods[row.id]}
    # A project whose row still holds the period before (its first check in the new one is to come).
    others = {each: period for each, period in periods.items() if period and each not in held}
    return sums_in_periods(connection, sorted(held)) | _sums_of_days(connection, others)


def _sums_of_days(connection: Connection, periods: Mapping[int, Period]) -> Sums:
    sums: Sums = {}
    if not periods:
        return sums
    since = min(period.start for period in periods.values())
    for row in sums_by_day(connection, sorted(periods), since):
        if row.charge_period_start in periods[row.project_id]:
            of_project = sums.setdefault(row.project_id, {})
            of_project[row.billing_currency] = add(of_project.get(row.billing_currency, Decimal(0)), row.cost)
    return sums


def _groups(connection: Connection) -> dict[int, list[tuple[str, str]]]:
    groups: dict[int, list[tuple[str, str]]] = {}
    rows = connection.execute(
        select(scopes.c.project_id, scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .where(scopes.c.project_id.is_not(None))
        .order_by(scopes.c.sub_account_id, scopes.c.group_key)
    )
    for project_id, account, name in rows:
        groups.setdefault(project_id, []).append((account, name))
    return groups


def _mailed(connection: Connection, periods: Mapping[int, Period | None]) -> dict[int, list[int]]:
    """The thresholds that were mailed for the revision and the period that count, by project."""
    mailed: dict[int, list[int]] = {}
    source = projects.join(budgets, CURRENT_BUDGET).join(alerts, alerts.c.budget_id == budgets.c.id)
    rows = connection.execute(
        select(projects.c.id, alerts.c.period_start, alerts.c.threshold)
        .select_from(source)
        .where(alerts.c.outcome == MAILED)
        .order_by(alerts.c.threshold)
    )
    for project_id, start, threshold in rows:
        period = periods[project_id]
        if period is not None and period.start == start:
            mailed.setdefault(project_id, []).append(threshold)
    return mailed


def list_runs(connection: Connection, limit: int) -> list[RunView]:
    """The last runs, newest first."""
    newest = select(runs).order_by(runs.c.started_at.desc(), runs.c.key.desc()).limit(limit)
    rows = connection.execute(newest).all()
    keys = [row.key for row in rows]
    states = _counts(connection, run_scopes.c.run_key, run_scopes.c.state, keys)
    mail_states = _counts(connection, mails.c.run_key, mails.c.state, keys)
    errors = _errors(connection, keys)
    return [
        RunView(
            key=row.key,
            trigger=RunTrigger(row.trigger),
            state=RunState(row.state),
            started_at=row.started_at,
            finished_at=row.finished_at,
            scopes=states.get(row.key, {}),
            mails=mail_states.get(row.key, {}),
            errors=tuple(errors.get(row.key, ())),
        )
        for row in rows
    ]


def _counts(connection: Connection, run_key: Any, state: Any, keys: Sequence[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for some in in_chunks(keys):
        counted = select(run_key, state, func.count()).where(run_key.in_(some)).group_by(run_key, state)
        for key, name, count in connection.execute(counted):
            counts.setdefault(key, {})[name] = count
    return counts


def _errors(connection: Connection, keys: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    errors: dict[str, list[tuple[str, str]]] = {}
    for some in in_chunks(keys):
        rows = connection.execute(
            select(run_scopes.c.run_key, run_scopes.c.subject, run_scopes.c.reason)
            .where(run_scopes.c.run_key.in_(some), run_scopes.c.state.in_(SHOWN_STATES))
            .order_by(run_scopes.c.id)
        )
        for key, subject, reason in rows:
            errors.setdefault(key, []).append((subject, reason or ""))
    return errors
