"""How projects stand: listed by the page, without a sum over charges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from shared.domain.coverage import Gap
from shared.domain.forecast import Forecast
from shared.domain.projects import Project
from shared.domain.standings import Figures, Known


class Order(StrEnum):
    """What a list is sorted by. Amounts are compared with those of their currency only, the largest first."""

    ID = "id"
    ACRONYM = "acronym"
    BUDGET = "budget"
    SPENT = "spent"
    USED = "used"
    FORECAST = "forecast"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which projects; empty for what does not matter.

    search: what the acronym or the name holds; owner, department, cost_centre: what these fields say: case and accents
    don't matter. over: only active ones that have used so many percent of their budget. stale: only those of which
    costs are missing. locked: only those that the app has locked. active: only active ones. project_ids: only these.
    """

    search: str = ""
    over: int | None = None
    stale: bool = False
    locked: bool = False
    owner: str = ""
    department: str = ""
    cost_centre: str = ""
    active: bool = False
    project_ids: Collection[int] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which project a page begins, by what that one was sorted by: so it stays where it is, whatever changes.

    text: the currency, or the acronym, in small letters; amount: an amount, or a percent; then the id. What the order
    does not ask for is empty, or 0.
    """

    text: str
    amount: Decimal
    project_id: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A project as it stands in a list.

    figures: None where nothing is known of the present period. as_of: when they were worked out. gaps: what they lack;
    they are complete without one. forecast, used_up_on: as of a `ports.projects.ProjectView`. alerts: the thresholds
    mailed for the budget's revision and the period of the figures. problem: why it can't be watched, if so.
    due_since: something has changed then, and no check has followed yet. checked_at, updated_at: when it was last
    checked, and when its costs were last read.
    """

    project: Project
    known: Known
    figures: Figures | None = None
    as_of: datetime | None = None
    gaps: tuple[Gap, ...] = ()
    forecast: Forecast | None = None
    used_up_on: date | None = None
    alerts: tuple[int, ...] = ()
    problem: str | None = None
    locked_since: datetime | None = None
    due_since: datetime | None = None
    checked_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def percent(self) -> Decimal | None:
        """How much of the budget is used, rounded down; None where that is not known, and where there is none."""
        return self.figures.percent if self.figures and not self.problem else None


@dataclass(frozen=True, slots=True)
class Total:
    """What the projects of a list come to whose budgets are in one currency, those that are known.

    amount: of their budgets; used: what is spent, and allocated.
    """

    currency: str
    projects: int
    amount: Decimal
    used: Decimal


@dataclass(frozen=True, slots=True)
class StandingPage:
    """A page of a list. count, totals, unknown: of the whole list, not only of this page.

    unknown: of how many nothing is known of the present period; they are in no total. next: where the next page
    begins; None for the last one.
    """

    standings: Sequence[Standing]
    count: int
    totals: Sequence[Total]
    unknown: int
    next: Place | None


class StandingLedger(Protocol):
    """How projects stand, as the chain has written it down."""

    def page(self, wanted: Wanted, order: Order, most: int, today: date, after: Place | None = None) -> StandingPage:
        """The projects that are wanted, from `after` on, at most so many."""
        ...
