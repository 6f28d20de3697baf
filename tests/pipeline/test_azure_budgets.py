"""Which budget Azure is to have, and what is changed about the one that it has."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.budgets import Budget, BudgetTerms, Rollover
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project, Scope
from shared.pipeline.azure_budgets.wanted import (
    LOCK_NOTICE,
    UnmappableError,
    azure_amount,
    brought_to,
    currency_of,
    differences,
    is_ours,
    needs_new,
    wanted_budget,
    why_none,
)
from shared.ports.azure import AZURE, AzureBudget, BudgetNotice
from shared.ports.projects import ProjectView

HERE, ELSEWHERE = "6f1c0d5e-0000-4000-8000-00000000000a", "6f1c0d5e-0000-4000-8000-00000000000b"
CALLED = f"/subscriptions/{HERE}/resourceGroups/rg-ops/providers/Microsoft.Insights/actionGroups/lock"
TODAY = date(2026, 11, 20)
APRIL = PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 1))
DAY = timedelta(days=1)
MONTHS = {"Annually": 12, "Quarterly": 3, "Monthly": 1}


def in_azure(*groups: tuple[str, str]) -> tuple[Scope, ...]:
    return tuple(Scope(AZURE, *group) for group in groups)


def project(
    amount: str | None = "1000",
    rule: PeriodRule = APRIL,
    rollover: Rollover = Rollover.RESET,
    carried: str = "0",
    stopped: bool = False,
    today: date = TODAY,
    **more: Any,
) -> ProjectView:
    terms = BudgetTerms(None if amount is None else Decimal(amount), more.pop("currency", "CAD"), rule, rollover)
    budget = Budget(1, 1, terms, Decimal(carried), stopped) if terms.amount else None
    view = ProjectView(
        project=Project(11, "WARDEN", "Warden", "en", ("a@example.com",), active=True),
        scopes=in_azure((HERE, "rg-b"), (HERE, "RG-a")),
        budget=budget,
        period=rule.period_at(today),
        spent=Decimal(0),
        terms=terms,
    )
    who = {name: more.pop(name) for name in ("acronym", "active", "lock") if name in more}
    return replace(view, project=replace(view.project, **who), **more)


def wanted(*, currency_of_subscription: str | None = "CAD", **details: Any):
    found = wanted_budget(project(**details), CALLED, currency_of_subscription)
    assert found is not None
    return found


def unmappable(currency_of_subscription: str | None = "CAD", **details: Any) -> str:
    with pytest.raises(UnmappableError) as caught:
        wanted_budget(project(**details), CALLED, currency_of_subscription)
    return str(caught.value)


def test_a_budget_is_mapped_to_azures_words() -> None:
    assert wanted().budget == AzureBudget(
        name="warden-warden",
        amount=Decimal("1000.00"),
        time_grain="Annually",
        first_day=date(2026, 4, 1),
        last_day=date(2036, 3, 31),
        resource_groups=("RG-a", "rg-b"),
        notices={
            "budget-warden-lock": BudgetNotice(Decimal(100), "GreaterThanOrEqualTo", False, action_groups=(CALLED,))
        },
    )


@pytest.mark.parametrize(
    ("rule", "grain", "first_day", "last_day"),
    [
        (PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1)), "Monthly", date(2026, 11, 1), date(2036, 10, 31)),
        (PeriodRule(PeriodKind.QUARTERLY, date(2000, 2, 1)), "Quarterly", date(2026, 11, 1), date(2036, 10, 31)),
        (PeriodRule(PeriodKind.ANNUAL, date(2000, 12, 1)), "Annually", date(2025, 12, 1), date(2035, 11, 30)),
        (
            PeriodRule(PeriodKind.FIXED, date(2026, 9, 1), date(2027, 9, 1)),
            "Annually",
            date(2026, 9, 1),
            date(2027, 8, 31),
        ),
        (
            PeriodRule(PeriodKind.FIXED, date(2026, 11, 1), date(2026, 12, 16)),
            "Annually",
            date(2026, 11, 1),
            date(2026, 12, 15),
        ),
    ],
)
def test_each_kind_of_period_has_its_time_grain_and_days(
    rule: PeriodRule, grain: str, first_day: date, last_day: date
) -> None:
    budget = wanted(rule=rule).budget
    assert (budget.time_grain, budget.first_day, budget.last_day) == (grain, first_day, last_day)


def test_a_budget_that_stops_ends_with_its_period() -> None:
    assert wanted(rollover=Rollover.STOP).budget.last_day == date(2027, 3, 31)


def test_a_fixed_period_of_one_day_still_ends_after_its_start() -> None:
    rule = PeriodRule(PeriodKind.FIXED, date(2026, 11, 1), date(2026, 11, 2))
    assert wanted(rule=rule, today=date(2026, 11, 1)).budget.last_day == date(2026, 11, 2)


@pytest.mark.parametrize(
    ("amount", "carried", "rollover", "in_azure"),
    [
        ("1000", "250.5", Rollover.CARRY_OVER, "1250.50"),
        ("1000", "-400", Rollover.DRAW_DOWN, "600.00"),
        ("1000", "-1000", Rollover.DRAW_DOWN, "0.01"),
        ("1000", "-1200", Rollover.DRAW_DOWN, "0.01"),
        ("0.004", "0", Rollover.RESET, "0.01"),
        ("10.0000000001", "0", Rollover.RESET, "10.01"),
        ("10.01", "0", Rollover.RESET, "10.01"),
    ],
)
def test_the_amount_is_what_may_be_spent_in_whole_cents_and_a_cent_at_least(
    amount: str, carried: str, rollover: Rollover, in_azure: str
) -> None:
    assert str(wanted(amount=amount, carried=carried, rollover=rollover).budget.amount) == in_azure


@given(st.decimals(0, 900_000_000, places=10))
def test_an_amount_is_rounded_up_to_the_next_cent(amount: Decimal) -> None:
    in_azure = azure_amount(amount)
    assert in_azure == in_azure.quantize(Decimal("0.01")) >= Decimal("0.01")
    assert 0 <= in_azure - amount < Decimal("0.01") or (not amount and in_azure == Decimal("0.01"))


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"active": False}, "inactive"),
        ({"lock": LockPolicy.NEVER}, "never to be locked"),
        ({"amount": None}, "no budget"),
        ({"amount": "0"}, "no budget"),
        ({"stopped": True}, "no budget"),
    ],
)
def test_a_project_without_a_budget_to_lock_by_has_none_in_azure(details: dict, reason: str) -> None:
    assert wanted_budget(project(**details), CALLED) is None
    assert reason in (why_none(project(**details)) or "")


def test_a_project_that_is_not_watched_is_not_said_to_be_unmappable() -> None:
    assert wanted_budget(project(active=False, scopes=in_azure((HERE, "a"), (ELSEWHERE, "b"))), CALLED, "EUR") is None


def test_several_subscriptions_can_not_be_mapped() -> None:
    reason = unmappable(scopes=in_azure((HERE, "rg-a"), (ELSEWHERE, "rg-b")))
    assert "2 subscriptions" in reason
    assert ELSEWHERE in reason


def test_a_project_with_costs_at_another_provider_has_no_budget_in_azure() -> None:
    reason = unmappable(scopes=(*in_azure((HERE, "rg-a")), Scope("aws", "123456789012")))
    assert reason.startswith("it also has costs at another provider (aws)")


def test_one_subscription_in_two_spellings_is_one() -> None:
    assert wanted(scopes=in_azure((HERE, "rg-a"), (HERE.upper(), "rg-b"))).budget.resource_groups == ("rg-a", "rg-b")


def test_another_currency_than_the_subscriptions_can_not_be_mapped_and_an_unknown_one_is_tried() -> None:
    assert unmappable("EUR") == "its budget is in CAD, and the subscription is billed in EUR"
    assert wanted(currency_of_subscription=None).budget.amount == 1000


@pytest.mark.parametrize("kind", [PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY])
@pytest.mark.parametrize("day", [2, 15, 31])
def test_a_period_from_the_middle_of_a_month_can_not_be_mapped(kind: PeriodKind, day: int) -> None:
    assert f"begin on day {day} of a month" in unmappable(rule=PeriodRule(kind, date(2000, 1, day)))


def test_a_fixed_period_that_is_longer_than_a_year_can_not_be_mapped() -> None:
    rule = PeriodRule(PeriodKind.FIXED, date(2026, 9, 1), date(2027, 9, 2))
    assert "longer than the 12 months" in unmappable(rule=rule)


@pytest.mark.parametrize("start", [date(2026, 1, 1), date(2027, 1, 1)])
def test_a_fixed_period_that_is_over_or_to_come_can_not_be_mapped(start: date) -> None:
    rule = PeriodRule(PeriodKind.FIXED, start, start + 30 * DAY)
    assert "today is not in its budget's period" in unmappable(rule=rule)


def found(**changes: Any) -> AzureBudget:
    """The budget as Azure has it, which lacks nothing, with these changes."""
    return replace(wanted().budget, e_tag="tag", current_spend=Decimal(5), currency="CAD", **changes)


def ours(**changes: Any) -> dict[str, BudgetNotice]:
    return {LOCK_NOTICE: replace(wanted().budget.notices[LOCK_NOTICE], **changes)}


PEOPLES = BudgetNotice(Decimal(80), "GreaterThan", forecast=True, emails=("boss@example.com",))


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"resource_groups": ("RG-B", "rg-a", "Rg-B ")},
        {"time_grain": "annually"},
        {"category": "cost"},
        {"amount": Decimal(1000)},
        {"first_day": date(2025, 4, 1)},
        {"first_day": date(2018, 4, 1)},
        {"last_day": date(2027, 5, 2)},
        {"last_day": date(9999, 12, 31)},
        {"notices": ours(action_groups=(CALLED.upper(),), operator="greaterthanorequalto", threshold=Decimal("100.0"))},
        {"notices": ours(emails=("a@example.com",), roles=("Owner",))},
        {"notices": {"people's": PEOPLES, **ours()}},
        {"notices": {LOCK_NOTICE.upper(): ours()[LOCK_NOTICE]}},
    ],
    ids=str,
)
def test_what_means_the_same_is_left_as_it_is(same: dict) -> None:
    assert differences(wanted(), found(**same)) == []


@pytest.mark.parametrize(
    ("other", "said", "anew"),
    [
        ({"amount": Decimal("999.99")}, "amount 999.99 -> 1000", False),
        ({"time_grain": "Monthly"}, "time grain Monthly -> Annually", True),
        ({"category": "Usage"}, "category Usage -> Cost", False),
        ({"resource_groups": ("rg-a",)}, "resource groups rg-a -> rg-a, rg-b", False),
        ({"resource_groups": ("rg-a", "rg-b", "rg-c")}, "resource groups rg-a, rg-b, rg-c -> rg-a, rg-b", False),
        ({"resource_groups": None}, "resource groups not set -> rg-a, rg-b", False),
        ({"first_day": date(2026, 5, 1)}, "first day 2026-05-01 -> 2026-04-01", True),
        ({"first_day": date(2025, 5, 1)}, "first day 2025-05-01 -> 2026-04-01", True),
        ({"first_day": date(1, 1, 1)}, "first day 0001-01-01 -> 2026-04-01", True),
        ({"last_day": date(2027, 5, 1)}, "last day 2027-05-01 -> 2036-03-31", False),
        ({"notices": ours(threshold=Decimal(90))}, "the lock's notification", False),
        ({"notices": ours(operator="GreaterThan")}, "the lock's notification", False),
        ({"notices": ours(enabled=False)}, "the lock's notification", False),
        ({"notices": ours(action_groups=())}, "the lock's notification", False),
        ({"notices": ours(action_groups=(CALLED, f"{CALLED}-2"))}, "the lock's notification", False),
        ({"notices": ours(forecast=True)}, "the lock's notification", True),
    ],
    ids=str,
)
def test_each_difference_is_said_and_what_azure_can_not_change_is_made_anew(other: dict, said: str, anew: bool) -> None:
    assert differences(wanted(), found(**other)) == [said]
    assert needs_new(wanted(), found(**other)) is anew
    assert differences(wanted(), brought_to(wanted(), found(**other))) == []


def test_a_change_keeps_the_start_and_the_tag_and_what_people_added() -> None:
    before = found(
        amount=Decimal(5),
        first_day=date(2024, 4, 1),
        notices={"people's": PEOPLES, **ours(threshold=Decimal(90), emails=("a@example.com",))},
    )
    put = brought_to(wanted(), before)
    assert (put.e_tag, put.first_day, put.last_day) == ("tag", before.first_day, before.last_day)
    assert put.notices == {"people's": PEOPLES, **ours(emails=("a@example.com",))}


def test_a_budget_that_is_made_anew_keeps_what_people_added_and_has_no_tag() -> None:
    put = brought_to(wanted(), found(first_day=date(2026, 6, 1), notices={"people's": PEOPLES, **ours()}))
    assert (put.e_tag, put.first_day, put.notices["people's"]) == (None, date(2026, 4, 1), PEOPLES)


def test_a_fixed_budget_ends_exactly_with_its_period() -> None:
    rule = PeriodRule(PeriodKind.FIXED, date(2026, 9, 1), date(2027, 3, 1))
    target = wanted(rule=rule)
    assert differences(target, replace(target.budget, last_day=date(2027, 3, 31))) == [
        "last day 2027-03-31 -> 2027-02-28"
    ]
    assert needs_new(target, replace(target.budget, first_day=date(2025, 9, 1)))


def test_a_budget_is_ours_by_its_notification_only() -> None:
    assert is_ours(found())
    assert not is_ours(found(notices={"people's": PEOPLES}))


@pytest.mark.parametrize(
    ("budgets", "of_charges", "currency"),
    [
        ([], (), None),
        ([], ("CAD",), "CAD"),
        ([], ("CAD", "USD"), None),
        ([("USD", 5)], ("CAD",), "USD"),
        ([("usd", 5), ("USD", 1)], (), "USD"),
        ([("USD", 5), ("CAD", 1)], ("CAD",), None),
        # Not evaluated yet: nobody promises that its currency is right.
        ([("USD", 0)], ("CAD",), "CAD"),
        ([("USD", None)], (), "USD"),
        ([(None, 5)], ("CAD",), "CAD"),
    ],
)
def test_the_currency_is_that_of_what_azure_evaluated_then_of_the_charges(
    budgets: list, of_charges: tuple, currency: str | None
) -> None:
    shown = [replace(found(), currency=unit, current_spend=spend) for unit, spend in budgets]
    assert currency_of(shown, frozenset(of_charges)) == currency


RULES = st.builds(
    PeriodRule,
    st.sampled_from([PeriodKind.ANNUAL, PeriodKind.QUARTERLY, PeriodKind.MONTHLY]),
    st.dates(date(2000, 1, 1), date(2030, 12, 31)),
)
FIRSTS = RULES.map(lambda rule: replace(rule, start=rule.start.replace(day=1)))
DAYS = st.dates(date(2019, 1, 1), date(2060, 12, 31))
NOTICES = st.builds(
    BudgetNotice,
    st.decimals(1, 1000, places=2),
    st.sampled_from(["GreaterThan", "GreaterThanOrEqualTo", "EqualTo"]),
    st.booleans(),
    st.sampled_from([(), (CALLED,), (CALLED.lower(), "/x")]),
    st.sampled_from([(), ("a@example.com",)]),
    st.just(()),
    st.booleans(),
)
FOUND = st.builds(
    AzureBudget,
    name=st.just("WARDEN-warden"),
    amount=st.decimals(1, 10_000, places=2),
    time_grain=st.sampled_from(["Annually", "Quarterly", "Monthly", "BillingMonth"]),
    first_day=st.one_of(st.just(date(1, 1, 1)), st.dates(date(2017, 6, 1), date(2061, 1, 1))).map(
        lambda day: day.replace(day=1)
    ),
    last_day=st.dates(date(2018, 1, 1), date(9999, 12, 31)),
    resource_groups=st.none() | st.lists(st.sampled_from(["rg-a", "RG-A", "rg-b", "rg-c"])).map(tuple),
    notices=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), NOTICES).flatmap(
        lambda others: NOTICES.map(lambda own: {**others, LOCK_NOTICE: own})
    ),
    e_tag=st.just("tag"),
)


@given(rule=RULES | FIRSTS, rollover=st.sampled_from(Rollover), today=DAYS, before=FOUND)
def test_whatever_azure_has_is_brought_to_what_is_wanted_at_once_and_nobodys_notice_is_lost(
    rule: PeriodRule, rollover: Rollover, today: date, before: AzureBudget
) -> None:
    view = project(rule=rule, rollover=rollover, today=today)
    if rule.start.day != 1:
        with pytest.raises(UnmappableError):
            wanted_budget(view, CALLED)
        return
    target = wanted_budget(view, CALLED)
    put = brought_to(target, before)
    assert differences(target, put) == []
    assert len(put.notices) == len(before.notices) <= 5
    assert all(put.notices[name] == notice for name, notice in before.notices.items() if name != LOCK_NOTICE)
    assert counted_by_azure(put, today) == rule.period_at(today)


@given(rule=FIRSTS, made_on=DAYS, years=st.integers(0, 7), days=st.integers(0, 365))
def test_a_recurring_budget_needs_nothing_for_years_and_azure_counts_each_period_right(
    rule: PeriodRule, made_on: date, years: int, days: int
) -> None:
    made = wanted_budget(project(rule=rule, today=made_on), CALLED).budget
    later = made_on + timedelta(days=365 * years + days)
    assert counted_by_azure(made, later) == rule.period_at(later)
    assert differences(wanted_budget(project(rule=rule, today=later), CALLED), made) == []


def counted_by_azure(budget: AzureBudget, day: date) -> Period:
    """The window that Azure sums up for a day, by its own rule: grains counted from the budget's start."""
    assert budget.first_day <= day <= budget.last_day
    start = budget.first_day
    while True:
        months = start.year * 12 + start.month - 1 + MONTHS[budget.time_grain]
        end = date(months // 12, months % 12 + 1, 1)
        if day < end:
            return Period(start, end)
        start = end
