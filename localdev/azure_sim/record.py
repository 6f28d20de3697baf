"""What the simulator was asked and what it answered, for tests and benchmarks to look at."""

import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from localdev.azure_sim.wire import Request

RECENT_REQUESTS = 2000


@dataclass
class SeenRequest:
    """One request as it came: `seconds` is the simulator's clock, status 0 is silence."""

    method: str
    target: str
    subscription: str
    headers: dict[str, str]
    body: Any
    seconds: float
    status: int = 0


@dataclass
class Counts:
    """Calls, and of these the refused ones (429); pages and rows that were handed out, and QPU used."""

    calls: int = 0
    throttled: int = 0
    pages: int = 0
    rows: int = 0
    qpu: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})


class Record:
    """Counts by subscription and in all, and the recent requests."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._counts: dict[str, Counts] = {}
            self._requests: deque[SeenRequest] = deque(maxlen=RECENT_REQUESTS)

    def request(self, request: Request, subscription: str) -> SeenRequest:
        """Notes a request that came in; its status is set by `answered`."""
        headers, body = dict(request.headers.items()), _readable(request.body)
        seen = SeenRequest(request.method, request.target, subscription.lower(), headers, body, self._clock())
        with self._lock:
            self._requests.append(seen)
            self._of(seen.subscription).calls += 1
        return seen

    def answered(self, seen: SeenRequest, status: int) -> None:
        """Notes how the request was answered; status 0: not at all."""
        with self._lock:
            seen.status = status
            counts = self._of(seen.subscription)
            counts.statuses[str(status)] += 1
            counts.throttled += status == 429

    def page(self, subscription: str, rows: int, qpu: int) -> None:
        """Notes a page of a cost query that was handed out, and the QPU it used."""
        with self._lock:
            counts = self._of(subscription.lower())
            counts.pages += 1
            counts.rows += rows
            counts.qpu += qpu

    def requests(self) -> list[SeenRequest]:
        """The recent requests, oldest first."""
        with self._lock:
            return list(self._requests)

    def of(self, subscription: str) -> Counts:
        """The counts of one subscription."""
        with self._lock:
            return self._counts.get(subscription.lower(), Counts())

    def in_all(self) -> Counts:
        """The counts over all subscriptions."""
        with self._lock:
            return sum(self._counts.values(), Counts())

    def as_json(self) -> dict[str, Any]:
        """The counts over all subscriptions, as `GET /_sim/stats` shows them."""
        return dict(vars(self.in_all()))

    def _of(self, subscription: str) -> Counts:
        return self._counts.setdefault(subscription, Counts())


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
