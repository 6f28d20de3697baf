"""Cloud accounts that are asked for all of their sub-accounts at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from typing_extensions import override

from shared.adapters.database.chunks import in_chunks, insert_rows, update_rows
from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.ledger import Ledger, columns, reads, record, writes
from shared.adapters.database.tables import (
    WHOLE,
    accounts,
    charges,
    cloud_accounts,
    export_feeds,
    paid_calls,
    scopes,
    syncs,
)
from shared.domain.exports.feeding import Fed
from shared.domain.members import Claim, Held, has_moved, is_free
from shared.domain.money import plain
from shared.domain.periods import DAY, Period
from shared.domain.projects import sub_account_key
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.costs import SubAccount
from shared.ports.payers import Change, Member, PayerLedger, Sync

account, cloud, feed, paid, sync = accounts.c, cloud_accounts.c, export_feeds.c, paid_calls.c, syncs.c
# Columns of a Member, in its order.
LISTED = select(account.sub_account_id.label("id"), account.name, account.state, account.left_on, account.read_since)
HELD = select(
    *(account.sub_account_id, account.state, account.left_on),
    *(cloud.id, cloud.status, cloud.connection_type, cloud.is_organization),
).select_from(accounts.outerjoin(cloud_accounts, cloud.id == account.cloud_account_id))


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
        theirs = LISTED.where(account.cloud_account_id == cloud_account_id).order_by(account.sub_account_id)
        return [Member(*row) for row in connection.execute(theirs)]

    @override
    @writes
    def adopt(
        self,
        connection: Connection,
        cloud_account_id: int,
        provider: str,
        ids: Collection[str],
        active: Collection[str] = (),
    ) -> dict[str, int | None]:
        keys = sorted({sub_account_key(provider, each) for each in ids})
        if not keys:
            return {}
        lock_accounts(connection, provider, keys)
        itself = connection.scalar(select(cloud.external_account_id).where(cloud.id == cloud_account_id))
        listed = (account.cloud_account_id == cloud_account_id) & account.state.is_not(None)
        lists = connection.execute(select(account.sub_account_id).where(listed).limit(1)).first() is not None
        others: dict[str, int | None] = {}
        for each, held in _held(connection, provider, keys):
            claim = Claim(cloud_account_id, each == itself, lists, each in active)
            if not is_free(held, claim):
                others[each] = None if held.by_exports else held.by
            elif held.by != cloud_account_id:
                _take(connection, Fed(provider, each), claim, held)
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
        theirs = (account.provider == provider) & (account.cloud_account_id == cloud_account_id)
        changed = list[dict[str, Any]]()
        for row in connection.execute(LISTED.where(theirs)).all():
            before, member = Member(*row), by_id.get(row.id)
            goes_on = member is not None and member.state in active
            now = replace(before, left_on=None if goes_on else before.left_on or day)
            if member is not None:
                since = member.joined_on or before.read_since
                now = replace(now, name=member.name, state=member.state, read_since=since)
            if now != before:
                changed.append({"provider": provider, "sub_account_id": before.id} | columns(now, Member, "id"))
        update_rows(connection, accounts, changed, "provider", "sub_account_id")

    @override
    @writes
    def forget_listed(self, connection: Connection, cloud_account_id: int) -> None:
        theirs = (account.cloud_account_id == cloud_account_id) & account.state.is_not(None)
        connection.execute(update(accounts).where(theirs).values(state=None))

    @override
    @writes
    def change_sync(self, connection: Connection, cloud_account_id: int, begun: Sync, change: Change) -> None:
        this = (sync.cloud_account_id == cloud_account_id) & (sync.run_key == begun.run_key)
        # An update is the lock that every database has. Two that make the row at once: one runs again and waits.
        is_begun = connection.execute(update(syncs).where(this).values(calls=sync.calls)).rowcount
        before = _sync(connection.execute(select(*sync).where(this)).one()) if is_begun else begun
        after = change(before)
        row = columns(after, Sync) | {"cloud_account_id": cloud_account_id}
        row |= {name: list(getattr(after, name)) for name in ("errors", "left_out", "service_names")}
        answered = ((days.start.isoformat(), days.end.isoformat(), calls) for days, calls in after.answered)
        row |= {"answered": list(map(list, answered))}
        row |= {"totals": {currency: plain(amount) for currency, amount in (after.totals or {}).items()}}
        connection.execute(update(syncs).where(this).values(row) if is_begun else insert(syncs).values(row))

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


def _held(connection: Connection, provider: str, keys: Sequence[str]) -> Iterator[tuple[str, Held]]:
    """What is known of these sub-accounts, which are locked."""
    for some in in_chunks(keys):
        whole = select(feed.sub_account_id).where(feed.provider == provider, feed.group_key == WHOLE)
        by_exports = set(connection.scalars(whole.where(feed.sub_account_id.in_(some))))
        rows = connection.execute(HELD.where(account.provider == provider, account.sub_account_id.in_(some))).all()
        for row in rows:
            # What exports fed and feed no more, nobody reads.
            is_read = row.connection_type != ConnectionType.COST_EXPORT and row.status is not AccountStatus.DISABLED
            of_exports = row.sub_account_id in by_exports
            is_listed = row.state is not None
            yield (
                row.sub_account_id,
                Held(row.id, is_read, bool(row.is_organization), of_exports, is_listed, row.left_on),
            )


def _take(connection: Connection, fed: Fed, claim: Claim, held: Held) -> None:
    """Has a cloud account read what it did not. What another organization's payer has told of it stays."""
    now: dict[str, Any] = {"cloud_account_id": claim.by, "left_on": None, "state": None}
    if has_moved(held, claim):
        its_charges = select(func.max(charges.c.charge_period_start)).join(scopes, scopes.c.id == charges.c.scope_id)
        of_fed = (scopes.c.provider == fed.provider) & (scopes.c.sub_account_id == fed.sub_account)
        last = connection.scalar(its_charges.where(of_fed))
        now["read_since"] = last + DAY if last else None
    this = (account.provider == fed.provider) & (account.sub_account_id == fed.sub_account)
    connection.execute(update(accounts).where(this).values(now))


def _sync(row: Row[Any]) -> Sync:
    totals = {currency: Decimal(amount) for currency, amount in row.totals.items()}
    answered = tuple((Period(*map(date.fromisoformat, days)), calls) for *days, calls in row.answered or ())
    # Earlier versions note nothing of these.
    names = {name: tuple(getattr(row, name) or ()) for name in ("left_out", "service_names")}
    return record(Sync, row, totals=totals, errors=tuple(row.errors), answered=answered, **names)
