"""The StandingLedger, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, event, select

from shared.adapters.database.engine import Database
from shared.adapters.database.rates import SqlRates
from shared.adapters.database.tables import locks, standings
from shared.domain.allocation import Method, Pool, Rule
from shared.domain.currencies import RateSource
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.standings import Known
from shared.domain.texts import folded
from shared.ports.azure import AZURE
from shared.ports.standings import Order, Place, Standing, StandingPage, Total, Wanted
from tests.contracts.ledger_data import (
    DAY,
    MONTHLY,
    NOVEMBER,
    NOW,
    SUB,
    TODAY,
    Ledgers,
    entry,
    november,
    reading,
    terms,
)
from tests.contracts.standing_views import assert_as_listed, ids

DECEMBER_1 = datetime(2026, 12, 1, 2, tzinfo=UTC)
OF_MONTHS = terms(rule=MONTHLY)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def page(
    ledgers: Ledgers, order: Order = Order.ID, most: int = 100, today: date = TODAY, **wanted: Any
) -> StandingPage:
    return ledgers.standings.page(Wanted(**wanted), order, most, today)


def found(ledgers: Ledgers, order: Order = Order.ID, today: date = TODAY, **wanted: Any) -> list[int]:
    """The ids of those that are wanted."""
    return ids(ledgers.standings, today, order, **wanted)


def standing(ledgers: Ledgers, today: date = TODAY) -> Standing:
    """Of the one project that there is."""
    (only,) = page(ledgers, today=today).standings
    return only


def compare(ledgers: Ledgers, today: date = TODAY) -> None:
    """Whatever is known of how projects stand is what the listing works out."""
    assert_as_listed(ledgers.projects, ledgers.standings, today)


# --- what is known, and since when ---------------------------------------------------------------------------


def test_right_after_a_check_projects_stand_as_the_listing_works_out(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS), entry(2), entry(3, terms=terms(amount=None)))
    spent = [("rg-1", november(day), "Storage", "20.5") for day in range(1, 20)]
    ledgers.spend(*spent, ("rg-2", november(3), "VM", "700"))
    ledgers.check(1, 2, 3)
    compare(ledgers)
    assert {each.known for each in page(ledgers).standings} == {Known.CURRENT}
    assert page(ledgers).standings[1].alerts == (50,)


def test_a_project_that_was_just_loaded_stands_as_the_listing_says_and_is_due(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, active=False))
    compare(ledgers)
    assert [each.known for each in page(ledgers).standings] == [Known.DUE, Known.UNWATCHED]


def test_a_load_that_changes_nothing_writes_nothing_of_how_projects_stand(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.load(entry(1), now=NOW + DAY)
    assert standing(ledgers).as_of == NOW


def test_a_budget_that_is_revised_counts_at_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1)
    ledgers.projects.revise_budget(1, terms("1200", rule=MONTHLY), "ann", "more", NOW)
    compare(ledgers)
    assert (standing(ledgers).percent, standing(ledgers).known) == (Decimal(50), Known.DUE)


def test_groups_that_change_hands_are_counted_at_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "a", "b", terms=OF_MONTHS), entry(2, "c", terms=OF_MONTHS))
    ledgers.spend(("a", november(3), "Storage", "600"), ("b", november(3), "Storage", "60"))
    ledgers.check(1, 2)
    corrected = [entry(1, "a", terms=OF_MONTHS), entry(2, "b", "c", terms=OF_MONTHS)]
    ledgers.projects.load(corrected, "ann", NOW, correction=True)
    compare(ledgers)
    assert [each.figures and each.figures.spent for each in page(ledgers).standings] == [600, 60]


def test_new_costs_make_a_project_due_and_until_its_check_it_stands_as_before(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.check(1)
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    now = standing(ledgers)
    assert now.figures
    assert (now.figures.spent, now.known, now.due_since, now.as_of) == (0, Known.DUE, NOW, NOW)


def test_rates_that_come_later_make_whoever_they_concern_due(ledgers: Ledgers) -> None:
    ledgers = replace(ledgers, converts=True)
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.spend(("rg-1", november(3), "Storage", "600"), currency="USD")
    ledgers.check(1)
    compare(ledgers)
    assert [gap.currency for gap in standing(ledgers).gaps] == ["USD"]
    rates = [(november(2), currency, Decimal(worth)) for currency, worth in (("USD", "1.1"), ("CAD", "1.54"))]
    SqlRates(ledgers.database, converts=True).keep(rates, NOW)
    assert standing(ledgers).known is Known.DUE
    ledgers.check(1)
    compare(ledgers)
    figures = standing(ledgers).figures
    assert figures
    assert figures.converted
    assert (figures.spent, figures.converted.amount, figures.converted.sources) == (840, 840, {RateSource.ECB})
    assert str(figures.converted) == "the ECB's rates (the newest of 2026-11-02)"


def test_a_rule_that_gives_a_project_a_share_makes_it_due(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.spend(("rg-1", november(3), "Storage", "600"), ("shared", november(3), "Storage", "40"))
    ledgers.check(1)
    rule = Rule("all", Pool(AZURE, SUB), Method.EVERYWHERE, november(1), None, ())
    ledgers.allocations.load([rule], "ann", "fair", NOW, lambda _changes: True)
    assert standing(ledgers).known is Known.DUE
    ledgers.check(1)
    compare(ledgers)
    figures = standing(ledgers).figures
    assert figures
    assert (figures.spent, figures.allocated, figures.used, figures.percent) == (600, 40, 640, 64)


def test_nothing_is_known_of_a_period_that_no_check_has_seen(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS), entry(2, terms=terms(amount=None, rule=MONTHLY)))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1, 2)
    in_december = page(ledgers, today=DECEMBER_1.date())
    assert (in_december.count, in_december.unknown, in_december.totals) == (2, 2, [])
    assert {(each.known, each.figures, each.percent, each.alerts) for each in in_december.standings} == {
        (Known.OVER, None, None, ())
    }
    assert found(ledgers, today=DECEMBER_1.date(), over=0) == []
    # A night later somebody should have looked.
    assert found(ledgers, today=DECEMBER_1.date(), stale=True) == []
    assert found(ledgers, today=DECEMBER_1.date() + DAY, stale=True) == [1, 2]
    ledgers.check(1, 2, now=DECEMBER_1)
    compare(ledgers, DECEMBER_1.date())


def test_a_fixed_period_that_is_over_is_followed_by_none_and_one_that_is_to_come_begins(ledgers: Ledgers) -> None:
    days = PeriodRule(PeriodKind.FIXED, november(25), november(28))
    ledgers.load(entry(1, terms=terms(rule=days)))
    ledgers.check(1)
    assert [standing(ledgers, november(day)).known for day in (24, 25)] == [Known.CURRENT, Known.OVER]
    ledgers.check(1, now=NOW.replace(day=26))
    assert [standing(ledgers, november(day)).known for day in (27, 28)] == [Known.CURRENT, Known.OVER]
    ledgers.check(1, now=NOW.replace(day=29))
    assert standing(ledgers, date(2027, 11, 26)).known is Known.CURRENT


def test_of_projects_that_were_there_before_nothing_is_known(ledgers: Ledgers) -> None:
    ledgers.load(entry(2, terms=OF_MONTHS), entry(1, acronym="Åre"))
    with ledgers.database.engine.begin() as connection:
        connection.execute(delete(standings))
    for order in Order:
        assert {(each.known, each.as_of) for each in page(ledgers, order).standings} == {(Known.NEVER, None)}
    assert (page(ledgers).unknown, page(ledgers).totals, found(ledgers, stale=True), found(ledgers, over=0)) == (
        2,
        [],
        [],
        [],
    )
    ledgers.check(1, 2)
    compare(ledgers)


def test_a_figure_that_can_not_be_held_is_not_known(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    largest = "899999999" if ledgers.database.engine.dialect.name == "sqlite" else "999999999999999998"
    ledgers.projects.revise_budget(1, terms(largest, rule=MONTHLY), "ann", "much", NOW)
    ledgers.check(1)
    assert standing(ledgers).known is Known.CURRENT
    tiny = terms("0.0000000001", rule=MONTHLY)
    ledgers.projects.revise_budget(1, tiny, "ann", "next to nothing", NOW)
    # As many percent as there is room for.
    assert (standing(ledgers).percent or 0) > 800_000_000


def test_as_time_goes_by_it_becomes_stale_on_the_day_on_which_the_listing_says_so(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS), entry(2))
    ledgers.spend(("rg-1", november(3), "Storage", "600"), window=Period(november(1), november(21)))
    ledgers.check(1, 2)
    for today in map(november, range(20, 31)):
        views = ledgers.projects.list_projects(today)
        assert [each.gaps for each in page(ledgers, today=today).standings] == [view.gaps for view in views]
        assert found(ledgers, today=today, stale=True) == [view.project.id for view in views if view.gaps]


def test_costs_that_can_not_be_read_are_missing_at_once_though_no_check_follows(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS), entry(2, subscription_id="2" * 8, terms=OF_MONTHS), entry(3, active=False))
    for sub in (SUB, "2" * 8):
        ledgers.spend(("rg-1", november(3), "Storage", "6"), sub_account_id=sub, now=NOW)
    ledgers.check(1, 2)
    assert found(ledgers, stale=True) == []
    later = NOW.replace(hour=3)
    ledgers.store(reading(parts=(), failed=((NOVEMBER, "no such role"),), now=later), later, "later")
    assert found(ledgers, stale=True) == [1]
    assert ["no such role" in str(gap) for gap in page(ledgers).standings[0].gaps] == [True]
    compare(ledgers)
    ledgers.spend(("rg-1", november(3), "Storage", "6"), now=later.replace(hour=4))
    ledgers.check(1, now=later.replace(hour=4))
    assert found(ledgers, stale=True) == []


def test_a_lock_shows_at_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    with ledgers.database.engine.begin() as connection:
        connection.execute(locks.insert(), {"project_id": 2, "held_since": NOW, "groups": []})
    assert (found(ledgers, locked=True), page(ledgers).standings[1].locked_since) == ([2], NOW)
    compare(ledgers)


def test_a_project_that_is_not_active_any_more_stands_as_it_did_then(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1)
    ledgers.load(entry(1, active=False, terms=OF_MONTHS))
    compare(ledgers)
    gone = standing(ledgers)
    assert (gone.known, gone.due_since, gone.forecast) == (Known.UNWATCHED, None, None)
    assert (found(ledgers, active=True), found(ledgers, over=0), found(ledgers)) == ([], [], [1])


def test_where_a_check_was_given_up_no_percent_is_known(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=OF_MONTHS))
    ledgers.spend(("rg-1", november(3), "Storage", "600"))
    ledgers.check(1)
    ledgers.checks.give_up([1], "the database was away")
    compare(ledgers)
    assert (standing(ledgers).percent, standing(ledgers).problem, found(ledgers, over=0)) == (
        None,
        "the database was away",
        [],
    )


def test_nobody_stands_in_how_a_project_stands_once_its_people_are_forgotten(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, active=False, owner="Zoé Martin", contacts=("zoe.martin@example.org",)))
    ledgers.projects.forget(1)
    with ledgers.database.engine.connect() as connection:
        row = folded(repr(connection.execute(select(standings)).all()))
    assert "zoe" not in row
    assert (found(ledgers, owner="zoe martin"), standing(ledgers).project.owner) == ([], None)


# --- which of them -------------------------------------------------------------------------------------------


def test_a_search_finds_what_the_acronym_or_the_name_holds_without_case_and_accents(ledgers: Ledgers) -> None:
    ledgers.load(
        entry(1, acronym="FORÊT", name="Les arbres"),
        entry(2, acronym="P_2", name="100 % [bio] / Ökologie"),
        entry(3, acronym="P-3", name="Straße"),
    )
    assert [
        found(ledgers, search=text) for text in ("foret", "É", "ARBRES", "p", "P_", "%", "[bio]", "/", "oko", "ss")
    ] == [
        [1],
        [1, 2, 3],
        [1],
        [2, 3],
        [2],
        [2],
        [2],
        [2],
        [2],
        [3],
    ]
    assert found(ledgers, search="'; DROP TABLE projects; --") == []


def test_who_answers_for_projects_is_found_however_it_is_spelled(ledgers: Ledgers) -> None:
    ledgers.load(
        entry(1, owner="Zoé", department="R&D", cost_centre="0815"),
        entry(2, owner="ZOE", department="r&d"),
        entry(3, owner="Zoé Martin"),
        entry(4),
    )
    assert (found(ledgers, owner="zoe"), found(ledgers, department="R&D", cost_centre="0815")) == ([1, 2], [1])
    assert (found(ledgers, owner="nobody"), found(ledgers, owner="zoé", department="HR")) == ([], [])


def test_only_those_that_have_used_so_much(ledgers: Ledgers) -> None:
    ledgers.load(*(entry(each, terms=OF_MONTHS) for each in range(1, 5)))
    costs = zip(range(1, 5), ("500", "799.99999", "800", "1200"), strict=True)
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", cost) for each, cost in costs))
    ledgers.check(1, 2, 3, 4)
    assert [found(ledgers, over=percent) for percent in (50, 79, 80, 100, 121)] == [
        [1, 2, 3, 4],
        [2, 3, 4],
        [3, 4],
        [4],
        [],
    ]
    assert found(ledgers, over=10**30) == []


def test_only_some_projects_however_many(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2), entry(3))
    assert (found(ledgers, project_ids=[3, 1, 99]), found(ledgers, project_ids=[])) == ([1, 3], [])
    assert found(ledgers, project_ids=range(2, 5_000)) == [2, 3]
    assert page(ledgers, project_ids=[2]).count == 1


def test_totals_are_of_all_that_are_wanted_by_currency(ledgers: Ledgers) -> None:
    ledgers.load(
        *(entry(each, terms=terms("800000000", rule=MONTHLY)) for each in (1, 2, 3)),
        entry(4, terms=terms("10", "EUR", MONTHLY)),
        entry(5, terms=terms(None, "", MONTHLY)),
    )
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", "-0.0000000001") for each in (1, 2)))
    ledgers.check(1, 2, 3, 4, 5)
    both = page(ledgers, most=1)
    # More than one sum of SQLite's holds.
    assert both.totals == [
        Total("CAD", 3, Decimal(2_400_000_000), Decimal("-0.0000000002")),
        Total("EUR", 1, Decimal(10), Decimal(0)),
    ]
    assert (both.count, both.unknown, len(both.standings)) == (5, 0, 1)
    assert page(ledgers, project_ids=[4]).totals == [Total("EUR", 1, Decimal(10), Decimal(0))]


# --- in which order, page by page ----------------------------------------------------------------------------


def many(ledgers: Ledgers, most: int = 11) -> None:
    """Projects of which several share what they are sorted by."""
    first = ("É", "b-", "A", "b")
    ledgers.load(
        *(
            entry(
                each,
                acronym=f"{first[each % 4]}{each}",
                active=each != 4,
                terms=terms((None, "100", "300", "300")[each % 4], ("CAD", "EUR", "CAD")[each % 3], MONTHLY),
            )
            for each in range(1, most + 1)
        )
    )
    rows = [
        (f"rg-{each}", november(day), "Storage", str(each % 5 * 5 - 3))
        for each in range(1, most + 1)
        for day in range(1, 15)
        if each % 3 != 1
    ]
    ledgers.spend(*rows)
    ledgers.check(*range(1, most + 1))


def in_pages(ledgers: Ledgers, order: Order, most: int) -> list[Standing]:
    standings_, after = [], None
    while True:
        one = ledgers.standings.page(Wanted(), order, most, TODAY, after)
        assert len(one.standings) <= most
        standings_ += one.standings
        after = one.next
        if after is None:
            return standings_


@pytest.mark.parametrize("order", Order)
def test_pages_follow_each_other_and_hold_each_project_once(ledgers: Ledgers, order: Order) -> None:
    many(ledgers)
    whole = page(ledgers, order)
    assert (in_pages(ledgers, order, 3), whole.next, whole.count) == (whole.standings, None, 11)
    assert in_pages(ledgers, order, 11) == in_pages(ledgers, order, 1) == whole.standings


@pytest.mark.parametrize("order", Order)
def test_amounts_are_compared_within_their_currency_the_largest_first(ledgers: Ledgers, order: Order) -> None:
    many(ledgers)
    views = {view.project.id: view for view in ledgers.projects.list_projects(TODAY)}
    amounts = {
        Order.BUDGET: lambda view: view.amount,
        Order.SPENT: lambda view: view.spent,
        Order.FORECAST: lambda view: view.forecast.total if view.forecast else None,
    }

    def rank(each: int) -> tuple[object, ...]:
        view = views[each]
        if order in amounts:
            return view.currency or "ZZZ", -(amounts[order](view) or 0), each
        text = folded(view.project.acronym) if order is Order.ACRONYM else ""
        return text, -(view.percent or 0) if order is Order.USED else 0, each

    assert found(ledgers, order) == sorted(views, key=rank)


def test_a_page_goes_on_behind_the_one_before_whatever_has_changed(ledgers: Ledgers) -> None:
    ledgers.load(*(entry(each, terms=terms(str(each * 100), rule=MONTHLY)) for each in range(1, 7)))
    first = page(ledgers, Order.BUDGET, most=3)
    assert [each.project.id for each in first.standings] == [6, 5, 4]
    # The last one seen goes to the front, and one that was not seen yet falls.
    ledgers.projects.revise_budget(4, terms("900", rule=MONTHLY), "ann", "more", NOW)
    ledgers.projects.revise_budget(3, terms("50", rule=MONTHLY), "ann", "less", NOW)
    ledgers.load(entry(7, terms=terms("250", rule=MONTHLY)))
    rest = ledgers.standings.page(Wanted(), Order.BUDGET, 10, TODAY, first.next)
    assert [each.project.id for each in rest.standings] == [7, 2, 1, 3]


def test_a_place_may_be_anywhere(ledgers: Ledgers) -> None:
    many(ledgers)
    for order in Order:
        beyond = ledgers.standings.page(Wanted(), order, 5, TODAY, Place("\U0001f600", Decimal(-10), 999))
        assert (beyond.standings, beyond.next, beyond.count) == ([], None, 11)
        first = ledgers.standings.page(Wanted(), order, 5, TODAY, Place("", Decimal(10**18 - 1), 1))
        assert first.count == 11


def test_a_page_takes_as_many_statements_for_a_hundred_projects_as_for_one(ledgers: Ledgers) -> None:
    ledgers.load(*(entry(each, terms=OF_MONTHS) for each in range(1, 121)))
    ledgers.check(*range(1, 121))
    executed: list[str] = []
    event.listen(ledgers.database.engine, "before_cursor_execute", lambda *seen: executed.append(seen[2]))
    counts = []
    for most in (1, 100):
        before = len(executed)
        assert len(page(ledgers, most=most).standings) == most
        counts.append(len(executed) - before)
    assert counts[0] == counts[1] <= 14
    assert not any("FROM charges" in each or "JOIN charges" in each for each in executed)


def test_of_each_project_it_is_written_down_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.check(1)
    ledgers.check(1)
    with ledgers.database.engine.connect() as connection:
        assert len(connection.execute(select(standings)).all()) == 1
