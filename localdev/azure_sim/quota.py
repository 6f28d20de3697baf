"""Cost Management's quota: query processing units (QPU) in three sliding windows, per tenant; and its guardrail.

Published limits: 12 QPU in 10 seconds, 60 in a minute, 600 in an hour; a query costs one QPU per month of data.
The guardrail counts calls, each page one: 4 a minute of one scope, 20 a minute of one identity.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from time import monotonic


@dataclass(frozen=True)
class Limit:
    """At most `units` QPU within any `seconds`; `name` is what Azure's header calls the window."""

    name: str
    units: int
    seconds: int


PUBLISHED_LIMITS = (
    Limit("QueriesPerHour", 600, 3600),
    Limit("QueriesPerMin", 60, 60),
    Limit("QueriesPer10Sec", 12, 10),
)


PER_SCOPE = Limit("CallsOfScopePerMin", 4, 60)
PER_IDENTITY = Limit("CallsOfIdentityPerMin", 20, 60)


class SlidingWindow:
    """What was used within one limit's seconds up to now."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.used = 0
        self.largest = 0
        self._taken: deque[tuple[float, int]] = deque()

    def forget_old(self, now: float) -> None:
        """Drops what has left the window."""
        while self._taken and self._taken[0][0] + self.limit.seconds <= now:
            self.used -= self._taken.popleft()[1]

    def wait(self, units: int, now: float) -> float:
        """Seconds until the units fit; 0 if they do now. More than the whole limit fits an empty window."""
        over = self.used + min(units, self.limit.units) - self.limit.units
        for at, taken in self._taken:
            if over <= 0:
                break
            over -= taken
            wait = at + self.limit.seconds - now
            if over <= 0:
                return wait
        return 0.0

    def take(self, units: int, now: float) -> None:
        """Uses the units up."""
        self._taken.append((now, units))
        self.used += units
        self.largest = max(self.largest, self.used)


class Quota:
    """The tenant's quota; `clock` gives monotonic seconds. Not enforced, it only counts."""

    def __init__(
        self,
        limits: Iterable[Limit] = PUBLISHED_LIMITS,
        clock: Callable[[], float] = monotonic,
        enforced: bool = True,
    ) -> None:
        self.limits = tuple(limits)
        self.enforced = enforced
        self._clock = clock
        self._lock = Lock()
        self._windows = [SlidingWindow(limit) for limit in self.limits]

    def take(self, units: int) -> float:
        """Uses the units and returns 0, or uses nothing and returns the seconds to wait."""
        with self._lock:
            now = self._now()
            wait = max((window.wait(units, now) for window in self._windows), default=0.0)
            if self.enforced and wait > 0:
                return wait
            for window in self._windows:
                window.take(units, now)
            return 0.0

    def remaining(self) -> str:
        """What is left, as Azure's header says it: `QueriesPerHour:597,QueriesPerMin:57,QueriesPer10Sec:9`."""
        with self._lock:
            self._now()
            left = ((window.limit.name, max(0, window.limit.units - window.used)) for window in self._windows)
            return ",".join(f"{name}:{units}" for name, units in left)

    def largest(self) -> dict[str, int]:
        """The most QPU that each window has ever held, by the window's name."""
        with self._lock:
            return {window.limit.name: window.largest for window in self._windows}

    def reset(self) -> None:
        """Forgets everything that was used."""
        with self._lock:
            self._windows = [SlidingWindow(limit) for limit in self.limits]

    def _now(self) -> float:
        now = self._clock()
        for window in self._windows:
            window.forget_old(now)
        return now


class Guardrail:
    """The guardrail on calls; `clock` gives monotonic seconds. A call that is refused is not counted."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._windows: dict[tuple[str, str], SlidingWindow] = {}

    def take(self, scope: str, identity: str) -> dict[str, float]:
        """Counts a call and returns nothing, or counts nothing and returns the seconds to wait, by the limit's name."""
        with self._lock:
            now = self._clock()
            windows = [self._window(PER_SCOPE, scope.lower()), self._window(PER_IDENTITY, identity)]
            for window in windows:
                window.forget_old(now)
            waits = {window.limit.name: wait for window in windows if (wait := window.wait(1, now)) > 0}
            for window in windows if not waits else ():
                window.take(1, now)
            return waits

    def largest(self) -> dict[str, int]:
        """The most calls that any scope's and any identity's minute has ever held, by the limit's name."""
        with self._lock:
            most = dict.fromkeys((PER_SCOPE.name, PER_IDENTITY.name), 0)
            for (name, _), window in self._windows.items():
                most[name] = max(most[name], window.largest)
            return most

    def reset(self) -> None:
        """Forgets every call."""
        with self._lock:
            self._windows.clear()

    def _window(self, limit: Limit, of_whom: str) -> SlidingWindow:
        return self._windows.setdefault((limit.name, of_whom), SlidingWindow(limit))
