"""How a project stands: figures that were worked out once, and whether they still say something."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from shared.domain.coverage import DAY, Gap
from shared.domain.currencies import ConvertedSum
from shared.domain.money import add
from shared.domain.periods import Period
from shared.domain.texts import folded


class Known(StrEnum):
    """What is known of how a project stands.

    CURRENT: all that counts. DUE: a check is due, since something has changed after the figures were worked out.
    UNWATCHED: the project is not active; they are of the day on which that was so for the first time. OVER: the
    period that they were of is over, and nothing is known of the present one. NEVER: they have never been worked out.
    """

    CURRENT = "current"
    DUE = "due"
    UNWATCHED = "unwatched"
    OVER = "over"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was worked out of a project, all of it in `currency`.

    period: the one that held the day; None where none did. amount: what may be spent in it, with what was carried;
    None without a budget. spent: with the opening balance, and what was converted; allocated: what rules gave it
    besides. converted: what of both was in other currencies; None where nothing was. percent: how much of the amount
    is used, rounded down; None without a budget.
    lacks_from: the first day on which they lack something, where no costs are read until then; None: never. unrated:
    charges that are left out, since nobody knows a rate for them. ends_on: the first day of which they say nothing,
    since another period begins; None: there is none.
    """

    period: Period | None
    currency: str | None
    amount: Decimal | None
    spent: Decimal
    allocated: Decimal
    converted: ConvertedSum | None
    percent: Decimal | None
    lacks_from: date | None = None
    unrated: tuple[tuple[str, date], ...] = ()
    ends_on: date | None = None

    @property
    def used(self) -> Decimal:
        """What counts against the budget: what is spent, and allocated."""
        return add(self.spent, self.allocated)

    @property
    def gaps_of_rates(self) -> tuple[Gap, ...]:
        """What they lack for want of rates."""
        return tuple(Gap("", Period(day, day + DAY), currency=currency) for currency, day in self.unrated)

    def say_something(self, today: date) -> bool:
        """Whether they are of the period that holds `today`."""
        return self.ends_on is None or today < self.ends_on

    def are_stale(self, today: date) -> bool:
        """Whether they lack something by now, or for more than a day no check has followed in the next period."""
        since = self.lacks_from if self.say_something(today) else self.ends_on and self.ends_on + DAY
        return since is not None and since <= today


def known(figures: Figures | None, due_since: datetime | None, is_active: bool, today: date) -> Known:
    """What is known of a project with these figures."""
    if figures is None:
        return Known.NEVER
    if not figures.say_something(today):
        return Known.OVER
    if not is_active:
        return Known.UNWATCHED
    return Known.DUE if due_since else Known.CURRENT


def searched(acronym: str, name: str) -> str:
    """What a search looks through, and what it looks for is `folded`, too."""
    return f"{folded(acronym)}\n{folded(name)}"
