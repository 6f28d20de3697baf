"""The audit: what people changed."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select
from typing_extensions import override

from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.adapters.database.noting import row_of
from shared.adapters.database.tables import changes
from shared.ports.changes import Action, Actor, Change, ChangeLedger, ChangeView


class SqlChanges(Ledger, ChangeLedger):
    """ChangeLedger on a SQL database."""

    @override
    @reads
    def changes(
        self, connection: Connection, after: int | None, limit: int, project_id: int | None = None
    ) -> list[ChangeView]:
        wanted = select(changes).limit(limit)
        if project_id is not None:
            wanted = wanted.where(changes.c.project_id == project_id)
        if after is not None:
            found = connection.execute(wanted.where(changes.c.id > after).order_by(changes.c.id))
            return [record(ChangeView, row) for row in found]
        newest = connection.execute(wanted.order_by(changes.c.id.desc()))
        return [record(ChangeView, row) for row in newest][::-1]

    @override
    @writes
    def signed_in(self, connection: Connection, actor: Actor, at: datetime) -> None:
        key = f"signed-in/{actor.id or actor.name}/{at.astimezone(UTC).date()}"[:200]
        if connection.scalar(select(changes.c.id).where(changes.c.key == key)) is None:
            row = row_of(Change(Action.SIGNED_IN, "the app", at), actor) | {"key": key}
            connection.execute(insert(changes).inline(), [row])
