"""Keys of changes that were ordered over HTTP."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update
from typing_extensions import override

from shared.adapters.database.ledger import Ledger, record, writes
from shared.adapters.database.tables import idempotency_keys
from shared.ports.idempotency import CLAIMED_FOR, KEPT_FOR, IdempotencyLedger, KeptAnswer

kept = idempotency_keys.c


class SqlIdempotency(Ledger, IdempotencyLedger):
    """IdempotencyLedger on a SQL database."""

    @override
    @writes
    def claim(self, connection: Connection, by: str, key: str, digest: str, now: datetime) -> KeptAnswer | None:
        is_dead = kept.status.is_(None) & (kept.at < now - CLAIMED_FOR)
        connection.execute(delete(idempotency_keys).where((kept.at < now - KEPT_FOR) | is_dead))
        row = connection.execute(select(idempotency_keys).where(_is(by, key))).one_or_none()
        if row is not None:
            return record(KeptAnswer, row)
        # Of two at once the second meets the first's row, and looks again.
        connection.execute(insert(idempotency_keys), [{"by": by, "key": key, "digest": digest, "at": now}])
        return None

    @override
    @writes
    def keep(self, connection: Connection, by: str, key: str, status: int, body: str) -> None:
        connection.execute(update(idempotency_keys).where(_is(by, key)).values(status=status, body=body))

    @override
    @writes
    def forget(self, connection: Connection, by: str, key: str) -> None:
        connection.execute(delete(idempotency_keys).where(_is(by, key)))


def _is(by: str, key: str) -> ColumnElement[bool]:
    return (kept.by == by) & (kept.key == key)
