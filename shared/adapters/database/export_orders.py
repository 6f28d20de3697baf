"""Carries out what operators order: that an export, or the query, feeds what it can."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from shared.adapters.database.chunks import select_in
from shared.adapters.database.cloud_accounts import export_account, lock_accounts, query_account, readers
from shared.adapters.database.export_charges import added_up, days_delivered
from shared.adapters.database.export_counting import Counting, mark_due
from shared.adapters.database.export_outcomes import tell_anew
from shared.adapters.database.export_rows import export_of, lock_export
from shared.adapters.database.export_state import State, of_account, state_of, write_feeding_account, write_order
from shared.adapters.database.scope_rows import scopes_of
from shared.adapters.database.tables import (
    cloud_accounts,
    coverage,
    export_feeds,
    export_runs,
    export_spoken,
    exports,
    scope_owners,
    scopes,
)
from shared.domain.aws import AWS
from shared.domain.exports.feeding import QUERY, Fed, Feed, Order, use
from shared.domain.exports.runs import Export
from shared.ports.azure import AZURE
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.errors import NeverError
from shared.ports.export_runs import Ordered


@dataclass(frozen=True)
class _Source:
    """What is to feed. export: None for the query."""

    export_id: int = 0
    export: Export | None = None


def carry_out(connection: Connection, order: Order, by: str) -> Ordered:
    """Notes an order, and lets its source feed what it has delivered so far, or can be asked for."""
    source = _source(connection, order)
    if source.export is not None:
        # What a run delivers meanwhile for the first time is seen here, or this order is seen there.
        lock_export(connection, source.export_id)
    accounts = sorted(_covered(connection, order, source), key=str)
    for provider in sorted({each.provider for each in accounts}):
        lock_accounts(connection, provider, [each.sub_account for each in accounts if each.provider == provider])
    write_order(connection, order, by)
    done = [_carry_out(connection, order, source, each) for each in accounts]
    owners = {owner for each in done for owner in each.due_projects}
    fed = tuple(fed for each in done for fed in each.fed)
    tell_anew(connection, fed)
    return Ordered(fed, added_up(each.changes for each in done), tuple(sorted(owners)))


def _source(connection: Connection, order: Order) -> _Source:
    if order.source == QUERY:
        return _Source()
    columns = (exports.c.id, *(each.label(f"export_{each.name}") for each in exports.c if each.name != "found_at"))
    row = connection.execute(select(*columns).where(exports.c.key == order.source)).one_or_none()
    if row is None:
        raise NeverError(f"There is no export {order.source}.")
    return _Source(row.id, export_of(row))


def _covered(connection: Connection, order: Order, source: _Source) -> Collection[Fed]:
    """The sub-accounts of which the source has delivered something, or which the query can read.

    One whose cloud account is disabled it can't, but where it is named: then that is enabled.
    """
    if source.export is not None:
        said = select(export_spoken.c.provider, export_spoken.c.sub_account_id).distinct()
        rows = connection.execute(said.where(export_spoken.c.export_id == source.export_id))
        return [fed for fed in (Fed(*row) for row in rows) if order.holds_for(fed)]
    if order.sub_account is not None:
        return [order.sub_account]
    feed = export_feeds.c
    fed: dict[str, list[str]] = {}
    for provider, sub_account in connection.execute(select(feed.provider, feed.sub_account_id).distinct()):
        fed.setdefault(provider, []).append(sub_account)
    return [Fed(each, one) for each, ids in fed.items() for one in _readable(connection, each, sorted(ids))]


def _readable(connection: Connection, provider: str, ids: list[str]) -> Collection[str]:
    """Which of these sub-accounts the query can read, and nobody has disabled that."""
    if provider != AZURE:
        return readers(connection, provider, disabled=False).keys() & set(ids)
    owned = select(scopes.c.sub_account_id).join(scope_owners, scope_owners.c.scope_id == scopes.c.id)
    cloud, of_projects = cloud_accounts.c, owned.where(scopes.c.provider == AZURE).distinct()
    by_query = cloud.connection_type == ConnectionType.COST_MANAGEMENT
    asked = select(cloud.external_account_id).where(by_query)
    disabled = asked.where(func.lower(cloud.status) == AccountStatus.DISABLED)
    readable = {
        *(row[0] for row in select_in(connection, of_projects, scopes.c.sub_account_id, ids)),
        *(row[0] for row in select_in(connection, asked, cloud.external_account_id, ids)),
    }
    return readable - {row[0] for row in select_in(connection, disabled, cloud.external_account_id, ids)}


def _carry_out(connection: Connection, order: Order, source: _Source, account: Fed) -> Ordered:
    before = state_of(connection, account)
    its_scopes = scopes_of(connection, *account[:2])
    covered = {
        fed: Feed(source.export, days_delivered(connection, source.export_id, fed)) for fed in _feds(before, source)
    }
    feeds, changed = use(order, covered, before.feeds)
    if not changed:
        return Ordered()
    after = before.with_feeds(feeds)
    changes, scope_ids = Counting(connection, its_scopes, before, after).count()
    _hand_over(connection, source, before, after)
    if source.export is None:
        scope_ids = [row.id for row in its_scopes.values()]
    due = mark_due(connection, scope_ids, changes.days, order.at, None)
    return Ordered(tuple(changed), changes, tuple(due))


def _feds(before: State, source: _Source) -> Collection[Fed]:
    """What the source can feed of a sub-account."""
    if source.export is None:
        return [before.account]
    return {each.fed for each in before.deliveries if each.run.export.key == source.export.key}


def _hand_over(connection: Connection, source: _Source, before: State, after: State) -> None:
    """The cloud account that feeds a whole sub-account; what the query feeds is due as if it never had been read."""
    account = after.account
    if before.feeds.get(account) == after.feeds.get(account):
        return
    if source.export is None:
        asked = query_account(connection, account.provider, account.sub_account)
        if asked is None:
            raise NeverError(_nobody_reads(account))
        write_feeding_account(connection, account, asked)
        connection.execute(update(coverage).where(of_account(coverage, account)).values(good_on=None))
        return
    run = export_runs.c
    last = select(run.cloud_account_id).where(run.export_id == source.export_id).order_by(run.id.desc()).limit(1)
    feeding = connection.scalar(last) or export_account(connection, account.provider)
    write_feeding_account(connection, account, feeding)


def _nobody_reads(account: Fed) -> str:
    if account.provider != AWS:
        return (
            f"{account.sub_account} is of {account.provider}, which is not asked for costs: exports alone bring them."
        )
    return (
        f"No cloud account is known to read {account.sub_account}: `cloud-accounts add aws` adds it, or its payer, of "
        "which that is known after its first night."
    )
