"""Mails, each sent once: a claim is a guarded update, and its row count says who has it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, insert, literal, or_, select, update

from shared.adapters.database import tables
from shared.adapters.database.chunks import in_chunks
from shared.adapters.database.engine import Database
from shared.adapters.database.texts import fitting, storable
from shared.adapters.database.types import UtcDateTime
from shared.ports.mails import MailState, NewMail, StoredMail, Topic


class SqlMails:
    """MailLedger on a SQL database. `sender_domain` is the right half of every Message-ID."""

    def __init__(self, database: Database, sender_domain: str) -> None:
        self._database = database
        self._sender_domain = sender_domain

    def add(self, mail: NewMail, now: datetime) -> int:
        """See MailLedger.add."""
        return self._database.run(lambda connection: _add(connection, mail, now, self._sender_domain))

    def get(self, mail_id: int) -> StoredMail | None:
        """See MailLedger.get."""
        return self._database.read(lambda connection: _get(connection, mail_id))

    def claim(self, mail_id: int, claimant: str, until: datetime, now: datetime, failed_too: bool = False) -> bool:
        """See MailLedger.claim."""
        takeable = _takeable(claimant, now, failed_too)
        return self._database.run(lambda connection: _claim(connection, mail_id, claimant, until, now, takeable))

    def mark_sent(self, mail_id: int, claimant: str, receipt: str, notes: str | None, now: datetime) -> None:
        """See MailLedger.mark_sent."""
        sent = {
            "state": MailState.SENT,
            "sent_at": now,
            "receipt": fitting(receipt, 200),
            "notes": None if notes is None else storable(notes),
            "reason": None,
        }
        self._database.run(lambda connection: _end_claim(connection, mail_id, claimant, sent))

    def release(self, mail_id: int, claimant: str, reason: str, due_at: datetime) -> None:
        """See MailLedger.release."""
        released = {"state": MailState.PENDING, "reason": fitting(reason), "due_at": due_at}
        self._database.run(lambda connection: _end_claim(connection, mail_id, claimant, released))

    def mark_failed(self, mail_id: int, claimant: str, reason: str) -> None:
        """See MailLedger.mark_failed."""
        failed = {"state": MailState.FAILED, "reason": fitting(reason)}
        self._database.run(lambda connection: _end_claim(connection, mail_id, claimant, failed))


def insert_mails(connection: Connection, mails: Sequence[NewMail], now: datetime, sender_domain: str) -> None:
    """Writes those of the mails whose key is new, in one statement, as a part of another's transaction."""
    wanted = {mail.key: mail for mail in reversed(mails)}
    known = _known_keys(connection, list(wanted))
    new = [_row(mail, now, sender_domain) for mail in reversed(wanted.values()) if mail.key not in known]
    if new:
        connection.execute(insert(tables.mails), new)


def message_id(key: str, sender_domain: str) -> str:
    """The Message-ID of the mail with this key, always the same (RFC 5322: `<dot-atom@dot-atom>`).

    The key in letters that are allowed there, so that a person knows the mail; a hash makes it unique.
    """
    readable = re.sub(r"[^A-Za-z0-9-]+", ".", key).strip(".")[:60].rstrip(".")
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"<{readable or 'mail'}.{digest}@{sender_domain.encode('idna').decode('ascii')}>"


def _known_keys(connection: Connection, keys: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for chunk in in_chunks(keys):
        known.update(connection.scalars(select(tables.mails.c.key).where(tables.mails.c.key.in_(chunk))))
    return known


def _row(mail: NewMail, now: datetime, sender_domain: str) -> dict[str, Any]:
    return {
        "key": mail.key,
        "template": mail.template,
        "language": mail.language,
        "recipients": {"to": list(mail.to), "cc": list(mail.cc), "bcc": list(mail.bcc)},
        "context": dict(mail.context),
        "topic": mail.topic,
        "project_id": mail.project_id,
        "budget_number": mail.budget_number,
        "period_start": mail.period_start,
        "threshold": mail.threshold,
        "run_key": mail.run_key,
        "message_id": message_id(mail.key, sender_domain),
        "state": MailState.PENDING,
        "attempts": 0,
        "made_at": now,
        "due_at": now,
    }


def _add(connection: Connection, mail: NewMail, now: datetime, sender_domain: str) -> int:
    insert_mails(connection, [mail], now, sender_domain)
    mail_id: int = connection.execute(select(tables.mails.c.id).where(tables.mails.c.key == mail.key)).scalar_one()
    return mail_id


def _get(connection: Connection, mail_id: int) -> StoredMail | None:
    row = connection.execute(select(tables.mails).where(tables.mails.c.id == mail_id)).one_or_none()
    return None if row is None else _stored(row)


def _stored(row: Row[Any]) -> StoredMail:
    return StoredMail(
        id=row.id,
        mail=_new_mail(row),
        state=MailState(row.state),
        message_id=row.message_id,
        attempts=row.attempts,
        first_attempt_at=row.first_attempt_at,
        claimed_until=row.claimed_until,
        reason=row.reason,
        sent_at=row.sent_at,
        notes=row.notes,
    )


def _new_mail(row: Row[Any]) -> NewMail:
    return NewMail(
        key=row.key,
        template=row.template,
        to=tuple(row.recipients["to"]),
        cc=tuple(row.recipients["cc"]),
        bcc=tuple(row.recipients["bcc"]),
        context=row.context,
        topic=Topic(row.topic),
        language=row.language,
        project_id=row.project_id,
        budget_number=row.budget_number,
        period_start=row.period_start,
        threshold=row.threshold,
        run_key=row.run_key,
    )


def _takeable(claimant: str, now: datetime, failed_too: bool) -> ColumnElement[bool]:
    mail = tables.mails.c
    lapsed = or_(mail.claimed_until <= now, mail.claimant == claimant)
    takeable = or_(mail.state == MailState.PENDING, and_(mail.state == MailState.CLAIMED, lapsed))
    return or_(takeable, mail.state == MailState.FAILED) if failed_too else takeable


def _claim(
    connection: Connection, mail_id: int, claimant: str, until: datetime, now: datetime, takeable: ColumnElement[bool]
) -> bool:
    mail = tables.mails.c
    failed = mail.state == MailState.FAILED
    # An expression does not hand the column's type to a bare value.
    at = literal(now, UtcDateTime())
    claimed = connection.execute(
        update(tables.mails)
        .where(mail.id == mail_id, takeable)
        .values(
            state=MailState.CLAIMED,
            claimant=claimant,
            claimed_until=until,
            attempts=case((failed, 1), else_=mail.attempts + 1),
            first_attempt_at=case((failed, at), else_=func.coalesce(mail.first_attempt_at, at)),
        )
    )
    return claimed.rowcount == 1


def _end_claim(connection: Connection, mail_id: int, claimant: str, values: dict[str, Any]) -> None:
    mail = tables.mails.c
    connection.execute(
        update(tables.mails)
        .where(mail.id == mail_id, mail.state == MailState.CLAIMED, mail.claimant == claimant)
        .values(claimant=None, claimed_until=None, **values)
    )
