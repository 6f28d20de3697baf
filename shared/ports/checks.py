"""Usage against budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from shared.domain.budgets import Budget
from shared.domain.coverage import Gap
from shared.domain.currencies import Conversion
from shared.domain.forecast import Forecast
from shared.domain.locks import HeldLock
from shared.domain.money import EXACT
from shared.domain.periods import Period
from shared.domain.projects import Project, Scope
from shared.domain.thresholds import Checked, Decision
from shared.messages import LockAction
from shared.ports.mails import NewMail


@dataclass(frozen=True, slots=True)
class ProjectUsage:
    """A project as one check sees it.

    period: None where the budget has no period today. usage: the sum of its charges in the period, in the
    budget's currency, and `allocated`: what rules give it in that period and currency. other_currencies: those of
    charges in the period that could not be added. last_charged: where there are any, the last day in the period with a
    charge, by currency, the budget's own among them.
    told: the thresholds that count as told for this revision and period. last: the check before in this period.
    by_day: what was spent on each day of the period, in the budget's currency, with what is allocated. forecast,
    used_up_on: of the period, as of today (where exports feed it, of their last day); None where they can't be told.
    read_on: when its costs were last read, and up to when (today where they never were).
    warned: its people had an early warning for this revision and period.
    held: the lock that the app has put on it. released: by hand, for this revision and period.
    over: the period has ended, and the budget is the revision that counted at its end; late charges are still compared
    with it. What is about days to come, and the lock, says nothing then. gaps: what `usage`, and all that rests on it,
    lacks; lacks_from: as of a ProjectView. converted: what of it was charged, or allocated, in other currencies.
    own_is_whole: all of the project's own charges could be converted.
    """

    project: Project
    budget: Budget
    period: Period | None
    usage: Decimal
    other_currencies: tuple[str, ...]
    told: frozenset[int]
    last: Checked | None
    by_day: Mapping[date, Decimal]
    forecast: Forecast | None
    used_up_on: date | None
    read_on: date
    warned: bool
    held: HeldLock | None
    released: bool
    over: bool = False
    last_charged: Mapping[str, date] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    allocated: Decimal = Decimal(0)
    converted: Conversion = field(default_factory=Conversion)
    own_is_whole: bool = True
    lacks_from: date | None = None

    @property
    def own(self) -> Decimal:
        """What the project itself has spent: all that a lock goes by."""
        return EXACT.subtract(self.usage, self.allocated)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check makes of a project.

    decision: on `thresholds`; None where there is nothing to compare. problem: a sentence where the project
    can't be watched. mails: about that, each sent once by its key. warns: an early warning is due; where there is an
    alert too, that one says it.
    lock: what is to be asked of the lock, and why.
    """

    decision: Decision | None
    thresholds: tuple[int, ...] = ()
    problem: str | None = None
    mails: tuple[NewMail, ...] = ()
    lock: tuple[LockAction, str] | None = None
    warns: bool = False

    @property
    def alert(self) -> int | None:
        """The threshold that is to be mailed."""
        return self.decision.alert if self.decision else None


class Judge(Protocol):
    """Who says what a check makes of projects."""

    def judge(self, usage: ProjectUsage) -> Judgement:
        """What is to be told and asked of a project."""
        ...

    def alert(
        self, usage: ProjectUsage, threshold: int, by_service: Mapping[str, Decimal], scopes: Sequence[Scope]
    ) -> NewMail:
        """The mail of a threshold that was reached. by_service: what was spent in the period, as `usage` is. scopes:
        all that the project has.
        """
        ...

    def warning(self, usage: ProjectUsage, by_service: Mapping[str, Decimal], scopes: Sequence[Scope]) -> NewMail:
        """The mail of an early warning."""
        ...


@dataclass(frozen=True, slots=True)
class CheckResult:
    """unsent: ids of mails for or about these projects that nobody has begun to send. unknown: ids of no project.

    locks: what the judgements ask of the lock, as (project id, action, reason). alerts: as (project id, threshold).
    checked: how many projects were judged; those that are inactive are not.
    """

    unsent: tuple[int, ...]
    unknown: tuple[int, ...]
    locks: tuple[tuple[int, LockAction, str], ...] = ()
    alerts: tuple[tuple[int, int], ...] = ()
    checked: int = 0


class CheckLedger(Protocol):
    """Usage against budgets."""

    def acronyms(self, project_ids: Sequence[int]) -> dict[int, str]:
        """The acronyms of those of these projects that there are, by id."""
        ...

    def give_up(self, project_ids: Sequence[int], reason: str) -> None:
        """These could not be checked for good: they are no longer due, and `reason` becomes their problem."""
        ...

    def stuck_projects(self, before: datetime) -> list[int]:
        """Active projects whose check has been due since before `before`."""
        ...

    def mark_requeued(self, project_ids: Sequence[int], now: datetime) -> None:
        """Their checks were asked for again now: they count as stuck only after another while."""
        ...

    def check(self, project_ids: Sequence[int], judge: Judge, now: datetime) -> CheckResult:
        """Judges these projects in one transaction, with a number of statements that does not grow with theirs.

        A period that has ended is followed by the next first, once, with what its rollover carries on; what was carried
        follows late charges of the ended period until they are final (`coverage.settled_before`). So
        long the ended period is judged too, with the revision that counted at its end, before the present one.

        Two checks of the same project never run at the same time: the second waits, and sees what the first did.
        The alert of each decision and its mail are written together. A project's due mark goes;
        inactive projects are passed over. What was seen (usage, thresholds, budget, period) becomes the next check's
        `last`; forecasts are kept for listings. Raises LaterError; NeverError where a sum can't be held exactly.
        """
        ...
