"""Cloud accounts, and the sub-accounts that they feed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from typing_extensions import override

from shared.adapters.database.accounts import lock_accounts
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.ledger import Ledger, reads, writes
from shared.adapters.database.tables import accounts, cloud_accounts
from shared.adapters.database.texts import fitting
from shared.ports.azure import AZURE
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType

cloud = cloud_accounts.c
ALL = select(*(column for column in cloud if column is not cloud.credentials)).order_by(cloud.id)
NOT_DISABLED = update(cloud_accounts).where(cloud.status != AccountStatus.DISABLED)


class SqlCloudAccounts(Ledger, CloudAccountLedger):
    """CloudAccountLedger on a SQL database."""

    @override
    @reads
    def accounts(self, connection: Connection) -> list[CloudAccount]:
        return [_cloud_account(row) for row in connection.execute(ALL)]

    @override
    @reads
    def get(self, connection: Connection, cloud_account_id: int) -> CloudAccount | None:
        row = connection.execute(ALL.where(cloud.id == cloud_account_id)).one_or_none()
        return None if row is None else _cloud_account(row)

    @override
    @writes
    def register(
        self, connection: Connection, provider: str, connection_type: str, sub_account_ids: Collection[str]
    ) -> None:
        _feed(connection, provider, connection_type, sub_account_ids)

    @override
    @writes
    def mark_failed(self, connection: Connection, cloud_account_id: int, reason: str) -> None:
        failed = {"status": AccountStatus.ERROR, "last_sync_error": fitting(reason)}
        connection.execute(NOT_DISABLED.where(cloud.id == cloud_account_id).values(failed))


def register_sub_accounts(connection: Connection, provider: str, sub_account_ids: Collection[str]) -> None:
    """Locks the sub-accounts that projects name; Azure subscriptions register themselves as cloud accounts."""
    if provider == AZURE:
        _feed(connection, provider, ConnectionType.COST_MANAGEMENT, sub_account_ids)
    else:
        lock_accounts(connection, provider, sub_account_ids)


def _feed(connection: Connection, provider: str, connection_type: str, sub_account_ids: Collection[str]) -> None:
    """Locks these sub-accounts; each that nothing feeds yet is fed by a cloud account of its own, named by its id."""
    lock_accounts(connection, provider, sub_account_ids)
    kind = {"provider": provider, "connection_type": connection_type}
    this = (cloud.provider == provider) & (cloud.connection_type == connection_type)
    for ids in in_chunks(sorted(sub_account_ids)):
        unfed = (accounts.c.provider == provider) & accounts.c.sub_account_id.in_(ids)
        unfed &= accounts.c.cloud_account_id.is_(None)
        wanted = set(connection.scalars(select(accounts.c.sub_account_id).where(unfed)))
        new = wanted - set(connection.scalars(select(cloud.external_account_id).where(this)))
        rows = [
            kind | {"name": each, "external_account_id": each, "organization": "default", "detail": "service"}
            for each in sorted(new)
        ]
        if new:
            connection.execute(insert(cloud_accounts).values(status=AccountStatus.PENDING), rows)
        if wanted:
            own = select(cloud.id).where(this, cloud.external_account_id == accounts.c.sub_account_id)
            connection.execute(update(accounts).where(unfed).values(cloud_account_id=own.scalar_subquery()))


def mark_synced(connection: Connection, provider: str, sub_account_id: str, now: datetime) -> None:
    """What feeds this sub-account has been synced."""
    feeding = select(accounts.c.cloud_account_id).where(
        accounts.c.provider == provider, accounts.c.sub_account_id == sub_account_id
    )
    synced = {"status": AccountStatus.ACTIVE, "last_synced_at": now, "last_sync_error": None}
    connection.execute(NOT_DISABLED.where(cloud.id == feeding.scalar_subquery()).values(synced))


def _cloud_account(row: Row[Any]) -> CloudAccount:
    return CloudAccount(**{**row._mapping, "status": AccountStatus(row.status)})
