"""Locks on resource groups: Azure's management locks, at the group itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.adapters.azure.clients import ArmAdapter, every, name_of, scope_of
from shared.adapters.azure.refusals import GROUP_GONE, code_of, is_gone, refusals
from shared.ports.azure import GroupLock, LockLevel, ResourceGroup

if TYPE_CHECKING:
    from azure.mgmt.resource.locks import ManagementLockClient
    from azure.mgmt.resource.locks.models import ManagementLockObject
    from azure.mgmt.resource.locks.operations import ManagementLocksOperations

# Contributor is not enough: it may do nothing with Microsoft.Authorization but read.
ROLE = "Locks Contributor"
# Of UTF-16, as .NET counts them.
LONGEST_NOTES = 512
LEVELS = {level.lower(): level for level in LockLevel}


class ArmLocks(ArmAdapter["ManagementLockClient"]):
    """AzureLocks in Azure Resource Manager."""

    def _load(self) -> type[ManagementLockClient]:
        from azure.mgmt.resource.locks import ManagementLockClient

        return ManagementLockClient

    def locks_on(self, group: ResourceGroup) -> list[GroupLock] | None:
        """The locks at the group itself; None where there is no such group.

        Those of another level than ReadOnly and CanNotDelete are passed over: NotSpecified locks nothing.
        """
        from azure.core.exceptions import ResourceNotFoundError

        scope = scope_of(group)
        with refusals("list the locks", ROLE, scope):
            locks = self._locks(group)
            try:
                given = every(locks.list_at_resource_group_level, group.name, filter="atScope()")
                found = [_read(lock) for lock in given if _is_at(scope, lock)]
            except ResourceNotFoundError as error:
                if code_of(error) == GROUP_GONE:
                    return None
                raise
        return [lock for lock in found if lock is not None]

    def put(self, group: ResourceGroup, lock: GroupLock) -> bool:
        """Makes the lock, or brings the one of its name to this level. False where there is no such group.

        Azure takes 512 characters of notes; the rest is cut off, and so is half of a character.
        """
        from azure.core.exceptions import ResourceNotFoundError
        from azure.mgmt.resource.locks.models import ManagementLockObject

        wanted = ManagementLockObject(level=lock.level.value, notes=_cut(lock.notes))
        with refusals(f"put the lock {lock.name}", ROLE, scope_of(group)):
            try:
                self._locks(group).create_or_update_at_resource_group_level(group.name, lock.name, wanted)
            except ResourceNotFoundError as error:
                if code_of(error) == GROUP_GONE:
                    return False
                raise
        return True

    def delete(self, group: ResourceGroup, name: str) -> bool:
        """Takes the lock off. False where there is no such lock, or no such group."""
        from azure.core.exceptions import ResourceNotFoundError

        with refusals(f"take off the lock {name}", ROLE, scope_of(group)):
            try:
                # The SDK says by itself neither that the lock was there (200) nor that it was not (204).
                status: int = self._locks(group).delete_at_resource_group_level(  # type: ignore[assignment]  # what `cls` returns
                    group.name, name, cls=lambda answered, _nothing, _headers: answered.http_response.status_code
                )
            except ResourceNotFoundError as error:
                if is_gone(error):
                    return False
                raise
        return status == 200

    def _locks(self, group: ResourceGroup) -> ManagementLocksOperations:
        return self._clients.of(group.subscription_id).management_locks


def _cut(notes: str) -> str:
    units = notes.encode("utf-16-le", "surrogatepass")
    return units[: LONGEST_NOTES * 2].decode("utf-16-le", "ignore")


def _is_at(scope: str, lock: ManagementLockObject) -> bool:
    """Whether the lock is at the group itself: "atScope()" lets those of the subscription through as well."""
    return str(lock.id).lower().startswith(f"{scope}/providers/Microsoft.Authorization/locks/".lower())


def _read(lock: ManagementLockObject) -> GroupLock | None:
    level = LEVELS.get((lock.level or "").lower())
    return GroupLock(name_of(lock.name, "lock"), level, lock.notes or "") if level else None
