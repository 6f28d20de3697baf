"""What only the adapter of Azure's compute has: how states are found out, kinds of scale sets, races."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.compute import ArmCompute
from shared.ports.azure import Machine, MachineKind, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.adapters.azure.odd_arm import MACHINES, SCALE_SETS, Answer, OddArm, error, value

GROUP = ResourceGroup("6f1c0d5e-0000-4000-8000-00000000000a", "rg-web")
VM, SCALE_SET = MachineKind.VM, MachineKind.SCALE_SET


@pytest.fixture
def odd() -> Iterator[OddArm]:
    with OddArm() as server:
        yield server


def view(state: str | None) -> dict[str, Any]:
    """An instance view; without a power state where there is none."""
    codes = ["ProvisioningState/succeeded"] + ([f"PowerState/{state}"] if state else [])
    return {"statuses": [{"code": code, "level": "Info"} for code in codes]}


def vm(name: str, state: str | None = None, seen: bool = True) -> dict[str, Any]:
    """A machine in a list, with its instance view or without."""
    return {"name": name, "location": "x", "properties": {"instanceView": view(state)} if seen else {}}


def scale_set(name: str, capacity: int | None = 2, mode: str | None = "Uniform") -> dict[str, Any]:
    sku = {"sku": {"name": "D2", "capacity": capacity}} if capacity is not None else {}
    return {"name": name, "location": "x", "properties": {"orchestrationMode": mode} if mode else {}} | sku


@pytest.mark.parametrize("state", ["starting", "running", "stopping", "stopped", "unknown", "Running"])
def test_every_state_but_deallocated_costs_money(odd: OddArm, state: str) -> None:
    odd.will_answer(MACHINES, value(vm("one", state), vm("two", "deallocated"), vm("three", "Deallocated")))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == [Machine("one", VM)]


def test_a_machine_that_deallocates_is_stopping(odd: OddArm) -> None:
    odd.will_answer(MACHINES, value(vm("one", "deallocating")))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == [Machine("one", VM, stopping=True)]


def test_states_come_with_the_list_so_that_many_machines_cost_two_requests(odd: OddArm) -> None:
    odd.will_answer(MACHINES, value(*[vm(f"vm-{number}", "running") for number in range(50)]))
    assert len(ArmCompute(ArmClient(odd.url)).running(GROUP)) == 50
    assert len(odd.seen) == 2
    assert "expand=instanceView" in odd.paths[0]


def test_where_the_list_comes_without_states_each_machine_is_asked(odd: OddArm) -> None:
    odd.will_answer("/one/instanceView", Answer(json.dumps(view("running"))))
    odd.will_answer("/two/instanceView", Answer(json.dumps(view("deallocated"))))
    odd.will_answer("/three/instanceView", Answer(json.dumps(view(None))))
    odd.will_answer(MACHINES, value(vm("one", seen=False), vm("two", seen=False), vm("three", seen=False)))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == [Machine("one", VM), Machine("three", VM)]


def test_where_azure_does_not_give_states_along_the_list_is_asked_for_without(odd: OddArm) -> None:
    odd.will_answer("expand=", error(400, "InvalidParameter", "$expand needs a $filter."))
    odd.will_answer("/one/instanceView", Answer(json.dumps(view("running"))))
    odd.will_answer(MACHINES, value(vm("one", seen=False)))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == [Machine("one", VM)]


def test_a_machine_that_is_deleted_meanwhile_costs_nothing(odd: OddArm) -> None:
    odd.will_answer("/one/instanceView", error(404, "ResourceNotFound"))
    odd.will_answer(MACHINES, value(vm("one", seen=False)))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == []


@pytest.mark.parametrize(
    ("states", "found"),
    [
        (["deallocated", "running"], [Machine("web", SCALE_SET)]),
        (["deallocated", "stopped"], [Machine("web", SCALE_SET)]),
        (["deallocating", "running"], [Machine("web", SCALE_SET)]),
        (["deallocated", "deallocating"], [Machine("web", SCALE_SET, stopping=True)]),
        (["deallocated", "deallocated"], []),
        ([None], [Machine("web", SCALE_SET)]),
        ([], []),
    ],
)
def test_a_scale_set_costs_money_while_one_of_its_machines_does(
    odd: OddArm, states: list[str | None], found: list[Machine]
) -> None:
    instances = [
        {"instanceId": str(at), "properties": {"instanceView": view(state)}} for at, state in enumerate(states)
    ]
    odd.will_answer(SCALE_SETS, value(scale_set("web")))
    odd.will_answer("/web/virtualMachines?", value(*instances))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == found


@pytest.mark.parametrize(
    "empty", [scale_set("web", capacity=0), scale_set("web", mode="Flexible"), scale_set("web", 0, mode=None)]
)
def test_a_scale_set_without_machines_of_its_own_is_not_looked_into(odd: OddArm, empty: dict[str, Any]) -> None:
    odd.will_answer(SCALE_SETS, value(empty))
    odd.will_answer(MACHINES, value(vm("web_1", "running")))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == [Machine("web_1", VM)]
    assert len(odd.seen) == 2


@pytest.mark.parametrize("unsaid", [scale_set("web", capacity=None), scale_set("web", mode=None)])
def test_a_scale_set_of_which_little_is_said_is_looked_into(odd: OddArm, unsaid: dict[str, Any]) -> None:
    odd.will_answer(SCALE_SETS, value(unsaid))
    odd.will_answer("/web/virtualMachines?", value({"properties": {"instanceView": view("running")}}))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == [Machine("web", SCALE_SET)]


def test_a_scale_set_that_is_deleted_meanwhile_costs_nothing(odd: OddArm) -> None:
    odd.will_answer(SCALE_SETS, value(scale_set("web")))
    odd.will_answer("/web/virtualMachines?", error(404, "ResourceNotFound"))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == []


def test_a_subscription_that_never_used_compute_has_no_machines(odd: OddArm) -> None:
    odd.will_answer("/", error(409, "MissingSubscriptionRegistration"))
    assert ArmCompute(ArmClient(odd.url)).running(GROUP) == []


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("code", ["ResourceGroupNotFound", "MissingSubscriptionRegistration"])
def test_who_is_throttled_or_unwell_does_not_say_that_there_are_no_machines(
    odd: OddArm, status: int, code: str
) -> None:
    odd.will_answer("/", error(status, code))
    with pytest.raises(LaterError, match=f"{status}"):
        ArmCompute(ArmClient(odd.url)).running(GROUP)


@pytest.mark.parametrize("answer", [Answer("<html>sign in</html>"), Answer("", 204)])
def test_what_is_no_answer_of_azures_stops_no_machine(odd: OddArm, answer: Answer) -> None:
    odd.will_answer("/deallocate", answer)
    with pytest.raises(LaterError, match="can't be read"):
        ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))


def test_a_missing_role_is_named_with_the_place_where_it_is_missing(odd: OddArm) -> None:
    odd.will_answer("/deallocate", error(403, "AuthorizationFailed", "No."))
    with pytest.raises(NeverError) as caught:
        ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))
    assert caught.value.reason == (
        "The app's identity may not deallocate the virtual machine one on /subscriptions/"
        "6f1c0d5e-0000-4000-8000-00000000000a/resourceGroups/rg-web: it lacks the role Virtual Machine Contributor "
        "there. Azure says: 403 (AuthorizationFailed) No."
    )


def test_a_lock_in_the_way_is_told_with_azures_own_words_to_the_end(odd: OddArm) -> None:
    lock = "/subscriptions/6f1c0d5e-0000-4000-8000-00000000000a/resourceGroups/rg-web"
    words = f"The scope '{lock}/{'x' * 200}' cannot perform write operation because following scope(s) are locked: "
    odd.will_answer("/deallocate", error(409, "ScopeLocked", f"{words}'{lock}'. Please remove the lock and try again."))
    with pytest.raises(NeverError, match=f"are locked: '{lock}'"):
        ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))


# terraform-provider-azurerm, linux_virtual_machine_resource.go.
EPHEMERAL = "Operation 'deallocate' is not supported for VMs or VM Scale Set instances using an ephemeral OS disk."
# AzureTRE #4135 and terraform-provider-azurerm #28218 of other operations; of quotas wherever machines are made.
PASSES = [
    "Operation 'deallocate' is not allowed on VM 'one' since the VM is either deallocated or marked to be deallocated.",
    "Operation 'deallocate' is not allowed while another operation is in progress. Retry later.",
    "Operation could not be completed as it results in exceeding approved Total Regional Cores quota.",
]


@pytest.mark.parametrize("kind", MachineKind)
@pytest.mark.parametrize("status", [400, 409])
def test_a_machine_that_azure_never_deallocates_is_refused_for_good_and_what_to_do_is_said(
    odd: OddArm, status: int, kind: MachineKind
) -> None:
    odd.will_answer("/deallocate", error(status, "OperationNotAllowed", EPHEMERAL))
    with pytest.raises(NeverError, match="costs money, stopped or not, until it is deleted"):
        ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", kind))


@pytest.mark.parametrize("words", PASSES)
def test_another_operation_that_is_not_allowed_passes(odd: OddArm, words: str) -> None:
    odd.will_answer("/deallocate", error(409, "OperationNotAllowed", words))
    with pytest.raises(LaterError, match="at the moment"):
        ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))


def test_what_throttles_or_is_unwell_refuses_nothing_for_good_whatever_it_says(odd: OddArm) -> None:
    for status in (429, 503):
        odd.will_answer("/deallocate", error(status, "OperationNotAllowed", EPHEMERAL))
        with pytest.raises(LaterError):
            ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))


def test_a_machine_that_is_being_deleted_needs_no_deallocation(odd: OddArm) -> None:
    # azure-sdk-for-python #2702
    words = "Operation 'deallocate' is not allowed on VM 'one' since the VM is marked for deletion. You can only retry"
    odd.will_answer("/deallocate", error(409, "OperationNotAllowed", f"{words} the Delete operation."))
    ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))


@pytest.mark.parametrize("kind", MachineKind)
@pytest.mark.parametrize("status", [200, 202])
def test_a_deallocation_is_asked_for_and_not_waited_for(odd: OddArm, kind: MachineKind, status: int) -> None:
    watch = {"Location": "{server}/later", "Azure-AsyncOperation": "{server}/later", "Retry-After": "600"}
    odd.will_answer("/deallocate", Answer("", status, watch))
    ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", kind))
    assert [method for method, _, _ in odd.seen] == ["POST"]


def test_a_404_of_somebody_else_is_not_taken_for_a_machine_that_is_gone(odd: OddArm) -> None:
    odd.will_answer("/deallocate", Answer("<p>not here</p>", 404, {"Content-Type": "text/html"}))
    with pytest.raises(NeverError, match="AZURE_MANAGEMENT_ENDPOINT"):
        ArmCompute(ArmClient(odd.url)).deallocate(GROUP, Machine("one", VM))


@pytest.mark.parametrize("part", [MACHINES, SCALE_SETS, "/web/virtualMachines?"])
def test_trouble_with_any_part_is_trouble_with_the_whole(odd: OddArm, part: str) -> None:
    odd.will_answer(part, error(503, "ServerBusy", headers={"Retry-After": "5"}))
    odd.will_answer(SCALE_SETS, value(scale_set("web")))
    if part == SCALE_SETS:
        odd.will_answer(part, error(503, "ServerBusy", headers={"Retry-After": "5"}))
    with pytest.raises(LaterError, match="ServerBusy"):
        ArmCompute(ArmClient(odd.url)).running(GROUP)


@pytest.mark.parametrize("body", ["", "[]", '{"value": [1]}', '{"value": [{"properties": 3, "name": "one"}]}'])
def test_an_answer_that_can_not_be_read_is_for_later(odd: OddArm, body: str) -> None:
    odd.will_answer(MACHINES, Answer(body))
    with pytest.raises(LaterError, match="can't be read"):
        ArmCompute(ArmClient(odd.url)).running(GROUP)


@pytest.mark.parametrize("part", [MACHINES, SCALE_SETS, "/web/virtualMachines?"])
def test_a_link_to_another_place_is_not_followed_and_gets_no_token(odd: OddArm, part: str) -> None:
    with OddArm() as elsewhere:
        odd.will_answer(part, value(scale_set("web"), link=f"{elsewhere.url}/subscriptions/x?page=2"))
        if part != SCALE_SETS:
            odd.will_answer(SCALE_SETS, value(scale_set("web")))
        with pytest.raises(NeverError, match="links to another place"):
            ArmCompute(ArmClient(odd.url)).running(GROUP)
        assert elsewhere.seen == []


@pytest.mark.parametrize("name", [None, "", "..", "a/b", "a?b"])
@pytest.mark.parametrize("part", [MACHINES, SCALE_SETS])
def test_a_machine_without_a_name_is_not_taken_for_one(odd: OddArm, part: str, name: Any) -> None:
    odd.will_answer(part, value({**(vm if part == MACHINES else scale_set)("x"), "name": name}))
    with pytest.raises(LaterError, match="can't be read"):
        ArmCompute(ArmClient(odd.url)).running(GROUP)
    assert len(odd.seen) <= 2


@pytest.mark.parametrize("body", ["{}", '{"a": 1}', '{"value": null}', '{"error": {"code": "x"}}', "[]", ""])
@pytest.mark.parametrize("part", [MACHINES, SCALE_SETS, "/virtualMachineScaleSets/one/virtualMachines?"])
def test_an_answer_that_is_no_list_does_not_mean_that_nothing_runs(odd: OddArm, part: str, body: str) -> None:
    odd.will_answer(part, Answer(body))
    odd.will_answer(SCALE_SETS, Answer(body) if part == SCALE_SETS else value(scale_set("one")))
    with pytest.raises(LaterError, match=r"can't be read|200 \(x\)"):
        ArmCompute(ArmClient(odd.url)).running(GROUP)
