"""What AzureRights tell: in the simulator, and faked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from localdev.azure_sim import AzureSimulator, ChargeBook
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.permissions import ArmPermissions
from shared.ports.azure import BUDGETS, LOCKS, AzureRights
from tests.fake_azure import FakeRights

HERE, ELSEWHERE = "6f1c0d5e-0000-4000-8000-00000000000a", "6f1c0d5e-0000-4000-8000-00000000000b"
IDENTITY = "6f1c0d5e-0000-4000-8000-00000000000c"
READ, WRITE, DELETE = LOCKS.actions
# Takes the right to the last two away in HERE, and to the last in its group.
Deny = Callable[[], None]


@pytest.fixture(params=["simulator", "of an identity", "fake"])
def world(request: pytest.FixtureRequest) -> Iterator[tuple[AzureRights, Deny]]:
    if request.param == "fake":
        fake = FakeRights()
        yield fake, lambda: fake.denied.update({(HERE, ""): (WRITE, DELETE), (HERE, "rg"): (DELETE,)})
        return
    with AzureSimulator(ChargeBook([])) as simulator:
        simulator.groups.add(HERE, "rg")
        simulator.groups.add(ELSEWHERE, "rg")

        def deny() -> None:
            simulator.permissions.allow(HERE, "*", but=(WRITE, DELETE))
            simulator.permissions.allow(HERE, WRITE, group="RG")

        whose = IDENTITY if request.param == "of an identity" else None
        yield ArmPermissions(ArmClient(simulator.url), whose), deny


def test_nothing_is_missing_where_nothing_is_denied(world: tuple[AzureRights, Deny]) -> None:
    rights, _ = world
    for actions in (LOCKS.actions, BUDGETS.actions, ()):
        assert rights.missing(HERE, None, actions) == rights.missing(HERE, "rg", actions) == []


def test_what_is_denied_is_missing_there_and_nowhere_else(world: tuple[AzureRights, Deny]) -> None:
    rights, deny = world
    deny()
    assert rights.missing(HERE, None, LOCKS.actions) == [WRITE, DELETE]
    assert rights.missing(HERE, "rg", LOCKS.actions) == [DELETE]
    assert rights.missing(HERE, None, BUDGETS.actions) == []
    assert rights.missing(ELSEWHERE, None, LOCKS.actions) == []
