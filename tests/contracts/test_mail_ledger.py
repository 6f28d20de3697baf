"""MailLedger, on every database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from email import headerregistry, policy
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from shared.adapters.database import tables
from shared.adapters.database.engine import Database
from shared.adapters.database.forgetting import forget
from shared.adapters.database.mails import SqlMails, insert_mails, write_deliveries
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.ports.mails import MailLedger, MailState, NewMail, StoredMail, Topic
from tests.contracts.rows import HOUR, MINUTE, NIGHT, add_project

MAIL = NewMail(
    key="alert/11/1/2026-04-01/80",
    template="alert",
    to=("a@b.ca", "é@b.ca"),
    cc=("c@b.ca",),
    bcc=("d@b.ca",),
    context={"percent": "80.5", "by_service": [["Storage", "12.50"]], "nothing": None, "text": "Żółć 😀 \x00 \ud800"},
    topic=Topic.ALERT,
    language="fr",
    project_id=11,
    budget_number=1,
    period_start=date(2026, 4, 1),
    threshold=80,
    run_key="night",
)
LATER = NIGHT + 15 * MINUTE
TAKEN = Delivery("a@b.ca", Role.TO, DeliveryState.TAKEN)

T = TypeVar("T")


@pytest.fixture
def ledger(database: Database) -> MailLedger:
    add_project(database, 11)
    return SqlMails(database, "warden.example")


@pytest.fixture
def mail_id(ledger: MailLedger) -> int:
    return ledger.add(MAIL, NIGHT)


def stored(ledger: MailLedger, mail_id: int) -> StoredMail:
    found = ledger.get(mail_id)
    assert found is not None
    return found


def test_a_mail_comes_back_as_it_was_written(ledger: MailLedger, mail_id: int):
    found = stored(ledger, mail_id)
    assert found.mail == MAIL
    assert (found.state, found.attempts, found.first_attempt_at) == (MailState.PENDING, 0, None)


def test_an_unknown_mail_is_none(ledger: MailLedger):
    assert ledger.get(4711) is None


def test_the_mails_on_a_topic_can_be_looked_through_by_when_they_were_written(ledger: MailLedger, mail_id: int):
    other = replace(MAIL, key="operators/costs", topic=Topic.COSTS_FAILED)
    ledger.add(other, LATER)
    assert ledger.made(Topic.ALERT, NIGHT) == [MAIL]
    assert ledger.made(Topic.ALERT, LATER) == []
    assert ledger.made(Topic.COSTS_FAILED, LATER) == [other]


def test_a_second_mail_with_a_key_is_not_made(ledger: MailLedger, mail_id: int):
    assert ledger.add(replace(MAIL, to=("other@b.ca",)), LATER) == mail_id
    assert stored(ledger, mail_id).mail == MAIL


def test_the_message_id_follows_from_the_key_and_is_valid(ledger: MailLedger, mail_id: int):
    one = stored(ledger, mail_id).message_id
    other = stored(ledger, ledger.add(replace(MAIL, key="other"), NIGHT)).message_id
    header = policy.default.header_factory("Message-ID", one)
    assert isinstance(header, headerregistry.MessageIDHeader)
    assert not header.defects
    assert one.endswith("@warden.example>")
    assert one != other


def test_two_threads_that_write_the_same_mail_make_one(ledger: MailLedger):
    both = threading.Barrier(2)

    def add(_: int) -> int:
        both.wait(10)
        return ledger.add(MAIL, NIGHT)

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(add, range(2)))) == 1


def test_many_mails_are_written_at_once_and_known_ones_passed_over(
    ledger: MailLedger, mail_id: int, database: Database
):
    many = [replace(MAIL, key=f"key {number}") for number in range(2500)]
    twice = replace(MAIL, key="key 7", to=("second@b.ca",))
    database.run(lambda connection: insert_mails(connection, [MAIL, *many, twice], LATER, "warden.example"))
    database.run(lambda connection: insert_mails(connection, many, LATER, "warden.example"))
    count = database.read(lambda connection: len(connection.execute(tables.mails.select()).all()))
    assert count == 2501
    assert stored(ledger, ledger.add(twice, NIGHT)).mail.to == MAIL.to


def test_writing_no_mails_writes_none(database: Database):
    database.run(lambda connection: insert_mails(connection, [], NIGHT, "warden.example"))
    assert database.read(lambda connection: connection.execute(tables.mails.select()).all()) == []


def test_a_pending_mail_is_claimed_once(ledger: MailLedger, mail_id: int):
    assert ledger.claim(mail_id, "first", LATER, NIGHT)
    assert not ledger.claim(mail_id, "second", LATER, NIGHT)
    claimed = stored(ledger, mail_id)
    assert (claimed.state, claimed.attempts) == (MailState.CLAIMED, 1)
    assert (claimed.first_attempt_at, claimed.claimed_until) == (NIGHT, LATER)


def test_of_two_threads_that_claim_at_once_exactly_one_has_it(ledger: MailLedger):
    for number in range(10):
        mail_id = ledger.add(replace(MAIL, key=f"key {number}"), NIGHT)
        both = threading.Barrier(2)

        def claim(name: str, mail_id: int = mail_id, both: threading.Barrier = both) -> bool:
            both.wait(10)
            return ledger.claim(mail_id, name, LATER, NIGHT)

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(claim, ["first", "second"])) == [False, True]


def test_an_unknown_mail_can_not_be_claimed(ledger: MailLedger):
    assert not ledger.claim(4711, "first", LATER, NIGHT)


def test_a_claim_that_expired_goes_to_the_next(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    assert not ledger.claim(mail_id, "second", LATER + HOUR, LATER - MINUTE)
    assert ledger.claim(mail_id, "second", LATER + HOUR, LATER)
    again = stored(ledger, mail_id)
    assert (again.attempts, again.first_attempt_at) == (2, NIGHT)


def test_a_claim_holds_against_its_own_claimant_too(ledger: MailLedger, mail_id: int):
    """Its message came again, and whoever has it may be at it still."""
    ledger.claim(mail_id, "first", LATER, NIGHT)
    assert not ledger.claim(mail_id, "first", LATER + HOUR, LATER - MINUTE, former="first", rest=MINUTE)
    held = stored(ledger, mail_id)
    assert (held.claimant, held.claimed_until) == ("first", LATER)
    assert ledger.claim(mail_id, "third", LATER + HOUR, LATER, former="first", rest=MINUTE)
    held = stored(ledger, mail_id)
    assert (held.claimant, held.claimed_until) == ("third", LATER + HOUR)


def test_a_mail_that_was_sent_is_never_claimed_again(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.mark_sent(mail_id, "receipt-1", [TAKEN], NIGHT + MINUTE)
    sent = stored(ledger, mail_id)
    assert (sent.state, sent.sent_at, sent.deliveries) == (MailState.SENT, NIGHT + MINUTE, (TAKEN,))
    for claimant in ("first", "second"):
        assert not ledger.claim(mail_id, claimant, LATER + HOUR, LATER, asked_at=LATER)


def test_that_it_was_sent_counts_whoever_holds_it_and_once(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.claim(mail_id, "second", LATER + HOUR, LATER)
    ledger.mark_sent(mail_id, "receipt-1", [TAKEN], LATER)
    ledger.mark_sent(mail_id, "receipt-2", [TAKEN], LATER + HOUR)
    sent = stored(ledger, mail_id)
    assert (sent.state, sent.claimed_until, sent.sent_at) == (MailState.SENT, None, LATER)


def test_an_expired_claim_rests_until_it_was_queued_again_and_a_while_longer(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    asked = LATER + HOUR
    assert not ledger.claim(mail_id, "second", asked + HOUR, asked, rest=MINUTE)
    ledger.mark_requeued([mail_id], asked)
    assert not ledger.claim(mail_id, "second", asked + HOUR, asked + MINUTE / 2, rest=MINUTE)
    assert ledger.claim(mail_id, "second", asked + HOUR, asked + MINUTE, rest=MINUTE)


def test_a_claim_that_was_queued_again_before_it_expired_rests_too(ledger: MailLedger, mail_id: int):
    ledger.mark_requeued([mail_id], NIGHT + MINUTE)
    ledger.claim(mail_id, "first", LATER, NIGHT + 2 * MINUTE)
    assert not ledger.claim(mail_id, "second", LATER + 2 * HOUR, LATER + HOUR, rest=MINUTE)
    assert ledger.claim(mail_id, "first", LATER + 2 * HOUR, LATER + HOUR, rest=MINUTE), "its own message came again"


def test_of_each_recipient_it_is_known_what_became_of_the_mail(ledger: MailLedger, mail_id: int):
    later = Delivery("b@b.ca", Role.CC, DeliveryState.LATER, "450 greylisted")
    odd = Delivery(" a\x00b " + "é" * 400, Role.TO, DeliveryState.REFUSED, "it is no address")
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "450 greylisted", LATER, [TAKEN, later, odd])
    ledger.claim(mail_id, "second", LATER + HOUR, LATER)
    now_taken = replace(later, state=DeliveryState.TAKEN, reason=None)
    found = {each.recipient[:6]: each for each in stored(ledger, mail_id).deliveries}
    assert (found["a@b.ca"], found["b@b.ca"], len(found)) == (TAKEN, later, 3)
    ledger.mark_sent(mail_id, "", [TAKEN, now_taken, odd], LATER)
    found = {each.recipient[:6]: each for each in stored(ledger, mail_id).deliveries}
    assert (found["b@b.ca"], len(found)) == (now_taken, 3)


def test_of_the_recipients_even_who_lost_the_claim_has_a_say_and_nobody_who_has_it_is_asked_again(
    ledger: MailLedger, mail_id: int
):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.claim(mail_id, "second", LATER + HOUR, LATER)
    ledger.release(mail_id, "first", "450", LATER, [TAKEN])
    ledger.release(mail_id, "second", "450", LATER, [replace(TAKEN, state=DeliveryState.LATER, reason="450")])
    assert stored(ledger, mail_id).deliveries == (TAKEN,)


def test_a_failed_mail_asks_all_again_but_who_has_it(ledger: MailLedger, mail_id: int):
    refused = Delivery("b@b.ca", Role.TO, DeliveryState.REFUSED, "550")
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "450", LATER, [TAKEN, refused])
    ledger.claim(mail_id, "second", LATER + HOUR, LATER, asked_at=LATER)
    assert set(stored(ledger, mail_id).deliveries) == {TAKEN, refused}
    ledger.mark_failed(mail_id, "second", "given up")
    ledger.claim(mail_id, "third", LATER + HOUR, LATER, asked_at=LATER)
    assert stored(ledger, mail_id).deliveries == (TAKEN,)


def test_a_mail_of_which_all_are_asked_anew_keeps_only_who_has_it(ledger: MailLedger, mail_id: int):
    refused = Delivery("b@b.ca", Role.TO, DeliveryState.REFUSED, "550")
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "550", LATER, [refused])
    ledger.release(mail_id, "first", "550", LATER, [TAKEN], anew=True)
    assert stored(ledger, mail_id).deliveries == (TAKEN,)


def test_a_mail_that_is_released_is_pending_with_its_reason(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "the provider is unwell", LATER)
    released = stored(ledger, mail_id)
    assert (released.state, released.reason) == (MailState.PENDING, "the provider is unwell")
    assert (released.claimed_until, released.attempts, released.first_attempt_at) == (None, 1, NIGHT)
    assert ledger.claim(mail_id, "second", LATER + HOUR, LATER)


def test_a_failed_mail_is_claimed_only_if_that_is_asked_for_and_counts_anew(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "unwell", LATER)
    ledger.claim(mail_id, "first", LATER + HOUR, LATER)
    ledger.mark_failed(mail_id, "first", "refused: " + "é" * 2000)
    failed = stored(ledger, mail_id)
    assert failed.state is MailState.FAILED
    assert failed.reason is not None
    assert failed.reason.startswith("refused: é")
    assert not ledger.claim(mail_id, "first", LATER + HOUR, LATER)
    assert ledger.claim(mail_id, "second", LATER + HOUR, LATER, asked_at=LATER)
    again = stored(ledger, mail_id)
    assert (again.attempts, again.first_attempt_at) == (1, LATER)


def test_asking_for_failed_ones_too_does_not_break_a_claim(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    assert not ledger.claim(mail_id, "second", LATER, NIGHT, asked_at=NIGHT)


def test_only_the_word_of_the_present_claimant_counts(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.claim(mail_id, "second", LATER + HOUR, LATER)
    before = stored(ledger, mail_id)
    ledger.release(mail_id, "first", "unwell", LATER)
    ledger.mark_failed(mail_id, "first", "refused")
    assert stored(ledger, mail_id) == before


def test_a_claimant_who_let_go_has_no_say_any_more(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "unwell", LATER)
    ledger.mark_failed(mail_id, "first", "refused")
    assert stored(ledger, mail_id).state is MailState.PENDING


def test_the_last_mails_are_listed_newest_first_with_their_projects(ledger: MailLedger, mail_id: int) -> None:
    other = ledger.add(replace(MAIL, key="other", project_id=None), LATER)
    last, first = ledger.listed(None, 10)
    assert (last.stored.id, last.acronym, last.made_at) == (other, None, LATER)
    assert (first.stored, first.acronym) == (stored(ledger, mail_id), "P11")
    assert [view.stored.id for view in ledger.listed(11, 10)] == [mail_id]
    assert [view.stored.id for view in ledger.listed(None, 1)] == [other]


def test_of_those_that_were_sent_only_what_somebody_lacks_is_unsent(ledger: MailLedger, mail_id: int) -> None:
    other = ledger.add(replace(MAIL, key="other"), NIGHT)
    assert [view.stored.id for view in ledger.listed(11, 10, unsent=True)] == [other, mail_id]
    ledger.mark_sent(mail_id, "", [TAKEN], LATER)
    ledger.mark_sent(other, "", [TAKEN, Delivery("é@b.ca", Role.TO, DeliveryState.REFUSED, "550")], LATER)
    assert [view.stored.id for view in ledger.listed(11, 10, unsent=True)] == [other]


def test_a_mail_is_found_by_its_key(ledger: MailLedger, mail_id: int) -> None:
    assert (ledger.find(MAIL.key), ledger.find("another")) == (mail_id, None)


def test_what_waits_can_be_put_aside_and_is_sent_if_somebody_asks_for_it(ledger: MailLedger, mail_id: int):
    others = [ledger.add(replace(MAIL, key=f"other/{number}"), NIGHT) for number in range(3)]
    assert ledger.claim(others[0], "sender", LATER, NIGHT)
    ledger.mark_sent(others[1], "", [], NIGHT)
    assert ledger.discard([mail_id, *others[:2], 999], "restored", NIGHT) == [mail_id]
    assert (stored(ledger, mail_id).state, stored(ledger, mail_id).reason) == (MailState.FAILED, "restored")
    assert ledger.discard(None, "restored", NIGHT) == [others[2]]
    assert ledger.stuck(NIGHT + HOUR) == []
    assert not ledger.claim(mail_id, "sender", LATER, NIGHT)
    assert ledger.claim(mail_id, "sender", LATER, NIGHT, asked_at=NIGHT)


def test_what_was_put_aside_is_unsent_no_more_until_somebody_asks_for_it(ledger: MailLedger, mail_id: int) -> None:
    failed, in_part = (ledger.add(replace(MAIL, key=key), NIGHT) for key in ("failed", "in part"))
    assert ledger.claim(failed, "sender", LATER, NIGHT)
    ledger.mark_failed(failed, "sender", "no such domain")
    ledger.mark_sent(in_part, "", [TAKEN, Delivery("é@b.ca", Role.TO, DeliveryState.REFUSED, "550")], NIGHT)
    assert ledger.discard([mail_id, failed, in_part], "he has left", LATER) == [mail_id, failed, in_part]
    assert ledger.listed(11, 10, unsent=True) == []
    assert [stored(ledger, each).reason for each in (mail_id, failed, in_part)] == [
        "he has left",
        "no such domain; he has left",
        "he has left",
    ]
    assert [stored(ledger, each).discarded_at for each in (failed, in_part)] == [LATER, LATER]
    assert stored(ledger, in_part).state is MailState.SENT
    assert ledger.discard([mail_id, failed, in_part], "again", LATER) == []
    assert ledger.claim(failed, "sender", LATER + HOUR, LATER, asked_at=LATER)
    assert [view.stored.id for view in ledger.listed(11, 10, unsent=True)] == [failed]


def test_of_two_orders_about_a_mail_the_later_counts(ledger: MailLedger, mail_id: int) -> None:
    ledger.claim(mail_id, "first", LATER, NIGHT)
    ledger.release(mail_id, "first", "refused", LATER, [replace(TAKEN, state=DeliveryState.REFUSED)])
    ledger.discard([mail_id], "no", LATER)
    assert not ledger.claim(mail_id, "me", LATER + HOUR, LATER + MINUTE, asked_at=LATER - MINUTE)
    assert len(stored(ledger, mail_id).deliveries) == 1
    assert stored(ledger, mail_id).discarded_at == LATER
    assert ledger.claim(mail_id, "me", LATER + HOUR, LATER + MINUTE, asked_at=LATER)
    assert stored(ledger, mail_id).deliveries == ()


@pytest.mark.parametrize("every", [True, False])
def test_a_mail_whose_sender_is_dead_can_be_put_aside(ledger: MailLedger, mail_id: int, every: bool) -> None:
    ledger.claim(mail_id, "dead", LATER, NIGHT)
    which = None if every else [mail_id]
    assert ledger.discard(which, "no", LATER) == []
    assert ledger.discard(which, "no", LATER + MINUTE) == [mail_id]
    aside = stored(ledger, mail_id)
    assert (aside.state, aside.claimant, aside.claimed_until) == (MailState.FAILED, None, None)
    assert ledger.abandoned(LATER + HOUR) == []
    assert not ledger.claim(mail_id, "dead", LATER + 2 * HOUR, LATER + HOUR)


def test_what_a_sender_takes_in_between_is_not_put_aside(ledger: MailLedger, mail_id: int, database: Database):
    other = ledger.add(replace(MAIL, key="other"), NIGHT)
    taken = {"state": MailState.CLAIMED, "claimant": "me", "claimed_until": LATER + HOUR}

    def take(connection: Connection) -> None:
        connection.execute(tables.mails.update().where(tables.mails.c.id == mail_id).values(taken))

    assert _while_slow(database, take, lambda: ledger.discard(None, "no", LATER)) == [other]
    assert stored(ledger, mail_id).discarded_at is None


def test_what_a_slow_sender_delivered_after_it_was_put_aside_is_sent(ledger: MailLedger, mail_id: int):
    ledger.claim(mail_id, "slow", LATER, NIGHT)
    ledger.discard([mail_id], "no", LATER + MINUTE)
    ledger.mark_sent(mail_id, "r", [TAKEN, Delivery("é@b.ca", Role.TO, DeliveryState.REFUSED, "550")], LATER + HOUR)
    found = stored(ledger, mail_id)
    assert (found.state, found.discarded_at, found.reason) == (MailState.SENT, None, None)
    assert [view.stored.id for view in ledger.listed(11, 10, unsent=True)] == [mail_id]


def _while_slow(database: Database, write: Callable[[Connection], None], act: Callable[[], T]) -> T:
    """Acts while another has written and not committed yet."""
    written = threading.Event()

    def slowly(connection: Connection) -> None:
        write(connection)
        written.set()
        time.sleep(0.3)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(database.run, slowly)
        written.wait(10)
        done = act()
        slow.result(10)
    return done


# --- whose project's people are forgotten ---


def test_what_is_said_of_a_mail_after_it_was_forgotten_is_not_kept(
    ledger: MailLedger, mail_id: int, database: Database
):
    ledger.claim(mail_id, "me", LATER, NIGHT)
    database.run(lambda connection: forget(connection, 11))
    ledger.note(mail_id, [TAKEN])
    ledger.release(mail_id, "me", "busy", LATER, [TAKEN])
    ledger.mark_sent(mail_id, "", [TAKEN], LATER)
    assert stored(ledger, mail_id).deliveries == ()
    assert stored(ledger, mail_id).mail.is_forgotten
    assert not stored(ledger, ledger.add(replace(MAIL, key="other"), NIGHT)).mail.is_forgotten


def test_whoever_forgets_waits_for_what_is_being_noted(ledger: MailLedger, mail_id: int, database: Database):
    def note(connection: Connection) -> None:
        write_deliveries(connection, mail_id, [TAKEN])

    _while_slow(database, note, lambda: database.run(lambda connection: forget(connection, 11)))
    assert database.read(lambda connection: connection.execute(tables.deliveries.select()).all()) == []
