"""Management locks of resource groups (Microsoft.Authorization/locks, API version 2020-05-01) and what they forbid.

Locks of subscriptions and of single resources are not simulated.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from threading import RLock
from typing import Any

from localdev.azure_sim.arm import ArmPath, invalid_content, json_object, listed
from localdev.azure_sim.wire import AzureError, Request, Routes, json_answer
from localdev.http import Answer

GROUP_PATH = "/subscriptions/{subscription}/resourceGroups/{group}"
LIST_PATH = f"{GROUP_PATH}/providers/Microsoft.Authorization/locks"
LEVELS = ("CanNotDelete", "ReadOnly")
LONGEST_NOTES, LONGEST_NAME = 512, 260
FORBIDDEN_IN_NAMES = re.compile(r"[<>%&:\\?/\x00-\x1f]")


@dataclass(frozen=True)
class Lock:
    """One lock of a resource group, as it was put."""

    subscription: str
    group: str
    name: str
    level: str
    notes: str = ""

    def as_azure(self) -> dict[str, Any]:
        """The lock as Azure shows it."""
        group_id = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        notes = {"notes": self.notes} if self.notes else {}
        return {
            "properties": {"level": self.level, **notes},
            "id": f"{group_id}/providers/Microsoft.Authorization/locks/{self.name}",
            "type": "Microsoft.Authorization/locks",
            "name": self.name,
        }


class LockBook:
    """All locks; safe to change while the simulator answers from it."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._locks: dict[tuple[str, str, str], Lock] = {}
        self._listeners: list[Callable[[Lock], None]] = []

    def on_put(self, listener: Callable[[Lock], None]) -> None:
        """Has `listener(lock)` called when a lock was made or changed."""
        self._listeners.append(listener)

    def put(self, lock: Lock) -> bool:
        """Makes or changes the lock; returns whether it is a new one."""
        with self._lock:
            is_new = _key(lock.subscription, lock.group, lock.name) not in self._locks
            self._locks[_key(lock.subscription, lock.group, lock.name)] = lock
        for listener in self._listeners:
            listener(lock)
        return is_new

    def remove(self, subscription: str, group: str, name: str) -> bool:
        """Takes the lock off; returns whether it was there."""
        with self._lock:
            return self._locks.pop(_key(subscription, group, name), None) is not None

    def of(self, subscription: str | None = None, group: str | None = None) -> list[Lock]:
        """The locks of a group, of a subscription, or of all, in the order in which they were made."""
        with self._lock:
            return [lock for lock in self._locks.values() if _within(lock, subscription, group)]

    def is_read_only(self, subscription: str, group: str) -> bool:
        """Whether a ReadOnly lock is on the group."""
        return any(lock.level == "ReadOnly" for lock in self.of(subscription, group))

    def forget_group(self, subscription: str, group: str) -> None:
        """Drops the locks of a group that is gone."""
        for lock in self.of(subscription, group):
            self.remove(subscription, group, lock.name)

    def check(self, method: str, path: ArmPath) -> None:
        """AzureError 409 where a lock forbids the request; locks never forbid changes of locks."""
        if method == "GET" or not path.group or path.is_lock:
            return
        stopping = ("ReadOnly", "CanNotDelete") if method == "DELETE" else ("ReadOnly",)
        if any(lock.level in stopping for lock in self.of(path.subscription, path.group)):
            raise scope_locked(path.resource_id(method), path.group_id, "delete" if method == "DELETE" else "write")

    def as_json(self) -> list[dict[str, str]]:
        """All locks, as the control shows them."""
        return [asdict(lock) for lock in self.of()]


def scope_locked(resource: str, locked: str, operation: str) -> AzureError:
    """A 409 in Azure's words; an action such as starting a machine counts as a write operation."""
    return AzureError(
        409,
        "ScopeLocked",
        f"The scope '{resource}' cannot perform {operation} operation because following scope(s) are locked: "
        f"'{locked}'. Please remove the lock and try again.",
    )


class LocksApi:
    """The routes of the locks of resource groups."""

    def __init__(self, book: LockBook, page_size: int) -> None:
        self._book, self._page_size = book, page_size

    def add_to(self, routes: Routes) -> None:
        """Adds what this API answers to the simulator's routes."""
        routes.add("GET", LIST_PATH, self.list)
        routes.add("PUT", f"{LIST_PATH}/{{name}}", self.put)
        routes.add("DELETE", f"{LIST_PATH}/{{name}}", self.delete)

    def list(self, request: Request) -> Answer:
        """The locks of the group; with and without `$filter=atScope()` the same, as there are none further down."""
        wanted = request.query.get("$filter", "atScope()")
        if wanted.lower() != "atscope()":
            raise AzureError(400, "InvalidFilterInQueryString", f"Invalid $filter '{wanted}' specified.")
        locks = self._book.of(request.parameters["subscription"], request.parameters["group"])
        return listed(request, [lock.as_azure() for lock in locks], self._page_size)

    def put(self, request: Request) -> Answer:
        """Makes (201) or changes (200) a lock."""
        lock = _read(request)
        return json_answer(lock.as_azure(), 201 if self._book.put(lock) else 200)

    def delete(self, request: Request) -> Answer:
        """Takes a lock off; 204 where there is none."""
        return Answer(200 if self._book.remove(**request.parameters) else 204)


def _read(request: Request) -> Lock:
    properties = json_object(request.body).get("properties")
    if not isinstance(properties, dict):
        raise invalid_content("The lock's properties are missing.")
    lock = Lock(**request.parameters, level=str(properties.get("level", "")), notes=str(properties.get("notes") or ""))
    return checked(lock)


def checked(lock: Lock) -> Lock:
    """The lock with its level as Azure spells it; AzureError 400 where Azure would not take it."""
    level = next((known for known in LEVELS if known.lower() == lock.level.lower()), None)
    if level is None:
        raise invalid_content(f"The lock level '{lock.level}' is invalid; valid values are {', '.join(LEVELS)}.")
    # Azure counts as .NET does.
    if len(lock.notes.encode("utf-16-le", "surrogatepass")) > LONGEST_NOTES * 2:
        raise invalid_content(f"The lock notes exceed the maximum length of {LONGEST_NOTES} characters.")
    if not lock.name or len(lock.name) > LONGEST_NAME or FORBIDDEN_IN_NAMES.search(lock.name):
        raise AzureError(400, "InvalidLockName", f"The lock name '{lock.name}' is invalid.")
    return Lock(lock.subscription, lock.group, lock.name, level, lock.notes)


def _key(subscription: str, group: str, name: str) -> tuple[str, str, str]:
    return (subscription.lower(), group.lower(), name.lower())


def _within(lock: Lock, subscription: str | None, group: str | None) -> bool:
    in_subscription = subscription is None or lock.subscription.lower() == subscription.lower()
    return in_subscription and (group is None or lock.group.lower() == group.lower())
