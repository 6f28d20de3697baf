"""Usage against budgets: one transaction for a whole set of projects, with a fixed number of statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, true, update
from typing_extensions import override

from shared.adapters.database.budget_periods import budget_in, turn_to_today
from shared.adapters.database.budget_rows import (
    AnyRow,
    period_in,
    sums_by,
    sums_in_periods,
    terms_of,
    told_in,
    with_budget,
)
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.engine import Database
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.locks import held_in, is_released
from shared.adapters.database.mails import insert_mails
from shared.adapters.database.tables import alerts, charges, locks, mails, projects
from shared.adapters.database.texts import fitting
from shared.domain.budgets import Budget
from shared.domain.periods import Period, is_same_period
from shared.domain.projects import LockPolicy
from shared.domain.thresholds import AlertOutcome, Checked, Decision
from shared.messages import LockAction
from shared.ports.checks import CheckLedger, CheckResult, Judgement, ProjectUsage, Spending
from shared.ports.mails import MailState, NewMail

Judge = Callable[[ProjectUsage], Judgement]
Compose = Callable[[ProjectUsage, int, Spending], NewMail]


class SqlChecks(Ledger, CheckLedger):
    """The CheckLedger on a SQL database.

    sender_domain: the right half of every mail's Message-ID. lookback_days: how far back a night reads again.
    """

    def __init__(self, database: Database, sender_domain: str, lookback_days: int) -> None:
        super().__init__(database)
        self._sender_domain = sender_domain
        self._lookback_days = lookback_days

    def check(self, project_ids: Sequence[int], judge: Judge, compose: Compose, now: datetime) -> CheckResult:
        """Judges these projects in one transaction (see the port)."""
        check = _Check(sorted(set(project_ids)), judge, compose, now, self._sender_domain, self._lookback_days)
        return self._database.run(lambda connection: _run(connection, check))

    def give_up(self, project_ids: Sequence[int], reason: str) -> None:
        """These could not be checked for good: they are no longer due, and `reason` becomes their problem."""
        self._database.run(lambda connection: _give_up(connection, sorted(set(project_ids)), reason))

    @override
    @reads
    def stuck_projects(self, connection: Connection, before: datetime) -> list[int]:
        project = projects.c
        requeued = or_(project.check_requeued_at.is_(None), project.check_requeued_at < before)
        stuck = select(project.id).where(project.active == true(), project.check_due_since < before, requeued)
        return list(connection.scalars(stuck.order_by(project.id)))

    @override
    @writes
    def mark_requeued(self, connection: Connection, project_ids: Sequence[int], now: datetime) -> None:
        for ids in in_chunks(project_ids):
            connection.execute(update(projects).where(projects.c.id.in_(ids)).values(check_requeued_at=now))


def _give_up(connection: Connection, project_ids: list[int], reason: str) -> None:
    for ids in in_chunks(project_ids):
        given_up = projects.update().where(projects.c.id.in_(ids))
        connection.execute(given_up.values(check_due_since=None, problem=fitting(reason)))


@dataclass(frozen=True, slots=True)
class _Check:
    """What one call was asked for."""

    project_ids: list[int]
    judge: Judge
    compose: Compose
    now: datetime
    sender_domain: str
    lookback_days: int


def _run(connection: Connection, check: _Check) -> CheckResult:
    _lock(connection, check.project_ids)
    rows = with_budget(connection, check.project_ids)
    usages = _usages(connection, [row for row in rows if row.active], check)
    judgements = _judge(connection, usages, check.judge)
    alert_mails = _compose(connection, usages, judgements, check.compose)
    _insert_alerts(connection, usages, judgements, alert_mails, check.now)
    other_mails = [mail for judgement in judgements.values() for mail in judgement.mails]
    insert_mails(connection, [*alert_mails.values(), *other_mails], check.now, check.sender_domain)
    _remember(connection, usages, judgements, check.now)
    unknown = set(check.project_ids) - {row.id for row in rows}
    unsent = _unsent(connection, check.project_ids, [mail.key for mail in other_mails])
    return CheckResult(tuple(unsent), tuple(sorted(unknown)), _lock_requests(judgements))


def _lock_requests(judgements: Mapping[int, Judgement]) -> tuple[tuple[int, LockAction, str], ...]:
    return tuple((project_id, *judgement.lock) for project_id, judgement in judgements.items() if judgement.lock)


def _lock(connection: Connection, project_ids: list[int]) -> None:
    """Makes every other check of these projects wait until the transaction ends, on every database."""
    for ids in in_chunks(project_ids):
        connection.execute(
            projects.update()
            .where(projects.c.id.in_(ids), projects.c.active == true())
            .values(checks=projects.c.checks + 1, check_due_since=None)
        )


# --- what is known -------------------------------------------------------------------------------------------


def _usages(connection: Connection, rows: list[AnyRow], check: _Check) -> list[ProjectUsage]:
    """What is known of each project, but for `by_day`."""
    ids = [row.id for row in rows]
    opened = turn_to_today(connection, rows, check.now, check.lookback_days)
    sums = sums_in_periods(connection, ids)
    locked = _locks(connection, ids)
    today = check.now.astimezone(UTC).date()
    periods = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    told = told_in(connection, {each: period.start for each, period in periods.items() if period})
    usages = []
    for row in rows:
        usage = _usage(
            row, budget_in(row, opened.get(row.id)), periods[row.id], sums.get(row.id, {}), locked.get(row.id)
        )
        usages.append(replace(usage, told=told.get(row.id, frozenset())))
    warned = _warned(connection, usages)
    return [replace(usage, warned=usage.project_id in warned) for usage in usages]


def _locks(connection: Connection, project_ids: Sequence[int]) -> dict[int, AnyRow]:
    return {
        row.project_id: row
        for ids in in_chunks(project_ids)
        for row in connection.execute(select(locks).where(locks.c.project_id.in_(ids)))
    }


def _warned(connection: Connection, usages: list[ProjectUsage]) -> set[int]:
    """The projects whose people had an early warning for this revision and period."""
    keys = {_warning_key(usage): usage.project_id for usage in usages if usage.budget.amount and usage.period}
    warned: set[int] = set()
    for some in in_chunks(list(keys)):
        warned.update(keys[key] for key in connection.scalars(select(mails.c.key).where(mails.c.key.in_(some))))
    return warned


def _warning_key(usage: ProjectUsage) -> str:
    """The key of the mail that the notifier makes."""
    start = usage.period.start if usage.period else None
    return f"warning/{usage.project_id}/{usage.budget.number}/{start}"


def _usage(
    row: AnyRow, budget: Budget, period: Period | None, sums: Mapping[str, Decimal], lock: AnyRow | None
) -> ProjectUsage:
    currency = budget.terms.currency
    return ProjectUsage(
        project_id=row.id,
        acronym=row.acronym,
        name=row.name,
        language=row.language,
        contacts=tuple(row.contacts),
        budget=budget,
        period=period,
        usage=sums.get(currency, Decimal(0)),
        other_currencies=tuple(sorted(sums.keys() - {currency})),
        told=frozenset(),
        last=_last_check(row, period),
        lock=LockPolicy(row.lock_policy),
        held=held_in(lock),
        released=is_released(lock, budget.number, period),
    )


def _last_check(row: AnyRow, period: Period | None) -> Checked | None:
    if row.checked_usage is None or not is_same_period(period_in(row), period):
        return None
    return Checked(row.checked_usage, frozenset(row.checked_thresholds or ()))


# --- what is made of it --------------------------------------------------------------------------------------


def _judge(connection: Connection, usages: list[ProjectUsage], judge: Judge) -> dict[int, Judgement]:
    """The judgements by project. The days of a year of thousands of projects are not held in memory at once."""
    judgements: dict[int, Judgement] = {}
    for some in in_chunks(usages):
        may_warn = [usage.project_id for usage in some if _may_warn(usage)]
        by_day = sums_by(connection, may_warn, charges.c.charge_period_start)
        for usage in some:
            judgements[usage.project_id] = judge(replace(usage, by_day=by_day.get(usage.project_id, {})))
    return judgements


def _may_warn(usage: ProjectUsage) -> bool:
    """Whether somebody may need a forecast: nobody does of a budget that is used up, or after a warning."""
    amount = usage.budget.amount
    return usage.period is not None and amount is not None and usage.usage < amount and not usage.warned


def _compose(
    connection: Connection, usages: list[ProjectUsage], judgements: Mapping[int, Judgement], compose: Compose
) -> dict[int, NewMail]:
    """The mails of the alerts, by project."""
    due = [(usage, decision.alert) for usage, decision in _decided(usages, judgements) if decision.alert is not None]
    spending = _spending(connection, [usage.project_id for usage, _ in due])
    return {usage.project_id: compose(usage, alert, spending[usage.project_id]) for usage, alert in due}


def _decided(
    usages: Iterable[ProjectUsage], judgements: Mapping[int, Judgement]
) -> Iterable[tuple[ProjectUsage, Decision]]:
    for usage in usages:
        decision = judgements[usage.project_id].decision
        if decision is not None:
            yield usage, decision


def _spending(connection: Connection, project_ids: Sequence[int]) -> dict[int, Spending]:
    """What these projects spent in the periods that their rows hold, in their budgets' currencies."""
    by_day = sums_by(connection, project_ids, charges.c.charge_period_start)
    by_service = sums_by(connection, project_ids, charges.c.service_name)
    return {each: Spending(by_day.get(each, {}), by_service.get(each, {})) for each in project_ids}


def _insert_alerts(
    connection: Connection,
    usages: list[ProjectUsage],
    judgements: Mapping[int, Judgement],
    alert_mails: Mapping[int, NewMail],
    now: datetime,
) -> None:
    rows = [
        row
        | {
            "made_at": now,
            "mail_key": alert_mails[usage.project_id].key if row["outcome"] is AlertOutcome.MAILED else None,
        }
        for usage, decision in _decided(usages, judgements)
        for row in _alert_rows(usage, decision)
    ]
    if rows:
        connection.execute(alerts.insert(), rows)


def _alert_rows(usage: ProjectUsage, decision: Decision) -> list[dict[str, Any]]:
    if usage.period is None:
        return []
    shared = {"budget_id": usage.budget.id, "period_start": usage.period.start, "usage": usage.usage}
    return [shared | {"threshold": threshold, "outcome": outcome} for threshold, outcome in decision.outcomes.items()]


def _remember(
    connection: Connection, usages: list[ProjectUsage], judgements: Mapping[int, Judgement], now: datetime
) -> None:
    """Writes down what was seen: it is the next check's `last`."""
    rows = [_seen(usage, judgements[usage.project_id]) for usage in usages]
    seen = {
        "checked_at": now,
        "checked_usage": bindparam("seen_usage"),
        "checked_thresholds": bindparam("seen_thresholds"),
        "problem": bindparam("seen_problem"),
    }
    if rows:
        connection.execute(projects.update().where(projects.c.id == bindparam("project")).values(seen), rows)


def _seen(usage: ProjectUsage, judgement: Judgement) -> dict[str, Any]:
    # Without thresholds nothing was compared, and none was passed by: the next check that has some is as the first.
    compared = usage.period is not None and bool(judgement.thresholds)
    return {
        "project": usage.project_id,
        "seen_usage": usage.usage if compared else None,
        "seen_thresholds": sorted(judgement.thresholds) if compared else None,
        "seen_problem": _fitting(judgement.problem),
    }


def _fitting(problem: str | None) -> str | None:
    return None if problem is None else fitting(problem)


def _unsent(connection: Connection, project_ids: Sequence[int], keys: Sequence[str]) -> list[int]:
    """The mails of these projects, and those with these keys, that nobody has begun to send."""
    unsent: set[int] = set()
    untouched = (mails.c.state == MailState.PENDING) & (mails.c.attempts == 0)
    for column, values in ((mails.c.project_id, project_ids), (mails.c.key, keys)):
        for some in in_chunks(values):
            unsent.update(connection.scalars(select(mails.c.id).where(untouched, column.in_(some))))
    return sorted(unsent)
