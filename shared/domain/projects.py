"""A project: who it is, which resource groups are its own, and whom to tell."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.budgets import BudgetTerms

AZURE = "azure"
LANGUAGES = ("en", "fr")

# What the app makes in Azure for a project is known by its name: this, and the project's acronym.
AZURE_PREFIX = "warden-"
# A budget's name has at most 63 of these (learn.microsoft.com, "Naming rules for Azure resources").
AZURE_NAME = re.compile(r"[a-z0-9_-]{1,56}")


class LockPolicy(StrEnum):
    """Whether a project is locked at 100 %."""

    AUTO = "auto"
    NEVER = "never"


def azure_name(acronym: str) -> str:
    """The name of a project's budget and lock in Azure: `warden-die1` for DIE1, in lower case.

    An acronym that holds what Azure's names can't gets a hash in the place of that, so that no two are the same.
    """
    key = acronym.strip().lower()
    if AZURE_NAME.fullmatch(key):
        return AZURE_PREFIX + key
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"{AZURE_PREFIX}{re.sub('[^a-z0-9_-]+', '-', key)[:40]}-{digest}"


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
