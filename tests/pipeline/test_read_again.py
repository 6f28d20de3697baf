"""`run --since`: what was read is read again, since somebody says so."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal

import pytest

from shared.domain.periods import Period
from shared.messages import Queue, UpdateMessage
from shared.ports.errors import NeverError
from shared.services.errors import RequestError
from tests.pipeline.conftest import APRIL, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry, only

TODAY = date(2026, 11, 20)
# A month that no night reads any more.
LONG_AGO = TODAY - timedelta(days=100)
SINCE = LONG_AGO.isoformat()


@pytest.fixture
def known(chain: Chain) -> Chain:
    """A chain that has read a project from April on: 10 a month."""
    chain.load(entry(11, "100", rule=APRIL), entry(21, rule=APRIL, subscription=OTHER_SUBSCRIPTION))
    for month in range(4, 12):
        chain.spend("4" if month == LONG_AGO.month else "10", date(2026, month, 1))
    chain.spend("6", LONG_AGO)
    chain.night()
    chain.clock.forward(hours=10)
    chain.costs.queries.clear()
    return chain


def lacks(chain: Chain) -> list[str]:
    view = chain.projects.get(11, chain.clock().date())
    assert view is not None
    return [str(gap) for gap in view.gaps]


def again(chain: Chain, **only_of: str) -> None:
    chain.clock.forward(minutes=1)
    chain.run_now(since=SINCE, **only_of)
    chain.drain()


def next_night(chain: Chain) -> None:
    chain.clock.forward(days=1)
    chain.night()


def test_a_charge_of_100_days_ago_that_was_restated_is_right_and_what_it_means_is_told(known: Chain) -> None:
    known.spend("36", LONG_AGO)
    next_night(known)
    used_up = "[P11] 100 % of the budget reached"
    assert (known.spent(), used_up in known.subjects()) == (Decimal(80), False)
    again(known)
    assert (known.spent(), used_up in known.subjects()) == (Decimal(110), True)
    run = known.runs.recent_runs(1)[0]
    assert (run.trigger, run.state, sum(run.scopes.values())) == ("manual", "done", 2)
    assert lacks(known) == []


def test_it_reads_from_that_day_on_up_to_today_of_what_was_named(known: Chain) -> None:
    months = [Period(LONG_AGO, date(2026, 9, 1)), *(Period(date(2026, m, 1), date(2026, m + 1, 1)) for m in (9, 10))]
    months.append(Period(date(2026, 11, 1), TODAY + timedelta(days=1)))
    for named, accounts, groups in (
        ({}, {SUBSCRIPTION, OTHER_SUBSCRIPTION}, ()),
        ({"subscription": f" {SUBSCRIPTION.upper()}"}, {SUBSCRIPTION}, ()),
        ({"project": "p21"}, {OTHER_SUBSCRIPTION}, ("rg-21",)),
        ({"project": "11"}, {SUBSCRIPTION}, ("rg-11",)),
    ):
        known.costs.queries.clear()
        again(known, **named)
        asked = sorted((each.sub_account_id, each.window.start, each.window.end) for each in known.costs.queries)
        assert asked == sorted((account, each.start, each.end) for account in accounts for each in months)
        assert {each.resource_groups for each in known.costs.queries} == {groups}


def test_without_a_day_it_reads_what_is_due_of_what_was_named(known: Chain) -> None:
    known.run_now(subscription=SUBSCRIPTION)
    known.drain()
    assert {(each.sub_account_id, each.window.start) for each in known.costs.queries} == {
        (SUBSCRIPTION, date(2026, 10, 17)),
        (SUBSCRIPTION, date(2026, 11, 1)),
    }


def test_a_month_that_can_not_be_read_again_stays_as_good_as_it_was(known: Chain) -> None:
    known.costs.fails = lambda query: NeverError("Azure says no (400)") if query.window.start == LONG_AGO else None
    again(known, subscription=SUBSCRIPTION)
    assert (known.spent(), lacks(known)) == (Decimal(80), [])
    run = known.runs.recent_runs(1)[0]
    assert run.errors == ((f"subscription {SUBSCRIPTION}", "August 2026 could not be read: Azure says no (400)"),)


def test_a_month_that_comes_back_empty_is_not_believed_at_once_and_asked_for_until_it_is_sure(known: Chain) -> None:
    kept = dict(known.costs.charges)
    known.costs.charges = {key: amount for key, amount in kept.items() if key[2].month != 8}
    doubted = [f"August 2026 of {SUBSCRIPTION} came without any charge, which is not believed yet"]
    again(known, subscription=SUBSCRIPTION)
    assert (known.spent(), lacks(known)) == (Decimal(80), doubted)
    next_night(known)
    assert (known.spent(), lacks(known)) == (Decimal(80), doubted)
    known.costs.charges = kept
    next_night(known)
    assert (known.spent(), lacks(known)) == (Decimal(80), [])


def test_an_empty_month_is_believed_the_third_night_and_waited_for_as_long_as_any(known: Chain) -> None:
    kept = dict(known.costs.charges)
    known.costs.charges = {key: amount for key, amount in kept.items() if key[2].month != 8}
    again(known, subscription=SUBSCRIPTION)
    next_night(known)
    next_night(known)
    assert (known.spent(), lacks(known)) == (Decimal(70), [])
    known.costs.charges = kept
    next_night(known)
    assert (known.spent(), lacks(known)) == (Decimal(80), [])


def test_a_month_that_came_back_empty_and_then_can_not_be_read_is_asked_for_until_it_can(known: Chain) -> None:
    kept = dict(known.costs.charges)
    known.costs.charges = {key: amount for key, amount in kept.items() if key[2].month != 8}
    again(known, subscription=SUBSCRIPTION)
    known.costs.fails = lambda _query: NeverError("Azure says no (403)")
    next_night(known)
    assert "could not be read: Azure says no (403)" in lacks(known)[0]
    known.costs.charges, known.costs.fails = kept, lambda _query: None
    next_night(known)
    assert (known.spent(), lacks(known)) == (Decimal(80), [])


def test_a_lost_message_is_sent_again_with_its_days(known: Chain) -> None:
    known.run_now(since=SINCE, project="P11")
    known.queues.take()
    known.clock.forward(hours=1)
    (message,) = only(UpdateMessage, known.look())
    assert (message.project_id, message.left) == (11, Period(LONG_AGO, TODAY + timedelta(days=1)))
    known.drain()
    assert known.runs.recent_runs(1)[0].state == "done"
    assert {each.window.start for each in known.costs.queries} >= {LONG_AGO}


def test_a_run_after_it_waits_until_the_quota_has_room_for_both(known: Chain) -> None:
    """4 months of each of two accounts are 8 units; 8 more are not had in the same 10 seconds."""
    known.clock.forward(hours=2)
    known.run_now(since=SINCE)
    known.clock.forward(seconds=1)
    known.run_now(since="2026-04-01", project="P11")
    waits = [delay.total_seconds() for _queue, _text, delay in known.queues.take()]
    assert waits[:2] == [0, 0]
    assert waits[2] >= 9


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"since": "2026-11-21"}, "2026-11-21 is in the future; name a day up to today, 2026-11-20"),
        ({"since": "2025-10-19"}, "the earliest day is 2025-10-20"),
        ({"since": "2025-10-19", "project": "11"}, "the earliest day is 2025-10-20"),
        ({"since": "yesterday"}, "'yesterday' is no date; write year-month-day"),
        ({"subscription": "north"}, "'north' is no subscription's id"),
        ({"subscription": "6f1c0d5e-0000-4000-8000-00000000000a"}, "has no active project"),
        ({"project": "nobody"}, "there is no project nobody"),
        ({"project": "P12"}, "project P12 is not active"),
        ({"subscription": SUBSCRIPTION, "project": "P11"}, "name a subscription or a project, not both"),
    ],
)
def test_what_can_not_be_right_is_said_and_starts_no_run(chain: Chain, wish: dict[str, str], sentence: str) -> None:
    chain.load(entry(11), entry(12, active=False))
    with pytest.raises(RequestError, match=sentence):
        chain.run_now(**{"since": SINCE} | wish)
    assert (chain.runs.recent_runs(5), chain.queues.take()) == ([], [])


def test_the_day_that_is_as_long_ago_as_costs_can_be_asked_for_is_taken(chain: Chain) -> None:
    chain.load(entry(11))
    chain.run_now(since="2025-10-20")
    chain.drain()
    assert min(each.window.start for each in chain.costs.queries) == date(2025, 10, 20)


@pytest.mark.parametrize("fault", ["came without any charge", "could not be read"])
def test_a_day_that_is_read_again_makes_no_month_good_whose_others_are_not(chain: Chain, fault: str) -> None:
    chain.load(entry(11))
    for day in range(1, 21):
        chain.spend("10", date(2026, 11, day))
    chain.night()
    chain.clock.forward(days=1)
    charges, chain.costs.charges = chain.costs.charges, {}
    if fault == "could not be read":
        chain.costs.fails = lambda _query: NeverError("Azure refuses it (400)")
    chain.night()
    chain.costs.charges, chain.costs.fails = charges, lambda _query: None
    chain.spend("900", date(2026, 11, 3))
    chain.clock.forward(hours=3)
    chain.run_now(since="2026-11-20")
    chain.drain()
    (gap,) = lacks(chain)
    assert fault in gap
    next_night(chain)
    assert (chain.spent(), lacks(chain)) == (Decimal(1090), [])


def test_what_was_taken_for_gone_is_waited_for_though_half_of_it_is_read_by_hand(chain: Chain) -> None:
    chain.load(entry(11, rule=APRIL))
    for day in (date(2026, 9, 1), date(2026, 10, 5), date(2026, 10, 20), date(2026, 11, 1)):
        chain.spend("100", day)
    whole = chain.costs.charges
    chain.costs.charges = {key: cost for key, cost in whole.items() if key[2].month != 10}
    for _ in range(3):
        chain.night()
        chain.clock.forward(days=1)
    chain.costs.charges = whole
    chain.run_now(since="2026-10-13")
    chain.drain()
    next_night(chain)
    assert (chain.spent(), lacks(chain)) == (Decimal(400), [])


def test_rows_that_were_set_aside_stay_so_where_other_days_are_read_again(chain: Chain) -> None:
    chain.load(entry(11))
    for day in (1, 3, 12, 19):
        chain.spend("10", date(2026, 11, day))
    chain.costs.odd = {"rg-11": "a row has no cost"}
    chain.night()
    chain.costs.odd = {}
    chain.clock.forward(hours=2)
    body = {"SubscriptionId": SUBSCRIPTION, "Since": "2026-11-01", "Before": "2026-11-05"}
    chain.work(Queue.UPDATE, json.dumps(body))
    chain.drain()
    assert lacks(chain) == [f"November 2026 of {SUBSCRIPTION} could not be read: a row has no cost"]
    next_night(chain)
    assert lacks(chain) == []
