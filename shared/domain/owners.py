"""Whose a scope's charges are, day by day: what a project spent stays its own when the scope goes to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from shared.domain.projects import Scope

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Ownership:
    """That the charges of a scope on the days owned_from <= day < owned_until are a project's.

    owned_from: None where nobody had the scope before. owned_until: None where it is the project's now.
    """

    project_id: int
    owned_from: date | None = None
    owned_until: date | None = None


@dataclass(frozen=True, slots=True)
class OwnedScope:
    """A scope that a project has, or had, on some days only; None where it is as of `Ownership`."""

    scope: Scope
    owned_from: date | None
    owned_until: date | None


def handed_over(so_far: Sequence[Ownership], owner: int | None, today: date) -> list[Ownership]:
    """Whose the charges are once the scope is another project's, or nobody's (None). so_far: oldest first.

    Today's are still the former owner's. Whoever takes it gets the days that nobody had, too: all that was before, or
    since it was given up; a project that takes back what nobody took meanwhile has never been without it.
    """
    owned = list(so_far)
    if owned and owned[-1].owned_until is None:
        last = replace(owned.pop(), owned_until=today + DAY)
        # What was given today and is taken today was never had.
        owned += [last] if last.owned_from is None or last.owned_from <= today else []
    if owner is None:
        return owned
    if owned and owned[-1].project_id == owner:
        return [*owned[:-1], replace(owned[-1], owned_until=None)]
    return [*owned, Ownership(owner, owned[-1].owned_until if owned else None)]
