"""What the parts of a run come to: exact sums, which can be added in any order and are rounded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from functools import reduce
from typing import NamedTuple

from shared.domain.charges import ChargeSet, key_of_group
from shared.domain.exports.runs import Export
from shared.domain.money import MoneyError, stored
from shared.domain.projects import WITH_GROUPS, sub_account_key

# Costs that need more digits than these have no exact sum here, and no provider's do.
SUMMING = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow])


class Row(NamedTuple):
    """Rows of a part that a reader has summed: exactly, and as they are spelled.

    sub_account_id, group: empty where they have none. billing_period: None where they name none.
    """

    sub_account_id: str
    group: str
    day: date
    service: str
    currency: str
    billing_period: date | None
    cost: Decimal
    rows: int = 1
    billing_account_id: str = ""


class ChargeKey(NamedTuple):
    """What makes rows one charge. No part is ever null, but the period where the rows name none."""

    provider: str
    sub_account: str
    group_key: str
    day: date
    service: str
    currency: str
    billing_period: date | None


class Sum(NamedTuple):
    """An exact cost, and how many rows it is of."""

    cost: Decimal
    rows: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What a part, or some parts together, come to.

    group_names: one spelling of each group, by provider, sub-account and key: the same in whatever order parts come.
    """

    charges: Mapping[ChargeKey, Sum] = field(default_factory=dict)
    group_names: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows of files they are of."""
        return sum(each.rows for each in self.charges.values())

    @property
    def totals(self) -> dict[str, Decimal]:
        """What they come to by currency, exactly."""
        costs: dict[str, list[Decimal]] = {}
        for key, each in self.charges.items():
            costs.setdefault(key.currency, []).append(each.cost)
        return {currency: reduce(_plus, its, Decimal(0)) for currency, its in costs.items()}

    def where(self, wanted: Callable[[ChargeKey], bool]) -> Sums:
        """Those of some charges only."""
        charges = {key: each for key, each in self.charges.items() if wanted(key)}
        groups = {key[:3] for key in charges}
        return Sums(charges, {key: name for key, name in self.group_names.items() if key in groups})

    def parted(self, wanted: Callable[[date, date | None], bool]) -> tuple[Sums, Sums]:
        """Those of some days and billing periods, and the rest: there are few of these, and a great many charges."""
        is_wanted = {each: wanted(*each) for each in self.days}
        if all(is_wanted.values()):
            return self, Sums()
        return self.where(lambda key: is_wanted[key[3], key[6]]), self.where(lambda key: not is_wanted[key[3], key[6]])

    def placed(self, period_of: Callable[[date, date | None], date]) -> Sums:
        """The same with a billing period for each charge, by day and the period that its rows name.

        Those that are one charge then are counted together.
        """
        periods = {each: period_of(*each) for each in self.days}
        if all(each[1] == period for each, period in periods.items()):
            return self
        charges: dict[ChargeKey, Sum] = {}
        for key, each in self.charges.items():
            _count(charges, ChargeKey._make((*key[:6], periods[key[3], key[6]])), each)
        return Sums(charges, self.group_names)

    @property
    def days(self) -> set[tuple[date, date | None]]:
        """The days of charges, each with the billing periods that rows name: few, where there is a great many rows."""
        return {(key[3], key[6]) for key in self.charges}

    def some(self) -> Sums:
        """One of the charges, of those that are not 0 where there are such: whether there is anything."""
        spent = ((key, each) for key, each in self.charges.items() if stored(each.cost))
        one = next(spent, None) or next(iter(self.charges.items()), None)
        return Sums(dict([one]), {one[0][:3]: self.group_names[one[0][:3]]}) if one else Sums()

    def rounded(self) -> dict[ChargeKey, Decimal]:
        """What is stored of each charge. This happens once, when all parts are in and each charge has its period."""
        return {key: stored(each.cost) for key, each in self.charges.items()}

    def charge_sets(self) -> list[ChargeSet]:
        """What is stored of one sub-account, as any source answers it: a set a currency, whatever the period."""
        sets: dict[str, ChargeSet] = {}
        for key, cost in self.rounded().items():
            charges = sets.setdefault(key.currency, ChargeSet())
            charges.add(self.group_names[key[:3]], key.day, key.service, cost, key.currency)
        return [sets[currency] for currency in sorted(sets)]


def sums_of(rows: Iterable[Row], export: Export) -> Sums:
    """What rows of an export come to. A charge without a sub-account belongs to its billing account.

    Raises MoneyError for what has no exact sum.
    """
    charges: dict[ChargeKey, Sum] = {}
    names: dict[tuple[str, str, str], str] = {}
    # A great many rows are of few groups.
    places: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for row in rows:
        spelled = row.sub_account_id, row.group, row.billing_account_id
        if spelled not in places:
            places[spelled] = _place(*spelled, export)
            _name(names, places[spelled], _group(row.group, export))
        key = ChargeKey._make((*places[spelled], row.day, row.service.strip(), row.currency, row.billing_period))
        _count(charges, key, Sum(row.cost, row.rows))
    return Sums(charges, names)


def _place(sub_account_id: str, group: str, billing_account_id: str, export: Export) -> tuple[str, str, str]:
    owner = sub_account_id.strip() or billing_account_id.strip() or export.billing_account or export.id
    return export.provider, sub_account_key(export.provider, owner), key_of_group(_group(group, export))


def _group(group: str, export: Export) -> str:
    return group.strip() if export.provider in WITH_GROUPS else ""


def added(parts: Iterable[Sums]) -> Sums:
    """What some parts come to together, in whatever order they come."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    charges: dict[ChargeKey, Sum] = {}
    names: dict[tuple[str, str, str], str] = {}
    for part in parts:
        for key, each in part.charges.items():
            _count(charges, key, each)
        for group, name in part.group_names.items():
            _name(names, group, name)
    return Sums(charges, names)


def _count(charges: dict[ChargeKey, Sum], key: ChargeKey, more: Sum) -> None:
    before = charges.get(key)
    charges[key] = more if before is None else Sum(_plus(before.cost, more.cost), before.rows + more.rows)


def _name(names: dict[tuple[str, str, str], str], group: tuple[str, str, str], name: str) -> None:
    names[group] = max(names.get(group, ""), name)


def totals_of(every: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """What several totals come to, by currency, exactly."""
    totals: dict[str, Decimal] = {}
    for each in every:
        for currency, more in each.items():
            totals[currency] = _plus(totals.get(currency, Decimal(0)), more)
    return totals


def _plus(one: Decimal, other: Decimal) -> Decimal:
    try:
        total = SUMMING.add(one, other)
    except DecimalException:
        total = Decimal("NaN")
    if not total.is_finite():
        raise MoneyError(f"{one} and {other} have no exact sum")
    return total
