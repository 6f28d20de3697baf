"""The simulator itself: a loopback server that an SDK takes for Azure Resource Manager."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

from localdev import http
from localdev.azure_sim import spoil
from localdev.azure_sim.action_groups import Call, Caller
from localdev.azure_sim.arm import ArmPath, arm_path, json_object
from localdev.azure_sim.budgets import BudgetsApi
from localdev.azure_sim.charges import ChargeBook
from localdev.azure_sim.compute import ComputeApi
from localdev.azure_sim.cost_query import CostQueryApi
from localdev.azure_sim.entra import Entra
from localdev.azure_sim.faults import Fault
from localdev.azure_sim.locks import Lock, LocksApi
from localdev.azure_sim.permissions import Permissions
from localdev.azure_sim.quota import Guardrail, Quota
from localdev.azure_sim.record import Record
from localdev.azure_sim.resource_state import ResourceState
from localdev.azure_sim.resources import Resources
from localdev.azure_sim.state import ChargeChanges
from localdev.azure_sim.wire import AzureError, Request, Routes, json_answer
from localdev.http import Answer, HangUp
from localdev.simulator import FaultList, Simulator


@dataclass
class AzureSimulator(Simulator):
    """Serves a book of charges as Azure would; `with AzureSimulator(book) as sim:` runs it at `sim.url`.

    vary: names, order and spelling differ as in the real world. quota: None counts and refuses nothing. guardrail: on
    calls; None counts none.
    clock: monotonic seconds, for quota, record and deallocations.
    state_file: where charges that were changed over HTTP are kept for the next start; budgets, locks and machines are
    kept beside it, in a file whose name ends in `.resources`.
    page_size: of lists (budgets, locks, machines).
    today: the day against which a new budget's start is checked (None: it isn't).
    amortized: what it answers of amortized costs (None: the same).
    """

    book: ChargeBook
    vary: bool = True
    quota: Quota | None = None
    guardrail: Guardrail | None = None
    clock: Callable[[], float] = monotonic
    port: int = 0
    state_file: Path | None = None
    page_size: int = 100
    today: Callable[[], date] | None = None
    amortized: ChargeBook | None = None
    faults: FaultList[Fault] = field(default_factory=FaultList, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.counted = self.quota or Quota(clock=self.clock, enforced=False)
        self.record, self.entra = Record(self.clock), Entra()
        self.resources = Resources(self.book, self.clock, self.today)
        self.groups, self.locks, self.machines = self.resources.groups, self.resources.locks, self.resources.machines
        self.permissions = Permissions(self.page_size)
        self.budgets, self.action_groups = self.resources.budgets, self.resources.action_groups
        self._changes = ChargeChanges(self.book, self.state_file)
        self._state = ResourceState(self.resources, self.state_file) if self.state_file else None
        self._request_ids = count(1)
        self._routes, self._public, self._control = Routes(), Routes(), Routes()
        self._add_apis()
        self._add_control_routes()

    def _add_apis(self) -> None:
        books = {"ActualCost": self.book, "AmortizedCost": self.amortized or self.book}
        CostQueryApi(books, self.counted, self.guardrail, self.record, self.vary).add_to(self._routes)
        BudgetsApi(self.budgets, self.page_size).add_to(self._routes)
        LocksApi(self.locks, self.page_size).add_to(self._routes)
        ComputeApi(self.machines, self.page_size, self.vary).add_to(self._routes)
        self.permissions.add_to(self._routes)
        self.entra.add_to(self._public)

    def stop(self) -> None:
        """Ends every connection and stops listening; it can be started again at the same address."""
        super().stop()
        self._keep_resources()

    def fault(self, kind: str, **details: Any) -> None:
        """Puts a fault in force: one of `faults.KINDS`, with the fields of `faults.Fault`."""
        self.faults.add(Fault(kind, **details))

    def add_lock(self, subscription: str, group: str, name: str, level: str = "ReadOnly", notes: str = "") -> Lock:
        """See `Resources.add_lock`."""
        return self.resources.add_lock(subscription, group, name, level, notes)

    def evaluate_budgets(self, today: date) -> list[Call]:
        """Does what Azure does once a day: brings every budget's currentSpend up to date, and calls the Action Groups.

        Charges up to and with `today` are seen. Comes back when the last call was answered or given up; returns them.
        """
        caller = Caller(self.action_groups, self.entra.token)
        due = self.budgets.evaluate(today)
        return [caller.call(group_id, alert) for alert, group_ids in due for group_id in group_ids]

    def stats(self) -> dict[str, Any]:
        """Counts in all, and the fullest that each window of the quota and of the guardrail has been."""
        calls = {"largest_calls": self.guardrail.largest()} if self.guardrail else {}
        return {**self.record.as_json(), "largest_qpu": self.counted.largest(), **calls}

    def reset(self) -> None:
        """Forgets the statistics, the used quota and the faults. Charges and resources stay as they are."""
        self.record.reset()
        self.counted.reset()
        if self.guardrail:
            self.guardrail.reset()
        self.faults.clear()

    def respond(self, request: http.Request) -> Answer:
        """Answers one request: to the simulator's own control, or as Azure."""
        asked = Request(**vars(request))
        try:
            return self._as_control(asked) if asked.path.startswith("/_sim/") else self._as_azure(asked)
        finally:
            self._keep_resources()

    def _keep_resources(self) -> None:
        if self._state:
            self._state.save()

    def _as_azure(self, request: Request) -> Answer:
        subscription = _subscription(request.path)
        seen = self.record.request(request, subscription)
        request.fault = self.faults.take(lambda fault: fault.is_meant(request.method, request.path, subscription))
        try:
            answer = self._routed(request)
        except AzureError as error:
            answer = error.answer()
        except HangUp:
            self.record.answered(seen, 0)
            raise
        self.record.answered(seen, answer.status)
        request_id = str(UUID(int=next(self._request_ids)))
        answer.headers += [("x-ms-request-id", request_id), ("x-ms-correlation-request-id", request_id)]
        return answer

    def _routed(self, request: Request) -> Answer:
        fault = request.fault
        if fault:
            self.wait(fault.delay)
            spoil.refuse(fault, request.method, request.path)
        answer = self._answered(request)
        return spoil.spoil_answer(fault, answer) if fault else answer

    def _answered(self, request: Request) -> Answer:
        if not request.path.lower().startswith("/subscriptions/"):
            handler, request.parameters = self._public.find(request.method, request.path)
            return handler(request)
        _check_token(request)
        _check_api_version(request)
        path = arm_path(request.path)
        if path:
            self._check_path(request.method, path)
        handler, request.parameters = self._routes.find(request.method, request.path)
        return handler(request)

    def _check_path(self, method: str, path: ArmPath) -> None:
        """Azure Resource Manager's own checks: is the group there, is it locked?"""
        self.groups.check(path)
        self.locks.check(method, path)

    # --- the simulator's own control, under `/_sim/`: for `curl`, and for `SimulatorControl` ---

    def _add_control_routes(self) -> None:
        self._control.add("GET", "/_sim/stats", lambda _request: json_answer(self.stats()))
        self._control.add("GET", "/_sim/locks", lambda _request: json_answer({"locks": self.locks.as_json()}))
        self._control.add("POST", "/_sim/charges", self._post_charges)
        self._control.add("POST", "/_sim/evaluate", self._post_evaluate)
        self._control.add("POST", "/_sim/reset", self._post_reset)

    def _as_control(self, request: Request) -> Answer:
        try:
            return self._control.find(request.method, request.path)[0](request)
        except AzureError as error:
            return error.answer()
        except (KeyError, TypeError, ValueError) as error:
            return AzureError(400, "BadRequest", f"The simulator can't take this: {error}").answer()

    def _post_charges(self, request: Request) -> Answer:
        """Takes a list of charges to set: all or none."""
        return json_answer({"charges": self._changes.apply(json.loads(request.body, parse_float=Decimal))})

    def _post_evaluate(self, request: Request) -> Answer:
        """Evaluates the budgets as on the day `today`."""
        calls = self.evaluate_budgets(date.fromisoformat(json_object(request.body)["today"]))
        return json_answer({"calls": [call.as_json() for call in calls]})

    def _post_reset(self, _request: Request) -> Answer:
        self.reset()
        return json_answer({})


def _subscription(path: str) -> str:
    match = re.match(r"/subscriptions/([^/]+)", path, re.IGNORECASE)
    return match.group(1) if match else ""


def _check_token(request: Request) -> None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise spoil.unauthorized("Authentication failed. The 'Authorization' header is missing.")


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
