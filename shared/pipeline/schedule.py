"""ProjectUsageScheduler: opens a run and sends one update message a cloud account, paced."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.periods import Period
from shared.domain.schedules import Schedule
from shared.messages import BudgetSyncMessage, Envelope, ScopeTarget, notifications
from shared.pipeline.asking import Asked, Asking
from shared.pipeline.pace import Pace
from shared.pipeline.stage import Outgoing, outgoing
from shared.ports.clock import Clock
from shared.ports.runs import RunLedger, RunScope, RunTrigger

# So long after the last query is to begin, a night has read nearly all costs, and so turned the periods that end.
BUDGETS_AFTER = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """schedule: of the nights. asking: which cloud accounts are asked. budgets_in: where Azure's budgets are kept in
    step, if they are. rates: brings exchange rates up to date, if they are kept. keys: looks whether what
    signs in opens.
    """

    runs: RunLedger
    schedule: Schedule
    asking: Asking
    pace: Pace
    clock: Clock
    budgets_in: Callable[[], list[str]] | None = None
    rates: Callable[[], Iterable[Outgoing]] | None = None
    keys: Callable[[], Iterable[Outgoing]] | None = None

    def tonight(self) -> Iterator[Outgoing]:
        """The night's run: each occurrence of the schedule is one, however late, early or often the timer fires.

        A second firing sends only what is still missing.
        """
        now = self.clock()
        key = self.runs.open_night(self.schedule.fired(now), now)
        yield from self.keys() if self.keys else ()
        until = yield from self._start(key, now, self.asking.targets())
        # No update message leads to the checks that begin their periods.
        yield from outgoing(notifications(self.asking.turning_unasked(), Envelope(run_id=key)))
        # Azure's own budgets follow once the night has turned the periods; twice is harmless.
        for subscription in self.budgets_in() if self.budgets_in else ():
            yield Outgoing(BudgetSyncMessage(subscription), until - now + BUDGETS_AFTER)
        # Last: however long somebody else's server takes, the night has begun.
        yield from self.rates() if self.rates else ()

    def now(self, targets: Sequence[ScopeTarget] = (), left: Period | None = None) -> tuple[str, Iterator[Outgoing]]:
        """A run besides the night's: its key, and its messages. Raises MessageError, and then there is no run.

        targets: these alone are read; all, if there are none. left: these days (`Asking.days_since`), whatever is known
        of them.
        """
        now = self.clock()
        if targets:
            asked = {each: self.asking.asked_of(each) for each in (replace(target, left=left) for target in targets)}
        else:
            asked = self.asking.targets(left)
        key = f"manual-{now:%Y-%m-%dT%H-%M-%S.%f}"
        return key, self._by_hand(key, now, asked)

    def _by_hand(self, key: str, now: datetime, asked: Mapping[ScopeTarget, Asked]) -> Iterator[Outgoing]:
        self.runs.open_run(key, RunTrigger.MANUAL, now)
        yield from self._start(key, now, asked)

    def _start(
        self, key: str, now: datetime, asked: Mapping[ScopeTarget, Asked]
    ) -> Generator[Outgoing, None, datetime]:
        """Sends what is not sent yet; returns until when the plan goes on."""
        due = self.pace.due(self.runs.plan(key, list(asked)), now, asked)
        until = max((due_at for _, due_at in due), default=now)
        self.runs.plan_until(key, until)
        for scope, due_at in due:
            yield from self._queued(scope, due_at, now)
        return until

    def _queued(self, scope: RunScope, due_at: datetime, now: datetime) -> Iterator[Outgoing]:
        """Sends first and notes it after: a crash in between sends twice, which is harmless, and never not at all."""
        yield Outgoing(scope.target.message(Envelope(run_id=scope.run_key, first_queued_at=due_at)), due_at - now)
        self.runs.mark_queued(scope.id, due_at, now)
