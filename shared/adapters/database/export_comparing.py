"""What is stored of a month, by who delivered it: for comparing it with what others say."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import Connection, func, select

from shared.adapters.database.charge_rows import within
from shared.adapters.database.export_charges import scope_ids_of
from shared.adapters.database.export_state import State, of_account, state_of
from shared.adapters.database.scope_rows import scopes_of
from shared.adapters.database.tables import charges, export_charges, exports, scopes
from shared.domain.exports.feeding import QUERY, Fed
from shared.domain.periods import month_of

Stored = dict[tuple[str, str], Decimal]
"""By source and currency"""


def of_exports(connection: Connection, account: Fed, month: date) -> Stored:
    """What each export has delivered to a billing period, by its key."""
    delivered = export_charges.c
    summed = select(exports.c.key, delivered.billing_currency, func.sum(delivered.billed_cost))
    summed = summed.join_from(export_charges, exports, exports.c.id == delivered.export_id)
    summed = summed.join(scopes, scopes.c.id == delivered.scope_id)
    its = of_account(scopes, account) & (delivered.billing_period == month)
    rows = connection.execute(summed.where(its).group_by(exports.c.key, delivered.billing_currency))
    return {(key, currency): cost for key, currency, cost in rows}


def of_query(connection: Connection, account: Fed, month: date) -> Stored:
    """What the query has read of a month's days; nothing of groups, and of a month, whose charges are exports'."""
    state = state_of(connection, account)
    if state.held.get((account, month)) != (QUERY,):
        return {}
    ids = scope_ids_of(scopes_of(connection, *account[:2]), account, _of_others(state, month))
    found: Stored = {}
    summed = select(charges.c.billing_currency, func.sum(charges.c.billed_cost))
    for which in within(month_of(month), ids):
        for currency, cost in connection.execute(summed.where(which).group_by(charges.c.billing_currency)):
            found[QUERY, currency] = found.get((QUERY, currency), Decimal(0)) + cost
    return found


def _of_others(state: State, month: date) -> list[Fed]:
    """The groups whose charges of the month are exports'."""
    return [
        fed
        for (fed, its_month), sources in state.held.items()
        if its_month == month and fed.group_key is not None and sources != (QUERY,)
    ]
