"""Mails that say what they are of: a staging installation, or costs that are made up."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.ports.errors import LaterError
from shared.ports.mails import Handover, Mailer, OutgoingMail


@dataclass(frozen=True, slots=True)
class MarkedMailer(Mailer):
    """Sends by another, with a mark before the subject and the text.

    mark: such as `staging`. operators: who gets all mails, whomever they are for; None: those whom they are for do.
    inner: makes the other, when it is first asked for.
    """

    inner: Callable[[], Mailer]
    mark: str
    operators: tuple[str, ...] | None = None

    def check(self) -> str:
        """As the other; it says the mark too."""
        return f"{self.inner().check()}; every mail is marked as {self.mark}"

    def send(self, mail: OutgoingMail) -> Handover:
        """As the other. LaterError where all of the operators are refused, who get it in place of others."""
        note = f"[{self.mark}]"
        marked = replace(mail, subject=f"{note} {mail.subject}")
        if self.operators is None:
            return self.inner().send(_noted(marked, note))
        meant = ", ".join((*mail.to, *mail.cc, *mail.bcc))
        given = self.inner().send(_noted(replace(marked, to=self.operators, cc=(), bcc=()), f"{note} For: {meant}"))
        # One address may be there twice, in other letters: it is asked, and refused, once.
        if {*map(str.casefold, self.operators)} <= {*map(str.casefold, given.refused)}:
            raise LaterError(next(iter(given.refused.values())).reason)
        return Handover(given.receipt)


def _noted(mail: OutgoingMail, note: str) -> OutgoingMail:
    """With a line before all others. A mail of HTML without a body begins with it."""
    before, body, after = mail.html.partition("<body")
    opened, end, rest = after.partition(">")
    line = f"<p><strong>{html.escape(note)}</strong></p>"
    marked = f"{before}{body}{opened}{end}{line}{rest}" if body else line + mail.html
    return replace(mail, text=f"{note}\n\n{mail.text}", html=marked)
