"""The AllocationLedger on every database, and what its rules make of usage, alerts and locks."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.tables import projects
from shared.domain.allocation import Given, InForce, Method, Pool, Rule, Share, allocating, split
from shared.domain.budgets import Rollover
from shared.domain.owners import OwnedScope
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.checks import Judgement, ProjectUsage
from shared.ports.errors import NeverError
from shared.ports.projects import ProjectView
from tests.contracts.export_world import SUB as EXPORTED
from tests.contracts.export_world import World, days, each_day, export
from tests.contracts.ledger_data import (
    LOOKBACK_DAYS,
    MONTHLY,
    NOVEMBER,
    NOW,
    SUB,
    TODAY,
    Judges,
    Ledgers,
    entry,
    november,
    terms,
)

HUB = "2caaa5a3-2b66-438e-8ab4-bce37d518c5d"
LATER = NOW + timedelta(hours=1)
FIRST = NOVEMBER.start


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


def rule(*shares: tuple[int, str | None], **changes: Any) -> Rule:
    """A rule of the hub's sub-account with fixed shares, from November on."""
    listed = tuple(Share(project_id, percent and Decimal(percent)) for project_id, percent in shares)
    return replace(Rule("Hub", Pool("azure", HUB), Method.FIXED, FIRST, None, listed), **changes)


def load(ledgers: Ledgers, *rules: Rule, now: datetime = NOW) -> int:
    """Loads rules; returns how many of them are new, or say something else."""
    return len(ledgers.allocations.load(rules, "ann", "agreed", now, lambda _changes: True))


def given(ledgers: Ledgers, of: Period = NOVEMBER) -> dict[tuple[int | None, str], str]:
    """What projects got, and the rest, by project and currency."""
    found: dict[tuple[int | None, str], Decimal] = {}
    for each in ledgers.allocations.given(of):
        key = each.project_id, each.currency
        found[key] = found.get(key, Decimal(0)) + each.amount
    return {key: f"{amount.normalize():f}" for key, amount in found.items()}


def view(ledgers: Ledgers, project_id: int) -> ProjectView:
    found = ledgers.projects.get(project_id, TODAY)
    assert found is not None
    return found


def usage_of(ledgers: Ledgers, project_id: int) -> ProjectUsage:
    """What a check sees."""
    seen: list[ProjectUsage] = []

    def judge(usage: ProjectUsage) -> Judgement:
        seen.append(usage)
        return Judgement(None)

    ledgers.checks.check([project_id], Judges(judge), NOW)
    return next(each for each in seen if not each.over)


@pytest.fixture
def hub(ledgers: Ledgers) -> Ledgers:
    """Two projects in one subscription; another, which nobody owns, costs 100 and a group "net" of it 10."""
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), entry(2, terms=terms(rule=MONTHLY)))
    ledgers.spend(("rg-1", november(2), "VM", "300"), ("rg-2", november(2), "VM", "100"))
    ledgers.spend(
        ("fire", november(2), "Firewall", "60"),
        ("", november(2), "Support", "40"),
        ("Net", november(3), "DNS", "10"),
        sub_account_id=HUB,
        now=LATER,
    )
    return ledgers


def test_fixed_shares_are_given_and_the_rest_is_known(hub: Ledgers) -> None:
    load(hub, rule((1, "50"), (2, "30")))
    assert given(hub) == {(1, "CAD"): "55", (2, "CAD"): "33", (None, "CAD"): "22"}
    assert hub.allocations.given(Period(november(3), november(4)), (AZURE, HUB)) == [
        Given("Hub", 1, "CAD", Decimal(5)),
        Given("Hub", 2, "CAD", Decimal(3)),
        Given("Hub", None, "CAD", Decimal(2)),
    ]
    assert hub.allocations.given(NOVEMBER, (AZURE, SUB)) == []
    assert hub.allocations.given(NOVEMBER, ("aws", HUB)) == []


def test_shares_go_by_own_charges_of_the_day_here_or_everywhere(hub: Ledgers) -> None:
    load(hub, rule(method=Method.EVERYWHERE))
    # On the 3rd nobody has spent anything: that day's 10 stay.
    assert given(hub) == {(1, "CAD"): "75", (2, "CAD"): "25", (None, "CAD"): "10"}
    load(hub, rule((2, None), method=Method.EVERYWHERE))
    assert given(hub) == {(2, "CAD"): "100", (None, "CAD"): "10"}
    load(hub, rule((1, None), (2, None), method=Method.PROPORTIONAL))
    assert given(hub) == {(None, "CAD"): "110"}
    hub.load(entry(2, "fire", subscription_id=HUB, terms=terms(rule=MONTHLY)))
    assert given(hub) == {(2, "CAD"): "40", (None, "CAD"): "10"}


def test_a_groups_rule_goes_before_that_of_the_sub_account(hub: Ledgers) -> None:
    load(hub, rule((1, "100")), rule((2, "100"), name="Net", pool=Pool("azure", HUB.upper(), "NET")))
    assert given(hub) == {(1, "CAD"): "100", (2, "CAD"): "10", (None, "CAD"): "0"}
    hub.allocations.end("net", november(2), "bob", "over", LATER)
    assert given(hub) == {(1, "CAD"): "110", (None, "CAD"): "0"}


def test_what_a_project_owns_is_not_allocated_from_that_day_on(hub: Ledgers) -> None:
    net = rule((1, "100"), pool=Pool("azure", HUB, "Net"))
    load(hub, net)
    hub.load(entry(2, "net", subscription_id=HUB))
    assert given(hub) == {}
    with pytest.raises(NeverError, match=f"can't allocate the group Net of {HUB}: it belongs to P2"):
        load(hub, replace(net, name="other", first_day=november(9)))


def test_two_rules_for_the_same_spend_are_refused_and_nothing_is_written(hub: Ledgers) -> None:
    load(hub, rule((1, "50"), last_day=november(10)))
    load(hub, rule((1, "50"), name="next", first_day=november(11)))
    with pytest.raises(NeverError, match=f"next and other would both allocate .*{HUB} on 2026-11-15"):
        load(
            hub,
            rule((1, "1"), name="fine", pool=Pool("azure", SUB)),
            rule((1, "9"), name="other", first_day=november(15)),
        )
    assert [each.latest.name for each in hub.allocations.rules()] == ["Hub", "next"]


def test_versions_are_kept_with_who_when_and_why(hub: Ledgers) -> None:
    first = rule((1, "50"))
    assert load(hub, first) == 1
    assert load(hub, first, now=LATER) == 0
    assert load(hub, replace(first, name="HUB", shares=(Share(2, Decimal(10)),)), now=LATER) == 1
    hub.allocations.end("hub", november(20), "bob", "contract over", LATER)
    (found,) = hub.allocations.rules()
    assert [(each.number, each.made_at, each.made_by, each.reason) for each in found.versions] == [
        (1, NOW, "ann", "agreed"),
        (2, LATER, "ann", "agreed"),
        (3, LATER, "bob", "contract over"),
    ]
    assert [(each.first, each.until) for each in found.in_force] == [(FIRST, november(21))]
    assert hub.allocations.end("nobody", november(20), "bob", "x", NOW) is None


def test_a_load_without_approval_changes_nothing_and_says_what_it_would(hub: Ledgers) -> None:
    changes = hub.allocations.load([rule((1, "50"))], "ann", "agreed", NOW, lambda _changes: False)
    assert [(each.before, each.after.name) for each in changes] == [(None, "Hub")]
    assert hub.allocations.rules() == []
    load(hub, rule((1, "50")))
    hub.allocations.end("hub", november(20), "bob", "over", LATER)
    (change,) = hub.allocations.load([rule((1, "50"))], "ann", "again", NOW, lambda _changes: False)
    assert change.ended is not None
    assert change.ended.made_by == "bob"


# --- what counts it ---


def test_a_check_counts_it_for_percent_and_alerts_and_knows_what_is_own(hub: Ledgers) -> None:
    load(hub, rule((1, "100")))
    usage = usage_of(hub, 1)
    assert (usage.usage, usage.allocated, usage.own) == (410, 110, 300)
    assert usage.by_day == {november(2): 400, november(3): 10}
    hub.load(entry(1, terms=terms("410", rule=MONTHLY)))
    hub.check(1)
    assert hub.mailed() == [100]


def test_listings_show_it_apart_and_count_it(hub: Ledgers) -> None:
    load(hub, rule((1, "100")))
    found = view(hub, 1)
    assert (found.spent, found.allocated, found.percent) == (300, 110, 41)
    (period,) = hub.projects.periods(1)
    assert (period.spent, period.allocated) == (300, 110)


def test_a_lock_goes_by_own_charges_only(hub: Ledgers) -> None:
    load(hub, rule((1, "100")))
    facts = SqlLocks(hub.database, "example.org", LOOKBACK_DAYS).facts(1, NOW)
    assert facts is not None
    assert facts.usage == 300


def test_what_is_carried_on_goes_by_own_charges_only(hub: Ledgers) -> None:
    hub.load(entry(1, terms=terms(rule=MONTHLY, rollover=Rollover.CARRY_OVER)))
    load(hub, rule((1, "100")))
    hub.check(1)
    december = datetime(2026, 12, 2, tzinfo=UTC)
    hub.check(1, now=december)
    found = hub.projects.get(1, december.date())
    assert found is not None
    assert found.budget is not None
    assert (found.budget.carried, found.allocated) == (700, 0)


def test_a_period_that_is_over_is_still_compared_with_it(hub: Ledgers) -> None:
    hub.load(entry(1, terms=terms("410", rule=MONTHLY)))
    hub.check(1)
    load(hub, rule((1, "100")), now=LATER)
    hub.check(1, now=datetime(2026, 12, 2, tzinfo=UTC))
    assert hub.mailed() == [50, 100]


def test_another_currency_than_the_budgets_is_given_and_does_not_count(hub: Ledgers) -> None:
    third = HUB.replace("2", "3", 1)
    hub.spend(("fire", november(4), "Firewall", "7"), sub_account_id=third, currency="USD", now=LATER)
    load(hub, rule((1, "100"), pool=Pool("azure", third)))
    assert given(hub)[1, "USD"] == "7"
    usage = usage_of(hub, 1)
    assert (usage.allocated, usage.other_currencies) == (0, ())


def test_a_raised_budget_keeps_told_what_is_still_reached_with_what_is_allocated(hub: Ledgers) -> None:
    load(hub, rule((1, "100")))
    hub.load(entry(1, terms=terms("800", rule=MONTHLY)))
    hub.check(1)
    # 410 of 820 are 50 %, 300 would not be.
    hub.load(entry(1, terms=terms("820", rule=MONTHLY)), now=LATER)
    hub.check(1)
    assert hub.mailed() == [50]


def test_a_load_of_projects_knows_who_it_brings_to_100_percent(hub: Ledgers) -> None:
    load(hub, rule((1, "100")))
    percents = []

    def consent(changes: Any) -> bool:
        percents.extend((change.percent_before, change.percent) for change in changes)
        return True

    hub.projects.load([entry(1, terms=terms("410", rule=MONTHLY))], "ann", NOW, consent=consent)
    assert percents == [(41, 100)]


# --- who is checked ---


def due(ledgers: Ledgers) -> list[int]:
    with ledgers.database.engine.connect() as connection:
        return sorted(connection.scalars(select(projects.c.id).where(projects.c.check_due_since.is_not(None))))


def test_who_gets_a_share_is_due_when_the_rule_or_what_it_allocates_changes(hub: Ledgers) -> None:
    hub.check(1, 2)
    load(hub, rule((1, "10")))
    assert due(hub) == [1]
    hub.check(1, 2)
    later = LATER + timedelta(hours=2)
    hub.spend(("fire", november(2), "Firewall", "61"), sub_account_id=HUB, now=later)
    assert due(hub) == [1]
    assert hub.charges.due_projects_of(ScopeTarget(subscription_id=HUB)) == [1]
    assert hub.charges.due_projects_of(ScopeTarget(project_id=2)) == []
    hub.check(1, 2)
    load(hub, rule(method=Method.EVERYWHERE), now=later)
    assert due(hub) == [1, 2]


def test_who_gets_a_share_is_due_when_what_it_allocates_becomes_somebodys_own(hub: Ledgers) -> None:
    load(hub, rule((1, "10")))
    hub.check(1, 2)
    hub.load(entry(2, "fire", subscription_id=HUB, terms=terms(rule=MONTHLY)))
    assert due(hub) == [1, 2]
    hub.check(1, 2)
    hub.load(entry(2, terms=terms(rule=MONTHLY)), now=LATER)
    assert due(hub) == [1, 2]


def test_of_two_loads_at_once_whose_rules_would_clash_one_is_refused(hub: Ledgers) -> None:
    def loaded(name: str) -> str:
        try:
            load(hub, rule((1, "10"), name=name))
        except NeverError as error:
            return error.reason
        return ""

    with ThreadPoolExecutor(4) as pool:
        refused = list(filter(None, pool.map(loaded, "ABCD")))
    assert len(refused) == 3
    assert all("would both allocate" in reason for reason in refused)
    assert len(hub.allocations.rules()) == 1


# --- any history ---

CURRENCIES = ("CAD", "USD")
GROUPS = ("a", "b", "c", "d")
SUBS = (SUB, HUB)


def random_step(ledgers: Ledgers, dice: random.Random, now: datetime) -> None:
    """Charges are restated, groups change hands, a rule comes, changes or ends."""
    match dice.choice(("spend", "spend", "own", "rule", "rule", "end")):
        case "spend":
            rows = [
                (group, november(dice.randint(1, 6)), service, str(Decimal(dice.randint(-(10**6), 10**11)).scaleb(-10)))
                for group in ("", *GROUPS)
                for service in ("VM", "SQL")
                if dice.random() < 0.6
            ]
            ledgers.spend(*rows, sub_account_id=dice.choice(SUBS), currency=dice.choice(CURRENCIES), now=now)
        case "own":
            free = [(sub, group) for sub in SUBS for group in GROUPS]
            dice.shuffle(free)
            owned = {project_id: [free.pop() for _ in range(dice.randint(1, 2))] for project_id in (1, 2, 3)}
            entries = [entry(project_id, terms=terms(rule=MONTHLY)) for project_id in owned]
            entries = [
                replace(
                    each,
                    scopes=tuple(
                        replace(each.scopes[0], sub_account_id=s, resource_group=g) for s, g in owned[each.project.id]
                    ),
                )
                for each in entries
            ]
            ledgers.load(*entries, now=now)
        case "rule":
            load_any(ledgers, dice, now)
        case _:
            if views := ledgers.allocations.rules():
                ledgers.allocations.end(dice.choice(views).latest.name, november(dice.randint(1, 6)), "x", "y", now)


def load_any(ledgers: Ledgers, dice: random.Random, now: datetime) -> None:
    first, method = dice.randint(1, 6), dice.choice(list(Method))
    ids = dice.sample((1, 2, 3), dice.randint(1, 3))
    percents = [Decimal(dice.randint(1, 33 * 10**10)).scaleb(-10) for _ in ids]
    shares = tuple(
        Share(project_id, percent if method is Method.FIXED else None)
        for project_id, percent in zip(ids, percents, strict=True)
    )
    if method is not Method.FIXED and dice.random() < 0.4:
        shares = ()
    last = dice.choice((None, november(first + dice.randint(0, 3))))
    pool = Pool("azure", dice.choice(SUBS), dice.choice((None, *GROUPS)))
    new = Rule(dice.choice("ABC"), pool, method, november(first), last, shares)
    try:
        load(ledgers, new, now=now)
    except NeverError as error:
        assert "both allocate" in error.reason or "belongs to" in error.reason


Daily = dict[tuple[Any, ...], Decimal]


def expected(ledgers: Ledgers) -> tuple[Daily, Daily, Daily]:
    """By the rules in words, from all that is stored: own charges, what is given, and what no rule allocates.

    By project, day and currency (and, of own charges, sub-account); the last by day and currency.
    """
    views = ledgers.projects.list_projects(TODAY)
    own: Daily = {}
    pools: dict[tuple[str, str, date, str], Decimal] = {}
    for sub in SUBS:
        for (group, day, _, currency), cost in ledgers.stored_charges(sub).items():
            owner = owner_of(views, sub, group, day)
            key: Any = (owner, day, currency, sub) if owner else (sub, group, day, currency)
            where: Any = own if owner else pools
            where[key] = where.get(key, Decimal(0)) + cost
    rules = [each for found in ledgers.allocations.rules() for each in found.in_force]
    by_rule: dict[tuple[int, date, str], Decimal] = {}
    unruled: Daily = {}
    for (sub, group, day, currency), cost in pools.items():
        here = [each for each in rules if each.rule.pool.sub_account_id == sub]
        place = allocating(here, group, day)
        if place is None:
            unruled[day, currency] = unruled.get((day, currency), Decimal(0)) + cost
        else:
            pooled = rules.index(here[place]), day, currency
            by_rule[pooled] = by_rule.get(pooled, Decimal(0)) + cost
    got: Daily = {}
    for (place, day, currency), amount in by_rule.items():
        basis = basis_of(rules[place], own, day, currency)
        for project_id, part in split(rules[place].rule, amount, basis).items():
            got[project_id, day, currency] = got.get((project_id, day, currency), Decimal(0)) + part
    return own, got, unruled


def basis_of(counting: InForce, own: Daily, day: date, currency: str) -> dict[int, Decimal]:
    basis: dict[int, Decimal] = {}
    for (project_id, on, in_currency, sub), cost in own.items():
        here = counting.rule.method is Method.EVERYWHERE or sub == counting.rule.pool.sub_account_id
        if here and (on, in_currency) == (day, currency):
            basis[project_id] = basis.get(project_id, Decimal(0)) + cost
    return basis


def owner_of(views: list[ProjectView], sub: str, group: str, day: date) -> int | None:
    for each in views:
        in_part = {(part.scope.sub_account_id, part.scope.resource_group): part for part in each.handed_over}
        part = in_part.get((sub, group))
        whole = any((scope.sub_account_id, scope.resource_group) == (sub, group) for scope in each.scopes)
        if (part and has(part, day)) or (whole and not part):
            return each.project.id
    return None


def has(part: OwnedScope, day: date) -> bool:
    return (part.owned_from or date.min) <= day < (part.owned_until or date.max)


@pytest.mark.parametrize("seed", range(5))
def test_own_allocated_and_rest_are_all_charges_after_any_history(ledgers: Ledgers, seed: int) -> None:
    dice, now = random.Random(seed), datetime(2026, 11, 2, 2, tzinfo=UTC)
    ledgers.load(*(entry(each, terms=terms(rule=MONTHLY)) for each in (1, 2, 3)), now=now)
    for _ in range(10):
        now += timedelta(hours=7)
        random_step(ledgers, dice, now)
        holds(ledgers)


def holds(ledgers: Ledgers) -> None:
    own, got, unruled = expected(ledgers)
    for day in map(november, range(1, 7)):
        for currency in CURRENCIES:
            adds_up(ledgers, own, got, unruled, (day, currency))
    locks = SqlLocks(ledgers.database, "example.org", LOOKBACK_DAYS)
    for each in ledgers.projects.list_projects(TODAY):
        number = each.project.id
        its_own = sum((cost for (who, _, cur, _), cost in own.items() if (who, cur) == (number, "CAD")), Decimal(0))
        its_share = sum((cost for (who, _, cur), cost in got.items() if (who, cur) == (number, "CAD")), Decimal(0))
        facts = locks.facts(number, NOW)
        assert facts is not None
        assert facts.usage == each.spent == its_own
        assert each.allocated == its_share


def adds_up(ledgers: Ledgers, own: Daily, got: Daily, unruled: Daily, of: tuple[date, str]) -> None:
    """Own charges, what is given, the rules' rests and what has no rule are all charges of a day and currency."""
    this = Period(of[0], of[0] + timedelta(days=1))
    found = [each for each in ledgers.allocations.given(this) if each.currency == of[1]]
    by_project: dict[int, Decimal] = {}
    for each in found:
        if each.project_id is not None:
            by_project[each.project_id] = by_project.get(each.project_id, Decimal(0)) + each.amount
    assert by_project == {who: cost for (who, *on), cost in got.items() if (*on,) == of and cost}
    charged = sum(cost for sub in SUBS for (_, *on), cost in by_day(ledgers, sub).items() if (*on,) == of)
    its_own = sum(cost for (_, *on, _), cost in own.items() if (*on,) == of)
    rests = sum(each.amount for each in found if each.project_id is None)
    assert its_own + sum(by_project.values()) + rests + unruled.get(of, Decimal(0)) == charged


def by_day(ledgers: Ledgers, sub: str) -> dict[tuple[Any, ...], Decimal]:
    """The stored charges by group and service together, day and currency."""
    return {((group, name), day, cur): cost for (group, day, name, cur), cost in ledgers.stored_charges(sub).items()}


# --- exports ---


@pytest.mark.parametrize("method", [Method.FIXED, Method.EVERYWHERE])
def test_who_gets_a_share_of_what_an_export_delivers_is_checked_after_its_run(
    database: Database, method: Method
) -> None:
    ledgers, world = Ledgers(database), World(database)
    ledgers.load(entry(1, terms=terms(rule=MONTHLY)), entry(2, terms=terms(rule=MONTHLY)))
    shares = (Share(1, Decimal(50)),) if method is Method.FIXED else ()
    load(ledgers, rule(pool=Pool("azure", EXPORTED), method=method, shares=shares))
    ledgers.check(1, 2)
    imported = world.deliver(export("daily"), days(11, 1, 19), each_day(11, 1, 19, "2"))
    assert imported.due_projects == ((1,) if method is Method.FIXED else (1, 2))
    assert given(ledgers) == ({(1, "CAD"): "19", (None, "CAD"): "19"} if shares else {(None, "CAD"): "38"})
