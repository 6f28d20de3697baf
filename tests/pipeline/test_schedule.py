"""ProjectUsageScheduler: opens a run and sends one update message a subscription, paced."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import date, timedelta

import pytest

from shared.messages import BudgetSyncMessage, Message, Queue, parse_lock
from shared.ports.errors import LaterError
from tests.pipeline.conftest import ACTION_GROUP, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry


def subscriptions(chain: Chain, count: int) -> None:
    names = [str(uuid.UUID(int=number + 1)) for number in range(count)]
    chain.load(*(entry(number + 1, subscription=name) for number, name in enumerate(names)))


def test_each_subscription_with_active_projects_gets_one_message(chain: Chain) -> None:
    chain.load(entry(1), entry(2), entry(3, subscription=str(uuid.UUID(int=3)), active=False))
    assert chain.tonight() == 1
    ((queue, text, delay),) = chain.queues.sent
    assert queue is Queue.UPDATE
    assert delay == timedelta(0)
    assert json.loads(text) == {
        "SubscriptionId": SUBSCRIPTION,
        "RunId": "night-2026-11-20",
        "FirstQueuedAt": "2026-11-20T02:00:00+00:00",
    }


def test_a_second_firing_of_the_same_night_sends_nothing_again(chain: Chain) -> None:
    subscriptions(chain, 3)
    assert chain.tonight() == 3
    chain.clock.forward(minutes=10)
    assert chain.tonight() == 0
    assert len(chain.runs.recent_runs(5)) == 1


def test_a_second_firing_sends_what_a_crash_left_unsent(chain: Chain) -> None:
    subscriptions(chain, 5)

    def failing_at_the_third() -> Exception | None:
        return LaterError("the queues can't be reached") if len(chain.queues.sent) == 2 else None

    chain.queues.fails = failing_at_the_third
    with pytest.raises(LaterError):
        chain.tonight()
    first = {json.loads(text)["SubscriptionId"] for _, text, _ in chain.queues.take()}
    chain.queues.fails = lambda: None
    assert chain.tonight() == 3
    second = {json.loads(text)["SubscriptionId"] for _, text, _ in chain.queues.sent}
    assert len(first | second) == 5
    assert not first & second


def test_messages_are_spread_so_that_the_minutes_share_is_kept(chain: Chain) -> None:
    subscriptions(chain, 40)
    chain.tonight()
    # Two calendar months each.
    delays = sorted(delay.total_seconds() for _, _, delay in chain.queues.sent)
    assert delays[:5] == [0] * 5, "ten units fit into Azure's shortest window"
    assert max(sum(2 for other in delays if delay <= other < delay + 60) for delay in delays) <= 50


def test_the_hours_share_is_kept(chain: Chain) -> None:
    subscriptions(chain, 30)
    chain.costs.quota = replace(chain.costs.quota, units_per_hour=20)
    chain.tonight()
    delays = [delay.total_seconds() for _, _, delay in chain.queues.sent]
    assert max(sum(2 for other in delays if delay <= other < delay + 3600) for delay in delays) <= 20


def test_a_run_by_hand_has_a_key_of_its_own(chain: Chain) -> None:
    subscriptions(chain, 2)
    chain.tonight()
    key, sent = chain.run_now()
    assert sent == 2
    assert key == "manual-2026-11-20T02-00-00.000000"
    assert {run.key for run in chain.runs.recent_runs(5)} == {"night-2026-11-20", key}


def test_a_night_without_projects_is_done_at_once(chain: Chain) -> None:
    assert chain.tonight() == 0
    (run,) = chain.runs.recent_runs(1)
    assert run.state == "done"


def test_the_next_night_is_another_run(chain: Chain) -> None:
    subscriptions(chain, 1)
    chain.night()
    chain.clock.forward(days=1)
    chain.night()
    assert [run.key for run in chain.runs.recent_runs(5)] == ["night-2026-11-21", "night-2026-11-20"]
    assert date(2026, 11, 21) == chain.clock().date()


# --- Azure's own budgets -------------------------------------------------------------------------------------


def synced(chain: Chain) -> list[tuple[Message, timedelta]]:
    """What is on the queue of locks since the last time, with its delay; all other queues are emptied too."""
    return [(parse_lock(text), delay) for queue, text, delay in chain.queues.take() if queue is Queue.LOCK]


def test_where_azure_s_budgets_are_kept_in_step_a_night_asks_for_that_once_a_subscription_and_later(
    chain: Chain,
) -> None:
    chain.load(entry(1), entry(2), entry(3, subscription=OTHER_SUBSCRIPTION.upper()))
    chain.configure(lock_action_group_id=ACTION_GROUP)
    assert chain.tonight() == 2, "what is counted are the subscriptions whose costs are read"
    assert synced(chain) == [
        (BudgetSyncMessage(each), timedelta(hours=2)) for each in (SUBSCRIPTION, OTHER_SUBSCRIPTION)
    ]


def test_a_subscription_whose_projects_are_not_active_any_more_is_kept_in_step_too(chain: Chain) -> None:
    """Their budgets are deleted there."""
    chain.load(entry(1, active=False))
    chain.configure(lock_action_group_id=ACTION_GROUP)
    assert chain.tonight() == 0
    assert [message.subscription_id for message, _ in synced(chain)] == [SUBSCRIPTION]


def test_a_run_by_hand_leaves_azure_s_budgets_as_they_are(chain: Chain) -> None:
    chain.load(entry(1))
    chain.configure(lock_action_group_id=ACTION_GROUP)
    chain.run_now()
    assert synced(chain) == []


def test_without_an_action_group_no_night_asks_for_azure_s_budgets(chain: Chain) -> None:
    chain.load(entry(1))
    chain.tonight()
    assert synced(chain) == []


def test_a_night_that_broke_off_before_it_asked_for_azure_s_budgets_asks_when_it_is_fired_again(chain: Chain) -> None:
    chain.load(entry(1))
    chain.configure(lock_action_group_id=ACTION_GROUP)
    chain.queues.fails = lambda: LaterError("the queues can't be reached") if chain.queues.sent else None
    with pytest.raises(LaterError):
        chain.tonight()
    assert synced(chain) == []
    chain.queues.fails = lambda: None
    assert chain.tonight() == 0
    assert len(synced(chain)) == 1


def test_what_a_night_asks_for_brings_the_budgets_of_its_projects_to_azure(chain: Chain) -> None:
    chain.load(entry(1), entry(2))
    chain.configure(lock_action_group_id=ACTION_GROUP)
    chain.tonight()
    chain.drain()
    assert sorted(name for _, name in chain.azure_budgets.budgets) == ["warden-p1", "warden-p2"]
