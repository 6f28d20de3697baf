"""What is carried from one period into the next, and which periods there are."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.rollover import (
    EndedPeriod,
    carried_on,
    depends_on_usage,
    is_stopped,
    period_before,
    periods_begun,
)

ANNUAL = PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 1))
MONTHLY = PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))
AT_MONTH_ENDS = PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 31))
FIXED = PeriodRule(PeriodKind.FIXED, date(2026, 1, 1), date(2026, 12, 1))
ONE_DAY = timedelta(days=1)


def ended(
    rollover: Rollover, usage: str, carried: str = "0", amount: str | None = "1000", **changes: object
) -> EndedPeriod:
    rule = changes.pop("rule", ANNUAL)
    assert isinstance(rule, PeriodRule)
    terms = BudgetTerms(None if amount is None else Decimal(amount), "CAD", rule, rollover)
    return EndedPeriod(terms, Decimal(carried), bool(changes.get("stopped", False)), Decimal(usage))


@pytest.mark.parametrize(
    ("rollover", "usage", "carried", "expected"),
    [
        (Rollover.RESET, "300", "0", "0"),
        (Rollover.RESET, "300", "200", "0"),
        (Rollover.STOP, "300", "0", "0"),
        (Rollover.CARRY_OVER, "300", "0", "700"),
        (Rollover.CARRY_OVER, "300", "200", "900"),
        (Rollover.CARRY_OVER, "999.9999999999", "0", "0.0000000001"),
        (Rollover.CARRY_OVER, "1000", "0", "0"),
        (Rollover.CARRY_OVER, "1300", "0", "0"),
        (Rollover.CARRY_OVER, "-50", "0", "1000"),
        (Rollover.CARRY_OVER, "0", "-400", "600"),
        (Rollover.CARRY_OVER, "0", "-1400", "0"),
        (Rollover.DRAW_DOWN, "300", "0", "-300"),
        (Rollover.DRAW_DOWN, "300", "-500", "-800"),
        (Rollover.DRAW_DOWN, "900", "-500", "-1400"),
        (Rollover.DRAW_DOWN, "-50", "-500", "-450"),
    ],
)
def test_what_is_carried(rollover: Rollover, usage: str, carried: str, expected: str) -> None:
    assert carried_on(ended(rollover, usage, carried)) == Decimal(expected)


@pytest.mark.parametrize("rollover", list(Rollover))
@pytest.mark.parametrize("changes", [{"stopped": True}, {"amount": None}, {"amount": "0"}, {"rule": FIXED}], ids=str)
def test_nothing_is_carried_from_a_period_without_a_budget_or_a_next_one(
    rollover: Rollover, changes: dict[str, object]
) -> None:
    over = ended(rollover, "300", "100", **changes)
    assert carried_on(over) == 0
    assert not depends_on_usage(over)


@pytest.mark.parametrize("rollover", list(Rollover))
def test_only_what_depends_on_usage_changes_with_it(rollover: Rollover) -> None:
    changed = carried_on(ended(rollover, "1")) != carried_on(ended(rollover, "2"))
    assert depends_on_usage(ended(rollover, "0")) is changed


def test_after_stop_the_next_period_begins_without_a_budget() -> None:
    assert [is_stopped(ended(rollover, "0")) for rollover in Rollover] == [False, False, False, True]


@pytest.mark.parametrize("rollover", list(Rollover))
def test_what_had_stopped_stays_stopped_whatever_its_rollover(rollover: Rollover) -> None:
    assert is_stopped(ended(rollover, "0", stopped=True))


def test_a_fixed_period_has_no_next_one_that_could_be_stopped() -> None:
    assert not is_stopped(ended(Rollover.STOP, "0", rule=FIXED))


def test_the_periods_that_a_run_has_missed_follow_one_another() -> None:
    last = Period(date(2026, 10, 31), date(2026, 11, 30))
    assert periods_begun(AT_MONTH_ENDS, last, date(2027, 3, 1)) == [
        Period(date(2026, 11, 30), date(2026, 12, 31)),
        Period(date(2026, 12, 31), date(2027, 1, 31)),
        Period(date(2027, 1, 31), date(2027, 2, 28)),
        Period(date(2027, 2, 28), date(2027, 3, 31)),
    ]


def test_the_first_period_of_a_budget_is_the_present_one() -> None:
    assert periods_begun(MONTHLY, None, date(2026, 5, 3)) == [Period(date(2026, 5, 1), date(2026, 6, 1))]
    assert periods_begun(FIXED, None, date(2026, 12, 1)) == []


def test_within_the_same_period_none_follows() -> None:
    last = Period(date(2026, 4, 1), date(2027, 4, 1))
    assert periods_begun(ANNUAL, last, date(2027, 3, 31)) == []
    assert periods_begun(ANNUAL, last, date(2027, 4, 1)) == [Period(date(2027, 4, 1), date(2028, 4, 1))]


def test_a_fixed_period_is_followed_by_none() -> None:
    assert periods_begun(FIXED, Period(FIXED.start, date(2026, 12, 1)), date(2026, 12, 1)) == []


def test_a_rule_with_other_periods_begins_with_the_present_one() -> None:
    last = Period(date(2026, 1, 15), date(2026, 2, 15))
    assert periods_begun(MONTHLY, last, date(2026, 5, 3)) == [Period(date(2026, 5, 1), date(2026, 6, 1))]


def test_a_clock_that_is_put_back_goes_to_the_period_of_its_day() -> None:
    last = Period(date(2026, 5, 1), date(2026, 6, 1))
    assert periods_begun(MONTHLY, last, date(2026, 3, 3)) == [Period(date(2026, 3, 1), date(2026, 4, 1))]


starts = st.dates(date(2000, 1, 1), date(2000, 12, 31))
kinds = st.sampled_from([PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY])


@given(
    rule=st.builds(PeriodRule, kinds, starts),
    first=st.dates(date(2019, 12, 1), date(2025, 1, 1)),
    days=st.integers(0, 1500),
)
def test_periods_leave_no_day_out_and_each_knows_the_one_before(rule: PeriodRule, first: date, days: int) -> None:
    last = rule.period_at(first)
    assert last is not None
    today = first + timedelta(days=days)
    chain = [last, *periods_begun(rule, last, today)]
    assert today in chain[-1]
    assert [each.end for each in chain[:-1]] == [each.start for each in chain[1:]]
    assert [period_before(rule, each.start) for each in chain[1:]] == chain[:-1]


def test_before_a_day_on_which_no_period_begins_none_ends() -> None:
    assert period_before(ANNUAL, date(2026, 11, 1)) is None
    assert period_before(FIXED, date(2026, 12, 1)) == Period(date(2026, 1, 1), date(2026, 12, 1))
    assert period_before(FIXED, date(2026, 1, 1)) is None
