"""The simulator's own control of budgets, locks, machines, groups and action groups, under `/_sim/`."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from localdev.azure_sim.action_groups import ActionGroup
from localdev.azure_sim.arm import json_object
from localdev.azure_sim.wire import Answer, AzureError, Request, Routes, json_answer

if TYPE_CHECKING:
    from localdev.azure_sim.simulator import AzureSimulator


class RemoteControl:
    """Answers for a simulator; what it takes and shows is what `SimulatorControl` has in its methods."""

    def __init__(self, simulator: "AzureSimulator") -> None:
        self._simulator = simulator

    def add_to(self, routes: Routes) -> None:
        """Adds what this control answers to the routes."""
        routes.add("GET", "/_sim/budgets", self._budgets)
        routes.add("GET", "/_sim/locks", self._locks)
        routes.add("GET", "/_sim/machines", self._machines)
        routes.add("POST", "/_sim/locks", _taking(self._add_lock))
        routes.add("POST", "/_sim/locks/remove", _taking(self._remove_lock))
        routes.add("POST", "/_sim/machines", _taking(self._add_machine))
        routes.add("POST", "/_sim/groups", _taking(self._add_group))
        routes.add("POST", "/_sim/groups/remove", _taking(self._remove_group))
        routes.add("POST", "/_sim/action-groups", _taking(self._register))
        routes.add("POST", "/_sim/evaluate", _taking(self._evaluate))

    def _budgets(self, request: Request) -> Answer:
        return json_answer({"budgets": _chosen(self._simulator.budgets.as_json(), request)})

    def _locks(self, request: Request) -> Answer:
        return json_answer({"locks": _chosen(self._simulator.locks.as_json(), request)})

    def _machines(self, request: Request) -> Answer:
        """The machines' states without being a look at them, and what was done to them."""
        machines = self._simulator.machines
        actions = [asdict(action) for action in machines.actions]
        return json_answer({"machines": _chosen(machines.as_json(), request), "actions": actions})

    def _add_lock(self, given: dict[str, Any]) -> dict[str, Any]:
        return asdict(self._simulator.add_lock(**given))

    def _remove_lock(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"removed": self._simulator.locks.remove(**given)}

    def _add_machine(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._simulator.machines.add(**given).as_json()

    def _add_group(self, given: dict[str, Any]) -> dict[str, Any]:
        self._simulator.groups.add(**given)
        return {}

    def _remove_group(self, given: dict[str, Any]) -> dict[str, Any]:
        self._simulator.groups.remove(**given)
        return {}

    def _register(self, given: dict[str, Any]) -> dict[str, Any]:
        group_id = given.pop("id")
        self._simulator.action_groups[group_id] = ActionGroup(**given)
        return {}

    def _evaluate(self, given: dict[str, Any]) -> dict[str, Any]:
        calls = self._simulator.evaluate_budgets(date.fromisoformat(given["today"]))
        return {"calls": [call.as_json() for call in calls]}


def _taking(action: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Answer]:
    """A handler that gives the body's JSON object to the action; what the action can't take is a 400."""

    def handle(request: Request) -> Answer:
        try:
            return json_answer(action(json_object(request.body)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AzureError(400, "BadRequest", f"The simulator can't take this: {error}") from error

    return handle


def _chosen(rows: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    """Those of the subscription and group that the query names."""
    wanted = [(name, request.query[name].lower()) for name in ("subscription", "group") if name in request.query]
    return [row for row in rows if all(str(row.get(name, "")).lower() == value for name, value in wanted)]
