"""What is carried from a period that has ended into the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.money import EXACT, add
from shared.domain.periods import Period, PeriodKind, PeriodRule

NOTHING = Decimal(0)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class EndedPeriod:
    """A period that is over.

    terms: the revision that counted at its end; carried and usage are in its currency. carried, stopped: what had
    come into the period. usage: late charges still change it for a while (`coverage.settled_before`).
    """

    terms: BudgetTerms
    carried: Decimal = NOTHING
    stopped: bool = False
    usage: Decimal = NOTHING


def carried_on(ended: EndedPeriod) -> Decimal:
    """What `ended` adds to the amount of the next period, in the currency of its terms; negative: takes from it.

    carry_over: what was not used, never less than nothing, and never more than there was (credits are no savings).
    draw_down: all that was used is taken from the total. Whoever has a budget in another currency adds nothing.
    """
    if not depends_on_usage(ended):
        return NOTHING
    if ended.terms.rollover is Rollover.DRAW_DOWN:
        return EXACT.subtract(ended.carried, ended.usage)
    available = max(NOTHING, add(ended.terms.amount or NOTHING, ended.carried))
    return max(NOTHING, EXACT.subtract(available, max(NOTHING, ended.usage)))


def depends_on_usage(ended: EndedPeriod) -> bool:
    """Whether what is carried depends on what was spent; otherwise nothing is, and that is final at once.

    A fixed period has no next one: what follows it is somebody's new budget.
    """
    if ended.stopped or not ended.terms.amount or ended.terms.rule.kind is PeriodKind.FIXED:
        return False
    return ended.terms.rollover in (Rollover.CARRY_OVER, Rollover.DRAW_DOWN)


def is_stopped(ended: EndedPeriod) -> bool:
    """Whether the next period begins without a budget: until someone sets one in it, or in a later one."""
    stops = ended.terms.rollover is Rollover.STOP and ended.terms.rule.kind is not PeriodKind.FIXED
    return ended.stopped or stops


def period_before(rule: PeriodRule, start: date) -> Period | None:
    """The period of `rule` that ends where another begins; None where none ends on that day."""
    before = rule.period_at(start - DAY)
    return before if before is not None and before.end == start else None


def periods_begun(rule: PeriodRule, last: Period | None, today: date) -> list[Period]:
    """The periods that have begun since `last`, up to the one that holds `today`, oldest first: missed ones too.

    Only the present one where there is no last one, the rule has other periods, or `today` lies before it; none where
    `today` is in `last`, or in no period.
    """
    present = rule.period_at(today)
    if present is None or present == last:
        return []
    if last is None or present.start < last.end or rule.period_at(last.start) != last:
        return [present]
    following = []
    period: Period | None = last
    while period is not None and period != present:
        period = rule.period_at(period.end)
        following.extend([period] if period else [])
    return following
