"""A bookkeeper who looks over the provider's shoulder, and works out slowly what is true.

Nothing of the app's is used here: what the provider's book says, what it served and when, and what follows from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import chain, combinations

DAY = timedelta(days=1)
Row = tuple[str, str, date]
"""account, resource group, day"""
Money = dict[str, Decimal]
"""amounts by currency"""


@dataclass(frozen=True)
class Owner:
    """A project: a resource group, and a budget of the calendar month, or of all days since one."""

    number: int
    account: str
    group: str
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
    """One answer, as true as the book was then: when it was begun, and for which days (`end` is not one of them)."""

    at: datetime
    account: str
    start: date
    end: date
    rows: dict[Row, Money]


@dataclass
class Oracle:
    """book: what is true. served: every answer that was true; credible: those that were not, and seemed so."""

    book: dict[Row, Money] = field(default_factory=dict)
    served: list[Served] = field(default_factory=list)
    credible: list[Served] = field(default_factory=list)

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

    def told(self, account: str, group: str, start: date, end: date, at: datetime) -> list[Money]:
        """What the answers until `at` say of a group's days, each day as the last that was about it.

        The first without, the others with some of those that were not true, and could not be told from it.
        """
        true = self._about(account, at)
        credible = {(each.start, each.end): each for each in self.credible if each.account == account and each.at <= at}
        mixed = [sorted([*true, *some], key=lambda each: each.at) for some in _subsets(list(credible.values()))]
        return [_said(answers, (account, group), start, end) for answers in mixed]

    def _about(self, account: str, at: datetime) -> list[Served]:
        return [each for each in self.served if each.account == account and each.at <= at]

    def true(self, owner: Owner, today: date) -> Money:
        """What the project has spent in the period that holds today."""
        start, end = owner.period_of(today)
        total: Money = {}
        for (account, group, day), money in self.book.items():
            if (account, group) == (owner.account, owner.group) and start <= day < end:
                _add(total, money)
        return _without_nothing(total)

    def currencies(self, owner: Owner, today: date) -> set[str]:
        """Those of the project's charges in the period that holds today; nothing has none."""
        start, end = owner.period_of(today)
        its = (
            money
            for (account, group, day), money in self.book.items()
            if (account, group) == (owner.account, owner.group) and start <= day < end
        )
        return {currency for money in its for currency, amount in money.items() if amount}


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


def _subsets(answers: list[Served]) -> Iterator[tuple[Served, ...]]:
    return chain.from_iterable(combinations(answers, count) for count in range(len(answers) + 1))


def _said(answers: list[Served], group: tuple[str, str], start: date, end: date) -> Money:
    total: Money = {}
    for day in days(start, end):
        last = next((each for each in reversed(answers) if each.start <= day < each.end), None)
        if last is not None:
            _add(total, last.rows.get((*group, day), {}))
    return _without_nothing(total)


def _add(total: Money, money: Money) -> None:
    for currency, amount in money.items():
        total[currency] = total.get(currency, Decimal(0)) + amount


def _without_nothing(total: Money) -> Money:
    return {currency: amount for currency, amount in total.items() if amount}
