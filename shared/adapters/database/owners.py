"""Whose the charges of scopes are, day by day, as rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, or_, select

from shared.adapters.database.allocated import getters_of
from shared.adapters.database.chunks import in_chunks, insert_rows, select_in
from shared.adapters.database.ledger import columns, record
from shared.adapters.database.tables import coverage, group_coverage, projects, scope_owners, scopes
from shared.domain.coverage import nights_lookback
from shared.domain.owners import DAY, Ownership, handed_over
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.ports.export_runs import closed_on

_reads = [each.alias().c for each in (coverage, group_coverage)]
# An ownership whose days nights still read: one of now, or one that ended lately. What is the latest of all nights
# stands for today.
STILL_READ = or_(
    scope_owners.c.settles_on.is_(None),
    and_(*(~exists(select(read.provider).where(read.good_on >= scope_owners.c.settles_on)) for read in _reads)),
)


def hand_over(
    connection: Connection, owners: dict[int, int | None], today: date, lookback_days: int, correction: bool
) -> int:
    """The scopes are these projects' now, or nobody's; new ones are noted too. correction: so it has always been.

    Returns how many were taken from projects that keep their days.
    """
    so_far: dict[int, list[Ownership]] = {scope_id: [] for scope_id in owners}
    of_these = select(scope_owners)
    for row in select_in(connection, of_these, scope_owners.c.scope_id, list(owners)) if not correction else ():
        so_far[row.scope_id].append(record(Ownership, row))
    providers = select_in(connection, select(scopes.c.id, scopes.c.provider), scopes.c.id, list(owners))
    lookback = {row.id: nights_lookback(lookback_days, closed_on(row.provider)) * DAY for row in providers}
    rows = [
        columns(each, Ownership)
        | {"scope_id": scope_id, "settles_on": each.owned_until and each.owned_until + lookback[scope_id]}
        for scope_id, owner in owners.items()
        for each in handed_over(sorted(so_far[scope_id], key=_since), owner, today)
    ]
    for some in in_chunks(list(owners)):
        connection.execute(delete(scope_owners).where(scope_owners.c.scope_id.in_(some)))
    insert_rows(connection, scope_owners, rows)
    kept = {row["scope_id"] for row in rows if row["owned_until"] == today + DAY}
    unnoted = select(scopes.c.id, scopes.c.project_id).where(
        scopes.c.project_id.is_not(None), ~exists().where(scope_owners.c.scope_id == scopes.c.id)
    )
    connection.execute(insert(scope_owners).from_select(["scope_id", "project_id"], unnoted))
    return len(kept)


def owners_of(connection: Connection, scope_ids: Collection[int]) -> Iterator[int]:
    """The projects for which nights still read charges of these scopes, and those that may get a share of them."""
    yield from _owners(connection, scope_ids, STILL_READ)
    yield from getters_of(connection, scope_ids)


def owners_within(connection: Connection, scope_ids: Collection[int], days: Period) -> Iterator[int]:
    """The projects that had these scopes on one of these days, however long ago."""
    since, until = scope_owners.c.owned_from, scope_owners.c.owned_until
    owned = or_(since.is_(None), since < days.end) & or_(until.is_(None), until > days.start)
    yield from _owners(connection, scope_ids, owned)


def _owners(connection: Connection, scope_ids: Collection[int], which: ColumnElement[bool]) -> Iterator[int]:
    found = select(scope_owners.c.project_id).where(which)
    yield from (row.project_id for row in select_in(connection, found, scope_owners.c.scope_id, sorted(scope_ids)))


def owners_by_group(
    connection: Connection, provider: str, sub_account_id: str, group_keys: Collection[str]
) -> dict[str, dict[int, str]]:
    """The projects that have owned these groups: ids and acronyms, by group key."""
    found = select(scopes.c.group_key, projects.c.id, projects.c.acronym)
    found = found.join_from(scope_owners, scopes, scopes.c.id == scope_owners.c.scope_id)
    found = found.join(projects, projects.c.id == scope_owners.c.project_id)
    found = found.where(scopes.c.provider == provider, scopes.c.sub_account_id == sub_account_id)
    owners: dict[str, dict[int, str]] = {}
    for group_key, project_id, acronym in select_in(connection, found, scopes.c.group_key, sorted(group_keys)):
        owners.setdefault(group_key, {})[project_id] = acronym
    return owners


def _since(ownership: Ownership) -> date:
    return ownership.owned_from or date.min


def owned_scopes(connection: Connection, which: ColumnElement[bool]) -> dict[int, list[Scope]]:
    """What each of these projects has now, as it is spelled."""
    owned: dict[int, list[Scope]] = {}
    rows = connection.execute(
        select(scopes.c.project_id, scopes.c.provider, scopes.c.sub_account_id, scopes.c.x_resource_group_name)
        .join(projects, projects.c.id == scopes.c.project_id)
        .where(which)
        .order_by(scopes.c.provider, scopes.c.sub_account_id, scopes.c.group_key)
    )
    for project_id, *scope in rows:
        owned.setdefault(project_id, []).append(Scope(*scope))
    return owned
