"""A bookkeeper who looks over the provider's shoulder, and works out slowly what is true.

Nothing of the app's is used here: what the provider's book says, what it served and when, and what follows from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import chain, combinations

DAY = timedelta(days=1)
Row = tuple[str, str, date]
"""account, resource group, day"""
Place = tuple[str, str]
"""account, resource group"""
Money = dict[str, Decimal]
"""amounts by currency"""
Book = dict[Row, Money]
# What dollars of a day are worth counts so long where no later day has any.
RATES_LAST = 7


@dataclass(frozen=True)
class Owner:
    """A project: what it has in which clouds, and a budget of the calendar month, or of all days since one."""

    number: int
    places: tuple[Place, ...]
    amount: Decimal
    currency: str
    since: date | None = None

    def period_of(self, day: date) -> tuple[date, date]:
        """The period that holds the day: its first day, and the one after its last."""
        if self.since is not None:
            return self.since, date(self.since.year + 1, self.since.month, 1)
        return first_of(day), next_month(day)


@dataclass(frozen=True)
class Served:
    """One answer, as true as the book was then: when it was begun, and for which days (`end` is not one of them).

    lost: whoever asked died of it, perhaps before it was stored.
    """

    at: datetime
    account: str
    start: date
    end: date
    rows: Book
    lost: bool = False


@dataclass
class Oracle:
    """book: what is true. served: every answer that was true; credible: those that were not, and seemed so.

    worth: what a dollar is in the budgets' currency, by the day on which that was set; None: nothing is converted.
    """

    book: Book = field(default_factory=dict)
    served: list[Served] = field(default_factory=list)
    credible: list[Served] = field(default_factory=list)
    worth: dict[date, Fraction] | None = None

    def charge(self, account: str, group: str, day: date, amount: Decimal, currency: str) -> None:
        """A charge comes, or is restated."""
        self.book[account, group, day] = {currency: amount}

    def serve(self, at: datetime, account: str, start: date, end: date) -> None:
        """The provider answers truly."""
        rows = {row: dict(money) for row, money in self.book.items() if row[0] == account and start <= row[2] < end}
        self.served.append(Served(at, account, start, end, rows))

    def serve_nothing(self, at: datetime, account: str, start: date, end: date, nights: int) -> None:
        """The provider answers without any charge, which is not true, for so many nights in a row.

        It may be believed on the third (what an earlier night has put off counts for that one).
        """
        known = [each for each in self._about(account, at) if each.start < end and start < each.end]
        if nights >= 2 or not any(start <= row[2] < end for each in known for row in each.rows):
            self.credible.append(Served(at, account, start, end, {}))

    def told(self, place: Place, start: date, end: date, at: datetime) -> list[Money]:
        """What the answers until `at` say of a place's days, each day as the last that was about it.

        The first without, the others with some of those that were not true, and could not be told from it.
        """
        true = self._about(place[0], at)
        credible = {
            (each.start, each.end): each for each in self.credible if each.account == place[0] and each.at <= at
        }
        mixed = [sorted([*true, *some], key=lambda each: each.at) for some in _subsets(list(credible.values()))]
        return [_said(answers, place, start, end) for answers in mixed]

    def lose(self, first: int) -> None:
        """Whoever asked for these answers, from the first on, has died."""
        self.served[first:] = [replace(each, lost=True) for each in self.served[first:]]

    def possible(self, place: Place, day: date, at: datetime) -> list[Money]:
        """What may be stored of a day, where all of it is said to be as of `at` or later: parts of a month are read one
        by one.
        """
        about = [each for each in self.served if each.account == place[0] and each.start <= day < each.end]
        possible, is_sure = [], False
        for each in sorted(about, key=lambda each: each.at, reverse=True):
            possible.append(_without_nothing(each.rows.get((*place, day), {})))
            is_sure = each.at <= at and not each.lost
            if is_sure:
                break
        blank = any(each.account == place[0] and each.start <= day < each.end for each in self.credible)
        return possible if is_sure and not blank else [*possible, {}]

    def _about(self, account: str, at: datetime) -> list[Served]:
        return [each for each in self.served if each.account == account and each.at <= at]

    def spent(self, owner: Owner, book: Book, start: date, end: date) -> Decimal:
        """What the project has spent by some book on these days, as far as that can be said in its own currency."""
        total = Decimal(0)
        for day, money in _by_day(owner, book, start, end).items():
            for currency, amount in money.items():
                total += amount if currency == owner.currency else self._converted(amount, day) or Decimal(0)
        return total

    def left_out(self, owner: Owner, book: Book, start: date, end: date) -> bool:
        """Whether some of what it has spent on these days can't be said in its currency."""
        return any(
            amount and currency != owner.currency and self._converted(amount, day) is None
            for day, money in _by_day(owner, book, start, end).items()
            for currency, amount in money.items()
        )

    def _converted(self, amount: Decimal, day: date) -> Decimal | None:
        """Dollars of a day, rounded half-even to ten places; None where nobody knows."""
        before = [self.worth[each] for each in days(day - RATES_LAST * DAY, day + DAY) if each in (self.worth or {})]
        return Decimal(round(Fraction(amount) * before[-1] * 10**10)).scaleb(-10) if before else None


def first_of(day: date) -> date:
    """The month's first day."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The next month's first day."""
    return first_of(first_of(day) + 31 * DAY)


def months(first: date, last: date) -> Iterator[date]:
    """The first days of the months from `first`'s to `last`'s."""
    month = first_of(first)
    while month <= last:
        yield month
        month = next_month(month)


def days(start: date, end: date) -> Iterator[date]:
    """The days from `start` up to before `end`."""
    while start < end:
        yield start
        start += DAY


def reached(amount: Decimal, spent: Decimal, thresholds: tuple[int, ...]) -> int:
    """The highest threshold that is reached; 0 where none is."""
    return max((each for each in thresholds if spent * 100 >= amount * each), default=0)


def _by_day(owner: Owner, book: Book, start: date, end: date) -> dict[date, Money]:
    """What of a book is the project's, all its places together."""
    by_day: dict[date, Money] = {}
    for (account, group, day), money in book.items():
        if (account, group) in owner.places and start <= day < end:
            _add(by_day.setdefault(day, {}), money)
    return by_day


def _subsets(answers: list[Served]) -> Iterator[tuple[Served, ...]]:
    return chain.from_iterable(combinations(answers, count) for count in range(len(answers) + 1))


def _said(answers: list[Served], place: Place, start: date, end: date) -> Money:
    total: Money = {}
    for day in days(start, end):
        last = next((each for each in reversed(answers) if each.start <= day < each.end), None)
        if last is not None:
            _add(total, last.rows.get((*place, day), {}))
    return _without_nothing(total)


def _add(total: Money, money: Money) -> None:
    for currency, amount in money.items():
        total[currency] = total.get(currency, Decimal(0)) + amount


def _without_nothing(total: Money) -> Money:
    return {currency: amount for currency, amount in total.items() if amount}
