"""The watchdog's rounds: which of them looks at the database, and what they say of how the app is.

Whoever looks wakes a database that sleeps while nobody asks (Azure SQL, serverless), and keeps it awake for an hour. So
most rounds go by two small notes beside the queues: until when somebody may be writing, and what the last look found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from shared.domain.schedules import Schedule
from shared.domain.texts import digest

# What the notes don't say (a crash before its row was noted, a database restored from a backup) waits no longer.
LONGEST_REST = timedelta(hours=8)
# Whoever writes says so for so long ahead, and again once less is left than a function may take.
SAID_AHEAD = timedelta(minutes=15)
LEFT_AT_LEAST = timedelta(minutes=10)
# A round that comes so late has not been left out: before it looks, it may wait for messages (`pipeline/left_over.py`).
ROUND_LATE = timedelta(minutes=7)
# A night may take so much longer than the one before.
NIGHT_LATE = timedelta(hours=2)
# As far as the clocks of those who write notes may be apart.
CLOCKS_APART = timedelta(minutes=5)
# What lies outside is no moment of ours, and with some such days nothing can be reckoned.
YEARS = range(2000, 9000)


@dataclass(frozen=True, slots=True)
class RoundNote:
    """What the watchdog notes. round_at: its last round. looked_at: when it last looked at the database.

    look_at: when it looks next, if nobody writes before. night_at: when the last complete night ended, or, before there
    is one, since when there should be. nights: which schedule they had (`name_of`); empty in notes from before it was
    noted.
    """

    round_at: datetime
    looked_at: datetime
    look_at: datetime
    night_at: datetime
    nights: str = ""


MOMENTS = tuple(each.name for each in fields(RoundNote) if each.name != "nights")


def name_of(nights: Schedule) -> str:
    """A short name for a schedule, which may be long."""
    return digest(f"{nights.text} {nights.zone}")


def to_text(note: RoundNote) -> str:
    """The note as it is kept: JSON of ASCII letters."""
    return json.dumps({name: getattr(note, name).isoformat() for name in MOMENTS} | {"nights": note.nights})


def from_text(text: str | None) -> RoundNote | None:
    """The note that a text says; None where it says none."""
    try:
        members = json.loads(text or "")
        moments = {name: moment_in(members[name]) for name in MOMENTS}
        nights = str(members.get("nights", ""))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    known = {name: moment for name, moment in moments.items() if moment is not None}
    return RoundNote(**known, nights=nights) if len(known) == len(MOMENTS) else None


def moment_in(text: str | None) -> datetime | None:
    """The moment that a text says; None where it says none, or one that can't be."""
    try:
        moment = datetime.fromisoformat(text or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo and moment.year in YEARS else None


def looks(
    note: RoundNote | None, writing_until: datetime | None, now: datetime, nights: Schedule, rounds: Schedule
) -> bool:
    """Whether a round at this moment looks at the database.

    Also once where the nights have another schedule, and where a round was left out, or broke off before its note: then
    the queues may have been away, and with them the notes of those who wrote.
    """
    if note is None or not note.looked_at <= now < min(note.look_at, note.looked_at + LONGEST_REST):
        return True
    if note.nights != name_of(nights) or now > rounds.after(note.round_at) + ROUND_LATE:
        return True
    # Nobody says so further ahead: else it would never end.
    if writing_until is None or writing_until > now + SAID_AHEAD + CLOCKS_APART:
        return False
    return note.looked_at <= writing_until


def says_again(writing_until: datetime | None, now: datetime) -> bool:
    """Whether one who writes has to say so, having said it until then."""
    return writing_until is None or not LEFT_AT_LEAST <= writing_until - now <= SAID_AHEAD


def night_age(note: RoundNote, now: datetime) -> timedelta:
    """How long ago the last complete night ended."""
    return max(now - note.night_at, timedelta(0))


def is_well(note: RoundNote | None, now: datetime, rounds: Schedule, nights: Schedule) -> bool:
    """Whether the watchdog comes by, and the last complete night is none too old."""
    if note is None or max(note.round_at, note.night_at) > now + CLOCKS_APART:
        return False
    next_but_one = rounds.after(rounds.after(note.round_at))
    between_nights = nights.after(note.night_at) - nights.latest(note.night_at)
    return now < next_but_one + ROUND_LATE and night_age(note, now) < between_nights + NIGHT_LATE
