"""Exchange rates, for people: brought up to date, listed, fixed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from shared.domain.currencies import Converting, FixedRate, is_old
from shared.domain.money import LARGEST_AMOUNT, parse_currency, stored
from shared.domain.periods import Period
from shared.domain.texts import shortened
from shared.pipeline.rates import KEPT, RateUpdate
from shared.ports.clock import Clock
from shared.ports.errors import NeverError
from shared.ports.rates import FixedRecord, RateLedger, SetRate
from shared.services.errors import RequestError
from shared.services.reasons import given_reason
from shared.services.terms import parse_day

DAY = timedelta(days=1)
RatesIn = Callable[[bytes, date], Iterable[SetRate]]
"""The rates in a file of the ECB's, from a day on. Raises NeverError for any other file."""


@dataclass(frozen=True, slots=True)
class RateList:
    """What is known. last_days: of each currency, the last day on which its rate was set. is_old: it is too old."""

    converting: Converting
    newest: date | None
    last_days: Mapping[str, date]
    fixed: Sequence[FixedRecord]
    is_old: bool

    @property
    def current(self) -> list[str]:
        """The currencies of the newest day."""
        return sorted(each for each, day in self.last_days.items() if day == self.newest)

    @property
    def ended(self) -> dict[str, date]:
        """Those that are no longer set, each with its last day."""
        return {each: day for each, day in sorted(self.last_days.items()) if day != self.newest}


@dataclass(frozen=True, slots=True)
class RateService:
    """Raises LaterError where the database is away."""

    ledger: RateLedger
    updating: RateUpdate
    rates_in: RatesIn
    converting: Converting
    clock: Clock

    def update(self, content: bytes | None = None) -> tuple[int, date | None]:
        """Keeps the rates of a file, or those that the ECB has; how many are new or others, and their newest day.

        Raises RequestError where it is not the ECB's file, LaterError where the ECB can't be reached.
        """
        if content is None:
            return self.updating.update(), self.ledger.newest()
        try:
            changed = self.updating.update(lambda since: self._newer(content, since))
        except NeverError as error:
            raise RequestError(error.reason) from None
        return changed, self.ledger.newest()

    def _newer(self, content: bytes, since: date) -> Iterable[SetRate]:
        found = list(self.rates_in(content, since))
        if not found:
            raise RequestError(f"the file has no rate since {since}, and older ones are not kept ({KEPT.days:,} days)")
        today = self.clock().date()
        late = max(day for day, _, _ in found)
        if late > today:
            raise RequestError(f"the file has rates of {late}, which is to come: nothing of it was kept")
        return found

    def listed(self) -> RateList:
        """What is known."""
        newest = self.ledger.newest()
        old = newest is None or is_old(newest, self.clock().date())
        return RateList(self.converting, newest, self.ledger.last_days(), self.ledger.fixed(), old)

    def fix(self, base: str, to: str, rate: str, days: tuple[str, str], reason: str, by: str) -> FixedRate:
        """Sets what one `base` is worth in `to`, for charges of these days (first, last). Raises RequestError."""
        try:
            fixed = FixedRate(parse_currency(base), parse_currency(to), _period(*days), _rate(rate))
            if fixed.base == fixed.to:
                raise RequestError(f"{fixed.base} is worth 1 {fixed.base}: name two currencies")
            self.ledger.fix(fixed, by, given_reason(reason), self.clock())
        except ValueError as error:
            raise RequestError(str(error)) from None
        except NeverError as error:
            raise RequestError(error.reason) from None
        return fixed


def _period(first: str, last: str) -> Period:
    start, end = parse_day(first), parse_day(last)
    if start is None or end is None:
        raise RequestError("name the first day and the last one: --from 2026-04-01 --to 2027-03-31")
    if end < start:
        raise RequestError(f"the last day, {end}, is before the first, {start}")
    return Period(start, end + DAY)


def _rate(text: str) -> Decimal:
    rate = Decimal(text.strip()) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text.strip()) else Decimal(0)
    if not 0 < rate <= LARGEST_AMOUNT:
        raise RequestError(f"'{shortened(text)}' is no rate; write how much one is worth, such as 1.3750")
    if rate != stored(rate):
        raise RequestError(f"'{shortened(text)}' is too fine; a rate has at most 10 decimal places")
    return rate
