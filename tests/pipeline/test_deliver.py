"""EmailNotificationHandler: claims a mail, sends it, marks it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from shared.messages import LARGEST_BY_HAND_BYTES, EmailMessage, Queue, parse_email
from shared.pipeline.deliver import CLAIM
from shared.pipeline.operators import Operators
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailState, NewMail, OutgoingMail, Topic
from tests.pipeline.conftest import Chain


def whole(to: list[str], **fields: object) -> str:
    return json.dumps({"To": to, "Subject": "Hello", "Body": "<p>Good <b>day</b></p>", **fields})


def stored_mail(chain: Chain, to: tuple[str, ...] = ("anna@example.com",), key: str = "test/1") -> int:
    return chain.mails.add(
        NewMail(key, "whole", to, {"subject": "Hello", "body": "<p>x</p>"}, topic=Topic.OTHER), chain.clock()
    )


def email(mail_id: int, **fields: object) -> str:
    return json.dumps({"EmailId": mail_id, **fields})


def test_a_whole_mail_is_sent_as_it_is(chain: Chain) -> None:
    chain.work(Queue.EMAIL, whole(["a@example.com"], Cc=["c@example.com"], Bcc=["b@example.com"]))
    chain.drain()
    (mail,) = chain.mailer.sent
    assert (mail.to, mail.cc, mail.bcc) == (("a@example.com",), ("c@example.com",), ("b@example.com",))
    assert (mail.subject, mail.html.strip()) == ("Hello", "<p>Good <b>day</b></p>")
    assert "Good day" in mail.text


def test_the_largest_whole_mail_waits_on_its_queue_while_the_database_is_away(chain: Chain) -> None:
    class Away:
        def add(self, *_args: object) -> None:
            raise LaterError("the database can't be used now")

    parts = ('{"To":["a@example.com"],"Subject":"Hello","Body":"', '"}')
    text = ("x" * (LARGEST_BY_HAND_BYTES - len("".join(parts)))).join(parts)
    there, longer = chain.deliverer, text.replace("Hello", "Hello!")
    chain.app.deliverer = replace(there, mails=Away())
    for _ in range(3):
        chain.work(Queue.EMAIL, text)
        ((_, text, _delay),) = chain.queues.take()
    chain.app.deliverer = there
    chain.work(Queue.EMAIL, text)
    chain.drain()
    assert [mail.to for mail in chain.mailer.sent] == [("a@example.com",)]
    assert chain.work(Queue.EMAIL, longer) == []
    assert f"the limit is {LARGEST_BY_HAND_BYTES}" in chain.letters.letters()[0].reason


def test_a_whole_mail_that_the_queue_brings_twice_is_sent_once(chain: Chain) -> None:
    for _ in range(2):
        chain.work(Queue.EMAIL, whole(["a@example.com"]), origin="same-message")
    chain.drain()
    assert len(chain.mailer.sent) == 1


def test_a_mail_is_sent_once_however_often_its_message_comes(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    for _ in range(5):
        chain.work(Queue.EMAIL, email(mail_id))
    chain.drain()
    assert len(chain.mailer.sent) == 1


def test_of_two_messages_at_the_same_moment_one_sends_the_mail_and_the_other_ends(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    sending, go_on = threading.Event(), threading.Event()

    def slowly(_mail: OutgoingMail) -> None:
        sending.set()
        assert go_on.wait(10)

    chain.mailer.fails = slowly
    first = threading.Thread(target=chain.work, args=(Queue.EMAIL, email(mail_id), "one"))
    first.start()
    assert sending.wait(10)
    chain.work(Queue.EMAIL, email(mail_id), "two")
    assert chain.queues.take() == []
    go_on.set()
    first.join()
    assert len(chain.mailer.sent) == 1


def test_a_mail_whose_sender_died_and_whose_message_is_lost_is_found_by_the_watchdog(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    now = chain.clock()
    assert chain.mails.claim(mail_id, "lost", now + CLAIM, now)
    assert chain.work(Queue.EMAIL, email(mail_id), origin="another") == []
    chain.clock.forward(minutes=61)
    chain.look()
    chain.drain()
    assert len(chain.mailer.sent) == 1


def test_a_claim_lasts_longer_than_any_function_may_run() -> None:
    host = json.loads((Path(__file__).parents[2] / "host.json").read_text())
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    assert timedelta(hours=hours, minutes=minutes, seconds=seconds) < CLAIM


def test_a_crash_while_sending_is_taken_up_by_the_same_message_at_once(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    now = chain.clock()
    assert chain.mails.claim(mail_id, "the-message", now + timedelta(minutes=5), now)
    chain.work(Queue.EMAIL, email(mail_id), origin="the-message")
    assert len(chain.mailer.sent) == 1


def test_a_repeated_sending_carries_the_same_message_id(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mailer.fails = lambda mail: chain.mailer.sent.append(mail) or LaterError("the line broke after the yes")
    chain.work(Queue.EMAIL, email(mail_id))
    chain.mailer.fails = lambda _mail: None
    chain.drain()
    assert len({mail.message_id for mail in chain.mailer.sent}) == 1
    assert len(chain.mailer.sent) == 2


def test_a_provider_that_is_down_is_asked_again_with_growing_waits_for_72_hours(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mailer.fails = lambda _mail: LaterError("it is down")
    chain.work(Queue.EMAIL, email(mail_id))
    waited = timedelta(0)
    delays = []
    while chain.queues.sent and not chain.letters.letters():
        ((queue, text, delay),) = chain.queues.take()
        delays.append(delay.total_seconds())
        waited += delay
        chain.clock.now += delay
        chain.work(queue, text)
    assert delays[:4] == [30, 60, 120, 240]
    assert timedelta(hours=72) <= waited <= timedelta(hours=72, minutes=31)
    (letter,) = chain.letters.letters()
    assert json.loads(letter.body) == {"EmailId": mail_id}
    assert "given up after 72 hours: it is down" in letter.reason


def test_the_wait_that_the_provider_asks_for_is_kept(chain: Chain) -> None:
    chain.mailer.fails = lambda _mail: LaterError("too many", timedelta(seconds=61))
    chain.work(Queue.EMAIL, email(stored_mail(chain)))
    assert [delay for _, _, delay in chain.queues.sent] == [timedelta(seconds=61)]


def test_a_refused_mail_becomes_a_dead_letter_and_operators_are_told_once_a_day(chain: Chain) -> None:
    chain.mailer.fails = lambda mail: NeverError("the key is wrong") if "anna@example.com" in mail.to else None
    for number in range(3):
        chain.work(Queue.EMAIL, email(stored_mail(chain, key=f"test/{number}")))
    chain.drain()
    assert len(chain.letters.letters()) == 3
    assert [mail.to for mail in chain.mailer.sent] == [("ops@example.com",)]


def test_a_refused_mail_is_sent_when_its_dead_letter_is_replayed(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mailer.fails = lambda _mail: NeverError("the key is wrong")
    chain.work(Queue.EMAIL, email(mail_id))
    chain.queues.take()
    chain.mailer.fails = lambda _mail: None
    chain.work(Queue.EMAIL, email(mail_id))
    assert chain.mailer.sent == [], "a stray message does not wake a failed mail"
    (letter,) = chain.letters.letters()
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    assert len(chain.mailer.sent) == 1
    assert chain.letters.letters() == []


def test_a_mail_that_is_refused_again_when_it_is_replayed_is_a_dead_letter_again(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mailer.fails = lambda mail: NeverError("no such user") if "anna@example.com" in mail.to else None
    chain.work(Queue.EMAIL, email(mail_id))
    chain.queues.take()
    (letter,) = chain.letters.letters()
    assert chain.dead_letter_service.replay(letter.id) is None
    chain.drain()
    (again,) = chain.letters.letters()
    assert again.id != letter.id
    assert json.loads(again.body) == {"EmailId": mail_id}


def test_invalid_addresses_are_left_out_and_recorded(chain: Chain) -> None:
    mail_id = stored_mail(chain, ("anna@example.com", "no-address", "bo@example.com\r\nBcc: x@evil.example"))
    chain.work(Queue.EMAIL, email(mail_id))
    assert chain.mailer.sent[0].to == ("anna@example.com",)
    stored = chain.mails.get(mail_id)
    assert stored is not None
    assert "no-address" in str(stored.notes)
    assert "evil" in str(stored.notes)


def test_a_whole_mail_of_blind_copies_only_goes_to_them_and_to_nobody_else(chain: Chain) -> None:
    chain.work(Queue.EMAIL, whole([], Bcc=["b@example.com", "no-address"]))
    chain.drain()
    (mail,) = chain.mailer.sent
    assert (mail.to, mail.cc, mail.bcc, mail.subject) == ((), (), ("b@example.com",), "Hello")


def test_a_mail_without_a_valid_recipient_goes_to_the_operators(chain: Chain) -> None:
    chain.work(Queue.EMAIL, email(stored_mail(chain, ("nobody@@example",))))
    (mail,) = chain.mailer.sent
    assert mail.to == ("ops@example.com",)
    assert "nobody@@example" in mail.text


def test_without_operators_such_a_mail_fails_and_is_a_dead_letter(chain: Chain) -> None:
    mail_id = stored_mail(chain, ())
    deliverer = replace(chain.deliverer, operators=Operators(()))
    deliverer.deliver(EmailMessage(email_id=mail_id), "m1")
    stored = chain.mails.get(mail_id)
    assert stored is not None
    assert stored.state is MailState.FAILED
    assert "EMAIL_OPERATORS" in chain.letters.letters()[0].reason


def test_an_unknown_mail_is_a_dead_letter(chain: Chain) -> None:
    chain.work(Queue.EMAIL, email(123))
    assert [letter.reason for letter in chain.letters.letters()] == ["there is no mail 123"]


def test_a_database_that_goes_away_after_the_yes_makes_no_second_mail(chain: Chain) -> None:
    mail_id = stored_mail(chain)

    class MarksFail:
        def __getattr__(self, name: str) -> object:
            return getattr(chain.mails, name)

        def mark_sent(self, *_args: object) -> None:
            raise LaterError("the database can't be used now")

    chain.send(replace(chain.deliverer, mails=MarksFail()).deliver(parse_email(email(mail_id)), "m1"))
    ((queue, text, delay),) = chain.queues.take()
    assert delay == timedelta(seconds=30)
    chain.clock.forward(minutes=10)
    chain.work(queue, text, "m2")
    stored = chain.mails.get(mail_id)
    assert stored is not None
    assert stored.state is MailState.SENT
    assert len(chain.mailer.sent) == 1
