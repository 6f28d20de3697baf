"""Stored charges, given out one by one: FOCUS files, and where their rows come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from shared.domain.charges import CostMetric
from shared.ports.spending import Selection


class FocusFormat(StrEnum):
    """What FOCUS files are written as."""

    CSV = "csv"
    PARQUET = "parquet"


class FocusScope(NamedTuple):
    """Where charges were made. What nobody gave a name to has its id for one; no resource_group outside of any."""

    id: int
    provider: str
    sub_account_id: str
    sub_account_name: str
    resource_group: str
    billing_account_id: str
    billing_account_name: str


class FocusProject(NamedTuple):
    """Whose charges may be, and who answers for it; None where nobody does."""

    id: int
    acronym: str
    owner: str | None
    department: str | None
    cost_centre: str | None


class FocusCharge(NamedTuple):
    """A stored charge: scope and project (None: nobody's on its day) by their ids; or what of it one meter says.

    meter: None where none is told.
    """

    scope_id: int
    day: date
    service: str
    currency: str
    cost: Decimal
    project_id: int | None
    meter: str | None = None


@dataclass(frozen=True, slots=True)
class FocusCharges:
    """Some stored charges, all of one moment, in batches that can be gone through once; and what they refer to."""

    scopes: Sequence[FocusScope]
    projects: Sequence[FocusProject]
    batches: Iterator[Sequence[FocusCharge]]


@dataclass(frozen=True, slots=True)
class Given:
    """What was written: how many charges, and their exact sums by currency."""

    rows: int
    totals: Mapping[str, Decimal]


class ChargeStore(Protocol):
    """Stored charges, those of exactly 0 too."""

    def charges(self, which: Sequence[Selection]) -> AbstractContextManager[FocusCharges]:
        """The charges of some selections, which have none in common, for as long as this is open.

        Raises LaterError where the database is away, as do the batches.
        """
        ...


class FocusWriter(Protocol):
    """Writes charges as FOCUS says, in memory that does not grow with them. metric: which cost is stored."""

    def write(self, charges: FocusCharges, metric: CostMetric, path: Path, form: FocusFormat) -> Given:
        """Writes a file. Raises NeverError where that can't be."""
        ...

    def stream(self, charges: FocusCharges, metric: CostMetric, out: BinaryIO) -> Given:
        """Writes CSV. Raises OSError."""
        ...
