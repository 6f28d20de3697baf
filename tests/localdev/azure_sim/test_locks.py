"""Locks of resource groups through the real SDK, and what they forbid."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.resource.locks.models import ManagementLockObject

READ_ONLY = ManagementLockObject(level="ReadOnly", notes="over budget")
OPERATIONS = ("deallocate", "start", "powerOff")


@pytest.fixture
def sim(running, azure):
    """A simulator with the machine `vm` in Alpha_RG."""
    simulator = running([azure.charge("Alpha_RG"), azure.charge("Beta")])
    simulator.machines.add(azure.subscription, "Alpha_RG", "vm")
    return simulator


def asked(azure, sim, method, path):
    """The status of a request under the group Alpha_RG."""
    url = f"{azure.scope}/resourceGroups/alpha_rg/providers/{path}?api-version=2026-04-01"
    return azure.ask(sim.url).send(method, url)


def test_a_lock_is_made_changed_listed_and_taken_off(sim, azure):
    locks = azure.locks(sim.url)

    made = locks.create_or_update_at_resource_group_level("alpha_rg", "warden-a", READ_ONLY)
    locks.create_or_update_at_resource_group_level(
        "Alpha_RG", "warden-a", ManagementLockObject(level="CanNotDelete", notes="x" * 512)
    )
    (listed,) = locks.list_at_resource_group_level("ALPHA_RG", filter="atScope()")
    locks.delete_at_resource_group_level("Alpha_RG", "WARDEN-A")
    locks.delete_at_resource_group_level("Alpha_RG", "warden-a")

    assert made.id.endswith("/resourceGroups/alpha_rg/providers/Microsoft.Authorization/locks/warden-a")
    assert (made.level, made.notes) == ("ReadOnly", "over budget")
    assert (listed.level, listed.notes) == ("CanNotDelete", "x" * 512)
    assert [seen.status for seen in sim.record.requests()] == [201, 200, 200, 200, 204]
    assert list(locks.list_at_resource_group_level("Alpha_RG")) == []


@pytest.mark.parametrize(
    ("lock", "name", "words"),
    [
        (ManagementLockObject(level="ReadOnly", notes="x" * 513), "warden-a", "512"),
        (ManagementLockObject(level="Frozen"), "warden-a", "valid values"),
        (READ_ONLY, "warden:a", "lock name"),
    ],
)
def test_a_lock_that_azure_does_not_take_is_a_400(sim, azure, lock, name, words):
    with pytest.raises(HttpResponseError, match=words) as caught:
        azure.locks(sim.url).create_or_update_at_resource_group_level("Alpha_RG", name, lock)

    assert caught.value.status_code == 400
    assert sim.locks.of() == []


def test_read_only_forbids_everything_but_reading_and_locks(sim, azure):
    locks, compute = azure.locks(sim.url), azure.compute(sim.url)
    sim.add_lock(azure.subscription, "ALPHA_RG", "finance")
    machine = "Microsoft.Compute/virtualMachines/vm"

    posts = [asked(azure, sim, "POST", f"{machine}/{operation}").status_code for operation in OPERATIONS]
    others = [asked(azure, sim, method, machine).status_code for method in ("PUT", "PATCH", "DELETE")]
    looked_at = asked(azure, sim, "GET", f"{machine}/instanceView").status_code
    with pytest.raises(ResourceExistsError, match=r"vm' cannot perform write operation because following scope\(s\)"):
        compute.virtual_machines.begin_deallocate("Alpha_RG", "vm")
    locks.create_or_update_at_resource_group_level("Alpha_RG", "warden-a", READ_ONLY)
    locks.delete_at_resource_group_level("Alpha_RG", "finance")

    assert (posts, others, looked_at) == ([409, 409, 409], [409, 409, 409], 200)
    assert asked(azure, sim, "DELETE", machine).json()["error"]["code"] == "ScopeLocked"
    assert [lock.name for lock in sim.locks.of()] == ["warden-a"]
    assert sim.machines.actions == []


def test_can_not_delete_forbids_deleting_only(sim, azure):
    sim.add_lock(azure.subscription, "Alpha_RG", "finance", "CanNotDelete", "ask us")
    machine = "Microsoft.Compute/virtualMachines/vm"

    refused = asked(azure, sim, "DELETE", machine)

    assert refused.status_code == 409
    assert "cannot perform delete operation" in refused.text()
    assert asked(azure, sim, "POST", f"{machine}/deallocate").status_code == 202
    assert [(action.action, action.machine.rpartition("/")[2]) for action in sim.machines.actions] == [
        ("deallocate", "vm")
    ]


def test_a_lock_touches_no_other_group_and_no_cost_query_of_the_subscription(sim, azure):
    sim.machines.add(azure.subscription, "Beta", "other")
    sim.add_lock(azure.subscription, "Alpha_RG", "finance")

    azure.compute(sim.url).virtual_machines.begin_deallocate("beta", "other", polling=False)

    assert sim.machines.get(azure.subscription, "Beta", "other").state == "deallocated"
    assert len(azure.ask(sim.url).rows(azure.subscription, azure.body())) == 2


def test_a_group_that_is_gone_is_a_404_for_locks_and_machines(sim, azure):
    sim.add_lock(azure.subscription, "Alpha_RG", "finance")
    sim.groups.remove(azure.subscription, "ALPHA_RG")

    with pytest.raises(ResourceNotFoundError, match="ResourceGroupNotFound"):
        azure.locks(sim.url).create_or_update_at_resource_group_level("Alpha_RG", "warden-a", READ_ONLY)
    with pytest.raises(ResourceNotFoundError, match="Resource group 'Alpha_RG' could not be found"):
        list(azure.compute(sim.url).virtual_machines.list("Alpha_RG"))
    with pytest.raises(ResourceNotFoundError, match="ResourceGroupNotFound"):
        list(azure.locks(sim.url).list_at_resource_group_level("never-was"))
    sim.groups.add(azure.subscription, "Alpha_RG")
    assert list(azure.locks(sim.url).list_at_resource_group_level("Alpha_RG")) == []


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("forbidden", 403, "'Microsoft.Authorization/locks/write' over scope '/subscriptions/"),
        ("conflict", 409, "another operation"),
        ("arm_throttled", 429, "Please try again after"),
        ("gateway_timeout", 504, "did not receive a response"),
        ("unauthorized", 401, "another tenant"),
    ],
)
def test_a_lock_can_fail_in_every_way_while_it_can_still_be_read(sim, azure, kind, status, words):
    locks = azure.locks(sim.url)
    sim.fault(kind, method="PUT, DELETE", path="resourceGroups/alpha*/locks/")

    assert list(locks.list_at_resource_group_level("Alpha_RG")) == []
    with pytest.raises(HttpResponseError, match=words) as caught:
        locks.create_or_update_at_resource_group_level("Alpha_RG", "warden-a", READ_ONLY)

    assert caught.value.status_code == status
    assert locks.create_or_update_at_resource_group_level("Alpha_RG", "warden-a", READ_ONLY).level == "ReadOnly"
