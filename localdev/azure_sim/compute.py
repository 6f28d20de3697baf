"""The routes of virtual machines and scale sets (Microsoft.Compute, API version 2026-04-01)."""

from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from localdev.azure_sim.arm import invalid_content, json_object, listed, resource_not_found
from localdev.azure_sim.machines import TYPES, Kind, Machine, Machines, Operation
from localdev.azure_sim.wire import Answer, AzureError, Request, Routes, json_answer

GROUP_PATH = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute"
SUBSCRIPTION_PATH = "/subscriptions/{subscription}/providers/Microsoft.Compute"
LOCATION = "canadacentral"
OPERATION_PATH = f"{SUBSCRIPTION_PATH}/locations/{LOCATION}/operations/{{number}}"
SHOWN_STATES = {
    "running": "VM running",
    "stopped": "VM stopped",
    "deallocating": "VM deallocating",
    "deallocated": "VM deallocated",
}


class ComputeApi:
    """Answers out of the machines. With `vary`, lists spell resource groups in capitals, as Azure's do at times."""

    def __init__(self, machines: Machines, page_size: int, vary: bool) -> None:
        self._machines, self._page_size, self._vary = machines, page_size, vary

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        for kind in TYPES:
            self._add_kind(routes, kind)
        scale_set = f"{GROUP_PATH}/{TYPES['scale set']}/{{name}}"
        routes.add("GET", f"{scale_set}/virtualMachines", self._instances)
        routes.add("GET", OPERATION_PATH, self._operation)

    def _add_kind(self, routes: Routes, kind: Kind) -> None:
        machines = self._machines
        one = f"{GROUP_PATH}/{TYPES[kind]}/{{name}}"
        routes.add("GET", f"{GROUP_PATH}/{TYPES[kind]}", lambda request: self._list(request, kind))
        routes.add("GET", f"{SUBSCRIPTION_PATH}/{TYPES[kind]}", lambda request: self._list(request, kind))
        routes.add("GET", one, lambda request: json_answer(_shown(self._found(request, kind), request)))
        routes.add("GET", f"{one}/instanceView", lambda request: json_answer(_view(self._found(request, kind))))
        routes.add("DELETE", one, lambda request: self._do(request, kind, machines.delete))
        routes.add("POST", f"{one}/deallocate", lambda request: self._do(request, kind, machines.deallocate))
        routes.add("POST", f"{one}/start", lambda request: self._do(request, kind, machines.start))
        routes.add("POST", f"{one}/powerOff", lambda request: self._do(request, kind, machines.power_off))

    def _found(self, request: Request, kind: Kind) -> Machine:
        machine = self._machines.get(**request.parameters, kind=kind)
        if machine is None:
            kind_name = f"Microsoft.Compute/{TYPES[kind]}"
            raise resource_not_found(kind_name, request.parameters["name"], request.parameters["group"])
        return machine

    def _list(self, request: Request, kind: Kind) -> Answer:
        machines = self._machines.of(request.parameters["subscription"], request.parameters.get("group"), kind)
        shown = [_shown(machine, request) for machine in machines]
        for machine, resource in zip(machines, shown, strict=True):
            if self._vary:
                resource["id"] = machine.id.replace(f"/{machine.group}/", f"/{machine.group.upper()}/", 1)
        return listed(request, shown, self._page_size)

    def _instances(self, request: Request) -> Answer:
        """The machines of a scale set, each with its instance view, asked for or not."""
        machine = self._found(request, "scale set")
        count = 0 if machine.flexible else machine.instances
        instances = [_instance(machine, number) for number in range(count)]
        return listed(request, instances, self._page_size)

    def _do(self, request: Request, kind: Kind, action: Callable[[Machine], Operation]) -> Answer:
        machine = self._found(request, kind)
        if request.body and json_object(request.body).get("instanceIds", ["*"]) != ["*"]:
            raise invalid_content("The simulator's actions are for whole scale sets: leave instanceIds out.")
        if machine.flexible:
            message = f"The operation is not supported on '{machine.name}': its orchestration mode is Flexible."
            raise AzureError(409, "OperationNotAllowed", message)
        operation = action(machine)
        path = OPERATION_PATH.format(subscription=machine.subscription, number=operation.id)
        url = f"http://{request.headers.get('Host', '127.0.0.1')}{path}"
        version = request.query.get("api-version", "")
        return Answer(
            202,
            headers={
                "Azure-AsyncOperation": f"{url}?api-version={version}",
                "Location": f"{url}?monitor=true&api-version={version}",
            },
        )

    def _operation(self, request: Request) -> Answer:
        """How far an operation is; with `monitor=true` as the status of the answer, else in its body."""
        operation = self._machines.operation(**request.parameters)
        if operation is None:
            number = request.parameters["number"]
            raise AzureError(404, "NotFound", f"The operation '{number}' could not be found.")
        if request.query.get("monitor") != "true":
            return json_answer(_progress(operation))
        if operation.error:
            raise operation.error
        return Answer(202 if operation.status == "InProgress" else 200)


def _progress(operation: Operation) -> dict[str, Any]:
    error = {"error": {"code": operation.error.code, "message": str(operation.error)}} if operation.error else {}
    return {"name": operation.id, "status": operation.status, **error}


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
        resource["properties"]["orchestrationMode"] = "Flexible" if machine.flexible else "Uniform"
        return resource
    resource["properties"] |= {
        "vmId": str(uuid5(NAMESPACE_URL, machine.id.lower())),
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
    }
    if request.query.get("$expand", "").lower() == "instanceview":
        resource["properties"]["instanceView"] = _view(machine)
    return resource


def _view(machine: Machine) -> dict[str, Any]:
    """The instance view: of a machine its statuses, of a scale set how many machines have which."""
    statuses = [
        {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"},
        {"code": f"PowerState/{machine.state}", "level": "Info", "displayStatus": SHOWN_STATES[machine.state]},
    ]
    if machine.kind == "vm":
        return {"statuses": statuses}
    counted = [{"code": status["code"], "count": machine.instances} for status in statuses if machine.instances]
    return {"virtualMachine": {"statusesSummary": counted}, "statuses": statuses[:1]}


def _instance(machine: Machine, number: int) -> dict[str, Any]:
    alone = Machine(machine.subscription, machine.group, f"{machine.name}_{number}", "vm", machine.state)
    return {
        "name": alone.name,
        "id": f"{machine.id}/virtualMachines/{number}",
        "instanceId": str(number),
        "location": LOCATION,
        "properties": {"provisioningState": "Succeeded", "instanceView": _view(alone)},
    }
