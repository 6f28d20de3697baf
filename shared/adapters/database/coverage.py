"""What is known of sub-accounts' months, as rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import date

from sqlalchemy import Connection, delete, select

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import insert_rows, select_in
from shared.adapters.database.ledger import record
from shared.adapters.database.tables import coverage
from shared.domain.coverage import Coverage, Reading

Months = dict[tuple[str, str], dict[date, Coverage]]
"""By provider and sub-account, and the month's first day"""


def known_months(connection: Connection, sub_account_ids: Collection[str] | None = None) -> Months:
    """What is known of these sub-accounts' months, or of all, oldest month first."""
    stored = select(coverage).order_by(coverage.c.month)
    rows: Iterable[AnyRow] = (
        connection.execute(stored)
        if sub_account_ids is None
        else select_in(connection, stored, coverage.c.sub_account_id, sorted(set(sub_account_ids)))
    )
    known: Months = {}
    for row in rows:
        known.setdefault((row.provider, row.sub_account_id), {})[row.month] = record(Coverage, row)
    return known


def months_of(connection: Connection, provider: str, sub_account_id: str) -> dict[date, Coverage]:
    """What is known of one sub-account's months."""
    return known_months(connection, [sub_account_id]).get((provider, sub_account_id), {})


def write_months(connection: Connection, reading: Reading, months: Mapping[date, Coverage]) -> None:
    """Writes what is known of these months of the reading's sub-account now."""
    account = {"provider": reading.provider, "sub_account_id": reading.sub_account_id}
    this = [coverage.c[name] == value for name, value in account.items()]
    connection.execute(delete(coverage).where(*this, coverage.c.month.in_(list(months))))
    insert_rows(connection, coverage, [account | asdict(months[month]) for month in sorted(months)])
