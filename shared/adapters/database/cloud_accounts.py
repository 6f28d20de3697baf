"""Cloud accounts, and the rows of the sub-accounts that they feed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, case, delete, func, insert, select, update
from typing_extensions import override

from shared.adapters.database.chunks import in_chunks, insert_rows
from shared.adapters.database.ledger import Ledger, columns, reads, record, writes
from shared.adapters.database.tables import (
    WHOLE,
    accounts,
    cloud_accounts,
    export_feeds,
    export_runs,
    paid_calls,
    syncs,
)
from shared.domain.projects import sub_account_key
from shared.ports.azure import AZURE
from shared.ports.cloud_accounts import (
    OF_FILES,
    UNGROUPED,
    AccountStatus,
    CloudAccount,
    CloudAccountLedger,
    ConnectionType,
)

account, cloud = accounts.c, cloud_accounts.c
ALL = select(*(column for column in cloud if column is not cloud.credentials)).order_by(cloud.id)
NEW = {"organization": UNGROUPED, "detail": "service", "status": AccountStatus.PENDING}
NOT_DISABLED = update(cloud_accounts).where(func.lower(cloud.status) != AccountStatus.DISABLED)
# Those of a project's message meet nobody else.
SYNCS_LOOKED_AT = 20


class SqlCloudAccounts(Ledger, CloudAccountLedger):
    """CloudAccountLedger on a SQL database."""

    @override
    @reads
    def accounts(self, connection: Connection) -> list[CloudAccount]:
        return [record(CloudAccount, row) for row in connection.execute(ALL)]

    @override
    @reads
    def get(self, connection: Connection, cloud_account_id: int) -> CloudAccount | None:
        row = connection.execute(ALL.where(cloud.id == cloud_account_id)).one_or_none()
        return None if row is None else record(CloudAccount, row)

    @override
    @writes
    def register(self, connection: Connection, provider: str, connection_type: str, ids: Collection[str]) -> None:
        keys = {sub_account_key(provider, each) for each in ids}
        lock_accounts(connection, provider, keys)
        _feed(connection, provider, connection_type, keys)

    @override
    @writes
    def add_exports(self, connection: Connection, provider: str, place: str) -> int:
        kind = {"provider": provider, "connection_type": ConnectionType.COST_EXPORT}
        same = (cloud.connection_type == ConnectionType.COST_EXPORT) & (cloud.external_account_id == place)
        found: int | None = connection.scalar(select(cloud.id).where(same))
        if found is not None:
            return found
        row = NEW | kind | {"name": place, "external_account_id": place}
        made: int = connection.execute(insert(cloud_accounts).values(row).returning(cloud.id)).scalar_one()
        return made

    @override
    @writes
    def add(self, connection: Connection, new: CloudAccount) -> int | None:
        told_by = ("provider", "connection_type", "external_account_id")
        same = select(cloud.id).where(*(cloud[name] == getattr(new, name) for name in told_by))
        if connection.scalar(same) is not None:
            return None
        row = columns(new, CloudAccount, "id") | {"status": AccountStatus.PENDING}
        made: int = connection.execute(insert(cloud_accounts).values(row).returning(cloud.id)).scalar_one()
        return made

    @override
    @reads
    def feeding(self, connection: Connection, provider: str, sub_account_id: str) -> CloudAccount | None:
        cloud_account_id = feeding_account(connection, provider, sub_account_key(provider, sub_account_id))
        row = connection.execute(ALL.where(cloud.id == cloud_account_id)).one_or_none()
        return None if row is None else record(CloudAccount, row)

    @override
    @reads
    def fed(self, connection: Connection, provider: str) -> frozenset[str]:
        fed = (account.provider == provider) & account.cloud_account_id.is_not(None)
        return frozenset(connection.scalars(select(account.sub_account_id).where(fed)))

    @override
    @reads
    def fed_by(self, connection: Connection, cloud_account_id: int) -> list[str]:
        run, feed = export_runs.c, export_feeds.c
        exports_of_it = select(run.export_id).where(run.cloud_account_id == cloud_account_id)
        of_groups = select(feed.sub_account_id).where(feed.group_key != WHOLE, feed.export_id.in_(exports_of_it))
        whole = (each for ids in _fed_by(connection, cloud_account_id).values() for each in ids)
        return sorted({*whole, *connection.scalars(of_groups)})

    @override
    @writes
    def set_organization(self, connection: Connection, cloud_account_id: int, organization: str) -> None:
        this = update(cloud_accounts).where(cloud.id == cloud_account_id)
        connection.execute(this.values(organization=organization))

    @override
    @writes
    def disable(self, connection: Connection, cloud_account_id: int, why: str) -> None:
        disabled = {"status": AccountStatus.DISABLED, "disabled_why": why}
        connection.execute(NOT_DISABLED.where(cloud.id == cloud_account_id).values(disabled))

    @override
    @writes
    def enable(self, connection: Connection, cloud_account_id: int) -> None:
        _enable(connection, cloud_account_id)

    @override
    @writes
    def remove(self, connection: Connection, cloud_account_id: int) -> None:
        row = connection.execute(ALL.where(cloud.id == cloud_account_id)).one_or_none()
        if row is None:
            return
        for provider, ids in _fed_by(connection, cloud_account_id).items():
            lock_accounts(connection, provider, ids)
            is_of_exports = row.connection_type == ConnectionType.COST_EXPORT
            then = export_account(connection, provider) if is_of_exports else None
            fed = (account.provider == provider) & (account.cloud_account_id == cloud_account_id)
            connection.execute(update(accounts).where(fed).values(cloud_account_id=then))
        # A database may give its number again.
        of_it = export_runs.c.cloud_account_id == cloud_account_id
        connection.execute(update(export_runs).where(of_it).values(cloud_account_id=None))
        for each in (paid_calls, syncs):
            connection.execute(delete(each).where(each.c.cloud_account_id == cloud_account_id))
        connection.execute(delete(cloud_accounts).where(cloud.id == cloud_account_id))

    @override
    @writes
    def note_manual_sync(self, connection: Connection, ids: Collection[int], now: datetime | None) -> None:
        for some in in_chunks(sorted(ids)):
            these = update(cloud_accounts).where(cloud.id.in_(some))
            connection.execute(these.values(last_manual_sync_at=now))

    @override
    @writes
    def claim_manual_sync(
        self, connection: Connection, cloud_account_id: int, now: datetime, since: datetime
    ) -> datetime | None:
        organization = select(cloud.organization).where(cloud.id == cloud_account_id).scalar_subquery()
        its = func.lower(cloud.organization) == func.lower(organization)
        # An update is the lock that every database has: whoever comes at the same time waits here.
        connection.execute(update(cloud_accounts).where(its).values(detail=cloud.detail))
        last: datetime | None = connection.scalar(select(func.max(cloud.last_manual_sync_at)).where(its))
        if last is not None and last > since:
            return last
        this = update(cloud_accounts).where(cloud.id == cloud_account_id)
        connection.execute(this.values(last_manual_sync_at=now))
        return None

    @override
    @writes
    def mark_synced(self, connection: Connection, cloud_account_id: int, now: datetime) -> None:
        synced = {"status": AccountStatus.ACTIVE, "last_synced_at": now, "last_sync_error": None}
        connection.execute(NOT_DISABLED.where(cloud.id == cloud_account_id).values(synced))

    @override
    @writes
    def mark_readable(self, connection: Connection, cloud_account_id: int) -> None:
        before = case((cloud.last_synced_at.is_(None), AccountStatus.PENDING), else_=AccountStatus.ACTIVE)
        readable = {"status": before, "last_sync_error": None}
        connection.execute(NOT_DISABLED.where(cloud.id == cloud_account_id).values(readable))

    @override
    @writes
    def mark_failed(self, connection: Connection, cloud_account_id: int, reason: str) -> None:
        failed = {"status": AccountStatus.ERROR, "last_sync_error": reason}
        connection.execute(NOT_DISABLED.where(cloud.id == cloud_account_id).values(failed))


def register_sub_accounts(connection: Connection, provider: str, ids: Collection[str]) -> None:
    """Locks the sub-accounts that projects name; Azure subscriptions register themselves as cloud accounts."""
    lock_accounts(connection, provider, ids)
    if provider == AZURE:
        _feed(connection, provider, ConnectionType.COST_MANAGEMENT, ids)


def _feed(connection: Connection, provider: str, connection_type: str, ids: Collection[str]) -> None:
    """Each of these sub-accounts that nothing feeds yet is fed by a cloud account of its own, named by its id."""
    same = (cloud.provider == provider) & (cloud.connection_type == connection_type)
    own = select(cloud.id).where(same, cloud.external_account_id == account.sub_account_id)
    kind = NEW | {"provider": provider, "connection_type": connection_type}
    for some in in_chunks(sorted(ids)):
        unfed = (account.provider == provider) & account.sub_account_id.in_(some) & account.cloud_account_id.is_(None)
        new = connection.scalars(select(account.sub_account_id).where(unfed, ~own.exists())).all()
        insert_rows(connection, cloud_accounts, [kind | {"name": each, "external_account_id": each} for each in new])
        connection.execute(update(accounts).where(unfed).values(cloud_account_id=own.scalar_subquery()))


def _fed_by(connection: Connection, cloud_account_id: int) -> dict[str, list[str]]:
    """The sub-accounts that it feeds whole, by provider: one container may have exports of several."""
    of_it = select(account.provider, account.sub_account_id).where(account.cloud_account_id == cloud_account_id)
    found: dict[str, list[str]] = {}
    for provider, sub_account_id in connection.execute(of_it.order_by(account.provider)):
        found.setdefault(provider, []).append(sub_account_id)
    return found


def feeding_account(connection: Connection, provider: str, sub_account_id: str) -> int | None:
    """The cloud account that feeds a sub-account; None where none does."""
    this = (account.provider == provider) & (account.sub_account_id == sub_account_id)
    return connection.scalar(select(account.cloud_account_id).where(this))


def export_account(connection: Connection, provider: str) -> int:
    """The cloud account of what exports in no container feed: files that people import. Nobody looks for more."""
    of_files = {"provider": provider, "connection_type": ConnectionType.COST_EXPORT, "external_account_id": OF_FILES}
    return _its_own(connection, of_files | {"status": AccountStatus.DISABLED})


def query_account(connection: Connection, provider: str, sub_account_id: str) -> int | None:
    """The cloud account by which a sub-account is asked for its costs; enabled, where it was not. None where none is.

    That of an Azure subscription is made where it is missing.
    """
    if provider == AZURE:
        of_query = {"provider": AZURE, "connection_type": ConnectionType.COST_MANAGEMENT}
        found = _its_own(connection, of_query | {"external_account_id": sub_account_id})
    elif (known := readers(connection, provider).get(sub_account_id)) is not None:
        found = known
    else:
        return None
    _enable(connection, found)
    return found


def readers(connection: Connection, provider: str, *, disabled: bool = True) -> dict[str, int]:
    """By sub-account which cloud account can be asked for it: its own, else a payer that is known to have met it.

    One that is disabled comes last, and only where it is its own.
    """
    asked = ALL.where(cloud.provider == provider, cloud.connection_type != ConnectionType.COST_EXPORT)
    known = [record(CloudAccount, row) for row in connection.execute(asked)]
    read = [each for each in known if each.status is not AccountStatus.DISABLED]
    found = {each.external_account_id: each.id for each in read}
    for payer in read:
        last = select(syncs.c.left_out).where(syncs.c.cloud_account_id == payer.id)
        met = connection.scalars(last.order_by(syncs.c.started_at.desc()).limit(SYNCS_LOOKED_AT))
        for each in (*(payer.reads or ()), *(each for left_out in met for each in left_out or ())):
            found.setdefault(each, payer.id)
    for each in known if disabled else ():
        found.setdefault(each.external_account_id, each.id)
    return found


def _enable(connection: Connection, cloud_account_id: int) -> None:
    pending = {"status": AccountStatus.PENDING, "disabled_why": None, "last_sync_error": None}
    this = (cloud.id == cloud_account_id) & (func.lower(cloud.status) == AccountStatus.DISABLED)
    connection.execute(update(cloud_accounts).where(this).values(pending))


def _its_own(connection: Connection, row: dict[str, str]) -> int:
    """The cloud account that is told by these values, made where it is missing."""
    told_by = ("provider", "connection_type", "external_account_id")
    this = select(cloud.id).where(*(cloud[name] == row[name] for name in told_by))
    if connection.scalar(this) is None:
        insert_rows(connection, cloud_accounts, [NEW | {"name": row["external_account_id"]} | row])
    found: int = connection.scalars(this).one()
    return found


def lock_accounts(connection: Connection, provider: str, ids: Collection[str]) -> None:
    """Locks these sub-accounts until the transaction ends; makes their rows where they are missing.

    An update is the lock that every database has. Two that make the same row at once: one runs again and waits.
    """
    found: set[str] = set()
    for some in in_chunks(sorted(ids)):
        these = (account.provider == provider) & account.sub_account_id.in_(some)
        connection.execute(update(accounts).where(these).values(cloud_account_id=account.cloud_account_id))
        found.update(connection.scalars(select(account.sub_account_id).where(these)))
    new = sorted(set(ids) - found)
    insert_rows(connection, accounts, [{"provider": provider, "sub_account_id": each} for each in new])
