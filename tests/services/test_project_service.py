"""What a person can ask for about projects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest

from shared.adapters.database.engine import Database
from shared.ports.projects import LoadResult
from shared.services.errors import UnknownProjectError
from shared.services.project_csv import ProjectFileError
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
