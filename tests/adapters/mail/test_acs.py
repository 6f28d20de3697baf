"""Azure Communication Services: operations, answers, waits, sign-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from typing_extensions import override

from shared.adapters.mail.acs import AcsMailer
from shared.ports.errors import LaterError
from shared.ports.mails import OutgoingMail, Refusal
from tests.adapters.mail.servers import AcsServer, Answer, acs_fault, free_port

MAIL = OutgoingMail("<m@example.ca>", ("ann@example.ca",), "Budget", "text", "<p>html</p>")
NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
NO_SENDER = acs_fault(400, "InvalidSenderUserName", "Invalid email sender username.")


def many_faults(error: dict[str, Any]) -> Answer:
    return Answer(400, {}, json.dumps({"error": {"code": "BadRequest"} | error}))


def mailer(endpoint: str, credential: Any = None, timeout: float = 5) -> AcsMailer:
    return AcsMailer(endpoint, None, "warden@example.ca", timeout=timeout, clock=lambda: NOW, credential=credential)


@pytest.fixture
def server() -> Iterator[AcsServer]:
    running = AcsServer()
    yield running
    running.stop()


class Identity:
    """Gives tokens, or says why not."""

    def __init__(self, says: str = "") -> None:
        self.says, self.asked = says, list[str]()

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        self.asked += scopes
        if self.says:
            raise ClientAuthenticationError(self.says)
        return AccessToken("local-development", 4_102_444_800)


# --- operations ---


def test_the_receipt_is_the_operation_which_is_not_waited_for(server: AcsServer) -> None:
    receipt = mailer(server.endpoint).send(MAIL).receipt
    assert [receipt] == list(server.operations)
    assert len(server.shown) == 1


def test_a_mail_that_is_sent_again_is_the_same_operation(server: AcsServer) -> None:
    first, again = (mailer(server.endpoint).send(MAIL) for _ in range(2))
    assert first == again
    assert len(server.operations) == 1


def test_a_mail_to_others_is_another_operation(server: AcsServer) -> None:
    """The operators get a mail that reaches nobody: they must not be taken for those who were asked before."""
    mailer(server.endpoint).send(MAIL)
    mailer(server.endpoint).send(replace(MAIL, to=("ops@example.ca",)))
    mailer(server.endpoint).send(replace(MAIL, message_id="<n@example.ca>"))
    assert len(server.operations) == 3


SUPPRESSED = {"code": "EmailDroppedAllRecipientsSuppressed", "message": "all recipients were suppressed"}


def failed(operation: str, code: str = "DomainSuspended", message: str = "The domain is suspended.") -> dict[str, Any]:
    return {"id": operation, "status": "Failed", "error": {"code": code, "message": message}}


class Ending(AcsServer):
    """Operations end at once. error: why badly; None: they go on running."""

    def __init__(self) -> None:
        self.error: dict[str, str] | None = None
        super().__init__()

    @override
    def state(self, status: int, operation: str) -> Answer:
        if status == 202 and self.error is not None:
            self.states[operation] = failed(operation, **self.error)
        return super().state(status, operation)


@pytest.fixture
def ending() -> Iterator[Ending]:
    running = Ending()
    yield running
    running.stop()


def test_a_mail_whose_operation_has_failed_is_sent_by_another_which_stays_the_same(server: AcsServer) -> None:
    first = mailer(server.endpoint).send(MAIL).receipt
    server.states[first] = failed(first)
    second, again = (mailer(server.endpoint).send(MAIL) for _ in range(2))
    assert second == again
    assert list(server.operations) == [first, second.receipt]


def test_however_often_its_operations_failed_a_mail_is_sent_once_all_is_well(ending: Ending) -> None:
    ending.error = {"code": "InternalServerError", "message": "try again later"}
    for _ in range(20):
        with pytest.raises(LaterError, match="asks to wait"):
            mailer(ending.endpoint).send(MAIL)
    ending.error, asked = None, len(ending.shown)
    receipt = mailer(ending.endpoint).send(MAIL).receipt
    assert list(ending.operations)[20:] == [receipt]
    assert len(ending.shown) - asked <= 15, "it is not asked after each of them"


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (SUPPRESSED, {"ann@example.ca": True, "bob@example.ca": True}),
        ({"message": "bob@example.ca is suppressed"}, {"ann@example.ca": False, "bob@example.ca": True}),
    ],
)
@pytest.mark.parametrize("failed_before", [0, 1, 2])
def test_a_refusal_whose_answer_was_lost_counts_until_a_person_asks_again(
    server: AcsServer, error: dict[str, str], refused: dict[str, bool], failed_before: int
) -> None:
    both = replace(MAIL, cc=("bob@example.ca",))
    for _ in range(failed_before):
        passed = mailer(server.endpoint).send(both).receipt
        server.states[passed] = failed(passed)
    lost = mailer(server.endpoint).send(both).receipt
    server.states[lost] = failed(lost, **error)
    assert [refused_of(server, both) for _ in range(2)] == [refused, refused]
    assert list(server.operations)[failed_before:] == [lost]
    assert refused_of(server, replace(both, asked_again=True)) == {}
    assert refused_of(server, both) == {}, "that one goes on"
    assert len(server.operations) == failed_before + 2


def test_what_becomes_of_an_operation_is_not_known_it_is_the_same(server: AcsServer) -> None:
    """The answer was lost: the mail may have gone out."""
    server.states[mailer(server.endpoint).send(MAIL).receipt] = {"status": "Succeeded"}
    mailer(server.endpoint).send(MAIL)
    assert len(server.operations) == 1


def test_an_operation_that_fails_since_nobody_may_get_mail_is_a_refusal(ending: Ending) -> None:
    ending.error = SUPPRESSED
    (refusal,) = mailer(ending.endpoint).send(MAIL).refused.values()
    assert refusal.for_good and "all recipients were suppressed" in refusal.reason


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("InternalServerError", "asks to wait"),
        ("TooManyRequests", "asks to wait"),
        ("ServiceUnavailable", "asks to wait"),
        ("EmailDropped", "took the mail, but could not send it: 202 .EmailDropped. try again later"),
        ("DomainNotLinked", "EMAIL_SENDER"),
    ],
)
def test_an_operation_that_fails_for_what_may_pass_is_no_refusal(ending: Ending, code: str, said: str) -> None:
    ending.error = {"code": code, "message": "try again later"}
    with pytest.raises(LaterError, match=said):
        mailer(ending.endpoint).send(MAIL)


def test_a_conflict_over_an_operation_that_is_not_there_is_no_success(server: AcsServer) -> None:
    server.answer = acs_fault(409, "Conflict", "something else is going on")
    with pytest.raises(LaterError):
        mailer(server.endpoint).send(MAIL)


# --- recipients ---

MANY = replace(MAIL, to=tuple(f"p{number}@example.ca" for number in range(70)), bcc=("audit@example.ca",))


def test_more_recipients_than_one_mail_may_have_get_it_in_several(server: AcsServer) -> None:
    assert not mailer(server.endpoint).send(MANY).refused
    assert [sum(map(len, body["recipients"].values())) for body in server.operations.values()] == [50, 21]


def test_whoever_of_many_is_refused_the_other_parts_stay_the_same_operations(server: AcsServer) -> None:
    """Whose answer was lost must not get it twice, though somebody of another part is asked no more."""
    everybody = tuple(sorted((*MANY.to, *MANY.bcc)))
    mailer(server.endpoint).send(replace(MANY, everybody=everybody))
    first, second = server.operations
    mailer(server.endpoint).send(
        replace(MANY, to=tuple(each for each in MANY.to if each != "p1@example.ca"), everybody=everybody)
    )
    assert [*server.operations][:2] == [first, second]
    (again,) = [*server.operations][2:]
    assert sum(map(len, server.operations[again]["recipients"].values())) == 49


def test_those_whom_the_limit_stops_are_asked_again_and_no_others(
    server: AcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = server.judge

    def one_only(path: str, headers: Any, content: bytes) -> Answer:
        return took(path, headers, content) if not server.operations else acs_fault(429, "TooManyRequests", "slow")

    monkeypatch.setattr(server, "judge", one_only)
    refused = mailer(server.endpoint).send(MANY).refused
    assert list(refused) == [*MANY.to[50:], "audit@example.ca"]
    assert not any(each.for_good for each in refused.values())


def test_an_address_that_is_there_twice_gets_one_mail(server: AcsServer) -> None:
    mailer(server.endpoint).send(replace(MAIL, cc=("ANN@example.ca", "bob@example.ca")))
    (body,) = server.operations.values()
    assert body["recipients"] == {"to": [{"address": "ann@example.ca"}], "cc": [{"address": "bob@example.ca"}]}


def refused_of(server: AcsServer, mail: OutgoingMail = MAIL) -> dict[str, bool]:
    """Who is refused, and whether for good."""
    refused = mailer(server.endpoint).send(mail).refused
    return {address: each.for_good for address, each in refused.items()}


@pytest.mark.parametrize("address", ["bob@example.ca", "joann@example.ca", "ann@example.ca.uk", "o'ann@example.ca"])
@pytest.mark.parametrize("words", ["address {}", "address {}.", "address '{}'", "<{}>: no", "{}"])
def test_of_a_faulty_address_that_it_names_the_others_are_to_be_asked_again(
    server: AcsServer, address: str, words: str
) -> None:
    """Ann too, though hers is a part of some of them."""
    server.answer = acs_fault(400, "BadRequest", words.format(address.title()))
    assert refused_of(server, replace(MAIL, cc=(address,))) == {address: True, "ann@example.ca": False}


@pytest.mark.parametrize(
    "address", ["press.sender@example.ca", "mailfrom@example.ca", "a@sendermail.org", "reply-to@b.ca"]
)
@pytest.mark.parametrize("target", ["", "{}"])
def test_an_address_with_the_word_sender_says_nothing_of_ours(server: AcsServer, address: str, target: str) -> None:
    server.answer = many_faults({"message": f"No such address: {address}", "target": target.format(address)})
    assert refused_of(server, replace(MAIL, cc=(address,))) == {address: True, "ann@example.ca": False}


@pytest.mark.parametrize(
    "within",
    [
        {"details": [{"code": "InvalidEmailAddress", "message": "Invalid: bob@example.ca"}]},
        {"details": [{"code": "Invalid", "target": "recipients.to[1].address"}]},
        {"details": [{"details": [{"innererror": {"message": "recipients/to/1 is invalid"}}]}, {}, 7]},
        {"innererror": {"code": "InvalidEmailAddress", "message": "bob@example.ca"}},
        {"target": "To[1]"},
        {"details": [{"target": "to[99999999999999999999]"}, {"target": "to[1]"}]},
    ],
)
def test_a_recipient_that_an_error_within_names_is_refused_alone(server: AcsServer, within: dict[str, Any]) -> None:
    server.answer = many_faults({"code": "BadRequest", "message": "The request body is not right."} | within)
    both = replace(MAIL, to=("ann@example.ca", "bob@example.ca"))
    assert refused_of(server, both) == {"bob@example.ca": True, "ann@example.ca": False}


def test_what_the_errors_within_say_is_told(server: AcsServer) -> None:
    within = {"code": "Invalid", "message": "It is on the list.", "target": "to[0]"}
    server.answer = many_faults({"code": "BadRequest", "message": "See the details.", "details": [within]})
    said = "Azure Communication Services refuses it: 400 (BadRequest) See the details. It is on the list"
    assert mailer(server.endpoint).send(MAIL).refused == {"ann@example.ca": Refusal(said, for_good=True)}


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_it_says_of_the_mail_is_said_of_all_who_were_to_get_it(server: AcsServer, status: int) -> None:
    server.answer = acs_fault(status, "BadRequest", "because")
    said = f"Azure Communication Services refuses it: {status} (BadRequest) because"
    assert mailer(server.endpoint).send(MAIL).refused == {"ann@example.ca": Refusal(said, for_good=True)}


def test_nobody_is_watched_reading(server: AcsServer) -> None:
    mailer(server.endpoint).send(MAIL)
    (body,) = server.operations.values()
    assert body["userEngagementTrackingDisabled"] is True


# --- what it says of us ---


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (acs_fault(401, "Denied", "Denied by the resource provider."), "Communication and Email Service Owner"),
        (acs_fault(403, "Forbidden", "no"), "Communication and Email Service Owner"),
        (acs_fault(404, "DomainNotLinked", "The specified sender domain has not been linked."), "EMAIL_SENDER"),
        (NO_SENDER, "EMAIL_SENDER"),
        (many_faults({"details": [{"code": "Invalid", "target": "senderAddress"}]}), "EMAIL_SENDER"),
        (many_faults({"details": [{"message": "warden@example.ca is no sender of ours"}]}), "EMAIL_SENDER"),
        (many_faults({"message": "See property 'replyTo[0].address'"}), "EMAIL_REPLY_TO"),
        (Answer(404, {}, "<html>"), "ACS_ENDPOINT"),
        (Answer(302, {"Location": "https://example.com"}), "ACS_ENDPOINT"),
        (Answer(202, {}, "<html>please sign in</html>"), "ACS_ENDPOINT"),
        (Answer(202, {}, "[]"), "ACS_ENDPOINT"),
    ],
)
def test_what_it_says_of_us_waits_and_says_what_to_see_to(server: AcsServer, answer: Answer, advice: str) -> None:
    server.answer = answer
    with pytest.raises(LaterError, match=advice):
        mailer(server.endpoint).send(MAIL)


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        ("3000", timedelta(minutes=50)),
        ("Fri, 20 Nov 2026 03:00:00 GMT", timedelta(hours=1)),
        ("soon", None),
    ],
)
def test_a_limit_says_how_long_to_wait(server: AcsServer, wait: str, expected: timedelta | None) -> None:
    server.answer = acs_fault(429, "TooManyRequests", "The hourly limit is reached.", **{"Retry-After": wait})
    with pytest.raises(LaterError, match=r"asks to wait: 429 .*hourly limit") as caught:
        mailer(server.endpoint).send(MAIL)
    assert caught.value.wait == expected


@pytest.mark.parametrize("status", [408, 500, 503])
def test_what_may_be_taken_later(server: AcsServer, status: int) -> None:
    server.answer = Answer(status, {}, "<html>not JSON</html>")
    with pytest.raises(LaterError, match="asks to wait"):
        mailer(server.endpoint).send(MAIL)


def test_silence_and_nobody_there_are_tried_later(server: AcsServer) -> None:
    server.silent = True
    with pytest.raises(LaterError, match=r"can't be reached: .*timed out"):
        mailer(server.endpoint, timeout=0.2).send(MAIL)
    with pytest.raises(LaterError, match="can't be reached"):
        mailer(f"http://127.0.0.1:{free_port()}").send(MAIL)


# --- signing in ---


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        ("https://acs.europe.communication.azure.com", "https://communication.azure.com/.default"),
        ("https://acs.communication.azure.us/", "https://communication.azure.us/.default"),
        ("https://mails.example.com", "https://communication.azure.com/.default"),
    ],
)
def test_the_token_is_for_the_cloud_of_the_endpoint(endpoint: str, scope: str) -> None:
    identity = Identity("no")
    with pytest.raises(LaterError):
        mailer(endpoint, identity).send(MAIL)
    assert identity.asked == [scope]


@pytest.mark.parametrize(
    "said", ["No managed identity found for specified ClientId", "the identity endpoint is not there"]
)
def test_without_a_token_mails_wait_whosever_fault_it_is(server: AcsServer, said: str) -> None:
    with pytest.raises(LaterError, match=said):
        mailer(server.endpoint, Identity(said)).send(MAIL)
    assert server.shown == []


def test_the_check_signs_in_and_sends_nothing(server: AcsServer) -> None:
    assert mailer(server.endpoint).check() == "Azure Communication Services takes our sign-in"
    assert (server.shown, server.operations) == (["Bearer local-development"], {})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (acs_fault(401, "Denied", "Denied by the resource provider."), "refuses us: 401 .*Email Service Owner"),
        (acs_fault(503, "ServiceUnavailable", "down"), "asks to wait: 503"),
        (Answer(200, {}, "<html>sign in</html>"), "ACS_ENDPOINT"),
    ],
)
def test_the_check_tells_what_is_wrong(server: AcsServer, answer: Answer, said: str) -> None:
    server.answer = answer
    with pytest.raises(LaterError, match=said):
        mailer(server.endpoint).check()
