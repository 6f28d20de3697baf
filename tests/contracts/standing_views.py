"""How projects stand, next to what a listing works out of all charges."""

from __future__ import annotations

from datetime import date
from typing import Any

from shared.domain.standings import Known
from shared.ports.projects import ProjectLedger, ProjectView
from shared.ports.standings import Order, Standing, StandingLedger, Wanted

MOST = 1_000


def assert_as_listed(projects: ProjectLedger, standings: StandingLedger, today: date) -> None:
    """Whatever is known of how projects stand is what the listing works out."""
    views = projects.list_projects(today)
    found = standings.page(Wanted(), Order.ID, MOST, today)
    assert found.unknown == 0
    assert [shown(each) for each in found.standings] == [as_shown(view) for view in views]
    stale = [view.project.id for view in views if view.gaps and view.project.active]
    assert ids(standings, today, stale=True) == stale
    assert ids(standings, today, locked=True) == [each.project.id for each in views if each.locked_since]


def assert_true_or_marked(projects: ProjectLedger, standings: StandingLedger, today: date) -> None:
    """Of whom a list says that all is known, it says what the listing works out."""
    views = {view.project.id: view for view in projects.list_projects(today)}
    for each in standings.page(Wanted(), Order.ID, MOST, today).standings:
        if each.known is Known.CURRENT:
            said, works_out = shown(each), as_shown(views[each.project.id])
            assert said == works_out, [(said[name], works_out[name]) for name in said if said[name] != works_out[name]]


def ids(standings: StandingLedger, today: date, order: Order = Order.ID, **wanted: Any) -> list[int]:
    """The ids of those that are wanted."""
    return [each.project.id for each in standings.page(Wanted(**wanted), order, MOST, today).standings]


def shown(standing: Standing) -> dict[str, Any]:
    figures = standing.figures
    assert figures is not None
    return {
        "project": standing.project,
        "figures": (figures.period, figures.currency, figures.amount, figures.spent, figures.allocated, figures.used),
        "percent": standing.percent,
        "converted": figures.converted and (figures.converted.amount, str(figures.converted)),
        "forecast": (standing.forecast, standing.used_up_on),
        "gaps": standing.gaps,
        "alerts": standing.alerts,
        "others": (standing.problem, standing.locked_since, standing.updated_at),
    }


def as_shown(view: ProjectView) -> dict[str, Any]:
    return {
        "project": view.project,
        "figures": (view.period, view.currency, view.amount, view.spent, view.allocated, view.used),
        "percent": view.percent,
        "converted": (view.converted.total, str(view.converted)) if view.converted.sources else None,
        "forecast": (view.forecast, view.used_up_on),
        "gaps": view.gaps,
        "alerts": view.alerts,
        "others": (view.problem, view.locked_since, view.updated_at),
    }
