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


def begins(chain: Chain) -> list[timedelta]:
    """When the update messages sent since the last time can be taken, counted from now."""
    return [delay for queue, _, delay in chain.queues.take() if queue is Queue.UPDATE]


def most_in_a_minute(moments: list[timedelta]) -> int:
    """Query units, of which each subscription takes two."""
    minute = timedelta(minutes=1)
    return max(2 * sum(first <= moment < first + minute for moment in moments) for first in moments)


def broken_off(chain: Chain, after: int) -> list[timedelta]:
    """A night whose scheduler can't send any more after so many messages: when those can be taken."""
    unwell = LaterError("the queues can't be reached")
    chain.queues.fails = lambda: unwell if len(chain.queues.sent) == after else None
    with pytest.raises(LaterError):
        chain.tonight()
    chain.queues.fails = lambda: None
    return begins(chain)


def test_a_retried_scheduler_goes_on_where_its_plan_was(chain: Chain) -> None:
    subscriptions(chain, 120)
    first = broken_off(chain, after=60)
    chain.clock.forward(seconds=30)
    assert chain.tonight() == 60
    second = [timedelta(seconds=30) + delay for delay in begins(chain)]
    assert most_in_a_minute([*first, *second]) <= 50
    assert max([*first, *second]) <= timedelta(seconds=120 * 2.4 + 12), "and no later than without the disturbance"


def test_a_scheduler_retried_again_and_again_keeps_the_minute_s_share(chain: Chain) -> None:
    subscriptions(chain, 40)
    begun = []
    for attempt in range(4):
        begun += [timedelta(seconds=attempt) + delay for delay in broken_off(chain, after=8)]
        chain.clock.forward(seconds=1)
    chain.tonight()
    begun += [timedelta(seconds=4) + delay for delay in begins(chain)]
    assert len(begun) == 40
    assert most_in_a_minute(begun) <= 50


def test_a_run_by_hand_during_the_night_waits_for_what_is_on_its_way(chain: Chain) -> None:
    subscriptions(chain, 60)
    chain.tonight()
    night = begins(chain)
    chain.clock.forward(minutes=1)
    assert chain.run_now()[1] == 60
    by_hand = [timedelta(minutes=1) + delay for delay in begins(chain)]
    assert most_in_a_minute([*night, *by_hand]) <= 50
    assert max(by_hand) <= timedelta(seconds=2 * 60 * 2.4 + 24)


@pytest.mark.slow
def test_a_run_by_hand_after_the_night_keeps_the_hour_s_share(chain: Chain) -> None:
    subscriptions(chain, 240)
    chain.night()
    chain.clock.forward(minutes=20)
    assert chain.run_now()[1] == 240
    moments = begins(chain)
    # The night took 480 units of 500 in its first 12 minutes.
    assert sum(delay < timedelta(minutes=40) for delay in moments) == 10
    assert most_in_a_minute(moments) <= 50


def test_a_run_by_hand_when_nothing_is_on_its_way_begins_at_once(chain: Chain) -> None:
    subscriptions(chain, 20)
    chain.night()
    chain.clock.forward(hours=2)
    chain.run_now()
    assert begins(chain)[:5] == [timedelta(0)] * 5


# --- a night is an occurrence of its schedule ----------------------------------------------------------------


def keys(chain: Chain) -> list[str]:
    return [run.key for run in reversed(chain.runs.recent_runs(9))]


def test_a_night_that_is_fired_a_moment_early_is_that_day_s_and_runs_once(chain: Chain) -> None:
    subscriptions(chain, 1)
    chain.clock.forward(seconds=-1)
    assert chain.tonight() == 1
    chain.clock.forward(seconds=1)
    assert chain.tonight() == 0
    assert keys(chain) == ["night-2026-11-20"]


def test_a_late_evening_s_night_that_begins_past_midnight_takes_none_from_the_next_day(chain: Chain) -> None:
    chain.configure(schedule_usage="0 30 23 * * *")
    subscriptions(chain, 1)
    for hours, minutes in ((22, 10), (23, 20), (24, 0), (24, 0)):
        # Past midnight, on time, on time; then a day without any, and one an hour late.
        chain.clock.forward(hours=hours, minutes=minutes)
        assert chain.tonight() == 1
        assert chain.tonight() == 0
    chain.clock.forward(hours=49)
    assert chain.tonight() == 1
    assert keys(chain) == [f"night-2026-11-{day}" for day in (20, 21, 22, 23, 25)]


def test_an_early_firing_around_midnight_is_the_new_day_s(chain: Chain) -> None:
    chain.configure(schedule_usage="0 0 0 * * *")
    subscriptions(chain, 1)
    for step in (22 * 3600 - 1, 1, 24 * 3600, 24 * 3600 - 1):
        chain.clock.forward(seconds=step)
        chain.tonight()
    assert keys(chain) == ["night-2026-11-21", "night-2026-11-22", "night-2026-11-23"]


def test_two_nights_on_one_day_are_two_runs(chain: Chain) -> None:
    chain.configure(schedule_usage="0 0 2,14 * * *")
    subscriptions(chain, 1)
    for hours in (0, 12, 1, 11):
        chain.clock.forward(hours=hours)
        chain.tonight()
    assert keys(chain) == ["night-2026-11-20", "night-2026-11-20T14-00-00", "night-2026-11-21"]


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


def test_azure_s_budgets_follow_two_hours_after_the_end_of_a_long_night_s_plan(chain: Chain) -> None:
    subscriptions(chain, 500)
    chain.configure(lock_action_group_id=ACTION_GROUP)
    chain.tonight()
    last = max(delay for queue, _, delay in chain.queues.sent if queue is Queue.UPDATE)
    assert last > timedelta(hours=1)
    assert {delay for _, delay in synced(chain)} == {last + timedelta(hours=2)}


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
