"""Where a provider's costs are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol, runtime_checkable

from shared.domain.charges import ChargeSet
from shared.domain.periods import Period
from shared.domain.quota import Quota
from shared.ports.cloud_accounts import CloudAccount


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


@dataclass(frozen=True, slots=True)
class AccountsQuery:
    """Daily charges of all the sub-accounts that a cloud account reads, by service (by meter too where its `detail` is
    `meter`).

    window: within one calendar month.
    """

    cloud_account: CloudAccount
    window: Period


@dataclass(frozen=True, slots=True)
class AccountsAnswer:
    """Every charge of a query's window, by sub-account, rounded for storing: of one currency each; without groups.

    charges: a sub-account without any row is absent. begun_at: when the first page was asked for, however often the
    answer broke off since. estimated_from: the first day that the provider calls estimated. names: of sub-accounts,
    where it says them. odd: by sub-account (`""` where that can't be told), what is wrong with rows that can't be
    charges, in a sentence; they are not among the charges.
    """

    charges: Mapping[str, tuple[ChargeSet, ...]]
    begun_at: datetime
    estimated_from: date | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubAccount:
    """A sub-account as its provider lists it.

    state: in the provider's word, such as ACTIVE or SUSPENDED. joined_on: the day since which it is its payer's, whose
    answers tell nothing of it before; None where that is not told.
    """

    id: str
    name: str
    state: str
    joined_on: date | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What trying a cloud account out came to.

    signed_in_as: whom the provider takes us for; None where it lets nobody in. missing: what keeps its costs from being
    read, or should be mended besides, in a sentence each.
    """

    signed_in_as: str | None
    can_read: bool
    missing: tuple[str, ...] = ()


MayCall = Callable[[], bool]
"""Asked before each paid call, which it counts: whether that may be made."""


@runtime_checkable
class AccountsSource(Protocol):
    """Where costs are read from for all the sub-accounts of a cloud account at once, each page of an answer at a price.

    What a CostSource says of itself too means the same here. price, price_currency: of a page.
    """

    provider: str
    connection_type: str
    longest_window: timedelta
    months_of_history: int
    month_closed_on: int
    quota: Quota
    has_groups: bool
    price: Decimal
    price_currency: str

    def read_all(
        self, query: AccountsQuery, may_call: MayCall, progress: bytes | None = None, until: datetime | None = None
    ) -> AccountsAnswer:
        """The answer to a query. Raises CallsUsedError where `may_call` says no, and LaterError; NoAnswerError where
        that is so of this query alone, and another NeverError where the provider refuses all of the cloud account's.

        progress: of an earlier LaterError for the same query: what had come by then is not asked for again.
        until: no further page is begun after it; a LaterError without a wait then has what came.
        """
        ...

    def sub_accounts(self, cloud_account: CloudAccount) -> Mapping[str, SubAccount] | None:
        """All that the cloud account could read, by id, for nothing; None where listing them is not allowed.

        Raises LaterError, NeverError.
        """
        ...

    def test(self, cloud_account: CloudAccount, may_call: MayCall) -> Tried:
        """Signs in and makes one cheap call. Raises CallsUsedError, LaterError."""
        ...
