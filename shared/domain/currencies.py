"""Amounts in another currency: exact, repeatable, and rounded once.

A charge converts at its own day's rate. The European Central Bank sets none on weekends and holidays: then the last one
before counts, up to a week; after that nobody knows it, and nobody guesses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from shared.domain.money import EXACT, add, stored
from shared.domain.periods import Period

# Since when one euro is worth so much for good: what became the euro has no rates of days any more, and needs none.
# (Council Regulations of 2022-07-12 and 2025-07-08; the rates may not be rounded.)
ONE_WITH_THE_EURO = {
    "EUR": (date.min, Decimal(1)),
    "HRK": (date(2023, 1, 1), Decimal("7.53450")),
    "BGN": (date(2026, 1, 1), Decimal("1.95583")),
}
# How long a rate counts where no later one was set.
LASTS = timedelta(days=7)

# So many working days without a new rate are more than holidays make.
OLD_AFTER = 5
SATURDAY = 5


class Converting(StrEnum):
    """By whose rates amounts in other currencies are converted, if they are."""

    OFF = "off"
    ECB = "ecb"


def is_old(newest: date, today: date) -> bool:
    """Whether rates should have been set since the newest ones, whatever holidays there were."""
    days = (newest + timedelta(days=each) for each in range(1, (today - newest).days + 1))
    return sum(day.weekday() < SATURDAY for day in days) > OLD_AFTER


class RateSource(StrEnum):
    """Who says what a currency is worth."""

    ECB = "ecb"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class FixedRate:
    """What one `base` is worth in `to` on these days, as the organization has set it for its budgets."""

    base: str
    to: str
    days: Period
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """What an amount is multiplied with and then divided by. day: on which the rate was set; None where it is fixed."""

    multiplier: Decimal
    divisor: Decimal
    source: RateSource
    day: date | None

    def converted(self, amount: Decimal) -> Decimal:
        """The amount in the other currency, rounded half-even to the places that are stored.

        The quotient's 80 digits hide no tie: what is none differs from one by more than their last.
        """
        return stored(EXACT.divide(EXACT.multiply(amount, self.multiplier), self.divisor))


@dataclass(frozen=True, slots=True)
class Conversion:
    """Sums in one currency, made of those in others.

    by_day: of each day, rounded once for each currency. missing: the first day of each currency for which nobody knows
    a rate; its amounts are in no sum. sources, last_rate_day: of what was used.
    """

    by_day: Mapping[date, Decimal] = field(default_factory=dict)
    missing: Mapping[str, date] = field(default_factory=dict)
    sources: frozenset[RateSource] = frozenset()
    last_rate_day: date | None = None

    @property
    def total(self) -> Decimal:
        """All that could be converted."""
        total = Decimal(0)
        for amount in self.by_day.values():
            total = add(total, amount)
        return total

    @property
    def summed(self) -> ConvertedSum:
        """The same without its days."""
        return ConvertedSum(self.total, self.sources, self.last_rate_day)

    def __str__(self) -> str:
        """As `ConvertedSum` says it."""
        return str(self.summed)


@dataclass(frozen=True, slots=True)
class ConvertedSum:
    """An amount that was made of others in other currencies. sources, last_rate_day: of the rates that were used."""

    amount: Decimal
    sources: frozenset[RateSource]
    last_rate_day: date | None

    def __str__(self) -> str:
        """By whose rates, as the end of a sentence; empty where nothing was converted."""
        newest = f" (the newest of {self.last_rate_day})" if self.last_rate_day else ""
        words = {RateSource.ECB: f"the ECB's rates{newest}", RateSource.FIXED: "fixed rates"}
        return " and ".join(text for source, text in words.items() if source in self.sources)


def together(one: Conversion, other: Conversion) -> Conversion:
    """Both, of one currency."""
    by_day = dict(one.by_day)
    for day, amount in other.by_day.items():
        by_day[day] = add(by_day.get(day, Decimal(0)), amount)
    missing = {
        currency: min(each.missing[currency] for each in (one, other) if currency in each.missing)
        for currency in {**one.missing, **other.missing}
    }
    days = [each.last_rate_day for each in (one, other) if each.last_rate_day]
    return Conversion(by_day, missing, one.sources | other.sources, max(days, default=None))


@dataclass(frozen=True, slots=True)
class Jump:
    """A rate of a day, and one of that day or of one next to it, which is more than a third off."""

    currency: str
    day: date
    worth: Decimal
    other_day: date
    other: Decimal


class Rates:
    """What currencies are worth. per_euro: units for one euro, by currency and day. fixed: what counts before those."""

    def __init__(self, per_euro: Mapping[str, Mapping[date, Decimal]], fixed: Iterable[FixedRate] = ()) -> None:
        self._per_euro = per_euro
        self._days = {currency: sorted(rates) for currency, rates in per_euro.items()}
        self._fixed: dict[tuple[str, str], list[FixedRate]] = {}
        for each in fixed:
            self._fixed.setdefault((each.base, each.to), []).append(each)
        self._known: dict[tuple[str, str, date], Rate | None] = {}

    def rate(self, base: str, to: str, day: date) -> Rate | None:
        """What an amount of a day is converted by: of one day for both currencies. None where nobody knows."""
        key = (base, to, day)
        if key not in self._known:
            self._known[key] = self._fixed_rate(*key) or self._set_rate(*key)
        return self._known[key]

    def jumps(self, given: Iterable[tuple[date, str, Decimal]]) -> Iterator[Jump]:
        """The given rates that are more than a third off what is known of their day, or known or given of the days next
        to it that have one: at most one jump for each."""
        new: defaultdict[str, dict[date, Decimal]] = defaultdict(dict)
        for day, currency, worth in given:
            new[currency][day] = worth
        for currency, rates in sorted(new.items()):
            known = self._per_euro.get(currency, {})
            after = {**known, **rates}
            beside = [(day, rates[day], day, known[day]) for day in sorted(rates.keys() & known.keys())]
            for one, next_one in pairwise(sorted(after)):
                if next_one in rates:
                    beside.append((next_one, rates[next_one], one, after[one]))
                elif one in rates:
                    beside.append((one, rates[one], next_one, after[next_one]))
            found = {each[0]: Jump(currency, *each) for each in reversed(beside) if _is_a_third_off(each[1], each[3])}
            yield from (found[day] for day in sorted(found))

    def _fixed_rate(self, base: str, to: str, day: date) -> Rate | None:
        # Of two for the same day, the one that was set last.
        for each in reversed(self._fixed.get((base, to), [])):
            if day in each.days:
                return Rate(each.rate, Decimal(1), RateSource.FIXED, None)
        return None

    def _set_rate(self, base: str, to: str, day: date) -> Rate | None:
        needed = {each for each in (base, to) if _euros_worth(each, day) is None}
        if not needed <= self._per_euro.keys():
            return None
        fewest = min(needed, key=lambda each: len(self._days[each]), default=None)
        for set_on in self._days_before(fewest, day) if fewest else (day,):
            if all(set_on in self._per_euro[currency] for currency in needed):
                return Rate(self._worth(to, day, set_on), self._worth(base, day, set_on), RateSource.ECB, set_on)
        return None

    def _days_before(self, currency: str, day: date) -> Iterable[date]:
        """The days on which its rate was set that may count for a day, the latest first."""
        days = self._days[currency]
        for place in range(bisect_right(days, day) - 1, -1, -1):
            if day - days[place] > LASTS:
                return
            yield days[place]

    def _worth(self, currency: str, day: date, set_on: date) -> Decimal:
        return _euros_worth(currency, day) or self._per_euro[currency][set_on]


def _is_a_third_off(one: Decimal, other: Decimal) -> bool:
    # Of what the ECB has set in one day since 1999, five rates were: the last one in 2021.
    return 3 * max(one, other) > 4 * min(one, other)


def _euros_worth(currency: str, day: date) -> Decimal | None:
    """What one euro is worth for good in a currency that is one with it on a day; None for any other."""
    since, worth = ONE_WITH_THE_EURO.get(currency, (None, None))
    return worth if since and day >= since else None


def convert(sums: Iterable[tuple[date, str, Decimal]], to: str, rates: Rates) -> Conversion:
    """Sums of days in their currencies, each day and currency once, in one currency; what is in it stays as it is."""
    by_day: dict[date, Decimal] = {}
    missing: dict[str, date] = {}
    sources, days = set[RateSource](), set[date]()
    for day, currency, amount in sums:
        if currency == to:
            by_day[day] = add(by_day.get(day, Decimal(0)), amount)
            continue
        rate = rates.rate(currency, to, day)
        if rate is None:
            missing[currency] = min(day, missing.get(currency, day))
            continue
        by_day[day] = add(by_day.get(day, Decimal(0)), rate.converted(amount))
        sources.add(rate.source)
        days.update([rate.day] if rate.day else [])
    return Conversion(by_day, missing, frozenset(sources), max(days, default=None))
