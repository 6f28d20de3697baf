"""Whatever happens in whatever order, charges, usage, mails and locks are those of a slow, obvious model.

Each project has a resource group, which is charged in the currency of its budget (but on one day, in one of which
nobody knows a rate), and an AWS account, which is charged in dollars. `make test` plays 20 histories, `make crash-test`
200.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, scopes
from shared.domain.aws import AWS
from shared.domain.budgets import BudgetTerms
from shared.domain.currencies import Converting
from shared.domain.locks import LockMode, WhenUnsure
from shared.domain.projects import Scope
from shared.messages import LockAction, LockMessage, LockTrigger, Queue, to_json
from shared.pipeline.azure_budgets.names import azure_name
from shared.ports.azure import AZURE, AzureBudget, ResourceGroup
from shared.ports.cloud_accounts import ConnectionType
from tests.aws_worlds import cloud_account
from tests.cases import ALL
from tests.contracts.standing_views import assert_as_listed
from tests.fakes import FakePayers
from tests.pipeline.conftest import NOVEMBER, SUBSCRIPTION, Chain, entry
from tests.subjects import short

PROJECTS = (11, 12)
THRESHOLDS = (25, 50, 80, 100)
DAYS = [date(2026, 10, 30), date(2026, 11, 2), date(2026, 11, 19)]
# On which a resource group is charged in a currency without any rate.
UNRATED = date(2026, 11, 10)
PAYER, MEMBERS = "999999999999", {11: "111111111111", 12: "222222222222"}
# Of a euro, by the days on which they were set; each counts for a week where no later one was.
RATES = {
    date(2026, 10, 30): {"USD": Decimal("1.0867"), "CAD": Decimal("1.5123")},
    date(2026, 11, 19): {"USD": Decimal("1.0931"), "CAD": Decimal("1.4989")},
}
Charged = tuple[int, str, date]
"""Project, provider, day"""

amounts = (
    st.integers(-200, 900).map(Decimal)
    | st.decimals("-5", "900", places=10)
    | st.sampled_from([Decimal(500), Decimal(1000), Decimal(1500)])
)
# Where a large charge becomes 0 the answer is doubted, of which this model knows nothing.
costs = amounts.filter(bool)
clouds = st.sampled_from([AZURE, AZURE, AWS])
charge_events = st.tuples(st.just("charge"), st.sampled_from(PROJECTS), clouds, st.sampled_from(DAYS), costs)
unrated_events = st.tuples(st.just("charge"), st.sampled_from(PROJECTS), st.just(AZURE), st.just(UNRATED), costs)
budget_events = st.tuples(
    st.just("budget"),
    st.sampled_from(PROJECTS),
    st.sampled_from([0, 100, 400, 700, 1000, 1500, 5000, 9000]).map(Decimal),
)
azure_events = st.tuples(st.just("azure"), st.sampled_from(PROJECTS), amounts | st.none())
alert_events = st.tuples(st.just("alert"), st.sampled_from(PROJECTS))
hand_events = st.tuples(st.just("hand"), st.sampled_from(PROJECTS))
again_events = st.tuples(st.just("again"), st.integers(0, 30))
events = st.lists(
    charge_events
    | charge_events
    | budget_events
    | azure_events
    | alert_events
    | hand_events
    | again_events
    | st.just(("night",))
    | st.just(("night",))
    | unrated_events,
    min_size=1,
    max_size=25,
)

LOCKED_AND_OPENED_AGAIN: list[tuple[object, ...]] = [
    ("charge", 11, AZURE, DAYS[1], Decimal(1000)),
    ("night",),
    *(("again", number) for number in range(8)),
    ("budget", 11, Decimal(1500)),
    *(("again", number) for number in range(8)),
    ("night",),
    ("charge", 11, AZURE, DAYS[1], Decimal(1600)),
    ("hand", 11),
    ("charge", 11, AZURE, DAYS[1], Decimal(900)),
    ("night",),
    ("budget", 11, Decimal(5000)),
    ("night",),
]

RAISED_BELOW_WHAT_WAS_READ_ONCE: list[tuple[object, ...]] = [
    ("charge", 11, AZURE, DAYS[1], Decimal(1400)),
    ("night",),
    ("charge", 11, AZURE, DAYS[1], Decimal(300)),
    ("night",),
    ("budget", 11, Decimal(1100)),
    ("night",),
]
RAISED_BELOW_WHAT_AZURE_SHOWED: list[tuple[object, ...]] = [
    ("azure", 11, Decimal(1400)),
    ("alert", 11),
    ("azure", 11, Decimal(900)),
    ("charge", 11, AZURE, DAYS[1], Decimal(300)),
    ("budget", 11, Decimal(1100)),
    ("night",),
]
AZURE_SILENT_SINCE: list[tuple[object, ...]] = [
    ("azure", 11, Decimal(1400)),
    ("alert", 11),
    ("azure", 11, None),
    ("charge", 11, AZURE, DAYS[1], Decimal(1200)),
    ("night",),
    ("charge", 11, AZURE, DAYS[1], Decimal(300)),
    ("budget", 11, Decimal(1300)),
    ("night",),
]


LOCKED_BY_BOTH_CLOUDS: list[tuple[object, ...]] = [
    ("charge", 11, AZURE, DAYS[1], Decimal(600)),
    ("charge", 11, AWS, DAYS[1], Decimal(300)),
    ("night",),
    ("budget", 11, Decimal(1500)),
    ("night",),
]
OPENED_ONLY_BY_A_WHOLE_FIGURE: list[tuple[object, ...]] = [
    ("charge", 11, AWS, DAYS[2], Decimal(900)),
    ("night",),
    ("charge", 11, AZURE, UNRATED, Decimal(5)),
    ("budget", 11, Decimal(5000)),
    ("night",),
]
LOCKED_AND_WITHOUT_BUDGET: list[tuple[object, ...]] = [
    ("charge", 12, AZURE, DAYS[2], Decimal(1500)),
    ("night",),
    ("budget", 12, Decimal(0)),
    ("night",),
]


@dataclass
class Model:
    """What ought to be, in the plainest words there are."""

    provider: dict[Charged, Decimal]
    stored: dict[Charged, Decimal] = field(default_factory=dict)
    amount: dict[int, Decimal] = field(default_factory=lambda: dict.fromkeys(PROJECTS, Decimal(1000)))
    told: dict[int, set[int]] = field(default_factory=lambda: {number: set() for number in PROJECTS})
    due: set[int] = field(default_factory=set)
    mails: Counter[tuple[int, int]] = field(default_factory=Counter)
    azure: dict[int, Decimal | None] = field(default_factory=dict)
    """what Azure's own budgets show; None where they don't"""
    held: dict[int, tuple[Decimal, Decimal | None]] = field(default_factory=dict)
    """the locked projects: the budget when the lock was last found right, and what Azure showed then, or before"""
    lock_mails: Counter[tuple[int, str]] = field(default_factory=Counter)
    revision: Counter[int] = field(default_factory=Counter)
    full: dict[int, int] = field(default_factory=dict)
    """the revision of which people have read that 100 % is reached, and that the project is being locked"""
    held_for: dict[int, int] = field(default_factory=dict)
    """the revision for which a locked project's lock was last found right"""

    def usage(self, project: int) -> Decimal:
        """In the currency of its budget, as far as that can be said."""
        return sum(
            (
                in_budget_currency(cost, day) if cloud == AWS else cost
                for (owner, cloud, day), cost in self.stored.items()
                if owner == project and day.month == 11 and day != UNRATED
            ),
            Decimal(0),
        )

    def lacks(self, project: int) -> bool:
        """Whether something of it can't be said."""
        return (project, AZURE, UNRATED) in self.stored

    def reached(self, project: int) -> set[int]:
        amount = self.amount[project]
        return {t for t in THRESHOLDS if amount and self.usage(project) >= amount * t / 100}

    def read(self, projects: tuple[int, ...]) -> None:
        self.stored |= {charged: cost for charged, cost in self.provider.items() if charged[0] in projects}
        self.due |= set(projects)
        self.check(projects)

    def revise(self, project: int, amount: Decimal) -> None:
        self.amount[project] = amount
        self.revision[project] += 1
        self.told[project] &= self.reached(project)
        self.due.add(project)

    def check(self, projects: tuple[int, ...]) -> None:
        for project in projects:
            self.due.discard(project)
            new = self.reached(project) - self.told[project]
            if new and max(new) > max(self.told[project], default=0):
                self.alert(project, max(new))
            self.told[project] |= new
            if 100 in self.reached(project):
                self.lock(project)
            self.unlock(project)

    def alert(self, project: int, threshold: int) -> None:
        """Who has read of the lock is not told of 100 % too."""
        if threshold == 100 and project in self.held and self.held_for[project] == self.revision[project]:
            return
        self.mails[project, threshold] += 1
        if threshold == 100:
            self.full[project] = self.revision[project]

    def lock(self, project: int) -> None:
        """Locked is where our costs or Azure's show 100 %; Azure is asked whenever that is looked into."""
        amount, shown = self.amount[project], self.azure.get(project)
        # What lacks a rate is known to nobody (docs/currencies.md).
        known = Decimal(0) if self.lacks(project) else self.usage(project)
        if amount and max(known, shown or Decimal(0)) >= amount:
            if project not in self.held and self.full.get(project) != self.revision[project]:
                self.lock_mails[project, "locked"] += 1
            self.held_for[project] = self.revision[project]
            _, showed = self.held.get(project, (amount, None))
            self.held[project] = (amount, showed if shown is None else shown)

    def unlock(self, project: int) -> None:
        """A budget raised above what is spent, and what Azure showed, takes a lock off; so does none at all.

        What is spent has to be known for that.
        """
        amount, usage = self.amount[project], self.usage(project)
        if amount and self.lacks(project):
            return
        held_amount, showed = self.held.get(project, (amount, None))
        if project in self.held and (not amount or amount > max(held_amount, usage, showed or usage)):
            del self.held[project]
            self.lock_mails[project, "unlocked"] += 1


@given(happened=events)
@example(happened=LOCKED_AND_OPENED_AGAIN)
@example(happened=RAISED_BELOW_WHAT_WAS_READ_ONCE)
@example(happened=RAISED_BELOW_WHAT_AZURE_SHOWED)
@example(happened=AZURE_SILENT_SINCE)
@example(happened=LOCKED_AND_WITHOUT_BUDGET)
@example(happened=LOCKED_BY_BOTH_CLOUDS)
@example(happened=OPENED_ONLY_BY_A_WHOLE_FIGURE)
@example(happened=[("charge", 11, AZURE, UNRATED, Decimal(1)), ("charge", 11, AZURE, DAYS[1], Decimal(1000))])
@settings(max_examples=200 if ALL else 20, deadline=None)
def test_any_history_ends_as_the_model_says(
    fresh_database: Callable[[], Database], happened: list[tuple[object, ...]]
) -> None:
    chain = Chain(fresh_database(), lock_mode=LockMode.ENFORCE, lock_when_unsure=WhenUnsure.LEAVE)
    model = Model({(number, cloud, day): Decimal(1) for number in PROJECTS for cloud in (AZURE, AWS) for day in DAYS})
    over_two_clouds(chain)
    for number in PROJECTS:
        chain.azure_locks.add_group(ResourceGroup(SUBSCRIPTION, f"rg-{number}"))
    past: list[tuple[Queue, str]] = []
    for number, event in enumerate([*happened, ("night",)]):
        play(chain, model, event, past, number)
    assert stored_charges(chain) == model.stored
    views = {view.project.id: view for view in chain.projects.list_projects(chain.clock().date())}
    for project in PROJECTS:
        assert views[project].spent == model.usage(project)
        assert bool(views[project].gaps) == model.lacks(project)
    assert_as_listed(chain.projects, chain.standings, chain.clock().date())
    assert sent_alerts(chain) == model.mails
    assert locked_projects(chain) == set(model.held)
    assert sent_lock_mails(chain) == model.lock_mails
    assert chain.letters.letters() == []


def over_two_clouds(chain: Chain) -> None:
    """Both projects, and whom their costs are read from, which converts them."""
    payers = FakePayers(clock=chain.clock)
    chain.parts |= {
        "sources": {ConnectionType.COST_MANAGEMENT: chain.costs, ConnectionType.COST_EXPLORER: payers},
        "rate_feed": Nobody(),
    }
    chain.configure(converting=Converting.ECB)
    chain.rates.keep([(day, *rate) for day, rates in RATES.items() for rate in rates.items()], chain.clock())
    chain.costs.currency_of = lambda day: "AED" if day == UNRATED else "CAD"
    payer = chain.cloud_accounts.add(cloud_account(PAYER, is_organization=True))
    chain.load(
        *(
            replace(known, scopes=(*known.scopes, Scope(AWS, MEMBERS[number])))
            for number in PROJECTS
            for known in [entry(number, rule=NOVEMBER)]
        )
    )
    chain.payers.adopt(payer, AWS, list(MEMBERS.values()))


def in_budget_currency(cost: Decimal, day: date) -> Decimal:
    """By the last rate before, rounded half-even to ten places."""
    rates = RATES[max(each for each in RATES if each <= day)]
    return Decimal(round(Fraction(cost) * Fraction(rates["CAD"]) / Fraction(rates["USD"]) * 10**10)).scaleb(-10)


def play(chain: Chain, model: Model, event: tuple[object, ...], past: list[tuple[Queue, str]], number: int) -> None:
    match event:
        case ("charge", int(project), str(cloud), date() as day, Decimal() as cost):
            model.provider[project, cloud, day] = cost
        case ("budget", int(project), Decimal() as amount) if amount != model.amount[project]:
            model.revise(project, amount)
            terms = BudgetTerms(amount, "CAD", NOVEMBER)
            chain.projects.revise_budget(project, terms, "tester", "test", chain.clock())
        case ("night",):
            model.read(PROJECTS)
            mirror(chain, model)
            chain.clock.forward(minutes=1)
            chain.run_now()
            drain_remembering(chain, past)
        case ("azure", int(project), Decimal() | None as cost):
            model.azure[project] = cost
            show_in_azure(chain, project, cost)
        case ("alert", int(project)):
            model.lock(project)
            chain.work(Queue.LOCK, to_json(alert_of(project)), f"alert-{number}")
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
    """A check that comes again is a check; a reading that is done asks for the checks that are still due.

    A lock's message that comes again is looked into again: what was right once may be so no longer.
    """
    fields = json.loads(text)
    if queue is Queue.NOTIFICATION:
        model.check(tuple(fields.get("ProjectIds") or [fields["ProjectId"]]))
    elif queue is Queue.UPDATE:
        model.check(tuple(sorted(model.due)))
    elif queue is Queue.LOCK:
        {"lock": model.lock, "unlock": model.unlock}[fields["Action"]](fields["ProjectId"])


def mirror(chain: Chain, model: Model) -> None:
    at_aws = chain.parts["sources"][ConnectionType.COST_EXPLORER].charges
    for (project, cloud, day), cost in model.provider.items():
        if cloud == AWS:
            at_aws[PAYER, MEMBERS[project], day, "Amazon EC2"] = cost
        else:
            # Azure spells a group as it likes.
            chain.spend(str(cost), day, f"rg-{project}" if day.day % 2 else f"RG-{project}")


def show_in_azure(chain: Chain, project: int, cost: Decimal | None) -> None:
    """Azure's own budget for the project's group and month, None: not evaluated yet; its amount decides nothing."""
    name, first, last = azure_name(f"P{project}"), date(2026, 11, 1), date(2036, 10, 31)
    budget = AzureBudget(
        name, Decimal(1), "Monthly", first, last, (f"rg-{project}",), {}, current_spend=cost, currency="CAD"
    )
    chain.azure_budgets.budgets[SUBSCRIPTION, name] = budget


def alert_of(project: int) -> LockMessage:
    name = azure_name(f"P{project}")
    return LockMessage(LockAction.LOCK, budget_name=name, subscription_id=SUBSCRIPTION, trigger=LockTrigger.ALERT)


def drain_remembering(chain: Chain, past: list[tuple[Queue, str]]) -> None:
    while taken := chain.queues.take():
        # Last in, first out: queues promise no order.
        for queue, text, _ in reversed(taken):
            past.append((queue, text))
            chain.work(queue, text)


def stored_charges(chain: Chain) -> dict[Charged, Decimal]:
    which = (scopes.c.project_id, scopes.c.provider, charges.c.charge_period_start, charges.c.billed_cost)
    rows = chain.database.read(lambda connection: connection.execute(select(*which).join(scopes)).all())
    return {(row[0], row[1], row[2]): row[3] for row in rows}


class Nobody:
    """A feed that sets no rate."""

    def read(self, since: date) -> list[tuple[date, str, Decimal]]:
        return []


def locked_projects(chain: Chain) -> set[int]:
    return {number for number in PROJECTS if chain.azure_locks.groups[SUBSCRIPTION, f"rg-{number}"]}


def subjects(chain: Chain) -> list[tuple[int, str]]:
    """Project and subject of each mail to a project's contacts."""
    return [
        (int(mail.subject.partition("P")[2][:2]), short(mail.subject))
        for mail in chain.mailer.sent
        if mail.to != ("ops@example.com",)
    ]


def sent_alerts(chain: Chain) -> Counter[tuple[int, int]]:
    return Counter(
        (project, threshold)
        for project, subject in subjects(chain)
        for threshold in THRESHOLDS
        if re.search(rf"\b{threshold} %", subject)
    )


def sent_lock_mails(chain: Chain) -> Counter[tuple[int, str]]:
    return Counter(
        (project, word[0].split()[-1])
        for project, subject in subjects(chain)
        if (word := re.search(r"The project is (un)?locked\b", subject)) is not None
    )
