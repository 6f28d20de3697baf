"""The last order counts, in whatever order the queue brings it; and what is there follows what should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.domain.budgets import Rollover
from shared.domain.locks import LockMode, LockWhy, Outcome, WhenUnsure
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy
from shared.messages import LockAction, LockMessage, Queue, look, to_json
from shared.ports.azure import GroupLock, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import LockFacts
from tests.pipeline.conftest import NOVEMBER, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.pipeline.test_lock import (
    ALERT,
    DAY,
    NIGHT,
    ORDER,
    OURS,
    RG,
    SECOND,
    UNLOCK_ORDER,
    audit,
    azure_shows,
    is_locked,
    locking,
    outcomes,
    rounds,
    send,
    to_contacts,
    to_operators,
    used,
)
from tests.subjects import short

__all__ = ["locking"]

BOTH = ("rg-11", "rg-second")


def facts(chain: Chain) -> LockFacts:
    found = chain.lock_ledger.facts(11, chain.clock())
    assert found is not None
    return found


def next_nights(chain: Chain, number: int, spent: str) -> None:
    for _ in range(number):
        chain.clock.forward(days=1)
        chain.spend(spent, DAY)
        chain.night()


def watch(chain: Chain) -> None:
    """A round of the watchdog, and what follows from it."""
    chain.look()
    chain.drain()


def refuse(call: str, *groups: ResourceGroup) -> Callable[[str, ResourceGroup], Exception | None]:
    return lambda called, group: NeverError(f"no role on {group.name}") if called == call and group in groups else None


def no_failure(_call: str, _group: ResourceGroup) -> None:
    return None


# --- orders --------------------------------------------------------------------------------------------------


def ordered(chain: Chain, action: LockAction) -> list[str]:
    """Queues an order a second after the one before; gives its messages, which nobody has taken yet."""
    chain.lock_service.order("P11", action, "because", "olga")
    chain.clock.forward(seconds=1)
    return [text for _, text, _ in chain.queues.take()]


def bring(chain: Chain, *messages: str) -> None:
    for text in messages:
        chain.work(Queue.LOCK, text)
    chain.drain()


@pytest.mark.parametrize("mode", [LockMode.OFF, LockMode.DRY_RUN])
def test_an_unlock_that_a_later_order_to_lock_has_overtaken_opens_nothing_though_that_one_was_refused(
    locking: Chain, mode: LockMode
) -> None:
    used(locking, "1000")
    locking.configure(lock_mode=mode)
    unlock, lock = ordered(locking, LockAction.UNLOCK), ordered(locking, LockAction.LOCK)
    bring(locking, *lock)
    bring(locking, *unlock)
    assert is_locked(locking)
    assert facts(locking).order is None


@pytest.mark.parametrize("mode", [LockMode.OFF, LockMode.DRY_RUN])
def test_a_second_order_to_lock_that_comes_to_nothing_does_not_undo_the_first(locking: Chain, mode: LockMode) -> None:
    used(locking, "10")
    bring(locking, *ordered(locking, LockAction.LOCK))
    locking.configure(lock_mode=mode)
    bring(locking, *ordered(locking, LockAction.LOCK))
    assert is_locked(locking)
    locking.configure(lock_mode=LockMode.ENFORCE)
    next_nights(locking, 1, "10")
    watch(locking)
    assert is_locked(locking)


@pytest.mark.parametrize("mode", [LockMode.OFF, LockMode.DRY_RUN])
def test_an_order_that_was_refused_and_comes_once_more_is_not_obeyed(locking: Chain, mode: LockMode) -> None:
    used(locking, "10")
    locking.configure(lock_mode=mode)
    lock = ordered(locking, LockAction.LOCK)
    bring(locking, *lock)
    locking.configure(lock_mode=LockMode.ENFORCE)
    bring(locking, *lock)
    assert not is_locked(locking)


def test_an_unlock_that_is_ordered_while_machines_are_stopped_counts_when_the_lock_message_comes_back(
    locking: Chain,
) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.looks = 1000
    locking.spend("1000", DAY)
    locking.tonight()
    rounds(locking, 4)
    assert outcomes(locking) == [Outcome.STOPPING]
    locking.lock_service.order("P11", LockAction.UNLOCK, "it is needed", "olga")
    rounds(locking, 60)
    next_nights(locking, 2, "1100")
    assert not is_locked(locking)
    assert Outcome.LOCKED not in outcomes(locking)
    assert to_operators(locking).count("P11 is not locked, and machines were stopped") == 1
    (told,) = [mail for mail in locking.mailer.sent if "machines were stopped" in mail.subject]
    assert "vm-1 in rg-11" in told.text


def test_an_unlock_that_is_ordered_while_azure_asks_to_wait_counts_when_the_lock_message_comes_back(
    locking: Chain,
) -> None:
    locking.azure_locks.fails = lambda call, _group: LaterError("429") if call == "put" else None
    locking.spend("1000", DAY)
    locking.tonight()
    rounds(locking, 4)
    locking.lock_service.order("P11", LockAction.UNLOCK, "it is needed", "olga")
    locking.azure_locks.fails = no_failure
    rounds(locking, 20)
    locking.drain()
    assert not is_locked(locking)


@pytest.mark.parametrize("later", LockAction)
@pytest.mark.parametrize("first_comes_first", [True, False])
@pytest.mark.parametrize("spent", ["10", "1000"])
def test_of_two_orders_the_later_one_counts_in_whatever_order_the_queue_brings_them(
    locking: Chain, later: LockAction, first_comes_first: bool, spent: str
) -> None:
    used(locking, spent)
    (earlier,) = set(LockAction) - {later}
    given = []
    for action in (earlier, later):
        locking.lock_service.order("P11", action, "because", "olga")
        given += locking.queues.take()
        locking.clock.forward(seconds=1)
    for queue, text, _delay in given if first_comes_first else reversed(given):
        locking.work(queue, text)
    locking.drain()
    assert is_locked(locking) is (later is LockAction.LOCK)
    next_nights(locking, 4, spent)
    assert is_locked(locking) is (later is LockAction.LOCK)


def test_orders_of_messages_count_by_their_own_time_though_the_database_never_heard_of_them(locking: Chain) -> None:
    used(locking, "10")
    late = replace(ORDER, ordered_at=locking.clock() - timedelta(minutes=5))
    send(locking, replace(UNLOCK_ORDER, ordered_at=locking.clock() - timedelta(minutes=1)))
    send(locking, late)
    assert not is_locked(locking)
    assert outcomes(locking) == [Outcome.REFUSED, Outcome.REFUSED]
    assert "which is later, counts" in audit(locking)[-1].entry.reason


def test_an_order_that_comes_again_in_the_next_period_is_still_one_of_the_period_before(locking: Chain) -> None:
    used(locking, "1000")
    order = replace(UNLOCK_ORDER, ordered_at=locking.clock())
    send(locking, order)
    locking.clock.now = locking.clock.now.replace(month=12, day=2)
    locking.spend("2000", date(2026, 12, 1))
    send(locking, order)
    locking.night()
    assert is_locked(locking)


def test_an_order_whose_message_is_lost_is_carried_out_all_the_same(locking: Chain) -> None:
    used(locking, "10")
    locking.lock_service.order("P11", LockAction.LOCK, "security", "olga")
    locking.queues.take()
    locking.clock.forward(hours=1)
    watch(locking)
    assert is_locked(locking)
    assert audit(locking)[-1].entry.reason == "an operator ordered it"


def test_an_unlock_that_fails_on_one_group_stays_an_unlock_and_only_that_group_is_tried_again(locking: Chain) -> None:
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    locking.azure_locks.fails = refuse("delete", SECOND)
    send(locking, UNLOCK_ORDER)
    assert (is_locked(locking), is_locked(locking, SECOND)) == (False, True)
    assert outcomes(locking)[-1] is Outcome.FAILED
    next_nights(locking, 1, "1100")
    assert (is_locked(locking), is_locked(locking, SECOND)) == (False, True)
    locking.azure_locks.fails, locking.azure_locks.calls = no_failure, []
    next_nights(locking, 1, "1100")
    assert not is_locked(locking, SECOND)
    assert locking.azure_locks.calls == [("delete", "rg-second", OURS)]
    assert (facts(locking).held, outcomes(locking)[-1]) == (None, Outcome.UNLOCKED)
    assert to_contacts(locking)[-1] == "[P11] The project is unlocked"


def test_a_group_that_loses_its_lock_by_another_hand_leaves_nothing_locked_though_we_may_not_delete(
    locking: Chain,
) -> None:
    used(locking, "1000")
    locking.azure_locks.fails = refuse("delete", RG)
    send(locking, UNLOCK_ORDER)
    assert facts(locking).held_since is not None
    del locking.azure_locks.groups[SUBSCRIPTION, "rg-11"][OURS]
    next_nights(locking, 1, "1000")
    assert (facts(locking).held, facts(locking).held_since) == (None, None)


@pytest.mark.parametrize("mode", [LockMode.OFF, LockMode.DRY_RUN])
def test_an_order_to_lock_that_came_to_nothing_does_not_come_true_by_surprise(locking: Chain, mode: LockMode) -> None:
    locking.configure(lock_mode=mode)
    used(locking, "10")
    send(locking, ORDER)
    locking.configure(lock_mode=LockMode.ENFORCE)
    next_nights(locking, 2, "10")
    watch(locking)
    assert not is_locked(locking)


def test_an_order_to_lock_that_azure_refused_is_tried_again_every_day(locking: Chain) -> None:
    used(locking, "10")
    locking.azure_locks.fails = refuse("put", RG)
    send(locking, ORDER)
    assert outcomes(locking) == [Outcome.FAILED]
    locking.azure_locks.fails = no_failure
    locking.clock.forward(hours=27)
    watch(locking)
    assert is_locked(locking)


# --- nobody knows --------------------------------------------------------------------------------------------


def unsure(chain: Chain) -> None:
    """An alert on a project of which nobody can say what it has spent."""
    chain.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    send(chain, ALERT)


def test_a_lock_that_nobody_was_sure_of_comes_off_with_the_first_complete_figure_below_100_percent(
    locking: Chain,
) -> None:
    unsure(locking)
    assert is_locked(locking)
    held = facts(locking).held
    assert held is not None and held.why is LockWhy.UNSURE
    assert "P11 was locked without a figure" in to_operators(locking)
    used(locking, "60")
    assert not is_locked(locking)
    assert audit(locking)[-1].entry.reason == (
        "costs that were missing when it was locked have been read: 60.00 of 1,000.00 CAD is used"
    )


def test_a_lock_that_nobody_was_sure_of_and_a_figure_bears_out_is_one_like_any_other(locking: Chain) -> None:
    unsure(locking)
    used(locking, "1000")
    used(locking, "900")
    assert is_locked(locking)


@pytest.mark.parametrize("budget", ["none", "of another project", "of another period", "never evaluated", "in USD"])
@pytest.mark.parametrize("named", ["by Azure", "by id"])
def test_a_call_about_a_project_of_which_nothing_is_known_is_no_hint_where_azures_budget_does_not_bear_it_out(
    locking: Chain, budget: str, named: str
) -> None:
    key = (SUBSCRIPTION, "warden-p11")
    if budget != "none":
        azure_shows(locking, "5000", currency="USD" if budget == "in USD" else "CAD")
        changes = {
            "of another project": {"resource_groups": ("rg-other",)},
            "of another period": {"first_day": date(2026, 4, 1), "time_grain": "Annually"},
            "never evaluated": {"current_spend": None},
        }.get(budget, {})
        locking.azure_budgets.budgets[key] = replace(locking.azure_budgets.budgets[key], **changes)
    send(locking, ALERT if named == "by Azure" else LockMessage(LockAction.LOCK, 11, reason="please"))
    assert not is_locked(locking)
    assert outcomes(locking) == [Outcome.REFUSED]
    assert audit(locking)[0].entry.reason.startswith("nobody knows what was spent, and ")


# --- what changes meanwhile ----------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Chain], object]] = {
    "raised": lambda chain: chain.load(entry(amount="5000")),
    "never": lambda chain: chain.load(entry(lock=LockPolicy.NEVER)),
    "inactive": lambda chain: chain.load(entry(active=False)),
    "without a budget": lambda chain: chain.load(entry(amount=None)),
    "unlocked": lambda chain: chain.lock_service.order("P11", LockAction.UNLOCK, "it is needed", "olga"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_while_a_lock_is_put_on_counts_at_once(locking: Chain, change: str) -> None:
    put, left = locking.azure_locks.put, [CHANGES[change]]

    def put_slowly(group: ResourceGroup, lock: GroupLock) -> bool:
        while left:
            left.pop()(locking)
        return put(group, lock)

    locking.azure_locks.put = put_slowly
    used(locking, "1000")
    assert left == []
    assert not is_locked(locking)
    assert facts(locking).held is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_locked_project_that_is_changed_is_opened_within_minutes(locking: Chain, change: str) -> None:
    used(locking, "1000")
    CHANGES[change](locking)
    watch(locking)
    assert not is_locked(locking)
    assert facts(locking).held is None


@pytest.mark.parametrize(("change", "said"), [("never", "never"), ("inactive", "active"), ("without a budget", "no b")])
def test_a_lock_that_comes_off_though_nobody_watches_any_more_is_told_once(
    locking: Chain, change: str, said: str
) -> None:
    used(locking, "1000")
    CHANGES[change](locking)
    next_nights(locking, 3, "1000")
    watch(locking)
    (mail,) = [mail for mail in locking.mailer.sent if short(mail.subject) == "P11 was unlocked"]
    assert said in mail.text
    assert [subject for subject in to_contacts(locking) if "unlocked" in subject] == ["[P11] The project is unlocked"]
    assert "money" not in locking.mailer.sent[-1].text


def test_a_fixed_period_that_ends_while_it_is_locked_ends_the_lock_and_is_told(locking: Chain) -> None:
    fixed = PeriodRule(PeriodKind.FIXED, date(2026, 11, 1), date(2026, 11, 22))
    locking.load(entry(rule=fixed))
    used(locking, "1000")
    next_nights(locking, 4, "1000")
    assert not is_locked(locking)
    assert to_operators(locking).count("P11 was unlocked") == 1
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.UNLOCKED]


def test_an_order_to_lock_is_taken_back_by_marking_the_project_as_never(locking: Chain) -> None:
    by_order(locking)
    locking.load(entry(lock=LockPolicy.NEVER))
    watch(locking)
    assert not is_locked(locking)
    locking.load(entry())
    next_nights(locking, 2, "10")
    watch(locking)
    assert not is_locked(locking)


def test_a_look_that_meets_another_message_is_left_to_that_and_to_the_watchdog(locking: Chain) -> None:
    used(locking, "1000")
    locking.azure_locks.delete(RG, OURS)
    now = locking.clock()
    assert locking.lock_ledger.claim(11, "another", now + timedelta(minutes=15), now)
    locking.work(Queue.LOCK, to_json(look(11)))
    assert locking.queues.take() == []
    locking.lock_ledger.release(11, "another")
    locking.clock.forward(minutes=15)
    watch(locking)
    assert is_locked(locking)


@pytest.mark.parametrize("error", [LaterError("the queues are away"), NeverError("the queues refuse us")])
def test_an_order_that_can_not_be_queued_says_that_it_counts_and_is_carried_out(
    locking: Chain, error: LaterError | NeverError
) -> None:
    used(locking, "10")
    locking.queues.fails = lambda: error
    with pytest.raises(type(error), match=f"written down, and carried out within eight hours, but not now: {error}"):
        locking.lock_service.order("P11", LockAction.LOCK, "security", "olga")
    locking.queues.fails = lambda: None
    locking.clock.forward(hours=8)
    watch(locking)
    assert is_locked(locking)


# --- held by level -------------------------------------------------------------------------------------------


def by_order(chain: Chain) -> None:
    used(chain, "10")
    send(chain, ORDER)


def on_azures_figure(chain: Chain) -> None:
    used(chain, "10")
    azure_shows(chain, "1000")
    send(chain, ALERT)


@pytest.mark.parametrize("put_on", [by_order, on_azures_figure])
def test_every_lock_that_is_deleted_in_the_portal_is_put_back_and_new_groups_are_locked_too(
    locking: Chain, put_on: Callable[[Chain], None]
) -> None:
    put_on(locking)
    assert is_locked(locking)
    locking.azure_locks.delete(RG, OURS)
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    next_nights(locking, 1, "10")
    assert (is_locked(locking), is_locked(locking, SECOND)) == (True, True)


@pytest.mark.parametrize("put_on", [by_order, on_azures_figure])
def test_a_lock_is_looked_at_every_day_though_no_costs_can_be_read(
    locking: Chain, put_on: Callable[[Chain], None]
) -> None:
    put_on(locking)
    locking.azure_locks.delete(RG, OURS)
    locking.costs.fails = lambda _query: NeverError("Azure says no (403)")
    locking.clock.forward(hours=27)
    watch(locking)
    assert is_locked(locking)


def test_what_is_locked_and_as_it_should_be_is_looked_at_in_silence(locking: Chain) -> None:
    by_order(locking)
    told, rows = to_contacts(locking), len(audit(locking))
    for _ in range(3):
        locking.clock.forward(hours=27)
        watch(locking)
    assert (to_contacts(locking), len(audit(locking))) == (told, rows)
    assert not [subject for subject in to_operators(locking) if "P11" in subject]


# --- groups that change hands --------------------------------------------------------------------------------


def handed_over(chain: Chain, **first: object) -> None:
    """`rg-second` of the locked project 11 goes to project 12, which has spent nothing."""
    chain.load(entry(groups=BOTH), entry(12))
    for group in (SECOND, ResourceGroup(SUBSCRIPTION, "rg-12")):
        chain.azure_locks.add_group(group)
    used(chain, "1050")
    assert is_locked(chain, SECOND)
    chain.clock.forward(days=1)
    if "spent" in first:
        chain.spend(str(first.pop("spent")), DAY)
        chain.night()
    chain.load(entry(**first), entry(12, groups=("rg-12", "rg-second")))


@pytest.mark.parametrize(
    "first", [{}, {"spent": "600"}, {"active": False}, {"amount": None}, {"amount": "9000"}, {"lock": LockPolicy.NEVER}]
)
def test_a_group_that_changes_hands_is_rid_of_its_former_owners_lock(locking: Chain, first: dict[str, object]) -> None:
    handed_over(locking, **dict(first))
    watch(locking)
    assert not is_locked(locking, SECOND)
    next_nights(locking, 2, str(first.get("spent", "1050")))
    assert not is_locked(locking, SECOND)


def test_in_dry_run_a_group_that_changes_hands_keeps_its_former_owners_lock_and_that_is_told_once(
    locking: Chain,
) -> None:
    locking.load(entry(groups=BOTH), entry(12))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1050")
    before = list(locking.azure_locks.calls)
    locking.configure(lock_mode=LockMode.DRY_RUN)
    locking.load(entry(), entry(12, groups=("rg-12", "rg-second")))
    watch(locking)
    next_nights(locking, 2, "1050")
    assert (is_locked(locking), is_locked(locking, SECOND)) == (True, True)
    assert {call for call, *_ in locking.azure_locks.calls[len(before) :]} <= {"locks_on"}
    (told,) = [mail for mail in locking.mailer.sent if "would be unlocked now in part" in mail.subject]
    assert "  - rg-second\n" in told.text
    assert "projects unlock P11" in told.text
    # Once locks are enforced again, it comes off; the former owner's stays.
    locking.configure(lock_mode=LockMode.ENFORCE)
    next_nights(locking, 1, "1050")
    assert (is_locked(locking), is_locked(locking, SECOND)) == (True, False)


def test_in_mode_off_a_group_that_changes_hands_keeps_its_former_owners_lock_until_that_is_unlocked(
    locking: Chain,
) -> None:
    locking.load(entry(groups=BOTH), entry(12))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1050")
    before, told = list(locking.azure_locks.calls), to_operators(locking)
    locking.configure(lock_mode=LockMode.OFF)
    locking.load(entry(), entry(12, groups=("rg-12", "rg-second")))
    watch(locking)
    next_nights(locking, 2, "1050")
    assert locking.azure_locks.calls == before
    assert to_operators(locking) == told
    assert is_locked(locking, SECOND)
    send(locking, UNLOCK_ORDER)
    assert (is_locked(locking), is_locked(locking, SECOND)) == (False, False)


def test_a_crash_while_a_new_group_is_locked_leaves_no_lock_that_nobody_knows_of(locking: Chain) -> None:
    used(locking, "1000")
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    put = locking.azure_locks.put

    def last_thing(group: ResourceGroup, lock: GroupLock) -> bool:
        put(group, lock)
        raise RuntimeError("killed")

    locking.azure_locks.put = last_thing
    with pytest.raises(RuntimeError):
        locking.work(Queue.LOCK, to_json(NIGHT))
    locking.azure_locks.put = put
    locking.load(entry(amount="5000"))
    watch(locking)
    assert (is_locked(locking), is_locked(locking, SECOND)) == (False, False)


# --- figures and their like ----------------------------------------------------------------------------------


def test_another_currency_is_a_new_budget_and_the_two_are_never_compared(locking: Chain) -> None:
    used(locking, "1000")
    locking.costs.currency_of = lambda _day: "USD"
    locking.load(entry(amount="900", currency="USD"))
    used(locking, "800")
    assert not is_locked(locking)
    assert audit(locking)[-1].entry.reason == "its budget is in USD now: 800.00 of 900.00 USD is used"


def test_what_azure_showed_for_other_groups_counts_no_more(locking: Chain) -> None:
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    used(locking, "10")
    azure_shows(locking, "1400")
    locking.azure_budgets.budgets[SUBSCRIPTION, "warden-p11"] = replace(
        locking.azure_budgets.budgets[SUBSCRIPTION, "warden-p11"], resource_groups=BOTH
    )
    send(locking, ALERT)
    assert is_locked(locking)
    locking.load(entry())
    used(locking, "10")
    assert not is_locked(locking)
    assert audit(locking)[-1].entry.reason.startswith("it has other resource groups now")


def test_what_azure_showed_counts_for_three_days(locking: Chain) -> None:
    used(locking, "10")
    azure_shows(locking, "1400")
    send(locking, ALERT)
    locking.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    locking.load(entry(amount="1200"))
    next_nights(locking, 2, "10")
    assert is_locked(locking)
    next_nights(locking, 1, "10")
    assert not is_locked(locking)


def test_a_total_that_is_overspent_is_not_opened_by_a_credit(locking: Chain) -> None:
    terms = replace(entry().terms, rule=NOVEMBER, rollover=Rollover.DRAW_DOWN)
    locking.load(replace(entry(), terms=terms))
    used(locking, "1200")
    locking.clock.now = locking.clock.now.replace(month=12, day=2)
    locking.spend("-0.01", date(2026, 12, 1))
    locking.night()
    next_nights(locking, 4, "1200")
    assert is_locked(locking)
    (view,) = locking.projects.list_projects(locking.clock().date())
    assert view.percent == Decimal(100)
    locking.spend("-200.01", date(2026, 12, 1))
    next_nights(locking, 4, "1200")
    assert not is_locked(locking)


def test_when_unsure_is_for_those_of_whom_nothing_is_known(locking: Chain) -> None:
    locking.configure(lock_when_unsure=WhenUnsure.LEAVE)
    unsure(locking)
    assert not is_locked(locking)


@pytest.mark.parametrize(("order", "call"), [(ORDER, "put"), (UNLOCK_ORDER, "delete")])
def test_the_failure_of_an_order_that_is_put_back_again_and_again_is_told_once_a_day(
    locking: Chain, order: LockMessage, call: str
) -> None:
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    used(locking, "10" if call == "put" else "1000")
    before, forbidden = len(outcomes(locking)), NeverError("no role (403)")

    def fails(called: str, group: ResourceGroup) -> Exception | None:
        return (forbidden if group == RG else LaterError("unwell (503)")) if called == call else None

    locking.azure_locks.fails = fails
    locking.work(Queue.LOCK, to_json(order))
    locking.work_off(20)
    locking.look()
    locking.work_off(0.1)
    assert outcomes(locking)[before:].count(Outcome.FAILED) == 1
    assert len([subject for subject in to_operators(locking) if "could not be" in subject]) == 1


# --- a subscription that is gone ---


def moved_away(chain: Chain) -> None:
    """A locked project moves to another subscription, and Azure knows the one before no more."""
    used(chain, "1000")
    assert is_locked(chain)
    chain.azure_locks.add_group(ResourceGroup(OTHER_SUBSCRIPTION, "rg-11"))
    chain.load(entry(subscription=OTHER_SUBSCRIPTION))
    del chain.azure_locks.groups[SUBSCRIPTION, "rg-11"]


def days(chain: Chain, number: int) -> None:
    for _ in range(number):
        chain.clock.forward(days=1)
        chain.night()
        watch(chain)


def test_a_lock_has_gone_with_its_subscription_and_that_is_told_once(locking: Chain) -> None:
    moved_away(locking)
    days(locking, 5)
    assert len([subject for subject in to_operators(locking) if "P11" in subject]) <= 1
    assert [group.subscription_id for group in facts(locking).held_groups] == [OTHER_SUBSCRIPTION]
    gone = "the lock on rg-11 has gone with its subscription"
    assert [gone in view.entry.reason for view in audit(locking)].count(True) == 1


def test_a_project_that_is_open_is_not_locked_since_for_ever_where_its_subscription_is_gone(locking: Chain) -> None:
    moved_away(locking)
    days(locking, 1)
    locking.load(entry(amount="9000", subscription=OTHER_SUBSCRIPTION))
    days(locking, 6)
    assert not any(locking.azure_locks.groups.values())
    assert facts(locking).held_since is None


# --- a group that is never to be locked any more ---


@pytest.mark.parametrize("error", [LaterError("unwell (503)"), NeverError("no role (403)")])
@pytest.mark.parametrize("opened", [False, True])
def test_a_group_that_may_not_be_locked_any_more_is_opened_once_azure_takes_it(
    locking: Chain, error: Exception, opened: bool
) -> None:
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    assert is_locked(locking, SECOND)
    locking.configure(lock_never=("rg-second",))
    left = [error]
    locking.azure_locks.fails = lambda call, _group: left.pop() if call == "delete" and left else None
    next_nights(locking, 1, "1000")
    assert left == []
    assert is_locked(locking, RG)
    if opened:
        locking.load(entry(groups=BOTH, amount="9000"))
    next_nights(locking, 4, "1000")
    watch(locking)
    assert not is_locked(locking, SECOND)
    assert SECOND not in facts(locking).held_groups


# --- what Azure showed when it was locked ---


def test_what_azure_showed_of_other_groups_does_not_become_a_figure_of_todays(locking: Chain) -> None:
    locking.load(entry(groups=BOTH))
    locking.azure_locks.add_group(SECOND)
    used(locking, "10")
    azure_shows(locking, "1400")
    key = (SUBSCRIPTION, "warden-p11")
    locking.azure_budgets.budgets[key] = replace(locking.azure_budgets.budgets[key], resource_groups=BOTH)
    send(locking, ALERT)
    assert is_locked(locking)
    del locking.azure_budgets.budgets[key]
    locking.load(entry())  # the group that cost 1,400 has left
    used(locking, "1000")
    locking.load(entry(amount="1200"))
    used(locking, "1000")
    watch(locking)
    assert not is_locked(locking)


@pytest.mark.parametrize(("days_later", "stays"), [(1, True), (6, False)])
def test_what_azure_showed_counts_for_three_days_though_the_costs_that_were_read_stay_at_100_percent(
    locking: Chain, days_later: int, stays: bool
) -> None:
    used(locking, "1000")
    azure_shows(locking, "1400")
    send(locking, ALERT)
    locking.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    next_nights(locking, days_later, "1000")
    locking.load(entry(amount="1200"))
    used(locking, "1000")
    watch(locking)
    assert is_locked(locking) is stays


# --- machines that were stopped in vain ---


@pytest.mark.parametrize("how", ["refused", "away for a day", "dry-run"])
def test_machines_that_were_stopped_for_a_lock_that_did_not_come_are_told(locking: Chain, how: str) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-1")
    used(locking, "10")
    azure_shows(locking, "1000")
    if how == "refused":
        locking.azure_locks.fails = refuse("put", RG)
    if how == "away for a day":
        locking.azure_locks.fails = lambda call, _group: LaterError("unwell (503)") if call == "put" else None
    locking.work(Queue.LOCK, to_json(ALERT))
    assert outcomes(locking) == [Outcome.STOPPING]
    if how == "dry-run":
        locking.configure(lock_mode=LockMode.DRY_RUN)
    locking.work_off(26)
    for _ in range(0 if how == "away for a day" else 3):
        locking.clock.forward(days=1)
        locking.night()
        watch(locking)
    assert not is_locked(locking)
    told = [mail for mail in locking.mailer.sent if "vm-1" in mail.text and "were stopped" in mail.text]
    assert len(told) == 1


# --- what Azure shows late ---


@pytest.fixture
def late(locking: Chain) -> Chain:
    """Azure shows the locks of two minutes ago; what is put on or taken off counts at once."""
    locks = locking.azure_locks
    history = [(locking.clock() - timedelta(days=1), list[GroupLock]())]
    put, delete = locks.put, locks.delete

    def keep(done: bool) -> bool:
        history.append((locking.clock(), list(locks.known(RG).values())))
        return done

    locks.put = lambda group, lock: keep(put(group, lock))
    locks.delete = lambda group, name: keep(delete(group, name))
    locks.locks_on = lambda _group: [
        held for at, held in history if at <= locking.clock() - timedelta(minutes=2) or at == history[0][0]
    ][-1]
    return locking


def test_a_lock_that_azure_does_not_show_yet_was_taken_off_by_nobody(late: Chain) -> None:
    azure_shows(late, "1000")
    send(late, ALERT)
    assert is_locked(late)
    late.clock.forward(seconds=30)
    send(late, ALERT)
    assert outcomes(late) == [Outcome.LOCKED]
    assert [subject for subject in to_operators(late) if "again" in subject] == []


def test_a_lock_ordered_right_after_an_unlock_is_there_though_azure_still_shows_the_one_before(late: Chain) -> None:
    for order, seconds in ((ORDER, 600), (UNLOCK_ORDER, 30), (ORDER, 0)):
        send(late, replace(order, ordered_at=late.clock()))
        assert is_locked(late) is (order is ORDER)
        late.clock.forward(seconds=seconds)
