"""The LockLedger, on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import StatementError

from shared.adapters.database.engine import Database
from shared.adapters.database.mails import SqlMails
from shared.adapters.database.tables import budget_periods
from shared.domain.locks import HeldLock, LockOrder, LockWhy, Outcome
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project
from shared.messages import LockAction, LockTrigger
from shared.ports.azure import ResourceGroup
from shared.ports.locks import AuditEntry, Freed, Hold, LockFacts, LockLedger
from shared.ports.mails import NewMail, Topic
from tests.contracts.ledger_data import DAY, MONTHLY, NOVEMBER, NOW, OCTOBER, SUB, Ledgers, entry, november, terms
from tests.contracts.rows import HOUR, MINUTE, set_project, set_scopes

LATER = NOW + 15 * MINUTE
OTHER_SUB = "2ddddddd-2b66-438e-8ab4-bce37d518c5d"
FISCAL_YEAR = Period(date(2026, 4, 1), date(2027, 4, 1))
DECEMBER_1 = datetime(2026, 12, 1, 2, tzinfo=UTC)

GROUP = ResourceGroup(SUB, "rg-1")
HELD = HeldLock(
    LockWhy.OVER,
    budget_number=1,
    period_start=FISCAL_YEAR.start,
    currency="CAD",
    amount=Decimal("-0.0000000001"),
    spent=Decimal("1000.0000000001"),
    seen_on=NOW.date(),
    counted=frozenset({"rg-1", "straße"}),
)
BY_ORDER = HeldLock(LockWhy.ORDER, budget_number=3)
LOCKED = AuditEntry("message-1", 1, LockAction.LOCK, Outcome.LOCKED, "it is full", LockTrigger.ALERT)
UNLOCKED = AuditEntry("message-2", 1, LockAction.UNLOCK, Outcome.UNLOCKED, "it was raised", LockTrigger.CHECK)
FREED = Freed()
MAIL = NewMail(
    "lock/locked/message-1", "notice", ("a@example.org",), {"text": "locked"}, topic=Topic.LOCK, project_id=1
)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    ledgers = Ledgers(database)
    ledgers.load(entry(1), entry(2))
    return ledgers


@pytest.fixture
def ledger(locks: LockLedger, ledgers: Ledgers) -> LockLedger:
    """The ledger, with projects 1 and 2."""
    return locks


def facts(ledger: LockLedger, project_id: int = 1, now: datetime = NOW) -> LockFacts:
    found = ledger.facts(project_id, now)
    assert found is not None
    return found


def record(ledger: LockLedger, decision: AuditEntry, *change: Hold | Freed | NewMail, now: datetime = NOW) -> None:
    """Claims the project's lock and writes this decision, change and mails."""
    changes = [each for each in change if not isinstance(each, NewMail)]
    mails = [each for each in change if isinstance(each, NewMail)]
    assert ledger.claim(decision.project_id, "tester", now + HOUR, now)
    assert ledger.record(decision, "tester", changes[0] if changes else None, mails, now)


def decided(ledger: LockLedger) -> list[str]:
    return [view.entry.key for view in ledger.decisions()]


def at_once(work: Callable[[str], bool], *names: str) -> list[bool]:
    """What `work` returns to each of several that begin at the same time, sorted."""
    all_ready = threading.Barrier(len(names))

    def begin(name: str) -> bool:
        all_ready.wait(10)
        return work(name)

    with ThreadPoolExecutor(len(names)) as pool:
        return sorted(pool.map(begin, names))


# --- who works on a lock -------------------------------------------------------------------------------------


def test_a_free_lock_is_claimed_once(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    assert not ledger.claim(1, "second", LATER, NOW)


def test_a_claim_is_on_one_project(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    assert ledger.claim(2, "second", LATER, NOW)


def test_a_claim_that_expired_can_be_taken_by_another(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    assert not ledger.claim(1, "second", LATER + HOUR, LATER - MINUTE)
    assert ledger.claim(1, "second", LATER + HOUR, LATER)
    assert not ledger.claim(1, "first", LATER + HOUR, LATER)


def test_the_same_claimant_takes_its_claim_again_and_has_it_for_longer(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    assert ledger.claim(1, "first", LATER + HOUR, NOW + MINUTE)
    assert not ledger.claim(1, "second", LATER + HOUR, LATER)


def test_a_claimant_s_name_may_have_a_hundred_letters(ledger: LockLedger) -> None:
    assert ledger.claim(1, "é" * 100, LATER, NOW)
    assert ledger.claim(1, "é" * 100, LATER, NOW)


def test_an_unknown_project_can_not_be_claimed(ledger: LockLedger) -> None:
    assert not ledger.claim(4711, "first", LATER, NOW)


def test_of_several_that_claim_at_once_exactly_one_gets_it(ledger: LockLedger, ledgers: Ledgers) -> None:
    projects = range(10, 16)
    ledgers.load(*(entry(number) for number in projects))
    names = ("first", "second", "third")
    for number in projects:
        for now in (NOW, LATER):  # the first time there is no row yet
            got = at_once(
                lambda name, number=number, now=now: ledger.claim(number, f"{name} {now}", now + HOUR, now), *names
            )
            assert got == [False, False, now == NOW]
        got = at_once(lambda name, number=number: ledger.claim(number, name, NOW + 3 * HOUR, NOW + HOUR), *names)
        assert got == [False, False, True]


def test_a_claim_that_is_released_is_free(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    ledger.release(1, "first")
    assert ledger.claim(1, "second", LATER, NOW)


def test_nobody_releases_another_s_claim(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    ledger.release(1, "second")
    assert not ledger.claim(1, "second", LATER, NOW)


def test_a_claim_alone_does_not_lock(ledger: LockLedger) -> None:
    ledger.claim(1, "first", LATER, NOW)
    ledger.release(1, "first")
    found = facts(ledger)
    assert (found.held, found.held_groups, found.held_since, found.order) == (None, (), None, None)


# --- what is recorded ----------------------------------------------------------------------------------------


def test_a_lock_is_held_as_it_was_recorded(ledger: LockLedger, database: Database) -> None:
    groups = (GROUP, ResourceGroup(OTHER_SUB, "Straße"))
    record(ledger, LOCKED, Hold(HELD, groups), MAIL)
    found = facts(ledger)
    assert (found.held, found.held_groups, found.held_since, found.order) == (HELD, groups, NOW, None)
    assert decided(ledger) == [LOCKED.key]
    assert facts(ledger, 2).held is None


def test_a_lock_by_hand_on_a_project_without_a_budget_is_held(ledger: LockLedger) -> None:
    record(ledger, LOCKED, Hold(BY_ORDER, (GROUP,)))
    assert facts(ledger).held == BY_ORDER


def test_an_amount_of_azure_s_is_kept_to_ten_places(ledger: LockLedger) -> None:
    record(ledger, LOCKED, Hold(replace(HELD, spent=Decimal("1234.00000000014999")), (GROUP,)))
    assert facts(ledger).held == replace(HELD, spent=Decimal("1234.0000000001"))


def test_a_decision_ends_its_claim(ledger: LockLedger) -> None:
    record(ledger, LOCKED, Hold(HELD, (GROUP,)))
    assert ledger.claim(1, "second", LATER, NOW)


def test_a_project_that_is_locked_again_stays_locked_since_the_first_time(ledger: LockLedger) -> None:
    record(ledger, LOCKED, Hold(HELD, (GROUP,)))
    more = replace(HELD, spent=Decimal(2000), why=LockWhy.ORDER)
    record(ledger, replace(LOCKED, key="again"), Hold(more, (GROUP, replace(GROUP, name="rg-2"))), now=NOW + DAY)
    found = facts(ledger)
    assert (found.held, found.held_since, len(found.held_groups)) == (more, NOW, 2)


def test_a_project_that_is_locked_anew_is_locked_since_then(ledger: LockLedger) -> None:
    record(ledger, LOCKED, Hold(HELD, (GROUP,)))
    record(ledger, UNLOCKED, FREED, now=NOW + DAY)
    record(ledger, replace(LOCKED, key="anew"), Hold(HELD, (GROUP,)), now=NOW + 2 * DAY)
    assert facts(ledger).held_since == NOW + 2 * DAY


def test_an_unlocked_project_holds_nothing_and_may_be_locked_again(ledger: LockLedger) -> None:
    record(ledger, LOCKED, Hold(HELD, (GROUP,)))
    record(ledger, UNLOCKED, FREED)
    found = facts(ledger)
    assert (found.held, found.held_groups, found.held_since, found.order) == (None, (), None, None)


# --- orders --------------------------------------------------------------------------------------------------


def is_released(ledger: LockLedger, now: datetime = NOW) -> bool:
    found = facts(ledger, now=now)
    return found.order is not None and found.order.releases(found.budget.number, found.period)


def test_an_order_is_recorded_with_its_time_and_for_which_revision_and_period(ledger: LockLedger) -> None:
    at = NOW - MINUTE + timedelta(microseconds=1)
    ledger.order(1, False, at, "Zoë", NOW)
    assert facts(ledger).order == LockOrder(False, at, 1, FISCAL_YEAR.start, "Zoë")
    assert (is_released(ledger), facts(ledger, 2).order) == (True, None)
    ledger.order(4711, True, at, None, NOW)


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("comes_first", [True, False])
def test_of_two_orders_the_later_one_counts(ledger: LockLedger, later: bool, comes_first: bool) -> None:
    orders = [(not later, NOW), (later, NOW + timedelta(microseconds=1))]
    for is_lock, at in reversed(orders) if comes_first else orders:
        ledger.order(1, is_lock, at, None, NOW)
    found = facts(ledger).order
    assert found is not None
    assert (found.locks, found.at) == orders[1]


def test_an_order_that_is_recorded_again_is_for_what_was_then(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledger.order(1, False, NOW, "olga", NOW)
    ledgers.projects.revise_budget(1, terms("2000"), "tester", "raised", NOW)
    ledger.order(1, False, NOW, "olga", NOW + DAY)
    assert facts(ledger).order == LockOrder(False, NOW, 1, FISCAL_YEAR.start, "olga")
    assert not is_released(ledger)


def test_a_release_is_over_with_a_new_period(ledger: LockLedger) -> None:
    ledger.order(1, False, NOW, None, NOW)
    last_moment = datetime(2027, 3, 31, 23, 59, tzinfo=UTC)
    assert is_released(ledger, last_moment)
    assert not is_released(ledger, last_moment + MINUTE)


def test_a_project_without_a_period_is_released_too(ledger: LockLedger, ledgers: Ledgers) -> None:
    over = PeriodRule(PeriodKind.FIXED, date(2025, 1, 1), date(2026, 1, 1))
    ledgers.load(entry(1, terms=terms(rule=over)))
    ledger.order(1, False, NOW, None, NOW)
    assert is_released(ledger)


@pytest.mark.parametrize("change", [Hold(HELD, (GROUP,)), FREED], ids=["lock", "unlock"])
def test_no_decision_ends_an_order(ledger: LockLedger, change: Hold | Freed) -> None:
    ledger.order(1, False, NOW, None, NOW)
    record(ledger, LOCKED, change)
    assert is_released(ledger)


def test_an_order_that_is_withdrawn_is_gone_unless_a_later_one_has_come(ledger: LockLedger) -> None:
    ledger.order(1, True, NOW, None, NOW)
    first = facts(ledger).order
    assert first is not None
    ledger.order(1, False, NOW + MINUTE, None, NOW)
    ledger.withdraw(1, first)
    second = facts(ledger).order
    assert second is not None and not second.locks
    ledger.withdraw(1, second)
    assert facts(ledger).order is None


def test_an_order_is_given_while_another_works_on_the_lock(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    ledger.order(1, True, NOW, None, NOW)
    assert ledger.record(LOCKED, "first", Hold(HELD, (GROUP,)), [], NOW)
    found = facts(ledger).order
    assert found is not None and found.locks


# --- when a lock is looked at again --------------------------------------------------------------------------


def test_what_is_due_is_looked_at_until_it_is_put_off(ledger: LockLedger) -> None:
    assert ledger.looks_due(LATER) == []
    for project_id in (2, 1):
        assert ledger.claim(project_id, "tester", LATER, NOW)
        ledger.look_at(project_id, LATER)
    assert (ledger.looks_due(LATER - MINUTE), ledger.looks_due(LATER)) == ([], [1, 2])
    ledger.look_at(1, LATER + HOUR)
    ledger.look_at(2, None)
    assert (ledger.looks_due(LATER), ledger.looks_due(LATER + HOUR)) == ([], [1])


def test_an_order_is_due_if_its_message_is_lost(ledger: LockLedger) -> None:
    ledger.order(2, True, NOW, None, NOW)
    assert ledger.looks_due(NOW + 2 * HOUR) == [2]


def test_a_change_of_a_project_or_its_budget_makes_its_lock_due(ledger: LockLedger, ledgers: Ledgers) -> None:
    for change in (
        lambda: ledgers.load(entry(1, active=False), entry(2)),
        lambda: ledgers.load(entry(1, "rg-9")),
        lambda: ledgers.projects.revise_budget(1, terms("2000"), "tester", "raised", NOW),
    ):
        for project_id in (1, 2):
            ledger.claim(project_id, "tester", LATER, NOW)
            ledger.look_at(project_id, NOW + DAY)
        change()
        assert ledger.looks_due(NOW) == [1]


def test_a_project_that_was_never_locked_has_nothing_to_be_looked_at(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(1, active=False))
    assert ledger.looks_due(NOW + DAY) == []


# --- what is written -----------------------------------------------------------------------------------------


def test_a_decision_that_changes_nothing_is_written_and_leaves_the_lock(ledger: LockLedger, database: Database) -> None:
    record(ledger, LOCKED, Hold(HELD, (GROUP,)))
    record(ledger, replace(UNLOCKED, outcome=Outcome.REFUSED), MAIL, now=NOW + DAY)
    assert decided(ledger) == [LOCKED.key, UNLOCKED.key]
    found = facts(ledger)
    assert (found.held, found.held_since) == (HELD, NOW)
    assert len(ledger.unsent(1)) == 1
    assert ledger.claim(1, "second", NOW + 2 * DAY, NOW + DAY)


def test_a_state_without_a_decision_is_written_alone(ledger: LockLedger, database: Database) -> None:
    assert ledger.claim(2, "tester", LATER, NOW)
    assert ledger.claim(1, "tester", LATER, NOW)
    ledger.keep(1, "tester", Hold(HELD, (GROUP,)))
    assert (facts(ledger).held, facts(ledger, 2).held) == (HELD, None)
    assert (decided(ledger), ledger.unsent(1)) == ([], [])
    assert ledger.claim(1, "second", LATER, NOW)
    assert not ledger.claim(2, "second", LATER, NOW)


def test_a_lock_that_is_about_to_be_is_known_and_counts_as_locked_once_that_was_decided(ledger: LockLedger) -> None:
    assert ledger.claim(1, "tester", LATER, NOW)
    ledger.keep(1, "tester", Hold(HELD, (GROUP,)))
    found = facts(ledger)
    assert (found.held, found.held_groups, found.held_since) == (HELD, (GROUP,), None)
    record(ledger, LOCKED, Hold(HELD, (GROUP,)), now=NOW + DAY)
    assert facts(ledger).held_since == NOW + DAY
    assert ledger.claim(1, "tester", LATER, NOW)
    ledger.keep(1, "tester", Hold(BY_ORDER, (GROUP,)))
    assert facts(ledger).held_since == NOW + DAY


def test_a_lost_claim_writes_nothing(ledger: LockLedger, database: Database) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    assert ledger.claim(1, "second", LATER + HOUR, LATER)
    assert not ledger.record(LOCKED, "first", Hold(HELD, (GROUP,)), [MAIL], LATER)
    ledger.keep(1, "first", Hold(HELD, (GROUP,)))
    assert (facts(ledger).held, decided(ledger), ledger.unsent(1)) == (None, [], [])
    assert not ledger.claim(1, "first", LATER + HOUR, LATER)


def test_nothing_is_written_without_a_claim(ledger: LockLedger, database: Database) -> None:
    assert not ledger.record(LOCKED, "first", Hold(HELD, (GROUP,)), [MAIL], NOW)
    assert not ledger.record(replace(LOCKED, project_id=4711), "first", Hold(HELD, (GROUP,)), [MAIL], NOW)
    assert (facts(ledger).held, decided(ledger), ledger.unsent(1)) == (None, [], [])


def test_a_claim_that_expired_and_that_nobody_took_still_counts(ledger: LockLedger) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    assert ledger.record(LOCKED, "first", Hold(HELD, (GROUP,)), [], LATER + HOUR)
    assert facts(ledger).held == HELD


def test_a_decision_with_the_same_key_is_written_once_and_its_mails_once(
    ledger: LockLedger, database: Database
) -> None:
    record(ledger, LOCKED, Hold(HELD, (GROUP,)), MAIL)
    again = replace(LOCKED, reason="another")
    record(ledger, again, FREED, replace(MAIL, key="lock/another"), now=NOW + HOUR)
    assert [view.entry for view in ledger.decisions()] == [LOCKED]
    assert len(ledger.unsent(1)) == 1
    assert facts(ledger).held is None  # the change counts


def test_of_several_that_record_the_same_at_once_one_does(ledger: LockLedger, database: Database) -> None:
    assert ledger.claim(1, "tester", LATER, NOW)
    hold = Hold(HELD, (GROUP,))
    assert at_once(lambda _: ledger.record(LOCKED, "tester", hold, [MAIL], NOW), "a", "b") == [False, True]
    assert (decided(ledger), len(ledger.unsent(1))) == ([LOCKED.key], 1)


def test_a_rollback_leaves_nothing_half_done(ledger: LockLedger, database: Database) -> None:
    assert ledger.claim(1, "first", LATER, NOW)
    unwritable = replace(MAIL, key="lock/unwritable", context={"what": object()})
    with pytest.raises((StatementError, TypeError), match="not JSON serializable"):
        ledger.record(LOCKED, "first", Hold(HELD, (GROUP,)), [MAIL, unwritable], NOW)
    assert (facts(ledger).held, decided(ledger), ledger.unsent(1)) == (None, [], [])
    assert not ledger.claim(1, "second", LATER, NOW)
    assert ledger.record(LOCKED, "first", Hold(HELD, (GROUP,)), [MAIL], NOW)


def test_mails_are_unsent_until_someone_begins_to_send_them(ledger: LockLedger, database: Database) -> None:
    second = replace(MAIL, key="operators/lock/refused/1")
    others = replace(MAIL, key="lock/others", project_id=2)
    record(ledger, LOCKED, MAIL, second, others)
    first_id, second_id = ledger.unsent(1)
    mails = SqlMails(database, "warden.example.org")
    assert mails.claim(first_id, "sender", LATER, NOW)
    assert ledger.unsent(1) == [second_id]
    mails.release(first_id, "sender", "not now", LATER)
    assert ledger.unsent(1) == [second_id]
    assert ledger.unsent(4711) == []


@pytest.mark.parametrize("topic", [topic for topic in Topic if topic is not Topic.LOCK])
def test_mails_about_something_else_than_the_projects_lock_are_not_sent_on(ledger: LockLedger, topic: Topic) -> None:
    record(ledger, LOCKED, replace(MAIL, key="lock/another", topic=topic))
    assert ledger.unsent(1) == []
    record(ledger, UNLOCKED, MAIL)
    assert len(ledger.unsent(1)) == 1


# --- what is known of a project ------------------------------------------------------------------------------


def open_period(database: Database, period: Period, carried: str, **changes: Any) -> None:
    """A period of project 1's budget, opened and in CAD."""
    row = {
        "project_id": 1,
        "period_start": period.start,
        "period_end": period.end,
        "currency": "CAD",
        "carried": Decimal(carried),
        "stopped": False,
        "settled": True,
        "opened_at": NOW,
    }
    database.run(lambda connection: connection.execute(insert(budget_periods), [row | changes]))


def only_period(database: Database, period: Period, carried: str, **changes: Any) -> None:
    """The same, in place of every period that was opened."""
    database.run(lambda connection: connection.execute(budget_periods.delete()))
    open_period(database, period, carried, **changes)


def test_an_unknown_project_has_no_facts(ledger: LockLedger) -> None:
    assert ledger.facts(4711, NOW) is None


def test_the_facts_of_a_project(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(3, "rg-b", "RG-a", acronym="DIE1", language=None, terms=terms("1234.56", rule=MONTHLY)))
    ledgers.spend(
        ("rg-A", november(3), "Storage", "100.0000000001"),
        ("rg-b", november(4), "SQL", "0.0000000002"),
        ("rg-1", november(4), "SQL", "7"),
    )
    found = facts(ledger, 3)
    assert found.project == Project(3, "DIE1", "Project 3", None, ("a@example.org",), active=True, lock=LockPolicy.AUTO)
    assert found.groups == (ResourceGroup(SUB, "rg-A"), ResourceGroup(SUB, "rg-b"))  # as Azure spells them
    assert (found.budget.number, found.budget.terms) == (1, terms("1234.56", rule=MONTHLY))
    assert (found.budget.amount, found.period) == (Decimal("1234.56"), NOVEMBER)
    assert (found.usage, found.usage_known) == (Decimal("100.0000000003"), True)


def test_only_groups_in_azure_can_be_locked_and_what_was_spent_elsewhere_counts(
    ledger: LockLedger, ledgers: Ledgers, database: Database
) -> None:
    ledgers.spend(("rg-1", november(3), "Storage", "100"))
    set_scopes(database, 1, provider="aws")
    found = facts(ledger)
    assert (found.groups, found.usage, found.usage_known) == ((), Decimal(100), True)


def test_the_revision_that_counts_is_the_last(ledger: LockLedger, ledgers: Ledgers) -> None:
    before = facts(ledger).budget
    ledgers.projects.revise_budget(1, terms("2000"), "tester", "raised", NOW)
    after = facts(ledger).budget
    assert (after.number, after.terms.amount) == (2, Decimal(2000))
    assert after.id != before.id


def test_a_project_that_is_never_locked_says_so(ledger: LockLedger, database: Database) -> None:
    set_project(database, 1, lock="never")
    assert facts(ledger).project.lock is LockPolicy.NEVER


def test_an_inactive_project_has_facts_and_can_be_unlocked(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.spend(("rg-1", november(3), "Storage", "1200"))
    record(ledger, LOCKED, Hold(HELD, (GROUP,)))
    ledgers.load(entry(1, active=False))
    found = facts(ledger)
    assert (found.project.active, found.usage, found.held) == (False, Decimal(1200), HELD)
    record(ledger, UNLOCKED, FREED)
    assert facts(ledger).held is None


def test_only_days_of_the_present_period_count(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", OCTOBER.end - DAY, "Storage", "1"), window=OCTOBER)
    ledgers.spend(
        ("rg-1", november(1), "Storage", "2"), ("rg-1", november(30), "Storage", "4"), window=NOVEMBER, now=NOW + DAY
    )
    assert facts(ledger).usage == 6


def test_a_new_period_counts_though_its_check_has_not_run_yet(
    ledger: LockLedger, ledgers: Ledgers, database: Database
) -> None:
    december = Period(date(2026, 12, 1), date(2027, 1, 1))
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", november(3), "Storage", "1200"))
    ledgers.spend(("rg-1", december.start, "Storage", "30"), window=december, now=DECEMBER_1)
    only_period(database, NOVEMBER, "-300", stopped=True)
    moment = DECEMBER_1.replace(hour=0)
    assert facts(ledger, now=moment - MINUTE).usage == 1200
    found = facts(ledger, now=moment)
    assert (found.period, found.usage, found.usage_known) == (december, Decimal(30), True)
    assert (found.budget.carried, found.budget.stopped) == (Decimal(0), True)


def test_what_came_into_the_period_counts(ledger: LockLedger, database: Database) -> None:
    only_period(database, FISCAL_YEAR, "-0.0000000001")
    open_period(database, Period(date(2025, 4, 1), FISCAL_YEAR.start), "500")
    budget = facts(ledger).budget
    assert (budget.carried, budget.amount) == (Decimal("-0.0000000001"), Decimal("999.9999999999"))


def test_what_came_in_in_another_currency_does_not_count(ledger: LockLedger, database: Database) -> None:
    only_period(database, FISCAL_YEAR, "500", currency="USD")
    assert facts(ledger).budget.carried == 0


def test_a_budget_that_was_stopped_has_no_amount(ledger: LockLedger, database: Database) -> None:
    only_period(database, FISCAL_YEAR, "0", stopped=True)
    budget = facts(ledger).budget
    assert (budget.stopped, budget.amount) == (True, None)


def test_usage_is_not_known_before_costs_are_read(ledger: LockLedger, ledgers: Ledgers) -> None:
    assert (facts(ledger).usage, facts(ledger).usage_known) == (Decimal(0), False)
    ledgers.spend(("rg-2", november(3), "Storage", "1"))
    assert (facts(ledger).usage, facts(ledger).usage_known) == (Decimal(0), True)


def test_usage_is_not_known_where_some_of_it_can_not_be_added(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "30"), window=OCTOBER, currency="USD")
    ledgers.spend(("rg-1", november(3), "Storage", "5"), now=NOW + DAY)
    assert (facts(ledger).usage, facts(ledger).usage_known) == (Decimal(5), False)


def test_charges_in_another_currency_before_the_period_do_not_matter(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", OCTOBER.start, "Storage", "30"), window=OCTOBER, currency="USD")
    ledgers.spend(("rg-1", november(3), "Storage", "5"), now=NOW + DAY)
    assert facts(ledger).usage_known


def test_usage_is_not_known_without_a_currency(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(1, terms=terms(None, currency="")))
    ledgers.spend(("rg-2", november(3), "Storage", "1"))
    assert not facts(ledger).usage_known


def test_a_project_whose_fixed_period_is_over_has_no_period_and_no_usage(ledger: LockLedger, ledgers: Ledgers) -> None:
    over = PeriodRule(PeriodKind.FIXED, date(2026, 11, 1), date(2026, 11, 20))
    ledgers.load(entry(1, terms=terms(rule=over)))
    ledgers.spend(("rg-1", november(19), "Storage", "5"))
    assert (facts(ledger).period, facts(ledger).usage) == (None, Decimal(0))
    assert facts(ledger, now=NOW - DAY).usage == 5


# --- who is meant --------------------------------------------------------------------------------------------


def test_the_projects_with_groups_in_a_subscription_are_named_once_each(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(3, "rg-3", "rg-3-too", acronym="Été"), entry(4, subscription_id=OTHER_SUB))
    assert ledger.projects_in(SUB) == [(1, "P1"), (2, "P2"), (3, "Été")]
    assert ledger.projects_in(f" {SUB.upper()}") == ledger.projects_in(SUB)
    assert ledger.projects_in(OTHER_SUB) == [(4, "P4")]
    assert ledger.projects_in("") == []


def test_groups_of_nobody_lead_to_no_project(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-9", subscription_id=OTHER_SUB))  # its first group stays, and is nobody's
    assert (ledger.projects_in(SUB), ledger.projects_in(OTHER_SUB)) == ([(2, "P2")], [(1, "P1")])


def test_an_inactive_project_is_named_too(ledger: LockLedger, ledgers: Ledgers) -> None:
    ledgers.load(entry(1, active=False))
    assert ledger.projects_in(SUB) == [(1, "P1"), (2, "P2")]


def test_who_has_a_scope_of_another_provider_only_is_in_no_subscription(ledger: LockLedger, database: Database) -> None:
    set_scopes(database, 1, provider="aws", sub_account_id=SUB)
    assert ledger.projects_in(SUB) == [(2, "P2")]
