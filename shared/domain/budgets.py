"""A project's budget: an amount for each period, in revisions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from shared.domain.money import percent_used
from shared.domain.periods import PeriodRule


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """What a revision of a budget says. An `amount` of None or 0 means that there is no budget."""

    amount: Decimal | None
    currency: str
    rule: PeriodRule


@dataclass(frozen=True, slots=True)
class Budget:
    """One revision of a project's budget; `number` counts from 1 within the project."""

    id: int
    number: int
    terms: BudgetTerms

    def percent(self, usage: Decimal) -> Decimal | None:
        """Usage in percent, rounded down to 6 places; None where there is no budget."""
        amount = self.terms.amount
        return percent_used(usage, amount) if amount else None
