"""The retry policy of a timer function (`@app.retry`). The host knows none for queue and HTTP triggers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from localdev.functions_host.errors import HostError
from localdev.functions_host.settings import parse_time


@dataclass(frozen=True)
class RetryPolicy:
    """How often (None: without end) and after how many seconds a failed timer function runs again."""

    times: int | None = 0
    first: float = 0.0
    longest: float = 0.0

    def delays(self) -> Iterator[float]:
        """Gives the seconds to wait before each further attempt: doubled every time, up to the longest."""
        attempts = count() if self.times is None else range(self.times)
        for attempt in attempts:
            yield min(self.first * 2 ** min(attempt, 32), self.longest)


def read_retry_policy(name: str, setting: Mapping[str, Any] | None) -> RetryPolicy:
    """Reads the policy of a function, as azure-functions gives it; no policy means no retries."""
    if not setting:
        return RetryPolicy()
    if setting.get("strategy") != "exponential_backoff":
        raise HostError(f"{name}: the local host knows one strategy of retries, exponential_backoff.")
    first, longest = (_seconds(name, setting, key) for key in ("minimum_interval", "maximum_interval"))
    return RetryPolicy(_times(name, setting.get("max_retry_count")), first, longest)


def _times(name: str, value: Any) -> int | None:
    try:
        times = int(value)
    except (TypeError, ValueError):
        raise HostError(f"{name}: max_retry_count is {value!r}; it takes a number, or -1 for no end.") from None
    return None if times < 0 else times


def _seconds(name: str, setting: Mapping[str, Any], key: str) -> float:
    seconds = parse_time(setting.get(key))
    if seconds is None:
        raise HostError(f'{name}: {key} is {setting.get(key)!r}; it takes a time as "hh:mm:ss".')
    return seconds
