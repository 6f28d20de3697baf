"""Whether a project is to be locked, and why: by the last order, the last figures, and the lock that there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from shared.domain.budgets import Budget
from shared.domain.money import in_words, share_in_words
from shared.domain.periods import Period
from shared.domain.projects import LockPolicy, Project
from shared.domain.thresholds import reached

FULL = 100
# What was known of a project's spending when it was last found at 100 % counts for so long, whatever is known since:
# a provider restates costs, and ours may be a day behind Azure's.
SEEN_COUNTS_FOR = timedelta(days=3)


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


class LockWhy(StrEnum):
    """What a lock rests on."""

    OVER = "over budget"
    AZURE = "azure"
    """Azure's figure: ours is below, or unknown"""
    INCOMPLETE = "incomplete"
    """100 % of a figure that lacks something, of which credits may be a part"""
    UNSURE = "unsure"
    """nobody knew what was spent"""
    ORDER = "order"
    """an operator's"""


# Locks on figures that were whole; the others come off with the first complete figure below 100 %.
SURE = (LockWhy.OVER, LockWhy.AZURE)


@dataclass(frozen=True, slots=True)
class Figure:
    """What someone says that a project has spent, of which amount, both in the budget's currency.

    amount: what may be spent (`Budget.available`). lacks: what is missing of it, as a sentence's end; empty where
    nothing is. converted: by whose rates what was charged in other currencies was; empty where nothing was.
    """

    spent: Decimal
    amount: Decimal
    currency: str
    lacks: str = ""
    converted: str = ""

    @property
    def is_full(self) -> bool:
        """Whether that is 100 % or more, compared exactly."""
        return reached(FULL, self.spent, self.amount)

    @property
    def is_known(self) -> bool:
        """Whether it counts: what is missing can only add to it, credits apart."""
        return self.is_full or not self.lacks

    def __str__(self) -> str:
        missing = f", incomplete: {self.lacks}" if self.lacks else ""
        owed = f" ({in_words(-self.amount, self.currency)} too much was spent before)" if self.amount < 0 else ""
        by = f", converted by {self.converted}" if self.converted else ""
        return f"{share_in_words(self.spent, max(self.amount, Decimal(0)), self.currency)}{owed}{by}{missing}"


@dataclass(frozen=True, slots=True)
class LockOrder:
    """What an operator ordered last: to lock the project, until it is unlocked, or to unlock it.

    It is left open then for this revision of its budget in this period (its first day).
    """

    locks: bool
    at: datetime
    budget_number: int
    period_start: date | None
    by: str | None = None

    def releases(self, budget_number: int, period: Period | None) -> bool:
        """Whether it leaves the project open under this revision in this period."""
        start = period.start if period else None
        return not self.locks and (self.budget_number, self.period_start) == (budget_number, start)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that the app has put on a project, or was about to.

    The rest is what counted when it was last found right: the budget's revision, its period, what might be spent in
    which currency, what Azure showed as spent and on which day, and of which groups (keys; None: not known) all that
    was. seen_on: the day on which a figure last was at 100 %.
    """

    why: LockWhy
    budget_number: int
    period_start: date | None = None
    currency: str | None = None
    amount: Decimal | None = None
    spent: Decimal | None = None
    seen_on: date | None = None
    counted: frozenset[str] | None = None
    spent_on: date | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """All that decides whether a project is to be locked.

    counted: the keys of its groups. database, azure: what they say now; None where that isn't known; azure_unknown:
    why not, as a sentence's end. hinted: Azure's budget for this project has called, or someone else has, and nobody
    can say that it is not so.
    """

    project: Project
    counted: frozenset[str]
    budget: Budget
    period: Period | None
    today: date
    database: Figure | None = None
    azure: Figure | None = None
    azure_unknown: str | None = None
    order: LockOrder | None = None
    held: HeldLock | None = None
    hinted: bool = False

    @property
    def is_released(self) -> bool:
        """Whether an operator has unlocked it, for this revision and period."""
        return self.order is not None and self.order.releases(self.budget.first_number, self.period)

    @property
    def has_budget(self) -> bool:
        """Whether there is a budget for today."""
        return self.budget.amount is not None and self.period is not None

    @property
    def start(self) -> date | None:
        """The period's first day."""
        return self.period.start if self.period else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whether there is to be a lock: resting on what (None: there is to be none), and why, as a sentence's end.

    stays: there is one, and nothing that is known now speaks for or against it.
    """

    why: LockWhy | None
    reason: str
    stays: bool = False


NEVER, INACTIVE = "the project is marked as never to be locked", "the project is not active"
NO_BUDGET, RELEASED = "it has no budget now", "an operator has unlocked it for this budget and period"
ORDERED = "an operator ordered it"


def should_be(known: Known, when_unsure: WhenUnsure) -> Wanted:
    """What the last order and the last figures ask for. LOCK_MODE says what is done about it."""
    return _whatever_was_spent(known) or _figures_ask(known, when_unsure)


def goes_by_figures(known: Known) -> bool:
    """Whether it matters what was spent."""
    return _whatever_was_spent(known) is None


def _whatever_was_spent(known: Known) -> Wanted | None:
    if known.order is not None and known.order.locks and known.project.lock is not LockPolicy.NEVER:
        return Wanted(LockWhy.ORDER, ORDERED)
    # Nobody is unsure of the last two, and an alert of the budget that a project had comes too late.
    open_for = (
        (known.project.lock is LockPolicy.NEVER, NEVER),
        (known.is_released, RELEASED),
        (not known.project.active, INACTIVE),
        (not known.has_budget, NO_BUDGET),
    )
    reason = next((why for is_so, why in open_for if is_so), None)
    return Wanted(None, reason) if reason else None


def _figures_ask(known: Known, when_unsure: WhenUnsure) -> Wanted:
    azure, database, held = known.azure, known.database, _by_figures(known.held)
    said = (("Azure's budget shows", azure), ("the costs that were read show", database))
    full = [f"{name} {figure}" for name, figure in said if figure and figure.is_full]
    if full:
        return Wanted(_rests_on(azure, database), " and ".join(full))
    below = " and ".join(f"{name} {figure}" for name, figure in said if figure and figure.is_known)
    if database is None or not database.is_known:
        return _nobody_knows(known, held, below, when_unsure)
    stays = _still_counts(held, known, database) if held else None
    if held and stays:
        return Wanted(held.why, stays, stays=True)
    return Wanted(None, f"{_why_off(held, known, database)}: {database} is used" if held else _is_below(below))


def _nobody_knows(known: Known, held: HeldLock | None, below: str, when_unsure: WhenUnsure) -> Wanted:
    """What is done where the costs that were read say nothing. below: what Azure shows, if it shows less than 100 %."""
    read = f" (the costs that were read: {known.database})" if known.database else ""
    unsure = f"nobody knows what was spent{read}"
    if known.hinted and not below:
        unsure = f"{unsure}, and LOCK_WHEN_UNSURE is {when_unsure}"
        if when_unsure is WhenUnsure.LOCK:
            return Wanted(LockWhy.UNSURE, unsure)
    elif known.azure_unknown and not held:
        unsure = f"{unsure}, and {known.azure_unknown}"
    if held:
        return Wanted(held.why, unsure, stays=True)
    return Wanted(None, _is_below(below) if below else unsure)


def _is_below(figures: str) -> str:
    return f"{figures}: that is below 100 %"


def _by_figures(held: HeldLock | None) -> HeldLock | None:
    """A lock that an operator ordered is none without that order."""
    return None if held is None or held.why is LockWhy.ORDER else held


def _rests_on(azure: Figure | None, database: Figure | None) -> LockWhy:
    if database and database.is_full and not database.lacks:
        return LockWhy.OVER
    return LockWhy.AZURE if azure and azure.is_full else LockWhy.INCOMPLETE


def _still_counts(held: HeldLock, known: Known, now: Figure) -> str | None:
    """Why a lock stays, though the figure is complete and below 100 %; None where nothing speaks for it.

    What was seen then is compared with its like only: of the same period, currency and groups.
    """
    if not _is_like(held, known) or held.seen_on is None:
        return None
    showed_on = held.spent_on or held.seen_on
    if held.spent is not None and reached(FULL, held.spent, now.amount) and known.today < showed_on + SEEN_COUNTS_FOR:
        showed = replace(now, spent=held.spent)
        return f"Azure's budget showed {showed} on {showed_on}, which counts for three days"
    if known.today >= held.seen_on + SEEN_COUNTS_FOR:
        return None
    if held.why in SURE and held.amount is not None and now.amount <= held.amount:
        return f"it was at 100 % on {held.seen_on}, which counts for three days, and its budget was not raised"
    return None


def _is_like(held: HeldLock, known: Known) -> bool:
    """Whether what a lock was decided on is of the same period, currency and groups as what is known now."""
    currency = known.budget.terms.currency or None
    is_same = (held.period_start, held.currency or currency) == (known.start, currency)
    return is_same and held.counted in (None, known.counted)


def _why_off(held: HeldLock, known: Known, now: Figure) -> str:
    """Why a lock comes off, as the beginning of a sentence."""
    if held.period_start != known.start:
        return f"a new period began on {known.start}"
    if held.currency not in (None, now.currency):
        return f"its budget is in {now.currency} now"
    if held.amount is not None and now.amount > held.amount:
        return "the budget was raised"
    if held.why not in SURE:
        return "costs that were missing when it was locked have been read"
    if held.counted not in (None, known.counted):
        return "it has other resource groups now"
    return "it has not been at 100 % for three days"


def held_on(wanted: Wanted, known: Known, shown_by_azure: Decimal | None) -> HeldLock:
    """The lock as it is to be remembered, with what it was decided on. shown_by_azure: today."""
    held, is_order = known.held, wanted.why is LockWhy.ORDER
    if wanted.stays and held is not None:
        return held
    why, seen_on = wanted.why or LockWhy.UNSURE, known.today
    currency = known.budget.terms.currency or None
    if held is not None and not is_order and (held.period_start, held.currency) == (known.start, currency):
        seen_on = held.seen_on if why is LockWhy.UNSURE and held.seen_on else seen_on
        why = held.why if held.why in SURE and why not in SURE else why
    spent, spent_on = shown_by_azure, known.today
    if spent is None and held is not None and _is_like(held, known):
        spent, spent_on = held.spent, held.spent_on or held.seen_on or known.today
    return HeldLock(
        why=why,
        budget_number=known.budget.first_number,
        period_start=known.start,
        currency=currency,
        amount=known.budget.available,
        spent=spent,
        spent_on=None if spent is None else spent_on,
        seen_on=seen_on,
        counted=known.counted,
    )
