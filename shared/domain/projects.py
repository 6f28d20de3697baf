"""A project: who it is, which resource groups are its own, and whom to tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.budgets import BudgetTerms

AZURE = "azure"
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
    """A project as a person writes it into the projects file.

    resource_groups: names as written, at least one, all in one subscription. language: `en`, `fr`, or None
    for both. An entry with an amount of None has no budget. lock: whether it is locked at 100 %.
    """

    id: int
    acronym: str
    name: str
    subscription_id: str
    resource_groups: tuple[str, ...]
    terms: BudgetTerms
    contacts: tuple[str, ...]
    language: str | None
    active: bool
    lock: LockPolicy = LockPolicy.AUTO
