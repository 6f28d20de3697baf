"""Whatever happens in whatever order, charges, usage and mails are those of a slow, obvious model."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, scopes
from shared.domain.budgets import BudgetTerms
from shared.messages import Queue
from tests.pipeline.conftest import NOVEMBER, Chain, entry

PROJECTS = (11, 12)
THRESHOLDS = (25, 50, 80, 100)
DAYS = [date(2026, 10, 30), date(2026, 11, 2), date(2026, 11, 19)]

amounts = st.integers(-200, 900).map(Decimal) | st.decimals("-5", "900", places=10)
charge_events = st.tuples(st.just("charge"), st.sampled_from(PROJECTS), st.sampled_from(DAYS), amounts)
budget_events = st.tuples(
    st.just("budget"), st.sampled_from(PROJECTS), st.sampled_from([0, 100, 400, 700, 1000, 1500, 5000]).map(Decimal)
)
hand_events = st.tuples(st.just("hand"), st.sampled_from(PROJECTS))
again_events = st.tuples(st.just("again"), st.integers(0, 30))
events = st.lists(
    charge_events | budget_events | hand_events | again_events | st.just(("night",)), min_size=1, max_size=25
)


@dataclass
class Model:
    """What ought to be, in the plainest words there are."""

    provider: dict[tuple[int, date], Decimal]
    stored: dict[tuple[int, date], Decimal] = field(default_factory=dict)
    amount: dict[int, Decimal] = field(default_factory=lambda: dict.fromkeys(PROJECTS, Decimal(1000)))
    told: dict[int, set[int]] = field(default_factory=lambda: {number: set() for number in PROJECTS})
    due: set[int] = field(default_factory=set)
    mails: Counter[tuple[int, int]] = field(default_factory=Counter)

    def usage(self, project: int) -> Decimal:
        return sum(
            (cost for (owner, day), cost in self.stored.items() if owner == project and day.month == 11), Decimal(0)
        )

    def reached(self, project: int) -> set[int]:
        amount = self.amount[project]
        return {t for t in THRESHOLDS if amount and self.usage(project) >= amount * t / 100}

    def read(self, projects: tuple[int, ...]) -> None:
        for (owner, day), cost in self.provider.items():
            if owner in projects:
                self.stored[owner, day] = cost
        self.due |= set(projects)
        self.check(projects)

    def revise(self, project: int, amount: Decimal) -> None:
        self.amount[project] = amount
        self.told[project] &= self.reached(project)
        self.due.add(project)

    def check(self, projects: tuple[int, ...]) -> None:
        for project in projects:
            self.due.discard(project)
            new = self.reached(project) - self.told[project]
            if new and max(new) > max(self.told[project], default=0):
                self.mails[project, max(new)] += 1
            self.told[project] |= new


@given(happened=events)
@settings(max_examples=60, deadline=None)
def test_any_history_ends_as_the_model_says(sqlite_template: Path, happened: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(sqlite_template, f"{folder}/warden.db")
        chain = Chain(Database(f"sqlite:///{folder}/warden.db"))
        model = Model({(number, day): Decimal(1) for number in PROJECTS for day in DAYS})
        chain.load(*(entry(number, rule=NOVEMBER) for number in PROJECTS))
        past: list[tuple[Queue, str]] = []
        for number, event in enumerate([*happened, ("night",)]):
            play(chain, model, event, past, number)
        assert stored_charges(chain) == model.stored
        for project in PROJECTS:
            assert chain.spent(project) == model.usage(project)
        assert sent_alerts(chain) == model.mails
        chain.database.close()


def play(chain: Chain, model: Model, event: tuple[object, ...], past: list[tuple[Queue, str]], number: int) -> None:
    match event:
        case ("charge", int(project), date() as day, Decimal() as cost):
            model.provider[project, day] = cost
        case ("budget", int(project), Decimal() as amount):
            if amount != model.amount[project]:
                model.revise(project, amount)
                terms = BudgetTerms(amount, "CAD", NOVEMBER)
                chain.projects.revise_budget(project, terms, "tester", "test", chain.clock())
        case ("night",):
            model.read(PROJECTS)
            mirror(chain, model)
            chain.clock.forward(minutes=1)
            chain.scheduler.now()
            drain_remembering(chain, past)
        case ("hand", int(project)):
            model.read((project,))
            mirror(chain, model)
            chain.work(Queue.UPDATE, json.dumps({"ProjectId": project}), f"hand-{number}")
            drain_remembering(chain, past)
        case ("again", int(which)) if past:
            queue, text = past[which % len(past)]
            model_again(model, queue, text)
            chain.work(queue, text, f"again-{number}")
            drain_remembering(chain, [])


def model_again(model: Model, queue: Queue, text: str) -> None:
    """A check that comes again is a check; a reading that is done asks for the checks that are still due."""
    fields = json.loads(text)
    if queue is Queue.NOTIFICATION:
        model.check(tuple(fields.get("ProjectIds") or [fields["ProjectId"]]))
    elif queue is Queue.UPDATE:
        model.check(tuple(sorted(model.due)))


def mirror(chain: Chain, model: Model) -> None:
    for (project, day), cost in model.provider.items():
        # Azure spells a group as it likes.
        chain.spend(str(cost), day, f"rg-{project}" if day.day % 2 else f"RG-{project}")


def drain_remembering(chain: Chain, past: list[tuple[Queue, str]]) -> None:
    while taken := chain.queues.take():
        # Last in, first out: queues promise no order.
        for queue, text, _ in reversed(taken):
            past.append((queue, text))
            chain.work(queue, text)


def stored_charges(chain: Chain) -> dict[tuple[int, date], Decimal]:
    rows = select(scopes.c.project_id, charges.c.charge_period_start, charges.c.billed_cost).join(scopes)
    return {(row[0], row[1]): row[2] for row in chain.database.read(lambda connection: connection.execute(rows).all())}


def sent_alerts(chain: Chain) -> Counter[tuple[int, int]]:
    sent: Counter[tuple[int, int]] = Counter()
    for mail in chain.mailer.sent:
        if mail.to == ("ops@example.com",):
            continue
        project = int(mail.subject.partition("P")[2][:2])
        sent[project, next(t for t in reversed(THRESHOLDS) if f"{t} %" in mail.subject)] += 1
    return sent
