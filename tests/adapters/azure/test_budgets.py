"""Azure's budgets, where what comes over the wire is odd: asked through the real SDK of a server that says anything."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localdev.azure_sim import AzureSimulator, ChargeBook
from localdev.azure_sim.wire import AzureError, json_answer
from localdev.http import Answer, LoopbackServer, Request
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.budget_json import read_budget, written
from shared.adapters.azure.budgets import ConsumptionBudgets
from shared.domain.money import LARGEST_AMOUNT
from shared.ports.azure import AzureBudget, BudgetNotice
from shared.ports.errors import LaterError, NeverError

HERE = "6f1c0d5e-0000-4000-8000-00000000000a"
BUDGETS = f"/subscriptions/{HERE}/providers/Microsoft.Consumption/budgets"
GROUP = f"/subscriptions/{HERE}/resourceGroups/rg-ops/providers/microsoft.insights/actionGroups/Lock"
REAL = {
    "id": f"{BUDGETS}/warden-die1",
    "name": "warden-die1",
    "type": "Microsoft.Consumption/budgets",
    "eTag": '"1d34d016a593709"',
    "properties": {
        "category": "Cost",
        "amount": 1200.10,
        "timeGrain": "Annually",
        "timePeriod": {"startDate": "2026-04-01T00:00:00Z", "endDate": "2036-03-31T00:00:00Z"},
        "filter": {"dimensions": {"name": "ResourceGroupName", "operator": "In", "values": ["rg-a", "RG-B"]}},
        "notifications": {
            "Actual_GreaterThan_80_Percent": {
                "enabled": True,
                "operator": "GreaterThan",
                "threshold": 80.0,
                "locale": "fr-fr",
                "contactEmails": ["a@example.com"],
                "thresholdType": "Actual",
            }
        },
        "currentSpend": {"amount": 80.89, "unit": "CAD"},
    },
}


@dataclass
class Server:
    """Answers each request with `answer`; what was asked is in `requests`."""

    answer: Callable[[Request], Answer]
    requests: list[Request] = field(default_factory=list)

    def respond(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            return self.answer(request)
        except AzureError as error:
            return error.answer()


@contextmanager
def asking(answer: Callable[[Request], Answer]) -> Iterator[tuple[ConsumptionBudgets, Server]]:
    server = Server(answer)
    listening = LoopbackServer(server.respond)
    listening.start()
    budgets = ConsumptionBudgets(ArmClient(listening.url, read_seconds=5.0))
    try:
        yield budgets, server
    finally:
        budgets.arm.close()
        listening.hang_up()


def refusing(status: int, code: str, message: str) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        if request.method == "GET":
            return json_answer(REAL)
        raise AzureError(status, code, message)

    return answer


def with_properties(**properties: Any) -> dict[str, Any]:
    return {**REAL, "properties": {**REAL["properties"], **properties}}


BUDGET = read_budget(json.loads(json.dumps(REAL), parse_float=Decimal))


def test_a_real_budget_is_read_with_its_spending_and_exact_amounts() -> None:
    notice = BudgetNotice(Decimal(80), "GreaterThan", forecast=False, emails=("a@example.com",))
    read = read_budget(json.loads(json.dumps(REAL), parse_float=Decimal))
    assert read == AzureBudget(
        name="warden-die1",
        amount=Decimal("1200.10"),
        time_grain="Annually",
        first_day=date(2026, 4, 1),
        last_day=date(2036, 3, 31),
        resource_groups=("rg-a", "RG-B"),
        notices={"Actual_GreaterThan_80_Percent": notice},
        current_spend=Decimal("80.89"),
        currency="CAD",
        e_tag='"1d34d016a593709"',
    )


def test_no_amount_passes_through_a_binary_float_when_it_is_read() -> None:
    text = json.dumps({"value": [REAL]}).replace("80.89", "12345678901234567.89")
    with asking(lambda _request: Answer(200, text.encode())) as (budgets, _):
        assert budgets.budgets_of(HERE)[0].current_spend == Decimal("12345678901234567.89")


@given(cents=st.integers(1, int(LARGEST_AMOUNT * 100)))
def test_every_amount_in_cents_is_written_with_exactly_its_digits(cents: int) -> None:
    amount = Decimal(cents) / 100
    sent = json.loads(written(replace(BUDGET, amount=amount), None), parse_float=Decimal)
    assert sent["properties"]["amount"] == amount


ODD = {
    "no object": 7,
    "nothing": {},
    "no properties": {"id": f"{BUDGETS}/odd", "name": "odd"},
    "a budget of usage": with_properties(category="Usage"),
    "reservations, without an amount": with_properties(category="ReservationUtilization", amount=None),
    "text for an amount": with_properties(amount="1,200.00"),
    "a truth for an amount": with_properties(amount=True),
    "no period": with_properties(timePeriod=None),
    "no start": with_properties(timePeriod={"endDate": "2036-03-31T00:00:00Z"}),
    "a start that is no day": with_properties(timePeriod={"startDate": "2026-02-30T00:00:00Z"}),
    "notifications in a list": with_properties(notifications=[1]),
    "a filter that is none": with_properties(filter={"dimensions": [3]}),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_budget_of_somebody_elses_does_not_hide_the_others(odd: str) -> None:
    with asking(lambda _request: json_answer({"value": [ODD[odd], REAL]})) as (budgets, _):
        assert budgets.budgets_of(HERE) == [BUDGET]


def test_a_budget_that_can_not_be_read_is_not_taken_for_none() -> None:
    with (
        asking(lambda _request: json_answer(with_properties(category="Usage"))) as (budgets, _),
        pytest.raises(NeverError, match="warden-die1"),
    ):
        budgets.get(HERE, "warden-die1")


@pytest.mark.parametrize(
    ("identity", "counts"),
    [
        (f"{BUDGETS}/warden-die1", True),
        (f"{BUDGETS}/warden-die1".lstrip("/"), True),
        (f"{BUDGETS}/warden-die1".upper(), True),
        (f"/subscriptions/{HERE}/resourceGroups/rg-a/providers/Microsoft.Consumption/budgets/warden-die1", False),
        ("/providers/Microsoft.Management/managementGroups/m/providers/Microsoft.Consumption/budgets/x", False),
        (None, False),
    ],
)
def test_only_budgets_at_the_subscription_itself_count(identity: str | None, counts: bool) -> None:
    with asking(lambda _request: json_answer({"value": [{**REAL, "id": identity}]})) as (budgets, _):
        assert len(budgets.budgets_of(HERE)) == counts


GROUPS = {"name": "ResourceGroupName", "operator": "In", "values": ["rg-a", "RG-A", "rg-b"]}


@pytest.mark.parametrize(
    ("given_filter", "groups"),
    [
        (None, None),
        ({}, None),
        ({"dimensions": GROUPS}, ("rg-a", "rg-b")),
        ({"dimensions": {**GROUPS, "name": "ResourceGroup", "operator": "in"}, "tags": None}, ("rg-a", "rg-b")),
        ({"and": [{"dimensions": GROUPS}]}, ("rg-a", "rg-b")),
        ({"and": [{"dimensions": GROUPS}, {"tags": {"name": "t", "operator": "In", "values": ["x"]}}]}, None),
        ({"tags": {"name": "rg", "operator": "In", "values": ["rg-a"]}}, None),
        ({"not": {"dimensions": GROUPS}}, None),
        ({"dimensions": {**GROUPS, "name": "MeterCategory"}}, None),
    ],
)
def test_a_filter_says_which_groups_or_is_another_one(given_filter: Any, groups: Any) -> None:
    read = read_budget(with_properties(amount=Decimal(1), currentSpend=None, notifications={}, filter=given_filter))
    assert read.resource_groups == groups


def test_what_is_left_out_has_azures_defaults() -> None:
    start = {"startDate": "2026-04-01T02:00:00+02:00"}
    read = read_budget(with_properties(amount=1, timePeriod=start, notifications=None, currentSpend=None))
    assert (read.first_day, read.notices, read.current_spend, read.currency) == (date(2026, 4, 1), {}, None, None)
    assert read.last_day.year == 2036


def test_a_list_that_leads_elsewhere_gets_no_token() -> None:
    elsewhere: list[Request] = []

    def other(request: Request) -> Answer:
        elsewhere.append(request)
        return json_answer({"value": []})

    with asking(other) as (others, _):
        link = f"{others.arm.endpoint}{BUDGETS}?api-version=2024-08-01&$skiptoken=2"
        with (
            asking(lambda _request: json_answer({"value": [], "nextLink": link})) as (budgets, _),
            pytest.raises(NeverError, match="another place"),
        ):
            budgets.budgets_of(HERE)
    assert elsewhere == []


def test_a_list_that_goes_in_a_circle_ends() -> None:
    def answer(request: Request) -> Answer:
        own = f"http://{request.headers['Host']}{request.target}"
        return json_answer({"value": [REAL], "nextLink": own})

    with asking(answer) as (budgets, server), pytest.raises(NeverError, match="in a circle"):
        budgets.budgets_of(HERE)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"value": null}', b"<html>"])
def test_an_answer_that_is_no_list_is_not_taken_for_an_empty_one(body: bytes) -> None:
    with asking(lambda _request: Answer(200, body)) as (budgets, _), pytest.raises(LaterError):
        budgets.budgets_of(HERE)


@pytest.mark.parametrize("status", [204, 302])
def test_neither_no_content_nor_a_redirect_is_an_empty_list(status: int) -> None:
    with asking(lambda _request: Answer(status)) as (budgets, _), pytest.raises((LaterError, NeverError)):
        budgets.budgets_of(HERE)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_putting_takes_each_of_the_answers_that_mean_it(status: int, body: bytes) -> None:
    with asking(lambda _request: Answer(status, b"" if status == 204 else body)) as (budgets, server):
        budgets.put(HERE, replace(BUDGET, e_tag=None))
    assert [(request.method, request.path) for request in server.requests] == [("PUT", f"{BUDGETS}/warden-die1")]


@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_a_page_of_a_proxy_neither_puts_nor_deletes_a_budget(status: int) -> None:
    with asking(lambda _request: Answer(status, b"<html>sign in</html>")) as (budgets, _):
        with pytest.raises(LaterError, match="can't be read"):
            budgets.put(HERE, replace(BUDGET, e_tag=None))
        with pytest.raises(LaterError, match="can't be read"):
            budgets.delete(HERE, "warden-die1")


def test_deleting_takes_each_of_the_answers_that_mean_it() -> None:
    for status in (200, 201, 202, 204):
        with asking(lambda _request, status=status: Answer(status)) as (budgets, server):
            budgets.delete(HERE, "warden-die1")
        assert [(request.method, request.path) for request in server.requests] == [("DELETE", f"{BUDGETS}/warden-die1")]


CHANGED = "There are changes made to Budget warden-die1. Please get the latest budget to avoid overwrite."


def test_azures_400_for_a_tag_that_is_not_the_latest_is_for_later() -> None:
    with asking(refusing(400, "400", CHANGED)) as (budgets, _), pytest.raises(LaterError, match="someone else"):
        budgets.put(HERE, BUDGET)


def test_the_same_400_for_a_new_budget_says_that_there_is_one_already() -> None:
    with asking(refusing(400, "400", CHANGED)) as (budgets, _), pytest.raises(NeverError, match="already"):
        budgets.put(HERE, replace(BUDGET, e_tag=None))


def test_a_missing_role_on_the_subscription_is_named() -> None:
    says = (
        f"The client 'x' does not have authorization to perform action 'Microsoft.Consumption/budgets/write' "
        f"over scope '{BUDGETS}/warden-die1'"
    )
    with (
        asking(refusing(403, "AuthorizationFailed", says)) as (budgets, _),
        pytest.raises(NeverError, match=f"(?s)/subscriptions/{HERE}.*the role Cost Management Contributor"),
    ):
        budgets.put(HERE, BUDGET)


def test_a_missing_right_to_read_the_action_group_is_named_with_the_group() -> None:
    says = f"The client 'x' does not have authorization to perform 'microsoft.insights/actionGroups/read' on {GROUP}"
    lock = BudgetNotice(Decimal(100), "GreaterThanOrEqualTo", forecast=False, action_groups=(GROUP,))
    with (
        asking(refusing(403, "AuthorizationFailed", says)) as (budgets, _),
        pytest.raises(NeverError, match=f"(?s){GROUP}.*the role Monitoring Reader"),
    ):
        budgets.put(HERE, replace(BUDGET, notices={"lock": lock}))


@pytest.mark.parametrize("name", ["..", "a/b", "", "x" * 64, "a b", "a?b"])
def test_a_name_that_no_budget_has_leads_nowhere(name: str) -> None:
    with asking(lambda _request: json_answer(REAL)) as (budgets, server):
        assert budgets.get(HERE, name) is None
        budgets.delete(HERE, name)
        with pytest.raises(NeverError):
            budgets.put(HERE, replace(BUDGET, name=name))
        with pytest.raises(NeverError):
            budgets.budgets_of(f"{HERE}/../{HERE}")
    assert server.requests == []


def test_a_change_leaves_what_we_do_not_know_of_as_it_was() -> None:
    with asking(lambda _request: json_answer(REAL)) as (budgets, server):
        lock = BudgetNotice(Decimal(100), "GreaterThanOrEqualTo", forecast=False, action_groups=(GROUP,))
        budgets.put(HERE, replace(BUDGET, amount=Decimal(7), notices={**BUDGET.notices, "lock": lock}))
    sent = json.loads(server.requests[-1].body)
    expected = deepcopy(REAL["properties"])
    del expected["currentSpend"]
    expected["amount"] = 7
    expected["notifications"]["lock"] = {
        "enabled": True,
        "operator": "GreaterThanOrEqualTo",
        "threshold": 100,
        "thresholdType": "Actual",
        "contactEmails": [],
        "contactRoles": [],
        "contactGroups": [GROUP],
    }
    assert sent == {"properties": expected, "eTag": REAL["eTag"]}


def test_a_new_budget_is_taken_by_azures_rules_for_bodies() -> None:
    """The simulator's rules are the reference's: contactEmails is there though empty, dates are date-times."""
    book = ChargeBook()
    book.add_subscription(HERE)
    with AzureSimulator(book) as simulator:
        budgets = ConsumptionBudgets(ArmClient(simulator.url))
        budgets.put(HERE, replace(BUDGET, e_tag=None))
        sent = json.loads(json.dumps(simulator.budgets.of(HERE)[0].as_azure(), default=str))["properties"]
        budgets.arm.close()
    assert sent["timePeriod"] == {"startDate": "2026-04-01T00:00:00Z", "endDate": "2036-03-31T00:00:00Z"}
    assert sent["filter"]["dimensions"] == {"name": "ResourceGroupName", "operator": "In", "values": ["rg-a", "RG-B"]}


def test_plain_http_is_taken_for_this_machine_only() -> None:
    with pytest.raises(ValueError, match="https"):
        ArmClient("http://management.azure.com")


@pytest.mark.parametrize(("status", "body"), [(200, b""), (204, b""), (200, b"null"), (200, b"[]"), (200, b"7")])
def test_an_answer_without_a_budget_does_not_mean_that_there_is_none(status: int, body: bytes) -> None:
    with asking(lambda _request: Answer(status, body)) as (budgets, _):
        with pytest.raises(LaterError, match="can't be read"):
            budgets.get(HERE, "warden-die1")
        with pytest.raises(LaterError, match="can't be read"):
            budgets.put(HERE, BUDGET)


def test_the_budget_of_another_name_is_not_taken_for_the_one_that_was_asked_for() -> None:
    with asking(lambda _request: json_answer({**REAL, "name": "somebody-elses"})) as (budgets, server):
        with pytest.raises(LaterError, match="can't be read"):
            budgets.get(HERE, "warden-die1")
        with pytest.raises(LaterError, match="can't be read"):
            budgets.put(HERE, BUDGET)
    assert {request.method for request in server.requests} == {"GET"}


def test_a_budget_is_found_whatever_the_case_of_its_name() -> None:
    with asking(lambda _request: json_answer({**REAL, "name": "Warden-DIE1"})) as (budgets, _):
        assert budgets.get(HERE, "warden-die1") is not None


@pytest.mark.parametrize(
    "number", ["1e999999", "-1e999999", "1e-999999", "9" * 4000, "0." + "1" * 5000, "NaN", "1e400", "1e18", "-1e18"]
)
@pytest.mark.parametrize("place", ['"amount": 1200.1', '"amount": 80.89', '"threshold": 80.0'])
def test_a_number_with_which_nobody_could_reckon_is_not_taken_for_money(place: str, number: str) -> None:
    name = place.partition(":")[0]
    text = json.dumps(REAL).replace(place, f"{name}: {number}")
    with asking(lambda _request: Answer(200, text.encode())) as (budgets, _), pytest.raises(NeverError, match="read"):
        budgets.get(HERE, "warden-die1")


@pytest.mark.parametrize("number", ["5.684341886080802e-14", "80.890000000000001", "-0.0", "1.7e9"])
def test_the_numbers_that_floats_leave_are_money(number: str) -> None:
    text = json.dumps(REAL).replace("80.89", number)
    with asking(lambda _request: Answer(200, text.encode())) as (budgets, _):
        found = budgets.get(HERE, "warden-die1")
    assert found is not None
    assert found.current_spend == Decimal(number)
