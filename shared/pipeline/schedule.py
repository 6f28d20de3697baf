"""ProjectUsageScheduler: opens a run and sends one update message a cloud account, paced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain import quota
from shared.messages import BudgetSyncMessage, Envelope, notifications
from shared.pipeline.asking import Asking
from shared.pipeline.stage import Outgoing, outgoing
from shared.ports.clock import Clock
from shared.ports.runs import RunLedger, RunScope, RunTrigger

# By then a night has read nearly all costs, and so turned the periods that end.
BUDGETS_AFTER = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """asking: which cloud accounts are asked. budgets_in: where Azure's budgets are kept in step, if they are."""

    runs: RunLedger
    asking: Asking
    clock: Clock
    budgets_in: Callable[[], list[str]] | None = None

    def tonight(self) -> Iterator[Outgoing]:
        """The night's run, one for each UTC day; a second firing sends only what is still missing."""
        key = f"night-{self.clock():%Y-%m-%d}"
        yield from self._start(key, RunTrigger.TIMER)
        # No update message leads to the checks that begin their periods.
        yield from outgoing(notifications(self.asking.turning_unasked(), Envelope(run_id=key)))
        # Azure's own budgets follow once the night has turned the periods; twice is harmless.
        for subscription in self.budgets_in() if self.budgets_in else ():
            yield Outgoing(BudgetSyncMessage(subscription), BUDGETS_AFTER)

    def now(self) -> tuple[str, Iterator[Outgoing]]:
        """A run besides the night's: its key, and its messages."""
        key = f"manual-{self.clock():%Y-%m-%dT%H-%M-%S.%f}"
        return key, self._start(key, RunTrigger.MANUAL)

    def _start(self, key: str, trigger: RunTrigger) -> Iterator[Outgoing]:
        now = self.clock()
        self.runs.open_run(key, trigger, now)
        asked = self.asking.targets()
        unsent = self.runs.plan(key, list(asked))
        for connection_type, source in self.asking.sources.items():
            scopes = [scope for scope in unsent if asked[scope.target].connection_type == connection_type]
            delays = quota.delays([asked[scope.target].units for scope in scopes], source.quota)
            for scope, delay in zip(scopes, delays, strict=True):
                yield from self._queued(scope, timedelta(seconds=delay), now)

    def _queued(self, scope: RunScope, delay: timedelta, now: datetime) -> Iterator[Outgoing]:
        """Sends first and notes it after: a crash in between sends twice, which is harmless, and never not at all."""
        envelope = Envelope(run_id=scope.run_key, first_queued_at=now + delay)
        yield Outgoing(scope.target.message(envelope), delay)
        self.runs.mark_queued(scope.id, now + delay, now)
