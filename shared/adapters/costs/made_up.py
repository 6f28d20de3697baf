"""Costs that nobody has: for a staging installation, and for trying things out. The same each time they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from shared.adapters.costs.aws_answer import has_meters
from shared.domain.aws import AWS
from shared.domain.charges import ChargeSet, key_of_group, metered_columns
from shared.domain.periods import Period
from shared.domain.projects import ProjectEntry, sub_account_key
from shared.domain.quota import Quota
from shared.ports.azure import AZURE
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccount, ConnectionType
from shared.ports.costs import AccountsAnswer, AccountsQuery, CostAnswer, CostQuery, MayCall, SubAccount, Tried
from shared.ports.errors import NoAnswerError
from shared.ports.export_runs import closed_on

SERVICES = {  # in percents
    AZURE: {"Virtual Machines": 55, "Storage": 30, "Bandwidth": 15},
    AWS: {"Amazon Elastic Compute Cloud - Compute": 55, "Amazon Simple Storage Service": 30, "AWS Data Transfer": 15},
}
# Where they are told, of each service, in percents.
METERS = {"Made-up usage": 75, "Made-up requests": 25}
# What a project has spent of its budget by its period's end, in percent: some reach 100 %, some do not.
LEAST, MOST = 40, 140
# A project without a budget, and an account that is no project's.
A_DAY = Decimal(10)
DAY = timedelta(days=1)
LONGEST_WINDOW = timedelta(days=31)
QUOTA = Quota(6000, 100_000, 10.0, 1000, 1000)
# Of an organization, besides its payer and those that projects own.
NOBODYS = 2


@dataclass(frozen=True)
class MadeUpCosts:
    """A CostSource in the place of Azure's: each project spends evenly, from 40 to 140 % of its budget a period."""

    entries: Callable[[], Sequence[ProjectEntry]]
    clock: Clock

    provider = AZURE
    connection_type = ConnectionType.COST_MANAGEMENT.value
    longest_window = LONGEST_WINDOW
    months_of_history = 13
    month_closed_on = closed_on(AZURE)
    has_groups = True
    quota = QUOTA

    def read(
        self,
        query: CostQuery,
        progress: bytes | None = None,  # noqa: ARG002 - no answer breaks off
        until: datetime | None = None,  # noqa: ARG002
    ) -> CostAnswer:
        """The charges up to yesterday of the groups that projects have, in one set a currency. Raises NoAnswerError."""
        now, sets = self.clock(), dict[str, ChargeSet]()
        days = _days(query.window, now.date())
        wanted = set(map(key_of_group, query.resource_groups))
        account = sub_account_key(query.provider, query.sub_account_id)
        for entry in self.entries():
            for provider, sub_account, group in entry.scopes_by_key:
                if (provider, sub_account) == (query.provider, account) and (not wanted or group in wanted):
                    _spend(sets, entry.terms.currency, provider, group, _shares(entry, days))
        return CostAnswer(_rounded(sets), now)


@dataclass(frozen=True)
class MadeUpPayers:
    """An AccountsSource in the place of AWS's, which costs nothing: nobody is asked, whoever may be signed in as.

    Projects' accounts spend as `MadeUpCosts` has them do. An organization has these, its payer, and some of nobody's.
    """

    entries: Callable[[], Sequence[ProjectEntry]]
    clock: Clock

    provider = AWS
    connection_type = ConnectionType.COST_EXPLORER.value
    longest_window = LONGEST_WINDOW
    months_of_history = 13
    month_closed_on = closed_on(AWS)
    has_groups = False
    quota = QUOTA
    price, price_currency = Decimal(0), "USD"

    def read_all(
        self,
        query: AccountsQuery,
        may_call: MayCall,  # noqa: ARG002 - no call is paid for
        progress: bytes | None = None,  # noqa: ARG002 - no answer breaks off
        until: datetime | None = None,  # noqa: ARG002
    ) -> AccountsAnswer:
        """The charges up to yesterday, in one set a currency and account. Raises NoAnswerError."""
        now, charges = self.clock(), dict[str, dict[str, ChargeSet]]()
        days, owners = _days(query.window, now.date()), self._owners()
        names = {each.id: each.name for each in self._read_by(query.cloud_account)}
        for account in names:
            sets, owner = charges.setdefault(account, {}), owners.get(account)
            if owner:
                _spend(sets, owner.terms.currency, AWS, "", _shares(owner, days))
            else:
                _spend(sets, self.price_currency, AWS, "", dict.fromkeys(days, A_DAY))
        return AccountsAnswer(
            {account: (_metered if has_meters(query) else _rounded)(sets) for account, sets in charges.items() if sets},
            now,
            _estimated_from(query.window, now.date()),
            names,
        )

    def sub_accounts(self, cloud_account: CloudAccount) -> Mapping[str, SubAccount] | None:
        """What it reads, by id; None for one account alone."""
        if not cloud_account.is_organization:
            return None
        return {each.id: each for each in self._read_by(cloud_account)}

    def test(self, cloud_account: CloudAccount, may_call: MayCall) -> Tried:  # noqa: ARG002 - nobody is asked
        """Says that all is made up."""
        return Tried(None, True, ("Its costs are made up (USE_MADE_UP_COSTS): AWS was not asked.",))

    def _owners(self) -> dict[str, ProjectEntry]:
        """Whose an AWS account is, by its id."""
        scopes = ((key, entry) for entry in self.entries() for key in entry.scopes_by_key)
        return {account: entry for (provider, account, _), entry in scopes if provider == AWS}

    def _read_by(self, cloud_account: CloudAccount) -> Iterator[SubAccount]:
        payer = cloud_account.external_account_id
        names = {payer: cloud_account.name}
        if cloud_account.is_organization:
            names |= {account: entry.project.name for account, entry in sorted(self._owners().items())}
            names |= {_nobodys(payer, number): f"Made-up account {number}" for number in range(1, NOBODYS + 1)}
        if cloud_account.reads is not None and not cloud_account.organizational_unit:
            names = {account: names.get(account, f"Account {account}") for account in cloud_account.reads}
        return (SubAccount(account, name, "ACTIVE") for account, name in names.items())


def _days(window: Period, today: date) -> list[date]:
    """The days of a window up to yesterday. Raises NoAnswerError where it is longer than may be asked for."""
    if window.days > LONGEST_WINDOW.days:
        raise NoAnswerError(
            f"Made-up costs are told of {LONGEST_WINDOW.days} days at most; {window.days} were asked for."
        )
    return [window.start + DAY * number for number in range((min(window.end, today) - window.start).days)]


def _shares(entry: ProjectEntry, days: Sequence[date]) -> dict[date, Decimal]:
    """What one of a project's scopes spends, by day."""
    return {day: _on(entry, day) / len(entry.scopes_by_key) for day in days}


def _on(entry: ProjectEntry, day: date) -> Decimal:
    period, amount = entry.terms.rule.period_at(day), entry.terms.amount
    if not amount or period is None:
        return A_DAY
    return amount * (LEAST + _chance(str(entry.project.id)) % (MOST - LEAST)) / 100 / period.days


def _spend(sets: dict[str, ChargeSet], currency: str, provider: str, group: str, spent: Mapping[date, Decimal]) -> None:
    for day, whole in spent.items():
        for service, share in SERVICES[provider].items():
            sets.setdefault(currency, ChargeSet()).add(group, day, service, whole * share / 100, currency)


def _rounded(sets: Mapping[str, ChargeSet]) -> tuple[ChargeSet, ...]:
    return tuple(each.rounded() for each in sets.values())


def _metered(sets: Mapping[str, ChargeSet]) -> tuple[ChargeSet, ...]:
    """Each charge by its meters, which come to as much."""
    return tuple(_by_meter(currency, each) for currency, each in sets.items())


def _by_meter(currency: str, charges: ChargeSet) -> ChargeSet:
    days, services, meters, costs = list[date](), list[str](), list[str](), list[Decimal]()
    for (_, day, service), cost in charges.amounts.items():
        for meter, share in METERS.items():
            days.append(day)
            services.append(service)
            meters.append(meter)
            costs.append(cost * share / 100)
    return metered_columns(days, services, meters, costs, currency)


def _estimated_from(window: Period, today: date) -> date | None:
    """As AWS has it: the present month may still change."""
    first = max(window.start, today.replace(day=1))
    return first if first < min(window.end, today) else None


def _nobodys(payer: str, number: int) -> str:
    """The id of an account of nobody's."""
    return f"{_chance(f'{payer}/{number}', 8) % 10**12:012}"


def _chance(text: str, length: int = 2) -> int:
    """A number of so many bytes, the same for the same text."""
    return int.from_bytes(sha256(text.encode()).digest()[:length])
