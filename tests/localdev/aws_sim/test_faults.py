import json
import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError, ResponseStreamingError
from botocore.parsers import ResponseParserError

from localdev.aws_sim import KINDS, Fault

PAYER, MEMBER = "200000000002", "300000000003"


@pytest.fixture
def aws(running, charge):
    return running(charge(), charge("2", MEMBER))


def outcome(call):
    """The status and the code of what a call came to."""
    try:
        call()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return 200, ""


def test_a_fault_spoils_the_next_calls_and_then_it_is_over(aws):
    aws.sim.fault("server_error", times=2)

    assert [outcome(aws.page)[0] for _ in range(4)] == [500, 500, 200, 200]


def test_a_fault_without_a_number_lasts_until_it_is_cleared(aws):
    aws.sim.fault("server_error", times=None)
    assert {outcome(aws.page)[0] for _ in range(4)} == {500}

    aws.sim.faults.clear()
    assert outcome(aws.page) == (200, "")


def test_a_fault_can_be_meant_for_one_operation_one_account_and_later_calls(aws):
    aws.sim.fault("access_denied", operation="ListAccounts")
    aws.sim.fault("server_error", account=MEMBER)
    aws.sim.fault("data_unavailable", operation="GetCostAndUsage", account=PAYER, after=1)
    listed = aws.client("organizations").list_accounts

    assert [outcome(aws.page), outcome(listed), outcome(aws.page), outcome(aws.page)] == [
        (200, ""), (400, "AccessDeniedException"), (400, "DataUnavailableException"), (200, ""),
    ]  # fmt: skip


def test_throttling_has_each_services_own_word_with_and_without_a_wait(aws):
    aws.sim.fault("throttled", times=None, seconds=17)
    calls = [aws.page, aws.client("organizations").list_accounts, aws.take_on]

    assert [outcome(call)[1] for call in calls] == ["LimitExceededException", "TooManyRequestsException", "Throttling"]
    with pytest.raises(ClientError) as refused:
        aws.page()
    assert refused.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "17"


def test_a_503_is_a_page_of_html_whose_status_is_all_that_the_client_has(aws):
    aws.sim.fault("unavailable")

    assert outcome(aws.page) == (503, "503")


def test_what_is_refused_or_broken_costs_nothing(aws):
    for kind in ("throttled", "unavailable", "server_error", "access_denied", "silent"):
        aws.sim.fault(kind)
        with pytest.raises((ClientError, ConnectionClosedError)):
            aws.page()

    # A page of HTML has been paid for: it is the way from AWS that broke it.
    assert aws.sim.stats()["paid_pages"] == 1
    assert aws.sim.stats()["calls"] == {"GetCostAndUsage": 5}


def test_a_slow_answer_comes_after_its_seconds_and_is_good(aws):
    aws.sim.fault("slow", seconds=0.3)

    start = time.monotonic()
    assert len(aws.rows()) == 2
    assert time.monotonic() - start >= 0.3


def test_stopping_does_not_wait_for_a_slow_answer(aws):
    aws.sim.fault("slow", seconds=600)
    start = time.monotonic()

    with pytest.raises(ReadTimeoutError):
        aws.page(aws.client("ce", read_timeout=0.2))
    aws.sim.stop()

    assert time.monotonic() - start < 30


def test_an_amount_and_a_unit_can_be_what_the_fault_says(aws):
    aws.sim.fault("amount", text="-0")
    aws.sim.fault("unit", text="EUR")
    first, second = aws.page(), aws.page()
    costs = [
        [group["Metrics"]["UnblendedCost"] for result in page["ResultsByTime"] for group in result["Groups"]]
        for page in (first, second)
    ]

    assert [each["Amount"] for each in costs[0]] == ["-0", "2"]
    assert [each["Unit"] for each in costs[1]] == ["USD", "EUR"]


def test_a_token_can_lead_to_the_same_page_again_and_again(aws):
    aws.sim.costs.follow_any_token = True
    aws.sim.fault("looping_token", times=None)

    first = aws.page()
    again = aws.page(token=first["NextPageToken"])
    assert again["NextPageToken"] == first["NextPageToken"]
    assert again["ResultsByTime"] == first["ResultsByTime"]


def test_the_clients_survive_every_kind_of_fault_and_go_on_after_it(aws):
    for kind in KINDS:
        aws.sim.fault(kind, text="{}" if kind == "row" else "1")
        try:
            aws.page()
        except ClientError:
            assert kind not in {"slow", "amount", "unit", "looping_token"}
        except (ConnectionClosedError, ResponseStreamingError, ResponseParserError, json.JSONDecodeError):
            assert kind in {"silent", "truncated", "invalid_json", "cut_off"}
        assert len(aws.rows()) == 2


def test_an_unknown_kind_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"no fault 'rain'.*throttled"):
        Fault("rain")
