"""What there is in the simulated Azure: groups, locks, machines, budgets and Action Groups, over a book of charges."""

from collections.abc import Callable
from datetime import date

from localdev.azure_sim.action_groups import ActionGroups
from localdev.azure_sim.budgets import BudgetBook
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.groups import ResourceGroups
from localdev.azure_sim.locks import Lock, LockBook, checked
from localdev.azure_sim.machines import Machines
from localdev.azure_sim.wire import AzureError


class Resources:
    """The parts, each told of what concerns it: what is in a group goes with it."""

    def __init__(self, book: ChargeBook, clock: Callable[[], float], today: Callable[[], date] | None) -> None:
        self.groups, self.locks = ResourceGroups(book), LockBook()
        self.machines = Machines(self.groups, self.locks, clock)
        self.budgets = BudgetBook(book, today)
        self.action_groups = ActionGroups()
        self.groups.on_removal(self.locks.forget_group)
        self.groups.on_removal(self.machines.forget_group)

    def add_lock(self, subscription: str, group: str, name: str, level: str = "ReadOnly", notes: str = "") -> Lock:
        """Puts a lock on a group, as somebody else would; makes the group known. ValueError: Azure wouldn't take it."""
        try:
            lock = checked(Lock(subscription, group, name, level, notes))
        except AzureError as error:
            raise ValueError(str(error)) from error
        self.groups.add(subscription, group)
        self.locks.put(lock)
        return lock
