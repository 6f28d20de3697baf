"""The row of a sub-account: the lock under which its charges and scopes change."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.tables import accounts


def lock_accounts(connection: Connection, provider: str, sub_account_ids: Collection[str]) -> None:
    """Locks these sub-accounts until the transaction ends; makes their rows where they are missing.

    An update is the lock that every database has. Two that make the same row at once: one runs again and waits.
    """
    found: set[str] = set()
    for ids in in_chunks(sorted(sub_account_ids)):
        these = (accounts.c.provider == provider) & accounts.c.sub_account_id.in_(ids)
        connection.execute(accounts.update().where(these).values(suspect_days=accounts.c.suspect_days))
        found.update(connection.scalars(select(accounts.c.sub_account_id).where(these)))
    missing = [
        {"provider": provider, "sub_account_id": account_id, "suspect_days": 0}
        for account_id in sorted(set(sub_account_ids) - found)
    ]
    if missing:
        connection.execute(accounts.insert(), missing)
