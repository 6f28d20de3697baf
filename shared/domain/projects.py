"""A project: who it is, which resource groups are its own, and whom to tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.budgets import BudgetTerms
from shared.domain.charges import key_of_group

LANGUAGES = ("en", "fr")
# Providers that compare the ids of their sub-accounts without regard to case.
CASE_BLIND = frozenset({"azure"})
# As FOCUS files name those whom we call otherwise.
PROVIDERS = {
    "microsoft": "azure",
    "azure": "azure",
    "microsoft azure": "azure",
    "aws": "aws",
    "amazon web services": "aws",
    "amazon web services, inc.": "aws",
    "google cloud": "Google Cloud",
    "google cloud platform": "Google Cloud",
    "gcp": "Google Cloud",
}
# Of the others, a scope is a whole sub-account.
WITH_GROUPS = frozenset({"azure"})


class LockPolicy(StrEnum):
    """Whether a project is locked at 100 %."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a project's charges are: in which sub-account of which provider, and in which resource group of it.

    resource_group: as it is spelled; empty for a provider without groups.
    """

    provider: str
    sub_account_id: str
    resource_group: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What two spellings of the same scope have in common: provider, sub-account and group."""
        return self.provider, sub_account_key(self.provider, self.sub_account_id), key_of_group(self.resource_group)

    @property
    def can_be_locked(self) -> bool:
        """Whether a lock reaches it: one is of a resource group."""
        return self.provider in WITH_GROUPS


@dataclass(frozen=True, slots=True)
class Project:
    """Who a project is, and whom to tell. The read models that say more of it contain this record.

    language: `en`, `fr`, or None for both. lock: whether it is locked at 100 %. owner, department, cost_centre: who
    answers for it, as the organization says it; None where nobody said.
    """

    id: int
    acronym: str
    name: str
    language: str | None
    contacts: tuple[str, ...]
    active: bool
    lock: LockPolicy = LockPolicy.AUTO
    owner: str | None = None
    department: str | None = None
    cost_centre: str | None = None


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A project as a person writes it down, with where its charges are. Terms with an amount of None are no budget."""

    project: Project
    scopes: tuple[Scope, ...]
    terms: BudgetTerms

    @property
    def scopes_by_key(self) -> dict[tuple[str, str, str], Scope]:
        """Its scopes by `Scope.key`: two spellings are one, the first."""
        by_key: dict[tuple[str, str, str], Scope] = {}
        for scope in self.scopes:
            by_key.setdefault(scope.key, scope)
        return by_key

    @property
    def its_own(self) -> dict[tuple[str, ...], str]:
        """What no other project can have, as it is written, by what it is (`id`, `acronym`, `scope`) and its key.

        Nothing for what is empty: it could not be read.
        """
        project = self.project
        own: dict[tuple[str, ...], str] = {}
        if project.id:
            own["id", str(project.id)] = str(project.id)
        if project.acronym:
            own["acronym", acronym_key(project.acronym)] = project.acronym
        named = {key: scope for key, scope in self.scopes_by_key.items() if scope.sub_account_id}
        return own | {("scope", *key): scope.resource_group or scope.sub_account_id for key, scope in named.items()}

    def says(self, other: ProjectEntry) -> bool:
        """Whether both say the same of a project, however its scopes are spelled."""
        same_scopes = self.scopes_by_key.keys() == other.scopes_by_key.keys()
        return (self.project, self.terms) == (other.project, other.terms) and same_scopes


@dataclass(frozen=True, slots=True)
class Taken:
    """What an entry of a list can't have, because another project has it.

    place: of the entry in the list. key, written: of `ProjectEntry.its_own`. owner: who has it; earlier: the place of
    that in the list, None for a project that is not in it.
    """

    place: int
    project: Project
    key: tuple[str, ...]
    written: str
    owner: Project
    earlier: int | None

    @property
    def sentence(self) -> str:
        """Why it can't be had, for whoever does not know the list."""
        who, owner = f"project {self.project.id}", f"project {self.owner.id} ({self.owner.acronym})"
        match self.key:
            case "id", _:
                return f"the id {self.written} is given twice, to {self.owner.acronym} and to {self.project.acronym}"
            case "acronym", _:
                what, why = f"acronym {self.written}", "and each project needs its own"
            case _, provider, account, group:
                who, why = f"{who} ({self.project.acronym})", "which keeps it"
                what = f"resource group {self.written} of subscription" if group else f"{provider} account"
                what = f"{what} {account}"
        return f"{who} can't have the {what}: it belongs to {owner}, {why}"


def sub_account_key(provider: str, sub_account_id: str) -> str:
    """What the spellings of a sub-account's id have in common that its provider takes for the same."""
    key = sub_account_id.strip()
    return key.lower() if provider in CASE_BLIND else key


def provider_of(name: str, known: Iterable[str] = ()) -> str:
    """`azure`, `aws`, or FOCUS's name of another: as one of the known is spelled, in any case and with any blanks."""
    words = " ".join(name.split())
    spelled = {each.casefold(): each for each in known} | PROVIDERS
    return spelled.get(words.casefold(), words)


def acronym_key(acronym: str) -> str:
    """An acronym as it is compared: without regard to case and surrounding blanks."""
    return acronym.strip().lower()


def taken(entries: Sequence[ProjectEntry], stored: Iterable[ProjectEntry]) -> Iterator[Taken]:
    """What the entries can't have, since each project needs its own; they can hand on to each other what they have now.

    stored: all projects; those that the list names are as it says, and the others keep what is theirs.
    """
    named = {entry.project.id for entry in entries}
    kept = [entry for entry in stored if entry.project.id not in named]
    owners: dict[tuple[str, ...], tuple[Project, int | None]] = {
        key: (entry.project, None) for entry in kept for key in entry.its_own
    }
    for place, entry in enumerate(entries):
        for key, written in entry.its_own.items():
            owner, earlier = owners.setdefault(key, (entry.project, place))
            if earlier != place:
                yield Taken(place, entry.project, key, written, owner, earlier)
