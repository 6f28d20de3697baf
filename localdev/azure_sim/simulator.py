"""The simulator itself: a loopback server that an SDK takes for Azure Resource Manager."""

import json
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from localdev.azure_sim import spoil
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.cost_query import CostQueryApi, QueryRules
from localdev.azure_sim.faults import Fault, FaultList
from localdev.azure_sim.quota import Quota
from localdev.azure_sim.record import RECENT_REQUESTS, Record
from localdev.azure_sim.state import ChargeChanges
from localdev.azure_sim.wire import Answer, AzureError, HangUp, LoopbackServer, Request, Routes, json_answer

LOOPBACK_HOSTS = ("127.0.0.1", "localhost")


@dataclass
class AzureSimulator:
    """Serves a book of charges as Azure would; `with AzureSimulator(book) as sim:` runs it at `sim.url`.

    vary: names, order and spelling differ as in the real world. quota: None counts and refuses nothing.
    no_content_when_empty: 204 in place of an empty table. token: the only bearer token that is taken (None: any).
    forbidden: subscriptions that answer 403. clock: monotonic seconds, for the quota and the record.
    state_file: where charges that were changed over HTTP are kept for the next start.
    """

    book: ChargeBook
    vary: bool = True
    quota: Quota | None = None
    no_content_when_empty: bool = False
    token: str | None = None
    forbidden: Collection[str] = ()
    clock: Callable[[], float] = monotonic
    host: str = "127.0.0.1"
    port: int = 0
    state_file: Path | None = None
    faults: FaultList = field(default_factory=FaultList, init=False)

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK_HOSTS:
            raise ValueError(f"The simulator listens on this machine only, not on {self.host!r}.")
        self.counted = self.quota or Quota(clock=self.clock, enforced=False)
        self.record = Record(self.clock)
        self._changes = ChargeChanges(self.book, self.state_file)
        self._request_ids = count(1)
        self._stopped = threading.Event()
        self._server: LoopbackServer | None = None
        self.routes, self._control = Routes(), Routes()
        rules = QueryRules(self.vary, self.no_content_when_empty, frozenset(name.lower() for name in self.forbidden))
        CostQueryApi(self.book, self.counted, self.record, rules).add_to(self.routes)
        self._add_control_routes()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Listens and answers, in threads of its own."""
        self._server = LoopbackServer(self.host, self.port, self.respond)
        self.port = self._server.server_port
        self._stopped.clear()
        # serve_forever looks this often whether it should stop; half a second, its default, makes tests slow.
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Ends every connection and stops listening; it can be started again at the same address."""
        if self._server:
            self._stopped.set()
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def fault(self, kind: str, **details: Any) -> None:
        """Puts a fault in force: one of `faults.KINDS`, with the fields of `faults.Fault`."""
        self.faults.add(Fault(kind, **details))

    def stats(self, requests: int = RECENT_REQUESTS) -> dict[str, Any]:
        """Counts in all and by subscription, the fullest each quota window has been, and the last `requests`."""
        return {**self.record.as_json(requests), "largest_qpu": self.counted.largest()}

    def reset(self) -> None:
        """Forgets the statistics, the used quota and the faults. Charges stay as they are."""
        self.record.reset()
        self.counted.reset()
        self.faults.clear()

    def respond(self, request: Request) -> Answer:
        """Answers one request: to the simulator's own control, or as Azure."""
        if not request.path.startswith("/_sim/"):
            return self._as_azure(request)
        try:
            return self._control.find(request.method, request.path)[0](request)
        except AzureError as error:
            return error.answer()

    def _as_azure(self, request: Request) -> Answer:
        subscription = _subscription(request.path)
        seen = self.record.request(request, subscription)
        request.fault = self.faults.take(request.path, subscription)
        kind = request.fault.kind if request.fault else None
        try:
            answer = self._routed(request)
        except AzureError as error:
            answer = error.answer()
        except HangUp:
            self.record.answered(seen, 0, kind)
            raise
        self.record.answered(seen, answer.status, kind)
        request_id = str(UUID(int=next(self._request_ids)))
        answer.headers |= {"x-ms-request-id": request_id, "x-ms-correlation-request-id": request_id}
        return answer

    def _routed(self, request: Request) -> Answer:
        if request.fault:
            self._stopped.wait(request.fault.delay)
            spoil.refuse(request.fault, _subscription(request.path))
        self._check_token(request)
        _check_api_version(request)
        handler, request.parameters = self.routes.find(request.method, request.path)
        return handler(request)

    def _check_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise spoil.unauthorized("Authentication failed. The 'Authorization' header is missing.")
        if self.token is not None and token.strip() != self.token:
            raise spoil.unauthorized("Authentication failed. The access token is invalid.")

    def _add_control_routes(self) -> None:
        self._control.add("GET", "/_sim/stats", self._get_stats)
        self._control.add("POST", "/_sim/faults", self._post_faults)
        self._control.add("DELETE", "/_sim/faults", lambda _request: _done(self.faults.clear))
        self._control.add("POST", "/_sim/charges", self._post_charges)
        self._control.add("POST", "/_sim/reset", lambda _request: _done(self.reset))

    def _get_stats(self, request: Request) -> Answer:
        """All statistics; `?requests=N` shortens the list of requests, which can be long."""
        wanted = request.query.get("requests", str(RECENT_REQUESTS))
        if not wanted.isdecimal():
            raise AzureError(400, "BadRequest", f"requests={wanted} is not a number.")
        return json_answer(self.stats(int(wanted)))

    def _post_faults(self, request: Request) -> Answer:
        """Takes one fault or a list of them, as `Fault.from_json` reads them: all or none."""
        value = _json(request)
        values = value if isinstance(value, list) else [value]
        try:
            faults = [Fault.from_json(one) for one in values]
        except (TypeError, ValueError) as error:
            raise AzureError(400, "BadRequest", str(error)) from error
        for fault in faults:
            self.faults.add(fault)
        return json_answer({"faults": len(faults)})

    def _post_charges(self, request: Request) -> Answer:
        """Takes a list of charges to set or (amount null) to remove: all or none."""
        try:
            changed = self._changes.apply(_json(request))
        except ValueError as error:
            raise AzureError(400, "BadRequest", str(error)) from error
        return json_answer({"charges": changed})


def _subscription(path: str) -> str:
    match = re.match(r"/subscriptions/([^/]+)", path, re.IGNORECASE)
    return match.group(1) if match else ""


def _check_api_version(request: Request) -> None:
    version = request.query.get("api-version", "")
    if not version:
        raise AzureError(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", version):
        raise AzureError(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")


def _json(request: Request) -> Any:
    try:
        return json.loads(request.body, parse_float=Decimal)
    except ValueError:
        raise AzureError(400, "BadRequest", "The request's body is not JSON.") from None


def _done(action: Callable[[], None]) -> Answer:
    action()
    return json_answer({})
