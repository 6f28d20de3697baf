"""Exchange rates, for people: brought up to date, listed, fixed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from shared.domain.currencies import ONE_WITH_THE_EURO, SATURDAY, Converting, FixedRate, is_old
from shared.domain.money import LARGEST_AMOUNT, parse_currency, plain, stored
from shared.domain.periods import Period
from shared.domain.texts import named, shortened
from shared.pipeline.rates import KEPT, RateUpdate
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.errors import NeverError
from shared.ports.projects import ProjectLedger
from shared.ports.queues import MessageSender
from shared.ports.rates import FixedRecord, RateChange, RateLedger, SetRate
from shared.services.checking import ask_for_checks
from shared.services.errors import RequestError
from shared.services.findings import Finding
from shared.services.reasons import given_reason
from shared.services.terms import parse_day

DAY = timedelta(days=1)
MOST_DOUBTS = 3
PART, NOW = "rates", "`rates update` does it now"
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
class Checks:
    """The acronyms of the projects that are checked now; unasked: why that could not be asked for."""

    checked: Sequence[str]
    unasked: str | None


@dataclass(frozen=True, slots=True)
class Updated:
    """How many rates are new or others than before, and the last day of which there is one."""

    changed: int
    newest: date | None
    checks: Checks


@dataclass(frozen=True, slots=True)
class RateService:
    """reporting: the currency of totals over projects, or empty. Raises LaterError where the database is away."""

    ledger: RateLedger
    updating: RateUpdate
    rates_in: RatesIn
    converting: Converting
    queues: MessageSender
    projects: ProjectLedger
    clock: Clock
    reporting: str = ""

    def update(self, content: bytes | None = None, *, agreed: bool = False) -> Updated:
        """Keeps the rates of a file, or those that the ECB has, and asks for checks.

        Raises RequestError where it is not the ECB's file, or holds what the ECB hardly sets and nobody has agreed to;
        LaterError where the ECB can't be reached.
        """
        if content is None:
            change = self.updating.update()
        else:
            try:
                change = self.updating.update(lambda since: self._newer(content, since, agreed))
            except NeverError as error:
                raise RequestError(error.reason) from None
        return Updated(change.changed, self._newest(), self._checks(change))

    def _newer(self, content: bytes, since: date, agreed: bool) -> Iterable[SetRate]:
        found = list(self.rates_in(content, since))
        if not found:
            raise RequestError(f"the file has no rate since {since}, and older ones are not kept ({KEPT.days:,} days)")
        doubts = [] if agreed else self._doubts(found, since)
        if doubts:
            raise RequestError(f"{named(doubts, MOST_DOUBTS)}; nothing was kept: where that is meant, add --yes")
        return found

    def _doubts(self, found: Sequence[SetRate], since: date) -> list[str]:
        """What the ECB hardly sets, each a sentence without its end."""
        days = sorted({day for day, _, _ in found if day.weekday() >= SATURDAY})
        weekends = [f"the file has rates of {day}, a {day:%A}, when the ECB sets none" for day in days]
        known = self.ledger.rates({currency for _, currency, _ in found}, Period(since, self.clock().date() + DAY))
        return weekends + [
            f"one euro is {plain(each.worth)} {each.currency} on {each.day} in the file, and {plain(each.other)} on "
            f"{each.other_day}"
            for each in known.jumps(found)
        ]

    def _checks(self, change: RateChange) -> Checks:
        unasked, due = ask_for_checks(self.queues, change.due), set(change.due)
        entries = self.projects.entries() if due else ()
        return Checks([each.project.acronym for each in entries if each.project.id in due], unasked)

    def listed(self) -> RateList:
        """What is known."""
        newest, today = self._newest(), self.clock().date()
        old = newest is None or is_old(newest, today)
        return RateList(self.converting, newest, self.ledger.last_days(today), self.ledger.fixed(), old)

    def _newest(self) -> date | None:
        days = self.ledger.days(self.clock().date())
        return days[1] if days else None

    def finding(self) -> Finding:
        """Whether there are the rates that are needed."""
        known = self.listed()
        fixed = {record.fixed.to for record in known.fixed}
        if self.reporting and known.newest and self.reporting not in {*known.current, *ONE_WITH_THE_EURO, *fixed}:
            raise NeverError(
                f"REPORTING_CURRENCY is {self.reporting}, of which there are no rates; it takes EUR or one of "
                f"{', '.join(known.current)}, or fix rates to it: `rates set`"
            )
        text = f"CURRENCY_CONVERSION is {self.converting}"
        if known.newest is None:
            return Finding(PART, True, text, f"there are no exchange rates yet: each night gets them, and {NOW}")
        text += f": the newest rates are of {known.newest}"
        text += f"; totals over projects are in {self.reporting}" if self.reporting else ""
        return Finding(
            PART, True, text, f"those are old: each night asks for newer ones, and {NOW}" if known.is_old else None
        )

    def fix(
        self, base: str, to: str, rate: str, days: tuple[str, str], reason: str, by: str
    ) -> tuple[FixedRate, Checks]:
        """Sets what one `base` is worth in `to`, for charges of these days (first, last), and asks for checks.

        Raises RequestError.
        """
        try:
            fixed = FixedRate(parse_currency(base), parse_currency(to), _period(*days), _rate(rate))
            if fixed.base == fixed.to:
                raise RequestError(f"{fixed.base} is worth 1 {fixed.base}: name two currencies")
            why, now = given_reason(reason), self.clock()
            said = {"rate": plain(fixed.rate), "first_day": str(fixed.days.start), "last_day": str(fixed.days.last_day)}
            with noted(Change(Action.RATE_FIXED, f"{fixed.base} to {fixed.to}", now, reason=why, details=said, by=by)):
                change = self.ledger.fix(fixed, by, why, now)
        except ValueError as error:
            raise RequestError(str(error)) from None
        except NeverError as error:
            raise RequestError(error.reason) from None
        return fixed, self._checks(change)


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
