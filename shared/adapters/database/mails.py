"""Mails, each sent once: a claim is a guarded update, and its row count says who has it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, or_, select, update
from typing_extensions import override

from shared.adapters.database import tables
from shared.adapters.database.chunks import in_chunks, insert_rows, kept_or, update_in
from shared.adapters.database.ledger import Ledger, columns, reads, record, writes
from shared.domain.texts import digest
from shared.ports.mails import MailLedger, MailState, NewMail, StoredMail

mail = tables.mails.c
RECIPIENTS = ("to", "cc", "bcc")


@dataclass(frozen=True)
class SqlMails(Ledger, MailLedger):
    """MailLedger on a SQL database. `sender_domain` is the right half of every Message-ID."""

    sender_domain: str

    @override
    @writes
    def add(self, connection: Connection, new: NewMail, now: datetime) -> int:
        insert_mails(connection, [new], now, self.sender_domain)
        mail_id: int = connection.execute(select(mail.id).where(mail.key == new.key)).scalar_one()
        return mail_id

    @override
    @reads
    def get(self, connection: Connection, mail_id: int) -> StoredMail | None:
        row = connection.execute(select(tables.mails).where(mail.id == mail_id)).one_or_none()
        if row is None:
            return None
        recipients = {name: tuple(row.recipients[name]) for name in RECIPIENTS}
        return record(StoredMail, row, mail=record(NewMail, row, **recipients))

    @override
    @writes
    def claim(
        self,
        connection: Connection,
        mail_id: int,
        claimant: str,
        until: datetime,
        now: datetime,
        failed_too: bool = False,
    ) -> bool:
        failed = mail.state == MailState.FAILED
        free = or_(mail.claimed_until <= now, mail.claimant == claimant)
        takeable = or_(mail.state == MailState.PENDING, and_(mail.state == MailState.CLAIMED, free))
        claimed = connection.execute(
            update(tables.mails)
            .where(mail.id == mail_id, or_(takeable, failed) if failed_too else takeable)
            .values(
                state=MailState.CLAIMED,
                claimant=claimant,
                claimed_until=until,
                attempts=case((failed, 1), else_=mail.attempts + 1),
                first_attempt_at=kept_or(case((~failed, mail.first_attempt_at)), now),
            )
        )
        return claimed.rowcount == 1

    @override
    @writes
    def mark_sent(
        self, connection: Connection, mail_id: int, claimant: str, receipt: str, notes: str | None, now: datetime
    ) -> None:
        sent = {"state": MailState.SENT, "sent_at": now, "receipt": receipt, "notes": notes}
        _end_claim(connection, mail_id, claimant, reason=None, **sent)

    @override
    @writes
    def release(self, connection: Connection, mail_id: int, claimant: str, reason: str, due_at: datetime) -> None:
        _end_claim(connection, mail_id, claimant, state=MailState.PENDING, reason=reason, due_at=due_at)

    @override
    @writes
    def mark_failed(self, connection: Connection, mail_id: int, claimant: str, reason: str) -> None:
        _end_claim(connection, mail_id, claimant, state=MailState.FAILED, reason=reason)

    @override
    @reads
    def stuck(self, connection: Connection, before: datetime) -> list[int]:
        lapsed = and_(mail.state == MailState.CLAIMED, mail.claimed_until < before)
        stuck = select(mail.id).where(mail.due_at < before, or_(mail.state == MailState.PENDING, lapsed))
        return list(connection.scalars(stuck.order_by(mail.id)))

    @override
    @writes
    def mark_requeued(self, connection: Connection, mail_ids: Sequence[int], now: datetime) -> None:
        update_in(connection, tables.mails, mail_ids, due_at=now)


def insert_mails(connection: Connection, mails: Sequence[NewMail], now: datetime, sender_domain: str) -> None:
    """Writes those of the mails whose key is new, in one statement, as a part of another's transaction."""
    # Of several with the same key, the first counts.
    wanted = {new.key: new for new in reversed(mails)}
    for keys in in_chunks(list(wanted)):
        for known in connection.scalars(select(mail.key).where(mail.key.in_(keys))):
            del wanted[known]
    insert_rows(connection, tables.mails, [_row(new, now, sender_domain) for new in reversed(wanted.values())])


def message_id(key: str, sender_domain: str) -> str:
    """The Message-ID of the mail with this key, always the same (RFC 5322: `<dot-atom@dot-atom>`).

    The key in letters that are allowed there, so that a person knows the mail; a hash makes it unique.
    """
    readable = re.sub(r"[^A-Za-z0-9-]+", ".", key).strip(".")[:60].rstrip(".")
    return f"<{readable or 'mail'}.{digest(key)}@{sender_domain.encode('idna').decode('ascii')}>"


def _row(new: NewMail, now: datetime, sender_domain: str) -> dict[str, Any]:
    return columns(new, NewMail, *RECIPIENTS) | {
        "recipients": {name: getattr(new, name) for name in RECIPIENTS},
        "message_id": message_id(new.key, sender_domain),
        "state": MailState.PENDING,
        "attempts": 0,
        "made_at": now,
        "due_at": now,
    }


def _end_claim(connection: Connection, mail_id: int, claimant: str, **values: object) -> None:
    held = (mail.id == mail_id) & (mail.state == MailState.CLAIMED) & (mail.claimant == claimant)
    connection.execute(update(tables.mails).where(held).values(claimant=None, claimed_until=None, **values))
