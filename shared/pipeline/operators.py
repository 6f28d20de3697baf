"""What the operators are told: each thing once, by the key of its mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from shared.ports import NewMail

NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Operators:
    """Makes the mails to the operators; without addresses the mails fail, and are seen in `status`."""

    addresses: tuple[str, ...]

    def notice(
        self,
        key: str,
        subject: str,
        intro: str,
        lines: Sequence[str] = (),
        advice: str | None = None,
        run_key: str | None = None,
    ) -> NewMail:
        """A mail of a few plain sentences."""
        figures = {"subject": subject, "intro": intro, "lines": list(lines), "advice": advice}
        return NewMail(key=f"operators/{key}", template=NOTICE, to=self.addresses, figures=figures, run_key=run_key)

    def scope_failed(self, subject: str, reason: str, today: date, run_key: str) -> NewMail:
        """The costs of a subscription or a project could not be read; told once a day."""
        return self.notice(
            f"scope/{subject}/{today}",
            f"Costs could not be read: {subject}",
            f"Budget Warden could not read the costs of {subject}.",
            [reason],
            "The other subscriptions are not affected. The next night tries again; "
            "until then its projects are watched with the costs known so far.",
            run_key,
        )

    def mail_failed(self, mail_id: int, key: str, reason: str, today: date) -> NewMail:
        """A mail could not be sent for good; told once a day, whichever mail is the first."""
        return self.notice(
            f"mail/{today}",
            "Mails could not be sent",
            f"Mail {mail_id} ({key}) could not be sent. There may be more: this is told once a day.",
            [reason],
            "See them with `python -m shared.cli dead-letters list`; once the cause is mended, "
            "send them with `python -m shared.cli dead-letters replay --all`.",
        )
