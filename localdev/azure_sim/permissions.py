"""What the caller may do (Microsoft.Authorization, API version 2022-04-01): told, and not enforced.

Whichever identity is asked after has the caller's roles.

A caller without a role is refused by a fault (`forbidden`).
"""

import re
from typing import Any

from localdev.azure_sim.arm import listed
from localdev.azure_sim.wire import AzureError, Request, Routes, json_answer
from localdev.http import Answer

SUBSCRIPTION_PATH = "/subscriptions/{subscription}"
AUTHORIZATION = "providers/Microsoft.Authorization"
OF_AN_IDENTITY = re.compile(r"atScope\(\) and assignedTo\('[0-9a-fA-F-]{36}'\)")
EVERYTHING = {"actions": ["*"], "notActions": []}


class Permissions:
    """What roles allow, by subscription and group; where nothing was said, everything. Groups inherit."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._roles: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._definitions: list[dict[str, Any]] = []

    def allow(self, subscription: str, *actions: str, group: str = "", but: tuple[str, ...] = ()) -> None:
        """Gives a role at a place, with actions such as `Microsoft.Compute/*/read`, from which `but` is taken."""
        role = {"actions": list(actions), "notActions": list(but), "dataActions": [], "notDataActions": []}
        self._roles.setdefault((subscription.lower(), group.lower()), []).append(role)

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        for place in (SUBSCRIPTION_PATH, f"{SUBSCRIPTION_PATH}/resourceGroups/{{group}}"):
            routes.add("GET", f"{place}/{AUTHORIZATION}/permissions", self.list)
            routes.add("GET", f"{place}/{AUTHORIZATION}/roleAssignments", self.assignments)
        routes.add("GET", f"{SUBSCRIPTION_PATH}/{AUTHORIZATION}/roleDefinitions/{{number}}", self.definition)

    def _held(self, request: Request) -> list[dict[str, Any]]:
        subscription, group = request.parameters["subscription"].lower(), request.parameters.get("group", "").lower()
        above = self._roles.get((subscription, ""), [])
        own = self._roles.get((subscription, group), []) if group else []
        known = any(place[0] == subscription for place in self._roles)
        return above + own if known else [EVERYTHING]

    def list(self, request: Request) -> Answer:
        """What the caller's roles allow at the place, those of the subscription among them."""
        return listed(request, self._held(request), self._page_size)

    def assignments(self, request: Request) -> Answer:
        """Each of those roles as an assignment; its definition has its number here."""
        if not OF_AN_IDENTITY.fullmatch(request.query.get("$filter", "")):
            raise AzureError(400, "UnsupportedQuery", "The filter is not supported.")
        place = f"/subscriptions/{request.parameters['subscription']}/{AUTHORIZATION}/roleDefinitions"
        ids = [f"{place}/{self._numbered(role)}" for role in self._held(request)]
        return listed(request, [{"properties": {"roleDefinitionId": each}} for each in ids], self._page_size)

    def definition(self, request: Request) -> Answer:
        """What one of them allows."""
        return json_answer({"properties": {"permissions": [self._definitions[int(request.parameters["number"])]]}})

    def _numbered(self, role: dict[str, Any]) -> int:
        if role not in self._definitions:
            self._definitions.append(role)
        return self._definitions.index(role)
