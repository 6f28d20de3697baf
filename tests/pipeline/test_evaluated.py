"""Azure's figure is of its last evaluation; after a change of what the budget counts, it is doubtful until the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.locks import LockMode, Outcome
from shared.messages import BudgetSyncMessage, Queue, to_json
from shared.pipeline.azure_budgets.evaluated import counts_of, doubtful_until, looked_at, written
from shared.ports.azure import AzureBudget, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.pipeline.conftest import ACTION_GROUP, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.pipeline.test_lock import (
    ALERT,
    DAY,
    SECOND,
    audit,
    is_locked,
    locking,
    outcomes,
    rounds,
    send,
    to_operators,
    used,
)
from tests.subjects import short

__all__ = ["locking"]

KEY = (SUBSCRIPTION, "warden-p11")
BOTH = ("rg-11", "rg-second")
NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
BUDGET = AzureBudget(
    "Warden-P11", Decimal(1000), "Monthly", date(2026, 11, 1), date(2036, 10, 31), ("rg-11",), {}, currency="CAD"
)


def shows(chain: Chain, spent: str | None, **changes: object) -> None:
    """Azure has evaluated the budget, or someone has changed it."""
    spend = None if spent is None else Decimal(spent)
    chain.azure_budgets.budgets[KEY] = replace(chain.azure_budgets.budgets[KEY], current_spend=spend, **changes)


def sync(chain: Chain, subscription: str = SUBSCRIPTION) -> None:
    chain.work(Queue.LOCK, to_json(BudgetSyncMessage(subscription)))
    chain.drain()


def days(chain: Chain, number: int) -> None:
    """Days on which the watchdog looks, and nothing else happens."""
    for _ in range(number):
        chain.clock.forward(days=1)
        chain.look()
        chain.drain()


@pytest.fixture
def counted(locking: Chain) -> Chain:
    """Project 11 with two groups, at 10 of 1000; its Azure budget was evaluated long ago."""
    locking.configure(lock_action_group_id=ACTION_GROUP, lock_mode=LockMode.ENFORCE)
    locking.load(entry(groups=BOTH), entry(12))
    for group in (SECOND, ResourceGroup(SUBSCRIPTION, "rg-12")):
        locking.azure_locks.add_group(group)
    used(locking, "10")
    sync(locking)
    locking.clock.forward(days=3)
    shows(locking, "900")
    sync(locking)
    return locking


def test_after_a_group_has_left_azures_figure_is_that_of_both_until_it_evaluates_again(counted: Chain) -> None:
    shows(counted, "1400")
    counted.load(entry(), entry(12, groups=("rg-12", "rg-second")))
    send(counted, ALERT)
    assert not is_locked(counted), "it counts a group that is not the project's any more"
    sync(counted)
    send(counted, ALERT)
    assert not is_locked(counted), "it shows what it counted before"
    assert audit(counted)[-1].entry.figures["azure_unknown"].startswith("Azure may not have evaluated its budget since")
    shows(counted, "1401")
    counted.clock.forward(hours=1)
    send(counted, ALERT)
    assert not is_locked(counted), "an evaluation that had begun before has ended"
    shows(counted, "300")
    days(counted, 3)
    send(counted, ALERT)
    assert "300.00 of 1,000.00" in audit(counted)[-1].entry.reason
    shows(counted, "1000")
    send(counted, ALERT)
    assert is_locked(counted)


def test_a_figure_that_stays_the_same_counts_after_two_days(counted: Chain) -> None:
    shows(counted, "1400")
    counted.load(entry(), entry(12, groups=("rg-12", "rg-second")))
    sync(counted)
    send(counted, ALERT)
    days(counted, 1)
    assert not is_locked(counted)
    days(counted, 1)
    assert is_locked(counted), "Azure calls but once; the watchdog looks again"


def test_what_someone_changes_by_hand_is_seen_and_doubted_too(counted: Chain) -> None:
    shows(counted, "1400", resource_groups=("rg-11",))
    send(counted, ALERT)
    assert not is_locked(counted)
    shows(counted, "1401", resource_groups=("rg-11",))
    send(counted, ALERT)
    assert not is_locked(counted)
    days(counted, 3)
    assert is_locked(counted)


def test_azures_figure_counts_for_nothing_where_a_group_that_left_had_brought_a_credit(counted: Chain) -> None:
    counted.spend("-300", DAY, "rg-second")
    used(counted, "1050")
    counted.load(entry(), entry(12, groups=("rg-12", "rg-second")))
    sync(counted)
    shows(counted, "1050")
    days(counted, 4)
    send(counted, ALERT)
    assert not is_locked(counted)
    assert "lacks the credit of a group" in str(audit(counted)[-1].entry.figures["azure_unknown"])
    counted.clock.forward(minutes=1)
    counted.spend("0", DAY, "rg-second")
    used(counted, "1050")
    assert is_locked(counted)


def test_a_raised_budget_makes_no_figure_doubtful(counted: Chain) -> None:
    counted.load(entry(amount="1200", groups=BOTH), entry(12))
    sync(counted)
    shows(counted, "1200")
    send(counted, ALERT)
    assert is_locked(counted)


@pytest.mark.parametrize("spent", [None, "0"])
def test_an_alert_of_a_budget_that_was_just_made_anew_is_looked_into_until_it_can_be_used(
    counted: Chain, spent: str | None
) -> None:
    counted.azure_budgets.budgets.pop(KEY)
    send(counted, ALERT)
    sync(counted)
    shows(counted, spent)
    days(counted, 1)
    assert not is_locked(counted)
    shows(counted, "1000")
    days(counted, 1)
    assert is_locked(counted)


def test_an_alert_of_a_renamed_project_finds_it_and_is_looked_into_after_the_next_sync(counted: Chain) -> None:
    shows(counted, "1000")
    counted.load(entry(groups=BOTH, acronym="NEW"), entry(12))
    send(counted, ALERT)
    assert counted.letters.letters() == []
    assert outcomes(counted) == [Outcome.REFUSED]
    assert "NEW was not locked" in to_operators(counted)
    sync(counted)
    new = (SUBSCRIPTION, "warden-new")
    counted.azure_budgets.budgets[new] = replace(counted.azure_budgets.budgets[new], current_spend=Decimal(1000))
    days(counted, 1)
    assert is_locked(counted)


@pytest.mark.parametrize("azure_is", ["well", "away", "refusing"])
def test_an_alert_of_a_budget_that_is_known_as_another_projects_is_that_ones_whoever_has_its_acronym_now(
    counted: Chain, azure_is: str
) -> None:
    shows(counted, "1000")
    counted.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-12"))
    counted.load(entry(acronym="PX", groups=BOTH), entry(12, acronym="P11"))
    away, refusing = LaterError("unwell (503)", timedelta(minutes=5)), NeverError("no permission")
    failure = {"well": None, "away": away, "refusing": refusing}[azure_is]
    counted.azure_budgets.fails = lambda _call, _name: failure
    counted.work(Queue.LOCK, to_json(ALERT))
    rounds(counted, 12, seconds=400)
    renamed, other = (counted.lock_ledger.facts(each, counted.clock()) for each in (11, 12))
    assert renamed is not None and other is not None
    assert (renamed.alerted_at is not None, other.alerted_at) == (azure_is == "well", None)
    assert counted.azure_locks.groups[SUBSCRIPTION, "rg-12"] == {}


def test_an_alert_that_never_can_be_used_is_looked_into_for_a_week(counted: Chain) -> None:
    shows(counted, "5000", resource_groups=("rg-other",))
    send(counted, ALERT)
    days(counted, 9)
    assert counted.lock_ledger.looks_due(counted.clock() + timedelta(days=999)) == []
    assert outcomes(counted) == [Outcome.REFUSED]


# --- what ends, ends once ------------------------------------------------------------------------------------


def leave(chain: Chain) -> None:
    """Both projects go to another subscription."""
    chain.load(entry(subscription=OTHER_SUBSCRIPTION), entry(12, subscription=OTHER_SUBSCRIPTION))


def test_the_budget_of_a_project_that_leaves_its_subscription_goes_too_and_is_told(counted: Chain) -> None:
    leave(counted)
    assert counted.budget_sync.subscriptions() == [SUBSCRIPTION, OTHER_SUBSCRIPTION]
    sync(counted)
    assert not [key for key in counted.azure_budgets.budgets if key[0] == SUBSCRIPTION]
    assert counted.budget_sync.subscriptions() == [OTHER_SUBSCRIPTION]
    (told,) = [mail for mail in counted.mailer.sent if short(mail.subject) == "Azure budgets were deleted"]
    assert "no project in this subscription has this budget" in told.text


def test_a_subscription_that_is_gone_with_its_budgets_is_given_up_and_told_once(counted: Chain) -> None:
    leave(counted)
    counted.azure_budgets.fails = lambda _call, _name: NeverError("There is no such subscription.")
    sync(counted)
    assert counted.budget_sync.subscriptions() == [OTHER_SUBSCRIPTION]
    assert to_operators(counted).count("Azure budgets are not in step") == 1


def test_a_subscription_whose_budgets_can_not_be_read_is_told_with_its_projects(counted: Chain) -> None:
    counted.azure_budgets.fails = lambda _call, _name: NeverError("no permission")
    sync(counted)
    (told,) = [mail for mail in counted.mailer.sent if short(mail.subject) == "Azure budgets are not in step"]
    assert f"in subscription {SUBSCRIPTION} (P11, P12) could not be brought into step" in told.text


def test_a_budget_in_another_currency_than_its_subscriptions_is_made_and_deleted_once(locking: Chain) -> None:
    locking.configure(lock_action_group_id=ACTION_GROUP, lock_mode=LockMode.ENFORCE)
    locking.load(entry(currency="USD"))
    for _ in range(5):
        sync(locking)
        locking.clock.forward(days=1)
    assert locking.azure_budgets.writes == [("put", "warden-p11"), ("delete", "warden-p11")]
    assert locking.azure_budgets.currency == "CAD"
    assert to_operators(locking).count("Azure budgets were deleted") == 1


# --- the rules -----------------------------------------------------------------------------------------------

spends = st.none() | st.sampled_from([Decimal(0), Decimal(10), Decimal("10.00000000001"), Decimal(10) ** 30])
counts = st.sampled_from([("rg-11",), ("RG-11",), ("rg-11", "rg-2"), None])


@given(spends, counts, spends, counts, st.integers(0, 72))
def test_a_figure_counts_only_where_it_is_of_what_is_counted_now(
    before: Decimal | None, groups: tuple[str, ...], after: Decimal | None, changed: tuple[str, ...], hours: int
) -> None:
    first = replace(BUDGET, current_spend=before, resource_groups=groups)
    put = written(first, None, 11, NOW)
    assert doubtful_until(put) == date(2026, 11, 23)
    seen = looked_at(
        put, replace(first, current_spend=after, resource_groups=changed), 11, NOW + timedelta(hours=hours)
    )
    same = counts_of(first) == counts_of(replace(first, resource_groups=changed))
    assert seen.is_evaluated is (same and (bool(after) or hours >= 48))


@given(spends, spends, st.integers(0, 72))
def test_what_a_changed_budget_shows_counts_two_days_later_whatever_it_showed_before(
    before: Decimal | None, after: Decimal | None, hours: int
) -> None:
    found = replace(BUDGET, current_spend=before)
    put = written(BUDGET, found, 11, NOW)
    seen = looked_at(put, replace(BUDGET, current_spend=after), 11, NOW + timedelta(hours=hours))
    assert seen.is_evaluated is (hours >= 48)
    by_hand = looked_at(put, replace(BUDGET, current_spend=after, resource_groups=("rg-2",)), 11, NOW)
    later = looked_at(by_hand, replace(BUDGET, current_spend=before, resource_groups=("rg-2",)), 11, NOW)
    assert (by_hand.is_evaluated, later.is_evaluated) == (False, False)


def test_a_budget_that_was_never_seen_has_counted_the_same_for_long() -> None:
    assert doubtful_until(looked_at(None, BUDGET, 11, NOW)) is None


def test_an_amount_a_name_and_an_end_change_nothing_of_what_is_counted() -> None:
    other = replace(BUDGET, amount=Decimal(5), name="x", last_day=date(2030, 1, 31), time_grain="MONTHLY")
    assert counts_of(other) == counts_of(BUDGET)
    for change in ({"first_day": date(2026, 10, 1)}, {"time_grain": "Annually"}, {"resource_groups": None}):
        assert counts_of(replace(BUDGET, **change)) != counts_of(BUDGET)
