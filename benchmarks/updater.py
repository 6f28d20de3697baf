"""The updater: charge rows a second, from the HTTP answer to the commit, and the memory that takes.

One subscription of 140,000 rows. The real Updater, AzureCosts and SqlCharges read from the simulator in another
process. The floor, in a process like it: `json.loads` with Decimal of the same pages, and a plain bulk insert of the
same rows into a fresh database of the same kind. Both sides of a pair run one after the other, each in a new process.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks import fleet
from benchmarks.asking_azure import MONTHS, least_calls
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process, peak_memory_mb
from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import AzureCosts
from shared.adapters.costs.azure_answer import Answer
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, scopes
from shared.domain.charges import key_of_group
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.messages import UpdateMessage
from shared.pipeline.update import Updater
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery

ROUNDS = 5
SUBSCRIPTION = fleet.SUBSCRIPTIONS[0]
ROWS = fleet.ROWS_PER_SUBSCRIPTION
FIRST_AIM, SECOND_AIM, PAGES_AIM = 2.0, 1.0, 2.0
MOST_MEMORY_MB = 512
# As many as one instance takes at once: host.json's batchSize.
AT_ONCE = 4

NewDatabase = Callable[[], str]
"""Gives the URL of a fresh database with the projects loaded."""


@dataclass(frozen=True)
class Night:
    """One update: seconds in all, and of these the seconds spent until the HTTP answers were there."""

    seconds: float
    http_seconds: float

    @property
    def own_seconds(self) -> float:
        """From the HTTP answers to the commit."""
        return self.seconds - self.http_seconds


@dataclass(frozen=True)
class Updated:
    """One process' two nights; memory in MB."""

    first: Night
    second: Night
    memory: float


@dataclass(frozen=True)
class Plain:
    """One process' floor in seconds; memory in MB."""

    json_seconds: float
    insert_seconds: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.json_seconds + self.insert_seconds


@dataclass
class TimedCosts(AzureCosts):
    """AzureCosts that counts its answers and how long it waits for them, and can keep them."""

    http_seconds: float = 0.0
    pages: int = 0
    keep: bool = False
    bodies: list[bytes] = field(default_factory=list)

    def _page(self, url: str, body: bytes, subscription: str) -> bytes | None:
        begun = time.perf_counter()
        page = super()._page(url, body, subscription)
        self.http_seconds += time.perf_counter() - begun
        self.pages += 1
        if self.keep and page is not None:
            self.bodies.append(page)
        return page


def measure() -> Iterator[Figure]:
    """Both nights on each database there is, then memory."""
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as name, fleet.simulator("--no-quota") as azure:
        azure_url, folder = fleet.url_of(azure), Path(name)
        in_fresh_process(keep_pages, azure_url)  # the simulator makes its rows before anything is timed
        yield _pages(azure_url)
        for kind, databases in (("SQLite", _sqlite), ("PostgreSQL without fsync", _postgres)):
            with databases(folder) as new_database:
                if new_database is not None:
                    yield from _nights(kind, azure_url, new_database)
        yield _memory(azure_url, folder)


# --- the databases -------------------------------------------------------------------------------------------


@contextmanager
def _sqlite(folder: Path) -> Iterator[NewDatabase]:
    numbers = count()

    def new_database() -> str:
        url = f"sqlite:///{folder / f'warden-{next(numbers)}.db'}"
        in_fresh_process(fleet.load_projects, url, AT_ONCE)
        return url

    yield new_database


@contextmanager
def _postgres(_folder: Path) -> Iterator[NewDatabase | None]:
    """The tests' own server, which has fsync off, for both sides. None where its programs are not on this machine."""
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
            in_fresh_process(fleet.load_projects, server.url(name), 1)
            return server.url(name)

        try:
            yield new_database
        finally:
            server.stop()


# --- what is timed -------------------------------------------------------------------------------------------


def two_nights(database_url: str, azure_url: str) -> Updated:
    """The first night into an empty database, and a second one in which nothing has changed."""
    warden = fleet.app(database_url, azure_url)
    costs = _warm_costs(azure_url)
    costs.clock = warden.clock
    warden.costs = costs
    updater = warden.updater
    warden.charges.account(AZURE, SUBSCRIPTION)
    first, second = (_timed(updater, costs, night) for night in ("first", "second"))
    _check_stored(warden.database, subscriptions=1)
    return Updated(first, second, peak_memory_mb())


def _timed(updater: Updater, costs: TimedCosts, night: str) -> Night:
    costs.http_seconds, costs.pages, begun = 0.0, 0, time.perf_counter()
    updater.update(UpdateMessage(subscription_id=SUBSCRIPTION), night)
    seconds = time.perf_counter() - begun
    if costs.pages != least_calls():
        raise RuntimeError(f"the {night} night read {costs.pages} pages, and there are {least_calls()}")
    return Night(seconds, costs.http_seconds)


def _warm_costs(azure_url: str) -> TimedCosts:
    """A client that has loaded its SDK and holds a connection: neither is part of a night's work."""
    costs = TimedCosts(ArmClient(azure_url))
    day = fleet.SAMPLE_DAY
    costs.read(CostQuery(AZURE, SUBSCRIPTION, Period(day, day + timedelta(days=1)), ("none",)))
    return costs


def _check_stored(database: Database, subscriptions: int) -> None:
    rows = database.read(lambda connection: connection.scalar(select(func.count()).select_from(charges)))
    if rows != ROWS * subscriptions:
        raise RuntimeError(f"{rows} rows are stored, and there should be {ROWS * subscriptions}")


def plain_load(database_url: str, azure_url: str) -> Plain:
    """The floor: the pages through json.loads, and the same rows through SQLAlchemy into the same kind of database."""
    bodies = keep_pages(azure_url)
    begun = time.perf_counter()
    answers = [json.loads(body, parse_float=Decimal) for body in bodies]
    json_seconds = time.perf_counter() - begun
    database = Database(database_url)
    rows = _rows(answers, _scope_ids(database))
    del answers
    begun = time.perf_counter()
    with database.engine.begin() as connection:
        connection.execute(charges.insert(), rows)
    insert_seconds = time.perf_counter() - begun
    _check_stored(database, subscriptions=1)
    return Plain(json_seconds, insert_seconds)


def keep_pages(azure_url: str) -> list[bytes]:
    """The pages of a night's answers, as they came."""
    costs = _warm_costs(azure_url)
    costs.keep = True
    for month in MONTHS:
        costs.read(CostQuery(AZURE, SUBSCRIPTION, month))
    return costs.bodies


def pages_read(azure_url: str) -> tuple[float, float]:
    """Seconds from the bytes of a night's pages to charges that can be stored, and through json.loads alone."""
    costs, own, plain = _warm_costs(azure_url), 0.0, 0.0
    costs.keep = True
    for month in MONTHS:
        query, costs.bodies = CostQuery(AZURE, SUBSCRIPTION, month), []
        costs.read(query)
        begun = time.perf_counter()
        for body in costs.bodies:
            json.loads(body, parse_float=Decimal)
        plain += time.perf_counter() - begun
        begun = time.perf_counter()
        answer = Answer(query, fleet.NIGHT, costs.bodies)
        answer.charges()
        own += time.perf_counter() - begun
    return own, plain


def _scope_ids(database: Database) -> dict[str, int]:
    mine = select(scopes.c.group_key, scopes.c.id).where(scopes.c.sub_account_id == SUBSCRIPTION)
    return dict(database.read(lambda connection: connection.execute(mine).tuples().all()))


def _rows(answers: list[Any], scope_ids: dict[str, int]) -> list[dict[str, Any]]:
    """The rows as the database takes them, in the order in which they came. Not timed."""
    return [
        {
            "scope_id": scope_ids[key_of_group(group)],
            "charge_period_start": date(day // 10_000, day // 100 % 100, day % 100),
            "service_name": service,
            "billing_currency": currency,
            "billed_cost": stored(cost),
        }
        for answer in answers
        for cost, day, group, service, currency in _plain_order(answer["properties"])
    ]


def _plain_order(properties: dict[str, Any]) -> Iterator[tuple[Decimal, int, str, str, str]]:
    names = [column["name"] for column in properties["columns"]]
    places = [names.index(name) for name in ("Cost", "UsageDate", "ResourceGroupName", "ServiceName", "Currency")]
    for row in properties["rows"]:
        cost, day, group, service, currency = (row[place] for place in places)
        yield cost, day, group, service, currency


# --- the figures ---------------------------------------------------------------------------------------------


def _pages(azure_url: str) -> Figure:
    rounds = [in_fresh_process(pages_read, azure_url) for _ in range(ROUNDS)]
    own, plain = (statistics.median(each) for each in zip(*rounds, strict=True))
    return Figure(
        name="Updater: pages, from their bytes to charges",
        measured=own,
        unit="s",
        floor=plain,
        floor_is="json.loads of the same pages",
        most=PAGES_AIM * plain,
        detail={"rounds": rounds},
    )


def _nights(kind: str, azure_url: str, new_database: NewDatabase) -> Iterator[Figure]:
    updated, plain = [], []
    for _ in range(ROUNDS):
        updated.append(in_fresh_process(two_nights, new_database(), azure_url))
        plain.append(in_fresh_process(plain_load, new_database(), azure_url))
    floor = statistics.median(each.seconds for each in plain)
    detail = {"updated": [asdict(each) for each in updated], "plain": [asdict(each) for each in plain]}
    yield _night(f"Updater: first night, {kind}", [each.first for each in updated], floor, FIRST_AIM, detail)
    yield _night(f"Updater: unchanged night, {kind}", [each.second for each in updated], floor, SECOND_AIM, {})


def _night(name: str, nights: list[Night], floor: float, aim: float, detail: dict[str, Any]) -> Figure:
    own = statistics.median(night.own_seconds for night in nights)
    http = statistics.median(night.http_seconds for night in nights)
    in_all = statistics.median(night.seconds for night in nights)
    return Figure(
        name=name,
        measured=own,
        unit="s",
        floor=floor,
        floor_is="json.loads + bulk insert",
        most=aim * floor,
        note=f"{ROWS / own:,.0f} rows/s (the median of {len(nights)} updates with {ROWS:,} rows); asking the simulator "
        f"took another {http:.2f} s, which is not counted (with it {in_all:.2f} s, {ROWS / in_all:,.0f} rows/s)",
        detail=detail,
    )


def _memory(azure_url: str, folder: Path) -> Figure:
    idle = in_fresh_process(idle_app)
    with _sqlite(folder / "memory") as new_database:
        alone = in_fresh_process(two_nights, new_database(), azure_url).memory
        together = in_fresh_process(updates_at_once, new_database(), azure_url)
    return Figure(
        name=f"Updater: memory of the process, {AT_ONCE} subscriptions at once",
        measured=together,
        unit="MB",
        floor=idle,
        floor_is="the app loaded and idle",
        most=MOST_MEMORY_MB,
        note=f"one subscription: {alone:.0f} MB",
        detail={"alone": alone},
    )


def idle_app() -> float:
    """The memory of a process that has loaded the app and done nothing, in MB."""
    fleet.load_function_app()
    return peak_memory_mb()


def updates_at_once(database_url: str, azure_url: str) -> float:
    """The memory of a process that updates several subscriptions in threads, two nights each, in MB."""
    warden = fleet.app(database_url, azure_url)
    for night in ("first", "second"):
        threads = [
            threading.Thread(
                target=warden.updater.update, args=(UpdateMessage(subscription_id=name), f"{night}-{name}")
            )
            for name in fleet.SUBSCRIPTIONS[:AT_ONCE]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    _check_stored(warden.database, AT_ONCE)
    return peak_memory_mb()
