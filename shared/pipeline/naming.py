"""Messages by hand may name a project by its acronym, and people are told of it so; the stages are given its id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.messages import EmailMessage, Message, MessageError, acronym_in, projects_in, with_id
from shared.pipeline.stage import Outgoing, Retry
from shared.ports.checks import CheckLedger
from shared.ports.errors import LaterError
from shared.ports.mails import MailLedger


def acronyms_in(message: Message, checks: CheckLedger, mails: MailLedger) -> list[str]:
    """The acronyms of the projects that a message is about, for people: its own, or its mail's."""
    ids = projects_in(message)
    if isinstance(message, EmailMessage) and message.email_id is not None:
        stored = mails.get(message.email_id)
        ids = (stored.mail.project_id,) if stored and stored.mail.project_id is not None else ()
    return list(checks.acronyms(ids).values()) if ids else []


@dataclass(frozen=True, slots=True)
class Naming:
    """find: the id of the project with an acronym; None where there is none. May raise LaterError."""

    find: Callable[[str], int | None]
    retry: Retry

    def by_id(self, message: Message) -> Message | list[Outgoing]:
        """The message with its project's id; while the database is away, the copy that comes again.

        Raises MessageError where there is no such project.
        """
        acronym = acronym_in(message)
        if acronym is None:
            return message
        try:
            project_id = self.find(acronym)
        except LaterError as error:
            return self.retry.later(message, error, "naming")
        if project_id is None:
            raise MessageError(f"there is no project {acronym}; `python -m shared.cli projects list` shows them all")
        return with_id(message, project_id)
