"""Mails of the pipeline at real mail servers that refuse us, or some of the recipients, in words of their own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from email.message import Message
from typing import Any

import pytest
from typing_extensions import override

from shared.adapters.mail.acs import AcsMailer
from shared.adapters.mail.sendgrid import SendGridMailer
from shared.adapters.mail.smtp import SmtpMailer
from shared.domain.deliveries import refused
from shared.ports.mails import MailState, StoredMail
from tests.adapters.mail.servers import API_KEY, AcsServer, Answer, SendGridServer, SmtpServer, acs_fault, fault
from tests.pipeline.conftest import Chain, entry

ANNA, BOB = "anna@example.com", "bob@example.com"
EVERYBODY = (ANNA, "ops@example.com", "audit@example.com")
BLOCKED = "554 5.7.1 Service unavailable; Client host [20.43.7.9] blocked using zen.spamhaus.org"
# nodemailer#1089, docker-mailserver#1927 and #2704, bitwarden/server#4062 and #164, and what nobody has seen yet.
AT_RCPT = [
    BLOCKED,
    "504 5.5.2 <10-20-30-40>: Helo command rejected: need fully-qualified hostname",
    "550 5.7.1 Unfortunately, messages from [20.43.7.9] weren't sent. Please contact your Internet service provider "
    "since part of their network is on our block list (S3140).",
    "550 5.7.1 Client host rejected: cannot find your reverse hostname, [20.43.7.9]",
    "550 5.7.1 qwertz",
]
# cachethq/cachet#3052 (Zoho), GoodServer#419 (SES), swapmyvote#182 (Mailgun), freeCodeCamp/guide#1611 (cPanel).
AT_DATA = [
    BLOCKED,
    "550 5.4.6 Unusual sending activity detected.",
    "554 Message rejected: Sending paused for this account.",
    "554 Sandbox subdomains are for test purposes only. Please add your own domain.",
    "550 Domain example.com has exceeded the max emails per hour (200/200 (100%)) allowed.",
]
# sendgrid-go#54, laravel-sendgrid-driver#96, sendgrid-php#181: of the sender or of the account, with a 400.
AT_SENDGRID = [
    fault(400, "The from email does not contain a valid address.", "from.email"),
    Answer(400, {}, json.dumps({"errors": ["Permission denied, wrong credentials"], "message": "error"})),
]


class Narrow(SmtpServer):
    """Takes three recipients a mail; `reply` is what the others hear."""

    reply = ""

    @override
    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if len(envelope.rcpt_tos) >= 3:
            return self.reply
        return await super().handle_RCPT(server, session, envelope, address, options)


@pytest.fixture
def smtp(chain: Chain) -> Iterator[Narrow]:
    running = Narrow()
    running.start()
    chain.parts["mailer"] = SmtpMailer("127.0.0.1", running.port, "", "", False, "warden@example.com", "W", timeout=2)
    chain.configure()
    yield running
    running.stop()


@pytest.fixture
def sendgrid(chain: Chain) -> Iterator[SendGridServer]:
    running = SendGridServer()
    chain.parts["mailer"] = SendGridMailer(API_KEY, "warden@example.com", "W", running.endpoint, timeout=3)
    chain.configure()
    yield running
    running.stop()


def alert(chain: Chain, *contacts: str, hours: float = 6) -> None:
    """An alert of 80 %, and what becomes of it in these hours."""
    chain.load(entry(11, "1000", contacts=contacts or (ANNA,)))
    chain.spend("850", date(2026, 11, 10))
    chain.tonight()
    chain.work_off(hours)


def mail(chain: Chain) -> StoredMail:
    found = chain.mails.get(1)
    assert found
    return found


def reached(server: SmtpServer) -> list[str]:
    return [address for _, recipients in server.mails for address in recipients]


@pytest.mark.parametrize("reply", AT_RCPT)
def test_a_server_that_refuses_us_at_each_recipient_costs_no_alert(chain: Chain, smtp: Narrow, reply: str) -> None:
    smtp.refusals = dict.fromkeys(EVERYBODY, reply)
    alert(chain)
    smtp.refusals.clear()
    chain.work_off(1)
    assert reached(smtp) == [ANNA, "audit@example.com"]
    assert not chain.letters.letters()


@pytest.mark.parametrize("reply", AT_DATA)
def test_a_server_that_refuses_us_once_it_has_the_mail_costs_no_alert(chain: Chain, smtp: Narrow, reply: str) -> None:
    smtp.data_answer = reply
    alert(chain)
    smtp.data_answer = "250 OK"
    chain.work_off(1)
    assert reached(smtp) == [ANNA, "audit@example.com"]
    assert not chain.letters.letters()


@pytest.mark.parametrize("answer", AT_SENDGRID)
def test_a_400_of_sendgrids_about_us_costs_no_alert(chain: Chain, sendgrid: SendGridServer, answer: Answer) -> None:
    sendgrid.answer = answer
    alert(chain)
    sendgrid.answer = None
    chain.work_off(1)
    (body,) = sendgrid.bodies
    assert body["personalizations"][0]["to"] == [{"email": ANNA}]
    assert not chain.letters.letters()


@pytest.mark.parametrize("reply", ["452 4.5.3 Too many recipients", "552 5.5.3 Maximum limit of 3 recipients reached"])
def test_of_too_many_recipients_each_gets_the_mail_in_the_end_and_once(chain: Chain, smtp: Narrow, reply: str) -> None:
    smtp.reply = reply
    contacts = tuple(f"c{number}@example.com" for number in range(8))
    alert(chain, *contacts)
    assert reached(smtp) == [*contacts, "audit@example.com"]


def test_a_recipient_at_whom_the_server_hangs_up_is_asked_again_alone(chain: Chain, smtp: Narrow) -> None:
    smtp.hangs_up_at = {BOB: b"421 4.7.0 greylisted, closing\r\n"}
    alert(chain, ANNA, BOB, hours=1)
    assert reached(smtp) == [ANNA, "audit@example.com"]
    assert "421 4.7.0 greylisted" in (mail(chain).reason or "")
    smtp.hangs_up_at.clear()
    chain.work_off(1)
    assert reached(smtp) == [ANNA, "audit@example.com", BOB]


def test_a_recipient_at_whom_it_always_hangs_up_is_given_up_alone(chain: Chain, smtp: Narrow) -> None:
    smtp.hangs_up_at = {BOB: b""}
    alert(chain, ANNA, BOB, hours=80)
    assert reached(smtp) == [ANNA, "audit@example.com"]
    stored = mail(chain)
    assert stored.state is MailState.SENT
    (bob,) = refused(stored.deliveries)
    assert (bob.recipient, bob.reason) == (
        BOB,
        "given up after 72 hours: the mail server broke off: Connection unexpectedly closed",
    )
    assert not chain.letters.letters()


# --- Azure Communication Services ---

PEOPLE = tuple(f"p{number:02}@example.com" for number in range(60))


def test_of_more_recipients_than_one_mail_may_have_nobody_gets_it_twice(chain: Chain) -> None:
    """One is refused by name, and for the others the answer was lost after their mail was taken."""
    server = AcsServer()
    took, lost = server.judge, list[str]()

    def judge(path: str, headers: Message, content: bytes) -> Answer:
        sends = path.startswith("/emails:send")
        if sends and PEOPLE[7] in content.decode():
            return acs_fault(400, "BadRequest", f"Invalid format for email address {PEOPLE[7]}")
        answer = took(path, headers, content)
        if sends and not lost:
            lost.append(path)
            return Answer(503, {}, "")
        return answer

    server.judge = judge  # type: ignore[method-assign]
    chain.parts["mailer"] = AcsMailer(server.endpoint, None, "warden@example.com", clock=chain.clock)
    chain.configure()
    chain.load(entry(contacts=PEOPLE))
    chain.spend("850", date(2026, 11, 19))
    chain.tonight()
    chain.work_off(5)
    server.stop()
    bodies = [body["recipients"] for body in server.operations.values()]
    got = Counter(each["address"] for places in bodies for place in places.values() for each in place)
    assert set(PEOPLE) - got.keys() == {PEOPLE[7]}
    assert set(got.values()) == {1}
