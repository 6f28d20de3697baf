"""Why what is stored of a month is another sum than what its provider's API says, or what exports have delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from shared.domain.coverage import DAY, ROUNDING, Coverage, Known
from shared.domain.exports.feeding import Fed
from shared.domain.exports.runs import ExportRun, RunState
from shared.domain.money import EXACT
from shared.domain.periods import Period

Counted = Mapping[str, tuple[Decimal, int]]
"""What stored charges come to, and how many they are, by currency"""
Totals = Mapping[str, Decimal]
"""By currency"""
# A run that is found, and whose charges are not stored (yet).
NOT_IMPORTED = (RunState.WAITING, RunState.IMPORTING, RunState.FAILED)


class Cause(StrEnum):
    """Why two sums differ, in the order in which that is looked for."""

    ROUNDING = "rounding"
    CURRENCY = "currency"
    METRIC = "amortized"
    PERIOD = "billing period"
    UNREAD = "not read yet"
    NEWER = "newer run"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Difference:
    """What one cause makes others say more than is stored, by currency. why: a sentence without its end."""

    amounts: Totals
    cause: Cause
    why: str


@dataclass
class Explained:
    """What others say more than is stored: what causes explain of it, and what is left."""

    left: Totals
    found: list[Difference] = field(default_factory=list)

    def explain(self, amounts: Totals, cause: Cause, why: str) -> None:
        """Takes what a cause comes to out of what is left, in the currencies in which something is."""
        if its := {currency: amount for currency, amount in amounts.items() if amount and self.left.get(currency)}:
            self.add(Difference(its, cause, why))

    def add(self, difference: Difference) -> None:
        """The same, as it is."""
        self.found.append(difference)
        self.left = more_in(self.left, difference.amounts)

    def in_all(self, why: str) -> list[Difference]:
        """All of it: what is left is unexplained, and why."""
        self.explain(self.left, Cause.UNEXPLAINED, why)
        return self.found


@dataclass(frozen=True, slots=True)
class Said:
    """What is stored of some days, and what others say of them."""

    days: Period
    stored: Counted
    others: Totals

    @property
    def amounts(self) -> dict[str, Decimal]:
        """What is stored, by currency."""
        return amounts_of(self.stored)

    @property
    def more(self) -> dict[str, Decimal]:
        """What others say more than is stored."""
        return more_in(self.others, self.amounts)

    @property
    def rounding(self) -> dict[str, Decimal]:
        """What of that may come of each stored charge being rounded."""
        return rounding_in(self.more, self.stored)

    @property
    def is_in_other_currencies(self) -> bool:
        """Whether the two have no currency in common, so that nothing can be compared."""
        ours, theirs = ({each for each, amount in totals.items() if amount} for totals in (self.amounts, self.others))
        return bool(ours and theirs) and not ours & theirs


def more_in(others: Totals, stored: Totals) -> dict[str, Decimal]:
    """What the others come to beyond what is stored, by currency; those that are equal are left out."""
    none = Decimal(0)
    found = {each: EXACT.subtract(others.get(each, none), stored.get(each, none)) for each in {*others, *stored}}
    return {currency: found[currency] for currency in sorted(found) if found[currency]}


def amounts_of(stored: Counted) -> dict[str, Decimal]:
    """The sums alone."""
    return {currency: amount for currency, (amount, _) in stored.items()}


def rounding_in(more: Totals, stored: Counted) -> dict[str, Decimal]:
    """The differences that rounding each of these charges can make, by currency."""
    none = Decimal(0), 0
    return {each: amount for each, amount in more.items() if abs(amount) <= ROUNDING * stored.get(each, none)[1]}


def come_later(more: Totals, stored: Totals) -> dict[str, Decimal]:
    """What can have come since it was read: what is more than is stored, and anything where nothing is stored.

    That charges are gone is no sign of that they came late.
    """
    return {currency: amount for currency, amount in more.items() if amount > 0 or not stored.get(currency)}


def days_read(known: Iterable[Coverage | None], days: Period) -> Period | None:
    """The days of a month that all of these have read; None where one has read none."""
    each_read = [
        Period(each.read_from, each.read_through + DAY) if each and each.read_from and each.read_through else None
        for each in known
    ]
    read = [each for each in each_read if each]
    if not read or len(read) < len(each_read):
        return None
    both: Period | None = days
    for each in read:
        both = both and overlap(both, each)
    return both


def newer_run(
    runs: Iterable[tuple[ExportRun, RunState]], known: Iterable[Coverage], days: Period
) -> tuple[ExportRun, RunState] | None:
    """The newest run of these days that is found and not stored (yet), and is newer than what is known of them."""
    read_at = [each.begun_at for each in known if each.begun_at]
    newer = [
        (run, state)
        for run, state in runs
        if state in NOT_IMPORTED
        and (run.days is None or overlap(run.days, days))
        and all(run.at > at for at in read_at)
    ]
    return max(newer, key=lambda each: each[0].age, default=None)


def overlap(one: Period, other: Period) -> Period | None:
    """The days of both; None where there are none."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Period(start, end) if start < end else None


def of_month(known: Mapping[Fed, Known], days: Period) -> list[Coverage | None]:
    """What is known of a month, by each of those who feed some of it."""
    return [each.get(days.start) for each in known.values()]
