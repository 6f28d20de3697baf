"""The demo's payer at AWS, which is read by sealed keys and a role, and its project over two clouds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from localdev.aws_sim import AwsSimulator
from localdev.aws_sim import demo_organization as organization
from localdev.demo_stage import command, say
from shared.composition import Composition
from shared.domain.aws import AWS
from shared.domain.periods import DAY, Period
from shared.ports.azure import AZURE
from shared.ports.spending import By, Selection
from shared.settings import load

ACRONYM = "GLACI"
# Made for the demo: it seals what opens nothing outside of it.
SEALING_KEY = "RGVtby1rZXktdGhhdC1zZWFscy1ub3RoaW5nLXJlYWw="
ADD = (
    *("cloud-accounts", "add", "aws", "--name", "polar", "--payer"),
    *("--role-arn", organization.ROLE, "--external-id", organization.EXTERNAL_ID, "--access-keys"),
)
KEYS = f"{organization.ACCESS_KEY}\n{organization.SECRET}\n"


def settings(aws: AwsSimulator) -> dict[str, str]:
    """What an installation needs to read AWS by sealed keys; and who plays AWS."""
    return {"AWS_ENDPOINT": aws.url, "ENCRYPTION_KEYS": f"demo:{SEALING_KEY}"}


def add(environment: Mapping[str, str]) -> None:
    """Adds the payer, with its keys from the standard input."""
    command(environment, *ADD, given=KEYS)


def add_missing(environment: Mapping[str, str]) -> None:
    """Adds the payer, where it was not added before."""
    known = json.loads(command(environment, "cloud-accounts", "list", "--json"))
    if all(each["external_account_id"] != organization.PAYER for each in known):
        add(environment)


def show(environment: Mapping[str, str], day: date, aws: AwsSimulator) -> None:
    """What the project over two clouds has spent by a day of its period, and what reading AWS came to."""
    azure, at_aws = spent(environment, day)
    stats = aws.stats()
    say(
        f"\n{ACRONYM} has spent {azure:,.2f} USD in Azure and {at_aws:,.2f} USD at AWS. Neither alone is 25 % of its "
        "budget: together they are one figure, and made one mail."
    )
    say(
        f"AWS is read as an organization, by sealed keys and a role; both nights paid for {stats['paid_pages']} pages, "
        f"{stats['cost_usd']} USD."
    )


def spent(environment: Mapping[str, str], day: date) -> tuple[Decimal, Decimal]:
    """What the project over two clouds has spent of its month in Azure, and at AWS."""
    app = Composition(load(environment))
    days, project = Period(day.replace(day=1), day + DAY), app.projects.find(ACRONYM) or 0
    costs = {each.key[0]: each.cost for each in app.spending.sums(Selection(days, [project]), By.SUB_ACCOUNT)}
    app.database.close()
    return costs[AZURE], costs[AWS]
