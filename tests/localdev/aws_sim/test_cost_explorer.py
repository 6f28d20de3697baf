from datetime import date

import pytest
from botocore.exceptions import ClientError

PAYER, MEMBER = "200000000002", "300000000003"


def refusal(call):
    with pytest.raises(ClientError) as refused:
        call()
    return refused.value.response["Error"]["Code"]


def test_a_payer_reads_all_accounts_and_a_member_itself(running, charge):
    aws = running(charge("1"), charge("2", MEMBER, 6))
    aws.sim.iam.add_user(f"arn:aws:iam::{MEMBER}:user/one", "AKIAMEMBER0000000001", "other")
    member = aws.client("ce", {"AccessKeyId": "AKIAMEMBER0000000001", "SecretAccessKey": "other"})

    assert aws.rows() == [(PAYER, "2026-11-05", "1"), (MEMBER, "2026-11-06", "2")]
    groups = [group["Keys"][0] for result in aws.page(member)["ResultsByTime"] for group in result["Groups"]]
    assert groups == [MEMBER]


def test_every_row_is_on_one_page_and_every_page_is_paid_for(running, charge):
    aws = running(*(charge(f"{day}", day=day) for day in range(1, 8)), rows_a_page=3)

    assert [amount for _, _, amount in aws.rows()] == [str(day) for day in range(1, 8)]
    assert aws.sim.stats() == {"calls": {"GetCostAndUsage": 3}, "paid_pages": 3, "cost_usd": "0.03"}


def test_nothing_but_pages_of_cost_explorer_costs_anything(running, charge):
    aws = running(charge())
    aws.take_on()
    aws.client("organizations").list_accounts()
    aws.client("sts").get_caller_identity()

    assert (aws.sim.stats()["paid_pages"], aws.sim.stats()["cost_usd"]) == (0, "0.00")


def test_a_token_of_another_question_and_one_that_nobody_made_are_refused(running, charge):
    aws = running(charge(), charge(day=6), rows_a_page=1)
    token = aws.page()["NextPageToken"]
    other = {"Filter": {"Dimensions": {"Key": "LINKED_ACCOUNT", "Values": [PAYER]}}}

    assert refusal(lambda: aws.page(token=token, **other)) == "RequestChangedException"
    assert refusal(lambda: aws.page(token="made up")) == "InvalidNextTokenException"
    assert aws.sim.stats()["paid_pages"] == 1


def test_credits_are_left_out_where_the_filter_says_so(running, charge):
    aws = running(charge("9"), charge("-4", record_type="Credit"))
    without = {"Filter": {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}}}

    assert [amount for *_, amount in aws.rows()] == ["5"]
    assert [amount for *_, amount in aws.rows(**without)] == ["9"]


def test_the_present_month_is_estimated_and_a_period_has_to_be_one_that_aws_answers(running, charge):
    aws = running(charge(), today=lambda: date(2026, 11, 20))
    october = {"Start": "2026-10-30", "End": "2026-11-02"}
    asked = {"Granularity": "DAILY", "Metrics": ["UnblendedCost"], "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}]}
    ask = aws.client("ce").get_cost_and_usage

    days = ask(TimePeriod=october, **asked)["ResultsByTime"]
    assert [day["Estimated"] for day in days] == [False, False, True]
    for start, end in (("2026-11-20", "2026-11-20"), ("2026-11-20", "2026-12-02"), ("2025-08-31", "2025-09-02")):
        assert refusal(lambda: ask(TimePeriod={"Start": start, "End": end}, **asked)) == "ValidationException"  # noqa: B023
    assert aws.sim.stats()["paid_pages"] == 1


def test_cost_explorer_that_was_never_enabled_and_members_that_may_not_use_it(running, charge):
    aws = running(charge())
    aws.sim.costs.not_enabled.add(PAYER)
    assert refusal(aws.page) == "AccessDeniedException"

    aws.sim.costs.not_enabled.clear()
    aws.sim.organizations[PAYER].members_see_costs = False
    aws.sim.iam.add_user(f"arn:aws:iam::{MEMBER}:user/one", "AKIAMEMBER0000000001", "other")
    member = aws.client("ce", {"AccessKeyId": "AKIAMEMBER0000000001", "SecretAccessKey": "other"})
    assert refusal(lambda: aws.page(member)) == "AccessDeniedException"
    assert len(aws.rows()) == 1


def test_accounts_are_listed_in_pages_to_the_payer_alone(running):
    aws = running(page_size=1)
    organizations = aws.client("organizations")

    first = organizations.list_accounts()
    second = organizations.list_accounts(NextToken=first["NextToken"])
    listed = [(each["Id"], each["Name"], each["State"]) for page in (first, second) for each in page["Accounts"]]
    assert listed == [(PAYER, "Of 2", "ACTIVE"), (MEMBER, "Of 3", "ACTIVE")]
    assert "NextToken" not in second
    aws.sim.iam.add_user(f"arn:aws:iam::{MEMBER}:user/one", "AKIAMEMBER0000000001", "other")
    member = aws.client("organizations", {"AccessKeyId": "AKIAMEMBER0000000001", "SecretAccessKey": "other"})
    assert refusal(member.list_accounts) == "AccessDeniedException"
