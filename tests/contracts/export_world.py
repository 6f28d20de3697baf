"""Runs of exports as they are found, read and made charges, and what is stored then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.engine import Database
from shared.adapters.database.exports import SqlExports
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.tables import accounts, charges, group_coverage, scopes
from shared.domain.charges import CostMetric
from shared.domain.coverage import Coverage
from shared.domain.exports.feeding import Fed, Order
from shared.domain.exports.runs import Blob, Dataset, Export, ExportRun, Width, content_of
from shared.domain.exports.sums import Row, sums_of
from shared.domain.periods import Period, month_of
from shared.messages import ScopeTarget
from shared.ports.charges import Stored
from shared.ports.export_runs import Imported, NewRun, Ordered, RunPart, RunRecord
from tests.contracts.ledger_data import LOOKBACK_DAYS, reading

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SUB = "7f0c"
CONTAINER = 7
CLOSED_ON = {"azure": 5, "": 10}


def export(name: str = "daily", width: Width = Width.SUB_ACCOUNT, account: str = "", **changes: Any) -> Export:
    """An export of the sub-account, or of all of a billing account's."""
    where = f"/subscriptions/{SUB}" if width <= Width.SUB_ACCOUNT else "/billingAccounts/42"
    return Export("azure", f"{where}/exports/{name}", name, changes.pop("dataset", Dataset.ACTUAL), width, account)


def on(month: int, day: int) -> date:
    return date(2026, month, day)


def days(month: int, first: int, last: int) -> Period:
    return Period(on(month, first), on(month, last) + DAY)


def each_day(month: int, first: int, last: int, cost: str = "1", **changes: str) -> list[Row]:
    """A row for each of these days."""
    return [row(month, day, cost, **changes) for day in range(first, last + 1)]


def row(
    month: int, day: int, cost: str = "1", *, group: str = "rg", sub: str = SUB, service: str = "Storage",
    currency: str = "CAD", period: date | None = None,
) -> Row:  # fmt: skip
    return Row(sub, group, on(month, day), service, currency, period, Decimal(cost))


@dataclass
class World:
    """A database with what exports and the query have brought into it."""

    database: Database
    metric: CostMetric = CostMetric.ACTUAL
    found: int = field(default=0)

    @property
    def ledger(self) -> SqlExports:
        return SqlExports(self.database)

    @property
    def charges(self) -> SqlCharges:
        return SqlCharges(self.database, LOOKBACK_DAYS)

    def stage(
        self, of: Export, period: Period | None, rows: Iterable[Row], at: datetime | date | None = None, **run: Any
    ) -> RunRecord:
        """A run that is found and read, in as many parts as are asked for; its charges are still to be made."""
        self.found += 1
        whole, parts = list(rows), run.pop("parts", 1)
        submitted = at or (period.last_day if period else max(each.day for each in whole))
        submitted = submitted if isinstance(submitted, datetime) else datetime.combine(submitted, time(20), UTC)
        name = run.pop("name", f"run {self.found}")
        blobs = [Blob(1, f"{name} {number}") for number in range(parts)]
        content = content_of(name, [each.etag for each in blobs])
        this = ExportRun(of, name, f"costs/{name}/manifest.json", submitted, submitted, 0, period, content)
        listed = tuple(RunPart(number, f"{name}/{number}.csv", blob) for number, blob in enumerate(blobs))
        found_at, cloud_account = run.pop("found_at", submitted + MINUTE), run.pop("cloud_account_id", CONTAINER)
        new = NewRun(this, cloud_account, run.pop("container", "msexports"), listed, run.pop("waiting", None))
        _, record = self.ledger.register(new, found_at, **run)
        for number in range(parts):
            self.ledger.stage(
                record.run, number, sums_of(whole[number::parts], of), len(whole[number::parts]), (), found_at
            )
        return record

    def make(self, record: RunRecord, now: datetime | None = None) -> Imported:
        return self.ledger.make(record.id, self.metric, CLOSED_ON, now or record.found_at + MINUTE)

    def deliver(self, of: Export, period: Period | None, rows: Iterable[Row], **run: Any) -> Imported:
        """A run from being found to being charges."""
        return self.make(self.stage(of, period, rows, **run))

    def use(self, source: Export | str, at: datetime | date, sub: str | None = None, **rehearse: bool) -> Ordered:
        moment = at if isinstance(at, datetime) else datetime.combine(at, time(12), UTC)
        key = source if isinstance(source, str) else source.key
        order = Order(key, moment, Fed("azure", sub) if sub else None)
        return self.ledger.use(order, "tester", **rehearse)

    def asked(self, sub: str = SUB) -> None:
        """The sub-account is one that nights ask for, as projects name them."""
        from shared.adapters.database.cloud_accounts import SqlCloudAccounts

        SqlCloudAccounts(self.database).register("azure", "COST_MANAGEMENT", [sub])

    def query(
        self, rows: Iterable[Row], window: Period, at: datetime | date | None = None, sub: str = SUB, **changes: Any
    ) -> Stored:
        """A night reads these days of a month. changes: fields of the reading."""
        moment = at or window.end
        moment = moment if isinstance(moment, datetime) else datetime.combine(moment, time(2), UTC)
        scope = SqlRuns(self.database).scope_of(moment.isoformat(), "timer", ScopeTarget(subscription_id=sub), moment)
        plain = [(each.group, each.day, each.service, str(each.cost)) for each in rows]
        what = reading(*plain, window=window, sub_account_id=sub, night=moment.date(), now=moment, **changes)
        return self.charges.store(scope.id, [what], moment)[0]

    # --- what is stored ---

    def rows(self, sub: str | None = None) -> dict[tuple[str, str, date, str, str], Decimal]:
        """Every charge, by sub-account, group, day, service and currency."""
        source = select(scopes.c.sub_account_id, scopes.c.group_key, *charges.c)
        source = source.join(charges, charges.c.scope_id == scopes.c.id)
        found = self.database.read(lambda connection: connection.execute(source).all())
        return {
            (each.sub_account_id, each.group_key, each.charge_period_start, each.service_name, each.billing_currency):
            each.billed_cost
            for each in found
            if sub in (None, each.sub_account_id)
        }  # fmt: skip

    def by_day(self, sub: str = SUB, group: str | None = None) -> dict[date, Decimal]:
        found: dict[date, Decimal] = {}
        for (_, key, day, _, _), cost in self.rows(sub).items():
            if group in (None, key):
                found[day] = found.get(day, Decimal(0)) + cost
        return found

    def total(self, month: int, sub: str = SUB, group: str | None = None) -> Decimal:
        """What is stored of a month's days."""
        window = month_of(on(month, 1))
        return sum((cost for day, cost in self.by_day(sub, group).items() if day in window), Decimal(0))

    def coverage(self, month: int, sub: str = SUB) -> Coverage | None:
        return self.charges.account("azure", sub).known.get(on(month, 1))

    def group_coverage(self) -> list[tuple[str, date, str]]:
        found = select(group_coverage.c.group_key, group_coverage.c.month, group_coverage.c.state)
        rows = self.database.read(lambda connection: connection.execute(found.order_by(*found.selected_columns)).all())
        return [(row[0], row[1], str(row[2])) for row in rows]

    def feeding(self, sub: str = SUB) -> dict[str, list[str]]:
        """The names of what feeds a sub-account, by group; all of it by an empty one."""
        found: dict[str, list[str]] = {}
        for each in self.ledger.feeds():
            if each.fed.sub_account == sub:
                found.setdefault(each.fed.group_key or "", []).append(each.name)
        return found

    def cloud_account(self, sub: str = SUB) -> int | None:
        this = select(accounts.c.cloud_account_id).where(accounts.c.sub_account_id == sub)
        return self.database.read(lambda connection: connection.scalar(this))


def amounts(found: Mapping[date, Decimal]) -> dict[int, str]:
    """By the day of the month, as digits."""
    return {day.day: f"{cost.normalize():f}" for day, cost in sorted(found.items())}
