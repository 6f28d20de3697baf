"""Which thresholds a project has reached, and of which of them its people must still be told.

What was told counts for one revision of one budget in one period. A threshold that was told is not told again,
however usage falls and comes back; of several that are reached at once only the highest is mailed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from shared.domain.money import EXACT

ALL_OF_IT = 100
# Stands among the thresholds that were told for the early warning, which is told once too; no threshold is 0.
EARLY_WARNING = 0


class AlertOutcome(StrEnum):
    """How a threshold came to count as told."""

    MAILED = "mailed"
    PASSED_OVER = "passed over"
    """reached at the same time as a higher one"""
    NOT_MAILED = "not mailed"
    """added to the list of thresholds when the project was past it already"""
    WARNED = "warned"
    """the early warning, by itself or in an alert's mail"""
    CARRIED = "carried"
    """told under the revision before"""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the last check of a project in this period knew: the usage, and the list of thresholds."""

    usage: Decimal
    thresholds: frozenset[int]


@dataclass(frozen=True, slots=True)
class Decision:
    """`alert` is to be mailed; `passed_over` and `not_mailed` count as told from now on, without a mail."""

    alert: int | None = None
    passed_over: tuple[int, ...] = ()
    not_mailed: tuple[int, ...] = ()

    @property
    def outcomes(self) -> dict[int, AlertOutcome]:
        """All the thresholds that count as told from now on, and why."""
        mailed = {} if self.alert is None else {self.alert: AlertOutcome.MAILED}
        passed_over = dict.fromkeys(self.passed_over, AlertOutcome.PASSED_OVER)
        return mailed | passed_over | dict.fromkeys(self.not_mailed, AlertOutcome.NOT_MAILED)

    @property
    def without_mail(self) -> Decision:
        """The same where people know already what the alert would say."""
        return Decision(None, self.passed_over, tuple(sorted({*self.not_mailed, *filter(None, [self.alert])})))


def compared(usage: Decimal, thresholds: Iterable[int]) -> Checked | None:
    """What the next check is to know of this one.

    Without thresholds nothing was compared, and none was passed by: the next check that has some is as the first.
    """
    listed = frozenset(thresholds)
    return Checked(usage, listed) if listed else None


def reached(threshold: int, usage: Decimal, amount: Decimal) -> bool:
    """Whether usage is at or above `threshold` percent of an amount, compared exactly.

    An amount of 0 or below is a budget of which nothing is left (`Budget.available`): 100 % of it is used, and never
    more, unless credits have brought something back.
    """
    if amount <= 0:
        return usage >= amount and threshold <= ALL_OF_IT
    return EXACT.multiply(usage, Decimal(100)) >= EXACT.multiply(amount, Decimal(threshold))


def decide(
    thresholds: Iterable[int], told: frozenset[int], usage: Decimal, amount: Decimal, last: Checked | None
) -> Decision:
    """What one check of a project comes to, for one revision of its budget in one period.

    `told` holds the thresholds that count as told; `last` is the check before in this period, None for the
    first. A threshold below the highest that was told is never mailed after it.
    """
    listed = frozenset(thresholds)
    known = last.thresholds if last else listed
    not_mailed = {t for t in listed - known - told if last is not None and reached(t, last.usage, amount)}
    open_ones = {t for t in listed - told - not_mailed if reached(t, usage, amount)}
    alert = max((t for t in open_ones if t > max(told, default=0)), default=None)
    return Decision(alert, tuple(sorted(open_ones - {alert})), tuple(sorted(not_mailed)))


def still_told(told: Iterable[int], usage: Decimal, amount: Decimal | None) -> tuple[int, ...]:
    """The thresholds that stay told when a budget is revised to `amount` within a period.

    Those above the new percent are armed again, and so is the early warning. Without an amount there is no percent: all
    are.
    """
    if amount is None:
        return ()
    return tuple(sorted(t for t in told if t != EARLY_WARNING and reached(t, usage, amount)))
