"""What the simulated subscriptions have spent: charges by resource group, service and day.

A `ChargeBook` answers "which rows does this subscription have on this day". It holds charges that were set one by
one, and can stand on a `ChargeSource` that makes its rows when they are asked for, so that millions of rows need
no memory. Amounts are decimal text or `Decimal`, in the charge's currency; they never pass through a float.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Context, Decimal
from threading import RLock
from typing import Protocol

EXACT = Context(prec=100)
"""Wide enough that no sum or product of amounts is ever rounded."""

Row = tuple[str, str, str, str]
"""One row of a day: resource group, service, currency, amount as plain decimal text."""

Key = tuple[str, str, str]
"""What makes a row of a day unique: resource group in lower case, service, currency."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one service cost in one resource group on one UTC day; `group` may be empty (a purchase)."""

    subscription: str
    group: str
    service: str
    day: date
    currency: str
    amount: Decimal

    @property
    def key(self) -> Key:
        """What makes the charge unique within its subscription and day."""
        return (self.group.lower(), self.service, self.currency)

    @property
    def row(self) -> Row:
        """The charge as a row of its day."""
        return (self.group, self.service, self.currency, plain(self.amount))


class ChargeSource(Protocol):
    """Makes a subscription's rows of one day, the same ones each time; ids come in lower case."""

    def subscriptions(self) -> Iterable[str]:
        """The ids of the subscriptions that it can answer for."""

    def rows(self, subscription: str, day: date) -> list[Row]:
        """The rows of that day, each key once; an empty list where there is nothing."""

    def sample(self, subscription: str) -> list[Row]:
        """The rows of one day on which every group of the subscription has some."""


def plain(amount: Decimal) -> str:
    """The amount's digits as JSON takes them, without an exponent."""
    return format(amount, "f")


def days_between(first: date, last: date) -> Iterator[date]:
    """Every day from the first to the last, both included."""
    return (first + timedelta(days=offset) for offset in range((last - first).days + 1))


def row_key(row: Row) -> Key:
    """What makes the row unique within its day."""
    return (row[0].lower(), row[1], row[2])


class ChargeBook:
    """The charges of all simulated subscriptions; safe to change while the simulator answers from it."""

    def __init__(self, charges: Iterable[Charge] = (), source: ChargeSource | None = None) -> None:
        self._lock = RLock()
        self._source = source
        self._subscriptions: set[str] = set()
        # Per subscription and day: what differs from the source.
        self._changes: dict[tuple[str, date], dict[Key, Row]] = {}
        self._versions: dict[tuple[str, date], int] = {}
        for subscription in source.subscriptions() if source else ():
            self.add_subscription(subscription)
        self.add(charges)

    def add_subscription(self, subscription: str) -> None:
        """Makes a subscription known, without charges of its own."""
        self._subscriptions.add(subscription.lower())

    def subscriptions(self) -> frozenset[str]:
        """The ids of all known subscriptions, in lower case."""
        return frozenset(self._subscriptions)

    def rows(self, subscription: str, day: date) -> list[Row]:
        """The subscription's rows on that day: each (group, service, currency) once, in a stable order."""
        place = (subscription.lower(), day)
        with self._lock:
            changes = dict(self._changes.get(place, {}))
        made = self._source.rows(*place) if self._source else []
        if not changes:
            return made
        return list(({row_key(row): row for row in made} | changes).values())

    def known_rows(self, subscription: str) -> list[Row]:
        """Rows that hold each group and currency of the subscription at least once, of whatever days."""
        wanted = subscription.lower()
        made = self._source.sample(wanted) if self._source and wanted in self._source.subscriptions() else []
        with self._lock:
            changed = [rows for (name, _day), rows in self._changes.items() if name == wanted]
            return made + [row for rows in changed for row in rows.values()]

    def version(self, subscription: str, day: date) -> int:
        """A number that grows with each change of that day."""
        return self._versions.get((subscription.lower(), day), 0)

    def charges(self, subscription: str, first: date, last: date) -> Iterator[Charge]:
        """The subscription's charges from the first to the last day, both included."""
        for day in days_between(first, last):
            for group, service, currency, amount in self.rows(subscription, day):
                yield Charge(subscription.lower(), group, service, day, currency, Decimal(amount))

    def total(self, subscription: str, first: date, last: date, group: str | None = None) -> Decimal:
        """The exact sum of those days, of one group or of all; ValueError where currencies are mixed."""
        wanted = [
            charge
            for charge in self.charges(subscription, first, last)
            if group is None or charge.group.lower() == group.lower()
        ]
        if len({charge.currency for charge in wanted}) > 1:
            raise ValueError(f"The charges of {subscription} are in several currencies: they have no sum.")
        return exact_sum(charge.amount for charge in wanted)

    def set(self, charges: Iterable[Charge]) -> None:
        """Sets each charge's amount, in place of what the same group, service and day had."""
        with self._lock:
            for charge in charges:
                self._change(charge, charge.row)

    def add(self, charges: Iterable[Charge]) -> None:
        """Adds each charge's amount to what the same group, service, day and currency had."""
        with self._lock:
            for charge in charges:
                self._add_one(charge)

    def restate_day(self, subscription: str, day: date, factor: Decimal, group: str | None = None) -> None:
        """Multiplies every amount of that day, or only one group's, as late corrections do."""
        with self._lock:
            for charge in list(self.charges(subscription, day, day)):
                if group is None or charge.group.lower() == group.lower():
                    self._change(charge, replace(charge, amount=EXACT.multiply(charge.amount, factor)).row)

    def _add_one(self, charge: Charge) -> None:
        before = self._row(charge)
        if before is None:
            self._change(charge, charge.row)
            return
        group, service, currency, amount = before
        self._change(charge, (group, service, currency, plain(EXACT.add(Decimal(amount), charge.amount))))

    def _row(self, charge: Charge) -> Row | None:
        place = (charge.subscription.lower(), charge.day)
        changes = self._changes.get(place, {})
        if charge.key in changes or self._source is None:
            return changes.get(charge.key)
        return next((row for row in self._source.rows(*place) if row_key(row) == charge.key), None)

    def _change(self, charge: Charge, row: Row) -> None:
        if not charge.amount.is_finite():
            raise ValueError(f"A charge needs an amount that is a number, not {charge.amount}.")
        self.add_subscription(charge.subscription)
        place = (charge.subscription.lower(), charge.day)
        self._changes.setdefault(place, {})[charge.key] = row
        self._versions[place] = self._versions.get(place, 0) + 1


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum without any rounding, however many digits there are; 0 for none."""
    total = Decimal(0)
    add: Callable[[Decimal, Decimal], Decimal] = EXACT.add
    for amount in amounts:
        total = add(total, amount)
    return total
