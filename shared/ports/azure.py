"""Azure Resource Manager: budgets, locks, machines, and the token of an Action Group's call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from shared.domain.charges import key_of_group

# The provider, as FOCUS and our database name it.
AZURE = "azure"


@dataclass(frozen=True, slots=True)
class AzureRole:
    """A built-in role that the app's identity needs for something, and the actions of it that it takes."""

    name: str
    actions: tuple[str, ...]


COSTS = AzureRole("Cost Management Reader", ("Microsoft.CostManagement/query/read",))
BUDGETS = AzureRole(
    "Cost Management Contributor",
    (
        "Microsoft.Consumption/budgets/read",
        "Microsoft.Consumption/budgets/write",
        "Microsoft.Consumption/budgets/delete",
    ),
)
# A budget that calls an Action Group takes this too, which Cost Management Contributor does not have.
ACTION_GROUPS = AzureRole("Monitoring Reader", ("Microsoft.Insights/actionGroups/read",))
# Contributor is not enough: it may do nothing with Microsoft.Authorization but read.
LOCKS = AzureRole(
    "Locks Contributor",
    (
        "Microsoft.Authorization/locks/read",
        "Microsoft.Authorization/locks/write",
        "Microsoft.Authorization/locks/delete",
    ),
)
MACHINES = AzureRole(
    "Virtual Machine Contributor",
    (
        "Microsoft.Compute/virtualMachines/read",
        "Microsoft.Compute/virtualMachines/deallocate/action",
        "Microsoft.Compute/virtualMachineScaleSets/read",
        "Microsoft.Compute/virtualMachineScaleSets/deallocate/action",
    ),
)


@dataclass(frozen=True, slots=True)
class ResourceGroup:
    """A resource group, as its provider spells it."""

    subscription_id: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same group, however Azure writes it."""
        return self.subscription_id.lower(), key_of_group(self.name)


@dataclass(frozen=True, slots=True)
class BudgetNotice:
    """One notification of an Azure budget. threshold: percent. forecast: on the forecast, not on what was spent."""

    threshold: Decimal
    operator: str
    forecast: bool
    action_groups: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class AzureBudget:
    """A budget at a subscription, as Azure has it or as it is to be.

    amount: in `currency`, the subscription's own, which Azure says with what was spent. time_grain: Azure's word, such
    as Annually. last_day: the last day that it is there for. resource_groups: what its filter lets through, None
    where it has no filter or another one. notices: by their names. current_spend: as of Azure's last evaluation, about
    once a day. e_tag: of what was read.
    """

    name: str
    amount: Decimal
    time_grain: str
    first_day: date
    last_day: date
    resource_groups: tuple[str, ...] | None
    notices: Mapping[str, BudgetNotice]
    category: str = "Cost"
    current_spend: Decimal | None = None
    currency: str | None = None
    e_tag: str | None = None


class AzureBudgets(Protocol):
    """Azure's own budgets of subscriptions. Every call raises LaterError and NeverError."""

    def budgets_of(self, subscription_id: str) -> list[AzureBudget]:
        """All the cost budgets at the subscription's scope, whoever made them."""
        ...

    def get(self, subscription_id: str, name: str) -> AzureBudget | None:
        """One of them; None where there is none with this name (in any case)."""
        ...

    def put(self, subscription_id: str, budget: AzureBudget) -> None:
        """Makes it, or changes the one of its name (with its `e_tag`, only if nobody has changed it since)."""
        ...

    def delete(self, subscription_id: str, name: str) -> None:
        """Removes it; nothing where it is gone."""
        ...


class LockLevel(StrEnum):
    """What a lock forbids."""

    READ_ONLY = "ReadOnly"
    CAN_NOT_DELETE = "CanNotDelete"


@dataclass(frozen=True, slots=True)
class GroupLock:
    """A lock on a resource group itself, whoever made it."""

    name: str
    level: LockLevel
    notes: str = ""


class AzureLocks(Protocol):
    """Locks on resource groups. Every call raises LaterError and NeverError (which names the role that is missing)."""

    def locks_on(self, group: ResourceGroup) -> list[GroupLock] | None:
        """The locks at the group itself; None where there is no such group."""
        ...

    def put(self, group: ResourceGroup, lock: GroupLock) -> bool:
        """Makes the lock, or brings the one of its name to this level. False where there is no such group."""
        ...

    def delete(self, group: ResourceGroup, name: str) -> bool:
        """Takes the lock off. False where there is no such lock, or no such group."""
        ...


class MachineKind(StrEnum):
    """What can be deallocated."""

    VM = "virtual machine"
    SCALE_SET = "scale set"


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine or scale set that costs money. stopping: its deallocation has begun and is not over."""

    name: str
    kind: MachineKind
    stopping: bool = False


class AzureCompute(Protocol):
    """Virtual machines and scale sets. Every call raises LaterError and NeverError."""

    def running(self, group: ResourceGroup) -> list[Machine]:
        """Those of the group that are not deallocated; none where there is no such group."""
        ...

    def deallocate(self, group: ResourceGroup, machine: Machine) -> None:
        """Asks for its deallocation; returns once Azure has taken the request. Nothing where it is gone."""
        ...


class AzureRights(Protocol):
    """What the app's identity may do."""

    def missing(self, subscription_id: str, group: str | None, actions: Sequence[str]) -> list[str] | None:
        """Those of the actions that it may not do in a subscription, or in a resource group of it.

        None where Azure does not tell it that. What is denied in other ways than by a missing role is not seen. Raises
        LaterError and NeverError, of these GoneError where there is no such subscription or group.
        """
        ...


class TokenRefusedError(Exception):
    """A caller's token does not count. status: 401 (none, or not a valid one) or 403 (valid, and not allowed)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class TokenCheck(Protocol):
    """Who may call over HTTP."""

    def check(self, authorization: str | None) -> None:
        """Takes the Authorization header. Raises TokenRefusedError; LaterError where it can't be told now."""
        ...
