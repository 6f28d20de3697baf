"""What is known after a run, and whether it is believed: a run is a reading of all that its export feeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from shared.domain.charges import ChargeSet
from shared.domain.coverage import (
    NO_CHARGE,
    RECENT_DAYS,
    Coverage,
    CoverageState,
    ReadPart,
    StoredCharge,
    doubt_about,
    lookback_of,
    utc_day,
)
from shared.domain.exports.days import Spoken, left_to
from shared.domain.exports.runs import ExportRun
from shared.domain.periods import Period

DAY = timedelta(days=1)


def read_by(
    run: ExportRun,
    spoken: Spoken,
    charges: Sequence[ChargeSet],
    stored: Iterable[StoredCharge],
    known: Coverage,
    closed_on: int,
) -> tuple[bool, Coverage]:
    """Whether a run is believed of what its export feeds, a sub-account or group, in one month; what is known then.

    spoken: for what it still speaks (`days.left_to`). charges: its own there, none for what has no rows. stored: what
    is stored there, whoever delivered it: where that is something, no charge at all is believed of the third run in a
    row, each of another day; a run that is not believed has not spoken. known: of the month. closed_on: the day of the
    next month on which the provider calls it closed.
    """
    night = utc_day(run.at)
    doubt = NO_CHARGE if doubt_about(charges, stored, night) == NO_CHARGE else None
    window = _read_through(spoken, night)
    if window is None:
        return doubt is None, known
    # Of a run, which is of more, no row is an answer where nothing was either: a month begins so, and much is idle.
    part = ReadPart(window, tuple(charges), run.at, left_out=True)
    if _is_of_all(known, part):
        return known.read(part, night, lookback_of(closed_on), doubt)
    return known.read_partly(part, night, doubt)


def doubted(runs: Iterable[tuple[ExportRun, Spoken]], believed: Sequence[tuple[ExportRun, Spoken]]) -> list[ExportRun]:
    """Those of an export's runs that said nothing of what it had delivered before, and were not believed; oldest first.

    runs: all that speak for a month, whatever was made of them. believed: those that were, of what is looked at.
    """
    known = {run.found for run, _ in believed}
    found = []
    for run, spoken in runs:
        left = left_to(run, spoken, believed)
        older = (its for other, its in believed if other.age < run.age)
        if run.found not in known and any(left.without(its) != left for its in older):
            found.append(run)
    return sorted(found, key=lambda each: each.age)


def with_doubts(known: Coverage, doubts: Iterable[ExportRun]) -> Coverage:
    """A month of which these runs of an export are the only ones in doubt."""
    known = replace(known, state=CoverageState.GOOD, reason=None, suspect_nights=0, suspect_on=None, suspect_at=None)
    for run in doubts:
        known = known.suspected(run.at, utc_day(run.at), NO_CHARGE)
    return known


def read_through_all(runs: Iterable[tuple[ExportRun, Spoken]], month: date) -> Coverage:
    """What is known of a month that these runs say, each of which was believed, once it is theirs."""
    known = with_days(Coverage(month), runs)
    return replace(known, good_on=known.begun_at and utc_day(known.begun_at))


def with_days(known: Coverage, runs: Iterable[tuple[ExportRun, Spoken]]) -> Coverage:
    """A month through the days that these runs have read, in whatever order they were found.

    Each day is as old as the newest run that speaks for it, and the month as its oldest day; days that leave a gap to
    the first ones do not count.
    """
    read_at: dict[date, datetime] = {}
    for run, spoken in sorted(runs, key=lambda each: each[0].age):
        read_at |= dict.fromkeys((day for day in spoken.days if day <= utc_day(run.at)), run.at)
    if not read_at:
        return known
    first = last = min(read_at)
    while last + DAY in read_at:
        last += DAY
    begun_at = min(at for day, at in read_at.items() if day <= last)
    good_on = None if known.good_on is None else utc_day(begun_at)
    return replace(known, read_from=first, read_through=last, begun_at=begun_at, good_on=good_on)


def is_of_its_day(run: ExportRun, spoken: Iterable[Spoken]) -> bool:
    """Whether a run that speaks for these has read costs of its own day, or of the last that may be missing by then.

    One that was made of an earlier month has not.
    """
    night = utc_day(run.at)
    return any(night - RECENT_DAYS * DAY <= day for each in spoken for day in each.days)


def _read_through(spoken: Spoken, night: date) -> Period | None:
    """The days from the first to the last; what lies between and is not its own, a newer run has read."""
    days = [day for day in spoken.days if day <= night]
    return Period(min(days), max(days) + DAY) if days else None


def _is_of_all(known: Coverage, part: ReadPart) -> bool:
    """Whether the part is no older than what is known, and says something of all those days."""
    times = [each for each in (known.begun_at, known.suspect_at) if each]
    is_newest = all(part.begun_at >= each for each in times)
    holds = known.read_from is None or known.read_through is None or (
        part.window.start <= known.read_from and known.read_through < part.window.end
    )  # fmt: skip
    return is_newest and holds
