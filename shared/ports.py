"""What the pipeline needs from outside, as Protocols, and the words they are said in.

Two kinds of errors leave an adapter, and nothing else: LaterError (it may work if tried again) and NeverError
(it won't). Every implementation of a port passes the port's contract suite in tests/contracts.
All times are aware UTC datetimes, all days UTC days, all money is Decimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from shared.domain.budgets import Budget, BudgetTerms
from shared.domain.charges import ChargeSet
from shared.domain.locks import HeldLock, LockLevel, Outcome
from shared.domain.periods import Period, PeriodRule
from shared.domain.projects import AZURE, LockPolicy, ProjectEntry
from shared.domain.thresholds import Checked, Decision
from shared.messages import LockAction, LockTrigger, Message, Queue


class LaterError(Exception):
    """It can't be done now and may work later: throttled, unwell, out of reach.

    wait: how long the other side asks us to wait; None where it does not say.
    progress: where a long answer broke off, what is needed to go on with it from there; None to begin anew.
    """

    def __init__(self, reason: str, wait: timedelta | None = None, progress: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.progress = progress


class NeverError(Exception):
    """It can't be done, however often it is tried. `reason` is a sentence for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock on the wall, in UTC."""
    return datetime.now(UTC)


# --- costs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CostQuery:
    """Daily charges of one sub-account, by resource group and service.

    window: within one calendar month. resource_groups: only these, in any spelling; empty for all.
    """

    sub_account_id: str
    window: Period
    resource_groups: tuple[str, ...] = ()


class CostSource(Protocol):
    """A provider's cost API."""

    def read(self, query: CostQuery, progress: bytes | None = None) -> ChargeSet:
        """Every charge of the window, rounded for storing. Raises LaterError, NeverError.

        progress: of an earlier LaterError for the same query: what had come by then is not asked for again.
        """
        ...


# --- Azure: budgets, locks, machines, tokens -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResourceGroup:
    """A resource group, as its provider spells it."""

    subscription_id: str
    name: str


@dataclass(frozen=True, slots=True)
class BudgetNotice:
    """One notification of an Azure budget. threshold: percent. forecast: on the forecast, not on what was spent."""

    threshold: Decimal
    operator: str
    forecast: bool
    action_groups: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class AzureBudget:
    """A budget at a subscription, as Azure has it or as it is to be.

    amount: in `currency`, the subscription's own, which Azure says with what was spent. time_grain: Azure's word, such
    as Annually. last_day: the last day that it is there for. resource_groups: what its filter lets through, None
    where it has no filter or another one. notices: by their names. current_spend: as of Azure's last evaluation, about
    once a day. e_tag: of what was read.
    """

    name: str
    amount: Decimal
    time_grain: str
    first_day: date
    last_day: date
    resource_groups: tuple[str, ...] | None
    notices: Mapping[str, BudgetNotice]
    category: str = "Cost"
    current_spend: Decimal | None = None
    currency: str | None = None
    e_tag: str | None = None


class AzureBudgets(Protocol):
    """Azure's own budgets of subscriptions. Every call raises LaterError and NeverError."""

    def list(self, subscription_id: str) -> list[AzureBudget]:
        """All the cost budgets at the subscription's scope, whoever made them."""
        ...

    def get(self, subscription_id: str, name: str) -> AzureBudget | None:
        """One of them; None where there is none with this name (in any case)."""
        ...

    def put(self, subscription_id: str, budget: AzureBudget) -> None:
        """Makes it, or changes the one of its name (with its `e_tag`, only if nobody has changed it since)."""
        ...

    def delete(self, subscription_id: str, name: str) -> None:
        """Removes it; nothing where it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class GroupLock:
    """A lock on a resource group itself, whoever made it."""

    name: str
    level: LockLevel
    notes: str = ""


class AzureLocks(Protocol):
    """Locks on resource groups. Every call raises LaterError and NeverError (which names the role that is missing)."""

    def list(self, group: ResourceGroup) -> list[GroupLock] | None:
        """The locks at the group itself; None where there is no such group."""
        ...

    def put(self, group: ResourceGroup, lock: GroupLock) -> bool:
        """Makes the lock, or brings the one of its name to this level. False where there is no such group."""
        ...

    def delete(self, group: ResourceGroup, name: str) -> bool:
        """Takes the lock off. False where there is no such lock, or no such group."""
        ...


class MachineKind(StrEnum):
    """What can be deallocated."""

    VM = "virtual machine"
    SCALE_SET = "scale set"


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine or scale set that costs money. stopping: its deallocation has begun and is not over."""

    name: str
    kind: MachineKind
    stopping: bool = False


class AzureCompute(Protocol):
    """Virtual machines and scale sets. Every call raises LaterError and NeverError."""

    def running(self, group: ResourceGroup) -> list[Machine]:
        """Those of the group that are not deallocated; none where there is no such group."""
        ...

    def deallocate(self, group: ResourceGroup, machine: Machine) -> None:
        """Asks for its deallocation; returns once Azure has taken the request. Nothing where it is gone."""
        ...


class TokenRefusedError(Exception):
    """A caller's token does not count. status: 401 (none, or not a valid one) or 403 (valid, and not allowed)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class TokenCheck(Protocol):
    """Who may call over HTTP."""

    def check(self, authorization: str | None) -> None:
        """Takes the Authorization header. Raises TokenRefusedError; LaterError where it can't be told now."""
        ...


# --- queues --------------------------------------------------------------------------------------------------


class MessageSender(Protocol):
    """Puts messages onto the chain's queues."""

    def send(self, queue: Queue, message: Message | str, delay: timedelta = timedelta(0)) -> None:
        """Queues a message (or the text of one) that can't be seen before `delay` and never expires.

        Raises LaterError, NeverError (the queues refuse us).
        """
        ...


# --- mail ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A mail as it goes to the provider: valid addresses, one-line subject.

    message_id: `<…@…>`, the same however often this mail is sent.
    """

    message_id: str
    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()


class Mailer(Protocol):
    """A mail provider."""

    def send(self, mail: OutgoingMail) -> str:
        """Hands the mail over and returns the provider's receipt (an id, may be empty).

        Raises LaterError (throttled, unwell, out of reach) and NeverError (refused for good).
        """
        ...


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail's contents: one-line subject, plain text, HTML with every value escaped."""

    subject: str
    text: str
    html: str


AddressCheck = Callable[[Iterable[str]], tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]
"""Texts in; out come the valid addresses, each once, and the other texts with the reason."""


class MailRenderer(Protocol):
    """Turns a template and figures into a mail's contents."""

    def render(self, template: str, language: str | None, figures: Mapping[str, Any]) -> RenderedMail:
        """The mail in `en` or `fr`, or in both for None. `figures` as the template's folder says. Raises NeverError."""
        ...


# --- the database: runs --------------------------------------------------------------------------------------


class RunTrigger(StrEnum):
    """What opened a run: the night's timer, a person, or an update message that belongs to no run."""

    TIMER = "timer"
    MANUAL = "manual"
    MESSAGE = "message"


class RunState(StrEnum):
    """How far a run is. Failed: finished, with a scope that failed or is suspect."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class ScopeState(StrEnum):
    """How far a run is with one scope. The last three are final."""

    PLANNED = "planned"
    QUEUED = "queued"
    DEFERRED = "deferred"
    DONE = "done"
    FAILED = "failed"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class ScopeTarget:
    """What one update message is about: a whole subscription, or one project (or one resource group of it)."""

    subscription_id: str | None = None
    project_id: int | None = None
    resource_group: str | None = None

    @property
    def subject(self) -> str:
        """The target in words, unique within a run."""
        if self.subscription_id is not None:
            return f"subscription {self.subscription_id}"
        group = f", group {self.resource_group}" if self.resource_group else ""
        return f"project {self.project_id}{group}"


@dataclass(frozen=True, slots=True)
class RunScope:
    """One target of one run, and how far it is."""

    id: int
    run_key: str
    target: ScopeTarget
    state: ScopeState
    attempts: int = 0
    first_queued_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LateRun:
    """A run that is not complete when it should be; everything that is missing, in words."""

    key: str
    started_at: datetime
    scopes: tuple[tuple[str, str, str | None], ...]
    """subject, state, reason of each scope that is not done"""
    unchecked_projects: int
    unsent_mails: int
    planned: bool = True
    """False where the scheduler broke off before it knew which scopes the run has"""


class RunLedger(Protocol):
    """Runs, and what each of them has done."""

    def open_run(self, key: str, trigger: RunTrigger, now: datetime) -> None:
        """Makes the run if there is none with this key."""
        ...

    def plan(self, run_key: str, targets: Sequence[ScopeTarget]) -> list[RunScope]:
        """Adds the targets that the run lacks; returns, in their order, those whose message is still to be sent."""
        ...

    def mark_queued(self, scope_id: int, due_at: datetime, now: datetime) -> None:
        """The scope's message is on its queue and can be seen from `due_at`. A final state stays."""
        ...

    def scope_of(self, run_key: str, trigger: RunTrigger, target: ScopeTarget, now: datetime) -> RunScope:
        """The scope of this run for this target; both are made, as queued now, where they are missing."""
        ...

    def mark_deferred(self, scope_id: int, reason: str, due_at: datetime) -> None:
        """The scope is tried again at `due_at`; counts one attempt. Reopens a suspect one, no other final state."""
        ...

    def failures(self, run_key: str) -> list[tuple[str, str]]:
        """Subject and reason of each scope that failed or is suspect, once the run is finished; nothing before."""
        ...

    def mark_failed(self, scope_id: int, reason: str, now: datetime) -> None:
        """The scope has failed for this run. Finishes the run if it was the last one."""
        ...


# --- the database: charges -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """A sub-account, and how much of it has been read.

    read_from: every charge since this day has been read, None before the first whole reading.
    read_until: the day of the last whole reading. rules: the period rules of its active projects' budgets.
    opened_from: the first day of the earliest period of those budgets that was opened.
    active_projects: how many there are.
    """

    sub_account_id: str
    read_from: date | None
    read_until: date | None
    rules: frozenset[PeriodRule] = frozenset()
    active_projects: int = 0
    provider: str = AZURE
    opened_from: date | None = None


@dataclass(frozen=True, slots=True)
class ProjectScopes:
    """A project's resource groups, as the provider spells them, by sub-account id."""

    project_id: int
    active: bool
    groups: Mapping[str, tuple[str, ...]]
    rule: PeriodRule | None


@dataclass(frozen=True, slots=True)
class ReadPart:
    """What one query answered for one window."""

    window: Period
    charges: ChargeSet


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one sub-account for one scope of a run.

    group_keys: what the queries were restricted to (`charges.key_of_group`); empty for the whole account.
    read_from: for a whole reading, the day since which everything has then been read.
    read_until: for a whole reading with nothing left, the day on which it was begun.
    complete: nothing is left to be read for this scope, so its projects can be checked.
    """

    sub_account_id: str
    group_keys: frozenset[str]
    parts: tuple[ReadPart, ...]
    started_at: datetime
    read_from: date | None
    complete: bool
    read_until: date | None = None
    provider: str = AZURE


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing a reading changed, in rows, and which windows were not believed (empty answers)."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    suspect: tuple[Period, ...] = ()


class ChargeLedger(Protocol):
    """Charges, and which of them have been read."""

    def accounts(self) -> list[Account]:
        """Every sub-account with active projects, by id, with the rules of their budgets (those with an amount)."""
        ...

    def account(self, sub_account_id: str) -> Account:
        """One sub-account, known or not."""
        ...

    def scopes_of(self, project_id: int) -> ProjectScopes | None:
        """A project's resource groups; None for an unknown project."""
        ...

    def store(self, scope_id: int, reading: Reading, now: datetime) -> Stored:
        """Replaces the charges of the reading's windows by what was read, in one transaction.

        New charges come in, changed ones change, vanished ones go, the rest is not written. A part without any
        charge is not believed where charges are stored for its groups and window on days before the last whole
        reading's day (or before today, if there was none): that window stays as it is. A *whole* reading's
        empty parts are taken the third UTC day in a row on which one of them is met. A whole reading of the day on
        which it was begun that is older than the last such one (by started_at) changes no charge. `read_from` is
        taken only where no day is left out between the reading and what was read before.

        With `complete` and no suspect part, the scope is done and the account's active projects (only those
        that own one of `group_keys`, where given) are due for a check (check_due_since = now), in the same
        transaction, and the run finishes if it was its last scope. With suspect parts the scope becomes SUSPECT
        (and the projects are due too). Otherwise the scope stays as it is. Raises LaterError; NeverError where the
        parts are in two currencies, or a day, a name or an amount can't be stored.
        """
        ...

    def currencies_of(self, sub_account_id: str, since: date) -> frozenset[str]:
        """The currencies of the account's charges since that day."""
        ...

    def due_projects_of(self, target: ScopeTarget) -> list[int]:
        """The ids, sorted, of the target's active projects that are due for a check."""
        ...

    def turning_projects_of(self, target: ScopeTarget, today: date) -> list[int]:
        """The ids, sorted, of the target's active projects whose present period no check has begun yet."""
        ...


class AnswerLedger(Protocol):
    """Long answers that broke off, kept so that they are not asked for from their first page again and again."""

    def keep(self, scope_id: int, query: CostQuery, progress: bytes | None, now: datetime) -> None:
        """Keeps how far the answer to a scope's query has come; None forgets it. Gone when the scope is final."""
        ...

    def kept(self, scope_id: int, query: CostQuery, since: datetime) -> bytes | None:
        """What was kept for this very query, if it was kept at `since` or later."""
        ...


# --- the database: checks, alerts ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProjectUsage:
    """A project as one check sees it.

    period: None where the budget has no period today. usage: the sum of its charges in the period, in the
    budget's currency. other_currencies: those of charges in the period that could not be added.
    told: the thresholds that count as told for this revision and period. last: the check before in this period.
    by_day: what was spent on each day of the period, in the budget's currency; empty where nobody needs a forecast:
    where the budget is used up, or people were `warned` already for this revision and period.
    held: the lock that the app has put on it. released: by hand, for this revision and period.
    """

    project_id: int
    acronym: str
    name: str
    language: str | None
    contacts: tuple[str, ...]
    budget: Budget
    period: Period | None
    usage: Decimal
    other_currencies: tuple[str, ...]
    told: frozenset[int]
    last: Checked | None
    by_day: Mapping[date, Decimal] = field(default_factory=dict)
    warned: bool = False
    lock: LockPolicy = LockPolicy.AUTO
    held: HeldLock | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class Spending:
    """What a project spent in its period, in the budget's currency, by day and by service."""

    by_day: Mapping[date, Decimal]
    by_service: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to be sent once. `key` names it for good: a second mail with the same key is not made.

    figures: what the template needs: JSON values, amounts and days as text.
    project_id and run_key say where it comes from.
    """

    key: str
    template: str
    to: tuple[str, ...]
    figures: Mapping[str, Any]
    language: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    project_id: int | None = None
    run_key: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check makes of a project.

    decision: on `thresholds`; None where there is nothing to compare. problem: a sentence where the project
    can't be watched. mails: about that, or an early warning, each sent once by its key.
    lock: what is to be asked of the lock, and why.
    """

    decision: Decision | None
    thresholds: tuple[int, ...] = ()
    problem: str | None = None
    mails: tuple[NewMail, ...] = ()
    lock: tuple[LockAction, str] | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """unsent: ids of mails for or about these projects that nobody has begun to send. unknown: ids of no project.

    locks: what the judgements ask of the lock, as (project id, action, reason).
    """

    unsent: tuple[int, ...]
    unknown: tuple[int, ...]
    locks: tuple[tuple[int, LockAction, str], ...] = ()


class CheckLedger(Protocol):
    """Usage against budgets."""

    def give_up(self, project_ids: Sequence[int], reason: str) -> None:
        """These could not be checked for good: they are no longer due, and `reason` becomes their problem."""
        ...

    def check(
        self,
        project_ids: Sequence[int],
        judge: Callable[[ProjectUsage], Judgement],
        compose: Callable[[ProjectUsage, int, Spending], NewMail],
        now: datetime,
    ) -> CheckResult:
        """Judges these projects in one transaction, with a number of statements that does not grow with theirs.

        A period that has ended is followed by the next first, once, with what its rollover carries on; what was carried
        follows late charges of the ended period until they are final (`rollover.settles_on`, and read since then).

        Two checks of the same project never run at the same time: the second waits, and sees what the first did.
        The alert of each decision and its mail (from `compose`, with the spending of the whole period) are
        written together. A project's due mark goes; inactive projects are passed over. What was seen (usage,
        thresholds, budget, period) becomes the next check's `last`. Raises LaterError; NeverError where a sum
        can't be held exactly.
        """
        ...


# --- the database: mails -------------------------------------------------------------------------------------


class MailState(StrEnum):
    """How far a mail is."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail in the database."""

    id: int
    mail: NewMail
    state: MailState
    message_id: str
    attempts: int
    first_attempt_at: datetime | None
    claimed_until: datetime | None
    reason: str | None = None
    sent_at: datetime | None = None
    notes: str | None = None


class MailLedger(Protocol):
    """Mails to be sent, each once."""

    def add(self, mail: NewMail, now: datetime) -> int:
        """Writes the mail, or finds the one with its key; returns its id."""
        ...

    def get(self, mail_id: int) -> StoredMail | None:
        """The mail as it stands."""
        ...

    def claim(self, mail_id: int, claimant: str, until: datetime, now: datetime, failed_too: bool = False) -> bool:
        """Takes the mail for sending, so that nobody else sends it before `until`.

        Taken if it is pending, if the claim on it has expired, or if this same claimant holds it (the queue gave
        the message again: the earlier attempt is dead). `failed_too`: also if it had failed, with its attempts
        counted from the start. Counts one attempt. False where it can't be had.
        """
        ...

    def mark_sent(self, mail_id: int, claimant: str, receipt: str, notes: str | None, now: datetime) -> None:
        """It has been sent; `notes` says which addresses were left out. Only the claimant's word counts."""
        ...

    def release(self, mail_id: int, claimant: str, reason: str, due_at: datetime) -> None:
        """It could not be sent now, and is tried again at `due_at`."""
        ...

    def mark_failed(self, mail_id: int, claimant: str, reason: str) -> None:
        """It can't be sent."""
        ...


# --- the database: dead letters ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that failed for good: which queue it was on, what it said, and why it failed."""

    id: int
    queue: str
    body: str
    reason: str
    at: datetime
    replayed_at: datetime | None = None


class DeadLetterLedger(Protocol):
    """Messages that failed for good."""

    def record(self, queue: Queue, body: str, reason: str, origin: str, now: datetime) -> int:
        """Keeps a message; `origin` (the queue message's id) makes a second record of it the same one."""
        ...

    def list(self, replayed_too: bool = False) -> list[DeadLetter]:
        """The dead letters, oldest first; those that were replayed only if asked for."""
        ...

    def get(self, letter_id: int) -> DeadLetter | None:
        """One dead letter."""
        ...

    def mark_replayed(self, letter_id: int, now: datetime) -> None:
        """Its message has been queued again."""
        ...


# --- the database: the watch ---------------------------------------------------------------------------------


class WatchLedger(Protocol):
    """What got stuck, and what is late. `before` is the time since when it should have gone on."""

    def stuck_scopes(self, before: datetime) -> list[RunScope]:
        """Scopes of unfinished runs that are not final and due (or planned, run started) before `before`."""
        ...

    def stuck_projects(self, before: datetime) -> list[int]:
        """Active projects whose check has been due since before `before`."""
        ...

    def stuck_mails(self, before: datetime) -> list[int]:
        """Mails that are pending and were due before `before`, or whose claim expired before it."""
        ...

    def mark_requeued(self, projects: Sequence[int], mails: Sequence[int], now: datetime) -> None:
        """These were queued again now: they count as stuck only after another while."""
        ...

    def late_runs(self, started_before: datetime) -> list[LateRun]:
        """Runs by timer that started before, have something missing, and were not reported yet."""
        ...

    def last_nights(self) -> list[datetime]:
        """When the last two runs by timer were started, the newest first."""
        ...

    def mark_reported(self, run_key: str, now: datetime) -> None:
        """The operators have been told that this run is late."""
        ...


# --- the database: locks and the audit -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LockFacts:
    """A project as the lock sees it, today.

    groups: its resource groups; held_groups: those on which it holds a lock. held without held_since: a lock was about
    to be put on, and may be there. usage: in the budget's currency and present
    period. usage_known: its costs have been read, and all of them can be added.
    """

    project_id: int
    acronym: str
    name: str
    language: str | None
    contacts: tuple[str, ...]
    active: bool
    lock: LockPolicy
    groups: tuple[ResourceGroup, ...]
    budget: Budget
    period: Period | None
    usage: Decimal
    usage_known: bool
    held: HeldLock | None = None
    held_groups: tuple[ResourceGroup, ...] = ()
    held_since: datetime | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A decision to be written down for good. `key` names it: a second row with the same key is not written.

    figures: on what; details: on which groups and machines; JSON values, amounts as text.
    """

    key: str
    project_id: int
    action: LockAction
    outcome: Outcome
    reason: str
    trigger: LockTrigger
    by: str | None = None
    asked: str = ""
    """the reason that the request gave"""
    figures: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    run_key: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The lock that a project now has: on which groups."""

    lock: HeldLock
    groups: tuple[ResourceGroup, ...]


@dataclass(frozen=True, slots=True)
class Freed:
    """The project has no lock any more. by_hand: it is not to be locked again for this revision and period."""

    by_hand: bool
    budget_number: int
    period_start: date | None


class LockLedger(Protocol):
    """Which projects are locked, who works on that, and every decision about it."""

    def find(self, azure_budget: str, subscription_id: str) -> int | None:
        """The project with this Azure name (`azure_name`, in any case) and groups in the subscription."""
        ...

    def facts(self, project_id: int, now: datetime) -> LockFacts | None:
        """What is known of a project, active or not; its period is the one that holds `now`. None: unknown."""
        ...

    def claim(self, project_id: int, claimant: str, until: datetime, now: datetime) -> bool:
        """Takes the project's lock for work, so that nobody else does before `until`; False where it can't be had.

        Taken if it is free, if the claim on it has expired, or if this same claimant holds it.
        """
        ...

    def release(self, project_id: int, claimant: str) -> None:
        """Ends the claim, if it is this claimant's."""
        ...

    def record(
        self,
        entry: AuditEntry,
        claimant: str,
        change: Hold | Freed | None,
        mails: Sequence[NewMail],
        now: datetime,
    ) -> bool:
        """Writes the decision, the new state and the mails in one transaction, and ends the claimant's claim.

        False, and nothing is written, where the claim was lost. With an `entry` whose key there is already, only the
        change counts: its mails were written then.
        """
        ...

    def keep(self, project_id: int, claimant: str, hold: Hold, now: datetime) -> None:
        """Writes what counts for a lock that is there or about to be, with nothing decided; ends the claim."""
        ...

    def held(self) -> int:
        """How many projects are locked."""
        ...

    def unsent(self, project_id: int) -> list[int]:
        """The ids of mails about the project's lock that nobody has begun to send."""
        ...


@dataclass(frozen=True, slots=True)
class AuditView:
    """A row of the audit."""

    id: int
    at: datetime
    acronym: str
    entry: AuditEntry


class AuditLedger(Protocol):
    """What was decided about locks; only read."""

    def list(self, project_id: int | None = None, limit: int | None = None) -> list[AuditView]:
        """The last `limit` decisions, oldest first; all projects' without a `project_id`."""
        ...


# --- the database: projects and listings (the command line) --------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How many projects a load added, changed and left as they were."""

    added: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class ProjectView:
    """A project as listed. budget: None without one. spent: in the period that holds today, in `currency`.

    currency: None for a project that has neither a budget nor a currency to have one in.
    updated_at: when its costs were last read. problem: why it can't be watched, if so.
    """

    id: int
    acronym: str
    name: str
    active: bool
    language: str | None
    contacts: tuple[str, ...]
    scopes: tuple[tuple[str, str], ...]
    """(subscription id, resource group) pairs"""
    budget: Budget | None
    period: Period | None
    spent: Decimal
    currency: str | None
    updated_at: datetime | None
    problem: str | None
    alerts: tuple[int, ...]
    """thresholds mailed for this revision and period"""
    terms: BudgetTerms
    """those of the revision that counts, without an amount too"""
    lock: LockPolicy = LockPolicy.AUTO
    locked_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class PeriodView:
    """A period of a project's budget that was opened: what came into it from the one before.

    settled: what was carried is final. spent: in `currency`, so far.
    """

    period: Period
    currency: str
    carried: Decimal
    stopped: bool
    settled: bool
    spent: Decimal


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One revision of a budget: what, when, by whom, why."""

    number: int
    terms: BudgetTerms
    made_at: datetime
    made_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as listed: scopes counted by state, mails counted by state."""

    key: str
    trigger: RunTrigger
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    scopes: Mapping[str, int]
    mails: Mapping[str, int]
    errors: tuple[tuple[str, str], ...] = field(default=())
    """(scope, reason) of those deferred, failed or suspect"""


class ProjectLedger(Protocol):
    """Projects, their budgets, and what is listed of them and of runs."""

    def load(self, entries: Sequence[ProjectEntry], made_by: str, now: datetime) -> LoadResult:
        """Writes all the entries in one transaction. An entry that says what is so already changes nothing.

        Changed terms make a new revision (as `revise_budget` does). A changed or new project is due for a
        check. Raises NeverError naming the project where a resource group belongs to another project that
        keeps it, or an acronym to another.
        """
        ...

    def revise_budget(self, project_id: int, terms: BudgetTerms, made_by: str, reason: str, now: datetime) -> int:
        """Makes a new revision and returns its number; the project is due for a check.

        In the same transaction, where the period begins on the same day as before, the thresholds that were
        told and lie at or below the new percent count as told for the new revision too (`still_told`). What was
        carried into that period stays; a budget that had stopped goes on.
        """
        ...

    def find(self, project: str) -> int | None:
        """The id of the project with this acronym (in any case) or this number."""
        ...

    def list_projects(self, today: date, subscription_id: str | None = None) -> list[ProjectView]:
        """The projects by id, each with its usage in the period that holds `today`.

        subscription_id: only those with resource groups in it.
        """
        ...

    def days_spent(self, project_ids: Sequence[int], today: date) -> dict[int, dict[date, Decimal]]:
        """What projects spent on each day of the period that holds `today`, in their budgets' currencies.

        A project that spent nothing may be missing. The days of thousands of projects fill the memory: ask for some.
        """
        ...

    def subscriptions(self) -> list[str]:
        """The subscriptions in which any project, active or not, has resource groups; in order."""
        ...

    def revisions(self, project_id: int) -> list[RevisionView]:
        """The project's budget revisions, oldest first."""
        ...

    def periods(self, project_id: int) -> list[PeriodView]:
        """The periods of the project's budget so far, oldest first."""
        ...

    def recent_runs(self, limit: int) -> list[RunView]:
        """The last runs, newest first."""
        ...
