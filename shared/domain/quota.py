"""Spreading a run's queries so that it stays inside its share of a provider's quota."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
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


def delays(units: Sequence[int], quota: Quota) -> list[float]:
    """How many seconds each message has to wait before it may be seen.

    units: what each message will ask for, in sending order. What fits into the provider's shortest window goes at
    once; the rest follows evenly, at `units_per_minute`. No minute and no hour gets more than its share, but for a
    message that alone asks for more.
    """
    shares = (
        _Share(quota.shortest_seconds, quota.units_in_shortest),
        _Share(60.0, quota.units_per_minute),
        _Share(3600.0, quota.units_per_hour),
    )
    waits = []
    used, next_at = 0, 0.0
    for wanted in units:
        used += wanted
        begins = 0.0 if used <= quota.units_at_once else max(next_at, *(share.free_at(wanted) for share in shares))
        for share in shares:
            share.take(begins, wanted)
        waits.append(begins)
        next_at = max(next_at, begins) + quota.seconds(wanted)
    return waits


class _Share:
    """What may be used in any stretch of some seconds. Messages are asked about and taken in order of time."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._used = 0
        self._taken: deque[tuple[float, int]] = deque()

    def free_at(self, wanted: int) -> float:
        """The second from which `wanted` units fit; what is over by then is forgotten."""
        free = 0.0
        while self._taken and self._used + wanted > self._most:
            began, units = self._taken.popleft()
            self._used -= units
            free = began + self._seconds
        return free

    def take(self, begins: float, units: int) -> None:
        """Counts in a message that begins at a second."""
        self._used += units
        self._taken.append((begins, units))
