"""What every Mailer does, on the outbox, on SMTP (a real server), on SendGrid and on Azure Communication
Services (loopback servers)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shared.adapters.mail.acs import AcsMailer
from shared.adapters.mail.mime import build
from shared.adapters.mail.outbox import OutboxMailer
from shared.adapters.mail.sendgrid import SendGridMailer
from shared.adapters.mail.smtp import SmtpMailer
from shared.ports.clock import utc_now
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import Mailer, OutgoingMail, Refusal
from tests.adapters.mail.servers import (
    API_KEY,
    PASSWORD,
    USERNAME,
    AcsServer,
    ApiServer,
    Arrived,
    SendGridServer,
    SmtpServer,
    acs_fault,
    addresses_in,
    arrived,
    arrived_at_acs,
    arrived_at_sendgrid,
    fault,
    make_certificate,
    read,
)
from tests.fakes import FakeMailer

SENDER = "warden@example.ca"
SENDER_NAME = "Équipe Nuage, Coûts"
MAIL = OutgoingMail(
    message_id="<alert-7-80@warden.example.ca>",
    to=("ann@example.ca", "bob@example.ca"),
    cc=("carl@example.ca",),
    bcc=("dora@example.ca", "eve@example.ca"),
    subject="[DIE1] 80 % du budget est utilisé 🎉 – déjà",
    text="Bonjour été,\n.\n.one line starts with a dot\n" + "a long line " * 200 + "\n",
    html='<p lang="fr">été &lt;b&gt; 🎉</p>\n' + "<p>" + "x" * 2000 + "</p>\n",
)


@dataclass
class Rig:
    """A mailer, what arrived, and how its other side is made to fail."""

    mailer: Mailer
    arrived: Callable[[], list[Arrived]]
    make_unwell: Callable[[], object]
    make_refuse: Callable[[], object] = lambda: None
    make_refuse_one: Callable[[str], object] = lambda _address: None


def outbox_rig(folder: Path) -> Rig:
    outbox = folder / "not" / "yet" / "there"

    def read_all() -> list[Arrived]:
        messages = [read(path.read_bytes()) for path in sorted(outbox.glob("*.eml"))]
        return [arrived(message, list(addresses_in(message, "Bcc"))) for message in messages]

    return Rig(OutboxMailer(outbox, SENDER, SENDER_NAME), read_all, (folder / "not").touch)


def fake_rig() -> Rig:
    """The fake that the pipeline's tests use."""
    mailer = FakeMailer()

    def unwell() -> None:
        mailer.fails = lambda _mail: LaterError("unwell")

    def refuse() -> None:
        mailer.refuses = dict.fromkeys((*MAIL.to, *MAIL.cc, *MAIL.bcc), Refusal("554 spam", for_good=True))

    def seen(mail: OutgoingMail) -> Arrived:
        return arrived(build(mail, SENDER, SENDER_NAME, utc_now()), [*mail.to, *mail.cc, *mail.bcc])

    def refuse_one(address: str) -> None:
        mailer.refuses[address] = Refusal("550 no such user", for_good=True)

    return Rig(mailer, lambda: [seen(mail) for mail in mailer.sent], unwell, refuse, refuse_one)


def sendgrid_rig(server: SendGridServer) -> Rig:
    return Rig(
        SendGridMailer(API_KEY, SENDER, SENDER_NAME, server.endpoint),
        lambda: [arrived_at_sendgrid(body) for body in server.bodies],
        lambda: setattr(server, "answer", fault(503, "unavailable")),
        lambda: setattr(server, "answer", fault(400, "no")),
    )


def acs_rig(server: AcsServer) -> Rig:
    return Rig(
        AcsMailer(server.endpoint, None, SENDER),
        lambda: [arrived_at_acs(body) for body in server.operations.values()],
        lambda: setattr(server, "answer", acs_fault(503, "ServiceUnavailable", "unwell")),
        lambda: setattr(server, "answer", acs_fault(400, "BadRequest", "no")),
    )


def smtp_rig(server: SmtpServer, password: str = "") -> Rig:
    username = USERNAME if password else ""
    return Rig(
        SmtpMailer("127.0.0.1", server.port, username, password, bool(password), SENDER, SENDER_NAME),
        lambda: [arrived(read(content), recipients) for content, recipients in server.mails],
        lambda: setattr(server, "data_answer", "451 try again later"),
        lambda: setattr(server, "data_answer", "554 spam"),
        lambda address: server.refusals.update({address: "550 no such user"}),
    )


CAN_REFUSE_ONE = ["fake", "smtp", "smtp with STARTTLS and sign-in"]
CAN_REFUSE = [*CAN_REFUSE_ONE, "sendgrid", "acs"]
# With the other, the sender's name is set at its domain in Azure.
CAN_NAME_THE_SENDER = ["outbox", *CAN_REFUSE[:-1]]
APIS: dict[str, tuple[type[ApiServer], Callable[..., Rig]]] = {
    "sendgrid": (SendGridServer, sendgrid_rig),
    "acs": (AcsServer, acs_rig),
}


@pytest.fixture(params=["outbox", *CAN_REFUSE])
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    match request.param:
        case "outbox":
            yield outbox_rig(tmp_path)
        case "fake":
            yield fake_rig()
        case "sendgrid" | "acs":
            kind, make = APIS[request.param]
            server = kind()
            yield make(server)
            server.stop()
        case _:
            secured = request.param != "smtp"
            certificate, context = make_certificate(tmp_path)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            smtp = SmtpServer(context if secured else None)
            smtp.start()
            yield smtp_rig(smtp, PASSWORD if secured else "")
            smtp.stop()


def one_mail(rig: Rig) -> Arrived:
    (mail,) = rig.arrived()
    return mail


def test_a_mail_arrives_as_it_was_sent(rig: Rig) -> None:
    rig.mailer.send(MAIL)
    mail = one_mail(rig)
    assert (mail.to, mail.cc, mail.bcc) == (MAIL.to, MAIL.cc, MAIL.bcc)
    assert mail.subject == MAIL.subject
    assert mail.message_id == MAIL.message_id
    assert mail.text.replace("\r\n", "\n") == MAIL.text
    assert mail.html.replace("\r\n", "\n") == MAIL.html


@pytest.mark.parametrize(("urgent", "marks"), [(True, ("high", "1")), (False, (None, None))])
def test_only_an_urgent_mail_says_that_it_is_important(
    rig: Rig, urgent: bool, marks: tuple[str | None, str | None]
) -> None:
    rig.mailer.send(replace(MAIL, urgent=urgent))
    mail = one_mail(rig)
    assert (mail.importance, mail.priority) == marks


@pytest.mark.parametrize("reply_to", ["help@example.ca", ""])
def test_replies_go_where_they_are_to(rig: Rig, reply_to: str) -> None:
    rig.mailer.send(replace(MAIL, reply_to=reply_to))
    assert one_mail(rig).reply_to == (reply_to or None)


@pytest.mark.parametrize("rig", CAN_NAME_THE_SENDER, indirect=True)
def test_the_sender_is_named(rig: Rig) -> None:
    rig.mailer.send(MAIL)
    sender = one_mail(rig).sender
    assert SENDER_NAME in sender and f"<{SENDER}>" in sender


def test_a_mail_that_is_sent_again_carries_the_same_message_id(rig: Rig) -> None:
    rig.mailer.send(MAIL)
    rig.mailer.send(MAIL)
    assert {mail.message_id for mail in rig.arrived()} == {MAIL.message_id}


def test_long_subjects_and_message_ids_arrive_whole(rig: Rig) -> None:
    subject = "Le budget du projet « Données ouvertes » est utilisé à plus de 80 % – voyez ce qui coûte " * 4
    long = replace(MAIL, subject=subject.strip(), message_id=f"<{'a1b2-' * 30}@warden.example.ca>")
    rig.mailer.send(long)
    assert one_mail(rig).subject == long.subject
    assert one_mail(rig).message_id == long.message_id


def test_many_recipients_all_get_the_mail(rig: Rig) -> None:
    people = tuple(f"person.number.{number}@example.ca" for number in range(60))
    rig.mailer.send(replace(MAIL, to=people, cc=(), bcc=()))
    # Some take only so many at once.
    assert tuple(address for mail in rig.arrived() for address in mail.to) == people


def test_a_mail_with_copies_only_reaches_them(rig: Rig) -> None:
    rig.mailer.send(replace(MAIL, to=(), bcc=()))
    mail = one_mail(rig)
    assert mail.to + mail.cc + mail.bcc == MAIL.cc


def test_a_mail_with_one_blind_copy_only_reaches_it(rig: Rig) -> None:
    rig.mailer.send(replace(MAIL, to=(), cc=(), bcc=("dora@example.ca",)))
    mail = one_mail(rig)
    assert mail.to + mail.cc + mail.bcc == ("dora@example.ca",)


def test_a_check_says_what_it_saw_and_sends_nothing(rig: Rig) -> None:
    assert rig.mailer.check()
    assert rig.arrived() == []


def test_the_receipt_is_text(rig: Rig) -> None:
    assert isinstance(rig.mailer.send(MAIL).receipt, str)


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\x85", "\0"])
@pytest.mark.parametrize("place", ["subject", "message_id", "to", "cc", "bcc"])
def test_a_line_break_in_a_header_is_refused_and_nothing_is_sent(rig: Rig, place: str, line_break: str) -> None:
    injected = f"x@example.ca{line_break}Bcc: thief@example.com"
    value: str | tuple[str, ...] = injected if place in ("subject", "message_id") else (injected,)
    with pytest.raises(NeverError, match="line break"):
        rig.mailer.send(replace(MAIL, **{place: value}))
    assert rig.arrived() == []


def test_a_mail_without_any_recipient_is_refused(rig: Rig) -> None:
    with pytest.raises(NeverError, match="no recipient"):
        rig.mailer.send(replace(MAIL, to=(), cc=(), bcc=()))


def test_half_a_character_is_refused(rig: Rig) -> None:
    with pytest.raises(NeverError, match="half a character"):
        rig.mailer.send(replace(MAIL, text="\ud83d"))


def test_a_side_that_is_unwell_is_to_be_tried_later(rig: Rig) -> None:
    rig.make_unwell()
    with pytest.raises(LaterError):
        rig.mailer.send(MAIL)
    assert rig.arrived() == []


@pytest.mark.parametrize("rig", CAN_REFUSE, indirect=True)
def test_a_side_that_refuses_the_mail_refuses_all_of_its_recipients(rig: Rig) -> None:
    rig.make_refuse()
    refused = rig.mailer.send(MAIL).refused
    assert refused.keys() == {*MAIL.to, *MAIL.cc, *MAIL.bcc}
    assert all(each.for_good for each in refused.values())
    assert API_KEY not in str(refused) and PASSWORD not in str(refused)
    assert rig.arrived() == []


@pytest.mark.parametrize("rig", CAN_REFUSE_ONE, indirect=True)
def test_a_recipient_who_is_refused_is_named_and_the_others_get_the_mail(rig: Rig) -> None:
    rig.make_refuse_one("bob@example.ca")
    handover = rig.mailer.send(replace(MAIL, cc=(), bcc=("dora@example.ca",)))
    assert handover.refused == {"bob@example.ca": Refusal("550 no such user", for_good=True)}
    mail = one_mail(rig)
    assert {"ann@example.ca", "dora@example.ca"} <= {*mail.to, *mail.bcc}


@pytest.mark.parametrize("rig", CAN_REFUSE_ONE, indirect=True)
def test_where_all_are_refused_nobody_gets_the_mail(rig: Rig) -> None:
    for address in MAIL.to:
        rig.make_refuse_one(address)
    handover = rig.mailer.send(replace(MAIL, cc=(), bcc=()))
    assert handover.refused.keys() == {*MAIL.to}
    assert rig.arrived() == []
