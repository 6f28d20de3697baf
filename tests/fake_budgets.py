"""Azure's budgets in memory; passes the contract suite of AzureBudgets (tests/contracts/test_azure_budgets.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from itertools import count

from shared.ports.azure import AzureBudget
from shared.ports.azure_budgets import SeenBudget
from shared.ports.errors import LaterError, NeverError

MONTHS = {"Monthly": 1, "Quarterly": 3, "Annually": 12}


@dataclass
class FakeBudgets:
    """Takes and refuses what Azure does. writes: (put or delete, name), in order.

    subscriptions: those that there are; None for any. today: against which the start of a new budget is checked;
    None: it isn't. fails: takes the call (budgets_of, get, put, delete) and the name.
    """

    subscriptions: frozenset[str] | None = None
    currency: str | None = "CAD"
    today: Callable[[], date] | None = None
    budgets: dict[tuple[str, str], AzureBudget] = field(default_factory=dict)
    writes: list[tuple[str, str]] = field(default_factory=list)
    fails: Callable[[str, str], Exception | None] = lambda _call, _name: None
    numbers: count = field(default_factory=lambda: count(1))

    def budgets_of(self, subscription_id: str) -> list[AzureBudget]:
        self._check("budgets_of", subscription_id)
        return [budget for (where, _), budget in self.budgets.items() if where == subscription_id.lower()]

    def get(self, subscription_id: str, name: str) -> AzureBudget | None:
        self._check("get", subscription_id, name)
        return self.budgets.get((subscription_id.lower(), name.lower()))

    def put(self, subscription_id: str, budget: AzureBudget) -> None:
        self._check("put", subscription_id, budget.name)
        key = (subscription_id.lower(), budget.name.lower())
        before = self.budgets.get(key)
        if budget.e_tag and (before is None or before.e_tag != budget.e_tag):
            raise LaterError(f"The budget {budget.name} was changed by someone else.")
        _check_terms(budget)
        if before is None:
            self._check_start(budget)
        elif before.first_day != budget.first_day or before.time_grain != budget.time_grain:
            raise NeverError("Start date of budgets cannot be updated. Please delete and create a new budget.")
        spend = before.current_spend if before else Decimal(0)
        tag = f"tag-{next(self.numbers)}"
        self.budgets[key] = replace(budget, e_tag=tag, current_spend=spend, currency=self.currency)
        self.writes.append(("put", budget.name))

    def delete(self, subscription_id: str, name: str) -> None:
        self._check("delete", subscription_id, name)
        if self.budgets.pop((subscription_id.lower(), name.lower()), None):
            self.writes.append(("delete", name))

    def take_writes(self) -> list[tuple[str, str]]:
        """What was written since the last time."""
        writes, self.writes = self.writes, []
        return writes

    def _check(self, call: str, subscription_id: str, name: str = "") -> None:
        error = self.fails(call, name)
        if error is not None:
            raise error
        if self.subscriptions is not None and subscription_id.lower() not in self.subscriptions:
            raise NeverError(f"There is no subscription {subscription_id}.")

    def _check_start(self, budget: AzureBudget) -> None:
        if self.today is None:
            return
        today, months = self.today(), MONTHS[budget.time_grain]
        age = (today.year - budget.first_day.year) * 12 + today.month - budget.first_day.month
        if not -12 <= age < months:
            raise NeverError("Start date should be selected within the timegrain period.")


def _check_terms(budget: AzureBudget) -> None:
    refusals = {
        "The amount must be greater than 0.": budget.amount <= 0,
        "Start date must be the first of a month.": budget.first_day.day != 1,
        "Start date must be before the end date.": budget.first_day >= budget.last_day,
        "Budget can have up to 5 notifications.": len(budget.notices) > 5,
        "Filter values are missing.": budget.resource_groups == (),
    }
    for reason, is_so in refusals.items():
        if is_so:
            raise NeverError(reason)


@dataclass
class FakeSeenBudgets:
    """What is known of them, in memory; passes tests/contracts/test_seen_budgets.py."""

    budgets: dict[tuple[str, str], SeenBudget] = field(default_factory=dict)

    def seen_in(self, subscription_id: str) -> dict[str, SeenBudget]:
        return {name: each for (where, name), each in self.budgets.items() if where == subscription_id.lower()}

    def note(self, subscription_id: str, budgets: Sequence[SeenBudget]) -> None:
        self.budgets |= {(subscription_id.lower(), each.name): each for each in budgets}

    def subscriptions(self) -> list[str]:
        return sorted({where for (where, _), each in self.budgets.items() if each.is_there})
