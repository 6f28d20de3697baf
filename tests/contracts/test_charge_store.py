"""The ChargeStore, on every database."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import insert, update

from shared.adapters.database.engine import Database
from shared.adapters.database.focus import SqlChargeStore
from shared.adapters.database.tables import accounts, cloud_accounts, export_feeds, exports
from shared.domain.exports.runs import Dataset, Width
from shared.domain.periods import Period
from shared.ports.cloud_accounts import ConnectionType
from shared.ports.errors import LaterError
from shared.ports.focus import FocusCharge, FocusProject, FocusScope
from shared.ports.spending import Selection
from tests.contracts.ledger_data import NOVEMBER, NOW, OCTOBER, SUB, Ledgers, entry, november

OTHER = "2caaa5a3-2b66-438e-8ab4-bce37d518c5d"
ALL_OF_IT = Selection(Period(OCTOBER.start, NOVEMBER.end))


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    return Ledgers(database)


@pytest.fixture
def spent(ledgers: Ledgers) -> Ledgers:
    """Two subscriptions, two projects, a group that nobody owns, two months and two currencies."""
    ledgers.load(entry(1, "RG-1", owner="Ann Roy"), entry(2, "rg-2", subscription_id=OTHER))
    ledgers.spend(("RG-1", date(2026, 10, 31), "Storage", "-1.0000000001"), window=OCTOBER)
    later = datetime(2026, 11, 20, 3, tzinfo=UTC)
    ledgers.spend(
        ("RG-1", november(1), "SQL", "0"),
        ("RG-1", november(2), "SQL", "4"),
        ("Stray", november(2), "SQL", "8"),
        ("", november(3), "Support", "16"),
        now=later,
    )
    ledgers.spend(("rg-2", november(2), "SQL", "32"), currency="USD", sub_account_id=OTHER)
    return ledgers


def given(ledgers: Ledgers, *which: Selection) -> Counter[tuple[object, ...]]:
    """Sub-account, group, day, service, currency, cost and project of each charge."""
    with SqlChargeStore(ledgers.database).charges(which or [ALL_OF_IT]) as found:
        scopes = {each.id: each for each in found.scopes}
        projects = {each.id: each.acronym for each in found.projects}
        rows = [FocusCharge(*row) for batch in found.batches for row in batch]
    return Counter(
        (
            scopes[row.scope_id].sub_account_id,
            scopes[row.scope_id].resource_group,
            row.day,
            row.service,
            row.currency,
            row.cost,
            projects[row.project_id] if row.project_id else None,
        )
        for row in rows
    )


def scope_of(ledgers: Ledgers, sub_account_id: str) -> FocusScope:
    with SqlChargeStore(ledgers.database).charges([replace(ALL_OF_IT, sub_account_id=sub_account_id)]) as found:
        return found.scopes[0]


def test_each_charge_is_given_once_with_its_exact_cost_and_whose_it_is(spent: Ledgers) -> None:
    assert given(spent) == Counter(
        [
            (SUB, "RG-1", date(2026, 10, 31), "Storage", "CAD", Decimal("-1.0000000001"), "P1"),
            (SUB, "RG-1", november(1), "SQL", "CAD", Decimal(0), "P1"),
            (SUB, "RG-1", november(2), "SQL", "CAD", Decimal(4), "P1"),
            (SUB, "Stray", november(2), "SQL", "CAD", Decimal(8), None),
            (SUB, "", november(3), "Support", "CAD", Decimal(16), None),
            (OTHER, "rg-2", november(2), "SQL", "USD", Decimal(32), "P2"),
        ]
    )


def test_who_answers_for_a_project_is_told(spent: Ledgers) -> None:
    with SqlChargeStore(spent.database).charges([ALL_OF_IT]) as found:
        assert found.projects == [FocusProject(1, "P1", "Ann Roy", None, None), FocusProject(2, "P2", None, None, None)]


def test_days_projects_and_sub_accounts_can_be_chosen(spent: Ledgers) -> None:
    assert set(given(spent, Selection(Period(november(1), november(3))))) == {
        each for each in given(spent) if each[2] in (november(1), november(2))
    }
    assert {each[-1] for each in given(spent, replace(ALL_OF_IT, project_ids=[1]))} == {"P1"}
    accounts_too = (replace(ALL_OF_IT, sub_account_id=each) for each in (SUB, OTHER))
    assert given(spent, *accounts_too) == given(spent)
    assert given(spent, replace(ALL_OF_IT, project_ids=[1], sub_account_id=OTHER)) == Counter()


def test_a_charge_stays_with_the_project_that_had_its_group_on_that_day(spent: Ledgers) -> None:
    spent.load(entry(1, "rg-9"), entry(3, "RG-1"), now=datetime(2026, 11, 1, 12, tzinfo=UTC))
    of_group = {each[2]: each[-1] for each in given(spent) if each[1] == "RG-1"}
    assert of_group == {date(2026, 10, 31): "P1", november(1): "P1", november(2): "P3"}
    assert {each[2] for each in given(spent, replace(ALL_OF_IT, project_ids=[1]))} == {
        date(2026, 10, 31),
        november(1),
    }


def test_there_may_be_more_charges_than_are_fetched_at_once(ledgers: Ledgers) -> None:
    ledgers.load(entry(1, "rg-1"))
    ledgers.spend(*(("rg-1", november(day), f"Service {each}", "1") for day in (1, 2, 3) for each in range(900)))
    found = given(ledgers)
    assert (len(found), set(found.values())) == (2700, {1})


def test_a_sub_account_is_its_own_billing_account_until_another_is_known(spent: Ledgers) -> None:
    def write(*statements):
        spent.database.run(lambda connection: [connection.execute(each) for each in statements] and None)

    assert scope_of(spent, SUB)[1:] == ("azure", SUB, SUB, "RG-1", SUB, SUB)
    mine = cloud_accounts.c.external_account_id == SUB
    write(update(cloud_accounts).where(mine).values(name="Water"))
    assert scope_of(spent, SUB)[1:] == ("azure", SUB, "Water", "RG-1", SUB, "Water")
    export = {"id": 7, "key": "azure:7", "provider": "azure", "external_id": "7", "name": "daily", "found_at": NOW}
    export |= {"dataset": Dataset.ACTUAL, "width": Width.BILLING_ACCOUNT, "billing_account": "8611537"}
    feed = {"provider": "azure", "sub_account_id": SUB, "group_key": "*", "export_id": 7}
    write(insert(exports).values(export), insert(export_feeds).values(feed))
    assert scope_of(spent, SUB)[1:] == ("azure", SUB, "Water", "RG-1", "8611537", "8611537")
    container = {"external_account_id": "msexports", "connection_type": ConnectionType.COST_EXPORT}
    write(update(cloud_accounts).where(mine).values(container))
    assert scope_of(spent, SUB)[1:] == ("azure", SUB, SUB, "RG-1", "8611537", "8611537")
    assert scope_of(spent, OTHER).billing_account_id == OTHER


def test_a_payer_is_the_billing_account_of_its_members(spent: Ledgers) -> None:
    payer = {"id": 99, "name": "The payer", "organization": "default", "provider": "aws", "status": "active"}
    payer |= {"connection_type": "COST_EXPLORER", "external_account_id": "111122223333", "detail": "service"}
    spent.database.run(
        lambda connection: (
            connection.execute(insert(cloud_accounts).values(payer))
            and connection.execute(update(accounts).values(cloud_account_id=99))
            and None
        )
    )
    assert scope_of(spent, SUB)[3:] == (SUB, "RG-1", "111122223333", "The payer")


def test_a_database_that_is_away_is_said_at_once() -> None:
    away = Database("postgresql+psycopg://nobody@127.0.0.1:9/none")
    with pytest.raises(LaterError), SqlChargeStore(away).charges([ALL_OF_IT]):
        pass
