"""Budgets at subscription scope (Microsoft.Consumption/budgets), and their daily evaluation against the charges."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from threading import RLock
from typing import Any

from localdev.azure_sim.action_groups import Alert
from localdev.azure_sim.arm import listed
from localdev.azure_sim.budget_rules import BudgetTerms, Notification, check_name, check_new_start, need, read_terms
from localdev.azure_sim.charges import Charge, ChargeBook, exact_sum
from localdev.azure_sim.wire import AzureError, Request, Routes, json_answer
from localdev.http import Answer

LIST_PATH = "/subscriptions/{subscription}/providers/Microsoft.Consumption/budgets"
DEFAULT_UNIT = "USD"

Due = tuple[Alert, tuple[str, ...]]
"""An alert, and the ids of the action groups that it goes to."""


@dataclass
class Budget:
    """A budget with its spending as of the last evaluation. `alerted`: (notification, window, limit) that were."""

    subscription: str
    name: str
    terms: BudgetTerms
    number: int
    unit: str
    spend: Decimal = Decimal(0)
    evaluated: date | None = None
    alerted: set[tuple[str, date, Decimal]] = field(default_factory=set)

    @property
    def tag(self) -> str:
        """The eTag, with quotes in it, as Azure's have."""
        return f'"1d34d{self.number:010x}"'

    def as_azure(self) -> dict[str, Any]:
        """The budget as Azure shows it; there is no forecast."""
        spend = {"currentSpend": {"amount": self.spend, "unit": self.unit}}
        return {
            "id": f"/subscriptions/{self.subscription}/providers/Microsoft.Consumption/budgets/{self.name}",
            "name": self.name,
            "type": "Microsoft.Consumption/budgets",
            "eTag": self.tag,
            "properties": {**self.terms.properties, **spend},
        }


class BudgetBook:
    """All budgets. `today`, where there is one, tells the day against which a new budget's start is checked."""

    def __init__(self, charges: ChargeBook, today: Callable[[], date] | None = None) -> None:
        self.today = today
        self._charges = charges
        self._lock = RLock()
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._number = 0

    def put(self, subscription: str, name: str, terms: BudgetTerms, tag: str | None) -> tuple[Budget, bool]:
        """Makes or changes a budget; returns it and whether it is new. AzureError: 400, or 409 for an old eTag.

        A change keeps the spending of the last evaluation.
        """
        with self._lock:
            before = self.get(subscription, name)
            if before is None:
                budget = self._new(subscription, name, terms)
            else:
                self._check_change(before, terms, tag)
                budget = before
                budget.terms = terms
            self._number += 1
            budget.number = self._number
            self._budgets[_key(subscription, name)] = budget
            return budget, before is None

    def get(self, subscription: str, name: str) -> Budget | None:
        """The budget, if it is there."""
        with self._lock:
            return self._budgets.get(_key(subscription, name))

    def of(self, subscription: str | None = None) -> list[Budget]:
        """The budgets of a subscription (None: of all), in the order in which they were made."""
        with self._lock:
            wanted = subscription.lower() if subscription else None
            return [budget for key, budget in self._budgets.items() if wanted in (None, key[0])]

    def remove(self, subscription: str, name: str) -> bool:
        """Deletes the budget; returns whether it was there."""
        with self._lock:
            return self._budgets.pop(_key(subscription, name), None) is not None

    def evaluate(self, today: date) -> list[Due]:
        """Brings all budgets to what that day's evaluation finds, and returns the alerts that are newly due."""
        with self._lock:
            spent = _Spent(self._charges, self.of(), today)
            return [due for budget in self.of() for due in _evaluate(budget, spent, today)]

    def restore(self, budgets: Iterable[Budget]) -> None:
        """Takes up budgets as they were, with their spending and what was told."""
        with self._lock:
            for budget in budgets:
                self._budgets[_key(budget.subscription, budget.name)] = budget
                self._number = max(self._number, budget.number)

    def _new(self, subscription: str, name: str, terms: BudgetTerms) -> Budget:
        if self.today:
            check_new_start(terms, self.today())
        return Budget(subscription, name, terms, 0, self._currency(subscription))

    def _currency(self, subscription: str) -> str:
        currencies = Counter(row[2] for row in self._charges.known_rows(subscription))
        return max(currencies, key=lambda currency: currencies[currency], default=DEFAULT_UNIT)

    def _check_change(self, before: Budget, terms: BudgetTerms, tag: str | None) -> None:
        # The reference: an eTag is optional; with one, it has to be the latest.
        if tag and tag != before.tag:
            message = (
                f"There are changes made to Budget {before.name}. Please get the latest budget to avoid overwrite."
            )
            raise AzureError(409, "409", message)
        need(
            terms.start == before.terms.start,
            "Start date of budgets cannot be updated. Please delete and create a new budget.",
        )


class _Spent:
    """The charges up to a day, read once for all budgets of a subscription."""

    def __init__(self, book: ChargeBook, budgets: Iterable[Budget], today: date) -> None:
        self._charges: dict[str, list[Charge]] = {}
        firsts: dict[str, date] = {}
        for budget in budgets:
            window, name = budget.terms.window(today), budget.subscription.lower()
            if window:
                firsts[name] = min(window[0], firsts.get(name, today))
        for name, first in firsts.items():
            self._charges[name] = list(book.charges(name, first, today))

    def of(self, budget: Budget, first: date) -> Decimal:
        """What the budget's groups have spent since the first day, in the budget's unit."""
        groups = budget.terms.groups
        return exact_sum(
            charge.amount
            for charge in self._charges.get(budget.subscription.lower(), ())
            if charge.day >= first
            and charge.currency == budget.unit
            and (groups is None or charge.group.lower() in groups)
        )


def _evaluate(budget: Budget, spent: _Spent, today: date) -> list[Due]:
    budget.evaluated = today
    window = budget.terms.window(today)
    if window is None:
        return []
    budget.spend = spent.of(budget, window[0])
    return [
        (_alert(budget, notification, today), notification.contact_groups)
        for notification in budget.terms.notifications
        if notification.is_passed(budget.spend, budget.terms.amount) and _is_news(budget, notification, window[0])
    ]


def _is_news(budget: Budget, notification: Notification, window_start: date) -> bool:
    """Whether this was not told yet; a raised budget whose new limit is passed tells again."""
    told = (notification.name, window_start, notification.limit(budget.terms.amount))
    if told in budget.alerted:
        return False
    budget.alerted.add(told)
    return True


def _alert(budget: Budget, notification: Notification, today: date) -> Alert:
    return Alert(
        subscription=budget.subscription,
        budget=budget.name,
        notification=notification.name,
        start=budget.terms.start,
        amount=budget.terms.amount,
        limit=notification.limit(budget.terms.amount),
        spent=budget.spend,
        unit=budget.unit,
        day=today,
    )


class BudgetsApi:
    """The routes of the budgets of subscriptions."""

    def __init__(self, book: BudgetBook, page_size: int) -> None:
        self._book, self._page_size = book, page_size

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        routes.add("GET", LIST_PATH, self.list)
        routes.add("GET", f"{LIST_PATH}/{{name}}", self.get)
        routes.add("PUT", f"{LIST_PATH}/{{name}}", self.put)
        routes.add("DELETE", f"{LIST_PATH}/{{name}}", self.delete)

    def list(self, request: Request) -> Answer:
        """The budgets of the subscription, page by page."""
        budgets = self._book.of(request.parameters["subscription"])
        return listed(request, [budget.as_azure() for budget in budgets], self._page_size)

    def get(self, request: Request) -> Answer:
        """One budget."""
        budget = self._book.get(**request.parameters)
        if budget is None:
            raise _not_found(request)
        return json_answer(budget.as_azure())

    def put(self, request: Request) -> Answer:
        """Makes (201) or changes (200) a budget."""
        check_name(request.parameters["name"])
        terms, tag = read_terms(request.body)
        budget, is_new = self._book.put(request.parameters["subscription"], request.parameters["name"], terms, tag)
        return json_answer(budget.as_azure(), 201 if is_new else 200)

    def delete(self, request: Request) -> Answer:
        """Deletes a budget."""
        if not self._book.remove(**request.parameters):
            raise _not_found(request)
        return Answer(200)


def _key(subscription: str, name: str) -> tuple[str, str]:
    return (subscription.lower(), name.lower())


def _not_found(request: Request) -> AzureError:
    return AzureError(404, "404", f"Budget '{request.parameters['name']}' was not found.")
