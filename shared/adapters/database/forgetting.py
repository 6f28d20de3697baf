"""Who the people of a project were, forgotten: what was spent, told and decided stays, but not to whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import Connection, delete, select, update

from shared.adapters.database.budget_rows import AnyRow
from shared.adapters.database.chunks import in_chunks, select_in
from shared.adapters.database.mails import FORGOTTEN, SOME_FORGOTTEN
from shared.adapters.database.tables import dead_letters, deliveries, mails, projects
from shared.domain.deliveries import Role
from shared.domain.texts import bare, wholly
from shared.messages import EmailMessage, MessageError, Queue, changed, parse_email
from shared.ports.mails import MailState, Topic
from shared.ports.projects import Forgotten

ONE_ADDRESS = re.compile(r"\s*[^\s@<>,;]+@[\w.-]+\s*")
NOBODY: dict[str, list[str]] = {"to": [], "cc": [], "bcc": []}


@dataclass(frozen=True, slots=True)
class _People:
    """Who is forgotten. named: finds them in texts, since providers write addresses in letters of their own."""

    addresses: frozenset[str]
    named: re.Pattern[str]

    def has(self, recipient: str) -> bool:
        """Whether a recipient is one of them: whoever has an address that holds another's is somebody else."""
        return bare(recipient) in self.addresses

    def are_all(self, recipients: Iterable[str]) -> bool:
        """Whether there are recipients, and no others."""
        found = [self.has(each) for each in recipients]
        return bool(found) and all(found)

    def left_of(self, recipient: str) -> str:
        """What is no address may name several, and a name before one may be an address."""
        return recipient if ONE_ADDRESS.fullmatch(recipient) else self.taken_out_of(recipient)

    def taken_out_of(self, value: Any) -> Any:
        """A JSON value without their addresses."""
        match value:
            case str():
                return self.named.sub(FORGOTTEN, value)
            case list():
                return [self.taken_out_of(each) for each in value]
            case dict():
                return {self.taken_out_of(name): self.taken_out_of(each) for name, each in value.items()}
        return value


def forget(connection: Connection, project_id: int) -> Forgotten:
    """As ProjectLedger.forget."""
    contacts: tuple[str, ...] = connection.execute(
        select(projects.c.contacts).where(projects.c.id == project_id)
    ).scalar_one()
    its = connection.execute(select(mails.c.id, mails.c.recipients).where(mails.c.project_id == project_id)).all()
    ids = [row.id for row in its]
    others = _of_others(connection, project_id)
    addresses = {each for each in (*contacts, *_told(its), *_handed(connection, ids)) if each.casefold() not in others}
    people = _People(frozenset(map(bare, addresses)), wholly(addresses))
    ids += _only_for(connection, people)
    _empty(connection, ids)
    _scrub_mails(connection, people)
    letters = _forget_letters(connection, set(ids), people)
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


def _only_for(connection: Connection, people: _People) -> list[int]:
    """The whole mails that messages asked for, which are of no project, and are for nobody else."""
    by_hand = select(mails.c.id, mails.c.recipients).where(mails.c.project_id.is_(None), mails.c.topic == Topic.MESSAGE)
    return [row.id for row in connection.execute(by_hand) if people.are_all(chain(*row.recipients.values()))]


def _scrub_mails(connection: Connection, people: _People) -> None:
    """What operators were told of mails that did not arrive names people; a whole mail may be for others too."""
    for row in connection.execute(select(mails).where(mails.c.project_id.is_(None))).all():
        before = {name: getattr(row, name) for name in ("recipients", "context", "reason")}
        after = before | {name: people.taken_out_of(before[name]) for name in ("context", "reason")}
        if row.topic is Topic.MESSAGE:
            # Of a notice they are operators, whoever else one of them is.
            left = {
                role: [people.left_of(each) for each in its if not people.has(each)]
                for role, its in row.recipients.items()
            }
            after["recipients"] = left if left == row.recipients else left | {SOME_FORGOTTEN: []}
        # First, as in `_empty`.
        if after != before:
            connection.execute(update(mails).where(mails.c.id == row.id).values(**after))
        if row.topic is Topic.MESSAGE:
            _scrub_deliveries(connection, row.id, people)


def _scrub_deliveries(connection: Connection, mail_id: int, people: _People) -> None:
    its = deliveries.c.mail_id == mail_id
    for row in connection.execute(select(deliveries).where(its)).all():
        this = its & (deliveries.c.recipient == row.recipient) & (deliveries.c.role == row.role)
        if people.has(row.recipient) or people.left_of(row.recipient) != row.recipient:
            connection.execute(delete(deliveries).where(this))
        elif (reason := people.taken_out_of(row.reason)) != row.reason:
            connection.execute(update(deliveries).where(this).values(reason=reason))


def _forget_letters(connection: Connection, mail_ids: set[int], people: _People) -> int:
    """Drops the dead letters about these mails, or with a mail to nobody else; takes the names out of the others.

    Returns how many were dropped.
    """
    dropped = []
    for row in connection.execute(select(dead_letters)).all():
        if row.queue == Queue.EMAIL and _is_about(row.body, mail_ids, people):
            dropped.append(row.id)
            continue
        before = {"body": row.body, "reason": row.reason}
        after = {"body": changed(row.body, people.taken_out_of), "reason": people.taken_out_of(row.reason)}
        if after != before:
            connection.execute(update(dead_letters).where(dead_letters.c.id == row.id).values(**after))
    for some in in_chunks(dropped):
        connection.execute(delete(dead_letters).where(dead_letters.c.id.in_(some)))
    return len(dropped)


def _is_about(body: str, mail_ids: set[int], people: _People) -> bool:
    try:
        message = parse_email(body)
    except MessageError:
        return False
    if not isinstance(message, EmailMessage):
        return False
    mail = message.mail
    return message.email_id in mail_ids or (mail is not None and people.are_all((*mail.to, *mail.cc, *mail.bcc)))
