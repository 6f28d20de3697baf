"""How one period of a budget follows another, on every database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import budget_periods
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.thresholds import Decision
from shared.ports.checks import Judgement, ProjectUsage
from shared.ports.projects import PeriodView
from tests.contracts.ledger_data import ANNUAL, LOOKBACK_DAYS, MONTHLY, THRESHOLDS, Ledgers, entry, terms

CARRY = terms("1000", rule=MONTHLY, rollover=Rollover.CARRY_OVER)
DRAW = terms("1000", rule=ANNUAL, rollover=Rollover.DRAW_DOWN)
STOP = terms("1000", rule=MONTHLY, rollover=Rollover.STOP)
JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in (1, 2, 3, 4))


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def at(day: date, hour: int = 2) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def month(day: date) -> Period:
    period = MONTHLY.period_at(day)
    assert period is not None
    return period


def load(ledgers: Ledgers, budget: BudgetTerms, day: date) -> None:
    ledgers.load(entry(1, terms=budget), now=at(day))


def spend(ledgers: Ledgers, amount: str, day: date, read_on: date, currency: str = "CAD") -> None:
    """A night reads that the month of `day` has cost this, all of it on that day."""
    ledgers.spend(("rg-1", day, "Storage", amount), window=month(day), now=at(read_on, hour=1), currency=currency)


def revise(ledgers: Ledgers, budget: BudgetTerms, day: date) -> None:
    ledgers.projects.revise_budget(1, budget, "ana", "as agreed", at(day))


def check(ledgers: Ledgers, day: date) -> ProjectUsage:
    """What the night's check on this day sees."""
    seen: list[ProjectUsage] = []

    def note(usage: ProjectUsage) -> Judgement:
        seen.append(usage)
        return Judgement(Decision(), THRESHOLDS)

    ledgers.check(1, now=at(day), judge=note)
    return seen[-1]


def amount(ledgers: Ledgers, day: date) -> Decimal | None:
    return check(ledgers, day).budget.amount


def present(ledgers: Ledgers) -> PeriodView:
    return ledgers.projects.periods(1)[-1]


def carried(ledgers: Ledgers) -> list[tuple[int, int]]:
    """The month in which each period begins, and what came into it."""
    return [(each.period.start.month, int(each.carried)) for each in ledgers.projects.periods(1)]


# --- opening -------------------------------------------------------------------------------------------------


def test_a_projects_first_period_is_opened_when_it_is_loaded_with_nothing_in_it(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, date(2026, 1, 20))
    spend(ledgers, "12.5", JANUARY, date(2026, 1, 21))
    assert ledgers.projects.periods(1) == [
        PeriodView(month(JANUARY), "CAD", Decimal(0), stopped=False, settled=True, spent=Decimal("12.5"))
    ]


def test_a_project_outside_of_its_fixed_period_has_none(ledgers: Ledgers) -> None:
    fixed = PeriodRule(PeriodKind.FIXED, MARCH, APRIL)
    load(ledgers, terms(rule=fixed), JANUARY)
    assert (check(ledgers, FEBRUARY).period, ledgers.projects.periods(1)) == (None, [])
    assert check(ledgers, MARCH).period == Period(MARCH, APRIL)
    assert [each.period for each in ledgers.projects.periods(1)] == [Period(MARCH, APRIL)]
    assert check(ledgers, APRIL).period is None


def test_reset_gives_the_same_amount_again_and_is_final_at_once(ledgers: Ledgers) -> None:
    load(ledgers, terms("1000", rule=MONTHLY), JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    assert amount(ledgers, FEBRUARY) == 1000
    assert (present(ledgers).carried, present(ledgers).settled) == (0, True)


def test_a_period_is_opened_once_by_two_checks_at_once(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    together = threading.Barrier(2, timeout=10)

    def check_with_the_other(_: int) -> Decimal | None:
        together.wait()
        return amount(ledgers, MARCH)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(check_with_the_other, range(2))) == [2700, 2700]
    with ledgers.database.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(budget_periods)) == 3
    assert carried(ledgers) == [(1, 0), (2, 700), (3, 1700)]


@pytest.mark.parametrize("rollover", list(Rollover))
def test_a_check_that_has_waited_since_before_midnight_changes_nothing_for_good(
    ledgers: Ledgers, rollover: Rollover
) -> None:
    load(ledgers, terms("1000", rule=MONTHLY, rollover=rollover), JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    ledgers.check(1, now=at(date(2026, 1, 21)))
    spend(ledgers, "600", FEBRUARY, FEBRUARY)
    expected = amount(ledgers, FEBRUARY)
    ledgers.check(1, now=at(FEBRUARY))
    mailed, periods = ledgers.mailed(), ledgers.projects.periods(1)
    ledgers.check(1, now=at(date(2026, 1, 31), hour=23))
    ledgers.check(1, now=at(FEBRUARY, hour=3))
    assert (amount(ledgers, FEBRUARY), ledgers.mailed(), ledgers.projects.periods(1)) == (expected, mailed, periods)


def test_a_check_that_breaks_off_leaves_the_opening_to_the_next(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))

    def broken(_usage: ProjectUsage) -> Judgement:
        raise RuntimeError("killed")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            ledgers.check(1, now=at(FEBRUARY), judge=broken)
    assert carried(ledgers) == [(1, 0)]
    assert amount(ledgers, FEBRUARY) == amount(ledgers, FEBRUARY) == 1700


def test_three_months_without_a_run_lose_nothing(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, date(2025, 11, 20))
    spend(ledgers, "400", date(2025, 11, 21), date(2025, 11, 22))
    check(ledgers, date(2025, 11, 22))
    # In March a night reads what was missed.
    missed = {(2025, 11, 21): "400", (2025, 12, 5): "1000", (2026, 1, 5): "100", (2026, 2, 5): "250"}
    for day, cost in missed.items():
        spend(ledgers, cost, date(*day), date(2026, 3, 9))
    assert amount(ledgers, date(2026, 3, 10)) == 1000 + 600 + 0 + 900 + 750
    assert carried(ledgers) == [(11, 0), (12, 600), (1, 600), (2, 1500), (3, 2250)]
    assert [each.settled for each in ledgers.projects.periods(1)] == [True, True, True, True, False]


def test_leap_days_and_years_of_other_lengths_are_part_of_their_periods(ledgers: Ledgers) -> None:
    leap = PeriodRule(PeriodKind.ANNUAL, date(2000, 3, 1))
    load(ledgers, terms("1000", rule=leap, rollover=Rollover.CARRY_OVER), date(2023, 3, 1))
    spend(ledgers, "100", date(2024, 2, 29), date(2024, 2, 29))
    assert amount(ledgers, date(2024, 2, 29)) == 1000
    assert amount(ledgers, date(2024, 3, 1)) == 1900
    assert [each.period.days for each in ledgers.projects.periods(1)] == [366, 365]


# --- provisional, then final ---------------------------------------------------------------------------------


def test_what_is_carried_follows_a_late_charge(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", date(2026, 1, 31), date(2026, 1, 31))
    assert amount(ledgers, FEBRUARY) == 1700
    assert not present(ledgers).settled
    spend(ledgers, "450.25", date(2026, 1, 31), date(2026, 2, 20))
    assert amount(ledgers, date(2026, 2, 20)) == Decimal("1549.75")
    spend(ledgers, "1200", date(2026, 1, 31), date(2026, 2, 21))
    assert amount(ledgers, date(2026, 2, 21)) == 1000


def test_a_late_charge_goes_on_through_the_periods_after(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", date(2026, 1, 31), date(2026, 1, 31))
    assert amount(ledgers, MARCH) == 2700
    spend(ledgers, "400", date(2026, 1, 31), MARCH)
    assert amount(ledgers, date(2026, 3, 2)) == 2600
    assert carried(ledgers) == [(1, 0), (2, 600), (3, 1600)]


def test_after_the_look_back_and_a_night_since_then_it_is_final(ledgers: Ledgers) -> None:
    load(ledgers, terms("1000", rule=ANNUAL, rollover=Rollover.CARRY_OVER), MARCH)
    spend(ledgers, "300", date(2026, 3, 31), date(2026, 3, 31))
    final_on = APRIL + timedelta(days=LOOKBACK_DAYS)
    assert amount(ledgers, final_on - timedelta(days=1)) == 1700
    assert not present(ledgers).settled
    # The last check sees what the last night has read.
    spend(ledgers, "350", date(2026, 3, 31), final_on)
    assert amount(ledgers, final_on) == 1650
    assert present(ledgers).settled
    spend(ledgers, "900", date(2026, 3, 31), final_on + timedelta(days=1))
    assert amount(ledgers, final_on + timedelta(days=2)) == 1650


def test_as_long_as_no_night_has_read_since_then_it_is_not_final(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", date(2026, 1, 31), date(2026, 1, 31))
    long_after = date(2026, 3, 31)
    assert amount(ledgers, long_after) == 2700
    assert [each.settled for each in ledgers.projects.periods(1)] == [True, False, False]
    spend(ledgers, "500", date(2026, 1, 31), long_after)
    assert amount(ledgers, long_after) == 2500
    assert [each.settled for each in ledgers.projects.periods(1)] == [True, True, False]


def test_what_was_never_read_stays_provisional(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    assert amount(ledgers, date(2026, 6, 30)) == 6000
    assert [each.settled for each in ledgers.projects.periods(1)] == [True] + 5 * [False]


# --- draw down, stop -----------------------------------------------------------------------------------------


def test_a_total_for_three_years_is_drawn_down_to_nothing(ledgers: Ledgers) -> None:
    load(ledgers, DRAW, date(2023, 4, 1))
    for year, cost, left in ((2023, "300", 700), (2024, "450", 250), (2025, "400", 0)):
        spend(ledgers, cost, date(year, 5, 1), date(year, 6, 1))
        assert amount(ledgers, date(year + 1, 4, 1)) == left
    exhausted = check(ledgers, date(2026, 4, 2)).budget
    assert (exhausted.amount, exhausted.percent(Decimal(0))) == (0, 100)
    assert [int(each.carried) for each in ledgers.projects.periods(1)] == [0, -300, -750, -1150]


def test_a_raised_total_gives_back_something_to_spend(ledgers: Ledgers) -> None:
    load(ledgers, DRAW, date(2025, 4, 1))
    spend(ledgers, "1100", date(2025, 5, 1), date(2025, 5, 2))
    assert amount(ledgers, APRIL) == 0
    revise(ledgers, terms("1500", rule=ANNUAL, rollover=Rollover.DRAW_DOWN), date(2026, 4, 2))
    assert amount(ledgers, date(2026, 4, 3)) == 400


def test_after_stop_there_is_no_budget_until_someone_sets_one(ledgers: Ledgers) -> None:
    load(ledgers, STOP, JANUARY)
    assert amount(ledgers, date(2026, 1, 31)) == 1000
    assert amount(ledgers, FEBRUARY) is None
    assert check(ledgers, date(2026, 3, 2)).budget.stopped
    revise(ledgers, STOP, date(2026, 3, 3))
    assert amount(ledgers, date(2026, 3, 4)) == 1000
    assert [each.stopped for each in ledgers.projects.periods(1)] == [False, True, False]
    assert amount(ledgers, APRIL) is None


def test_a_load_of_the_same_file_does_not_lift_a_stop(ledgers: Ledgers) -> None:
    load(ledgers, STOP, JANUARY)
    assert amount(ledgers, FEBRUARY) is None
    load(ledgers, STOP, date(2026, 2, 2))
    assert amount(ledgers, date(2026, 2, 2)) is None


# --- revisions -----------------------------------------------------------------------------------------------


def test_a_revision_within_a_period_keeps_what_was_carried(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    assert amount(ledgers, FEBRUARY) == 1700
    revise(ledgers, terms("500", rule=MONTHLY), date(2026, 2, 10))
    assert amount(ledgers, date(2026, 2, 11)) == 1200
    assert amount(ledgers, MARCH) == 500


def test_what_stays_told_counts_by_all_that_may_be_spent(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "1650", FEBRUARY, date(2026, 2, 2))
    ledgers.check(1, now=at(date(2026, 2, 2)))
    assert ledgers.mailed() == [80]
    # 1,650 of 2,200: that is 75 %, and it is past 100 % of the 1,200 alone.
    revise(ledgers, terms("1200", rule=MONTHLY), date(2026, 2, 4))
    assert [alert for alert in ledgers.alerts() if alert[1] == "carried"] == [(25, "carried"), (50, "carried")]


def test_a_revision_after_a_periods_end_and_before_any_run_loses_nothing(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    revise(ledgers, terms("500", rule=MONTHLY), date(2026, 2, 3))
    assert amount(ledgers, date(2026, 2, 4)) == 1200
    spend(ledgers, "400", JANUARY, date(2026, 2, 5))
    assert amount(ledgers, date(2026, 2, 5)) == 1100


def test_a_revision_after_months_without_a_run_loses_nothing(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    revise(ledgers, terms("500", rule=MONTHLY), date(2026, 4, 3))
    assert amount(ledgers, date(2026, 4, 4)) == 500 + 700 + 1000 + 1000


def test_two_revisions_that_change_the_rule_and_put_it_back_lose_nothing(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    assert amount(ledgers, FEBRUARY) == 1700
    quarterly = PeriodRule(PeriodKind.QUARTERLY, date(2000, 1, 1))
    revise(ledgers, terms("5000", rule=quarterly), date(2026, 2, 10))
    assert amount(ledgers, date(2026, 2, 11)) == 5000
    revise(ledgers, CARRY, date(2026, 2, 12))
    spend(ledgers, "450", JANUARY, date(2026, 2, 13))
    assert amount(ledgers, date(2026, 2, 13)) == 1550


def test_a_load_after_a_periods_end_and_before_any_run_loses_nothing_either(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    load(ledgers, terms("500", rule=MONTHLY), date(2026, 2, 3))
    assert amount(ledgers, date(2026, 2, 4)) == 1200


def test_a_revision_in_time_decides_what_is_carried(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    revise(ledgers, terms("1000", rule=MONTHLY), date(2026, 1, 31))
    assert amount(ledgers, FEBRUARY) == 1000


def test_a_revision_made_since_a_stopping_periods_end_sets_the_budget(ledgers: Ledgers) -> None:
    load(ledgers, STOP, JANUARY)
    revise(ledgers, STOP, date(2026, 2, 3))
    assert amount(ledgers, date(2026, 2, 4)) == 1000


def test_from_one_currency_into_another_nothing_is_carried(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    assert amount(ledgers, FEBRUARY) == 1700
    revise(ledgers, terms("800", currency="USD", rule=MONTHLY), date(2026, 2, 10))
    assert amount(ledgers, date(2026, 2, 11)) == 800
    revise(ledgers, CARRY, date(2026, 2, 12))
    assert amount(ledgers, date(2026, 2, 13)) == 1700


def test_charges_in_another_currency_do_not_lessen_what_is_carried(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20), currency="USD")
    assert amount(ledgers, FEBRUARY) == 2000


def test_into_a_period_of_another_rule_nothing_is_carried_that_does_not_end_there(ledgers: Ledgers) -> None:
    load(ledgers, terms("1000", rule=ANNUAL, rollover=Rollover.CARRY_OVER), JANUARY)
    revise(ledgers, CARRY, date(2026, 2, 10))
    assert amount(ledgers, date(2026, 2, 11)) == 1000
    # The year that had been begun ends on this day too, but February and March are what has gone on since.
    assert amount(ledgers, APRIL) == 3000


def test_a_rule_whose_period_begins_on_the_same_day_keeps_what_was_carried(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, date(2025, 12, 1))
    assert amount(ledgers, JANUARY) == 2000
    quarterly = PeriodRule(PeriodKind.QUARTERLY, date(2000, 1, 1))
    revise(ledgers, terms("5000", rule=quarterly, rollover=Rollover.CARRY_OVER), date(2026, 1, 10))
    assert amount(ledgers, date(2026, 3, 31)) == 6000
    assert present(ledgers).period == Period(JANUARY, APRIL)
    assert amount(ledgers, APRIL) == 11000


# --- what is listed ------------------------------------------------------------------------------------------


def test_the_listing_has_what_came_into_the_present_period(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    check(ledgers, FEBRUARY)
    (view,) = ledgers.projects.list_projects(FEBRUARY)
    assert view.budget is not None
    assert (view.budget.amount, view.budget.carried, view.terms) == (1700, 700, CARRY)


def test_the_listing_knows_a_stopped_budget(ledgers: Ledgers) -> None:
    load(ledgers, STOP, JANUARY)
    check(ledgers, FEBRUARY)
    (view,) = ledgers.projects.list_projects(FEBRUARY)
    assert view.budget is not None
    assert (view.budget.stopped, view.budget.amount) == (True, None)


def test_periods_are_listed_with_what_was_spent_in_each(ledgers: Ledgers) -> None:
    load(ledgers, CARRY, JANUARY)
    spend(ledgers, "300", JANUARY, date(2026, 1, 20))
    spend(ledgers, "40", FEBRUARY, date(2026, 2, 10))
    check(ledgers, FEBRUARY)
    assert [(each.period, each.spent) for each in ledgers.projects.periods(1)] == [
        (month(JANUARY), 300),
        (month(FEBRUARY), 40),
    ]


def test_an_unknown_project_has_no_periods(ledgers: Ledgers) -> None:
    assert ledgers.projects.periods(99) == []
