"""Whether a project is to be locked or unlocked: what is decided on which figures, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from shared.domain.budgets import Budget
from shared.domain.money import plain
from shared.domain.periods import Period
from shared.domain.projects import LockPolicy, Project
from shared.domain.thresholds import reached

FULL = 100


class LockMode(StrEnum):
    """What happens to a project at 100 %: nothing, a note of what would be done, or a lock."""

    OFF = "off"
    DRY_RUN = "dry-run"
    ENFORCE = "enforce"


class WhenUnsure(StrEnum):
    """What is done where nobody knows what a project has spent."""

    LOCK = "lock"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class LockRules:
    """What is done at 100 %. stop_compute: machines are stopped before the lock."""

    mode: LockMode
    when_unsure: WhenUnsure
    stop_compute: bool = False


class Outcome(StrEnum):
    """What became of a request to lock or unlock."""

    LOCKED = "locked"
    WOULD_LOCK = "would lock"
    REFUSED = "refused"
    UNLOCKED = "unlocked"
    WOULD_UNLOCK = "would unlock"
    STOPPING = "stopping machines"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Figure:
    """What someone says that a project has spent, of which amount, both in the budget's currency.

    lacks: what is missing of it, as a sentence's end; empty where nothing is.
    """

    spent: Decimal
    amount: Decimal
    currency: str
    lacks: str = ""

    @property
    def is_full(self) -> bool:
        """Whether that is 100 % or more, compared exactly."""
        return reached(FULL, self.spent, self.amount)

    @property
    def is_known(self) -> bool:
        """Whether it counts: what is missing can only add to it, credits apart."""
        return self.is_full or not self.lacks


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that the app has put on a project, or was about to. by_hand: an operator ordered it.

    The rest is what counted then: the budget's revision, its period and amount, and what Azure showed as spent; None
    where there was none. incomplete: something was missing of the figure that it rests on, so that the first complete
    one below 100 % takes it off.
    """

    by_hand: bool
    budget_number: int
    period_start: date | None = None
    amount: Decimal | None = None
    spent: Decimal | None = None
    incomplete: bool = False


@dataclass(frozen=True, slots=True)
class LockDecision:
    """What is to be done, and why, as a sentence's end. WOULD_…: only written down."""

    outcome: Outcome
    reason: str


def decide_lock(
    rules: LockRules,
    project: Project,
    azure: Figure | None,
    database: Figure | None,
    has_budget: bool = True,
    ordered: bool = False,
    released: bool = False,
) -> LockDecision:
    """Whether a project is locked. azure, database: what they say, None where that isn't known.

    has_budget: for today. ordered: an operator says so, whatever the figures are. released: an operator has unlocked
    it since it was locked for this revision of its budget in this period. A project that is already locked gets the
    same answer: then it is made sure that every lock is there.
    """
    wanted, reason = (True, "an operator ordered it") if ordered else _figures_say(azure, database, rules.when_unsure)
    refusals = (
        (project.lock is LockPolicy.NEVER, "the project is marked as never to be locked"),
        (rules.mode is LockMode.OFF, "LOCK_MODE is off"),
        (released and not ordered, "an operator has unlocked it for this budget and period"),
        (not wanted, reason),
        (not ordered and not project.active, "the project is not active"),
        # Nobody is unsure of that, and an alert of the budget that it had comes too late.
        (not ordered and not has_budget, "it has no budget now"),
    )
    refused = next((why for is_so, why in refusals if is_so), None)
    if refused is not None:
        return LockDecision(Outcome.REFUSED, refused)
    return LockDecision(Outcome.LOCKED if rules.mode is LockMode.ENFORCE else Outcome.WOULD_LOCK, reason)


def _figures_say(azure: Figure | None, database: Figure | None, when_unsure: WhenUnsure) -> tuple[bool, str]:
    said = (("Azure's budget shows", azure), ("the costs that were read show", database))
    known = [(name, figure) for name, figure in said if figure and figure.is_known]
    full = [f"{name} {_of(figure)}" for name, figure in known if figure.is_full]
    if full:
        return True, " and ".join(full)
    if known:
        below = " and ".join(f"{name} {_of(figure)}" for name, figure in known)
        return False, f"{below}: that is below 100 %"
    is_locked = when_unsure is WhenUnsure.LOCK
    unsure = f" (the costs that were read: {_of(database)})" if database else ""
    return is_locked, f"nobody knows what was spent{unsure}, and LOCK_WHEN_UNSURE is {when_unsure}"


def _of(figure: Figure) -> str:
    missing = f", incomplete: {figure.lacks}" if figure.lacks else ""
    return f"{plain(figure.spent)} of {plain(figure.amount)} {figure.currency}{missing}"


def decide_unlock(
    mode: LockMode,
    held: HeldLock | None,
    budget: Budget,
    period: Period | None,
    usage: Decimal,
    unknown: str = "",
    ordered: bool = False,
) -> LockDecision:
    """Whether a project's lock comes off: by order always; by itself once there is money to spend again.

    That is so where the budget was raised above what was spent, a new period has begun with something left in it, or
    the lock rests on an incomplete figure. unknown: why not all of the usage is known; empty where it is.
    """
    if ordered:
        return LockDecision(Outcome.UNLOCKED, "an operator ordered it")
    blocked = _stays_locked(held, budget, period, usage)
    if blocked:
        return LockDecision(Outcome.REFUSED, blocked)
    if mode is LockMode.OFF:
        return LockDecision(Outcome.REFUSED, "LOCK_MODE is off, so that locks stay as they are")
    if unknown:
        return LockDecision(Outcome.REFUSED, f"nobody knows what it has spent: {unknown}")
    amount = plain(budget.amount or Decimal(0))
    reason = f"{_why_off(held, budget, period)}: {plain(usage)} of {amount} {budget.terms.currency} is used"
    return LockDecision(Outcome.UNLOCKED if mode is LockMode.ENFORCE else Outcome.WOULD_UNLOCK, reason)


def _why_off(held: HeldLock | None, budget: Budget, period: Period | None) -> str:
    if held is not None and period is not None and period.start != held.period_start:
        return f"a new period began on {period.start}"
    if held is not None and held.amount is not None and held.amount == budget.amount:
        return "costs that were missing when it was locked have been read"
    return "the budget was raised"


def _stays_locked(held: HeldLock | None, budget: Budget, period: Period | None, usage: Decimal) -> str | None:
    """Why the lock stays, as a sentence's end; None where nothing speaks for it."""
    amount = budget.amount
    if held is None:
        return "the project is not locked"
    if held.by_hand:
        return "an operator locked it by hand, and `projects unlock` takes that lock off"
    if amount is None or period is None:
        return "it has no budget now"
    same_period = period.start == held.period_start
    if same_period and not held.incomplete and held.amount is not None and amount <= held.amount:
        return "its budget was not raised, and no new period has begun"
    # What Azure showed then still counts: our costs may be a day behind.
    spent = max(usage, held.spent or usage) if same_period else usage
    if reached(FULL, spent, amount):
        return f"{plain(spent)} of {plain(amount)} {budget.terms.currency} is used, which is 100 % or more"
    return None
