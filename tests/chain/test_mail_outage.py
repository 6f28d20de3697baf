"""The mail provider is down, and comes back: every mail waits on its queue, and arrives once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from localdev.azure_sim import AzureSimulator
from shared.adapters.database.tables import mails
from shared.messages import Queue
from tests.adapters.mail.servers import (
    API_KEY,
    Answer,
    SendGridServer,
    SmtpServer,
    arrived,
    arrived_at_sendgrid,
    fault,
    free_port,
    read,
)
from tests.chain.conftest import Install
from tests.chain.installation import NIGHT, NORTH, SOUTH, Installation, book_of, entry, until
from tests.subjects import short

EXPECTED = [
    (("p11@example.com",), "[P11] 25 % of the budget reached"),
    (("p12@example.com",), "[P12] 50 % of the budget reached"),
    (("p21@example.com",), "[P21] 100 % of the budget reached"),
]
OUT_OF_CREDITS = fault(401, "Maximum credits exceeded")
SENDER = {"EMAIL_SENDER": "warden@example.com"}


@pytest.fixture
def azure() -> Iterator[AzureSimulator]:
    book = book_of((NORTH, "RG-11", "10.5"), (NORTH, "rg-12", "30"), (SOUTH, "rg-21", "77.7"))
    with AzureSimulator(book) as simulator:
        yield simulator


@pytest.fixture
def sendgrid() -> Iterator[SendGridServer]:
    server = SendGridServer()
    yield server
    server.stop()


def load(app: Installation) -> None:
    app.load(entry(11, "400"), entry(12, "1000"), entry(21, "1400", subscription=SOUTH))


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (429, "", "SendGrid asks to wait (429)"),
        (503, "", "SendGrid asks to wait (503)"),
        (401, OUT_OF_CREDITS.body, "SendGrid refuses us (401): Maximum credits exceeded; see that SENDGRID_API_KEY"),
    ],
)
def test_mails_wait_as_long_as_sendgrid_asks_and_each_arrives_once_when_it_takes_them_again(
    install: Install, azure: AzureSimulator, sendgrid: SendGridServer, status: int, body: str, reason: str
) -> None:
    sendgrid.answer = Answer(status, {"Retry-After": "1"}, body)
    settings = {"EMAIL_PROVIDER": "sendgrid", "SENDGRID_API_KEY": API_KEY, "SENDGRID_ENDPOINT": sendgrid.endpoint}
    app = install(azure, **settings, **SENDER)
    load(app)
    host = app.host("--once", "ProjectUsageScheduler")
    until(lambda: len(_deferred(app)) == 3)
    assert {state for state, _ in _deferred(app)} <= {"pending", "claimed"}
    assert all(said.startswith(reason) for _, said in _deferred(app))
    assert app.runs()["night-2026-11-20"].state == "done", "the night's costs don't wait for its mails"
    sendgrid.answer = None
    assert host.wait(30) == 0, host.output
    came = [arrived_at_sendgrid(body) for body in sendgrid.bodies]
    assert sorted((mail.to, short(mail.subject)) for mail in came) == EXPECTED
    assert set(app.mail_states().values()) == {"sent"}
    assert app.dead_letters() == []


def test_mails_that_no_smtp_server_took_are_sent_once_when_the_watchdog_finds_them_and_the_server_is_back(
    install: Install, azure: AzureSimulator
) -> None:
    port = free_port()
    smtp = {"EMAIL_PROVIDER": "smtp", "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_STARTTLS": "false"}
    app = install(azure, **smtp, **SENDER)
    load(app)
    host = app.host("--once", "ProjectUsageScheduler")
    until(lambda: len(_deferred(app)) == 3 and {state for state, _ in _deferred(app)} == {"pending"})
    # The messages now wait half a minute and more. Losing them, too, must lose no mail.
    host.stop()
    app.queue(Queue.EMAIL).clear_messages()
    server = SmtpServer()
    server.port = port
    server.start()
    try:
        app.set_clock(NIGHT + timedelta(hours=1))
        app.run("--once", "PipelineWatchdog")
    finally:
        server.stop()
    came = [arrived(read(content), recipients) for content, recipients in server.mails]
    assert sorted((mail.to, short(mail.subject)) for mail in came) == EXPECTED
    assert set(app.mail_states().values()) == {"sent"}
    assert app.dead_letters() == []


@pytest.mark.parametrize(
    ("reply", "reason"), [("450 greylisted", "p11@example.com (450 greylisted)"), ("550 no such user", None)]
)
def test_an_alert_whose_only_contact_is_refused_reaches_it_or_the_operators_and_its_blind_copy_once(
    install: Install, azure: AzureSimulator, reply: str, reason: str | None
) -> None:
    server = SmtpServer()
    server.start()
    server.refusals["p11@example.com"] = reply
    smtp = {"EMAIL_PROVIDER": "smtp", "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_STARTTLS": "false"}
    copies = {"EMAIL_BCC": "audit@example.com", "EMAIL_BCC_FROM_PERCENT": "25"}
    app = install(azure, **smtp, **SENDER, **copies)
    app.load(entry(11, "400"))
    try:
        host = app.host("--once", "ProjectUsageScheduler")
        until(lambda: len(server.mails) == (1 if reason else 2))
        if reason:
            until(lambda: _deferred(app) == [("pending", reason)])
            # The next attempt is half a minute away; the watchdog asks for it too.
            host.stop()
            app.queue(Queue.EMAIL).clear_messages()
            server.refusals.clear()
            app.set_clock(NIGHT + timedelta(hours=1))
            app.run("--once", "PipelineWatchdog")
        else:
            assert host.wait(30) == 0, host.output
    finally:
        server.stop()
    instead = "p11@example.com" if reason else "operators@example.com"
    assert [recipients for _, recipients in server.mails] == [["audit@example.com"], [instead]]
    assert set(app.mail_states().values()) == {"sent"}
    assert app.dead_letters() == []


def test_a_mail_that_sendgrid_refuses_for_contacts_and_operators_alike_waits_until_it_takes_it(
    install: Install, azure: AzureSimulator, sendgrid: SendGridServer
) -> None:
    sendgrid.answer = fault(400, "no")
    settings = {"EMAIL_PROVIDER": "sendgrid", "SENDGRID_API_KEY": API_KEY, "SENDGRID_ENDPOINT": sendgrid.endpoint}
    app = install(azure, **settings, **SENDER)
    app.load(entry(11, "400"))
    host = app.host("--once", "ProjectUsageScheduler")
    until(lambda: any(state == "pending" and "operators@example.com" in said for state, said in _deferred(app)))
    ((_, reason),) = _deferred(app)
    assert "p11@example.com (SendGrid refuses it (400): no)" in reason
    host.stop()
    app.queue(Queue.EMAIL).clear_messages()
    sendgrid.answer = None
    app.set_clock(NIGHT + timedelta(hours=1))
    app.run("--once", "PipelineWatchdog")
    ((to, subject),) = [(mail.to, short(mail.subject)) for mail in map(arrived_at_sendgrid, sendgrid.bodies)]
    assert "p11@example.com" in str(to)
    assert subject == "[P11] 25 % of the budget reached"
    assert set(app.mail_states().values()) == {"sent"}
    assert app.dead_letters() == []


def _deferred(app: Installation) -> list[tuple[str, str]]:
    """(state, reason) of the alerts' mails that were tried and could not be sent yet."""
    return [(state, reason) for state, reason in app.rows(select(mails.c.state, mails.c.reason)) if reason]
