"""Where a provider's costs are read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol, runtime_checkable

from shared.domain.charges import ChargeSet
from shared.domain.periods import Period
from shared.domain.quota import Quota


@dataclass(frozen=True, slots=True)
class CostQuery:
    """Daily charges of one sub-account, by resource group and service.

    window: within one calendar month. resource_groups: only these, in any spelling; empty for all.
    """

    provider: str
    sub_account_id: str
    window: Period
    resource_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """Every charge of a query's window, rounded for storing: of one currency each.

    begun_at: when the first page was asked for, however often the answer broke off since. odd: by the key of their
    group, what is wrong with rows that can't be charges, in a sentence; they are not among the charges.
    """

    charges: tuple[ChargeSet, ...]
    begun_at: datetime
    odd: Mapping[str, str] = field(default_factory=dict)


class CostSource(Protocol):
    """Where a provider's costs are read from.

    provider: as FOCUS names it, such as `azure`. connection_type: of its cloud accounts, such as COST_MANAGEMENT.
    longest_window: how long a query's window may be. months_of_history: how far back it answers. has_groups: whether
    its charges belong to resource groups. month_closed_on: the day of the next month on which it calls a month closed;
    until then all of that is read each night. quota: how much may be asked, and what a query takes.
    """

    provider: str
    connection_type: str
    longest_window: timedelta
    months_of_history: int
    month_closed_on: int
    quota: Quota
    has_groups: bool

    def read(self, query: CostQuery, progress: bytes | None = None, until: datetime | None = None) -> CostAnswer:
        """The answer to a query. Raises LaterError, NeverError.

        progress: of an earlier LaterError for the same query: what had come by then is not asked for again.
        until: no further page is begun after it; a LaterError without a wait then has what came.
        """
        ...


@runtime_checkable
class TotalsSource(CostSource, Protocol):
    """A source that also tells what a window's charges come to, for the price of one query, whatever it holds."""

    def totals(self, query: CostQuery) -> Mapping[str, Decimal]:
        """What all charges of the query's window come to, by currency, not rounded. Raises LaterError, NeverError."""
        ...
