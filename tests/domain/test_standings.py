"""How a project stands, and whether that still says something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from shared.domain.currencies import ConvertedSum, RateSource
from shared.domain.periods import month_of
from shared.domain.standings import Figures, Known, known, searched

TODAY = date(2026, 11, 20)
DAY = timedelta(days=1)
NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
NOVEMBER = month_of(TODAY)
FIGURES = Figures(NOVEMBER, "CAD", Decimal(100), Decimal(30), Decimal(5), None, Decimal(35), ends_on=NOVEMBER.end)


@pytest.mark.parametrize(
    ("figures", "due_since", "is_active", "today", "expected"),
    [
        (FIGURES, None, True, TODAY, Known.CURRENT),
        (FIGURES, NOW, True, TODAY, Known.DUE),
        (FIGURES, NOW, False, TODAY, Known.UNWATCHED),
        (FIGURES, None, False, NOVEMBER.end, Known.OVER),
        (FIGURES, NOW, True, NOVEMBER.end, Known.OVER),
        (None, NOW, True, TODAY, Known.NEVER),
        (None, None, False, TODAY, Known.NEVER),
        (replace(FIGURES, period=None, ends_on=None), None, True, date(2030, 1, 1), Known.CURRENT),
    ],
)
def test_what_is_known(
    figures: Figures | None, due_since: datetime | None, is_active: bool, today: date, expected: Known
) -> None:
    assert known(figures, due_since, is_active, today) is expected


def test_figures_are_stale_from_the_day_on_from_which_they_lack_something() -> None:
    lacking = replace(FIGURES, lacks_from=TODAY + DAY)
    assert [lacking.are_stale(TODAY + day * DAY) for day in (0, 1, 2)] == [False, True, True]
    assert not FIGURES.are_stale(NOVEMBER.last_day)


def test_figures_of_a_period_that_is_over_are_stale_where_no_check_has_followed_in_a_day() -> None:
    assert [FIGURES.are_stale(NOVEMBER.end + day * DAY) for day in (0, 1)] == [False, True]


def test_what_counts_is_what_is_spent_and_allocated_and_what_has_no_rate_is_lacking() -> None:
    unrated = replace(FIGURES, unrated=(("USD", TODAY),))
    assert unrated.used == 35
    assert list(map(str, unrated.gaps_of_rates)) == [
        "charges in USD left out: there is no exchange rate for 2026-11-20"
    ]


def test_a_converted_sum_says_by_whose_rates() -> None:
    ours = ConvertedSum(Decimal(3), frozenset({RateSource.ECB, RateSource.FIXED}), TODAY)
    assert str(ours) == "the ECB's rates (the newest of 2026-11-20) and fixed rates"


def test_a_search_looks_through_acronym_and_name_without_case_and_accents() -> None:
    assert searched(" FORÊT ", "Été à la Straße") == "foret\nete a la strasse"
