"""Mails: what became of them, and sending one again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.messages import EmailMessage, Envelope, Queue
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import AddressCheck, MailLedger, MailState, MailView, StoredMail, key_of_copies
from shared.ports.projects import ProjectLedger
from shared.ports.queues import MessageSender
from shared.services.errors import RequestError
from shared.services.projects import id_of
from shared.services.reasons import given_reason


@dataclass(frozen=True, slots=True)
class Resent:
    """A mail that was asked for again. mail_id: another than before where it goes out a second time.

    unasked: why that one could not be queued now; it is written, and the watchdog queues it.
    """

    mail_id: int
    to: tuple[str, ...]
    unasked: str | None = None


@dataclass(frozen=True, slots=True)
class MailService:
    """Every method raises LaterError where the database or the queues are away."""

    mails: MailLedger
    projects: ProjectLedger
    queues: MessageSender
    valid_addresses: AddressCheck
    clock: Clock

    def listed(self, project: str = "", limit: int = 50, unsent: bool = False) -> list[MailView]:
        """The last mails, newest first: of the project of this acronym or id, or all. Raises UnknownProjectError.

        unsent: only those that somebody does not have for whom they are.
        """
        return self.mails.listed(id_of(self.projects, project) if project else None, limit, unsent)

    def resend(self, mail_id: int, to: Sequence[str], by: str) -> Resent:
        """Sends a mail again, as it was written, to all for whom it was, or to these addresses only.

        One that waits or has failed is tried now; of one that was sent, or goes to others, a second one is made, which
        says when and by whom. Raises RequestError; NeverError where the queues refuse us. Neither the queues' no nor
        their absence is an error for a second mail: it is written, and goes out.
        """
        stored = self.mails.get(mail_id)
        if stored is None:
            raise RequestError(f"there is no mail {mail_id}; `mails list` shows the last ones")
        if stored.mail.is_forgotten:
            raise RequestError(f"what mail {mail_id} said was forgotten (`projects forget`)")
        addresses = self._checked(to)
        if stored.state is not MailState.SENT and not addresses:
            self._ask_for(mail_id)
            return Resent(mail_id, stored.mail.to)
        resent = Resent(self._copy(stored, addresses, by), addresses or stored.mail.to)
        try:
            self._ask_for(resent.mail_id)
        except (LaterError, NeverError) as error:
            return replace(resent, unasked=error.reason)
        return resent

    def discard(self, mail_ids: Sequence[int] | None, reason: str, by: str) -> list[int]:
        """Puts aside these mails, or all (None) that wait to be sent; returns which. Raises RequestError."""
        why, now = given_reason(reason), self.clock()
        which = "all mails that wait" if mail_ids is None else f"mails {', '.join(map(str, sorted(mail_ids)))}"
        with noted(Change(Action.MAILS_DISCARDED, which, now, reason=why, by=by)):
            found = self.mails.discard(mail_ids, f"put aside by {by}: {why}", now)
        if mail_ids is not None and (others := sorted(set(mail_ids) - set(found))):
            more = f"; put aside: {', '.join(map(str, found))}" if found else ""
            raise RequestError(
                "of these mails nothing is left to be put aside (`mails list` shows what became of each): "
                f"{', '.join(map(str, others))}{more}"
            )
        return found

    def _ask_for(self, mail_id: int) -> None:
        ordered = Envelope(replayed=True, first_queued_at=self.clock())
        self.queues.send(Queue.EMAIL, EmailMessage(mail_id, envelope=ordered))

    def _checked(self, to: Sequence[str]) -> tuple[str, ...]:
        valid, invalid = self.valid_addresses(to)
        if invalid:
            written, why = invalid[0]
            raise RequestError(f"'{written}' is no mail address: {why}")
        return valid

    def _copy(self, stored: StoredMail, addresses: tuple[str, ...], by: str) -> int:
        now = self.clock()
        new = replace(stored.mail, key=f"{key_of_copies(stored.id)}{now.isoformat()}/{by}", run_key=None)
        if addresses:
            new = replace(new, to=addresses, cc=(), bcc=())
        with noted(Change(Action.MAIL_RESENT, f"mail {stored.id}", now, stored.mail.project_id, by=by)):
            return self.mails.add(new, now)
