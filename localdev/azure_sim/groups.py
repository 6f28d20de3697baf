"""Which resource groups there are: those of the charges, those that were added, without those that were removed."""

from collections.abc import Callable

from localdev.azure_sim.arm import ArmPath, group_not_found
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.wire import AzureError

Forget = Callable[[str, str], None]


class ResourceGroups:
    """The groups of all subscriptions; names are compared without regard to case."""

    def __init__(self, book: ChargeBook) -> None:
        self._book = book
        self._added: set[tuple[str, str]] = set()
        self._removed: set[tuple[str, str]] = set()
        self._listeners: list[Forget] = []

    def on_removal(self, forget: Forget) -> None:
        """Has `forget(subscription, group)` called when a group goes, with what is in it."""
        self._listeners.append(forget)

    def add(self, subscription: str, group: str) -> None:
        """Makes a group known, and its subscription."""
        self._book.add_subscription(subscription)
        self._added.add(_key(subscription, group))
        self._removed.discard(_key(subscription, group))

    def remove(self, subscription: str, group: str) -> None:
        """Deletes a group with its locks and machines; its charges stay, as in Azure."""
        self._removed.add(_key(subscription, group))
        self._added.discard(_key(subscription, group))
        for forget in self._listeners:
            forget(subscription, group)

    def has(self, subscription: str, group: str) -> bool:
        """Whether the group is there."""
        key = _key(subscription, group)
        if key in self._removed:
            return False
        return key in self._added or any(row[0].lower() == key[1] for row in self._book.known_rows(subscription))

    def as_json(self) -> dict[str, list[list[str]]]:
        """What was added and what was removed, as (subscription, group) in lower case."""
        return {
            "added": sorted(list(key) for key in self._added),
            "removed": sorted(list(key) for key in self._removed),
        }

    def restore(self, kept: dict[str, list[list[str]]]) -> None:
        """Takes up what `as_json` gave."""
        for subscription, group in kept["added"]:
            self.add(subscription, group)
        self._removed |= {(subscription, group) for subscription, group in kept["removed"]}

    def check(self, path: ArmPath) -> None:
        """AzureError 404 where the path's subscription or group is not there."""
        if path.subscription.lower() not in self._book.subscriptions():
            message = f"The subscription '{path.subscription}' could not be found."
            raise AzureError(404, "SubscriptionNotFound", message)
        if path.group and not self.has(path.subscription, path.group):
            raise group_not_found(path.group)


def _key(subscription: str, group: str) -> tuple[str, str]:
    return (subscription.lower(), group.lower())
