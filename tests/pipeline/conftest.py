"""The app on a real database (SQLite, unless TEST_DATABASE names another), with fakes behind the other ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from shared import settings
from shared.adapters.database.engine import Database
from shared.composition import Composition
from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.messages import PARSERS, Message, Queue, UpdateMessage
from shared.pipeline.stage import Outgoing, Retry
from shared.ports.azure import AZURE
from tests.conftest import emptied
from tests.fake_azure import FakeCompute, FakeLocks, FakeRights
from tests.fake_budgets import FakeBudgets
from tests.fakes import FakeClock, FakeCosts, FakeMailer, FakeQueues
from tests.subjects import short

T = TypeVar("T")
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
    **who: Any,
) -> ProjectEntry:
    """A project; its group is `rg-<id>`. who: fields of its record."""
    terms = BudgetTerms(Decimal(amount) if amount is not None else None, currency, rule)
    scopes = tuple(Scope(AZURE, subscription, group) for group in groups or (f"rg-{project_id}",))
    project = Project(project_id, f"P{project_id}", f"Project {project_id}", "en", ("anna@example.com",), active=True)
    return ProjectEntry(replace(project, **who), scopes, terms)


# What a history that was played counts, told with the sum of all.
PLAYED = "history"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    histories = [counted for report in reports for name, counted in report.user_properties if name == PLAYED]
    counted = sum(map(Counter, histories), Counter[str]())
    if histories:
        listed = ", ".join(f"{number:,} {name}" for name, number in sorted(counted.items()))
        terminalreporter.write_line(f"{len(histories):,} histories: {listed}")


ENVIRONMENT = {
    "DatahubStorageConnectionString": "UseDevelopmentStorage=true",
    "EMAIL_OPERATORS": "ops@example.com",
    "EMAIL_BCC": "audit@example.com",
    "EMAIL_SENDER": "warden@example.com",
    "PORTAL_URL": "https://portal/{acronym}",
}


def only(kind: type[T], messages: Iterable[Message]) -> list[T]:
    """The messages of this kind."""
    return [message for message in messages if isinstance(message, kind)]


class Chain:
    """The app as `Composition` wires it, with fakes in the place of what lies outside.

    changes: settings by the names of their fields. `work` plays the host for what is on the fake queues. What is not
    here is the app's own: `chain.mails` is its mail ledger.
    """

    def __init__(self, database: Database, **changes: Any) -> None:
        self.app = Composition(settings.load(ENVIRONMENT))
        self.clock, self.costs, self.queues, self.mailer = FakeClock(), FakeCosts(), FakeQueues(), FakeMailer()
        self.costs.clock = self.clock
        self.azure_budgets, self.azure_locks = FakeBudgets(), FakeLocks()
        self.azure_compute = FakeCompute(self.azure_locks)
        self.azure_rights = FakeRights()
        parts = ("clock", "costs", "queues", "mailer", "azure_budgets", "azure_locks", "azure_compute", "azure_rights")
        self.parts = {name: getattr(self, name) for name in parts} | {"database": database}
        self.parts["retry"] = Retry(self.clock, lambda: 0.0)
        self.messages = 0
        self.configure(**changes)

    def configure(self, **changes: Any) -> None:
        """Settings from now on; whatever was built from those before is built anew."""
        self.app = Composition(self.app.settings.model_copy(update=changes))
        for name, part in self.parts.items():
            setattr(self.app, name, part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def tonight(self) -> int:
        """What the night's timer does; returns how many subscriptions are to be read."""
        return len(only(UpdateMessage, self.send(self.app.scheduler.tonight())))

    def run_now(self, **only: str) -> tuple[str, int]:
        """What `run` does. only: what of, and since when, as a person writes it."""
        return self.app.run_service.start(**only)

    def send(self, wanted: Iterable[Outgoing]) -> list[Message]:
        """Sends what a stage wants sent, as a trigger does."""
        return self.sent_by(lambda: self.app.chain.send(wanted))

    def sent_by(self, work: Callable[[], object]) -> list[Message]:
        """Does some work; returns the messages that came of it."""
        before = len(self.queues.sent)
        work()
        return [PARSERS[queue](text) for queue, text, _delay in self.queues.sent[before:]]

    def load(self, *entries: ProjectEntry) -> None:
        self.projects.load(entries, "tester", self.clock())

    def spend(self, amount: str, day: date, group: str = "rg-11", service: str = "Storage") -> None:
        self.costs.charges[(SUBSCRIPTION, group, day, service)] = Decimal(amount)

    def night(self) -> None:
        """The scheduler, and everything that follows from it."""
        self.tonight()
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

    def work_off(self, hours: float) -> None:
        """Works the queues off as time goes by, for so long."""
        end = self.clock.now + timedelta(hours=hours)
        waiting = [(self.clock.now + delay, queue, text) for queue, text, delay in self.queues.take()]
        while waiting and min(waiting)[0] <= end:
            due_at, queue, text = min(waiting)
            waiting.remove((due_at, queue, text))
            self.clock.now = max(self.clock.now, due_at)
            self.work(queue, text)
            waiting += [(self.clock.now + delay, *message) for *message, delay in self.queues.take()]
        self.clock.now = end
        self.queues.sent = [(queue, text, due_at - end) for due_at, queue, text in waiting]

    def work(self, queue: Queue, text: str, origin: str | None = None) -> list[Message]:
        """What a trigger does with one message; what follows from it goes onto the fake queues."""
        self.messages += 1
        name = origin or f"id-{self.messages}"
        return self.sent_by(lambda: self.app.chain.take(queue, text, name))

    def bury(self, queue: Queue, text: str, origin: str) -> list[Message]:
        """What a trigger does with a message of the queue's `-poison` queue."""
        return self.sent_by(lambda: self.app.chain.bury(queue, text, origin))

    def look(self) -> list[Message]:
        """A round of the watchdog."""
        return self.send(self.app.watchdog.look())

    def spent(self, project_id: int = 11) -> Decimal:
        views = {view.project.id: view for view in self.projects.list_projects(self.clock().date())}
        return views[project_id].spent

    def subjects(self) -> list[str]:
        return [short(mail.subject) for mail in self.mailer.sent]


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Chain:
    return Chain(emptied(request))
