"""Charges, and which of them have been read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from shared.domain.coverage import Incomplete, Known, Reading
from shared.domain.periods import Period, PeriodRule
from shared.messages import ScopeTarget
from shared.ports.costs import CostQuery


@dataclass(frozen=True, slots=True)
class Account:
    """A sub-account, and what of it has been read.

    cloud_account_id: what feeds it, None where nothing does. rules: the period rules of its active projects' budgets.
    active_projects: how many there are. opened_from: the first day of the earliest period of those budgets that was
    opened; unclosed_from: of those that late charges still change. known: what is known of its months.
    exported_groups: the keys of its groups that exports feed.
    """

    provider: str
    sub_account_id: str
    cloud_account_id: int | None = None
    rules: frozenset[PeriodRule] = frozenset()
    active_projects: int = 0
    opened_from: date | None = None
    unclosed_from: date | None = None
    known: Known = field(default_factory=dict, hash=False)
    exported_groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProjectScopes:
    """A project's resource groups, as the provider spells them, by provider and sub-account id.

    A provider without groups has one, whose name is empty. rule: of its budget, None without one.
    """

    acronym: str
    active: bool
    groups: Mapping[tuple[str, str], tuple[str, ...]]
    rule: PeriodRule | None


class AnswerState(StrEnum):
    """What became of a query: broken off, stored, not believed, refused."""

    BEGUN = "begun"
    READ = "read"
    SUSPECT = "suspect"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one query of a run's scope. tries: how often it was answered or refused.

    reason: why it failed, or is not believed; of what was read: what it had been doubted for, and is taken for now.
    """

    provider: str
    sub_account_id: str
    window: Period
    state: AnswerState
    tries: int = 0
    reason: str | None = None

    @property
    def account(self) -> tuple[str, str]:
        """The provider and the sub-account."""
        return self.provider, self.sub_account_id

    @property
    def is_gone(self) -> bool:
        """Whether what was stored of its window was taken for gone."""
        return self.state is AnswerState.READ and self.reason is not None


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing a reading changed, in rows, and which windows were not believed.

    odd: what is wrong with rows that were set aside, of each group the first, with the acronyms of who owns it.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    suspect: tuple[Period, ...] = ()
    odd: tuple[tuple[str, tuple[str, ...]], ...] = ()


class ChargeLedger(Protocol):
    """Charges, which of them have been read, and long answers of which a part has come."""

    def accounts(self, cloud_account_id: int | None = None) -> list[Account]:
        """Every sub-account with active projects, by provider and id; only those that one cloud account feeds."""
        ...

    def fed_by(self, cloud_account_id: int) -> list[Account]:
        """Every sub-account that one cloud account feeds and still reads, by id, those without a project too."""
        ...

    def account(self, provider: str, sub_account_id: str) -> Account:
        """One sub-account, known or not."""
        ...

    def scopes_of(self, project_id: int) -> ProjectScopes | None:
        """A project's scopes; None for an unknown project."""
        ...

    def store(self, scope_id: int, readings: Sequence[Reading], now: datetime) -> list[Stored]:
        """Replaces the charges of the readings' windows by what was read, in one transaction; what each changed.

        readings: of different sub-accounts of one provider. New charges come in, changed ones change, vanished ones go,
        the rest is not written. Windows that are not believed (`domain.coverage`) stay as they are, and an outdated
        answer changes no charge. What is known of the accounts' months follows, where all of one was asked for; so does
        what became of each query of the scope. The accounts' active projects (only those that own one of `group_keys`,
        where given) are due for a check (check_due_since = now), where anything was answered. Raises LaterError;
        NeverError where a day or a name can't be stored, or rows were set aside of one of the groups that alone were
        asked for; then nothing is.
        """
        ...

    def incomplete(self, today: date) -> Incomplete:
        """What the figures of active projects with a budget lack in the periods that hold `today`."""
        ...

    def acronyms_of(self, target: ScopeTarget) -> list[str]:
        """The acronyms of the target's active projects, in order."""
        ...

    def totals(self, provider: str, sub_account_id: str, days: Period) -> dict[str, tuple[Decimal, int]]:
        """What the stored charges of these days come to, and how many they are, by currency."""
        ...

    def note_compared(self, provider: str, sub_account_id: str, month: date, night: date, agrees: bool) -> None:
        """The month's total was compared; where it does not agree, the month is due as if it never had been read."""
        ...

    def answers(self, scope_id: int) -> list[Answered]:
        """What became of a scope's queries so far; forgotten once the scope is final."""
        ...

    def keep_answer(self, scope_id: int, query: CostQuery, progress: bytes | None, now: datetime) -> None:
        """Keeps how far the answer to a scope's query has come, so that it is not asked for from its first page again.

        None forgets it. It is gone when the scope is final.
        """
        ...

    def kept_answer(self, scope_id: int, query: CostQuery, since: datetime) -> bytes | None:
        """What was kept for this very query, if it was kept at `since` or later."""
        ...

    def currencies_of(self, provider: str, sub_account_id: str, since: date) -> frozenset[str]:
        """The currencies of the account's charges since that day."""
        ...

    def due_projects_of(self, target: ScopeTarget) -> list[int]:
        """The ids, sorted, of the target's active projects that are due for a check."""
        ...

    def turning_projects_of(self, target: ScopeTarget, today: date) -> list[int]:
        """The ids, sorted, of the target's active projects whose present period no check has begun yet."""
        ...

    def turning_projects_unasked(self, connection_types: Collection[str], today: date) -> list[int]:
        """The same of the active projects that no cloud account feeds of these connection types, or a disabled one."""
        ...
