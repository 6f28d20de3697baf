"""Virtual machines and scale sets: which of a group cost money, and their deallocation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from shared.adapters.azure.arm import ArmClient, group_scope, name_of, taken, within
from shared.adapters.azure.refusals import GROUP_GONE, MACHINES, NOT_REGISTERED, IfThere, RefusedError, refusals
from shared.ports.azure import Machine, MachineKind, ResourceGroup

API_VERSION = "2026-04-01"
RESOURCES = {MachineKind.VM: "virtualMachines", MachineKind.SCALE_SET: "virtualMachineScaleSets"}
POWER_STATE = "powerstate/"
# Every other state costs money, `stopped` too: the computer is kept. So does a state that we know nothing of.
DEALLOCATED, DEALLOCATING = "deallocated", "deallocating"
INSTANCE_VIEW = "instanceView"
BEING_DELETED = re.compile("is marked for deletion", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ArmCompute:
    """AzureCompute in Azure Resource Manager."""

    arm: ArmClient

    def running(self, group: ResourceGroup) -> list[Machine]:
        """Those of the group that are not deallocated; none where there is no such group."""
        scope = group_scope(group)
        # A subscription in which nobody has ever used Microsoft.Compute has no machines.
        with refusals(MACHINES, "look at the machines on", scope), IfThere(GROUP_GONE, (409, NOT_REGISTERED)):
            return [*self._machines(scope), *self._scale_sets(scope)]
        return []

    def deallocate(self, group: ResourceGroup, machine: Machine) -> None:
        """Asks for its deallocation; returns once Azure has taken the request. Nothing where it is gone, or going."""
        scope = group_scope(group)
        with refusals(MACHINES, f"deallocate the {machine.kind} {machine.name} on", scope), IfThere():
            url = self._url(scope, RESOURCES[machine.kind], machine.name, "deallocate")
            try:
                taken(self.arm.send("POST", url), 200, 202)
            except RefusedError as error:
                if not (error.status == 409 and BEING_DELETED.search(error.message)):
                    raise

    def _machines(self, scope: str) -> Iterator[Machine]:
        """The single machines, among them those of scale sets in flexible orchestration."""
        for machine in self._listed(scope):
            name = name_of(machine, "machine")
            states = {_power_state(within(machine, "properties", INSTANCE_VIEW)) or self._state_of(scope, name)}
            yield from _costly(name, MachineKind.VM, states)

    def _listed(self, scope: str) -> list[Any]:
        """The group's machines, with their states where Azure gives them along.

        It does so (azure-sdk-for-java #26618), but its documents allow that only together with a filter
        (azure-rest-api-specs #42411): so a refusal is expected, and so are machines without a state.
        """
        try:
            return [*self.arm.items(self._url(scope, "virtualMachines", expand=INSTANCE_VIEW))]
        except RefusedError as error:
            if error.status != 400:
                raise
            return [*self.arm.items(self._url(scope, "virtualMachines"))]

    def _state_of(self, scope: str, name: str) -> str:
        with IfThere():
            return _power_state(self.arm.ask("GET", self._url(scope, "virtualMachines", name, INSTANCE_VIEW)))
        return DEALLOCATED

    def _scale_sets(self, scope: str) -> Iterator[Machine]:
        for scale_set in self.arm.items(self._url(scope, "virtualMachineScaleSets")):
            if _has_instances(scale_set):
                name = name_of(scale_set, "scale set")
                yield from _costly(name, MachineKind.SCALE_SET, self._states_in(scope, name))

    def _states_in(self, scope: str, scale_set: str) -> set[str]:
        url = self._url(scope, "virtualMachineScaleSets", scale_set, "virtualMachines", expand=INSTANCE_VIEW)
        with IfThere():
            return {_power_state(within(instance, "properties", INSTANCE_VIEW)) for instance in self.arm.items(url)}
        return set()

    def _url(self, scope: str, *parts: str, **query: str) -> str:
        names = "/".join(quote(part, safe="") for part in parts)
        return self.arm.url(f"{quote(scope)}/providers/Microsoft.Compute/{names}", API_VERSION, **query)


def _has_instances(scale_set: Any) -> bool:
    """Whether the set has machines of its own.

    One in flexible orchestration has single machines in its place, and can't be deallocated itself
    (Microsoft's "Orchestration modes API comparison").
    """
    is_flexible = (within(scale_set, "properties", "orchestrationMode") or "").lower() == "flexible"
    return not is_flexible and within(scale_set, "sku", "capacity") != 0


def _costly(name: str, kind: MachineKind, states: Iterable[str]) -> Iterator[Machine]:
    """The machine, or nothing where all of it is deallocated."""
    costly = {state for state in states if state != DEALLOCATED}
    if costly:
        yield Machine(name, kind, stopping=costly == {DEALLOCATING})


def _power_state(view: Any) -> str:
    """The state in an instance view, such as `running`; empty where it shows none."""
    codes = [(within(status, "code") or "").lower() for status in within(view, "statuses") or []]
    return next((code.removeprefix(POWER_STATE) for code in codes if code.startswith(POWER_STATE)), "")
