"""What exports have delivered of a month, beside what is stored: sums."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, Table, and_, false, func, or_, select, union
from typing_extensions import override

from shared.adapters.database.coverage import FED, OF_FED_GROUP, known_of
from shared.adapters.database.export_charges import of_sources, scopes_in
from shared.adapters.database.export_rows import the_run
from shared.adapters.database.export_state import state_of
from shared.adapters.database.ledger import Ledger, reads
from shared.adapters.database.tables import (
    accounts,
    charges,
    export_charges,
    export_feeds,
    export_spoken,
    exports,
    scopes,
)
from shared.domain.coverage import Known
from shared.domain.exports.feeding import Fed
from shared.domain.exports.runs import RunState
from shared.domain.money import add
from shared.domain.periods import month_of
from shared.ports.reconcile import Exported, Place, ReconcileLedger, Whole

charge = export_charges.c
# Of others, not all is stored (yet), and their sums are not whole.
MADE = (RunState.IMPORTED, RunState.NOT_USED)


class SqlReconcile(Ledger, ReconcileLedger):
    """ReconcileLedger on a SQL database."""

    @override
    @reads
    def sub_accounts(self, connection: Connection) -> list[tuple[str, str]]:
        every = union(*(select(each.c.provider, each.c.sub_account_id) for each in (accounts, scopes)))
        return sorted((row[0], row[1]) for row in connection.execute(every))

    @override
    @reads
    def known(self, connection: Connection, provider: str, sub_account_id: str) -> Mapping[Fed, Known]:
        fed = select(*FED).distinct().select_from(scopes.outerjoin(export_feeds, OF_FED_GROUP))
        rows = connection.execute(fed.where(*_is_of(provider, sub_account_id)))
        return known_of(connection, {Fed(*row) for row in rows} or {Fed(provider, sub_account_id)})

    @override
    @reads
    def delivered(
        self, connection: Connection, provider: str, sub_account_id: str, month: date
    ) -> Mapping[str, Mapping[str, Decimal]]:
        key = exports.c.key, charge.billing_currency
        summed = select(*key, func.sum(charge.billed_cost)).join_from(
            export_charges, exports, exports.c.id == charge.export_id
        )
        summed = summed.join(scopes, scopes.c.id == charge.scope_id).where(*_is_of(provider, sub_account_id))
        found: dict[str, dict[str, Decimal]] = {}
        for export, currency, cost in connection.execute(
            summed.where(charge.billing_period == month).group_by(*key).order_by(*key)
        ):
            found.setdefault(export, {})[currency] = cost
        return found

    @override
    @reads
    def exported(self, connection: Connection, provider: str, sub_account_id: str, month: date) -> Exported:
        state = state_of(connection, Fed(provider, sub_account_id))
        stored, delivered = dict[Place, Decimal](), dict[Place, Decimal]()
        of_period: dict[str, Decimal] = {}
        said = state.sources().exported(month)
        for fed, sources in said.items():
            its_scopes = scopes_in(fed, state.feeds)
            these = of_sources(state, sources) & charge.scope_id.in_(its_scopes)
            stored |= _by_day(connection, fed, charges, charges.c.scope_id.in_(its_scopes), month)
            delivered |= _by_day(connection, fed, export_charges, these, month)
            for currency, (cost, _) in _of_period(connection, these, month).items():
                of_period[currency] = add(of_period.get(currency, Decimal(0)), cost)
        return Exported({each for sources in said.values() for each in sources}, stored, delivered, of_period)

    @override
    @reads
    def whole_runs(
        self, connection: Connection, month: date, sub_accounts: Collection[tuple[str, str]] | None = None
    ) -> list[Whole]:
        spoken = export_spoken.c
        its = select(spoken.export_id, func.min(spoken.run_id).label("run_id")).where(spoken.billing_period == month)
        its = its.group_by(spoken.export_id).having(func.min(spoken.run_id) == func.max(spoken.run_id))
        if sub_accounts is not None:
            of_these = (and_(spoken.provider == each[0], spoken.sub_account_id == each[1]) for each in sub_accounts)
            its = its.where(spoken.export_id.in_(select(spoken.export_id).where(or_(false(), *of_these))))
        found = []
        for export_id, run_id in connection.execute(its).all():
            record = the_run(connection, run_id)
            # What newer runs say of other months is in its sum all the same.
            if record.state in MADE and set(record.periods) <= {month}:
                found.append(Whole(record, _of_period(connection, charge.export_id == export_id, month)))
        return sorted(found, key=lambda each: each.record.run.export.name)


def _of_period(connection: Connection, these: ColumnElement[bool], month: date) -> dict[str, tuple[Decimal, int]]:
    """What of these rows is delivered to a billing period: the sum and the number of them, by currency."""
    summed = select(charge.billing_currency, func.sum(charge.billed_cost), func.count())
    its = summed.where(these, charge.billing_period == month).group_by(charge.billing_currency)
    return {row[0]: (row[1], row[2]) for row in connection.execute(its)}


def _by_day(
    connection: Connection, fed: Fed, table: Table, these: ColumnElement[bool], month: date
) -> dict[Place, Decimal]:
    day, currency, days = table.c.charge_period_start, table.c.billing_currency, month_of(month)
    summed = select(day, currency, func.sum(table.c.billed_cost)).where(these, day >= days.start, day < days.end)
    return {(fed, row[0], row[1]): row[2] for row in connection.execute(summed.group_by(day, currency))}


def _is_of(provider: str, sub_account_id: str) -> list[ColumnElement[bool]]:
    return [scopes.c.provider == provider, scopes.c.sub_account_id == sub_account_id]
