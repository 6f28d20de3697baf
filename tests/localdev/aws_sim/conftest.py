"""The AWS simulator, and the genuine clients that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from localdev.aws_sim import AwsAccount, AwsCharge, AwsSimulator, Organization

HOME, PAYER, MEMBER = "100000000001", "200000000002", "300000000003"
USER, KEY, SECRET = f"arn:aws:iam::{PAYER}:user/reader", "AKIAREADER0000000001", "a-secret"
ROLE, EXTERNAL_ID = f"arn:aws:iam::{PAYER}:role/costs", "warden-5f1d"
BY_ACCOUNT = [{"Type": "DIMENSION", "Key": "LINKED_ACCOUNT"}, {"Type": "DIMENSION", "Key": "SERVICE"}]


def a_charge(amount: str = "1.5", account: str = PAYER, day: int = 5, **more: Any) -> AwsCharge:
    """On a day of November."""
    return AwsCharge(account, more.pop("service", "Amazon S3"), date(2026, 11, day), Decimal(amount), **more)


class Aws:
    """A simulator, with an organization of two accounts, a user of the payer, and a role that the user takes on."""

    def __init__(self, sim: AwsSimulator) -> None:
        self.sim = sim
        sim.iam.add_user(USER, KEY, SECRET)
        sim.iam.add_role(ROLE, trusts=[USER], external_id=EXTERNAL_ID)
        sim.add_organization(Organization(PAYER, {each: AwsAccount(each, f"Of {each[0]}") for each in (PAYER, MEMBER)}))

    def client(self, service: str, session: Mapping[str, Any] | None = None, **how: Any) -> Any:
        """boto3's, signed by the user's key or by a session; it tries nothing twice."""
        keys = session or {"AccessKeyId": KEY, "SecretAccessKey": SECRET}
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.sim.url,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, **how),
        )

    def sts_without_keys(self) -> Any:
        """For calls that nobody signs."""
        return self.client("sts", signature_version=UNSIGNED)

    def take_on(self, external_id: str = EXTERNAL_ID, role: str = ROLE) -> Mapping[str, Any]:
        """A session as the role, signed for by the user."""
        answer = self.client("sts").assume_role(RoleArn=role, RoleSessionName="tests", ExternalId=external_id)
        return answer["Credentials"]

    def page(self, client: Any = None, token: str | None = None, **changes: Any) -> Mapping[str, Any]:
        """A page of November's costs, by account and service."""
        asked = {
            "TimePeriod": {"Start": "2026-11-01", "End": "2026-12-01"},
            "Granularity": "DAILY",
            "Metrics": ["UnblendedCost"],
            "GroupBy": BY_ACCOUNT,
        }
        given = {"NextPageToken": token} if token else {}
        return (client or self.client("ce")).get_cost_and_usage(**asked, **given, **changes)

    def rows(self, client: Any = None, **changes: Any) -> list[tuple[str, str, str]]:
        """The account, the day and the amount of each row of all pages."""
        pages = [self.page(client, **changes)]
        while token := pages[-1].get("NextPageToken"):
            pages.append(self.page(client, token, **changes))
        return [
            (group["Keys"][0], result["TimePeriod"]["Start"], group["Metrics"]["UnblendedCost"]["Amount"])
            for page in pages
            for result in page["ResultsByTime"]
            for group in result["Groups"]
        ]


@pytest.fixture
def running() -> Iterator[Callable[..., Aws]]:
    """Starts simulators that stop when the test ends: `running(charge, charge, **options)`."""
    with ExitStack() as stack:

        def start(*charges: AwsCharge, **options: Any) -> Aws:
            sim = stack.enter_context(AwsSimulator(**options))
            sim.book.add(charges)
            return Aws(sim)

        yield start


class HandClock:
    """AWS's clock, which can be moved away from ours."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def charge() -> Callable[..., AwsCharge]:
    return a_charge
