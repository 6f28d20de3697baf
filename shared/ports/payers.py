"""Cloud accounts that are asked for all of their sub-accounts at once: whom they read, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from shared.domain.periods import Period
from shared.ports.costs import SubAccount


@dataclass(frozen=True, slots=True)
class Member:
    """A sub-account that a cloud account reads, or has read.

    state: the provider's word for it, None where it can't be listed. left_on: since which night it is not listed, or
    not active, any more: what is stored of it stays, and no answer without its charges says anything of it. read_since:
    the first day that is read of it; None where any is.
    """

    id: str
    name: str | None = None
    state: str | None = None
    left_on: date | None = None
    read_since: date | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """What one sync of a cloud account came to.

    rows: charges that were stored. totals: what they come to, by currency. services: how many there were. calls: paid
    ones. errors: in a sentence each; none where all that was due was read. days_unfit: how long the window was for
    which the day's calls did not suffice; None where they did. left_out: the sub-accounts that it met, and that another
    cloud account feeds. answered: the days of which an answer came, and the calls that it took. service_names: none of
    syncs of earlier versions.
    """

    run_key: str
    started_at: datetime
    finished_at: datetime
    rows: int = 0
    totals: Mapping[str, Decimal] | None = None
    services: int = 0
    calls: int = 0
    errors: tuple[str, ...] = ()
    days_unfit: int | None = None
    left_out: tuple[str, ...] = ()
    answered: tuple[tuple[Period, int], ...] = ()
    service_names: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it was worked on."""
        return (self.finished_at - self.started_at).total_seconds()


Change = Callable[[Sync], Sync]
"""What a sync came to, by what it came to before"""


class PayerLedger(Protocol):
    """Raises LaterError where the database is away."""

    def may_call(self, cloud_account_id: int, day: date, most: int) -> bool:
        """Counts one paid call of a day, before it is made, where that is not the one too many; whether it may be."""
        ...

    def calls_on(self, cloud_account_id: int, day: date) -> int:
        """How many paid calls were counted on a day."""
        ...

    def members(self, cloud_account_id: int) -> list[Member]:
        """The sub-accounts that it feeds, by id."""
        ...

    def adopt(
        self, cloud_account_id: int, provider: str, ids: Collection[str], active: Collection[str] = ()
    ) -> dict[str, int | None]:
        """Has it read those of these sub-accounts that are free (`domain.members.is_free`). active: which of them its
        provider lists as active.

        Returns the others, with the cloud account that feeds each; None where exports do.
        """
        ...

    def note_listed(
        self, cloud_account_id: int, provider: str, listed: Iterable[SubAccount], active: Collection[str], day: date
    ) -> None:
        """Keeps what a provider lists of the sub-accounts that it feeds. active: the states of those that go on.

        A member that is not listed any more, or in another state, has left since this night. One that joined on some
        day is read from that on.
        """
        ...

    def forget_listed(self, cloud_account_id: int) -> None:
        """Its sub-accounts can't be listed now: whether they are its own is not known."""
        ...

    def change_sync(self, cloud_account_id: int, begun: Sync, change: Change) -> None:
        """Keeps what a sync came to, by what it came to so far (`begun`, where it has not begun), which nobody else
        changes meanwhile. change: may be asked more than once.
        """
        ...

    def syncs(self, cloud_account_id: int, most: int) -> list[Sync]:
        """The last ones, the newest first."""
        ...

    def sync_of(self, cloud_account_id: int, run_key: str) -> Sync | None:
        """What a run's came to so far; None where it has not begun."""
        ...
