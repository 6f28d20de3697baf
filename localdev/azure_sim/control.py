"""The remote control of a simulator that runs in another process."""

import json
from collections.abc import Iterable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from localdev.azure_sim.charges import Charge
from localdev.azure_sim.record import RECENT_REQUESTS
from localdev.azure_sim.state import as_json

TIMEOUT_SECONDS = 30


class SimulatorControl:
    """Speaks to the simulator at `url`; each call opens a connection of its own. RuntimeError: it said no."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def stats(self, requests: int = RECENT_REQUESTS) -> dict[str, Any]:
        """Counts in all and by subscription, `largest_qpu` by window, and the last `requests`."""
        return self._call("GET", f"/_sim/stats?requests={requests}")

    def fault(self, kind: str, **details: Any) -> None:
        """Puts a fault in force: one of `faults.KINDS`, with the fields of `faults.Fault`."""
        self._call("POST", "/_sim/faults", {"kind": kind, **details})

    def clear_faults(self) -> None:
        """Ends all faults."""
        self._call("DELETE", "/_sim/faults")

    def set_charges(self, charges: Iterable[Charge]) -> None:
        """Sets each charge in place of what its group, service and day had."""
        self._call("POST", "/_sim/charges", [as_json(charge, is_set=True) for charge in charges])

    def remove_charges(self, charges: Iterable[Charge]) -> None:
        """Removes the rows of these groups, services, days and currencies; the amounts don't matter."""
        self._call("POST", "/_sim/charges", [as_json(charge, is_set=False) for charge in charges])

    def reset(self) -> None:
        """Forgets the statistics, the used quota and the faults. Charges stay as they are."""
        self._call("POST", "/_sim/reset")

    def _call(self, method: str, path: str, value: Any = None) -> dict[str, Any]:
        host, port = self._address.hostname or "127.0.0.1", self._address.port
        connection = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if value is None else json.dumps(value))
            answer = connection.getresponse()
            content: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"The simulator answered {answer.status}: {content['error']['message']}")
        return content
