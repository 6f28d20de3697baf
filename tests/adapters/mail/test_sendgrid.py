"""SendGrid: its answers, its waits, and its rules about recipients."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.mail.sendgrid import SendGridMailer, personalizations, wait_of
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import Handover, OutgoingMail, Refusal
from tests.adapters.mail.servers import API_KEY, Answer, SendGridServer, fault, free_port

MAIL = OutgoingMail("<m@example.ca>", ("ann@example.ca",), "Budget", "text", "<p>html</p>")
NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def mailer(endpoint: str, key: str = API_KEY, timeout: float = 5) -> SendGridMailer:
    return SendGridMailer(key, "warden@example.ca", "Warden", endpoint, timeout=timeout, clock=lambda: NOW)


@pytest.fixture
def server() -> Iterator[SendGridServer]:
    running = SendGridServer()
    yield running
    running.stop()


@pytest.fixture
def other() -> Iterator[SendGridServer]:
    running = SendGridServer()
    yield running
    running.stop()


def test_the_receipt_is_sendgrids_message_id(server: SendGridServer) -> None:
    assert mailer(server.endpoint).send(MAIL) == Handover("sg-1")


def test_links_and_openings_are_not_tracked(server: SendGridServer) -> None:
    mailer(server.endpoint).send(MAIL)
    tracking = server.bodies[0]["tracking_settings"]
    assert not tracking["click_tracking"]["enable"] and not tracking["open_tracking"]["enable"]


def test_a_wrong_key_is_a_later_that_names_the_setting_and_not_the_key(server: SendGridServer) -> None:
    with pytest.raises(LaterError, match="SENDGRID_API_KEY") as caught:
        mailer(server.endpoint, "SG.wrong-key").send(MAIL)
    assert "SG.wrong-key" not in caught.value.reason


def test_an_answer_that_repeats_the_key_is_not_passed_on(server: SendGridServer) -> None:
    server.answer = fault(403, f"the key {API_KEY} may not do that")
    with pytest.raises(LaterError, match="may not do that") as caught:
        mailer(server.endpoint).send(MAIL)
    assert API_KEY not in caught.value.reason


def test_what_it_says_of_a_recipient_does_not_show_the_key_either(server: SendGridServer) -> None:
    server.answer = fault(400, f"bad, key {API_KEY}", "personalizations.0.to.0.email")
    assert mailer(server.endpoint).send(MAIL).refused["ann@example.ca"] == Refusal("bad, key ***", for_good=True)


def test_a_key_with_a_line_break_at_its_end_works(server: SendGridServer) -> None:
    assert mailer(server.endpoint, API_KEY + "\n").send(MAIL) == Handover("sg-1")


@pytest.mark.parametrize("key", ["SG.se\ncret", "SG.sécret€"])
def test_a_key_that_no_header_can_carry_is_a_later_that_does_not_quote_it(server: SendGridServer, key: str) -> None:
    with pytest.raises(LaterError, match="SENDGRID_API_KEY") as caught:
        mailer(server.endpoint, key).send(MAIL)
    assert "cret" not in caught.value.reason and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("status", "said", "advice"),
    [
        (401, "Maximum credits exceeded", "SENDGRID_API_KEY"),
        (401, "The provided authorization grant is invalid, expired, or revoked", "SENDGRID_API_KEY"),
        (403, "The from address does not match a verified Sender Identity.", "EMAIL_SENDER"),
        (403, "access forbidden", "Mail Send"),
        (402, "payment required", "SENDGRID_ENDPOINT"),
        (404, "not found", "SENDGRID_ENDPOINT"),
        (405, "method not allowed", "SENDGRID_ENDPOINT"),
    ],
)
def test_what_it_says_of_us_waits_until_we_are_taken_again_and_is_quoted(
    server: SendGridServer, status: int, said: str, advice: str
) -> None:
    server.answer = fault(status, said)
    with pytest.raises(LaterError, match=rf"refuses us \({status}\): {said}; .*{advice}") as caught:
        mailer(server.endpoint).send(MAIL)
    assert caught.value.wait is None


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_it_says_of_the_mail_is_said_of_all_who_were_to_get_it(server: SendGridServer, status: int) -> None:
    server.answer = fault(status, "because")
    handover = mailer(server.endpoint).send(MAIL)
    assert handover.refused == {"ann@example.ca": Refusal(f"SendGrid refuses it ({status}): because", for_good=True)}


@pytest.mark.parametrize("field", ["from", "from.email"])
def test_a_sender_that_it_names_waits_until_it_is_taken_again(server: SendGridServer, field: str) -> None:
    server.answer = fault(400, "The from email does not contain a valid address.", field)
    with pytest.raises(LaterError, match=r"refuses us \(400\): The from email .*; see that EMAIL_SENDER is right"):
        mailer(server.endpoint).send(MAIL)


def test_errors_that_are_plain_texts_are_quoted(server: SendGridServer) -> None:
    server.answer = Answer(400, {}, '{"errors": ["Permission denied, wrong credentials"], "message": "error"}')
    refusal = mailer(server.endpoint).send(MAIL).refused["ann@example.ca"]
    assert refusal.reason == "SendGrid refuses it (400): Permission denied, wrong credentials"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_be_taken_later(server: SendGridServer, status: int) -> None:
    server.answer = Answer(status, {}, "<html>not JSON</html>")
    with pytest.raises(LaterError) as caught:
        mailer(server.endpoint).send(MAIL)
    assert caught.value.wait is None


def test_of_a_faulty_address_that_it_names_the_others_are_to_be_asked_again(server: SendGridServer) -> None:
    server.answer = fault(400, "Does not contain a valid address.", "personalizations.0.to.1.email")
    handover = mailer(server.endpoint).send(replace(MAIL, to=("ann@example.ca", "bob@example.ca"), cc=("c@x.ca",)))
    assert handover.refused["bob@example.ca"] == Refusal("Does not contain a valid address.", for_good=True)
    assert [handover.refused[each].for_good for each in ("ann@example.ca", "c@x.ca")] == [False, False]


@pytest.mark.parametrize("field", ["personalizations.0.to.0.email", None])
def test_what_it_says_is_one_line_that_can_be_stored_and_shown(server: SendGridServer, field: str | None) -> None:
    server.answer = fault(400, "no\0such\ud800\nuser\x1b", field)
    assert "no such user" in mailer(server.endpoint).send(MAIL).refused["ann@example.ca"].reason


def test_an_id_that_no_database_takes_is_a_receipt_all_the_same(server: SendGridServer) -> None:
    server.answer = Answer(202, {"X-Message-Id": "a\0" + "b" * 300})
    assert mailer(server.endpoint).send(MAIL).receipt == "a\ufffd" + "b" * 197 + "…"


@pytest.mark.parametrize("field", [None, 7, "fromage", "personalizations.0.to", "personalizations.0.to.9.email"])
def test_what_names_no_recipient_is_of_the_whole_mail(server: SendGridServer, field: object) -> None:
    server.answer = fault(400, "no", field)
    assert mailer(server.endpoint).send(MAIL).refused["ann@example.ca"].reason == "SendGrid refuses it (400): no"


def test_an_error_page_that_is_no_json_does_no_harm(server: SendGridServer) -> None:
    server.answer = Answer(400, {}, "<html>")
    assert mailer(server.endpoint).send(MAIL).refused["ann@example.ca"].reason == "SendGrid refuses it (400)"


def test_an_answer_that_is_nested_too_deep_to_be_read_does_no_harm(server: SendGridServer) -> None:
    server.answer = Answer(400, {}, '{"errors":' + "[" * 100_000)
    assert mailer(server.endpoint).send(MAIL).refused["ann@example.ca"].reason == "SendGrid refuses it (400)"


def test_why_it_asks_to_wait_is_quoted(server: SendGridServer) -> None:
    server.answer = fault(429, "Daily limit of 100 mails reached")
    with pytest.raises(LaterError, match=r"asks to wait \(429\): Daily limit"):
        mailer(server.endpoint).send(MAIL)


def test_a_429_says_how_long_to_wait(server: SendGridServer) -> None:
    reset = int((NOW + timedelta(seconds=45)).timestamp())
    server.answer = Answer(429, {"X-RateLimit-Reset": str(reset)})
    with pytest.raises(LaterError) as caught:
        mailer(server.endpoint).send(MAIL)
    assert caught.value.wait == timedelta(seconds=45)


def test_an_answer_that_is_not_sendgrids_is_no_success(server: SendGridServer) -> None:
    server.answer = Answer(200, {}, "<html>please sign in</html>")
    with pytest.raises(LaterError, match="200"):
        mailer(server.endpoint).send(MAIL)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_tried_later_and_shows_the_key_to_nobody_else(
    server: SendGridServer, other: SendGridServer, status: int
) -> None:
    server.answer = Answer(status, {"Location": f"{other.endpoint}/v3/mail/send"})
    with pytest.raises(LaterError, match=f"{status}.*SENDGRID_ENDPOINT"):
        mailer(server.endpoint).send(MAIL)
    assert (len(server.shown), other.shown) == (1, [])


def test_silence_is_tried_later(server: SendGridServer) -> None:
    server.silent = True
    with pytest.raises(LaterError, match="timed out"):
        mailer(server.endpoint, timeout=0.3).send(MAIL)


def test_a_connection_that_is_closed_is_tried_later(server: SendGridServer) -> None:
    server.hangs_up = True
    with pytest.raises(LaterError, match="can't be reached"):
        mailer(server.endpoint).send(MAIL)


def test_an_endpoint_that_is_not_there_is_tried_later() -> None:
    with pytest.raises(LaterError, match="can't be reached"):
        mailer(f"http://127.0.0.1:{free_port()}").send(MAIL)


def test_the_key_is_not_logged_at_any_level(server: SendGridServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        mailer(server.endpoint).send(MAIL)
    assert API_KEY not in caplog.text


def test_an_address_that_is_there_twice_gets_one_mail(server: SendGridServer) -> None:
    twice = OutgoingMail("<m@x.ca>", ("ann@x.ca", "Ann@x.ca"), "s", "t", "h", cc=("ANN@x.ca",), bcc=("bob@x.ca",))
    mailer(server.endpoint).send(twice)
    assert server.bodies[0]["personalizations"] == [{"to": [{"email": "ann@x.ca"}], "bcc": [{"email": "bob@x.ca"}]}]


def test_blind_copies_alone_do_not_see_each_other() -> None:
    blind = OutgoingMail("<m@x.ca>", (), "s", "t", "h", bcc=("ann@x.ca", "bob@x.ca"))
    assert personalizations(blind) == [{"to": [{"email": "ann@x.ca"}]}, {"to": [{"email": "bob@x.ca"}]}]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry-After": "30"}, timedelta(seconds=30)),
        ({"Retry-After": "Fri, 20 Nov 2026 02:01:00 GMT"}, timedelta(seconds=60)),
        ({"Retry-After": "soon"}, None),
        ({"X-RateLimit-Reset": "20"}, timedelta(seconds=20)),
        ({"Retry-After": "10", "X-RateLimit-Reset": "20"}, timedelta(seconds=20)),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 5)}, timedelta(0)),
        ({"Retry-After": "9" * 30}, timedelta(days=1)),
        ({"Retry-After": "-5"}, None),
    ],
)
def test_waits_are_read_in_each_form(headers: dict[str, str], wait: timedelta | None) -> None:
    assert wait_of(headers, NOW) == wait


# --- whether it would take mail ---


def test_the_check_asks_what_the_key_may_do_and_sends_nothing(server: SendGridServer) -> None:
    assert mailer(server.endpoint).check() == "SendGrid knows the key, which may send mails"
    assert (server.shown, server.bodies) == ([f"Bearer {API_KEY}"], [])


def test_a_key_that_may_not_send_mails_is_told(server: SendGridServer) -> None:
    server.answer = Answer(200, {}, json.dumps({"scopes": ["stats.read", "mail.send.x"]}))
    with pytest.raises(NeverError, match=r"SENDGRID_API_KEY may not send mails: .*Mail Send"):
        mailer(server.endpoint).check()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            fault(401, "The provided authorization grant is invalid"),
            r"refuses us \(401\): The provided .*SENDGRID_API_KEY",
        ),
        (fault(503, "down"), r"asks to wait \(503\): down"),
        (fault(404, "not found"), "SENDGRID_ENDPOINT is right"),
        (Answer(200, {}, "<html>sign in</html>"), "SENDGRID_ENDPOINT is right"),
        (Answer(200, {}, "[]"), "SENDGRID_ENDPOINT is right"),
    ],
)
def test_the_check_tells_what_is_wrong(server: SendGridServer, answer: Answer, said: str) -> None:
    server.answer = answer
    with pytest.raises(LaterError, match=said):
        mailer(server.endpoint).check()


def test_the_check_tells_that_nobody_is_there_and_shows_no_key() -> None:
    with pytest.raises(LaterError, match="SendGrid can't be reached"):
        mailer(f"http://127.0.0.1:{free_port()}").check()
    with pytest.raises(LaterError, match="holds what no request can carry") as caught:
        mailer("http://127.0.0.1:1", "SG.\nkey").check()
    assert "SG." not in caught.value.reason
