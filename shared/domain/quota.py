"""Spreading a run's queries so that it stays inside its share of the provider's quota."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

# Cost Management lets 12 query units through in 10 seconds, a fifth of its minute's 60: its published quota.
SHORTEST_WINDOW = 10.0
UNITS_IN_SHORTEST = 12
# So many go at once; two are left for others.
UNITS_AT_ONCE = 10


def delays(units: Sequence[int], per_minute: int, per_hour: int) -> list[float]:
    """How many seconds each message has to wait before it may be seen.

    units: what each message will ask for, in query units, in sending order. What fits into the provider's
    shortest window goes at once; the rest follows evenly, at `per_minute` units a minute. No minute gets more
    than `per_minute`, no hour more than `per_hour`, but for a message that alone asks for more.
    """
    shares = (
        _Share(SHORTEST_WINDOW, max(UNITS_IN_SHORTEST, per_minute // 5)),
        _Share(60.0, per_minute),
        _Share(3600.0, per_hour),
    )
    at_once = min(UNITS_AT_ONCE, per_minute, per_hour)
    waits = []
    used, next_at = 0, 0.0
    for wanted in units:
        used += wanted
        begins = 0.0 if used <= at_once else max(next_at, *(share.free_at(wanted) for share in shares))
        for share in shares:
            share.take(begins, wanted)
        waits.append(begins)
        next_at = max(next_at, begins) + wanted * 60 / per_minute
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
