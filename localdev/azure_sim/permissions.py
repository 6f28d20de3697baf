"""What the caller may do (Microsoft.Authorization/permissions, API version 2022-04-01): told, and not enforced.

A caller without a role is refused by a fault (`forbidden`).
"""

from typing import Any

from localdev.azure_sim.arm import listed
from localdev.azure_sim.wire import Request, Routes
from localdev.http import Answer

SUBSCRIPTION_PATH = "/subscriptions/{subscription}"
PERMISSIONS = "providers/Microsoft.Authorization/permissions"
EVERYTHING = {"actions": ["*"], "notActions": []}


class Permissions:
    """What roles allow, by subscription and group; where nothing was said, everything. Groups inherit."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._roles: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def allow(self, subscription: str, *actions: str, group: str = "", but: tuple[str, ...] = ()) -> None:
        """Gives a role at a place, with actions such as `Microsoft.Compute/*/read`, from which `but` is taken."""
        role = {"actions": list(actions), "notActions": list(but), "dataActions": [], "notDataActions": []}
        self._roles.setdefault((subscription.lower(), group.lower()), []).append(role)

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        routes.add("GET", f"{SUBSCRIPTION_PATH}/{PERMISSIONS}", self.list)
        routes.add("GET", f"{SUBSCRIPTION_PATH}/resourceGroups/{{group}}/{PERMISSIONS}", self.list)

    def list(self, request: Request) -> Answer:
        """What the caller's roles allow at the place, those of the subscription among them."""
        subscription, group = request.parameters["subscription"].lower(), request.parameters.get("group", "").lower()
        above = self._roles.get((subscription, ""), [])
        own = self._roles.get((subscription, group), []) if group else []
        known = any(place[0] == subscription for place in self._roles)
        return listed(request, above + own if known else [EVERYTHING], self._page_size)
