"""ProjectUsageUpdater: reads costs, stores them, asks for the check."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.messages import Queue, ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery
from shared.ports.errors import LaterError, NeverError, NoCostsError, PauseError
from tests.pipeline.conftest import APRIL, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry
from tests.subjects import short

TODAY = date(2026, 11, 20)


def update(chain: Chain, **fields: object) -> None:
    chain.work(Queue.UPDATE, json.dumps(fields))


def sent_to(chain: Chain, queue: Queue) -> list[dict[str, object]]:
    return [json.loads(text) for name, text, _ in chain.queues.sent if name is queue]


@pytest.mark.parametrize("days", [1, 14, 35])
def test_a_night_reads_the_whole_month_before_until_that_is_closed_however_short_the_look_back(
    chain: Chain, days: int
) -> None:
    chain.configure(lookback_days=days)
    chain.load(entry(rule=APRIL))
    for month in range(4, 12):
        chain.spend("10", date(2026, month, 5))
    for day in range(20, 31):
        chain.clock.now = datetime(2026, 11, day, 2, tzinfo=UTC)
        chain.night()
    chain.clock.now = datetime(2026, 12, 4, 2, tzinfo=UTC)
    chain.spend("500", date(2026, 11, 1))
    chain.night()
    assert chain.spent() == Decimal(580)
    chain.configure(lookback_days=50)
    assert chain.asking.lookback(chain.costs) == 50


def test_a_source_that_closes_its_months_later_has_a_longer_look_back(chain: Chain) -> None:
    chain.configure(lookback_days=7)
    assert chain.asking.lookback(chain.costs) == 35
    chain.costs.month_closed_on = 10
    assert chain.asking.lookback(chain.costs) == 40


def test_a_night_reads_the_lookback_window_split_at_the_month_end(chain: Chain) -> None:
    chain.load(entry())
    update(chain, SubscriptionId=SUBSCRIPTION)
    assert [query.window for query in chain.costs.queries] == [
        Period(date(2026, 11, 1), date(2026, 11, 21)),
        Period(date(2026, 10, 17), date(2026, 11, 1)),
    ]
    assert all(query.resource_groups == () for query in chain.costs.queries)


def test_all_projects_of_the_subscription_are_handed_on_in_one_message(chain: Chain) -> None:
    chain.load(*(entry(number) for number in range(1, 51)))
    update(chain, SubscriptionId=SUBSCRIPTION)
    (message,) = sent_to(chain, Queue.NOTIFICATION)
    assert message["ProjectIds"] == list(range(1, 51))


def test_a_message_by_hand_reads_only_the_groups_of_its_project(chain: Chain) -> None:
    chain.load(entry(11, groups=("rg-a", "rg-b")), entry(12))
    chain.spend("5", TODAY, "RG-A")
    chain.spend("7", TODAY, "rg-12")
    update(chain, ProjectId=11)
    assert {query.resource_groups for query in chain.costs.queries} == {("rg-a", "rg-b")}
    assert (chain.spent(11), chain.spent(12)) == (Decimal(5), Decimal(0))
    assert [message["ProjectId"] for message in sent_to(chain, Queue.NOTIFICATION)] == [11]


def test_a_message_by_hand_may_name_one_group_in_any_case(chain: Chain) -> None:
    chain.load(entry(11, groups=("fsdh_proj_die1_dev_rg", "rg-b")))
    update(chain, ProjectId=11, ResourceGroup="FSDH_Proj_DIE1_dev_RG")
    assert {query.resource_groups for query in chain.costs.queries} == {("fsdh_proj_die1_dev_rg",)}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ProjectId": 99}, "there is no project 99"),
        ({"ProjectId": 11, "ResourceGroup": "rg-12"}, "is not project P11's; its groups are: rg-11"),
        ({"ProjectAcronym": "p11", "ResourceGroup": "rg-12"}, "is not project P11's"),
        ({"ProjectAcronym": "P13"}, "project P13 is not active"),
        ({"ProjectId": 13}, "project P13 is not active"),
        ({"SubscriptionId": OTHER_SUBSCRIPTION}, "has no active project"),
        ({"ProjectId": -1}, "ProjectId is -1"),
        ({"ProjectId": 10**30}, "it has to be a whole number from 1 to"),
    ],
)
def test_what_cannot_be_right_becomes_a_dead_letter_that_says_what_would_be(
    chain: Chain, fields: dict[str, object], said: str
) -> None:
    chain.load(entry(11), entry(12), entry(13, active=False))
    update(chain, **fields)
    (letter,) = chain.letters.letters()
    assert said in letter.reason
    assert json.loads(letter.body) == fields
    assert chain.queues.sent == []
    assert chain.costs.queries == []


def test_a_new_project_is_read_back_to_the_start_of_its_period_once(chain: Chain) -> None:
    chain.load(entry(rule=APRIL))
    for month in range(4, 12):
        chain.spend("1", date(2026, month, 1))
    chain.night()
    assert chain.spent() == Decimal(8)
    days = {day for query in chain.costs.queries for day in days_of(query)}
    assert days == {date(2026, 4, 1) + timedelta(days=n) for n in range((TODAY - date(2026, 4, 1)).days + 1)}
    chain.costs.queries.clear()
    chain.clock.forward(days=1)
    chain.night()
    assert min(query.window.start for query in chain.costs.queries) == date(2026, 10, 18)


def test_reading_back_goes_on_in_further_messages_and_the_check_waits_for_the_last(chain: Chain) -> None:
    chain.load(entry(rule=APRIL))
    update(chain, SubscriptionId=SUBSCRIPTION, RunId="night-2026-11-20")
    months = []
    for _ in range(4):
        months.append([query.window.start.month for query in chain.costs.queries])
        chain.costs.queries.clear()
        ((queue, text, delay),) = chain.queues.take()
        if queue is Queue.UPDATE:
            assert delay == timedelta(seconds=2.4)
            chain.work(queue, text)
    assert months == [[11, 10], [9, 8], [7, 6], [5, 4]]
    assert queue is Queue.NOTIFICATION


def test_a_message_that_comes_again_in_the_middle_of_reading_back_reads_nothing_twice(chain: Chain) -> None:
    chain.load(entry(rule=APRIL))
    body = json.dumps({"SubscriptionId": SUBSCRIPTION, "RunId": "night-1"})
    for _ in range(6):
        chain.work(Queue.UPDATE, body)
    chain.drain()
    assert [query.window.start.month for query in chain.costs.queries] == [11, 10, 9, 8, 7, 6, 5, 4]


def test_days_that_a_message_names_are_read_whatever_is_known_of_them(chain: Chain) -> None:
    chain.load(entry())
    chain.night()
    chain.costs.queries.clear()
    update(chain, SubscriptionId=SUBSCRIPTION, Since="2026-05-03", Before="2026-07-01")
    update(chain, SubscriptionId=SUBSCRIPTION, Since="2026-10-01", Before="9999-12-31", RunId="manual-1")
    assert [query.window for query in chain.costs.queries] == [
        Period(date(2026, 6, 1), date(2026, 7, 1)),
        Period(date(2026, 5, 3), date(2026, 6, 1)),
        Period(date(2026, 11, 1), date(2026, 11, 21)),
        Period(date(2026, 10, 1), date(2026, 11, 1)),
    ]


def test_a_throttled_message_goes_back_with_the_longest_wait_and_nothing_is_stored(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", TODAY)
    chain.costs.fails = lambda query: (
        LaterError("Azure is throttling us", timedelta(seconds=77)) if query.window.start.month == 11 else None
    )
    update(chain, SubscriptionId=SUBSCRIPTION, RunId="night-1")
    ((queue, text, delay),) = chain.queues.take()
    assert (queue, delay) == (Queue.UPDATE, timedelta(seconds=77))
    assert json.loads(text) | {"FirstQueuedAt": None} == {
        "SubscriptionId": SUBSCRIPTION,
        "RunId": "night-1",
        "Attempt": 1,
        "FirstQueuedAt": None,
    }
    assert chain.spent() == 0
    (run,) = chain.runs.recent_runs(1)
    assert run.errors == ((f"subscription {SUBSCRIPTION}", "Azure is throttling us"),)
    chain.costs.fails = lambda _query: None
    chain.work(queue, text)
    assert chain.spent() == Decimal(5)


def test_an_answer_that_broke_off_goes_on_where_it_did(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", TODAY)
    throttled = LaterError("Azure is throttling us", timedelta(seconds=77), progress=b"pages 1 to 4")
    chain.costs.fails = lambda _query: throttled
    update(chain, SubscriptionId=SUBSCRIPTION)
    ((queue, text, _),) = chain.queues.take()
    chain.costs.fails = lambda _query: None
    chain.work(queue, text)
    assert chain.costs.resumed == [None, b"pages 1 to 4", None]
    assert chain.spent() == Decimal(5)


def test_what_broke_off_long_ago_is_begun_anew(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: LaterError("throttled", timedelta(seconds=9), b"pages 1 to 4")
    update(chain, SubscriptionId=SUBSCRIPTION)
    ((queue, text, _),) = chain.queues.take()
    chain.costs.fails = lambda _query: None
    chain.clock.forward(hours=2, minutes=1)
    chain.work(queue, text)
    assert chain.costs.resumed == [None, None, None]


def test_a_month_that_was_read_before_azure_said_later_is_not_asked_for_again(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", TODAY)
    chain.spend("7", date(2026, 10, 20))
    throttled = LaterError("throttled", timedelta(seconds=77))
    chain.costs.fails = lambda query: throttled if query.window.start.month == 10 else None
    update(chain, SubscriptionId=SUBSCRIPTION, RunId="night-1")
    ((queue, text, _),) = chain.queues.take()
    assert queue is Queue.UPDATE, "the check waits until all has been read"
    chain.costs.fails = lambda _query: None
    chain.work(queue, text)
    assert [query.window.start.month for query in chain.costs.queries] == [11, 10, 10]
    assert len(sent_to(chain, Queue.NOTIFICATION)) == 1
    known = chain.charges.account(AZURE, SUBSCRIPTION).known
    assert [(each.read_from, each.good_on) for each in known.values()] == [
        (date(2026, 10, 17), TODAY),
        (date(2026, 11, 1), TODAY),
    ]


def test_waits_without_a_word_from_azure_grow_from_30_seconds_to_30_minutes(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: LaterError("Azure is unwell (503)")
    update(chain, SubscriptionId=SUBSCRIPTION)
    delays = []
    for _ in range(9):
        ((queue, text, delay),) = chain.queues.take()
        delays.append(delay.total_seconds())
        chain.work(queue, text)
    assert delays == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


@pytest.mark.parametrize(("asked", "waited"), [(0, [1, 2, 4, 8, 16, 32]), (5, [5, 5, 5, 8, 16, 32])])
def test_a_wait_of_nothing_that_is_asked_for_again_and_again_grows(
    chain: Chain, asked: int, waited: list[float]
) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: LaterError("Azure asks us to wait", timedelta(seconds=asked))
    update(chain, SubscriptionId=SUBSCRIPTION)
    delays = []
    for _ in range(14):
        ((queue, text, delay),) = chain.queues.take()
        delays.append(delay.total_seconds())
        chain.work(queue, text)
    assert (delays[:6], delays[-3:]) == (waited, [1800, 1800, 1800])


def test_what_is_getting_on_goes_on_at_once_however_often(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: PauseError("Azure's answer is long", timedelta(0), b"its pages")
    update(chain, SubscriptionId=SUBSCRIPTION)
    for _ in range(5):
        ((queue, text, delay),) = chain.queues.take()
        assert delay == timedelta(0)
        chain.work(queue, text)


def test_after_24_hours_of_trying_the_scope_has_failed_and_the_operators_are_told(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: LaterError("Azure is unwell (503)")
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.clock.forward(hours=23, minutes=59)
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.clock.forward(minutes=2)
    chain.drain()
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes["failed"]) == ("failed", 1)
    assert "given up after 24 hours" in run.errors[0][1]
    assert chain.mailer.sent[0].to == ("ops@example.com",)


def test_a_scope_that_azure_refuses_fails_with_the_reason_and_the_others_go_on(chain: Chain) -> None:
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    chain.spend("5", TODAY)
    chain.costs.fails = lambda query: (
        NeverError("Azure says no (403)") if query.sub_account_id == OTHER_SUBSCRIPTION else None
    )
    chain.night()
    (run,) = chain.runs.recent_runs(1)
    assert run.state == "failed"
    assert (run.scopes["done"], run.scopes["failed"]) == (1, 1)
    assert run.errors == ((f"subscription {OTHER_SUBSCRIPTION}", "Azure says no (403)"),)
    assert chain.spent() == Decimal(5)
    assert [mail.to for mail in chain.mailer.sent] == [("ops@example.com",)]


def test_all_that_a_run_could_not_read_is_told_in_one_mail(chain: Chain) -> None:
    names = [str(uuid.UUID(int=number + 1)) for number in range(40)]
    chain.load(*(entry(number + 1, subscription=name) for number, name in enumerate(names)))
    chain.costs.fails = lambda query: NeverError("Azure says no (403)") if query.sub_account_id != names[-1] else None
    chain.night()
    (mail,) = chain.mailer.sent
    assert short(mail.subject) == f"Costs could not be read: subscription {names[0]} (P1) and 38 more"
    assert f"subscription {names[5]} (P6): Azure says no (403)" in mail.text
    assert "… and 9 more" in mail.text


def test_a_scope_that_stays_suspect_is_told(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", TODAY - timedelta(days=3))
    chain.night()
    chain.costs.charges.clear()
    chain.clock.forward(days=1)
    chain.night()
    (mail,) = chain.mailer.sent
    assert "not believed" in mail.text


def costs_failed(chain: Chain) -> list[str]:
    """The subjects of the mails to the operators on costs that were not read."""
    return [each for each in chain.subjects() if each.startswith(("There are no costs", "Costs could not be read"))]


def next_night(chain: Chain) -> None:
    chain.night()
    chain.clock.forward(hours=24)
    chain.look()
    chain.drain()


def test_a_subscription_of_which_the_provider_has_no_costs_is_told_once_and_no_night_fails_of_it(chain: Chain) -> None:
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    chain.spend("5", date(2026, 11, 20))
    chain.costs.fails = lambda query: (
        NoCostsError("no such offer") if query.sub_account_id == OTHER_SUBSCRIPTION else None
    )
    for _ in range(4):
        next_night(chain)
    assert costs_failed(chain) == [f"There are no costs of subscription {OTHER_SUBSCRIPTION} (P12)"]
    assert {run.state for run in chain.runs.recent_runs(9)} == {"done"}
    assert chain.spent() == 5
    known = chain.charges.account(AZURE, OTHER_SUBSCRIPTION).known
    assert {each.reason for each in known.values()} == {"no such offer"}
    (other,) = [each for each in chain.cloud_accounts.accounts() if each.external_account_id == OTHER_SUBSCRIPTION]
    assert (other.status, other.last_sync_error) == ("error", "no such offer")
    chain.costs.fails = lambda _query: None
    for day in (date(2026, 10, 30), date(2026, 11, 20)):
        chain.costs.charges[OTHER_SUBSCRIPTION, "rg-12", day, "Storage"] = Decimal(7)
    chain.night()
    assert {each.reason for each in chain.charges.account(AZURE, OTHER_SUBSCRIPTION).known.values()} == {None}


def test_a_subscription_that_the_provider_does_not_know_yet_is_a_failure_only_after_two_days(chain: Chain) -> None:
    chain.load(entry(11))
    chain.costs.fails = lambda _query: NoCostsError("not known yet", timedelta(hours=48))
    told = []
    for _ in range(4):
        next_night(chain)
        told.append(len(costs_failed(chain)))
    assert told == [1, 1, 2, 3]
    assert costs_failed(chain)[1] == f"Costs could not be read: subscription {SUBSCRIPTION} (P11)"


def test_of_a_project_by_hand_costs_that_there_are_none_of_are_a_failure_as_any(chain: Chain) -> None:
    chain.load(entry(11))
    chain.costs.fails = lambda _query: NoCostsError("no such offer")
    chain.work(Queue.UPDATE, '{"ProjectId": 11}')
    chain.drain()
    assert costs_failed(chain) == ["Costs could not be read: project 11 (P11)"]


def test_a_failure_is_told_once_a_day_and_one_that_comes_later_alone(chain: Chain) -> None:
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    failing = [SUBSCRIPTION]
    chain.costs.fails = lambda query: NeverError("refused") if query.sub_account_id in failing else None
    by_hand = [f'{{"SubscriptionId": "{each}"}}' for each in (SUBSCRIPTION, OTHER_SUBSCRIPTION)]
    for message in by_hand:
        chain.work(Queue.UPDATE, message)
        chain.drain()
    failing.append(OTHER_SUBSCRIPTION)
    chain.night()
    for message in by_hand:
        chain.work(Queue.UPDATE, message)
        chain.drain()
    assert costs_failed(chain) == [
        f"Costs could not be read: subscription {SUBSCRIPTION} (P11)",
        f"Costs could not be read: subscription {OTHER_SUBSCRIPTION} (P12)",
    ]
    chain.clock.forward(hours=24)
    chain.night()
    assert costs_failed(chain)[2:] == [f"Costs could not be read: subscription {SUBSCRIPTION} (P11) and 1 more"]


def test_a_scope_that_fails_before_it_is_known_ends_and_swallows_no_other_s_failure(chain: Chain) -> None:
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    chain.costs.fails = lambda _query: NeverError("Azure says no (403)")
    chain.tonight()
    (queue, first, _), (_, last, _) = chain.queues.take()
    chain.work(queue, first)

    class Refusing:
        def __getattr__(self, _name: str) -> object:
            raise NeverError("a value doesn't fit")

    chain.app.updater = replace(chain.updater, asking=replace(chain.asking, charges=Refusing()))
    chain.work(queue, last)
    chain.drain()
    (mail,) = [mail for mail in chain.mailer.sent if short(mail.subject).startswith("Costs could not be read")]
    assert "Azure says no (403)" in mail.text
    assert "a value doesn't fit" in mail.text
    assert [run.state for run in chain.runs.recent_runs(9)] == ["failed"]


def test_operators_are_told_of_a_refused_scope_once_a_day(chain: Chain) -> None:
    chain.load(entry())
    chain.costs.fails = lambda _query: NeverError("Azure says no (403)")
    for _ in range(3):
        chain.run_now()
        chain.drain()
        chain.clock.forward(seconds=1)
    assert len(chain.mailer.sent) == 1
    chain.clock.forward(days=1)
    chain.night()
    assert len(chain.mailer.sent) == 2


def test_an_empty_answer_is_not_believed_and_is_asked_for_again_three_times(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", TODAY - timedelta(days=3))
    chain.night()
    chain.costs.charges.clear()
    chain.clock.forward(days=1)
    chain.tonight()
    waits = []
    while update_messages := [sent for sent in chain.queues.take() if sent[0] is Queue.UPDATE]:
        ((queue, text, delay),) = update_messages
        waits.append(delay)
        chain.work(queue, text)
    assert waits == [timedelta(0), *[timedelta(hours=1)] * 3]
    assert chain.spent() == Decimal(5)
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes["suspect"]) == ("failed", 1)


def test_an_empty_answer_is_taken_the_third_night_in_a_row(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("5", TODAY - timedelta(days=3))
    chain.night()
    chain.costs.charges.clear()
    spent = []
    for _ in range(3):
        chain.clock.forward(days=1)
        chain.night()
        spent.append(chain.spent())
    assert spent == [Decimal(5), Decimal(5), Decimal(0)]


def test_nights_that_were_missed_are_made_up_for(chain: Chain) -> None:
    chain.load(entry(rule=APRIL))
    for month in range(4, 12):
        chain.spend("1", date(2026, month, 1))
    chain.night()
    chain.costs.queries.clear()
    chain.clock.forward(days=60)
    chain.night()
    # As if each night had been there: back to the 34 days before the night after the last one.
    assert min(query.window.start for query in chain.costs.queries) == date(2026, 10, 18)


def test_a_message_that_comes_twice_asks_azure_once(chain: Chain) -> None:
    chain.load(entry())
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    asked = len(chain.costs.queries)
    first = chain.queues.take()
    chain.work(queue, text)
    assert len(chain.costs.queries) == asked
    assert chain.queues.take() == first, "what is not checked yet is handed on again"


def test_a_planned_subscription_that_lost_its_projects_does_not_hold_the_run_open(chain: Chain) -> None:
    chain.load(entry())
    chain.tonight()
    chain.load(entry(active=False))
    chain.drain()
    (run,) = chain.runs.recent_runs(1)
    assert run.state == "failed"
    assert "has no active project" in run.errors[0][1]


def test_all_that_failed_is_told_though_the_last_ones_projects_became_inactive(chain: Chain) -> None:
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION))
    chain.costs.fails = lambda _query: NeverError("Azure says no (403)")
    chain.tonight()
    first, last = chain.queues.take()
    number, subscription = (11, SUBSCRIPTION) if SUBSCRIPTION in last[1] else (12, OTHER_SUBSCRIPTION)
    chain.load(entry(number, subscription=subscription, active=False))
    for queue, text, _ in (first, last):
        chain.work(queue, text)
    chain.drain()
    (letter,) = chain.letters.letters()
    assert (json.loads(letter.body), "has no active project" in letter.reason) == (json.loads(last[1]), True)
    (mail,) = chain.mailer.sent
    assert "Azure says no (403)" in mail.text
    assert "has no active project" in mail.text


def test_one_of_a_projects_two_subscriptions_that_is_refused_does_not_lose_the_other(chain: Chain) -> None:
    project = entry(11)
    chain.load(replace(project, scopes=(*project.scopes, Scope(AZURE, OTHER_SUBSCRIPTION, "rg-x"))))
    chain.spend("300", TODAY)
    for refused in (OTHER_SUBSCRIPTION, SUBSCRIPTION):
        chain.costs.fails = lambda query, refused=refused: (
            NeverError("no (403)") if query.sub_account_id == refused else None
        )
        update(chain, ProjectId=11)
        chain.drain()
        assert chain.spent() == Decimal(300)
        assert chain.runs.recent_runs(1)[0].errors == (("project 11", "no (403)"),)
    assert any("25" in subject for subject in chain.subjects())


def test_costs_of_one_subscription_that_can_not_be_stored_do_not_lose_the_others(chain: Chain) -> None:
    project = entry(11)
    chain.load(replace(project, scopes=(*project.scopes, Scope(AZURE, OTHER_SUBSCRIPTION, "rg-x"))))
    chain.spend("300", TODAY)
    chain.costs.charges[OTHER_SUBSCRIPTION, "rg-x", TODAY, "S" * 500] = Decimal(1)
    update(chain, ProjectId=11)
    chain.drain()
    assert chain.spent() == Decimal(300)
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, "characters" in run.errors[0][1]) == ("failed", True)


def test_a_project_in_more_subscriptions_than_may_be_asked_at_once_is_read_a_few_at_a_time(chain: Chain) -> None:
    names = [str(uuid.UUID(int=number + 1)) for number in range(7)]
    chain.load(replace(entry(11), scopes=tuple(Scope(AZURE, name, "rg-11") for name in names)))
    for name in names:
        chain.costs.charges[name, "rg-11", TODAY, "Storage"] = Decimal(10)
    asked = []

    def throttled(query: CostQuery) -> Exception | None:
        asked.append(query)
        return LaterError("throttled", timedelta(seconds=9)) if len(asked) % 6 == 0 else None

    chain.costs.fails = throttled
    update(chain, ProjectId=11)
    chain.drain()
    assert chain.spent() == Decimal(70)
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes) == ("done", {"done": 1})
    assert len(asked) == 14 + 3 - 1, "two each, and again the few that were refused"


def test_a_message_by_hand_opens_a_run_of_its_own_that_status_shows(chain: Chain) -> None:
    chain.load(entry())
    chain.work(Queue.UPDATE, '{"ProjectId": 11}', origin="abc")
    chain.drain()
    (run,) = chain.runs.recent_runs(5)
    assert (run.key, run.trigger, run.state) == ("message-abc", "message", "done")


def test_unallocated_charges_are_kept(chain: Chain) -> None:
    chain.load(entry())
    chain.spend("9", TODAY, "nobodys-rg")
    chain.night()
    chain.load(entry(12, groups=("NOBODYS-rg",)))
    assert chain.spent(12) == Decimal(9)


def test_work_waits_where_the_database_is_away(chain: Chain) -> None:
    chain.load(entry())

    class Away:
        def account(self, _provider: str, _sub_account_id: str) -> None:
            raise LaterError("the database can't be used now")

    updater = replace(chain.updater, asking=replace(chain.updater.asking, charges=Away()))
    from shared.messages import parse_update

    chain.send(updater.update(parse_update(json.dumps({"SubscriptionId": SUBSCRIPTION})), "m1"))
    ((queue, text, delay),) = chain.queues.take()
    assert delay == timedelta(seconds=30)
    assert json.loads(text)["RunId"] == "message-m1"
    chain.work(queue, text)
    assert chain.charges.due_projects_of(ScopeTarget(subscription_id=SUBSCRIPTION)) == [11]


def days_of(query: CostQuery) -> list[date]:
    return [query.window.start + timedelta(days=n) for n in range(query.window.days)]
