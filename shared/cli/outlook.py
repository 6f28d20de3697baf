"""How a project's period will end, as far as its costs tell: what `projects list` and `show` say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.forecast import Forecast, forecast, used_up_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from shared.composition import Composition
    from shared.ports.projects import ProjectView

# Their days are held in memory at once: a year of one project are 365 amounts.
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Outlook:
    """forecast: of the period's total, in the project's currency. used_up: the day on which the budget is used up.

    Each None where it can't be told; `used_up` also where the budget lasts until the period's end.
    """

    forecast: Forecast | None = None
    used_up: date | None = None


def outlook(view: ProjectView, by_day: Mapping[date, Decimal]) -> Outlook:
    """What is to be expected of a project, as of the last reading of its costs; nothing of one that is not active.

    by_day: what it spent on each day of its period.
    """
    if not view.project.active or view.period is None or view.updated_at is None:
        return Outlook()
    # Days after the last reading would be taken for days without costs.
    as_of = view.updated_at.date()
    amount = view.amount
    return Outlook(
        forecast(by_day, view.period, as_of),
        used_up_on(by_day, amount, view.period, as_of) if amount else None,
    )


def outlooks(app: Composition, views: Sequence[ProjectView], today: date) -> Iterator[tuple[ProjectView, Outlook]]:
    """Each of these projects, and what is to be expected of it."""
    for start in range(0, len(views), AT_ONCE):
        some = views[start : start + AT_ONCE]
        days = app.projects.days_spent([view.project.id for view in some], today)
        for view in some:
            yield view, outlook(view, days.get(view.project.id, {}))
