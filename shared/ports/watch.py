"""What the database has for the watchdog, now and later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Standing:
    """What is unfinished, and how the nights stand.

    waits_since: the earliest moment at which something was, or is, to be taken that is not done: an account of a run, a
    check, a mail. late_from: until when the earliest night was planned that has something missing and is not reported.
    look_at: when the next lock is to be looked at. is_untold: whether dead letters wait to be told.
    complete_at: when the last complete night ended. since: since when nights have their schedule.
    """

    waits_since: datetime | None
    late_from: datetime | None
    look_at: datetime | None
    is_untold: bool
    complete_at: datetime | None
    since: datetime | None


class WatchLedger(Protocol):
    """What the watchdog has to know before it can rest."""

    def standing(self) -> Standing:
        """How all stands."""
        ...
