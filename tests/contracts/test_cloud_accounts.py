"""What a CloudAccountLedger keeps of those that people add."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.database.cloud_accounts import SqlCloudAccounts
from shared.adapters.database.engine import Database
from shared.adapters.database.payers import SqlPayers
from tests.aws_worlds import ACCOUNT, OTHER, cloud_account

SECOND = timedelta(seconds=1)


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


def test_of_an_organization_one_sync_by_hand_may_begin_at_a_time_whoever_asks(ledger: SqlCloudAccounts) -> None:
    one, two, three = (
        ledger.add(replace(cloud_account(number), organization=organization))
        for number, organization in ((ACCOUNT, "Lab"), (OTHER, "lab"), ("333333333333", "Shop"))
    )
    now, every = datetime(2026, 11, 20, 12, tzinfo=UTC), timedelta(minutes=15)
    with ThreadPoolExecutor(8) as many:
        claims = list(many.map(lambda account: ledger.claim_manual_sync(account, now, now - every), [one, two] * 4))
    assert sorted(claims, key=str) == [now] * 7 + [None]
    assert ledger.claim_manual_sync(three, now, now - every) is None
    assert ledger.claim_manual_sync(one, now + every - SECOND, now - SECOND) == now
    assert ledger.claim_manual_sync(one, now + every, now) is None
    assert ledger.claim_manual_sync(two, now + every, now) == now + every
    # A sync that could not begin after all.
    ledger.note_manual_sync([one, two], None)
    assert ledger.claim_manual_sync(two, now + every, now) is None
