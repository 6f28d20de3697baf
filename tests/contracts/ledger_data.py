"""Projects, readings and checks as the ledgers' tests need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from shared.adapters.database.allocations import SqlAllocations
from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.checks import SqlChecks
from shared.adapters.database.cloud_accounts import SqlCloudAccounts
from shared.adapters.database.engine import Database
from shared.adapters.database.projects import SqlProjects
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.spending import SqlSpending
from shared.adapters.database.standings import SqlStandings
from shared.adapters.database.tables import alerts, charges, mails, projects, run_scopes, scopes
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.charges import ChargeSet
from shared.domain.coverage import Reading, ReadPart
from shared.domain.periods import Period, PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.domain.thresholds import decide
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.charges import Stored
from shared.ports.checks import CheckResult, Judgement, ProjectUsage
from shared.ports.mails import NewMail, Topic
from shared.ports.runs import RunScope

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
THRESHOLDS = (25, 50, 80, 100)
LOOKBACK_DAYS = 35
SUB = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
OCTOBER = Period(date(2026, 10, 1), date(2026, 11, 1))
ANNUAL = PeriodRule(PeriodKind.ANNUAL, date(2000, 4, 1))
MONTHLY = PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))

ChargeRow = tuple[str, date, str, str]


def terms(
    amount: str | None = "1000",
    currency: str = "CAD",
    rule: PeriodRule = ANNUAL,
    rollover: Rollover = Rollover.RESET,
    thresholds: tuple[int, ...] | None = None,
) -> BudgetTerms:
    return BudgetTerms(None if amount is None else Decimal(amount), currency, rule, rollover, thresholds)


def entry(project_id: int, *groups: str, subscription_id: str = SUB, **changes: Any) -> ProjectEntry:
    """A project, by default with the group `rg-<id>`. changes: `terms`, and fields of its record."""
    owned = tuple(Scope(AZURE, subscription_id, group) for group in groups or (f"rg-{project_id}",))
    budget = changes.pop("terms", terms())
    project = Project(project_id, f"P{project_id}", f"Project {project_id}", "en", ("a@example.org",), active=True)
    return ProjectEntry(replace(project, **changes), owned, budget)


def november(day: int) -> date:
    return date(2026, 11, day)


def answer(rows: Iterable[ChargeRow], currency: str = "CAD") -> ChargeSet:
    charge_set = ChargeSet()
    for group, day, service, amount in rows:
        charge_set.add(group, day, service, Decimal(amount), currency)
    return charge_set.rounded()


def part(*rows: ChargeRow, window: Period = NOVEMBER, currency: str = "CAD", begun_at: datetime = NOW) -> ReadPart:
    """The answer for one window; one without rows is empty."""
    return ReadPart(window, (answer(rows, currency),) if rows else (), begun_at)


def reading(*rows: ChargeRow, now: datetime = NOW, **changes: Any) -> Reading:
    """A whole reading of November. `window`, `currency` and any field of Reading can be given; now: its time."""
    only = {name: changes.pop(name) for name in ("window", "currency") if name in changes}
    begun_at = changes.pop("begun_at", now)
    return Reading(
        **{
            "provider": AZURE,
            "sub_account_id": SUB,
            "group_keys": frozenset(),
            "parts": (part(*rows, begun_at=begun_at, **only),),
            "night": now.date(),
            "source": "COST_MANAGEMENT",
        }
        | changes
    )


def judge(usage: ProjectUsage) -> Judgement:
    amount = usage.budget.amount
    if amount is None or usage.period is None:
        return Judgement(None, problem="there is no budget for today")
    return Judgement(decide(THRESHOLDS, usage.told, usage.usage, amount, usage.last), THRESHOLDS)


def compose(
    usage: ProjectUsage, threshold: int, by_service: Mapping[str, Decimal], scopes: Sequence[Scope] = ()
) -> NewMail:
    assert usage.period is not None
    return NewMail(
        key=f"alert {usage.budget.id} {usage.period.start} {threshold}",
        template="alert",
        to=usage.project.contacts,
        context={
            "threshold": threshold,
            "by_day": {day.isoformat(): str(cost) for day, cost in usage.by_day.items()},
            "by_service": {service: str(cost) for service, cost in by_service.items()},
        },
        topic=Topic.ALERT,
        project_id=usage.project.id,
        budget_number=usage.budget.number,
        period_start=usage.period.start,
        threshold=threshold,
    )


@dataclass(frozen=True)
class Judges:
    """A Judge made of two functions."""

    judge: Callable[[ProjectUsage], Judgement]
    alert: Callable[[ProjectUsage, int, Mapping[str, Decimal], Sequence[Scope]], NewMail] = compose

    def warning(self, usage: ProjectUsage, by_service: Mapping[str, Decimal], scopes: Sequence[Scope]) -> NewMail:
        return replace(self.alert(usage, 0, by_service, scopes), topic=Topic.EARLY_WARNING, threshold=None)


@dataclass(frozen=True)
class Ledgers:
    """All the ledgers on one database, and what one sees of it from outside."""

    database: Database
    converts: bool = False

    @property
    def projects(self) -> SqlProjects:
        return SqlProjects(self.database, LOOKBACK_DAYS, self.converts)

    @property
    def charges(self) -> SqlCharges:
        return SqlCharges(self.database, LOOKBACK_DAYS)

    @property
    def spending(self) -> SqlSpending:
        return SqlSpending(self.database, LOOKBACK_DAYS)

    @property
    def standings(self) -> SqlStandings:
        return SqlStandings(self.database, LOOKBACK_DAYS)

    @property
    def allocations(self) -> SqlAllocations:
        return SqlAllocations(self.database)

    @property
    def cloud_accounts(self) -> SqlCloudAccounts:
        return SqlCloudAccounts(self.database)

    @property
    def checks(self) -> SqlChecks:
        return SqlChecks(self.database, "warden.example.org", LOOKBACK_DAYS, self.converts)

    @property
    def runs(self) -> SqlRuns:
        return SqlRuns(self.database)

    def load(self, *entries: ProjectEntry, now: datetime = NOW) -> None:
        self.projects.load(entries, "tester", now)

    def scope(self, run_key: str = "night", target: ScopeTarget | None = None) -> RunScope:
        return self.runs.scope_of(run_key, "timer", target or ScopeTarget(subscription_id=SUB), NOW)

    def store(self, what: Reading, now: datetime = NOW, run_key: str = "night") -> Stored:
        return self.charges.store(self.scope(run_key).id, [what], now)[0]

    def spend(self, *rows: ChargeRow, now: datetime = NOW, **changes: Any) -> Stored:
        return self.store(reading(*rows, now=now, **changes), now, run_key=now.isoformat())

    def check(self, *ids: int, now: datetime = NOW, judge: Any = judge, compose: Any = compose) -> CheckResult:
        return self.checks.check(ids, Judges(judge, compose), now)

    def stored_charges(self, sub_account_id: str = SUB) -> dict[tuple[str, date, str, str], Decimal]:
        source = select(scopes.c.group_key, *charges.c).join(charges, charges.c.scope_id == scopes.c.id)
        with self.database.engine.connect() as connection:
            rows = connection.execute(source.where(scopes.c.sub_account_id == sub_account_id)).all()
        return {
            (row.group_key, row.charge_period_start, row.service_name, row.billing_currency): row.billed_cost
            for row in rows
        }

    def amounts(self) -> dict[tuple[str, int], str]:
        """The stored amounts by group and day of the month, where there is one service and currency."""
        return {(key[0], key[1].day): f"{cost.normalize():f}" for key, cost in self.stored_charges().items()}

    def scope_state(self, run_key: str = "night") -> tuple[str, str | None]:
        with self.database.engine.connect() as connection:
            row = connection.execute(select(run_scopes).where(run_scopes.c.run_key == run_key)).one()
        return row.state, row.reason

    def alerts(self) -> list[tuple[int, str]]:
        """Threshold and outcome of every alert, in the order in which they were made."""
        with self.database.engine.connect() as connection:
            return [(row.threshold, row.outcome) for row in connection.execute(select(alerts).order_by(alerts.c.id))]

    def mails(self) -> list[Any]:
        with self.database.engine.connect() as connection:
            return list(connection.execute(select(mails).order_by(mails.c.id)))

    def mailed(self) -> list[int]:
        """The thresholds that are mailed, in order."""
        return [mail.context["threshold"] for mail in self.mails()]

    def forecast(self, project_id: int) -> tuple[Decimal, Decimal, Decimal, int, date] | None:
        """What is stored of a project's forecast: total, low, high, days of data, and when its budget is used up."""
        row = projects.c
        columns = (row.forecast_total, row.forecast_low, row.forecast_high, row.forecast_days, row.used_up_on)
        with self.database.engine.connect() as connection:
            found = connection.execute(select(*columns).where(row.id == project_id)).one()
        return None if found == (None,) * 5 else tuple(found)

    def due(self) -> list[int]:
        return self.charges.due_projects_of(ScopeTarget(subscription_id=SUB))
