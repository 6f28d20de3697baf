"""Running a command in a test, what it works on, and what it leaves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

from azure.storage.queue import QueueClient
from sqlalchemy import Connection, delete, insert, select, update

from shared.adapters.database.tables import budget_periods, charges, coverage, projects, scopes
from shared.composition import Composition
from shared.domain.coverage import Coverage
from shared.domain.locks import HeldLock, LockWhy
from shared.domain.locks import Outcome as Decided
from shared.domain.periods import Period, split_at_month_ends
from shared.messages import LockAction, LockTrigger, NotificationMessage, ScopeTarget
from shared.ports.azure import ResourceGroup
from shared.ports.locks import AuditEntry, Freed, Hold
from shared.ports.runs import RunScope
from tests.forked import Forked

PROJECT = Path(__file__).resolve().parents[2]
FIRST, SECOND = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d", "2caaa5a3-2b66-438e-8ab4-bce37d518c5d"
HEADER = (
    "id,acronym,name,subscription_id,resource_groups,budget,currency,"
    "period,period_start,period_end,contacts,language,active"
)
DIE1 = f"11,DIE1,Data innovation,{FIRST},die1-dev;die1-prod,12500.00,CAD,annual,2026-04-01,,ann@example.com,en,true"
EAU = f"12,EAU,Qualité de l'eau,{SECOND},eau,3000,CAD,quarterly,,,eve@example.com,fr,true"
BARE = f"13,BARE,Nothing yet,{SECOND},bare,,,,,,,,true"
NOW = "2026-11-20T12:00:00+00:00"
ACCOUNT = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:{port}/a;"
STORAGE = "DatahubStorageConnectionString"
# Nothing listens there.
NO_QUEUES = ACCOUNT.format(port=1)


@dataclass(frozen=True)
class Outcome:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which has to be JSON and nothing else."""
        return json.loads(self.out)


Cli = Callable[..., Outcome]
Working = Callable[[], AbstractContextManager[None]]
"""While it lasts, the functions take what is on the queues"""


STARTED: list[subprocess.Popen[str]] = []


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Starts a command as a program of its own, in the folder of this test."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "shared.cli", *arguments]
    STARTED.append(subprocess.Popen(command, env=environment, text=True, **(pipes | options)))
    return STARTED[-1]


def program(*arguments: str) -> Outcome:
    """Runs a command in a process of its own."""
    with Path(os.devnull).open() as nothing, TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        code = forked(*arguments, files=(nothing, output, errors)).wait(60)
        for each in (output, errors):
            each.seek(0)
        out, err = output.read(), errors.read()
    assert "Traceback" not in err or "--debug" in arguments
    return Outcome(code, out, err)


def forked(*arguments: str, files: Iterable[TextIO | int]) -> Forked:
    """As `start`, quicker: where it is not the beginning and the end of the program itself that matter."""
    return Forked(["shared.cli", *arguments], Path.cwd(), os.environ | {"PYTHONPATH": str(PROJECT)}, files)


def write_csv(*lines: str, header: str = HEADER) -> str:
    """A projects file in the folder of this test."""
    file = Path("projects.csv")
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file.name


def spend(app: Composition, project_id: int, cost: str, *days: date, currency: str = "CAD") -> None:
    """A charge of the project on each of these days; on the first of this month where there are none."""

    def write(connection: Any) -> None:
        scope = connection.scalar(select(scopes.c.id).where(scopes.c.project_id == project_id))
        row = {"scope_id": scope, "service_name": "VM", "billing_currency": currency, "billed_cost": Decimal(cost)}
        on_days = [row | {"charge_period_start": day} for day in days or [date(2026, 11, 1)]]
        connection.execute(insert(charges), on_days)

    app.database.run(write)


def spend_unowned(
    app: Composition, group: str, cost: str, *days: date, currency: str = "CAD", of: tuple[str, str] = ("azure", FIRST)
) -> None:
    """A charge of a group of the first subscription, or of another sub-account, that no project owns, on each day."""

    def write(connection: Connection) -> None:
        key = {"provider": of[0], "sub_account_id": of[1], "group_key": group.lower()}
        known = select(scopes.c.id).where(*(scopes.c[name] == value for name, value in key.items()))
        if connection.scalar(known) is None:
            connection.execute(insert(scopes).values(key | {"x_resource_group_name": group}))
        row = {"scope_id": connection.scalar(known), "service_name": "Firewall", "billing_currency": currency}
        rows = [row | {"charge_period_start": day, "billed_cost": Decimal(cost)} for day in days]
        connection.execute(insert(charges), rows)

    app.database.run(write)


RULES_HEADER = "name,sub_account_id,method,first_day,project,percent"


def write_rules(*lines: str, header: str = RULES_HEADER) -> str:
    """An allocations file in the folder of this test; FIRST stands for the first subscription."""
    file = Path("rules.csv")
    file.write_text("\n".join([header, *lines]).replace("FIRST", FIRST) + "\n", encoding="utf-8")
    return file.name


DAY = timedelta(days=1)
YEAR = Period(date(2026, 1, 1), date(2027, 1, 1))


def costs_were_read(app: Composition, at: datetime) -> None:
    """Of all projects, since the year began."""
    day = at.date()
    months = [Coverage(each.start, "", each.start, each.end - DAY, at, day) for each in split_at_month_ends(YEAR)]
    known = [replace(each, read_through=min(each.read_through or day, day)) for each in months if each.month <= day]

    def write(connection: Any) -> None:
        connection.execute(update(projects).values(costs_read_at=at))
        connection.execute(delete(coverage))
        owned = select(scopes.c.provider, scopes.c.sub_account_id).distinct()
        for row in connection.execute(owned).mappings().all():
            connection.execute(insert(coverage), [dict(row) | asdict(each) for each in known])

    app.database.run(write)


def checked(app: Composition, *project_ids: int) -> None:
    """These projects were compared with their budgets, as they are after each reading."""
    app.notifier.notify(NotificationMessage(project_ids), "m1")


def opened(
    app: Composition, project_id: int, period: Period, carried: str, stopped: bool = False, settled: bool = False
) -> None:
    """A period that was opened, with what came into it (in the place of what loading wrote of it)."""
    mine = (budget_periods.c.project_id == project_id) & (budget_periods.c.period_start == period.start)
    row = {
        "project_id": project_id,
        "period_start": period.start,
        "period_end": period.end,
        "currency": "CAD",
        "carried": Decimal(carried),
        "stopped": stopped,
        "settled": settled,
        "opened_at": app.clock(),
    }

    def write(connection: Any) -> None:
        connection.execute(delete(budget_periods).where(mine))
        connection.execute(insert(budget_periods), [row])

    app.database.run(write)


def decided(app: Composition, entry: AuditEntry, change: Hold | Freed | None, at: datetime) -> None:
    """A decision about a lock that was written down, with what became of the lock."""
    assert app.lock_ledger.claim(entry.project_id, "tester", at + timedelta(minutes=1), at)
    assert app.lock_ledger.record(entry, "tester", change, [], at)


LOCKED_AT = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
LOCKED = AuditEntry(
    key="message-1",
    project_id=11,
    action=LockAction.LOCK,
    outcome=Decided.LOCKED,
    reason="the costs that were read show 1050 of 1000",
    trigger=LockTrigger.CHECK,
    figures={"currency": "CAD", "amount": "1000", "usage": "1050", "azure_spend": "1042", "period_start": "2026-04-01"},
    details={
        "groups": [[FIRST, "die1-dev", "locked"], [FIRST, "die1-prod", "locked"]],
        "machines": [["die1-dev", "vm-1", "stopped"]],
    },
)
HOLD = Hold(HeldLock(LockWhy.OVER, budget_number=1), (ResourceGroup(FIRST, "die1-dev"),))


def queued(setting: str) -> list[Any]:
    """The messages that can be seen on the queue that a setting names."""
    client = QueueClient.from_connection_string(os.environ[STORAGE], os.environ[setting])
    return [json.loads(message.content) for message in client.peek_messages(max_messages=32)]


def night(app: Composition) -> tuple[RunScope, RunScope]:
    """A run of two subscriptions."""
    targets = [ScopeTarget(subscription_id=FIRST), ScopeTarget(subscription_id=SECOND)]
    app.runs.open_run("night-2026-11-20", "timer", datetime(2026, 11, 20, 2, tzinfo=UTC))
    first, second = app.runs.plan("night-2026-11-20", targets)
    return first, second


def on_terminal(columns: int, *arguments: str, code: int = 0, answers: Sequence[str] = ()) -> str:
    """What a command writes onto a terminal of this width. answers: what a person types, a line each time it asks."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = forked(*arguments, files=[theirs] * 3)
    os.close(theirs)
    written, left = b"", list(answers)
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            # Linux says so where the last writer has closed its end.
            break
        if not part:
            break
        written += part
        # What is typed before a password is asked for is thrown away.
        if left and written.endswith(b": "):
            os.write(ours, f"{left.pop(0)}\n".encode())
    os.close(ours)
    assert process.wait(30) == code
    return written.decode()
