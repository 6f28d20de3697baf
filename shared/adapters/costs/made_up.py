"""Costs that nobody has: for a staging installation, and for trying things out. The same each time they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from shared.domain.charges import ChargeSet, key_of_group
from shared.domain.projects import ProjectEntry, sub_account_key
from shared.domain.quota import Quota
from shared.ports.azure import AZURE
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import ConnectionType
from shared.ports.costs import CostAnswer, CostQuery
from shared.ports.export_runs import closed_on

SERVICES = {"Virtual Machines": 55, "Storage": 30, "Bandwidth": 15}  # percents
# What a project has spent of its budget by its period's end, in percent: some reach 100 %, some do not.
LEAST, MOST = 40, 140
# A project without a budget.
A_DAY = Decimal(10)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class MadeUpCosts:
    """A CostSource in the place of Azure's: each project spends evenly, from 40 to 140 % of its budget a period."""

    entries: Callable[[], Sequence[ProjectEntry]]
    clock: Clock

    provider = AZURE
    connection_type = ConnectionType.COST_MANAGEMENT.value
    longest_window = timedelta(days=31)
    months_of_history = 13
    month_closed_on = closed_on(AZURE)
    has_groups = True
    quota = Quota(6000, 100_000, 10.0, 1000, 1000)

    def read(
        self,
        query: CostQuery,
        progress: bytes | None = None,  # noqa: ARG002 - no answer breaks off
        until: datetime | None = None,  # noqa: ARG002
    ) -> CostAnswer:
        """The charges up to yesterday of the groups that projects have, in one set a currency."""
        now, sets = self.clock(), dict[str, ChargeSet]()
        wanted = set(map(key_of_group, query.resource_groups))
        days = list(_days(query.window.start, min(query.window.end, now.date())))
        account = sub_account_key(query.provider, query.sub_account_id)
        for entry in self.entries():
            for provider, sub_account, group in entry.scopes_by_key:
                if (provider, sub_account) == (query.provider, account) and (not wanted or group in wanted):
                    self._spend(sets.setdefault(entry.terms.currency, ChargeSet()), entry, group, days)
        return CostAnswer(tuple(each.rounded() for each in sets.values()), now)

    def _spend(self, charges: ChargeSet, entry: ProjectEntry, group: str, days: list[date]) -> None:
        for day in days:
            whole = _on(entry, day) / len(entry.scopes_by_key)
            for service, share in SERVICES.items():
                charges.add(group, day, service, whole * share / 100, entry.terms.currency)


def _days(start: date, end: date) -> Iterator[date]:
    return (start + DAY * number for number in range((end - start).days))


def _on(entry: ProjectEntry, day: date) -> Decimal:
    period, amount = entry.terms.rule.period_at(day), entry.terms.amount
    if not amount or period is None:
        return A_DAY
    chance = int.from_bytes(sha256(str(entry.project.id).encode()).digest()[:2])
    return amount * (LEAST + chance % (MOST - LEAST)) / 100 / period.days
