"""What every CostSource keeps to, whoever the provider is: a new one gets a `World` of its own, and passes as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from localdev.aws_sim import AwsCharge, AwsSimulator
from localdev.azure_sim import AzureSimulator, Charge, ChargeBook, made_up
from shared.adapters.azure.arm import ArmClient
from shared.adapters.costs.azure import AzureCosts
from shared.adapters.costs.made_up import MadeUpCosts, MadeUpPayers
from shared.domain.aws import AWS
from shared.domain.money import stored
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.ports.azure import AZURE
from shared.ports.costs import CostQuery, CostSource, TotalsSource
from shared.ports.errors import LaterError, NeverError
from tests.aws_worlds import ACCOUNT as AWS_ACCOUNT
from tests.aws_worlds import OTHER as AWS_OTHER
from tests.aws_worlds import OneAccount, aws_costs, with_roles
from tests.contracts.ledger_data import entry
from tests.fakes import FakeCosts, FakeCostsWithTotals, charges_of

ACCOUNT, OTHER = "6f1c0d5e-0000-4000-8000-00000000000a", "6f1c0d5e-0000-4000-8000-00000000000b"
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
DAY = date(2026, 11, 10)


@dataclass
class AzureWorld:
    """Azure, as the simulator plays it. trouble: our word for it, and the simulator's fault."""

    simulator: AzureSimulator
    source: CostSource
    trouble: Mapping[str, tuple[str, dict]]
    account: str = ACCOUNT
    other: str = OTHER

    def spend(self, group: str, service: str, day: date, amount: str, currency: str = "CAD") -> None:
        """Adds a charge to ACCOUNT."""
        self.simulator.book.add([Charge(ACCOUNT, group, service, day, currency, Decimal(amount))])

    def is_in_trouble(self, kind: str) -> None:
        """The next request goes wrong in this way."""
        fault, details = self.trouble[kind]
        self.simulator.fault(fault, **details)

    def has_odd_rows(self) -> None:
        """The next answer has a row that can't be right."""
        self.simulator.fault("not_a_number")


AZURE_TROUBLE = {
    "asks to wait 90 s": ("throttled_many", {"seconds": 90}),
    "asks to wait": ("throttled", {"headers": {"x-nothing": "1"}}),
    "unwell": ("server_error", {}),
    "unwell for 45 s": ("unavailable", {"seconds": 45}),
    "silent": ("silent", {}),
    "too slow": ("slow", {"delay": 30.0}),
    "broken off": ("truncated", {}),
    "garbled": ("invalid_json", {}),
    "no login": ("unauthorized", {}),
    "no permission": ("forbidden", {}),
}


@dataclass
class FakeWorld:
    """The fake that the pipeline's tests use, as Azure and as a provider without resource groups."""

    source: FakeCosts
    currencies: dict[date, str] = field(default_factory=dict)
    account: str = ACCOUNT
    other: str = OTHER

    def spend(self, group: str, service: str, day: date, amount: str, currency: str = "CAD") -> None:
        """Adds a charge to ACCOUNT."""
        self.source.currency_of = {**self.currencies, day: currency}.get
        self.currencies[day] = currency
        self.source.charges[ACCOUNT, group, day, service] = Decimal(amount)

    def is_in_trouble(self, kind: str) -> None:
        """The next request goes wrong in this way."""
        errors = [FAKE_TROUBLE[kind]]
        self.source.fails = lambda _query: errors.pop() if errors else None

    def has_odd_rows(self) -> None:
        """The next answer has a row that can't be right: the first."""
        first = min(self.source.charges, key=lambda key: key[2])
        del self.source.charges[first]
        self.source.odd[first[1] if self.source.has_groups else ""] = "It has no amount."


FAKE_TROUBLE: dict[str, Exception] = {
    "asks to wait 90 s": LaterError("throttled", timedelta(seconds=90)),
    "unwell for 45 s": LaterError("unwell", timedelta(seconds=45)),
    **{kind: LaterError(kind) for kind in ("asks to wait", "unwell", "silent", "too slow", "broken off", "garbled")},
    **{kind: NeverError(f"{kind}.") for kind in ("no login", "no permission")},
}


@dataclass
class AwsWorld:
    """AWS, as the stand-in plays it, of which one account is read. Its charges have no groups."""

    simulator: AwsSimulator
    source: OneAccount
    account: str = AWS_ACCOUNT
    other: str = AWS_OTHER

    def spend(self, group: str, service: str, day: date, amount: str, currency: str = "CAD") -> None:
        """Adds a charge to the account."""
        self.simulator.book.add([AwsCharge(self.account, service, day, Decimal(amount), currency)])

    def is_in_trouble(self, kind: str) -> None:
        """The next page goes wrong in this way."""
        fault, details = AWS_TROUBLE[kind]
        self.simulator.fault(fault, operation="GetCostAndUsage", **details)

    def has_odd_rows(self) -> None:
        """The next answer has a row that can't be right."""
        self.simulator.fault("amount", operation="GetCostAndUsage", text="NaN")


AWS_TROUBLE: dict[str, tuple[str, dict]] = {
    "asks to wait 90 s": ("throttled", {"seconds": 90}),
    "asks to wait": ("throttled", {}),
    "unwell": ("server_error", {}),
    "unwell for 45 s": ("unavailable", {"seconds": 45}),
    "silent": ("silent", {}),
    "too slow": ("slow", {"seconds": 30}),
    "broken off": ("truncated", {}),
    "garbled": ("invalid_json", {}),
    "no login": ("unknown_key", {}),
    "no permission": ("access_denied", {}),
}
World = AzureWorld | FakeWorld | AwsWorld


@dataclass
class MadeUpWorld:
    """Costs that are made up: what a project spends, nobody says."""

    source: CostSource
    account: str

    @classmethod
    def of(cls, provider: str) -> MadeUpWorld:
        """Two projects' costs, as they stand at the end of the year."""
        at, clock = AWS_ACCOUNT if provider == AWS else ACCOUNT, lambda: datetime(2026, 12, 31, 2, tzinfo=UTC)
        groups = ("rg-web", "rg-db") if provider == AZURE else ("",)
        entries = [replace(entry(11), scopes=tuple(Scope(provider, at, group) for group in groups))]
        if provider == AWS:
            return cls(OneAccount(MadeUpPayers(lambda: entries, clock)), at)
        return cls(MadeUpCosts(lambda: entries, clock), at)


WITH_GROUPS = ("plain azure", "varied azure", "fake")
ALL = (*WITH_GROUPS, "fake without groups", "aws", "aws, in small pages")
only_with_groups = pytest.mark.parametrize("world", WITH_GROUPS, indirect=True)


@pytest.fixture(params=ALL)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with a_world(request.param) as made:
        yield made


@pytest.fixture(params=[*ALL, "made-up azure", "made-up aws"])
def spent_world(request: pytest.FixtureRequest) -> Iterator[World | MadeUpWorld]:
    """One in which the account has charges in November and on the first of December: nobody says which."""
    if request.param.startswith("made-up"):
        yield MadeUpWorld.of(request.param.removeprefix("made-up "))
        return
    with a_world(request.param) as made:
        for day in (*(NOVEMBER.start + timedelta(days=number) for number in range(0, 30, 7)), NOVEMBER.end):
            made.spend("rg-web", "Storage", day, f"1.{day.day:02}5")
            made.spend("rg-db", "Backup", day, "0.00000000017")
        yield made


@contextmanager
def a_world(name: str) -> Iterator[World]:
    if name == "fake":
        yield FakeWorld(FakeCostsWithTotals(accounts=frozenset({ACCOUNT})))
        return
    if name == "fake without groups":
        yield FakeWorld(FakeCosts(accounts=frozenset({ACCOUNT}), provider="hetzner", has_groups=False))
        return
    if name.startswith("aws"):
        with AwsSimulator(rows_a_page=1 if "pages" in name else 5000) as aws:
            with_roles(aws)
            yield AwsWorld(aws, OneAccount(aws_costs(aws, read_seconds=1.0)))
        return
    book = ChargeBook()
    book.add_subscription(ACCOUNT)
    with AzureSimulator(book, vary=name == "varied azure") as simulator:
        source = AzureCosts(ArmClient(simulator.url), read_seconds=1.0)
        yield AzureWorld(simulator, source, AZURE_TROUBLE)
        source.arm.close()


def ask(world: World | MadeUpWorld, window: Period = NOVEMBER, groups: tuple[str, ...] = (), account: str = ""):
    return charges_of(world.source.read(CostQuery(world.source.provider, account or world.account, window, groups)))


def test_a_source_says_what_it_may_be_asked(spent_world: World | MadeUpWorld) -> None:
    source, quota = spent_world.source, spent_world.source.quota
    assert source.provider == source.provider.lower() != ""
    assert source.connection_type == source.connection_type.upper() != ""
    assert source.longest_window >= timedelta(days=1)
    assert source.months_of_history >= 1
    assert 0 < quota.units_per_query <= quota.units_at_once <= quota.units_per_minute <= quota.units_per_hour
    assert quota.units_at_once <= quota.units_in_shortest
    assert 0 < quota.shortest_seconds <= 60


def test_it_answers_its_longest_window_and_no_longer_one(spent_world: World | MadeUpWorld) -> None:
    longest = Period(NOVEMBER.start, NOVEMBER.start + spent_world.source.longest_window)
    assert max(day for _, day, _ in ask(spent_world, longest).amounts) == longest.end - timedelta(days=1)
    with pytest.raises(NeverError, match=f"{longest.days} days at most"):
        ask(spent_world, Period(longest.start, longest.end + timedelta(days=1)))


def test_reading_twice_gives_the_same(spent_world: World | MadeUpWorld) -> None:
    assert ask(spent_world) == ask(spent_world)


def test_days_that_are_read_one_by_one_are_those_of_the_window_rounded_for_storing(
    spent_world: World | MadeUpWorld,
) -> None:
    days = [NOVEMBER.start + timedelta(days=number) for number in range(30)]
    one_by_one = [ask(spent_world, Period(day, day + timedelta(days=1))).amounts for day in days]
    whole = ask(spent_world).amounts
    assert whole == {key: cost for amounts in one_by_one for key, cost in amounts.items()} != {}
    assert all(cost == stored(cost) for cost in whole.values())
    assert {group for group, _, _ in whole} == ({"rg-web", "rg-db"} if spent_world.source.has_groups else {""})


def test_every_charge_of_the_window_is_read_exactly(world: World) -> None:
    world.spend("rg-web", "Storage", DAY, "12.345678901234")
    world.spend("rg-web", "Virtual Machines", DAY, "-3")
    world.spend("rg-db", "Storage", DAY + timedelta(days=1), "0.1")
    charges = ask(world)
    assert charges.billing_currency == "CAD"
    web, db = ("rg-web", "rg-db") if world.source.has_groups else ("", "")
    assert charges.amounts == {
        (web, DAY, "Storage"): Decimal("12.3456789012"),
        (web, DAY, "Virtual Machines"): Decimal(-3),
        (db, DAY + timedelta(days=1), "Storage"): Decimal("0.1"),
    }


def test_charges_in_two_currencies_stand_side_by_side(world: World) -> None:
    world.spend("rg-web", "Storage", DAY, "1")
    world.spend("rg-web", "Storage", DAY + timedelta(days=1), "2", "EUR")
    answer = world.source.read(CostQuery(world.source.provider, world.account, NOVEMBER))
    amounts = {each.billing_currency: list(each.amounts.values()) for each in answer.charges}
    assert amounts == {"CAD": [Decimal(1)], "EUR": [Decimal(2)]}


def test_an_amount_is_rounded_half_even_to_ten_places(world: World) -> None:
    world.spend("rg-a", "Storage", DAY, "0.00000000005")
    world.spend("rg-b", "Backup", DAY, "0.00000000015")
    assert set(ask(world).amounts.values()) == {Decimal(0), Decimal("0.0000000002")}


def test_the_window_holds_its_first_day_and_not_its_end(world: World) -> None:
    window = Period(DAY, DAY + timedelta(days=2))
    for offset in range(-1, 4):
        world.spend("rg-web", "Storage", DAY + timedelta(days=offset), "1")
    assert [day for _, day, _ in ask(world, window).amounts] == [DAY, DAY + timedelta(days=1)]


@pytest.mark.parametrize(
    "window",
    [
        Period(date(2026, 2, 1), date(2026, 3, 1)),
        Period(date(2028, 2, 29), date(2028, 3, 1)),
        Period(date(2026, 12, 1), date(2027, 1, 1)),
    ],
    ids=str,
)
def test_a_window_may_end_with_its_month(world: World, window: Period) -> None:
    world.spend("rg-web", "Storage", window.start, "1")
    world.spend("rg-web", "Backup", window.end - timedelta(days=1), "2")
    world.spend("rg-web", "Backup", window.end, "4")
    assert sum(ask(world, window).amounts.values()) == 3


@only_with_groups
def test_one_group_in_several_spellings_is_one_group(world: World) -> None:
    world.spend("RG-Web", "Storage", DAY, "1")
    world.spend("rg-web", "Storage", DAY + timedelta(days=1), "2")
    charges = ask(world)
    assert {group for group, _, _ in charges.amounts} == {"rg-web"}
    assert charges.group_names["rg-web"].lower() == "rg-web"


@only_with_groups
def test_only_the_groups_that_were_asked_for_are_read_in_any_spelling(world: World) -> None:
    for group in ("Rg-Web", "rg-db", "rg-other"):
        world.spend(group, "Storage", DAY, "1")
    assert {group for group, _, _ in ask(world, groups=("RG-WEB", "rg-Db")).amounts} == {"rg-web", "rg-db"}


def test_charges_of_no_group_are_kept_under_an_empty_name(world: World) -> None:
    world.spend("", "Reservations", DAY, "99")
    assert ask(world).amounts == {("", DAY, "Reservations"): Decimal(99)}


def test_no_charges_make_an_empty_set_without_a_currency(world: World) -> None:
    charges = ask(world)
    assert not charges.amounts
    assert charges.billing_currency is None


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [
        ("asks to wait 90 s", 90),
        ("asks to wait", None),
        ("unwell", None),
        ("unwell for 45 s", 45),
        ("silent", None),
        ("too slow", None),
        ("broken off", None),
        ("garbled", None),
    ],
)
def test_what_may_pass_is_for_later_with_the_wait_that_was_named(
    world: World, trouble: str, seconds: int | None
) -> None:
    world.spend("rg-web", "Storage", DAY, "1")
    world.is_in_trouble(trouble)
    with pytest.raises(LaterError) as caught:
        ask(world)
    assert caught.value.wait == (None if seconds is None else timedelta(seconds=seconds))
    assert len(ask(world).amounts) == 1


@pytest.mark.parametrize("trouble", ["no login", "no permission"])
def test_what_stays_wrong_is_for_never_and_said_in_a_sentence(world: World, trouble: str) -> None:
    world.spend("rg-web", "Storage", DAY, "1")
    world.spend("rg-web", "Storage", DAY + timedelta(days=1), "1")
    world.is_in_trouble(trouble)
    with pytest.raises(NeverError) as caught:
        ask(world)
    assert caught.value.reason.endswith(".")
    assert "\n" not in caught.value.reason


def test_a_row_that_can_not_be_right_is_set_aside_and_named_by_its_group(world: World) -> None:
    groups = ("rg-web", "rg-db") if world.source.has_groups else ("", "")
    world.spend("rg-web", "Storage", DAY, "1")
    world.spend("rg-db", "Storage", DAY + timedelta(days=1), "1")
    world.has_odd_rows()
    answer = world.source.read(CostQuery(world.source.provider, world.account, NOVEMBER))
    ((odd, reason),) = answer.odd.items()
    (key,) = charges_of(answer).amounts
    assert sorted((odd, key[0])) == sorted(groups)
    assert reason.endswith(".")
    assert "\n" not in reason


def test_an_unknown_account_is_for_never(world: World) -> None:
    with pytest.raises(NeverError, match=world.other):
        ask(world, account=world.other)


def test_an_answer_of_many_pages_is_read_whole_by_several_threads_at_once() -> None:
    window = Period(date(2026, 11, 1), date(2026, 11, 5))
    book = made_up(7, [ACCOUNT], 400, 8, 10, date(2026, 11, 7), "CAD")
    expected: dict[tuple[str, date, str], Decimal] = {}
    for charge in book.charges(ACCOUNT, window.start, window.end - timedelta(days=1)):
        expected[(charge.group.lower(), charge.day, charge.service)] = stored(charge.amount)
    with AzureSimulator(book) as simulator, ThreadPoolExecutor(3) as threads:
        source = AzureCosts(ArmClient(simulator.url))
        answers = list(threads.map(source.read, [CostQuery(AZURE, ACCOUNT, window)] * 3))
        assert simulator.record.in_all().pages == 9
    assert len(expected) == 12_800
    assert all(charges_of(answer).amounts == expected for answer in answers)


# --- what only some can ---


def total(world: World, window: Period = NOVEMBER, account: str = ACCOUNT) -> Mapping[str, Decimal]:
    assert isinstance(world.source, TotalsSource)
    return world.source.totals(CostQuery(world.source.provider, account, window))


@only_with_groups
def test_a_total_is_what_the_daily_charges_of_the_window_come_to(world: World) -> None:
    for day, amount in ((1, "0.1"), (10, "0.2"), (30, "1234567.8901234567")):
        world.spend("rg-1", "Storage", date(2026, 11, day), amount)
        world.spend("", "Support", date(2026, 11, day), "-0.05")
    world.spend("rg-1", "Storage", date(2026, 10, 31), "9")
    world.spend("rg-1", "Storage", date(2026, 12, 1), "9")
    assert total(world) == {"CAD": sum(ask(world).amounts.values())}
    assert total(world, Period(date(2026, 11, 2), date(2026, 11, 11))) == {"CAD": Decimal("0.15")}
    assert total(world, Period(date(2026, 8, 1), date(2026, 9, 1))) == {}


@only_with_groups
def test_totals_are_told_by_currency(world: World) -> None:
    world.spend("rg-1", "Storage", DAY, "1")
    world.spend("rg-1", "Storage", DAY + timedelta(days=1), "2", "USD")
    assert total(world) == {"CAD": Decimal(1), "USD": Decimal(2)}


@only_with_groups
@pytest.mark.parametrize(
    ("kind", "error"), [("unwell", LaterError), ("garbled", LaterError), ("no permission", NeverError)]
)
def test_what_keeps_a_total_from_being_told_is_later_or_never(world: World, kind: str, error: type[Exception]) -> None:
    world.spend("rg-1", "Storage", DAY, "1")
    world.is_in_trouble(kind)
    with pytest.raises(error):
        total(world)
