"""NCRONTAB schedules, as the Functions host reads them, and the nights that come of one.

Six fields: second, minute, hour, day of the month, month, day of the week (0 is Sunday); day of the month and day of
the week must both hold. What the host takes and is surely a mistake is refused: a range that runs backwards (the host
turns it round), a step of 0 (the host takes it for 1), and a moment that never comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import product

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
# What each field takes, and the names of its values.
FIELDS: tuple[tuple[range, list[str]], ...] = (
    (range(60), []),
    (range(60), []),
    (range(24), []),
    (range(1, 32), []),
    (range(1, 13), MONTHS),
    (range(7), WEEKDAYS),
)
PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([0-9]+))?", re.ASCII)
# A 29 February on a given day of the week may be this far away, where a year like 2100 lies between.
FARTHEST = timedelta(days=366 * 41)
DAY = timedelta(days=1)
# The host's timers may fire a little before their time.
EARLY = timedelta(minutes=1)
# A timer whose function fails is fired again for some two hours; then nobody begins that night any more.
BEGINS_WITHIN = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The values that each field takes, in order. zone: in whose time; moments are given and returned in UTC."""

    text: str
    zone: tzinfo
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def read(cls, text: str, zone: tzinfo = UTC) -> Schedule:
        """The schedule that a text says. Raises ValueError with a sentence."""
        fields = [field for field in text.split(" ") if field]
        if len(fields) != len(FIELDS):
            raise ValueError("it takes six fields, seconds first, such as '0 0 2 * * *' for 02:00")
        values = [_values(field, allowed, names) for field, (allowed, names) in zip(fields, FIELDS, strict=True)]
        schedule = cls(text, zone, *values)
        if next(schedule._moments(datetime(2000, 1, 1), 1), None) is None:  # noqa: DTZ001 - in any zone's time
            raise ValueError("no such day ever comes")
        return schedule

    @property
    def times_an_hour(self) -> int:
        """How often it fires within an hour in which it fires."""
        return len(self.minutes) * len(self.seconds)

    def after(self, moment: datetime) -> datetime:
        """The first occurrence later than a moment."""
        return next(found for found in self._occurrences(moment, 1) if found > moment)

    def latest(self, moment: datetime) -> datetime:
        """The last occurrence at a moment or before."""
        return next(found for found in self._occurrences(moment, -1) if found <= moment)

    def fired(self, moment: datetime) -> datetime:
        """The occurrence for which a timer is fired at a moment: the latest one, or the next if that is a hair away."""
        latest, following = self.latest(moment), self.after(moment)
        return following if following - moment <= min(EARLY, (following - latest) / 10) else latest

    def missed(self, last: datetime | None, since: datetime, now: datetime) -> datetime | None:
        """The occurrence that should have begun a night by now and has not.

        last: the last one that has (of a night from before occurrences were kept: when it began). since: when the
        schedule came into force.
        """
        due = self.latest(now - BEGINS_WITHIN)
        return due if due > since and (last is None or last < due - EARLY) else None

    def _occurrences(self, moment: datetime, step: int) -> Iterator[datetime]:
        """From about a moment on (step: 1) or back (-1).

        As the host has it: an hour that comes twice counts when it comes in standard time; a moment that the clocks
        leave out is as long after the hour before.
        """
        around = [(moment + timedelta(hours=hours)).astimezone(self.zone).utcoffset() for hours in (-3, 0, 3)]
        offsets = [offset or timedelta(0) for offset in around]
        offset = min(offsets) if step > 0 else max(offsets)
        for found in self._moments(moment.astimezone(UTC).replace(tzinfo=None) + offset, step):
            either = (found.replace(tzinfo=self.zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
            yield (found - min(either)).replace(tzinfo=UTC)

    def _moments(self, moment: datetime, step: int) -> Iterator[datetime]:
        """In the zone's own time, without its name; from the moment's second on."""
        first, second = moment.date(), (moment.hour, moment.minute, moment.second)
        for days in range(FARTHEST.days):
            day = first + days * step * DAY
            if self._is_on(day):
                times = product(self.hours[::step], self.minutes[::step], self.seconds[::step])
                left = times if days else (each for each in times if (each >= second if step > 0 else each <= second))
                yield from (datetime.combine(day, time(*each)) for each in left)

    def _is_on(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays


def _values(text: str, allowed: range, names: list[str]) -> tuple[int, ...]:
    return tuple(sorted({value for part in text.split(",") for value in _of_part(part, allowed, names)}))


def _of_part(part: str, allowed: range, names: list[str]) -> range:
    found = PART.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} is no value, range or step")
    first, last, step = found.groups()
    if step is not None and int(step) == 0:
        raise ValueError(f"{part!r} has a step of 0")
    start = allowed.start if first is None else _value(first, allowed, names)
    end = start if first is not None and step is None else allowed[-1]
    if last is not None:
        end = _value(last, allowed, names)
    if start > end:
        raise ValueError(f"{part!r} runs backwards, and the host would turn it round; write it as two, joined by ','")
    return range(start, end + 1, int(step or 1))


def _value(text: str, allowed: range, names: list[str]) -> int:
    """A number, or the beginning of a name in any case."""
    if text.isdigit():
        if int(text) not in allowed:
            raise ValueError(f"{text} is not from {allowed.start} to {allowed[-1]}")
        return int(text)
    for value, name in zip(allowed, names, strict=False):
        if name.startswith(text.lower()):
            return value
    raise ValueError(f"{text!r} is not a name that belongs there")
