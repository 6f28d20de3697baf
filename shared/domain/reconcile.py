"""Why what is stored of a month is another sum than what its provider's API says, or what exports have delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from shared.domain.coverage import DAY, Coverage, Known
from shared.domain.exports.feeding import Fed
from shared.domain.exports.runs import ExportRun, RunState
from shared.domain.money import EXACT
from shared.domain.periods import Period

Counted = Mapping[str, tuple[Decimal, int]]
"""What stored charges come to, and how many they are, by currency"""
Totals = Mapping[str, Decimal]
"""By currency"""
# A run that is found, and whose charges are not stored (yet).
NOT_IMPORTED = (RunState.WAITING, RunState.IMPORTING, RunState.FAILED)


class Cause(StrEnum):
    """Why two sums differ, in the order in which that is looked for."""

    ROUNDING = "rounding"
    CURRENCY = "currency"
    METRIC = "amortized"
    PERIOD = "billing period"
    UNREAD = "not read yet"
    NEWER = "newer run"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Difference:
    """amounts: what others say more than is stored, by currency. why: a sentence without its end."""

    amounts: Totals
    cause: Cause
    why: str


def more_in(others: Totals, stored: Totals) -> dict[str, Decimal]:
    """What the others come to beyond what is stored, by currency; those that are equal are left out."""
    none = Decimal(0)
    found = {each: EXACT.subtract(others.get(each, none), stored.get(each, none)) for each in {*others, *stored}}
    return {currency: found[currency] for currency in sorted(found) if found[currency]}


def amounts_of(stored: Counted) -> dict[str, Decimal]:
    """The sums alone."""
    return {currency: amount for currency, (amount, _) in stored.items()}


def in_other_currencies(stored: Totals, others: Totals) -> bool:
    """Whether the two have no currency in common, so that nothing can be compared."""
    ours, theirs = ({currency for currency, amount in each.items() if amount} for each in (stored, others))
    return bool(ours and theirs) and not ours & theirs


def days_read(known: Iterable[Coverage | None], days: Period) -> Period | None:
    """The days of a month that all of these have read; None where one has read none."""
    each_read = [
        Period(each.read_from, each.read_through + DAY) if each and each.read_from and each.read_through else None
        for each in known
    ]
    read = [each for each in each_read if each]
    if not read or len(read) < len(each_read):
        return None
    start, end = max(days.start, *(each.start for each in read)), min(days.end, *(each.end for each in read))
    return Period(start, end) if start < end else None


def newer_run(
    runs: Iterable[tuple[ExportRun, RunState]], known: Iterable[Coverage], days: Period
) -> tuple[ExportRun, RunState] | None:
    """The newest run of these days that is found and not stored (yet), and is newer than what is known of them."""
    read_at = [each.begun_at for each in known if each.begun_at]
    newer = [
        (run, state)
        for run, state in runs
        if state in NOT_IMPORTED
        and (run.days is None or _overlap(run.days, days))
        and all(run.at > at for at in read_at)
    ]
    return max(newer, key=lambda each: each[0].age, default=None)


def _overlap(one: Period, other: Period) -> bool:
    return one.start < other.end and other.start < one.end


def of_month(known: Mapping[Fed, Known], days: Period) -> list[Coverage | None]:
    """What is known of a month, by each of those who feed some of it."""
    return [each.get(days.start) for each in known.values()]
