"""SMTP: what the server may say, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.mail.smtp import SmtpMailer
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import OutgoingMail
from tests.adapters.mail.servers import PASSWORD, USERNAME, SilentServer, SmtpServer, free_port, make_certificate, read

MAIL = OutgoingMail("<m@example.ca>", ("ann@example.ca", "bob@example.ca"), "Budget", "text", "<p>html</p>")


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


def test_those_who_are_taken_get_the_mail_and_the_receipt_names_the_others(server: SmtpServer) -> None:
    server.refusals["bob@example.ca"] = "550 no such user"
    receipt = mailer(server.port).send(MAIL)
    assert [recipients for _, recipients in server.mails] == [["ann@example.ca"]]
    assert receipt == "refused: bob@example.ca (550 no such user)"


def test_the_receipt_is_empty_when_all_are_taken(server: SmtpServer) -> None:
    assert mailer(server.port).send(MAIL) == ""


def test_a_server_that_looks_at_the_mail_for_long_before_its_yes_is_waited_for(server: SmtpServer) -> None:
    server.data_seconds = 1.5
    sender = SmtpMailer("127.0.0.1", server.port, "", "", False, "warden@example.ca", "Warden", timeout=1)
    assert sender.send(MAIL) == ""
    assert len(server.mails) == 1


def test_a_server_that_never_says_yes_is_given_up(server: SmtpServer) -> None:
    server.data_seconds = 1.5
    args = ("127.0.0.1", server.port, "", "", False, "warden@example.ca", "Warden")
    with pytest.raises(LaterError, match="can't be reached"):
        SmtpMailer(*args, timeout=1, verdict_timeout=0.2).send(MAIL)


def test_a_mail_whose_recipients_are_all_refused_for_good_is_never_sent(server: SmtpServer) -> None:
    server.refusals = dict.fromkeys(MAIL.to, "550 no such user")
    with pytest.raises(NeverError, match=r"refused every recipient: ann@example.ca \(550 no such user\); bob"):
        mailer(server.port).send(MAIL)


def test_a_mail_is_tried_later_when_one_of_the_refused_may_be_taken_later(server: SmtpServer) -> None:
    server.refusals = {"ann@example.ca": "550 no such user", "bob@example.ca": "450 greylisted"}
    with pytest.raises(LaterError, match="greylisted"):
        mailer(server.port).send(MAIL)


@pytest.mark.parametrize(("answer", "error"), [("452 disk full", LaterError), ("552 too large", NeverError)])
def test_the_answer_to_the_mail_itself_decides(server: SmtpServer, answer: str, error: type[Exception]) -> None:
    server.data_answer = answer
    with pytest.raises(error, match=answer):
        mailer(server.port).send(MAIL)


def test_a_mail_that_was_taken_is_sent_even_if_the_goodbye_fails(server: SmtpServer) -> None:
    server.breaks_at_quit = True
    assert mailer(server.port).send(MAIL) == ""
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


def test_a_wrong_password_is_a_plain_never_without_the_password(secured: SmtpServer) -> None:
    with pytest.raises(NeverError, match="SMTP_USERNAME and SMTP_PASSWORD") as caught:
        mailer(secured.port, USERNAME, "wr0ng-password", starttls=True).send(MAIL)
    assert "wr0ng-password" not in caught.value.reason


def test_a_password_that_smtp_cannot_carry_is_a_never_that_does_not_quote_it(secured: SmtpServer) -> None:
    with pytest.raises(NeverError, match="SMTP_PASSWORD") as caught:
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
    with pytest.raises(NeverError, match="STARTTLS"):
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
