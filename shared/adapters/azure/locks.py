"""Locks on resource groups: Azure's management locks, at the group itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from shared.adapters.azure.arm import ArmClient, group_scope, name_of, taken, within
from shared.adapters.azure.refusals import GROUP_GONE, LOCKS, IfThere, refusals
from shared.domain.texts import fitting
from shared.ports.azure import GroupLock, LockLevel, ResourceGroup

API_VERSION = "2020-05-01"
# Units of UTF-16, as .NET counts them.
LONGEST_NOTES = 512
LEVELS = {level.lower(): level for level in LockLevel}


@dataclass(frozen=True, slots=True)
class ArmLocks:
    """AzureLocks in Azure Resource Manager."""

    arm: ArmClient

    def locks_on(self, group: ResourceGroup) -> list[GroupLock] | None:
        """The locks at the group itself; None where there is no such group.

        Those of another level than ReadOnly and CanNotDelete are passed over: NotSpecified locks nothing.
        """
        scope = group_scope(group)
        with refusals(LOCKS, "list the locks on", scope), IfThere(GROUP_GONE):
            found = [_read(item) for item in self.arm.items(self._url(scope)) if _is_at(scope, item)]
            return [lock for lock in found if lock is not None]
        return None

    def put(self, group: ResourceGroup, lock: GroupLock) -> bool:
        """Makes the lock, or brings the one of its name to this level. False where there is no such group.

        Azure takes 512 characters of notes; the rest is cut off.
        """
        scope = group_scope(group)
        wanted = {"properties": {"level": lock.level.value, "notes": fitting(lock.notes, LONGEST_NOTES, "")}}
        with refusals(LOCKS, f"put the lock {lock.name} on", scope), IfThere(GROUP_GONE):
            made = taken(self.arm.send("PUT", self._url(scope, lock.name), wanted), 200, 201)
            if made is not None and not _is_same(made, lock):
                raise ValueError(f"the answer is not the lock {lock.name}")
            return True
        return False

    def delete(self, group: ResourceGroup, name: str) -> bool:
        """Takes the lock off. False where there is no such lock, or no such group."""
        scope = group_scope(group)
        with refusals(LOCKS, f"take off the lock {name} on", scope), IfThere():
            response = self.arm.send("DELETE", self._url(scope, name))
            taken(response, 200, 204)
            # 204 says that it was not there.
            return response.status_code == 200
        return False

    def _url(self, scope: str, name: str | None = None) -> str:
        path = f"{quote(scope)}/providers/Microsoft.Authorization/locks"
        if name is None:
            return self.arm.url(path, API_VERSION, filter="atScope()")
        return self.arm.url(f"{path}/{quote(name, safe='')}", API_VERSION)


def _is_at(scope: str, lock: Any) -> bool:
    """Whether the lock is at the group itself: "atScope()" lets those of the subscription through as well."""
    return str(within(lock, "id")).lower().startswith(f"{scope}/providers/Microsoft.Authorization/locks/".lower())


def _is_same(made: Any, lock: GroupLock) -> bool:
    name, level = within(made, "name"), within(made, "properties", "level")
    return (str(name).lower(), str(level).lower()) == (lock.name.lower(), lock.level.lower())


def _read(lock: Any) -> GroupLock | None:
    level = LEVELS.get((within(lock, "properties", "level") or "").lower())
    return GroupLock(name_of(lock, "lock"), level, str(within(lock, "properties", "notes") or "")) if level else None
