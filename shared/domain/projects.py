"""A project: who it is, which resource groups are its own, and whom to tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.budgets import BudgetTerms
from shared.domain.charges import key_of_group

LANGUAGES = ("en", "fr")


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
        return self.provider, self.sub_account_id.strip().lower(), key_of_group(self.resource_group)


@dataclass(frozen=True, slots=True)
class Project:
    """Who a project is, and whom to tell. The read models that say more of it contain this record.

    language: `en`, `fr`, or None for both. lock: whether it is locked at 100 %.
    """

    id: int
    acronym: str
    name: str
    language: str | None
    contacts: tuple[str, ...]
    active: bool
    lock: LockPolicy = LockPolicy.AUTO


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A project as a person writes it down, with where its charges are. Terms with an amount of None are no budget."""

    project: Project
    scopes: tuple[Scope, ...]
    terms: BudgetTerms
