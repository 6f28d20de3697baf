"""Nights that read two organizations from what plays AWS, by the adapter itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from localdev.aws_sim import AwsAccount, AwsCharge, AwsSimulator, Organization
from shared.domain.projects import Scope
from shared.ports.cloud_accounts import AccountStatus
from shared.ports.payers import Member
from tests.aws_worlds import ACCOUNT, OTHER, aws_costs, cloud_account, with_roles
from tests.pipeline.conftest import Chain, entry

ONE, TWO, THREE = "111111111111", "222222222222", "333333333333"
YESTERDAY, OCTOBER = date(2026, 11, 19), date(2026, 10, 25)


@pytest.fixture
def aws(chain: Chain) -> Iterator[AwsSimulator]:
    """Two organizations, which the chain reads by their roles; each page has one row."""
    with AwsSimulator(today=lambda: chain.clock().date(), rows_a_page=1) as aws:
        with_roles(aws, ACCOUNT, OTHER)
        for payer, members in ((ACCOUNT, {ONE: "Shop", TWO: "Lab"}), (OTHER, {THREE: "Museum"})):
            names = {payer: "Payer", **members}
            aws.add_organization(Organization(payer, {each: AwsAccount(each, name) for each, name in names.items()}))
            assert chain.cloud_accounts.add(cloud_account(payer, name=f"org {payer[0]}", is_organization=True))
        chain.parts["aws_costs"] = aws_costs(aws)
        chain.configure()
        both = entry(11, "100", currency="USD")
        chain.load(
            replace(both, scopes=(*both.scopes, Scope("aws", ONE))),
            replace(entry(12, "100", currency="USD"), scopes=(Scope("aws", THREE),)),
        )
        chain.costs.currency_of = lambda _day: "USD"
        chain.spend("30", YESTERDAY)
        yield aws


def spend(aws: AwsSimulator, account: str, amount: str, day: date = YESTERDAY) -> None:
    aws.book.add([AwsCharge(account, "Amazon EC2", day, Decimal(amount))])


def test_a_night_reads_two_organizations_and_a_project_over_two_clouds_has_one_figure(
    chain: Chain, aws: AwsSimulator
) -> None:
    spend(aws, ONE, "22.0000000001")
    spend(aws, TWO, "5")
    spend(aws, TWO, "1E-7", OCTOBER)
    spend(aws, THREE, "60")
    chain.night()
    assert [chain.spent(each) for each in (11, 12)] == [Decimal("52.0000000001"), Decimal(60)]
    # Azure alone comes to 30, of which a mail tells before AWS has answered.
    reached = (("P11", 25), ("P11", 50), ("P12", 50))
    assert sorted(chain.subjects()) == [f"[{name}] {percent} % of the budget reached" for name, percent in reached]
    first, second = (each for each in chain.cloud_accounts.accounts() if each.provider == "aws")
    assert (first.status, second.status) == (AccountStatus.ACTIVE, AccountStatus.ACTIVE)
    assert Member(ONE, "Shop", "ACTIVE") in chain.payers.members(first.id)
    syncs = [chain.payers.syncs(each.id, 1)[0] for each in (first, second)]
    assert [each.totals for each in syncs] == [{"USD": Decimal("27.0000001001")}, {"USD": Decimal(60)}]
    # Each page that was paid for is counted: of November and October of each.
    assert [each.calls for each in syncs] == [3, 2]
    assert aws.stats()["paid_pages"] == 5


def test_an_organization_that_refuses_us_stops_no_other_and_is_read_the_night_after(
    chain: Chain, aws: AwsSimulator
) -> None:
    spend(aws, ONE, "22")
    spend(aws, THREE, "60")
    trusted = aws.iam.roles.pop(cloud_account(ACCOUNT).role_arn)
    chain.night()
    assert [chain.spent(each) for each in (11, 12)] == [30, 60]
    first, second = (each for each in chain.cloud_accounts.accounts() if each.provider == "aws")
    assert (first.status, second.status) == (AccountStatus.ERROR, AccountStatus.ACTIVE)
    assert "Check the role's ARN, the external id" in first.last_sync_error
    aws.iam.roles[trusted.arn] = trusted
    chain.clock.now = chain.clock.now.replace(day=21)
    chain.night()
    assert chain.spent(11) == 52
    assert chain.cloud_accounts.get(first.id).status is AccountStatus.ACTIVE
