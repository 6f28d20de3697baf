"""What a person can ask for about projects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from shared.adapters.database.engine import Database
from shared.ports.projects import LoadResult
from shared.ports.standings import Order, Wanted
from shared.services.budgets import Wish
from shared.services.errors import RequestError, UnknownProjectError
from shared.services.project_csv import ProjectFileError
from shared.services.projects import ListWish, PageWish
from tests.pipeline.conftest import Chain, entry

HEADER = "id,acronym,name,subscription_id,resource_groups,budget,currency,period,period_start,period_end,contacts,"
FILE = f"""{HEADER}language,active
11,DIE1,Data,1caaa5a3-2b66-438e-8ab4-bce37d518c5d,rg-11,1000,CAD,monthly,,,anna@example.com,en,true
12,BARE,Bare,1caaa5a3-2b66-438e-8ab4-bce37d518c5d,rg-12,,,,,,,,true
13,GONE,Gone,1caaa5a3-2b66-438e-8ab4-bce37d518c5d,rg-13,,,,,,,,false
"""


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    database = Database(sqlite_url)
    yield Chain(database)
    database.close()


def test_a_file_is_loaded_and_it_is_said_of_whom_nobody_would_hear(chain: Chain) -> None:
    loaded = chain.project_service.load(FILE.encode(), "ann")
    assert loaded.result == LoadResult(added=3, changed=0, unchanged=0)
    assert (loaded.without_budget, loaded.without_contacts) == (["BARE"], ["BARE"])
    assert chain.project_service.load(FILE.encode(), "ann").result == LoadResult(0, 0, 3)
    assert [view.project.acronym for view in chain.project_service.listed()] == ["DIE1", "BARE", "GONE"]


def test_what_a_load_would_do_is_said_and_not_done(chain: Chain) -> None:
    chain.project_service.load(FILE.encode(), "ann")
    before = chain.projects.entries()
    changed = FILE.replace(",1000,", ",1500,").replace("13,GONE", "14,NEW").replace("rg-13", "rg-14")
    would = chain.project_service.load(changed.encode(), "ann", dry_run=True)
    assert (would.loaded, would.result, would.left_out) == (False, LoadResult(1, 1, 1), ["GONE"])
    assert [(each.before and each.before.terms.amount, each.after.terms.amount) for each in would.changes] == [
        (Decimal(1000), Decimal(1500)),
        (None, None),
    ]
    assert chain.projects.entries() == before
    done = chain.project_service.load(changed.encode(), "ann")
    assert done == replace(would, loaded=True)
    assert len(chain.projects.entries()) == 4


def test_what_was_set_by_hand_is_not_undone_without_consent(chain: Chain) -> None:
    chain.project_service.load(FILE.encode(), "ann")
    chain.budget_service.revise("DIE1", Wish(amount="3000"), "avenant 2", "eve")
    renamed = FILE.replace(",1000,", ",3000,").replace("DIE1,Data", "DIE1,Others")
    assert chain.project_service.load(renamed.encode(), "ann", dry_run=True).loaded is False
    refused = chain.project_service.load(FILE.encode(), "ann")
    (change,) = refused.changes
    assert (refused.loaded, [each.reason for each in change.undone]) == (False, ["avenant 2"])
    assert chain.projects.entries()[0].terms.amount == 3000
    assert chain.project_service.load(renamed.encode(), "ann").loaded
    assert chain.project_service.load(FILE.encode(), "ann", agreed=True).loaded
    # It was agreed to, and is the file's own now.
    assert chain.project_service.load(FILE.replace(",1000,", ",1200,").encode(), "ann").loaded


@pytest.mark.parametrize("spent", ["800", "1200"])
def test_no_project_is_brought_to_100_percent_without_consent(chain: Chain, spent: str) -> None:
    chain.project_service.load(FILE.encode(), "ann")
    chain.spend(spent, date(2026, 11, 10))
    chain.night()
    lowered = FILE.replace(",1000,", ",800,").encode()
    # One that is past it anyway is no news.
    assert chain.project_service.load(lowered, "ann").loaded is (spent == "1200")
    assert chain.project_service.load(FILE.replace(",1000,", ",801,").encode(), "ann").loaded
    assert chain.project_service.load(lowered, "ann", agreed=True).loaded


def test_a_group_that_brings_a_new_project_to_100_percent_needs_consent_too(chain: Chain) -> None:
    chain.project_service.load(FILE.encode(), "ann")
    chain.spend("1000", date(2026, 11, 10), "nobodys")
    chain.night()
    more = FILE.replace("rg-11,", "rg-11;nobodys,")
    (change,) = chain.project_service.load(more.encode(), "ann").changes
    assert (change.fills_up, change.percent_before, change.percent) == (True, 0, 100)
    inactive = more.replace("anna@example.com,en,true", "anna@example.com,en,false")
    assert chain.project_service.load(inactive.encode(), "ann").loaded


FIXED = FILE.replace("monthly,,", "fixed,2026-09-01,2027-02-28")


def test_a_file_that_still_names_the_day_after_a_fixed_periods_last_needs_consent(chain: Chain) -> None:
    chain.project_service.load(FIXED.encode(), "ann")
    old = FIXED.replace("2027-02-28", "2027-03-01").encode()
    refused = chain.project_service.load(old, "ann")
    assert (refused.loaded, [each.ends_a_day_later for each in refused.changes]) == (False, [True])
    assert chain.project_service.load(FIXED.encode(), "ann").result == LoadResult(0, 0, 3)
    assert chain.project_service.load(old, "ann", agreed=True).loaded
    assert chain.project_service.load(old, "ann").result == LoadResult(0, 0, 3)
    assert chain.project_service.load(FIXED.replace("2027-02-28", "2027-06-30").encode(), "ann").loaded


def test_all_projects_are_written_as_the_file_that_loads_them(chain: Chain) -> None:
    chain.project_service.load(FILE.encode(), "ann")
    written = chain.project_service.exported()
    assert chain.project_service.load(written.encode(), "ann").result == LoadResult(0, 0, 3)


def test_projects_are_listed_by_who_answers_for_them(chain: Chain) -> None:
    ours = [(11, "Ann Roy", "Eau"), (12, "Ann Roy", "Air"), (13, None, "Eau")]
    chain.load(
        *(
            replace(entry(each), project=replace(entry(each).project, owner=owner, department=department))
            for each, owner, department in ours
        )
    )

    def listed(**wanted: str) -> list[int]:
        return [view.project.id for view in chain.project_service.listed(ListWish(**wanted))]

    assert listed(owner=" ann roy") == [11, 12]
    assert listed(owner="Ann Roy", department="EAU") == [11]
    assert listed(cost_centre="CC-1") == []
    assert listed() == [11, 12, 13]


def test_a_faulty_file_loads_nothing(chain: Chain) -> None:
    with pytest.raises(ProjectFileError, match="line 3, active"):
        chain.project_service.load(FILE.replace(",,true", ",,perhaps").encode(), "ann")
    assert chain.project_service.listed() == []


@pytest.mark.parametrize("named", ["P11", " p11 ", "11"])
def test_one_project_is_found_by_acronym_or_id_with_its_periods_and_revisions(chain: Chain, named: str) -> None:
    chain.load(entry(), entry(12))
    found = chain.project_service.get(named)
    assert found.view in chain.project_service.listed()
    assert [period.period.start for period in found.periods] == [date(2026, 11, 1)]
    assert [revision.number for revision in found.revisions] == [1]


@pytest.mark.parametrize("named", ["P13", "13", ""])
def test_an_unknown_project_is_told(chain: Chain, named: str) -> None:
    with pytest.raises(UnknownProjectError, match=f"there is no project {named}"):
        chain.project_service.get(named)


def test_the_forecast_is_that_of_the_last_check_as_long_as_it_is_of_this_period(chain: Chain) -> None:
    chain.load(entry())
    for day in range(1, 19):
        chain.spend("10", date(2026, 11, day))
    chain.night()
    (view,) = chain.project_service.listed()
    assert view.forecast
    assert view.forecast.total == 300
    chain.clock.now = chain.clock.now.replace(month=12)
    (view,) = chain.project_service.listed()
    assert (view.forecast, view.used_up_on, view.spent) == (None, None, 0)


def test_a_project_that_is_no_longer_active_has_no_forecast(chain: Chain) -> None:
    chain.load(entry())
    for day in range(1, 19):
        chain.spend("10", date(2026, 11, day))
    chain.night()
    chain.load(replace(entry(), project=replace(entry().project, active=False)))
    assert chain.project_service.get("P11").view.forecast is None


def test_all_pages_together_are_the_list(chain: Chain) -> None:
    chain.load(*map(entry, range(11, 18)))
    for number in range(11, 18):
        chain.spend(str(number % 3 * 10), date(2026, 11, 3), f"rg-{number}")
    chain.night()
    for order in Order:
        found, cursor = [], ""
        while True:
            page = chain.project_service.page(PageWish(order=order, cursor=cursor, most=3))
            assert (page.count, page.unknown, page.today) == (7, 0, chain.clock().date())
            found += [each.project.id for each in page.standings]
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        assert found == [view.project.id for view in chain.project_service.listed(ListWish(order=order))]


def test_a_page_is_of_what_is_wanted_and_its_totals_are_of_all_of_it(chain: Chain) -> None:
    chain.load(*map(entry, range(11, 15)))
    for number in range(11, 15):
        chain.spend("90", date(2026, 11, 3), f"rg-{number}")
    chain.night()
    page = chain.project_service.page(PageWish(Wanted(search="P1", project_ids={12, 13}), most=1))
    (total,) = page.totals
    assert (page.count, total.projects, total.used) == (2, 2, 180)
    assert chain.project_service.page(PageWish(Wanted(search="nul\0l"))).count == 0


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (PageWish(most=0), "0 projects are no page; ask for 1 to 1,000"),
        (PageWish(most=1001), "1001 projects are no page"),
        (PageWish(cursor="what"), "'what' is no cursor of a list"),
    ],
)
def test_a_page_that_can_not_be_is_refused(chain: Chain, wish: PageWish, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        chain.project_service.page(wish)
