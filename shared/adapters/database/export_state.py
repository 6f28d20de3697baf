"""What is known of a sub-account as exports need it: who feeds it, what they said of it, and what counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.coverage import months_of, write_months
from shared.adapters.database.export_feeds import FEEDS, days_of, fed_by_query, fed_of, group_key_of
from shared.adapters.database.export_rows import RUNS, export_of, run_of
from shared.adapters.database.ledger import record
from shared.adapters.database.tables import (
    accounts,
    coverage,
    export_feeds,
    export_months,
    export_orders,
    export_spoken,
    exports,
    group_coverage,
)
from shared.domain.charges import CostMetric
from shared.domain.coverage import Coverage
from shared.domain.exports.counting import Delivery, Sources, is_of_exports, needed
from shared.domain.exports.days import Spoken, days_within
from shared.domain.exports.feeding import QUERY, Fed, Feed, Feeds, Order
from shared.domain.exports.runs import Export
from shared.domain.periods import Period
from shared.ports.cloud_accounts import ConnectionType

spoken = export_spoken.c
Known = dict[Fed, dict[date, Coverage]]
"""What is known of a sub-account's months, and of those of its groups that were fed by themselves."""


@dataclass(frozen=True)
class State:
    """A sub-account, which is locked. exports: their ids, by key. deliveries: of all metrics."""

    account: Fed
    exports: Mapping[str, int]
    feeds: Feeds
    deliveries: tuple[Delivery, ...]
    held: Mapping[tuple[Fed, date], tuple[str, ...]]
    known: Known
    orders: tuple[Order, ...]

    def sources(self, metric: CostMetric | None = None) -> Sources:
        """Who feeds it; of what was delivered, what serves this metric."""
        serving = (each for each in self.deliveries if metric is None or each.run.export.dataset.serves(metric))
        ordered = sorted(serving, key=lambda each: self.exports[each.run.export.key])
        return Sources(self.feeds, tuple(ordered), self.held)

    def with_feeds(self, feeds: Feeds) -> State:
        """The same where others feed it."""
        return replace(self, feeds=feeds)

    def with_delivery(self, delivery: Delivery) -> State:
        """The same once a run spoke for what it does."""
        others = (each for each in self.deliveries if _place(each) != _place(delivery))
        return replace(self, deliveries=(*others, delivery))


def _place(delivery: Delivery) -> tuple[Fed, date, int]:
    return delivery.fed, delivery.spoken.period, delivery.run.found


def state_of(connection: Connection, account: Fed) -> State:
    """What is stored of a sub-account."""
    known = _known(connection, account)
    ids = {row.key: row.id for row in connection.execute(select(exports.c.key, exports.c.id))}
    return State(
        account, ids, _feeds(connection, account), tuple(_deliveries(connection, account)),
        _held(connection, account, known, {number: key for key, number in ids.items()}), known,
        tuple(_orders(connection, account)),
    )  # fmt: skip


def of_account(table: Table, account: Fed) -> ColumnElement[bool]:
    """What selects the rows of a sub-account."""
    return (table.c.provider == account.provider) & (table.c.sub_account_id == account.sub_account)


def _feeds(connection: Connection, account: Fed) -> Feeds:
    feeds: dict[Fed, tuple[Feed, ...]] = {}
    order = (export_feeds.c.group_key, export_feeds.c.first_day, export_feeds.c.export_id)
    for row in connection.execute(FEEDS.where(of_account(export_feeds, account)).order_by(*order)):
        fed = fed_of(row)
        feeds[fed] = (*feeds.get(fed, ()), Feed(export_of(row), days_of(row)))
    if account not in feeds and fed_by_query(connection, of_account(accounts, account)):
        feeds[account] = (Feed(),)
    return feeds


def _deliveries(connection: Connection, account: Fed) -> Iterable[Delivery]:
    columns = (spoken.provider, spoken.sub_account_id, spoken.group_key, spoken.billing_period)
    said = RUNS.add_columns(*columns, spoken.days.label("said"), spoken.outside)
    said = said.join(export_spoken, spoken.run_id == RUNS.selected_columns.id)
    for row in connection.execute(said.where(of_account(export_spoken, account))):
        days = frozenset(day for start, end in row.said for day in days_within(Period(_day(start), _day(end))))
        yield Delivery(fed_of(row), run_of(row), Spoken(row.billing_period, days, row.outside))


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _known(connection: Connection, account: Fed) -> Known:
    known: Known = {account: months_of(connection, account.provider, account.sub_account)}
    for row in connection.execute(select(group_coverage).where(of_account(group_coverage, account))):
        known.setdefault(fed_of(row), {})[row.month] = record(Coverage, row)
    return known


def _held(
    connection: Connection, account: Fed, known: Known, keys: Mapping[int, str]
) -> dict[tuple[Fed, date], tuple[str, ...]]:
    """Whose charges are stored: what was read last says whether they are exports'."""
    held = {
        (fed_of(row), row.month): tuple(keys[each] for each in row.export_ids)
        for row in connection.execute(select(export_months).where(of_account(export_months, account)))
    }
    of_query = {
        (fed, month): (QUERY,)
        for fed, months in known.items()
        for month, each in months.items()
        if each.source != ConnectionType.COST_EXPORT and each.read_from is not None
    }
    return held | of_query


def _orders(connection: Connection, account: Fed) -> Iterable[Order]:
    its = of_account(export_orders, account) | export_orders.c.provider.is_(None)
    for row in connection.execute(select(export_orders).where(its).order_by(export_orders.c.id)):
        yield Order(row.source, row.at, account if row.provider else None)


# --- writing -------------------------------------------------------------------------------------------------


def write_feeds(connection: Connection, before: State, after: State) -> None:
    """Writes which exports feed a sub-account now, where that is others, or other days."""
    if before.feeds == after.feeds:
        return
    connection.execute(delete(export_feeds).where(of_account(export_feeds, after.account)))
    rows = [
        _key(fed) | {"export_id": after.exports[each.source]} | _ends(each.days)
        for fed, feeds in after.feeds.items()
        for each in feeds
        if each.export is not None
    ]
    insert_rows(connection, export_feeds, rows)


def _ends(days: Period | None) -> dict[str, date | None]:
    return {"first_day": days.start if days else None, "last_day": days.last_day if days else None}


def _key(fed: Fed) -> dict[str, Any]:
    return {"provider": fed.provider, "sub_account_id": fed.sub_account, "group_key": group_key_of(fed)}


def write_deliveries(connection: Connection, after: State, export: Export, fed: Fed, period: date) -> None:
    """Writes for what the runs of an export spoke of one billing period, as far as newer ones did not."""
    export_id = after.exports[export.key]
    these = of_account(export_spoken, fed) & (spoken.group_key == group_key_of(fed))
    these &= (spoken.export_id == export_id) & (spoken.billing_period == period)
    connection.execute(delete(export_spoken).where(these))
    of_one = (each for each in after.deliveries if (each.fed, each.spoken.period) == (fed, period))
    rows = [
        _key(fed)
        | {"export_id": export_id, "billing_period": period, "run_id": each.run.found, "outside": each.spoken.outside}
        | {"days": [[days.start.isoformat(), days.end.isoformat()] for days in each.spoken.windows]}
        for each in needed(each for each in of_one if each.run.export.key == export.key)
    ]
    insert_rows(connection, export_spoken, rows)


def write_held(connection: Connection, after: State, fed: Fed, months: Mapping[date, Collection[str]]) -> None:
    """Writes whose charges of these months count."""
    if not months:
        return
    of_fed = of_account(export_months, fed) & (export_months.c.group_key == group_key_of(fed))
    connection.execute(delete(export_months).where(of_fed, export_months.c.month.in_(list(months))))
    rows = [
        _key(fed) | {"month": month, "export_ids": [after.exports[each] for each in sources]}
        for month, sources in months.items()
        if is_of_exports(tuple(sources))
    ]
    insert_rows(connection, export_months, rows)


def write_known(connection: Connection, fed: Fed, months: Mapping[date, Coverage]) -> None:
    """Writes what is known of these months."""
    if not months:
        return
    if fed.group_key is None:
        write_months(connection, fed.provider, {fed.sub_account: months})
        return
    forget_known(connection, fed, months)
    insert_rows(connection, group_coverage, [_key(fed) | asdict(months[month]) for month in sorted(months)])


def forget_group(connection: Connection, fed: Fed) -> None:
    """Forgets what was known of a group that is no longer fed by itself: its sub-account's source has it."""
    for table in (export_months, group_coverage):
        connection.execute(delete(table).where(of_account(table, fed), table.c.group_key == group_key_of(fed)))


def forget_known(connection: Connection, fed: Fed, months: Collection[date]) -> None:
    """Forgets what was known of these months of a group apart from its sub-account."""
    if months:
        of_fed = of_account(group_coverage, fed) & (group_coverage.c.group_key == group_key_of(fed))
        connection.execute(delete(group_coverage).where(of_fed, group_coverage.c.month.in_(list(months))))


def read_anew(connection: Connection, fed: Fed, months: Collection[date]) -> None:
    """The query has not read these months of a group: they are due as if they never had been read."""
    if months:
        by_query = of_account(coverage, fed) & (coverage.c.source != ConnectionType.COST_EXPORT)
        connection.execute(update(coverage).where(by_query, coverage.c.month.in_(list(months))).values(good_on=None))


def write_order(connection: Connection, order: Order, by: str) -> None:
    """Notes an order."""
    row = {"source": order.source, "at": order.at, "by": by}
    if order.sub_account is not None:
        row |= {"provider": order.sub_account.provider, "sub_account_id": order.sub_account.sub_account}
    connection.execute(insert(export_orders).values(row))


def write_feeding_account(connection: Connection, account: Fed, cloud_account_id: int | None) -> None:
    """Writes which cloud account feeds a sub-account."""
    this = update(accounts).where(of_account(accounts, account))
    connection.execute(this.values(cloud_account_id=cloud_account_id))
