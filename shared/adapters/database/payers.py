"""Cloud accounts that are asked for all of their sub-accounts at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from typing_extensions import override

from shared.adapters.database.chunks import in_chunks, insert_rows, update_rows
from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.ledger import Ledger, columns, reads, record, writes
from shared.adapters.database.tables import WHOLE, accounts, cloud_accounts, export_feeds, paid_calls, syncs
from shared.domain.money import plain
from shared.domain.projects import sub_account_key
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.costs import SubAccount
from shared.ports.payers import Member, PayerLedger, Sync

account, cloud, feed, paid, sync = accounts.c, cloud_accounts.c, export_feeds.c, paid_calls.c, syncs.c


class SqlPayers(Ledger, PayerLedger):
    """PayerLedger on a SQL database."""

    @override
    @writes
    def may_call(self, connection: Connection, cloud_account_id: int, day: date, most: int) -> bool:
        this = (paid.cloud_account_id == cloud_account_id) & (paid.day == day)
        if most < 1:
            return False
        # An update is the lock that every database has. Two that make the row at once: one runs again and waits.
        counted = connection.execute(update(paid_calls).where(this, paid.calls < most).values(calls=paid.calls + 1))
        if counted.rowcount:
            return True
        if connection.scalar(select(paid.calls).where(this)) is not None:
            return False
        insert_rows(connection, paid_calls, [{"cloud_account_id": cloud_account_id, "day": day, "calls": 1}])
        return True

    @override
    @reads
    def calls_on(self, connection: Connection, cloud_account_id: int, day: date) -> int:
        this = (paid.cloud_account_id == cloud_account_id) & (paid.day == day)
        return connection.scalar(select(paid.calls).where(this)) or 0

    @override
    @reads
    def members(self, connection: Connection, cloud_account_id: int) -> list[Member]:
        found = select(account.sub_account_id.label("id"), account.name, account.state, account.left_on)
        theirs = found.where(account.cloud_account_id == cloud_account_id).order_by(account.sub_account_id)
        return [Member(*row) for row in connection.execute(theirs)]

    @override
    @writes
    def adopt(
        self, connection: Connection, cloud_account_id: int, provider: str, ids: Collection[str]
    ) -> dict[str, int]:
        keys = sorted({sub_account_key(provider, each) for each in ids})
        lock_accounts(connection, provider, keys)
        reading = select(cloud.id).where(cloud.status != AccountStatus.DISABLED)
        # What people have imported feeds as well, though nobody looks for more.
        fed = select(feed.sub_account_id).where(feed.provider == provider, feed.group_key == WHOLE)
        of_another = account.cloud_account_id != cloud_account_id
        others: dict[str, int] = {}
        for some in in_chunks(keys):
            these = (account.provider == provider) & account.sub_account_id.in_(some)
            feeds = account.cloud_account_id.in_(reading) | account.sub_account_id.in_(fed)
            elsewhere = these & of_another & feeds
            rows = connection.execute(select(account.sub_account_id, account.cloud_account_id).where(elsewhere)).all()
            others |= {row.sub_account_id: row.cloud_account_id for row in rows}
            free = [each for each in some if each not in others]
            mine = (account.provider == provider) & account.sub_account_id.in_(free)
            connection.execute(update(accounts).where(mine).values(cloud_account_id=cloud_account_id))
        return others

    @override
    @writes
    def note_listed(
        self,
        connection: Connection,
        cloud_account_id: int,
        provider: str,
        listed: Iterable[SubAccount],
        active: Collection[str],
        day: date,
    ) -> None:
        by_id = {each.id: each for each in listed}
        found = select(account.sub_account_id, account.name, account.state, account.left_on)
        theirs = (account.provider == provider) & (account.cloud_account_id == cloud_account_id)
        changed = list[dict[str, Any]]()
        for row in connection.execute(found.where(theirs)).all():
            member = by_id.get(row.sub_account_id)
            goes_on = member is not None and member.state in active
            now: dict[str, Any] = {
                "name": member.name if member else row.name,
                "state": member.state if member else row.state,
                "left_on": None if goes_on else row.left_on or day,
            }
            if now != {"name": row.name, "state": row.state, "left_on": row.left_on}:
                changed.append({"provider": provider, "sub_account_id": row.sub_account_id} | now)
        update_rows(connection, accounts, changed, "provider", "sub_account_id")

    @override
    @writes
    def keep_sync(self, connection: Connection, cloud_account_id: int, sync: Sync) -> None:
        row = columns(sync, Sync) | {"cloud_account_id": cloud_account_id, "errors": list(sync.errors)}
        row |= {"left_out": list(sync.left_out)}
        totals = {currency: plain(amount) for currency, amount in (sync.totals or {}).items()}
        this = (syncs.c.cloud_account_id == cloud_account_id) & (syncs.c.run_key == sync.run_key)
        connection.execute(delete(syncs).where(this))
        connection.execute(insert(syncs).values(row | {"totals": totals}))

    @override
    @reads
    def syncs(self, connection: Connection, cloud_account_id: int, most: int) -> list[Sync]:
        theirs = select(*sync).where(sync.cloud_account_id == cloud_account_id).order_by(sync.started_at.desc())
        return [_sync(row) for row in connection.execute(theirs.limit(most))]

    @override
    @reads
    def sync_of(self, connection: Connection, cloud_account_id: int, run_key: str) -> Sync | None:
        this = (sync.cloud_account_id == cloud_account_id) & (sync.run_key == run_key)
        row = connection.execute(select(*sync).where(this)).one_or_none()
        return None if row is None else _sync(row)


def _sync(row: Row[Any]) -> Sync:
    totals = {currency: Decimal(amount) for currency, amount in row.totals.items()}
    # Earlier versions note nothing of those that were left out.
    return record(Sync, row, totals=totals, errors=tuple(row.errors), left_out=tuple(row.left_out or ()))
