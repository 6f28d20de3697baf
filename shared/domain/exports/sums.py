"""What the parts of a run come to: exact sums, which can be added in any order and are rounded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
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
        found: dict[str, Decimal] = {}
        for key, each in self.charges.items():
            found[key.currency] = _plus(found.get(key.currency, Decimal(0)), each.cost)
        return found

    def where(self, wanted: Callable[[ChargeKey], bool]) -> Sums:
        """Those of some charges only."""
        return self.parted(wanted)[0]

    def parted(self, wanted: Callable[[ChargeKey], bool]) -> tuple[Sums, Sums]:
        """Those of some charges, and the rest."""
        rest = {key: each for key, each in self.charges.items() if not wanted(key)}
        if not rest:
            return self, Sums()
        charges = {key: each for key, each in self.charges.items() if key not in rest}
        return self._of(charges), self._of(rest)

    def _of(self, charges: dict[ChargeKey, Sum]) -> Sums:
        groups = {key[:3] for key in charges}
        return Sums(charges, {key: name for key, name in self.group_names.items() if key in groups})

    def placed(self, period_of: Callable[[ChargeKey], date]) -> Sums:
        """The same with a billing period for each charge; those that are one then are counted together."""
        charges: dict[ChargeKey, Sum] = {}
        for key, each in self.charges.items():
            _count(charges, ChargeKey._make((*key[:6], period_of(key))), each)
        return Sums(charges, self.group_names)

    def some(self) -> Sums:
        """One of the charges, of those that are not 0 where there are such: whether there is anything."""
        spent = ((key, each) for key, each in self.charges.items() if stored(each.cost))
        one = next(spent, None) or next(iter(self.charges.items()), None)
        return self._of(dict([one] if one else []))

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
    for row in rows:
        owner = row.sub_account_id.strip() or row.billing_account_id.strip() or export.billing_account or export.id
        sub_account = sub_account_key(export.provider, owner)
        group = row.group.strip() if export.provider in WITH_GROUPS else ""
        key = ChargeKey(
            export.provider,
            sub_account,
            key_of_group(group),
            row.day,
            row.service.strip(),
            row.currency,
            row.billing_period,
        )
        _count(charges, key, Sum(row.cost, row.rows))
        _name(names, key[:3], group)
    return Sums(charges, names)


def added(parts: Iterable[Sums]) -> Sums:
    """What some parts come to together, in whatever order they come."""
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


def _plus(one: Decimal, other: Decimal) -> Decimal:
    try:
        total = SUMMING.add(one, other)
    except DecimalException:
        total = Decimal("NaN")
    if not total.is_finite():
        raise MoneyError(f"{one} and {other} have no exact sum")
    return total
