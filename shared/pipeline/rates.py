"""Exchange rates are brought up to date: once a night, and by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from shared.domain.currencies import LASTS, is_old
from shared.messages import Envelope, notifications
from shared.pipeline.events import event
from shared.pipeline.operators import Operators
from shared.pipeline.stage import Outgoing, mails_out, outgoing
from shared.ports.clock import Clock
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailLedger, NewMail, Topic
from shared.ports.rates import RateChange, RateFeed, RateLedger, SetRate

# Longer than the 13 months of a budget period that are read back.
KEPT = timedelta(days=3 * 366)
GET_ELSEWHERE = (
    "Each night asks the European Central Bank again. Where it can't be reached from here, get "
    "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip elsewhere, and have it read: "
    "`python -m shared.cli rates update --file eurofxref-hist.zip`."
)


@dataclass(frozen=True, slots=True)
class RateUpdate:
    """feed: who sets the rates. seed: those that come with the app, for a table that lacks the early days."""

    ledger: RateLedger
    feed: RateFeed
    seed: RateFeed
    mails: MailLedger
    operators: Operators
    clock: Clock

    def update(self, given: Callable[[date], Iterable[SetRate]] | None = None) -> RateChange:
        """Keeps what is new. given: the rates in a file, from a day on.

        Raises LaterError, NeverError; then a table that lacked early days has those that come with the app.
        """
        today = self.clock().date()
        since = today - KEPT
        if given is not None:
            return self._keep(given(since))
        days = self.ledger.days(today)
        # A file by hand may have brought a few days only.
        seeded = RateChange() if days and days[0] <= since + LASTS else self._seed(since)
        # All of them each night, at no cost: a rate that was mended, and days that are missing between others.
        read = self._keep(self.feed.read(since))
        return RateChange(seeded.changed + read.changed, sorted({*seeded.due, *read.due}))

    def _seed(self, since: date) -> RateChange:
        try:
            return self._keep(self.seed.read(since))
        except NeverError as error:
            event("rates_not_seeded", level=logging.WARNING, reason=error.reason)
            return RateChange()

    def _keep(self, rates: Iterable[SetRate]) -> RateChange:
        found, now = list(rates), self.clock()
        late = max((day for day, _, _ in found), default=now.date())
        if late > now.date():
            # It would be taken for the newest until then.
            raise NeverError(f"The file has rates of {late}, which is to come: nothing of it was kept.")
        return self.ledger.keep(found, now)

    def tonight(self) -> Iterator[Outgoing]:
        """The same for a night, which no failure of it stops; operators are told once where rates are old."""
        reason, is_refused = None, False
        try:
            change = self.update()
            event("rates_updated", changed=change.changed, projects=len(change.due))
            yield from outgoing(notifications(change.due, Envelope()))
        except (LaterError, NeverError) as error:
            reason, is_refused = error.reason, isinstance(error, NeverError)
            event("rates_not_updated", level=logging.WARNING, reason=reason)
        today = self.clock().date()
        days = self.ledger.days(today)
        newest = days[1] if days else None
        if newest is None or is_old(newest, today):
            yield from self._told_once(self._old(newest, reason))
        elif is_refused:
            yield from self._told_once(self._unreadable(newest, str(reason)))

    def _told_once(self, mail: NewMail) -> Iterator[Outgoing]:
        if self.mails.find(mail.key) is None:
            yield from mails_out([self.mails.add(mail, self.clock())])

    def _unreadable(self, newest: date, reason: str) -> NewMail:
        """Told at once: a file that is another one today is mended by nobody's waiting."""
        return self.operators.notice(
            Topic.CURRENCY,
            f"rates-unreadable/{newest}",
            "Exchange rates can't be read",
            f"What the European Central Bank's address gives can't be read. The newest rates are of {newest}, and "
            f"count until {newest + LASTS}: for later days there is none. This is told once.",
            [reason],
            GET_ELSEWHERE,
        )

    def _old(self, newest: date | None, reason: str | None) -> NewMail:
        told = f"The newest exchange rates are of {newest}" if newest else "There are no exchange rates"
        return self.operators.notice(
            Topic.CURRENCY,
            f"rates-old/{newest or 'none'}",
            "Exchange rates are old",
            f"{told}. A rate counts for a week at most where none was set since: for later days there is none. "
            "This is told once.",
            [reason] if reason else [],
            GET_ELSEWHERE,
        )
