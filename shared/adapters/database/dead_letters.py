"""Messages that failed for good."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from shared.adapters.database import tables
from shared.adapters.database.engine import Database
from shared.adapters.database.texts import fitting, storable
from shared.messages import Queue
from shared.ports.dead_letters import DeadLetter

letter = tables.dead_letters.c


class SqlDeadLetters:
    """DeadLetterLedger on a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, queue: Queue, body: str, reason: str, origin: str, now: datetime) -> int:
        """See DeadLetterLedger.record. Characters that a database refuses are replaced in the body."""
        row = {
            "origin": fitting(origin, 100),
            "queue": queue.value,
            "body": storable(body),
            "reason": fitting(reason),
            "at": now,
        }
        return self._database.run(lambda connection: _record(connection, row))

    def list(self, replayed_too: bool = False) -> builtins.list[DeadLetter]:
        """See DeadLetterLedger.list."""
        return self._database.read(lambda connection: _list(connection, replayed_too))

    def get(self, letter_id: int) -> DeadLetter | None:
        """See DeadLetterLedger.get."""
        return self._database.read(lambda connection: _get(connection, letter_id))

    def mark_replayed(self, letter_id: int, now: datetime) -> None:
        """See DeadLetterLedger.mark_replayed."""
        replayed = update(tables.dead_letters).where(letter.id == letter_id).values(replayed_at=now)
        self._database.run(lambda connection: connection.execute(replayed))


def _record(connection: Connection, row: dict[str, Any]) -> int:
    same = select(letter.id).where(letter.origin == row["origin"])
    if connection.scalar(same) is None:
        connection.execute(insert(tables.dead_letters), [row])
    letter_id: int = connection.execute(same).scalar_one()
    return letter_id


def _list(connection: Connection, replayed_too: bool) -> list[DeadLetter]:
    wanted = select(tables.dead_letters).order_by(letter.at, letter.id)
    if not replayed_too:
        wanted = wanted.where(letter.replayed_at.is_(None))
    return [_dead_letter(row) for row in connection.execute(wanted)]


def _get(connection: Connection, letter_id: int) -> DeadLetter | None:
    row = connection.execute(select(tables.dead_letters).where(letter.id == letter_id)).one_or_none()
    return None if row is None else _dead_letter(row)


def _dead_letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(row.id, row.queue, row.body, row.reason, row.at, row.replayed_at)
