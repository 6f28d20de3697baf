"""The stages on a real SQLite database, with fakes behind the other ports."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from shared.adapters.database.answers import SqlAnswers
from shared.adapters.database.audit import SqlAudit
from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.checks import SqlChecks
from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.mails import SqlMails
from shared.adapters.database.projects import SqlProjects
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.tables import projects
from shared.adapters.database.watch import SqlWatch
from shared.adapters.mail.addresses import valid_addresses
from shared.adapters.mail.rendering import TemplateRenderer
from shared.domain.budgets import BudgetTerms
from shared.domain.locks import LockLevel, LockMode, WhenUnsure
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import ProjectEntry
from shared.messages import Queue, parse_email, parse_lock, parse_notification, parse_update, to_json
from shared.pipeline.budgets_in_step import BudgetsInStep
from shared.pipeline.dead_letters import DeadLetters, Replay
from shared.pipeline.deliver import Deliverer
from shared.pipeline.handed_on import NextMessages
from shared.pipeline.locking.assemble import LockParts, assemble_locker
from shared.pipeline.locking.groups import GroupLocks
from shared.pipeline.locking.handler import Locker
from shared.pipeline.locking.lock import LockRules
from shared.pipeline.locking.mails import LockMails
from shared.pipeline.notify import AlertPolicy, Notifier
from shared.pipeline.operators import Operators
from shared.pipeline.patience import Patience
from shared.pipeline.schedule import Scheduler
from shared.pipeline.sync_budgets import BudgetSync
from shared.pipeline.update import Updater
from shared.pipeline.watch import Watchdog
from tests.fake_azure import FakeCompute, FakeLocks
from tests.fake_budgets import FakeBudgets
from tests.fakes import FakeClock, FakeCosts, FakeMailer, FakeQueues

SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
OTHER_SUBSCRIPTION = "ed570627-0265-4620-bb42-bae06bcfa914"
ACTION_GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-warden/providers/Microsoft.Insights/actionGroups/lock"
APRIL = PeriodRule(PeriodKind.ANNUAL, date(2026, 4, 1))
NOVEMBER = PeriodRule(PeriodKind.MONTHLY, date(2026, 11, 1))


def entry(
    project_id: int = 11,
    amount: str | None = "1000",
    *,
    rule: PeriodRule = NOVEMBER,
    groups: tuple[str, ...] = (),
    subscription: str = SUBSCRIPTION,
    currency: str = "CAD",
    contacts: tuple[str, ...] = ("anna@example.com",),
    active: bool = True,
) -> ProjectEntry:
    """A project; its group is `rg-<id>`."""
    terms = BudgetTerms(Decimal(amount) if amount is not None else None, currency, rule)
    owned = groups or (f"rg-{project_id}",)
    return ProjectEntry(
        project_id, f"P{project_id}", f"Project {project_id}", subscription, owned, terms, contacts, "en", active
    )


@dataclass
class Chain:
    """The whole chain; `work` plays the host for what is on the fake queues."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)
    costs: FakeCosts = field(default_factory=FakeCosts)
    queues: FakeQueues = field(default_factory=FakeQueues)
    mailer: FakeMailer = field(default_factory=FakeMailer)
    thresholds: tuple[int, ...] = (25, 50, 80, 100)
    operators: Operators = field(default_factory=lambda: Operators(("ops@example.com",)))
    messages: int = 0
    lock_mode: LockMode = LockMode.DRY_RUN
    when_unsure: WhenUnsure = WhenUnsure.LOCK
    stop_compute: bool = False
    never_locked: frozenset[str] = frozenset()
    azure_budgets: FakeBudgets = field(default_factory=FakeBudgets)

    def __post_init__(self) -> None:
        self.runs = SqlRuns(self.database)
        self.charges = SqlCharges(self.database)
        self.checks = SqlChecks(self.database, "example.com", 35)
        self.mails = SqlMails(self.database, "example.com")
        self.letters = SqlDeadLetters(self.database)
        self.projects = SqlProjects(self.database, 35)
        self.lock_ledger = SqlLocks(self.database, "example.com")
        self.audit = SqlAudit(self.database)
        self.azure_locks = FakeLocks()
        self.azure_compute = FakeCompute(self.azure_locks)
        self.budget_sync = BudgetSync(self.azure_budgets, self.projects, ACTION_GROUP, self.clock)
        self.watch = SqlWatch(self.database)
        self.patience = Patience(self.queues, self.clock, lambda: 0.0)
        self.dead_letters = DeadLetters(self.letters, self.runs, self.checks, self.mails, self.operators, self.clock)
        self.replay = Replay(self.letters, self.queues, self.clock)
        self.scheduler = Scheduler(self.runs, self.charges, self.queues, self.clock, 35, 50, 500)
        self.answers = SqlAnswers(self.database)
        self.updater = Updater(
            costs=self.costs,
            charges=self.charges,
            answers=self.answers,
            runs=self.runs,
            mails=self.mails,
            operators=self.operators,
            patience=self.patience,
            clock=self.clock,
            lookback_days=35,
            units_per_minute=50,
        )
        self.deliverer = Deliverer(
            self.mails,
            self.mailer,
            TemplateRenderer(),
            valid_addresses,
            self.dead_letters,
            self.operators,
            self.patience,
            self.clock,
        )
        self.watchdog = Watchdog(self.watch, self.runs, self.mails, self.operators, self.clock)

    @property
    def notifier(self) -> Notifier:
        policy = AlertPolicy(self.thresholds, ("audit@example.com",), 80, self.lock_mode, "https://portal/{acronym}")
        return Notifier(self.checks, self.mails, self.dead_letters, self.operators, policy, self.patience, self.clock)

    @property
    def locker(self) -> Locker:
        level = LockLevel.READ_ONLY
        in_step = BudgetsInStep(
            self.budget_sync, self.mails, self.operators, self.dead_letters, self.patience, self.clock
        )
        parts = LockParts(
            in_step=in_step,
            ledger=self.lock_ledger,
            audit=self.audit,
            budgets=self.azure_budgets,
            groups=GroupLocks(self.azure_locks, self.azure_compute, level, self.never_locked),
            mails=LockMails(self.operators, ("audit@example.com",), "https://portal/{acronym}", level),
            rules=LockRules(self.lock_mode, self.when_unsure, self.stop_compute),
            dead_letters=self.dead_letters,
            patience=self.patience,
            clock=self.clock,
        )
        return assemble_locker(parts)

    def load(self, *entries: ProjectEntry) -> None:
        self.projects.load(entries, "tester", self.clock())

    def spend(self, amount: str, day: date, group: str = "rg-11", service: str = "Storage") -> None:
        self.costs.charges[(SUBSCRIPTION, group, day, service)] = Decimal(amount)

    def night(self) -> None:
        """The scheduler, and everything that follows from it."""
        self.scheduler.tonight()
        self.drain()

    def drain(self, most: int = 1000) -> None:
        """Works all the queues off, delayed messages too, without moving the clock."""
        for _ in range(most):
            taken = self.queues.take()
            if not taken:
                return
            for queue, text, _delay in taken:
                self.work(queue, text)
        raise AssertionError("the queues never became empty")

    def work(self, queue: Queue, text: str, origin: str | None = None) -> NextMessages:
        """What a trigger does with one message; what is handed on goes onto the fake queues."""
        self.messages += 1
        name = origin or f"id-{self.messages}"
        stage = {
            Queue.UPDATE: lambda: self.updater.update(parse_update(text), name),
            Queue.NOTIFICATION: lambda: self.notifier.notify(parse_notification(text), name),
            Queue.EMAIL: lambda: self.deliverer.deliver(parse_email(text), name),
            Queue.LOCK: lambda: self.locker.handle(parse_lock(text), name),
        }[queue]
        return self.hand_on(self.dead_letters.unless_wrong(queue, text, name, stage))

    def look(self) -> NextMessages:
        """A round of the watchdog."""
        return self.hand_on(self.watchdog.look())

    def hand_on(self, handed_on: NextMessages) -> NextMessages:
        for kind, messages in (
            (Queue.UPDATE, handed_on.updates),
            (Queue.NOTIFICATION, handed_on.notifications),
            (Queue.EMAIL, handed_on.emails),
            (Queue.LOCK, handed_on.locks),
        ):
            for message in messages:
                self.queues.send(kind, to_json(message))
        return handed_on

    def spent(self, project_id: int = 11) -> Decimal:
        views = {view.id: view for view in self.projects.list_projects(self.clock().date())}
        return views[project_id].spent

    def subjects(self) -> list[str]:
        return [mail.subject for mail in self.mailer.sent]


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    database = Database(sqlite_url)
    yield Chain(database)
    database.close()


@pytest.fixture
def fresh_database(tmp_path: Path) -> Iterator[Iterator[Database]]:
    """One new, empty SQLite database after the other."""
    opened: list[Database] = []
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    empty.read(lambda connection: connection.scalar(select(func.count()).select_from(projects)))
    empty.close()

    def fresh() -> Iterator[Database]:
        while True:
            file = shutil.copy(tmp_path / "empty.db", tmp_path / f"fresh-{len(opened)}.db")
            opened.append(Database(f"sqlite:///{file}"))
            yield opened[-1]

    yield fresh()
    for database in opened:
        database.close()
