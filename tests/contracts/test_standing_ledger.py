"""The StandingLedger, on every database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.standings import SqlStandings
from shared.domain.standings import Known
from shared.ports.projects import ProjectView
from shared.ports.standings import Order, Standing, Wanted
from tests.contracts.ledger_data import LOOKBACK_DAYS, MONTHLY, NOW, TODAY, Ledgers, entry, november, terms

DAY = timedelta(days=1)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def page(ledgers: Ledgers, order: Order = Order.ID, most: int = 100, today: date = TODAY, **wanted: Any) -> Any:
    return SqlStandings(ledgers.database, LOOKBACK_DAYS).page(Wanted(**wanted), order, most, today)


def listed(ledgers: Ledgers, order: Order = Order.ID, today: date = TODAY, **wanted: Any) -> list[int]:
    """The ids on the first page."""
    return [each.project.id for each in page(ledgers, order, today=today, **wanted).standings]


def standing(ledgers: Ledgers, today: date = TODAY) -> Standing:
    """Of the one project that there is."""
    (found,) = page(ledgers, today=today).standings
    return found


def assert_as_listed(ledgers: Ledgers, today: date = TODAY) -> None:
    """Whatever is known of how projects stand is what the listing works out."""
    views = {view.project.id: view for view in ledgers.projects.list_projects(today)}
    found = page(ledgers, today=today).standings
    assert [each.project for each in found] == [view.project for view in views.values()]
    for each in found:
        assert shown(each) == as_shown(views[each.project.id])


def shown(standing: Standing) -> dict[str, Any]:
    figures = standing.figures
    assert figures is not None
    return {
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
        "figures": (view.period, view.currency, view.amount, view.spent, view.allocated, view.used),
        "percent": view.percent,
        "converted": (view.converted.total, str(view.converted)) if view.converted.sources else None,
        "forecast": (view.forecast, view.used_up_on),
        "gaps": view.gaps,
        "alerts": view.alerts,
        "others": (view.problem, view.locked_since, view.updated_at),
    }


def test_right_after_a_check_it_is_what_the_listing_works_out(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), entry(2), entry(3, terms=terms(amount=None)))
    ledgers.spend(
        *(("rg-1", november(day), "Storage", "20.5") for day in range(1, 20)), ("rg-2", november(3), "VM", "7")
    )
    ledgers.check(1, 2, 3)
    assert_as_listed(ledgers)
    assert {each.known for each in page(ledgers).standings} == {Known.CURRENT}


def test_a_project_that_was_just_loaded_stands_as_the_listing_says_and_is_due(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, active=False))
    assert_as_listed(ledgers)
    assert [each.known for each in page(ledgers).standings] == [Known.DUE, Known.UNWATCHED]


def test_a_budget_that_is_revised_counts_at_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1)
    ledgers.projects.revise_budget(1, terms("1200", rule=MONTHLY), "ann", "more", NOW)
    assert_as_listed(ledgers)
    assert (standing(ledgers).percent, standing(ledgers).known) == (Decimal(50), Known.DUE)


def test_new_costs_are_due_for_a_check_and_until_then_it_is_as_before(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.check(1)
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    found = standing(ledgers)
    assert found.figures
    assert (found.figures.spent, found.known, found.due_since) == (Decimal(0), Known.DUE, NOW)


def test_nothing_is_known_of_a_period_that_no_check_has_seen(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1)
    december = page(ledgers, today=date(2026, 12, 1), over=1)
    assert (december.count, december.totals) == (0, [])
    found = page(ledgers, today=date(2026, 12, 1))
    (only,) = found.standings
    assert (only.known, only.figures, only.percent, found.unknown) == (Known.OVER, None, None, 1)
    ledgers.check(1, now=datetime(2026, 12, 1, 2, tzinfo=UTC))
    assert_as_listed(ledgers, date(2026, 12, 1))


def test_as_time_goes_by_without_reading_it_becomes_stale_on_the_day_on_which_the_listing_says_so(
    ledgers: Ledgers,
) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1)
    for today in (TODAY + days * DAY for days in range(12)):
        (view,) = ledgers.projects.list_projects(today)
        assert (standing(ledgers, today).gaps, listed(ledgers, today=today, stale=True)) == (
            view.gaps,
            [1] if view.gaps else [],
        )


@pytest.mark.parametrize("order", Order)
def test_pages_follow_each_other_and_hold_each_project_once(ledgers: Ledgers, order: Order) -> None:
    ledgers.load(
        *(
            entry(
                each,
                acronym=f"{'ÉbA'[each % 3]}-{each}",
                terms=terms(str(each % 4 * 100), "CAD" if each % 2 else "EUR"),
            )
            for each in range(1, 12)
        )
    )
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", str(each % 5 * 50)) for each in range(1, 12)))
    ledgers.check(*range(1, 12))
    whole = page(ledgers, order)
    found, after = [], None
    while True:
        next_one = SqlStandings(ledgers.database, LOOKBACK_DAYS).page(Wanted(), order, 3, TODAY, after)
        found += next_one.standings
        after = next_one.next
        if after is None:
            break
    assert (found, whole.next, whole.count) == (whole.standings, None, 11)
