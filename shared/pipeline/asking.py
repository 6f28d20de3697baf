"""What costs are asked for: of which cloud accounts, by which sources, for which days."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import NoReturn

from shared.domain import windows
from shared.domain.charges import key_of_group
from shared.domain.coverage import nights_lookback
from shared.domain.exports.feeding import Fed
from shared.domain.periods import Period, months_before
from shared.messages import GUID, Envelope, MessageError, ScopeTarget, UpdateMessage
from shared.pipeline.events import event
from shared.ports.azure import AZURE
from shared.ports.charges import Account, ChargeLedger, ProjectScopes
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.costs import AccountsSource, CostSource, TotalsSource

PROJECTS = "`python -m shared.cli projects list` shows them"
CLOUD_ACCOUNTS = "`python -m shared.cli cloud-accounts list` shows them all"
SCAN = "can't be asked for; `python -m shared.cli exports scan` looks for what was exported since"


class ExportedError(MessageError):
    """What is named comes by cost exports, so that there is nothing to be asked."""


@dataclass(slots=True)
class Asked:
    """A cloud account that a run asks: by the source of which connection type, and what that takes in its units."""

    connection_type: str
    units: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """One sub-account's share of a message: by what it is read, and which groups (all, if empty).

    account: with the budgets for which it is read. payer: the cloud account that is asked for it and others at once.
    """

    account: Account
    source: CostSource | AccountsSource
    groups: tuple[str, ...] = ()
    payer: CloudAccount | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The provider and the sub-account."""
        return self.account.provider, self.account.sub_account_id

    @property
    def asked_alone(self) -> CostSource:
        """The source of one that no payer is asked for. Raises TypeError for others."""
        if isinstance(self.source, AccountsSource):
            raise TypeError(f"{self.key} is read with others")
        return self.source


@dataclass(frozen=True, slots=True)
class Asking:
    """sources: by connection type."""

    charges: ChargeLedger
    cloud_accounts: CloudAccountLedger
    sources: Mapping[str, CostSource | AccountsSource]
    clock: Clock
    lookback_days: int

    # --- by a run ---

    def targets(self, left: Period | None = None) -> dict[ScopeTarget, Asked]:
        """The cloud accounts with active projects that are asked: exports feed the others, or nobody wants them.

        left: for these days, whatever is known of them.
        """
        known = {cloud_account.id: cloud_account for cloud_account in self.cloud_accounts.accounts()}
        asked: dict[ScopeTarget, Asked] = {}
        not_fed: dict[str, list[str]] = {}
        for account in self.charges.accounts():
            feeding = known.get(account.cloud_account_id or 0)
            if feeding is None:
                not_fed.setdefault(account.provider, []).append(account.sub_account_id)
            elif feeding.status is not AccountStatus.DISABLED and feeding.connection_type in self.sources:
                target = replace(_target(feeding), left=left)
                each = asked.setdefault(target, Asked(feeding.connection_type))
                each.units += self._units(account, self.sources[feeding.connection_type], left)
        for provider, ids in not_fed.items():
            # A new payer's are many, until it lists them.
            first = {"first": ids[0], "accounts": len(ids)}
            event("accounts_not_fed", level=logging.WARNING, provider=provider, **first)
        return asked | {replace(_target(each), left=left): self._of_payer(each, left) for each in self._payers(known)}

    def _payers(self, known: Mapping[int, CloudAccount]) -> list[CloudAccount]:
        """Those that are asked for all of their sub-accounts at once: whether or not a project names any."""
        return [
            each
            for each in known.values()
            if each.status is not AccountStatus.DISABLED
            and isinstance(self.sources.get(each.connection_type), AccountsSource)
        ]

    def _of_payer(self, payer: CloudAccount, left: Period | None) -> Asked:
        """A query for each month of which any of its sub-accounts lacks something."""
        source, night = self.sources[payer.connection_type], self._today()
        works = self._joint_works(payer, source)
        months = {day.start.replace(day=1) for work in works for day in self.windows(work, left, night)}
        return Asked(payer.connection_type, len(months) * source.quota.units_per_query)

    def _joint_works(self, payer: CloudAccount, source: CostSource | AccountsSource) -> list[Work]:
        """Of all its sub-accounts; before the first is known, of itself."""
        itself = Account(payer.provider, payer.external_account_id, payer.id)
        return [Work(each, source, payer=payer) for each in self.charges.fed_by(payer.id) or [itself]]

    def asked_of(self, target: ScopeTarget) -> Asked:
        """What one target takes. Raises MessageError where it can't be asked."""
        works, _ = self.works(target.message(Envelope()))
        if target.project_id is None and (payer := works[0].payer):
            return self._of_payer(payer, target.left)
        windows = ((work.source.quota, self.windows(work, target.left, self._today())) for work in works)
        units = sum(len(each) * quota.units_per_query for quota, each in windows)
        return Asked(works[0].source.connection_type, units)

    def target_of(self, cloud_account: CloudAccount) -> ScopeTarget:
        """What a message names it by."""
        return _target(cloud_account)

    def days_since(self, day: date, last: date | None = None, targets: Sequence[ScopeTarget] = ()) -> Period:
        """The days from this one up to another, or today, to be read again, of targets or all. Raises MessageError."""
        today = self._today()
        last = today if last is None else last
        if late := [each for each in (day, last) if each > today]:
            raise MessageError(f"{late[0]} is in the future; name a day up to today, {today}")
        if last < day:
            raise MessageError(f"{last} is before {day}; the days are read from the first up to the last")
        works = [work for target in targets for work in self.works(target.message(Envelope()))[0]]
        sources = [work.source for work in works] or list(self.sources.values())
        oldest = months_before(today, max(source.months_of_history for source in sources))
        if day < oldest:
            raise MessageError(
                f"{day} is longer ago than costs can be asked for; the earliest day is {oldest}, and "
                "`budgets set --opening-balance` takes what was spent before"
            )
        return Period(day, last + timedelta(days=1))

    def turning_unasked(self) -> list[int]:
        """The active projects of which no cloud account is asked, and whose present period no check has begun yet."""
        return self.charges.turning_projects_unasked(self.sources, self._today())

    def _units(self, account: Account, source: CostSource | AccountsSource, left: Period | None) -> int:
        work, night = Work(account, source), self._today()
        totals = self.totals(work, night) if left is None else []
        return (len(self.windows(work, left, night)) + len(totals)) * source.quota.units_per_query

    # --- by a message ---

    def works(self, message: UpdateMessage) -> tuple[list[Work], UpdateMessage]:
        """What is to be read; and the message, which now says what it may leave out.

        Raises MessageError where the message can't be right.
        """
        if message.project_id is not None:
            return self._of_project(message, message.project_id), message
        if message.subscription_id is not None:
            return [self._of_subscription(message.subscription_id)], message
        return self._of_cloud_account(message)

    def _of_subscription(self, subscription_id: str) -> Work:
        account = self.charges.account(AZURE, subscription_id)
        if not account.active_projects:
            raise MessageError(f"subscription {subscription_id} has no active project; {PROJECTS}")
        return Work(account, self._source_of(account))

    def _of_cloud_account(self, message: UpdateMessage) -> tuple[list[Work], UpdateMessage]:
        found = self.cloud_accounts.get(message.cloud_account_id or 0)
        if found is None:
            raise MessageError(f"there is no cloud account {message.cloud_account_id}; {CLOUD_ACCOUNTS}")
        if message.provider not in (None, found.provider):
            raise MessageError(
                f"cloud account {found.id} is of {found.provider}, not of {message.provider}; "
                f"write {found.provider}, or leave Provider out"
            )
        source = self._source(found)
        if isinstance(source, AccountsSource):
            return self._joint_works(found, source), replace(message, provider=found.provider)
        works = [Work(account, source) for account in self.charges.accounts(found.id)]
        if not works:
            raise MessageError(f"cloud account {found.id} ({found.name}) has no active project; {PROJECTS}")
        return works, replace(message, provider=found.provider)

    def _of_project(self, message: UpdateMessage, project_id: int) -> list[Work]:
        project = self.charges.scopes_of(project_id)
        if project is None:
            raise MessageError(f"there is no project {project_id}; {PROJECTS} all")
        if not project.active:
            raise MessageError(f"project {project.acronym} is not active; load it with active = true first")
        rules = frozenset({project.rule} if project.rule else ())
        works, not_asked = [], [f"project {project.acronym} owns nothing that costs are read of"]
        for key, groups in _chosen_groups(message.resource_group, project).items():
            account = self.charges.account(*key)
            asked = tuple(each for each in groups if key_of_group(each) not in account.exported_groups)
            try:
                source = self._source_of(account) if asked else _not_asked(Fed(*key, key_of_group(groups[0])).name)
            except MessageError as error:
                not_asked.insert(0, str(error))
            else:
                only = replace(account, rules=rules, opened_from=None)
                # Where the provider has no groups, all of the account is read.
                payer = self._payer_of(account) if isinstance(source, AccountsSource) else None
                works.append(Work(only, source, asked) if source.has_groups else Work(account, source, payer=payer))
        if not works:
            raise MessageError(not_asked[0])
        return works

    # --- which source ---

    def _payer_of(self, account: Account) -> CloudAccount | None:
        return self.cloud_accounts.get(account.cloud_account_id or 0)

    def _source_of(self, account: Account) -> CostSource | AccountsSource:
        feeding = self.cloud_accounts.get(account.cloud_account_id or 0)
        if feeding is not None and feeding.connection_type == ConnectionType.COST_EXPORT:
            _not_asked(account.sub_account_id)
        if feeding is None:
            whose = f"{account.sub_account_id} of {account.provider}"
            raise MessageError(f"no cloud account feeds {whose}; {CLOUD_ACCOUNTS}")
        return self._source(feeding)

    def _source(self, cloud_account: CloudAccount) -> CostSource | AccountsSource:
        """What the cloud account is read by. Raises MessageError where it is not asked."""
        name = f"cloud account {cloud_account.id} ({cloud_account.name})"
        if cloud_account.status is AccountStatus.DISABLED:
            raise MessageError(f"{name} is disabled: name one that is read; {CLOUD_ACCOUNTS}")
        if cloud_account.connection_type == ConnectionType.COST_EXPORT:
            _not_asked(name)
        source = self.sources.get(cloud_account.connection_type)
        if source is None:
            raise MessageError(
                f"{name} is connected by {cloud_account.connection_type}, which is not asked for costs; "
                f"name one that is connected by {' or '.join(self.sources)}; {CLOUD_ACCOUNTS}"
            )
        return source

    # --- which days ---

    def windows(self, work: Work, only: Period | None, night: date) -> list[Period]:
        """What is to be asked for, oldest first: what is due on this night, or only these days."""
        account, history, lookback = work.account, work.source.months_of_history, self.lookback(work.source)
        if only is None:
            needed = windows.needed_from(account.rules, night, history, account.opened_from)
            due = windows.due_windows(account.known, needed, night, lookback, history)
        else:
            start = max(only.start, months_before(night, history))
            end = min(only.end, night + timedelta(days=1))
            due = [Period(start, end)] if start < end else []
        return [part for days in due for part in windows.split(days, work.source.longest_window)]

    def lookback(self, source: CostSource | AccountsSource) -> int:
        """How many days a night reads again of what this source tells."""
        return nights_lookback(self.lookback_days, source.month_closed_on)

    def totals(self, work: Work, night: date) -> list[Period]:
        """The days whose totals are to be compared with what is stored, where the source can tell those.

        It tells none of a sub-account without the groups that exports feed.
        """
        account = work.account
        if not isinstance(work.source, TotalsSource) or account.exported_groups:
            return []
        needed = windows.needed_from(account.rules, night, work.source.months_of_history, account.unclosed_from)
        return windows.due_totals(account.sub_account_id, account.known, needed, night, self.lookback(work.source))

    def _today(self) -> date:
        return self.clock().date()


def _not_asked(whose: str) -> NoReturn:
    raise ExportedError(f"the costs of {whose} come by cost exports, which {SCAN}")


def _target(cloud_account: CloudAccount) -> ScopeTarget:
    """An Azure subscription goes by the id that its people know."""
    if cloud_account.provider == AZURE and GUID.fullmatch(cloud_account.external_account_id):
        return ScopeTarget(subscription_id=cloud_account.external_account_id)
    return ScopeTarget(cloud_account_id=cloud_account.id, provider=cloud_account.provider)


def _chosen_groups(group: str | None, project: ProjectScopes) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """The project's groups by account: all of them, or the one that a message names."""
    if group is None:
        return project.groups
    wanted = key_of_group(group)
    for account, names in project.groups.items():
        for name in names:
            if key_of_group(name) == wanted:
                return {account: (name,)}
    owned = ", ".join(name for names in project.groups.values() for name in names if name)
    raise MessageError(f"resource group '{group}' is not project {project.acronym}'s; its groups are: {owned}")
