"""The LockLedger's decisions, on every database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Delete, Update, delete, update
from sqlalchemy.exc import DBAPIError

from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from shared.adapters.database.tables import audit
from shared.domain.locks import Outcome
from shared.messages import LockAction, LockTrigger
from shared.ports.locks import AuditEntry, LockLedger
from tests.contracts.ledger_data import DAY, NOW, Ledgers, entry
from tests.contracts.rows import HOUR

LOCKED = AuditEntry(
    key="message-1 lock",
    project_id=1,
    action=LockAction.LOCK,
    outcome=Outcome.LOCKED,
    reason="the costs that were read show 1000.0000000001 of 1000",
    trigger=LockTrigger.OPERATOR,
    by="Zoë",
    asked="Żółć 😀",
    figures={"usage": "1000.0000000001", "azure": None},
    details={"groups": [["rg-1", "locked"]], "machines": []},
    run_key="night",
)


@pytest.fixture
def ledgers(database: Database) -> Ledgers:
    ledgers = Ledgers(database)
    ledgers.load(entry(1), entry(2))
    return ledgers


@pytest.fixture
def ledger(locks: LockLedger, ledgers: Ledgers) -> LockLedger:
    """The ledger, with projects 1 and 2."""
    return locks


def decide(ledger: LockLedger, number: int = 1, **changes: Any) -> None:
    """Writes a decision down, the key and the time of which follow from its number."""
    decision = replace(LOCKED, **({"key": f"decision {number}"} | changes))
    at = NOW + number * HOUR
    assert ledger.claim(decision.project_id, "tester", at + HOUR, at)
    assert ledger.record(decision, "tester", None, (), at)


def keys(ledger: LockLedger, *asked: int | None) -> list[str]:
    return [view.entry.key for view in ledger.decisions(*asked)]


def test_nothing_is_listed_where_nothing_was_decided(ledger: LockLedger) -> None:
    assert ledger.decisions() == []


def test_a_decision_comes_back_as_it_was_written(ledger: LockLedger) -> None:
    decide(ledger, key=LOCKED.key)
    (view,) = ledger.decisions()
    assert (view.at, view.acronym, view.entry) == (NOW + HOUR, "P1", LOCKED)


def test_what_a_decision_does_not_say_stays_empty(ledger: LockLedger) -> None:
    bare = AuditEntry("bare", 1, LockAction.UNLOCK, Outcome.REFUSED, "it is not locked", LockTrigger.CHECK)
    assert ledger.claim(1, "tester", NOW + HOUR, NOW)
    assert ledger.record(bare, "tester", None, (), NOW)
    assert ledger.decisions()[0].entry == bare


def test_decisions_are_listed_oldest_first(ledger: LockLedger) -> None:
    for number in (1, 2, 3):
        decide(ledger, number)
    assert keys(ledger) == ["decision 1", "decision 2", "decision 3"]


def test_a_limit_takes_the_newest(ledger: LockLedger) -> None:
    for number in (1, 2, 3):
        decide(ledger, number)
    assert keys(ledger, None, 2) == ["decision 2", "decision 3"]


def test_one_project_s_decisions_are_listed_apart(ledger: LockLedger) -> None:
    decide(ledger, 1, project_id=1)
    decide(ledger, 2, project_id=2)
    decide(ledger, 3, project_id=1)
    assert keys(ledger, 1) == ["decision 1", "decision 3"]
    assert keys(ledger, 1, 1) == ["decision 3"]
    assert keys(ledger, 4711) == []


def test_a_project_that_gets_another_acronym_keeps_its_old_one_in_the_audit(
    ledger: LockLedger, ledgers: Ledgers
) -> None:
    decide(ledger, 1)
    ledgers.load(entry(1, acronym="NEW"), now=NOW + DAY)
    decide(ledger, 2)
    assert [view.acronym for view in ledger.decisions()] == ["P1", "NEW"]


def test_texts_that_are_too_long_are_cut_and_unstorable_letters_replaced(ledger: LockLedger) -> None:
    decide(ledger, reason="😀" * 600, by="é" * 101, asked="a\x00b\ud800" + "x" * 1000)
    (view,) = ledger.decisions()
    assert view.entry.reason == "😀" * 499 + "…"
    assert view.entry.by == "é" * 99 + "…"
    assert view.entry.asked == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}" + "x" * 995 + "…"


@pytest.mark.parametrize("change", [update(audit).values(outcome="refused"), delete(audit)], ids=["update", "delete"])
def test_the_database_refuses_to_change_the_audit(database_url: str, change: Update | Delete) -> None:
    database = Database(database_url)
    Ledgers(database).load(entry(1))
    decide(SqlLocks(database, "warden.example.org", 35), key=LOCKED.key)
    with pytest.raises(DBAPIError), database.engine.begin() as connection:
        connection.execute(change)
    assert [view.entry for view in SqlLocks(database, "warden.example.org", 35).decisions()] == [LOCKED]
    database.close()
