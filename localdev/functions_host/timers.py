"""Fires timers on their NCRONTAB schedules, in UTC.

A tick that nobody was there for is not made up for, as Azure would: the host keeps nothing on disk.
"""

import logging
import threading
from datetime import UTC, datetime

from localdev.functions_host.activity import Activity
from localdev.functions_host.app import AppFunction
from localdev.functions_host.bindings import timer_value
from localdev.functions_host.errors import HostError
from localdev.functions_host.runner import Runner
from shared.domain.schedules import Schedule

log = logging.getLogger("host")
_LOOK_AT_THE_CLOCK = 30.0


def read_schedule(text: str, where: str) -> Schedule:
    """The schedule of a timer. where: what to call it in a HostError."""
    try:
        return Schedule.read(text)
    except ValueError as error:
        raise HostError(f"{where} is {text!r}, which is no schedule: {error}") from error


class Timer:
    """One timer function: a thread that waits for the next occurrence and runs the function."""

    def __init__(self, function: AppFunction, schedule: Schedule, runner: Runner, activity: Activity) -> None:
        self.function = function
        self.schedule = schedule
        self._runner = runner
        self._activity = activity
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"timer-{function.name}", daemon=True)

    def start(self) -> None:
        """Starts waiting for occurrences."""
        self._thread.start()

    def stop(self) -> None:
        """Fires no more; a running function goes on."""
        self._stop.set()

    def fire_once(self) -> bool:
        """Runs the function now, without retries; tells whether it went well."""
        with self._activity.work():
            return self._runner.run(self.function, timer_value).ok

    def _run(self) -> None:
        due = self.schedule.after(datetime.now(UTC))
        while self._wait_until(due):
            self._fire()
            due = self.schedule.after(max(due, datetime.now(UTC)))

    def _wait_until(self, moment: datetime) -> bool:
        """Waits for a moment, looking at the clock now and then: a laptop may sleep. False when stopped."""
        while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
            if self._stop.wait(min(left, _LOOK_AT_THE_CLOCK)):
                return False
        return not self._stop.is_set()

    def _fire(self) -> None:
        """Runs the function and, as long as it fails, again as its retry policy says or until the host stops."""
        delays = self.function.retry.delays()
        while not self.fire_once() and (seconds := next(delays, None)) is not None:
            log.warning("%s runs again in %g s", self.function.name, seconds)
            if self._stop.wait(seconds):
                return
