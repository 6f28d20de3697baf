"""Usage against budgets: one transaction for a whole set of projects, with a fixed number of statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, true
from typing_extensions import override

from shared.adapters.database.budget_periods import budget_in, turn_to_today
from shared.adapters.database.budget_rows import (
    NO_FORECAST,
    AnyRow,
    period_in,
    project_in,
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
from shared.adapters.database.types import largest_amount
from shared.domain.budget_periods import OpenedPeriod
from shared.domain.forecast import expected
from shared.domain.periods import Period, is_same_period
from shared.domain.thresholds import AlertOutcome, Checked, compared
from shared.ports.checks import CheckLedger, CheckResult, ComposeAlert, Judge, Judgement, ProjectUsage
from shared.ports.mails import MailState, NewMail, Topic

# What a check writes into a project's row.
SEEN = ("checked_usage", "checked_thresholds", "problem", *NO_FORECAST)


class SqlChecks(Ledger, CheckLedger):
    """CheckLedger on a SQL database.

    sender_domain: the right half of every mail's Message-ID. lookback_days: how far back a night reads again.
    """

    def __init__(self, database: Database, sender_domain: str, lookback_days: int) -> None:
        super().__init__(database)
        self._sender_domain = sender_domain
        self._lookback_days = lookback_days

    @override
    @writes
    def give_up(self, connection: Connection, project_ids: Sequence[int], reason: str) -> None:
        for ids in in_chunks(sorted(set(project_ids))):
            given_up = projects.update().where(projects.c.id.in_(ids))
            connection.execute(given_up.values(check_due_since=None, problem=fitting(reason)))

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
            connection.execute(projects.update().where(projects.c.id.in_(ids)).values(check_requeued_at=now))

    @override
    @writes
    def check(
        self, connection: Connection, project_ids: Sequence[int], judge: Judge, compose: ComposeAlert, now: datetime
    ) -> CheckResult:
        ids = sorted(set(project_ids))
        _lock(connection, ids)
        rows = with_budget(connection, ids)
        judgements: dict[int, Judgement] = {}
        # The days of a year of thousands of projects are not held in memory at once.
        for some in in_chunks([row for row in rows if row.active]):
            judged = _judged(connection, some, judge, compose, now, self._lookback_days)
            _insert_alerts(connection, judged, now)
            insert_mails(connection, [mail for each in judged for mail in each.mails], now, self._sender_domain)
            _remember(connection, judged, now)
            judgements |= {each.usage.project.id: each.judgement for each in judged}
        return CheckResult(
            unsent=_unsent(connection, ids, [mail.key for each in judgements.values() for mail in each.mails]),
            unknown=tuple(sorted(set(ids) - {row.id for row in rows})),
            locks=tuple((project_id, *each.lock) for project_id, each in judgements.items() if each.lock),
        )


def _lock(connection: Connection, project_ids: list[int]) -> None:
    """Makes every other check of these projects wait until the transaction ends, on every database."""
    for ids in in_chunks(project_ids):
        active = projects.update().where(projects.c.id.in_(ids), projects.c.active == true())
        connection.execute(active.values(checks=projects.c.checks + 1, check_due_since=None))


# --- what is known -------------------------------------------------------------------------------------------


def _usages(
    connection: Connection, rows: Sequence[AnyRow], opened: Mapping[int, OpenedPeriod], today: date
) -> list[ProjectUsage]:
    ids = [row.id for row in rows]
    periods = {row.id: terms_of(row).rule.period_at(today) for row in rows}
    sums = sums_in_periods(connection, ids)
    by_day = sums_by(connection, ids, charges.c.charge_period_start)
    told = told_in(connection, {each: period.start for each, period in periods.items() if period})
    warned = _warned(connection, ids)
    locked = {row.project_id: row for row in connection.execute(select(locks).where(locks.c.project_id.in_(ids)))}
    usages = []
    for row in rows:
        budget, period, spent = budget_in(row, opened.get(row.id)), periods[row.id], sums.get(row.id, {})
        currency, days, lock = budget.terms.currency, by_day.get(row.id, {}), locked.get(row.id)
        # Days after the last reading would be taken for days without costs.
        as_of = row.costs_read_at.date() if row.costs_read_at else today
        forecast, used_up_on = expected(days, budget.amount, period, as_of) if period else (None, None)
        usage = ProjectUsage(
            project=project_in(row),
            budget=budget,
            period=period,
            usage=spent.get(currency, Decimal(0)),
            other_currencies=tuple(sorted(spent.keys() - {currency})),
            told=told.get(row.id, frozenset()),
            last=_last_check(row, period),
            by_day=days,
            forecast=forecast,
            used_up_on=used_up_on,
            warned=row.id in warned,
            held=held_in(lock),
            released=is_released(lock, budget.number, period),
        )
        usages.append(usage)
    return usages


def _warned(connection: Connection, project_ids: Sequence[int]) -> set[int]:
    """The projects whose people had an early warning for this revision and the period in its row."""
    of_now = (mails.c.budget_number == projects.c.budget_number) & (mails.c.period_start == projects.c.period_start)
    found = select(projects.c.id).join(mails, (mails.c.project_id == projects.c.id) & of_now)
    return set(connection.scalars(found.where(mails.c.topic == Topic.EARLY_WARNING, projects.c.id.in_(project_ids))))


def _last_check(row: AnyRow, period: Period | None) -> Checked | None:
    if row.checked_usage is None or not is_same_period(period_in(row), period):
        return None
    return Checked(row.checked_usage, frozenset(row.checked_thresholds or ()))


# --- what is made of it --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Judged:
    """A project, what is made of it, and the mail of its alert."""

    usage: ProjectUsage
    judgement: Judgement
    alert: NewMail | None

    @property
    def mails(self) -> tuple[NewMail, ...]:
        return (*([self.alert] if self.alert else []), *self.judgement.mails)


def _judged(
    connection: Connection,
    rows: Sequence[AnyRow],
    judge: Judge,
    compose: ComposeAlert,
    now: datetime,
    lookback_days: int,
) -> list[_Judged]:
    opened = turn_to_today(connection, rows, now, lookback_days)
    usages = _usages(connection, rows, opened, now.astimezone(UTC).date())
    judgements = {usage.project.id: judge(usage) for usage in usages}
    alerted = {each: judgement.alert for each, judgement in judgements.items() if judgement.alert is not None}
    by_service = sums_by(connection, list(alerted), charges.c.service_name)
    composed = {
        usage.project.id: compose(usage, alerted[usage.project.id], by_service.get(usage.project.id, {}))
        for usage in usages
        if usage.project.id in alerted
    }
    return [_Judged(each, judgements[each.project.id], composed.get(each.project.id)) for each in usages]


def _insert_alerts(connection: Connection, judged: Iterable[_Judged], now: datetime) -> None:
    rows = [
        {
            "budget_id": each.usage.budget.id,
            "period_start": each.usage.period.start,
            "threshold": threshold,
            "outcome": outcome,
            "usage": each.usage.usage,
            "made_at": now,
            "mail_key": each.alert.key if each.alert and outcome is AlertOutcome.MAILED else None,
        }
        for each in judged
        if each.usage.period and each.judgement.decision
        for threshold, outcome in each.judgement.decision.outcomes.items()
    ]
    if rows:
        connection.execute(alerts.insert(), rows)


def _remember(connection: Connection, judged: Iterable[_Judged], now: datetime) -> None:
    """Writes down what was seen, which is the next check's `last`, and what was expected."""
    largest = largest_amount(connection.dialect)
    rows = [{"project": each.usage.project.id} | _seen(each.usage, each.judgement, largest) for each in judged]
    # An update's own parameters may not be named as its columns.
    seen: dict[str, Any] = {name: bindparam(f"seen_{name}") for name in SEEN}
    update = projects.update().where(projects.c.id == bindparam("project")).values(checked_at=now, **seen)
    if rows:
        connection.execute(update, rows)


def _seen(usage: ProjectUsage, judgement: Judgement, largest: Decimal) -> dict[str, Any]:
    last = compared(usage.usage, judgement.thresholds) if usage.period else None
    forecast = usage.forecast if usage.forecast and usage.forecast.high <= largest else None
    values = (
        last.usage if last else None,
        sorted(last.thresholds) if last else None,
        None if judgement.problem is None else fitting(judgement.problem),
        *((forecast.total, forecast.low, forecast.high, forecast.data_days) if forecast else (None,) * 4),
        usage.used_up_on if usage.budget.amount else None,
    )
    return {f"seen_{name}": value for name, value in zip(SEEN, values, strict=True)}


def _unsent(connection: Connection, project_ids: Sequence[int], keys: Sequence[str]) -> tuple[int, ...]:
    """The mails of these projects, and those with these keys, that nobody has begun to send."""
    unsent: set[int] = set()
    untouched = (mails.c.state == MailState.PENDING) & (mails.c.attempts == 0)
    for column, values in ((mails.c.project_id, project_ids), (mails.c.key, keys)):
        for some in in_chunks(values):
            unsent.update(connection.scalars(select(mails.c.id).where(untouched, column.in_(some))))
    return tuple(sorted(unsent))
