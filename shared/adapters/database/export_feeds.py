"""Who feeds what, as rows."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from shared.adapters.database.budget_rows import ALL, AnyRow
from shared.adapters.database.export_rows import export_of
from shared.adapters.database.tables import WHOLE, accounts, cloud_accounts, export_feeds, export_spoken, exports
from shared.domain.exports.feeding import QUERY, Fed
from shared.domain.periods import DAY, Period
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.export_runs import Feeding

feed, spoken = export_feeds.c, export_spoken.c
_ASKED = (
    select(accounts.c.provider, accounts.c.sub_account_id)
    .join(cloud_accounts, cloud_accounts.c.id == accounts.c.cloud_account_id)
    .where(cloud_accounts.c.connection_type != ConnectionType.COST_EXPORT)
    .where(cloud_accounts.c.status != AccountStatus.DISABLED)
)
FEEDS = select(
    export_feeds, *(each.label(f"export_{each.name}") for each in exports.c if each.name not in ("id", "found_at"))
).join(exports, exports.c.id == feed.export_id)


def fed_of(row: AnyRow) -> Fed:
    """What a row is about."""
    return Fed(row.provider, row.sub_account_id, None if row.group_key == WHOLE else row.group_key)


def group_key_of(fed: Fed) -> str:
    """How a group stands in keys, or all of a sub-account."""
    return WHOLE if fed.group_key is None else fed.group_key


def days_of(row: AnyRow) -> Period | None:
    """The days of what a row of FEEDS feeds."""
    return Period(row.first_day, row.last_day + DAY) if row.first_day else None


def fed_by_query(connection: Connection, which: ColumnElement[bool] = ALL) -> set[Fed]:
    """The sub-accounts that the query feeds: their cloud accounts are asked, and no export feeds all of them."""
    whole = select(feed.provider, feed.sub_account_id).where(feed.group_key == WHOLE)
    taken = {(row.provider, row.sub_account_id) for row in connection.execute(whole)}
    rows = connection.execute(_ASKED.where(which))
    return {Fed(*row) for row in rows if (row.provider, row.sub_account_id) not in taken}


def feedings(connection: Connection) -> list[Feeding]:
    """Who feeds what, of all that exports feed or have delivered."""
    order = (feed.provider, feed.sub_account_id, feed.group_key, feed.export_id)
    by_exports = [
        Feeding(fed_of(row), export_of(row).key, row.export_name, days_of(row))
        for row in connection.execute(FEEDS.order_by(*order))
    ]
    delivered = connection.execute(select(spoken.provider, spoken.sub_account_id).distinct())
    known = {Fed(*row) for row in delivered} | {each.fed.whole for each in by_exports}
    by_query = [Feeding(fed, QUERY, QUERY, None) for fed in fed_by_query(connection) & known]
    return sorted(by_query + by_exports, key=lambda each: (each.fed.whole[:2], each.fed.group_key or ""))
