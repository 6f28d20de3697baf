"""EmailNotificationHandler: claims a mail, sends it, marks it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from shared.adapters.database.tables import metadata
from shared.domain.deliveries import Delivery, DeliveryState, Role
from shared.messages import (
    LARGEST_BY_HAND_BYTES,
    LARGEST_BYTES,
    EmailMessage,
    EmailsMessage,
    Queue,
    SentAs,
    parse_email,
    to_json,
)
from shared.pipeline.deliver import CLAIM, TIME_FOR_MANY
from shared.pipeline.operators import Operators
from shared.pipeline.stage import MARK_COMES_FIRST
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import MailState, NewMail, OutgoingMail, Refusal, Topic
from tests.pipeline.conftest import Chain, entry
from tests.subjects import short

TAKEN, REFUSED = DeliveryState.TAKEN, DeliveryState.REFUSED


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
    assert not mail.asked_again


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


def test_a_whole_mail_with_attachments_is_sent_and_says_that_those_are_not(chain: Chain) -> None:
    chain.work(Queue.EMAIL, whole(["a@example.com"], Attachments=[{"Name": "report.pdf", "Content": "JVBERi0="}]))
    chain.drain()
    (mail,) = chain.mailer.sent
    for content in (mail.text, mail.html):
        assert "Not sent with this mail" in content and "report.pdf" in content and "JVBERi0=" not in content


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
    assert chain.work(Queue.EMAIL, email(mail_id), origin="another") == []
    chain.look()
    ((queue, text, delay),) = chain.queues.take()
    assert delay > MARK_COMES_FIRST, "what only marks the mail comes first"
    assert chain.work(Queue.EMAIL, email(mail_id), origin="another") == []
    chain.clock.now += delay
    chain.work(queue, text)
    assert len(chain.mailer.sent) == 1


def test_a_claim_lasts_longer_than_any_function_may_run() -> None:
    host = json.loads((Path(__file__).parents[2] / "host.json").read_text())
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    assert timedelta(hours=hours, minutes=minutes, seconds=seconds) < CLAIM


class Killed(BaseException):
    """The process is gone."""


def is_killed(_mail: OutgoingMail) -> None:
    raise Killed


def test_a_crash_while_sending_is_taken_up_by_the_same_message_once_its_claim_is_over(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mailer.fails = is_killed
    with pytest.raises(Killed):
        chain.work(Queue.EMAIL, email(mail_id), origin="the-message")
    chain.mailer.fails = lambda _mail: None
    chain.work(Queue.EMAIL, email(mail_id), origin="the-message")
    chain.work_off(hours=CLAIM.total_seconds() / 3600 - 0.01)
    assert chain.mailer.sent == [], "whoever has it may be at it still"
    chain.work_off(hours=0.02)
    assert (len(chain.mailer.sent), state(chain, mail_id)) == (1, MailState.SENT)


def test_a_message_that_comes_before_the_claim_is_over_is_no_sign_of_another_death(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mailer.fails = is_killed
    with pytest.raises(Killed):
        chain.work(Queue.EMAIL, email(mail_id), origin="the-message")
    chain.mailer.fails = lambda _mail: None
    waiting = email(mail_id)
    for origin in ("the-message", *"abcdefgh"):
        chain.work(Queue.EMAIL, waiting, origin)
        ((_, waiting, delay),) = chain.queues.take()
    chain.clock.now += delay
    chain.work(Queue.EMAIL, waiting)
    assert (len(chain.mailer.sent), state(chain, mail_id)) == (1, MailState.SENT)


def test_the_same_message_with_two_workers_at_once_sends_one_mail(chain: Chain) -> None:
    """Its lease ran out under a slow one."""
    mail_id = stored_mail(chain)
    again = iter([True])

    def comes_again(_mail: OutgoingMail) -> None:
        if next(again, False):
            chain.work(Queue.EMAIL, email(mail_id), origin="the-message")

    chain.mailer.fails = comes_again
    chain.work(Queue.EMAIL, email(mail_id), origin="the-message")
    chain.work_off(hours=80)
    assert (len(chain.mailer.sent), state(chain, mail_id)) == (1, MailState.SENT)
    assert chain.queues.take() == []


def test_several_mails_of_a_message_that_comes_again_are_sent_once_each(chain: Chain) -> None:
    anna, bo, cleo = three_mails(chain)
    again = iter([True])

    def comes_again(mail: OutgoingMail) -> None:
        if mail.to == ("bo@example.com",) and next(again, False):
            chain.work(Queue.EMAIL, several(anna, bo, cleo), origin="the-message")

    chain.mailer.fails = comes_again
    chain.work(Queue.EMAIL, several(anna, bo, cleo), origin="the-message")
    chain.work_off(hours=2)
    assert sorted(receivers(chain)) == ["anna", "bo", "cleo"]


def test_a_mail_whose_sender_dies_each_time_is_given_up_and_told(chain: Chain) -> None:
    mail_id, deaths = stored_mail(chain, key="alert/deadly"), []

    def dies(mail: OutgoingMail) -> None:
        if "anna@example.com" in mail.to:
            deaths.append(mail)
            raise Killed

    chain.mailer.fails = dies
    waiting = email(mail_id)
    for origin in ("one", "two", "three", "four", "five"):
        with pytest.raises(Killed):
            chain.work(Queue.EMAIL, waiting, origin)
        chain.work(Queue.EMAIL, waiting, origin)
        ((_, waiting, delay),) = chain.queues.take()
        chain.clock.now += delay
    chain.work(Queue.EMAIL, waiting, "six")
    assert len(deaths) == 5
    (letter,) = chain.letters.letters()
    assert letter.reason == "5 times the app ended while it was sending it"


def test_a_claim_that_a_late_sender_lost_is_not_released_by_it(chain: Chain) -> None:
    mail_id = stored_mail(chain)

    def is_slow(_mail: OutgoingMail) -> Exception:
        chain.clock.now += CLAIM
        now = chain.clock()
        assert chain.mails.claim(mail_id, "its-heir", now + CLAIM, now, former="slow", rest=MARK_COMES_FIRST)
        return LaterError("the line broke")

    chain.mailer.fails = is_slow
    chain.work(Queue.EMAIL, email(mail_id), "slow")
    held = chain.mails.get(mail_id)
    assert held is not None
    assert (held.state, held.claimant) == (MailState.CLAIMED, "its-heir")


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


def test_a_provider_whose_wait_is_over_already_is_asked_again_with_growing_waits(chain: Chain) -> None:
    chain.mailer.fails = lambda _mail: LaterError("its reset is over", timedelta(0))
    chain.work(Queue.EMAIL, email(stored_mail(chain)))
    chain.work_off(1)
    assert 10 <= chain.messages <= 15


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
    assert [mail.asked_again for mail in chain.mailer.sent] == [True]
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
    states = {each.recipient: each.state for each in deliveries(chain, mail_id)}
    assert states.pop("anna@example.com") is TAKEN
    assert states == dict.fromkeys(("no-address", "bo@example.com\r\nBcc: x@evil.example"), REFUSED)


def test_a_whole_mail_of_blind_copies_only_goes_to_them_and_to_nobody_else(chain: Chain) -> None:
    chain.work(Queue.EMAIL, whole([], Bcc=["b@example.com", "no-address"]))
    chain.drain()
    (mail,) = chain.mailer.sent
    assert (mail.to, mail.cc, mail.bcc, short(mail.subject)) == ((), (), ("b@example.com",), "Hello")


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


# --- what became of it for each recipient --------------------------------------------------------------------

ANNA, BO, AUDIT, OPS = "anna@example.com", "bo@example.com", "audit@example.com", "ops@example.com"
GREYLISTED, UNKNOWN = Refusal("450 greylisted", for_good=False), Refusal("550 no such user", for_good=True)


def alert_mail(chain: Chain, *to: str) -> int:
    """The alert of a project with these contacts; a blind copy goes to EMAIL_BCC. Nobody has begun to send it."""
    chain.load(entry(11, contacts=to))
    chain.spend("820", date(2026, 11, 19))
    chain.tonight()
    while waiting := [message for message in chain.queues.take() if message[0] is not Queue.EMAIL]:
        for queue, text, _ in waiting:
            chain.work(queue, text)
    mails = filter(None, map(chain.mails.get, range(1, 5)))
    return next(int(stored.id) for stored in mails if stored.mail.topic is Topic.ALERT)


def deliveries(chain: Chain, mail_id: int) -> tuple[Delivery, ...]:
    stored = chain.mails.get(mail_id)
    assert stored is not None
    return tuple(stored.deliveries)


def state(chain: Chain, mail_id: int) -> MailState:
    stored = chain.mails.get(mail_id)
    assert stored is not None
    return MailState(stored.state)


def came(chain: Chain) -> list[tuple[str, ...]]:
    """Who got each mail that was taken."""
    return [(*mail.to, *mail.cc, *mail.bcc) for mail in chain.mailer.sent]


def test_who_is_refused_for_now_is_asked_again_alone_and_the_mail_waits_for_it(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = GREYLISTED
    mail_id = alert_mail(chain, ANNA, BO)
    chain.work(Queue.EMAIL, email(mail_id))
    assert (came(chain), state(chain, mail_id)) == ([(BO, AUDIT)], MailState.PENDING)
    stored = chain.mails.get(mail_id)
    assert stored is not None and stored.reason == "anna@example.com (450 greylisted)"
    del chain.mailer.refuses[ANNA]
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(BO, AUDIT), (ANNA,)], MailState.SENT)


def test_a_blind_copy_that_was_taken_is_not_sent_again_while_the_only_contact_is_refused(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = GREYLISTED
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=2)
    assert (came(chain), state(chain, mail_id)) == ([(AUDIT,)], MailState.PENDING)


def test_where_no_contact_works_the_operators_get_the_mail_with_the_providers_words(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = UNKNOWN
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(AUDIT,), (OPS,)], MailState.SENT)
    assert "anna@example.com" in chain.mailer.sent[-1].text and "550 no such user" in chain.mailer.sent[-1].text
    assert {(each.recipient, each.state) for each in deliveries(chain, mail_id)} == {
        (ANNA, REFUSED),
        (AUDIT, TAKEN),
        (OPS, TAKEN),
    }


def test_a_contact_who_is_named_twice_and_does_not_work_has_not_got_it(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = UNKNOWN
    mail_id = alert_mail(chain, ANNA, ANNA.capitalize())
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(AUDIT,), (OPS,)], MailState.SENT)


def test_the_log_names_nobody_whoever_is_refused(chain: Chain, caplog: pytest.LogCaptureFixture) -> None:
    chain.mailer.refuses |= {
        who: Refusal(f"550 5.1.1 <{who}>: recipient '{who}' unknown (to={who};a@b.example)", for_good=True)
        for who in (ANNA, OPS)
    }
    chain.configure(email_operators=())
    mail_id = alert_mail(chain, ANNA, "bo@@example.com")
    caplog.set_level("INFO")
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=100)
    assert state(chain, mail_id) is MailState.FAILED
    assert "(address)" in caplog.text
    assert "example.com" not in caplog.text
    assert [record.message for record in caplog.records if "example.com" in str(vars(record))] == []


def test_one_contact_that_works_is_enough_and_who_does_not_is_noted(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = UNKNOWN
    mail_id = alert_mail(chain, ANNA, BO)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=100)
    assert (came(chain), state(chain, mail_id)) == ([(BO, AUDIT)], MailState.SENT)
    assert Delivery(ANNA, Role.TO, REFUSED, "550 no such user") in deliveries(chain, mail_id)


def test_a_contact_that_is_refused_for_now_for_72_hours_counts_as_one_that_does_not_work(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = GREYLISTED
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=73)
    assert (came(chain), state(chain, mail_id)) == ([(AUDIT,), (OPS,)], MailState.SENT)
    assert "given up after 72 hours: 450 greylisted" in chain.mailer.sent[-1].text
    assert chain.letters.letters() == []


def test_operators_who_got_the_blind_copy_are_still_told_that_nobody_else_has_the_mail(chain: Chain) -> None:
    chain.configure(email_bcc=(OPS,))
    chain.mailer.refuses[ANNA] = UNKNOWN
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(OPS,), (OPS,)], MailState.SENT)
    assert ["550 no such user" in mail.text for mail in chain.mailer.sent] == [False, True]


@pytest.mark.parametrize("operators", [(OPS,), ()])
def test_where_neither_contacts_nor_operators_are_taken_it_is_of_us_whatever_the_words_and_all_are_asked_again(
    chain: Chain, operators: tuple[str, ...]
) -> None:
    chain.configure(email_operators=operators)
    chain.mailer.refuses |= {ANNA: Refusal("550 5.7.1 qwertz", for_good=True), OPS: UNKNOWN}
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=71)
    stored = chain.mails.get(mail_id)
    assert stored is not None and "anna@example.com (550 5.7.1 qwertz)" in stored.reason
    assert stored.attempts < 2 * 2 * 75, "the waits grow"
    chain.mailer.refuses.clear()
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(AUDIT,), (ANNA,)], MailState.SENT)
    assert chain.letters.letters() == []


def test_where_nobody_is_taken_for_72_hours_the_mail_fails_in_their_words_and_operators_are_told_in_the_end(
    chain: Chain,
) -> None:
    chain.mailer.refuses |= {ANNA: UNKNOWN, OPS: UNKNOWN}
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=200)
    assert state(chain, mail_id) is MailState.FAILED
    (letter,) = chain.letters.letters()
    assert "anna@example.com (550 no such user)" in letter.reason
    del chain.mailer.refuses[OPS]
    chain.work_off(hours=1)
    assert [short(mail.subject) for mail in chain.mailer.sent if mail.to == (OPS,)] == ["Mails could not be sent"]
    assert "anna@example.com (550 no such user)" in chain.mailer.sent[-1].text


@pytest.mark.parametrize("error", [NeverError("half a character"), LaterError("away")])
def test_what_operators_are_told_is_never_given_up_whatever_the_provider_says(chain: Chain, error: Exception) -> None:
    about = chain.operators.mail_failed(1, "alert/1", "because", chain.clock().date())
    mail_id = chain.mails.add(about, chain.clock())
    chain.mailer.fails = lambda _mail: error
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=100)
    assert (state(chain, mail_id), chain.letters.letters()) == (MailState.PENDING, [])
    chain.mailer.fails = lambda _mail: None
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(OPS,)], MailState.SENT)


def test_an_operator_who_is_refused_for_good_holds_up_no_notice_that_another_has(chain: Chain) -> None:
    chain.configure(email_operators=(OPS, BO))
    chain.mailer.refuses[BO] = UNKNOWN
    about = chain.operators.mail_failed(1, "alert/1", "because", chain.clock().date())
    mail_id = chain.mails.add(about, chain.clock())
    chain.work(Queue.EMAIL, email(mail_id))
    assert (came(chain), state(chain, mail_id)) == ([(OPS,)], MailState.SENT)


def test_a_mail_that_failed_asks_whoever_does_not_have_it_when_it_is_replayed(chain: Chain) -> None:
    chain.mailer.refuses |= {ANNA: UNKNOWN, OPS: UNKNOWN}
    mail_id = alert_mail(chain, ANNA)
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=73)
    chain.mailer.refuses.clear()
    letters = [letter for letter in chain.letters.letters() if json.loads(letter.body) == {"EmailId": mail_id}]
    assert chain.dead_letter_service.replay(letters[0].id) is None
    chain.work_off(hours=1)
    assert state(chain, mail_id) is MailState.SENT
    assert came(chain).count((ANNA,)) == 1 and came(chain).count((AUDIT,)) == 1


def test_a_key_that_is_refused_for_a_night_loses_no_mail(chain: Chain) -> None:
    chain.mailer.fails = lambda _mail: LaterError("SendGrid refuses us (401): Maximum credits exceeded")
    ids = [stored_mail(chain, key=f"test/{number}") for number in range(5)]
    for mail_id in ids:
        chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=10)
    assert {state(chain, mail_id) for mail_id in ids} == {MailState.PENDING}
    chain.mailer.fails = lambda _mail: None
    chain.work_off(hours=1)
    assert {state(chain, mail_id) for mail_id in ids} == {MailState.SENT}
    assert (len(came(chain)), chain.letters.letters()) == (5, [])


def test_what_operators_are_told_of_mails_outlives_the_outage(chain: Chain) -> None:
    chain.mailer.fails = lambda _mail: LaterError("SendGrid refuses us (401): Maximum credits exceeded")
    chain.work(Queue.EMAIL, email(stored_mail(chain)))
    chain.work_off(hours=2 * 72 + 6)
    assert len(chain.letters.letters()) == 1
    chain.mailer.fails = lambda _mail: None
    chain.work_off(hours=1)
    (told,) = chain.mailer.sent
    assert (told.to, short(told.subject)) == ((OPS,), "Mails could not be sent")
    assert "given up after 72 hours: SendGrid refuses us (401): Maximum credits exceeded" in told.text


def test_of_two_operators_one_who_is_busy_for_ever_is_given_up_once_the_other_is_told(chain: Chain) -> None:
    chain.configure(email_operators=(OPS, BO))
    chain.mailer.refuses[BO] = GREYLISTED
    about = chain.operators.mail_failed(1, "alert/1", "because", chain.clock().date())
    mail_id = chain.mails.add(about, chain.clock())
    chain.work(Queue.EMAIL, email(mail_id))
    chain.work_off(hours=71)
    assert state(chain, mail_id) is MailState.PENDING
    chain.work_off(hours=2)
    assert (came(chain), state(chain, mail_id)) == ([(OPS,)], MailState.SENT)


# --- a database that goes away after the provider's yes ------------------------------------------------------


class GoesAway:
    """The mails' ledger, in which nothing can be noted any more."""

    def __init__(self, chain: Chain) -> None:
        self.mails = chain.mails

    def __getattr__(self, name: str) -> object:
        return getattr(self.mails, name)

    def mark_sent(self, *_args: object) -> None:
        raise LaterError("the database can't be used now")

    release = mark_sent


def handed_over_without_a_mark(chain: Chain, mail_id: int) -> tuple[Queue, str]:
    """The message that goes back when the database is away after the yes."""
    chain.send(replace(chain.deliverer, mails=GoesAway(chain)).deliver(parse_email(email(mail_id)), "m1"))
    ((queue, text, delay),) = chain.queues.take()
    assert delay == timedelta(seconds=30)
    return queue, text


def test_a_database_that_goes_away_after_the_yes_makes_no_second_mail(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    queue, text = handed_over_without_a_mark(chain, mail_id)
    chain.clock.forward(minutes=10)
    chain.work(queue, text, "m2")
    assert (state(chain, mail_id), len(chain.mailer.sent)) == (MailState.SENT, 1)


def test_what_one_of_many_mails_waits_to_have_noted_is_queued_before_the_next_is_sent(chain: Chain) -> None:
    ids = tuple(stored_mail(chain, key=f"test/{number}") for number in range(3))
    wanted = replace(chain.deliverer, mails=GoesAway(chain)).deliver_each(EmailsMessage(ids), "m1")
    for number, each in enumerate(wanted, start=1):
        assert each.message.sent_as is not None
        assert len(chain.mailer.sent) == number


@pytest.mark.parametrize("first", ["a duplicate", "the watchdog", "both"])
def test_a_database_that_stays_away_for_longer_than_the_claim_makes_no_second_mail_whatever_comes_first(
    chain: Chain, first: str
) -> None:
    mail_id = stored_mail(chain)
    queue, text = handed_over_without_a_mark(chain, mail_id)
    chain.clock.forward(hours=3)
    if first != "a duplicate":
        chain.look()
    if first != "the watchdog":
        chain.work(Queue.EMAIL, email(mail_id), "duplicate")
    delayed = chain.queues.take()
    chain.clock.forward(seconds=30)
    chain.work(queue, text, "m2")
    assert state(chain, mail_id) is MailState.SENT
    for again, late, delay in delayed:
        chain.clock.now += delay
        chain.work(again, late)
    assert len(chain.mailer.sent) == 1


def test_what_each_recipient_said_travels_while_the_database_is_away(chain: Chain) -> None:
    busy = tuple(f"person{number}@example.com" for number in range(400))
    chain.mailer.refuses = dict.fromkeys(busy, Refusal("450 " + "é" * 300, for_good=False))
    mail_id = alert_mail(chain, ANNA, *busy)
    queue, text = handed_over_without_a_mark(chain, mail_id)
    assert len(text.encode()) <= LARGEST_BYTES
    chain.work(queue, text, "m2")
    chain.mailer.refuses.clear()
    chain.work_off(hours=1)
    assert state(chain, mail_id) is MailState.SENT
    assert came(chain) == [(ANNA, AUDIT), busy]


@pytest.mark.parametrize("reply", ["550 5.1.1 no such user\0", "550 \ud800"])
def test_a_note_that_waits_is_taken_whatever_the_provider_said(chain: Chain, reply: str) -> None:
    chain.mailer.refuses = {BO: Refusal(reply, for_good=True)}
    mail_id = alert_mail(chain, ANNA, BO)
    queue, text = handed_over_without_a_mark(chain, mail_id)
    chain.work(queue, text, "m2")
    assert (came(chain), state(chain, mail_id)) == ([(ANNA, AUDIT)], MailState.SENT)
    assert chain.letters.letters() == []


def test_a_note_of_an_earlier_version_is_taken_with_characters_that_no_database_takes(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mails.claim(mail_id, "m1", chain.clock() + CLAIM, chain.clock())
    deliveries = [["anna@example.com", "to", "taken", None], ["bo@example.com", "to", "refused", "550\0\ud800"]]
    chain.work(Queue.EMAIL, email(mail_id, Claimant="m1", Receipt="a\0", Deliveries=deliveries))
    assert (state(chain, mail_id), chain.mailer.sent, chain.letters.letters()) == (MailState.SENT, [], [])


def test_a_mail_to_thousands_is_not_sent_again_either(chain: Chain) -> None:
    mail_id = stored_mail(chain, tuple(f"person{number}@example.com" for number in range(3000)))
    queue, text = handed_over_without_a_mark(chain, mail_id)
    chain.work(queue, text, "m2")
    chain.work_off(hours=1)
    assert (state(chain, mail_id), len(chain.mailer.sent)) == (MailState.SENT, 1)


def test_a_message_of_earlier_versions_that_marks_a_mail_is_understood(chain: Chain) -> None:
    mail_id = stored_mail(chain)
    chain.mails.claim(mail_id, "m1", chain.clock() + CLAIM, chain.clock())
    chain.work(Queue.EMAIL, email(mail_id, Claimant="m1", Receipt=""))
    assert (state(chain, mail_id), chain.mailer.sent) == (MailState.SENT, [])


def test_a_message_that_marks_a_mail_and_comes_again_changes_nothing(chain: Chain) -> None:
    chain.mailer.refuses[ANNA] = GREYLISTED
    mail_id = alert_mail(chain, ANNA)
    queue, text = handed_over_without_a_mark(chain, mail_id)
    chain.work(queue, text, "m2")
    del chain.mailer.refuses[ANNA]
    chain.work_off(hours=1)
    chain.work(queue, text, "m2")
    chain.work_off(hours=1)
    assert (came(chain), state(chain, mail_id)) == ([(AUDIT,), (ANNA,)], MailState.SENT)


def several(*mail_ids: int) -> str:
    return json.dumps({"EmailIds": mail_ids})


def three_mails(chain: Chain) -> list[int]:
    return [stored_mail(chain, (f"{name}@example.com",), f"test/{name}") for name in ("anna", "bo", "cleo")]


def receivers(chain: Chain) -> list[str]:
    return [mail.to[0].split("@")[0] for mail in chain.mailer.sent]


def test_a_message_about_several_mails_sends_each_once_however_often_it_comes(chain: Chain) -> None:
    message = several(*three_mails(chain))
    for _ in range(3):
        assert chain.work(Queue.EMAIL, message) == []
    assert receivers(chain) == ["anna", "bo", "cleo"]


def test_of_several_mails_one_that_has_to_wait_is_put_back_alone_and_the_others_are_sent(chain: Chain) -> None:
    anna, bo, cleo = three_mails(chain)
    chain.mailer.fails = lambda mail: LaterError("busy") if mail.to == ("bo@example.com",) else None
    chain.work(Queue.EMAIL, several(anna, bo, cleo))
    assert receivers(chain) == ["anna", "cleo"]
    ((_, text, _delay),) = chain.queues.take()
    assert (parse_email(text).email_id, parse_email(text).envelope.attempt) == (bo, 1)


def test_of_several_mails_one_that_is_refused_and_one_that_there_is_not_keep_no_other(chain: Chain) -> None:
    anna, bo, cleo = three_mails(chain)
    chain.mailer.fails = lambda mail: NeverError("no such address") if mail.to == ("bo@example.com",) else None
    chain.work(Queue.EMAIL, several(anna, 4711, bo, cleo))
    assert receivers(chain)[:2] == ["anna", "cleo"]
    assert {letter.body for letter in chain.letters.letters()} == {f'{{"EmailId":{each}}}' for each in (4711, bo)}


def test_of_several_mails_one_that_meets_a_fault_of_ours_fails_alone(chain: Chain) -> None:
    anna, bo, cleo = three_mails(chain)
    chain.mailer.fails = lambda mail: ZeroDivisionError() if mail.to == ("bo@example.com",) else None
    chain.work(Queue.EMAIL, several(anna, bo, cleo))
    assert receivers(chain) == ["anna", "cleo"]
    ((_, text, _delay),) = chain.queues.take()
    assert parse_email(text).email_id == bo
    chain.mailer.fails = lambda _mail: None
    chain.work(Queue.EMAIL, text)
    assert receivers(chain) == ["anna", "cleo", "bo"]


def test_mails_that_a_messages_time_does_not_reach_get_a_message_of_their_own(chain: Chain) -> None:
    anna, bo, cleo = three_mails(chain)
    chain.mailer.fails = lambda _mail: chain.clock.forward(seconds=TIME_FOR_MANY.total_seconds() * 0.6)
    chain.work(Queue.EMAIL, several(anna, bo, cleo))
    assert receivers(chain) == ["anna", "bo"]
    chain.drain()
    assert receivers(chain) == ["anna", "bo", "cleo"]


def test_a_message_about_several_mails_that_failed_for_good_is_tried_mail_by_mail(chain: Chain) -> None:
    mails = three_mails(chain)
    wanted = chain.bury(Queue.EMAIL, several(*mails), "poison-1")
    assert wanted == [EmailMessage(mail_id) for mail_id in mails]
    assert chain.letters.letters() == []


# --- a mail of their own for each recipient ---


@pytest.fixture
def private(chain: Chain) -> Chain:
    chain.configure(email_private_recipients=True)
    return chain


def test_each_recipient_gets_a_mail_of_their_own_and_sees_nobody_else(private: Chain) -> None:
    mail_id = alert_mail(private, ANNA, BO)
    private.work(Queue.EMAIL, email(mail_id))
    assert [(mail.to, mail.cc, mail.bcc) for mail in private.mailer.sent] == [
        ((each,), (), ()) for each in (ANNA, BO, AUDIT)
    ]
    assert len({mail.message_id for mail in private.mailer.sent}) == 3
    assert len({(mail.subject, mail.text, mail.html) for mail in private.mailer.sent}) == 1
    assert state(private, mail_id) is MailState.SENT
    assert {(each.recipient, each.state) for each in deliveries(private, mail_id)} == {
        (each, TAKEN) for each in (ANNA, BO, AUDIT)
    }


def test_whoever_is_addressed_twice_gets_one_mail(private: Chain) -> None:
    private.work(Queue.EMAIL, whole([ANNA], Cc=[ANNA.capitalize(), BO], Bcc=[BO]))
    private.drain()
    assert came(private) == [(ANNA,), (BO,)]


def test_who_was_refused_for_now_is_asked_again_alone_with_the_same_id(private: Chain) -> None:
    private.mailer.refuses[ANNA] = GREYLISTED
    mail_id = alert_mail(private, ANNA, BO)
    asked: list[OutgoingMail] = []
    private.mailer.fails = asked.append
    private.work(Queue.EMAIL, email(mail_id))
    assert (came(private), state(private, mail_id)) == ([(BO,), (AUDIT,)], MailState.PENDING)
    del private.mailer.refuses[ANNA]
    private.work_off(hours=1)
    assert (came(private), state(private, mail_id)) == ([(BO,), (AUDIT,), (ANNA,)], MailState.SENT)
    assert asked[0].message_id == asked[-1].message_id


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_provider_that_goes_away_in_between_is_asked_later_for_who_is_left(private: Chain, number: int) -> None:
    mail_id = alert_mail(private, ANNA, BO)
    private.mailer.fails = lambda _mail: LaterError("it is down") if len(private.mailer.sent) == number else None
    private.work(Queue.EMAIL, email(mail_id))
    stored = private.mails.get(mail_id)
    assert stored is not None and "it is down" in str(stored.reason)
    private.mailer.fails = lambda _mail: None
    private.work_off(hours=1)
    assert (came(private), state(private, mail_id)) == ([(ANNA,), (BO,), (AUDIT,)], MailState.SENT)


def test_a_process_that_dies_in_between_sends_nobody_a_second_mail(private: Chain) -> None:
    class Killed(BaseException):
        pass

    def kill(mail: OutgoingMail) -> None:
        if AUDIT in mail.to:
            raise Killed

    mail_id = alert_mail(private, ANNA, BO)
    private.mailer.fails = kill
    with pytest.raises(Killed):
        private.work(Queue.EMAIL, email(mail_id), origin="the-message")
    private.mailer.fails = lambda _mail: None
    private.work(Queue.EMAIL, email(mail_id), origin="the-message")
    private.work_off(hours=1)
    assert came(private) == [(ANNA,), (BO,), (AUDIT,)]
    assert state(private, mail_id) is MailState.SENT


def test_many_recipients_of_a_slow_provider_do_not_outlast_their_function(private: Chain) -> None:
    mail_id = alert_mail(private, *(f"p{number}@example.com" for number in range(10)))
    private.mailer.fails = lambda _mail: private.clock.forward(seconds=50)
    private.work(Queue.EMAIL, email(mail_id))
    assert len(private.mailer.sent) == 3
    private.work_off(hours=1)
    assert (len(set(came(private))), len(came(private))) == (11, 11)
    assert state(private, mail_id) is MailState.SENT


def test_an_address_that_no_mail_can_be_written_to_keeps_none_of_the_others_from_theirs(private: Chain) -> None:
    mail_id = alert_mail(private, ANNA, BO)
    private.mailer.fails = lambda mail: NeverError("no header can hold it") if BO in mail.to else None
    private.work(Queue.EMAIL, email(mail_id))
    assert (came(private), state(private, mail_id)) == ([(ANNA,), (AUDIT,)], MailState.SENT)
    assert Delivery(BO, Role.TO, REFUSED, "no header can hold it") in deliveries(private, mail_id)


# --- how urgent ---


@pytest.mark.parametrize(("threshold", "urgent"), [(None, False), (80, False), (99, False), (100, True), (120, True)])
def test_from_100_percent_on_a_mail_is_urgent(chain: Chain, threshold: int | None, urgent: bool) -> None:
    context = {"subject": "Hello", "body": "<p>x</p>"}
    new = NewMail("test/1", "whole", (ANNA,), context, topic=Topic.ALERT, threshold=threshold)
    chain.work(Queue.EMAIL, email(chain.mails.add(new, chain.clock())))
    assert [mail.urgent for mail in chain.mailer.sent] == [urgent]


ANNA = "anna@example.com"


@pytest.fixture
def alerted(chain: Chain) -> Chain:
    """An alert's mail to Anna is about to be sent."""
    chain.load(entry())
    chain.spend("850", date(2026, 11, 19))
    chain.tonight()
    for _ in range(2):
        for queue, text, _delay in chain.queues.take():
            chain.work(queue, text)
    return chain


# --- two orders about one mail ---


def test_a_mail_that_is_put_aside_is_not_sent_though_it_was_asked_for_before(alerted: Chain) -> None:
    alerted.mailer.fails = lambda _mail: LaterError("down")
    alerted.work_off(0.1)
    alerted.mailer.fails = lambda _mail: None
    alerted.mail_service.resend(1, [], "ann")
    alerted.clock.forward(minutes=1)
    alerted.mail_service.discard([1], "it is wrong", "ann")
    alerted.work_off(5)
    assert alerted.mailer.sent == []
    alerted.mail_service.resend(1, [], "ann")
    alerted.drain()
    assert [mail.to for mail in alerted.mailer.sent] == [(ANNA,)]


def test_a_mail_that_is_put_aside_is_not_sent_though_its_dead_letter_was_replayed_before(alerted: Chain) -> None:
    alerted.mailer.fails = lambda mail: NeverError("no") if ANNA in mail.to else None
    alerted.drain()
    alerted.mailer.fails = lambda _mail: None
    (letter,) = [each for each in alerted.letters.letters() if each.queue == Queue.EMAIL]
    sent = len(alerted.mailer.sent)
    alerted.dead_letter_service.replay(letter.id)
    alerted.clock.forward(minutes=1)
    alerted.mail_service.discard([1], "it is wrong", "ann")
    alerted.drain()
    assert len(alerted.mailer.sent) == sent


# --- whose project is forgotten meanwhile ---


def forget(chain: Chain) -> None:
    chain.load(entry(active=False))
    chain.project_service.forget("P11")


def everything(chain: Chain) -> str:
    """All that the database holds."""
    return chain.database.read(
        lambda connection: str([connection.execute(each.select()).all() for each in metadata.sorted_tables])
    )


@pytest.mark.parametrize("error", [None, LaterError(f"busy: {ANNA}"), NeverError(f"no such user: {ANNA}")])
@pytest.mark.parametrize("refusal", [None, Refusal(f"450 {ANNA}", for_good=False), Refusal(f"550 {ANNA}", True)])
def test_of_a_mail_that_was_being_sent_nobody_comes_back_whom_it_was_for(
    alerted: Chain, error: Exception | None, refusal: Refusal | None
) -> None:
    def forgets(_mail: OutgoingMail) -> Exception | None:
        forget(alerted)
        alerted.mailer.fails = lambda _mail: error
        return error

    assert ANNA in everything(alerted)
    alerted.mailer.fails, alerted.mailer.refuses = forgets, {} if refusal is None else {ANNA: refusal}
    alerted.work_off(80)
    assert ANNA not in everything(alerted)
    assert alerted.letters.letters() == []
    assert len(alerted.mailer.sent) <= 1


def test_a_mark_that_comes_after_the_forgetting_names_nobody(alerted: Chain) -> None:
    forget(alerted)
    sent_as = SentAs("origin", "receipt", (Delivery(ANNA, Role.TO, TAKEN),))
    alerted.work(Queue.EMAIL, to_json(EmailMessage(1, sent_as=sent_as)))
    assert ANNA not in everything(alerted)


def test_of_a_forgotten_mail_that_is_replayed_nothing_is_sent_or_told(alerted: Chain) -> None:
    forget(alerted)
    alerted.work(Queue.EMAIL, email(1, Replayed=True))
    alerted.work_off(1)
    assert (alerted.mailer.sent, alerted.letters.letters()) == ([], [])
    assert alerted.mails.get(1).state is MailState.FAILED
