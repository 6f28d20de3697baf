"""The one client of Azure Resource Manager: what all subscriptions and all adapters share, and the SDKs behind it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.mgmt.consumption import ConsumptionManagementClient
from azure.mgmt.costmanagement import CostManagementClient

from localdev.azure_sim import AzureSimulator, ChargeBook
from shared import settings
from shared.adapters.azure.access import EndpointPolicy, parse_endpoint
from shared.adapters.azure.arm import CONNECTIONS, ArmClient, Pages
from shared.adapters.azure.budgets import ConsumptionBudgets
from shared.adapters.azure.compute import ArmCompute
from shared.adapters.azure.locks import ArmLocks
from shared.adapters.costs.azure import AzureCosts
from shared.composition import Composition
from shared.domain.periods import Period
from shared.ports.azure import AZURE, AzureBudget, GroupLock, LockLevel, Machine, MachineKind, ResourceGroup
from shared.ports.costs import CostQuery
from shared.ports.errors import LaterError, NeverError
from tests.adapters.azure.odd_arm import Answer, OddArm, error

SUBSCRIPTIONS = [f"6f1c0d5e-0000-4000-8000-{number:012d}" for number in range(20)]
HERE = SUBSCRIPTIONS[0]
GROUP = ResourceGroup(HERE, "rg-web")
QUERY = CostQuery(AZURE, HERE, Period(date(2026, 11, 1), date(2026, 11, 20)))
BUDGET = AzureBudget("warden-die1", Decimal("5.10"), "Annually", date(2026, 4, 1), date(2030, 3, 31), ("rg-web",), {})


class CountedTokens:
    """An identity that counts for how many tokens it was asked."""

    asked = 0

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        self.asked += 1
        return AccessToken("counted", int(time.time()) + 3600)


@pytest.fixture
def odd() -> Iterator[OddArm]:
    with OddArm() as server:
        server.will_answer("/query?", Answer('{"properties": {"rows": []}}'))
        yield server


def test_all_adapters_and_subscriptions_share_a_connection_and_a_token(odd: OddArm) -> None:
    identity = CountedTokens()
    arm = ArmClient(odd.url, credential=identity)
    for subscription in SUBSCRIPTIONS:
        group = ResourceGroup(subscription, "rg-web")
        AzureCosts(arm).read(replace(QUERY, sub_account_id=subscription))
        ConsumptionBudgets(arm).budgets_of(subscription)
        ArmLocks(arm).locks_on(group)
        ArmCompute(arm).running(group)
    arm.close()
    assert len(odd.seen) == 5 * len(SUBSCRIPTIONS)
    assert len(odd.peers) == 1
    assert identity.asked == 1


def test_threads_that_ask_at_once_keep_their_connections(odd: OddArm) -> None:
    arm = ArmClient(odd.url)
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in range(3):
            list(threads.map(ConsumptionBudgets(arm).budgets_of, SUBSCRIPTIONS * 3))
    arm.close()
    assert len(odd.seen) == 9 * len(SUBSCRIPTIONS)
    assert len(odd.peers) <= CONNECTIONS


def test_one_subscriptions_cookies_are_kept_for_none(odd: OddArm) -> None:
    odd.will_answer("/", Answer('{"properties": {"rows": []}}', headers={"Set-Cookie": "affinity=a; Path=/"}))
    arm = ArmClient(odd.url)
    for subscription in SUBSCRIPTIONS[:2]:
        AzureCosts(arm).read(replace(QUERY, sub_account_id=subscription))
    arm.close()
    assert odd.cookies == [None, None]


def test_a_challenge_is_answered_with_a_new_token_on_the_same_connection(odd: OddArm) -> None:
    claims = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ=="
    challenge = f'Bearer authorization_uri="https://x", error="insufficient_claims", claims="{claims}"'
    refused = error(401, "InvalidAuthenticationToken", headers={"WWW-Authenticate": challenge})
    odd.will_answer("/", *[refused, Answer()] * 10)
    arm = ArmClient(odd.url, credential=CountedTokens())
    gc.disable()  # or it closes what is lost
    try:
        for _ in range(10):
            ConsumptionBudgets(arm).budgets_of(HERE)
    finally:
        gc.enable()
    arm.close()
    assert len(odd.seen) == 20
    assert len(odd.peers) == 1


def test_after_a_token_that_has_expired_the_next_request_has_a_new_one(odd: OddArm) -> None:
    odd.will_answer("/", error(401, "ExpiredAuthenticationToken"), Answer())
    identity = CountedTokens()
    arm = ArmClient(odd.url, credential=identity)
    with pytest.raises(LaterError, match="ExpiredAuthenticationToken"):
        ConsumptionBudgets(arm).budgets_of(HERE)
    ConsumptionBudgets(arm).budgets_of(HERE)
    arm.close()
    assert identity.asked == 2


@pytest.mark.parametrize(
    ("endpoint", "allowed"), [("http://localhost:1", True), ("https://management.azure.com", False)]
)
def test_tokens_are_only_allowed_over_plain_http_on_this_machine(endpoint: str, allowed: bool) -> None:
    policy = EndpointPolicy(parse_endpoint(endpoint))
    policy.next = SimpleNamespace(send=lambda _request: "answered")
    options: dict[str, Any] = {}
    request: Any = SimpleNamespace(
        context=SimpleNamespace(options=options), http_request=SimpleNamespace(url=f"{endpoint}/x")
    )
    assert policy.send(request) == "answered"
    assert (options.get("enforce_https") is False) is allowed


def test_an_answer_that_goes_on_after_a_break_ends_all_the_same() -> None:
    place = parse_endpoint("https://management.azure.com")
    pages = Pages(place, f"{place.url}/8", most=10, read=7)
    assert pages.after(f"{place.url}/9?a={{0}}") == f"{place.url}/9?a=%7B0%7D"
    assert pages.after(f"{place.url}/10?") == f"{place.url}/10?"
    with pytest.raises(NeverError, match="after 10 pages"):
        pages.after(f"{place.url}/11?")
    assert pages.after("") == ""


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("/subscriptions/x?a=1", "/subscriptions/x?a=1"),
        ("?$skiptoken=2", "/a/first?$skiptoken=2"),
        ("next?a=1", "/a/next?a=1"),
        ("HTTPS://Management.Azure.com:443/x?a=1", "/x?a=1"),
    ],
)
def test_a_relative_link_leads_on_from_its_page(link: str, leads_to: str) -> None:
    place = parse_endpoint("https://management.azure.com")
    pages = Pages(place, f"{place.url}/a/first?b=1")
    assert pages.after(link) == place.url + leads_to
    assert pages.after("/b/third?") == f"{place.url}/b/third?"
    assert pages.after("fourth?") == f"{place.url}/b/fourth?"


@pytest.mark.parametrize(
    "link", ["//evil.example/x?", "http:/x", "https:x", "http://[", "https://management.azure.com.evil/x?"]
)
def test_a_link_to_another_place_is_refused_however_it_is_written(link: str) -> None:
    place = parse_endpoint("https://management.azure.com")
    with pytest.raises(NeverError, match="another place"):
        Pages(place, f"{place.url}/a/first").after(link)


@dataclass
class WatchedArm(ArmClient):
    """Notes what is called of the SDKs' own clients."""

    called: list[str] = field(default_factory=list)

    @property
    def cost_management(self) -> Any:
        real = super().cost_management
        assert type(real) is CostManagementClient
        return Watched(real, self.called)

    @property
    def consumption(self) -> Any:
        real = super().consumption
        assert type(real) is ConsumptionManagementClient
        return SimpleNamespace(budgets=Watched(real.budgets, self.called))


CHANGES: dict[str, Callable[[ArmClient], object]] = {
    "a budget": lambda arm: ConsumptionBudgets(arm).put(HERE, BUDGET),
    "no budget": lambda arm: ConsumptionBudgets(arm).delete(HERE, BUDGET.name),
    "a lock": lambda arm: ArmLocks(arm).put(GROUP, GroupLock("warden", LockLevel.READ_ONLY, "")),
    "no lock": lambda arm: ArmLocks(arm).delete(GROUP, "warden"),
    "a machine": lambda arm: ArmCompute(arm).deallocate(GROUP, Machine("vm", MachineKind.VM)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_marked_installation_changes_nothing_in_azure_whoever_asks_for_it(odd: OddArm, change: str) -> None:
    arm = ArmClient(odd.url, mark="staging")
    with pytest.raises(NeverError, match=r"^This installation is marked as staging: it changes nothing in Azure\.$"):
        CHANGES[change](arm)
    arm.close()
    assert [seen for seen in odd.seen if seen[0] != "GET"] == []


@pytest.mark.parametrize("trial", ["WARDEN_STAGING", "USE_MADE_UP_COSTS"])
def test_the_app_marks_its_client_where_it_is_on_trial(trial: str) -> None:
    given = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true", "EMAIL_OPERATORS": "ops@example.com"}
    assert Composition(settings.load(given)).arm.mark == ""
    assert Composition(settings.load(given | {trial: "true"})).arm.mark != ""


def test_a_marked_installation_reads_what_others_do(odd: OddArm) -> None:
    arm = ArmClient(odd.url, mark="staging")
    AzureCosts(arm).read(QUERY)
    ConsumptionBudgets(arm).budgets_of(HERE)
    ArmLocks(arm).locks_on(GROUP)
    ArmCompute(arm).running(GROUP)
    arm.close()
    assert len(odd.seen) == 5


class Watched:
    """Passes calls on, and notes their names."""

    def __init__(self, real: Any, called: list[str]) -> None:
        self.real, self.called = real, called

    def __getattr__(self, name: str) -> Any:
        self.called.append(f"{type(self.real).__name__}.{name}")
        return getattr(self.real, name)


CALLS: dict[str, Callable[[ArmClient], object]] = {
    "CostManagementClient.send_request": lambda arm: AzureCosts(arm).read(QUERY),
    "BudgetsOperations.list": lambda arm: ConsumptionBudgets(arm).budgets_of(HERE),
    "BudgetsOperations.get": lambda arm: ConsumptionBudgets(arm).get(HERE, BUDGET.name),
    "BudgetsOperations.create_or_update": lambda arm: ConsumptionBudgets(arm).put(HERE, BUDGET),
    "BudgetsOperations.delete": lambda arm: ConsumptionBudgets(arm).delete(HERE, BUDGET.name),
}


@pytest.mark.parametrize("operation", CALLS)
def test_costs_and_budgets_are_asked_for_with_the_sdks_own_calls_and_in_no_other_way(operation: str) -> None:
    book = ChargeBook()
    book.add_subscription(HERE)
    with AzureSimulator(book) as simulator:
        arm = WatchedArm(simulator.url)
        CALLS[operation](arm)
        arm.close()
        asked = simulator.record.requests()
    assert arm.called == [operation]
    assert len(asked) == 1
