"""Projects: all of them, one of them, and a file of them that is to be loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from shared.domain.projects import Project
from shared.ports.clock import Clock
from shared.ports.mails import AddressCheck
from shared.ports.projects import LoadResult, PeriodView, ProjectChange, ProjectLedger, ProjectView, RevisionView
from shared.services.errors import UnknownProjectError
from shared.services.project_export import write_projects
from shared.services.project_file import read_projects


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
    of which nobody would hear.
    """

    loaded: bool
    result: LoadResult
    changes: list[ProjectChange]
    left_out: list[str]
    without_budget: list[str]
    without_contacts: list[str]


@dataclass(frozen=True, slots=True)
class ProjectService:
    """Lists, shows and loads projects."""

    projects: ProjectLedger
    valid_addresses: AddressCheck
    clock: Clock

    def exported(self) -> str:
        """All projects by id, as a file that loads them again. Raises RequestError."""
        return write_projects(self.projects.entries())

    def listed(self, wanted: Mapping[str, str] = MappingProxyType({})) -> list[ProjectView]:
        """Projects by id, as they stand today. wanted: what fields of Project are to say, in any case."""
        views = self.projects.list_projects(self.clock().date())
        return [view for view in views if all(_says(view.project, name, text) for name, text in wanted.items())]

    def get(self, project: str) -> ProjectDetails:
        """The project with this acronym (in any case) or id. Raises UnknownProjectError."""
        view = view_of(self.projects, project, self.clock())
        return ProjectDetails(view, self.projects.periods(view.project.id), self.projects.revisions(view.project.id))

    def load(
        self, content: bytes, made_by: str, *, correction: bool = False, agreed: bool = False, dry_run: bool = False
    ) -> LoadedFile:
        """Loads the projects of a file, all or none. Raises ProjectFileError with every fault of it.

        correction: groups that change hands take what they have cost with them. agreed: it is loaded though a change
        needs consent. dry_run: it is not loaded.
        """
        stored = self.projects.entries()
        entries = read_projects(content, self.valid_addresses, stored)
        changes: list[ProjectChange] = []
        loaded = False

        def consent(found: Sequence[ProjectChange]) -> bool:
            nonlocal loaded
            changes[:] = found
            loaded = not dry_run and (agreed or not any(change.needs_consent for change in found))
            return loaded

        result = self.projects.load(entries, made_by, self.clock(), correction, consent)
        active = [entry for entry in entries if entry.project.active]
        named = {entry.project.id for entry in entries}
        return LoadedFile(
            loaded,
            result,
            changes,
            [entry.project.acronym for entry in stored if entry.project.id not in named],
            [entry.project.acronym for entry in active if not entry.terms.amount],
            [entry.project.acronym for entry in active if not entry.project.contacts],
        )


def _says(project: Project, name: str, text: str) -> bool:
    return (getattr(project, name) or "").casefold() == text.strip().casefold()


def id_of(projects: ProjectLedger, project: str) -> int:
    """The id of the project with this acronym (in any case) or id. Raises UnknownProjectError."""
    found = projects.find(project)
    if found is None:
        raise UnknownProjectError(project)
    return found


def view_of(projects: ProjectLedger, project: str, now: datetime) -> ProjectView:
    """The project with this acronym (in any case) or id, as it stands. Raises UnknownProjectError."""
    view = projects.get(id_of(projects, project), now.date())
    if view is None:
        raise UnknownProjectError(project)
    return view
