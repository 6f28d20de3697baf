"""Whether Azure does what the app needs of it: each subscription, each role."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from shared.domain.periods import Period
from shared.domain.projects import ProjectEntry
from shared.domain.texts import named
from shared.ports.azure import AZURE, AzureRights, AzureRole, ResourceGroup
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import AccountStatus, CloudAccountLedger
from shared.ports.costs import CostQuery, CostSource
from shared.ports.errors import GoneError, LaterError, NeverError
from shared.ports.projects import ProjectLedger
from shared.services.findings import Explain, Finding, found

T = TypeVar("T")
R = TypeVar("R")
# Each costs a query unit, and so many are answered at once; of all others only the roles are looked at.
MOST_ASKED = 10
AT_ONCE = 8
MOST_NAMED = 5
NO_PROJECT = "not asked: no active project is loaded yet (`python -m shared.cli projects load FILE.csv`)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the app has to be let do something: a subscription, or one of its groups, with whose it is."""

    subscription_id: str
    group: str | None
    acronyms: tuple[str, ...]

    def __str__(self) -> str:
        where = f"{self.group} of {self.subscription_id}" if self.group else self.subscription_id
        return f"{where} ({named(self.acronyms, MOST_NAMED)})" if self.acronyms else where


Groups = Mapping[str, Mapping[str, str]]
"""The acronyms of projects by their resource groups, by subscription"""
Answers = list[tuple[Place, list[str] | None]]
"""What may not be done in each place; None where that can't be seen"""


@dataclass(frozen=True, slots=True)
class Need:
    """A role that the settings need. by_group: it may also be given in each resource group by itself."""

    part: str
    role: AzureRole
    by_group: bool = False


@dataclass(frozen=True, slots=True)
class AzureCheck:
    """needs: in each subscription. action_group: what its role is needed in, and the role. endpoint: where Azure is."""

    projects: ProjectLedger
    cloud_accounts: CloudAccountLedger
    costs: CostSource
    rights: AzureRights
    endpoint: str
    needs: Sequence[Need]
    action_group: tuple[ResourceGroup, AzureRole] | None
    clock: Clock

    def findings(self, explain: Explain) -> Iterator[Finding]:
        """Each part by itself; raises as the database does, which knows the subscriptions."""
        active = [entry for entry in self.projects.entries() if entry.project.active]
        groups = _groups(active)
        azure = found("Azure", lambda: self._costs(groups) if active else NO_PROJECT, explain)
        yield azure
        for part, look in self._roles(groups):
            role = found(part, look, explain)
            # Who gets no token, say, is told so once.
            blamed = not role.ok and role.text in azure.text
            yield Finding(part, True, "not known", "Azure, which would tell it, is at fault") if blamed else role
        yield found("accounts", self._accounts, explain)

    def _roles(self, groups: Groups) -> Iterator[tuple[str, Callable[[], Finding]]]:
        for need in self.needs if groups else ():
            yield need.part, partial(self._role, need, groups)
        if self.action_group is not None:
            yield "action group", partial(self._action_group, *self.action_group)

    def _costs(self, groups: Groups) -> str:
        """Asks for one day of one group's costs in each subscription."""
        if not groups:
            return "not asked: no active project has anything there"
        asked = sorted(groups)[:MOST_ASKED]
        today = self.clock().date()
        day = Period(today - timedelta(days=1), today)

        def refusal(subscription: str) -> str | None:
            try:
                self.costs.read(CostQuery(AZURE, subscription, day, (next(iter(groups[subscription])),)))
            except (LaterError, NeverError) as error:
                return error.reason
            return None

        refused: dict[str, list[str]] = {}
        for each, reason in zip(asked, _at_once(refusal, asked), strict=True):
            if reason:
                refused.setdefault(reason, []).extend(_acronyms(groups[each]))
        if refused:
            told = [f"{named(acronyms, MOST_NAMED)}: {reason}" for reason, acronyms in refused.items()]
            raise NeverError(_some(told, "costs can't be read, of "))
        more = f"; {len(groups) - len(asked):,} more were not asked" if len(groups) > len(asked) else ""
        return f"{self.endpoint} tells the costs of {named(asked, MOST_NAMED)}{more}"

    def _role(self, need: Need, groups: Groups) -> Finding:
        answers = self._missing([Place(each, None, _acronyms(its)) for each, its in sorted(groups.items())], need.role)
        if need.by_group:
            within = [
                Place(place.subscription_id, group, (acronym,))
                for place, missing in answers
                for group, acronym in (groups[place.subscription_id].items() if missing else ())
            ]
            answers = [each for each in answers if not each[1]] + self._missing(within, need.role)
        return _told(need.part, need.role, answers)

    def _action_group(self, group: ResourceGroup, role: AzureRole) -> Finding:
        place = Place(group.subscription_id, group.name, ())
        try:
            return _told("action group", role, self._missing([place], role))
        except GoneError as error:
            advice = "LOCK_ACTION_GROUP_ID names it: correct that, or make the Action Group (docs/action-group.md)"
            raise NeverError(f"{error.reason} {advice}") from error

    def _missing(self, places: Sequence[Place], role: AzureRole) -> Answers:
        """Raises LaterError and NeverError."""

        def ask(place: Place) -> list[str] | None:
            return self.rights.missing(place.subscription_id, place.group, role.actions)

        return list(zip(places, _at_once(ask, places), strict=True))

    def _accounts(self) -> Finding:
        """What the last reading of each cloud account said."""
        accounts = [each for each in self.cloud_accounts.accounts() if each.status is not AccountStatus.DISABLED]
        failed = [f"{each.name}: {each.last_sync_error}" for each in accounts if each.status is AccountStatus.ERROR]
        read = sum(each.status is AccountStatus.ACTIVE for each in accounts)
        text = f"the last reading of {read:,} of {len(accounts):,} cloud accounts was without fault"
        return Finding("accounts", True, text, _some(failed, "that of others was not: ") if failed else None)


def _groups(active: Iterable[ProjectEntry]) -> Groups:
    groups: dict[str, dict[str, str]] = {}
    for entry in active:
        for scope in entry.scopes:
            if scope.provider == AZURE:
                groups.setdefault(scope.sub_account_id, {})[scope.resource_group] = entry.project.acronym
    return groups


def _at_once(ask: Callable[[T], R], these: Sequence[T]) -> list[R]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, these))


def _told(part: str, role: AzureRole, answers: Answers) -> Finding:
    """What Azure has said of a role. Raises NeverError where it is missing."""
    lacking = [str(place) for place, missing in answers if missing]
    unknown = [str(place) for place, missing in answers if missing is None]
    if lacking:
        actions = sorted({action for _, missing in answers for action in missing or ()})
        raise NeverError(
            f"the app's identity lacks the role {role.name} in {named(lacking, MOST_NAMED)}: it may not do "
            f"{', '.join(actions)} there"
        )
    text = f"the app's identity may do what {role.name} allows, in {len(answers) - len(unknown):,} of {len(answers):,}"
    warning = f"Azure does not tell it what it may do in {named(unknown, MOST_NAMED)}" if unknown else None
    return Finding(part, True, text, warning)


def _acronyms(groups: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(groups.values()))


def _some(told: Sequence[str], before: str) -> str:
    more = f"; and {len(told) - MOST_NAMED:,} more" if len(told) > MOST_NAMED else ""
    return before + "; ".join(told[:MOST_NAMED]) + more


def not_asked(finding: Finding) -> Finding:
    """What is said of Azure where the database was found so."""
    return Finding("Azure", True, "not asked", f"the {finding.part} is at fault, which knows the subscriptions")
