"""Puts the parts together: one app, its listeners, its timers and its HTTP server."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from azure.core.exceptions import AzureError

from localdev.functions_host.activity import Activity
from localdev.functions_host.app import AppFunction, load_functions
from localdev.functions_host.errors import HostError
from localdev.functions_host.http_functions import HttpFunctions, make_route
from localdev.functions_host.leases import LeaseKeeper
from localdev.functions_host.queues import Listening, QueueListener
from localdev.functions_host.runner import Runner
from localdev.functions_host.settings import (
    Connection,
    find_connection,
    load_app_settings,
    read_host_settings,
    resolve,
)
from localdev.functions_host.storage import QueueAccount, first_line
from localdev.functions_host.timers import Timer, read_schedule

log = logging.getLogger("host")
LEASE_SECONDS = 600
_SWEEP_SECONDS = 0.2


@dataclass(frozen=True)
class Options:
    """How a host is started. `lease` is in seconds; `port` 0 means any; without a key HTTP is open.

    people: who may be chosen to be signed in (`sign_in.SignIn`); without any nobody is.
    """

    app: Path
    settings: Path
    lease: int = LEASE_SECONDS
    port: int = 7071
    function_key: str = ""
    people: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Host:
    """Runs one app. A process can hold one host only, because the app's modules belong to the process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._activity = Activity()
        self._leases = LeaseKeeper()
        self._accounts: dict[Connection, QueueAccount] = {}
        self.listeners: list[QueueListener] = []
        self.timers: list[Timer] = []
        self.http: HttpFunctions | None = None

    def load(self) -> None:
        """Reads the settings and indexes the app; nothing runs yet. Raises HostError with what is wrong."""
        load_app_settings(self._options.settings)
        # The worker's current folder is the app's, and relative paths in settings count on it.
        os.chdir(self._options.app)
        functions = load_functions(self._options.app)
        self._settings = read_host_settings(self._options.app)
        self._runner = Runner()
        self.listeners = [self._listener(function) for function in _of(functions, "queueTrigger")]
        self.timers = [self._timer(function) for function in _of(functions, "timerTrigger")]
        self._routes = [make_route(function, self._settings.route_prefix) for function in _of(functions, "httpTrigger")]

    def start_queues(self) -> None:
        """Creates missing queues and starts taking messages."""
        for listener in self.listeners:
            listener.account.create(listener.queue)
        self._runner.start()
        self._leases.start()
        for listener in self.listeners:
            listener.start()

    def start_timers(self) -> None:
        """Starts all timers."""
        for timer in self.timers:
            timer.start()

    def start_http(self) -> None:
        """Starts the HTTP server, if the app has HTTP functions."""
        if self._routes:
            self.http = HttpFunctions(
                self._routes,
                self._options.port,
                self._options.function_key,
                self._runner,
                self._activity,
                self._options.people,
            )
            self.http.server.start()

    def fire(self, name: str) -> None:
        """Runs a timer function once, now; a failure counts as one for good, since nothing runs it again."""
        timer = self.timer(name)
        if not timer.fire_once():
            self._activity.fail(name)

    def timer(self, name: str) -> Timer:
        """Finds a timer by the function's name, without regard to case."""
        found = [timer for timer in self.timers if timer.function.name.lower() == name.lower()]
        if not found:
            names = ", ".join(timer.function.name for timer in self.timers) or "none"
            raise HostError(f"The app has no timer named {name}; its timers: {names}.")
        return found[0]

    def drain(self, seconds: float) -> list[str]:
        """Runs queue functions until no queue holds a message any more; gives what failed for good.

        Counted are messages that are visible, hidden or in flight, in every queue that has a function.
        """
        deadline = time.monotonic() + seconds
        while left := self._left():
            if time.monotonic() > deadline:
                raise HostError(f"The queues are not drained after {seconds:g} s; left: {_counts(left)}.")
            time.sleep(_SWEEP_SECONDS)
        return self._activity.failures

    def _left(self) -> dict[str, int]:
        """Counts what is left by queue; empty only if nothing moved from queue to queue while counting."""
        begun = self._activity.quiet_since()
        if begun is None:
            return {"in flight": 1}
        try:
            counts = {listener.queue: listener.left() for listener in self.listeners}
        except AzureError as error:
            log.warning("the queues can't be counted, trying again: %s", first_line(error))
            return {"queues that don't answer": len(self.listeners)}
        left = {queue: count for queue, count in counts.items() if count > 0}
        for listener in self.listeners:
            if listener.queue in left:
                listener.nudge()
        return left if left or self._activity.quiet_since() == begun else {"in flight": 1}

    def stop(self, seconds: float) -> bool:
        """Takes no more work and lets running functions finish; False if they did not in that time."""
        for listener in self.listeners:
            listener.stop()
        for timer in self.timers:
            timer.stop()
        if self.http:
            self.http.server.stop()
        finished = self._activity.wait_until_idle(seconds)
        self._leases.stop()
        return finished

    def describe(self) -> str:
        """Names every function with its trigger, for the line that says the host is ready."""
        queues = [f"{listener.function.name} (queue {listener.queue})" for listener in self.listeners]
        timers = [f"{timer.function.name} (timer {timer.schedule.text})" for timer in self.timers]
        routes = self.http.routes if self.http else []
        http = [
            f"{route.function.name} ({','.join(sorted(route.methods)) or 'any method'} {self._url()}{route.template})"
            for route in routes
        ]
        return ", ".join(queues + timers + http) or "none"

    def _url(self) -> str:
        return self.http.server.url if self.http else ""

    def _account(self, connection: Connection) -> QueueAccount:
        if connection not in self._accounts:
            self._accounts[connection] = QueueAccount(connection)
        return self._accounts[connection]

    def _listener(self, function: AppFunction) -> QueueListener:
        trigger, where = function.trigger, f"{function.name}: the queue"
        account = self._account(find_connection(trigger.connection, where))
        shared = Listening(self._settings.queues, self._runner, self._leases, self._activity, self._options.lease)
        return QueueListener(function, account, resolve(trigger.queue_name, where), shared)

    def _timer(self, function: AppFunction) -> Timer:
        where = f"{function.name}: the schedule"
        schedule = read_schedule(resolve(function.trigger.schedule, where), where)
        return Timer(function, schedule, self._runner, self._activity)


def _of(functions: list[AppFunction], kind: str) -> list[AppFunction]:
    return [function for function in functions if function.trigger.type == kind]


def _counts(left: dict[str, int]) -> str:
    return ", ".join(f"{queue}: {count}" for queue, count in left.items())
