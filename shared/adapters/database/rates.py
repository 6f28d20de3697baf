"""Exchange rates: what was set for each day, and what the organization has fixed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, literal, or_, select, true, update
from typing_extensions import override

from shared.adapters.database.allocated import may_get
from shared.adapters.database.budget_rows import COSTS, OWNED, AnyRow
from shared.adapters.database.chunks import insert_rows, kept_or, update_in
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.tables import (
    allocation_rules,
    budgets,
    charges,
    fixed_rates,
    projects,
    scope_owners,
    scopes,
)
from shared.adapters.database.tables import rates as rates_table
from shared.domain.currencies import LASTS, FixedRate, Rates
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.ports.errors import NeverError
from shared.ports.rates import FixedRecord, RateChange, RateLedger, SetRate

rate, DAY = rates_table.c, timedelta(days=1)


@dataclass(frozen=True)
class SqlRates(Ledger, RateLedger):
    """RateLedger on a SQL database. converts: whether any figure goes by what is kept."""

    converts: bool = False

    @override
    @reads
    def rates(self, connection: Connection, currencies: Collection[str], days: Period) -> Rates:
        return rates_of(connection, currencies, days)

    @override
    @reads
    def days(self, connection: Connection, today: date) -> tuple[date, date] | None:
        ends = select(func.min(rate.day), func.max(rate.day)).where(rate.day <= today)
        first, last = connection.execute(ends).one()
        return None if first is None else (first, last)

    @override
    @reads
    def last_days(self, connection: Connection, today: date) -> Mapping[str, date]:
        last = select(rate.currency, func.max(rate.day)).where(rate.day <= today).group_by(rate.currency)
        return {row[0]: row[1] for row in connection.execute(last)}

    @override
    @writes
    def keep(self, connection: Connection, rates: Iterable[SetRate], now: datetime) -> RateChange:
        given = {(day, currency): stored(worth) for day, currency, worth in rates}
        if not given:
            return RateChange()
        first = min(day for day, _ in given)
        known = {(row.day, row.currency): row.per_euro for row in connection.execute(_since(first))}
        changed = {key: worth for key, worth in given.items() if key in known and known[key] != worth}
        for (day, currency), worth in changed.items():
            this = (rate.day == day) & (rate.currency == currency)
            connection.execute(update(rates_table).where(this).values(per_euro=worth))
        new = [
            {"day": day, "currency": currency, "per_euro": worth}
            for (day, currency), worth in sorted(given.items())
            if (day, currency) not in known
        ]
        insert_rows(connection, rates_table, new)
        others = given.keys() - (known.keys() - changed.keys())
        return RateChange(len(others), _due_by(connection, others, now) if self.converts else ())

    @override
    @writes
    def fix(self, connection: Connection, fixed: FixedRate, by: str, reason: str, now: datetime) -> RateChange:
        if stored(fixed.rate) != fixed.rate:
            raise NeverError("A rate has at most 10 decimal places.")
        row = {"base": fixed.base, "to": fixed.to, "first_day": fixed.days.start, "last_day": fixed.days.last_day}
        made = {"rate": fixed.rate, "made_at": now, "made_by": by, "reason": reason}
        connection.execute(insert(fixed_rates).values(row | made))
        if not self.converts:
            return RateChange(1)
        due = _mark_due(connection, fixed.days, lambda of: (of == fixed.base) & (budgets.c.currency == fixed.to), now)
        return RateChange(1, due)

    @override
    @reads
    def fixed(self, connection: Connection) -> list[FixedRecord]:
        return [
            FixedRecord(row.id, _fixed(row), row.made_at, row.made_by, row.reason)
            for row in connection.execute(_all_fixed())
        ]


def rates_of(connection: Connection, currencies: Collection[str], days: Period) -> Rates:
    """What is known of these currencies for charges of these days, with all fixed rates."""
    of_days = (rate.day >= days.start - LASTS) & (rate.day < days.end)
    found = select(rate.currency, rate.day, rate.per_euro).where(rate.currency.in_(sorted(currencies)), of_days)
    per_euro: dict[str, dict[date, Decimal]] = {}
    for currency, day, worth in connection.execute(found):
        per_euro.setdefault(currency, {})[day] = worth
    return Rates(per_euro, [_fixed(row) for row in connection.execute(_all_fixed())])


def _due_by(connection: Connection, changed: Collection[tuple[date, str]], now: datetime) -> list[int]:
    """The projects that are due for a check as of now, since these rates are new or others."""
    if not changed:
        return []
    days = Period(min(day for day, _ in changed), max(day for day, _ in changed) + LASTS + DAY)
    these = sorted({currency for _, currency in changed})

    def may_apply(of: ColumnElement[str]) -> ColumnElement[bool]:
        return (of != budgets.c.currency) & or_(of.in_(these), budgets.c.currency.in_(these))

    return _mark_due(connection, days, may_apply, now)


def _mark_due(
    connection: Connection, days: Period, may_apply: Callable[[ColumnElement[str]], ColumnElement[bool]], now: datetime
) -> list[int]:
    """may_apply: of a charge's currency and that of one of the budget's revisions, whether what changed is of them."""
    day, currency = charges.c.charge_period_start, charges.c.billing_currency
    on_days = (day >= days.start) & (day < days.end) & COSTS
    of_project = (budgets.c.project_id == projects.c.id) & (projects.c.active == true())
    own = select(projects.c.id).join(budgets, of_project).join(scope_owners, scope_owners.c.project_id == projects.c.id)
    due = set(connection.scalars(own.join(charges, OWNED).where(on_days, may_apply(currency)).distinct()))
    rule = allocation_rules.c
    pool = (scopes.c.provider == rule.provider) & (scopes.c.sub_account_id == rule.sub_account_id)
    pools = select(currency, rule.provider, rule.sub_account_id).select_from(allocation_rules).join(scopes, pool)
    pools = pools.join(charges, charges.c.scope_id == scopes.c.id).where(on_days).distinct()
    for of, provider, account in connection.execute(pools).all():
        getting = may_get((rule.provider == provider) & (rule.sub_account_id == account))
        sharing = select(projects.c.id).join(budgets, of_project).where(may_apply(literal(of)), getting)
        due.update(connection.scalars(sharing))
    update_in(connection, projects, sorted(due), check_due_since=kept_or(projects.c.check_due_since, now))
    return sorted(due)


def _since(first: date) -> Select[*tuple[Any, ...]]:
    return select(rate.day, rate.currency, rate.per_euro).where(rate.day >= first)


def _all_fixed() -> Select[*tuple[Any, ...]]:
    return select(*fixed_rates.c).order_by(fixed_rates.c.id)


def _fixed(row: AnyRow) -> FixedRate:
    return FixedRate(row.base, row.to, Period(row.first_day, row.last_day + DAY), row.rate)
