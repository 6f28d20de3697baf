"""A project: who it is, which resource groups are its own, and whom to tell."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.budgets import BudgetTerms

AZURE = "azure"
LANGUAGES = ("en", "fr")


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A project as a person writes it into the projects file.

    resource_groups: names as written, at least one, all in one subscription. language: `en`, `fr`, or None
    for both. An entry with an amount of None has no budget.
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
