"""Projects: all of them, one of them, and a file of them that is to be loaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.ports.clock import Clock
from shared.ports.mails import AddressCheck
from shared.ports.projects import LoadResult, PeriodView, ProjectLedger, ProjectView, RevisionView
from shared.services.errors import UnknownProjectError
from shared.services.project_file import read_projects


@dataclass(frozen=True, slots=True)
class ProjectDetails:
    """One project, with its budget's periods and revisions; oldest first."""

    view: ProjectView
    periods: list[PeriodView]
    revisions: list[RevisionView]


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """What a file changed, and the acronyms of its active projects of which nobody would hear."""

    result: LoadResult
    without_budget: list[str]
    without_contacts: list[str]


@dataclass(frozen=True, slots=True)
class ProjectService:
    """Lists, shows and loads projects."""

    projects: ProjectLedger
    valid_addresses: AddressCheck
    clock: Clock

    def listed(self) -> list[ProjectView]:
        """All projects by id, as they stand today."""
        return self.projects.list_projects(self.clock().date())

    def get(self, project: str) -> ProjectDetails:
        """The project with this acronym (in any case) or id. Raises UnknownProjectError."""
        view = view_of(self.projects, project, self.clock())
        return ProjectDetails(view, self.projects.periods(view.project.id), self.projects.revisions(view.project.id))

    def load(self, content: bytes, made_by: str, correction: bool = False) -> LoadedFile:
        """Loads the projects of a file, all or none. Raises ProjectFileError with every fault of it.

        correction: groups that change hands take what they have cost with them.
        """
        entries = read_projects(content, self.valid_addresses, self.projects.entries())
        result = self.projects.load(entries, made_by, self.clock(), correction)
        active = [entry for entry in entries if entry.project.active]
        return LoadedFile(
            result,
            [entry.project.acronym for entry in active if not entry.terms.amount],
            [entry.project.acronym for entry in active if not entry.project.contacts],
        )


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
