"""The demo's organization at AWS: what its accounts spend, and who may read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from localdev.aws_sim.book import AwsCharge
from localdev.aws_sim.organizations import AwsAccount, Organization
from localdev.aws_sim.simulator import AwsSimulator

DAYS = 60
PAYER, GLACIERS, SANDBOX = "510000000001", "510000000002", "510000000003"
NAMES = {PAYER: "Polar Data", GLACIERS: "Glacier Watch", SANDBOX: "Sandbox"}
# In US dollars a day. No project owns the payer's own costs, and those of the sandbox.
COMPUTE, STORAGE = "Amazon Elastic Compute Cloud - Compute", "Amazon Simple Storage Service"
PER_DAY = {
    PAYER: {"AmazonCloudWatch": Decimal("0.4102")},
    GLACIERS: {COMPUTE: Decimal("7.3"), STORAGE: Decimal("3.0517")},
    SANDBOX: {COMPUTE: Decimal("2.88"), STORAGE: Decimal("0.0000001")},
}
TAX = Decimal("5.25")
ROLE = f"arn:aws:iam::{PAYER}:role/costs"
EXTERNAL_ID = "warden-of-the-demo"
USER = f"arn:aws:iam::{PAYER}:user/budget-warden"
ACCESS_KEY, SECRET = "AKIADEMO000000000001", "OpensNothing/OutsideOfTheDemo+0000000000"
ALLOWED = ("ce:GetCostAndUsage", "organizations:ListAccounts")


def simulator(night: date, others: int = 0, **how: Any) -> AwsSimulator:
    """What plays AWS with this organization, and its charges of the 60 days before a night.

    others: so many further accounts, made up. how: fields of the simulator.
    """
    aws = AwsSimulator(**how)
    names = NAMES | {f"52{number:010}": f"Account {number}" for number in range(1, others + 1)}
    aws.add_organization(Organization(PAYER, {each: AwsAccount(each, name) for each, name in names.items()}))
    aws.iam.add_user(USER, ACCESS_KEY, SECRET)
    aws.iam.add_role(ROLE, trusts=[USER], external_id=EXTERNAL_ID, allows=ALLOWED)
    for day in (night - timedelta(days=number) for number in range(DAYS, 0, -1)):
        spend(aws, day)
    return aws


def spend(aws: AwsSimulator, day: date) -> None:
    """Adds what all accounts spend on a day."""
    aws.book.add(_charges(aws.organizations[PAYER], day))


def _charges(organization: Organization, day: date) -> Iterator[AwsCharge]:
    for number, account in enumerate(organization.accounts):
        for service, cost in PER_DAY.get(account, {COMPUTE: Decimal(number)}).items():
            yield AwsCharge(account, service, day, cost)
    if day.day == 1:
        yield AwsCharge(GLACIERS, "Tax", day, TAX, record_type="Tax")
