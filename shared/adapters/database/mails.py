"""Mails, each sent once: a claim is a guarded update, and its row count says who has it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    update,
)
from typing_extensions import override

from shared.adapters.database import tables
from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks, insert_rows, select_in, update_in, update_rows
from shared.adapters.database.ledger import Ledger, columns, reads, record, writes
from shared.adapters.database.types import UtcDateTime
from shared.domain.deliveries import Delivery, DeliveryState, Role, is_made_up_for, merged
from shared.domain.texts import bare, digest, fitting
from shared.ports.mails import MailLedger, MailState, MailView, NewMail, StoredMail, Topic, key_of_copies

mail = tables.mails.c
RECIPIENTS = ("to", "cc", "bcc")
WAITING = (MailState.PENDING, MailState.CLAIMED)
# RFC 3696's limit for an address; what is none is cut to it.
LONGEST_ADDRESS = 320
# In the recipients of a mail of which some were forgotten: nobody, but whoever is still sending it knows more than it.
SOME_FORGOTTEN = "forgotten"
FORGOTTEN = "(forgotten)"
ANY_ADDRESS = re.compile(r"[^\s<>]+@[^\s<>]+")

# Written once: to put them together anew takes as long as to run them, and each mail needs them.
MAIL = select(tables.mails).where(mail.id == bindparam("which"))
DELIVERIES = (
    select(tables.deliveries)
    .where(tables.deliveries.c.mail_id == bindparam("which"))
    .order_by(tables.deliveries.c.role, tables.deliveries.c.recipient)
)
REFUSED = exists().where(tables.deliveries.c.mail_id == mail.id, tables.deliveries.c.state == DeliveryState.REFUSED)
UNSENT = ((mail.state != MailState.SENT) | REFUSED) & mail.discarded_at.is_(None)
COPIES = select(mail.id, mail.key).where(mail.key.startswith(key_of_copies(), autoescape=True)).order_by(mail.id.desc())
MARK_SENT = (
    update(tables.mails)
    .where(mail.id == bindparam("which"), mail.state != MailState.SENT)
    .values(
        state=MailState.SENT,
        claimant=None,
        claimed_until=None,
        sent_at=bindparam("at"),
        receipt=bindparam("its_receipt"),
        reason=None,
        discarded_at=None,
    )
)


# Those of them that a person's order of a moment has sent again: unless they were put aside after it.
FAILED = mail.state == MailState.FAILED
ASKED_FOR = FAILED & (mail.discarded_at.is_(None) | (mail.discarded_at <= bindparam("asked", type_=UtcDateTime())))


@cache
def _claim(is_asked_for: bool, rests: bool) -> Update:
    claimed = (mail.state == MailState.CLAIMED) & (mail.claimed_until <= bindparam("at"))
    if rests:
        asked_again = (mail.due_at > mail.claimed_until) & (mail.due_at <= bindparam("asked_by"))
        claimed &= asked_again | mail.claimant.in_((bindparam("taker"), bindparam("its_former")))
    takeable = or_(mail.state == MailState.PENDING, claimed, *([ASKED_FOR] if is_asked_for else []))
    before = case((~FAILED, mail.first_attempt_at))
    return (
        update(tables.mails)
        .where(mail.id == bindparam("which"), takeable)
        .values(
            state=MailState.CLAIMED,
            claimant=bindparam("taker"),
            claimed_until=bindparam("until"),
            attempts=case((FAILED, 1), else_=mail.attempts + 1),
            first_attempt_at=func.coalesce(before, bindparam("at", type_=UtcDateTime())),
            discarded_at=None,
        )
    )


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
        row = connection.execute(MAIL, {"which": mail_id}).one_or_none()
        return None if row is None else _stored(connection, row)

    @override
    @reads
    def find(self, connection: Connection, key: str) -> int | None:
        return connection.scalar(select(mail.id).where(mail.key == key))

    @override
    @reads
    def made(self, connection: Connection, topic: Topic, since: datetime) -> list[NewMail]:
        wanted = select(tables.mails).where(mail.topic == topic, mail.made_at >= since).order_by(mail.id)
        return [_mail_in(row) for row in connection.execute(wanted)]

    @override
    @reads
    def listed(
        self, connection: Connection, project_id: int | None, limit: int, unsent: bool = False
    ) -> list[MailView]:
        last = select(tables.mails, tables.projects.c.acronym).outerjoin(
            tables.projects, tables.projects.c.id == mail.project_id
        )
        if project_id is not None:
            last = last.where(mail.project_id == project_id)
        if unsent:
            is_over = mail.state.in_((MailState.SENT, MailState.FAILED)) & mail.id.in_(_made_up_for(connection))
            last = last.where(UNSENT, ~is_over)
        rows = connection.execute(last.order_by(mail.id.desc()).limit(limit)).all()
        return [MailView(_stored(connection, row), row.acronym, row.made_at, row.due_at) for row in rows]

    @override
    @writes
    def claim(
        self,
        connection: Connection,
        mail_id: int,
        claimant: str,
        until: datetime,
        now: datetime,
        *,
        former: str | None = None,
        asked_at: datetime | None = None,
        rest: timedelta = timedelta(0),
    ) -> bool:
        asked = {"asked": asked_at} if asked_at else {}
        if asked:
            _forget_refusals(connection, mail_id, ASKED_FOR, **asked)
        who = {"which": mail_id, "taker": claimant, "at": now, "until": until}
        resting = {"asked_by": now - rest, "its_former": former} if rest else {}
        return connection.execute(_claim(bool(asked), bool(rest)), who | asked | resting).rowcount == 1

    @override
    @writes
    def note(self, connection: Connection, mail_id: int, deliveries: Sequence[Delivery]) -> None:
        write_deliveries(connection, mail_id, deliveries)

    @override
    @writes
    def mark_sent(
        self, connection: Connection, mail_id: int, receipt: str, deliveries: Sequence[Delivery], now: datetime
    ) -> None:
        write_deliveries(connection, mail_id, deliveries)
        connection.execute(MARK_SENT, {"which": mail_id, "at": now, "its_receipt": receipt})

    @override
    @writes
    def release(
        self,
        connection: Connection,
        mail_id: int,
        claimant: str,
        reason: str,
        due_at: datetime,
        deliveries: Sequence[Delivery] = (),
        *,
        anew: bool = False,
    ) -> None:
        if anew:
            _forget_refusals(connection, mail_id, true())
        write_deliveries(connection, mail_id, deliveries)
        _end_claim(connection, mail_id, claimant, state=MailState.PENDING, reason=reason, due_at=due_at)

    @override
    @writes
    def mark_failed(self, connection: Connection, mail_id: int, claimant: str, reason: str) -> None:
        _end_claim(connection, mail_id, claimant, state=MailState.FAILED, reason=reason)

    @override
    @writes
    def discard(self, connection: Connection, mail_ids: Sequence[int] | None, reason: str, now: datetime) -> list[int]:
        # Whoever holds a claim is sending it, now or in the meantime.
        unheld = (mail.state != MailState.CLAIMED) | (mail.claimed_until < now)
        columns = select(mail.id, mail.state, mail.reason).where(UNSENT, unheld)
        rows = (
            connection.execute(columns.where(mail.state.in_(WAITING))).all()
            if mail_ids is None
            else select_in(connection, columns, mail.id, mail_ids)
        )
        put_aside = []
        for row in rows:
            why = f"{row.reason}; {reason}" if row.reason and row.state not in WAITING else reason
            state = MailState.SENT if row.state == MailState.SENT else MailState.FAILED
            aside = {"state": state, "reason": why, "discarded_at": now, "claimant": None, "claimed_until": None}
            # Unless somebody took it in between.
            if update_in(connection, tables.mails, [row.id], mail.state == row.state, unheld, **aside):
                put_aside.append(row.id)
        return sorted(put_aside)

    @override
    @reads
    def stuck(self, connection: Connection, before: datetime) -> list[int]:
        return _waiting(connection, before, mail.state == MailState.PENDING)

    @override
    @reads
    def abandoned(self, connection: Connection, before: datetime) -> list[int]:
        return _waiting(connection, before, (mail.state == MailState.CLAIMED) & (mail.claimed_until < before))

    @override
    @writes
    def mark_requeued(self, connection: Connection, mail_ids: Sequence[int], now: datetime) -> None:
        update_in(connection, tables.mails, mail_ids, due_at=now)


def _made_up_for(connection: Connection) -> list[int]:
    """The mails that nobody lacks any more, by their copies, and by the copies of those."""
    first = {row.id: int(row.key.removeprefix(key_of_copies()).partition("/")[0]) for row in connection.execute(COPIES)}
    known = _known(connection, {*first, *first.values()})
    again: dict[int, list[Delivery]] = defaultdict(list)
    # The newest is the first: what became of a copy's copies is known before its own turn.
    for copy, its in first.items():
        again[its] += [*known[copy], *again[copy]]
    return [which for which, copies in again.items() if is_made_up_for(known[which], copies)]


def _known(connection: Connection, mail_ids: Iterable[int]) -> dict[int, list[Delivery]]:
    known: dict[int, list[Delivery]] = defaultdict(list)
    for some in in_chunks(sorted(mail_ids)):
        for row in connection.execute(select(tables.deliveries).where(tables.deliveries.c.mail_id.in_(some))):
            known[row.mail_id].append(record(Delivery, row))
    return known


def _stored(connection: Connection, row: AnyRow) -> StoredMail:
    known = deliveries_of(connection, row.id) if row.attempts else ()
    return record(StoredMail, row, mail=_mail_in(row), deliveries=known)


def _mail_in(row: AnyRow) -> NewMail:
    return record(NewMail, row, **{name: tuple(row.recipients[name]) for name in RECIPIENTS})


def insert_mails(connection: Connection, mails: Sequence[NewMail], now: datetime, sender_domain: str) -> None:
    """Writes those of the mails whose key is new, in one statement, as a part of another's transaction."""
    # Of several with the same key, the first counts.
    wanted = {new.key: new for new in reversed(mails)}
    for keys in in_chunks(list(wanted)):
        for known in connection.scalars(select(mail.key).where(mail.key.in_(keys))):
            del wanted[known]
    insert_rows(connection, tables.mails, [_row(new, now, sender_domain) for new in reversed(wanted.values())])


def deliveries_of(connection: Connection, mail_id: int) -> tuple[Delivery, ...]:
    """What is known of a mail's recipients."""
    return tuple(record(Delivery, row) for row in connection.execute(DELIVERIES, {"which": mail_id}))


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


def write_deliveries(connection: Connection, mail_id: int, news: Sequence[Delivery]) -> None:
    """Adds what is new of the mail's recipients, as a part of another's transaction.

    Another may have noted something in the meantime: that is not lost. Nor does what was forgotten come back.
    """
    if not news or not (news := _of_those_left(connection, mail_id, news)):
        return
    known = {each.key: each for each in deliveries_of(connection, mail_id)}
    # As they lie in the database, whatever an address that is none may hold.
    as_stored = [replace(each, recipient=fitting(each.recipient.strip(), LONGEST_ADDRESS)) for each in news]
    changed = [each for each in merged(known.values(), as_stored) if known.get(each.key) != each]
    rows = [{"mail_id": mail_id, **asdict(each)} for each in changed]
    insert_rows(
        connection, tables.deliveries, [row for row, each in zip(rows, changed, strict=True) if each.key not in known]
    )
    update_rows(
        connection,
        tables.deliveries,
        [row for row, each in zip(rows, changed, strict=True) if each.key in known],
        *("mail_id", "role", "recipient"),
    )


def _of_those_left(connection: Connection, mail_id: int, news: Sequence[Delivery]) -> list[Delivery]:
    """The news of those who were not forgotten. Who is about to forget some waits until the transaction ends: an update
    is the lock that every database has.
    """
    connection.execute(update(tables.mails).where(mail.id == mail_id).values(attempts=mail.attempts))
    row = connection.execute(MAIL, {"which": mail_id}).one()
    its = _mail_in(row)
    if its.is_forgotten:
        return []
    if SOME_FORGOTTEN not in row.recipients:
        return list(news)
    left = {bare(each) for each in (*its.to, *its.cc, *its.bcc)}
    known = (each for each in news if each.role is Role.INSTEAD or bare(each.recipient) in left)
    return [replace(each, reason=each.reason and ANY_ADDRESS.sub(FORGOTTEN, each.reason)) for each in known]


def _forget_refusals(connection: Connection, mail_id: int, where: ColumnElement[bool], **values: object) -> None:
    """Forgets who was refused, so that all but those who have the mail are asked again."""
    its = select(mail.id).where(mail.id == mail_id, where)
    untaken = tables.deliveries.c.state != DeliveryState.TAKEN
    connection.execute(delete(tables.deliveries).where(tables.deliveries.c.mail_id.in_(its), untaken), values)


def _waiting(connection: Connection, before: datetime, which: ColumnElement[bool]) -> list[int]:
    return list(connection.scalars(select(mail.id).where(mail.due_at < before, which).order_by(mail.id)))


def _end_claim(connection: Connection, mail_id: int, claimant: str, *, reason: str, **values: object) -> None:
    held = (mail.id == mail_id) & (mail.state == MailState.CLAIMED) & (mail.claimant == claimant)
    ended = update(tables.mails).where(held).values(claimant=None, claimed_until=None, reason=reason, **values)
    its = select(mail.recipients).where(mail.id == mail_id)
    if connection.execute(ended).rowcount and SOME_FORGOTTEN in connection.execute(its).scalar_one():
        nameless = update(tables.mails).where(mail.id == mail_id).values(reason=ANY_ADDRESS.sub(FORGOTTEN, reason))
        connection.execute(nameless)
