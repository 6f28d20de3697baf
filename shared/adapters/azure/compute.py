"""Virtual machines and scale sets: which of a group cost money, and their deallocation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.clients import ArmAdapter, every, name_of, scope_of
from shared.adapters.azure.refusals import GROUP_GONE, NOT_REGISTERED, code_of, is_gone, refusals
from shared.ports.azure import Machine, MachineKind, ResourceGroup

if TYPE_CHECKING:
    from azure.mgmt.compute import ComputeManagementClient
    from azure.mgmt.compute.models import VirtualMachine, VirtualMachineScaleSet

ROLE = "Virtual Machine Contributor"
POWER_STATE = "powerstate/"
# Every other state costs money, `stopped` too: the computer is kept. So does a state that we know nothing of.
DEALLOCATED, DEALLOCATING = "deallocated", "deallocating"
INSTANCE_VIEW = "instanceView"


class ArmCompute(ArmAdapter["ComputeManagementClient"]):
    """AzureCompute in Azure Resource Manager."""

    def _load(self) -> type[ComputeManagementClient]:
        from azure.mgmt.compute import ComputeManagementClient

        return ComputeManagementClient

    def running(self, group: ResourceGroup) -> list[Machine]:
        """Those of the group that are not deallocated; none where there is no such group."""
        from azure.core.exceptions import HttpResponseError

        with refusals("look at the machines", ROLE, scope_of(group)):
            client = self._clients.of(group.subscription_id)
            try:
                return [*_machines(client, group.name), *_scale_sets(client, group.name)]
            except HttpResponseError as error:
                # A subscription in which nobody has ever used Microsoft.Compute has no machines.
                if code_of(error) in (GROUP_GONE, NOT_REGISTERED):
                    return []
                raise

    def deallocate(self, group: ResourceGroup, machine: Machine) -> None:
        """Asks for its deallocation; returns once Azure has taken the request. Nothing where it is gone."""
        from azure.core.exceptions import ResourceNotFoundError

        with refusals(f"deallocate the {machine.kind} {machine.name}", ROLE, scope_of(group)):
            client = self._clients.of(group.subscription_id)
            try:
                if machine.kind is MachineKind.VM:
                    client.virtual_machines.begin_deallocate(group.name, machine.name, polling=False)
                else:
                    client.virtual_machine_scale_sets.begin_deallocate(group.name, machine.name, polling=False)
            except ResourceNotFoundError as error:
                if not is_gone(error):
                    raise


def _machines(client: ComputeManagementClient, group: str) -> Iterator[Machine]:
    """The single machines, among them those of scale sets in flexible orchestration."""
    for machine in _listed(client, group):
        name = name_of(machine.name, "machine")
        states = {_power_state(machine.instance_view) or _state_of(client, group, name)}
        yield from _costly(name, MachineKind.VM, states)


def _listed(client: ComputeManagementClient, group: str) -> list[VirtualMachine]:
    """The group's machines, with their states where Azure gives them along.

    It does so (azure-sdk-for-java #26618), but its documents allow that only together with a filter
    (azure-rest-api-specs #42411): so a refusal is expected, and so are machines without a state.
    """
    from azure.core.exceptions import HttpResponseError

    try:
        return [*every(client.virtual_machines.list, group, expand=INSTANCE_VIEW)]
    except HttpResponseError as error:
        if error.status_code != 400:
            raise
        return [*every(client.virtual_machines.list, group)]


def _state_of(client: ComputeManagementClient, group: str, name: str) -> str:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return _power_state(client.virtual_machines.instance_view(group, name))
    except ResourceNotFoundError as error:
        if not is_gone(error):
            raise
        return DEALLOCATED


def _scale_sets(client: ComputeManagementClient, group: str) -> Iterator[Machine]:
    for scale_set in every(client.virtual_machine_scale_sets.list, group):
        if not _has_instances(scale_set):
            continue
        name = name_of(scale_set.name, "scale set")
        yield from _costly(name, MachineKind.SCALE_SET, _states_in(client, group, name))


def _states_in(client: ComputeManagementClient, group: str, scale_set: str) -> set[str]:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        instances = every(client.virtual_machine_scale_set_vms.list, group, scale_set, expand=INSTANCE_VIEW)
        return {_power_state(instance.instance_view) for instance in instances}
    except ResourceNotFoundError as error:
        if not is_gone(error):
            raise
        return set()


def _has_instances(scale_set: VirtualMachineScaleSet) -> bool:
    """Whether the set has machines of its own.

    One in flexible orchestration has single machines in its place, and can't be deallocated itself
    (Microsoft's "Orchestration modes API comparison").
    """
    is_flexible = (scale_set.orchestration_mode or "").lower() == "flexible"
    return not is_flexible and (scale_set.sku is None or scale_set.sku.capacity != 0)


def _costly(name: str, kind: MachineKind, states: Iterable[str]) -> Iterator[Machine]:
    """The machine, or nothing where all of it is deallocated."""
    costly = {state for state in states if state != DEALLOCATED}
    if costly:
        yield Machine(name, kind, stopping=costly == {DEALLOCATING})


def _power_state(view: Any) -> str:
    """The state in an instance view, such as `running`; empty where it shows none."""
    codes = [(status.code or "").lower() for status in (view.statuses if view else None) or []]
    return next((code.removeprefix(POWER_STATE) for code in codes if code.startswith(POWER_STATE)), "")
