"""ChangeLedger, on every database: what is noted with a change, and what is read of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.adapters.database.changes import SqlChanges
from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.messages import Queue
from shared.ports.changes import THE_APP, Action, Actor, Change, ChangeLedger, Via, act_as, noted, pending
from tests.contracts.rows import HOUR, NIGHT

ANN = Actor("Ann", Via.PAGE, "0f8fad5b-d9cb-469f-a165-70867728950e")
RAISED = Change(Action.BUDGET_REVISED, "DIE1", NIGHT, None, "storm season", {"before": {"amount": "1000"}})


@pytest.fixture
def ledger(database: Database) -> ChangeLedger:
    return SqlChanges(database)


@pytest.fixture
def letters(database: Database) -> SqlDeadLetters:
    return SqlDeadLetters(database)


@pytest.fixture(autouse=True)
def nobody_acts_afterwards():
    yield
    act_as(THE_APP)


def record(letters: SqlDeadLetters, origin: str = "message-1") -> None:
    letters.record(Queue.UPDATE, "{}", "no such project", origin, NIGHT)


def test_the_transaction_that_changes_something_holds_its_note(ledger: ChangeLedger, letters: SqlDeadLetters) -> None:
    act_as(ANN)
    with noted(RAISED):
        record(letters)
        assert not pending()
        record(letters, "message-2")
    (change,) = ledger.changes(None, 10)
    assert (change.at, change.by, change.by_id, change.via) == (NIGHT, "Ann", ANN.id, Via.PAGE)
    assert (change.action, change.subject, change.reason) == (Action.BUDGET_REVISED, "DIE1", "storm season")
    assert change.details == {"before": {"amount": "1000"}}


def test_what_is_taken_back_is_not_noted(ledger: ChangeLedger, database: Database) -> None:
    with pytest.raises(ZeroDivisionError), noted(RAISED):
        database.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one() / 0)
    assert ledger.changes(None, 10) == []


def test_a_change_that_somebody_orders_by_name_is_theirs(ledger: ChangeLedger, letters: SqlDeadLetters) -> None:
    with noted(Change(Action.LOCK_ORDERED, "DIE1", NIGHT, by="bob")):
        record(letters)
    (change,) = ledger.changes(None, 10)
    assert (change.by, change.via) == ("bob", Via.APP)


def test_changes_come_in_their_order_and_page_by_page(ledger: ChangeLedger, letters: SqlDeadLetters) -> None:
    for number in range(5):
        with noted(Change(Action.MAIL_RESENT, f"mail {number}", NIGHT + timedelta(minutes=number))):
            record(letters, f"message-{number}")
    every = ledger.changes(None, 10)
    assert [each.subject for each in every] == [f"mail {number}" for number in range(5)]
    assert ledger.changes(None, 2) == every[3:]
    assert ledger.changes(0, 2) == every[:2]
    assert ledger.changes(every[1].id, 2) == every[2:4]


def test_a_sign_in_is_noted_once_a_day(ledger: ChangeLedger) -> None:
    for at in (NIGHT, NIGHT + HOUR, NIGHT + timedelta(days=1)):
        ledger.signed_in(ANN, at)
    ledger.signed_in(Actor("Bob", Via.API, "another"), NIGHT)
    found = [(each.by, each.at, each.action) for each in ledger.changes(None, 10)]
    assert found == [
        ("Ann", NIGHT, Action.SIGNED_IN),
        ("Ann", NIGHT + timedelta(days=1), Action.SIGNED_IN),
        ("Bob", NIGHT, Action.SIGNED_IN),
    ]


@pytest.mark.parametrize("statement", ["DELETE FROM changes", "UPDATE changes SET subject = 'nothing'"])
def test_no_statement_changes_a_row(ledger: ChangeLedger, database: Database, statement: str) -> None:
    ledger.signed_in(ANN, NIGHT)
    before = ledger.changes(None, 10)
    with pytest.raises(DBAPIError, match="rows of the audit are never changed"), database.engine.begin() as connection:
        connection.execute(text(statement))
    assert ledger.changes(None, 10) == before
