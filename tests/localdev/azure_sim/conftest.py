"""The simulator asked by the real SDK's pipeline, and by bare HTTP where the SDK would hide what came."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.rest import HttpRequest
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.consumption import ConsumptionManagementClient
from azure.mgmt.consumption.models import Budget
from azure.mgmt.costmanagement import CostManagementClient
from azure.mgmt.resource.locks import ManagementLockClient

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from localdev.http import Answer, HangUp, LoopbackServer, Request

SUBSCRIPTION = "55312978-ba1b-415c-9304-c4b9c43c0481"
API = "api-version=2025-03-01"


class LocalCredential:
    """A credential with a fixed token, as the app uses it for a loopback address."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("local", 4_000_000_000)


class AllowPlainHttp(SansIOHTTPPolicy[Any, Any]):
    """The SDK refuses to send a token over plain http unless each request says so."""

    def on_request(self, request: Any) -> None:
        request.context.options.setdefault("enforce_https", False)


def query_path(subscription: str, top: int | None = None) -> str:
    size = "" if top is None else f"&$top={top}"
    return f"/subscriptions/{subscription}/providers/Microsoft.CostManagement/query?{API}{size}"


def query_body(first: str = "2026-11-01", last: str = "2026-11-19", **dataset: Any) -> dict[str, Any]:
    return {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": first, "to": last},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
            "grouping": [
                {"type": "Dimension", "name": "ResourceGroupName"},
                {"type": "Dimension", "name": "ServiceName"},
            ],
            **dataset,
        },
    }


def by_name(page: dict[str, Any]) -> list[dict[str, Any]]:
    """A page's rows with the columns' common names, whatever they are called and in whatever order."""
    common = {"PreTaxCost": "Cost", "ResourceGroup": "ResourceGroupName"}
    names = [common.get(column["name"], column["name"]) for column in page["properties"]["columns"]]
    return [dict(zip(names, row, strict=True)) for row in page["properties"]["rows"]]


class Asker:
    """Asks one simulator through the real SDK's pipeline."""

    def __init__(self, url: str) -> None:
        self.client = CostManagementClient(
            LocalCredential(), base_url=url, per_call_policies=[AllowPlainHttp()], retry_total=0
        )

    def send(self, method: str, url: str, body: Any = None, **headers: str) -> Any:
        request = HttpRequest(method, url, json=body, headers={"ClientType": "warden-tests", **headers})
        return self.client.send_request(request)

    def pages(self, subscription: str, body: dict[str, Any], top: int | None = None) -> Iterator[dict[str, Any]]:
        url: str | None = query_path(subscription, top)
        while url:
            response = self.send("POST", url, body)
            assert response.status_code == 200, response.text()
            page = json.loads(response.text(), parse_float=Decimal, parse_int=Decimal)
            yield page
            url = page["properties"]["nextLink"]

    def rows(self, subscription: str, body: dict[str, Any], top: int | None = None) -> list[dict[str, Any]]:
        return [row for page in self.pages(subscription, body, top) for row in by_name(page)]


def sdk(client: Any, url: str, subscription: str = SUBSCRIPTION) -> Any:
    """A real management client of a subscription; it polls often, and tries nothing twice."""
    options = {"per_call_policies": [AllowPlainHttp()], "retry_total": 0, "polling_interval": 0.01}
    return client(LocalCredential(), subscription, base_url=url, **options)


def post(url: str, path: str, body: Any, token: str | None = "local") -> HTTPResponse:
    """One POST over a connection of its own, read to the end; the body is in the answer's `text`."""
    host, port = url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=20)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", path, text, headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer
    finally:
        connection.close()


@pytest.fixture
def azure() -> SimpleNamespace:
    """The words of this API: ids, bodies, charges and budgets to send, and clients by the simulator's URL."""
    return SimpleNamespace(
        subscription=SUBSCRIPTION,
        body=query_body,
        path=query_path,
        by_name=by_name,
        post=post,
        ask=Asker,
        budgets=lambda url: sdk(ConsumptionManagementClient, url).budgets,
        locks=lambda url: sdk(ManagementLockClient, url).management_locks,
        compute=lambda url: sdk(ComputeManagementClient, url),
        charge=make_charge,
        budget=make_budget,
        action_group=ACTION_GROUP,
        scope=f"/subscriptions/{SUBSCRIPTION}",
    )


ACTION_GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/warden-rg/providers/Microsoft.Insights/actionGroups/Lock"


def make_budget(
    amount: str = "100",
    groups: tuple[str, ...] = ("alpha_rg",),
    grain: str = "Annually",
    start: str = "2026-04-01",
    end: str = "2027-03-31",
    thresholds: tuple[str, ...] = ("100",),
) -> Budget:
    """A budget whose notifications, named after their thresholds, go to ACTION_GROUP."""
    compared = {"name": "ResourceGroupName", "operator": "In", "values": list(groups)}
    told = {"enabled": True, "operator": "GreaterThanOrEqualTo", "thresholdType": "Actual"}
    told |= {"contactEmails": [], "contactGroups": [ACTION_GROUP]}
    return Budget(
        {
            "properties": {
                "category": "Cost",
                "amount": float(amount),
                "timeGrain": grain,
                "timePeriod": {"startDate": f"{start}T00:00:00Z", "endDate": f"{end}T00:00:00Z"},
                "filter": {"dimensions": compared} if groups else None,
                "notifications": {one: {**told, "threshold": float(one)} for one in thresholds},
            }
        }
    )


def make_charge(
    group: str = "Alpha_RG", service: str = "Storage", day: str = "2026-11-05", amount: str = "1.5", **more: str
) -> Charge:
    subscription = more.get("subscription", SUBSCRIPTION)
    currency = more.get("currency", "USD")
    return Charge(subscription, group, service, date.fromisoformat(day), currency, Decimal(amount))


@pytest.fixture
def running() -> Iterator[Callable[..., AzureSimulator]]:
    """Starts simulators that stop when the test ends: `running(book_or_charges, **options)`."""
    with ExitStack() as stack:

        def start(charges: Any = (), **options: Any) -> AzureSimulator:
            book = charges if isinstance(charges, ChargeBook) else ChargeBook(charges)
            return stack.enter_context(AzureSimulator(book, **options))

        yield start


class Receiver:
    """What an Action Group calls: keeps the requests; answers with `statuses` (0: hangs up), then with 202."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[Request] = []
        self._server = LoopbackServer(self._respond)
        self._server.start()
        self.url = f"{self._server.url}/api/budget-alert?code=abc%3D"
        self.stop = self._server.hang_up

    def bodies(self) -> list[Any]:
        return [json.loads(request.body) for request in self.requests]

    def _respond(self, request: Request) -> Answer:
        self.requests.append(request)
        status = self.statuses.pop(0) if self.statuses else 202
        if status == 0:
            raise HangUp
        return Answer(status)


@pytest.fixture
def receiving() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers that stop when the test ends: `receiving(503, 0)`."""
    receivers = []

    def start(*statuses: int) -> Receiver:
        receivers.append(Receiver(*statuses))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.stop()


class HandClock:
    """A time source that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def real_export() -> Path:
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "azure" / "ea_actual_cost.csv"
    if not path.exists():
        pytest.skip("the real EA cost export is not beside this repository (../shared/data/azure)")
    return path
