"""What is known of a project's spending at the moment at which it may be locked: from Azure, and from the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from shared.domain.locks import Figure, HeldLock
from shared.domain.money import plain
from shared.domain.projects import azure_name
from shared.ports import AzureBudget, AzureBudgets, LaterError, LockFacts, NeverError

# Azure evaluates its budgets about once a day, and costs reach it a day late: what it shows in a period's first days
# may be what was spent in the period before. It does not say of when its figure is.
STALE_FOR = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Figures:
    """Both figures, None where one isn't known; `azure_unknown` says why, as a sentence's end.

    wait: set where Azure could not be asked now and may answer later.
    """

    database: Figure | None
    azure: Figure | None = None
    azure_unknown: str | None = None
    wait: LaterError | None = None

    @property
    def can_wait(self) -> bool:
        """Whether Azure's answer could change what is decided."""
        return self.wait is not None and not (self.database and self.database.is_full)


def look_again(facts: LockFacts, budgets: AzureBudgets, today: date) -> Figures:
    """Asks Azure's own budget for what was spent, and takes what the database knows."""
    database = database_figure(facts)
    try:
        azure, unknown = _azure_figure(facts, budgets, today)
    except NeverError as error:
        return Figures(database, None, error.reason)
    except LaterError as error:
        return Figures(database, None, error.reason, error)
    return Figures(database, azure, unknown)


def database_figure(facts: LockFacts) -> Figure | None:
    """What the costs that were read come to; None without a budget, or where they are not all known."""
    amount = facts.budget.amount
    if amount is None or facts.period is None or not facts.usage_known:
        return None
    return Figure(facts.usage, amount)


def _azure_figure(facts: LockFacts, budgets: AzureBudgets, today: date) -> tuple[Figure | None, str | None]:
    subscriptions = {group.subscription_id for group in facts.groups}
    if len(subscriptions) != 1:
        return None, f"the project is in {len(subscriptions)} subscriptions, and an Azure budget is for one"
    if facts.period is not None and today - facts.period.start < STALE_FOR:
        return None, "Azure's figure may still be that of the period before"
    found = budgets.get(subscriptions.pop(), azure_name(facts.acronym))
    return _figure_in(found, facts) if found else (None, "there is no Azure budget for it")


def _figure_in(found: AzureBudget, facts: LockFacts) -> tuple[Figure | None, str | None]:
    if found.current_spend is None:
        return None, "Azure has not evaluated its budget yet"
    amount, currency = facts.budget.amount, facts.budget.terms.currency
    if amount is None:
        return Figure(found.current_spend, found.amount), None
    if found.currency != currency:
        return None, f"Azure's budget is in {found.currency or 'no currency'}, and the project's in {currency}"
    # Our amount, not Azure's: the budget may have been raised since Azure's was brought into step.
    return Figure(found.current_spend, amount), None


def held_lock(facts: LockFacts, figures: Figures, ordered: bool) -> HeldLock:
    """What is kept with a lock: on which it was decided, and so when it can come off."""
    return HeldLock(
        by_hand=ordered or (facts.held is not None and facts.held.by_hand),
        budget_number=facts.budget.number,
        period_start=facts.period.start if facts.period else None,
        amount=facts.budget.amount,
        spent=highest_known(facts, figures),
    )


def highest_known(facts: LockFacts, figures: Figures) -> Decimal | None:
    """The highest spending in the present period that anyone knows of; None where nobody knows any.

    What Azure showed when the project was locked counts too: our own costs may be a day behind.
    """
    held, period = facts.held, facts.period
    at_lock = held.spent if held and period and held.period_start == period.start else None
    known = [figures.azure.spent if figures.azure else None, facts.usage if facts.usage_known else None, at_lock]
    return max((spent for spent in known if spent is not None), default=None)


def as_audited(facts: LockFacts, figures: Figures, mode: str, level: str) -> dict[str, Any]:
    """The figures of an audit row: JSON values, amounts as text."""
    amount = facts.budget.amount
    return {
        "mode": mode,
        "level": level,
        "currency": facts.budget.terms.currency or None,
        "amount": None if amount is None else plain(amount),
        "usage": plain(facts.usage) if facts.usage_known else None,
        "azure_spend": plain(figures.azure.spent) if figures.azure else None,
        "azure_unknown": figures.azure_unknown,
        "period_start": facts.period.start.isoformat() if facts.period else None,
        "budget_number": facts.budget.number,
    }
