"""What projects were charged in other currencies than their budgets', in those: worked out whenever it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from shared.adapters.database.allocated import DAY_AND_CURRENCY, shares_in
from shared.adapters.database.budget_rows import COSTS, FETCHED, OWNED
from shared.adapters.database.chunks import among, select_among
from shared.adapters.database.rates import rates_of
from shared.adapters.database.tables import charges, scope_owners
from shared.domain.allocation import DAY, AllocatedByDay, Key
from shared.domain.budgets import Budget
from shared.domain.coverage import Gap, without_rate
from shared.domain.currencies import Conversion, convert, together
from shared.domain.money import add
from shared.domain.periods import Period

Wanted = tuple[int, Period, str]
"""A project, one of its periods, and the currency of its budget then"""
Foreign = list[tuple[date, str, Decimal]]
"""Sums of days in their currencies"""
NOTHING_CONVERTED = Conversion()


@dataclass(frozen=True, slots=True)
class Besides:
    """What counts besides a project's own charges in its budget's currency, in that.

    spent: of its own in others; allocated: by rules, of all. converted: what of both was in others.
    """

    spent: Decimal = Decimal(0)
    allocated: Decimal = Decimal(0)
    converted: Conversion = NOTHING_CONVERTED


NOTHING_BESIDES = Besides()


def _summed(*more: ColumnElement[str]) -> Select[*tuple[Any, ...]]:
    by = (scope_owners.c.project_id, *DAY_AND_CURRENCY)
    day = charges.c.charge_period_start
    found = select(*by, func.sum(charges.c.billed_cost), *more).join_from(scope_owners, charges, OWNED)
    found = found.where(day >= bindparam("start"), day < bindparam("end"), COSTS).group_by(*by, *more)
    found = found.where(charges.c.billing_currency != bindparam("currency")).execution_options(yield_per=FETCHED)
    return among(found, scope_owners.c.project_id)


_FOREIGN, _FOREIGN_SERVICES = _summed(), _summed(charges.c.service_name)


def converted_within(connection: Connection, wanted: Iterable[Wanted]) -> dict[Key, Conversion]:
    """The projects' own charges in other currencies. A project without any has no entry."""
    return _converted(connection, _foreign(connection, wanted))


def add_converted(spent: dict[int, dict[tuple[Period, str], Decimal]], converted: Mapping[Key, Conversion]) -> None:
    """Adds to what projects spent, by period and currency, what of it was converted."""
    for (project_id, period, currency), found in converted.items():
        if period is None:
            continue
        its = spent.setdefault(project_id, {})
        its[period, currency] = add(its.get((period, currency), Decimal(0)), found.total)


def besides_within(connection: Connection, wanted: Iterable[Wanted], converts: bool) -> dict[Key, Besides]:
    """What counts for projects besides. A project for which nothing does has no entry. converts: whether others do."""
    spans = [each for each in wanted if each[2]]
    shares, others = shares_in(connection, spans, others=converts)
    own = converted_within(connection, spans) if converts else {}
    given = converted_shares(connection, others, spans)
    found = {}
    for each in {**shares, **own, **given}:
        charged, got = own.get(each, NOTHING_CONVERTED), given.get(each, NOTHING_CONVERTED)
        allocated = add(shares.get(each, Decimal(0)), got.total)
        found[each] = Besides(charged.total, allocated, together(charged, got))
    return found


def missing_before(
    connection: Connection, budgets: Iterable[tuple[int, Budget, Period | None]]
) -> dict[tuple[int, Period | None], tuple[Gap, ...]]:
    """What the charges lack that still decide what is carried into these periods."""
    earlier: dict[Wanted, tuple[int, Period | None]] = {}
    for project_id, budget, period in budgets:
        if period and (first := budget.decided_by(period).start) < period.start:
            earlier[project_id, Period(first, period.start), budget.terms.currency] = project_id, period
    found = converted_within(connection, earlier)
    return {its: without_rate(found[key]) for key, its in earlier.items() if key in found}


def converted_shares(
    connection: Connection, allocated: AllocatedByDay, wanted: Iterable[Wanted]
) -> dict[Key, Conversion]:
    """The same of what rules gave them in other currencies."""
    currencies = {(project_id, period): currency for project_id, period, currency in wanted}
    found: dict[Key, Foreign] = {}
    for (project_id, period, currency), by_day in allocated.items():
        to = currencies.get((project_id, period)) if period else None
        if period and to and currency != to:
            rows = found.setdefault((project_id, period, to), [])
            rows += [(day, currency, amount) for day, amount in sorted(by_day.items())]
    return _converted(connection, found)


def converted_services(connection: Connection, wanted: Iterable[Wanted]) -> dict[Key, dict[str, Decimal]]:
    """What projects' own charges in other currencies come to, by service; what has no rate is left out."""
    found: dict[Key, dict[str, Decimal]] = {}
    by_service: dict[str, dict[Key, Foreign]] = {}
    for key, (day, currency, amount, service) in _foreign_rows(connection, wanted, _FOREIGN_SERVICES):
        by_service.setdefault(service, {}).setdefault(key, []).append((day, currency, amount))
    for service, foreign in sorted(by_service.items()):
        for whose, conversion in _converted(connection, foreign).items():
            found.setdefault(whose, {})[service] = conversion.total
    return found


def _foreign(connection: Connection, wanted: Iterable[Wanted]) -> dict[Key, Foreign]:
    found: dict[Key, Foreign] = {}
    for key, (day, currency, amount) in _foreign_rows(connection, wanted, _FOREIGN):
        found.setdefault(key, []).append((day, currency, amount))
    return found


def _foreign_rows(
    connection: Connection, wanted: Iterable[Wanted], statement: Select[*tuple[Any, ...]]
) -> Iterator[tuple[Wanted, Sequence[Any]]]:
    # Many projects share a few periods and currencies: a statement for each.
    ids: dict[tuple[Period, str], set[int]] = {}
    for project_id, period, currency in wanted:
        if period and currency:
            ids.setdefault((period, currency), set()).add(project_id)
    for (period, to), some in ids.items():
        between = {"start": period.start, "end": period.end, "currency": to}
        for project_id, *row in select_among(connection, statement, sorted(some), **between):
            yield (project_id, period, to), row


def _converted(connection: Connection, foreign: Mapping[Key, Foreign]) -> dict[Key, Conversion]:
    if not foreign:
        return {}
    currencies = {to for _, _, to in foreign} | {currency for rows in foreign.values() for _, currency, _ in rows}
    days = [day for rows in foreign.values() for day, _, _ in rows]
    rates = rates_of(connection, currencies, Period(min(days), max(days) + DAY))
    return {key: convert(sorted(rows), key[2], rates) for key, rows in foreign.items()}
