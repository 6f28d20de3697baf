"""Charges as the provider reports them: what one resource group cost on one day for one service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from itertools import repeat
from typing import TypeVar

from shared.domain.money import EXACT, STORED_PLACES, add, stored
from shared.domain.periods import Period
from shared.domain.texts import fitting, units

Key = tuple[str, date, str]
"""What makes a charge one: group key, day, service."""
MeterKey = tuple[str, date, str, str]
"""What makes a part of a charge one: the charge's key, and the meter (FOCUS: SkuMeter; AWS: usage type)."""
# The longest names of a service, a meter and a group that can be stored, on every database.
LONGEST_SERVICE = LONGEST_METER = 200
LONGEST_GROUP = 100
AnyKey = TypeVar("AnyKey", Key, MeterKey)
# A charge without a service is shown by Azure's own portal under this word; an empty line in a mail says nothing.
NO_SERVICE = "Unassigned"


class CostMetric(StrEnum):
    """Which of two costs is counted: as billed, or with purchases spread over their terms."""

    ACTUAL = "ActualCost"
    AMORTIZED = "AmortizedCost"


class TwoCurrenciesError(ValueError):
    """An answer that mixes currencies, which are never added."""


@dataclass(slots=True)
class ChargeSet:
    """The charges of one sub-account in one window, in one currency.

    amounts: billed cost by (group key, day, service), as plain tuples: there are millions of them.
    group_names: the group's name as the provider first spelled it, by group key. meters: what the amounts are made of,
    where meters were asked for: each amount is the sum of its meters'.
    """

    billing_currency: str | None = None
    amounts: dict[Key, Decimal] = field(default_factory=dict)
    group_names: dict[str, str] = field(default_factory=dict)
    meters: dict[MeterKey, Decimal] = field(default_factory=dict)

    def add(self, group: str, day: date, service: str, billed_cost: Decimal, currency: str) -> None:
        """Counts one row in; rows of the same group (in any spelling), day and service are one charge.

        Raises TwoCurrenciesError for another currency than that of the rows before.
        """
        if self.billing_currency not in (None, currency):
            raise TwoCurrenciesError(f"amounts in {self.billing_currency} and in {currency}")
        self.billing_currency = currency
        group_key = key_of_group(group)
        self.group_names.setdefault(group_key, group)
        # No blanks around a name are a part of it: SQL Server would take two names for one.
        key = (group_key, day, service.strip())
        before = self.amounts.get(key)
        self.amounts[key] = billed_cost if before is None else add(before, billed_cost)

    def rounded(self) -> ChargeSet:
        """The same charges, each rounded to the places that are stored: this happens once, and here."""
        amounts = {key: stored(amount) for key, amount in self.amounts.items()}
        return ChargeSet(self.billing_currency, amounts, self.group_names)

    def of_groups(self, group_keys: Container[str]) -> ChargeSet:
        """The charges of these groups only."""
        amounts = {key: amount for key, amount in self.amounts.items() if key[0] in group_keys}
        names = {key: name for key, name in self.group_names.items() if key in group_keys}
        meters = {key: amount for key, amount in self.meters.items() if key[0] in group_keys}
        return ChargeSet(self.billing_currency, amounts, names, meters)

    def since(self, day: date) -> ChargeSet:
        """The charges of this day and later."""
        return self.on_days(Period(day, date.max), ())

    def on_days(self, days: Period, but_groups: Container[str]) -> ChargeSet:
        """The charges of these days, without those of some groups."""
        amounts = {key: cost for key, cost in self.amounts.items() if key[1] in days and key[0] not in but_groups}
        names = {key: name for key, name in self.group_names.items() if key not in but_groups}
        meters = {key: cost for key, cost in self.meters.items() if key[1] in days and key[0] not in but_groups}
        return ChargeSet(self.billing_currency, amounts, names, meters)


def key_of_group(name: str) -> str:
    """A resource group's name without regard to case and surrounding blanks, as it is compared and stored."""
    return name.strip().lower()


def group_name(text: str) -> str:
    """A group's name as it can be stored. What is longer than any is no project's, and is kept, cut, for its cost."""
    name = fitting(text, LONGEST_GROUP, "")
    if units(key_of_group(name)) > LONGEST_GROUP:  # a letter such as İ is longer in lower case
        name = fitting(key_of_group(name), LONGEST_GROUP, "")
    return name


def service_name(text: str) -> str:
    """A service as it can be stored: a label, so it may be cut."""
    return fitting(text.strip(), LONGEST_SERVICE, "").rstrip() or NO_SERVICE


def meter_name(text: str) -> str:
    """A meter as it can be stored: a label too."""
    return fitting(text.strip(), LONGEST_METER, "").rstrip()


def metered_columns(
    days: Iterable[date], services: Iterable[str], meters: Iterable[str], costs: Iterable[Decimal], currency: str
) -> ChargeSet:
    """Rows of meters outside of any group, given as columns: each meter's cost is rounded for storing, once, and a
    charge is what its meters come to.
    """
    keys = [("", *key) for key in zip(days, services, meters, strict=True)]
    of_meters = {key: stored(cost) for key, cost in _summed(zip(keys, costs, strict=True)).items()}
    amounts = _summed((key[:3], cost) for key, cost in of_meters.items())
    return ChargeSet(currency, amounts, {"": ""}, of_meters)


def rounded_columns(
    groups: Sequence[str], days: Iterable[date], services: Iterable[str], costs: Sequence[Decimal], currency: str
) -> ChargeSet:
    """Rows given as columns of one length: what `add` for each row, and `rounded` after them, make of them.

    There are millions of rows a night, and worked through by column hardly any Python runs between them.
    """
    keys_of_groups = {name: key_of_group(name) for name in dict.fromkeys(groups)}
    names: dict[str, str] = {}
    for name, group_key in keys_of_groups.items():
        names.setdefault(group_key, name)
    keys = list(zip(map(keys_of_groups.__getitem__, groups), days, map(str.strip, services), strict=True))
    # `stored`, without a call of ours for each row. Where no key comes twice, a row is a charge and is rounded as one.
    rounded = map(EXACT.quantize, costs, repeat(STORED_PLACES))
    amounts = dict(zip(keys, rounded, strict=True))
    if len(amounts) < len(keys):
        repeated = {key for key, rows in Counter(keys).items() if rows > 1}
        sums = _summed((key, cost) for key, cost in zip(keys, costs, strict=True) if key in repeated)
        amounts |= {key: stored(total) for key, total in sums.items()}
    return ChargeSet(currency, amounts, names)


def _summed(rows: Iterable[tuple[AnyKey, Decimal]]) -> dict[AnyKey, Decimal]:
    sums: dict[AnyKey, Decimal] = {}
    for key, cost in rows:
        sums[key] = add(sums[key], cost) if key in sums else cost
    return sums
