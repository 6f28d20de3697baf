"""The remote control of a simulator that runs in another process."""

import json
from http.client import HTTPConnection
from typing import Any

TIMEOUT_SECONDS = 90


class SimulatorControl:
    """Speaks to the simulator at `url`; each call opens a connection of its own."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")

    def stats(self) -> dict[str, Any]:
        """See `AzureSimulator.stats`."""
        return self._call("GET", "/_sim/stats")

    def reset(self) -> None:
        """See `AzureSimulator.reset`."""
        self._call("POST", "/_sim/reset")

    def _call(self, method: str, path: str) -> dict[str, Any]:
        connection = HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path)
            content: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return content
