"""Projects: all of them, one of them, and a file of them that is to be loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from shared.domain.aws import ACCOUNT
from shared.domain.projects import Project, ProjectEntry
from shared.domain.texts import folded, storable
from shared.messages import GUID
from shared.ports.azure import AZURE
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccountLedger
from shared.ports.mails import AddressCheck
from shared.ports.projects import (
    Forgotten,
    LoadResult,
    PeriodView,
    ProjectChange,
    ProjectLedger,
    ProjectView,
    RevisionView,
)
from shared.ports.standings import Order, Standing, StandingLedger, Total, Wanted
from shared.services.aws_check import unread_accounts
from shared.services.cursors import read_cursor, write_cursor
from shared.services.errors import RequestError, UnknownProjectError
from shared.services.project_csv import first_line_not_in_utf8
from shared.services.project_export import write_projects
from shared.services.project_file import AWS, read_projects


@dataclass(frozen=True, slots=True)
class ProjectDetails:
    """One project, with its budget's periods and revisions; oldest first."""

    view: ProjectView
    periods: list[PeriodView]
    revisions: list[RevisionView]


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """What a file changed, or would change where it was not loaded, in its order.

    left_out: the acronyms of the projects that it does not name; without_budget, without_contacts: of its active ones
    of which nobody would hear. guessed: texts whose letters are right only if the file is in windows-1252.
    never_read: providers besides Azure and AWS of which its active ones name accounts, and no costs are stored.
    unread: AWS accounts of its active ones that no cloud account reads, each with the acronym of its project.
    """

    loaded: bool
    result: LoadResult
    changes: list[ProjectChange]
    left_out: list[str]
    without_budget: list[str]
    without_contacts: list[str]
    guessed: list[str]
    never_read: list[str]
    unread: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListWish:
    """Which projects a person wants to see, as they wrote it; empty for what does not matter.

    over: only active ones that have used so many percent of their budget. subscription: its id in any spelling, or
    that of another sub-account.
    stale: only active ones of which costs are missing. search: what the acronym or the name holds; case and accents
    don't matter. owner, department, cost_centre: what these fields say, likewise. most: no more than that.
    """

    over: int | None = None
    subscription: str = ""
    stale: bool = False
    search: str = ""
    owner: str = ""
    department: str = ""
    cost_centre: str = ""
    order: Order = Order.ID
    most: int | None = None


# So many projects fit on a page.
LONGEST_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class PageWish:
    """Which page of which list of projects a person wants to see.

    cursor: of the page before; empty for the first one. most: no more than that.
    """

    wanted: Wanted = field(default_factory=Wanted)
    order: Order = Order.ID
    cursor: str = ""
    most: int = 100


@dataclass(frozen=True, slots=True)
class ProjectPage:
    """A page of a list of projects, as of a day. count, totals, unknown: of the whole list, as of a StandingPage.

    next_cursor: of the next page; None for the last one.
    """

    standings: Sequence[Standing]
    count: int
    totals: Sequence[Total]
    unknown: int
    today: date
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ProjectService:
    """Lists, shows and loads projects."""

    projects: ProjectLedger
    standings: StandingLedger
    cloud_accounts: CloudAccountLedger
    valid_addresses: AddressCheck
    clock: Clock

    def exported(self) -> str:
        """All projects by id, as a file that loads them again. Raises RequestError."""
        return write_projects(self.projects.entries())

    def listed(self, wish: ListWish | None = None) -> list[ProjectView]:
        """The projects as they stand today. Raises RequestError where the subscription can't be one, nor an account."""
        wish = wish or ListWish()
        subscription = storable(wish.subscription.strip()) or None
        views = self.projects.list_projects(self.clock().date(), subscription)
        if subscription and not views and not (GUID.fullmatch(subscription) or ACCOUNT.fullmatch(subscription)):
            raise RequestError(f"'{subscription}' is no subscription's id; `projects show` tells those of a project")
        found = sorted((view for view in views if _is_wanted(view, wish)), key=KEYS[wish.order])
        return found[: wish.most]

    def page(self, wish: PageWish | None = None) -> ProjectPage:
        """The projects as they stood when that was last worked out, by the page.

        Pages follow each other whatever changes meanwhile: a project that stays where it is comes just once. Raises
        RequestError where the cursor is of no page before, or of another order, or the page would be too long.
        """
        wish = wish or PageWish()
        if not 0 < wish.most <= LONGEST_PAGE:
            raise RequestError(f"{wish.most} projects are no page; ask for 1 to {LONGEST_PAGE:,}")
        after = read_cursor(wish.cursor, wish.order) if wish.cursor else None
        today = self.clock().date()
        found = self.standings.page(_storable(wish.wanted), wish.order, wish.most, today, after)
        cursor = write_cursor(found.next, wish.order) if found.next else None
        return ProjectPage(found.standings, found.count, found.totals, found.unknown, today, cursor)

    def of_contacts(self, addresses: Collection[str]) -> frozenset[int]:
        """The ids of the projects of whose contacts one has one of these addresses."""
        return frozenset(self.projects.of_contacts(addresses))

    def get(self, project: str) -> ProjectDetails:
        """The project with this acronym (in any case) or id. Raises UnknownProjectError."""
        view = view_of(self.projects, project, self.clock())
        periods, revisions = self.projects.periods(view.project.id, view), self.projects.revisions(view.project.id)
        return ProjectDetails(view, periods, revisions)

    def load(
        self, content: bytes, made_by: str, *, correction: bool = False, agreed: bool = False, dry_run: bool = False
    ) -> LoadedFile:
        """Loads the projects of a file, all or none. Raises ProjectFileError with every fault of it.

        correction: groups that change hands take what they have cost with them. agreed: it is loaded though a change
        needs consent. dry_run: it is not loaded.
        """
        stored = self.projects.entries()
        providers = self.projects.providers_read()
        entries = read_projects(content, self.valid_addresses, stored, providers)
        changes: list[ProjectChange] = []
        loaded, now = False, self.clock()

        def consent(found: Sequence[ProjectChange]) -> bool:
            nonlocal loaded
            changes[:] = found
            loaded = not dry_run and (agreed or not any(change.needs_consent for change in found))
            notes[:] = [_note(change, now, made_by) for change in found]
            return loaded

        with noted() as notes:
            result = self.projects.load(entries, made_by, now, correction, consent)
        active = [entry for entry in entries if entry.project.active]
        named = {entry.project.id for entry in entries}
        return LoadedFile(
            loaded,
            result,
            changes,
            [entry.project.acronym for entry in stored if entry.project.id not in named],
            [entry.project.acronym for entry in active if not entry.terms.amount],
            [entry.project.acronym for entry in active if not entry.project.contacts],
            [] if first_line_not_in_utf8(content) is None else list(_not_in_ascii(entries)),
            _never_read(active, providers),
            unread_accounts(self.cloud_accounts, ((each.project.acronym, each.scopes) for each in active)),
        )

    def forget(self, project: str) -> Forgotten:
        """Takes out who a project's people were (`ProjectLedger.forget`). Raises UnknownProjectError, RequestError."""
        view = view_of(self.projects, project, self.clock())
        if view.project.active:
            name = view.project.acronym
            raise RequestError(f"{name} is active, and its people have to be told; load it with active false before")
        with noted(Change(Action.PROJECT_FORGOTTEN, view.project.acronym, self.clock(), view.project.id)):
            return self.projects.forget(view.project.id)


def _note(change: ProjectChange, now: datetime, made_by: str) -> Change:
    """What the audit says of a project that a file adds or changes: which of its fields, and not whom they name."""
    before, after = change.before, change.after
    action = Action.PROJECT_CHANGED if before else Action.PROJECT_ADDED
    said = {"fields": _changed_fields(before, after)} if before else {}
    return Change(action, after.project.acronym, now, after.project.id, "loaded", said, made_by)


def _changed_fields(before: ProjectEntry, after: ProjectEntry) -> list[str]:
    of_project = [
        each.name for each in fields(Project) if getattr(before.project, each.name) != getattr(after.project, each.name)
    ]
    scopes = ["scopes"] if before.scopes_by_key.keys() != after.scopes_by_key.keys() else []
    return of_project + scopes + (["budget"] if before.terms != after.terms else [])


def _storable(wanted: Wanted) -> Wanted:
    return replace(
        wanted,
        search=storable(wanted.search),
        owner=storable(wanted.owner),
        department=storable(wanted.department),
        cost_centre=storable(wanted.cost_centre),
    )


def _not_in_ascii(entries: Sequence[ProjectEntry]) -> Iterator[str]:
    for entry in entries:
        who = entry.project
        texts = [who.acronym, who.name, *(scope.resource_group for scope in entry.scopes), *who.contacts]
        texts += filter(None, (who.owner, who.department, who.cost_centre))
        yield from (text for text in texts if not text.isascii())


def _is_wanted(view: ProjectView, wish: ListWish) -> bool:
    percent = view.percent if view.project.active else None
    if wish.over is not None and (percent is None or percent < wish.over):
        return False
    if wish.stale and not view.gaps:
        return False
    project = view.project
    if not is_answered_for(project, wish.owner, wish.department, wish.cost_centre):
        return False
    return any(folded(wish.search) in folded(text) for text in (project.acronym, project.name))


def is_answered_for(project: Project, owner: str, department: str, cost_centre: str) -> bool:
    """Whether these answer for a project; case and accents don't matter, and empty is whoever does."""
    fields = ((owner, project.owner), (department, project.department), (cost_centre, project.cost_centre))
    return all(not text or folded(text) == folded(field or "") for text, field in fields)


KEYS: dict[Order, Callable[[ProjectView], Any]] = {
    Order.ID: lambda view: view.project.id,
    Order.ACRONYM: lambda view: (folded(view.project.acronym), view.project.id),
    Order.BUDGET: lambda view: _largest_first(view, view.amount),
    Order.SPENT: lambda view: _largest_first(view, view.spent),
    Order.USED: lambda view: (-(view.percent or 0), view.project.id),
    Order.FORECAST: lambda view: _largest_first(view, view.forecast.total if view.forecast else None),
}


def _largest_first(view: ProjectView, amount: Decimal | None) -> tuple[str, Decimal, int]:
    return view.currency or "ZZZ", -(amount or Decimal(0)), view.project.id


def id_of(projects: ProjectLedger, project: str) -> int:
    """The id of the project with this acronym (in any case) or id.

    Raises UnknownProjectError; RequestError where several have the acronym but for their accents.
    """
    found = projects.find(project)
    if found is not None:
        return found
    acronyms = [entry.project.acronym for entry in projects.entries()]
    if alike := [acronym for acronym in acronyms if folded(acronym) == folded(project)]:
        raise RequestError(f"{project} may be {' or '.join(alike)}; write it just so, or the project's id")
    raise UnknownProjectError(project)


def view_of(projects: ProjectLedger, project: str, now: datetime) -> ProjectView:
    """The project with this acronym (in any case) or id, as it stands. Raises UnknownProjectError."""
    view = projects.get(id_of(projects, project), now.date())
    if view is None:
        raise UnknownProjectError(project)
    return view


def _never_read(entries: Iterable[ProjectEntry], providers: Collection[str]) -> list[str]:
    named = {scope.provider for entry in entries for scope in entry.scopes}
    return sorted(named - {AZURE, AWS, *providers})
