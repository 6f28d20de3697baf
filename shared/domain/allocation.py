"""Allocation: charges that no project owns, given to projects by dated rules; docs/allocation.md says it in words.

Only what is counted against budgets changes by it, never a charge. What is allocated, and the rest, add up to the
charges to the last digit: each share is rounded once, and the last one takes what the others leave of all they get.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from itertools import combinations

from shared.domain.charges import key_of_group
from shared.domain.money import EXACT, STORED_DIGITS, add
from shared.domain.periods import Period
from shared.domain.projects import WITH_GROUPS, sub_account_key

DAY = timedelta(days=1)
ALL_OF_IT = Decimal(100)
NOTHING = Decimal(0)


class Method(StrEnum):
    """How a rule's shares are found."""

    FIXED = "fixed"
    """percents of their own"""
    PROPORTIONAL = "proportional"
    """by what the projects' own charges in the same sub-account come to on the day, in the currency"""
    EVERYWHERE = "proportional-everywhere"
    """the same, by their own charges wherever they are"""


@dataclass(frozen=True, slots=True)
class Pool:
    """What a rule allocates: charges of a sub-account that no project owns on their day.

    group: those of one resource group, as it is spelled; None: all that no rule of a group allocates on that day.
    """

    provider: str
    sub_account_id: str
    group: str | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What two spellings of the same pool have in common."""
        group = None if self.group is None else key_of_group(self.group)
        return self.provider, sub_account_key(self.provider, self.sub_account_id), group

    @property
    def where(self) -> str:
        """The sub-account, or the group of it."""
        account = self.sub_account_id if self.provider in WITH_GROUPS else f"{self.provider} {self.sub_account_id}"
        return account if self.group is None else f"the group {self.group} of {account}"

    def __str__(self) -> str:
        return f"what no project owns in {self.where}" if self.group is None else self.where


@dataclass(frozen=True, slots=True)
class Share:
    """A project that gets a part. percent: of the pool, with fixed shares only."""

    project_id: int
    percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One version of a rule: from its first day on, it counts instead of those before.

    last_day: None where it goes on; before the first day in a version that only ends the rule. shares: in their order;
    of a proportional rule, none stands for all projects.
    """

    name: str
    pool: Pool
    method: Method
    first_day: date
    last_day: date | None
    shares: tuple[Share, ...]

    def ended(self, last_day: date) -> Rule:
        """The version that ends it, with this as its last day."""
        return Rule(self.name, self.pool, self.method, last_day + DAY, last_day, self.shares)

    @property
    def is_end(self) -> bool:
        """Whether it only ends the rule."""
        return self.last_day is not None and self.last_day < self.first_day

    def says(self, other: Rule) -> bool:
        """Whether both say the same, however it is spelled."""
        mine, its = ((each.pool.key, each.method, each.first_day, each.last_day, each.shares) for each in (self, other))
        return mine == its


@dataclass(frozen=True, slots=True)
class InForce:
    """Days on which a version of a rule counts. until: the first day after them; None where it goes on."""

    rule: Rule
    first: date
    until: date | None

    def within(self, days: Period) -> Period | None:
        """Those of these days on which it counts."""
        start, end = max(self.first, days.start), min(self.until or days.end, days.end)
        return Period(start, end) if start < end else None

    def __contains__(self, day: date) -> bool:
        return self.first <= day and (self.until is None or day < self.until)


def rule_key(name: str) -> str:
    """A rule's name as it is compared: without regard to case and surrounding blanks."""
    return name.strip().lower()


def in_force(versions: Sequence[Rule]) -> list[InForce]:
    """On which days each version of one rule counts, oldest first: a new one never decides days before its first.

    versions: oldest first.
    """
    found: list[InForce] = []
    decided_from: date | None = None
    for rule in reversed(versions):
        if decided_from is not None and rule.first_day >= decided_from:
            continue
        ends = [day for day in (decided_from, rule.last_day and rule.last_day + DAY) if day]
        until = min(ends, default=None)
        if until is None or rule.first_day < until:
            found.append(InForce(rule, rule.first_day, until))
        decided_from = rule.first_day
    return found[::-1]


def clash(rules: Iterable[Sequence[Rule]]) -> tuple[Rule, Rule, date] | None:
    """Two rules that allocate the same pool on a day, and the first such day; None where there are none.

    rules: the versions of each, oldest first. A group's rule goes before that of its sub-account: these don't clash.
    """
    for one, other in combinations((each for versions in rules for each in in_force(versions)), 2):
        first = max(one.first, other.first)
        is_other_rule = rule_key(one.rule.name) != rule_key(other.rule.name)
        if is_other_rule and one.rule.pool.key == other.rule.pool.key and first in one and first in other:
            return one.rule, other.rule, first
    return None


def allocating(rules: Sequence[InForce], group_key: str | None, day: date) -> int | None:
    """By which of one sub-account's rules a charge that no project owns is allocated: its place; None for none.

    group_key: None for a charge of whose group there is no rule.
    """
    groups = {each.rule.pool.key[2]: place for place, each in enumerate(rules) if day in each}
    return groups.get(group_key, groups.get(None))


@dataclass(frozen=True, slots=True)
class Split:
    """What became of a pool's charges of one day and currency. given: by project; nothing is left out of it but 0."""

    rule: Rule
    day: date
    currency: str
    amount: Decimal
    given: Mapping[int, Decimal]

    @property
    def rest(self) -> Decimal:
        """What stays unallocated."""
        return EXACT.subtract(self.amount, total(self.given.values()))


def split(rule: Rule, amount: Decimal, own: Mapping[int, Decimal]) -> dict[int, Decimal]:
    """What each project gets of a pool's charges of one day and currency, in the same places as charges are stored in.

    own: what the projects' own charges of that day and currency come to, for proportional rules; who has spent nothing,
    or has got back more, has no share. Without any share nothing is given. An amount below 0 (credits) is given by the
    same shares.
    """
    if rule.method is Method.FIXED:
        weights = [(each.project_id, _units(each.percent or NOTHING)) for each in rule.shares]
        return _given(_units(amount), weights, _units(ALL_OF_IT))
    sharing = {each.project_id for each in rule.shares} or own.keys()
    its = {each: own[each] for each in sharing & own.keys()}
    # The largest last: what it takes of the others' rounding is the least of it.
    by_weight = sorted((_units(cost), each) for each, cost in its.items() if cost > 0)
    return _given(_units(amount), [(each, units) for units, each in by_weight], sum(units for units, _ in by_weight))


def _given(amount: int, weights: Sequence[tuple[int, int]], whole: int) -> dict[int, Decimal]:
    """Amounts and weights in units: there are thousands of weights a day, and whole numbers are quickly shared."""
    if not weights:
        return {}
    parts = [_part(amount, weight, whole) for _, weight in weights[:-1]]
    parts.append(_part(amount, sum(weight for _, weight in weights), whole) - sum(parts))
    places = -STORED_DIGITS
    return {each: Decimal(part).scaleb(places, EXACT) for (each, _), part in zip(weights, parts, strict=True) if part}


def _units(amount: Decimal) -> int:
    """An amount, or a percent, in units of the last digit that is stored; all that is stored is whole in them."""
    return int(amount.scaleb(STORED_DIGITS, EXACT))


def _part(amount: int, weight: int, whole: int) -> int:
    """Rounded half-even, as amounts are stored."""
    part, left = divmod(amount * weight, whole)
    return part + (2 * left > whole or (2 * left == whole and part % 2))


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum of amounts of one currency."""
    return reduce(EXACT.add, amounts, NOTHING)


def with_days(daily: Mapping[date, Decimal], more: Mapping[date, Decimal]) -> Mapping[date, Decimal]:
    """What was spent on each day, with what is allocated on it."""
    return {day: add(daily.get(day, NOTHING), more.get(day, NOTHING)) for day in {*daily, *more}} if more else daily


Key = tuple[int, Period | None, str]
"""A project, one of its periods (None: there is none), and a currency: another than its budget's never counts"""
DayAndCurrency = tuple[date, str]
Allocated = Mapping[Key, Decimal]
"""What projects got in periods"""
AllocatedByDay = Mapping[Key, Mapping[date, Decimal]]
"""The same, day by day"""


def allocated_in(
    splits: Iterable[Split], wanted: Iterable[tuple[int, Period, str]], *, others: bool
) -> tuple[Allocated, AllocatedByDay]:
    """What these projects got in these periods in one currency each; where it is asked for, by day what in others."""
    currencies: dict[Period, dict[int, str]] = {}
    for project_id, period, currency in wanted:
        currencies.setdefault(period, {})[project_id] = currency
    sums: dict[tuple[Period, str], dict[int, Decimal]] = {}
    daily: dict[Key, dict[date, Decimal]] = {}
    for period, each in _within(splits, currencies):
        of_whom, its = currencies[period], sums.setdefault((period, each.currency), {})
        for project_id, part in each.given.items():
            to = of_whom.get(project_id)
            if to == each.currency:
                its[project_id] = EXACT.add(its.get(project_id, NOTHING), part)
            elif others and to is not None:
                days = daily.setdefault((project_id, period, each.currency), {})
                days[each.day] = add(days.get(each.day, NOTHING), part)
    within: Allocated = {
        (each, period, currency): got for (period, currency), its in sums.items() for each, got in its.items()
    }
    return within, dict(daily)


def allocated_together(splits: Iterable[Split], wanted: Iterable[tuple[int, Period]]) -> dict[DayAndCurrency, Decimal]:
    """What all these projects got in these periods."""
    ids, sums = _by_period(wanted), dict[DayAndCurrency, Decimal]()
    for period, each in _within(splits, ids):
        got = total(part for project_id, part in each.given.items() if project_id in ids[period])
        sums[each.day, each.currency] = add(sums.get((each.day, each.currency), NOTHING), got)
    return sums


def allocated_by_day(splits: Iterable[Split], wanted: Iterable[tuple[int, Period]]) -> AllocatedByDay:
    """What these projects got in these periods, day by day."""
    ids = _by_period(wanted)
    daily: dict[tuple[Period, str], dict[int, dict[date, Decimal]]] = {}
    for period, each in _within(splits, ids):
        project_ids, its = ids[period], daily.setdefault((period, each.currency), {})
        for project_id, part in each.given.items():
            if project_id in project_ids:
                days = its.setdefault(project_id, {})
                days[each.day] = add(days.get(each.day, NOTHING), part)
    return {(each, period, currency): got for (period, currency), its in daily.items() for each, got in its.items()}


def _by_period(wanted: Iterable[tuple[int, Period]]) -> dict[Period, set[int]]:
    """The projects of each period: many share a few."""
    ids: dict[Period, set[int]] = {}
    for project_id, period in wanted:
        ids.setdefault(period, set()).add(project_id)
    return ids


def _within(splits: Iterable[Split], periods: Collection[Period]) -> Iterator[tuple[Period, Split]]:
    """The periods with a day of which something was given."""
    for each in splits:
        for period in periods:
            if each.day in period:
                yield period, each


@dataclass(frozen=True, slots=True)
class Given:
    """What a rule gave one project of some days, in one currency; None for the rest, which nobody got."""

    rule: str
    project_id: int | None
    currency: str
    amount: Decimal


def summed(splits: Iterable[Split]) -> list[Given]:
    """What each rule gave to whom, and its rest, by currency; in order."""
    sums: dict[tuple[str, str, int | None], Decimal] = {}
    names: dict[str, str] = {}
    for each in splits:
        rule = rule_key(each.rule.name)
        names[rule] = each.rule.name
        rest: tuple[int | None, Decimal] = (None, each.rest)
        for project_id, part in (*each.given.items(), rest):
            key = rule, each.currency, project_id
            sums[key] = add(sums.get(key, NOTHING), part)
    ordered = sorted(sums.items(), key=lambda item: (item[0][:2], item[0][2] is None, item[0][2] or 0))
    return [Given(names[rule], project_id, currency, amount) for (rule, currency, project_id), amount in ordered]
