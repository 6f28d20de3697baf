"""Rows that the import of exports makes, as the ledgers' tests need them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime, time

from sqlalchemy import Insert, delete, insert

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import WHOLE, coverage, export_feeds, export_spoken, group_coverage
from shared.domain.coverage import BY_EXPORT, Coverage
from shared.ports.azure import AZURE
from tests.contracts.ledger_data import NOVEMBER, SUB


def feed(database: Database, group: str = WHOLE, months: Iterable[date] = (NOVEMBER.start,), export: int = 1) -> None:
    """An export feeds a sub-account, or a group of it, and has delivered these months."""
    with database.engine.begin() as connection:
        for table, rows in feeding(group, months, export):
            connection.execute(table, rows)


def feeding(
    group: str = WHOLE, months: Iterable[date] = (NOVEMBER.start,), export: int = 1
) -> list[tuple[Insert, list[dict[str, object]]]]:
    """What writes that."""
    of: dict[str, object] = {"provider": AZURE, "sub_account_id": SUB, "group_key": group, "export_id": export}
    spoken = [of | {"billing_period": each, "run_id": 1, "days": [], "outside": True} for each in months]
    return [(insert(export_feeds), [of]), *([(insert(export_spoken), spoken)] if spoken else [])]


def exported(through: date, at: date | None = None, start: date | None = None, **changes: object) -> Coverage:
    """What is known of a month that a run has read from its start, or later, through this day."""
    night = at or through
    begun_at = datetime.combine(night, time(8), UTC)
    known = {"read_from": start or through.replace(day=1), "read_through": through, "begun_at": begun_at}
    return Coverage(**{"month": through.replace(day=1), "source": BY_EXPORT, "good_on": night} | known | changes)  # type: ignore[arg-type]


def know(database: Database, *months: Coverage, group: str | None = None) -> None:
    """Writes what is known of months of the sub-account, or of a group of it."""
    table = coverage if group is None else group_coverage
    key = {"provider": AZURE, "sub_account_id": SUB} | ({} if group is None else {"group_key": group})
    with database.engine.begin() as connection:
        for each in months:
            same = [table.c[name] == value for name, value in {**key, "month": each.month}.items()]
            connection.execute(delete(table).where(*same))
            connection.execute(insert(table), [key | asdict(each)])
