"""Exchange rates: where they come from, and those that are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from shared.domain.currencies import FixedRate, Rates
from shared.domain.periods import Period

SetRate = tuple[date, str, Decimal]
"""The day on which a rate was set, the currency, and how much of it one euro is worth"""


@dataclass(frozen=True, slots=True)
class FixedRecord:
    """A fixed rate, and who set it. Of two for the same day, the one with the larger id counts."""

    id: int
    fixed: FixedRate
    made_at: datetime
    made_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class RateChange:
    """How many rates are new or others than before, and the projects whose figures that may have changed.

    These are active, and due for a check.
    """

    changed: int = 0
    due: Sequence[int] = ()


class RateFeed(Protocol):
    """Who sets the rates of days."""

    def read(self, since: date) -> list[SetRate]:
        """All rates that were set on this day and later. Raises LaterError, NeverError."""
        ...


class RateLedger(Protocol):
    """The rates that are kept. Raises LaterError where the database is away."""

    def rates(self, currencies: Collection[str], days: Period) -> Rates:
        """What is known of these currencies for charges of these days, with all fixed rates between them."""
        ...

    def days(self, today: date) -> tuple[date, date] | None:
        """The first and the last day of which a rate is kept, of days until today; None where none is."""
        ...

    def last_days(self, today: date) -> Mapping[str, date]:
        """The last day of which each currency's rate is kept, of days until today."""
        ...

    def keep(self, rates: Iterable[SetRate], now: datetime) -> RateChange:
        """Keeps rates of days, each in the place of the one before.

        Projects with a charge to which one of them may apply are due for a check. Raises NeverError where one can't be
        kept.
        """
        ...

    def fix(self, fixed: FixedRate, by: str, reason: str, now: datetime) -> RateChange:
        """Sets a fixed rate, which counts before those that were set earlier. Raises NeverError for one too fine.

        Projects with a budget in `to` and a charge in `base` on its days are due for a check.
        """
        ...

    def fixed(self) -> list[FixedRecord]:
        """All fixed rates, in the order in which they were set."""
        ...
