"""Budgets, locks, machines, groups and action groups, kept in a file for the simulator's next start."""

import json
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Any

from localdev.azure_sim.action_groups import ActionGroup
from localdev.azure_sim.budget_rules import read_terms
from localdev.azure_sim.budgets import Budget
from localdev.azure_sim.locks import Lock
from localdev.azure_sim.machines import Action
from localdev.azure_sim.wire import json_answer

if TYPE_CHECKING:
    from localdev.azure_sim.simulator import AzureSimulator


class ResourceState:
    """Reads the file into the simulator's resources, and writes it where they have changed."""

    def __init__(self, simulator: "AzureSimulator", file: Path) -> None:
        self._simulator, self._file = simulator, file
        self._mutex = Mutex()
        self._written = b""
        if file.exists():
            self._restore(json.loads(file.read_bytes(), parse_float=Decimal))

    def save(self) -> None:
        """Writes what there is now, if it is not what the file holds."""
        with self._mutex:
            content = json_answer(self._content()).body
            if content == self._written:
                return
            fresh = self._file.with_name(self._file.name + ".new")
            fresh.write_bytes(content)
            fresh.replace(self._file)
            self._written = content

    def _content(self) -> dict[str, Any]:
        simulator = self._simulator
        return {
            "groups": simulator.groups.as_json(),
            "locks": simulator.locks.as_json(),
            "machines": simulator.machines.as_json(),
            "actions": [asdict(action) for action in simulator.machines.actions],
            "action_groups": {name: asdict(group) for name, group in simulator.action_groups.items()},
            "budgets": [_budget_as_json(budget) for budget in simulator.budgets.of()],
        }

    def _restore(self, content: dict[str, Any]) -> None:
        simulator = self._simulator
        simulator.groups.restore(content["groups"])
        for lock in content["locks"]:
            simulator.locks.put(Lock(**lock))
        for machine in content["machines"]:
            # An operation does not outlive the simulator: what was being stopped goes on running.
            state = "running" if machine["state"] == "deallocating" else machine["state"]
            names = ("subscription", "group", "name", "kind", "instances", "flexible")
            simulator.machines.add(**{name: machine[name] for name in names}).state = state
        simulator.machines.restore([Action(**action) for action in content["actions"]])
        for name, group in content["action_groups"].items():
            simulator.action_groups[name] = ActionGroup(**group)
        simulator.budgets.restore([_budget(value) for value in content["budgets"]])


def _budget_as_json(budget: Budget) -> dict[str, Any]:
    names = ("subscription", "name", "number", "unit", "spend", "evaluated")
    kept = {name: getattr(budget, name) for name in names}
    return {**kept, "properties": budget.terms.properties, "alerted": sorted(budget.alerted)}


def _budget(value: dict[str, Any]) -> Budget:
    terms, _ = read_terms(json_answer({"properties": value["properties"]}).body)
    return Budget(
        subscription=value["subscription"],
        name=value["name"],
        terms=terms,
        number=value["number"],
        unit=value["unit"],
        spend=Decimal(value["spend"]),
        evaluated=date.fromisoformat(value["evaluated"]) if value["evaluated"] else None,
        alerted={(name, date.fromisoformat(start), Decimal(limit)) for name, start, limit in value["alerted"]},
    )
