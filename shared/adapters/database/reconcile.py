"""What exports have delivered of a month, beside what is stored: sums."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, case, func, select, union
from typing_extensions import override

from shared.adapters.database.coverage import FED, OF_FED_GROUP, known_of
from shared.adapters.database.export_rows import the_run
from shared.adapters.database.ledger import Ledger, reads
from shared.adapters.database.tables import accounts, export_charges, export_feeds, export_spoken, exports, scopes
from shared.adapters.database.types import Money
from shared.domain.coverage import Known
from shared.domain.exports.feeding import Fed
from shared.domain.periods import month_of
from shared.ports.reconcile import Delivered, ReconcileLedger, Whole

charge = export_charges.c


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
    def delivered(self, connection: Connection, provider: str, sub_account_id: str, month: date) -> list[Delivered]:
        day, days = charge.charge_period_start, month_of(month)
        of_period, on_days = charge.billing_period == month, (day >= days.start) & (day < days.end)
        key = (exports.c.key, exports.c.name, scopes.c.group_key, charge.billing_currency)
        summed = select(*key, _sum_of(of_period), _sum_of(on_days)).join_from(
            export_charges, exports, exports.c.id == charge.export_id
        )
        summed = summed.join(scopes, scopes.c.id == charge.scope_id).where(*_is_of(provider, sub_account_id))
        rows = connection.execute(summed.where(of_period | on_days).group_by(*key).order_by(*key))
        none = Decimal(0)
        return [
            Delivered(export, name, group_key, currency, its or none, on or none)
            for export, name, group_key, currency, its, on in rows
        ]

    @override
    @reads
    def whole_runs(
        self, connection: Connection, month: date, sub_account: tuple[str, str] | None = None
    ) -> list[Whole]:
        spoken = export_spoken.c
        its = select(spoken.export_id, func.min(spoken.run_id).label("run_id")).where(spoken.billing_period == month)
        its = its.group_by(spoken.export_id).having(func.min(spoken.run_id) == func.max(spoken.run_id))
        if sub_account is not None:
            of_this = (spoken.provider == sub_account[0]) & (spoken.sub_account_id == sub_account[1])
            its = its.where(spoken.export_id.in_(select(spoken.export_id).where(of_this)))
        found = []
        for export_id, run_id in connection.execute(its).all():
            others = select(spoken.run_id).where(spoken.run_id == run_id, spoken.billing_period != month)
            if connection.execute(others.limit(1)).first() is None:
                found.append(Whole(the_run(connection, run_id), _stored(connection, export_id, month)))
        return sorted(found, key=lambda each: each.record.run.export.name)


def _stored(connection: Connection, export_id: int, month: date) -> dict[str, tuple[Decimal, int]]:
    summed = select(charge.billing_currency, func.sum(charge.billed_cost), func.count())
    its = summed.where(charge.export_id == export_id, charge.billing_period == month).group_by(charge.billing_currency)
    return {row[0]: (row[1], row[2]) for row in connection.execute(its)}


def _sum_of(which: ColumnElement[bool]) -> ColumnElement[Decimal]:
    return func.sum(case((which, charge.billed_cost)), type_=Money())


def _is_of(provider: str, sub_account_id: str) -> list[ColumnElement[bool]]:
    return [scopes.c.provider == provider, scopes.c.sub_account_id == sub_account_id]
