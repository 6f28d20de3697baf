"""One night of the fleet: the timer is fired, every queue drained, the host's log read, and the outcome checked.

Azurite, the simulator and the local host run as processes of their own, with SQLite.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select, true

from benchmarks import fleet
from benchmarks.cost import Counts, billed
from benchmarks.fresh import in_fresh_process, peak_memory_mb
from localdev.azure_sim import SimulatorControl
from localdev.azurite import Azurite
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, mails, projects, run_scopes
from shared.ports.mails import MailState
from shared.ports.runs import ScopeState

TIMEOUT_SECONDS = 1800

TIMER, UPDATER = "ProjectUsageScheduler", "ProjectUsageUpdater"
NOTIFIER, MAILER = "ProjectUsageNotifier", "EmailNotificationHandler"
# The host's line for each invocation: `2026-11-20 02:00:01,234 INFO host: NAME ID ok 567 ms`.
INVOCATION = re.compile(r"^(\S+ \S+) \S+ host: (\w+) [0-9a-f-]{36} (ok|failed) (\d+) ms", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """One function's share of a night, in seconds since the timer fired.

    in_hand: how long its messages took, added up: several run at once, and wait for each other. billed: the same as
    Flex Consumption bills it, were each alone on its instance.
    """

    messages: int
    in_hand: float
    begun: float
    ended: float
    billed: float = 0.0


FAILED = re.compile(r"host: (\w+ [0-9a-f-]{36} failed \d+ ms.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Night:
    """One night. stages: by function. calls (refused ones too), refused, units: what the
    simulator counted. memory: the
    host's most, in MB. failed: what the host logged of each invocation that failed, whose message came again.
    log_bytes, written_bytes: of the host's log, and of all that the host has written. database_bytes: after it."""

    stages: dict[str, Stage]
    mails: int
    calls: int
    refused: int
    units: int
    memory: float
    failed: tuple[str, ...] = ()
    log_bytes: int = 0
    written_bytes: int = 0
    database_bytes: int = 0

    @property
    def counts(self) -> Counts:
        """What is paid for."""
        executions = sum(stage.messages for stage in self.stages.values())
        billed_seconds = sum(stage.billed for stage in self.stages.values())
        return Counts(executions, billed_seconds, executions - 1, self.log_bytes)

    @property
    def seconds(self) -> float:
        """From the timer to the end of the last message."""
        return max(stage.ended for stage in self.stages.values())


@contextmanager
def installation(subscriptions: Sequence[str], groups: int, *flags: str, **settings: str) -> Iterator[dict[str, str]]:
    """The environment of a fresh installation with these subscriptions' projects loaded, and all it needs running.

    groups: of each subscription. flags: of the simulator. settings: what differs from the defaults.
    """
    with (
        tempfile.TemporaryDirectory(prefix="warden-bench-") as name,
        Azurite(Path(name) / "azurite", in_memory=True) as azurite,
        fleet.simulator(*flags, subscriptions=subscriptions, groups=groups) as azure,
    ):
        environment = {
            "DatahubStorageConnectionString": azurite.connection_string,
            "AzureWebJobsStorage": azurite.connection_string,
            "DATABASE_URL": f"sqlite:///{Path(name) / 'warden.db'}",
            "OUTBOX_DIR": str(Path(name) / "outbox"),
            "AZURE_MANAGEMENT_ENDPOINT": fleet.url_of(azure),
            **settings,
        }
        in_fresh_process(fleet.load_projects, environment["DATABASE_URL"], len(subscriptions), groups)
        yield environment


def night(
    environment: Mapping[str, str], clock: datetime, subscriptions: int, groups: int = fleet.GROUPS, others: int = 0
) -> Night:
    """Fires the timer, waits until every queue is empty, and reads the host's log. others: charges of other clouds."""
    azure = SimulatorControl(environment["AZURE_MANAGEMENT_ENDPOINT"])
    azure.reset()
    mails_before = _mails(environment)
    log, memory, written = _run_host({**environment, "LOCAL_CLOCK_START": clock.isoformat()})
    in_fresh_process(
        check_complete, environment["DATABASE_URL"], subscriptions * groups * fleet.ROWS_PER_GROUP + others
    )
    asked = azure.stats()
    return Night(
        stages=_stages(log),
        mails=_mails(environment) - mails_before,
        calls=asked["calls"],
        refused=asked["throttled"],
        units=asked["qpu"],
        memory=memory,
        failed=tuple(FAILED.findall(log)),
        log_bytes=len(log.encode()),
        written_bytes=written,
        database_bytes=Path(environment["DATABASE_URL"].removeprefix("sqlite:///")).stat().st_size,
    )


def _run_host(environment: Mapping[str, str]) -> tuple[str, float, int]:
    """What the host logged, the most memory that it held, in MB, and the bytes that it wrote.

    RuntimeError: something failed for good.
    """
    arguments = [sys.executable, "-m", "localdev.host", "--once", TIMER, "--port", "0"]
    arguments += ["--settings", str(fleet.ROOT / "local.settings.json.example")]
    deadline, memory = time.monotonic() + TIMEOUT_SECONDS, 0.0
    written = 0
    with tempfile.TemporaryFile("w+") as output:
        host = subprocess.Popen(
            arguments, cwd=fleet.ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=output
        )
        while host.poll() is None:
            if time.monotonic() > deadline:
                host.kill()
            memory, written = max(memory, peak_memory_mb(host.pid)), max(written, _written(host.pid))
            time.sleep(0.1)
        output.seek(0)
        log = output.read()
    if host.returncode:
        raise RuntimeError(f"the night failed, the host ended with {host.returncode}:\n{log[-5000:]}")
    return log, memory, written


def _written(process_id: int) -> int:
    """The bytes that a process has written so far, to files and sockets; 0 where the system does not tell."""
    try:
        found = re.search(r"^wchar: (\d+)", Path(f"/proc/{process_id}/io").read_text("utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def check_complete(database_url: str, expected: int) -> None:
    """Raises RuntimeError unless so many charges are stored, every project is checked and every mail is sent."""
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
    if rows != expected or unchecked or unsent or unfinished:
        raise RuntimeError(
            f"the night is not complete: {rows} charges of {expected}, {unchecked} projects unchecked, "
            f"{unsent} mails unsent, {unfinished} subscriptions unfinished"
        )


def _mails(environment: Mapping[str, str]) -> int:
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
            billed=sum(billed(end - begun) for begun, end in spans),
        )
        for name, spans in runs.items()
    }
