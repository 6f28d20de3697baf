"""What a CloudAccountLedger keeps of those that people add."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.adapters.database.cloud_accounts import SqlCloudAccounts
from shared.adapters.database.engine import Database
from shared.adapters.database.payers import SqlPayers
from tests.aws_worlds import ACCOUNT, OTHER, cloud_account


@pytest.fixture
def ledger(database: Database) -> SqlCloudAccounts:
    return SqlCloudAccounts(database)


def test_one_that_is_added_is_kept_with_all_its_settings_and_once(ledger: SqlCloudAccounts) -> None:
    one = cloud_account(is_organization=True, reads=(ACCOUNT, OTHER), organizational_unit="ou-ab12-3c4d5e6f")
    first = ledger.add(replace(one, without_credits=True, detail="meter"))
    assert ledger.get(first) == replace(one, id=first, without_credits=True, detail="meter")
    assert ledger.add(one) is None
    second = ledger.add(cloud_account(OTHER))
    assert ledger.accounts()[1] == cloud_account(OTHER, id=second)


def test_what_feeds_a_sub_account_is_found(ledger: SqlCloudAccounts, database: Database) -> None:
    made = ledger.add(cloud_account())
    assert ledger.feeding("aws", OTHER) is None
    assert ledger.fed("aws") == frozenset()
    SqlPayers(database).adopt(made, "aws", [OTHER])
    ledger.disable(made, "moved")
    assert ledger.feeding("aws", OTHER).id == made
    assert ledger.feeding("azure", OTHER) is None
    assert (ledger.fed("aws"), ledger.fed("azure")) == ({OTHER}, frozenset())
