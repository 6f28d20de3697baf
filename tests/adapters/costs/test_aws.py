"""Cost Explorer, as the stand-in plays it to the genuine clients: what only AWS's answers have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from localdev.aws_sim import AwsAccount, AwsCharge, AwsSimulator, Organization
from shared.adapters.costs.aws import AwsCosts
from shared.adapters.costs.progress import unpacked
from shared.domain.periods import Period
from shared.ports.costs import AccountsAnswer, AccountsQuery, SubAccount
from shared.ports.errors import CallsUsedError, LaterError, NeverError, NoAnswerError, PauseError, UntilMendedError
from tests.aws_worlds import ACCOUNT, HOME, KEYS, OTHER, always, at_most, aws_costs, cloud_account, role_in, with_roles
from tests.fakes import FakeClock

NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
DAY = date(2026, 11, 10)
PAYER = "400000000004"
ORGANIZATION = cloud_account(PAYER, is_organization=True)
ALONE = cloud_account()


def a_charge(amount: str = "1", account: str = ACCOUNT, day: date = DAY, service: str = "Amazon S3", **more: object):
    return AwsCharge(account, service, day, Decimal(amount), **more)  # type: ignore[arg-type]


@pytest.fixture
def aws() -> Iterator[AwsSimulator]:
    with AwsSimulator(rows_a_page=2, page_size=2) as simulator:
        simulator.add_organization(
            Organization(
                PAYER,
                {each.id: each for each in (AwsAccount(PAYER, "Payer"), AwsAccount(ACCOUNT, "Web", unit="ou-web"))},
                {"ou-web": "r-root", "ou-deep": "ou-web"},
            )
        )
        simulator.organizations[PAYER].add(AwsAccount(OTHER, "Old", "SUSPENDED", "ou-deep"))
        with_roles(simulator, PAYER, ACCOUNT)
        yield simulator


@pytest.fixture
def costs(aws: AwsSimulator) -> AwsCosts:
    return aws_costs(aws, read_seconds=1.0)


def read(costs: AwsCosts, account=ORGANIZATION, may_call: Callable[[], bool] = always, **how: object) -> AccountsAnswer:
    return costs.read_all(AccountsQuery(account, NOVEMBER), may_call, **how)  # type: ignore[arg-type]


def amounts(answer: AccountsAnswer) -> dict:
    return {
        (account, each.billing_currency, day, service): amount
        for account, sets in answer.charges.items()
        for each in sets
        for (_group, day, service), amount in each.amounts.items()
    }


def total(answer: AccountsAnswer) -> Decimal:
    return sum(amounts(answer).values(), Decimal(0))


def paid(aws: AwsSimulator) -> int:
    return aws.stats()["paid_pages"]


def asked(aws: AwsSimulator) -> list:
    return [call.given for call in aws.calls if call.operation == "GetCostAndUsage"]


def five_rows(aws: AwsSimulator) -> None:
    """Three pages."""
    aws.book.add(a_charge(str(2**number), day=date(2026, 11, 1 + number)) for number in range(5))


# --- what is asked ---


def test_one_question_a_page_brings_all_accounts_of_an_organization(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.book.add([a_charge("1.5"), a_charge("2", OTHER), a_charge("4", PAYER, service="Tax"), a_charge("8", OTHER)])
    answer = read(costs)
    assert amounts(answer) == {
        (ACCOUNT, "USD", DAY, "Amazon S3"): Decimal("1.5"),
        (OTHER, "USD", DAY, "Amazon S3"): Decimal(10),
        (PAYER, "USD", DAY, "Tax"): Decimal(4),
    }
    assert answer.names == {PAYER: "Payer", ACCOUNT: "Web", OTHER: "Old"}
    assert [each.get("NextPageToken") is None for each in asked(aws)] == [True, False]
    assert aws.stats()["cost_usd"] == "0.02"


def test_the_request_is_daily_ends_before_its_end_and_groups_by_account_and_service(aws, costs) -> None:
    read(costs)
    assert asked(aws) == [
        {
            "TimePeriod": {"Start": "2026-11-01", "End": "2026-12-01"},
            "Granularity": "DAILY",
            "Metrics": ["UnblendedCost"],
            "GroupBy": [{"Type": "DIMENSION", "Key": "LINKED_ACCOUNT"}, {"Type": "DIMENSION", "Key": "SERVICE"}],
        }
    ]


def test_one_account_is_asked_for_itself_alone_even_where_it_is_a_payer(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.book.add([a_charge("1", PAYER), a_charge("2", OTHER)])
    assert set(read(costs, replace(ORGANIZATION, is_organization=False)).charges) == {PAYER}


def test_meters_of_one_account_are_told_apart_over_all_pages_and_a_charge_is_their_sum(
    aws: AwsSimulator, costs: AwsCosts
) -> None:
    usage = {"EU-Requests": "0.1", "EU-Storage": "0.00000000005", "EU-Out": "-0.04"}
    aws.book.add(a_charge(cost, usage_type=meter) for meter, cost in usage.items())
    answer = read(costs, replace(ALONE, detail="meter"))
    (charges,) = answer.charges[ACCOUNT]
    assert charges.meters == {
        ("", DAY, "Amazon S3", meter): Decimal(cost) for meter, cost in (usage | {"EU-Storage": "0"}).items()
    }
    assert amounts(answer) == {(ACCOUNT, "USD", DAY, "Amazon S3"): Decimal("0.06")}
    assert read(costs, ALONE).charges[ACCOUNT][0].meters == {}
    assert [key["Key"] for key in asked(aws)[0]["GroupBy"]] == ["SERVICE", "USAGE_TYPE"]
    assert len(asked(aws)) == 3


def test_the_chosen_accounts_of_an_organization_are_read_and_no_others(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.book.add([a_charge("1"), a_charge("2", OTHER), a_charge("4", PAYER)])
    chosen = replace(ORGANIZATION, reads=(PAYER,))
    assert set(read(costs, chosen).charges) == {PAYER}
    assert set(read(costs, replace(ORGANIZATION, organizational_unit="ou-web")).charges) == {ACCOUNT, OTHER}
    assert set(read(costs, replace(chosen, organizational_unit="ou-deep")).charges) == {PAYER, OTHER}
    given, before = tuple(f"5{number:011}" for number in range(200)), paid(aws)
    answer = read(costs, replace(ORGANIZATION, reads=(*given, OTHER)))
    assert set(answer.charges) == {OTHER}, "so many are left out here"
    assert set(answer.names) == {OTHER}
    assert "Filter" not in asked(aws)[-1]
    assert paid(aws) > before


def test_of_no_accounts_nothing_is_asked(aws: AwsSimulator, costs: AwsCosts) -> None:
    assert read(costs, replace(ORGANIZATION, reads=())).charges == {}
    assert asked(aws) == []


def test_credits_and_refunds_are_in_or_out(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.book.add([a_charge("10"), a_charge("-4", record_type="Credit"), a_charge("-1", record_type="Refund")])
    assert total(read(costs)) == 5
    assert total(read(costs, replace(ORGANIZATION, without_credits=True))) == 10
    assert total(read(costs, replace(ALONE, without_credits=True))) == 10


def test_amortized_costs_are_another_metric(aws: AwsSimulator) -> None:
    aws.book.add([a_charge("300", amortized=Decimal(10))])
    assert total(read(aws_costs(aws))) == 300
    amortized = AwsCosts(aws_costs(aws).access, "AmortizedCost")
    assert total(read(amortized)) == 10
    with pytest.raises(ValueError, match="BlendedCost"):
        AwsCosts(amortized.access, "BlendedCost")


# --- what comes ---


@pytest.mark.parametrize(
    ("text", "amount"), [("1E-7", "0.0000001"), ("-0", "0"), ("+2.50", "2.5"), (".5", "0.5"), ("1E-400", "0")]
)
def test_amounts_are_read_from_their_text(aws: AwsSimulator, costs: AwsCosts, text: str, amount: str) -> None:
    aws.book.add([a_charge("1")])
    aws.fault("amount", operation="GetCostAndUsage", text=text)
    ((_key, read_amount),) = amounts(read(costs, ALONE)).items()
    assert read_amount == Decimal(amount)
    assert not read_amount.is_signed()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "", "1_000", "12,5", "1E+30", "1E99999", "٣"])
def test_an_amount_that_is_none_is_set_aside_with_its_account(aws: AwsSimulator, costs: AwsCosts, text: str) -> None:
    aws.book.add([a_charge("1"), a_charge("2", OTHER)])
    aws.fault("amount", operation="GetCostAndUsage", text=text)
    answer = read(costs)
    assert set(answer.charges) == {OTHER}
    assert set(answer.odd) == {ACCOUNT}
    assert answer.odd[ACCOUNT].startswith(
        "AWS's answer has a row that is no charge (2026-11-10, Amazon S3): its amount is"
    )


OF_ACCOUNT = f'"Keys": ["{ACCOUNT}", "Amazon S3"]'


@pytest.mark.parametrize(
    ("row", "whose", "said"),
    [
        (
            f'{{{OF_ACCOUNT}, "Metrics": {{"UnblendedCost": {{"Amount": 1.5, "Unit": "USD"}}}}}}',
            ACCOUNT,
            "is 1.5, which",
        ),
        (f'{{{OF_ACCOUNT}, "Metrics": {{"UnblendedCost": {{"Unit": "USD"}}}}}}', ACCOUNT, "it has no amount"),
        (f'{{{OF_ACCOUNT}, "Metrics": {{"UnblendedCost": {{"Amount": "1"}}}}}}', ACCOUNT, "it has no unit"),
        (
            f'{{{OF_ACCOUNT}, "Metrics": {{"BlendedCost": {{"Amount": "1", "Unit": "USD"}}}}}}',
            ACCOUNT,
            "it has no unit",
        ),
        (f"{{{OF_ACCOUNT}}}", ACCOUNT, "it has no unit"),
        (f'{{"Keys": ["{ACCOUNT}"]}}', "", r"\(2026-11-10\): its keys are not two texts"),
        ('{"Metrics": {}}', "", "its keys are not two texts"),
        ("null", "", "its keys are not two texts"),
        ('{"Keys": ["1", 2]}', "", "its keys are not two texts"),
        (f'{{{OF_ACCOUNT}, "Metrics": {{"UnblendedCost": null}}}}', ACCOUNT, "it has no unit"),
    ],
)
def test_a_row_that_lacks_something_is_set_aside_alone(
    aws: AwsSimulator, costs: AwsCosts, row: str, whose: str, said: str
) -> None:
    aws.book.add([a_charge("1"), a_charge("2", OTHER)])
    aws.fault("row", operation="GetCostAndUsage", text=row)
    answer = read(costs)
    assert set(answer.charges) == {OTHER}
    assert set(answer.odd) == {whose}
    assert re.search(said, answer.odd[whose])


def test_a_unit_that_changes_makes_another_set(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.book.add([a_charge("1"), a_charge("2", day=date(2026, 11, 11), unit="EUR")])
    assert [each.billing_currency for each in read(costs).charges[ACCOUNT]] == ["EUR", "USD"]
    aws.fault("unit", operation="GetCostAndUsage", text="credits")
    assert "its unit is wrong: 'credits' is not a currency" in read(costs).odd[ACCOUNT]


def test_an_account_that_is_none_is_told_without_one(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.organizations[PAYER].add(AwsAccount("NoLinkedAccount", ""))
    aws.book.add([a_charge("1"), a_charge("3", "NoLinkedAccount")])
    answer = read(costs)
    assert set(answer.charges) == {ACCOUNT}
    assert "'NoLinkedAccount' is no AWS account" in answer.odd[""]


def test_the_first_estimated_day_is_told(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    assert read(costs).estimated_from is None
    aws.costs.estimated_from = date(2026, 11, 3)
    assert read(costs).estimated_from == date(2026, 11, 3)


def test_a_window_that_is_too_long_is_refused_before_it_is_paid_for(aws: AwsSimulator, costs: AwsCosts) -> None:
    with pytest.raises(NeverError, match="31 days at most; 61"):
        costs.read_all(AccountsQuery(ALONE, Period(date(2026, 10, 1), date(2026, 12, 1))), at_most(0))


# --- pages ---


def test_pages_of_an_answer_are_asked_for_half_a_second_apart(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    waited: list[float] = []
    assert total(read(replace(costs, sleep=waited.append))) == 31
    assert (paid(aws), waited) == (3, [0.5, 0.5])


def test_every_page_is_asked_for_and_counted_before(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    assert total(read(costs, may_call=at_most(3))) == 31
    with pytest.raises(CallsUsedError, match="AWS_CALLS_PER_DAY") as caught:
        read(costs, may_call=at_most(2))
    assert paid(aws) == 5
    assert total(read(costs, may_call=at_most(1), progress=caught.value.progress)) == 31
    with pytest.raises(CallsUsedError) as nothing:
        read(costs, may_call=at_most(0))
    assert nothing.value.progress is None


@pytest.mark.parametrize("fault", ["throttled", "unavailable", "truncated", "invalid_json", "silent", "slow"])
def test_what_breaks_off_in_the_middle_goes_on_there_and_nothing_is_tried_twice(
    aws: AwsSimulator, costs: AwsCosts, fault: str
) -> None:
    five_rows(aws)
    aws.fault(fault, operation="GetCostAndUsage", after=2, seconds=90)
    with pytest.raises(LaterError) as caught:
        read(costs)
    assert len(asked(aws)) == 3
    assert len(unpacked(caught.value.progress or b"").pages) == 2
    answer = read(costs, progress=caught.value.progress)
    assert total(answer) == 31
    assert len(asked(aws)) == 4


def test_no_page_but_a_first_is_begun_after_the_time_that_a_message_has(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    progress, until = None, costs.clock() - timedelta(seconds=1)
    for pages in (1, 2):
        with pytest.raises(PauseError) as caught:
            read(costs, progress=progress, until=until)
        assert caught.value.wait == timedelta(0)
        progress = caught.value.progress
        assert len(asked(aws)) == pages
    assert total(read(costs, progress=progress, until=until)) == 31


def test_pages_of_hours_ago_or_of_another_question_are_asked_for_again(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    costs.clock = clock = FakeClock(datetime.now(UTC))
    with pytest.raises(CallsUsedError) as caught:
        read(costs, may_call=at_most(2))
    progress, begun_at = caught.value.progress, clock.now
    clock.forward(minutes=5)
    answer = read(costs, progress=progress)
    assert answer.begun_at == begun_at
    assert len(asked(aws)) == 3
    read(costs, replace(ORGANIZATION, without_credits=True), progress=progress)
    assert len(asked(aws)) == 6
    clock.forward(hours=2)
    assert read(costs, progress=progress).begun_at == clock.now
    assert len(asked(aws)) == 9


@pytest.mark.parametrize("fault", ["request_changed", "invalid_token"])
def test_pages_that_no_longer_belong_together_begin_anew_twice_at_most(
    aws: AwsSimulator, costs: AwsCosts, fault: str
) -> None:
    five_rows(aws)
    for after in (1, 2):
        aws.fault(fault, operation="GetCostAndUsage", after=after)
    assert total(read(costs)) == 31
    for _ in range(3):
        aws.fault(fault, operation="GetCostAndUsage", after=1)
    with pytest.raises(NoAnswerError, match="begun anew 2 times"):
        read(costs)


def test_beginnings_anew_are_counted_over_what_breaks_off_in_between(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    progress = None
    for _ in range(2):
        aws.fault("request_changed", operation="GetCostAndUsage")
        aws.fault("throttled", operation="GetCostAndUsage")
        with pytest.raises(LaterError) as caught:
            read(costs, progress=progress)
        progress = caught.value.progress
    aws.fault("request_changed", operation="GetCostAndUsage")
    with pytest.raises(NoAnswerError, match="begun anew 2 times"):
        read(costs, progress=progress)


def test_a_page_that_leads_to_itself_ends_the_reading_at_once(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    aws.costs.follow_any_token = True
    aws.fault("looping_token", operation="GetCostAndUsage", times=None)
    with pytest.raises(NoAnswerError, match="goes in a circle: page 2 leads to a page that was read already"):
        read(costs)
    assert len(asked(aws)) == 2


def test_several_threads_read_at_once_and_sign_in_once(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _number: read(costs), range(8)))
    assert [total(answer) for answer in answers] == [31] * 8
    assert paid(aws) == 24
    assert aws.stats()["calls"]["AssumeRole"] == 1


# --- what AWS says no to ---


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("throttled", LaterError, "asks us to wait before we ask it to tell the costs of cloud account 7 .prod."),
        ("data_unavailable", LaterError, "up to 24 hours after Cost Explorer was enabled"),
        ("server_error", LaterError, "can't tell the costs .* at the moment: InternalFailure"),
        ("unavailable", LaterError, "can't tell the costs .* at the moment: 503"),
        ("silent", LaterError, "did not answer in time, or not to the end"),
        ("invalid_json", LaterError, "can't be read"),
        ("expired_token", LaterError, "has expired; the next try signs in anew"),
        ("bill_expired", NoAnswerError, "13 months at most"),
        (
            "opt_in_required",
            NeverError,
            "OptInRequired: .* Where it is Cost Explorer, open that once in the AWS console",
        ),
        ("subscription_required", NeverError, "SubscriptionRequired.* Where it is Cost Explorer, open that once"),
        ("unknown_key", NeverError, "does not know the role arn:aws:iam::400000000004:role/costs"),
        ("unknown", NeverError, "refuses to tell .*: SomethingNewException: Nobody has heard of this before"),
        ("access_denied", NeverError, "a policy of the role arn:.* allows ce:GetCostAndUsage, and that nothing denies"),
    ],
)
def test_what_aws_answers_is_later_or_never_by_its_code(
    aws: AwsSimulator, costs: AwsCosts, fault: str, error: type[Exception], said: str
) -> None:
    aws.fault(fault, operation="GetCostAndUsage")
    with pytest.raises(error, match=said) as caught:
        read(costs)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert isinstance(caught.value, NoAnswerError) == (error is NoAnswerError)


def test_cost_explorer_that_was_never_enabled_is_told_as_that(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.costs.not_enabled.add(PAYER)
    for account in (ORGANIZATION, ALONE):
        with pytest.raises(NeverError, match=r"Cost Explorer was never enabled there\. Open it once"):
            read(costs, account)


def test_members_that_their_organization_keeps_out_are_told_so(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.organizations[PAYER].members_see_costs = False
    read(costs)
    with pytest.raises(NeverError, match=r"management account .* keeps Cost Explorer from its members"):
        read(costs, ALONE)


def test_periods_that_aws_refuses_are_told_in_its_words(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.costs.today = lambda: date(2026, 10, 5)
    with pytest.raises(NoAnswerError, match="ValidationException: end date past the beginning of next month"):
        read(costs)
    aws.costs.today = lambda: date(2028, 10, 5)
    with pytest.raises(NoAnswerError, match="beyond 14 months"):
        read(costs)


def test_a_clock_that_is_wrong_is_told_as_that(aws: AwsSimulator) -> None:
    with_roles(aws, PAYER)
    real, costs = aws.now, aws_costs(aws)
    for wrong in (timedelta(hours=1), -timedelta(hours=1)):
        aws.iam.now = lambda wrong=wrong: real() + wrong
        with pytest.raises(UntilMendedError, match="clocks here and at AWS differ by more than five minutes"):
            read(aws_costs(aws, KEYS))
    aws.iam.now = real
    costs.access.session_of(ORGANIZATION)
    aws.iam.now = lambda: real() - timedelta(hours=1)
    with pytest.raises(UntilMendedError, match="clocks"):
        read(costs)


def test_a_session_that_aws_ended_is_made_anew_with_the_next_try(aws: AwsSimulator, costs: AwsCosts) -> None:
    five_rows(aws)
    aws.fault("expired_token", operation="GetCostAndUsage", after=1)
    with pytest.raises(LaterError) as caught:
        read(costs)
    assert total(read(costs, progress=caught.value.progress)) == 31
    assert aws.stats()["calls"]["AssumeRole"] == 2


def test_a_session_that_aws_does_not_know_any_more_is_made_anew_with_the_next_try(
    aws: AwsSimulator, costs: AwsCosts
) -> None:
    five_rows(aws)
    for operation, ask in (("GetCostAndUsage", read), ("ListAccounts", lambda costs: costs.sub_accounts(ORGANIZATION))):
        aws.fault("unknown_key", operation=operation)
        with pytest.raises(NeverError, match="does not know the role"):
            ask(costs)
        assert ask(costs)
    assert aws.stats()["calls"]["AssumeRole"] == 3


@pytest.mark.parametrize("operation", ["AssumeRole", "GetCallerIdentity", "ListAccountsForParent"])
def test_pages_that_came_stay_where_the_next_try_fails_before_it_asks_for_one(
    aws: AwsSimulator, costs: AwsCosts, operation: str
) -> None:
    five_rows(aws)
    unit = replace(ORGANIZATION, organizational_unit="ou-web")
    with pytest.raises(CallsUsedError) as caught:
        read(costs, unit, may_call=at_most(2))
    costs.access.forget()
    aws.fault("throttled", operation=operation)
    with pytest.raises(LaterError, match="asks us to wait") as again:
        read(costs, unit, progress=caught.value.progress)
    assert total(read(costs, unit, progress=again.value.progress)) == 31
    assert paid(aws) == 3


# --- accounts, and trying one out ---


def test_accounts_of_an_organization_are_listed_with_names_and_states(aws: AwsSimulator, costs: AwsCosts) -> None:
    assert costs.sub_accounts(ORGANIZATION) == {
        PAYER: SubAccount(PAYER, "Payer", "ACTIVE"),
        ACCOUNT: SubAccount(ACCOUNT, "Web", "ACTIVE"),
        OTHER: SubAccount(OTHER, "Old", "SUSPENDED"),
    }
    assert set(costs.sub_accounts(replace(ORGANIZATION, organizational_unit="ou-web")) or ()) == {ACCOUNT, OTHER}
    assert costs.sub_accounts(ALONE) is None
    assert paid(aws) == 0
    aws.organizations[PAYER].add(AwsAccount("500000000005", "New", state=""))
    assert (costs.sub_accounts(ORGANIZATION) or {})["500000000005"].state == ""


def test_where_accounts_may_not_be_listed_costs_are_read_but_not_of_a_unit(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.iam.roles[role_in(PAYER)].allows = frozenset({"ce:GetCostAndUsage"})
    aws.book.add([a_charge("1")])
    assert costs.sub_accounts(ORGANIZATION) is None
    assert total(read(costs)) == 1
    with pytest.raises(NeverError, match="unit ou-web can't be listed: allow organizations:ListAccounts"):
        read(costs, replace(ORGANIZATION, organizational_unit="ou-web"))


def test_a_payer_without_an_organization_has_nothing_to_list(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.organizations.clear()
    assert costs.sub_accounts(ORGANIZATION) is None


def test_a_list_of_accounts_that_can_not_be_had_now_is_for_later(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.fault("throttled", operation="ListAccounts")
    with pytest.raises(LaterError, match="list the accounts of the organization"):
        costs.sub_accounts(ORGANIZATION)
    aws.fault("hollow", operation="ListAccounts")
    with pytest.raises(LaterError, match="its answer can't be read"):
        costs.sub_accounts(ORGANIZATION)
    with pytest.raises(NeverError, match="ParentNotFoundException"):
        costs.sub_accounts(replace(ORGANIZATION, organizational_unit="ou-nowhere"))


def test_a_list_of_accounts_that_leads_to_itself_ends_at_once(aws: AwsSimulator, costs: AwsCosts) -> None:
    aws.fault("looping_token", operation="ListAccounts", times=9)
    with pytest.raises(NeverError, match="list of accounts goes in a circle"):
        costs.sub_accounts(ORGANIZATION)
    assert aws.stats()["calls"]["ListAccounts"] == 2


def test_trying_a_cloud_account_says_as_whom_and_costs_one_page(aws: AwsSimulator, costs: AwsCosts) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    aws.book.add(a_charge("1", day=yesterday, service=f"Service {number}") for number in range(9))
    tried = costs.test(ORGANIZATION, at_most(1))
    assert tried.signed_in_as == f"arn:aws:sts::{PAYER}:assumed-role/costs/budget-warden-7"
    assert tried.can_read
    assert tried.missing == ()
    assert paid(aws) == 1
    with pytest.raises(CallsUsedError):
        costs.test(ORGANIZATION, at_most(0))


def test_trying_a_cloud_account_finds_a_role_that_asks_for_no_external_id(aws: AwsSimulator, costs: AwsCosts) -> None:
    assert costs.test(ALONE, always).missing == ()
    aws.iam.roles[role_in(ACCOUNT)].external_id = None
    assert costs.test(ALONE, always).missing == (
        f"The role {role_in(ACCOUNT)} can be taken on with any external id: its trust policy has to ask for that of "
        "cloud account 7 (prod), by a condition on sts:ExternalId.",
    )
    aws.fault("throttled", operation="AssumeRole")
    assert costs.test(ALONE, always).missing == (), "what can't be told now is not told"


def test_trying_a_cloud_account_says_what_is_missing(aws: AwsSimulator, costs: AwsCosts) -> None:
    role = aws.iam.roles[role_in(PAYER)]
    role.allows = frozenset({"ce:GetCostAndUsage"})
    tried = costs.test(ORGANIZATION, always)
    assert tried.can_read
    assert "allow organizations:ListAccounts" in tried.missing[0]
    role.allows = frozenset()
    tried = costs.test(ORGANIZATION, always)
    assert not tried.can_read
    assert tried.signed_in_as
    assert "ce:GetCostAndUsage" in tried.missing[0]
    role.external_id = "another"
    tried = aws_costs(aws).test(ORGANIZATION, always)
    assert (tried.signed_in_as, tried.can_read) == (None, False)
    assert "external id" in tried.missing[0]
    other, whose = replace(ALONE, role_arn=None, external_account_id=OTHER), "the access keys of cloud account 7 (prod)"
    assert f"is of AWS account {OTHER}, and {whose} of {HOME}" in aws_costs(aws, KEYS).test(other, always).missing[0]


def test_a_role_of_another_account_is_told_and_nothing_is_asked_with_it(aws: AwsSimulator, costs: AwsCosts) -> None:
    with pytest.raises(NeverError, match=f"is of AWS account {OTHER}, and its role {role_in(ACCOUNT)} of {ACCOUNT}"):
        read(costs, replace(ALONE, external_account_id=OTHER))
    assert aws.calls == []
