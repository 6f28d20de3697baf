"""Who is to be locked once the dust has settled: by the last order, else by all that was truly spent.

Nothing of the app's is used here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

DAY = timedelta(days=1)
Month = tuple[int, int]


@dataclass
class Account:
    """A project's budget of each calendar month, what a person has said of it, and the last order.

    order: whether it was to lock, and for which revision and month.
    """

    number: int
    amount: Decimal | None
    revision: int = 1
    never: bool = False
    active: bool = True
    order: tuple[bool, int, Month] | None = None


@dataclass
class LockOracle:
    """book: charges by group and day. owners: of each group, since which day each project has owned its charges.

    now: whose each group is to be locked with.
    """

    accounts: dict[int, Account] = field(default_factory=dict)
    book: dict[tuple[str, date], Decimal] = field(default_factory=dict)
    owners: dict[str, list[tuple[date, int]]] = field(default_factory=dict)
    now: dict[str, int] = field(default_factory=dict)

    def give(self, group: str, number: int, today: date | None = None) -> None:
        """A group goes to a project; what it cost until today stays with whom it was."""
        since = today + DAY if today else date.min
        self.owners.setdefault(group, []).append((since, number))
        self.now[group] = number

    def budget(self, number: int, amount: Decimal | None) -> None:
        """Another amount is another revision."""
        account = self.accounts[number]
        account.revision += amount != account.amount
        account.amount = amount

    def order(self, number: int, locks: bool, today: date) -> None:
        """What an operator ordered, of which the last counts."""
        account = self.accounts[number]
        account.order = (locks, account.revision, month_of(today))

    def mark_never(self, number: int, never: bool) -> None:
        """Whoever says that it is never locked takes back that it is to be."""
        account = self.accounts[number]
        account.never = never
        if never and account.order and account.order[0]:
            account.order = None

    def spent(self, number: int, today: date) -> Decimal:
        """What the project has spent this month."""
        of_month = ((group, day, cost) for (group, day), cost in self.book.items() if month_of(day) == month_of(today))
        return sum((cost for group, day, cost in of_month if self._owner(group, day) == number), Decimal(0))

    def spent_in(self, groups: set[str], today: date) -> Decimal:
        """What groups have cost this month, whoever owned them."""
        costs = (
            cost for (group, day), cost in self.book.items() if group in groups and month_of(day) == month_of(today)
        )
        return sum(costs, Decimal(0))

    def locked(self, today: date) -> dict[str, int]:
        """The groups that are to be locked, and for which project."""
        return {group: number for group, number in self.now.items() if self.is_locked(number, today)}

    def is_locked(self, number: int, today: date) -> bool:
        """Whether the project is to be locked."""
        account = self.accounts[number]
        if account.never:
            return False
        if account.order:
            locks, revision, month = account.order
            if locks:
                return True
            if (revision, month) == (account.revision, month_of(today)):
                return False
        return account.active and account.amount is not None and self.spent(number, today) >= account.amount

    def _owner(self, group: str, day: date) -> int:
        return [number for since, number in self.owners[group] if since <= day][-1]


def month_of(day: date) -> Month:
    """The calendar month."""
    return day.year, day.month
