"""A provider besides Azure, without resource groups and with other limits, goes through the whole chain."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update as changing

from shared.adapters.database.tables import accounts, cloud_accounts
from shared.domain.locks import LockMode
from shared.domain.periods import Period, months_before
from shared.domain.projects import ProjectEntry, Scope
from shared.domain.quota import Quota
from shared.messages import Queue, UpdateMessage
from shared.ports.azure import AZURE, ResourceGroup
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.errors import LaterError, NeverError
from tests.fakes import FakeCosts
from tests.pipeline.conftest import APRIL, OTHER_SUBSCRIPTION, SUBSCRIPTION, Chain, entry, only
from tests.pipeline.test_schedule import subscriptions
from tests.subjects import short

HETZNER, CONNECTION = "hetzner", "HETZNER_API"
TODAY = date(2026, 11, 20)
# A query takes three units, and twelve of them may go at once.
QUOTA = Quota(24, 120, 10.0, 12, 12, units_per_query=3)


@pytest.fixture
def hetzner(chain: Chain) -> FakeCosts:
    """The second source: ten days a query, three months of history, no groups."""
    source = FakeCosts(
        provider=HETZNER,
        connection_type=CONNECTION,
        longest_window=timedelta(days=10),
        months_of_history=3,
        quota=QUOTA,
        has_groups=False,
    )
    chain.parts["sources"] = {ConnectionType.COST_MANAGEMENT: chain.costs, CONNECTION: source}
    chain.configure()
    return source


def elsewhere(project_id: int, *names: str, **changes: object) -> ProjectEntry:
    """A project with these accounts of the other provider, `acc-<id>` by default."""
    owned = names or (f"acc-{project_id}",)
    return replace(entry(project_id, **changes), scopes=tuple(Scope(HETZNER, name) for name in owned))


def mixed(project_id: int = 11, **changes: object) -> ProjectEntry:
    """A project with a group in Azure and an account of the other provider."""
    known = entry(project_id, **changes)
    return replace(known, scopes=(*known.scopes, Scope(HETZNER, f"acc-{project_id}")))


def connect(chain: Chain, *names: str) -> None:
    chain.cloud_accounts.register(HETZNER, CONNECTION, names)


def spend(source: FakeCosts, amount: str, day: date = TODAY, account: str = "acc-11") -> None:
    source.charges[account, "", day, "Servers"] = Decimal(amount)


def statuses(chain: Chain) -> dict[str, tuple[AccountStatus, str | None]]:
    known = chain.cloud_accounts.accounts()
    return {each.external_account_id: (each.status, each.last_sync_error) for each in known}


def disable(chain: Chain, name: str) -> None:
    this = changing(cloud_accounts).where(cloud_accounts.c.external_account_id == name)
    chain.database.run(lambda connection: connection.execute(this.values(status=AccountStatus.DISABLED)))


def feed(chain: Chain, sub_account_id: str, cloud_account_id: int) -> None:
    this = changing(accounts).where(accounts.c.sub_account_id == sub_account_id)
    chain.database.run(lambda connection: connection.execute(this.values(cloud_account_id=cloud_account_id)))


def by_hand(chain: Chain, **fields: object) -> None:
    chain.work(Queue.UPDATE, json.dumps(fields))


# --- a night -------------------------------------------------------------------------------------------------


def test_a_night_reads_the_other_provider_too_and_tells_its_projects_people(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    spend(hetzner, "820", TODAY - timedelta(days=1))
    chain.tonight()
    ((queue, text, _),) = chain.queues.sent
    assert (queue, json.loads(text)["CloudAccountId"], json.loads(text)["Provider"]) == (Queue.UPDATE, 1, HETZNER)
    chain.drain()
    assert chain.costs.queries == []
    assert chain.spent() == Decimal(820)
    assert [mail.to for mail in chain.mailer.sent] == [("anna@example.com",)]
    assert "80" in chain.subjects()[0]
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes) == ("done", {"done": 1})
    assert statuses(chain) == {"acc-11": (AccountStatus.ACTIVE, None)}
    assert chain.cloud_accounts.accounts()[0].last_synced_at == chain.clock()


def test_queries_keep_to_the_sources_longest_window_and_have_every_day_of_the_nights(
    chain: Chain, hetzner: FakeCosts
) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    chain.night()
    assert all(query.window.days <= 10 and query.resource_groups == () for query in hetzner.queries)
    days = sorted(day for query in hetzner.queries for day in days_of(query.window))
    assert days == days_of(Period(date(2026, 10, 17), TODAY + timedelta(days=1)))


def days_of(period: Period) -> list[date]:
    return [period.start + timedelta(days=number) for number in range(period.days)]


def test_each_is_read_back_as_far_as_its_own_provider_answers(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(mixed(rule=APRIL))
    connect(chain, "acc-11")
    chain.night()
    assert min(query.window.start for query in chain.costs.queries) == date(2026, 4, 1)
    assert min(query.window.start for query in hetzner.queries) == months_before(TODAY, 3)


def test_a_project_of_two_providers_has_one_figure_one_budget_and_its_alerts(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(mixed())
    connect(chain, "acc-11")
    chain.spend("300", TODAY)
    spend(hetzner, "250")
    chain.night()
    assert chain.spent() == Decimal(550)
    (subject,) = chain.subjects()
    assert "50" in subject
    spend(hetzner, "500")
    chain.clock.forward(days=1)
    chain.night()
    assert chain.spent() == Decimal(800)
    assert "80" in chain.subjects()[1]


def test_a_cloud_account_of_several_accounts_is_one_message_and_all_their_projects_are_checked(
    chain: Chain, hetzner: FakeCosts
) -> None:
    chain.load(elsewhere(11), elsewhere(12), elsewhere(13))
    connect(chain, "acc-11")
    for name in ("acc-12", "acc-13"):
        feed(chain, name, chain.cloud_accounts.accounts()[0].id)
    for number in (11, 12, 13):
        spend(hetzner, "900", account=f"acc-{number}")
    assert chain.tonight() == 1
    chain.drain()
    assert sorted(subject.split()[0] for subject in chain.subjects()) == ["[P11]", "[P12]", "[P13]"]
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes) == ("done", {"done": 1})


# --- pace ----------------------------------------------------------------------------------------------------


def delays(chain: Chain, wanted: Callable[[dict[str, object]], bool]) -> list[float]:
    sent = [(json.loads(text), delay) for _, text, delay in chain.queues.sent]
    return [delay.total_seconds() for message, delay in sent if wanted(message)]


def test_each_source_is_asked_at_its_own_pace_whatever_the_others_do(chain: Chain, hetzner: FakeCosts) -> None:
    subscriptions(chain, 30)
    chain.tonight()
    alone = delays(chain, lambda message: "SubscriptionId" in message)
    chain.queues.take()
    chain.clock.forward(hours=2)
    chain.load(*(elsewhere(number) for number in range(101, 106)))
    connect(chain, *(f"acc-{number}" for number in range(101, 106)))
    assert chain.run_now()[1] == 35
    assert delays(chain, lambda message: "SubscriptionId" in message) == alone
    # Four queries each, of three units: twelve go at once, 24 a minute.
    assert delays(chain, lambda message: "CloudAccountId" in message) == [0.0, 30.0, 60.0, 90.0, 120.0]


def test_the_others_go_on_while_one_provider_says_wait(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(entry(11), elsewhere(12))
    connect(chain, "acc-12")
    chain.spend("500", TODAY)
    hetzner.fails = lambda _query: LaterError("busy", timedelta(seconds=77))
    chain.tonight()
    for queue, text, _ in chain.queues.take():
        chain.work(queue, text)
    put_back = next(sent for sent in chain.queues.sent if sent[0] is Queue.UPDATE)
    assert put_back[2] == timedelta(seconds=77)
    assert chain.spent(11) == Decimal(500)
    (run,) = chain.runs.recent_runs(1)
    assert run.errors == (("account 2 (hetzner)", "busy"),)
    hetzner.fails = lambda _query: None
    spend(hetzner, "900", account="acc-12")
    chain.drain()
    assert chain.spent(12) == Decimal(900)


def test_an_answer_that_broke_off_goes_on_where_it_did(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    hetzner.fails = lambda _query: LaterError("busy", timedelta(seconds=9), b"two pages")
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    hetzner.fails = lambda _query: None
    chain.drain()
    assert hetzner.resumed[:2] == [None, b"two pages"]


# --- when it fails -------------------------------------------------------------------------------------------


def test_one_that_is_refused_says_so_until_a_sync_works(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(entry(11), elsewhere(12))
    connect(chain, "acc-12")
    hetzner.fails = lambda _query: NeverError("Hetzner says no (403)")
    chain.night()
    (mail,) = chain.mailer.sent
    assert short(mail.subject) == "Costs could not be read: account 2 (hetzner) (P12)"
    assert statuses(chain) == {
        SUBSCRIPTION: (AccountStatus.ACTIVE, None),
        "acc-12": (AccountStatus.ERROR, "Hetzner says no (403)"),
    }
    hetzner.fails = lambda _query: None
    chain.clock.forward(days=1)
    chain.night()
    assert statuses(chain)["acc-12"] == (AccountStatus.ACTIVE, None)


def test_one_whose_answer_is_not_believed_has_failed(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    spend(hetzner, "10", TODAY - timedelta(days=3))
    chain.night()
    hetzner.charges.clear()
    chain.clock.forward(days=1)
    chain.night()
    status, reason = statuses(chain)["acc-11"]
    assert status is AccountStatus.ERROR
    assert "without any charge" in str(reason)


def test_what_was_given_up_on_a_days_trying_is_noted(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    hetzner.fails = lambda _query: LaterError("unwell")
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.clock.forward(hours=25)
    chain.work(queue, text)
    assert statuses(chain)["acc-11"] == (AccountStatus.ERROR, "given up after 24 hours: unwell")


def test_a_lost_message_is_sent_again_and_one_that_failed_for_good_is_closed(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    chain.tonight()
    chain.queues.take()
    chain.clock.forward(hours=1)
    (message,) = only(UpdateMessage, chain.look())
    assert (message.cloud_account_id, message.provider) == (1, HETZNER)
    text = next(text for queue, text, _ in chain.queues.take() if queue is Queue.UPDATE)
    chain.bury(Queue.UPDATE, text, "lost")
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes) == ("failed", {"failed": 1})


def payer(chain: Chain, *numbers: int, **changes: object) -> None:
    """Projects, each with an account of its own, all of which one cloud account feeds."""
    chain.load(*(elsewhere(number, **changes) for number in numbers))
    connect(chain, f"acc-{numbers[0]}")
    for number in numbers[1:]:
        feed(chain, f"acc-{number}", chain.cloud_accounts.accounts()[0].id)


def failing(source: FakeCosts, account: str, error: Exception) -> None:
    source.fails = lambda query: error if query.sub_account_id == account else None


@pytest.mark.parametrize("bad", [11, 12, 13])
def test_one_account_that_is_refused_keeps_none_of_its_siblings_from_being_read_and_checked(
    chain: Chain, hetzner: FakeCosts, bad: int
) -> None:
    payer(chain, 11, 12, 13)
    for number in (11, 12, 13):
        spend(hetzner, "900", account=f"acc-{number}")
    failing(hetzner, f"acc-{bad}", NeverError("AccessDenied"))
    chain.night()
    good = {11, 12, 13} - {bad}
    assert {each: chain.spent(each) for each in good} == dict.fromkeys(good, Decimal(900))
    assert {mail.split()[0] for mail in chain.subjects()} == {*(f"[P{each}]" for each in good), "Costs"}
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.errors) == ("failed", (("account 1 (hetzner)", "AccessDenied"),))
    assert statuses(chain)["acc-11"] == (AccountStatus.ERROR, "AccessDenied")


@pytest.mark.parametrize("bad", [11, 12, 13])
def test_siblings_are_read_back_to_the_start_of_their_period_and_the_refused_one_is_asked_once(
    chain: Chain, hetzner: FakeCosts, bad: int
) -> None:
    payer(chain, 11, 12, 13, rule=APRIL)
    for number in (11, 12, 13):
        spend(hetzner, "900", date(2026, 8, 21), f"acc-{number}")
    failing(hetzner, f"acc-{bad}", NeverError("AccessDenied"))
    chain.night()
    good = {11, 12, 13} - {bad}
    assert {each: chain.spent(each) for each in good} == dict.fromkeys(good, Decimal(900))
    assert {mail.split()[0] for mail in chain.subjects()} == {*(f"[P{each}]" for each in good), "Costs"}
    # Once more than once: it may have been one month's fault.
    assert len([query for query in hetzner.queries if query.sub_account_id == f"acc-{bad}"]) == 2
    known = chain.charges.account(HETZNER, f"acc-{bad}").known
    assert {(each.state, each.read_from) for each in known.values()} == {("failed", None)}
    assert len(known) == 4


@pytest.mark.parametrize("bad", [11, 12, 13])
def test_one_account_that_says_later_all_day_keeps_none_of_its_siblings_from_being_read_and_checked(
    chain: Chain, hetzner: FakeCosts, bad: int
) -> None:
    payer(chain, 11, 12, 13, rule=APRIL)
    for number in (11, 12, 13):
        spend(hetzner, "900", date(2026, 8, 21), f"acc-{number}")
    failing(hetzner, f"acc-{bad}", LaterError("busy"))
    chain.tonight()
    asked_in_20_hours = []
    for half_hours in range(60):
        for queue, text, _delay in chain.queues.take():
            chain.work(queue, text)
        chain.clock.forward(minutes=30)
        if half_hours == 40:
            asked_in_20_hours = [query for query in hetzner.queries if query.sub_account_id != f"acc-{bad}"]
    good = {11, 12, 13} - {bad}
    assert {each: chain.spent(each) for each in good} == dict.fromkeys(good, Decimal(900))
    assert {mail.split()[0] for mail in chain.subjects()} == {*(f"[P{each}]" for each in good), "Costs"}
    (run,) = chain.runs.recent_runs(1)
    assert run.errors == (("account 1 (hetzner)", "given up after 24 hours: busy"),)
    assert len(asked_in_20_hours) == len(set(asked_in_20_hours)) == 22, "all of theirs, and none twice"


def test_a_payer_with_more_accounts_than_may_be_asked_at_once_is_read_a_few_at_a_time(
    chain: Chain, hetzner: FakeCosts
) -> None:
    payer(chain, *range(11, 16))
    for number in range(11, 16):
        spend(hetzner, "900", account=f"acc-{number}")
    hetzner.fails = lambda _query: LaterError("busy") if len(hetzner.queries) % 9 == 0 else None
    chain.night()
    assert [chain.spent(number) for number in range(11, 16)] == [Decimal(900)] * 5
    assert statuses(chain)["acc-11"] == (AccountStatus.ACTIVE, None)
    assert chain.runs.recent_runs(1)[0].state == "done"


def test_one_of_a_projects_two_providers_that_is_refused_does_not_lose_the_other(
    chain: Chain, hetzner: FakeCosts
) -> None:
    chain.load(mixed())
    connect(chain, "acc-11")
    chain.spend("300", TODAY)
    hetzner.fails = lambda _query: NeverError("Hetzner says no (403)")
    by_hand(chain, ProjectId=11)
    chain.drain()
    assert chain.spent() == Decimal(300)
    assert {mail.split()[0] for mail in chain.subjects()} == {"[P11]", "Costs"}
    assert chain.runs.recent_runs(1)[0].errors == (("project 11", "Hetzner says no (403)"),)
    assert statuses(chain)["acc-11"] == (AccountStatus.PENDING, None), "it says nothing of all of the account"


def test_what_was_read_for_a_project_does_not_say_that_all_of_its_payer_was(chain: Chain, hetzner: FakeCosts) -> None:
    payer(chain, 11, 12)
    failing(hetzner, "acc-12", NeverError("AccessDenied"))
    chain.night()
    chain.clock.forward(hours=1)
    by_hand(chain, ProjectId=11)
    assert statuses(chain)["acc-11"] == (AccountStatus.ERROR, "AccessDenied")


def test_all_that_failed_is_told_though_the_last_one_was_disabled_meanwhile(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11), elsewhere(12))
    connect(chain, "acc-11", "acc-12")
    hetzner.fails = lambda _query: NeverError("AccessDenied")
    chain.tonight()
    disable(chain, "acc-12")
    chain.drain()
    assert chain.runs.recent_runs(1)[0].state == "failed"
    (mail,) = chain.mailer.sent
    assert "AccessDenied" in mail.text
    assert "is disabled" in mail.text
    (letter,) = chain.letters.letters()
    assert "is disabled" in letter.reason


# --- what is not asked ---------------------------------------------------------------------------------------


def test_what_is_disabled_or_fed_by_exports_is_left_out_of_runs(chain: Chain, hetzner: FakeCosts) -> None:
    chain.cloud_accounts.register(AZURE, ConnectionType.COST_EXPORT, [OTHER_SUBSCRIPTION])
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION), elsewhere(13))
    connect(chain, "acc-13")
    disable(chain, "acc-13")
    chain.tonight()
    assert [json.loads(text)["SubscriptionId"] for _, text, _ in chain.queues.sent] == [SUBSCRIPTION]


def test_the_periods_of_projects_that_are_not_asked_turn_all_the_same(chain: Chain, hetzner: FakeCosts) -> None:
    chain.cloud_accounts.register(AZURE, ConnectionType.COST_EXPORT, [OTHER_SUBSCRIPTION])
    chain.load(elsewhere(11), elsewhere(12), entry(13, subscription=OTHER_SUBSCRIPTION), mixed(14))
    connect(chain, "acc-11")
    chain.night()
    disable(chain, "acc-11")
    chain.clock.now = chain.clock.now.replace(month=12, day=1)
    chain.tonight()
    (asked,) = [json.loads(text) for queue, text, _ in chain.queues.sent if queue is Queue.NOTIFICATION]
    assert asked == {"ProjectIds": [11, 12, 13], "RunId": "night-2026-12-01"}
    chain.drain()
    assert {chain.projects.periods(each)[-1].period.start for each in (11, 12, 13, 14)} == {date(2026, 12, 1)}
    chain.clock.forward(days=1)
    chain.tonight()
    assert [queue for queue, _, _ in chain.queues.sent] == [Queue.UPDATE]


def test_a_locked_project_whose_subscription_is_disabled_is_unlocked_when_its_period_ends(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, "rg-11"))
    chain.load(entry(11, "100"))
    chain.spend("150", TODAY - timedelta(days=1))
    chain.night()
    assert chain.projects.get(11, chain.clock().date()).locked_since is not None
    disable(chain, SUBSCRIPTION)
    chain.clock.now = chain.clock.now.replace(month=12, day=1)
    chain.night()
    assert chain.projects.get(11, chain.clock().date()).locked_since is None


def test_an_account_that_nothing_feeds_is_not_read_and_the_log_says_so(
    chain: Chain, hetzner: FakeCosts, caplog: pytest.LogCaptureFixture
) -> None:
    chain.load(entry(11), elsewhere(12))
    with caplog.at_level(logging.WARNING):
        assert chain.tonight() == 1
    (record,) = caplog.records
    assert record.message.startswith("accounts_not_fed")
    assert "acc-12" in record.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"CloudAccountId": 99}, "there is no cloud account 99; `python -m shared.cli cloud-accounts list`"),
        ({"CloudAccountId": 3, "Provider": "aws"}, "cloud account 3 is of hetzner, not of aws; write hetzner, or"),
        ({"CloudAccountId": 4}, "cloud account 4 (acc-15) is disabled: name one that is read;"),
        ({"CloudAccountId": 5}, "cloud account 5 (acc-16) has no active project; `python -m shared.cli projects list`"),
        (
            {"CloudAccountId": 1},
            f"the costs of cloud account 1 ({OTHER_SUBSCRIPTION}) come by cost exports",
        ),
        (
            {"SubscriptionId": OTHER_SUBSCRIPTION},
            "which can't be asked for; `python -m shared.cli exports scan`",
        ),
        ({"ProjectId": 12}, f"the costs of {OTHER_SUBSCRIPTION} come by cost exports"),
        ({"ProjectId": 14}, "no cloud account feeds acc-14 of hetzner"),
        ({"ProjectId": 15}, "is disabled"),
        ({"CloudAccountId": 3, "ResourceGroup": "rg"}, "a ResourceGroup goes with a ProjectId"),
        ({"ProjectId": 13, "ResourceGroup": "rg"}, "resource group 'rg' is not project P13's"),
    ],
)
def test_a_message_that_can_not_be_right_becomes_a_dead_letter_that_says_what_would_be(
    chain: Chain, hetzner: FakeCosts, fields: dict[str, object], said: str
) -> None:
    chain.cloud_accounts.register(AZURE, ConnectionType.COST_EXPORT, [OTHER_SUBSCRIPTION])
    chain.load(entry(11), entry(12, subscription=OTHER_SUBSCRIPTION), *map(elsewhere, (13, 14, 15)))
    connect(chain, "acc-13")
    connect(chain, "acc-15")
    connect(chain, "acc-16")
    disable(chain, "acc-15")
    by_hand(chain, **fields)
    (letter,) = chain.letters.letters()
    assert said in letter.reason
    assert chain.queues.sent == []
    assert chain.costs.queries + hetzner.queries == []


# --- by hand -------------------------------------------------------------------------------------------------


def test_a_message_by_hand_names_a_cloud_account_with_or_without_its_provider(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(elsewhere(11))
    connect(chain, "acc-11")
    spend(hetzner, "5")
    by_hand(chain, CloudAccountId=1)
    assert chain.spent() == Decimal(5)
    spend(hetzner, "6")
    by_hand(chain, cloudaccountid="1", provider=" Hetzner ")
    assert chain.spent() == Decimal(6)
    assert {run.errors for run in chain.runs.recent_runs(5)} == {()}


def test_a_subscription_may_be_named_by_its_cloud_account_too(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(entry(11))
    chain.spend("5", TODAY)
    by_hand(chain, CloudAccountId=1)
    assert chain.spent() == Decimal(5)
    assert statuses(chain) == {SUBSCRIPTION: (AccountStatus.ACTIVE, None)}


def test_a_message_for_a_project_reads_its_groups_in_azure_and_its_accounts_elsewhere_whole(
    chain: Chain, hetzner: FakeCosts
) -> None:
    chain.load(mixed(), entry(12))
    connect(chain, "acc-11")
    chain.spend("300", TODAY)
    chain.spend("7", TODAY, "rg-12")
    spend(hetzner, "250")
    by_hand(chain, ProjectId=11)
    assert {query.resource_groups for query in chain.costs.queries} == {("rg-11",)}
    assert {query.sub_account_id for query in hetzner.queries} == {"acc-11"}
    chain.drain()
    assert (chain.spent(11), chain.spent(12)) == (Decimal(550), Decimal(0))
    assert "50" in chain.subjects()[0]
    (run,) = chain.runs.recent_runs(1)
    assert (run.state, run.scopes) == ("done", {"done": 1})


def test_reading_a_project_of_two_providers_back_asks_neither_for_more_than_it_answers(
    chain: Chain, hetzner: FakeCosts
) -> None:
    chain.load(mixed(rule=APRIL))
    connect(chain, "acc-11")
    by_hand(chain, ProjectId=11)
    ((_, _, pause),) = chain.queues.sent
    assert pause == timedelta(seconds=15), "the slower of the two: two queries, of three units each, at 24 a minute"
    chain.drain()
    assert min(query.window.start for query in chain.costs.queries) == date(2026, 4, 1)
    assert min(query.window.start for query in hetzner.queries) == months_before(TODAY, 3)
    (run,) = chain.runs.recent_runs(1)
    assert run.state == "done"


def test_of_a_project_the_accounts_that_are_not_asked_are_left_out(chain: Chain, hetzner: FakeCosts) -> None:
    chain.load(mixed())
    chain.spend("300", TODAY)
    by_hand(chain, ProjectId=11)
    assert chain.spent() == Decimal(300)
    assert hetzner.queries == []
