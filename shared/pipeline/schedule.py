"""ProjectUsageScheduler: opens a run and sends one update message a subscription, paced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.domain import quota, windows
from shared.messages import BudgetSyncMessage, Envelope, UpdateMessage
from shared.pipeline.stage import Outgoing
from shared.ports.charges import Account, ChargeLedger
from shared.ports.clock import Clock
from shared.ports.runs import RunLedger, RunScope, RunTrigger, ScopeTarget

# By then a night has read nearly all costs, and so turned the periods that end.
BUDGETS_AFTER = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """units_per_minute, units_per_hour: the share of the provider's quota that a run may use.

    budgets_in: the subscriptions whose Azure budgets are kept in step; None where they are not.
    """

    runs: RunLedger
    charges: ChargeLedger
    clock: Clock
    lookback_days: int
    units_per_minute: int
    units_per_hour: int
    budgets_in: Callable[[], list[str]] | None = None

    def tonight(self) -> Iterator[Outgoing]:
        """The night's run, one for each UTC day; a second firing sends only what is still missing."""
        yield from self._start(f"night-{self.clock():%Y-%m-%d}", RunTrigger.TIMER)
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
        accounts = {account.sub_account_id: account for account in self.charges.accounts()}
        unsent = self.runs.plan(key, [ScopeTarget(subscription_id=account) for account in accounts])
        units = [self._units(accounts[str(scope.target.subscription_id)], now.date()) for scope in unsent]
        delays = quota.delays(units, self.units_per_minute, self.units_per_hour)
        for scope, delay in zip(unsent, delays, strict=True):
            yield from self._queued(scope, timedelta(seconds=delay), now)

    def _units(self, account: Account, today: date) -> int:
        window = windows.night_window(today, self.lookback_days, account.read_until)
        return windows.units(window, windows.left_to_read(account.rules, account.read_from, today, account.opened_from))

    def _queued(self, scope: RunScope, delay: timedelta, now: datetime) -> Iterator[Outgoing]:
        """Sends first and notes it after: a crash in between sends twice, which is harmless, and never not at all."""
        envelope = Envelope(run_id=scope.run_key, first_queued_at=now + delay)
        message = UpdateMessage(subscription_id=scope.target.subscription_id, envelope=envelope)
        yield Outgoing(message, delay)
        self.runs.mark_queued(scope.id, now + delay, now)
