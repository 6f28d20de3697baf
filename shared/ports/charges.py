"""Charges, and which of them have been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from shared.domain.charges import ChargeSet
from shared.domain.periods import Period, PeriodRule
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery
from shared.ports.runs import ScopeTarget


@dataclass(frozen=True, slots=True)
class Account:
    """A sub-account, and how much of it has been read.

    read_from: every charge since this day has been read, None before the first whole reading.
    read_until: the day of the last whole reading. rules: the period rules of its active projects' budgets.
    opened_from: the first day of the earliest period of those budgets that was opened.
    active_projects: how many there are.
    """

    sub_account_id: str
    read_from: date | None
    read_until: date | None
    rules: frozenset[PeriodRule] = frozenset()
    active_projects: int = 0
    provider: str = AZURE
    opened_from: date | None = None


@dataclass(frozen=True, slots=True)
class ProjectScopes:
    """A project's resource groups, as the provider spells them, by sub-account id."""

    project_id: int
    active: bool
    groups: Mapping[str, tuple[str, ...]]
    rule: PeriodRule | None


@dataclass(frozen=True, slots=True)
class ReadPart:
    """What one query answered for one window."""

    window: Period
    charges: ChargeSet


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one sub-account for one scope of a run.

    group_keys: what the queries were restricted to (`charges.key_of_group`); empty for the whole account.
    read_from: for a whole reading, the day since which everything has then been read.
    read_until: for a whole reading with nothing left, the day on which it was begun.
    complete: nothing is left to be read for this scope, so its projects can be checked.
    """

    sub_account_id: str
    group_keys: frozenset[str]
    parts: tuple[ReadPart, ...]
    started_at: datetime
    read_from: date | None
    complete: bool
    read_until: date | None = None
    provider: str = AZURE


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing a reading changed, in rows, and which windows were not believed (empty answers)."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    suspect: tuple[Period, ...] = ()


class ChargeLedger(Protocol):
    """Charges, and which of them have been read."""

    def accounts(self) -> list[Account]:
        """Every sub-account with active projects, by id, with the rules of their budgets (those with an amount)."""
        ...

    def account(self, sub_account_id: str) -> Account:
        """One sub-account, known or not."""
        ...

    def scopes_of(self, project_id: int) -> ProjectScopes | None:
        """A project's resource groups; None for an unknown project."""
        ...

    def store(self, scope_id: int, reading: Reading, now: datetime) -> Stored:
        """Replaces the charges of the reading's windows by what was read, in one transaction.

        New charges come in, changed ones change, vanished ones go, the rest is not written. A part without any
        charge is not believed where charges are stored for its groups and window on days before the last whole
        reading's day (or before today, if there was none): that window stays as it is. A *whole* reading's
        empty parts are taken the third UTC day in a row on which one of them is met. A whole reading of the day on
        which it was begun that is older than the last such one (by started_at) changes no charge. `read_from` is
        taken only where no day is left out between the reading and what was read before.

        With `complete` and no suspect part, the scope is done and the account's active projects (only those
        that own one of `group_keys`, where given) are due for a check (check_due_since = now), in the same
        transaction, and the run finishes if it was its last scope. With suspect parts the scope becomes SUSPECT
        (and the projects are due too). Otherwise the scope stays as it is. Raises LaterError; NeverError where the
        parts are in two currencies, or a day, a name or an amount can't be stored.
        """
        ...

    def currencies_of(self, sub_account_id: str, since: date) -> frozenset[str]:
        """The currencies of the account's charges since that day."""
        ...

    def due_projects_of(self, target: ScopeTarget) -> list[int]:
        """The ids, sorted, of the target's active projects that are due for a check."""
        ...

    def turning_projects_of(self, target: ScopeTarget, today: date) -> list[int]:
        """The ids, sorted, of the target's active projects whose present period no check has begun yet."""
        ...


class AnswerLedger(Protocol):
    """Long answers that broke off, kept so that they are not asked for from their first page again and again."""

    def keep(self, scope_id: int, query: CostQuery, progress: bytes | None, now: datetime) -> None:
        """Keeps how far the answer to a scope's query has come; None forgets it. Gone when the scope is final."""
        ...

    def kept(self, scope_id: int, query: CostQuery, since: datetime) -> bytes | None:
        """What was kept for this very query, if it was kept at `since` or later."""
        ...
