"""DeadLetterLedger, on every database."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared.adapters.database.dead_letters import SqlDeadLetters
from shared.adapters.database.engine import Database
from shared.messages import Queue
from shared.ports.dead_letters import STRANGERS, DeadLetter, DeadLetterLedger
from tests.contracts.rows import HOUR, NIGHT

BODY = '{"ProjectId": "elf 😀"}'


@pytest.fixture
def ledger(database: Database) -> DeadLetterLedger:
    return SqlDeadLetters(database)


def test_a_dead_letter_comes_back_as_it_was_recorded(ledger: DeadLetterLedger):
    letter_id, _ = ledger.record(Queue.UPDATE, BODY, "no such project", "message-1", NIGHT)
    letter = DeadLetter(letter_id, "project-usage-update", BODY, "no such project", NIGHT)
    assert ledger.get(letter_id) == letter
    assert ledger.letters() == [letter]


def test_an_unknown_dead_letter_is_none(ledger: DeadLetterLedger):
    assert ledger.get(4711) is None


def test_a_message_is_recorded_once_by_its_origin(ledger: DeadLetterLedger):
    first, is_new = ledger.record(Queue.UPDATE, BODY, "no such project", "message-1", NIGHT)
    assert is_new
    assert ledger.record(Queue.UPDATE, BODY, "failed five times", "message-1", NIGHT + HOUR) == (first, False)
    assert [letter.reason for letter in ledger.letters()] == ["no such project"]


def test_the_same_body_from_two_messages_makes_two(ledger: DeadLetterLedger):
    ledger.record(Queue.EMAIL, BODY, "why", "message-1", NIGHT)
    ledger.record(Queue.EMAIL, BODY, "why", "message-2", NIGHT)
    assert len(ledger.letters()) == 2


def test_they_are_listed_oldest_first(ledger: DeadLetterLedger):
    late, _ = ledger.record(Queue.UPDATE, BODY, "why", "message-1", NIGHT + HOUR)
    early, _ = ledger.record(Queue.UPDATE, BODY, "why", "message-2", NIGHT)
    assert [letter.id for letter in ledger.letters()] == [early, late]


def test_replayed_ones_are_listed_only_if_asked_for(ledger: DeadLetterLedger):
    replayed, _ = ledger.record(Queue.UPDATE, BODY, "why", "message-1", NIGHT)
    left, _ = ledger.record(Queue.UPDATE, BODY, "why", "message-2", NIGHT)
    ledger.mark_replayed(replayed, NIGHT + HOUR)
    assert [letter.id for letter in ledger.letters()] == [left]
    assert [letter.replayed_at for letter in ledger.letters(replayed_too=True)] == [NIGHT + HOUR, None]


def test_discarded_ones_are_kept_with_who_and_why(ledger: DeadLetterLedger):
    discarded, _ = ledger.record(Queue.UPDATE, BODY, "why", "message-1", NIGHT)
    left, _ = ledger.record(Queue.UPDATE, BODY, "why", "message-2", NIGHT)
    ledger.discard(discarded, "ann", "a test's", NIGHT + HOUR)
    ledger.discard(discarded, "eve", "the first counts", NIGHT + 2 * HOUR)
    assert [letter.id for letter in ledger.letters()] == [left]
    letter = ledger.get(discarded)
    assert letter is not None
    assert (letter.discarded_at, letter.discarded_by, letter.discard_reason) == (NIGHT + HOUR, "ann", "a test's")
    assert len(ledger.letters(replayed_too=True)) == 2


def test_each_that_waits_is_told_once(ledger: DeadLetterLedger):
    first, second, third = (ledger.record(Queue.UPDATE, BODY, "why", str(each), NIGHT)[0] for each in range(3))
    ledger.discard(second, "ann", "why not", NIGHT)
    assert [letter.id for letter in ledger.untold()] == [first, third]
    ledger.mark_told([first], NIGHT)
    assert [letter.id for letter in ledger.untold()] == [third]
    assert [letter.id for letter in ledger.letters()] == [first, third]


@pytest.mark.parametrize(
    "body", ["", "a\x00b", "half a pair \ud83d", "x" * 60_000], ids=["empty", "NUL", "half", "long"]
)
def test_any_body_and_reason_can_be_recorded(ledger: DeadLetterLedger, body: str):
    letter = ledger.get(ledger.record(Queue.UPDATE, body, f"can't be read: {body}", "message-1", NIGHT)[0])
    assert letter is not None
    assert letter.body == body.replace("\x00", "\ufffd").replace("\ud83d", "\ufffd")
    assert letter.reason.startswith("can't be read")


def test_of_what_names_nobody_a_hundred_a_day_are_kept_and_the_rest_is_counted(ledger: DeadLetterLedger):
    for number in range(STRANGERS + 7):
        for _ in range(2 if number < STRANGERS else 1):  # the same message once more
            body = json.dumps({"BudgetName": f"warden-{number}"})
            ledger.record_stranger(Queue.LOCK, body, "there is no such budget", f"message-{number}", NIGHT)
    ledger.record(Queue.LOCK, BODY, "another", "another", NIGHT)
    letters = ledger.letters()
    assert len(letters) == STRANGERS + 2
    (rest,) = [each for each in letters if "not kept" in each.reason]
    assert rest.reason.startswith("7 more message(s) of this day named nobody")
    assert json.loads(rest.body) == {"BudgetName": f"warden-{STRANGERS + 6}", "More": 7}
    ledger.record_stranger(Queue.LOCK, "{}", "there is no such budget", "message-1", NIGHT + timedelta(days=1))
    assert len(ledger.letters()) == STRANGERS + 3
