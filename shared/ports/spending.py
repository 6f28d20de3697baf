"""Where the money went: sums of the stored charges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from shared.domain.coverage import Gap
from shared.domain.periods import Period


class By(StrEnum):
    """What charges are summed by."""

    SERVICE = "service"
    METER = "meter"
    DAY = "day"
    MONTH = "month"
    SUB_ACCOUNT = "sub-account"
    RESOURCE_GROUP = "resource-group"
    PROJECT = "project"
    OWNER = "owner"
    DEPARTMENT = "department"
    COST_CENTRE = "cost-centre"


# What says what a sum is of.
KEYS: dict[By, tuple[str, ...]] = {
    By.SERVICE: ("service",),
    By.METER: ("service", "meter"),
    By.DAY: ("day",),
    By.MONTH: ("month",),
    By.SUB_ACCOUNT: ("provider", "sub_account_id"),
    By.RESOURCE_GROUP: ("provider", "sub_account_id", "resource_group"),
    By.PROJECT: ("project",),
    By.OWNER: ("owner",),
    By.DEPARTMENT: ("department",),
    By.COST_CENTRE: ("cost_centre",),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which charges: all of these days, or only those of some projects, of a sub-account, or that no project owns.

    provider: whose sub-account it is; two may have one of the same id. None for any.
    """

    days: Period
    project_ids: Sequence[int] | None = None
    sub_account_id: str | None = None
    unallocated: bool = False
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What some charges of one currency come to.

    key: as KEYS names its parts; days and months as ISO 8601 writes them, a project by its acronym. A part is empty for
    charges outside of any group, or of no project, or of one of which nobody said it, and for what no meter says.
    """

    key: tuple[str, ...]
    currency: str
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Estimated:
    """That the provider still calls the costs of a sub-account estimated, from this day on."""

    sub_account_id: str
    since: date


class SpendingLedger(Protocol):
    """Sums of the stored charges, and what they lack."""

    def sums(self, which: Selection, by: By) -> list[Spent]:
        """The sums by this, one for each currency; a charge is the project's that owned its scope on its day."""
        ...

    def breakdown(self, which: Selection, bys: Collection[By]) -> dict[By, list[Spent]]:
        """The sums by each of these. Those of projects by days, months and sub-accounts take as long as by one."""
        ...

    def used_by_day(self, spans: Iterable[tuple[int, Period]]) -> list[tuple[date, str, Decimal]]:
        """What these projects were charged, and what rules gave them, in a period each: by day and currency."""
        ...

    def lacking(self, which: Selection, today: date) -> list[Gap]:
        """What is missing of these charges: of every sub-account on the days on which it is asked for their sake."""
        ...

    def estimated(self, which: Selection) -> list[Estimated]:
        """Which of these charges their providers may still change: of each such sub-account since when."""
        ...

    def sub_account_names(self) -> dict[tuple[str, str], str]:
        """What providers call their sub-accounts, by provider and id, as far as one lists them."""
        ...

    def stored_sub_accounts(self, written: str) -> list[tuple[str, str]]:
        """The sub-accounts of this id, however it is spelled, by provider, and the id as it is stored."""
        ...
