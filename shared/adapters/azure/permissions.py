"""What the app's identity may do: as Azure tells itself (Microsoft.Authorization/permissions), or whoever may see its
role assignments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from shared.adapters.azure.arm import ArmClient, group_scope, subscription_scope, within
from shared.adapters.azure.refusals import NO_ROLE, PERMISSIONS, RefusedError, refusals
from shared.ports.azure import ResourceGroup

API_VERSION = "2022-04-01"


@dataclass(frozen=True, slots=True)
class ArmPermissions:
    """AzureRights in Azure Resource Manager. principal: the object id of whom they are of; None for whoever asks."""

    arm: ArmClient
    principal: str | None = None

    def missing(self, subscription_id: str, group: str | None, actions: Sequence[str]) -> list[str] | None:
        """Those of the actions that no role of the identity lets it do there; None where it may not see its roles."""
        scope = group_scope(ResourceGroup(subscription_id, group)) if group else subscription_scope(subscription_id)
        with refusals(PERMISSIONS, "say what the app may do on", scope):
            try:
                held = [(_patterns(role, "actions"), _patterns(role, "notActions")) for role in self._roles(scope)]
            except RefusedError as error:
                if error.code in NO_ROLE:
                    return None
                raise
        return [each for each in actions if not any(_is_in(each, some) and not _is_in(each, no) for some, no in held)]

    def _roles(self, scope: str) -> Iterator[Any]:
        """What each role lets do there. Raises as `ArmClient.items`."""
        authorization = f"{quote(scope)}/providers/Microsoft.Authorization"
        if self.principal is None:
            yield from self.arm.items(self.arm.url(f"{authorization}/permissions", API_VERSION))
            return
        # Those of its groups too, and those that are given above.
        of_whom = f"atScope() and assignedTo('{self.principal}')"
        for each in self.arm.items(self.arm.url(f"{authorization}/roleAssignments", API_VERSION, filter=of_whom)):
            role = str(within(each, "properties", "roleDefinitionId"))
            definition = self.arm.ask("GET", self.arm.url(quote(role), API_VERSION))
            yield from within(definition, "properties", "permissions") or []


def _patterns(item: Any, name: str) -> list[str]:
    """Each such as `Microsoft.Compute/*/read`. Raises TypeError for what is no list of texts."""
    return [str.lower(pattern) for pattern in within(item, name) or []]


def _is_in(action: str, patterns: Sequence[str]) -> bool:
    as_regexes = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return any(re.fullmatch(regex, action.lower()) for regex in as_regexes)
