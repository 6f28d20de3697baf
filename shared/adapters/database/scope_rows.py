"""The scopes of a sub-account, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import insert_rows, select_in, update_rows
from shared.adapters.database.tables import scopes

Scopes = Mapping[str, AnyRow]
"""Stored scopes by group key: id, name, project_id"""


_ACCOUNT = scopes.c.sub_account_id
_SCOPES = select(
    _ACCOUNT, scopes.c.group_key, scopes.c.id, scopes.c.x_resource_group_name.label("name"), scopes.c.project_id
)


def scopes_of(connection: Connection, provider: str, sub_account_id: str) -> Scopes:
    """The scopes of a sub-account."""
    return _scopes_of(connection, provider, [sub_account_id])[sub_account_id]


def _scopes_of(connection: Connection, provider: str, sub_account_ids: Sequence[str]) -> dict[str, Scopes]:
    """The scopes of each of these sub-accounts."""
    found: dict[str, dict[str, AnyRow]] = {each: {} for each in sub_account_ids}
    for row in select_in(connection, _SCOPES.where(scopes.c.provider == provider), _ACCOUNT, sub_account_ids):
        found[row.sub_account_id][row.group_key] = row
    return {**found}


def with_scopes(connection: Connection, provider: str, names: Mapping[str, Mapping[str, str]]) -> dict[str, Scopes]:
    """The scopes of sub-accounts with those that came up, by sub-account and group key. names: of those, likewise.

    All are spelled as the provider does, so that a filter on one is understood.
    """
    stored = _scopes_of(connection, provider, list(names))
    other = {
        row.id: its[key]
        for account, its in names.items()
        for key, row in stored[account].items()
        if its.get(key, row.name) != row.name
    }
    rows = [{"id": scope_id, "x_resource_group_name": name} for scope_id, name in other.items()]
    update_rows(connection, scopes, rows, "id")
    new = [(account, key) for account, its in names.items() for key in sorted(its.keys() - stored[account].keys())]
    rows = [
        {
            "provider": provider,
            "sub_account_id": account,
            "group_key": key,
            "x_resource_group_name": names[account][key],
        }
        for account, key in new
    ]
    insert_rows(connection, scopes, rows)
    return stored | _scopes_of(connection, provider, sorted({account for account, _ in new}))
