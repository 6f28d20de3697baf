"""What is known of a sub-account's charges: how much of it has been read, and which answers are believed.

An answer without any charge, where some are stored, is more likely a fault of the provider's than the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from shared.domain.charges import LONGEST_GROUP, LONGEST_SERVICE, ChargeSet
from shared.domain.periods import Period

# The UTC day in a row on which an empty answer is taken after all.
BELIEVED_ON_DAY = 3


@dataclass(frozen=True, slots=True)
class ReadPart:
    """What one query answered for one window."""

    window: Period
    charges: ChargeSet


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one sub-account for one scope of a run.

    group_keys: what the queries were restricted to (`charges.key_of_group`); empty for the whole account.
    read_from: for a whole reading, the day since which everything has then been read.
    read_until: for a whole reading with nothing left, the day on which it was begun.
    complete: nothing is left to be read of this account for the scope, so its projects can be checked.
    last: it is the last of its scope, which is done once it is complete.
    """

    provider: str
    sub_account_id: str
    group_keys: frozenset[str]
    parts: tuple[ReadPart, ...]
    started_at: datetime
    read_from: date | None
    complete: bool
    read_until: date | None = None
    last: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether the whole account was asked for."""
        return not self.group_keys

    @property
    def reads_its_day(self) -> bool:
        """Whether the day on which it was begun is in it; one that only reads further back has other days."""
        return any(_utc_day(self.started_at) in part.window for part in self.parts)

    def restricted(self) -> Reading:
        """The reading with charges of the groups that were asked for only: just those are compared and replaced."""
        if self.is_whole:
            return self
        parts = (ReadPart(part.window, part.charges.of_groups(self.group_keys)) for part in self.parts)
        return replace(self, parts=tuple(parts))


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a sub-account has been read.

    read_from: every charge since this day has been read, None before the first whole reading.
    read_until: the day of the last whole reading. read_started_at: when the latest one that has its own day was begun.
    suspect_days: on how many days in a row, the last of them `suspect_on`, whole readings had doubtful parts.
    """

    read_from: date | None = None
    read_until: date | None = None
    read_started_at: datetime | None = None
    suspect_days: int = 0
    suspect_on: date | None = None


def is_outdated(known: Coverage, reading: Reading) -> bool:
    """Whether what the reading would say of its day is known already, and newer."""
    if known.read_started_at is None or not (reading.is_whole and reading.reads_its_day):
        return False
    return reading.started_at < known.read_started_at


def doubtful_windows(
    known: Coverage, reading: Reading, now: datetime, has_charges: Callable[[Period], bool]
) -> list[Period]:
    """The windows that came back empty although there are charges of days that were over at the last reading.

    has_charges: whether any are stored for these days, of what was asked for.
    """
    closed_before = known.read_until or _utc_day(now)
    return [
        part.window
        for part in reading.parts
        if not part.charges.amounts
        and part.window.start < closed_before
        and has_charges(Period(part.window.start, min(part.window.end, closed_before)))
    ]


def believe(
    known: Coverage, reading: Reading, doubtful: Sequence[Period], now: datetime
) -> tuple[tuple[Period, ...], Coverage]:
    """The windows that are not believed, and what is known once the others are stored.

    A whole reading's doubtful windows are believed the third UTC day in a row on which it has one. Readings of some
    groups say nothing of the account, and their doubtful windows are never believed.
    """
    if not reading.is_whole:
        return tuple(doubtful), known
    today = _utc_day(now)
    if doubtful:
        is_new_day = known.suspect_on is None or known.suspect_on < today
        suspect_days = known.suspect_days + is_new_day
        if suspect_days != BELIEVED_ON_DAY:
            return tuple(doubtful), replace(known, suspect_days=suspect_days, suspect_on=today)
    return (), _with(known, reading)


def doubt(windows: Sequence[Period]) -> str:
    """Why windows are not believed, in words."""
    days = ", ".join(f"{window.start} up to {window.end}" for window in windows)
    return f"the answer had no charges for {days}, where some are stored: it is not believed, and they stay"


def _with(known: Coverage, reading: Reading) -> Coverage:
    """What is known with a whole reading that is believed.

    A first part that is believed says nothing of the ones to come, which may be as empty as yesterday.
    """
    return Coverage(
        read_from=_read_from(known, reading) or known.read_from,
        read_until=reading.read_until or known.read_until,
        read_started_at=reading.started_at if reading.reads_its_day else known.read_started_at,
        suspect_days=0 if reading.complete else known.suspect_days,
        suspect_on=None if reading.complete else known.suspect_on,
    )


def _read_from(known: Coverage, reading: Reading) -> date | None:
    """The day since which everything has been read, with this reading; days that it leaves out stay unread."""
    reaches = max((part.window.end for part in reading.parts), default=None)
    if known.read_from is not None and (reaches is None or reaches < known.read_from):
        return None
    return reading.read_from


def fault_in(reading: Reading) -> str | None:
    """Why the answers can't be stored as one, in a sentence; None where they can."""
    whose = f"the costs of {reading.sub_account_id}"
    currencies = sorted({part.charges.billing_currency for part in reading.parts} - {None}, key=str)
    if len(currencies) > 1:
        return (
            f"{whose} came in {' and '.join(map(str, currencies))}; "
            "amounts of two currencies are never added, so all of an answer has to be in one"
        )
    faults = (_fault_in_part(whose, part) for part in reading.parts)
    return next((fault for fault in faults if fault), None)


def _fault_in_part(whose: str, part: ReadPart) -> str | None:
    strange = [day for day in {day for _, day, _ in part.charges.amounts} if day not in part.window]
    if strange:
        return (
            f"{whose} from {part.window.start} up to {part.window.end} came with charges of {min(strange)}, "
            "which lies outside of these days"
        )
    services = {service for _, _, service in part.charges.amounts}
    return _too_long(whose, "service", services, LONGEST_SERVICE) or _too_long(
        whose, "resource group", part.charges.group_names.values(), LONGEST_GROUP
    )


def _too_long(whose: str, what: str, names: Iterable[str], longest: int) -> str | None:
    for name in names:
        if len(name) > longest:
            return (
                f"{whose} came with a {what} of {len(name)} characters, of which {longest} can be stored: {name[:40]}…"
            )
    return None


def _utc_day(at: datetime) -> date:
    return at.astimezone(UTC).date()
