"""What is stored of a month, as exports have delivered it, for comparing it with what others say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from shared.domain.coverage import Known
from shared.domain.exports.feeding import Fed
from shared.ports.export_runs import RunRecord

Place = tuple[Fed, date, str]
"""What feeds something of a sub-account, a day, a currency"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What of a sub-account's month exports say: those whose charges of it count, whoever feeds it now.

    stored: what is stored of its days; delivered: what these exports have delivered of them. of_period: what they have
    delivered to it as billing period, on whatever days, by currency. exports: their keys.
    """

    exports: Collection[str]
    stored: Mapping[Place, Decimal]
    delivered: Mapping[Place, Decimal]
    of_period: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Whole:
    """A run that alone says what its export has delivered to a month; what is stored of that, and how many rows."""

    record: RunRecord
    stored: Mapping[str, tuple[Decimal, int]]


class ReconcileLedger(Protocol):
    """Raises LaterError where the database is away."""

    def sub_accounts(self) -> list[tuple[str, str]]:
        """Every sub-account that projects name, or of which something is stored: provider and id, in order."""
        ...

    def known(self, provider: str, sub_account_id: str) -> Mapping[Fed, Known]:
        """What is known of a sub-account, and of its groups that exports feed; where those are all, of these alone."""
        ...

    def delivered(self, provider: str, sub_account_id: str, month: date) -> Mapping[str, Mapping[str, Decimal]]:
        """What exports have delivered to a sub-account's month as billing period, also those that feed nothing.

        By the export's key and currency.
        """
        ...

    def exported(self, provider: str, sub_account_id: str, month: date) -> Exported:
        """What exports say of a sub-account's month, and what is stored of that."""
        ...

    def whole_runs(self, month: date, sub_accounts: Collection[tuple[str, str]] | None = None) -> list[Whole]:
        """The runs, all made, that each say all of what their export has delivered to a month, and nothing else.

        By export's name. sub_accounts: only those of exports that have delivered something of one of these.
        """
        ...
