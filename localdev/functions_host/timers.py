"""Fires timers on their NCRONTAB schedules, in UTC, and remembers when each one is due.

The rules are those of TimerListener.cs and ScheduleMonitor.cs in azure-webjobs-sdk-extensions.
"""

import json
import logging
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from croniter import CroniterError, croniter

from localdev.functions_host.activity import Activity
from localdev.functions_host.app import AppFunction
from localdev.functions_host.bindings import timer_value
from localdev.functions_host.errors import HostError
from localdev.functions_host.runner import Runner

log = logging.getLogger("host")
_PART = r"(?:\*|(?:\d+|[A-Za-z]{3})(?:-(?:\d+|[A-Za-z]{3}))?)(?:/\d+)?"
_FIELD = re.compile(rf"{_PART}(?:,{_PART})*")
_NEVER = "0001-01-01T00:00:00+00:00"
_LOOK_AT_THE_CLOCK = 30.0


class Schedule:
    """A six-field NCRONTAB expression: second, minute, hour, day, month, day of week (0 is Sunday)."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        fields = text.split()
        if len(fields) != 6 or not all(_FIELD.fullmatch(field) for field in fields):
            raise HostError(
                f"{where} is {text!r}; it takes six fields, seconds first, such as '0 0 2 * * *' for 02:00 UTC."
            )
        if any(int(number) > 6 for number in re.findall(r"(?<![/\d])\d+", fields[5])):
            raise HostError(f"{where} is {text!r}; days of the week go from 0 (Sunday) to 6.")
        try:
            self.after(datetime.now(UTC))
        except (CroniterError, ValueError) as error:
            raise HostError(f"{where} is {text!r}, which is no schedule: {error}") from error

    def after(self, moment: datetime) -> datetime:
        """Gives the first occurrence later than the moment, in UTC."""
        # NCRONTAB asks for both the day of the month and the day of the week; cron for either.
        occurrences = croniter(self.text, moment, second_at_beginning=True, day_or=False)
        found: datetime = occurrences.get_next(datetime)
        return found.astimezone(UTC)

    def every(self, moment: datetime) -> timedelta:
        """Gives the time between the next two occurrences."""
        first = self.after(moment)
        return self.after(first) - first


@dataclass(frozen=True)
class Status:
    """When a timer last fired, is due next, and on which moment `next` was reckoned."""

    last: datetime | None
    next: datetime
    updated: datetime

    def as_json(self) -> dict[str, str]:
        """Writes it as the host's own status blob does."""
        last = self.last.isoformat() if self.last else _NEVER
        return {"Last": last, "Next": self.next.isoformat(), "LastUpdated": self.updated.isoformat()}


class StatusFile:
    """timers.json in the state folder: the statuses of all timers by name.

    The real host keeps a blob per timer, azure-webjobs-hosts/timers/<host>/<name>/status, and writes it in
    two cases only: when a timer is first seen or its schedule has changed, and after its function has
    finished. A host that dies in between finds the old status, and fires the tick again as past due.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "timers.json"
        self._lock = threading.Lock()

    def read(self, name: str) -> Status | None:
        """Reads a timer's status; None if there is none."""
        with self._lock:
            entry = self._all().get(name)
        try:
            return _status(entry) if entry else None
        except (KeyError, TypeError, ValueError):
            log.warning("%s: the status of %s can't be read and is left out", self._path, name)
            return None

    def write(self, name: str, status: Status) -> None:
        """Writes a timer's status; the file is replaced as a whole."""
        with self._lock:
            content = self._all() | {name: status.as_json()}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(json.dumps(content, indent=2), encoding="utf-8")
            draft.replace(self._path)

    def _all(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            log.warning("%s is no JSON and is written anew", self._path)
            return {}
        return content if isinstance(content, dict) else {}


def _status(entry: dict[str, str]) -> Status:
    last = datetime.fromisoformat(entry["Last"])
    return Status(
        last=last if last.year > 1 else None,
        next=datetime.fromisoformat(entry["Next"]).astimezone(UTC),
        updated=datetime.fromisoformat(entry["LastUpdated"]).astimezone(UTC),
    )


def status_at_start(status: Status | None, schedule: Schedule, now: datetime) -> Status:
    """Reckons a timer's status when the host starts, as ScheduleMonitor.CheckPastDueAsync does.

    A new timer, or one whose schedule has changed, is due at its next occurrence and never past due.
    """
    if status is None:
        return Status(None, schedule.after(now), now)
    based_on = status.last or status.updated
    expected = schedule.after(based_on)
    if status.next == expected:
        return status
    if now > expected:
        return Status(None, schedule.after(now), now)
    return Status(None, expected, based_on)


class Timer:
    """One timer function: a thread that waits for the next occurrence and runs the function."""

    def __init__(
        self, function: AppFunction, schedule: Schedule, statuses: StatusFile, runner: Runner, activity: Activity
    ) -> None:
        self.function = function
        self.schedule = schedule
        self._statuses = statuses
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
        """Runs the function now, by hand: not past due, without retries, and without touching its status."""
        now = datetime.now(UTC)
        with self._activity.work():
            return self._invoke(False, status_at_start(self._known(), self.schedule, now))

    @property
    def _monitored(self) -> bool:
        """Whether the status is kept: by default not for schedules of less than a minute (documented)."""
        wanted = self.function.trigger.use_monitor
        long_enough = self.schedule.every(datetime.now(UTC)) >= timedelta(minutes=1)
        return long_enough if wanted is None else bool(wanted)

    def _known(self) -> Status | None:
        return self._statuses.read(self.function.name) if self._monitored else None

    def _run(self) -> None:
        status, past_due = self._begin()
        if past_due:
            log.warning("%s was due at %s and is past due", self.function.name, status.next.isoformat())
            status = self._fire(status, past_due=True)
        elif self.function.trigger.run_on_startup:
            status = self._fire(status, early=True)
        while self._wait_until(status.next):
            status = self._fire(status)

    def _begin(self) -> tuple[Status, bool]:
        now = datetime.now(UTC)
        known = self._known()
        status = status_at_start(known, self.schedule, now)
        if status != known and self._monitored:
            self._statuses.write(self.function.name, status)
        return status, known is not None and now > status.next

    def _wait_until(self, moment: datetime) -> bool:
        """Waits for a moment, looking at the clock now and then: a laptop may sleep. False when stopped."""
        while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:
            if self._stop.wait(min(left, _LOOK_AT_THE_CLOCK)):
                return False
        return not self._stop.is_set()

    def _fire(self, status: Status, past_due: bool = False, early: bool = False) -> Status:
        """Runs the function, with its retries, then reckons and keeps the next occurrence, failed or not.

        A host that stops between two attempts keeps the old status: the tick is past due when it starts again.
        """
        invoked = datetime.now(UTC)
        with self._activity.work():
            if not self._invoke(past_due, status) and not self._retried(past_due, status):
                return status
            moment = invoked if past_due or early else max(invoked, status.next)
            status = Status(moment, self.schedule.after(moment), moment)
            if self._monitored:
                self._statuses.write(self.function.name, status)
        return status

    def _retried(self, past_due: bool, status: Status) -> bool:
        """Runs the function again as its retry policy says; False if the host stops before that is over."""
        for seconds in self.function.retry.delays():
            log.warning("%s runs again in %g s", self.function.name, seconds)
            if self._stop.wait(seconds):
                return False
            if self._invoke(past_due, status):
                break
        return True

    def _invoke(self, past_due: bool, status: Status) -> bool:
        return self._runner.run(self.function, lambda: timer_value(past_due, status.as_json())).ok
