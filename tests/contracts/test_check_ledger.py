"""The CheckLedger, on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import event

from shared.adapters.database.engine import Database
from shared.adapters.database.rates import SqlRates
from shared.adapters.database.tables import locks
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.forecast import forecast
from shared.domain.locks import HeldLock, LockWhy
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project
from shared.domain.thresholds import Checked, Decision
from shared.messages import LockAction
from shared.ports.checks import CheckResult, Judgement, ProjectUsage
from shared.ports.errors import NeverError
from shared.ports.mails import NewMail, Topic
from tests.contracts.ledger_data import (
    ANNUAL,
    DAY,
    MONTHLY,
    NOVEMBER,
    NOW,
    OCTOBER,
    THRESHOLDS,
    TODAY,
    Ledgers,
    entry,
    judge,
    november,
    terms,
)

DECEMBER = Period(date(2026, 12, 1), date(2027, 1, 1))
DECEMBER_1 = datetime(2026, 12, 1, 2, tzinfo=UTC)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def spend(ledgers: Ledgers, amount: str, group: str = "rg-1", **changes: object) -> None:
    """From now on November's charges come to this, in one charge."""
    ledgers.spend((group, november(3), "Storage", amount), **changes)


def seen(ledgers: Ledgers, *ids: int, now: datetime = NOW) -> dict[int, ProjectUsage]:
    """What a check of these projects sees; it decides nothing."""
    usages: dict[int, ProjectUsage] = {}

    def note(usage: ProjectUsage) -> Judgement:
        usages[usage.project.id] = usage
        return Judgement(Decision(), THRESHOLDS)

    ledgers.check(*ids, now=now, judge=note)
    return usages


@contextmanager
def statements(ledgers: Ledgers) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    executed: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        executed.append(statement)

    event.listen(ledgers.database.engine, "before_cursor_execute", note)
    yield executed
    event.remove(ledgers.database.engine, "before_cursor_execute", note)


# --- what a check sees ---------------------------------------------------------------------------------------


def test_a_check_sees_the_project_its_budget_its_period_and_its_usage(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "rg-one", language=None))
    ledgers.spend(
        ("RG-1", november(3), "Storage", "100.0000000001"),
        ("rg-one", november(4), "SQL", "50"),
        ("rg-2", november(4), "SQL", "7"),
    )
    usage = seen(ledgers, 1)[1]
    assert usage.project == Project(1, "P1", "Project 1", None, ("a@example.org",), active=True)
    assert (usage.budget.number, usage.budget.terms) == (1, terms())
    assert usage.period == Period(date(2026, 4, 1), date(2027, 4, 1))
    assert usage.usage == Decimal("150.0000000001")
    assert (usage.other_currencies, usage.told, usage.last) == ((), frozenset(), None)


def test_only_days_of_the_period_count(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", OCTOBER.end - DAY, "Storage", "1"), window=OCTOBER)
    ledgers.spend(
        ("rg-1", november(1), "Storage", "2"), ("rg-1", november(30), "Storage", "4"), window=NOVEMBER, now=NOW + DAY
    )
    ledgers.spend(("rg-1", NOVEMBER.end, "Storage", "8"), window=DECEMBER, now=NOW + 2 * DAY)
    assert seen(ledgers, 1)[1].usage == 6


def test_charges_in_another_currency_are_converted_where_that_is_wished(ledgers: Ledgers) -> None:
    ledgers = replace(ledgers, converts=True)
    SqlRates(ledgers.database).keep([(november(2), "CAD", Decimal("1.5")), (november(2), "USD", Decimal("1.2"))], NOW)
    ledgers.load(entry(1))
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "30"), window=OCTOBER, currency="GBP")
    ledgers.spend(("rg-1", november(3), "Storage", "10"), ("rg-1", november(4), "SQL", "-2"), currency="USD")
    usage = seen(ledgers, 1)[1]
    assert (usage.usage, usage.other_currencies, usage.own_is_whole) == (10, (), False)
    assert usage.by_day == {november(3): Decimal("12.5"), november(4): Decimal("-2.5")}
    assert [str(gap) for gap in usage.gaps if gap.currency] == [
        f"charges in GBP left out: there is no exchange rate for {OCTOBER.start}"
    ]


def test_charges_in_another_currency_are_named_and_not_added(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "30"), window=OCTOBER, currency="USD")
    spend(ledgers, "5", now=NOW + DAY)
    usage = seen(ledgers, 1)[1]
    assert (usage.usage, usage.other_currencies) == (Decimal(5), ("USD",))


def test_a_project_without_charges_has_used_nothing(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    assert seen(ledgers, 1)[1].usage == 0


def test_credits_make_usage_negative(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "-20")
    ledgers.check(1)
    assert seen(ledgers, 1)[1].usage == -20
    assert ledgers.alerts() == []


def test_outside_of_a_fixed_period_there_is_no_period_and_no_usage(ledgers: Ledgers) -> None:
    fixed = PeriodRule(PeriodKind.FIXED, date(2026, 1, 1), date(2026, 11, 20))
    ledgers.load(entry(1, terms=terms(rule=fixed)))
    spend(ledgers, "900")
    usage = seen(ledgers, 1)[1]
    assert (usage.period, usage.usage, usage.last) == (None, Decimal(0), None)
    assert seen(ledgers, 1, now=NOW - DAY)[1].usage == 900


def test_the_check_before_in_this_period_is_remembered(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "100")
    ledgers.check(1)
    assert seen(ledgers, 1)[1].last == Checked(Decimal(100), frozenset({25, 50, 80, 100}))


def test_a_check_in_a_new_period_has_none_before_it(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    spend(ledgers, "100")
    ledgers.check(1)
    assert seen(ledgers, 1, now=DECEMBER_1)[1].last is None
    assert seen(ledgers, 1, now=DECEMBER_1)[1].last == Checked(Decimal(0), frozenset({25, 50, 80, 100}))


def test_a_check_after_a_revision_of_the_period_has_none_before_it_either(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.check(1)
    ledgers.projects.revise_budget(1, terms(rule=MONTHLY), "tester", "by month", NOW)
    assert seen(ledgers, 1)[1].last is None


def test_a_check_without_thresholds_is_none_before_the_next(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.check(1, judge=lambda _usage: Judgement(None))
    assert seen(ledgers, 1)[1].last is None


def test_what_was_spent_on_each_day_is_seen_in_the_budgets_currency(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "rg-one", terms=terms(rule=MONTHLY)), entry(2))
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "99"), window=OCTOBER)
    ledgers.spend(
        ("rg-1", november(3), "Storage", "4"),
        ("rg-1", november(3), "SQL", "1"),
        ("rg-one", november(3), "SQL", "0.5"),
        ("rg-one", november(5), "SQL", "-0.25"),
        now=NOW + DAY,
    )
    usages = seen(ledgers, 1, 2)
    assert usages[1].by_day == {november(3): Decimal("5.5"), november(5): Decimal("-0.25")}
    assert usages[2].by_day == {}


def test_the_days_of_a_project_without_a_budget_and_of_one_that_is_used_up_are_seen_too(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms("100")), entry(2, terms=terms(None)), entry(3))
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", "100") for each in (1, 2, 3)))
    assert {each: len(usage.by_day) for each, usage in seen(ledgers, 1, 2, 3).items()} == {1: 1, 2: 1, 3: 1}


def test_a_warning_is_known_by_its_revision_and_period(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    spend(ledgers, "100")
    warning = NewMail(
        "warning/1/1/2026-04-01",
        "warning",
        ("a@example.org",),
        {},
        topic=Topic.EARLY_WARNING,
        project_id=1,
        budget_number=1,
        period_start=date(2026, 4, 1),
    )
    ledgers.check(1, 2, judge=lambda usage: Judgement(None, mails=(warning,) if usage.project.id == 1 else ()))
    usages = seen(ledgers, 1, 2)
    assert {each: usage.warned for each, usage in usages.items()} == {1: True, 2: False}
    ledgers.projects.revise_budget(1, terms("1001"), "tester", "more", NOW)
    assert not seen(ledgers, 1)[1].warned


def test_the_budgets_own_thresholds_and_rollover_are_seen(ledgers: Ledgers) -> None:
    own = terms(rollover=Rollover.DRAW_DOWN, thresholds=(40, 90))
    ledgers.load(entry(1, terms=own))
    assert seen(ledgers, 1)[1].budget.terms == own


def test_the_thresholds_of_the_judgement_are_remembered(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    ledgers.check(1, judge=lambda _usage: Judgement(Decision(), (90, 40)))
    assert seen(ledgers, 1)[1].last == Checked(Decimal(0), frozenset({40, 90}))


# --- forecasts -----------------------------------------------------------------------------------------------


def spend_daily(ledgers: Ledgers, amount: str, *groups: str, now: datetime = NOW) -> None:
    """A night reads that each of November's days until then cost this."""
    days = [november(day) for day in range(1, now.day)]
    ledgers.spend(*((group, day, "Storage", amount) for group in groups or ("rg-1",) for day in days), now=now)


def test_every_project_s_forecast_is_seen_and_stored(ledgers: Ledgers) -> None:
    monthly = terms("1000", rule=MONTHLY)
    over = PeriodRule(PeriodKind.FIXED, NOVEMBER.start, november(20))
    ledgers.load(
        *(
            entry(each, terms=each_terms)
            for each, each_terms in enumerate([monthly, terms(None, rule=MONTHLY), terms(rule=over)], start=1)
        )
    )
    spend_daily(ledgers, "40", "rg-1", "rg-2")
    usages = seen(ledgers, 1, 2, 3)
    by_day = dict.fromkeys((november(day) for day in range(1, 20)), Decimal(40))
    expected = forecast(by_day, NOVEMBER, TODAY)
    assert expected is not None
    stored = (expected.total, expected.low, expected.high, expected.data_days)
    assert (usages[1].forecast, usages[1].used_up_on) == (expected, november(25))
    assert (usages[2].forecast, usages[2].used_up_on) == (expected, None)
    assert (usages[3].forecast, usages[3].used_up_on) == (None, None)
    assert [ledgers.forecast(each) for each in (1, 2, 3)] == [(*stored, november(25)), (*stored, None), None]


def test_a_forecast_of_groups_that_were_others_is_gone_until_the_next_check(ledgers: Ledgers) -> None:
    monthly = terms("1000", rule=MONTHLY)
    ledgers.load(*(entry(each, f"rg-{each}", f"more-{each}", terms=monthly) for each in (1, 2, 3)))
    spend_daily(ledgers, "40", "rg-1", "rg-2", "rg-3")
    seen(ledgers, 1, 2, 3)
    same = entry(3, "RG-3", "More-3", terms=monthly, name="Another")
    ledgers.load(entry(1, "rg-1", terms=monthly), entry(2, "rg-2", "more-2", "more-1", terms=monthly), same)
    assert [ledgers.forecast(each) is None for each in (1, 2, 3)] == [True, True, False]


def test_what_is_listed_is_expected_as_of_the_day_on_which_the_costs_were_read_and_what_is_mailed_as_of_today(
    ledgers: Ledgers,
) -> None:
    ledgers.load(entry(1, terms=terms("1000", rule=MONTHLY)))
    spend_daily(ledgers, "40")
    before = seen(ledgers, 1)[1].forecast
    listed = ledgers.forecast(1)
    later = seen(ledgers, 1, now=NOW + 4 * DAY)[1].forecast
    assert ledgers.forecast(1) == listed is not None
    assert later != before is not None


def test_a_budget_of_which_nothing_is_left_is_used_up_on_no_day_that_is_listed(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms("100", rule=MONTHLY, rollover=Rollover.DRAW_DOWN)))
    spend_daily(ledgers, "40")
    seen(ledgers, 1)
    assert ledgers.forecast(1) is not None
    ledgers.spend(*(("rg-1", DECEMBER.start + each * DAY, "S", "1") for each in range(5)), window=DECEMBER,
                  now=DECEMBER_1 + 5 * DAY)  # fmt: skip
    usage = seen(ledgers, 1, now=DECEMBER_1 + 5 * DAY)[1]
    assert (usage.budget.amount, usage.used_up_on) == (0, DECEMBER.start)
    stored = ledgers.forecast(1)
    assert stored is not None
    assert stored[-1] is None


@pytest.mark.parametrize("changed", [terms("500", rule=MONTHLY), terms("1000", rule=ANNUAL)], ids=["amount", "period"])
def test_a_forecast_goes_with_a_revision_until_the_next_check(ledgers: Ledgers, changed: BudgetTerms) -> None:
    ledgers.load(entry(1, terms=terms("1000", rule=MONTHLY)))
    spend_daily(ledgers, "40")
    seen(ledgers, 1)
    ledgers.projects.revise_budget(1, changed, "ana", "as agreed", NOW)
    assert ledgers.forecast(1) is None
    seen(ledgers, 1)
    assert ledgers.forecast(1) is not None


def test_a_forecast_goes_when_its_period_is_over(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms("1000", rule=MONTHLY)))
    spend_daily(ledgers, "40")
    seen(ledgers, 1)
    seen(ledgers, 1, now=DECEMBER_1)
    assert ledgers.forecast(1) is None


def test_a_forecast_that_can_not_be_held_is_left_out_and_no_fault(database: Database) -> None:
    if database.url.get_backend_name() != "sqlite":
        pytest.skip("servers hold amounts of 28 digits")
    ledgers = Ledgers(database)
    ledgers.load(entry(1, terms=terms("800000000", rule=MONTHLY)))
    spend_daily(ledgers, "36000000")
    assert ledgers.check(1).unsent
    assert ledgers.forecast(1) == (None, None, None, None, november(23))


# --- locks ---------------------------------------------------------------------------------------------------


def put_lock(ledgers: Ledgers, project_id: int, **values: object) -> None:
    row = {"project_id": project_id, "groups": []} | values
    ledgers.database.run(lambda connection: connection.execute(locks.insert(), [row]))


def test_whether_a_project_may_be_locked_is_seen(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, lock=LockPolicy.NEVER))
    assert {each: usage.project.lock for each, usage in seen(ledgers, 1, 2).items()} == {1: "auto", 2: "never"}


def test_the_lock_that_the_app_holds_is_seen(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2), entry(3))
    figures = {"why": "over budget", "period_start": date(2026, 4, 1), "amount": Decimal(1000)}
    put_lock(ledgers, 1, held_since=NOW, budget_number=1, **figures)
    put_lock(ledgers, 2)
    usages = seen(ledgers, 1, 2, 3)
    assert usages[1].held == HeldLock(LockWhy.OVER, 1, date(2026, 4, 1), amount=Decimal(1000))
    assert (usages[2].held, usages[3].held) == (None, None)


def test_a_project_is_released_for_one_revision_in_one_period(ledgers: Ledgers) -> None:
    ledgers.load(*(entry(each, terms=terms(rule=MONTHLY)) for each in (1, 2, 3)))
    ordered = {"ordered_locks": False, "ordered_at": NOW, "ordered_period_start": NOVEMBER.start}
    put_lock(ledgers, 1, ordered_number=1, **ordered)
    put_lock(ledgers, 2, ordered_number=2, **ordered)
    released = {each: usage.released for each, usage in seen(ledgers, 1, 2, 3).items()}
    assert released == {1: True, 2: False, 3: False}
    assert not seen(ledgers, 1, now=DECEMBER_1)[1].released


def test_what_is_asked_of_the_lock_is_handed_on(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2), entry(3))
    asked = {1: (LockAction.LOCK, "full"), 2: None, 3: (LockAction.UNLOCK, "raised")}
    result = ledgers.check(3, 2, 1, judge=lambda usage: Judgement(None, lock=asked[usage.project.id]))
    assert result.locks == ((1, LockAction.LOCK, "full"), (3, LockAction.UNLOCK, "raised"))


# --- which projects ------------------------------------------------------------------------------------------


def test_unknown_and_inactive_projects_are_passed_over(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2, active=False))
    spend(ledgers, "900", group="rg-2")
    assert ledgers.check(2, 99, 1, 98) == CheckResult(unsent=(), unknown=(98, 99), checked=1)
    assert ledgers.alerts() == []
    assert list(seen(ledgers, 1, 2)) == [1]


def test_no_projects_at_all_is_no_fault(ledgers: Ledgers) -> None:
    assert ledgers.check() == CheckResult((), ())


# --- alerts --------------------------------------------------------------------------------------------------


def test_an_alert_and_its_mail_are_made_together_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "250")
    first = ledgers.check(1)
    assert first.alerts == ((1, 25),)
    assert ledgers.check(1) == replace(first, alerts=())
    assert ledgers.alerts() == [(25, "mailed")]
    (mail,) = ledgers.mails()
    assert first.unsent == (mail.id,)
    assert (mail.project_id, mail.state, mail.attempts) == (1, "pending", 0)


def test_several_thresholds_at_once_make_one_mail(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    ledgers.check(1)
    assert sorted(ledgers.alerts()) == [(25, "passed over"), (50, "passed over"), (80, "mailed")]
    assert ledgers.mailed() == [80]


def test_usage_that_falls_and_comes_back_makes_no_second_mail(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    for days, amount in enumerate(("600", "100", "600", "820")):
        spend(ledgers, amount, now=NOW + days * DAY)
        ledgers.check(1)
    assert ledgers.mailed() == [50, 80]


def test_a_threshold_that_is_added_below_the_present_percent_is_not_mailed(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "600")
    ledgers.check(1, judge=lambda _usage: Judgement(Decision(), (80,)))
    ledgers.check(1)
    assert sorted(ledgers.alerts()) == [(25, "not mailed"), (50, "not mailed")]


def test_a_new_period_arms_all_thresholds(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    spend(ledgers, "600")
    ledgers.check(1)
    ledgers.spend(("rg-1", DECEMBER.start, "Storage", "510"), window=DECEMBER, now=DECEMBER_1)
    ledgers.check(1, now=DECEMBER_1)
    ledgers.check(1, now=DECEMBER_1)
    assert ledgers.mailed() == [50, 50]


def test_the_mail_gets_what_was_spent_in_the_period_by_day_and_by_service(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1", "rg-one", terms=terms("10", rule=MONTHLY)))
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "99"), window=OCTOBER)
    ledgers.spend(
        ("rg-1", november(3), "Storage", "4"),
        ("rg-1", november(3), "SQL", "1"),
        ("rg-one", november(3), "Storage", "0.5"),
        ("rg-one", november(5), "SQL", "-0.25"),
        now=NOW + DAY,
    )
    ledgers.check(1)
    context = ledgers.mails()[0].context
    by_day = {day: Decimal(cost) for day, cost in context["by_day"].items()}
    by_service = {service: Decimal(cost) for service, cost in context["by_service"].items()}
    assert by_day == {"2026-11-03": Decimal("5.5"), "2026-11-05": Decimal("-0.25")}
    assert by_service == {"Storage": Decimal("4.5"), "SQL": Decimal("0.75")}


def test_spending_is_in_the_budgets_currency_only(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms("10")))
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "99"), window=OCTOBER, currency="USD")
    spend(ledgers, "6", now=NOW + DAY)
    ledgers.check(1)
    assert ledgers.mails()[0].context["by_service"].keys() == {"Storage"}
    assert ledgers.mails()[0].context["by_day"].keys() == {"2026-11-03"}


@pytest.mark.parametrize("amount", [None, "0"])
def test_a_budget_of_nothing_is_judged_and_its_problem_is_listed(ledgers: Ledgers, amount: str | None) -> None:
    ledgers.load(entry(1, terms=terms(amount)))
    spend(ledgers, "600")
    ledgers.check(1)
    assert ledgers.alerts() == []
    assert ledgers.projects.list_projects(NOW.date())[0].problem == "there is no budget for today"


def test_a_problem_goes_when_it_is_gone(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms("0")))
    ledgers.check(1)
    ledgers.projects.revise_budget(1, terms(), "tester", "now there is one", NOW)
    ledgers.check(1)
    assert ledgers.projects.list_projects(NOW.date())[0].problem is None


def test_a_notice_is_sent_once_by_its_key(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    notice = NewMail(key="no budget", template="notice", to=("ops@example.org",), context={}, topic=Topic.NO_BUDGET)
    first = ledgers.check(1, 2, judge=lambda _usage: Judgement(None, (), "no budget", (notice,)))
    again = ledgers.check(2, judge=lambda _usage: Judgement(None, (), "no budget", (notice,)))
    assert again == replace(first, checked=1)
    assert [mail.key for mail in ledgers.mails()] == ["no budget"]
    assert first.unsent == (ledgers.mails()[0].id,)


def test_mails_that_somebody_has_begun_to_send_are_not_unsent(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "600")
    ledgers.check(1)
    with ledgers.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE mails SET attempts = 1")
    assert ledgers.check(1).unsent == ()


def test_a_check_takes_the_due_mark_away(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.check(1)
    assert ledgers.due() == [2]


def test_projects_that_are_given_up_are_no_longer_due_and_have_a_problem(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    ledgers.checks.give_up([1, 99], "its sums are too large")
    assert ledgers.due() == [2]
    assert [view.problem for view in ledgers.projects.list_projects(NOW.date())] == ["its sums are too large", None]


def test_projects_are_named_by_their_acronyms_inactive_ones_too(ledgers: Ledgers) -> None:
    ledgers.load(entry(2), entry(1, active=False))
    assert ledgers.checks.acronyms([2, 99, 1, 2]) == {1: "P1", 2: "P2"}
    assert ledgers.checks.acronyms([]) == {}


# --- together and in bulk ------------------------------------------------------------------------------------


def test_what_fails_in_composing_leaves_nothing(ledgers: Ledgers) -> None:
    ledgers.load(entry(1), entry(2))
    spend(ledgers, "600")

    def broken(*_about: object) -> NewMail:
        raise RuntimeError("no template")

    with pytest.raises(RuntimeError, match="no template"):
        ledgers.check(1, 2, compose=broken)
    assert (ledgers.alerts(), ledgers.mails(), ledgers.due()) == ([], [], [1, 2])
    ledgers.check(1, 2)
    assert ledgers.mailed() == [50]


def test_two_checks_of_a_project_never_run_at_the_same_time(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "600")
    meeting = threading.Barrier(2, timeout=0.3)
    told: list[frozenset[int]] = []

    def wait_for_the_other(usage: ProjectUsage) -> Judgement:
        told.append(usage.told)
        with pytest.raises(threading.BrokenBarrierError):
            meeting.wait()
        return judge(usage)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: ledgers.check(1, judge=wait_for_the_other), range(2)))
    assert told == [frozenset(), frozenset({25, 50})]
    assert results[0].unsent == results[1].unsent
    assert sorted(result.alerts for result in results) == [(), ((1, 50),)], "one of them has made it"
    assert ledgers.mailed() == [50]


def test_twenty_checks_at_once_make_one_alert_for_each_project(ledgers: Ledgers) -> None:
    ledgers.load(*(entry(each) for each in range(1, 6)))
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", "850") for each in range(1, 6)))
    orders = [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1], [2, 5, 4]] * 5
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda ids: ledgers.check(*ids), orders))
    assert ledgers.mailed() == [80] * 5
    assert len({mail.project_id for mail in ledgers.mails()}) == 5


def test_a_revision_waits_for_a_check_and_carries_what_it_told(ledgers: Ledgers) -> None:
    ledgers.load(entry(1))
    spend(ledgers, "850")
    with ThreadPoolExecutor(1) as pool:

        def revised_meanwhile(usage: ProjectUsage) -> Judgement:
            revision = pool.submit(ledgers.projects.revise_budget, 1, terms("1001"), "ana", "a bit more", NOW)
            with pytest.raises(TimeoutError):
                revision.result(timeout=0.3)
            return judge(usage)

        ledgers.check(1, judge=revised_meanwhile)
    ledgers.check(1)
    assert ledgers.mailed() == [80]
    assert [threshold for threshold, outcome in ledgers.alerts() if outcome == "carried"] == [25, 50, 80]


def test_the_number_of_statements_does_not_grow_with_the_projects(ledgers: Ledgers) -> None:
    ids = range(1, 302)
    ledgers.load(*(entry(each, terms=terms(rule=MONTHLY)) for each in ids))
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", "600") for each in ids))
    with statements(ledgers) as for_one:
        ledgers.check(1)
    with statements(ledgers) as for_many:
        ledgers.check(*ids[1:])
    assert len(ledgers.mailed()) == 301
    assert len(for_many) == len(for_one) <= 22


def test_the_number_of_statements_does_not_grow_where_all_periods_are_new(ledgers: Ledgers) -> None:
    ids = range(1, 102)
    ledgers.load(*(entry(each, terms=terms(rule=MONTHLY)) for each in ids))
    with statements(ledgers) as for_one:
        ledgers.check(1, now=DECEMBER_1)
    with statements(ledgers) as for_many:
        ledgers.check(*ids[1:], now=DECEMBER_1)
    assert len(for_many) == len(for_one)


def test_the_number_of_statements_does_not_grow_where_all_carry_something_on(ledgers: Ledgers) -> None:
    ids = range(1, 102)
    carrying = terms(rule=MONTHLY, rollover=Rollover.CARRY_OVER)
    ledgers.load(*(entry(each, terms=carrying) for each in ids))
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", "600") for each in ids))
    counts = []
    for now in (DECEMBER_1, DECEMBER_1 + DAY, datetime(2027, 3, 1, tzinfo=UTC)):
        with statements(ledgers) as for_one:
            ledgers.check(1, now=now)
        with statements(ledgers) as for_many:
            ledgers.check(*ids[1:], now=now)
        counts.append((len(for_one), len(for_many)))
    assert [one for one, _ in counts] == [many for _, many in counts]
    assert max(one for one, _ in counts) <= 33


def test_more_projects_than_fit_into_one_statement_are_checked(ledgers: Ledgers) -> None:
    ids = range(1, 2201)
    ledgers.load(*(entry(each) for each in ids))
    ledgers.spend(*((f"rg-{each}", november(3), "Storage", "600") for each in ids))
    assert len(ledgers.check(*ids).unsent) == 2200
    assert ledgers.due() == []


def test_a_sum_that_cannot_be_held_exactly_is_an_error_and_no_wrong_figure(database: Database) -> None:
    if database.url.get_backend_name() != "sqlite":
        pytest.skip("servers hold sums of 28 digits")
    ledgers = Ledgers(database)
    ledgers.load(entry(1))
    ledgers.spend(("rg-1", november(3), "Storage", "900000000"), ("rg-1", november(4), "Storage", "900000000"))
    with pytest.raises(NeverError, match="too large"):
        ledgers.check(1)
    assert ledgers.due() == [1]
