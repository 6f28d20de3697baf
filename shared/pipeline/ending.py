"""How a run's scope ends that has failed, and what the operators are told once its run is finished."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

from shared.domain.periods import Period
from shared.messages import Envelope, ScopeTarget, notifications
from shared.pipeline.events import event
from shared.pipeline.operators import Operators, concerning, untold
from shared.pipeline.stage import Outgoing, mails_out, outgoing
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.errors import NoCostsError
from shared.ports.mails import MailLedger, Topic
from shared.ports.runs import RunLedger, RunScope, RunTrigger


@dataclass(frozen=True, slots=True)
class Ending:
    """The last scope to end tells of all that failed in its run, however it ends itself."""

    runs: RunLedger
    charges: ChargeLedger
    mails: MailLedger
    operators: Operators
    clock: Clock

    def fail(self, run_key: str, target: ScopeTarget, reason: str) -> list[Outgoing]:
        """The run's scope for this target has failed, unless it is done."""
        now = self.clock()
        scope = self.runs.scope_of(run_key, RunTrigger.MESSAGE, target, now)
        if self.runs.mark_failed(scope.id, reason, now):
            event("scope_failed", level=logging.ERROR, run=run_key, scope=target.subject, reason=reason)
        return self._ended(run_key, target)

    def without_costs(self, scope: RunScope, error: NoCostsError) -> list[Outgoing]:
        """The provider has none for the scope, which is no failure but told once; one that lasts too long is."""
        now = self.clock()
        acronyms, passes = self.charges.acronyms_of(scope.target), error.passes_within is not None
        told = self.operators.no_costs(scope.target.subject, acronyms, error.reason, passes)
        mail_id = self.mails.add(told, now)
        stored = self.mails.get(mail_id)
        first = stored.first_attempt_at if stored else None
        if error.passes_within is not None and first is not None and now - first >= error.passes_within:
            return self.fail(scope.run_key, scope.target, error.reason)
        self.runs.mark_read(scope.id, None, now)
        return [*mails_out([mail_id] if first is None else []), *self._ended(scope.run_key, scope.target)]

    def set_aside(self, scope: RunScope, odd: Sequence[tuple[str, Sequence[str]]]) -> list[Outgoing]:
        """Rows that can't be charges were left out: what is wrong, and whose they are. The mail on them, once a day."""
        now = self.clock()
        event("rows_set_aside", level=logging.WARNING, run=scope.run_key, scope=scope.target.subject, groups=len(odd))
        mail = self.operators.rows_set_aside(scope.target.subject, odd, now.date(), scope.run_key)
        return mails_out([self.mails.add(mail, now)])

    def gone(self, scope: RunScope, gone: Sequence[tuple[Period, str]]) -> list[Outgoing]:
        """What was stored of these days was taken for gone, as it had been doubted: the mail on it, once a day."""
        now, acronyms = self.clock(), self.charges.acronyms_of(scope.target)
        event("charges_gone", level=logging.WARNING, run=scope.run_key, scope=scope.target.subject, windows=len(gone))
        mail = self.operators.charges_gone(scope.target.subject, acronyms, gone, now.date(), scope.run_key)
        return mails_out([self.mails.add(mail, now)])

    def forgotten(self, scope: RunScope, days: Period) -> list[Outgoing]:
        """The provider no longer has what is stored of these days: the mail on it, once a month."""
        now, subject, acronyms = self.clock(), scope.target.subject, self.charges.acronyms_of(scope.target)
        event("charges_forgotten", level=logging.WARNING, run=scope.run_key, scope=subject, since=days.start)
        mail = self.operators.charges_forgotten(subject, acronyms, days, now.date(), scope.run_key)
        return mails_out([self.mails.add(mail, now)])

    def falls_behind(self, scope: RunScope, payer: CloudAccount, calls_a_day: int) -> list[Outgoing]:
        """For a week the paid calls of a day did not reach all that was due: the mail on it, once for a setting."""
        now = self.clock()
        event("payer_falls_behind", level=logging.WARNING, run=scope.run_key, account=payer.id)
        return mails_out([self.mails.add(self.operators.falls_behind(payer, calls_a_day, scope.run_key), now)])

    def _ended(self, run_key: str, target: ScopeTarget) -> list[Outgoing]:
        # A period begins on its day, whether or not its costs can be read: with it a stop, an unlock, an empty total.
        turning = self.charges.turning_projects_of(target, self.clock().date())
        return [*outgoing(notifications(turning, Envelope(run_id=run_key))), *self.told(run_key)]

    def told(self, run_key: str) -> list[Outgoing]:
        """The mail to the operators on all that failed and was not told today, if the run is finished."""
        failures = [
            (concerning(target.subject, self.charges.acronyms_of(target)), reason)
            for target, reason in self.runs.failures(run_key)
        ]
        now = self.clock()
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if failures:
            failures = list(untold(failures, self.mails.made(Topic.COSTS_FAILED, today), run_key))
        if not failures:
            return []
        mail = self.operators.costs_failed(failures, now.date(), run_key)
        return mails_out([self.mails.add(mail, now)])
