"""Locking and unlocking, from the night's check to the lock, the audit and the mails, with Azure in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import product

import pytest

from shared.adapters.database.engine import Database
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.locks import LockLevel, LockMode, Outcome, WhenUnsure
from shared.domain.projects import LockPolicy
from shared.messages import LockAction, LockMessage, LockTrigger, Queue, to_json
from shared.pipeline.lock_groups import lock_name
from shared.ports import AuditView, AzureBudget, GroupLock, LaterError, NeverError, ResourceGroup
from tests.pipeline.conftest import NOVEMBER, SUBSCRIPTION, Chain, entry

RG = ResourceGroup(SUBSCRIPTION, "rg-11")
SECOND = ResourceGroup(SUBSCRIPTION, "rg-second")
DAY = date(2026, 11, 10)
OURS = lock_name(11)
ALERT = LockMessage(
    LockAction.LOCK,
    budget_name="Warden-P11",
    subscription_id=SUBSCRIPTION,
    reason="Azure said so",
    trigger=LockTrigger.ALERT,
)
NIGHT = LockMessage(LockAction.LOCK, 11, reason="100 %", trigger=LockTrigger.CHECK)
ORDER = LockMessage(LockAction.LOCK, 11, reason="security", trigger=LockTrigger.OPERATOR, by="olga")
UNLOCK_ORDER = replace(ORDER, action=LockAction.UNLOCK, reason="it is needed")


@pytest.fixture
def locking(chain: Chain) -> Chain:
    """Project 11 with a budget of 1000 CAD in November, in a chain that enforces its locks."""
    chain.lock_mode = LockMode.ENFORCE
    chain.load(entry())
    chain.azure_locks.add_group(RG)
    return chain


def used(chain: Chain, amount: str) -> None:
    """A run that reads that this was spent, and all that follows from it."""
    chain.spend(amount, DAY)
    chain.clock.forward(minutes=1)
    chain.scheduler.now()
    chain.drain()


def azure_shows(chain: Chain, spent: str, amount: str = "1000", currency: str = "CAD") -> None:
    chain.azure_budgets.budgets[(SUBSCRIPTION, "warden-p11")] = AzureBudget(
        "warden-p11",
        Decimal(amount),
        "Monthly",
        date(2026, 11, 1),
        date(2036, 10, 31),
        ("rg-11",),
        {},
        current_spend=Decimal(spent),
        currency=currency,
    )


def send(chain: Chain, message: LockMessage, origin: str | None = None) -> None:
    chain.work(Queue.LOCK, to_json(message), origin)
    chain.drain()


def locks_on(chain: Chain, group: ResourceGroup = RG) -> list[GroupLock]:
    return list(chain.azure_locks.groups.get((group.subscription_id, group.name), {}).values())


def is_locked(chain: Chain, group: ResourceGroup = RG) -> bool:
    return OURS in [lock.name for lock in locks_on(chain, group)]


def outcomes(chain: Chain) -> list[Outcome]:
    return [view.entry.outcome for view in audit(chain)]


def audit(chain: Chain) -> list[AuditView]:
    return chain.audit.list(11)


# --- the whole way -------------------------------------------------------------------------------------------


def test_a_project_that_reaches_100_percent_at_night_is_alerted_locked_audited_and_told(locking: Chain) -> None:
    locking.spend("1000", DAY)
    locking.night()

    assert [(lock.name, lock.level) for lock in locks_on(locking)] == [(OURS, LockLevel.READ_ONLY)]
    [decision] = audit(locking)
    assert decision.entry.outcome is Outcome.LOCKED
    assert decision.entry.trigger is LockTrigger.CHECK
    assert decision.entry.figures["usage"] == "1000"
    assert decision.entry.figures["amount"] == "1000"
    assert decision.entry.details["groups"] == [[SUBSCRIPTION, "rg-11", "locked"]]
    assert decision.entry.run_key == "night-2026-11-20"
    assert len(locking.mailer.sent) == 2
    assert "used up" in locking.subjects()[0]
    assert "locked" in locking.subjects()[1].lower()


def test_the_locks_note_says_why_when_and_whom_to_ask_in_512_characters(locking: Chain) -> None:
    locking.load(replace(entry(), name="N" * 200, acronym="A" * 50))
    used(locking, "1000")
    [lock] = locks_on(locking)
    assert "1000 of 1000" in lock.notes
    assert "2026-11-20 at 02:01 UTC" in lock.notes
    assert "ops@example.com" in lock.notes
    assert len(lock.notes) <= 512


def test_the_nights_after_that_change_nothing_and_tell_nobody(locking: Chain) -> None:
    used(locking, "1000")
    for _ in range(3):
        locking.clock.forward(days=1)
        used(locking, "1010")
    assert outcomes(locking) == [Outcome.LOCKED]
    assert len(locking.mailer.sent) == 2


def test_below_100_percent_nothing_is_asked_for(locking: Chain) -> None:
    used(locking, "999.99")
    assert outcomes(locking) == []
    assert not is_locked(locking)


# --- every combination ---------------------------------------------------------------------------------------

FIGURES = ("unknown", "below", "full")
EVERY = [
    (*case, unsure)
    for case in product(LockMode, FIGURES, FIGURES, LockPolicy, (False, True))
    # It counts only where nobody knows anything.
    for unsure in (WhenUnsure if case[1:3] == ("unknown", "unknown") else [WhenUnsure.LOCK])
]


def test_every_combination_of_mode_figures_exemption_and_lock_ends_as_the_rules_say(
    locking: Chain, fresh_database: Iterator[Database]
) -> None:
    for mode, azure, database, policy, already, unsure in EVERY:
        chain = Chain(next(fresh_database))
        rows, locked = ends(chain, mode, azure, database, policy, already, unsure)
        wanted_rows, wanted_lock = should_end(mode, azure, database, policy, already, unsure)
        assert (rows, locked) == (wanted_rows, wanted_lock), (mode, azure, database, policy, already, unsure)


def ends(
    chain: Chain, mode: LockMode, azure: str, database: str, policy: LockPolicy, already: bool, unsure: WhenUnsure
) -> tuple[list[Outcome], bool]:
    """What an alert leads to: the audit's new rows, and whether the project is locked."""
    chain.lock_mode, chain.when_unsure = LockMode.ENFORCE, unsure
    chain.load(entry())
    chain.azure_locks.add_group(RG)
    if already:
        used(chain, "1000")
    if database == "unknown":
        # A charge in another currency: what was spent can't be added up.
        chain.load(entry(currency="USD"))
        used(chain, "5")
    else:
        chain.lock_mode = LockMode.OFF
        used(chain, {"below": "10", "full": "1000"}[database])
    if azure == "unknown":
        chain.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    else:
        azure_shows(chain, {"below": "10", "full": "1000"}[azure], currency="USD" if database == "unknown" else "CAD")
    chain.load(replace(entry(currency="USD" if database == "unknown" else "CAD"), lock=policy))
    chain.queues.take()
    before = len(audit(chain))
    chain.lock_mode = mode
    send(chain, ALERT)
    return [view.entry.outcome for view in audit(chain)[before:]], is_locked(chain)


def should_end(
    mode: LockMode, azure: str, database: str, policy: LockPolicy, already: bool, unsure: WhenUnsure
) -> tuple[list[Outcome], bool]:
    full = "full" in {azure, database} or (azure == database == "unknown" and unsure is WhenUnsure.LOCK)
    if mode is LockMode.OFF or policy is LockPolicy.NEVER or not full:
        return [Outcome.REFUSED], already
    if mode is LockMode.DRY_RUN:
        return [Outcome.WOULD_LOCK], already
    # A project that is locked has nothing more to be decided, but for a new budget (another currency is one).
    stays = already and database != "unknown"
    return [] if stays else [Outcome.LOCKED], True


# --- verifying -----------------------------------------------------------------------------------------------


def test_azure_alone_at_100_percent_locks_on_a_night_without_costs(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000.01")
    send(locking, ALERT)
    assert is_locked(locking)
    [decision] = audit(locking)
    assert decision.entry.figures["azure_spend"] == "1000.01"
    assert decision.entry.figures["usage"] == "900"
    assert decision.entry.trigger is LockTrigger.ALERT


def test_if_neither_is_at_100_percent_nothing_is_locked_and_the_operators_are_told_once_a_day(locking: Chain) -> None:
    used(locking, "100")
    azure_shows(locking, "999.99")
    before = len(locking.mailer.sent)
    send(locking, ALERT)
    send(locking, ALERT)
    assert not is_locked(locking)
    assert outcomes(locking) == [Outcome.REFUSED]
    [told] = locking.mailer.sent[before:]
    assert told.to == ("ops@example.com",)
    assert "999.99 of 1000" in told.text
    locking.clock.forward(days=1)
    send(locking, ALERT)
    assert outcomes(locking) == [Outcome.REFUSED, Outcome.REFUSED]


def test_azures_spending_is_compared_with_our_budget_which_may_have_been_raised_since(locking: Chain) -> None:
    used(locking, "100")
    locking.load(entry(amount="2000"))
    azure_shows(locking, "1000", amount="1000")
    send(locking, ALERT)
    assert not is_locked(locking)


def test_in_a_periods_first_days_azures_figure_may_be_of_the_period_before(locking: Chain) -> None:
    used(locking, "10")
    azure_shows(locking, "1000")
    locking.clock.now = locking.clock.now.replace(month=12, day=2)
    send(locking, ALERT)
    assert not is_locked(locking)
    [decision] = audit(locking)
    assert "period before" in decision.entry.figures["azure_unknown"]


def test_azures_figure_in_another_currency_does_not_count(locking: Chain) -> None:
    used(locking, "10")
    azure_shows(locking, "5000", currency="USD")
    send(locking, ALERT)
    assert not is_locked(locking)
    assert audit(locking)[0].entry.figures["azure_spend"] is None


def test_while_azure_asks_to_wait_its_answer_is_waited_for_where_it_could_change_something(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    locking.azure_budgets.fails = lambda _call, _name: LaterError("busy")
    locking.work(Queue.LOCK, to_json(ALERT))
    assert outcomes(locking) == []
    locking.azure_budgets.fails = lambda _call, _name: None
    locking.drain()
    assert is_locked(locking)


def test_half_an_hour_later_the_database_decides_alone(locking: Chain) -> None:
    used(locking, "900")
    locking.azure_budgets.fails = lambda _call, _name: LaterError("busy")
    locking.work(Queue.LOCK, to_json(ALERT))
    locking.clock.forward(minutes=31)
    locking.drain()
    assert outcomes(locking) == [Outcome.REFUSED]


def test_with_100_percent_in_the_database_azures_silence_keeps_nothing_waiting(locking: Chain) -> None:
    locking.azure_budgets.fails = lambda _call, _name: LaterError("busy")
    used(locking, "1000")
    assert is_locked(locking)
    assert audit(locking)[0].entry.figures["azure_unknown"] == "busy"


# --- dry-run, off, never -------------------------------------------------------------------------------------


def test_dry_run_writes_down_and_mails_the_operators_what_it_would_do(locking: Chain) -> None:
    locking.lock_mode, locking.stop_compute = LockMode.DRY_RUN, True
    locking.azure_compute.add(RG, "vm-1")
    used(locking, "1000")
    locking.clock.forward(days=1)
    used(locking, "1001")
    assert outcomes(locking) == [Outcome.WOULD_LOCK]
    assert locks_on(locking) == []
    assert [call for call in locking.azure_compute.calls if call[0] == "deallocate"] == []
    told = [mail for mail in locking.mailer.sent if mail.to == ("ops@example.com",)]
    assert len(told) == 1
    assert "rg-11" in told[0].text
    assert "vm-1" in told[0].text


def test_off_leaves_a_row_and_no_mail_for_azures_alert_and_nothing_for_the_night(locking: Chain) -> None:
    locking.lock_mode = LockMode.OFF
    used(locking, "1000")
    assert outcomes(locking) == []
    before = len(locking.mailer.sent)
    send(locking, ALERT)
    send(locking, ALERT)
    assert outcomes(locking) == [Outcome.REFUSED]
    assert len(locking.mailer.sent) == before


def test_a_project_marked_never_is_not_locked_and_the_operators_hear_of_it_once(locking: Chain) -> None:
    locking.load(replace(entry(), lock=LockPolicy.NEVER))
    used(locking, "1000")
    locking.clock.forward(days=1)
    used(locking, "1100")
    assert not is_locked(locking)
    assert outcomes(locking) == [Outcome.REFUSED]
    assert [mail.subject for mail in locking.mailer.sent if mail.to == ("ops@example.com",)] == ["P11 was not locked"]


def test_groups_in_lock_never_are_left_out_in_any_spelling(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "RG-Second")))
    locking.azure_locks.add_group(SECOND)
    locking.never_locked = frozenset({"rg-11"})
    used(locking, "1000")
    assert not is_locked(locking)
    assert is_locked(locking, SECOND)
    details = audit(locking)[0].entry.details["groups"]
    assert [SUBSCRIPTION, "rg-11", "never locked (LOCK_NEVER)"] in details


def test_a_project_all_of_whose_groups_are_in_lock_never_is_refused(locking: Chain) -> None:
    locking.never_locked = frozenset({"rg-11"})
    used(locking, "1000")
    assert outcomes(locking) == [Outcome.REFUSED]
    assert [call for call in locking.azure_locks.calls if call[0] == "put"] == []


def test_an_inactive_project_is_not_locked(locking: Chain) -> None:
    used(locking, "10")
    azure_shows(locking, "2000")
    locking.load(entry(active=False))
    send(locking, ALERT)
    assert not is_locked(locking)
    assert audit(locking)[0].entry.reason == "the project is not active"


# --- machines ------------------------------------------------------------------------------------------------


def test_machines_are_deallocated_before_the_lock_and_waited_for(locking: Chain) -> None:
    locking.stop_compute = True
    machine = locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.looks = 3
    used(locking, "1000")
    assert machine.state == "deallocated"
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.STOPPING, Outcome.LOCKED]
    assert audit(locking)[0].entry.details["machines"] == [["rg-11", "vm-1", "is being stopped"]]
    assert [call[0] for call in locking.azure_compute.calls].count("deallocate") == 1
    assert "have been stopped" in locking.mailer.sent[-1].text


def test_a_mail_says_that_machines_were_stopped_only_where_some_were(locking: Chain) -> None:
    locking.stop_compute = True
    used(locking, "1000")
    assert is_locked(locking)
    assert "have been stopped" not in locking.mailer.sent[-1].text


def test_a_machine_that_does_not_stop_in_ten_minutes_keeps_the_lock_off_no_longer(locking: Chain) -> None:
    locking.stop_compute = True
    locking.azure_compute.add(RG, "vm-slow")
    locking.azure_compute.looks = 1000
    locking.spend("1000", DAY)
    locking.scheduler.tonight()
    for _ in range(60):
        for queue, text, _delay in locking.queues.take():
            locking.work(queue, text)
        locking.clock.forward(seconds=20)
    assert is_locked(locking)
    last = audit(locking)[-1].entry
    assert last.details["machines"] == [["rg-11", "vm-slow", "was still being stopped"]]


def test_a_machine_that_azure_refuses_to_stop_does_not_keep_the_lock_off_and_is_told(locking: Chain) -> None:
    locking.stop_compute = True
    locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.fails = lambda call, _group: NeverError("no permission") if call == "deallocate" else None
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking)[-1] is Outcome.FAILED
    assert "vm-1" in audit(locking)[-1].entry.reason
    assert any("could not be locked" in subject for subject in locking.subjects())


def test_without_lock_stop_compute_no_machine_is_looked_at(locking: Chain) -> None:
    locking.azure_compute.add(RG, "vm-1")
    used(locking, "1000")
    assert is_locked(locking)
    assert locking.azure_compute.calls == []


def test_nothing_that_was_stopped_is_started_again(locking: Chain) -> None:
    locking.stop_compute = True
    machine = locking.azure_compute.add(RG, "vm-1")
    used(locking, "1000")
    locking.load(entry(amount="5000"))
    used(locking, "1000")
    assert not is_locked(locking)
    assert machine.state == "deallocated"
    assert {call[0] for call in locking.azure_compute.calls} == {"running", "deallocate"}


# --- what is in the way --------------------------------------------------------------------------------------


def test_a_group_that_is_gone_is_passed_over(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    used(locking, "1000")
    assert is_locked(locking)
    details = audit(locking)[0].entry.details["groups"]
    assert [SUBSCRIPTION, "rg-second", "there is no such group"] in details
    assert outcomes(locking) == [Outcome.LOCKED]


def test_a_group_without_permission_fails_alone_and_the_operators_hear_which_role_is_missing(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    locking.azure_locks.fails = lambda call, group: (
        NeverError("it lacks the role Locks Contributor on rg-second") if group == SECOND and call == "put" else None
    )
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.FAILED]
    told = [mail for mail in locking.mailer.sent if mail.to == ("ops@example.com",)]
    assert len(told) == 1
    assert "Locks Contributor" in told[0].text
    # The contacts are locked out of a part, and hear of that.
    assert any(mail.to == ("anna@example.com",) and "locked" in mail.subject.lower() for mail in locking.mailer.sent)
    # Mended, the next night does the rest.
    locking.azure_locks.fails = lambda _call, _group: None
    locking.clock.forward(days=1)
    used(locking, "1000")
    assert is_locked(locking, SECOND)
    assert outcomes(locking) == [Outcome.FAILED, Outcome.LOCKED]


@pytest.mark.parametrize("wait", [None, 90])
def test_what_azure_puts_off_is_tried_again_until_it_works(locking: Chain, wait: int | None) -> None:
    errors = [LaterError("409 conflict"), LaterError("429")]
    locking.azure_locks.fails = lambda call, _group: errors.pop() if call == "put" and errors else None
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED]


def test_after_24_hours_of_trying_it_is_written_down_as_failed_and_kept_as_a_dead_letter(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    locking.azure_locks.fails = lambda _call, _group: LaterError("Azure is unwell")
    locking.work(Queue.LOCK, to_json(ALERT))
    locking.clock.forward(hours=25)
    locking.drain()
    assert outcomes(locking) == [Outcome.FAILED]
    [letter] = locking.letters.list()
    assert "24 hours" in letter.reason
    assert any("could not be locked" in subject for subject in locking.subjects())
    locking.azure_locks.fails = lambda _call, _group: None
    assert locking.replay.replay(letter.id) is None
    locking.drain()
    assert is_locked(locking)


def test_a_lock_of_somebody_else_with_the_same_level_stays_and_ours_comes_beside_it(locking: Chain) -> None:
    theirs = GroupLock("do-not-touch", LockLevel.READ_ONLY, "finance")
    locking.azure_locks.put(RG, theirs)
    used(locking, "1000")
    assert {lock.name for lock in locks_on(locking)} == {"do-not-touch", OURS}
    locking.load(entry(amount="5000"))
    used(locking, "1000")
    assert locks_on(locking) == [theirs]


def test_a_lock_that_someone_removed_by_hand_is_put_back_by_the_next_night(locking: Chain) -> None:
    used(locking, "1000")
    locking.azure_locks.delete(RG, OURS)
    before = len(locking.mailer.sent)
    locking.clock.forward(days=1)
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.LOCKED]
    assert "was gone from rg-11" in audit(locking)[-1].entry.reason
    assert [mail.subject for mail in locking.mailer.sent[before:]] == ["P11 was locked again"]


def test_a_lock_of_ours_with_another_level_is_brought_to_the_level_of_the_settings(locking: Chain) -> None:
    locking.azure_locks.put(RG, GroupLock(OURS, LockLevel.CAN_NOT_DELETE))
    used(locking, "1000")
    assert [lock.level for lock in locks_on(locking)] == [LockLevel.READ_ONLY]


# --- several at once, and again ------------------------------------------------------------------------------


def test_two_alerts_and_a_night_make_one_lock_one_row_and_one_mail(locking: Chain) -> None:
    locking.spend("1000", DAY)
    locking.scheduler.tonight()
    azure_shows(locking, "1000")
    locking.queues.send(Queue.LOCK, ALERT)
    locking.queues.send(Queue.LOCK, ALERT)
    locking.drain()
    assert [lock.name for lock in locks_on(locking)] == [OURS]
    assert outcomes(locking) == [Outcome.LOCKED]
    assert len([subject for subject in locking.subjects() if "locked" in subject.lower()]) == 1


def test_while_another_message_works_on_the_project_this_one_waits(locking: Chain) -> None:
    locking.spend("1000", DAY)
    now = locking.clock()
    assert locking.lock_ledger.claim(11, "another", now.replace(hour=3), now)
    locking.work(Queue.LOCK, to_json(NIGHT))
    assert not is_locked(locking)
    [(queue, _text, delay)] = locking.queues.take()
    assert queue is Queue.LOCK
    assert delay.total_seconds() > 0


@pytest.mark.parametrize("step", ["list", "put"])
def test_a_crash_at_any_step_ends_in_the_same_state(locking: Chain, step: str) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    crashes = [RuntimeError("killed")]
    locking.azure_locks.fails = lambda call, _group: crashes.pop() if call == step and crashes else None
    with pytest.raises(RuntimeError):
        locking.work(Queue.LOCK, to_json(ALERT), "the-same")
    send(locking, ALERT, "the-same")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED]


def test_a_message_that_comes_again_after_all_was_done_hands_on_what_was_not_sent(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    first = locking.work(Queue.LOCK, to_json(ALERT), "the-same")
    locking.queues.take()  # the process died before the mail was queued
    again = locking.work(Queue.LOCK, to_json(ALERT), "the-same")
    assert again.emails == first.emails
    locking.drain()
    assert outcomes(locking) == [Outcome.LOCKED]


# --- unlocking -----------------------------------------------------------------------------------------------


def test_a_budget_raised_above_the_usage_takes_the_lock_off_and_tells_the_contacts(locking: Chain) -> None:
    used(locking, "1000")
    locking.load(entry(amount="1500"))
    used(locking, "1000")
    assert locks_on(locking) == []
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.UNLOCKED]
    assert audit(locking)[-1].entry.reason == "the budget was raised: 1000 of 1500 CAD is used"
    assert locking.mailer.sent[-1].to == ("anna@example.com",)
    assert "unlocked" in locking.subjects()[-1].lower() or "open" in locking.subjects()[-1].lower()


def test_a_budget_raised_to_less_than_the_usage_leaves_it_locked(locking: Chain) -> None:
    used(locking, "1200")
    locking.load(entry(amount="1100"))
    used(locking, "1200")
    assert is_locked(locking)
    assert Outcome.UNLOCKED not in outcomes(locking)


def test_a_new_period_takes_the_lock_off(locking: Chain) -> None:
    used(locking, "1000")
    locking.clock.now = locking.clock.now.replace(month=12, day=1)
    locking.night()
    assert not is_locked(locking)
    assert audit(locking)[-1].entry.reason.startswith("a new period began on 2026-12-01")


def test_a_new_period_in_which_nothing_is_left_to_spend_stays_locked(locking: Chain) -> None:
    terms = BudgetTerms(Decimal(1000), "CAD", NOVEMBER, Rollover.DRAW_DOWN)
    locking.load(replace(entry(), terms=terms))
    used(locking, "1000")
    locking.clock.now = locking.clock.now.replace(month=12, day=1)
    locking.night()
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.LOCKED]
    assert audit(locking)[-1].entry.reason.startswith("it stays locked")
    assert len([s for s in locking.subjects() if "locked" in s.lower()]) == 1


def test_restated_costs_below_100_percent_do_not_take_the_lock_off(locking: Chain) -> None:
    used(locking, "1000")
    locking.clock.forward(days=1)
    used(locking, "900")
    assert is_locked(locking)


def test_an_operator_unlocks_and_the_next_nights_leave_it_open_for_this_budget_and_period(locking: Chain) -> None:
    used(locking, "1000")
    send(locking, UNLOCK_ORDER)
    assert not is_locked(locking)
    locking.clock.forward(days=1)
    used(locking, "1100")
    azure_shows(locking, "1100")
    send(locking, ALERT)
    assert not is_locked(locking)
    assert [view.entry.by for view in audit(locking)] == [None, "olga", None]
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.UNLOCKED, Outcome.REFUSED]
    # A new budget is a new decision.
    locking.load(entry(amount="1050"))
    used(locking, "1100")
    assert is_locked(locking)


def test_an_operator_locks_below_100_percent_and_no_raised_budget_undoes_it(locking: Chain) -> None:
    used(locking, "10")
    send(locking, ORDER)
    assert is_locked(locking)
    locking.load(entry(amount="9000"))
    used(locking, "10")
    assert is_locked(locking)
    send(locking, UNLOCK_ORDER)
    assert not is_locked(locking)


def test_an_unlock_message_from_elsewhere_is_verified(locking: Chain) -> None:
    used(locking, "1000")
    send(locking, LockMessage(LockAction.UNLOCK, 11, reason="please"))
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.REFUSED]


def test_a_lock_on_a_group_that_the_project_has_lost_since_comes_off_too(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    locking.load(entry())
    send(locking, UNLOCK_ORDER)
    assert not is_locked(locking)
    assert not is_locked(locking, SECOND)


def test_an_unlock_without_permission_fails_and_the_project_stays_held(locking: Chain) -> None:
    used(locking, "1000")
    locking.azure_locks.fails = lambda call, _group: NeverError("no role") if call == "delete" else None
    send(locking, UNLOCK_ORDER)
    assert outcomes(locking)[-1] is Outcome.FAILED
    facts = locking.lock_ledger.facts(11, locking.clock())
    assert facts is not None
    assert facts.held is not None
    assert any("could not be unlocked" in subject for subject in locking.subjects())


def test_in_dry_run_a_lock_made_before_stays_and_the_operators_hear_that_it_would_come_off(locking: Chain) -> None:
    used(locking, "1000")
    locking.lock_mode = LockMode.DRY_RUN
    locking.load(entry(amount="5000"))
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.WOULD_UNLOCK]


def test_a_project_that_is_not_locked_has_nothing_taken_off(locking: Chain) -> None:
    used(locking, "10")
    send(locking, UNLOCK_ORDER)
    assert outcomes(locking) == [Outcome.REFUSED]


# --- messages that can't be right ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"ProjectId": 99, "Action": "lock", "Reason": "x"}', "there is no project 99"),
        ('{"ProjectId": 11}', "Action is missing"),
        ('{"ProjectId": 11, "Action": "explode"}', "one of lock, unlock, sync"),
        ('{"Action": "lock"}', "name the project"),
        ('{"BudgetName": "warden-p11", "Action": "lock"}', "SubscriptionId"),
        (json.dumps({"BudgetName": "warden-gone", "SubscriptionId": SUBSCRIPTION, "Action": "lock"}), "warden-gone"),
        ("not json", "JSON"),
    ],
)
def test_a_message_that_cant_be_right_is_kept_with_what_would_be(locking: Chain, body: str, said: str) -> None:
    locking.work(Queue.LOCK, body)
    [letter] = locking.letters.list()
    assert said in letter.reason
    assert letter.queue == Queue.LOCK
    assert outcomes(locking) == []


def test_a_message_dropped_by_hand_is_verified_like_any_other(locking: Chain) -> None:
    used(locking, "10")
    locking.work(Queue.LOCK, '{"projectid": "11", "ACTION": "Lock", "Reason": "by hand"}')
    assert outcomes(locking) == [Outcome.REFUSED]
    assert audit(locking)[0].entry.asked == "by hand"
