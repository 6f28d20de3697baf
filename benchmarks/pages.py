"""What pages ask of the database: a page of 10,000 projects, and where a project's money went in 13 months.

The floor of the first, in a process like it: the driver alone counts the projects and reads the same rows, sorted. That
of the second: the driver alone sums the project's charges by day, service and group, of which all of it could be made.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from sqlalchemy import insert, select

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, coverage, scopes
from shared.composition import Composition
from shared.domain.budgets import BudgetTerms
from shared.domain.coverage import Coverage
from shared.domain.periods import Period, PeriodKind, PeriodRule, month_of
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.messages import NotificationMessage
from shared.ports.azure import AZURE
from shared.ports.spending import By
from shared.ports.standings import Order, Wanted
from shared.services.costs import CostsWish
from shared.services.projects import PageWish
from shared.web.signin import PRINCIPAL

SIZES = (100, 1_000, 10_000)
AT_ONCE = 500
ROUNDS = 15
PAGE_AIM_MS, PROJECT_AIM_MS = 150, 100
# A hundred projects of which one is looked at.
PROJECTS, GROUPS, SERVICES = 100, 3, 8
NIGHT = fleet.NIGHT.date()
MONTHS_13 = Period(date(2025, 11, 1), NIGHT)
LOOKED_AT = 50
# Its year ends with the night, so that its page has all the days that it can.
YEARLY = PeriodRule(PeriodKind.ANNUAL, date(2025, 11, 21))
BREAKDOWNS = (By.DAY, By.SERVICE, By.SUB_ACCOUNT, By.MONTH)

FLOOR_OF_PAGE = (
    "SELECT count(*) FROM projects",
    "SELECT * FROM projects JOIN standings ON standings.project_id = projects.id "
    "ORDER BY currency, spent DESC, id LIMIT 100",
)
FLOOR_OF_PROJECT = (
    "SELECT charge_period_start, service_name, billing_currency, charges.scope_id, sum(billed_cost) "
    "FROM scope_owners JOIN charges ON charges.scope_id = scope_owners.scope_id "
    f"WHERE scope_owners.project_id = {LOOKED_AT} GROUP BY 1, 2, 3, 4",
)
VIEWER = base64.b64encode(
    json.dumps({"auth_typ": "aad", "role_typ": "roles", "claims": [{"typ": "roles", "val": "Warden.Viewer"}]}).encode()
).decode()
# What the host says of a call.
CONTEXT: Any = SimpleNamespace(
    invocation_id="1",
    function_name="Web",
    trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
)
POSTGRES_FILL = """
    INSERT INTO charges SELECT s.id, DATE '{first}' + d, 'Service ' || v, 'CAD', (s.id + d * 7 + v) %% 1000 / 10.0
    FROM scopes s, generate_series(0, {days} - 1) d, generate_series(1, {services}) v
"""

NewDatabase = Callable[[], str]
"""Gives the URL of a fresh database"""


def measure() -> Iterator[Figure]:
    """Both, on each database there is."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name:
        for kind, databases in (("SQLite", _sqlite(Path(name))), ("PostgreSQL without fsync", _postgres())):
            with databases as new_database:
                if new_database is not None:
                    yield from _pages(kind, new_database)
                    yield from _project(kind, new_database())


def _pages(kind: str, new_database: NewDatabase) -> Iterator[Figure]:
    taken = {}
    for size in SIZES:
        url = new_database()
        in_fresh_process(make_projects, url, size)
        by_order = in_fresh_process(time_pages, url, size)
        floor = in_fresh_process(time_floor, url, FLOOR_OF_PAGE)
        taken[size] = max(by_order.values())
        if size == SIZES[-1]:
            yield _answered(f"100 of {size:,} projects", "/finops/?sort=used", url, PAGE_AIM_MS, kind)
        yield Figure(
            name=f"Pages: 100 of {size:,} projects, in the order that takes longest, {kind}",
            measured=taken[size],
            unit="ms",
            floor=floor,
            floor_is="the driver alone counts the projects, and reads 100, sorted",
            most=PAGE_AIM_MS,
            note=f"the median of {ROUNDS}; by order {', '.join(f'{key} {each:.0f}' for key, each in by_order.items())}",
            detail={"by_order": by_order},
        )
    yield Figure(
        name=f"Pages: {SIZES[-1]:,} projects in {SIZES[0]:,}, {kind}",
        measured=taken[SIZES[-1]] / taken[SIZES[0]],
        unit="times",
        floor=SIZES[-1] / SIZES[0],
        floor_is="in proportion",
    )


def _project(kind: str, url: str) -> Iterator[Figure]:
    in_fresh_process(make_charges, url)
    yield _answered("a project", f"/finops/projects/{LOOKED_AT}", url, PROJECT_AIM_MS, kind)
    parts = in_fresh_process(time_project, url)
    floor = in_fresh_process(time_floor, url, FLOOR_OF_PROJECT)
    yield Figure(
        name=f"Pages: a project with its costs by day, service, sub-account and month, {kind}",
        measured=sum(parts.values()),
        unit="ms",
        floor=floor,
        floor_is="the driver alone sums them by day, service and group, once",
        most=PROJECT_AIM_MS,
        note=f"the median of {ROUNDS}; {', '.join(f'{key} {each:.0f}' for key, each in parts.items())}",
        detail={"parts": parts},
    )


def _answered(name: str, path: str, url: str, aim: float, kind: str) -> Figure:
    nothing, _ = in_fresh_process(time_answer, url, "/finops/nowhere", 404)
    taken, length = in_fresh_process(time_answer, url, path)
    return Figure(
        name=f"Pages: the page of {name}, from the request to its last byte, {kind}",
        measured=taken,
        unit="ms",
        floor=nothing,
        floor_is="the page that says that there is none",
        most=aim,
        note=f"the median of {ROUNDS}; {length / 1024:.0f} KB of HTML",
        detail={"bytes": length},
    )


# --- what is timed -------------------------------------------------------------------------------------------


def time_pages(database_url: str, size: int) -> dict[str, float]:
    """What the first page takes in each order, and that of a search: milliseconds."""
    service = fleet.app(database_url, "http://127.0.0.1:9").project_service
    wishes = {str(order): PageWish(order=order) for order in Order}
    wishes["search"] = PageWish(Wanted(search="p00", over=0, active=True), Order.USED)
    found = service.page()
    if (found.count, len(found.standings), found.unknown) != (size, 100, 0) or found.standings[0].gaps:
        raise RuntimeError(f"{found.count} projects, of which {found.unknown} are not known")
    return {name: _milliseconds(partial(service.page, wish)) for name, wish in wishes.items()}


def time_answer(database_url: str, path: str, status: int = 200) -> tuple[float, int]:
    """What the function `Web` takes for a page, for a viewer, once it is loaded: milliseconds; and the page's bytes."""
    from shared.web.app import made

    local = fleet.app(
        database_url, "http://127.0.0.1:9", WEBSITE_AUTH_ENABLED="True", WEB_URL="https://warden.example.com"
    )
    # As in Azure: who calls stands in a header. There, a SQLite file would be refused.
    warden = Composition(local.settings.model_copy(update={"azure_instance": "a" * 64}))
    warden.clock = local.clock
    handler, headers = made(warden), {"Host": "warden.example.com", PRINCIPAL: VIEWER}
    request = func.HttpRequest("GET", f"https://warden.example.com{path}", headers=headers, body=b"")

    async def answered() -> func.HttpResponse:
        return await handler(request, CONTEXT)

    def answer() -> func.HttpResponse:
        return asyncio.run(answered())

    found = answer()
    if found.status_code != status:
        raise RuntimeError(f"{path} was answered by {found.status_code}")
    return _milliseconds(answer), len(found.get_body())


def time_project(database_url: str) -> dict[str, float]:
    """What a project's page asks for, part by part: milliseconds."""
    warden = fleet.app(database_url, "http://127.0.0.1:9")
    wish = CostsWish(project=str(LOOKED_AT), first=str(MONTHS_13.start))
    if len(warden.cost_service.breakdown(wish, BREAKDOWNS)[By.DAY].spent) != MONTHS_13.days:
        raise RuntimeError("not every day has charges")
    view = warden.project_service.get(str(LOOKED_AT)).view
    return {
        "its budget": _milliseconds(lambda: warden.project_service.get(str(LOOKED_AT))),
        "its costs": _milliseconds(lambda: warden.cost_service.breakdown(wish, BREAKDOWNS, view)),
    }


def time_floor(database_url: str, statements: Sequence[str]) -> float:
    """What these statements take the driver alone, one after the other: milliseconds."""
    connection = Database(database_url).engine.raw_connection()

    def run() -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
            cursor.fetchall()
        cursor.close()

    return _milliseconds(run)


def _milliseconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return 1_000 * statistics.median(taken)


# --- what is stored ------------------------------------------------------------------------------------------


def make_projects(database_url: str, size: int) -> None:
    """So many projects, each with a charge, whose costs are all known, checked once."""
    warden = _load(database_url, size, groups=1, rule=fleet.MONTHLY)
    first = month_of(NIGHT).start
    with warden.database.engine.begin() as connection:
        scope_ids = connection.scalars(select(scopes.c.id)).all()
        cost = {"charge_period_start": first, "service_name": "Storage", "billing_currency": fleet.CURRENCY}
        rows = [cost | {"scope_id": each, "billed_cost": Decimal(each * 7_919 % 5_000)} for each in scope_ids]
        connection.execute(insert(charges), rows)
        read = Coverage(first, "COST_MANAGEMENT", first, NIGHT, fleet.NIGHT, NIGHT)
        known = asdict(read) | {"provider": AZURE}
        connection.execute(insert(coverage), [known | {"sub_account_id": each} for each in fleet.SUBSCRIPTIONS])
    for first_id in range(1, size + 1, AT_ONCE):
        ids = range(first_id, min(first_id + AT_ONCE, size + 1))
        warden.notifier.notify(NotificationMessage(tuple(ids)), f"benchmark-{first_id}")
    _analyse(warden.database)


def make_charges(database_url: str) -> None:
    """A hundred projects, each with 13 months of days of all services in all its groups."""
    database = _load(database_url, PROJECTS, GROUPS, YEARLY).database
    with database.engine.begin() as connection:
        if database.url.get_backend_name() == "sqlite":
            cursor = connection.connection.cursor()
            for scope_id in connection.scalars(select(scopes.c.id)).all():
                cursor.executemany("INSERT INTO charges VALUES (?, ?, ?, ?, ?)", _rows(scope_id))
        else:
            filled = POSTGRES_FILL.format(first=MONTHS_13.start, days=MONTHS_13.days, services=SERVICES)
            connection.exec_driver_sql(filled)
    _analyse(database)


def _load(database_url: str, size: int, groups: int, rule: PeriodRule) -> Composition:
    warden = fleet.app(database_url, "http://127.0.0.1:9")
    warden.upgrade_tables()
    warden.projects.load([_entry(number, groups, rule) for number in range(1, size + 1)], "benchmark", fleet.NIGHT)
    return warden


def _entry(number: int, groups: int, rule: PeriodRule) -> ProjectEntry:
    project = Project(
        id=number,
        acronym=f"P{number:05d}",
        name=f"Project {number}",
        language="en",
        contacts=(f"p{number:05d}@example.com",),
        active=True,
    )
    subscription = fleet.SUBSCRIPTIONS[number % len(fleet.SUBSCRIPTIONS)]
    owned = tuple(Scope(AZURE, subscription, f"rg-{number:05d}-{each}") for each in range(groups))
    # Far from any threshold: nobody is mailed.
    terms = BudgetTerms(Decimal(100_000 + number * 104_729 % 50_000), fleet.CURRENCY, rule)
    return ProjectEntry(project, owned, terms)


def _rows(scope_id: int) -> list[tuple[int, str, str, str, int]]:
    """What a group is charged, as SQLite holds it."""
    return [
        (
            scope_id,
            day.isoformat(),
            f"Service {service}",
            fleet.CURRENCY,
            (scope_id + place * 7 + service) % 1_000 * 10**9,
        )
        for place, day in enumerate(MONTHS_13.start + timedelta(days=each) for each in range(MONTHS_13.days))
        for service in range(1, SERVICES + 1)
    ]


def _analyse(database: Database) -> None:
    """As databases do by themselves in the night."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    database.close()


@contextmanager
def _sqlite(folder: Path) -> Iterator[NewDatabase]:
    numbers = count()
    yield lambda: f"sqlite:///{folder / f'warden-{next(numbers)}.db'}"


@contextmanager
def _postgres() -> Iterator[NewDatabase | None]:
    """The tests' own server, which has fsync off. None where its programs are not on this machine."""
    from tests.postgres import Postgres, programs

    if programs() is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as folder:
        server, numbers = Postgres(Path(folder)), count()
        server.start()

        def new_database() -> str:
            name = f"warden_{next(numbers)}"
            server.execute(f"CREATE DATABASE {name}")
            return server.url(name)

        try:
            yield new_database
        finally:
            server.stop()
