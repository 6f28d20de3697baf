"""What Azure Resource Manager's refusals mean, and how they are said: tried with the adapter of locks."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from localdev.azure_sim import AzureSimulator, ChargeBook
from shared.adapters.azure.arm import ArmClient
from shared.adapters.azure.locks import ArmLocks
from shared.ports.azure import GroupLock, LockLevel, ResourceGroup
from shared.ports.errors import LaterError, NeverError
from tests.adapters.azure.odd_arm import Answer, OddArm, error

GROUP = ResourceGroup("6f1c0d5e-0000-4000-8000-00000000000a", "rg-web")
SCOPE = "/subscriptions/6f1c0d5e-0000-4000-8000-00000000000a/resourceGroups/rg-web"
LOCK = GroupLock("warden-die1", LockLevel.READ_ONLY)
CALLS: dict[str, Callable[[ArmLocks], object]] = {
    "list the locks": lambda locks: locks.locks_on(GROUP),
    "put the lock warden-die1": lambda locks: locks.put(GROUP, LOCK),
    "take off the lock warden-die1": lambda locks: locks.delete(GROUP, LOCK.name),
}


@pytest.fixture
def odd() -> Iterator[OddArm]:
    with OddArm() as server:
        yield server


def refused(url: str, call: str, kind: type[LaterError] | type[NeverError]) -> LaterError | NeverError:
    locks = ArmLocks(ArmClient(url))
    with pytest.raises(kind) as caught:
        CALLS[call](locks)
    locks.arm.close()
    return caught.value


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "code"), [(403, "AuthorizationFailed"), (401, "RBACAccessDenied")])
def test_a_missing_role_is_named_with_the_place_where_it_is_missing(
    odd: OddArm, call: str, status: int, code: str
) -> None:
    odd.will_answer("/", error(status, code, "The client 'x' does not have authorization."))
    assert refused(odd.url, call, NeverError).reason == (
        f"The app's identity may not {call} on {SCOPE}: it lacks the role Locks Contributor there. "
        f"Azure says: {status} ({code}) The client 'x' does not have authorization."
    )


@pytest.mark.parametrize("code", ["DenyAssignmentAuthorizationFailed", "RequestDisallowedByPolicy"])
def test_what_is_denied_in_spite_of_a_role_is_not_called_a_missing_role(odd: OddArm, code: str) -> None:
    odd.will_answer("/", error(403, code))
    reason = refused(odd.url, "list the locks", NeverError).reason
    assert reason.startswith(f"Azure refuses to list the locks on {SCOPE}: 403 ({code}) So it is.")
    assert "lacks" not in reason


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (error(409, "ScopeLocked"), "A lock is in the way"),
        (error(409, "MissingSubscriptionRegistration"), "Register the resource provider"),
        (error(409, "ReadOnlyDisabledSubscription"), "has to be enabled"),
        (error(404, "SubscriptionNotFound"), "Check the id of the subscription"),
        (error(401, "InvalidAuthenticationTokenTenant"), "AZURE_CLIENT_ID"),
        (error(400, "InvalidSubscriptionId"), "Check the id of the subscription"),
        (error(400, "LockNameInvalid"), "(LockNameInvalid) So it is."),
        (Answer("<p>not here</p>", 404, {"Content-Type": "text/html"}), "AZURE_MANAGEMENT_ENDPOINT"),
        (Answer("<p>not here</p>", 403, {"Content-Type": "text/html"}), "Locks Contributor"),
        (Answer("", 404), "AZURE_MANAGEMENT_ENDPOINT"),
        (Answer('{"error": "odd"}', 400), "400."),
    ],
)
@pytest.mark.parametrize("call", CALLS)
def test_what_stays_wrong_is_for_never_and_says_what_to_do(odd: OddArm, call: str, answer: Answer, word: str) -> None:
    odd.will_answer("/", answer)
    reason = refused(odd.url, call, NeverError).reason
    assert word in reason
    assert SCOPE in reason


@pytest.mark.parametrize("call", CALLS)
def test_redirects_are_not_followed(odd: OddArm, call: str) -> None:
    with OddArm() as elsewhere:
        odd.will_answer("/", Answer("", 307, {"Location": f"{elsewhere.url}/locks"}))
        assert "AZURE_MANAGEMENT_ENDPOINT" in refused(odd.url, call, NeverError).reason
        assert elsewhere.seen == []


@pytest.mark.parametrize("status", [408, 412, 424, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", ["", "<p>Bad gateway</p>", '{"error": {"code": "X", "message": null}}', "[1]"])
@pytest.mark.parametrize("call", CALLS)
def test_what_may_pass_is_for_later_whatever_is_in_the_body(odd: OddArm, call: str, status: int, body: str) -> None:
    odd.will_answer("/", Answer(body, status))
    reason = refused(odd.url, call, LaterError).reason
    assert f"{status}" in reason
    assert len(odd.seen) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ExpiredAuthenticationToken", "The access token expiry UTC time '1:59:46 AM' is earlier than '2:00:00 AM'."),
        ("InvalidAuthenticationToken", "The access token has expired."),
        ("InvalidAuthenticationToken", "The access token is not yet valid."),
    ],
)
@pytest.mark.parametrize("call", CALLS)
def test_a_token_that_is_out_of_time_is_for_later_and_says_nothing_of_the_identity(
    odd: OddArm, call: str, code: str, message: str
) -> None:
    odd.will_answer("/", error(401, code, message))
    reason = refused(odd.url, call, LaterError).reason
    assert message in reason and "AZURE_CLIENT_ID" not in reason


@pytest.mark.parametrize("call", CALLS)
def test_an_error_that_comes_as_a_success_is_for_later_and_nothing_is_taken_for_done(odd: OddArm, call: str) -> None:
    odd.will_answer("/", error(200, "ServerError", "Not now."))
    assert refused(odd.url, call, LaterError).reason.endswith("at the moment: 200 (ServerError) Not now.")


NOT_NOW = '"error": {"code": "ServerError", "message": "Not now."}'


@pytest.mark.parametrize("body", ['{"id": null, %s}', '{"properties": null, "value": [], %s}', "\ufeff{%s}"])
@pytest.mark.parametrize("call", CALLS)
def test_such_an_error_is_one_wherever_it_stands(odd: OddArm, call: str, body: str) -> None:
    odd.will_answer("/", Answer(body % NOT_NOW, 200))
    assert "Not now." in refused(odd.url, call, LaterError).reason


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "TooManyRequests"), (403, "RequestThrottled"), (400, "RequestTimeout"), (404, "ServerBusy")],
)
@pytest.mark.parametrize("call", CALLS)
def test_a_code_that_says_that_it_passes_is_for_later_whatever_its_status(
    odd: OddArm, call: str, status: int, code: str
) -> None:
    odd.will_answer("/", error(status, code, headers={"Retry-After": "60"}))
    assert refused(odd.url, call, LaterError).wait == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"retry-after": "5", "x-ms-ratelimit-microsoft.consumption-retry-after": "40"}, 40),
        ({"Retry-After": "60", "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after": "3"}, 60),
        ({"x-ms-ratelimit-remaining-subscription-reads": "900"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "99999999"}, 86400),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_longest_wait_that_any_header_names_counts(
    odd: OddArm, status: int, headers: dict[str, str], seconds: int | None
) -> None:
    odd.will_answer("/", error(status, "TooManyRequests", headers=headers))
    caught = refused(odd.url, "list the locks", LaterError)
    assert isinstance(caught, LaterError)
    assert caught.wait == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "body", ["", "gone", "[]", "null", "3", '{"value": null}', '{"value": [3]}', '{"value": {"a": 1}}', "{"]
)
def test_a_list_that_can_not_be_read_is_for_later(odd: OddArm, body: str) -> None:
    odd.will_answer("/", Answer(body))
    assert "can't be read" in refused(odd.url, "list the locks", LaterError).reason


@pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 429, 500])
@pytest.mark.parametrize("call", CALLS)
def test_letters_in_an_encoding_that_nobody_knows_are_no_error_of_another_kind(
    odd: OddArm, call: str, status: int
) -> None:
    odd.will_answer("/", Answer('{"value": 1}', status, {"Content-Type": "application/json; charset=klingon"}))
    locks = ArmLocks(ArmClient(odd.url))
    with suppress(LaterError, NeverError):
        CALLS[call](locks)
    locks.arm.close()
    assert len(odd.seen) == 1


@pytest.mark.parametrize("link", ["{}", "/x?y={}", "{0}", "/x?{"])
def test_a_link_with_braces_is_no_error_of_another_kind(odd: OddArm, link: str) -> None:
    odd.will_answer("/", Answer(json.dumps({"value": [], "nextLink": link})))
    locks = ArmLocks(ArmClient(odd.url))
    with pytest.raises((LaterError, NeverError)):
        locks.locks_on(GROUP)
    locks.arm.close()


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/octet-stream"])
def test_a_page_that_is_no_json_is_for_later(odd: OddArm, kind: str) -> None:
    odd.will_answer("/", Answer("<html>Welcome</html>", headers={"Content-Type": kind}))
    assert "can't be read" in refused(odd.url, "list the locks", LaterError).reason


@pytest.mark.parametrize("call", CALLS)
def test_nobody_there_is_for_later(call: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        reason = refused(f"http://127.0.0.1:{taken.getsockname()[1]}", call, LaterError).reason
    assert "out of reach" in reason


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_does_not_come_in_time_is_for_later(call: str) -> None:
    with AzureSimulator(ChargeBook()) as simulator:
        simulator.groups.add(GROUP.subscription_id, GROUP.name)
        simulator.fault("slow", delay=30.0)
        locks = ArmLocks(ArmClient(simulator.url, read_seconds=0.2))
        with pytest.raises(LaterError, match="in time"):
            CALLS[call](locks)


class NoLogin:
    """An identity that gets no token."""

    def __init__(self, message: str) -> None:
        self.message = message

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        raise ClientAuthenticationError(self.message)


@pytest.mark.parametrize(
    ("message", "kind"),
    [("No identity has been assigned to this resource", NeverError), ("The endpoint did not answer", LaterError)],
)
def test_without_a_token_nothing_is_asked(odd: OddArm, message: str, kind: type[LaterError] | type[NeverError]) -> None:
    with pytest.raises(kind, match="There is no token for Azure"):
        ArmLocks(ArmClient(odd.url, credential=NoLogin(message))).locks_on(GROUP)
    assert odd.seen == []


def test_a_token_in_what_azure_says_is_not_passed_on(odd: OddArm) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    odd.will_answer("/", error(400, "Bad", f"The token {token} is odd\n at line 3"))
    reason = refused(odd.url, "list the locks", NeverError).reason
    assert "eyJ" not in reason
    assert "\n" not in reason
