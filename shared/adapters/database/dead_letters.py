"""Messages that failed for good."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, or_, select, update
from typing_extensions import override

from shared.adapters.database import tables
from shared.adapters.database.chunks import update_in
from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.messages import Queue
from shared.ports.dead_letters import STRANGERS, DeadLetter, DeadLetterLedger

letter = tables.dead_letters.c
WAITS = letter.replayed_at.is_(None) & letter.discarded_at.is_(None)


class SqlDeadLetters(Ledger, DeadLetterLedger):
    """DeadLetterLedger on a SQL database. Characters that a database refuses are replaced in the body."""

    @override
    @writes
    def record(
        self, connection: Connection, queue: Queue, body: str, reason: str, origin: str, now: datetime
    ) -> tuple[int, bool]:
        row = {"origin": origin, "queue": queue.value, "body": body, "reason": reason, "at": now}
        same = select(letter.id).where(letter.origin == origin)
        is_new = connection.scalar(same) is None
        if is_new:
            connection.execute(insert(tables.dead_letters), [row])
        return connection.execute(same).scalar_one(), is_new

    @override
    @writes
    def record_stranger(
        self, connection: Connection, queue: Queue, body: str, reason: str, origin: str, now: datetime
    ) -> bool:
        day = now.astimezone(UTC).date()
        of_today, rest = f"stranger/{day}/", f"strangers/{day}"
        row = {"origin": of_today + origin, "queue": queue.value, "body": body, "reason": reason, "at": now}
        found = {
            each.origin: each.body
            for each in connection.execute(
                select(letter.origin, letter.body).where(or_(letter.origin.startswith(of_today), letter.origin == rest))
            )
        }
        if row["origin"] in found:
            return False
        if len(found) < STRANGERS:
            connection.execute(insert(tables.dead_letters), [row])
            return True
        more = json.loads(found[rest])["More"] + 1 if rest in found else 1
        said = f"{more} more message(s) of this day named nobody, of which this is the last; they are not kept"
        row |= {"origin": rest, "body": json.dumps(json.loads(body) | {"More": more}), "reason": said}
        if rest in found:
            connection.execute(update(tables.dead_letters).where(letter.origin == rest).values(row))
        else:
            connection.execute(insert(tables.dead_letters), [row])
        return True

    @override
    @reads
    def letters(self, connection: Connection, replayed_too: bool = False) -> list[DeadLetter]:
        wanted = select(tables.dead_letters).order_by(letter.at, letter.id)
        if not replayed_too:
            wanted = wanted.where(WAITS)
        return [record(DeadLetter, row) for row in connection.execute(wanted)]

    @override
    @reads
    def get(self, connection: Connection, letter_id: int) -> DeadLetter | None:
        row = connection.execute(select(tables.dead_letters).where(letter.id == letter_id)).one_or_none()
        return None if row is None else record(DeadLetter, row)

    @override
    @writes
    def mark_replayed(self, connection: Connection, letter_id: int, now: datetime) -> None:
        connection.execute(update(tables.dead_letters).where(letter.id == letter_id).values(replayed_at=now))

    @override
    @writes
    def discard(self, connection: Connection, letter_id: int, by: str, reason: str, now: datetime) -> None:
        this = update(tables.dead_letters).where(letter.id == letter_id, letter.discarded_at.is_(None))
        connection.execute(this.values(discarded_at=now, discarded_by=by, discard_reason=reason))

    @override
    @reads
    def untold(self, connection: Connection) -> list[DeadLetter]:
        new = select(tables.dead_letters).where(WAITS, letter.told_at.is_(None)).order_by(letter.at, letter.id)
        return [record(DeadLetter, row) for row in connection.execute(new)]

    @override
    @writes
    def mark_told(self, connection: Connection, letter_ids: Sequence[int], now: datetime) -> None:
        update_in(connection, tables.dead_letters, letter_ids, told_at=now)
