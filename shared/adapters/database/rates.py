"""Exchange rates: what was set for each day, and what the organization has fixed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update
from typing_extensions import override

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.tables import fixed_rates
from shared.adapters.database.tables import rates as rates_table
from shared.domain.currencies import LASTS, FixedRate, Rates
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.ports.errors import NeverError
from shared.ports.rates import FixedRecord, RateLedger, SetRate

rate, DAY = rates_table.c, timedelta(days=1)


class SqlRates(Ledger, RateLedger):
    """RateLedger on a SQL database."""

    @override
    @reads
    def rates(self, connection: Connection, currencies: Collection[str], days: Period) -> Rates:
        return rates_of(connection, currencies, days)

    @override
    @reads
    def newest(self, connection: Connection) -> date | None:
        newest: date | None = connection.scalar(select(func.max(rate.day)))
        return newest

    @override
    @reads
    def last_days(self, connection: Connection) -> Mapping[str, date]:
        last = select(rate.currency, func.max(rate.day)).group_by(rate.currency)
        return {row[0]: row[1] for row in connection.execute(last)}

    @override
    @writes
    def keep(self, connection: Connection, rates: Iterable[SetRate]) -> int:
        given = {(day, currency): stored(worth) for day, currency, worth in rates}
        if not given:
            return 0
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
        return len(changed) + len(new)

    @override
    @writes
    def fix(self, connection: Connection, fixed: FixedRate, by: str, reason: str, now: datetime) -> None:
        if stored(fixed.rate) != fixed.rate:
            raise NeverError("A rate has at most 10 decimal places.")
        row = {"base": fixed.base, "to": fixed.to, "first_day": fixed.days.start, "last_day": fixed.days.last_day}
        made = {"rate": fixed.rate, "made_at": now, "made_by": by, "reason": reason}
        connection.execute(insert(fixed_rates).values(row | made))

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


def _since(first: date) -> Select[*tuple[Any, ...]]:
    return select(rate.day, rate.currency, rate.per_euro).where(rate.day >= first)


def _all_fixed() -> Select[*tuple[Any, ...]]:
    return select(*fixed_rates.c).order_by(fixed_rates.c.id)


def _fixed(row: AnyRow) -> FixedRate:
    return FixedRate(row.base, row.to, Period(row.first_day, row.last_day + DAY), row.rate)
