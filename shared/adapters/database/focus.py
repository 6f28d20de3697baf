"""Stored charges, given out one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, islice
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, and_, func, null, select
from typing_extensions import override

from shared.adapters.database.budget_rows import FETCHED, OWNED
from shared.adapters.database.charge_rows import within
from shared.adapters.database.ledger import Ledger
from shared.adapters.database.spending import IN_CHARGE, of_sub_account
from shared.adapters.database.tables import (
    accounts,
    charge_meters,
    charges,
    cloud_accounts,
    export_feeds,
    exports,
    projects,
    scope_owners,
    scopes,
)
from shared.domain.periods import Period
from shared.ports.cloud_accounts import ConnectionType
from shared.ports.focus import ChargeStore, FocusCharge, FocusCharges, FocusProject, FocusScope
from shared.ports.spending import Selection

CHARGES = (
    select(*charges.c, scope_owners.c.project_id, null().label("sku_meter"))
    .select_from(charges.outerjoin(scope_owners, OWNED))
    .order_by(*charges.primary_key)
)
# Each charge as often as it has meters, and once where it has none.
METERED = (
    select(*charges.c, scope_owners.c.project_id, charge_meters.c.sku_meter, charge_meters.c.billed_cost.label("part"))
    .select_from(charges.outerjoin(scope_owners, OWNED).outerjoin(charge_meters, IN_CHARGE))
    .order_by(*charges.primary_key, charge_meters.c.sku_meter)
)
OF_CHARGE = len(charges.primary_key)
# An export is of one billing account, or names none; what feeds a sub-account can be exports of two, for a time.
EXPORTED = (
    select(func.max(exports.c.billing_account))
    .join(export_feeds, export_feeds.c.export_id == exports.c.id)
    .where(
        export_feeds.c.provider == scopes.c.provider,
        export_feeds.c.sub_account_id == scopes.c.sub_account_id,
        exports.c.billing_account != "",
    )
    .scalar_subquery()
)
# A container of exports is no account of a provider's.
ASKED = and_(
    cloud_accounts.c.id == accounts.c.cloud_account_id,
    cloud_accounts.c.connection_type != ConnectionType.COST_EXPORT,
)
SCOPES = select(
    scopes.c.id,
    scopes.c.provider,
    scopes.c.sub_account_id,
    scopes.c.x_resource_group_name,
    EXPORTED.label("exported"),
    cloud_accounts.c.external_account_id,
    cloud_accounts.c.name,
).select_from(
    scopes.outerjoin(
        accounts,
        and_(accounts.c.provider == scopes.c.provider, accounts.c.sub_account_id == scopes.c.sub_account_id),
    ).outerjoin(cloud_accounts, ASKED)
)


@dataclass(frozen=True)
class SqlChargeStore(Ledger, ChargeStore):
    """ChargeStore on a SQL database."""

    @override
    @contextmanager
    def charges(self, which: Sequence[Selection]) -> Iterator[FocusCharges]:
        with self.database.reading() as connection:
            found = [(each, _scopes(connection, each)) for each in which]
            yield FocusCharges(
                [scope for _, some in found for scope in some],
                [FocusProject(*row) for row in connection.execute(_PROJECTS)],
                (batch for each, some in found for batch in _batches(connection, each, some)),
            )


_PROJECTS = select(
    projects.c.id, projects.c.acronym, projects.c.owner, projects.c.department, projects.c.cost_centre
).order_by(projects.c.id)


def _scopes(connection: Connection, which: Selection) -> list[FocusScope]:
    return [_scope(row) for row in connection.execute(SCOPES.where(*_of_scopes(which)).order_by(scopes.c.id))]


def _of_scopes(which: Selection) -> Iterator[ColumnElement[bool]]:
    yield from of_sub_account(which)
    if which.project_ids is not None:
        owned = scope_owners.c.project_id.in_(which.project_ids)
        yield scopes.c.id.in_(select(scope_owners.c.scope_id).where(owned))


def _scope(row: Any) -> FocusScope:
    """What FOCUS wants to know of it; without a billing account that is known, a sub-account is its own."""
    billing_account = row.exported or row.external_account_id or row.sub_account_id
    name_of = {row.external_account_id: row.name}
    return FocusScope(
        row.id,
        row.provider,
        row.sub_account_id,
        name_of.get(row.sub_account_id, row.sub_account_id),
        row.x_resource_group_name,
        billing_account,
        name_of.get(billing_account, billing_account),
    )


def _batches(
    connection: Connection, which: Selection, of_scopes: Sequence[FocusScope]
) -> Iterator[Sequence[FocusCharge]]:
    ids = {each.id for each in of_scopes}
    metered = ids & set(_metered(connection, which.days, ids))
    for some in within(which.days, ids - metered):
        rows = connection.execute(_owned_by(CHARGES, which).where(some), execution_options={"yield_per": FETCHED})
        # Rows are tuples; making others of them would take a third of the time.
        yield from cast("Iterator[Sequence[FocusCharge]]", rows.partitions(FETCHED))
    for some in within(which.days, metered):
        rows = connection.execute(_owned_by(METERED, which).where(some), execution_options={"yield_per": FETCHED})
        parts = (part for _, same in groupby(rows, lambda row: row[:OF_CHARGE]) for part in _by_meter(list(same)))
        while batch := list(islice(parts, FETCHED)):
            yield batch


def _metered(connection: Connection, days: Period, ids: Iterable[int]) -> Iterator[int]:
    """Those of the scopes of whose charges meters are told."""
    for some in within(days, ids, charge_meters):
        yield from connection.scalars(select(charge_meters.c.scope_id).where(some).distinct())


def _by_meter(rows: Sequence[Any]) -> Iterator[FocusCharge]:
    """A charge by its meters, and what none of them says, so that all of it is the charge."""
    charge = FocusCharge(*rows[0][: len(charges.c) + 1])
    meters = [charge._replace(cost=row.part, meter=row.sku_meter) for row in rows if row.part is not None]
    yield from meters
    left = charge.cost - sum((each.cost for each in meters), Decimal(0))
    if left or not meters:
        yield charge._replace(cost=left)


def _owned_by(wanted: Select[*tuple[Any, ...]], which: Selection) -> Select[*tuple[Any, ...]]:
    return wanted if which.project_ids is None else wanted.where(scope_owners.c.project_id.in_(which.project_ids))
