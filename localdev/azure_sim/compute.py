"""The routes of virtual machines and scale sets (Microsoft.Compute, API version 2026-04-01)."""

from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localdev.azure_sim.arm import listed, resource_not_found
from localdev.azure_sim.machines import TYPES, Kind, Machine, Machines
from localdev.azure_sim.wire import Request, Routes, json_answer
from localdev.http import Answer

GROUP_PATH = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute"
LOCATION = "canadacentral"


class ComputeApi:
    """Answers out of the machines. With `vary`, lists spell resource groups in capitals, as Azure's do at times."""

    def __init__(self, machines: Machines, page_size: int, vary: bool) -> None:
        self._machines, self._page_size, self._vary = machines, page_size, vary

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        for kind in TYPES:
            self._add_kind(routes, kind)
        machine = f"{GROUP_PATH}/{TYPES['vm']}/{{name}}"
        routes.add("GET", f"{machine}/instanceView", lambda request: json_answer(_view(self._found(request, "vm"))))
        routes.add("GET", f"{GROUP_PATH}/{TYPES['scale set']}/{{name}}/virtualMachines", self._instances)

    def _add_kind(self, routes: Routes, kind: Kind) -> None:
        one = f"{GROUP_PATH}/{TYPES[kind]}/{{name}}"
        routes.add("GET", f"{GROUP_PATH}/{TYPES[kind]}", lambda request: self._list(request, kind))
        routes.add("POST", f"{one}/deallocate", lambda request: self._do(request, kind, self._machines.deallocate))
        routes.add("POST", f"{one}/start", lambda request: self._do(request, kind, self._machines.start))

    def _found(self, request: Request, kind: Kind) -> Machine:
        machine = self._machines.get(**request.parameters, kind=kind)
        if machine is None:
            kind_name = f"Microsoft.Compute/{TYPES[kind]}"
            raise resource_not_found(kind_name, request.parameters["name"], request.parameters["group"])
        return machine

    def _list(self, request: Request, kind: Kind) -> Answer:
        machines = self._machines.of(request.parameters["subscription"], request.parameters["group"], kind)
        shown = [_shown(machine, request) for machine in machines]
        for machine, resource in zip(machines, shown, strict=True):
            if self._vary:
                resource["id"] = machine.id.replace(f"/{machine.group}/", f"/{machine.group.upper()}/", 1)
        return listed(request, shown, self._page_size)

    def _instances(self, request: Request) -> Answer:
        """The machines of a scale set, each with its instance view, asked for or not."""
        machine = self._found(request, "scale set")
        instances = [_instance(machine, number) for number in range(machine.instances)]
        return listed(request, instances, self._page_size)

    def _do(self, request: Request, kind: Kind, action: Callable[[Machine], None]) -> Answer:
        """Begins the action; how far it is, the machine's instance view tells."""
        action(self._found(request, kind))
        return Answer(202)


def _shown(machine: Machine, request: Request) -> dict[str, Any]:
    """The machine or scale set as Azure shows it, with its instance view where that was asked for."""
    resource: dict[str, Any] = {
        "name": machine.name,
        "id": machine.id,
        "type": f"Microsoft.Compute/{TYPES[machine.kind]}",
        "location": LOCATION,
        "properties": {"provisioningState": "Succeeded"},
    }
    if machine.kind == "scale set":
        resource["sku"] = {"name": "Standard_D2s_v5", "tier": "Standard", "capacity": machine.instances}
        resource["properties"]["orchestrationMode"] = "Uniform"
        return resource
    resource["properties"] |= {
        "vmId": str(uuid5(NAMESPACE_URL, machine.id.lower())),
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
    }
    if request.query.get("$expand", "").lower() == "instanceview":
        resource["properties"]["instanceView"] = _view(machine)
    return resource


def _view(machine: Machine) -> dict[str, Any]:
    """The instance view of a machine: its statuses."""
    statuses = [
        {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"},
        {"code": f"PowerState/{machine.state}", "level": "Info", "displayStatus": f"VM {machine.state}"},
    ]
    return {"statuses": statuses}


def _instance(machine: Machine, number: int) -> dict[str, Any]:
    alone = Machine(machine.subscription, machine.group, f"{machine.name}_{number}", "vm", machine.state)
    return {
        "name": alone.name,
        "id": f"{machine.id}/virtualMachines/{number}",
        "instanceId": str(number),
        "location": LOCATION,
        "properties": {"provisioningState": "Succeeded", "instanceView": _view(alone)},
    }
