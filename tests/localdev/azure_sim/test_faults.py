import json
import time
from http.client import IncompleteRead, RemoteDisconnected

import pytest
from azure.core.exceptions import DecodeError, ServiceRequestError, ServiceResponseError
from azure.core.rest import HttpRequest

from localdev.azure_sim import KINDS, Fault

QPU = "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after"
ENTITY = "x-ms-ratelimit-microsoft.costmanagement-entity-retry-after"
OTHER = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"


@pytest.fixture
def sim(running, azure):
    charges = [azure.charge(f"group-{number}") for number in range(4)]
    return running([*charges, azure.charge(subscription=OTHER)], vary=False)


@pytest.fixture
def ask(sim, azure):
    return lambda subscription=azure.subscription: azure.post(sim.url, azure.path(subscription), azure.body())


def page(answer):
    assert answer.status == 200
    return json.loads(answer.text)["properties"]


def test_a_fault_spoils_the_next_requests_and_then_it_is_over(sim, ask):
    sim.fault("server_error", times=2)

    assert [ask().status for _ in range(4)] == [500, 500, 200, 200]


def test_a_fault_without_a_number_lasts_until_it_is_cleared(sim, ask):
    sim.fault("server_error", times=None)
    assert {ask().status for _ in range(5)} == {500}

    sim.faults.clear()
    assert ask().status == 200


def test_a_fault_can_be_meant_for_one_subscription_and_for_later_requests(sim, ask):
    sim.fault("forbidden", subscription=OTHER.upper(), after=1)

    assert [ask().status, ask(OTHER).status, ask().status, ask(OTHER).status, ask(OTHER).status] == [
        200, 200, 200, 403, 200,
    ]  # fmt: skip


def test_faults_can_be_meant_for_one_part_of_azure(sim, ask):
    sim.fault("server_error", times=None, path="Microsoft.Consumption")
    sim.fault("unavailable", times=None, path="microsoft.costmanagement/QUERY")

    assert ask().status == 503


def test_faults_follow_one_another(sim, ask):
    sim.fault("throttled")
    sim.fault("unavailable")

    assert [ask().status for _ in range(3)] == [429, 503, 200]


def test_a_429_has_the_header_that_was_asked_for(sim, ask):
    sim.fault("throttled", seconds=17)
    sim.fault("throttled", headers={"Retry-After": "5", ENTITY: "40"})
    sim.fault("throttled_many", seconds=33)

    first, second, third = ask(), ask(), ask()

    assert (first.status, first.headers[QPU], json.loads(first.text)["error"]["code"]) == (429, "17", "429")
    assert (second.headers["Retry-After"], second.headers[ENTITY], second.headers[QPU]) == ("5", "40", None)
    waits = [int(value) for name, value in third.headers.items() if name.lower().endswith("-retry-after")]
    assert max(waits) == 33
    assert waits[0] != 33
    assert len(waits) == 3


def test_a_503_comes_with_and_without_retry_after(sim, ask):
    sim.fault("unavailable")
    sim.fault("unavailable", seconds=9)

    assert [(one.status, one.headers["Retry-After"]) for one in (ask(), ask())] == [(503, None), (503, "9")]


def test_401_and_403_are_in_azures_envelope(sim, ask):
    sim.fault("unauthorized")
    sim.fault("forbidden")

    codes = [json.loads(answer.text)["error"]["code"] for answer in (ask(), ask())]

    assert codes == ["AuthenticationFailed", "AuthorizationFailed"]


def test_refused_and_broken_requests_use_no_quota(sim, ask):
    for kind in ("throttled", "unavailable", "server_error", "unauthorized", "forbidden"):
        sim.fault(kind)
        ask()

    assert sim.record.in_all().qpu == 0
    assert sim.record.in_all().throttled == 1


def test_nothing_at_all_is_a_closed_connection(sim, ask, azure):
    sim.fault("silent", times=2)

    with pytest.raises(RemoteDisconnected):
        ask()
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        azure.ask(sim.url).send("POST", azure.path(azure.subscription), azure.body())
    assert [seen.status for seen in sim.record.requests()] == [0, 0]
    assert ask().status == 200


def test_a_slow_answer_comes_after_the_delay_and_is_good(sim, ask):
    sim.fault("slow", delay=0.3)

    start = time.monotonic()
    assert len(page(ask())["rows"]) == 4
    assert time.monotonic() - start >= 0.3


def test_stopping_does_not_wait_for_a_slow_answer(sim, azure):
    sim.fault("slow", delay=600)
    client = azure.ask(sim.url)
    request = HttpRequest("POST", azure.path(azure.subscription), json=azure.body())
    start = time.monotonic()

    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        client.client.send_request(request, read_timeout=0.2)
    sim.stop()

    assert time.monotonic() - start < 30


def test_an_amount_can_be_no_number(sim, ask, azure):
    sim.fault("not_a_number")

    rows = azure.by_name(json.loads(ask().text))

    assert [str(row["Cost"]) for row in rows] == ["nan", "1.5", "1.5", "1.5"]


@pytest.mark.parametrize("subscription", [None, OTHER])
def test_two_currencies_come_in_one_answer(sim, ask, azure, subscription):
    sim.fault("two_currencies")

    answer = ask(subscription) if subscription else ask()

    assert {row["Currency"] for row in azure.by_name(json.loads(answer.text))} == {"USD", "EUR"}


def test_a_body_can_be_no_json_or_end_too_early(sim, ask):
    sim.fault("invalid_json")
    sim.fault("truncated")

    with pytest.raises(json.JSONDecodeError):
        json.loads(ask().text)
    with pytest.raises(IncompleteRead):
        ask()
    assert ask().status == 200


def test_the_sdk_survives_every_kind_of_fault_and_goes_on_after_it(sim, azure):
    ask = azure.ask(sim.url)
    for kind in KINDS:
        sim.fault(kind)
        try:
            ask.send("POST", azure.path(azure.subscription), azure.body())
        except (ServiceRequestError, ServiceResponseError, DecodeError):
            assert kind in ("silent", "truncated", "invalid_json")
        assert len(ask.rows(azure.subscription, azure.body())) >= 4


def test_an_unknown_kind_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"no fault 'rain'.*throttled"):
        Fault("rain")
