"""What is known of a project's spending at the moment at which it may be locked: from Azure, and from the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from shared.domain.charges import key_of_group
from shared.domain.locks import Figure, HeldLock
from shared.domain.money import LARGEST_AMOUNT, plain
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.pipeline.azure_budgets.names import azure_name
from shared.ports.azure import AzureBudget, AzureBudgets, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import LockFacts

# Azure evaluates its budgets about once a day, and costs reach it a day late: what it shows in a period's first days
# may be what was spent in the period before. It does not say of when its figure is.
STALE_FOR = timedelta(days=2)
# Azure's word for how often a budget begins anew. Those of billing months begin on days that it does not say.
KINDS = {"monthly": PeriodKind.MONTHLY, "quarterly": PeriodKind.QUARTERLY, "annually": PeriodKind.ANNUAL}


@dataclass(frozen=True, slots=True)
class Figures:
    """Both figures, None where one isn't known; `azure_unknown` says why, as a sentence's end.

    wait: set where Azure could not be asked now and may answer later. doubtful_until: set where Azure shows 100 % and
    that may be of the period before; from this day on, its figure counts.
    """

    database: Figure | None
    azure: Figure | None = None
    azure_unknown: str | None = None
    wait: LaterError | None = None
    doubtful_until: date | None = None

    @property
    def can_wait(self) -> bool:
        """Whether Azure's answer could change what is decided."""
        return self.wait is not None and not (self.database and self.database.is_full)


def look_again(facts: LockFacts, budgets: AzureBudgets, today: date) -> Figures:
    """Asks Azure's own budget for what was spent, and takes what the database knows."""
    database = database_figure(facts)
    try:
        azure = _azure_figure(facts, budgets, today)
    except NeverError as error:
        return Figures(database, None, error.reason)
    except LaterError as error:
        return Figures(database, None, error.reason, error)
    if isinstance(azure, str):
        return Figures(database, None, azure)
    counts_from = facts.period.start + STALE_FOR if facts.period else today
    if today < counts_from:
        doubtful_until = counts_from if azure.is_full else None
        return Figures(database, None, "Azure's figure may still be that of the period before", None, doubtful_until)
    return Figures(database, azure)


def database_figure(facts: LockFacts) -> Figure | None:
    """What the costs that were read come to; None without a budget, or where they are not all known."""
    amount = facts.budget.amount
    if amount is None or facts.period is None or not facts.usage_known:
        return None
    return Figure(facts.usage, amount)


def _azure_figure(facts: LockFacts, budgets: AzureBudgets, today: date) -> Figure | str:
    """What Azure's budget shows, or why that isn't known."""
    subscriptions = {group.subscription_id for group in facts.groups}
    if facts.budget.amount is None or facts.period is None:
        return "the project has no budget now"
    if len(subscriptions) != 1:
        return f"the project is in {len(subscriptions)} subscriptions, and an Azure budget is for one"
    found = budgets.get(subscriptions.pop(), azure_name(facts.project.acronym))
    if found is None:
        return "there is no Azure budget for it"
    if counts_more(found, facts.groups, facts.period, today):
        return "Azure's budget counts other resource groups or another period, and is not in step yet"
    return _figure_in(found, facts.budget.amount, facts.budget.terms.currency)


def _figure_in(found: AzureBudget, amount: Decimal, currency: str) -> Figure | str:
    if found.current_spend is None:
        return "Azure has not evaluated its budget yet"
    if found.currency != currency:
        return f"Azure's budget is in {found.currency or 'no currency'}, and the project's in {currency}"
    # Our amount, not Azure's: the budget may have been raised since Azure's was brought into step.
    return Figure(found.current_spend, amount)


def counts_more(found: AzureBudget, groups: Iterable[ResourceGroup], period: Period, today: date) -> bool:
    """Whether Azure's budget may count what was not spent by these groups in this period; less does no harm.

    So it is until it is brought into step after a change, and with a budget that someone else made.
    """
    counted = {key_of_group(name) for name in found.resource_groups or ()}
    if not counted or not counted <= {key_of_group(group.name) for group in groups}:
        return True
    kind = KINDS.get(found.time_grain.lower())
    counting = PeriodRule(kind, found.first_day).period_at(min(today, found.last_day)) if kind else None
    return counting is None or max(counting.start, found.first_day) < period.start


def held_lock(facts: LockFacts, figures: Figures, ordered: bool) -> HeldLock:
    """What is kept with a lock: on which it was decided, and so when it can come off."""
    return HeldLock(
        by_hand=ordered or (facts.held is not None and facts.held.by_hand),
        budget_number=facts.budget.number,
        period_start=facts.period.start if facts.period else None,
        amount=facts.budget.amount,
        spent=_shown_by_azure(facts, figures),
    )


def highest_known(facts: LockFacts, figures: Figures) -> Decimal | None:
    """The highest spending in the present period that anyone knows of; None where nobody knows any."""
    known = [_shown_by_azure(facts, figures), facts.usage if facts.usage_known else None]
    return max((spent for spent in known if spent is not None), default=None)


def _shown_by_azure(facts: LockFacts, figures: Figures) -> Decimal | None:
    """What Azure shows now, or showed in this period when the project was locked: our own costs may be a day behind."""
    if figures.azure:
        # More than can be stored is as good as the most that can.
        return min(figures.azure.spent, LARGEST_AMOUNT)
    held, period = facts.held, facts.period
    return held.spent if held and period and held.period_start == period.start else None


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
