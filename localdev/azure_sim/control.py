"""The remote control of a simulator that runs in another process."""

import json
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from localdev.azure_sim.action_groups import Schema
from localdev.azure_sim.charges import Charge
from localdev.azure_sim.record import RECENT_REQUESTS
from localdev.azure_sim.state import as_json

# An evaluation comes back when its last call was answered or given up.
TIMEOUT_SECONDS = 90


class SimulatorControl:
    """Speaks to the simulator at `url`; each call opens a connection of its own. RuntimeError: it said no."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def stats(self, requests: int = RECENT_REQUESTS) -> dict[str, Any]:
        """Counts in all and by subscription, `largest_qpu` by window, and the last `requests`."""
        return self._call("GET", f"/_sim/stats?requests={requests}")

    def fault(self, kind: str, **details: Any) -> None:
        """Puts a fault in force: one of `faults.KINDS`, with the fields of `faults.Fault`."""
        self._call("POST", "/_sim/faults", {"kind": kind, **details})

    def clear_faults(self) -> None:
        """Ends all faults."""
        self._call("DELETE", "/_sim/faults")

    def set_charges(self, charges: Iterable[Charge]) -> None:
        """Sets each charge in place of what its group, service and day had."""
        self._call("POST", "/_sim/charges", [as_json(charge, is_set=True) for charge in charges])

    def remove_charges(self, charges: Iterable[Charge]) -> None:
        """Removes the rows of these groups, services, days and currencies; the amounts don't matter."""
        self._call("POST", "/_sim/charges", [as_json(charge, is_set=False) for charge in charges])

    def reset(self) -> None:
        """Forgets the statistics, the used quota and the faults. Charges and resources stay as they are."""
        self._call("POST", "/_sim/reset")

    def budgets(self, subscription: str | None = None) -> list[dict[str, Any]]:
        """The budgets as Azure shows them, with `subscription` and `evaluated` (the day, or None)."""
        return self._listed("budgets", subscription=subscription)

    def evaluate_budgets(self, today: date) -> list[dict[str, Any]]:
        """Has the budgets evaluated as on that day; returns the Action Groups' calls (see `action_groups.Call`)."""
        calls: list[dict[str, Any]] = self._call("POST", "/_sim/evaluate", {"today": today.isoformat()})["calls"]
        return calls

    def register_action_group(
        self, group_id: str, url: str, schema: Schema = "common", token_audience: str | None = None
    ) -> None:
        """Says whom an Action Group calls, in which schema, and with a token for which audience."""
        value = {"id": group_id, "url": url, "schema": schema, "token_audience": token_audience}
        self._call("POST", "/_sim/action-groups", value)

    def locks(self, subscription: str | None = None, group: str | None = None) -> list[dict[str, Any]]:
        """The locks: `subscription`, `group`, `name`, `level`, `notes` of each."""
        return self._listed("locks", subscription=subscription, group=group)

    def add_lock(self, subscription: str, group: str, name: str, level: str = "ReadOnly", notes: str = "") -> None:
        """Puts a lock on a group, as somebody else would."""
        value = {"subscription": subscription, "group": group, "name": name, "level": level, "notes": notes}
        self._call("POST", "/_sim/locks", value)

    def remove_lock(self, subscription: str, group: str, name: str) -> bool:
        """Takes a lock off by hand; returns whether it was there."""
        value = {"subscription": subscription, "group": group, "name": name}
        return bool(self._call("POST", "/_sim/locks/remove", value)["removed"])

    def machines(self, subscription: str | None = None, group: str | None = None) -> list[dict[str, Any]]:
        """The machines: `subscription`, `group`, `name`, `kind`, `state`, `instances`, `flexible` of each."""
        return self._listed("machines", subscription=subscription, group=group)

    def machine_actions(self) -> list[dict[str, Any]]:
        """What was done to machines over the API, oldest first: `action` and `machine` (an id) of each."""
        actions: list[dict[str, Any]] = self._call("GET", "/_sim/machines")["actions"]
        return actions

    def add_machine(self, subscription: str, group: str, name: str, **details: Any) -> None:
        """Makes a machine; `details`: running, kind, instances, flexible, as `Machines.add` takes them."""
        value = {"subscription": subscription, "group": group, "name": name, **details}
        self._call("POST", "/_sim/machines", value)

    def add_group(self, subscription: str, group: str) -> None:
        """Makes a resource group known."""
        self._call("POST", "/_sim/groups", {"subscription": subscription, "group": group})

    def remove_group(self, subscription: str, group: str) -> None:
        """Deletes a resource group with its locks and machines."""
        self._call("POST", "/_sim/groups/remove", {"subscription": subscription, "group": group})

    def _listed(self, what: str, **wanted: str | None) -> list[dict[str, Any]]:
        query = urlencode({name: value for name, value in wanted.items() if value is not None})
        rows: list[dict[str, Any]] = self._call("GET", f"/_sim/{what}?{query}", parse_float=Decimal)[what]
        return rows

    def _call(
        self, method: str, path: str, value: Any = None, parse_float: Callable[[str], Any] = float
    ) -> dict[str, Any]:
        host, port = self._address.hostname or "127.0.0.1", self._address.port
        connection = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if value is None else json.dumps(value))
            answer = connection.getresponse()
            content: dict[str, Any] = json.loads(answer.read(), parse_float=parse_float)
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"The simulator answered {answer.status}: {content['error']['message']}")
        return content
