"""AWS as the stand-in plays it, with the roles and cloud accounts that tests read it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from localdev.aws_sim import AwsSimulator
from shared.adapters.costs.aws import AwsCosts
from shared.adapters.costs.aws_access import AwsAccess
from shared.ports.cloud_accounts import AccountStatus, CloudAccount, ConnectionType
from shared.ports.costs import AccountsQuery, AccountsSource, CostAnswer, CostQuery
from shared.ports.credentials import AccessKeys

HOME, ACCOUNT, OTHER = "100000000001", "200000000002", "300000000003"
APP_ROLE = f"arn:aws:iam::{HOME}:role/budget-warden"
EXTERNAL_ID = "warden-5f1d"
IDENTITY, TOKEN = "the app's identity", "eyJ0eXAi.an-identity.token"
USER = f"arn:aws:iam::{HOME}:user/warden"
KEYS = AccessKeys("AKIAWARDEN0000000001", "secret-of-the-warden/0000000000000000000")


def role_in(account: str) -> str:
    return f"arn:aws:iam::{account}:role/costs"


def cloud_account(account: str = ACCOUNT, **other: object) -> CloudAccount:
    """A cloud account that is read by its role."""
    made = CloudAccount(
        7,
        "prod",
        "default",
        "aws",
        ConnectionType.COST_EXPLORER,
        account,
        role_in(account),
        EXTERNAL_ID,
        "service",
        AccountStatus.PENDING,
        None,
        None,
        None,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def with_roles(aws: AwsSimulator, *accounts: str) -> None:
    """The app's identity takes on its role, and from there, or by its keys, those of the accounts."""
    aws.iam.tokens[TOKEN] = IDENTITY
    aws.iam.add_role(APP_ROLE, trusts=[IDENTITY])
    aws.iam.add_user(USER, KEYS.access_key_id, KEYS.secret_access_key)
    for account in accounts or (ACCOUNT,):
        aws.iam.add_role(role_in(account), trusts=[APP_ROLE, USER], external_id=EXTERNAL_ID)


def aws_access(aws: AwsSimulator | str, keys: AccessKeys | None = None, **how: object) -> AwsAccess:
    """How the app signs in: by its identity, or by access keys of the cloud account."""
    url = aws if isinstance(aws, str) else aws.url
    return AwsAccess(lambda _id: keys, APP_ROLE, lambda: TOKEN, url, **how)  # type: ignore[arg-type]


def aws_costs(aws: AwsSimulator | str, keys: AccessKeys | None = None, **how: object) -> AwsCosts:
    return AwsCosts(aws_access(aws, keys, **how), sleep=lambda _seconds: None)


def always() -> bool:
    return True


def at_most(calls: int) -> Callable[[], bool]:
    """For `may_call`."""
    left = [None] * calls

    def may_call() -> bool:
        return bool(left) and left.pop() is None

    return may_call


@dataclass
class OneAccount:
    """A CostSource that asks for all of one account: what sources keep to, those of payers have to keep to as well."""

    source: AccountsSource

    def __getattr__(self, name: str) -> object:
        return getattr(self.source, name)

    def read(self, query: CostQuery, progress: bytes | None = None, until: datetime | None = None) -> CostAnswer:
        account = cloud_account(query.sub_account_id)
        answer = self.source.read_all(AccountsQuery(account, query.window), always, progress, until)
        odd = {"": answer.odd[query.sub_account_id]} if answer.odd else {}
        return CostAnswer(answer.charges.get(query.sub_account_id, ()), answer.begun_at, odd)
