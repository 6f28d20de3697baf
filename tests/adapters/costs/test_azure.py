"""Azure Cost Management's answers, the usual and the odd ones, over HTTP and through the real SDK."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from unittest.mock import ANY

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from localdev.azure_sim import AzureSimulator, read_ea_export
from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import MOST_PAGES, AzureCosts, query_body
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.domain.texts import units
from shared.ports.azure import AZURE
from shared.ports.costs import CostAnswer, CostQuery, Quota
from shared.ports.errors import LaterError, NeverError, NoCostsError
from tests.adapters.costs.odd_server import Answer, OddServer, page
from tests.fakes import charges_of

DATA = Path(__file__).parents[4] / "shared" / "data" / "azure"
SUBSCRIPTION = "55312978-ba1b-415c-9304-c4b9c43c0481"
WINDOW = Period(date(2026, 11, 1), date(2026, 11, 20))
QUERY = CostQuery(AZURE, SUBSCRIPTION, WINDOW)
NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
ROW = [1.5, "rg-web", 20261101, "Storage", "CAD"]
WAIT = "x-ms-ratelimit-microsoft.costmanagement-{}-retry-after"


@pytest.fixture
def server() -> Iterator[OddServer]:
    with OddServer() as server:
        yield server


@pytest.fixture
def costs(server: OddServer) -> Iterator[AzureCosts]:
    costs = AzureCosts(ArmClient(server.url), read_seconds=2.0, clock=lambda: NOW)
    yield costs
    costs.arm.close()


def refused(costs: AzureCosts, query: CostQuery = QUERY) -> str:
    """Why the answer is for never."""
    with pytest.raises(NeverError) as caught:
        costs.read(query)
    return caught.value.reason


def deferred(costs: AzureCosts) -> LaterError:
    with pytest.raises(LaterError) as caught:
        costs.read(QUERY)
    return caught.value


def test_the_request_is_what_microsoft_documents(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(page([]))
    costs.read(CostQuery(AZURE, SUBSCRIPTION, WINDOW, ("RG-Web", "rg-web", "rg-db")))
    seen = server.seen[0]
    assert seen.path == (
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CostManagement/query?api-version=2025-03-01&$top=5000"
    )
    assert seen.headers["ClientType"] == "BudgetWarden"
    assert seen.headers["Authorization"] == "Bearer local-development"
    assert json.loads(seen.body) == {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": "2026-11-01T00:00:00Z", "to": "2026-11-19T23:59:59Z"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [
                {"type": "Dimension", "name": "ResourceGroupName"},
                {"type": "Dimension", "name": "ServiceName"},
            ],
            "filter": {
                "dimensions": {
                    "name": "ResourceGroupName",
                    "operator": "In",
                    "values": ["RG-Web", "rg-web", "rg-db"],
                }
            },
        },
    }


def test_the_metric_is_the_querys_type() -> None:
    assert query_body(QUERY, "AmortizedCost")["type"] == "AmortizedCost"


def test_an_id_with_slashes_stays_one_part_of_the_path(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(page([]))
    costs.read(CostQuery(AZURE, "../x?y", WINDOW))
    assert server.seen[0].path.startswith("/subscriptions/..%2Fx%3Fy/providers/")


def test_columns_are_found_by_name_in_any_order_and_case(server: OddServer, costs: AzureCosts) -> None:
    row = ["CAD", "x", "Storage", 20261101, "rg-web", 1.25]
    server.will_answer(
        page([row], columns=("CURRENCY", "Tag", "serviceName", "usagedate", "ResourceGroup", "preTaxCost"))
    )
    assert charges_of(costs.read(QUERY)).amounts == {("rg-web", date(2026, 11, 1), "Storage"): Decimal("1.25")}


def test_amounts_never_pass_through_a_float(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(
        page('[[123456789.0123456789,"a",20261101,"S","CAD"],[7,"b",20261101,"S","CAD"],[1E-3,"c",20261101,"S","CAD"]]')
    )
    assert list(charges_of(costs.read(QUERY)).amounts.values()) == [
        Decimal("123456789.0123456789"),
        Decimal(7),
        Decimal("0.001"),
    ]


def test_a_charge_without_a_service_counts_as_unassigned_and_without_a_group_as_of_none(
    server: OddServer, costs: AzureCosts
) -> None:
    server.will_answer(page([[1, None, 20261101, None, "CAD"], [2, "", 20261101, " ", "CAD"]]))
    assert charges_of(costs.read(QUERY)).amounts == {("", date(2026, 11, 1), "Unassigned"): Decimal(3)}


@pytest.mark.parametrize("unnamed", ["", None])
def test_an_amount_of_exactly_0_needs_no_currency_and_any_other_does(
    server: OddServer, costs: AzureCosts, unnamed: str | None
) -> None:
    server.will_answer(page([ROW, [0, "rg-x", 20261101, "S", unnamed]]), page([[0, "rg-x", 20261101, "S", unnamed]]))
    assert charges_of(costs.read(QUERY)).amounts == {("rg-web", date(2026, 11, 1), "Storage"): Decimal("1.5")}
    assert costs.read(QUERY) == CostAnswer((), ANY)
    server.will_answer(page([[0.01, "rg-x", 20261101, "S", unnamed]]))
    assert "the currency is wrong" in costs.read(QUERY).odd["rg-x"]


def test_names_are_cut_to_what_is_stored_and_their_cost_is_kept(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(page([[1, "g" * 300, 20261101, "s" * 300, "CAD"], [2, "g" * 300, 20261101, "s" * 299, "CAD"]]))
    assert charges_of(costs.read(QUERY)).amounts == {("g" * 100, date(2026, 11, 1), "s" * 200): Decimal(3)}


def test_names_are_cut_as_the_database_counts_and_never_within_a_character(
    server: OddServer, costs: AzureCosts
) -> None:
    emoji, longer_in_lower_case = "\U0001f600", "\u0130"
    server.will_answer(
        page([[1, emoji * 60, 20261101, f"{emoji * 99} x{emoji}", "CAD"], [2, longer_in_lower_case * 60, *ROW[2:]]])
    )
    found = charges_of(costs.read(QUERY))
    assert found.amounts == {
        (emoji * 50, date(2026, 11, 1), f"{emoji * 99} x"): Decimal(1),
        ("i\u0307" * 50, date(2026, 11, 1), "Storage"): Decimal(2),
    }
    assert all(units(name) <= 100 for names in found.group_names.items() for name in names)


def test_what_no_database_takes_is_replaced_in_names(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(page([[1, "a\0b", 20261101, "S\ud800", "CAD"], [2, "a\0b", 20261101, "S\0", "CAD"]]))
    assert charges_of(costs.read(QUERY)).amounts == {("a\ufffdb", date(2026, 11, 1), "S\ufffd"): Decimal(3)}


def test_rows_of_one_charge_on_several_pages_are_summed_before_they_are_rounded(
    server: OddServer, costs: AzureCosts
) -> None:
    half = '[[0.00000000005,"RG-Web",20261101,"Storage","CAD"]]'
    server.will_answer(page(half, "{server}/next?$skiptoken=1"), page(half.replace("RG-Web", "rg-web")))
    charges = charges_of(costs.read(QUERY))
    assert charges.amounts == {("rg-web", date(2026, 11, 1), "Storage"): Decimal("0.0000000001")}
    assert charges.group_names == {"rg-web": "RG-Web"}


def test_further_pages_are_posted_with_the_same_body_until_there_is_no_link(
    server: OddServer, costs: AzureCosts
) -> None:
    link = "{server}/subscriptions/x/Query?api-version=2025-03-01&$skiptoken=AQ%3D%3D{0}{}"
    server.will_answer(page([ROW], link), page([], "/third"), page([[2, "rg-db", *ROW[2:]]], ""))
    assert sum(charges_of(costs.read(QUERY)).amounts.values()) == Decimal("3.5")
    assert len({seen.body for seen in server.seen}) == 1
    assert [seen.path for seen in server.seen[1:]] == [
        "/subscriptions/x/Query?api-version=2025-03-01&$skiptoken=AQ%3D%3D%7B0%7D%7B%7D",
        "/third",
    ]


def test_no_content_is_no_data_and_after_a_first_page_it_is_an_answer_that_broke_off(
    server: OddServer, costs: AzureCosts
) -> None:
    server.will_answer(Answer(status=204))
    assert not charges_of(costs.read(QUERY)).amounts
    server.will_answer(page([ROW], "{server}/2"), Answer(status=204))
    error = deferred(costs)
    assert "page 1" in error.reason
    server.will_answer(page([[2, *ROW[1:]]]))
    assert sorted(costs.read(QUERY, error.progress).charges[0].amounts.values()) == [Decimal("3.5")]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("[]"), "page 1: it has no properties"),
        (Answer('{"properties": []}'), "page 1: it has no properties"),
        (Answer('{"properties": {}}'), "page 1: it has no list of rows"),
        (Answer('{"properties": {"rows": [[1]]}}'), "no list of columns"),
        (Answer('{"properties": {"rows": [], "nextLink": 7}}'), "its nextLink is no link"),
        (page([[1, 2]], columns=("CostUSD", "Currency")), "no column cost or pretaxcost (for the cost), only costusd"),
        (page([ROW[:4]], columns=("Cost", "UsageDate", "ServiceName", "Currency")), "(for the group)"),
        (page([ROW, ROW[:4]]), "page 1, row 2: it has 4 cells, and the page has 5 columns"),
        (page([ROW[:4]]), "row 1: it has 4 cells"),
        (page([[*ROW, 1]]), "row 1: it has 6 cells"),
        (page([ROW, None]), "row 2: it has none"),
        (page([ROW, "abcdef"]), "row 2: it has none"),
        (page([ROW, "abcde"]), "row 2: it has none"),
        (
            page([ROW, dict.fromkeys(("Cost", "ResourceGroup", "UsageDate", "ServiceName", "Currency"), 1)]),
            "row 2: it has",
        ),
        (page('[[1E+99999999999999999999,"a",20261101,"S","CAD"]]'), "a number past all bounds"),
        (page([[1, 5, *ROW[2:]]]), "the group is 5, which is no text"),
        (page([ROW, [1, ["a"], *ROW[2:]]]), "row 2: the group is ['a'], which is no text"),
    ],
)
def test_a_page_that_cant_be_right_is_refused_with_its_place(
    server: OddServer, costs: AzureCosts, answer: Answer, says: str
) -> None:
    server.will_answer(answer)
    assert says in refused(costs)


ODD = (
    ('[NaN,"Rg-Odd",20261101,"S","CAD"]', "the cost is 'NaN', which is no number"),
    ('[-Infinity,"rg-odd",20261101,"S","CAD"]', "the cost is '-Infinity'"),
    ('["1.5","rg-odd",20261101,"S","CAD"]', "the cost is '1.5', which is no number"),
    ('[true,"rg-odd",20261101,"S","CAD"]', "the cost is True"),
    ('[null,"rg-odd",20261101,"S","CAD"]', "the cost is None"),
    ('[[1],"rg-odd",20261101,"S","CAD"]', "the cost is [1]"),
    ('[1,"rg-odd","2026-11-01","S","CAD"]', "the day is '2026-11-01'; it has to be a number like 20261101"),
    ('[1,"rg-odd",20261131,"S","CAD"]', "the day is 20261131, and there is no such day"),
    (f'[1,"rg-odd",{10**30},"S","CAD"]', "there is no such day"),
    ('[1,"rg-odd",[1],"S","CAD"]', "the day is [1]"),
    ('[1,"rg-odd",20261120,"S","CAD"]', "the day is 2026-11-20, outside of what was asked for"),
    ('[1,"rg-odd",20261031,"S","CAD"]', "outside of what was asked for (2026-11-01 to 2026-11-19)"),
    ('[1,"rg-odd",20261101,5,"CAD"]', "the service is 5, which is no text"),
    ('[1,"rg-odd",20261101,{"a":1},"CAD"]', "the service is {'a': 1}"),
    ('[1,"rg-odd",20261101,"S",null]', "the currency is wrong"),
    ('[1,"rg-odd",20261101,"S","Dollars"]', "'Dollars' is not a currency"),
    ('[1,"rg-odd",20261101,"S",["CAD"]]', "the currency is"),
)


@pytest.mark.parametrize(("odd", "says"), ODD)
def test_a_row_that_cant_be_right_is_set_aside_with_its_place_and_the_others_are_read(
    server: OddServer, costs: AzureCosts, odd: str, says: str
) -> None:
    row = json.dumps(ROW)
    server.will_answer(page(f"[{row}]", "{server}/2"), page(f"[{row},{odd},{odd},{row}]"))
    answer = costs.read(QUERY)
    assert charges_of(answer).amounts == {("rg-web", date(2026, 11, 1), "Storage"): Decimal("4.5")}
    ((group, reason),) = answer.odd.items()
    assert group == "rg-odd"
    assert "page 2, row 2: the " in reason
    assert says in reason


@pytest.mark.parametrize("amount", ["1E+300", "1E+400000000", "-2E+400000001"])
def test_an_amount_that_no_database_holds_is_set_aside(server: OddServer, costs: AzureCosts, amount: str) -> None:
    row = json.dumps(ROW)
    server.will_answer(page(f'[{row},[{amount},"rg-odd",20261101,"S","CAD"]]'))
    answer = costs.read(QUERY)
    assert charges_of(answer).amounts == {("rg-web", date(2026, 11, 1), "Storage"): Decimal("1.5")}
    assert "too large to be kept" in answer.odd["rg-odd"]


def test_groups_that_were_not_asked_for_are_refused(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(page([ROW, [1, "rg-db", *ROW[2:]]]))
    assert "row 2: the group is 'rg-db', which was not asked for" in refused(
        costs, CostQuery(AZURE, SUBSCRIPTION, WINDOW, ("RG-WEB",))
    )


def test_a_window_that_azure_would_cut_short_is_refused(costs: AzureCosts) -> None:
    assert "31 days at most" in refused(
        costs, CostQuery(AZURE, SUBSCRIPTION, Period(date(2026, 1, 1), date(2026, 2, 2)))
    )


@pytest.mark.parametrize(
    "link",
    [
        "https://management.azure.com.example.com/x",
        "https://127.0.0.1/x",
        "http://127.0.0.1:1/x",
        "http://127.0.0.1@example.com/x",
        "//example.com/x",
        "ftp://127.0.0.1/x",
        "http://[::1",
        "http://127.0.0.1:99999/",
    ],
)
def test_a_link_to_another_host_scheme_or_port_is_not_followed(server: OddServer, costs: AzureCosts, link: str) -> None:
    server.will_answer(page([ROW], link))
    assert "links to another place" in refused(costs)
    assert len(server.seen) == 1


def test_a_link_to_a_page_that_was_read_is_not_followed(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(page([], "{server}/a"), page([], "{server}/b"), page([], "{server}/a"))
    assert "goes in a circle: page 3" in refused(costs)
    assert len(server.seen) == 3


def test_an_answer_without_an_end_is_given_up(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(*(page([], f"{{server}}/{number}") for number in range(MOST_PAGES + 5)))
    assert f"after {MOST_PAGES} pages" in refused(costs)
    assert len(server.seen) == MOST_PAGES


@pytest.mark.parametrize(
    "body", ["", "<html>", '{"properties"', "[" * 100_000, '{"properties": {"rows": [[' + "9" * 5000 + "]]}}"]
)
def test_a_body_that_is_not_json_is_for_later(server: OddServer, costs: AzureCosts, body: str) -> None:
    server.will_answer(Answer(body))
    assert "Page 1" in deferred(costs).reason


def test_a_body_shorter_than_announced_is_for_later(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(Answer('{"properties": {"rows": []}}', headers={"Content-Length": "500", "Connection": "close"}))
    assert "not to the end" in deferred(costs).reason


def test_a_body_that_is_no_gzip_although_it_says_so_is_for_later(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(Answer("plain", headers={"Content-Encoding": "gzip"}))
    assert "not to the end" in deferred(costs).reason


def test_nobody_there_is_for_later() -> None:
    with OddServer() as gone:
        url = gone.url
    assert "out of reach" in deferred(AzureCosts(ArmClient(url))).reason


@pytest.mark.parametrize("status", [408, 424, 429, 500, 502, 503, 504])
def test_statuses_that_pass_are_for_later(server: OddServer, costs: AzureCosts, status: int) -> None:
    server.will_answer(Answer("<html>", status))
    error = deferred(costs)
    assert str(status) in error.reason
    assert error.wait is None
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({WAIT.format("qpu"): "12", WAIT.format("entity"): "47", WAIT.format("tenant"): "5"}, 47),
        ({WAIT.format("ClientType").upper(): "8", "Retry-After": "3"}, 8),
        ({WAIT.format("client"): "8", "Retry-After": "30"}, 30),
        ({"x-ms-ratelimit-microsoft.consumption-retry-after": "8"}, 8),
        ({"X-MS-RateLimit-Microsoft.Consumption-Tenant-RetryAfter": "8", "Retry-After": "3"}, 8),
        ({"x-ms-ratelimit-retry-after": "8", "x-ms-retry-after": "9"}, 9),
        ({"Retry-After": "Fri, 20 Nov 2026 02:01:30 GMT"}, 90),
        ({"Retry-After": "Fri, 20 Nov 2026 01:00:00 GMT"}, 0),
        ({"Retry-After": "soon", WAIT.format("qpu"): "-5"}, None),
        ({"Retry-After": "1e3", WAIT.format("qpu"): "6"}, 6),
        ({"Retry-After": "81,120"}, 120),
        ({"Retry-After": "120, 81.2, soon"}, 120),
        ({"Retry-After": "0.941641"}, 1),
        ({"Retry-After": "20, Fri, 20 Nov 2026 02:01:30 GMT, Friday, 20-Nov-26 02:01:10 GMT"}, 90),
        ({"Retry-After": "Fri Nov 20 02:01:30 2026"}, 90),
        ({"Retry-After": "Fri, soon, "}, None),
        ({"Retry-After": "9" * 9}, 86_400),
        ({"Retry-After": "9" * 400}, None),
        ({"x-ms-ratelimit-microsoft.costmanagement-qpu-remaining": "100"}, None),
    ],
)
def test_the_longest_wait_that_can_be_understood_counts(
    server: OddServer, costs: AzureCosts, headers: dict[str, str], seconds: int | None
) -> None:
    server.will_answer(Answer("{}", 429, headers))
    assert deferred(costs).wait == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "kind of subscription"),
        (401, "AZURE_CLIENT_ID"),
        (403, f"role Cost Management Reader on subscription {SUBSCRIPTION}"),
        (404, f"Check the id of subscription {SUBSCRIPTION}"),
        (307, "AZURE_MANAGEMENT_ENDPOINT"),
    ],
)
def test_a_refusal_says_what_azure_said_and_what_to_do(
    server: OddServer, costs: AzureCosts, status: int, advice: str
) -> None:
    token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln"
    message = f"No way.\nSee https://x.example/a?sig=s3cret for {token}. " + "And so on. " * 100
    body = json.dumps({"error": {"code": "NotSoFast", "message": message}})
    server.will_answer(Answer(body, status, {"Location": "https://example.com/"}))
    reason = refused(costs)
    assert f"{status} (NotSoFast) No way. See https://x.example/a?… for …" in reason
    assert advice in reason
    assert "s3cret" not in reason
    assert len(reason) < 550
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("code", ["RBACAccessDenied", "AuthorizationFailed"])
def test_a_missing_role_is_named_whatever_the_status(
    server: OddServer, costs: AzureCosts, status: int, code: str
) -> None:
    server.will_answer(Answer(json.dumps({"error": {"code": code, "message": "No."}}), status))
    assert refused(costs).endswith(
        f"{status} ({code}) No. Give the app's identity the role Cost Management Reader on subscription {SUBSCRIPTION}."
    )


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("code", ["AccountCostDisabled", "DepartmentCostDisabled"])
def test_charges_that_the_enrollment_hides_are_said_with_its_policy(
    server: OddServer, costs: AzureCosts, status: int, code: str
) -> None:
    error = {"code": code, "message": "Access to cost data has been disabled for account admins."}
    server.will_answer(Answer(json.dumps({"error": error}), status))
    reason = refused(costs)
    assert f"{status} ({code}) Access to cost data" in reason
    assert reason.endswith("turn on the policy that account owners can view charges.")


def test_what_azure_says_reads_the_same_each_time(server: OddServer, costs: AzureCosts) -> None:
    for number in "12":
        text = f"No offer. (Request ID: 8d354889-ee54-46e8-a50f-7f2f8033{number}b4a)"
        server.will_answer(Answer(json.dumps({"error": {"code": "400", "message": text}}), 400))
        assert ": 400 No offer. The query" in refused(costs)


UNKNOWN_YET = f"GtmDimensionDataProvider.GetAzureSubscriptionsById returns null or empty list for id: {SUBSCRIPTION}"
NO_OFFERS = [
    (404, "NotFound", f"Given subscription {SUBSCRIPTION} doesn't have valid WebDirect/AIRS offer type."),
    (404, "NotFound", 'Cost management data is not supported for subscription(s) "X" in the provided api-version.'),
    (400, "400", "Cost Management supports only Enterprise Agreement, Web direct and MCA offer types."),
]


def test_a_subscription_that_cost_management_does_not_know_yet_has_no_costs_for_two_days(
    server: OddServer, costs: AzureCosts
) -> None:
    server.will_answer(Answer(json.dumps({"error": {"code": "NotFound", "message": UNKNOWN_YET}}), 404))
    with pytest.raises(NoCostsError, match="takes up to 48 hours after it was made") as caught:
        costs.read(QUERY)
    assert caught.value.passes_within == timedelta(hours=48)
    assert "Check the id" not in caught.value.reason


@pytest.mark.parametrize(("status", "code", "message"), NO_OFFERS)
def test_an_offer_that_cost_management_does_not_serve_has_no_costs_for_good(
    server: OddServer, costs: AzureCosts, status: int, code: str, message: str
) -> None:
    server.will_answer(Answer(json.dumps({"error": {"code": code, "message": message}}), status))
    with pytest.raises(NoCostsError, match=f"does not serve the offer that subscription {SUBSCRIPTION}") as caught:
        costs.read(QUERY)
    assert caught.value.passes_within is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_who_is_unwell_is_asked_again_whatever_the_words(server: OddServer, costs: AzureCosts, status: int) -> None:
    server.will_answer(Answer(json.dumps({"error": {"code": "NotFound", "message": UNKNOWN_YET}}), status))
    assert str(status) in deferred(costs).reason


@pytest.mark.parametrize("pages", [0, 1])
@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"code": "InternalServerError", "message": "Try later."}}',
        '\n{ "Error" :{"code": "RBACAccessDenied", "message": "Try later."}, "properties": null}',
        '{"error": "Try later."}',
    ],
)
def test_an_error_that_comes_as_a_success_is_for_later(
    server: OddServer, costs: AzureCosts, body: str, pages: int
) -> None:
    server.will_answer(*[page([ROW], "{server}/2")] * pages, Answer(body))
    assert ": 200" in deferred(costs).reason


def test_an_answer_that_has_no_error_is_no_error(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(Answer('{"error": null, "properties": {"rows": []}}'))
    assert not charges_of(costs.read(QUERY)).amounts


def test_a_refusal_that_is_no_json_has_its_status(server: OddServer, costs: AzureCosts) -> None:
    server.will_answer(Answer("<html>Forbidden</html>", 403))
    assert ": 403. Give the app's identity" in refused(costs)


def test_an_unregistered_provider_is_refused_at_once_rather_than_registered(
    server: OddServer, costs: AzureCosts
) -> None:
    error = {
        "code": "MissingSubscriptionRegistration",
        "message": "The subscription is not registered to use namespace 'Microsoft.CostManagement'",
    }
    server.will_answer(Answer(json.dumps({"error": error}), 409))
    assert "Check that the resource provider Microsoft.CostManagement is registered" in refused(costs)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("code", ["Conflict", "MissingRegistrationForType", "PreconditionFailed", None])
def test_a_conflict_is_there_to_stay(server: OddServer, costs: AzureCosts, status: int, code: str | None) -> None:
    server.will_answer(Answer(json.dumps({"error": {"code": code}}) if code else "<html>", status))
    assert "Check that the resource provider Microsoft.CostManagement is registered" in refused(costs)


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("code", ["AnotherOperationInProgress", "RetryableError", "TooManyRequests", "ServerBusy"])
def test_a_conflict_whose_code_says_that_it_passes_is_for_later(
    server: OddServer, costs: AzureCosts, status: int, code: str
) -> None:
    server.will_answer(Answer(json.dumps({"error": {"code": code}}), status))
    assert code in deferred(costs).reason


class CountedTokens:
    """A credential that notes what it is asked for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        self.scopes += scopes
        return AccessToken("counted", int(time.time()) + 3600)


class NoToken:
    """A credential that has none to give."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CredentialUnavailableError("no response from the IMDS endpoint."), LaterError),
        (ClientAuthenticationError("Token request error: (invalid_scope) 500, unwell"), LaterError),
        (CredentialUnavailableError("No identity has been assigned to this resource."), NeverError),
        (
            ClientAuthenticationError(
                "(invalid_scope) 400, No User Assigned or Delegated Managed Identity found for specified ClientId"
            ),
            NeverError,
        ),
        (ClientAuthenticationError("AzureCliCredential: Please run 'az login' to set up an account"), NeverError),
    ],
)
def test_a_token_that_cant_be_had_is_for_later_unless_the_identity_was_refused(
    server: OddServer, error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="no token for Azure"):
        AzureCosts(ArmClient(server.url, credential=NoToken(error))).read(QUERY)
    assert not server.seen


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "management.azure.com",
        "ftp://x",
        "https://",
        "https://a.b/path",
        "https://u:p@a.b",
        "https://a.b?x=1",
        "https://a.b:99999",
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="write it like https://management"):
        ArmClient(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["http://management.azure.com", "http://10.0.0.1:8080", "http://127.0.0.1.example.com"]
)
def test_plain_http_to_another_machine_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="for this machine only"):
        ArmClient(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["https://management.usgovcloudapi.net/", "http://localhost:8443", "http://[::1]:80"]
)
def test_sovereign_clouds_and_this_machine_are_taken(endpoint: str) -> None:
    assert ArmClient(endpoint).endpoint == endpoint


def test_a_token_is_asked_for_the_endpoint_itself_and_once_for_all_pages(server: OddServer) -> None:
    credential = CountedTokens()
    server.will_answer(page([ROW], "{server}/2"), page([]))
    AzureCosts(ArmClient(server.url, credential=credential)).read(QUERY)
    assert credential.scopes == [f"{server.url}/.default"]
    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer counted"] * 2


@pytest.mark.parametrize(
    ("per_minute", "per_hour", "in_shortest", "at_once"), [(50, 500, 12, 10), (1000, 9000, 200, 10), (5, 3, 12, 3)]
)
def test_our_share_of_azures_quota_is_what_the_settings_say(
    per_minute: int, per_hour: int, in_shortest: int, at_once: int
) -> None:
    source = AzureCosts(ArmClient("https://management.azure.com"), "ActualCost", per_minute, per_hour)
    assert source.quota == Quota(per_minute, per_hour, 10.0, in_shortest, at_once)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="ActualCost or AmortizedCost"):
        AzureCosts(ArmClient("https://management.azure.com"), metric="Cost")


def test_making_one_imports_no_sdk() -> None:
    code = (
        "import sys; from shared.adapters.costs.azure import *; AzureCosts(ArmClient('https://management.azure.com'));"
        "sys.exit(any(name.partition('.')[0] in ('azure', 'requests', 'msal') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0


def test_the_published_sample_lacks_the_service_and_is_read_when_it_has_one(
    server: OddServer, costs: AzureCosts
) -> None:
    text = _data("query_response_page.json").read_text(encoding="utf-8")
    query = CostQuery(AZURE, SUBSCRIPTION, Period(date(2018, 3, 1), date(2018, 4, 1)))
    server.will_answer(Answer(text))
    assert "no column servicename (for the service)" in refused(costs, query)

    sample = json.loads(text, parse_float=str)
    rows = [[*row, "Storage"] for row in sample["properties"]["rows"]]
    columns = [*(column["name"] for column in sample["properties"]["columns"]), "ServiceName"]
    server.will_answer(page(_amounts_as_numbers(rows), sample["properties"]["nextLink"], columns))
    assert "links to another place" in refused(costs, query)

    server.will_answer(page(_amounts_as_numbers(rows), "{server}/2", columns), page([], None, columns))
    charges = charges_of(costs.read(query))
    assert charges.billing_currency == "USD"
    assert charges.amounts[("gs-stms-dev", date(2018, 3, 31), "Storage")] == Decimal("0.1667772033")
    assert charges.group_names["rviiot-trial"] == "RVIIOT-TRIAL"
    assert len(charges.amounts) == 4


def test_a_real_export_served_by_the_simulator_sums_to_the_last_stored_place() -> None:
    book = read_ea_export(_data("ea_actual_cost.csv"))
    with AzureSimulator(book) as simulator:
        costs = AzureCosts(ArmClient(simulator.url))
        september = Period(date(2023, 9, 1), date(2023, 10, 1))
        total = sum(
            (
                sum(charges_of(costs.read(CostQuery(AZURE, subscription, september))).amounts.values())
                for subscription in book.subscriptions()
            ),
            Decimal(0),
        )
    assert stored(total) == total
    assert total == Decimal("8.5450077867")


def test_nothing_sleeps_inside_a_read() -> None:
    with OddServer() as server:
        server.will_answer(Answer("{}", 429, {"Retry-After": "60"}))
        began = time.monotonic()
        assert deferred(AzureCosts(ArmClient(server.url))).wait == timedelta(seconds=60)
        assert time.monotonic() - began < 5
        assert len(server.seen) == 1


def _amounts_as_numbers(rows: list[list]) -> str:
    """The rows as JSON, whose first cells are amounts as text, written as numbers with all their digits."""
    return "[" + ",".join(f"[{row[0]}, {json.dumps(row[1:])[1:]}" for row in rows) + "]"


def _data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the published file {name} is not here; it is looked for in ../shared/data/azure")
    return path
