"""ProjectUsageScheduler: opens a run and sends one update message a cloud account, paced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.domain import quota, windows
from shared.messages import BudgetSyncMessage, Envelope
from shared.pipeline.events import event
from shared.pipeline.stage import Outgoing
from shared.ports.charges import Account, ChargeLedger
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.costs import CostSource
from shared.ports.runs import RunLedger, RunScope, RunTrigger, ScopeTarget

# By then a night has read nearly all costs, and so turned the periods that end.
BUDGETS_AFTER = timedelta(hours=2)


@dataclass(slots=True)
class _Asked:
    """A cloud account that a run asks for costs: by which source, and what that takes in the source's units."""

    connection_type: str
    units: int = 0


@dataclass(frozen=True, slots=True)
class Scheduler:
    """sources: by connection type. budgets_in: the subscriptions whose Azure budgets are kept in step, if they are."""

    runs: RunLedger
    charges: ChargeLedger
    cloud_accounts: CloudAccountLedger
    sources: Mapping[str, CostSource]
    clock: Clock
    lookback_days: int
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
        asked = self._asked(now.date())
        unsent = self.runs.plan(key, list(asked))
        for connection_type, source in self.sources.items():
            scopes = [scope for scope in unsent if asked[scope.target].connection_type == connection_type]
            delays = quota.delays([asked[scope.target].units for scope in scopes], source.quota)
            for scope, delay in zip(scopes, delays, strict=True):
                yield from self._queued(scope, timedelta(seconds=delay), now)

    def _asked(self, today: date) -> dict[ScopeTarget, _Asked]:
        """The cloud accounts that a run asks, which exports don't feed and nobody has disabled."""
        known = {cloud_account.id: cloud_account for cloud_account in self.cloud_accounts.accounts()}
        asked: dict[ScopeTarget, _Asked] = {}
        for account in self.charges.accounts():
            feeding = known.get(account.cloud_account_id or 0)
            if feeding is None:
                ids = {"provider": account.provider, "account": account.sub_account_id}
                event("account_not_fed", level=logging.WARNING, **ids)
            elif feeding.status is not AccountStatus.DISABLED and feeding.connection_type in self.sources:
                each = asked.setdefault(_target(feeding), _Asked(feeding.connection_type))
                each.units += self._units(account, self.sources[feeding.connection_type], today)
        return asked

    def _units(self, account: Account, source: CostSource, today: date) -> int:
        history = source.months_of_history
        window = windows.night_window(today, self.lookback_days, account.read_until, history)
        back_to = windows.left_to_read(account.rules, account.read_from, today, history, account.opened_from)
        return windows.queries(window, back_to, source.longest_window) * source.quota.units_per_query

    def _queued(self, scope: RunScope, delay: timedelta, now: datetime) -> Iterator[Outgoing]:
        """Sends first and notes it after: a crash in between sends twice, which is harmless, and never not at all."""
        envelope = Envelope(run_id=scope.run_key, first_queued_at=now + delay)
        yield Outgoing(scope.target.message(envelope), delay)
        self.runs.mark_queued(scope.id, now + delay, now)


def _target(cloud_account: CloudAccount) -> ScopeTarget:
    """An Azure subscription goes by the id that its people know."""
    if cloud_account.connection_type == ConnectionType.COST_MANAGEMENT:
        return ScopeTarget(subscription_id=cloud_account.external_account_id)
    return ScopeTarget(cloud_account_id=cloud_account.id, provider=cloud_account.provider)
