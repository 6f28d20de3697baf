"""How one period of a budget follows another. tests/contracts/test_budget_life.py has the same on databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.budget_periods import BudgetHistory, OpenedPeriod, carried_since
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.periods import Period, PeriodKind, PeriodRule

DAY = timedelta(days=1)
MONTHLY = PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))
JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in (1, 2, 3, 4))
CAD = BudgetTerms(Decimal(1000), "CAD", MONTHLY, Rollover.CARRY_OVER)

Charge = tuple[date, str, Decimal]
Life = tuple[BudgetTerms, date, list[date], list[Charge]]


def at(day: date) -> datetime:
    return datetime.combine(day, time(2), UTC)


def month(day: date) -> Period:
    period = MONTHLY.period_at(day)
    assert period is not None
    return period


def loaded(terms: BudgetTerms, day: date = JANUARY) -> BudgetHistory:
    return BudgetHistory([]).turn(None, day).set_budget(at(day), terms)


def follow(history: BudgetHistory, charges: Sequence[Charge]) -> BudgetHistory:
    spent: dict[tuple[Period, str], Decimal] = {}
    for period, _ in history.charged():
        for day, currency, cost in charges:
            if day in period:
                spent[period, currency] = spent.get((period, currency), Decimal(0)) + cost
    return history.follow_charges(spent)


def turn(history: BudgetHistory, today: date, charges: Sequence[Charge] = ()) -> BudgetHistory:
    """A check on this day."""
    return follow(history.turn(history.opened[max(history.opened)].period, today), charges)


def revise(history: BudgetHistory, terms: BudgetTerms, day: date) -> BudgetHistory:
    return turn(history, day).set_budget(at(day), terms)


def carried(history: BudgetHistory) -> list[int]:
    return [int(history.opened[start].carried) for start in sorted(history.opened)]


# --- opening -------------------------------------------------------------------------------------------------


def test_the_first_period_has_nothing_in_it_and_that_is_final() -> None:
    assert loaded(CAD).opened == {JANUARY: OpenedPeriod(month(JANUARY), "CAD")}


def test_a_period_whose_end_is_moved_keeps_what_was_carried_into_it() -> None:
    february = turn(loaded(CAD), FEBRUARY, [(JANUARY, "CAD", Decimal(300))])
    longer = Period(FEBRUARY, APRIL)
    assert february.begin([longer]).opened[FEBRUARY] == replace(february.opened[FEBRUARY], period=longer)


def test_after_a_fixed_period_nothing_is_carried_and_nothing_is_stopped() -> None:
    fixed = PeriodRule(PeriodKind.FIXED, JANUARY, FEBRUARY)
    history = loaded(replace(CAD, rule=fixed, rollover=Rollover.STOP))
    begun = revise(history, CAD, FEBRUARY).opened[FEBRUARY]
    assert (begun.carried, begun.stopped, begun.settled) == (0, False, True)


@pytest.mark.parametrize("rollover", [Rollover.RESET, Rollover.STOP])
def test_what_no_charge_can_change_is_final_at_once(rollover: Rollover) -> None:
    history = turn(loaded(replace(CAD, rollover=rollover)), FEBRUARY)
    assert (history.unsettled(), history.charged()) == ([], [])


def test_after_stop_every_period_is_stopped_until_somebody_sets_a_budget() -> None:
    stop = replace(CAD, rollover=Rollover.STOP)
    history = turn(loaded(stop), MARCH)
    assert [each.stopped for each in history.opened.values()] == [False, True, True]
    assert [each.stopped for each in revise(history, stop, MARCH).opened.values()] == [False, True, False]


def test_a_budget_that_is_set_without_a_period_today_opens_nothing() -> None:
    fixed = PeriodRule(PeriodKind.FIXED, MARCH, APRIL)
    assert loaded(CAD).set_budget(at(FEBRUARY), replace(CAD, rule=fixed)).opened == loaded(CAD).opened


# --- what is carried -----------------------------------------------------------------------------------------


def test_a_late_charge_goes_on_through_the_periods_after() -> None:
    history = turn(loaded(CAD), MARCH, [(JANUARY, "CAD", Decimal(300))])
    assert carried(history) == [0, 700, 1700]
    late = follow(history, [(JANUARY, "CAD", Decimal(300)), (JANUARY, "CAD", Decimal(100))])
    assert carried(late) == [0, 600, 1600]


def test_the_terms_at_a_periods_end_decide_and_none_that_were_set_since() -> None:
    history = revise(loaded(CAD), replace(CAD, amount=Decimal(500), rollover=Rollover.RESET), FEBRUARY)
    assert carried(follow(history, [])) == [0, 1000]
    assert carried(turn(history, MARCH)) == [0, 1000, 0]


def test_charges_in_another_currency_do_not_lessen_what_is_carried() -> None:
    assert carried(turn(loaded(CAD), FEBRUARY, [(JANUARY, "USD", Decimal(300))])) == [0, 1000]


def test_what_was_carried_does_not_count_for_a_budget_in_another_currency() -> None:
    february = turn(loaded(CAD), FEBRUARY).opened[FEBRUARY]
    assert (february.carried_in("CAD"), february.carried_in("USD")) == (1000, 0)


def test_where_no_opened_period_ends_nothing_is_carried_and_that_is_final() -> None:
    history = BudgetHistory(loaded(CAD).revisions, {MARCH: OpenedPeriod(month(MARCH), "CAD", settled=False)})
    assert follow(history, []).opened[MARCH].settled


# --- when it is final ----------------------------------------------------------------------------------------


def test_it_is_final_once_no_night_reads_its_days_again() -> None:
    history = turn(loaded(CAD), FEBRUARY)
    assert history.settle(None) == history.settle(FEBRUARY - DAY) == history
    assert history.settle(FEBRUARY).unsettled() == []


def test_the_charges_of_all_periods_that_are_not_final_decide_what_is_carried() -> None:
    history = turn(loaded(CAD), APRIL)
    assert [carried_since(history.opened, day) for day in (JANUARY, FEBRUARY, APRIL)] == [None, JANUARY, JANUARY]
    later = history.settle(FEBRUARY)
    assert [carried_since(later.opened, day) for day in (FEBRUARY, MARCH, APRIL)] == [None, FEBRUARY, FEBRUARY]


# --- whatever happens ----------------------------------------------------------------------------------------

starts = st.sampled_from([date(2000, 1, 1), date(2000, 4, 1), date(2000, 1, 31), date(2000, 2, 29), date(2000, 6, 15)])
rules = st.builds(PeriodRule, st.sampled_from([PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY]), starts)
amounts = st.integers(1, 1000).map(Decimal)
budgets = st.builds(BudgetTerms, amounts, st.just("CAD"), rules, st.sampled_from(list(Rollover)))
firsts = st.sampled_from([date(2023, 12, 31), date(2024, 1, 31), date(2024, 2, 29), date(2025, 2, 28)])
gaps = st.lists(st.one_of(st.integers(0, 40), st.sampled_from([89, 200, 366])), min_size=1, max_size=8)
costs = st.integers(-100, 600).map(Decimal) | st.decimals("-1", "500", places=10)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A budget, the day on which it was loaded, the days of its checks, and its charges."""
    terms, first = draw(budgets), draw(firsts)
    days = [first + total * DAY for total in accumulate(draw(gaps))]
    day = st.integers(0, (days[-1] - first).days).map(lambda number: first + number * DAY)
    return (
        terms,
        first,
        days,
        draw(st.lists(st.tuples(day, st.sampled_from(["CAD", "CAD", "USD"]), costs), max_size=12)),
    )


@given(life=lives())
def test_checks_that_were_missed_change_nothing(life: Life) -> None:
    terms, first, days, charges = life
    history = loaded(terms, first)
    for day in days:
        history = turn(history, day, charges)
    assert history.opened == turn(loaded(terms, first), days[-1], charges).opened


@given(life=lives())
def test_periods_leave_no_day_out_and_a_second_check_changes_nothing(
    life: Life,
) -> None:
    terms, first, days, charges = life
    history = turn(loaded(terms, first), days[-1], charges)
    periods = [history.opened[start].period for start in sorted(history.opened)]
    assert first in periods[0]
    assert days[-1] in periods[-1]
    assert [each.end for each in periods[:-1]] == [each.start for each in periods[1:]]
    assert turn(history, days[-1], charges).opened == history.opened


@given(life=lives(), late=st.lists(costs, min_size=1, max_size=5), settled=gaps)
def test_what_is_final_is_never_changed_by_any_charge_and_the_oldest_is_so_first(
    life: Life, late: list[Decimal], settled: list[int]
) -> None:
    terms, first, days, charges = life
    after = turn(loaded(terms, first), days[-1], charges).settle(first + sum(settled) * DAY)
    is_final = [after.opened[start].settled for start in sorted(after.opened)]
    if terms.rollover in (Rollover.CARRY_OVER, Rollover.DRAW_DOWN):
        assert is_final == sorted(is_final, reverse=True)
    changed = follow(after, [*charges, *((first, "CAD", cost) for cost in late)])
    assert all(changed.opened[start] == each for start, each in after.opened.items() if each.settled)


@given(life=lives(), late=costs, settled=gaps)
def test_no_charge_of_a_day_before_those_that_still_decide_changes_what_was_carried(
    life: Life, late: Decimal, settled: list[int]
) -> None:
    terms, first, days, charges = life
    history = turn(loaded(terms, first), days[-1], charges).settle(first + sum(settled) * DAY)
    for start, opened in history.opened.items():
        since = carried_since(history.opened, start)
        assert (since is None) == opened.settled
        before = [(day, "CAD", late) for day in history.opened if day < (since or start)]
        assert follow(history, [*charges, *before]).opened[start] == opened


@given(life=lives())
def test_of_a_total_nothing_is_lost_and_nothing_made(life: Life) -> None:
    terms, first, days, charges = life
    history = turn(loaded(replace(terms, rollover=Rollover.DRAW_DOWN), first), days[-1], charges)
    start = min(history.opened)
    for each in history.opened.values():
        before = sum((cost for day, money, cost in charges if money == "CAD" and start <= day < each.period.start), 0)
        assert each.carried == -before


@given(life=lives())
def test_what_was_not_used_is_carried_on_and_never_more_than_there_was(
    life: Life,
) -> None:
    terms, first, days, charges = life
    assert terms.amount
    history = turn(loaded(replace(terms, rollover=Rollover.CARRY_OVER), first), days[-1], charges)
    had = Decimal(0)
    for start in sorted(history.opened):
        period, carried_in = history.opened[start].period, history.opened[start].carried
        assert carried_in == had
        used = sum((cost for day, money, cost in charges if money == "CAD" and day in period), Decimal(0))
        had = min(max(terms.amount + carried_in - used, Decimal(0)), terms.amount + carried_in)
