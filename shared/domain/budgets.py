"""A project's budget: an amount for each period, in revisions, and what is carried from one period to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum

from shared.domain.money import add, percent_used
from shared.domain.periods import Period, PeriodRule

ALL_OF_IT = Decimal(100)


class Rollover(StrEnum):
    """What the next period's budget is when a period ends."""

    RESET = "reset"
    """the same amount again"""
    CARRY_OVER = "carry_over"
    """the same amount, and what was not used"""
    DRAW_DOWN = "draw_down"
    """what is left of a total for many periods"""
    STOP = "stop"
    """none, until someone sets one"""


@dataclass(frozen=True, slots=True)
class OpeningBalance:
    """What was spent in the period that begins on `period_start` and is in no charge that can be read.

    amount: in the budget's currency; of days before a provider's history, say, or before another currency.
    """

    amount: Decimal
    period_start: date


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """What a revision of a budget says. An `amount` of None or 0 means that there is no budget.

    amount: for each period; with `draw_down`, the total for all of them. A fixed period has no next one, so that
    its rollover never counts. thresholds: percents of its own; None for those of the settings. opening: in one period.
    """

    amount: Decimal | None
    currency: str
    rule: PeriodRule
    rollover: Rollover = Rollover.RESET
    thresholds: tuple[int, ...] | None = None
    opening: OpeningBalance | None = None

    def opening_in(self, period: Period | None) -> Decimal:
        """The opening balance of this period; 0 where there is none."""
        is_its = self.opening is not None and period is not None and self.opening.period_start == period.start
        return self.opening.amount if self.opening and is_its else Decimal(0)

    def used(self, charged: Decimal, period: Period | None) -> Decimal:
        """What counts as spent in a period: its charges, and its opening balance."""
        return add(charged, self.opening_in(period))

    def is_for_the_same(self, other: BudgetTerms, today: date) -> bool:
        """Whether both give the same amount for the same period today: then nothing that was told has changed."""
        if (self.amount or None, self.currency) != (other.amount or None, other.currency):
            return False
        return self.rule == other.rule or self.rule.period_at(today) == other.rule.period_at(today)

    def opening_for(self, currency: str) -> OpeningBalance | None:
        """What stays of the opening balance where the budget is to be in this currency: two are never added."""
        return self.opening if currency == self.currency else None


def undone(history: Sequence[BudgetTerms], terms: BudgetTerms) -> list[int]:
    """The places in a budget's history, oldest first, of the revisions that new terms take something back of.

    history: what counted before the first revision that is asked about, and each since.
    """
    changed = _differing(history[-1], terms)
    found = []
    for place in range(len(history) - 1, 0, -1):
        its = _differing(history[place - 1], history[place])
        if its & changed:
            found.append(place)
        # What it changed again is no longer what an earlier one had said.
        changed -= its
    return found[::-1]


def _differing(one: BudgetTerms, other: BudgetTerms) -> set[str]:
    return {each.name for each in fields(BudgetTerms) if getattr(one, each.name) != getattr(other, each.name)}


@dataclass(frozen=True, slots=True)
class Budget:
    """One revision of a project's budget, in one period; `number` counts from 1 within the project.

    carried: what the periods before add to the amount (negative: take from it). stopped: the period before ended
    with the rollover `stop`, and nobody has set a budget since. carried_since: the first day of the charges that still
    decide what is carried; None where that is final. same_since: the first revision in a row that gives the
    same amount for the same period (`is_for_the_same`); None where that is this one.
    """

    id: int
    number: int
    terms: BudgetTerms
    carried: Decimal = Decimal(0)
    stopped: bool = False
    same_since: int | None = None
    carried_since: date | None = None

    @property
    def first_number(self) -> int:
        """The revision by which is known what was told, or ordered, for this amount and period: it is not again."""
        return self.same_since or self.number

    @property
    def available(self) -> Decimal | None:
        """What usage is compared with: what may be spent in the period, or, below 0, what the periods before have
        spent too much, which credits have to make up for first. None: there is no budget."""
        return None if self.stopped or not self.terms.amount else add(self.terms.amount, self.carried)

    @property
    def amount(self) -> Decimal | None:
        """What may be spent in the period. None: there is no budget. 0: the periods before have used all of it up."""
        return None if self.available is None else max(Decimal(0), self.available)

    def decided_by(self, period: Period) -> Period:
        """The days whose charges decide what usage in the period is compared with, and the usage."""
        return replace(period, start=min(period.start, self.carried_since or period.start))

    def percent(self, usage: Decimal) -> Decimal | None:
        """Usage in percent, rounded down to 6 places; None without a budget, 100 where there is nothing to spend."""
        available = self.available
        if available is None:
            return None
        if available > 0:
            return percent_used(usage, available)
        return ALL_OF_IT if usage >= available else Decimal(0)
