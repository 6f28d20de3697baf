"""The whole app on real parts: its host as a program, Azurite, the Azure simulator, a database, an outbox."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient
from sqlalchemy import Select, select

from localdev.azure_sim import AzureSimulator, ChargeBook, GroupSeries
from localdev.processes import Program, local_host
from shared import settings
from shared.adapters.database.tables import alerts, budgets, charges, mails, scopes
from shared.composition import Composition
from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.messages import Queue
from shared.ports.azure import AZURE
from shared.ports.dead_letters import DeadLetter
from shared.ports.locks import AuditEntry
from shared.ports.projects import ProjectView
from shared.ports.runs import RunView
from tests import sql_server
from tests.conftest import MSSQL_SERVER
from tests.forked import ForkedProgram
from tests.subjects import short

ROOT = Path(__file__).resolve().parents[2]
# Where the app's programs find their modules; the stand-in for SQL Server's driver among them.
FOLDERS = [*([] if MSSQL_SERVER else [str(sql_server.DRIVER_FOLDER)]), str(ROOT), os.environ.get("PYTHONPATH", "")]
PATH = {"PYTHONPATH": os.pathsep.join(filter(None, FOLDERS))}
NIGHT = datetime(2026, 11, 20, 2, tzinfo=UTC)
NORTH = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
SOUTH = "ed570627-0265-4620-bb42-bae06bcfa914"
MONTHLY = PeriodRule(PeriodKind.MONTHLY, date(2026, 11, 1))
QUARTERLY = PeriodRule(PeriodKind.QUARTERLY, date(2026, 10, 1))
SERVICES = {"Virtual Machines": Decimal("0.61"), "Storage": Decimal("0.28"), "Bandwidth": Decimal("0.11")}
SETTING_OF = {
    Queue.UPDATE: "QueueProjectUsageUpdate",
    Queue.NOTIFICATION: "QueueProjectUsageNotification",
    Queue.EMAIL: "QueueEmailNotification",
    Queue.LOCK: "QueueProjectLock",
    Queue.EXPORT: "QueueCostExportImport",
}
PLACES = Decimal("1e-10")
FUNCTION_KEY = "the-key-of-the-function"


def entry(
    project_id: int,
    amount: str | None,
    *,
    subscription: str = NORTH,
    groups: tuple[str, ...] = (),
    rule: PeriodRule = MONTHLY,
    currency: str = "CAD",
    **who: Any,
) -> ProjectEntry:
    """A project; without groups its group is `rg-<id>`, without contacts it has one. who: fields of its record."""
    scopes = tuple(Scope(AZURE, subscription, group) for group in groups or (f"rg-{project_id}",))
    contacts = (f"p{project_id}@example.com",)
    project = Project(project_id, f"P{project_id}", f"Project {project_id}", "en", contacts, active=True)
    terms = BudgetTerms(None if amount is None else Decimal(amount), currency, rule)
    return ProjectEntry(replace(project, **who), scopes, terms)


def book_of(*parts: tuple[str, str, str]) -> ChargeBook:
    """A book of (subscription, group, dollars a day), the last 60 days before NIGHT."""
    book = ChargeBook()
    last = NIGHT.date() - timedelta(days=1)
    for subscription, group, per_day in parts:
        series = GroupSeries(subscription, group, Decimal(per_day), SERVICES)
        book.add(series.charges(last - timedelta(days=59), last))
    return book


def spent_in(book: ChargeBook, project: ProjectEntry, day: date) -> Decimal:
    """What the project's groups have in the book in the period that holds `day`, each charge rounded as stored."""
    period = project.terms.rule.period_at(day)
    assert period is not None
    wanted = {scope.resource_group.lower() for scope in project.scopes}
    in_period = book.charges(project.scopes[0].sub_account_id, period.start, period.end - timedelta(days=1))
    return sum((c.amount.quantize(PLACES) for c in in_period if c.group.lower() in wanted), Decimal(0))


@dataclass(frozen=True)
class Outcome:
    """What a night leaves behind, without the times and numbers that differ from one night to the same again."""

    charges: list[tuple[Any, ...]]
    usage: list[tuple[str, Decimal, tuple[int, ...], str | None]]
    alerts: list[tuple[Any, ...]]
    mails: list[tuple[Any, ...]]
    outbox: list[tuple[str, ...]]
    dead_letters: list[str]


@dataclass
class Installation:
    """One installation: queues of its own in a shared Azurite, its database, its outbox, its host.

    more: app settings besides.
    The app's clock starts at NIGHT, and goes on while hosts come and go.
    """

    folder: Path
    storage: str
    azure: AzureSimulator
    database_url: str
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prefix = f"w{uuid.uuid4().hex[:12]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.programs: list[Program] = []
        self.set_clock(NIGHT)

    def set_clock(self, moment: datetime) -> None:
        self._clock, self._clock_set = moment, time.monotonic()

    @property
    def now(self) -> datetime:
        """What the app's clock shows; LOCAL_CLOCK_SPEED makes it run faster."""
        passed = timedelta(seconds=time.monotonic() - self._clock_set)
        return self._clock + passed * int(self.more.get("LOCAL_CLOCK_SPEED", "1"))

    @property
    def environment(self) -> dict[str, str]:
        """The app settings."""
        queues = {setting: f"{self.prefix}-{queue.value}" for queue, setting in SETTING_OF.items()}
        return {
            "DatahubStorageConnectionString": self.storage,
            "DATABASE_URL": self.database_url,
            "OUTBOX_DIR": str(self.folder / "outbox"),
            "AZURE_MANAGEMENT_ENDPOINT": self.azure.url,
            "EMAIL_OPERATORS": "operators@example.com",
            "EMAIL_BCC": "audit@example.com",
            "ProjectUsageCRON": "0 0 2 * * *",
            "WatchdogCRON": "0 */15 * * * *",
            "CostExportCRON": "0 15 * * * *",
            # What happens at 100 % is the subject of test_locks.py and test_lock_crashes.py, which set it otherwise.
            "LOCK_MODE": "off",
            "LOCAL_CLOCK_START": self.now.isoformat(),
            # A developer's machine can look into its queues more often than once in two seconds.
            "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.3",
            **queues,
            **PATH,
            **self.more,
        }

    # --- running it ---

    def host(self, *flags: str) -> Program:
        """A started host; it is ended with the test."""
        own = ["--settings", str(self.folder / "none.json")]
        program = local_host(ROOT, *own, *flags, environment=self.environment, kind=ForkedProgram)
        self.programs.append(program)
        return program.start()

    def run(self, *flags: str, seconds: float = 60.0) -> str:
        """A host that works everything off and ends well; gives what it logged."""
        program = self.host(*flags)
        code = program.wait(seconds)
        assert code == 0, program.output
        return program.output

    def listening(self) -> tuple[Program, str]:
        """A started host that goes on until the test ends, and BudgetAlert's address with its key."""
        program = self.host("--function-key", FUNCTION_KEY)
        address = re.search(r"BudgetAlert \(POST (\S+)\)", program.output)
        assert address is not None, program.output
        return program, f"{address[1]}?code={FUNCTION_KEY}"

    def cli(self, *arguments: str) -> str:
        """A command that ends well, run as an operator would; gives what it wrote."""
        command = [sys.executable, "-m", "shared.cli", *arguments]
        program = ForkedProgram(command, folder=self.folder, environment=self.environment)
        self.programs.append(program)
        assert program.start().wait() == 0, program.output
        return program.output

    def night(self, at: datetime | None = None) -> str:
        """The night's timer, and everything that follows from it."""
        if at is not None:
            self.set_clock(at)
        return self.run("--once", "ProjectUsageScheduler")

    def stop(self) -> None:
        for program in self.programs:
            if program.running:
                program.kill()

    @contextmanager
    def app(self) -> Iterator[Composition]:
        """The app's parts as the command line uses them."""
        app = Composition(settings.load(self.environment))
        try:
            yield app
        finally:
            app.database.close()

    def load(self, *projects: ProjectEntry) -> None:
        with self.app() as app:
            app.projects.load(projects, "tester", app.clock())

    def queue(self, queue: Queue, suffix: str = "", **options: Any) -> QueueClient:
        """A client of one of its queues, as a person would open it."""
        name = self.environment[SETTING_OF[queue]] + suffix
        client = QueueClient.from_connection_string(self.storage, name, **options)
        try:
            client.create_queue()
        except ResourceExistsError:
            return client
        return client

    # --- looking at it ---

    def projects(self) -> dict[str, ProjectView]:
        with self.app() as app:
            return {view.project.acronym: view for view in app.projects.list_projects(app.clock().date())}

    def runs(self) -> dict[str, RunView]:
        with self.app() as app:
            return {run.key: run for run in app.runs.recent_runs(20)}

    def dead_letters(self) -> list[DeadLetter]:
        with self.app() as app:
            return app.letters.letters(replayed_too=True)

    def rows(self, query: Select[Any]) -> list[tuple[Any, ...]]:
        with self.app() as app:
            return [tuple(row) for row in app.database.read(lambda connection: connection.execute(query).all())]

    def audit(self, project_id: int | None = None) -> list[AuditEntry]:
        """What was decided about locks, oldest first."""
        with self.app() as app:
            return [view.entry for view in app.lock_ledger.decisions(project_id)]

    def held(self) -> list[str]:
        """The projects that the app says it has locked."""
        return sorted(acronym for acronym, view in self.projects().items() if view.locked_since)

    def mail_states(self) -> dict[str, str]:
        return {str(row[0]): str(row[1]) for row in self.rows(select(mails.c.key, mails.c.state))}

    def outbox(self) -> list[EmailMessage]:
        """The mails that lie in the outbox, by recipient and subject."""
        found = [_read(path) for path in (self.folder / "outbox").glob("*.eml")]
        return sorted(found, key=lambda mail: (mail["To"], mail["Subject"]))

    def outcome(self) -> Outcome:
        return Outcome(
            charges=sorted(self.rows(CHARGES)),
            usage=[(view.project.acronym, view.spent, view.alerts, view.problem) for view in self.projects().values()],
            alerts=sorted(self.rows(ALERTS)),
            mails=sorted((_unnumbered(key), *row) for key, *row in self.rows(MAILS)),
            outbox=sorted(map(contents_of, self.outbox())),
            dead_letters=[letter.reason for letter in self.dead_letters()],
        )


CHARGES = select(
    scopes.c.sub_account_id,
    scopes.c.group_key,
    charges.c.charge_period_start,
    charges.c.service_name,
    charges.c.billing_currency,
    charges.c.billed_cost,
).select_from(charges.join(scopes))
ALERTS = select(
    budgets.c.project_id,
    budgets.c.number,
    alerts.c.period_start,
    alerts.c.threshold,
    alerts.c.outcome,
    alerts.c.usage,
).select_from(alerts.join(budgets))
MAILS = select(mails.c.key, mails.c.state)


def contents_of(mail: EmailMessage) -> tuple[str, ...]:
    """All that a reader sees of a mail, but for its date; a mail that a person queued has its message's number."""
    headers = [str(mail[name]) for name in ("To", "Cc", "Bcc", "From", "Subject")]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    return (*headers, text.get_content(), html.get_content())


@dataclass(frozen=True)
class Reply:
    """What came back over HTTP: the status, the answer as it was written, and the seconds it took."""

    status: int
    text: str
    seconds: float


def post(url: str, body: bytes | dict[str, Any], headers: dict[str, str] | None = None, method: str = "POST") -> Reply:
    """Sends a body, an object as JSON, and waits for the answer."""
    parts, begun = urlsplit(url), time.monotonic()
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, f"{parts.path}?{parts.query}", content, headers or {})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode(), time.monotonic() - begun)
    finally:
        connection.close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits for a condition, and fails where it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not come true within {seconds:g} s"
        time.sleep(0.05)


def logged_as_sent(app: Installation) -> list[str]:
    """The keys of the mails that the app logged as sent, over all its hosts: one that was sent twice is there twice."""
    return [key for program in app.programs for key in re.findall(r" mail_sent .*\bkey=(\S+)", program.output)]


def subjects(messages: Sequence[EmailMessage]) -> list[tuple[str, str]]:
    """(recipients, subject) of each mail; a long subject, folded in the file, reads back with a space in front."""
    return [(str(mail["To"]), short(str(mail["Subject"]).strip())) for mail in messages]


def durations(log: str, function: str) -> list[float]:
    """The seconds that each run of a function took, as the host logged them."""
    lines = [line.split() for line in log.splitlines() if f" {function} " in line and line.endswith(" ms")]
    return [float(words[-2]) / 1000 for words in lines]


def _unnumbered(key: str) -> str:
    """The key without the id of the queue message that it came of."""
    return "message" if key.startswith("message/") else re.sub(r"/[0-9a-f-]{36}$", "", key)


def _read(path: Path) -> EmailMessage:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message
