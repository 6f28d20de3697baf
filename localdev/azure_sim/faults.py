"""What the simulator can be told to get wrong, for some requests or until it is told to stop."""

import re
from dataclasses import dataclass, field
from typing import ClassVar

from localdev import simulator

QPU_RETRY_AFTER = "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after"
ENTITY_RETRY_AFTER = "x-ms-ratelimit-microsoft.costmanagement-entity-retry-after"
CLIENT_RETRY_AFTER = "x-ms-ratelimit-microsoft.costmanagement-client-retry-after"
TENANT_RETRY_AFTER = "x-ms-ratelimit-microsoft.costmanagement-tenant-retry-after"

KINDS = {
    "throttled": "429; `seconds` for the QPU header, or `headers` in place of it",
    "throttled_many": "429 with several headers, of which the longest (`seconds`) is not the first",
    "unavailable": "503, with Retry-After where `seconds` is given",
    "server_error": "500",
    "gateway_timeout": "504",
    "arm_throttled": "429 of Azure Resource Manager, with `seconds` as Retry-After, or `headers` in place of it",
    "conflict": "409",
    "unauthorized": "401",
    "forbidden": "403, which names the permission and the scope",
    "silent": "the connection is closed without an answer, and nothing was done",
    "slow": "a good answer, after `delay` seconds",
    "not_a_number": "the first row's amount is NaN",
    "two_currencies": "the last row is in another currency",
    "invalid_json": "the body is not JSON",
    "truncated": "the connection breaks in the middle of the body",
}


@dataclass
class Fault(simulator.Fault):
    """One kind of fault (see KINDS), for the requests that it is meant for.

    `subscription` (an id), `path` (a part of the URL's path, in which `*` stands for anything) and `method` (one, or
    several joined by commas) say which requests are meant; None means all. `delay` seconds of waiting go with any kind.
    """

    KINDS: ClassVar = KINDS

    subscription: str | None = None
    path: str | None = None
    method: str | None = None
    seconds: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0

    def is_meant(self, method: str, path: str, subscription: str) -> bool:
        """Whether it is for such a request."""
        for_subscription = self.subscription is None or self.subscription.lower() == subscription.lower()
        for_method = self.method is None or method in self.method.upper().replace(" ", "").split(",")
        return for_subscription and for_method and (self.path is None or _leads_through(path, self.path))

    def throttle_headers(self) -> dict[str, str]:
        """The headers of a 429 that this fault asks for."""
        if self.kind == "throttled_many":
            longest = 30 if self.seconds is None else self.seconds
            shorter = max(1, longest // 3)
            return {QPU_RETRY_AFTER: str(shorter), ENTITY_RETRY_AFTER: str(longest), TENANT_RETRY_AFTER: "1"}
        return self.headers or {QPU_RETRY_AFTER: str(10 if self.seconds is None else self.seconds)}


def _leads_through(path: str, wanted: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
    return re.search(pattern, path, re.IGNORECASE) is not None
