"""How AWS is found without asking: who reads the accounts that projects name, and whether anything signs in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.adapters.database.engine import Database
from shared.domain.aws import AWS
from shared.domain.projects import Scope
from shared.ports.cloud_accounts import AccountStatus, CloudAccount
from shared.services.aws_check import unread_accounts, unread_in_words
from shared.services.findings import Finding
from tests.aws_worlds import ACCOUNT, HOME, OTHER, cloud_account
from tests.pipeline.conftest import Chain, entry

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
PENDING = cloud_account(HOME)


@pytest.fixture
def chain(sqlite_url: str) -> Iterator[Chain]:
    database = Database(sqlite_url)
    yield Chain(database)
    database.close()


def of(*accounts: str) -> list[tuple[str, list[Scope]]]:
    return [("P1", [Scope(AWS, each) for each in accounts])]


def added(chain: Chain, account: CloudAccount) -> int:
    made = chain.app.cloud_accounts.add(account)
    assert made is not None
    return made


def finding(chain: Chain, keys: bool = False, signs_in: bool = True) -> Finding | None:
    return replace(chain.app.aws_check, has_keys=lambda _id: keys, signs_in=lambda: signs_in).finding()


@pytest.mark.parametrize(
    "account",
    [
        cloud_account(ACCOUNT),
        replace(PENDING, is_organization=True),
        replace(PENDING, is_organization=True, reads=(ACCOUNT,)),
        replace(PENDING, is_organization=True, reads=(OTHER,), organizational_unit="ou-ab12-cdefghij"),
    ],
)
def test_an_account_that_is_named_or_may_turn_out_to_be_read_is_not_unread(chain: Chain, account: CloudAccount) -> None:
    assert unread_accounts(chain.app.cloud_accounts, of(ACCOUNT)) == {ACCOUNT: "P1"}
    made = added(chain, account)
    assert unread_accounts(chain.app.cloud_accounts, of(ACCOUNT)) == {}
    chain.app.cloud_accounts.disable(made, "by hand")
    assert unread_accounts(chain.app.cloud_accounts, of(ACCOUNT)) == {ACCOUNT: "P1"}


@pytest.mark.parametrize(
    "account", [PENDING, replace(PENDING, is_organization=True, reads=(OTHER,)), cloud_account(OTHER)]
)
def test_a_cloud_account_that_reads_others_reads_it_not(chain: Chain, account: CloudAccount) -> None:
    added(chain, account)
    assert unread_accounts(chain.app.cloud_accounts, of(ACCOUNT)) == {ACCOUNT: "P1"}


def test_what_a_payer_has_not_met_when_it_was_read_is_unread(chain: Chain) -> None:
    made = added(chain, replace(PENDING, is_organization=True))
    chain.app.cloud_accounts.mark_synced(made, NOW)
    assert unread_accounts(chain.app.cloud_accounts, of(ACCOUNT, OTHER)) == {ACCOUNT: "P1", OTHER: "P1"}
    said = unread_in_words(unread_accounts(chain.app.cloud_accounts, of(ACCOUNT, OTHER)))
    assert said == f"no cloud account reads AWS accounts {ACCOUNT} (P1), {OTHER} (P1)"


def test_where_nobody_has_anything_at_aws_nothing_is_said(chain: Chain) -> None:
    chain.load(entry(), replace(entry(12, active=False), scopes=(Scope(AWS, ACCOUNT),)))
    assert finding(chain) is None
    assert "AWS" not in [each.part for each in chain.installation.findings(str)]


def test_a_project_at_aws_alone_is_told_with_who_is_missing_and_azure_is_not_asked(chain: Chain) -> None:
    chain.load(replace(entry(), scopes=(Scope(AWS, ACCOUNT),)))
    found = {each.part: each for each in chain.installation.findings(str)}
    assert found["Azure"].text == "not asked: no active project has anything there"
    assert found["AWS"] == Finding(
        "AWS",
        True,
        "not asked: it has no cloud account",
        f"no cloud account reads AWS account {ACCOUNT} (P11): `cloud-accounts add aws` makes one that does "
        "(docs/aws.md)",
    )
    status = chain.app.status_service.status(5)
    assert status.hands[-1] == f"no cloud account reads AWS account {ACCOUNT} (P11) (`cloud-accounts add aws`)"


def test_cloud_accounts_that_were_never_read_are_told_and_that_nothing_signs_in(chain: Chain) -> None:
    first, second = added(chain, cloud_account(ACCOUNT)), added(chain, cloud_account(OTHER, name="other"))
    text = "not asked, for each question is paid for; nights ask by 2 cloud accounts"
    never = "2 of them were never read: `cloud-accounts test ID` tries one"
    assert finding(chain) == finding(chain, keys=True, signs_in=False) == Finding("AWS", True, text, never)
    nothing = f"nothing signs in for prod ({first}), other ({second}): set AWS_ROLE_ARN, or give keys"
    assert finding(chain, signs_in=False) == Finding(
        "AWS", True, text, f"{never}; {nothing} (`cloud-accounts keys ID`)"
    )
    chain.app.cloud_accounts.mark_synced(first, NOW)
    one = finding(chain)
    assert one and one.warning == "1 of them was never read: `cloud-accounts test ID` tries one"
    chain.app.cloud_accounts.mark_synced(second, NOW)
    assert finding(chain, signs_in=False) == Finding("AWS", True, text)
    assert {each.status for each in chain.app.cloud_accounts.accounts()} == {AccountStatus.ACTIVE}
