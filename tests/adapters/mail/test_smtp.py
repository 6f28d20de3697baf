"""SMTP: what the server may say, and what becomes of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.mail.smtp import SmtpMailer
from shared.ports.errors import LaterError
from shared.ports.mails import Handover, OutgoingMail, Refusal
from tests.adapters.mail.servers import PASSWORD, USERNAME, SilentServer, SmtpServer, free_port, make_certificate, read

MAIL = OutgoingMail("<m@example.ca>", ("ann@example.ca", "bob@example.ca"), "Budget", "text", "<p>html</p>")
TAKEN = Handover()


def mailer(port: int, username: str = "", password: str = "", starttls: bool = False) -> SmtpMailer:
    return SmtpMailer("127.0.0.1", port, username, password, starttls, "warden@example.ca", "Warden", timeout=2)


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    running = SmtpServer()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpServer]:
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    running = SmtpServer(context)
    running.start()
    yield running
    running.stop()


def test_those_who_are_taken_get_the_mail_and_the_others_are_named(server: SmtpServer) -> None:
    server.refusals["bob@example.ca"] = "550 5.1.1 no such user"
    handover = mailer(server.port).send(MAIL)
    assert [recipients for _, recipients in server.mails] == [["ann@example.ca"]]
    assert handover.refused == {"bob@example.ca": Refusal("550 5.1.1 no such user", for_good=True)}


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required",
        "550 5.7.124 Sender not in allowed-senders list",
        "550 <sender.relay@example.com>: user unknown",
    ],
)
def test_a_mailbox_that_takes_no_mail_from_us_is_an_address_that_does_not_work(server: SmtpServer, reply: str) -> None:
    server.refusals["bob@example.ca"] = reply
    assert mailer(server.port).send(MAIL).refused == {"bob@example.ca": Refusal(reply, for_good=True)}


def test_a_reply_is_one_line_that_can_be_stored_and_shown(server: SmtpServer) -> None:
    server.refusals["bob@example.ca"] = "550 5.1.1 no\0such\x1b[31m\x85user"
    refusal = Refusal("550 5.1.1 no such [31m user", for_good=True)
    assert mailer(server.port).send(MAIL).refused == {"bob@example.ca": refusal}


def test_any_2xx_to_the_whole_mail_is_a_yes(server: SmtpServer) -> None:
    server.data_answer = "251 queued"
    assert mailer(server.port).send(MAIL) == TAKEN


def test_nobody_is_named_when_all_are_taken(server: SmtpServer) -> None:
    assert mailer(server.port).send(MAIL) == TAKEN


@pytest.mark.parametrize(
    ("reply", "for_good"),
    [
        ("550 5.1.1 The email account that you tried to reach does not exist", True),
        ("550 5.2.1 The email account that you tried to reach is disabled", True),
        ("552 5.2.2 mailbox full; daily quota exceeded", True),
        ("550 no such user", True),
        ("550 5.7.1 This group takes no mail from outside", True),
        ("450 4.7.1 Greylisted, try again in 5 minutes", False),
        ("452 4.5.3 Too many recipients", False),
        ("552 5.5.3 Maximum limit of 3 recipients reached", False),
        ("552 storage allocation exceeded", False),
        ("550 5.5.3 RESOLVER.ADR.RecipLimit", False),
        ("554 too many recipients", False),
        ("550 5.7.1 Relaying denied", False),
        ("554 5.7.1 Recipient address rejected: Relay access denied", False),
        ("553 sorry, this domain is not in my list of allowed rcpthosts (#5.7.1)", False),
        ("553 5.7.1 Sender address rejected: not owned by user warden", False),
        ("530 5.7.57 Client not authenticated to send mail", False),
    ],
)
def test_of_a_recipient_it_is_told_apart_whether_its_address_works(
    server: SmtpServer, reply: str, for_good: bool
) -> None:
    server.refusals = dict.fromkeys(MAIL.to, reply)
    handover = mailer(server.port).send(MAIL)
    assert handover.refused == dict.fromkeys(MAIL.to, Refusal(reply, for_good))
    assert server.mails == []


BYE = b"421 4.7.0 greylisted, closing\r\n"
BROKE_OFF = Refusal("the mail server broke off: Connection unexpectedly closed", for_good=False)
GREYLISTED = Refusal("421 4.7.0 greylisted, closing", for_good=False)
FOUR = tuple(f"{name}@example.ca" for name in ("ann", "bob", "carl", "dora"))


def reached(server: SmtpServer) -> list[list[str]]:
    return [recipients for _, recipients in server.mails]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (BYE, GREYLISTED),
        (b"", BROKE_OFF),
        (b"250 " + b"x" * 9000 + b"\r\n", Refusal("the mail server broke off: (500, 'Line too long.')", False)),
    ],
)
@pytest.mark.parametrize("who", FOUR)
def test_a_recipient_at_whom_the_server_hangs_up_keeps_the_mail_from_nobody_else(
    server: SmtpServer, who: str, words: bytes, refusal: Refusal
) -> None:
    server.hangs_up_at = {who: words}
    assert mailer(server.port).send(replace(MAIL, to=FOUR)).refused == {who: refusal}
    assert reached(server) == [[address for address in FOUR if address != who]]
    assert server.connections == 2


def test_where_it_hangs_up_again_those_get_the_mail_whom_it_had_taken_before(server: SmtpServer) -> None:
    ann, bob, carl, dora = FOUR
    server.hangs_up_at = {bob: BYE, carl: b""}
    refused = mailer(server.port).send(replace(MAIL, to=FOUR)).refused
    assert refused == {bob: GREYLISTED, carl: BROKE_OFF, dora: BROKE_OFF}
    assert reached(server) == [[ann]]


def test_where_it_hangs_up_on_the_first_ones_the_last_gets_the_mail(server: SmtpServer) -> None:
    *bad, dora = FOUR
    server.hangs_up_at = dict.fromkeys(bad, BYE)
    assert mailer(server.port).send(replace(MAIL, to=FOUR)).refused == dict.fromkeys(bad, GREYLISTED)
    assert reached(server) == [[dora]]


def test_where_it_hangs_up_on_all_of_them_they_are_refused_for_now(server: SmtpServer) -> None:
    server.hangs_up_at = dict.fromkeys(FOUR, BYE)
    assert mailer(server.port).send(replace(MAIL, to=FOUR)).refused == dict.fromkeys(FOUR, GREYLISTED)


def test_a_server_that_hangs_up_on_ever_more_of_them_is_left_alone_for_now(server: SmtpServer) -> None:
    many = tuple(f"person.{number}@example.ca" for number in range(60))
    server.hangs_up_at = dict.fromkeys(many, BYE)
    with pytest.raises(LaterError, match=r"hangs up on us: 421 .* greylisted"):
        mailer(server.port).send(replace(MAIL, to=many))
    assert server.connections == 10


@pytest.mark.parametrize("command", ["MAIL", "DATA"])
def test_a_server_that_breaks_off_at_the_whole_mail_is_tried_later_with_the_same_message_id(
    server: SmtpServer, command: str
) -> None:
    server.breaks_at = command
    with pytest.raises(LaterError, match="can't be reached: Connection unexpectedly closed"):
        mailer(server.port).send(MAIL)
    server.breaks_at = ""
    mailer(server.port).send(MAIL)
    assert {read(content)["Message-ID"] for content, _ in server.mails} == {MAIL.message_id}


@pytest.mark.parametrize("command", ["mail_answer", "data_answer"])
def test_a_421_to_the_sender_or_the_mail_is_for_later(server: SmtpServer, command: str) -> None:
    setattr(server, command, "421 4.3.2 shutting down")
    with pytest.raises(LaterError, match=r"takes no mail from us: 421 .* shutting down"):
        mailer(server.port).send(MAIL)


def test_those_whom_a_slow_server_takes_in_time_get_the_mail_and_the_others_are_asked_later(server: SmtpServer) -> None:
    server.recipient_seconds = 0.7
    slow = replace(mailer(server.port), timeout=1.0, talk_timeout=3.0)
    refused = slow.send(replace(MAIL, to=FOUR)).refused
    ((*taken,),) = reached(server)
    assert 1 <= len(taken) < len(FOUR)
    assert [*taken, *refused] == list(FOUR)
    assert not any(each.for_good for each in refused.values())


@pytest.mark.parametrize("word", [b"220-welcome\r\n", b" "])
def test_an_answer_that_trickles_in_for_ever_is_left(word: bytes) -> None:
    server = SilentServer(hang_up=False, word=word)
    try:
        with pytest.raises(LaterError, match="timed out"):
            replace(mailer(server.port), timeout=0.5).send(MAIL)
    finally:
        server.stop()


def test_a_server_that_looks_at_the_mail_for_long_before_its_yes_is_waited_for(server: SmtpServer) -> None:
    server.data_seconds = 1.5
    sender = SmtpMailer("127.0.0.1", server.port, "", "", False, "warden@example.ca", "Warden", timeout=1)
    assert sender.send(MAIL) == TAKEN
    assert len(server.mails) == 1


def test_a_server_that_never_says_yes_is_given_up(server: SmtpServer) -> None:
    server.data_seconds = 1.5
    args = ("127.0.0.1", server.port, "", "", False, "warden@example.ca", "Warden")
    with pytest.raises(LaterError, match="can't be reached"):
        SmtpMailer(*args, timeout=1, verdict_timeout=0.2).send(MAIL)


@pytest.mark.parametrize("reply", ["552 5.3.4 message size limit exceeded", "554 5.7.1 Spam message rejected"])
def test_what_it_says_of_the_mail_is_said_of_all_who_were_to_get_it(server: SmtpServer, reply: str) -> None:
    server.data_answer = reply
    assert mailer(server.port).send(MAIL).refused == dict.fromkeys(MAIL.to, Refusal(reply, for_good=True))


@pytest.mark.parametrize(
    "reply",
    [
        "452 4.3.1 disk full",
        "554 5.2.252 SendAsDenied; warden@example.ca not allowed to send as boss@example.ca",
        "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
        "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
        "550 5.7.60 Client does not have permissions to send as this one",
        "550 5.4.5 Daily user sending quota exceeded. o65sm25351206pga.71 - gsmtp",
        "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this is resolved",
        "554 Message rejected: Email address is not verified.",
        "550 5.7.26 This mail has been blocked because the domain has no DMARC",
    ],
)
def test_what_it_says_of_us_waits_until_we_are_taken_again_and_is_quoted(server: SmtpServer, reply: str) -> None:
    server.data_answer = reply
    with pytest.raises(LaterError) as caught:
        mailer(server.port).send(MAIL)
    assert caught.value.reason.endswith(f"takes no mail from us: {reply}")


@pytest.mark.parametrize("reply", ["550 5.1.8 bad outbound", "530 5.7.0 Authentication required", "451 wait"])
def test_a_sender_that_is_refused_waits_until_it_is_taken_again(server: SmtpServer, reply: str) -> None:
    server.mail_answer = reply
    with pytest.raises(LaterError, match=f"takes no mail from us: {reply}"):
        mailer(server.port).send(MAIL)


def test_a_mail_that_is_too_large_for_the_server_is_refused_for_all_of_them(server: SmtpServer) -> None:
    server.mail_answer = reply = "552 message size exceeds fixed limit"
    assert mailer(server.port).send(MAIL).refused == dict.fromkeys(MAIL.to, Refusal(reply, for_good=True))


def test_a_mail_that_was_taken_is_sent_even_if_the_goodbye_fails(server: SmtpServer) -> None:
    server.breaks_at = "QUIT"
    assert mailer(server.port).send(MAIL) == TAKEN
    assert len(server.mails) == 1


def test_blind_copies_are_in_no_header(server: SmtpServer) -> None:
    mailer(server.port).send(OutgoingMail("<m@x.ca>", ("ann@example.ca",), "s", "t", "h", bcc=("dora@example.ca",)))
    ((content, recipients),) = server.mails
    assert b"dora" not in content
    assert recipients == ["ann@example.ca", "dora@example.ca"]


def test_mails_say_that_no_person_wrote_them(server: SmtpServer) -> None:
    mailer(server.port).send(MAIL)
    assert read(server.mails[0][0])["Auto-Submitted"] == "auto-generated"


def test_signing_in_happens_over_tls(secured: SmtpServer) -> None:
    mailer(secured.port, USERNAME, PASSWORD, starttls=True).send(MAIL)
    assert secured.signed_in == [USERNAME.encode()]
    assert len(secured.mails) == 1


def test_a_connection_can_be_encrypted_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = SmtpServer(implicit_tls=context)
    server.start()
    try:
        sender = "warden@example.ca"
        SmtpMailer("127.0.0.1", server.port, "", "", True, sender, "Warden", implicit_tls=True, timeout=2).send(MAIL)
        assert len(server.mails) == 1
    finally:
        server.stop()


@pytest.mark.parametrize(
    "reply",
    [
        "535 5.7.8 Authentication credentials invalid",
        "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect",
        "451 Authentication failed: Maximum credits exceeded",
        "454 4.7.0 Temporary authentication failure",
    ],
)
def test_a_sign_in_that_is_refused_waits_in_the_servers_words(secured: SmtpServer, reply: str) -> None:
    secured.sign_in_answer = reply
    with pytest.raises(LaterError, match=f"{reply}; .*SMTP_USERNAME and SMTP_PASSWORD"):
        mailer(secured.port, USERNAME, PASSWORD, starttls=True).send(MAIL)


def test_a_server_that_repeats_the_password_is_quoted_without_it(secured: SmtpServer) -> None:
    wrong = "wr0ng-password"
    in_base64 = [b64encode(each.encode()).decode() for each in (wrong, f"\0{USERNAME}\0{wrong}")]
    secured.sign_in_answer = f"535 {wrong} {' '.join(in_base64)} is not it"
    with pytest.raises(LaterError, match=r"535 \*\*\* \*\*\* \*\*\* is not it"):
        mailer(secured.port, USERNAME, wrong, starttls=True).send(MAIL)


def test_a_password_that_smtp_cannot_carry_is_a_later_that_does_not_quote_it(secured: SmtpServer) -> None:
    with pytest.raises(LaterError, match="SMTP_PASSWORD") as caught:
        mailer(secured.port, USERNAME, "pässword", starttls=True).send(MAIL)
    assert caught.value.__cause__ is None and "ä" not in caught.value.reason


def test_a_certificate_that_nobody_vouches_for_stops_the_mail(
    secured: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(LaterError, match="certificate verify failed"):
        mailer(secured.port, USERNAME, PASSWORD, starttls=True).send(MAIL)
    assert secured.signed_in == []


def test_a_server_without_starttls_never_sees_the_password(server: SmtpServer) -> None:
    with pytest.raises(LaterError, match="STARTTLS"):
        mailer(server.port, USERNAME, PASSWORD, starttls=True).send(MAIL)
    assert server.signed_in == []


def test_a_server_that_is_not_there_is_tried_later() -> None:
    with pytest.raises(LaterError, match="can't be reached"):
        mailer(free_port()).send(MAIL)


@pytest.mark.parametrize(("hang_up", "said"), [(True, "closed"), (False, "timed out")])
def test_a_server_that_hangs_up_or_says_nothing_is_tried_later(hang_up: bool, said: str) -> None:
    silent = SilentServer(hang_up)
    try:
        patient = SmtpMailer("127.0.0.1", silent.port, "", "", False, "warden@example.ca", "Warden", timeout=0.3)
        with pytest.raises(LaterError, match=said):
            patient.send(MAIL)
    finally:
        silent.stop()


def test_a_name_that_no_dns_knows_is_tried_later() -> None:
    lost = SmtpMailer("mail.invalid", 25, "", "", False, "warden@example.ca", "Warden", timeout=2)
    with pytest.raises(LaterError):
        lost.send(MAIL)


# --- whether it would take mail ---


def test_the_check_signs_in_and_sends_nothing(secured: SmtpServer) -> None:
    said = mailer(secured.port, USERNAME, PASSWORD, starttls=True).check()
    assert said == f"the mail server 127.0.0.1:{secured.port} takes our sign-in"
    assert (secured.signed_in, secured.mails) == ([USERNAME.encode()], [])


def test_without_a_sign_in_the_check_says_so(server: SmtpServer) -> None:
    assert mailer(server.port).check().endswith("answers; no sign-in is set")


def test_the_check_tells_what_is_wrong_with_the_sign_in_and_not_the_password(secured: SmtpServer) -> None:
    with pytest.raises(LaterError, match=r"refuses our sign-in: 535 .*SMTP_USERNAME and SMTP_PASSWORD") as caught:
        mailer(secured.port, USERNAME, "wr0ng-password", starttls=True).check()
    assert "wr0ng-password" not in caught.value.reason
    with pytest.raises(LaterError, match="SMTP_PASSWORD holds what SMTP can't carry"):
        mailer(secured.port, USERNAME, "pässword", starttls=True).check()


def test_the_check_tells_that_nobody_is_there() -> None:
    with pytest.raises(LaterError, match="can't be reached"):
        mailer(free_port()).check()


def test_the_check_tells_that_the_server_offers_no_encryption(server: SmtpServer) -> None:
    with pytest.raises(LaterError, match="STARTTLS"):
        mailer(server.port, starttls=True).check()
