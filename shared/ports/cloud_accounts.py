"""Cloud accounts: where costs are read from, and how."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class ConnectionType(StrEnum):
    """How the costs of a cloud account come to us; all but exports are asked for, each by the source of its name."""

    COST_MANAGEMENT = "COST_MANAGEMENT"
    COST_EXPLORER = "COST_EXPLORER"
    COST_EXPORT = "COST_EXPORT"


UNGROUPED = "default"
"""The organization of those that nobody has given another one"""

OF_FILES = "(files)"
"""The external id of the one that stands for files that people import: no container, nor folder, is called so"""


class AccountStatus(StrEnum):
    """Whether a cloud account works: before its first sync, after one that worked or failed; disabled by a person."""

    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    DISABLED = "disabled"

    @classmethod
    def _missing_(cls, value: object) -> AccountStatus:
        """A word that somebody wrote by hand: only `disabled`, in any case, keeps an account from being read."""
        return next((status for status in cls if status == str(value).strip().lower()), cls.ERROR)


@dataclass(frozen=True, slots=True)
class CloudAccount:
    """Where costs are read from, and how. It feeds one or more sub-accounts.

    organization: a text by which people group them. provider: as FOCUS names it. connection_type: a ConnectionType, or
    the word of a source that has its own.
    external_account_id: the provider's: a subscription's, a payer's. role_arn, external_id: AWS only.
    detail: `service` or `meter`. last_sync_error: of the last sync, if that one failed. disabled_why: who disabled it,
    and why; None where it is not, or nobody said. is_organization: whether it is an organization's payer, of which
    reads and organizational_unit choose what is read (neither: all, both: what either names). without_credits: credits
    and refunds are left out.
    """

    id: int
    name: str
    organization: str
    provider: str
    connection_type: str
    external_account_id: str
    role_arn: str | None
    external_id: str | None
    detail: str
    status: AccountStatus
    last_synced_at: datetime | None
    last_sync_error: str | None
    last_manual_sync_at: datetime | None
    disabled_why: str | None = None
    is_organization: bool = False
    reads: tuple[str, ...] | None = None
    organizational_unit: str | None = None
    without_credits: bool = False

    @property
    def in_words(self) -> str:
        """Which it is, for people."""
        return f"cloud account {self.id} ({self.name})"

    @property
    def is_of_files(self) -> bool:
        """Whether it stands for files that people import: they lie nowhere, and nobody looks for more."""
        return self.connection_type == ConnectionType.COST_EXPORT and self.external_account_id == OF_FILES


class CloudAccountLedger(Protocol):
    """The cloud accounts."""

    def accounts(self) -> list[CloudAccount]:
        """All of them, in the order in which they came."""
        ...

    def get(self, cloud_account_id: int) -> CloudAccount | None:
        """One by its id."""
        ...

    def register(self, provider: str, connection_type: str, ids: Collection[str]) -> None:
        """Makes a cloud account, named by its id, of each of these sub-accounts that nothing feeds yet.

        ids: in any spelling (`domain.projects.sub_account_key`).
        """
        ...

    def add_exports(self, provider: str, place: str) -> int:
        """Makes the cloud account of a container's (`container` or `container/folder`) exports, where there is none of
        this place yet; its id.
        """
        ...

    def add(self, new: CloudAccount) -> int | None:
        """Makes it, as before its first sync; the id that it got, which the one given does not count for. None where
        there is one of this provider, connection and account already.
        """
        ...

    def feeding(self, provider: str, sub_account_id: str) -> CloudAccount | None:
        """The one that feeds a sub-account whole, disabled or not; None where none does."""
        ...

    def fed(self, provider: str) -> frozenset[str]:
        """The ids of the provider's sub-accounts that any feeds whole, disabled or not."""
        ...

    def fed_by(self, cloud_account_id: int) -> list[str]:
        """The ids of the sub-accounts that it feeds, or of whose groups its exports feed some; in order."""
        ...

    def set_organization(self, cloud_account_id: int, organization: str) -> None:
        """It is grouped with others under this text from now on."""
        ...

    def disable(self, cloud_account_id: int, why: str) -> None:
        """It is left out of runs from now on."""
        ...

    def enable(self, cloud_account_id: int) -> None:
        """One that is disabled is as it was before its first sync."""
        ...

    def remove(self, cloud_account_id: int) -> None:
        """Takes it away, and nothing that is stored. What its exports feed they go on to feed, as those that were
        imported by hand do; what it was asked for is fed by nothing.
        """
        ...

    def note_manual_sync(self, ids: Collection[int], now: datetime | None) -> None:
        """A person has ordered a sync of these; None: none has, after all."""
        ...

    def claim_manual_sync(self, cloud_account_id: int, now: datetime, since: datetime) -> datetime | None:
        """Notes that a person orders a sync of it, but where one of its organization was ordered after `since`.

        Returns when that was, and None where this one may begin: of several at the same time, one.
        """
        ...

    def mark_synced(self, cloud_account_id: int, now: datetime) -> None:
        """Its last sync worked. One that is disabled stays so."""
        ...

    def mark_readable(self, cloud_account_id: int) -> None:
        """What kept it from being read is mended: it is as after its last sync, or before the first. One that is
        disabled stays so.
        """
        ...

    def mark_failed(self, cloud_account_id: int, reason: str) -> None:
        """Its last sync failed. One that is disabled stays so."""
        ...
