"""The scopes of a sub-account, as rows."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import insert_rows, update_rows
from shared.adapters.database.tables import scopes

Scopes = Mapping[str, AnyRow]
"""Stored scopes by group key: id, name, project_id"""


def scopes_of(connection: Connection, provider: str, sub_account_id: str) -> Scopes:
    """The scopes of a sub-account."""
    columns = (scopes.c.group_key, scopes.c.id, scopes.c.x_resource_group_name.label("name"), scopes.c.project_id)
    this = (scopes.c.provider == provider) & (scopes.c.sub_account_id == sub_account_id)
    return {row.group_key: row for row in connection.execute(select(*columns).where(this))}


def with_scopes(connection: Connection, provider: str, sub_account_id: str, names: Mapping[str, str]) -> Scopes:
    """The scopes of a sub-account with those that came up, by group key.

    All are spelled as the provider does, so that a filter on one is understood.
    """
    stored = scopes_of(connection, provider, sub_account_id)
    other = {row.id: names[key] for key, row in stored.items() if names.get(key, row.name) != row.name}
    rows = [{"id": scope_id, "x_resource_group_name": name} for scope_id, name in other.items()]
    update_rows(connection, scopes, rows, "id")
    new = sorted(names.keys() - stored.keys())
    if not new:
        return stored
    account = {"provider": provider, "sub_account_id": sub_account_id}
    rows = [account | {"group_key": key, "x_resource_group_name": names[key]} for key in new]
    insert_rows(connection, scopes, rows)
    return scopes_of(connection, provider, sub_account_id)
