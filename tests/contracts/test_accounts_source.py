"""What every AccountsSource keeps to beyond what `test_cost_source` asks of all: a payer, its accounts, paid calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from localdev.aws_sim import AwsAccount, AwsCharge, AwsSimulator, Organization
from shared.adapters.costs.made_up import MadeUpPayers
from shared.domain.aws import AWS
from shared.domain.periods import Period
from shared.domain.projects import Scope
from shared.ports.costs import AccountsQuery as Query
from shared.ports.costs import AccountsSource, SubAccount
from shared.ports.errors import CallsUsedError, NeverError, NoAnswerError
from tests.aws_worlds import ACCOUNT, OTHER, always, at_most, aws_costs, cloud_account, with_roles
from tests.contracts.ledger_data import entry
from tests.fakes import FakePayers

PAYER = "400000000004"
PAYING = cloud_account(PAYER, is_organization=True)
NOW = datetime.now(UTC)
YESTERDAY = NOW.date() - timedelta(days=1)
DAYS = (YESTERDAY - timedelta(days=1), YESTERDAY)
TWO_DAYS = Period(DAYS[0], NOW.date())


@dataclass
class PayersWorld:
    """An organization of a payer and two accounts, each with charges on two days, and those in two pages.

    aws: behind the source, if it is.
    """

    source: AccountsSource
    aws: AwsSimulator | None = None

    def refuse(self) -> None:
        """The payer can't be read from now on."""
        if self.aws:
            self.aws.iam.roles.clear()
            return
        assert isinstance(self.source, FakePayers)
        self.source.fails = lambda _query: NeverError("It says no.")


def spent() -> Iterator[tuple[str, date]]:
    return ((account, day) for account in (PAYER, ACCOUNT, OTHER) for day in DAYS)


def made_up() -> MadeUpPayers:
    owned = replace(entry(11), scopes=(Scope(AWS, ACCOUNT), Scope(AWS, OTHER)))
    return MadeUpPayers(lambda: [owned], lambda: NOW)


@pytest.fixture(params=["aws", "fake", "made-up"])
def world(request: pytest.FixtureRequest) -> Iterator[PayersWorld]:
    accounts = {PAYER: "Payer", ACCOUNT: "Shop", OTHER: "Lab"}
    if request.param == "made-up":
        yield PayersWorld(made_up())
        return
    if request.param == "fake":
        charges = {(PAYER, *each, "Amazon S3"): Decimal("1.5") for each in spent()}
        listed = {PAYER: [SubAccount(each, name, "ACTIVE") for each, name in accounts.items()]}
        yield PayersWorld(FakePayers(charges, listed=listed, page_days=1))
        return
    with AwsSimulator(rows_a_page=3) as aws:
        with_roles(aws, PAYER)
        aws.add_organization(Organization(PAYER, {each: AwsAccount(each, name) for each, name in accounts.items()}))
        aws.book.add(AwsCharge(account, "Amazon S3", day, Decimal("1.5")) for account, day in spent())
        yield PayersWorld(aws_costs(aws), aws=aws)


def test_one_answer_has_every_account_of_an_organization_on_each_of_its_days(world: PayersWorld) -> None:
    answer = world.source.read_all(Query(PAYING, TWO_DAYS), always)
    assert answer.charges.keys() >= {PAYER, ACCOUNT, OTHER}
    assert answer.odd == {}
    for (charges,) in answer.charges.values():
        assert {day for _, day, _ in charges.amounts} == set(DAYS)
        assert charges.billing_currency
    assert world.source.read_all(Query(PAYING, TWO_DAYS), always).charges == answer.charges


def test_what_is_read_is_listed_by_its_id_with_a_name_and_a_state(world: PayersWorld) -> None:
    listed = world.source.sub_accounts(PAYING)
    assert listed is not None
    assert listed.keys() == world.source.read_all(Query(PAYING, TWO_DAYS), always).charges.keys()
    assert all(key == each.id and each.name and each.state == "ACTIVE" for key, each in listed.items())


def test_of_an_organization_only_what_was_chosen_is_read_and_listed(world: PayersWorld) -> None:
    chosen = replace(PAYING, reads=(OTHER,))
    assert world.source.read_all(Query(chosen, TWO_DAYS), always).charges.keys() == {OTHER}
    assert (world.source.sub_accounts(chosen) or {}).keys() == {OTHER}


def test_one_account_alone_lists_nothing(world: PayersWorld) -> None:
    assert world.source.sub_accounts(replace(PAYING, external_account_id=ACCOUNT, is_organization=False)) is None


def test_each_page_is_counted_before_it_is_asked_for_and_none_is_where_none_costs_anything(world: PayersWorld) -> None:
    asked: list[None] = []

    def counted() -> bool:
        asked.append(None)
        return True

    world.source.read_all(Query(PAYING, TWO_DAYS), counted)
    assert world.source.price_currency == "USD"
    assert len(asked) == (2 if world.source.price else 0)


def test_where_the_calls_of_the_day_are_made_that_is_said_unless_they_cost_nothing(world: PayersWorld) -> None:
    if world.source.price:
        for calls in (0, 1):
            with pytest.raises(CallsUsedError):
                world.source.read_all(Query(PAYING, TWO_DAYS), at_most(calls))
    assert world.source.read_all(Query(PAYING, TWO_DAYS), at_most(2 if world.source.price else 0)).charges


def test_a_window_that_is_too_long_is_for_never(world: PayersWorld) -> None:
    days = world.source.longest_window + timedelta(days=1)
    with pytest.raises(NoAnswerError, match=f"{days.days - 1} days at most"):
        world.source.read_all(Query(PAYING, Period(YESTERDAY - days, YESTERDAY)), always)


def test_a_payer_that_can_be_read_is_told_after_one_call_at_most(world: PayersWorld) -> None:
    tried = world.source.test(PAYING, at_most(1 if world.source.price else 0))
    assert tried.can_read
    assert (tried.signed_in_as is not None) == bool(world.source.price)
    # Who asked nobody says so.
    assert [each.endswith(".") for each in tried.missing] == ([] if world.source.price else [True])


@pytest.mark.parametrize("world", ["aws", "fake"], indirect=True)
def test_what_keeps_a_payer_from_being_read_is_told_in_a_sentence(world: PayersWorld) -> None:
    world.refuse()
    tried = world.source.test(PAYING, always)
    assert (tried.can_read, tried.signed_in_as) == (False, None)
    (missing,) = tried.missing
    assert missing.endswith(".")
    with pytest.raises(NeverError) as caught:
        world.source.read_all(Query(PAYING, TWO_DAYS), always)
    # It refuses them all.
    assert not isinstance(caught.value, NoAnswerError)
