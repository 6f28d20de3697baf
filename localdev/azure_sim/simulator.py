"""The simulator itself: a loopback server that an SDK takes for Azure Resource Manager."""

import json
import re
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from localdev.azure_sim import spoil
from localdev.azure_sim.action_groups import QUICK_DELAYS, ActionGroups, Call, Caller
from localdev.azure_sim.arm import ArmPath, arm_path, own_url
from localdev.azure_sim.budgets import BudgetBook, BudgetsApi
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.compute import ComputeApi
from localdev.azure_sim.cost_query import CostQueryApi, QueryRules
from localdev.azure_sim.entra import Entra
from localdev.azure_sim.faults import Fault, FaultList
from localdev.azure_sim.groups import ResourceGroups
from localdev.azure_sim.locks import Lock, LockBook, LocksApi, checked
from localdev.azure_sim.machines import Machines
from localdev.azure_sim.quota import Quota
from localdev.azure_sim.record import RECENT_REQUESTS, Record
from localdev.azure_sim.remote import RemoteControl
from localdev.azure_sim.resource_state import ResourceState
from localdev.azure_sim.state import ChargeChanges
from localdev.azure_sim.wire import Answer, AzureError, HangUp, LoopbackServer, Request, Routes, json_answer

COST_QUERY = "/providers/microsoft.costmanagement/query"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost")


@dataclass
class AzureSimulator:
    """Serves a book of charges as Azure would; `with AzureSimulator(book) as sim:` runs it at `sim.url`.

    vary: names, order and spelling differ as in the real world. quota: None counts and refuses nothing.
    no_content_when_empty: 204 in place of an empty table. token: the only bearer token that is taken (None: any).
    forbidden: subscriptions that answer 403. clock: monotonic seconds, for quota, record and deallocations.
    state_file: where charges that were changed over HTTP are kept for the next start; budgets, locks and machines are
    kept beside it, in a file whose name ends in `.resources`.
    page_size: of lists (budgets, locks, machines). budget_start_fixed: a budget's start can't be changed.
    today: the day against which a new budget's start is checked (None: it isn't). deallocate_seconds: see `Machines`.
    alert_delays: seconds before each further attempt of an Action Group's call.
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
    page_size: int = 100
    budget_start_fixed: bool = True
    today: Callable[[], date] | None = None
    deallocate_seconds: float = 0
    alert_delays: Sequence[float] = QUICK_DELAYS
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
        self.routes, self._public, self._control = Routes(), Routes(), Routes()
        self._make_resources()
        self._resources: ResourceState | None = None
        if self.state_file:
            self._resources = ResourceState(self, self.state_file.with_name(f"{self.state_file.name}.resources"))
        self._add_apis()
        self._add_control_routes()

    def _make_resources(self) -> None:
        self.groups, self.locks, self.entra = ResourceGroups(self.book), LockBook(), Entra()
        self.machines = Machines(self.groups, self.locks, self.clock)
        self.machines.deallocate_seconds = self.deallocate_seconds
        self.budgets = BudgetBook(self.book)
        self.budgets.start_fixed, self.budgets.today = self.budget_start_fixed, self.today
        self.action_groups = ActionGroups()
        self.groups.on_removal(self.locks.forget_group)
        self.groups.on_removal(self.machines.forget_group)

    def _add_apis(self) -> None:
        rules = QueryRules(self.vary, self.no_content_when_empty)
        CostQueryApi(self.book, self.counted, self.record, rules).add_to(self.routes)
        BudgetsApi(self.budgets, self.page_size).add_to(self.routes)
        LocksApi(self.locks, self.page_size).add_to(self.routes)
        ComputeApi(self.machines, self.page_size, self.vary).add_to(self.routes)
        self.entra.add_to(self._public)

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
            self._keep_resources()

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

    def add_lock(self, subscription: str, group: str, name: str, level: str = "ReadOnly", notes: str = "") -> Lock:
        """Puts a lock on a group, as somebody else would; makes the group known. ValueError: Azure wouldn't take it."""
        try:
            lock = checked(Lock(subscription, group, name, level, notes))
        except AzureError as error:
            raise ValueError(str(error)) from error
        self.groups.add(subscription, group)
        self.locks.put(lock)
        return lock

    def evaluate_budgets(self, today: date) -> list[Call]:
        """Does what Azure does once a day: brings every budget's currentSpend up to date, and calls the Action Groups.

        Charges up to and with `today` are seen. Comes back when the last call was answered or given up; returns them.
        """
        caller = Caller(self.action_groups, self.entra.token, self.alert_delays)
        due = self.budgets.evaluate(today)
        return [caller.call(group_id, alert) for alert, group_ids in due for group_id in group_ids]

    def stats(self, requests: int = RECENT_REQUESTS) -> dict[str, Any]:
        """Counts in all and by subscription, the fullest each quota window has been, and the last `requests`."""
        return {**self.record.as_json(requests), "largest_qpu": self.counted.largest()}

    def reset(self) -> None:
        """Forgets the statistics, the used quota and the faults. Charges and resources stay as they are."""
        self.record.reset()
        self.counted.reset()
        self.faults.clear()

    def respond(self, request: Request) -> Answer:
        """Answers one request: to the simulator's own control, or as Azure."""
        try:
            return self._as_control(request) if request.path.startswith("/_sim/") else self._as_azure(request)
        finally:
            self._keep_resources()

    def _keep_resources(self) -> None:
        if self._resources:
            self._resources.save()

    def _as_control(self, request: Request) -> Answer:
        try:
            return self._control.find(request.method, request.path)[0](request)
        except AzureError as error:
            return error.answer()

    def _as_azure(self, request: Request) -> Answer:
        subscription = _subscription(request.path)
        seen = self.record.request(request, subscription)
        request.fault = self.faults.take(request.method, request.path, subscription)
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
        fault = request.fault
        if fault:
            self._stopped.wait(fault.delay)
            spoil.refuse(fault, request.method, request.path)
        answer = self._answered(request)
        if fault and not request.path.lower().endswith(COST_QUERY):
            return spoil.spoil_resource(fault, answer, own_url(request))
        return answer

    def _answered(self, request: Request) -> Answer:
        if not request.path.lower().startswith("/subscriptions/"):
            handler, request.parameters = self._public.find(request.method, request.path)
            return handler(request)
        self._check_token(request)
        _check_api_version(request)
        path = arm_path(request.path)
        if path:
            self._check_path(request.method, path)
        handler, request.parameters = self.routes.find(request.method, request.path)
        return handler(request)

    def _check_path(self, method: str, path: ArmPath) -> None:
        """Azure Resource Manager's own checks: may the caller, is the group there, is it locked?"""
        if path.subscription.lower() in {name.lower() for name in self.forbidden}:
            raise path.not_permitted(method)
        self.groups.check(path)
        self.locks.check(method, path)

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
        RemoteControl(self).add_to(self._control)

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
