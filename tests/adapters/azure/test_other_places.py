"""Whatever Azure's answers link to, no request and no token goes to another place: tried over two servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date

import pytest
from azure.core.rest import HttpRequest

from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.budgets import ConsumptionBudgets
from shared.adapters.azure.compute import ArmCompute
from shared.adapters.azure.locks import ArmLocks
from shared.adapters.costs.azure import AzureCosts
from shared.domain.periods import Period
from shared.ports.azure import AZURE, ResourceGroup
from shared.ports.costs import CostQuery
from shared.ports.errors import LaterError, NeverError
from tests.adapters.azure.odd_arm import Answer, OddArm, value

HERE = "6f1c0d5e-0000-4000-8000-00000000000a"
GROUP = ResourceGroup(HERE, "rg-web")
QUERY = CostQuery(AZURE, HERE, Period(date(2026, 11, 1), date(2026, 11, 20)))
# By the part of its path that is answered oddly.
CALLS: dict[str, Callable[[ArmClient], object]] = {
    "/budgets": lambda arm: ConsumptionBudgets(arm).budgets_of(HERE),
    "/locks": lambda arm: ArmLocks(arm).locks_on(GROUP),
    "/virtualMachines": lambda arm: ArmCompute(arm).running(GROUP),
    "/virtualMachineScaleSets": lambda arm: ArmCompute(arm).running(GROUP),
    "/query": lambda arm: AzureCosts(arm).read(QUERY),
}
# {here} and {there}: host and port of Azure, and of somebody else.
LINKS = [
    "http://{there}/x?a=1",
    "//{there}/x?a=1",
    "http://{here}//{there}/x?a=1",
    "http://{here}///{there}/x?a=1",
    "http://{here}/\\{there}/x?a=1",
    "http://{here}\\@{there}/x?a=1",
    "http://{here}@{there}/x?a=1",
    "http://{there}@{here}//{there}/x?a=1",
    "http://{here}/\t/{there}/x?a=1",
    "http://{there}#@{here}/x?a=1",
    "http://{there}?@{here}/x?a=1",
    "http:{there}/x",
    "\x00//{there}/x",
]


@pytest.fixture
def azure() -> Iterator[OddArm]:
    with OddArm() as server:
        yield server


@pytest.fixture
def other() -> Iterator[OddArm]:
    with OddArm() as server:
        yield server


def host(server: OddArm) -> str:
    return server.url.removeprefix("http://")


def page(call: str, link: str) -> Answer:
    """A page without items of the list that the call asks for."""
    if call != "/query":
        return value(link=link)
    return Answer(json.dumps({"properties": {"rows": [], "nextLink": link}}))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("call", CALLS)
def test_no_link_leads_to_another_place(azure: OddArm, other: OddArm, call: str, link: str) -> None:
    azure.will_answer(call, page(call, link.format(here=host(azure), there=host(other))), page(call, ""))
    arm = ArmClient(azure.url)
    with pytest.raises((LaterError, NeverError)):
        CALLS[call](arm)
    arm.close()
    assert other.seen == []


@pytest.mark.parametrize("call", CALLS)
def test_a_link_that_only_becomes_another_place_when_it_is_put_together_leads_nowhere_else(
    azure: OddArm, other: OddArm, call: str
) -> None:
    azure.will_answer(call, page(call, f"{azure.url}/x/..//{host(other)}/x?a=1"))
    arm = ArmClient(azure.url)
    # Azure itself may well be asked for it.
    with suppress(LaterError, NeverError):
        CALLS[call](arm)
    arm.close()
    assert azure.seen != []
    assert other.seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_no_redirect_leads_to_another_place(azure: OddArm, other: OddArm, call: str, status: int) -> None:
    azure.will_answer(call, Answer("", status, {"Location": f"{other.url}/x"}))
    arm = ArmClient(azure.url)
    with pytest.raises(NeverError, match="AZURE_MANAGEMENT_ENDPOINT"):
        CALLS[call](arm)
    arm.close()
    assert other.seen == []


REQUESTS: dict[str, Callable[[ArmClient, str], object]] = {
    "our own": lambda arm, url: arm.send("GET", url),
    "of the costs": lambda arm, url: arm.cost_management.send_request(HttpRequest("POST", url, json={})),
    "of the budgets": lambda arm, url: next(arm.consumption.budgets.list("x").by_page(url)),
}


@pytest.mark.parametrize("link", ["http://{there}/x", "http://{here}//{there}/x", "http://{here}@{there}/x"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_no_request_whatsoever_goes_to_another_place_though_nobody_looked_at_its_link(
    azure: OddArm, other: OddArm, request_: str, link: str
) -> None:
    arm = ArmClient(azure.url)
    with pytest.raises(NeverError, match="another place"):
        REQUESTS[request_](arm, link.format(here=host(azure), there=host(other)))
    arm.close()
    assert azure.seen == other.seen == []
