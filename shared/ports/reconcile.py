"""What is stored of a month, as exports have delivered it, for comparing it with what others say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from shared.domain.coverage import Known
from shared.domain.exports.feeding import Fed
from shared.ports.export_runs import RunRecord


@dataclass(frozen=True, slots=True)
class Delivered:
    """What an export has delivered of a group, in one currency.

    of_period: to the month as billing period, on whatever days. on_days: on the month's days, to whatever period.
    """

    export: str
    name: str
    group_key: str
    currency: str
    of_period: Decimal
    on_days: Decimal


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

    def delivered(self, provider: str, sub_account_id: str, month: date) -> list[Delivered]:
        """What exports have delivered of a sub-account's month, also those that feed nothing."""
        ...

    def whole_runs(self, month: date, sub_account: tuple[str, str] | None = None) -> list[Whole]:
        """The runs that each say all of what their export has delivered to a month, and nothing else, by export's name.

        sub_account: only those of exports that have delivered something of it.
        """
        ...
