"""Locking and unlocking, from the night's check to the lock, the audit and the mails, with Azure in memory."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest

from shared.adapters.database.engine import Database
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.locks import LockMode, Outcome, WhenUnsure
from shared.domain.projects import LockPolicy, Scope
from shared.messages import EmailMessage, Envelope, LockAction, LockMessage, LockTrigger, Queue, to_json
from shared.pipeline.azure_budgets.names import azure_name
from shared.pipeline.locking.groups import lock_name
from shared.pipeline.stage import Outgoing
from shared.ports.azure import AzureBudget, GroupLock, LockLevel, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from shared.ports.locks import AuditView
from tests.cases import some
from tests.pipeline.conftest import NOVEMBER, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry, only
from tests.subjects import short

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
BEING_LOCKED = "[P11] 100 % of the budget reached: the project is being locked"
STILL_RUNNING = "P11 is locked, and machines go on running"
NOT_LOCKED, IS_LOCKED = "[P11] The project could not be locked", "[P11] The project is locked: its budget is used up"
ANNA = ("anna@example.com",)
UNLOCK_ORDER = replace(ORDER, action=LockAction.UNLOCK, reason="it is needed")


@pytest.fixture
def locking(chain: Chain) -> Chain:
    """Project 11 with a budget of 1000 CAD in November, in a chain that enforces its locks."""
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.load(entry())
    chain.azure_locks.add_group(RG)
    return chain


def used(chain: Chain, amount: str) -> None:
    """A run that reads that this was spent, and all that follows from it."""
    chain.spend(amount, DAY)
    chain.clock.forward(minutes=1)
    chain.run_now()
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


def rounds(chain: Chain, number: int, seconds: float = 20) -> None:
    """Works off what is on the queues, as often as this, with the clock moving in between."""
    for _ in range(number):
        for queue, text, _delay in chain.queues.take():
            chain.work(queue, text)
        chain.clock.forward(seconds=seconds)


def to_operators(chain: Chain) -> list[str]:
    return [short(mail.subject) for mail in chain.mailer.sent if mail.to == ("ops@example.com",)]


def to_contacts(chain: Chain) -> list[str]:
    """The mails about locks, without the alerts."""
    mails = [mail for mail in chain.mailer.sent if mail.to == ("anna@example.com",)]
    return [short(mail.subject) for mail in mails if "locked" in mail.subject.lower() or "open" in mail.subject.lower()]


def locks_on(chain: Chain, group: ResourceGroup = RG) -> list[GroupLock]:
    return list(chain.azure_locks.groups.get((group.subscription_id, group.name), {}).values())


def is_locked(chain: Chain, group: ResourceGroup = RG) -> bool:
    return OURS in [lock.name for lock in locks_on(chain, group)]


def outcomes(chain: Chain) -> list[Outcome]:
    return [view.entry.outcome for view in audit(chain)]


def audit(chain: Chain) -> list[AuditView]:
    return chain.lock_ledger.decisions(11)


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
    assert locking.subjects() == ["[P11] 100 % of the budget reached: the project is being locked"]
    assert all(mail.urgent for mail in locking.mailer.sent)


def test_an_ordered_lock_is_told_and_so_is_the_alert_at_100_percent_after_it(locking: Chain) -> None:
    send(locking, ORDER)
    before = locking.subjects()
    used(locking, "1000")
    assert before == ["[P11] The project is locked"]
    # An order says nothing of 100 %: that is told too.
    assert locking.subjects()[1:] == ["[P11] 100 % of the budget reached: the project is locked"]


def test_the_locks_note_says_why_when_and_whom_to_ask_in_512_characters(locking: Chain) -> None:
    locking.load(entry(name="N" * 200, acronym="A" * 50))
    used(locking, "1000")
    [lock] = locks_on(locking)
    assert "1,000.00 of 1,000.00" in lock.notes
    assert "2026-11-20 at 02:01 UTC" in lock.notes
    assert "ops@example.com" in lock.notes
    assert len(lock.notes) <= 512


def test_the_nights_after_that_change_nothing_and_tell_nobody(locking: Chain) -> None:
    used(locking, "1000")
    for _ in range(3):
        locking.clock.forward(days=1)
        used(locking, "1010")
    assert outcomes(locking) == [Outcome.LOCKED]
    assert len(locking.mailer.sent) == 1


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
    locking: Chain, fresh_database: Callable[[], Database]
) -> None:
    """`make crash-test` tries all 120, `make test` 17 of them, others each time."""
    # One in 8 would all have one policy, and nearly all be locked already, or not.
    for mode, azure, database, policy, already, unsure in some(EVERY, 7):
        chain = Chain(fresh_database())
        rows, locked = ends(chain, mode, azure, database, policy, already, unsure)
        wanted_rows, wanted_lock = should_end(mode, azure, database, policy, already, unsure)
        assert (rows, locked) == (wanted_rows, wanted_lock), (mode, azure, database, policy, already, unsure)


def used_unmailed(chain: Chain, amount: str) -> None:
    """As `used`, but nobody waits for the mails."""
    chain.spend(amount, DAY)
    chain.clock.forward(minutes=1)
    chain.run_now()
    drain_unmailed(chain)


def drain_unmailed(chain: Chain) -> None:
    while taken := chain.queues.take():
        for queue, text, _delay in taken:
            if queue is not Queue.EMAIL:
                chain.work(queue, text)


def ends(
    chain: Chain, mode: LockMode, azure: str, database: str, policy: LockPolicy, already: bool, unsure: WhenUnsure
) -> tuple[list[Outcome], bool]:
    """What an alert leads to: the audit's new rows, and whether the project is locked."""
    chain.configure(lock_mode=LockMode.ENFORCE, lock_when_unsure=unsure)
    chain.load(entry())
    chain.azure_locks.add_group(RG)
    if already:
        used_unmailed(chain, "1000")
    if database == "unknown":
        # A charge in another currency: what was spent can't be added up.
        chain.load(entry(currency="USD"))
        used_unmailed(chain, "5")
    else:
        chain.configure(lock_mode=LockMode.OFF)
        used_unmailed(chain, {"below": "10", "full": "1000"}[database])
    if azure == "unknown":
        chain.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    else:
        azure_shows(chain, {"below": "10", "full": "1000"}[azure], currency="USD" if database == "unknown" else "CAD")
    chain.load(entry(currency="USD" if database == "unknown" else "CAD", lock=policy))
    chain.queues.take()
    before = len(audit(chain))
    chain.configure(lock_mode=mode)
    chain.work(Queue.LOCK, to_json(ALERT))
    drain_unmailed(chain)
    return [view.entry.outcome for view in audit(chain)[before:]], is_locked(chain)


def should_end(
    mode: LockMode, azure: str, database: str, policy: LockPolicy, already: bool, unsure: WhenUnsure
) -> tuple[list[Outcome], bool]:
    full = "full" in {azure, database} or (azure == database == "unknown" and unsure is WhenUnsure.LOCK)
    if mode is LockMode.OFF or (not already and (policy is LockPolicy.NEVER or not full)):
        return [Outcome.REFUSED], already
    if policy is LockPolicy.NEVER:
        return ([Outcome.UNLOCKED], False) if mode is LockMode.ENFORCE else ([Outcome.WOULD_UNLOCK], True)
    if not full:
        # The lock is of today, which counts for three days.
        return [], already
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
    assert "999.99 of 1,000.00" in told.text
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
    locking.clock.now = locking.clock.now.replace(month=12, day=2)
    locking.spend("1", date(2026, 12, 1))
    used(locking, "10")
    azure_shows(locking, "1000")
    locking.work(Queue.LOCK, to_json(ALERT))
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


@pytest.mark.parametrize("groups", [None, (), ("rg-11", "rg-other"), ("rg-other",)])
def test_an_azure_budget_that_counts_other_groups_than_the_projects_does_not_count(
    locking: Chain, groups: tuple[str, ...] | None
) -> None:
    used(locking, "10")
    azure_shows(locking, "5000")
    key = (SUBSCRIPTION, "warden-p11")
    locking.azure_budgets.budgets[key] = replace(locking.azure_budgets.budgets[key], resource_groups=groups)
    send(locking, ALERT)
    assert not is_locked(locking)
    assert "other resource groups" in audit(locking)[0].entry.figures["azure_unknown"]


def test_an_azure_budget_that_lacks_a_new_group_of_the_project_counts_with_what_it_shows(locking: Chain) -> None:
    locking.load(entry(groups=("RG-11", "rg-second")))
    used(locking, "10")
    azure_shows(locking, "1000")
    send(locking, ALERT)
    assert is_locked(locking)


@pytest.mark.parametrize(
    ("grain", "first_day", "last_day", "counts"),
    [
        ("Annually", date(2026, 4, 1), date(2036, 3, 31), False),
        ("Quarterly", date(2026, 10, 1), date(2036, 9, 30), False),
        ("Monthly", date(2026, 4, 1), date(2026, 9, 30), False),
        ("BillingMonth", date(2026, 4, 1), date(2036, 3, 31), False),
        ("Monthly", date(2026, 4, 1), date(2036, 3, 31), True),
        ("Annually", date(2026, 11, 1), date(2036, 10, 31), True),
    ],
)
def test_an_azure_budget_that_counts_from_before_the_projects_period_does_not_count(
    locking: Chain, grain: str, first_day: date, last_day: date, counts: bool
) -> None:
    used(locking, "10")
    azure_shows(locking, "5000")
    key = (SUBSCRIPTION, "warden-p11")
    locking.azure_budgets.budgets[key] = replace(
        locking.azure_budgets.budgets[key], time_grain=grain, first_day=first_day, last_day=last_day
    )
    send(locking, ALERT)
    assert is_locked(locking) is counts


@pytest.mark.parametrize("azure_answers", [True, False])
def test_an_alert_of_the_budget_that_a_project_had_does_not_lock_it_now_that_it_has_none(
    locking: Chain, azure_answers: bool
) -> None:
    used(locking, "10")
    azure_shows(locking, "5000")
    locking.load(entry(amount=None))
    if not azure_answers:
        locking.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    send(locking, ALERT)
    assert not is_locked(locking)
    assert [view.entry.reason for view in audit(locking)] == ["it has no budget now"]


def test_an_alert_of_a_periods_first_days_is_looked_into_again_once_azures_figure_counts(locking: Chain) -> None:
    locking.clock.now = locking.clock.now.replace(month=12, day=2)
    locking.spend("1", date(2026, 12, 1))
    used(locking, "10")
    azure_shows(locking, "1000")
    locking.work(Queue.LOCK, to_json(ALERT))
    for day, locked in ((2, False), (3, True)):
        locking.clock.now = datetime(2026, 12, day, 23, 59, tzinfo=UTC)
        locking.look()
        locking.drain()
        assert is_locked(locking) is locked
    assert outcomes(locking) == [Outcome.REFUSED, Outcome.LOCKED]


# --- dry-run, off, never -------------------------------------------------------------------------------------


def test_dry_run_writes_down_and_mails_the_operators_what_it_would_do(locking: Chain) -> None:
    locking.configure(lock_mode=LockMode.DRY_RUN, lock_stop_compute=True)
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
    locking.configure(lock_mode=LockMode.OFF)
    used(locking, "1000")
    assert outcomes(locking) == []
    before = len(locking.mailer.sent)
    send(locking, ALERT)
    send(locking, ALERT)
    assert outcomes(locking) == [Outcome.REFUSED]
    assert len(locking.mailer.sent) == before


def test_a_project_marked_never_is_not_locked_and_the_operators_hear_of_it_once(locking: Chain) -> None:
    locking.load(entry(lock=LockPolicy.NEVER))
    used(locking, "1000")
    locking.clock.forward(days=1)
    used(locking, "1100")
    assert not is_locked(locking)
    assert outcomes(locking) == [Outcome.REFUSED]
    assert [short(mail.subject) for mail in locking.mailer.sent if mail.to == ("ops@example.com",)] == [
        "P11 was not locked"
    ]


def test_groups_in_lock_never_are_left_out_in_any_spelling(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "RG-Second")))
    locking.azure_locks.add_group(SECOND)
    locking.configure(lock_never=("rg-11",))
    used(locking, "1000")
    assert not is_locked(locking)
    assert is_locked(locking, SECOND)
    details = audit(locking)[0].entry.details["groups"]
    assert [SUBSCRIPTION, "rg-11", "never locked (LOCK_NEVER)"] in details


def test_a_project_all_of_whose_groups_are_in_lock_never_is_refused(locking: Chain) -> None:
    locking.configure(lock_never=("rg-11",))
    used(locking, "1000")
    assert outcomes(locking) == [Outcome.REFUSED]
    assert [call for call in locking.azure_locks.calls if call[0] == "put"] == []


def test_that_none_of_its_groups_may_be_locked_is_told_once(locking: Chain) -> None:
    locking.configure(lock_never=("rg-11",))
    for mode in (LockMode.DRY_RUN, LockMode.ENFORCE, LockMode.ENFORCE):
        locking.configure(lock_mode=mode)
        used(locking, "1000")
        locking.clock.forward(days=1)
    assert outcomes(locking) == [Outcome.REFUSED]
    assert to_operators(locking) == ["P11 was not locked"]


def test_a_group_that_may_not_be_locked_any_more_is_opened(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    locking.configure(lock_never=("rg-second",))
    used(locking, "1000")
    assert is_locked(locking)
    assert not is_locked(locking, SECOND)


def test_a_project_none_of_whose_groups_may_be_locked_any_more_is_opened(locking: Chain) -> None:
    used(locking, "1000")
    assert is_locked(locking)
    locking.configure(lock_never=("rg-11",))
    used(locking, "1001")
    assert not is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.REFUSED]
    facts = locking.lock_ledger.facts(11, locking.clock())
    assert facts is not None
    assert (facts.held, facts.held_groups) == (None, ())
    # Allowed again, it is locked again.
    locking.configure(lock_never=())
    used(locking, "1002")
    assert is_locked(locking)


def test_that_a_project_is_never_locked_is_told_though_its_lock_was_refused_in_mode_off_before(locking: Chain) -> None:
    locking.load(entry(lock=LockPolicy.NEVER))
    locking.configure(lock_mode=LockMode.OFF)
    used(locking, "1000")
    send(locking, ALERT)
    assert to_operators(locking) == []
    locking.configure(lock_mode=LockMode.ENFORCE)
    used(locking, "1000")
    assert outcomes(locking) == [Outcome.REFUSED, Outcome.REFUSED]
    assert to_operators(locking) == ["P11 was not locked"]


@pytest.mark.parametrize("mode", LockMode)
def test_every_order_of_an_operator_is_answered(locking: Chain, mode: LockMode) -> None:
    locking.configure(lock_mode=mode)
    used(locking, "1000")
    send(locking, ALERT)
    before, mails = len(outcomes(locking)), len(to_operators(locking))
    send(locking, ORDER, "one")
    send(locking, ORDER, "one")
    locking.clock.forward(seconds=1)
    send(locking, ORDER, "another")
    assert [view.entry.by for view in audit(locking)[before:]] == ["olga", "olga"]
    if mode is not LockMode.ENFORCE:
        assert len(to_operators(locking)) == mails + 2


def test_the_same_day_is_told_of_each_reason_for_which_a_lock_was_refused(locking: Chain) -> None:
    used(locking, "100")
    for spent in ("200", "300", "300"):
        azure_shows(locking, spent)
        send(locking, ALERT)
    assert [view.entry.figures["azure_spend"] for view in audit(locking)] == ["200", "300"]


def test_a_command_that_people_paste_is_one_command_whatever_the_acronym_holds(locking: Chain) -> None:
    locking.load(entry(acronym="a; rm -rf $HOME 'x'", lock=LockPolicy.AUTO))
    send(locking, NIGHT)
    (mail,) = locking.mailer.sent
    (command,) = [line for line in mail.text.split("`") if line.startswith("python -m shared.cli")]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "shared.cli"]
    assert words[5:6] == ["a; rm -rf $HOME 'x'"]


def test_an_inactive_project_is_not_locked(locking: Chain) -> None:
    used(locking, "10")
    azure_shows(locking, "2000")
    locking.load(entry(active=False))
    send(locking, ALERT)
    assert not is_locked(locking)
    assert audit(locking)[0].entry.reason == "the project is not active"


# --- scopes at another provider ------------------------------------------------------------------------------

AWS = Scope("aws", "123456789012")


@pytest.mark.parametrize("mode", [LockMode.DRY_RUN, LockMode.ENFORCE])
def test_a_project_without_any_group_in_azure_has_nothing_to_lock_and_that_is_told_once(
    locking: Chain, mode: LockMode
) -> None:
    locking.configure(lock_mode=LockMode.OFF)
    used(locking, "1000")
    locking.configure(lock_mode=mode, lock_stop_compute=True)
    locking.load(replace(entry(), scopes=(AWS,)))
    for _ in range(2):
        send(locking, NIGHT)
        locking.clock.forward(days=1)
    assert [(view.entry.outcome, view.entry.reason) for view in audit(locking)] == [
        (Outcome.REFUSED, "it has no resource group in Azure, and nothing else can be locked")
    ]
    assert to_operators(locking) == ["P11 was not locked"]
    assert locking.azure_locks.calls == locking.azure_compute.calls == []
    send(locking, ORDER)
    assert outcomes(locking) == [Outcome.REFUSED, Outcome.REFUSED]


def test_only_a_projects_groups_in_azure_are_looked_at_and_locked(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    locking.load(replace(entry(), scopes=(AWS, *entry().scopes)))
    send(locking, ORDER)
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED]
    assert audit(locking)[0].entry.details["groups"] == [[SUBSCRIPTION, "rg-11", "locked"]]
    assert {group for _call, group, _name in locking.azure_locks.calls + locking.azure_compute.calls} == {"rg-11"}
    send(locking, UNLOCK_ORDER)
    assert not is_locked(locking)
    assert {group for _call, group, _name in locking.azure_locks.calls} == {"rg-11"}


def test_a_locked_project_that_leaves_azure_is_opened_there(locking: Chain) -> None:
    used(locking, "1000")
    assert is_locked(locking)
    locking.load(replace(entry(), scopes=(AWS,)))
    send(locking, ORDER)
    assert not is_locked(locking)
    assert audit(locking)[-1].entry.reason == "it has no resource group in Azure, and nothing else can be locked"
    facts = locking.lock_ledger.facts(11, locking.clock())
    assert facts is not None
    assert (facts.held, facts.held_groups) == (None, ())


# --- machines ------------------------------------------------------------------------------------------------


def test_machines_are_deallocated_before_the_lock_and_waited_for(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    machine = locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.looks = 3
    used(locking, "1000")
    assert machine.state == "deallocated"
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.STOPPING, Outcome.LOCKED]
    assert audit(locking)[0].entry.details["machines"] == [["rg-11", "vm-1", "is being stopped"]]
    assert [call[0] for call in locking.azure_compute.calls].count("deallocate") == 1
    assert "are stopped (deallocated) first" in locking.mailer.sent[-1].text


def test_a_mail_says_that_machines_were_stopped_only_where_some_were(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    used(locking, "1000")
    assert is_locked(locking)
    assert "have been stopped" not in locking.mailer.sent[-1].text


def test_a_machine_that_does_not_stop_in_ten_minutes_keeps_the_lock_off_no_longer(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-slow")
    locking.azure_compute.looks = 1000
    locking.spend("1000", DAY)
    locking.tonight()
    for _ in range(60):
        for queue, text, _delay in locking.queues.take():
            locking.work(queue, text)
        locking.clock.forward(seconds=20)
    assert is_locked(locking)
    last = audit(locking)[-1].entry
    assert last.details["machines"] == [["rg-11", "vm-slow", "was still being stopped"]]


def test_a_machine_that_azure_refuses_to_stop_does_not_keep_the_lock_off_and_is_told(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.fails = lambda call, _group: NeverError("no permission") if call == "deallocate" else None
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking)[-1] is Outcome.FAILED
    assert "vm-1" in audit(locking)[-1].entry.reason
    assert to_operators(locking) == [STILL_RUNNING]


def test_a_machine_that_can_never_be_stopped_keeps_neither_the_lock_nor_the_other_machines_waiting(
    locking: Chain,
) -> None:
    locking.configure(lock_stop_compute=True)
    machine = locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.add(RG, "vm-ephemeral")
    locking.azure_compute.never_stops = {"vm-ephemeral"}
    began = locking.clock()
    used(locking, "1000")
    assert is_locked(locking) and machine.state == "deallocated"
    locked_at = next(view.at for view in audit(locking) if view.entry.outcome is Outcome.FAILED)
    assert locked_at - began < timedelta(minutes=5)
    assert to_operators(locking) == [STILL_RUNNING]
    (told,) = [mail.text for mail in locking.mailer.sent if STILL_RUNNING in mail.subject]
    assert "vm-ephemeral in rg-11: Azure refuses" in told and "vm-1" not in told
    assert f"take the lock {OURS} off its resource group" in told
    asked = len(locking.azure_compute.calls)
    locking.clock.forward(days=1)
    used(locking, "1000")
    assert len(locking.azure_compute.calls) == asked
    # As the mail says.
    locking.azure_locks.delete(RG, OURS)
    locking.azure_compute.machines.clear()
    used(locking, "1000")
    assert is_locked(locking)
    assert to_operators(locking)[1:] == ["P11 was locked again"]


@pytest.mark.parametrize(("stops", "says_so"), [(True, True), (False, False)])
def test_contacts_read_that_machines_were_stopped_only_where_azure_did_stop_one(
    locking: Chain, stops: bool, says_so: bool
) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-ephemeral")
    locking.azure_compute.never_stops = set() if stops else {"vm-ephemeral"}
    used(locking, "10")
    send(locking, ORDER)
    assert is_locked(locking)
    (mail,) = [mail for mail in locking.mailer.sent if mail.to == ANNA and "is locked" in mail.subject]
    assert ("have been stopped" in mail.text) is says_so


def test_a_machine_that_goes_on_running_is_locked_in_after_ten_minutes_and_told(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    machine = locking.azure_compute.add(RG, "vm-stubborn")

    def keeps_running(call: str, _group: ResourceGroup) -> None:
        machine.state = "running"

    locking.azure_compute.fails = keeps_running
    locking.spend("1000", DAY)
    locking.tonight()
    rounds(locking, 25)
    assert not is_locked(locking)
    rounds(locking, 15)
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.STOPPING, Outcome.FAILED]
    assert "vm-stubborn" in audit(locking)[-1].entry.reason
    assert to_operators(locking) == [STILL_RUNNING]
    assert len(to_contacts(locking)) == 1


def test_machines_have_their_ten_minutes_however_long_the_message_waited_before(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    machine = locking.azure_compute.add(RG, "vm-slow")
    locking.azure_compute.looks = 20
    locking.configure(lock_mode=LockMode.OFF)
    used(locking, "1000")
    locking.configure(lock_mode=LockMode.ENFORCE)
    waited = Envelope(attempt=9, first_queued_at=locking.clock() - timedelta(hours=3))
    locking.queues.send(Queue.LOCK, replace(NIGHT, envelope=waited))
    rounds(locking, 25)
    assert machine.state == "deallocated"
    assert is_locked(locking)


def test_without_permission_to_see_the_machines_the_project_is_locked_and_the_operators_hear_of_it(
    locking: Chain,
) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.fails = lambda _call, _group: NeverError("it lacks the role Virtual Machine Contributor")
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.FAILED]
    assert to_operators(locking) == [STILL_RUNNING]
    assert len(to_contacts(locking)) == 1


@pytest.mark.parametrize("call", ["running", "deallocate"])
def test_while_azure_asks_to_wait_for_its_machines_the_lock_waits_half_an_hour(locking: Chain, call: str) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.fails = lambda called, _group: LaterError("429") if called == call else None
    locking.spend("1000", DAY)
    locking.tonight()
    rounds(locking, 29, 60)
    assert not is_locked(locking)
    assert Outcome.FAILED not in outcomes(locking)
    rounds(locking, 5, 60)
    assert is_locked(locking)
    assert outcomes(locking)[-1] is Outcome.FAILED
    assert outcomes(locking).count(Outcome.STOPPING) <= 1


def test_a_machine_that_cant_be_stopped_now_keeps_no_other_running(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    machines = [locking.azure_compute.add(RG, name) for name in ("vm-1", "vm-2")]
    errors = [LaterError("409")]
    locking.azure_compute.fails = lambda call, _group: errors.pop() if call == "deallocate" and errors else None
    locking.spend("1000", DAY)
    locking.tonight()
    rounds(locking, 3, 0)
    assert [machine.state for machine in machines] == ["running", "deallocating"]
    rounds(locking, 4, 30)
    assert [machine.state for machine in machines] == ["deallocated", "deallocated"]
    assert outcomes(locking) == [Outcome.STOPPING, Outcome.LOCKED]


def test_without_lock_stop_compute_no_machine_is_looked_at(locking: Chain) -> None:
    locking.azure_compute.add(RG, "vm-1")
    used(locking, "1000")
    assert is_locked(locking)
    assert locking.azure_compute.calls == []


def test_nothing_that_was_stopped_is_started_again(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
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


@pytest.mark.parametrize("call", ["locks_on", "put"])
def test_a_group_that_azure_puts_off_keeps_no_other_open_and_follows(locking: Chain, call: str) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    locking.azure_locks.fails = lambda called, group: (
        LaterError("Azure is unwell") if (called, group.name) == (call, "rg-11") else None
    )
    locking.spend("1000", DAY)
    locking.tonight()
    rounds(locking, 5, 60)
    assert not is_locked(locking)
    assert is_locked(locking, SECOND)
    assert outcomes(locking) == [Outcome.LOCKED]
    locking.azure_locks.fails = lambda _call, _group: None
    locking.drain()
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.LOCKED]
    assert audit(locking)[-1].entry.reason.startswith("the lock was put on rg-11 as well")
    assert to_operators(locking) == []
    assert len(to_contacts(locking)) == 1


def test_each_failure_of_a_day_is_told_and_contacts_hear_of_a_lock_that_came_with_one(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    refusing = {"rg-11", "rg-second"}
    locking.azure_locks.fails = lambda call, group: (
        NeverError(f"no permission on {group.name}") if call == "put" and group.name in refusing else None
    )
    used(locking, "1000")
    used(locking, "1000")
    facts = locking.lock_ledger.facts(11, locking.clock())
    assert facts is not None
    assert facts.held is None
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED]
    refusing.remove("rg-11")
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.FAILED, Outcome.FAILED]
    assert len(to_operators(locking)) == 2
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED, IS_LOCKED]
    assert "still open, and goes on costing money: rg-second." in locking.mailer.sent[-1].text
    refusing.clear()
    used(locking, "1000")
    assert audit(locking)[-1].entry.reason.startswith("the lock was put on rg-second as well")


def never_put(chain: Chain) -> None:
    chain.azure_locks.fails = lambda call, _group: NeverError("no permission") if call == "put" else None


def never_looked_at(chain: Chain) -> None:
    chain.azure_locks.fails = lambda _call, _group: NeverError("no permission")


def unwell_for_a_day(chain: Chain) -> None:
    chain.azure_locks.fails = lambda _call, _group: LaterError("Azure is unwell")


def none_may_be_locked(chain: Chain) -> None:
    chain.configure(lock_never=("RG-11",))


@pytest.mark.parametrize("cause", [never_put, never_looked_at, unwell_for_a_day, none_may_be_locked])
def test_contacts_who_were_told_of_a_lock_that_could_not_be_put_on_hear_of_it_once(
    locking: Chain, cause: Callable[[Chain], None]
) -> None:
    cause(locking)
    locking.spend("1000", DAY)
    for _ in range(3):
        locking.tonight()
        locking.work_off(25)
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED]
    (mail,) = [mail for mail in locking.mailer.sent if "could not be locked" in mail.subject and mail.to == ANNA]
    assert "What is running goes on costing money, although the budget is used up." in mail.text
    # A new budget is another one.
    locking.load(entry(amount="1100"))
    locking.spend("1100", DAY)
    locking.tonight()
    locking.work_off(25)
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED] * 2


def poisoned(chain: Chain) -> None:
    """A night that comes to 100 %, whose lock messages the host gives up on."""
    chain.spend("1000", DAY)
    chain.tonight()
    while taken := chain.queues.take():
        for queue, text, _delay in taken:
            if queue is Queue.LOCK:
                chain.bury(queue, text, f"poison-{chain.clock()}")
            else:
                chain.work(queue, text)


def test_contacts_who_were_told_of_a_lock_hear_once_that_its_message_failed_for_good(locking: Chain) -> None:
    for _ in range(2):
        poisoned(locking)
        locking.clock.forward(days=1)
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED]
    assert set(to_operators(locking)) == {"A message failed for good", "P11 could not be locked"}
    assert set(outcomes(locking)) == {Outcome.FAILED}
    assert {letter.queue for letter in locking.letters.letters()} == {Queue.LOCK}
    locking.tonight()
    locking.drain()
    assert is_locked(locking)
    assert to_contacts(locking)[-1] == IS_LOCKED


def test_where_that_cant_be_written_down_the_message_is_kept_and_the_operators_hear_of_it(locking: Chain) -> None:
    def fails(_message: LockMessage, _origin: str) -> list[Outgoing]:
        raise RuntimeError("what nobody foresaw")

    letters = replace(locking.app.dead_letters, lock_failed=fails)
    locking.app.chain = replace(locking.app.chain, dead_letters=letters)
    poisoned(locking)
    assert to_operators(locking) == ["A message failed for good"]
    assert len(locking.letters.letters()) == 1


@pytest.mark.parametrize("later", [timedelta(minutes=1), timedelta(days=1)])
def test_a_lock_that_comes_after_all_is_told_as_ever(locking: Chain, later: timedelta) -> None:
    never_put(locking)
    used(locking, "1000")
    locking.azure_locks.fails = lambda _call, _group: None
    locking.clock.now += later
    used(locking, "1000")
    assert is_locked(locking)
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED, IS_LOCKED]


def test_contacts_hear_of_no_lock_that_failed_before_they_were_told_of_one(locking: Chain) -> None:
    azure_shows(locking, "1000")
    never_put(locking)
    send(locking, ALERT)
    assert to_contacts(locking) == []
    # The same failure of the same day: now they have been told.
    locking.spend("1000", DAY)
    locking.night()
    assert to_contacts(locking) == [BEING_LOCKED, NOT_LOCKED]
    assert len(to_operators(locking)) == 1


def test_an_unlock_that_fails_is_not_told_as_one_that_worked(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    with pytest.raises(RuntimeError):
        put_and_crash(locking, ALERT)
    locking.load(entry(amount="5000"))
    locking.azure_locks.fails = lambda call, _group: NeverError("no permission") if call == "delete" else None
    send(locking, ALERT, "the-same")
    assert to_operators(locking) == ["P11 could not be unlocked"]
    assert to_contacts(locking) == []


def test_a_message_is_not_given_up_only_because_another_works_on_the_project(locking: Chain) -> None:
    used(locking, "1000")
    locking.azure_locks.delete(RG, OURS)
    now = locking.clock()
    assert locking.lock_ledger.claim(11, "another", now + timedelta(minutes=15), now)
    waited = replace(NIGHT, envelope=Envelope(attempt=9, first_queued_at=now - timedelta(hours=25)))
    locking.work(Queue.LOCK, to_json(waited))
    assert locking.letters.letters() == []
    locking.lock_ledger.release(11, "another")
    locking.drain()
    assert is_locked(locking)


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
    [letter] = locking.letters.letters()
    assert "24 hours" in letter.reason
    assert any("could not be locked" in subject for subject in locking.subjects())
    locking.azure_locks.fails = lambda _call, _group: None
    assert locking.dead_letter_service.replay(letter.id) is None
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
    assert [short(mail.subject) for mail in locking.mailer.sent[before:]] == ["P11 was locked again"]


def test_another_lock_level_in_the_settings_is_not_told_as_a_lock_that_was_gone(locking: Chain) -> None:
    used(locking, "1000")
    locking.azure_locks.put(RG, GroupLock(OURS, LockLevel.CAN_NOT_DELETE))
    before = len(locking.mailer.sent)
    used(locking, "1000")
    assert [lock.level for lock in locks_on(locking)] == [LockLevel.READ_ONLY]
    assert audit(locking)[-1].entry.reason.startswith("the lock on rg-11 had another level")
    assert len(locking.mailer.sent) == before


def test_a_group_that_came_to_a_locked_project_is_locked_too(locking: Chain) -> None:
    used(locking, "1000")
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    assert is_locked(locking, SECOND)
    assert audit(locking)[-1].entry.reason.startswith("the lock was put on rg-second as well")
    assert to_operators(locking) == []


def test_a_lock_of_ours_with_another_level_is_brought_to_the_level_of_the_settings(locking: Chain) -> None:
    locking.azure_locks.put(RG, GroupLock(OURS, LockLevel.CAN_NOT_DELETE))
    used(locking, "1000")
    assert [lock.level for lock in locks_on(locking)] == [LockLevel.READ_ONLY]


# --- several at once, and again ------------------------------------------------------------------------------


def test_two_alerts_and_a_night_make_one_lock_one_row_and_one_mail(locking: Chain) -> None:
    locking.spend("1000", DAY)
    locking.tonight()
    azure_shows(locking, "1000")
    locking.queues.send(Queue.LOCK, ALERT)
    locking.queues.send(Queue.LOCK, ALERT)
    locking.drain()
    assert [lock.name for lock in locks_on(locking)] == [OURS]
    assert outcomes(locking) == [Outcome.LOCKED]
    assert len([subject for subject in locking.subjects() if "locked" in subject.lower()]) == 1


def test_two_alerts_and_a_night_stop_machines_once_and_write_that_down_once(locking: Chain) -> None:
    locking.configure(lock_stop_compute=True)
    locking.azure_compute.add(RG, "vm-1")
    locking.azure_compute.looks = 6
    locking.spend("1000", DAY)
    locking.tonight()
    azure_shows(locking, "1000")
    locking.queues.send(Queue.LOCK, ALERT)
    locking.queues.send(Queue.LOCK, ALERT)
    locking.drain()
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.STOPPING, Outcome.LOCKED]
    assert len(to_contacts(locking)) == 1
    assert [call[0] for call in locking.azure_compute.calls].count("deallocate") == 1


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 15), (6, 64), (20, 1800)])
def test_while_another_message_works_on_the_project_this_one_waits_longer_and_longer(
    locking: Chain, attempt: int, seconds: int
) -> None:
    """Each time that it is put back, a killed process leaves it twice: soon thousands would wait for each other."""
    locking.spend("1000", DAY)
    now = locking.clock()
    assert locking.lock_ledger.claim(11, "another", now.replace(hour=3), now)
    locking.work(Queue.LOCK, to_json(replace(NIGHT, envelope=Envelope(attempt=attempt, first_queued_at=now))))
    assert not is_locked(locking)
    [(queue, _text, delay)] = locking.queues.take()
    assert (queue, delay.total_seconds()) == (Queue.LOCK, seconds)


@pytest.mark.parametrize("step", ["locks_on", "put"])
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


@pytest.mark.parametrize("trigger", [ALERT, ORDER])
def test_a_lock_that_nobody_could_write_down_comes_off_all_the_same(locking: Chain, trigger: LockMessage) -> None:
    """Killed after the lock; and before the message comes again, the budget is raised."""
    used(locking, "900")
    azure_shows(locking, "1000")
    with pytest.raises(RuntimeError):
        put_and_crash(locking, trigger)
    assert is_locked(locking)
    assert outcomes(locking) == []
    locking.load(entry(amount="5000"))
    if trigger is ORDER:
        send(locking, UNLOCK_ORDER)
    else:
        send(locking, trigger, "the-same")
        used(locking, "900")
    assert locks_on(locking) == []
    assert outcomes(locking)[-1] is Outcome.UNLOCKED


def put_and_crash(chain: Chain, message: LockMessage) -> None:
    put = chain.azure_locks.put

    def last_thing(group: ResourceGroup, lock: GroupLock) -> bool:
        put(group, lock)
        raise RuntimeError("killed")

    chain.azure_locks.put = last_thing  # type: ignore[method-assign]  # a fake of Azure that dies with the process
    try:
        chain.work(Queue.LOCK, to_json(message), "the-same")
    finally:
        chain.azure_locks.put = put  # type: ignore[method-assign]  # as before


def test_a_lock_that_was_about_to_be_and_never_was_is_nobodys_news(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    crashes = [RuntimeError("killed")]
    locking.azure_locks.fails = lambda call, _group: crashes.pop() if call == "put" and crashes else None
    with pytest.raises(RuntimeError):
        locking.work(Queue.LOCK, to_json(ALERT))
    locking.load(entry(amount="5000"))
    used(locking, "900")
    assert outcomes(locking) == [Outcome.REFUSED]
    assert to_contacts(locking) == []
    facts = locking.lock_ledger.facts(11, locking.clock())
    assert facts is not None
    assert (facts.held, facts.held_groups) == (None, ())


def many_groups(chain: Chain, seconds: int) -> list[ResourceGroup]:
    """Fifty groups of project 11, in an Azure that takes this long for each call on a lock."""
    groups = [ResourceGroup(SUBSCRIPTION, f"rg-{number}") for number in range(11, 61)]
    chain.load(entry(groups=tuple(group.name for group in groups)))
    for group in groups:
        chain.azure_locks.add_group(group)
    chain.azure_locks.fails = lambda _call, _group: chain.clock.forward(seconds=seconds)
    return groups


def longest_work(chain: Chain) -> timedelta:
    """Works all the queues off; returns how long the longest message took."""
    longest = timedelta(0)
    while taken := chain.queues.take():
        for queue, text, _delay in taken:
            before = chain.clock()
            chain.work(queue, text)
            longest = max(longest, chain.clock() - before)
    return longest


@pytest.mark.parametrize("seconds", [9, 40])
def test_a_slow_azure_and_fifty_groups_take_no_message_ten_minutes_and_all_are_locked(
    locking: Chain, seconds: int
) -> None:
    groups = many_groups(locking, seconds)
    locking.spend("1000", DAY)
    locking.tonight()
    assert longest_work(locking) < timedelta(minutes=9)
    assert all(is_locked(locking, group) for group in groups)
    assert len(to_contacts(locking)) == 1
    assert set(outcomes(locking)) == {Outcome.LOCKED}


@pytest.mark.parametrize("seconds", [9, 40])
def test_a_slow_azure_and_fifty_groups_are_unlocked_part_by_part(locking: Chain, seconds: int) -> None:
    groups = many_groups(locking, 0)
    used(locking, "1000")
    many_groups(locking, seconds)
    locking.queues.send(Queue.LOCK, UNLOCK_ORDER)
    assert longest_work(locking) < timedelta(minutes=9)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.UNLOCKED]
    assert not any(is_locked(locking, group) for group in groups)


def test_a_message_that_comes_again_after_all_was_done_hands_on_what_was_not_sent(locking: Chain) -> None:
    used(locking, "900")
    azure_shows(locking, "1000")
    first = locking.work(Queue.LOCK, to_json(ALERT), "the-same")
    locking.queues.take()  # the process died before the mail was queued
    again = locking.work(Queue.LOCK, to_json(ALERT), "the-same")
    assert only(EmailMessage, again) == only(EmailMessage, first) != []
    locking.drain()
    assert outcomes(locking) == [Outcome.LOCKED]


# --- unlocking -----------------------------------------------------------------------------------------------


def test_a_budget_raised_above_the_usage_takes_the_lock_off_and_tells_the_contacts(locking: Chain) -> None:
    used(locking, "1000")
    locking.load(entry(amount="1500"))
    used(locking, "1000")
    assert locks_on(locking) == []
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.UNLOCKED]
    assert audit(locking)[-1].entry.reason == "the budget was raised: 1,000.00 of 1,500.00 CAD is used"
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
    assert [subject.rpartition(" is ")[2] for subject in locking.subjects()] == ["being locked", "locked"]


def test_after_a_refund_what_was_spent_counts_for_three_days(locking: Chain) -> None:
    used(locking, "1000")
    for _ in range(2):
        locking.clock.forward(days=1)
        used(locking, "900")
        assert is_locked(locking)
    locking.clock.forward(days=1)
    used(locking, "900")
    assert not is_locked(locking)
    assert audit(locking)[-1].entry.reason == "it has not been at 100 % for three days: 900.00 of 1,000.00 CAD is used"


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


def test_a_group_that_goes_to_another_project_is_opened_while_the_first_stays_locked(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    locking.load(entry(), entry(12, groups=("rg-second",)))
    used(locking, "1010")
    assert is_locked(locking)
    assert not is_locked(locking, SECOND)
    assert "taken off rg-second" in audit(locking)[-1].entry.reason


def test_a_lock_that_cant_be_taken_off_a_lost_group_now_is_remembered(locking: Chain) -> None:
    locking.load(entry(groups=("rg-11", "rg-second")))
    locking.azure_locks.add_group(SECOND)
    used(locking, "1000")
    locking.load(entry())
    locking.azure_locks.fails = lambda call, _group: NeverError("no role") if call == "delete" else None
    used(locking, "1010")
    locking.azure_locks.fails = lambda _call, _group: None
    send(locking, UNLOCK_ORDER)
    assert not is_locked(locking)
    assert not is_locked(locking, SECOND)


def test_an_operators_order_on_a_locked_project_is_written_down_and_keeps_it_locked(locking: Chain) -> None:
    used(locking, "1000")
    send(locking, ORDER)
    assert [(view.entry.outcome, view.entry.by) for view in audit(locking)] == [
        (Outcome.LOCKED, None),
        (Outcome.LOCKED, "olga"),
    ]
    locking.load(entry(amount="9000"))
    used(locking, "1000")
    assert is_locked(locking)


def test_the_note_of_a_lock_by_hand_says_the_operators_reason(locking: Chain) -> None:
    send(locking, ORDER)
    assert "an operator ordered it: security" in locks_on(locking)[0].notes


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
    locking.configure(lock_mode=LockMode.DRY_RUN)
    locking.load(entry(amount="5000"))
    used(locking, "1000")
    assert is_locked(locking)
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.WOULD_UNLOCK]


def test_a_check_that_asks_to_unlock_once_more_leaves_no_row(locking: Chain) -> None:
    used(locking, "1000")
    locking.load(entry(amount="5000"))
    for _ in range(2):
        send(locking, LockMessage(LockAction.UNLOCK, 11, trigger=LockTrigger.CHECK))
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.UNLOCKED]


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
    [letter] = locking.letters.letters()
    assert said in letter.reason
    assert letter.queue == Queue.LOCK
    assert outcomes(locking) == []


@pytest.mark.parametrize("acronym", ["DIE 1", "Été", "ŻÓŁĆ😀", "die.1", "x" * 50, "a/../b", "P_1-x"])
def test_an_alert_of_a_budget_in_any_case_finds_its_project_whatever_its_acronym_holds(
    locking: Chain, acronym: str
) -> None:
    locking.load(entry(12, acronym=acronym), entry(13, acronym=f"{acronym[:-1]}'"))
    for name in (azure_name(acronym), azure_name(acronym).upper(), f" {azure_name(acronym)} "):
        send(locking, replace(ALERT, budget_name=name))
    assert locking.letters.letters() == []
    assert {view.entry.project_id for view in locking.lock_ledger.decisions()} == {12}


@pytest.mark.parametrize(
    ("name", "subscription"),
    [
        *(
            (name, SUBSCRIPTION)
            for name in ("warden-p13", "p11", "warden-", "warden-p11/../warden-p12", "P11", "warden-p%")
        ),
        ("warden-p11", OTHER_SUBSCRIPTION),
    ],
)
def test_an_alert_of_another_name_or_in_another_subscription_finds_nobody(
    locking: Chain, name: str, subscription: str
) -> None:
    locking.load(entry(13, groups=("rg-elsewhere",), subscription=OTHER_SUBSCRIPTION))
    send(locking, replace(ALERT, budget_name=name, subscription_id=subscription))
    assert f"there is no project with the Azure budget {name}" in locking.letters.letters()[0].reason
    assert locking.lock_ledger.decisions() == []


def test_a_message_dropped_by_hand_is_verified_like_any_other(locking: Chain) -> None:
    used(locking, "10")
    locking.work(Queue.LOCK, '{"projectid": "11", "ACTION": "Lock", "Reason": "by hand"}')
    assert outcomes(locking) == [Outcome.REFUSED]
    assert audit(locking)[0].entry.asked == "by hand"


# --- a reading that was wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("azure_showed", "stays"),
    [((), False), (("1400",), True), (("1400", "1050"), False), (("1400", "800"), False), (("1050", "1400"), True)],
)
def test_a_wrong_reading_of_ours_does_not_keep_a_raised_project_locked_and_what_azure_showed_last_does(
    locking: Chain, azure_showed: tuple[str, ...], stays: bool
) -> None:
    used(locking, "1400")
    for spent in azure_showed:
        azure_shows(locking, spent)
        send(locking, ALERT)
    used(locking, "300")
    assert is_locked(locking), "corrected costs alone take no lock off"
    locking.load(entry(amount="1100"))
    used(locking, "300")
    assert is_locked(locking) is stays
    assert outcomes(locking) == [Outcome.LOCKED, Outcome.LOCKED if stays else Outcome.UNLOCKED]


def test_where_azures_alert_has_locked_the_night_tells_nothing_more(locking: Chain) -> None:
    azure_shows(locking, "1000")
    send(locking, ALERT)
    told = locking.subjects()
    assert [subject for subject in told if "locked" in subject] == told
    assert len(told) == 1
    used(locking, "1000")
    assert locking.subjects() == told


def test_a_rehearsal_never_says_to_lock_all_projects(locking: Chain) -> None:
    locking.configure(lock_mode=LockMode.DRY_RUN)
    used(locking, "1000")
    (notice,) = [mail for mail in locking.mailer.sent if mail.to == ("ops@example.com",)]
    assert "to enforce" not in notice.text
    assert "write never into the column lock" in notice.text
