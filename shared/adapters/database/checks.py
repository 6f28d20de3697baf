"""Usage against budgets: one transaction for a whole set of projects, with a fixed number of statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, or_, select, true
from typing_extensions import override

from shared.adapters.database import budget_rows
from shared.adapters.database.allocated import shares_by_day
from shared.adapters.database.budget_periods import turn_to_today
from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks, insert_rows, select_in, update_in, update_rows
from shared.adapters.database.converted import (
    NOTHING_CONVERTED,
    Wanted,
    converted_services,
    converted_shares,
    converted_within,
    missing_before,
)
from shared.adapters.database.coverage import exported_until, lacks_within
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.locks import held_in, order_in
from shared.adapters.database.mails import insert_mails
from shared.adapters.database.owners import owned_scopes
from shared.adapters.database.standing_rows import figures_of, write_standings
from shared.adapters.database.tables import alerts, budget_periods, budgets, charges, locks, mails, projects
from shared.adapters.database.types import largest_amount
from shared.domain.allocation import AllocatedByDay, Key, total, with_days
from shared.domain.budget_periods import OverPeriod
from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.coverage import LACKS_NOTHING, Gap, Lacks, without_rate
from shared.domain.currencies import Conversion, together
from shared.domain.forecast import expected
from shared.domain.money import add
from shared.domain.periods import Period, is_same_period
from shared.domain.projects import Scope
from shared.domain.thresholds import EARLY_WARNING, AlertOutcome, Checked, compared
from shared.ports.checks import CheckLedger, CheckResult, Judge, Judgement, ProjectUsage
from shared.ports.mails import MailState, Topic


@dataclass(frozen=True)
class SqlChecks(Ledger, CheckLedger):
    """CheckLedger on a SQL database.

    sender_domain: the right half of every mail's Message-ID. lookback_days: how far back a night reads again.
    converts: whether charges in other currencies than the budget's count.
    """

    sender_domain: str
    lookback_days: int
    converts: bool = False

    @override
    @reads
    def acronyms(self, connection: Connection, project_ids: Sequence[int]) -> dict[int, str]:
        named = select(projects.c.id, projects.c.acronym)
        rows = select_in(connection, named, projects.c.id, sorted(set(project_ids)))
        return {row.id: row.acronym for row in rows}

    @override
    @writes
    def give_up(self, connection: Connection, project_ids: Sequence[int], reason: str) -> None:
        update_in(connection, projects, sorted(set(project_ids)), check_due_since=None, problem=reason)

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
        update_in(connection, projects, project_ids, check_requeued_at=now)

    @override
    @writes
    def check(self, connection: Connection, project_ids: Sequence[int], judge: Judge, now: datetime) -> CheckResult:
        ids = sorted(set(project_ids))
        # Makes every other check of these projects wait until the transaction ends, on every database.
        counted = {"checks": projects.c.checks + 1, "check_due_since": None}
        update_in(connection, projects, ids, projects.c.active == true(), **counted)
        rows = budget_rows.with_budget(connection, ids)
        judged: Judged = []
        # The days of a year of thousands of projects are not held in memory at once.
        for some in in_chunks([row for row in rows if row.active]):
            today = now.astimezone(UTC).date()
            turned = turn_to_today(connection, some, now, self.lookback_days, self.converts)
            allocated = shares_by_day(connection, [each[:2] for each in _periods(some, turned.over, today)])
            money = _Money(allocated)
            if self.converts:
                wanted = list(_periods(some, turned.over, today))
                own, given = converted_within(connection, wanted), converted_shares(connection, allocated, wanted)
                money = _Money(allocated, own, given, converts=True)
            over = _usages_over(connection, some, turned.over, money)
            present = _usages(connection, some, turned.present, today, money)
            usages = self._with_gaps(connection, [*over, *present], today)
            these = _judged(connection, usages, judge, self.converts)
            _insert_alerts(connection, these, now)
            insert_mails(connection, [mail for _, each in these for mail in each.mails], now, self.sender_domain)
            _remember(connection, [each for each in these if not each[0].over], now)
            stands = ((usage.project, figures_of(usage, today)) for usage, _ in these if not usage.over)
            write_standings(connection, stands, now)
            _remember_over(connection, [each for each in these if each[0].over])
            judged += these
        notices = [mail.key for _, each in judged for mail in each.mails if mail.project_id is None]
        return CheckResult(
            unsent=_unsent(connection, ids, notices),
            unknown=tuple(sorted(set(ids) - {row.id for row in rows})),
            locks=tuple((usage.project.id, *each.lock) for usage, each in judged if each.lock),
            alerts=tuple((usage.project.id, each.alert) for usage, each in judged if each.alert is not None),
            checked=sum(row.active for row in rows),
        )

    def _with_gaps(self, connection: Connection, usages: Sequence[ProjectUsage], today: date) -> list[ProjectUsage]:
        """The same, with what the figures lack."""
        needed = {
            (usage.project.id, usage.budget.decided_by(usage.period), bool(usage.budget.terms.opening_in(usage.period)))
            for usage in usages
            if usage.period
        }
        these = projects.c.id.in_({project_id for project_id, *_ in needed})
        found = lacks_within(connection, needed, today, self.lookback_days, these)
        those = ((each.project.id, each.budget, each.period) for each in usages)
        before = missing_before(connection, those) if self.converts else {}
        lacking = []
        for each in usages:
            unread = found.get((each.project.id, each.budget.decided_by(each.period))) if each.period else None
            unrated = _without_rate(each, before)
            lacks = (unread or LACKS_NOTHING).and_of(Lacks(unrated, today if unrated else None))
            lacking.append(replace(each, gaps=lacks.gaps, lacks_from=lacks.since) if lacks.since else each)
        return lacking


# --- what is known -------------------------------------------------------------------------------------------


def _periods(rows: Sequence[AnyRow], over: Mapping[int, Sequence[OverPeriod]], today: date) -> Iterator[Wanted]:
    """All the periods that are compared, by project, with the currencies of its budgets then."""
    for row in rows:
        if (present := budget_rows.period_at(row, today)) is not None:
            yield row.id, present, row.currency
        yield from ((row.id, each.opened.period, each.terms.currency) for each in over.get(row.id, ()))


@dataclass(frozen=True)
class _Money:
    """What counts besides a project's own charges in its budget's currency. own, given: by conversion, of its own
    charges and of what is allocated."""

    allocated: AllocatedByDay
    own: Mapping[Key, Conversion] = field(default_factory=dict)
    given: Mapping[Key, Conversion] = field(default_factory=dict)
    converts: bool = False

    def of(self, project_id: int, period: Period | None, currency: str) -> tuple[Mapping[date, Decimal], Conversion]:
        """What is allocated on each day, and what of the project's own charges was converted."""
        key = (project_id, period, currency)
        shares = self.allocated.get(key, {})
        return with_days(shares, self.given.get(key, NOTHING_CONVERTED).by_day), self.own.get(key, NOTHING_CONVERTED)

    def converted(self, project_id: int, period: Period | None, currency: str) -> Conversion:
        """All that was converted."""
        key = (project_id, period, currency)
        return together(self.own.get(key, NOTHING_CONVERTED), self.given.get(key, NOTHING_CONVERTED))


def _usages(
    connection: Connection,
    rows: Sequence[AnyRow],
    budgets: Mapping[int, Budget],
    today: date,
    money: _Money,
) -> list[ProjectUsage]:
    ids = [row.id for row in rows]
    periods = {row.id: budget_rows.period_at(row, today) for row in rows}
    sums = budget_rows.sums_in_periods(connection, ids)
    by_day = budget_rows.sums_by(connection, ids, charges.c.charge_period_start)
    mixed = [row.id for row in rows if not money.converts and sums.get(row.id, {}).keys() - {row.currency}]
    last_charged = budget_rows.last_days(connection, mixed)
    told = budget_rows.told_in(connection, {each: period.start for each, period in periods.items() if period})
    warned = _warned(connection, ids)
    locked = {row.project_id: row for row in select_in(connection, select(locks), locks.c.project_id, ids)}
    exported = exported_until(connection, ids)
    usages = []
    for row in rows:
        budget, period, spent = budgets[row.id], periods[row.id], sums.get(row.id, {})
        shares, own = money.of(row.id, period, row.currency)
        days, lock = with_days(with_days(by_day.get(row.id, {}), own.by_day), shares), locked.get(row.id)
        opening = budget.terms.opening_in(period)
        # Exports come a day late, or later: those days would be taken for days without costs.
        until = min(today, exported.get(row.id, today))
        forecast, used_up_on = expected(days, budget.amount, period, until, opening) if period else (None, None)
        usage = ProjectUsage(
            project=budget_rows.project_in(row),
            budget=budget,
            period=period,
            usage=_used(budget.terms, spent.get(row.currency, Decimal(0)), period, own, shares),
            allocated=total(shares.values()),
            converted=money.converted(row.id, period, row.currency),
            own_is_whole=not own.missing,
            other_currencies=() if money.converts else tuple(sorted(spent.keys() - {row.currency})),
            told=told.get(row.id, frozenset()) - {EARLY_WARNING},
            last=_last_check(row, period),
            by_day=days,
            forecast=forecast,
            used_up_on=used_up_on,
            read_on=min(until, row.costs_read_at.date() if row.costs_read_at else today),
            warned=row.id in warned or EARLY_WARNING in told.get(row.id, ()),
            held=held_in(lock),
            released=(order := order_in(lock)) is not None and order.releases(budget.first_number, period),
            last_charged=last_charged.get(row.id, {}),
        )
        usages.append(usage)
    return usages


def _usages_over(
    connection: Connection, rows: Sequence[AnyRow], over: Mapping[int, Sequence[OverPeriod]], money: _Money
) -> list[ProjectUsage]:
    """The periods that are over and still to be compared."""
    revisions, told = _revisions_of(connection, [project_id for project_id, periods in over.items() if periods])
    spans = [(project_id, each.opened.period) for project_id, periods in over.items() for each in periods]
    sums = budget_rows.sums_within(connection, spans)
    usages = []
    for row in rows:
        for each in over.get(row.id, ()):
            opened, terms, budget_id = each.opened, each.terms, revisions[row.id, each.number]
            here = {
                currency: cost for (period, currency), cost in sums.get(row.id, {}).items() if period == opened.period
            }
            carried = opened.carried_in(terms.currency)
            shares, own = money.of(row.id, opened.period, terms.currency)
            usage = ProjectUsage(
                project=budget_rows.project_in(row),
                budget=Budget(budget_id, each.number, terms, carried, opened.stopped, carried_since=each.carried_since),
                period=opened.period,
                usage=_used(terms, here.get(terms.currency, Decimal(0)), opened.period, own, shares),
                allocated=total(shares.values()),
                converted=money.converted(row.id, opened.period, terms.currency),
                own_is_whole=not own.missing,
                other_currencies=() if money.converts else tuple(sorted(here.keys() - {terms.currency})),
                told=told.get((budget_id, opened.period.start), frozenset()),
                last=_last_check(row, opened.period) or _checked(opened.checked_usage, opened.checked_thresholds),
                by_day={},
                forecast=None,
                used_up_on=None,
                read_on=opened.period.end,
                warned=True,
                held=None,
                released=False,
                over=True,
            )
            usages.append(usage)
    return usages


def _without_rate(usage: ProjectUsage, before: Mapping[tuple[int, Period | None], tuple[Gap, ...]]) -> tuple[Gap, ...]:
    return *without_rate(usage.converted), *before.get((usage.project.id, usage.period), ())


def _used(
    terms: BudgetTerms, charged: Decimal, period: Period | None, own: Conversion, shares: Mapping[date, Decimal]
) -> Decimal:
    return add(add(terms.used(charged, period), own.total), total(shares.values()))


def _revisions_of(
    connection: Connection, project_ids: Sequence[int]
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, date], frozenset[int]]]:
    """The ids of all revisions by project and number; what counts as told under them, by id and period."""
    found = select(budgets.c.project_id, budgets.c.number, budgets.c.id, alerts.c.period_start, alerts.c.threshold)
    found = found.outerjoin(alerts, alerts.c.budget_id == budgets.c.id)
    ids: dict[tuple[int, int], int] = {}
    told: dict[tuple[int, date], frozenset[int]] = {}
    for project_id, number, budget_id, start, threshold in select_in(
        connection, found, budgets.c.project_id, project_ids
    ):
        ids[project_id, number] = budget_id
        if start is not None:
            told[budget_id, start] = told.get((budget_id, start), frozenset()) | {threshold}
    return ids, told


def _warned(connection: Connection, project_ids: Sequence[int]) -> set[int]:
    """The projects whose people had a mail with an early warning for this revision and the period in its row."""
    of_now = (mails.c.budget_number == projects.c.budget_number) & (mails.c.period_start == projects.c.period_start)
    found = select(projects.c.id).join(mails, (mails.c.project_id == projects.c.id) & of_now)
    found = found.where(mails.c.topic == Topic.EARLY_WARNING)
    return {row.id for row in select_in(connection, found, projects.c.id, project_ids)}


def _last_check(row: AnyRow, period: Period | None) -> Checked | None:
    if not is_same_period(budget_rows.period_in(row), period):
        return None
    return _checked(row.checked_usage, row.checked_thresholds)


def _checked(usage: Decimal | None, thresholds: frozenset[int] | None) -> Checked | None:
    return None if usage is None else Checked(usage, thresholds or frozenset())


# --- what is made of it --------------------------------------------------------------------------------------

MAILED = (AlertOutcome.MAILED, AlertOutcome.WARNED)

Judged = list[tuple[ProjectUsage, Judgement]]
"""Projects, and what is made of each, with the mail of its alert"""


def _judged(connection: Connection, usages: Sequence[ProjectUsage], judge: Judge, converts: bool) -> Judged:
    judged = [(usage, judge.judge(usage)) for usage in usages]
    alerted = [
        (usage.project.id, usage.period, usage.budget.terms.currency)
        for usage, judgement in judged
        if usage.period and (judgement.alert is not None or judgement.warns)
    ]
    by_service = budget_rows.service_sums_within(connection, (each[:2] for each in alerted))
    for (project_id, period, currency), found in (converted_services(connection, alerted) if converts else {}).items():
        if period is None:
            continue
        its = by_service.setdefault(project_id, {})
        for service, cost in found.items():
            its[period, currency, service] = add(its.get((period, currency, service), Decimal(0)), cost)
    owned = owned_scopes(connection, projects.c.id.in_({each[0] for each in alerted})) if alerted else {}
    return [(usage, _with_mail(usage, judgement, judge, by_service, owned)) for usage, judgement in judged]


def _with_mail(
    usage: ProjectUsage,
    judgement: Judgement,
    judge: Judge,
    by_service: Mapping[int, Mapping[tuple[Period, str, str], Decimal]],
    owned: Mapping[int, Sequence[Scope]],
) -> Judgement:
    """With the mail of its alert, or else of its early warning, before all others."""
    if judgement.alert is None and not judgement.warns:
        return judgement
    here = (usage.period, usage.budget.terms.currency)
    sums = by_service.get(usage.project.id, {})
    spent = {service: cost for (*key, service), cost in sums.items() if (*key,) == here}
    alert, its = judgement.alert, owned.get(usage.project.id, ())
    mail = judge.warning(usage, spent, its) if alert is None else judge.alert(usage, alert, spent, its)
    return replace(judgement, mails=(mail, *judgement.mails))


def _insert_alerts(connection: Connection, judged: Judged, now: datetime) -> None:
    rows = [
        {
            "budget_id": usage.budget.id,
            "period_start": usage.period.start,
            "threshold": threshold,
            "outcome": outcome,
            "usage": usage.usage,
            "made_at": now,
            "mail_key": judgement.mails[0].key if outcome in MAILED else None,
        }
        for usage, judgement in judged
        if usage.period
        for threshold, outcome in _outcomes(judgement).items()
    ]
    insert_rows(connection, alerts, rows)


def _outcomes(judgement: Judgement) -> dict[int, AlertOutcome]:
    """What counts as told from now on, and why."""
    warned = {EARLY_WARNING: AlertOutcome.WARNED} if judgement.warns else {}
    return warned | (judgement.decision.outcomes if judgement.decision else {})


def _remember(connection: Connection, judged: Judged, now: datetime) -> None:
    """Writes down what was seen, which is the next check's `last`, and what was expected."""
    largest = largest_amount(connection.dialect)
    today = now.astimezone(UTC).date()
    update_rows(connection, projects, [_seen(*each, largest, today) | {"checked_at": now} for each in judged], "id")


def _seen(usage: ProjectUsage, judgement: Judgement, largest: Decimal, today: date) -> dict[str, Any]:
    last = compared(usage.usage, judgement.thresholds) if usage.period else None
    seen = {
        "id": usage.project.id,
        "checked_usage": last.usage if last else None,
        "checked_thresholds": last.thresholds if last else None,
        "problem": judgement.problem,
        **budget_rows.NO_FORECAST,
    }
    if usage.other_currencies:
        return seen
    forecast, used_up_on = usage.forecast, usage.used_up_on
    if usage.period and usage.read_on != today:
        # What is listed for days to come is as of the last reading: later days would be taken for days without costs.
        opening = usage.budget.terms.opening_in(usage.period)
        forecast, used_up_on = expected(usage.by_day, usage.budget.amount, usage.period, usage.read_on, opening)
    if forecast and forecast.high <= largest:
        expects = (forecast.total, forecast.low, forecast.high, forecast.data_days)
        seen |= zip(budget_rows.FORECAST, expects, strict=True)
    return seen | {"used_up_on": used_up_on} if usage.budget.amount else seen


def _remember_over(connection: Connection, judged: Judged) -> None:
    """The same of periods that are over, in their own rows."""
    rows = [
        {"project_id": usage.project.id, "period_start": usage.period.start}
        | {"checked_usage": last and last.usage, "checked_thresholds": last and last.thresholds}
        for usage, judgement in judged
        if usage.period
        for last in [compared(usage.usage, judgement.thresholds)]
    ]
    update_rows(connection, budget_periods, rows, "project_id", "period_start")


def _unsent(connection: Connection, project_ids: Sequence[int], keys: Sequence[str]) -> tuple[int, ...]:
    """The mails of these projects, and those with these keys, that nobody has begun to send."""
    untouched = select(mails.c.id).where(mails.c.state == MailState.PENDING, mails.c.attempts == 0)
    of_projects = select_in(connection, untouched, mails.c.project_id, project_ids)
    return tuple(sorted({row.id for row in (*of_projects, *select_in(connection, untouched, mails.c.key, keys))}))
