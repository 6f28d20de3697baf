"""Budgets, locks, machines, groups and action groups, kept in a file for the simulator's next start."""

import json
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from threading import Lock as Mutex
from typing import Any

from localdev.azure_sim.action_groups import ActionGroup
from localdev.azure_sim.budget_rules import read_terms
from localdev.azure_sim.budgets import Budget
from localdev.azure_sim.locks import Lock
from localdev.azure_sim.machines import Action
from localdev.azure_sim.resources import Resources
from localdev.azure_sim.wire import json_answer


class ResourceState:
    """Reads the file beside that of the charges into the resources, and writes it where they have changed."""

    def __init__(self, resources: Resources, charges_file: Path) -> None:
        self._resources, self._file = resources, charges_file.with_name(f"{charges_file.name}.resources")
        self._mutex = Mutex()
        self._written = b""
        if self._file.exists():
            self._restore(json.loads(self._file.read_bytes(), parse_float=Decimal))

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
        resources = self._resources
        return {
            "groups": resources.groups.as_json(),
            "locks": resources.locks.as_json(),
            "machines": resources.machines.as_json(),
            "actions": [asdict(action) for action in resources.machines.actions],
            "action_groups": {name: asdict(group) for name, group in resources.action_groups.items()},
            "budgets": [_budget_as_json(budget) for budget in resources.budgets.of()],
        }

    def _restore(self, content: dict[str, Any]) -> None:
        resources = self._resources
        resources.groups.restore(content["groups"])
        for lock in content["locks"]:
            resources.locks.put(Lock(**lock))
        for machine in content["machines"]:
            # An operation does not outlive the simulator: what was being stopped goes on running.
            state = "running" if machine["state"] == "deallocating" else machine["state"]
            names = ("subscription", "group", "name", "kind", "instances")
            resources.machines.add(**{name: machine[name] for name in names}).state = state
        resources.machines.restore([Action(**action) for action in content["actions"]])
        for name, group in content["action_groups"].items():
            resources.action_groups[name] = ActionGroup(**group)
        resources.budgets.restore([_budget(value) for value in content["budgets"]])


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
