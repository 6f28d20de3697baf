"""The fleet that is measured: 20 subscriptions of 500 projects, each a resource group that spends on 8 services.

For growth there are more of them, or fewer.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from localdev.azure_sim import group_names, made_up
from localdev.processes import Program
from shared import settings
from shared.composition import Composition
from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.ports.azure import AZURE

ROOT = Path(__file__).resolve().parents[1]

MOST_SUBSCRIPTIONS = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(80))
SUBSCRIPTIONS = MOST_SUBSCRIPTIONS[:20]
GROUPS, SERVICES, DAYS = 500, 8, 35
ROWS_PER_GROUP = SERVICES * DAYS
ROWS_PER_SUBSCRIPTION = GROUPS * ROWS_PER_GROUP
SEED, CURRENCY = 7, "CAD"
# The look-back window of this night is the 35 days up to it: 17 October to 20 November.
NIGHT = datetime(2026, 11, 20, 2, tzinfo=UTC)
NEXT_NIGHT = datetime(2026, 11, 21, 2, tzinfo=UTC)
# An ordinary day; budgets are cut to what it costs.
SAMPLE_DAY = date(2026, 11, 10)
# One project in so many has used some 60 % of its month's budget, the others some 10 %.
ALERTING_ONE_IN = 10
# What the app has no default for.
LEAST_SETTINGS = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}
DEFAULTS = settings.load(LEAST_SETTINGS)
MONTHLY = PeriodRule(PeriodKind.MONTHLY, date(2000, 1, 1))


def simulator(*flags: str, subscriptions: Sequence[str] = SUBSCRIPTIONS, groups: int = GROUPS) -> Program:
    """The simulator with the fleet's charges, in a process of its own; `url_of` gives its address."""
    arguments = [sys.executable, "-m", "localdev.azure_sim", "--plain", "--seed", str(SEED), "--currency", CURRENCY]
    arguments += ["--subscriptions", ",".join(subscriptions), "--groups", str(groups), "--services", str(SERVICES)]
    arguments += ["--days", str(DAYS), "--end-day", NIGHT.date().isoformat(), *flags]
    return Program(arguments, name="simulator", ready="listening on", folder=ROOT)


def url_of(running: Program) -> str:
    """Where a running simulator listens."""
    return running.wait_for("listening on").split()[-1]


def app(database_url: str, azure_url: str, start: datetime = NIGHT, **others: str) -> Composition:
    """The app on this database and this Azure, with a clock that starts at `start`, and other settings."""
    values = LEAST_SETTINGS | {
        "DATABASE_URL": database_url,
        "AZURE_MANAGEMENT_ENDPOINT": azure_url,
        "LOCAL_CLOCK_START": start.isoformat(),
        **others,
    }
    return Composition(settings.load(values))


def load_function_app() -> None:
    """Imports the app with the least settings there are, as the worker does."""
    os.environ.update(LEAST_SETTINGS)
    importlib.import_module("function_app")


def load_projects(
    database_url: str,
    subscriptions: int = len(SUBSCRIPTIONS),
    groups: int = GROUPS,
    besides: Callable[[int], tuple[Scope, ...]] = lambda _number: (),
) -> None:
    """Makes the database and loads the projects of the first so many subscriptions, of so many groups each.

    besides: what each has in other clouds, by its number from 0 on.
    """
    warden = app(database_url, "http://127.0.0.1:9")
    warden.upgrade_tables()
    entries = [entry for number in range(subscriptions) for entry in _entries(number, groups)]
    entries = [replace(each, scopes=(*each.scopes, *besides(number))) for number, each in enumerate(entries)]
    warden.projects.load(entries, "benchmark", NIGHT)
    warden.database.close()


def _entries(subscription_number: int, groups: int) -> list[ProjectEntry]:
    per_day = _spent_on_sample_day(MOST_SUBSCRIPTIONS[subscription_number], groups)
    return [
        _entry(subscription_number, number, group, per_day[group])
        for number, group in enumerate(group_names(subscription_number, groups))
    ]


def _entry(subscription_number: int, number: int, group: str, per_day: Decimal) -> ProjectEntry:
    alerting = number % ALERTING_ONE_IN == 0
    month_so_far = per_day * NIGHT.day
    amount = month_so_far / Decimal("0.6") if alerting else month_so_far * 10
    project = Project(
        id=subscription_number * GROUPS + number + 1,
        acronym=f"S{subscription_number:02d}G{number:04d}",
        name=f"Project {number} of subscription {subscription_number}",
        language=("en", "fr", None)[number % 3],
        contacts=(f"s{subscription_number:02d}g{number:04d}@example.com",),
        active=True,
    )
    terms = BudgetTerms(amount.quantize(Decimal("0.01")), CURRENCY, MONTHLY)
    return ProjectEntry(project, (Scope(AZURE, MOST_SUBSCRIPTIONS[subscription_number], group),), terms)


def _spent_on_sample_day(subscription: str, groups: int) -> dict[str, Decimal]:
    """What each group of the subscription spent on the sample day: at least a cent, and credits left out."""
    book = made_up(SEED, MOST_SUBSCRIPTIONS, groups, SERVICES, DAYS, NIGHT.date(), CURRENCY)
    spent: dict[str, Decimal] = {}
    for group, _service, _currency, amount in book.rows(subscription, SAMPLE_DAY):
        spent[group] = spent.get(group, Decimal("0.01")) + max(Decimal(amount), Decimal(0))
    return spent
