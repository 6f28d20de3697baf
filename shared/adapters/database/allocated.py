"""What rules allocate: worked out from the charges whenever it is asked for, so that it is never behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain, groupby
from operator import itemgetter

from sqlalchemy import ColumnElement, Connection, Select, exists, false, func, null, or_, select

from shared.adapters.database.budget_rows import COSTS, FETCHED, OWNED, AnyRow
from shared.adapters.database.chunks import CHUNK, select_in
from shared.adapters.database.ledger import record
from shared.adapters.database.tables import (
    allocation_rules,
    allocation_shares,
    charges,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.allocation import (
    DAY,
    Allocated,
    AllocatedByDay,
    DayAndCurrency,
    InForce,
    Method,
    Pool,
    Rule,
    Share,
    Split,
    allocated_by_day,
    allocated_in,
    allocated_together,
    allocating,
    in_force,
    split,
)
from shared.domain.money import add
from shared.domain.periods import Period, split_at_month_ends
from shared.ports.allocations import RuleVersion

DAY_AND_CURRENCY = (charges.c.charge_period_start, charges.c.billing_currency)
# Most groups are somebody's on all days: none of their charges has to be looked at.
_whole = scope_owners.alias()
WHOLLY_OWNED = (
    exists()
    .where(_whole.c.scope_id == scopes.c.id, _whole.c.owned_from.is_(None), _whole.c.owned_until.is_(None))
    .correlate(scopes)
)
OF_NOBODY = (
    scopes.join(charges, charges.c.scope_id == scopes.c.id).outerjoin(scope_owners, OWNED),
    ~WHOLLY_OWNED & scope_owners.c.id.is_(None) & COSTS,
)

Pooled = dict[DayAndCurrency, Decimal]
"""A pool's charges by day and currency"""


def stored_rules(connection: Connection) -> list[list[RuleVersion]]:
    """The versions of each rule, oldest first; the rules by name. Where there is none, it costs one look."""
    rows = connection.execute(
        select(allocation_rules).order_by(allocation_rules.c.name_key, allocation_rules.c.number)
    ).all()
    shares: dict[int, list[Share]] = {}
    if rows:
        listed = select(allocation_shares).order_by(allocation_shares.c.rule_id, allocation_shares.c.position)
        for row in connection.execute(listed):
            shares.setdefault(row.rule_id, []).append(Share(row.project_id, row.percent))
    versions = []
    for row in rows:
        pool = Pool(row.provider, row.sub_account_id, row.x_resource_group_name)
        its = tuple(shares.get(row.id, ()))
        rule = Rule(row.name, pool, row.method, row.first_day, row.last_day, its)
        versions.append((row.name_key, record(RuleVersion, row, rule=rule)))
    return [[each for _, each in same] for _, same in groupby(versions, key=lambda pair: pair[0])]


def shares_in(
    connection: Connection, wanted: Iterable[tuple[int, Period, str]], *, others: bool
) -> tuple[Allocated, AllocatedByDay]:
    """What projects got in periods in one currency each; where it is asked for, by day what in others."""
    spans = list(wanted)
    return allocated_in(_splits_of(connection, [each[:2] for each in spans]), spans, others=others)


def shares_by_day(connection: Connection, wanted: Iterable[tuple[int, Period]]) -> AllocatedByDay:
    """What projects got in periods, day by day: of many projects it is as much as their own days are."""
    spans = list(wanted)
    return allocated_by_day(_splits_of(connection, spans), spans)


def shares_together(connection: Connection, spans: Sequence[tuple[int, Period]]) -> dict[DayAndCurrency, Decimal]:
    """What all these projects got in periods."""
    return allocated_together(_splits_of(connection, spans), spans)


def _splits_of(connection: Connection, spans: Sequence[tuple[int, Period]]) -> Iterator[Split]:
    rules = stored_rules(connection) if spans else []
    if rules:
        days = Period(min(period.start for _, period in spans), max(period.end for _, period in spans))
        yield from splits(connection, rules, days, {project_id for project_id, _ in spans})


def splits(
    connection: Connection,
    rules: Sequence[Sequence[RuleVersion]],
    days: Period,
    project_ids: Collection[int] | None = None,
) -> Iterator[Split]:
    """What became of the charges that these rules allocate, by rule, day and currency.

    rules: all that there are. project_ids: rules that give none of these anything may be left out.
    """
    counting = [
        each for versions in rules for each in in_force([stored.rule for stored in versions]) if each.within(days)
    ]
    counting.sort(key=lambda each: each.rule.pool.key[:2])
    for _, here in groupby(counting, key=lambda each: each.rule.pool.key[:2]):
        same = list(here)
        chosen = [each for each in same if project_ids is None or _may_give(each.rule, project_ids)]
        for each, pooled in _pools(connection, same, days) if chosen else ():
            if pooled and each in chosen:
                yield from _split(connection, each.rule, pooled)


def _may_give(rule: Rule, project_ids: Collection[int]) -> bool:
    return not rule.shares or any(share.project_id in project_ids for share in rule.shares)


def _pools(connection: Connection, here: Sequence[InForce], days: Period) -> list[tuple[InForce, Pooled]]:
    """One sub-account's rules in force, each with what there is to allocate by it."""
    pools: list[tuple[InForce, Pooled]] = [(each, {}) for each in here]
    for day, currency, cost, group in _of_nobody(connection, here, days):
        place = allocating(here, group, day)
        if place is not None:
            pooled = pools[place][1]
            pooled[day, currency] = add(pooled.get((day, currency), Decimal(0)), cost)
    return pools


def _of_nobody(connection: Connection, here: Sequence[InForce], days: Period) -> Iterator[AnyRow]:
    """What no project owns of a sub-account: by day, currency and group; of all groups without a rule together."""
    groups = sorted({group for each in here if (group := each.rule.pool.key[2]) is not None})
    provider, sub_account_id, _ = here[0].rule.pool.key
    source, unowned = OF_NOBODY
    day = charges.c.charge_period_start
    summed = select(*DAY_AND_CURRENCY, func.sum(charges.c.billed_cost)).select_from(source)
    summed = summed.where(scopes.c.provider == provider, scopes.c.sub_account_id == sub_account_id, unowned)
    summed = summed.where(day >= days.start, day < days.end).group_by(*DAY_AND_CURRENCY)
    if any(each.rule.pool.group is None for each in here):
        others = summed.where(scopes.c.group_key.not_in(groups)) if groups else summed
        yield from connection.execute(others.add_columns(null()))
    by_group = summed.add_columns(scopes.c.group_key).group_by(scopes.c.group_key)
    yield from select_in(connection, by_group, scopes.c.group_key, groups)


def _split(connection: Connection, rule: Rule, pooled: Pooled) -> Iterator[Split]:
    if rule.method is Method.FIXED:
        for (day, currency), amount in sorted(pooled.items()):
            yield Split(rule, day, currency, amount, split(rule, amount, {}))
        return
    days = Period(min(day for day, _ in pooled), max(day for day, _ in pooled) + DAY)
    left = dict(pooled)
    # Databases sort a month of all projects in memory, and a year of them on the disk.
    for month in split_at_month_ends(days):
        rows = connection.execute(_own(rule, month), execution_options={"yield_per": FETCHED})
        # One by one, rows take longer to come.
        every = chain.from_iterable(rows.partitions())
        for (day, currency), same in groupby(every, key=itemgetter(0, 1)):
            if (day, currency) in left:
                amount = left.pop((day, currency))
                yield Split(rule, day, currency, amount, split(rule, amount, {each: own for _, _, each, own in same}))
    for (day, currency), amount in sorted(left.items()):
        yield Split(rule, day, currency, amount, {})


def _own(rule: Rule, days: Period) -> Select[date, str, int, Decimal]:
    """What the projects' own charges come to, to which a rule's shares are proportional."""
    by = (*DAY_AND_CURRENCY, scope_owners.c.project_id)
    day = charges.c.charge_period_start
    own = select(*by, func.sum(charges.c.billed_cost).label("own")).join_from(scope_owners, charges, OWNED)
    own = own.where(day >= days.start, day < days.end, COSTS).group_by(*by).order_by(*DAY_AND_CURRENCY)
    if 0 < len(rule.shares) <= CHUNK:
        own = own.where(scope_owners.c.project_id.in_([share.project_id for share in rule.shares]))
    if rule.method is Method.PROPORTIONAL:
        provider, sub_account_id, _ = rule.pool.key
        own = own.join(scopes, scopes.c.id == scope_owners.c.scope_id)
        own = own.where(scopes.c.provider == provider, scopes.c.sub_account_id == sub_account_id)
    return own


def may_get(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """The projects to which some of these rules may give something: `which` is about allocation_rules."""
    shares = select(allocation_shares.c.project_id).join(
        allocation_rules, allocation_rules.c.id == allocation_shares.c.rule_id
    )
    named = exists().where(allocation_shares.c.rule_id == allocation_rules.c.id)
    to_all = exists().where(allocation_rules.c.method != Method.FIXED, ~named, which)
    return or_(projects.c.id.in_(shares.where(which)), to_all)


def getters_of(connection: Connection, scope_ids: Collection[int]) -> Iterator[int]:
    """The projects that may get a share of what these scopes' sub-accounts cost."""
    if connection.scalar(select(allocation_rules.c.id).limit(1)) is None:
        return
    found = select(scopes.c.provider, scopes.c.sub_account_id).distinct()
    accounts = {tuple(row) for row in select_in(connection, found, scopes.c.id, sorted(scope_ids))}
    rules = allocation_rules.c
    here = [(rules.provider == provider) & (rules.sub_account_id == account) for provider, account in accounts]
    yield from connection.scalars(select(projects.c.id).where(may_get(or_(false(), *here))))
