"""Who the people of a project were, forgotten: what was spent, told and decided stays, but not to whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, select, update

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks, select_in
from shared.adapters.database.tables import dead_letters, deliveries, mails, projects
from shared.domain.deliveries import Role
from shared.domain.texts import wholly
from shared.messages import EmailMessage, MessageError, Queue, parse_email
from shared.ports.mails import MailState
from shared.ports.projects import Forgotten

FORGOTTEN = "(forgotten)"
NOBODY: dict[str, list[str]] = {"to": [], "cc": [], "bcc": []}


def forget(connection: Connection, project_id: int) -> Forgotten:
    """As ProjectLedger.forget."""
    contacts: tuple[str, ...] = connection.execute(
        select(projects.c.contacts).where(projects.c.id == project_id)
    ).scalar_one()
    its = connection.execute(select(mails.c.id, mails.c.recipients).where(mails.c.project_id == project_id)).all()
    ids = [row.id for row in its]
    others = _of_others(connection, project_id)
    addresses = {each for each in (*contacts, *_told(its), *_handed(connection, ids)) if each.casefold() not in others}
    _empty(connection, ids)
    _scrub_notices(connection, addresses)
    letters = _drop_letters(connection, set(ids))
    connection.execute(update(projects).where(projects.c.id == project_id).values(contacts=(), owner=None))
    return Forgotten(len(contacts), len(ids), letters)


def _told(rows: Iterable[AnyRow]) -> set[str]:
    return {address for row in rows for role in ("to", "cc") for address in row.recipients[role]}


def _handed(connection: Connection, mail_ids: list[int]) -> set[str]:
    """As they were handed over: blanks apart, mostly the same. Blind copies and operators are of us."""
    for_them = deliveries.c.role.in_((Role.TO, Role.CC))
    rows = select_in(connection, select(deliveries.c.recipient).where(for_them), deliveries.c.mail_id, mail_ids)
    return {row.recipient for row in rows}


def _of_others(connection: Connection, project_id: int) -> set[str]:
    """Whom other projects name, too, in small letters."""
    others = connection.scalars(select(projects.c.contacts).where(projects.c.id != project_id))
    return {address.casefold() for contacts in others for address in contacts}


def _empty(connection: Connection, mail_ids: list[int]) -> None:
    """Their rows stay: they are what keeps a mail from being written, and sent, again."""
    emptied: dict[str, Any] = {"recipients": NOBODY, "context": {}, "notes": None, "reason": None, "receipt": None}
    unclaimed = {"state": MailState.FAILED, "claimant": None, "claimed_until": None}
    for some in in_chunks(mail_ids):
        unsent = mails.c.id.in_(some) & (mails.c.state != MailState.SENT)
        # The rows first: who is writing down whom one of them reached has done so, or sees that it was forgotten.
        connection.execute(update(mails).where(mails.c.id.in_(some)).values(**emptied))
        connection.execute(delete(deliveries).where(deliveries.c.mail_id.in_(some)))
        connection.execute(update(mails).where(unsent).values(**unclaimed))


def _scrub_notices(connection: Connection, addresses: Iterable[str]) -> None:
    """What operators were told of mails that did not arrive names whom they were for."""
    rows = connection.execute(select(mails.c.id, mails.c.context).where(mails.c.project_id.is_(None))).all()
    # Providers write addresses in letters of their own.
    named = wholly(addresses)
    for row in rows:
        scrubbed = _without(row.context, named)
        if scrubbed != row.context:
            connection.execute(update(mails).where(mails.c.id == row.id).values(context=scrubbed))


def _without(value: Any, named: re.Pattern[str]) -> Any:
    match value:
        case str():
            return named.sub(FORGOTTEN, value)
        case list():
            return [_without(each, named) for each in value]
        case dict():
            return {name: _without(each, named) for name, each in value.items()}
    return value


def _drop_letters(connection: Connection, mail_ids: set[int]) -> int:
    """Dead letters about these mails; returns how many."""
    rows = connection.execute(
        select(dead_letters.c.id, dead_letters.c.body).where(dead_letters.c.queue == Queue.EMAIL.value)
    ).all()
    about = [row.id for row in rows if _mail_id(row.body) in mail_ids]
    for some in in_chunks(about):
        connection.execute(delete(dead_letters).where(dead_letters.c.id.in_(some)))
    return len(about)


def _mail_id(body: str) -> int | None:
    try:
        message = parse_email(body)
    except MessageError:
        return None
    return message.email_id if isinstance(message, EmailMessage) else None
