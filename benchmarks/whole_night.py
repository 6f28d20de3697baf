"""A whole night of 10,000 projects, from the timer to the last mail in the outbox, and an unchanged one after it.

Azurite, the simulator with the published quota and the local host run as processes of their own, with SQLite.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, true

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from localdev.azure_sim import SimulatorControl
from localdev.azurite import Azurite
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, mails, projects, run_scopes
from shared.composition import Composition
from shared.domain import quota, windows
from shared.domain.periods import split_at_month_ends
from shared.ports.mails import MailState
from shared.ports.runs import ScopeState

MOST_SECONDS = 120
MOST_MESSAGES_PER_PROJECT = 0.1
PROJECTS = len(fleet.SUBSCRIPTIONS) * fleet.GROUPS
TIMEOUT_SECONDS = 600

TIMER, UPDATER = "ProjectUsageScheduler", "ProjectUsageUpdater"
NOTIFIER, MAILER = "ProjectUsageNotifier", "EmailNotificationHandler"
# The host's line for each invocation: `2026-11-20 02:00:01,234 INFO host: NAME ID ok 567 ms`.
INVOCATION = re.compile(r"^(\S+ \S+) \S+ host: (\w+) [0-9a-f-]{36} (ok|failed) (\d+) ms", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """One function's share of a night, in seconds since the timer fired.

    in_hand: how long its messages took, added up: several run at once, and wait for each other.
    """

    messages: int
    in_hand: float
    begun: float
    ended: float


@dataclass(frozen=True)
class Night:
    """One night. stages: by function. units, refused: what the simulator counted. process_seconds: the host's life."""

    stages: dict[str, Stage]
    mails: int
    refused: int
    units: int
    process_seconds: float

    @property
    def seconds(self) -> float:
        """From the timer to the end of the last message."""
        return max(stage.ended for stage in self.stages.values())


def measure() -> Iterator[Figure]:
    """The first night, and the next one, in which no charge has changed."""
    with (
        tempfile.TemporaryDirectory(prefix="warden-bench-") as name,
        Azurite(Path(name) / "azurite", in_memory=True) as azurite,
        fleet.simulator() as azure,
    ):
        folder = Path(name)
        environment = _environment(folder, azurite.connection_string, fleet.url_of(azure))
        in_fresh_process(fleet.load_projects, environment["DATABASE_URL"])
        first = _night(environment, fleet.NIGHT)
        yield from _figures("first night", fleet.NIGHT, first)
        yield _messages(first)
        second = _night(environment, fleet.NEXT_NIGHT)
        yield from _figures("unchanged night", fleet.NEXT_NIGHT, second)


def _environment(folder: Path, connection: str, azure_url: str) -> dict[str, str]:
    """What differs from local.settings.json.example."""
    return {
        "DatahubStorageConnectionString": connection,
        "AzureWebJobsStorage": connection,
        "DATABASE_URL": f"sqlite:///{folder / 'warden.db'}",
        "OUTBOX_DIR": str(folder / "outbox"),
        "AZURE_MANAGEMENT_ENDPOINT": azure_url,
    }


def _night(environment: dict[str, str], clock: datetime) -> Night:
    """Fires the timer, waits until every queue is empty, and reads the host's log."""
    azure = SimulatorControl(environment["AZURE_MANAGEMENT_ENDPOINT"])
    azure.reset()
    mails_before = _mails(environment)
    arguments = [sys.executable, "-m", "localdev.host", "--once", TIMER, "--port", "0"]
    arguments += ["--settings", str(fleet.ROOT / "local.settings.json.example")]
    begun = time.perf_counter()
    host = subprocess.run(
        arguments,
        cwd=fleet.ROOT,
        env=os.environ | environment | {"LOCAL_CLOCK_START": clock.isoformat()},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if host.returncode or "failed" in {state for _, _, state, _ in INVOCATION.findall(host.stderr)}:
        raise RuntimeError(f"the night failed:\n{host.stderr[-5000:]}")
    in_fresh_process(check_complete, environment["DATABASE_URL"])
    asked = azure.stats()
    return Night(
        stages=_stages(host.stderr),
        mails=_mails(environment) - mails_before,
        refused=asked["throttled"],
        units=asked["qpu"],
        process_seconds=seconds,
    )


def check_complete(database_url: str) -> None:
    """Raises RuntimeError unless every charge is stored, every project is checked and every mail is sent."""
    database = Database(database_url)
    to_check = projects.c.checked_at.is_(None) | projects.c.check_due_since.is_not(None)
    rows, unchecked, unsent, unfinished = database.read(
        lambda connection: [
            connection.scalar(select(func.count()).select_from(table).where(which))
            for table, which in (
                (charges, true()),
                (projects, to_check),
                (mails, mails.c.state != MailState.SENT),
                (run_scopes, run_scopes.c.state != ScopeState.DONE),
            )
        ]
    )
    expected = len(fleet.SUBSCRIPTIONS) * fleet.ROWS_PER_SUBSCRIPTION
    if rows != expected or unchecked or unsent or unfinished:
        raise RuntimeError(
            f"the night is not complete: {rows} charges of {expected}, {unchecked} projects unchecked, "
            f"{unsent} mails unsent, {unfinished} subscriptions unfinished"
        )


def _mails(environment: dict[str, str]) -> int:
    return len(list(Path(environment["OUTBOX_DIR"]).glob("*.eml")))


def _stages(log: str) -> dict[str, Stage]:
    """Every function's invocations, from the host's log."""
    runs: dict[str, list[tuple[float, float]]] = {}
    for ended, name, _, milliseconds in INVOCATION.findall(log):
        end = datetime.strptime(f"{ended},+0000", "%Y-%m-%d %H:%M:%S,%f,%z").timestamp()
        runs.setdefault(name, []).append((end - int(milliseconds) / 1000, end))
    start = runs[TIMER][0][0]
    return {
        name: Stage(
            messages=len(spans),
            in_hand=sum(end - begun for begun, end in spans),
            begun=min(begun for begun, _ in spans) - start,
            ended=max(end for _, end in spans) - start,
        )
        for name, spans in runs.items()
    }


# --- the figures ---------------------------------------------------------------------------------------------


def _figures(name: str, clock: datetime, night: Night) -> Iterator[Figure]:
    yield Figure(
        name=f"Whole night: {name}, {PROJECTS:,} projects",
        measured=night.seconds,
        unit="s",
        floor=_last_may_begin(clock),
        floor_is="reckoned: when the quota lets the last query begin",
        most=MOST_SECONDS,
        note=f"{night.units} units, {night.refused} refused, {night.mails:,} mails; {_breakdown(night)}",
        detail=asdict(night),
    )


def _last_may_begin(clock: datetime) -> float:
    """The second at which the scheduler's pace lets the last subscription be read: nothing is faster than that."""
    costs = Composition(fleet.DEFAULTS).costs
    window = windows.night_window(clock.date(), fleet.DEFAULTS.lookback_days, None, costs.months_of_history)
    units = [len(split_at_month_ends(window))] * len(fleet.SUBSCRIPTIONS)
    return quota.delays(units, costs.quota)[-1]


def _breakdown(night: Night) -> str:
    words = {UPDATER: "reading and storing", NOTIFIER: "checking", MAILER: "mails"}
    return "; ".join(
        f"{words[name]} from {stage.begun:.1f} s to {stage.ended:.1f} s, {stage.messages:,} messages "
        f"of {stage.in_hand / stage.messages:.2f} s each, side by side"
        for name, stage in night.stages.items()
        if name in words
    )


def _messages(night: Night) -> Figure:
    taken: dict[str, Any] = {name: stage.messages for name, stage in night.stages.items() if name != TIMER}
    besides = sum(taken.values()) - night.mails
    return Figure(
        name="Whole night: queue messages a project, besides one a mail",
        measured=besides / PROJECTS,
        unit="messages",
        most=MOST_MESSAGES_PER_PROJECT,
        note=f"{sum(taken.values()):,} in all ({', '.join(f'{name} {number:,}' for name, number in taken.items())}) "
        f"for {PROJECTS:,} projects and {night.mails:,} mails",
        detail=taken,
    )
