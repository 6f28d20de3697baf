"""A night over two clouds: 10,000 projects in Azure, and 2,000 AWS accounts under 20 organizations, which projects own.

Each fifth project has an AWS account beside its resource group. And one organization alone, read and stored by the
updater; its floor, in a process like it: the same pages by the same client, and a plain bulk insert of their rows.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks import fleet
from benchmarks.figure import Figure
from benchmarks.fresh import in_fresh_process
from benchmarks.nights import UPDATER, Night, installation, night
from benchmarks.whole_night import MOST_SECONDS, PROJECTS, SUBSCRIPTIONS, breakdown
from localdev.aws_sim import AwsAccount, AwsBook, AwsCharge, AwsSimulator, Organization
from shared.adapters.costs.aws import AwsCosts, request_of
from shared.adapters.costs.aws_access import AwsAccess
from shared.adapters.database.engine import Database
from shared.adapters.database.scope_rows import with_scopes
from shared.adapters.database.tables import charges
from shared.composition import Composition
from shared.domain import quota, windows
from shared.domain.aws import AWS
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.messages import UpdateMessage
from shared.ports.cloud_accounts import CloudAccount
from shared.ports.costs import AccountsQuery
from shared.services.aws_accounts import Wanted

ORGANIZATIONS, MEMBERS, SERVICES = 20, 100, 8
ACCOUNTS = ORGANIZATIONS * MEMBERS
# The window of the night: AWS's months are read until the 10th of the next, whatever COST_LOOKBACK_DAYS says.
DAYS = 40
ROWS_OF_ONE = MEMBERS * SERVICES * DAYS
WINDOWS = (
    Period(date(2026, 10, 12), date(2026, 11, 1)),
    Period(date(2026, 11, 1), date(2026, 11, 21)),
)
ROWS_A_PAGE = 5000
LEAST_PAGES = sum(math.ceil(MEMBERS * SERVICES * each.days / ROWS_A_PAGE) for each in WINDOWS)
PRICE = Decimal("0.01")
ROUNDS = 5
# Of the floor; the night after writes nothing, and compares.
FIRST_AIM, SECOND_AIM = 2.0, 1.5
USER, ACCESS_KEY, SECRET = "arn:aws:iam::100000000001:user/warden", "AKIAWARDEN0000000001", "of-a-benchmark/0000000000"
EXTERNAL_ID = "warden-of-the-benchmark"


class MadeUpBook(AwsBook):
    """What every account spends on every day: some cents for each service, made when they are asked for."""

    def on(self, account: str, day: date) -> list[AwsCharge]:
        """Nothing after the fleet's first night, so that the next one finds what is stored."""
        if day > fleet.NIGHT.date():
            return []
        cents = (int(account[-6:]) * 31 + day.toordinal() * 17) % 97
        return [
            AwsCharge(account, f"Amazon service {number}", day, Decimal(cents + number).scaleb(-5), fleet.CURRENCY)
            for number in range(SERVICES)
        ]


def measure() -> Iterator[Figure]:
    """The first night and the next one, in which no charge has changed; then one organization alone."""
    with _aws() as aws, _sign_in():
        with installation(fleet.SUBSCRIPTIONS, fleet.GROUPS, AWS_ENDPOINT=aws.url) as environment:
            in_fresh_process(add_organizations, environment["DATABASE_URL"], aws.url, ORGANIZATIONS)
            in_fresh_process(share_accounts, environment["DATABASE_URL"])
            for name, clock in (("first night", fleet.NIGHT), ("unchanged night", fleet.NEXT_NIGHT)):
                aws.reset()
                found = night(environment, clock, SUBSCRIPTIONS, others=ORGANIZATIONS * ROWS_OF_ONE)
                yield _figure(name, clock, found)
                yield _paid(name, aws.stats()["paid_pages"], found)
        yield from one_organization(aws.url)


@contextmanager
def _aws() -> Iterator[AwsSimulator]:
    with AwsSimulator(MadeUpBook(), today=fleet.NIGHT.date, rows_a_page=ROWS_A_PAGE) as aws:
        aws.iam.add_user(USER, ACCESS_KEY, SECRET)
        for number in range(ORGANIZATIONS):
            payer, *members = _ids(number)
            accounts = {each: AwsAccount(each, f"Account {each[-6:]}") for each in (payer, *members)}
            aws.add_organization(Organization(payer, accounts))
            aws.iam.add_role(_role(payer), trusts=[USER], external_id=EXTERNAL_ID)
        yield aws


@contextmanager
def _sign_in() -> Iterator[None]:
    """For a developer's machine, by the environment's keys."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _ids(organization: int) -> list[str]:
    """Its accounts, the payer first."""
    return [f"6{organization:05}{number:06}" for number in range(MEMBERS)]


def _role(payer: str) -> str:
    return f"arn:aws:iam::{payer}:role/costs"


def _app(database_url: str, aws_url: str, clock: datetime = fleet.NIGHT) -> Composition:
    """The app with AWS alone, and without queues, where it would note what it writes."""
    warden = fleet.app(database_url, "http://127.0.0.1:9", clock, AWS_ENDPOINT=aws_url)
    warden.database = Database(database_url)
    return warden


def add_organizations(database_url: str, aws_url: str, number: int) -> None:
    """Adds so many payers."""
    warden = _app(database_url, aws_url)
    warden.upgrade_tables()
    for each in range(number):
        payer, *_ = _ids(each)
        wanted = Wanted(f"organization {each}", _role(payer), external_id=EXTERNAL_ID, is_organization=True)
        warden.aws_account_service.add(wanted)
    warden.database.close()


def share_accounts(database_url: str) -> None:
    """Gives each fifth project of the fleet an AWS account beside its group."""
    accounts = [each for number in range(ORGANIZATIONS) for each in _ids(number)]
    each_nth = PROJECTS // ACCOUNTS
    fleet.load_projects(
        database_url,
        besides=lambda number: (Scope(AWS, accounts[number // each_nth]),) if number % each_nth == 0 else (),
    )


# --- the night -----------------------------------------------------------------------------------------------


def _figure(name: str, clock: datetime, found: Night) -> Figure:
    if found.failed:
        raise RuntimeError("the night had failures:\n" + "\n".join(found.failed))
    return Figure(
        name=f"Two clouds: {name}, {PROJECTS:,} projects and {ACCOUNTS:,} AWS accounts",
        measured=found.seconds,
        unit="s",
        floor=_last_may_begin(clock),
        floor_is="reckoned: when the sources' pace lets the last query begin",
        most=MOST_SECONDS,
        note=f"{found.mails:,} mails; {breakdown(found)}",
        detail=asdict(found),
    )


def _last_may_begin(clock: datetime) -> float:
    """The later of both sources: each has a pace of its own."""
    costs, aws = Composition(fleet.DEFAULTS).costs, AwsCosts
    back = windows.due_windows({}, None, clock.date(), fleet.DEFAULTS.lookback_days, costs.months_of_history)
    azure = quota.delays([len(back)] * SUBSCRIPTIONS, costs.quota)[-1]
    return max(azure, quota.delays([len(WINDOWS)] * ORGANIZATIONS, aws.quota)[-1])


def _paid(name: str, pages: int, found: Night) -> Figure:
    return Figure(
        name=f"Two clouds: {name}, paid calls to AWS",
        measured=pages,
        unit="calls",
        floor=ORGANIZATIONS * LEAST_PAGES,
        floor_is=f"as many pages of {ROWS_A_PAGE:,} rows as hold the answers",
        most=ORGANIZATIONS * LEAST_PAGES,
        note=f"{PRICE * pages} USD; {pages / ORGANIZATIONS:g} of an organization's {fleet.DEFAULTS.aws_calls_per_day} "
        f"of a day; the host's memory {found.memory:.0f} MB",
        detail={"messages": found.stages[UPDATER].messages},
    )


# --- one organization ----------------------------------------------------------------------------------------


def one_organization(aws_url: str) -> Iterator[Figure]:
    """On each database there is."""
    for kind, databases in (("SQLite", _sqlite), ("PostgreSQL without fsync", _postgres)):
        with databases() as new_database:
            if new_database is not None:
                yield from _of_one(kind, aws_url, new_database)


def _of_one(kind: str, aws_url: str, new_database: Callable[[], str]) -> Iterator[Figure]:
    # The simulator makes its rows before anything is timed.
    in_fresh_process(plain_load, new_database(), aws_url)
    updated, plain = [], []
    for _ in range(ROUNDS):
        updated.append(in_fresh_process(two_nights, new_database(), aws_url))
        plain.append(in_fresh_process(plain_load, new_database(), aws_url))
    floor = statistics.median(plain)
    for name, number, aim in (("first night", 0, FIRST_AIM), ("unchanged night", 1, SECOND_AIM)):
        measured = statistics.median(each[number] for each in updated)
        yield Figure(
            name=f"Two clouds: an organization of {MEMBERS} accounts, {name}, {kind}",
            measured=measured,
            unit="s",
            floor=floor,
            floor_is="the same pages, and a bulk insert of their rows",
            most=aim * floor,
            note=f"{ROWS_OF_ONE:,} rows in {LEAST_PAGES} pages, {ROWS_OF_ONE / measured:,.0f} rows/s, the simulator's "
            f"answers in it; the median of {ROUNDS}",
            detail={"updated": updated, "plain": plain},
        )


@contextmanager
def _sqlite() -> Iterator[Callable[[], str]]:
    with tempfile.TemporaryDirectory(prefix="warden-bench-") as folder:
        yield lambda: f"sqlite:///{tempfile.mkdtemp(dir=folder)}/warden.db"


@contextmanager
def _postgres() -> Iterator[Callable[[], str] | None]:
    """The tests' own server, which has fsync off, for both sides. None where its programs are not on this machine."""
    from tests.postgres import Postgres, programs

    if programs() is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as folder:
        server, names = Postgres(Path(folder)), (f"warden_{number}" for number in range(100))
        server.start()

        def new_database() -> str:
            name = next(names)
            server.execute(f"CREATE DATABASE {name}")
            return server.url(name)

        try:
            yield new_database
        finally:
            server.stop()


def two_nights(database_url: str, aws_url: str) -> tuple[float, float]:
    """Seconds of the first night into an empty database, and of a second one in which nothing has changed."""
    add_organizations(database_url, aws_url, 1)
    return _update(database_url, aws_url, fleet.NIGHT), _update(database_url, aws_url, fleet.NEXT_NIGHT)


def _update(database_url: str, aws_url: str, clock: datetime) -> float:
    warden = _app(database_url, aws_url, clock)
    account = _signed_in(warden)
    begun = time.perf_counter()
    sent = warden.updater.update(UpdateMessage(cloud_account_id=account.id), f"{clock:%d}")
    seconds = time.perf_counter() - begun
    if sent:
        raise RuntimeError(f"the night is not complete: {sent}")
    _check_stored(warden.database)
    warden.database.close()
    return seconds


def _signed_in(warden: Composition) -> CloudAccount:
    """The payer. Signing in, and loading botocore for it, is no part of a night's work."""
    (account,) = warden.cloud_accounts.accounts()
    _access(warden).session_of(account)
    return account


def _access(warden: Composition) -> AwsAccess:
    costs = warden.aws_costs
    if not isinstance(costs, AwsCosts):
        raise TypeError(f"{costs} does not ask AWS")
    return costs.access


def plain_load(database_url: str, aws_url: str) -> float:
    """The floor: seconds that the pages take by the same client, and a bulk insert of their rows by SQLAlchemy."""
    add_organizations(database_url, aws_url, 1)
    warden = _app(database_url, aws_url)
    account, database = _signed_in(warden), warden.database
    with database.engine.begin() as connection:
        found = with_scopes(connection, AWS, {each: {"": ""} for each in _ids(0)})
    ids = {each: of_one[""].id for each, of_one in found.items()}
    begun = time.perf_counter()
    rows = [_row(*each, ids) for page in _pages(warden, account) for each in _groups(page)]
    with database.engine.begin() as connection:
        connection.execute(charges.insert(), rows)
    seconds = time.perf_counter() - begun
    _check_stored(database)
    database.close()
    return seconds


def _pages(warden: Composition, account: CloudAccount) -> Iterator[Mapping[str, Any]]:
    access = _access(warden)
    session = access.session_of(account)
    with closing(access.client("ce", session, session.partition)) as client:
        for window in WINDOWS:
            request, token = request_of(AccountsQuery(account, window), "UnblendedCost", None), None
            while True:
                page = client.get_cost_and_usage(**request, **({"NextPageToken": token} if token else {}))
                yield page
                token = page.get("NextPageToken")
                if token is None:
                    break


def _groups(page: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for of_day in page["ResultsByTime"]:
        yield from ((of_day["TimePeriod"]["Start"], each) for each in of_day["Groups"])


def _row(day: str, group: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    (account, service), cost = group["Keys"], group["Metrics"]["UnblendedCost"]
    return {
        "scope_id": ids[account],
        "charge_period_start": date.fromisoformat(day),
        "service_name": service,
        "billing_currency": cost["Unit"],
        "billed_cost": Decimal(cost["Amount"]),
    }


def _check_stored(database: Database) -> None:
    rows = database.read(lambda connection: connection.scalar(select(func.count()).select_from(charges)))
    if rows != ROWS_OF_ONE:
        raise RuntimeError(f"{rows} rows are stored, and there should be {ROWS_OF_ONE}")
