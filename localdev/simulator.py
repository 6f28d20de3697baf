"""What every simulator of a cloud has: a server on this machine, faults that can be put in force, and a control."""

from __future__ import annotations

import json
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

from localdev.http import Answer, LoopbackServer, Request
from localdev.processes import stop_on_signals

TIMEOUT_SECONDS = 90


@dataclass
class Fault:
    """One kind of fault, of those that the simulator knows (KINDS).

    It lets the first `after` of the requests that it is meant for pass, then spoils `times` of them (None: until it is
    cleared).
    """

    KINDS: ClassVar[Mapping[str, str]]

    kind: str
    times: int | None = field(default=1, kw_only=True)
    after: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.kind not in self.KINDS:
            raise ValueError(f"There is no fault {self.kind!r}; there are {', '.join(self.KINDS)}.")

    def is_due(self) -> bool:
        """Whether it strikes now; counts the request either way."""
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


AnyFault = TypeVar("AnyFault", bound=Fault)


class FaultList(Generic[AnyFault]):
    """The faults that are in force; the first one that fits a request spoils it, and no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[AnyFault] = []

    def add(self, fault: AnyFault) -> None:
        """Puts a fault in force, after those that are there."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Ends all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, is_meant: Callable[[AnyFault], bool]) -> AnyFault | None:
        """The fault for a request, by what says which are meant for it; it then has one time less left."""
        with self._lock:
            return next((fault for fault in self._faults if is_meant(fault) and fault.is_due()), None)


class Simulator(ABC):
    """Listens on this machine, at `url`; `with` runs it. port: 0 for any free one, before it is started."""

    port: int

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._server: LoopbackServer | None = None

    @abstractmethod
    def respond(self, request: Request) -> Answer:
        """Answers one request."""

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens and answers, in threads of its own."""
        self._server = LoopbackServer(self.respond, self.port)
        self.port = self._server.server_port
        self._stopped.clear()
        self._server.start()

    def stop(self) -> None:
        """Ends every connection and stops listening; it can be started again at the same address."""
        if self._server:
            self._stopped.set()
            self._server.hang_up()
            self._server = None

    def wait(self, seconds: float) -> None:
        """Comes back after so long, or when it is stopped."""
        self._stopped.wait(seconds)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class SimulatorControl:
    """Speaks to the simulator at `url`, in another process; each call opens a connection of its own."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")

    def stats(self) -> dict[str, Any]:
        """The simulator's `stats`."""
        return self._call("GET", "/_sim/stats")

    def reset(self) -> None:
        """The simulator's `reset`."""
        self._call("POST", "/_sim/reset")

    def _call(self, method: str, path: str) -> dict[str, Any]:
        connection = HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path)
            content: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return content


def serve(name: str, made: Callable[[], Simulator]) -> int:
    """Prints one line with the URL when it listens, and answers until SIGTERM or Ctrl-C. Returns an exit code."""
    stopping = stop_on_signals()
    try:
        simulator = made()
        simulator.start()
    except (OSError, ValueError) as error:
        print(f"The simulator can't start: {error}", file=sys.stderr)
        return 1
    print(f"{name} simulator listening on {simulator.url}", flush=True)
    stopping.wait()
    simulator.stop()
    return 0
