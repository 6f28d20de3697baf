"""The rows of what exports deliver, and the charges that they come to; only rows that differ are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    Subquery,
    Table,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
)

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.charge_rows import CHARGES, FETCHED, WrittenTable, write_rows
from shared.adapters.database.export_state import State, of_account
from shared.adapters.database.scope_rows import Scopes
from shared.adapters.database.tables import charge_meters, charges, export_charges, scopes
from shared.adapters.database.types import PLACES, largest_amount
from shared.domain.coverage import StoredCharge, day_in_words
from shared.domain.exports.days import Spoken
from shared.domain.exports.feeding import Fed
from shared.domain.exports.sums import Sums
from shared.domain.money import plain, stored
from shared.domain.periods import DAY, Period, month_of
from shared.ports.errors import NeverError
from shared.ports.export_runs import Changes

EXPORT_CHARGES = WrittenTable(export_charges)
delivered = export_charges.c
_SUMMED = (
    *(delivered.scope_id, delivered.charge_period_start),
    *(delivered.service_name, delivered.billing_currency),
)


class TooLargeError(NeverError):
    """What several runs have delivered of a sub-account comes to more than can be stored."""


def scope_ids_of(its_scopes: Scopes, fed: Fed, feeds: Collection[Fed]) -> list[int]:
    """The scopes of what is fed: of a sub-account, without the groups that are fed by themselves."""
    if fed.group_key is not None:
        return [its_scopes[fed.group_key].id] if fed.group_key in its_scopes else []
    others = {each.group_key for each in feeds if each.whole == fed}
    return [row.id for key, row in its_scopes.items() if key not in others]


def scopes_in(fed: Fed, feeds: Collection[Fed] = ()) -> Select[tuple[int]]:
    """The ids of the same. Named one by one, hundreds of them take longer than what is looked for."""
    others = [each.group_key for each in feeds if each.whole == fed and each.group_key is not None]
    its = select(scopes.c.id).where(of_account(scopes, fed))
    if fed.group_key is not None:
        return its.where(scopes.c.group_key == fed.group_key)
    return its.where(scopes.c.group_key.not_in(others)) if others else its


def deliver(connection: Connection, export_id: int, left: Spoken, its: Sums, its_scopes: Scopes, of: Fed) -> set[date]:
    """Puts charges in the place of all that an export delivered where a run still speaks; the months of what changed.

    its: of that billing period, and of what the export can feed.
    """
    id_of = {key: row.id for key, row in its_scopes.items()}
    said = [
        (id_of[key.group_key], export_id, left.period, key.day, key.service, key.currency, stored(each.cost))
        for key, each in its.charges.items()
    ]
    which = delivered.scope_id.in_(scopes_in(of)) & (delivered.export_id == export_id)
    which &= delivered.billing_period == left.period
    rows = connection.execute(select(export_charges).where(which), execution_options={"yield_per": FETCHED})
    changes = _changes((row for row in rows if row[3] in left), said)
    write_rows(connection, EXPORT_CHARGES, *changes)
    return {day.replace(day=1) for rows in changes for day in {row[3] for row in rows}}


def _changes(stored_rows: Iterator[AnyRow], said: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """What makes stored rows these: those that are new, those that are changed, and the keys of those that go."""
    first = next(stored_rows, None)
    if first is None:
        return said, [], []
    missing = {row[:-1]: row[-1] for row in said}
    changed, removed = list[Any](), list[Any]()
    for row in chain([first], stored_rows):
        key = tuple(row[:-1])
        cost = missing.pop(key, None)
        if cost is None:
            removed.append(key)
        elif cost != row[-1]:
            changed.append((*key, cost))
    return [(*key, cost) for key, cost in missing.items()], changed, removed


def is_something_stored(
    connection: Connection, its_scopes: Select[tuple[int]], left: Spoken, export_id: int | None = None
) -> Iterable[StoredCharge]:
    """One of the charges that are stored on the days for which a run still speaks; nothing where there are none.

    export_id: only of those that this export has delivered.
    """
    table = charges if export_id is None else export_charges
    day = table.c.charge_period_start
    for days in left.windows:
        which = table.c.scope_id.in_(its_scopes) & (day >= days.start) & (day < days.end)
        if export_id is not None:
            which &= (delivered.export_id == export_id) & (delivered.billing_period == left.period)
        row = connection.execute(select(table).where(which).limit(1)).first()
        if row is not None:
            return [(row.billing_currency, ("", row.charge_period_start, row.service_name), row.billed_cost)]
    return ()


def months_delivered_in(connection: Connection, its_scopes: Select[tuple[int]]) -> set[date]:
    """The months on whose days exports have delivered charges of these scopes, whatever their billing period."""
    days = select(delivered.charge_period_start).where(delivered.scope_id.in_(its_scopes)).distinct()
    return {day.replace(day=1) for day in connection.scalars(days)}


def is_something_read(connection: Connection, its_scopes: Select[tuple[int]], month: date) -> bool:
    """Whether charges of a month are stored that no export has delivered: the query read some groups alone."""
    key = ("scope_id", "charge_period_start", "service_name", "billing_currency")
    is_delivered = exists().where(*(delivered[name] == charges.c[name] for name in key))
    which = _within(charges, its_scopes, month_of(month)) & ~is_delivered
    return connection.execute(select(charges.c.scope_id).where(which).limit(1)).first() is not None


def has_delivered(connection: Connection, export_id: int, fed: Fed, day: date) -> bool:
    """Whether an export has delivered charges of a day, in its own month."""
    its = (delivered.export_id == export_id) & (delivered.billing_period == day.replace(day=1))
    its &= (delivered.charge_period_start == day) & (delivered.billed_cost > Decimal(0))
    found = select(delivered.scope_id).where(its, delivered.scope_id.in_(scopes_in(fed))).limit(1)
    return connection.execute(found).first() is not None


def days_delivered(connection: Connection, export_id: int, fed: Fed) -> Period | None:
    """The days of what an export has delivered, each in its own month; None where it has nothing there."""
    days = select(delivered.billing_period, delivered.charge_period_start).distinct()
    which = (delivered.export_id == export_id) & delivered.scope_id.in_(scopes_in(fed))
    rows = connection.execute(days.where(which, delivered.billed_cost > Decimal(0)))
    found = [day for period, day in rows if day in month_of(period)]
    return Period(min(found), max(found) + DAY) if found else None


def count(
    connection: Connection, state: State, its_scopes: Select[tuple[int]], month: date, sources: Sequence[str]
) -> Changes:
    """Makes the charges of a month, in these scopes, what these exports have delivered of its days.

    Only rows that differ come here: a great many are as they were, and those of a new month are copied. Raises
    TooLargeError.
    """
    of_these, of_days = of_sources(state, sources), _within(charges, its_scopes, month_of(month))
    which = of_these & _within(export_charges, its_scopes, month_of(month))
    _refuse_too_large(connection, which, state.account)
    summed = select(*_SUMMED, func.sum(delivered.billed_cost).label("billed_cost")).where(which).group_by(*_SUMMED)
    day = charges.c.charge_period_start
    if connection.execute(select(day).where(of_days).limit(1)).first() is None:
        connection.execute(insert(charges).from_select(list(charges.c), summed))
        added, first, last = connection.execute(select(func.count(), func.min(day), func.max(day)).where(of_days)).one()
        return Changes(added, 0, 0, Period(first, last + DAY) if added else None)
    changes = _differences(connection, summed.subquery(), of_days, of_these)
    write_rows(connection, CHARGES, *changes)
    days = [row[1] for rows in changes for row in rows]
    added, changed, removed = map(len, changes)
    return Changes(added, changed, removed, Period(min(days), max(days) + DAY) if days else None)


def forget_meters(connection: Connection, its_scopes: Select[tuple[int]], month: date) -> None:
    """The charges of the month in these scopes are exports' now, which tell no meters."""
    connection.execute(delete(charge_meters).where(_within(charge_meters, its_scopes, month_of(month))))


def _within(table: Table, its_scopes: Select[tuple[int]], window: Period) -> ColumnElement[bool]:
    day = table.c.charge_period_start
    return table.c.scope_id.in_(its_scopes) & (day >= window.start) & (day < window.end)


def of_sources(state: State, sources: Sequence[str]) -> ColumnElement[bool]:
    """What selects all that these exports have delivered, whatever its billing period."""
    # Named, the periods are looked up in the key; else all that was ever delivered would be read.
    periods = sorted({each.spoken.period for each in state.deliveries if each.run.export.key in sources})
    ids = [state.exports[each] for each in sources]
    return delivered.export_id.in_(ids) & delivered.billing_period.in_(periods)


def _differences(
    connection: Connection, summed: Subquery, of_days: ColumnElement[bool], of_these: ColumnElement[bool]
) -> tuple[list[Any], list[Any], list[Any]]:
    """What makes the stored charges what exports come to: new rows, changed ones, and the keys of those that go."""
    key, cost = charges.primary_key.columns, charges.c.billed_cost
    is_same = and_(*(column == summed.c[column.name] for column in key))
    both = select(*summed.c, cost.label("stored")).select_from(summed.outerjoin(charges, is_same))
    other = connection.execute(both.where(or_(cost.is_(None), cost != summed.c.billed_cost))).all()
    new = [tuple(row[:-1]) for row in other if row.stored is None]
    changed = [tuple(row[:-1]) for row in other if row.stored is not None]
    is_its = and_(*(column == delivered[column.name] for column in key))
    gone = select(*key).where(of_days, ~exists().where(is_its, of_these))
    return new, changed, [tuple(row) for row in connection.execute(gone)]


def _refuse_too_large(connection: Connection, which: ColumnElement[bool], account: Fed) -> None:
    """Raises TooLargeError where what several runs have delivered comes to more than a charge can hold.

    What each of them has delivered can be stored. Floats can be added whatever they come to.
    """
    largest = largest_amount(connection.dialect)
    most = float(largest) * (10**PLACES if connection.dialect.name == "sqlite" else 1)
    cost = cast(delivered.billed_cost, Float)
    if float(connection.scalar(select(func.sum(func.abs(cost))).where(which)) or 0) <= most:
        return
    is_too_large = func.abs(func.sum(cost)) > most
    row = connection.execute(select(*_SUMMED).where(which).group_by(*_SUMMED).having(is_too_large).limit(1)).first()
    if row is not None:
        raise TooLargeError(
            f"Together with what was delivered before, {row.service_name} of {account.sub_account} on "
            f"{day_in_words(row.charge_period_start)} comes to more {row.billing_currency} than can be stored; the "
            f"largest amount is {plain(largest)}."
        )


def added_up(changes: Iterable[Changes]) -> Changes:
    """Several changes as one."""
    every = list(changes)
    counts = ((0, 0, 0), *((each.added, each.changed, each.removed) for each in every))
    added, changed, removed = map(sum, zip(*counts, strict=True))
    days = [each.days for each in every if each.days]
    span = Period(min(each.start for each in days), max(each.end for each in days)) if days else None
    return Changes(added, changed, removed, span)
