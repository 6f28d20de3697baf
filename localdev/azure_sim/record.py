"""What the simulator was asked and what it answered, for tests and benchmarks to look at."""

import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from localdev.azure_sim.wire import Request

RECENT_REQUESTS = 2000


@dataclass
class SeenRequest:
    """One request as it came: `seconds` is the simulator's clock, `at` an ISO time in UTC, status 0 is silence."""

    method: str
    target: str
    subscription: str
    headers: dict[str, str]
    body: Any
    seconds: float
    at: str
    status: int = 0
    fault: str | None = None


@dataclass
class Counts:
    """Calls, and of these the refused ones (429); pages and rows that were handed out, and QPU used."""

    calls: int = 0
    throttled: int = 0
    pages: int = 0
    rows: int = 0
    qpu: int = 0
    statuses: dict[str, int] = field(default_factory=dict)


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
        seen = SeenRequest(
            method=request.method,
            target=request.target,
            subscription=subscription.lower(),
            headers={name: _shown(name, value) for name, value in request.headers.items()},
            body=_readable(request.body),
            seconds=self._clock(),
            at=datetime.now(UTC).isoformat(),
        )
        with self._lock:
            self._requests.append(seen)
            self._of(seen.subscription).calls += 1
        return seen

    def answered(self, seen: SeenRequest, status: int, fault: str | None) -> None:
        """Notes how the request was answered; status 0: not at all."""
        with self._lock:
            seen.status, seen.fault = status, fault
            counts = self._of(seen.subscription)
            counts.statuses[str(status)] = counts.statuses.get(str(status), 0) + 1
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
            parts = list(self._counts.values())
            names = ("calls", "throttled", "pages", "rows", "qpu")
            sums = {name: sum(getattr(part, name) for part in parts) for name in names}
            statuses: Counter[str] = Counter()
            for part in parts:
                statuses.update(part.statuses)
            return Counts(**sums, statuses=dict(statuses))

    def as_json(self, requests: int = RECENT_REQUESTS) -> dict[str, Any]:
        """Everything, as `GET /_sim/stats` shows it, with the last `requests` requests."""
        in_all = asdict(self.in_all())
        with self._lock:
            counts = {subscription: asdict(part) for subscription, part in self._counts.items()}
            recent = list(self._requests)[-requests:] if requests else []
            return {**in_all, "subscriptions": counts, "requests": [asdict(seen) for seen in recent]}

    def _of(self, subscription: str) -> Counts:
        return self._counts.setdefault(subscription, Counts())


def _shown(name: str, value: str) -> str:
    """The header's value; tokens stay out of statistics, even made-up ones."""
    return value.split(" ", maxsplit=1)[0] + " …" if name.lower() == "authorization" else value


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
