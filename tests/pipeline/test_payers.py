"""An organization's payer is asked once for all of its accounts, within the paid calls of a day."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, insert, select

from shared.adapters.database.tables import charges, cloud_accounts
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import ProjectEntry, Scope
from shared.messages import Queue, UpdateMessage
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.costs import SubAccount
from shared.ports.errors import LaterError, NeverError, NoAnswerError
from shared.ports.payers import Member
from shared.ports.runs import RunState
from shared.ports.spending import By, Selection
from tests.fakes import FakePayers
from tests.pipeline.conftest import Chain, entry, only

PAYER, OTHER = "999999999999", "888888888888"
ONE, TWO, THREE = "111111111111", "222222222222", "333333333333"
TODAY, YESTERDAY, OCTOBER = date(2026, 11, 20), date(2026, 11, 19), date(2026, 10, 25)
DAY = timedelta(days=1)
NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 21))


@pytest.fixture
def aws(chain: Chain) -> FakePayers:
    source = FakePayers(clock=chain.clock)
    chain.parts["sources"] = {
        ConnectionType.COST_MANAGEMENT: chain.costs,
        ConnectionType.COST_EXPLORER: source,
    }
    chain.configure()
    return source


def add(chain: Chain, payer: str = PAYER, status: AccountStatus = AccountStatus.PENDING) -> int:
    row = {"organization": "default", "provider": "aws", "connection_type": ConnectionType.COST_EXPLORER}
    row |= {"detail": "service", "status": status, "name": f"org {payer[0]}", "external_account_id": payer}
    made = insert(cloud_accounts).values(row)
    return chain.database.run(lambda connection: connection.execute(made).inserted_primary_key[0])


def of(project_id: int, *ids: str, **changes: object) -> ProjectEntry:
    """A project with these AWS accounts."""
    known = entry(project_id, currency="USD", **changes)
    return replace(known, scopes=tuple(Scope("aws", each) for each in ids))


def spend(aws: FakePayers, account: str, amount: str, day: date = YESTERDAY, payer: str = PAYER) -> None:
    aws.charges[payer, account, day, "Amazon EC2"] = Decimal(amount)


def spent_on(chain: Chain, days: Period = NOVEMBER) -> dict[str, Decimal]:
    sums = chain.spending.sums(Selection(days), By.SUB_ACCOUNT)
    return {each.key[1]: each.cost for each in sums}


def status(chain: Chain, cloud_account_id: int) -> tuple[AccountStatus, str | None]:
    found = chain.cloud_accounts.get(cloud_account_id)
    return found.status, found.last_sync_error


def test_a_night_asks_a_payer_once_a_month_for_all_of_its_accounts(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    chain.load(of(11, ONE), of(12, TWO, THREE), entry(13))
    for account in (ONE, TWO, THREE):
        spend(aws, account, "10")
        spend(aws, account, "7", OCTOBER)
    assert chain.tonight() == 2
    chain.drain()
    assert aws.asked == [(PAYER, NOVEMBER), (PAYER, Period(date(2026, 10, 12), date(2026, 11, 1)))]
    assert [chain.spent(each) for each in (11, 12)] == [Decimal(10), Decimal(20)]
    assert spent_on(chain, Period(date(2026, 10, 1), date(2026, 11, 1))) == dict.fromkeys((ONE, TWO, THREE), Decimal(7))
    assert status(chain, payer) == (AccountStatus.ACTIVE, None)
    (sync,) = chain.payers.syncs(payer, 9)
    assert (sync.rows, sync.totals, sync.services, sync.calls, sync.errors) == (6, {"USD": Decimal(51)}, 1, 2, ())


def test_accounts_of_no_project_are_read_and_unallocated(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    spend(aws, ONE, "10")
    chain.night()
    assert spent_on(chain) == {ONE: Decimal(10)}
    assert chain.payers.members(payer) == [Member(ONE), Member(PAYER)]
    unallocated = chain.spending.sums(Selection(NOVEMBER, unallocated=True), By.SUB_ACCOUNT)
    assert [(each.key, each.cost) for each in unallocated] == [(("aws", ONE), Decimal(10))]


def test_a_payer_without_any_costs_is_asked_once_a_night(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    for night in range(1, 4):
        chain.night()
        assert len(aws.asked) == 2 * night
        assert status(chain, payer) == (AccountStatus.ACTIVE, None)
        chain.clock.now += timedelta(days=1)


def test_a_payer_that_reads_nothing_but_what_another_feeds_says_so(chain: Chain, aws: FakePayers) -> None:
    first, second = add(chain, OTHER), add(chain)
    chain.payers.adopt(first, "aws", [PAYER])
    chain.night()
    assert status(chain, second) == (AccountStatus.ERROR, f"Cloud account {first} reads {PAYER} already.")
    assert [payer for payer, _ in aws.asked].count(PAYER) == 2


def test_one_project_over_two_clouds_has_one_figure_and_one_alert(chain: Chain, aws: FakePayers) -> None:
    add(chain)
    both = entry(11, "100", currency="USD")
    chain.load(replace(both, scopes=(*both.scopes, Scope("aws", ONE))))
    chain.costs.currency_of = lambda _day: "USD"
    chain.spend("30", YESTERDAY)
    spend(aws, ONE, "22")
    chain.night()
    assert chain.spent() == 52
    assert chain.subjects() == ["[P11] 50 % of the budget reached"]


def test_listed_accounts_are_taken_in_before_the_first_answer_so_that_their_projects_are_read_back(
    chain: Chain, aws: FakePayers
) -> None:
    payer = add(chain)
    april = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
    chain.load(of(11, ONE, rule=april))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE")]
    spend(aws, ONE, "10")
    spend(aws, ONE, "5", date(2026, 4, 2))
    chain.night()
    assert chain.spent() == 15
    assert min(window.start for _, window in aws.asked) == date(2026, 4, 1)
    assert len(aws.asked) == 8
    assert chain.payers.members(payer) == [Member(ONE, "Shop", "ACTIVE"), Member(TWO, "Lab", "ACTIVE")]


@pytest.mark.parametrize("state", ["SUSPENDED", "CLOSED", None])
def test_an_account_that_left_was_suspended_or_closed_keeps_what_is_stored_and_its_figure_says_what_it_lacks(
    chain: Chain, aws: FakePayers, state: str | None
) -> None:
    payer = add(chain)
    chain.load(of(11, ONE))
    itself = SubAccount(PAYER, "Payer", "ACTIVE")
    aws.listed[PAYER] = [itself, SubAccount(ONE, "Shop", "ACTIVE")]
    spend(aws, ONE, "10")
    chain.night()
    aws.charges.clear()
    aws.listed[PAYER] = [itself, *([SubAccount(ONE, "Shop", state)] if state else [])]
    for _ in range(4):
        chain.clock.now += timedelta(days=1)
        chain.night()
    assert chain.spent() == 10
    assert chain.payers.members(payer)[0] == Member(ONE, "Shop", state or "ACTIVE", date(2026, 11, 21))
    incomplete = chain.charges.incomplete(chain.clock().date())
    assert "P11" in json.dumps(str(incomplete))


def test_without_any_row_a_known_account_is_doubted_as_any_other(chain: Chain, aws: FakePayers) -> None:
    add(chain)
    chain.load(of(11, ONE), of(12, TWO))
    for account in (ONE, TWO):
        spend(aws, account, "10")
    chain.night()
    del aws.charges[PAYER, ONE, YESTERDAY, "Amazon EC2"]
    spent = []
    for _ in range(3):
        chain.clock.now += timedelta(days=1)
        chain.night()
        spent.append((chain.spent(11), chain.spent(12)))
    assert spent == [(10, 10), (10, 10), (0, 10)]
    third, second, *_ = chain.payers.syncs(1, 9)
    assert (third.errors, "that is not believed" in second.errors[0]) == ((), True)
    # What is paid for is not asked for again in the same night.
    assert len(aws.asked) == 8


def test_an_account_that_one_month_misses_is_read_again_and_its_figure_says_so_until_it_comes(
    chain: Chain, aws: FakePayers
) -> None:
    add(chain)
    april = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
    chain.load(of(11, ONE, rule=april), of(12, TWO, rule=april))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE")]
    for account in (ONE, TWO):
        for month in range(4, 12):
            spend(aws, account, "10", date(2026, month, 7))
    del aws.charges[PAYER, ONE, date(2026, 7, 7), "Amazon EC2"]
    chain.night()
    assert (chain.spent(11), chain.spent(12)) == (70, 80)
    assert "July 2026" in str(chain.charges.incomplete(chain.clock().date()).lines)
    spend(aws, ONE, "10", date(2026, 7, 7))
    aws.asked.clear()
    chain.clock.now += timedelta(days=1)
    chain.night()
    assert Period(date(2026, 7, 1), date(2026, 8, 1)) in [window for _, window in aws.asked]
    assert (chain.spent(11), chain.charges.incomplete(chain.clock().date()).lines) == (80, [])


def test_a_payer_is_read_back_13_months_at_most_and_what_is_before_is_said(chain: Chain, aws: FakePayers) -> None:
    add(chain)
    chain.load(of(11, ONE, rule=PeriodRule(PeriodKind.FIXED, date(2025, 1, 1), date(2027, 1, 1))))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE")]
    for month in range(1, 13):
        spend(aws, ONE, "1", date(2025, month, 25))
        spend(aws, ONE, "1", date(2026, month, 5))
    chain.night()
    assert min(window.start for _, window in aws.asked) == date(2025, 10, 20)
    assert chain.spent() == 14
    assert chain.charges.incomplete(TODAY).lines == [
        "P11: January to October 2025 of 111111111111 can't be read any more; "
        "`budgets set --opening-balance` takes what was spent then"
    ]
    aws.asked.clear()
    chain.clock.now += timedelta(days=1)
    chain.night()
    assert min(window.start for _, window in aws.asked) == date(2026, 10, 13)


def test_an_account_that_truly_had_nothing_in_a_month_makes_it_paid_for_three_nights_and_no_longer(
    chain: Chain, aws: FakePayers
) -> None:
    add(chain)
    april = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
    chain.load(of(11, ONE, rule=april), of(12, TWO, rule=april))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE")]
    for month in range(4, 12):
        spend(aws, TWO, "10", date(2026, month, 7))
        if month > 8:
            spend(aws, ONE, "10", date(2026, month, 7))
    asked = []
    for _ in range(5):
        aws.asked.clear()
        chain.night()
        asked.append([window.start.month for _, window in aws.asked if window.start.month < 10])
        chain.clock.now += timedelta(days=1)
    # August comes before the account's first charges; the months before it are next to none.
    assert asked == [[9, 8, 7, 6, 5, 4], [8], [8], [], []]
    assert chain.charges.incomplete(chain.clock().date()).lines == []


def test_charges_that_were_missed_for_three_nights_are_told_and_all_come_back_however_old_their_days_are_by_then(
    chain: Chain, aws: FakePayers
) -> None:
    add(chain)
    chain.load(of(11, ONE), of(12, TWO))
    for account in (ONE, TWO):
        for day in range(12, 32):
            spend(aws, account, "1", date(2026, 10, day))
        spend(aws, account, "5")
    true, october = dict(aws.charges), Period(date(2026, 10, 1), date(2026, 11, 1))
    chain.night()
    aws.charges = {key: cost for key, cost in true.items() if key[1] != ONE}
    for _ in range(3):
        chain.clock.now += timedelta(days=1)
        chain.night()
    # The first day had left the look-back.
    assert spent_on(chain, october) == {ONE: Decimal(1), TWO: Decimal(20)}
    (told,) = [mail for mail in chain.mailer.sent if "gone" in mail.subject]
    assert "October" in told.text
    chain.clock.now += timedelta(days=25)
    aws.charges = true
    chain.night()
    assert spent_on(chain, october) == {ONE: Decimal(20), TWO: Decimal(20)}


def test_an_account_whose_charges_cant_be_stored_fails_alone(chain: Chain, aws: FakePayers) -> None:
    add(chain)
    chain.load(of(11, ONE), of(12, TWO))
    spend(aws, ONE, "10")
    aws.charges[PAYER, TWO, YESTERDAY, "s" * 201] = Decimal(1)
    chain.night()
    assert spent_on(chain) == {ONE: Decimal(10)}
    (line,) = chain.charges.incomplete(chain.clock().date()).lines
    assert line.startswith("P12")
    assert "201" in line


def test_where_calls_are_few_a_window_in_doubt_keeps_its_month_so_and_is_believed_the_third_night(
    chain: Chain, aws: FakePayers
) -> None:
    add(chain)
    chain.configure(aws_calls_per_day=99)
    chain.load(of(11, ONE))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE")]
    for day in range(1, 31):
        spend(aws, ONE, "10", date(2026, 11, day))
        spend(aws, TWO, "1", date(2026, 11, day))
    aws.page_days = 1
    for night in range(7):
        if night in (2, 6):
            # Once they suffice again, windows are still as short as they were.
            chain.configure(aws_calls_per_day=36 if night == 2 else 99)
        if night == 4:
            for day in range(11, 31):
                del aws.charges[PAYER, ONE, date(2026, 11, day), "Amazon EC2"]
        chain.night()
        if night in (4, 5):
            (line,) = chain.charges.incomplete(chain.clock().date()).lines
            assert line.startswith(f"P11: November 2026 of {ONE} came without any charge")
        if night < 6:
            chain.clock.now += timedelta(days=1)
    assert (chain.spent(), chain.charges.incomplete(chain.clock().date()).lines) == (100, [])


def test_what_another_cloud_account_feeds_is_left_out(chain: Chain, aws: FakePayers) -> None:
    first, second = add(chain, OTHER), add(chain)
    chain.load(of(11, ONE))
    chain.payers.adopt(first, "aws", [ONE])
    spend(aws, ONE, "10", payer=OTHER)
    spend(aws, ONE, "10")
    spend(aws, TWO, "3")
    chain.night()
    assert spent_on(chain) == {ONE: Decimal(10), TWO: Decimal(3)}
    assert [each.id for each in chain.payers.members(first)] == [ONE]
    assert [each.id for each in chain.payers.members(second)] == [TWO, PAYER]
    (sync,) = chain.payers.syncs(second, 9)
    assert (sync.left_out, sync.rows, sync.totals) == ((ONE,), 1, {"USD": Decimal(3)})
    # Once the other is disabled, the payer reads it.
    chain.cloud_account_service.disable(first, "ann")
    chain.clock.now += timedelta(days=1)
    chain.night()
    assert [each.id for each in chain.payers.members(second)] == [ONE, TWO, PAYER]
    assert chain.payers.syncs(second, 1)[0].left_out == ()


def test_listed_accounts_without_costs_that_another_feeds_are_left_out_by_name_too(
    chain: Chain, aws: FakePayers
) -> None:
    first, second = add(chain, OTHER), add(chain)
    chain.payers.adopt(first, "aws", [ONE])
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE")]
    chain.night()
    assert chain.payers.syncs(second, 1)[0].left_out == (ONE,)


def test_removing_a_cloud_account_takes_its_syncs_and_counts_with_it(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    spend(aws, ONE, "10")
    chain.night()
    assert chain.payers.calls_on(payer, TODAY) == 2
    chain.cloud_account_service.remove(payer)
    assert (chain.payers.calls_on(payer, TODAY), chain.payers.syncs(payer, 9)) == (0, [])
    assert spent_on(chain) == {ONE: Decimal(10)}


def test_one_that_is_disabled_is_not_asked(chain: Chain, aws: FakePayers) -> None:
    add(chain, status=AccountStatus.DISABLED)
    chain.load(of(11, ONE))
    assert chain.tonight() == 0
    assert aws.asked == []


def test_a_payer_that_refuses_fails_alone_and_is_told_once_a_day(chain: Chain, aws: FakePayers) -> None:
    refused, good = add(chain, OTHER), add(chain)
    chain.load(of(11, ONE), of(12, TWO))
    chain.payers.adopt(refused, "aws", [ONE])
    spend(aws, TWO, "10")
    aws.fails = lambda query: NeverError("The role may not be assumed.") if query.cloud_account.id == refused else None
    chain.night()
    assert status(chain, refused) == (AccountStatus.ERROR, "The role may not be assumed.")
    assert status(chain, good) == (AccountStatus.ACTIVE, None)
    assert chain.spent(12) == 10
    assert chain.payers.syncs(refused, 1)[0].errors == ("The role may not be assumed.",)
    (told,) = [mail for mail in chain.mailer.sent if "ops@example.com" in mail.to]
    assert "The role may not be assumed." in told.text
    chain.work(Queue.UPDATE, json.dumps({"CloudAccountId": refused}))
    chain.drain()
    assert len(chain.mailer.sent) == 1
    chain.clock.now += timedelta(days=1)
    chain.night()
    assert len(chain.mailer.sent) == 2


def test_a_month_without_an_answer_fails_alone_and_one_that_refuses_the_role_takes_back_none(
    chain: Chain, aws: FakePayers
) -> None:
    payer = add(chain)
    chain.load(of(11, ONE, rule=PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE")]
    for month in range(4, 12):
        spend(aws, ONE, "5", date(2026, month, 2))
    fails = {11: NoAnswerError("It does not end."), 9: NeverError("The role may not be assumed.")}
    aws.fails = lambda query: fails.get(query.window.start.month)

    def reasons() -> dict[int, str | None]:
        return {month.month: each.reason for month, each in chain.charges.account("aws", ONE).known.items()}

    chain.night()
    refused = dict.fromkeys(range(4, 10), "The role may not be assumed.")
    assert reasons() == refused | {10: None, 11: "It does not end."}
    assert chain.spent() == 5
    del fails[9]
    chain.clock.now += timedelta(days=1)
    chain.night()
    assert reasons() == dict.fromkeys(refused) | {10: None, 11: "It does not end."}
    assert chain.spent() == 35
    assert status(chain, payer)[1] == "November 2026 could not be read: It does not end."


def test_what_is_read_again_is_stored_once(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    for account in (ONE, TWO):
        for service in ("Amazon EC2", "Amazon S3"):
            aws.charges[PAYER, account, YESTERDAY, service] = Decimal(2)
    chain.night()
    for text in [json.dumps({"CloudAccountId": payer})] * 3:
        chain.work(Queue.UPDATE, text)
    threads = [threading.Thread(target=chain.work, args=(Queue.UPDATE, text)) for text in [text] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain.drain()
    count = chain.database.read(lambda connection: connection.scalar(select(func.count()).select_from(charges)))
    assert (count, spent_on(chain)) == (4, {ONE: Decimal(4), TWO: Decimal(4)})


def test_a_throttle_puts_the_message_back_and_what_was_read_stays(chain: Chain, aws: FakePayers) -> None:
    add(chain)
    chain.load(of(11, ONE))
    spend(aws, ONE, "10")
    spend(aws, ONE, "4", OCTOBER)
    errors = [None, LaterError("throttled", timedelta(seconds=40))]
    aws.fails = lambda _query: errors.pop(0) if errors else None
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    (again,) = only(UpdateMessage, chain.work(queue, text))
    assert (spent_on(chain), again.envelope.attempt) == ({ONE: Decimal(10)}, 1)
    assert chain.queues.sent[-1][2] >= timedelta(seconds=40)
    chain.drain()
    assert [window.start for _, window in aws.asked] == [NOVEMBER.start, date(2026, 10, 12), date(2026, 10, 12)]
    assert spent_on(chain, Period(date(2026, 10, 1), date(2026, 11, 1))) == {ONE: Decimal(4)}
    # Once it was asked for again, nothing is wrong with the sync.
    (sync,) = chain.payers.syncs(1, 9)
    assert (sync.rows, sync.calls, sync.errors) == (2, 2, ())


def test_a_project_s_message_reads_its_account_and_no_other(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    chain.load(of(11, ONE), of(12, TWO))
    chain.payers.adopt(payer, "aws", [ONE, TWO])
    spend(aws, ONE, "10")
    spend(aws, TWO, "10")
    spend(aws, THREE, "10")
    chain.work(Queue.UPDATE, json.dumps({"ProjectId": 11}))
    chain.drain()
    assert spent_on(chain) == {ONE: Decimal(10)}


@pytest.mark.parametrize(
    "said",
    [
        None,
        LaterError("It is unwell (503)."),
        LaterError("Wait (429).", timedelta(seconds=20)),
        NeverError("The role is missing (403)."),
    ],
)
def test_where_the_paid_calls_are_made_what_the_other_cloud_has_is_read_to_its_end_and_its_refusals_are_told(
    chain: Chain, aws: FakePayers, said: Exception | None
) -> None:
    payer = add(chain)
    chain.configure(aws_calls_per_day=1)
    both = entry(11, currency="USD", rule=PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1)))
    chain.load(replace(both, scopes=(*both.scopes, Scope("aws", ONE))))
    chain.costs.currency_of = lambda _day: "USD"
    chain.payers.adopt(payer, "aws", [ONE])
    assert chain.payers.may_call(payer, TODAY, 1)
    for month in range(4, 12):
        chain.spend("100", date(2026, month, 19))
    answers = iter([None, None, said])
    chain.costs.fails = lambda _query: next(answers, None)
    run, _ = chain.run_now(project="P11")
    chain.work_off(hours=3)
    is_refused = isinstance(said, NeverError)
    assert chain.spent() == (700 if is_refused else 800)
    assert aws.pages == 0
    told = [reason for _, reason in chain.runs.failures(run)]
    assert told == (["September 2026 could not be read: The role is missing (403)."] if is_refused else [])
    assert chain.runs.get(run).state is (RunState.FAILED if is_refused else RunState.DONE)


def test_a_message_by_hand_reads_all_of_a_cloud_account(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    spend(aws, ONE, "10")
    chain.work(Queue.UPDATE, json.dumps({"CloudAccountId": payer}))
    chain.drain()
    assert spent_on(chain) == {ONE: Decimal(10)}


# --- the paid calls of a day ---


def test_calls_that_do_not_reach_all_leave_the_rest_to_the_nights_after_the_newest_first(
    chain: Chain, aws: FakePayers
) -> None:
    payer = add(chain)
    chain.configure(aws_calls_per_day=2)
    chain.load(of(11, ONE))
    aws.page_days = 10
    spend(aws, ONE, "10")
    spend(aws, ONE, "4", OCTOBER)
    chain.night()
    # November's 20 days take two pages; October's first is one too many.
    assert [window for _, window in aws.asked] == [NOVEMBER, Period(date(2026, 10, 12), date(2026, 11, 1))]
    assert (aws.pages, chain.payers.calls_on(payer, TODAY)) == (2, 2)
    assert spent_on(chain) == {ONE: Decimal(10)}
    assert status(chain, payer) == (AccountStatus.ACTIVE, None)
    (sync,) = chain.payers.syncs(payer, 1)
    assert (sync.calls, sync.days_unfit, sync.errors) == (2, 20, ("The paid calls of the day are made.",))
    assert chain.mailer.sent == []
    # The night after, no window is longer than half of the one that did not fit, and what has waited comes second.
    chain.clock.now += timedelta(days=1)
    aws.asked.clear()
    chain.night()
    newest, second, *_ = [window for _, window in aws.asked]
    assert newest == Period(date(2026, 11, 12), date(2026, 11, 22))
    assert second.start.month == 10
    assert second.days <= 10


def test_days_that_the_calls_did_not_reach_are_said_from_the_first_night_on(chain: Chain, aws: FakePayers) -> None:
    add(chain)
    chain.configure(aws_calls_per_day=2)
    chain.load(of(11, ONE, rule=PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))))
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE")]
    for month in range(4, 12):
        spend(aws, ONE, "10", date(2026, month, 15))
    chain.night()
    assert chain.charges.incomplete(TODAY).lines == ["P11: costs of 111111111111 not read for April to September 2026"]


def test_once_calls_suffice_windows_are_whole_again(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    chain.configure(aws_calls_per_day=1)
    chain.load(of(11, ONE))
    spend(aws, ONE, "10")
    for _ in range(6):
        chain.night()
        chain.clock.now += timedelta(days=1)
    chain.configure(aws_calls_per_day=24)
    for _ in range(2):
        chain.night()
        chain.clock.now += timedelta(days=1)
    aws.asked.clear()
    chain.night()
    (sync,) = chain.payers.syncs(payer, 1)
    assert (sync.calls, sync.days_unfit, len(aws.asked)) == (2, None, 2)


@pytest.mark.parametrize("pages_of_a_day", [1, 3, 5, 12, 20])
def test_however_many_pages_a_day_takes_no_night_makes_more_calls_than_it_may_and_each_reads_old_days_too(
    chain: Chain, aws: FakePayers, pages_of_a_day: int
) -> None:
    payer = add(chain)
    chain.load(of(11, ONE))
    for day in range(1, 31):
        spend(aws, ONE, "1", date(2026, 10, day))
    spend(aws, ONE, "10")
    aws.page_days, aws.pages_of_a_day = 1, pages_of_a_day
    read: list[set[Period]] = []
    for _ in range(14):
        before = len(aws.answered)
        chain.night()
        assert chain.payers.calls_on(payer, chain.clock().date()) <= 24
        read.append(set(aws.answered[before:]))
        chain.clock.now += timedelta(days=1)
    # Once windows are as short as they have to be, every night reads the newest day, and others where calls are left.
    for night, windows in enumerate(read[6:], start=6):
        newest = TODAY + timedelta(days=night)
        assert any(newest in window for window in windows)
        if pages_of_a_day * 2 <= 24:
            assert len({window.start for window in windows}) > 1


@pytest.mark.parametrize(("page_days", "nights"), [(31, 1), (10, 2), (4, 6), (2, 11), (1, 18)])
def test_however_many_pages_a_month_takes_all_is_read_back_and_no_day_waits_for_ever(
    chain: Chain, aws: FakePayers, page_days: int, nights: int
) -> None:
    """24 calls a day: some go to the look-back each night, the others to what has waited longest."""
    add(chain)
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE")]
    chain.configure(aws_calls_per_day=24)
    chain.load(of(11, ONE, rule=PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))))
    for days in range(350):
        spend(aws, ONE, "10", date(2026, 4, 1) + timedelta(days=days))
    aws.page_days, asked = page_days, set[date]()
    for _ in range(nights):
        chain.night()
        asked |= {window.start + number * DAY for _, window in aws.asked for number in range(window.days)}
        chain.clock.now += DAY
    assert gaps(chain) == []
    assert {date(2026, 4, 1) + number * DAY for number in range(234)} <= asked


def gaps(chain: Chain) -> list[str]:
    chain.clock.now -= DAY
    (view,) = chain.projects.list_projects(chain.clock().date())
    chain.clock.now += DAY
    return [str(each) for each in view.gaps]


@pytest.mark.parametrize(("calls", "nights"), [(1, 3), (1, 4), (2, 4), (3, 4), (5, 4)])
def test_a_payer_whose_calls_ran_out_is_read_whole_on_the_first_night_on_which_they_suffice(
    chain: Chain, aws: FakePayers, calls: int, nights: int
) -> None:
    """A month is one page: eight of them, and what nights with few calls have left."""
    add(chain)
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE")]
    chain.configure(aws_calls_per_day=calls)
    chain.load(of(11, ONE, rule=PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))))
    for days in range(250):
        spend(aws, ONE, "10", date(2026, 4, 1) + timedelta(days=days))
    for _ in range(nights):
        chain.night()
        chain.clock.now += DAY
    chain.configure(aws_calls_per_day=24)
    chain.night()
    chain.clock.now += DAY
    assert gaps(chain) == []


def test_after_a_week_of_nights_that_fell_short_operators_are_told_once_which_setting_to_raise(
    chain: Chain, aws: FakePayers
) -> None:
    add(chain)
    chain.configure(aws_calls_per_day=1)
    chain.load(of(11, ONE))
    aws.page_days = 1
    spend(aws, ONE, "10")
    for _ in range(10):
        chain.night()
        chain.clock.now += timedelta(days=1)
    told = [mail for mail in chain.mailer.sent if "fall behind" in mail.subject]
    assert len(told) == 1
    assert "Raise AWS_CALLS_PER_DAY" in told[0].text
    assert aws.pages == 10


def test_what_people_sync_besides_counts_for_no_night_that_fell_short_and_hides_none(
    chain: Chain, aws: FakePayers
) -> None:
    payer = add(chain)
    chain.configure(aws_calls_per_day=2)
    chain.load(of(11, ONE))
    aws.page_days = 10
    spend(aws, ONE, "10")
    for day in range(8):
        chain.night()
        if day == 0:
            for _ in range(7):
                chain.work(Queue.UPDATE, json.dumps({"CloudAccountId": payer}))
                chain.drain()
            assert chain.mailer.sent == []
        chain.clock.now += timedelta(days=1)
    assert chain.payers.calls_on(payer, TODAY) == 2


def test_each_sync_tells_its_own_paid_calls_and_how_long_it_took(chain: Chain, aws: FakePayers) -> None:
    payer = add(chain)
    spend(aws, ONE, "10")

    def slow(_query: object) -> None:
        chain.clock.now += timedelta(seconds=3)

    aws.fails = slow
    chain.night()
    chain.work(Queue.UPDATE, json.dumps({"CloudAccountId": payer}))
    chain.drain()
    assert [(each.calls, each.seconds) for each in chain.payers.syncs(payer, 9)] == [(2, 6.0), (2, 6.0)]
    assert chain.payers.calls_on(payer, TODAY) == 4


# --- a project over two clouds: what is told in one night ---


def over_two_clouds(chain: Chain, azure: str, at_aws: str, aws: FakePayers) -> None:
    add(chain)
    both = entry(11, "100", currency="USD")
    chain.load(replace(both, scopes=(*both.scopes, Scope("aws", ONE))))
    chain.costs.currency_of = lambda _day: "USD"
    chain.spend(azure, YESTERDAY)
    spend(aws, ONE, at_aws)


@pytest.mark.parametrize(
    ("azure", "at_aws", "azure_first", "aws_first"),
    [
        ("55", "10", [50], [50]),
        ("10", "55", [50], [50]),
        ("15", "15", [25], [25]),
        # Another threshold is another mail: none waits for a cloud that is not read yet.
        ("55", "30", [50, 80], [25, 80]),
    ],
)
@pytest.mark.parametrize("is_azure_first", [True, False])
def test_a_project_over_two_clouds_gets_one_mail_for_a_threshold_whichever_answers_first(
    chain: Chain,
    aws: FakePayers,
    azure: str,
    at_aws: str,
    azure_first: list[int],
    aws_first: list[int],
    is_azure_first: bool,
) -> None:
    """Each cloud is read, checked and mailed to its end before the other begins."""
    over_two_clouds(chain, azure, at_aws, aws)
    sent = sorted((text for _, text, _ in _night(chain)), key=lambda text: "SubscriptionId" in text)
    for text in reversed(sent) if is_azure_first else sent:
        chain.work(Queue.UPDATE, text)
        chain.drain()
    told = [f"[P11] {percent} % of the budget reached" for percent in (azure_first if is_azure_first else aws_first)]
    assert chain.subjects() == told
    chain.clock.now += timedelta(days=1)
    chain.night()
    assert chain.subjects() == told


def _night(chain: Chain) -> list[tuple[Queue, str, timedelta]]:
    assert chain.tonight() == 2
    return chain.queues.take()


def test_checks_of_both_clouds_at_once_make_one_mail(chain: Chain, aws: FakePayers) -> None:
    over_two_clouds(chain, "35", "20", aws)
    for _, text, _ in _night(chain):
        chain.work(Queue.UPDATE, text)
    checks = [text for queue, text, _ in chain.queues.take() if queue is Queue.NOTIFICATION]
    assert len(checks) == 2
    threads = [threading.Thread(target=chain.work, args=(Queue.NOTIFICATION, text)) for text in checks * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain.drain()
    assert chain.subjects() == ["[P11] 50 % of the budget reached"]


def test_both_clouds_read_before_the_check_are_one_mail_for_the_highest_threshold(
    chain: Chain, aws: FakePayers
) -> None:
    over_two_clouds(chain, "55", "30", aws)
    chain.night()
    assert chain.subjects() == ["[P11] 80 % of the budget reached"]


def test_a_window_that_did_not_fit_is_halved_the_night_after_whoever_is_left_out(chain: Chain, aws: FakePayers) -> None:
    first, payer = add(chain, OTHER, AccountStatus.PENDING), add(chain)
    chain.configure(aws_calls_per_day=1)
    chain.payers.adopt(first, "aws", [TWO])
    aws.listed[PAYER] = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE")]
    aws.page_days = 10
    chain.night()
    assert chain.payers.syncs(payer, 1)[0].days_unfit == 20
    chain.clock.now += timedelta(days=1)
    aws.asked.clear()
    chain.night()
    assert next(window.days for by, window in aws.asked if by == PAYER) == 10
