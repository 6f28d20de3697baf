"""Whatever operators, hands in the portal, refunds, moves and crashes do, and however slow or unwilling Azure is:

once the dust has settled, what is locked is what the last order and the last complete figure ask for, and the database
knows it. One history here; `make crash-test` plays 2,000 (LOCK_HISTORIES), from CRASH_SEED on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random

import pytest

from shared.adapters.database.engine import Database
from shared.domain.budgets import BudgetTerms
from shared.domain.locks import LockMode, Outcome
from shared.domain.projects import LockPolicy, Project, ProjectEntry, Scope
from shared.messages import LockAction, LockMessage, LockTrigger, Queue, to_json
from shared.ports.azure import AZURE, GroupLock, LockLevel, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.conftest import emptied
from tests.fake_azure import FakeCompute, FakeLocks
from tests.fake_budgets import FakeBudgets
from tests.pipeline.conftest import ACTION_GROUP, NOVEMBER, PLAYED, SUBSCRIPTION
from tests.pipeline.lock_oracle import DAY, Account, LockOracle
from tests.pipeline.mortal import BUSY, LATER, REFUSED, TRUE, UNWELL_FOR, Fate, World

FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
HISTORIES = int(os.environ.get("LOCK_HISTORIES", "1"))
# The first group of each stays.
GROUPS = {11: ("rg-11", "rg-a"), 12: ("rg-12", "rg-b"), 13: ("rg-13",)}
MOVING = ("rg-a", "rg-b")
FIRST = date(2026, 11, 1)
FOREIGN = GroupLock("not-ours", LockLevel.CAN_NOT_DELETE, "finance")
# What was known at 100 % counts for three days; a figure that Azure may not have evaluated, for two.
SETTLES_IN_NIGHTS = 5
MOODS = [TRUE] * 6 + [REFUSED, LATER, BUSY]


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + HISTORIES))
def test_once_the_dust_has_settled_what_is_locked_is_what_was_ordered_last_and_truly_spent(
    seed: int, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    history = LockHistory(emptied(request, "sqlite"), seed)
    history.play()
    record_property(PLAYED, dict(history.world.fate.counted))


@dataclass
class Mood:
    """How Azure answers calls about locks, machines and budgets. answers: for each kind of call and group."""

    world: World
    random: Random
    answers: dict[tuple[str, str], str] = field(default_factory=dict)
    slow: bool = False

    def fails(self, call: str, about: str) -> Exception | None:
        """What a call raises; it may take long, and the process may die before it."""
        fate: Fate = self.world.fate
        fate.step()
        self.world.clock.forward(seconds=self.random.choice([1, 40]) if self.slow else 1)
        mood = self.answers.setdefault((call, about), TRUE)
        if mood != TRUE:
            fate.counted[f"calls {mood}"] += 1
        if mood == REFUSED:
            return NeverError(f"no role on {about} (403)")
        if mood == LATER or (mood == BUSY and self.random.random() < 0.5):
            return LaterError("Azure is unwell (503)", self.random.choice(UNWELL_FOR))
        return None


class LockHistory:
    """Some days of three projects, of which two hand groups on to each other."""

    def __init__(self, database: Database, seed: int) -> None:
        self.random = Random(f"locks {seed}")
        self.world = world = World(database, seed, chance=self.random.choice([0.0, 0.005, 0.01, 0.02]))
        self.mood = Mood(world, self.random)
        self.oracle = LockOracle()
        self.locks = FakeLocks(fails=lambda call, group: self.mood.fails(call, group.name))
        self.compute = FakeCompute(self.locks, fails=lambda call, group: self.mood.fails(call, group.name))
        self.budgets = FakeBudgets(
            today=lambda: world.clock().date(), fails=lambda call, name: self.mood.fails(f"budget {call}", name)
        )
        for name, part in (("locks", self.locks), ("compute", self.compute), ("budgets", self.budgets)):
            world.chain.parts[f"azure_{name}"] = part
            setattr(world.chain, f"azure_{name}", part)
        settings = {"lock_mode": LockMode.ENFORCE, "lock_action_group_id": ACTION_GROUP}
        world.chain.configure(**settings, lock_stop_compute=self.random.random() < 0.4)
        self.today = date(2026, 11, self.random.randint(10, 27))

    def play(self) -> None:
        self.begin()
        for _ in range(self.random.randint(3, 8)):
            self.change_moods()
            self.day()
        self.mood.answers.clear()
        self.mood.slow = False
        self.world.mood.moods.clear()
        for _ in range(SETTLES_IN_NIGHTS):
            self.night()
        self.world.run_until(self.world.clock() + DAY / 24)
        self.all_is_as_it_should_be()

    def begin(self) -> None:
        self.world.clock.now = datetime(self.today.year, self.today.month, self.today.day, 1, tzinfo=UTC)
        self.world.looks_at = self.world.clock()
        for number, groups in GROUPS.items():
            self.oracle.accounts[number] = Account(number, Decimal(self.random.choice([100, 300, 1000])))
            for group in groups:
                self.oracle.give(group, number)
                self.locks.add_group(_group(group))
                self.compute.add(_group(group), f"vm-{group}")
        self.locks.groups[SUBSCRIPTION, "rg-12"][FOREIGN.name] = FOREIGN
        for day in range((self.today - FIRST).days):
            for group in self.oracle.now:
                self.charge(group, FIRST + DAY * day, self.random.randint(0, 12))
        self.load()

    # --- what happens ---

    def day(self) -> None:
        """A night, and then what people do, at any hour."""
        self.night(hours=5)
        begun, hour = self.world.clock(), 0.0
        happenings = [self.spend, self.refund, self.revise, self.judge, self.move, self.order, self.order]
        happenings += [self.reach_into_the_portal, self.alert, self.start_machines]
        for happening in self.random.sample(happenings, self.random.randint(1, 6)):
            hour += self.random.choice([0, 0.01, 0.2, 2])
            self.world.run_until(begun.replace(minute=0) + DAY / 24 * hour)
            happening()
        self.go_on()

    def night(self, hours: int = 20) -> None:
        begins = datetime(self.today.year, self.today.month, self.today.day, 2, tzinfo=UTC)
        self.world.run_until(begins)
        self.world.fire(lambda: self.world.chain.send(self.world.chain.scheduler.tonight()))
        self.world.fate.counted["nights"] += 1
        self.world.run_until(begins + DAY / 24 * hours)
        self.azure_evaluates()
        if hours == 20:
            self.today += DAY

    def go_on(self) -> None:
        """To the next day."""
        end = datetime(self.today.year, self.today.month, self.today.day, 23, 59, tzinfo=UTC)
        self.world.run_until(max(end, self.world.clock()))
        self.today += DAY

    def spend(self) -> None:
        for group in self.oracle.now:
            self.charge(group, self.today, self.random.randint(0, 120))

    def refund(self) -> None:
        group, day = self.random.choice(list(self.oracle.now)), self.today - DAY * self.random.randint(0, 9)
        self.counted("refunds")
        self.charge(group, day, self.random.choice([-300, -50, 0, 500]))

    def charge(self, group: str, day: date, amount: int) -> None:
        self.oracle.book[group, day] = Decimal(amount)
        self.world.costs.charges[SUBSCRIPTION, group, day, "Storage"] = Decimal(amount)

    def revise(self) -> None:
        number = self.any_project()
        self.oracle.budget(number, self.random.choice([None, Decimal(1), *map(Decimal, (100, 300, 1000, 5000))]))
        self.counted("revisions")
        self.load()

    def judge(self) -> None:
        """A project is marked never, or made inactive, or neither any more."""
        number = self.any_project()
        if self.random.random() < 0.5:
            self.oracle.mark_never(number, not self.oracle.accounts[number].never)
        else:
            self.oracle.accounts[number].active = not self.oracle.accounts[number].active
        self.counted("projects changed")
        self.load()
        # Whoever has marked it for a moment only has said nothing of the orders.
        self.world.run_until(self.world.clock() + DAY / 24)

    def move(self) -> None:
        group, number = self.random.choice(MOVING), self.any_project()
        if self.oracle.now[group] != number and self.oracle.owners[group][-1][0] <= self.today:
            self.oracle.give(group, number, self.world.clock().date())
            self.counted("groups moved")
            self.load()

    def load(self) -> None:
        self.world.chain.projects.load([self.entry(each) for each in GROUPS], "tester", self.world.clock())

    def entry(self, number: int) -> ProjectEntry:
        account = self.oracle.accounts[number]
        policy = LockPolicy.NEVER if account.never else LockPolicy.AUTO
        project = Project(number, f"P{number}", f"P{number}", "en", ("anna@example.com",), account.active, policy)
        groups = [group for group, owner in self.oracle.now.items() if owner == number]
        terms = BudgetTerms(account.amount, "CAD", NOVEMBER)
        return ProjectEntry(project, tuple(Scope(AZURE, SUBSCRIPTION, group) for group in groups), terms)

    def order(self) -> None:
        """Orders, the last of which counts: its message may come first, or never, where the command has died."""
        number = self.any_project()
        for _ in range(self.random.choice([1, 1, 2, 3])):
            locks = self.random.random() < 0.4 and not self.oracle.accounts[number].never
            action = LockAction.LOCK if locks else LockAction.UNLOCK
            self.world.clock.forward(seconds=1)
            self.world.chain.lock_service.order(f"P{number}", action, "because", "olga")
            self.oracle.order(number, locks, self.world.clock().date())
            self.counted("orders")
            if self.random.random() < 0.2:
                self.counted("messages of orders lost")
                self.world.queues.take()
            self.world.take_sent()

    def reach_into_the_portal(self) -> None:
        """Someone deletes a lock, of ours or not."""
        group = self.random.choice(list(self.oracle.now))
        held = self.locks.groups[SUBSCRIPTION, group]
        for name in [name for name in held if name != FOREIGN.name]:
            self.counted("locks deleted by hand")
            del held[name]

    def start_machines(self) -> None:
        for machines in self.compute.machines.values():
            for machine in machines:
                machine.state = "running"

    def alert(self) -> None:
        """Azure calls, or somebody pretends that it does, or that the project is to be locked."""
        number = self.random.choice([*GROUPS, 99])
        by_id = LockMessage(LockAction.LOCK, number if number in GROUPS else 11, reason="please")
        named = LockMessage(
            LockAction.LOCK,
            budget_name=f"warden-p{number}",
            subscription_id=SUBSCRIPTION,
            trigger=LockTrigger.ALERT,
        )
        self.counted("calls that nobody vouches for")
        self.world.put(Queue.LOCK, to_json(self.random.choice([named, by_id])))

    def azure_evaluates(self) -> None:
        """Once a day, and calls where a budget is used up."""
        for key, budget in self.budgets.budgets.items():
            spend = self.oracle.spent_in(set(budget.resource_groups or ()), self.today)
            self.budgets.budgets[key] = replace(budget, current_spend=spend)
            if spend >= budget.amount:
                self.counted("alerts")
                message = LockMessage(
                    LockAction.LOCK, budget_name=key[1], subscription_id=key[0], trigger=LockTrigger.ALERT
                )
                self.world.put(Queue.LOCK, to_json(message))

    def change_moods(self) -> None:
        self.mood.slow = self.random.random() < 0.2
        calls = [(call, group) for call in ("put", "delete", "locks_on", "running") for group in self.oracle.now]
        calls += [(f"budget {call}", f"warden-p{number}") for call in ("get", "put", "delete") for number in GROUPS]
        self.mood.answers = {each: self.random.choice(MOODS) for each in calls if self.random.random() < 0.25}
        months = sorted({date(2026, 11, 1), self.today.replace(day=1)})
        moods = self.world.mood.moods
        moods.clear()
        moods.update({(SUBSCRIPTION, month): self.random.choice(MOODS) for month in months})

    def any_project(self) -> int:
        return self.random.choice(list(GROUPS))

    def counted(self, what: str) -> None:
        self.world.fate.counted[what] += 1

    # --- what is compared ---

    def all_is_as_it_should_be(self) -> None:
        day = self.today - DAY
        locked = {group: f"budget-warden-{number}" for group, number in self.oracle.locked(day).items()}
        there = {group: set(held) - {FOREIGN.name} for (_, group), held in self.locks.groups.items()}
        assert there == {group: {locked[group]} if group in locked else set() for group in self.oracle.now}
        assert FOREIGN.name in self.locks.groups[SUBSCRIPTION, "rg-12"]
        ledger, clock = self.world.chain.lock_ledger, self.world.clock
        for number in GROUPS:
            facts = ledger.facts(number, clock())
            assert facts is not None
            held = {group.name for group in facts.held_groups}
            assert held == {group for group, name in locked.items() if name == f"budget-warden-{number}"}, number
            assert (facts.held_since is not None) is bool(held)
        assert self.world.waiting == []
        assert self.world.fate.counted["failed functions"] == 0
        self.what_was_stopped_is_written_down()

    def what_was_stopped_is_written_down(self) -> None:
        decisions = self.world.chain.lock_ledger.decisions()
        named = {
            (group, machine)
            for view in decisions
            if view.entry.outcome is Outcome.STOPPING
            for group, machine, _ in view.entry.details["machines"]
        }
        assert {(group, machine) for call, group, machine in self.compute.calls if call == "deallocate"} <= named


def _group(name: str) -> ResourceGroup:
    return ResourceGroup(SUBSCRIPTION, name)
