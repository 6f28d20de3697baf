"""Compares Azure's own budgets of a subscription with what they are to be, and writes what differs.

Only budgets that the app made itself are changed or deleted. Running it twice, or breaking off in the middle, ends in
the same state: each run reads what Azure has, and writes only what differs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.money import plain
from shared.pipeline.azure_budgets.evaluated import counts_of, looked_at, written
from shared.pipeline.azure_budgets.names import AZURE_PREFIX, azure_name
from shared.pipeline.azure_budgets.wanted import (
    UnmappableError,
    WantedBudget,
    brought_to,
    calls,
    currency_of,
    differences,
    is_ours,
    needs_new,
    wanted_budget,
    why_none,
)
from shared.pipeline.events import event
from shared.ports.azure import AzureBudget, AzureBudgets
from shared.ports.azure_budgets import SeenBudget, SeenBudgets
from shared.ports.clock import Clock
from shared.ports.errors import NeverError, PauseError
from shared.ports.projects import ProjectLedger, ProjectView

CREATE, CHANGE, REPLACE, DELETE = "create", "change", "replace", "delete"
SOMEONE_ELSES = "a budget of this name was made by someone else, and is left as it is"
NOBODYS = "no project in this subscription has this budget"
NO_ACTION_GROUP = (
    "LOCK_ACTION_GROUP_ID is not set, so Azure's budgets would have nobody to call. It takes the id of the "
    "Action Group that calls BudgetAlert."
)
# A function that runs for ten minutes is killed; a budget takes Azure a second or two.
LONGEST_SYNC = timedelta(minutes=4)


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """A budget that differs. acronym: the project's, or the budget's name where no project has it.

    what: create, change, replace (deleted and made anew) or delete. sentence: `WARDEN amount 1000 -> 1200`.
    """

    acronym: str
    what: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What was done, or would be. unmapped, failed: acronym, and why: the end of a sentence, and a whole one."""

    changes: tuple[BudgetChange, ...] = ()
    unmapped: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A change, and what it takes: `delete`, a budget's name, goes first; then `put` is written.

    found: the budget that Azure has. project_id: whose it is to be.
    """

    change: BudgetChange
    delete: str | None = None
    put: AzureBudget | None = None
    found: AzureBudget | None = None
    project_id: int | None = None


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a subscription's budgets lack, and the projects that can't have one: acronym, the end of a sentence.

    seen: what is known now of the budgets that Azure has, or had.
    """

    steps: tuple[Step, ...]
    unmapped: tuple[tuple[str, str], ...]
    seen: tuple[SeenBudget, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetSync:
    """action_group_id: whom Azure calls at 100 %; without it there is nothing to sync.

    currencies: those of a subscription's stored charges.
    """

    azure: AzureBudgets
    seen: SeenBudgets
    projects: ProjectLedger
    action_group_id: str | None
    clock: Clock
    currencies: Callable[[str], frozenset[str]]

    def subscriptions(self) -> list[str]:
        """The subscriptions in which any project, active or not, has resource groups, or has left a budget of ours;
        each once, in lower case."""
        return sorted({*self.projects.subscriptions(), *self.seen.subscriptions()})

    def acronyms(self, subscription_id: str) -> list[str]:
        """The projects with resource groups in a subscription."""
        return [view.project.acronym for view in self.projects.list_projects(self.clock().date(), subscription_id)]

    def forget(self, subscription_id: str) -> None:
        """Gives up on the budgets of a subscription that can't be read, if no project is there any more."""
        if subscription_id not in self.projects.subscriptions():
            gone = [replace(each, is_there=False) for each in self.seen.seen_in(subscription_id).values()]
            self.seen.note(subscription_id, gone)

    def plan(self, subscription_id: str) -> SyncPlan:
        """What is to be done in a subscription; reads Azure's list once. Raises LaterError, NeverError."""
        if self.action_group_id is None:
            raise NeverError(NO_ACTION_GROUP)
        here = self.projects.list_projects(self.clock().date(), subscription_id)
        found, before = self.azure.budgets_of(subscription_id), self.seen.seen_in(subscription_id)
        remembered = {each.currency for each in before.values() if each.currency}
        currency = currency_of(found, self.currencies(subscription_id), frozenset(remembered))
        plan = _compared(here, found, self.action_group_id, currency)
        return replace(plan, seen=tuple(_seen(here, found, before, self.clock())))

    def sync(self, subscription_id: str, dry_run: bool = False, longest: timedelta = LONGEST_SYNC) -> SyncResult:
        """Brings a subscription's budgets in step, or says what it would do. A budget that Azure refuses fails alone.

        Raises NeverError where the subscription's budgets can't be read, and LaterError where Azure can't be asked
        now or `longest` is over: what was written stays, and the next call does only what still differs.
        """
        plan = self.plan(subscription_id)
        if dry_run:
            return SyncResult(tuple(step.change for step in plan.steps), plan.unmapped)
        self.seen.note(subscription_id, plan.seen)
        done, failed = [], []
        started_at = self.clock()
        for number, step in enumerate(plan.steps):
            if self.clock() - started_at > longest:
                raise PauseError(f"{len(plan.steps) - number} budgets are still to be brought in step.", timedelta(0))
            reason = self._refused(subscription_id, step)
            if reason is None:
                done.append(step.change)
            else:
                failed.append((step.change.acronym, reason))
        return SyncResult(tuple(done), plan.unmapped, tuple(failed))

    def _refused(self, subscription_id: str, step: Step) -> str | None:
        """Writes one budget; returns why Azure does not take it."""
        name, what = step.change.acronym, step.change.what
        try:
            self._write(subscription_id, step)
        except NeverError as error:
            event("budget_not_synced", level=logging.ERROR, budget=name, what=what, reason=error.reason)
            return error.reason
        event("budget_synced", budget=name, what=what, subscription=subscription_id)
        return None

    def _write(self, subscription_id: str, step: Step) -> None:
        if step.delete is not None:
            self.azure.delete(subscription_id, step.delete)
        if step.put is None:
            self._note_deleted(subscription_id, step)
            return
        # A list can come short, and what it did not show may be someone else's.
        if step.change.what == CREATE and self.azure.get(subscription_id, step.put.name) is not None:
            raise NeverError(f"There is a budget {step.put.name} that Azure's list did not show; it is left as it is.")
        # Before it is done: a figure that counts too late does no harm. Another amount changes nothing that was spent.
        before = None if step.delete else step.found
        if before is None or counts_of(before) != counts_of(step.put):
            self.seen.note(subscription_id, [written(step.put, before, step.project_id, self.clock())])
        self.azure.put(subscription_id, step.put)

    def _note_deleted(self, subscription_id: str, step: Step) -> None:
        gone = self.seen.seen_in(subscription_id).get((step.delete or "").lower())
        if gone is not None:
            self.seen.note(subscription_id, [replace(gone, is_there=False)])


def _seen(
    views: Iterable[ProjectView], found: Iterable[AzureBudget], before: Mapping[str, SeenBudget], now: datetime
) -> Iterator[SeenBudget]:
    """What is known now of budgets of which something else was known before."""
    ids = {azure_name(view.project.acronym): view.project.id for view in views}
    ours = {each.name.lower(): each for each in found if each.name.lower().startswith(AZURE_PREFIX) and is_ours(each)}
    for name, budget in ours.items():
        after = looked_at(before.get(name), budget, ids.get(name), now)
        if after != before.get(name):
            yield after
    for name in before.keys() - ours.keys():
        if before[name].is_there:
            yield replace(before[name], is_there=False)


def _compared(
    views: Iterable[ProjectView], found: Iterable[AzureBudget], action_group_id: str, currency: str | None
) -> SyncPlan:
    """Goes through the subscription's projects, then through the budgets that belong to none of them."""
    left = {budget.name.lower(): budget for budget in found}
    steps: list[Step] = []
    unmapped: list[tuple[str, str]] = []
    for view in views:
        budget = left.pop(azure_name(view.project.acronym), None)
        try:
            wanted = wanted_budget(view, action_group_id, currency)
            if wanted is None:
                steps += _no_longer(view.project.acronym, budget, why_none(view) or "")
            else:
                steps += (replace(each, project_id=view.project.id) for each in _to_be_written(view, wanted, budget))
        except UnmappableError as error:
            unmapped.append((view.project.acronym, str(error)))
            steps += _no_longer(view.project.acronym, budget, str(error))
    orphans = [budget for name, budget in left.items() if name.startswith(AZURE_PREFIX) and is_ours(budget)]
    for budget in orphans:
        if calls(budget, action_group_id):
            steps += _no_longer(budget.name, budget, NOBODYS)
        else:
            # Another installation, with projects of its own, may look after the same subscription.
            unmapped.append((budget.name, f"{NOBODYS}, and it calls another Action Group; it is left as it is"))
    return SyncPlan(tuple(steps), tuple(unmapped))


def _to_be_written(view: ProjectView, wanted: WantedBudget, found: AzureBudget | None) -> Iterator[Step]:
    """What brings a project's budget in step; nothing where it is. Raises UnmappableError."""
    acronym = view.project.acronym
    if found is not None and not is_ours(found):
        raise UnmappableError(SOMEONE_ELSES)
    if found is None:
        put = wanted.budget
        sentence = f"{acronym} amount {plain(put.amount)}, {put.time_grain.lower()} from {put.first_day}"
        yield Step(BudgetChange(acronym, CREATE, sentence), put=put)
        return
    differs = differences(wanted, found)
    if differs:
        is_new = needs_new(wanted, found)
        change = BudgetChange(acronym, REPLACE if is_new else CHANGE, f"{acronym} {'; '.join(differs)}")
        yield Step(change, delete=found.name if is_new else None, put=brought_to(wanted, found), found=found)


def _no_longer(acronym: str, found: AzureBudget | None, reason: str) -> Iterator[Step]:
    """Deletes a budget of ours that a project is not to have: its amount or period would be wrong, or is not wanted."""
    if found is not None and is_ours(found):
        yield Step(BudgetChange(acronym, DELETE, f"{acronym}: {reason}"), delete=found.name)
