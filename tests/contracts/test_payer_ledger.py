"""What a PayerLedger does: which sub-accounts a cloud account reads, and what that costs."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import insert, select

from shared.adapters.database.engine import Database
from shared.adapters.database.payers import SqlPayers
from shared.adapters.database.tables import WHOLE, accounts, cloud_accounts, export_feeds, exports
from shared.domain.exports.runs import Dataset, Width
from shared.ports.cloud_accounts import AccountStatus, ConnectionType
from shared.ports.costs import SubAccount
from shared.ports.payers import Member, Sync

DAY, NEXT = date(2026, 11, 30), date(2026, 12, 1)
AT = datetime(2026, 11, 30, 2, tzinfo=UTC)
ONE, TWO, THREE, FOUR, FIVE = (str(number) * 12 for number in range(1, 6))


@pytest.fixture
def payers(database: Database) -> SqlPayers:
    return SqlPayers(database)


def cloud_account(database: Database, name: str, status: AccountStatus = AccountStatus.PENDING) -> int:
    row = {"organization": "default", "provider": "aws", "connection_type": ConnectionType.COST_EXPLORER}
    row |= {"detail": "service", "status": status, "name": name, "external_account_id": name}
    made = insert(cloud_accounts).values(row)
    return database.run(lambda connection: connection.execute(made).inserted_primary_key[0])


def feed(database: Database, **ids: int) -> None:
    rows = [{"provider": "aws", "sub_account_id": each[1:], "cloud_account_id": by} for each, by in ids.items()]
    database.run(lambda connection: connection.execute(insert(accounts), rows))


def fed(database: Database) -> dict[str, int | None]:
    rows = select(accounts.c.sub_account_id, accounts.c.cloud_account_id)
    return dict(database.read(lambda connection: [tuple(row) for row in connection.execute(rows)]))


def test_paid_calls_are_counted_by_day_up_to_the_most(payers: SqlPayers) -> None:
    assert [payers.may_call(7, DAY, 2) for _ in range(4)] == [True, True, False, False]
    assert payers.may_call(7, NEXT, 2)
    assert payers.may_call(8, DAY, 1)
    assert not payers.may_call(9, DAY, 0)
    assert [payers.calls_on(*each) for each in ((7, DAY), (7, NEXT), (8, DAY), (9, DAY))] == [2, 1, 1, 0]


def test_many_at_once_make_no_call_too_many(payers: SqlPayers) -> None:
    made: list[bool] = []
    threads = [threading.Thread(target=lambda: made.append(payers.may_call(7, DAY, 5))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (made.count(True), payers.calls_on(7, DAY)) == (5, 5)


def test_a_payer_takes_what_nothing_else_feeds_and_is_told_of_the_rest(payers: SqlPayers) -> None:
    database = payers.database
    payer, other = cloud_account(database, "payer"), cloud_account(database, "other")
    off = cloud_account(database, "off", AccountStatus.DISABLED)
    files = cloud_account(database, "files", AccountStatus.DISABLED)
    feed(database, **{f"_{ONE}": other, f"_{TWO}": off, f"_{THREE}": 999, f"_{FIVE}": files})
    export = {"key": "e", "provider": "aws", "external_id": "e", "name": "e", "dataset": Dataset.FOCUS}
    export |= {"width": Width.SUB_ACCOUNT, "billing_account": "", "found_at": AT}
    made = database.run(lambda connection: connection.execute(insert(exports).values(export)).inserted_primary_key[0])
    feeding = {"provider": "aws", "sub_account_id": FIVE, "group_key": WHOLE, "export_id": made}
    database.run(lambda connection: connection.execute(insert(export_feeds).values(feeding)))
    ids = [ONE, TWO, THREE, FOUR, FIVE]
    assert payers.adopt(payer, "aws", ids) == {ONE: other, FIVE: None}
    assert fed(database) == {ONE: other, TWO: payer, THREE: payer, FOUR: payer, FIVE: files}
    assert payers.adopt(payer, "aws", ids) == {ONE: other, FIVE: None}
    assert payers.members(payer) == [Member(TWO), Member(THREE), Member(FOUR)]
    assert payers.adopt(payer, "aws", []) == {}


def test_what_is_listed_is_kept_and_who_is_not_active_any_more_has_left_since_then(payers: SqlPayers) -> None:
    payer = cloud_account(payers.database, "payer")
    payers.adopt(payer, "aws", [ONE, TWO, THREE])
    listed = [SubAccount(ONE, "Shop", "ACTIVE"), SubAccount(TWO, "Lab", "ACTIVE"), SubAccount(FIVE, "Else", "ACTIVE")]
    payers.note_listed(payer, "aws", listed, ["ACTIVE"], DAY)
    assert payers.members(payer) == [
        Member(ONE, "Shop", "ACTIVE"),
        Member(TWO, "Lab", "ACTIVE"),
        Member(THREE, None, None, DAY),
    ]
    payers.note_listed(payer, "aws", [SubAccount(TWO, "Lab", "SUSPENDED"), *listed[2:]], ["ACTIVE"], NEXT)
    assert payers.members(payer) == [
        Member(ONE, "Shop", "ACTIVE", NEXT),
        Member(TWO, "Lab", "SUSPENDED", NEXT),
        Member(THREE, None, None, DAY),
    ]
    payers.note_listed(payer, "aws", listed, ["ACTIVE"], NEXT)
    assert [each.left_on for each in payers.members(payer)] == [None, None, DAY]


def keep(payers: SqlPayers, cloud_account_id: int, sync: Sync) -> None:
    payers.change_sync(cloud_account_id, sync, lambda _before: sync)


def test_what_syncs_came_to_is_kept_once_for_each_run_the_newest_first(payers: SqlPayers) -> None:
    first = Sync("night-1", AT, AT, 10, {"USD": Decimal("1.0000000001")}, 2, 3)
    second = Sync("night-2", AT.replace(day=29), AT, errors=("It was refused.",))
    for each in (second, first, first):
        keep(payers, 7, each)
    again = Sync("night-1", AT, AT, 12, {"USD": Decimal(2)}, 2, 4)
    keep(payers, 7, again)
    keep(payers, 8, first)
    assert payers.syncs(7, 5) == [again, Sync("night-2", AT.replace(day=29), AT, 0, {}, 0, 0, ("It was refused.",))]
    assert payers.syncs(7, 1) == [again]
    assert (payers.sync_of(7, "night-1"), payers.sync_of(9, "night-1")) == (again, None)
    left_out = Sync("night-3", AT, AT, totals={}, left_out=(ONE, TWO))
    keep(payers, 9, left_out)
    assert payers.sync_of(9, "night-3") == left_out


def test_what_many_add_to_one_sync_at_once_is_all_there(payers: SqlPayers) -> None:
    begun = Sync("night-1", AT, AT)

    def with_one_more(sync: Sync) -> Sync:
        # Long enough for another to come between.
        time.sleep(0.01)
        total = (sync.totals or {}).get("USD", Decimal(0)) + 1
        return replace(sync, rows=sync.rows + 1, calls=sync.calls + 1, totals={"USD": total})

    def add_some() -> None:
        for _ in range(4):
            payers.change_sync(7, begun, with_one_more)

    threads = [threading.Thread(target=add_some) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert payers.sync_of(7, "night-1") == replace(begun, rows=20, calls=20, totals={"USD": Decimal(20)})
