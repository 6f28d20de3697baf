"""Projects, their budgets, and what is listed of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from shared.domain.budgets import ALL_OF_IT, Budget, BudgetTerms
from shared.domain.coverage import Gap
from shared.domain.currencies import Conversion
from shared.domain.forecast import Forecast
from shared.domain.money import add
from shared.domain.owners import OwnedScope
from shared.domain.periods import Period
from shared.domain.projects import Project, ProjectEntry, Scope


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How many projects a load added, changed and left as they were.

    handed_over: how many scopes it took from projects that keep what these cost so far.
    """

    added: int
    changed: int
    unchanged: int
    handed_over: int = 0


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What went: contacts, mails whose texts and recipients did, dead letters about those."""

    contacts: int
    mails: int
    letters: int


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project as it stands. budget: None without one. spent: in the period that holds today, in `currency`.
    allocated: what rules give it besides, in the same. converted: what of both was in other currencies.

    terms: those of the revision that counts, without an amount too. updated_at: when its costs were last read.
    problem: why it can't be watched, if so. gaps: what the figure lacks; it is complete without one. lacks_from: the
    first day on which it lacks something, where no costs are read until then; None where it never does.
    alerts: thresholds mailed for this revision and period.
    undelivered: of those whose mail has not reached all, whom and why.
    forecast: what the last check expects of the period; used_up_on: the day on which the budget is used up, None where
    it lasts. Both None where they can't be told: in a period that was not checked yet, of a project that is not active.
    handed_over: what it has, or had, on some days only; just those days count for what it spent.
    """

    project: Project
    scopes: tuple[Scope, ...]
    terms: BudgetTerms
    budget: Budget | None
    period: Period | None
    spent: Decimal
    updated_at: datetime | None = None
    problem: str | None = None
    gaps: tuple[Gap, ...] = ()
    alerts: tuple[int, ...] = ()
    undelivered: Mapping[int, str] = field(default_factory=dict)
    locked_since: datetime | None = None
    forecast: Forecast | None = None
    used_up_on: date | None = None
    handed_over: tuple[OwnedScope, ...] = ()
    allocated: Decimal = Decimal(0)
    converted: Conversion = field(default_factory=Conversion)
    lacks_from: date | None = None

    @property
    def currency(self) -> str | None:
        """None for a project that has neither a budget nor a currency to have one in."""
        return self.terms.currency or None

    @property
    def amount(self) -> Decimal | None:
        """What the project may spend in this period, with what was carried into it; None without a budget."""
        return self.budget.amount if self.budget else None

    @property
    def opening(self) -> Decimal:
        """What of `spent` is this period's opening balance."""
        return self.terms.opening_in(self.period)

    @property
    def used(self) -> Decimal:
        """What counts against the budget: what is spent, and allocated."""
        return add(self.spent, self.allocated)

    @property
    def percent(self) -> Decimal | None:
        """How much of it is used, rounded down; None without a budget, and where the two can't be compared."""
        return self.budget.percent(self.used) if self.budget and not self.problem else None


@dataclass(frozen=True, slots=True)
class PeriodView:
    """A period of a project's budget that was opened: what came into it from the one before.

    settled: what was carried is final. spent: in `currency`, so far; allocated: what rules gave it besides.
    converted: what of both was in other currencies.
    """

    period: Period
    currency: str
    carried: Decimal
    stopped: bool
    settled: bool
    spent: Decimal
    allocated: Decimal = Decimal(0)
    converted: Conversion = field(default_factory=Conversion)


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One revision of a budget: what, when, by whom, why. by_load: a projects file said so, nobody by hand."""

    number: int
    terms: BudgetTerms
    made_at: datetime
    made_by: str
    reason: str
    by_load: bool = False


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """What a load makes of one project. before: None for a new one.

    percent_before, percent: what is used of its budget in the period that holds today; None without one, and for a
    project that is not active. converted: what of the second was in other currencies. undone: the revisions by hand
    that the new terms take something back of, oldest first.
    """

    before: ProjectEntry | None
    after: ProjectEntry
    percent_before: Decimal | None = None
    percent: Decimal | None = None
    converted: Conversion = field(default_factory=Conversion)
    undone: tuple[RevisionView, ...] = ()

    @property
    def fills_up(self) -> bool:
        """Whether the project is at 100 % or more by this load."""
        return self.percent is not None and self.percent >= ALL_OF_IT > (self.percent_before or 0)

    @property
    def ends_a_day_later(self) -> bool:
        """Whether its fixed period ends a day later: where a file still names the day after the last, as of 0.1.0."""
        before, after = self.before and self.before.terms.rule.end, self.after.terms.rule.last_day
        return before is not None and before == after

    @property
    def needs_consent(self) -> bool:
        """Whether a person has to say that it is meant."""
        return bool(self.undone) or self.fills_up or self.ends_a_day_later


Consent = Callable[[Sequence[ProjectChange]], bool]
"""Whether these changes are to be made; may be asked again, and has no effect of its own"""


class ProjectLedger(Protocol):
    """Projects, their budgets, and what is listed of them."""

    def load(
        self,
        entries: Sequence[ProjectEntry],
        made_by: str,
        now: datetime,
        correction: bool = False,
        consent: Consent = lambda _changes: True,
    ) -> LoadResult:
        """Writes all the entries in one transaction. An entry that says what is so already changes nothing.

        `consent` is asked at its end, with what became of each project that is new or changed, in the entries' order;
        where it says no, nothing is written, and the result is what it would have been.

        What a scope that changes hands has cost so far stays with the project that had it (`domain.owners`); with
        `correction` it goes to the new owner, as if it had always had the scope.

        Changed terms make a new revision (as `revise_budget` does). A changed or new project is due for a
        check. Raises NeverError naming the project where a resource group belongs to another project that
        keeps it, or an acronym to another.
        """
        ...

    def entries(self) -> list[ProjectEntry]:
        """All projects by id, each as somebody who loads it again unchanged would write it."""
        ...

    def providers_read(self) -> list[str]:
        """The providers of which costs are stored, as they are spelled there."""
        ...

    def revise_budget(self, project_id: int, terms: BudgetTerms, made_by: str, reason: str, now: datetime) -> int:
        """Makes a new revision and returns its number; the project is due for a check.

        In the same transaction, where the period begins on the same day as before, the thresholds that were
        told and lie at or below the new percent count as told for the new revision too (`still_told`). What was
        carried into that period stays; a budget that had stopped goes on.
        """
        ...

    def find(self, project: str) -> int | None:
        """The id of the project with this acronym or this number.

        Case and accents don't matter where that leaves one project.
        """
        ...

    def of_contacts(self, addresses: Collection[str]) -> list[int]:
        """The ids of the projects, active or not, one of whose contacts has one of these addresses, in any case."""
        ...

    def get(self, project_id: int, today: date) -> ProjectView | None:
        """One project, with its usage in the period that holds `today`; None for an unknown one."""
        ...

    def list_projects(self, today: date, subscription_id: str | None = None) -> list[ProjectView]:
        """The projects by id, each with its usage in the period that holds `today`.

        subscription_id: only those with anything in this subscription, in any spelling, or other sub-account.
        """
        ...

    def subscriptions(self) -> list[str]:
        """The Azure subscriptions in which any project, active or not, has resource groups; in order."""
        ...

    def revisions(self, project_id: int) -> list[RevisionView]:
        """The project's budget revisions, oldest first."""
        ...

    def periods(self, project_id: int, present: ProjectView | None = None) -> list[PeriodView]:
        """The periods of the project's budget so far, oldest first.

        present: how the project stands now, where that is known: the sums of its period are not summed again.
        """
        ...

    def forget(self, project_id: int) -> Forgotten:
        """Takes out who its people were: contacts, owner, and whom its mails were for and what they said.

        So it does with whole mails to them, which messages asked for, and dead letters; what is for others too stays
        without their addresses.
        Each mail's row stays, since it keeps that mail from being written again; one that was not sent has failed.
        Costs, budgets, alerts, and every decision about its lock stay, too.
        """
        ...
