"""Spreading a run's queries so that it stays inside its share of a provider's quota."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be asked of a source, in the provider's units.

    units_per_minute, units_per_hour: our share. shortest_seconds, units_in_shortest: the shortest stretch of time for
    which the provider counts, and what it lets through in it. units_at_once: what may go in the same moment.
    units_per_query: what a query takes, whose window lies within a calendar month.
    """

    units_per_minute: int
    units_per_hour: int
    shortest_seconds: float
    units_in_shortest: int
    units_at_once: int
    units_per_query: int = 1

    def seconds(self, units: int) -> float:
        """How long so many units take at an even pace."""
        return units * 60 / self.units_per_minute


def delays(units: Sequence[int], quota: Quota, taken: Iterable[tuple[float, int]] = ()) -> list[float]:
    """How many seconds each message has to wait before it may be seen.

    units: what each message will ask for, in sending order. taken: what is on its way already, or was asked for in the
    last hour, as (seconds from now, units). What fits into the provider's shortest window goes at once; the rest
    follows evenly, at `units_per_minute`. No minute and no hour gets more than its share, but for a message that alone
    asks for more.
    """
    taken = sorted(taken)
    shares = (
        _Share(quota.shortest_seconds, quota.units_in_shortest, taken),
        _Share(60.0, quota.units_per_minute, taken),
        _Share(3600.0, quota.units_per_hour, taken),
    )
    waits: list[float] = []
    used, next_at = shares[0].used_around(0.0), 0.0
    for wanted in units:
        used += wanted
        begins = waits[-1] if waits else 0.0
        if used > quota.units_at_once:
            begins = max(begins, next_at)
        while (free := max(share.free_at(begins, wanted) for share in shares)) > begins:
            begins = free
        for share in shares:
            share.take(begins, wanted)
        waits.append(begins)
        next_at = max(next_at, begins) + quota.seconds(wanted)
    return waits


class _Share:
    """What may be used in any stretch of some seconds. Messages are asked about and taken in order of time.

    A moment is free where all that is taken less than a stretch before and after it leaves room: with nothing after it
    that is exact, and else on the safe side.
    """

    def __init__(self, seconds: float, most: int, taken: Sequence[tuple[float, int]]) -> None:
        self._seconds = seconds
        self._most = most
        self._taken = list(taken)
        # The part of it that is near the moment last asked about, and its units.
        self._first, self._end, self._used = 0, 0, 0

    def used_around(self, at: float) -> int:
        """The units taken less than a stretch before and after a second."""
        while self._end < len(self._taken) and self._taken[self._end][0] < at + self._seconds:
            self._used += self._taken[self._end][1]
            self._end += 1
        while self._first < self._end and self._taken[self._first][0] + self._seconds <= at:
            self._used -= self._taken[self._first][1]
            self._first += 1
        return self._used

    def free_at(self, at: float, wanted: int) -> float:
        """The first second from `at` on at which `wanted` units fit, or nothing else is near."""
        while (used := self.used_around(at)) and used + wanted > self._most:
            at = self._taken[self._first][0] + self._seconds
        return at

    def take(self, at: float, wanted: int) -> None:
        """Counts in a message that begins at a second."""
        insort(self._taken, (at, wanted), self._first, self._end)
        self._end += 1
        self._used += wanted
