"""Who feeds a sub-account, Azure's or AWS's, whatever happens to its cloud accounts, its payers and its exports.

Each charge counts once, nothing that counted vanishes but by a run or an order that says so, and exports take nothing
over without an order. Some histories here; `make crash-test` plays HISTORIES, from CRASH_SEED on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from sqlalchemy import func, select

from shared.adapters.database.tables import charges, export_feeds, scopes
from shared.domain.projects import Scope
from shared.messages import ManifestMessage, Queue, to_json
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, ConnectionType
from shared.ports.costs import SubAccount
from shared.ports.errors import NeverError
from shared.ports.payers import Member
from shared.services.errors import RequestError
from tests.adapters.exports.files import FOCUS, csv_of
from tests.aws_worlds import cloud_account
from tests.conftest import emptied
from tests.fakes import FakePayers
from tests.pipeline.conftest import SUBSCRIPTION, Chain, entry
from tests.pipeline.export_files import CONTAINER, Exported, ea, with_exports
from tests.postgres import programs

FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
HISTORIES = int(os.environ.get("HISTORIES", "2"))
A, B, ONE, TWO = "888888888888", "999999999999", "111111111111", "222222222222"
DAY = timedelta(days=1)
BEGIN = date(2026, 11, 20)
BY_QUERY, BY_EXPORT, PART = Decimal(1), Decimal(3), Decimal("0.5")
AZURE_UNIT, AWS_UNIT = ("azure", SUBSCRIPTION), ("aws", ONE)


class World:
    """One subscription, and one AWS account that two organizations have in turn; the query, and exports, of both.

    By query each costs 1 a day, by exports 3 (near enough to be believed at once). On the day on which the account
    moves, each organization has half.
    """

    def __init__(self, chain: Chain, *, lists: bool = True, tells_joining: bool = True) -> None:
        self.chain, self.lists, self.tells_joining = chain, lists, tells_joining
        self.aws = FakePayers(clock=chain.clock)
        chain.parts["sources"] = {
            ConnectionType.COST_MANAGEMENT: chain.costs,
            ConnectionType.COST_EXPLORER: self.aws,
        }
        chain.clock.now = datetime(2026, 11, 20, 2, tzinfo=UTC)
        chain.costs.currency_of = lambda _day: "USD"
        self.blobs = with_exports(chain)
        self.exports = chain.cloud_accounts.add_exports("azure", CONTAINER)
        self.azure_export, self.aws_export = Exported(self.blobs), Exported(self.blobs, "focus", kind="FocusCost")
        self.payers = {each: self.add(each) for each in (A, B)}
        both = entry(11, "100000", currency="USD")
        chain.load(replace(both, scopes=(*both.scopes, Scope(*AWS_UNIT))))
        self.org, self.joined = A, date(2025, 1, 1)
        for ago in range(20, 0, -1):
            self.cost(self.today - ago * DAY)

    @property
    def today(self) -> date:
        return self.chain.clock().date()

    def add(self, account: str, *, is_organization: bool = True) -> int:
        made = cloud_account(account, name=f"of {account}", is_organization=is_organization)
        number: int = self.chain.cloud_accounts.add(made)
        return number

    def cost(self, day: date, amount: Decimal = BY_QUERY) -> None:
        self.chain.spend("1", day)
        for teller in (self.org, ONE):
            self.aws.charges[teller, ONE, day, "Amazon EC2"] = amount
        self.aws.charges[A, TWO, day, "Amazon EC2"] = Decimal(3)

    def move(self) -> None:
        """To the other organization, in the middle of today."""
        self.cost(self.today, PART)
        self.org, self.joined = (B if self.org == A else A), self.today
        self.cost(self.today, PART)

    def night(self) -> None:
        """The day goes by, and all that the night after does."""
        self.aws.listed = {each: self._listed(each) if self.lists else None for each in (A, B)}
        if ("aws", self.today) not in self._told:
            self.cost(self.today)
        self.chain.clock.forward(days=1)
        self.chain.night()

    @property
    def _told(self) -> set[tuple[str, date]]:
        return {("aws", day) for _, account, day, _ in self.aws.charges if account == ONE}

    def _listed(self, payer: str) -> list[SubAccount]:
        joined = self.joined if self.tells_joining else None
        mine = [SubAccount(ONE, "Shop", "ACTIVE", joined)] if payer == self.org else []
        return [SubAccount(payer, "Payer", "ACTIVE"), *mine]

    def deliver(self, provider: str) -> str:
        """An export has all of this month up to yesterday; what became of its run."""
        first, last = self.today.replace(day=1), self.today - DAY
        if last < first:
            return ""
        days = [first + number * DAY for number in range((last - first).days + 1)]
        at = self.chain.clock() - timedelta(hours=1)
        if provider == "azure":
            place = self.azure_export.run([ea("3", day) for day in days], at=at, first=first, last=last)
        else:
            files = {"p.csv": csv_of([_focus(day) for day in days]).encode()}
            place = self.aws_export.run(files=files, at=at, first=first, last=last)
        self.chain.work(Queue.EXPORT, to_json(ManifestMessage(place)))
        self.chain.drain()
        run, *_ = self.chain.export_runs.runs(limit=1)
        return f"{run.state}: {run.reason or ''}"

    def use(self, source: str, unit: tuple[str, str]) -> int:
        """How many are fed by another now."""
        history = self.chain.export_history
        return len(history.use(history.order(source, unit[1]), "ann").handovers)

    # --- what is stored ---

    def stored(self, unit: tuple[str, str] = AWS_UNIT) -> dict[date, Decimal]:
        day = charges.c.charge_period_start
        sums = select(day, func.sum(charges.c.billed_cost)).join(scopes).group_by(day)
        its = sums.where(scopes.c.provider == unit[0], scopes.c.sub_account_id == unit[1])
        return {row[0]: row[1] for row in self.chain.database.read(lambda connection: connection.execute(its).all())}

    def exports_feed(self, unit: tuple[str, str]) -> bool:
        its = select(export_feeds.c.export_id).where(
            export_feeds.c.provider == unit[0], export_feeds.c.sub_account_id == unit[1]
        )
        return self.chain.database.read(lambda connection: connection.execute(its).first()) is not None

    def reader(self, unit: tuple[str, str] = AWS_UNIT) -> CloudAccount | None:
        return self.chain.cloud_accounts.feeding(*unit)


def _focus(day: date) -> dict[str, str]:
    return FOCUS | {
        "BilledCost": "3", "BillingAccountId": A, "BillingCurrency": "USD", "ProviderName": "AWS",
        "BillingPeriodStart": f"{day:%Y-%m}-01T00:00Z", "ChargePeriodStart": f"{day}T00:00Z",
        "ChargePeriodEnd": f"{day + DAY}T00:00Z", "SubAccountId": ONE, "ResourceId": "", "x_ResourceGroupName": "",
    }  # fmt: skip


@pytest.fixture
def world(chain: Chain) -> World:
    return World(chain)


# --- an account that moves from one organization to another ---


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("tells_joining", [True, False])
def test_an_account_that_moves_between_payers_is_read_by_the_other_and_keeps_what_the_first_has_told(
    chain: Chain, lists: bool, tells_joining: bool
) -> None:
    world = World(chain, tells_joining=tells_joining)
    for _ in range(2):
        world.night()
    before, moved_on = world.stored(), world.today
    world.move()
    # Whoever may not list its members from then on: whether they are its own is not known.
    world._listed = _without_a(world) if not lists else world._listed  # type: ignore[method-assign]
    for _ in range(10):
        world.night()
    after = world.stored()
    assert world.reader().external_account_id == B
    assert {day: after[day] for day in before} == before
    assert after[moved_on] == PART
    assert {day: cost for day, cost in after.items() if day > moved_on} == {
        moved_on + number * DAY: BY_QUERY for number in range(1, 10)
    }
    assert not chain.charges.incomplete(world.today).projects
    (known,) = (each for each in chain.payers.members(world.payers[B]) if each.id == ONE)
    assert (known.left_on, known.state) == (None, "ACTIVE")
    assert known.read_since in ({moved_on} if tells_joining else {moved_on, moved_on + DAY})
    # And back, whose answers have both of its times there, and not the one between.
    world.move()
    back_on = world.today
    for _ in range(10):
        world.night()
    assert world.reader().external_account_id == A or not lists
    if lists:
        later = world.stored()
        assert {day: later[day] for day in after} == after
        assert later[back_on] == PART
        assert len(later) == len(after) + 10


def _without_a(world: World) -> Callable[[str], list[SubAccount] | None]:
    listed = world._listed
    return lambda payer: None if payer == A else listed(payer)  # type: ignore[return-value]


def test_an_account_that_was_closed_is_nobody_else_s(chain: Chain) -> None:
    """It is listed by its payer, as closed: another one that meets old charges of it takes nothing."""
    world = World(chain)
    world.night()
    world.org = "nobody"
    world.aws.charges = {key: each for key, each in world.aws.charges.items() if key[0] != B}
    for day in range(1, 5):
        world.aws.charges[B, ONE, BEGIN - day * DAY, "Amazon EC2"] = Decimal(7)
    before = world.stored()
    for _ in range(3):
        world.night()
    (known,) = (each for each in chain.payers.members(world.payers[A]) if each.id == ONE)
    assert known == Member(ONE, "Shop", "ACTIVE", BEGIN + 2 * DAY, date(2025, 1, 1))
    assert {day: cost for day, cost in world.stored().items() if day in before} == before


def test_what_a_payer_that_is_gone_has_told_stays_though_the_account_has_moved_meanwhile(chain: Chain) -> None:
    world = World(chain, tells_joining=False)
    world.night()
    world.move()
    before = world.stored()
    chain.cloud_account_service.remove(world.payers[A])
    for _ in range(5):
        world.night()
    after = world.stored()
    assert {day: after[day] for day in before} == before
    assert (world.reader().external_account_id, len(after)) == (B, len(before) + 5)


# --- the query and exports ---


@pytest.mark.parametrize("unit", [AZURE_UNIT, AWS_UNIT])
def test_an_export_takes_over_what_is_read_by_an_order_and_at_once_once_that_is_disabled(
    world: World, unit: tuple[str, str]
) -> None:
    chain = world.chain
    world.night()
    reader = world.reader(unit)
    name = "daily" if unit == AZURE_UNIT else "focus"
    why = f"{unit[1]} is fed by the query; `exports use {name} --for {unit[1]}` changes that"
    assert [world.deliver(unit[0]), world.deliver(unit[0])] == [f"not used: {why}"] * 2
    assert [why in " ".join(mail.text.split()) for mail in chain.mailer.sent] == [True]
    chain.cloud_account_service.disable(reader.id, "ann")
    assert world.deliver(unit[0]).startswith("imported")
    assert world.stored(unit)[BEGIN - DAY] == BY_EXPORT
    taken = f"{unit[1]} was fed by cloud account {reader.id} ({reader.name}), which is disabled"
    world.deliver(unit[0])
    assert sum(taken in " ".join(mail.text.split()) for mail in chain.mailer.sent) == 1
    # It goes on so, whoever is enabled, until an order gives it back.
    chain.cloud_account_service.enable(reader.id)
    world.night()
    assert world.exports_feed(unit)
    assert world.use("query", unit) == 1
    world.night()
    assert world.reader(unit).id == reader.id


@pytest.mark.parametrize("unit", [AZURE_UNIT, AWS_UNIT])
def test_what_nobody_reads_any_more_an_export_takes(world: World, unit: tuple[str, str]) -> None:
    world.night()
    world.chain.cloud_account_service.remove(world.reader(unit).id)
    assert world.deliver(unit[0]).startswith("imported")
    assert world.exports_feed(unit)


@pytest.mark.parametrize("unit", [AZURE_UNIT, AWS_UNIT])
def test_what_exports_feed_goes_back_to_the_query_by_an_order_from_the_next_night_on(
    world: World, unit: tuple[str, str]
) -> None:
    chain, name = world.chain, "daily" if unit == AZURE_UNIT else "focus"
    world.night()
    reader = world.reader(unit)
    world.deliver(unit[0])
    world.use(name, unit)
    world.night()
    if unit == AWS_UNIT:
        assert ONE in chain.payers.syncs(world.payers[A], 1)[0].left_out
    before = world.stored(unit)
    switch = chain.export_history.look(chain.export_history.order("query", ONE if unit == AWS_UNIT else unit[1]))
    assert [(each.fed.sub_account, each.then_by) for each in switch.handovers] == [(unit[1], "query")]
    assert world.exports_feed(unit)
    assert world.use("query", unit) == 1
    assert (world.reader(unit).id, world.stored(unit)) == (reader.id, before)
    assert world.deliver(unit[0]).startswith("not used")
    assert before.items() <= world.stored(unit).items()
    world.night()
    assert {cost for day, cost in world.stored(unit).items() if day >= BEGIN - 10 * DAY} == {BY_QUERY}
    assert max(world.stored(unit)) == world.today - DAY


def test_what_exports_fed_first_goes_to_the_payer_that_lists_it_or_to_its_own_cloud_account(world: World) -> None:
    chain = world.chain
    for each in world.payers.values():
        chain.cloud_account_service.remove(each)
    world.deliver("aws")
    with pytest.raises(NeverError, match="No cloud account is known to read 111111111111: `cloud-accounts add aws`"):
        world.use("query", AWS_UNIT)
    assert world.exports_feed(AWS_UNIT)
    payer = world.add(A)
    world.night()
    assert world.reader().connection_type == ConnectionType.COST_EXPORT
    assert world.use("query", AWS_UNIT) == 1
    assert world.reader().id == payer
    world.night()
    assert world.stored()[world.today - DAY] == BY_QUERY
    # Its own comes before a payer that meets it, and once it is disabled the payer reads it.
    world.use("focus", AWS_UNIT)
    own = world.add(ONE, is_organization=False)
    world.night()
    said = f"Exports feed {ONE}; `exports use query --for {ONE}` has cloud account {own} read it."
    assert chain.cloud_accounts.get(own).last_sync_error == said
    world.use("query", AWS_UNIT)
    assert world.reader().id == own
    chain.cloud_account_service.disable(own, "ann")
    world.night()
    assert world.reader().id == payer


def test_of_all_that_exports_feed_the_query_takes_what_it_can_read(world: World) -> None:
    world.night()
    for provider, name in (("azure", "daily"), ("aws", "focus")):
        world.deliver(provider)
        world.use(name, AZURE_UNIT if provider == "azure" else AWS_UNIT)
    world.night()
    history = world.chain.export_history
    assert len(history.use(history.order("query"), "ann").handovers) == 2
    assert [world.exports_feed(each) for each in (AZURE_UNIT, AWS_UNIT)] == [False, False]


def test_disabling_or_removing_where_exports_lie_changes_nothing_of_who_feeds(world: World) -> None:
    world.night()
    world.deliver("aws")
    world.use("focus", AWS_UNIT)
    world.chain.cloud_account_service.disable(world.exports, "ann")
    world.night()
    world.chain.cloud_account_service.remove(world.exports)
    world.night()
    assert world.exports_feed(AWS_UNIT)
    assert world.use("query", AWS_UNIT) == 1
    assert world.reader().external_account_id == A


def test_a_number_of_a_cloud_account_that_is_gone_is_never_another_s(world: World) -> None:
    world.chain.cloud_account_service.remove(world.payers[B])
    assert world.add("777777777777") > world.payers[B]


# --- histories ---


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + HISTORIES))
def test_each_charge_counts_once_and_none_vanishes_untold(seed: int, request: pytest.FixtureRequest) -> None:
    kind = "postgresql" if seed % 5 == 0 and programs() is not None else "sqlite"
    History(Chain(emptied(request, kind)), seed).play()


class History:
    """Some nights, with what people, organizations and exports do between them."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self.random = Random(f"who feeds {seed}")
        tells = self.random.random() < 0.7
        self.world = World(chain, lists=tells or self.random.random() < 0.7, tells_joining=tells)
        self.own: int | None = None
        self.log: list[str] = []
        self.before: dict[tuple[str, str], dict[date, Decimal]] = {}
        self.delivered: dict[tuple[str, date], date] = {}

    def play(self) -> None:
        acts = [self.deliver, self.deliver, self.order, self.query, self.disable, self.enable, self.remove, self.move]
        acts += [self.add_own] if self.world.tells_joining else []
        for _ in range(14):
            for act in self.random.sample(acts, self.random.choice([0, 1, 1, 2])):
                self.does(act)
            self.does(self.world.night)
        self.get_well()

    def does(self, act: Callable[[], object]) -> None:
        feeds = {each: self.world.exports_feed(each) for each in (AZURE_UNIT, AWS_UNIT)}
        readers = {each: self.world.reader(each) for each in feeds}
        with suppress(RequestError, NeverError):
            act()
        self.log.append(f"{self.world.today} {act.__name__} {self.log_of()}")
        for unit, by_exports in feeds.items():
            self.look(unit, act, by_exports, readers[unit])

    def log_of(self) -> list[str]:
        return [
            f"{unit[0]} {'exports' if self.world.exports_feed(unit) else (by and by.external_account_id)}"
            for unit in (AZURE_UNIT, AWS_UNIT)
            for by in [self.world.reader(unit)]
        ]

    def look(self, unit: tuple[str, str], act: Callable[[], object], fed: bool, reader: CloudAccount | None) -> None:
        said = "\n".join(self.log)
        after, before = self.world.stored(unit), self.before.get(unit, {})
        assert set(after.values()) <= {BY_QUERY, BY_EXPORT, PART}, f"{unit}: counted twice\n{said}"
        gone = before.keys() - after.keys()
        if self.world.exports_feed(unit):
            # What an export has not delivered of a month that it has taken over.
            gone = {day for day in gone if day < self.delivered[unit[0], day.replace(day=1)]}
        assert not gone, f"{unit}: {sorted(gone)} vanished\n{said}"
        if self.world.exports_feed(unit) is not fed:
            ordered = act in (self.order, self.query)
            assert ordered or (act == self.deliver and reader is None), f"{unit}: fed by another, untold\n{said}"
        self.before[unit] = after

    # --- what happens ---

    def deliver(self) -> None:
        provider = self.random.choice(["azure", "aws"])
        self.delivered[provider, self.world.today.replace(day=1)] = self.world.today
        self.world.deliver(provider)

    def order(self) -> None:
        name, unit = self.random.choice([("daily", AZURE_UNIT), ("focus", AWS_UNIT)])
        self.world.use(name, unit)

    def query(self) -> None:
        self.world.use("query", self.random.choice([AZURE_UNIT, AWS_UNIT]))

    def _some(self, *, disabled: bool) -> CloudAccount | None:
        known = [each for each in self.world.chain.cloud_accounts.accounts() if not each.is_of_files]
        found = [each for each in known if (each.status is AccountStatus.DISABLED) is disabled]
        return self.random.choice(found) if found else None

    def disable(self) -> None:
        if (chosen := self._some(disabled=False)) is not None:
            self.world.chain.cloud_account_service.disable(chosen.id, "ann")

    def enable(self) -> None:
        if (chosen := self._some(disabled=True)) is not None:
            self.world.chain.cloud_account_service.enable(chosen.id)

    def remove(self) -> None:
        """It is made anew, of the same or, as an organization, by its payer, soon after."""
        chosen = self._some(disabled=self.random.random() < 0.5)
        if chosen is not None and chosen.connection_type == ConnectionType.COST_EXPLORER:
            self.world.chain.cloud_account_service.remove(chosen.id)
            if chosen.is_organization:
                self.world.payers[chosen.external_account_id] = self.world.add(chosen.external_account_id)

    def move(self) -> None:
        if self.world.joined != self.world.today:
            self.world.move()

    def add_own(self) -> None:
        with suppress(AssertionError):
            self.own = self.world.add(ONE, is_organization=False)

    def get_well(self) -> None:
        """All are read again, and the query has what it can read: the last days are there."""
        service = self.world.chain.cloud_account_service
        while (chosen := self._some(disabled=True)) is not None:
            service.enable(chosen.id)
        for _ in range(3):
            self.does(self.world.night)
        for unit in (AZURE_UNIT, AWS_UNIT):
            if self.world.exports_feed(unit):
                with suppress(NeverError):
                    self.world.use("query", unit)
                self.log.append(f"query for {unit}")
        for _ in range(3):
            self.does(self.world.night)
        said = "\n".join(self.log)
        assert self.world.today - DAY in self.world.stored(AWS_UNIT), f"not read\n{said}"
