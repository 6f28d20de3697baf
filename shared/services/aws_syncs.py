"""AWS accounts that are synced now, by hand: what that takes, and what each came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from math import ceil

from shared.domain.periods import Period
from shared.domain.texts import named, readable
from shared.messages import MessageError, ScopeTarget
from shared.pipeline.chain import Chain
from shared.pipeline.schedule import Scheduler
from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.costs import AccountsSource
from shared.ports.payers import PayerLedger
from shared.ports.runs import RunLedger
from shared.services.errors import RequestError, UnknownError
from shared.services.terms import parse_day

CLOUD_ACCOUNTS = "`python -m shared.cli cloud-accounts list` shows them"
INSTEAD: Mapping[str, str] = {
    ConnectionType.COST_MANAGEMENT: "`python -m shared.cli run --subscription ID` reads it now",
    ConnectionType.COST_EXPORT: "`python -m shared.cli exports scan` looks for what is new",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A sync of one cloud account. calls: the paid ones that it takes at least, a page for each month or part of one.

    left: how many of today's may still be made; without any it is not begun. price: of a call, in its currency.
    """

    account: CloudAccount
    target: ScopeTarget
    calls: int
    left: int
    price: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync of one cloud account came to. charges: how many were stored, which come to totals.

    service_names: those that cost something. took: how long that was worked on. errors: why not all was read, in a
    sentence each. was_begun: whether any was.
    """

    account: CloudAccount
    charges: int = 0
    totals: Mapping[str, Decimal] | None = None
    services: int = 0
    calls: int = 0
    took: timedelta = timedelta(0)
    errors: tuple[str, ...] = ()
    was_begun: bool = False
    service_names: tuple[str, ...] = ()


class TooSoonError(RequestError):
    """Another sync by hand of the same organization was a moment ago. seconds: to wait for."""

    def __init__(self, wait: timedelta) -> None:
        self.seconds = max(1, ceil(wait.total_seconds()))
        super().__init__(f"Rate limit exceeded. Please wait {self.seconds} seconds before syncing again.")


@dataclass(frozen=True, slots=True)
class AwsSyncService:
    """Raises LaterError where the database is away."""

    ledger: CloudAccountLedger
    payers: PayerLedger
    runs: RunLedger
    scheduler: Scheduler
    chain: Chain
    calls_a_day: int
    clock: Clock

    def plan(
        self, cloud_account_id: int | None = None, organization: str = "", first: str = "", last: str = ""
    ) -> list[Planned]:
        """What is to be synced. Raises RequestError.

        All AWS accounts that are not disabled; one; or those of an organization. first, last: days as a person writes
        them; up to today without the last, and what is due without both.
        """
        accounts = self._accounts(cloud_account_id, organization)
        targets = [self.scheduler.asking.target_of(each) for each in accounts]
        days = self._days(first.strip(), last.strip(), targets)
        return [self._planned(*each, days) for each in zip(accounts, targets, strict=True)]

    def start(self, planned: Sequence[Planned]) -> str:
        """Begins a run that reads those for which a paid call is left: its key; empty where there are none.

        Raises RequestError; LaterError and NeverError where the queues don't take a message; what was sent before is
        read.
        """
        begun = [each for each in planned if each.left]
        self.ledger.note_manual_sync([each.account.id for each in begun], self.clock())
        return self.start_by_schedule(begun)

    def start_in_turn(self, planned: Planned, every: timedelta) -> str:
        """The same of one, no sooner than so long after the last sync by hand of one of its organization.

        Raises TooSoonError besides; where it could not begin, the next one needs not wait.
        """
        account, now = planned.account, self.clock()
        last = self.ledger.claim_manual_sync(account.id, now, now - every)
        if last is not None:
            raise TooSoonError(last + every - now)
        try:
            return self.start_by_schedule([planned])
        except Exception:
            self.ledger.note_manual_sync([account.id], None)
            raise

    def start_by_schedule(self, planned: Sequence[Planned]) -> str:
        """The same as `start`, and not by hand: nobody has to wait for it."""
        begun = [each for each in planned if each.left]
        if not begun:
            return ""
        try:
            key, messages = self.scheduler.now([each.target for each in begun], begun[0].target.left)
        except MessageError as error:
            # Changed since it was planned.
            raise RequestError(str(error)) from None
        which = ", ".join(each.account.in_words for each in begun)
        with noted(Change(Action.SYNC_ORDERED, which, self.clock(), details={"run": key})):
            self.chain.send(messages)
        return key

    def outcomes(self, planned: Sequence[Planned], key: str) -> list[Synced]:
        """What became of each, once the run is finished."""
        reasons = {target.cloud_account_id: why for target, why in self.runs.failures(key)} if key else {}
        return [self._outcome(each, key, reasons.get(each.account.id)) for each in planned]

    def _outcome(self, planned: Planned, key: str, reason: str | None) -> Synced:
        account = planned.account
        if not planned.left:
            return Synced(account, errors=(self._no_call_left(),))
        sync = self.payers.sync_of(account.id, key)
        if sync is None:
            return Synced(account, errors=(reason,) if reason else ())
        took, errors = sync.finished_at - sync.started_at, sync.errors or ((reason,) if reason else ())
        came = (sync.rows, sync.totals, sync.services, sync.calls, took, errors)
        return Synced(account, *came, was_begun=True, service_names=sync.service_names)

    def _no_call_left(self) -> str:
        return (
            f"None of today's paid calls is left (AWS_CALLS_PER_DAY is {self.calls_a_day:,}): nothing was read. The "
            "next day begins at midnight, UTC."
        )

    # --- which ---

    def _accounts(self, cloud_account_id: int | None, organization: str) -> list[CloudAccount]:
        if cloud_account_id is not None and organization:
            raise RequestError("name a cloud account or an organization, not both")
        if cloud_account_id is not None:
            return [self._one(cloud_account_id)]
        known = [each for each in self.ledger.accounts() if self._source(each)]
        if not known:
            raise RequestError("there is no AWS account yet; `python -m shared.cli cloud-accounts add aws` adds one")
        chosen = [each for each in known if each.organization.casefold() == organization.strip().casefold()]
        if organization and not chosen:
            names = named(sorted({each.organization for each in known}))
            raise RequestError(
                f"no AWS account is of {readable(organization, 40)}; there are those of {names}; {CLOUD_ACCOUNTS}"
            )
        read = [each for each in (chosen or known) if each.status is not AccountStatus.DISABLED]
        if not read:
            of = f" of {chosen[0].organization}" if chosen else ""
            raise RequestError(
                f"all AWS accounts{of} are disabled; {CLOUD_ACCOUNTS}, `cloud-accounts enable` has one read again"
            )
        return read

    def _one(self, cloud_account_id: int) -> CloudAccount:
        account = self.ledger.get(cloud_account_id)
        if account is None:
            raise UnknownError(f"there is no cloud account {cloud_account_id}; {CLOUD_ACCOUNTS}")
        name = f"cloud account {account.id} ({account.name})"
        if self._source(account) is None:
            instead = f"; {INSTEAD[kind]}" if (kind := account.connection_type) in INSTEAD else ""
            raise RequestError(f"{name} is no AWS account: it is read by {account.connection_type}{instead}")
        if account.status is AccountStatus.DISABLED:
            why = f" ({account.disabled_why})" if account.disabled_why else ""
            raise RequestError(f"{name} is disabled{why}; `cloud-accounts enable {account.id}` has it read again")
        return account

    def _source(self, account: CloudAccount) -> AccountsSource | None:
        source = self.scheduler.asking.sources.get(account.connection_type)
        return source if isinstance(source, AccountsSource) else None

    # --- which days, and what that takes ---

    def _days(self, first: str, last: str, targets: Sequence[ScopeTarget]) -> Period | None:
        try:
            begin, end = parse_day(first), parse_day(last)
            if begin is not None:
                return self.scheduler.asking.days_since(begin, end, targets)
        except ValueError as error:
            # A MessageError among them.
            raise RequestError(str(error)) from None
        if end is not None:
            raise RequestError("there is a last day and no first one; write --from, too")
        return None

    def _planned(self, account: CloudAccount, target: ScopeTarget, days: Period | None) -> Planned:
        source = self._source(account)
        if source is None:
            raise TypeError(f"cloud account {account.id} is not asked for several sub-accounts")
        target = replace(target, left=days)
        calls = self.scheduler.asking.asked_of(target).units // source.quota.units_per_query
        made = self.payers.calls_on(account.id, self.clock().date())
        left = max(self.calls_a_day - made, 0)
        return Planned(account, target, calls, left, source.price, source.price_currency)
