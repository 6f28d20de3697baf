"""Which tokens let an alert in: signed with keys of these tests, checked against a real key server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from shared.adapters.azure.alert_token import (
    ACTION_GROUPS_APP,
    ACTION_GROUPS_ROLE,
    FETCH_SECONDS,
    FRESH_SECONDS,
    KEYS_LAST,
    LARGEST_KEYS,
    LOGIN_HOST,
    REFRESHED_AFTER,
    REST_AFTER_FAILURE,
    EntraTokenCheck,
)
from shared.ports.azure import TokenRefusedError
from shared.ports.errors import LaterError

TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
OTHER_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
AUDIENCE = "api://budget-warden"
KEY_ID = "nOo3ZDrODXEK1jKWhXslHR_KXEg"
ABSENT = object()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def other_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key(key: rsa.RSAPrivateKey, key_id: str, **more: Any) -> dict[str, Any]:
    """A key as Entra lists it: without `alg`."""
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig", **more}


@dataclass
class KeyServer:
    """Entra's key list, over HTTP on this machine: what it answers, and when."""

    answer: bytes = b""
    status: int = 200
    asked: list[str] = field(default_factory=list)
    location: str | None = None
    url: str = ""
    reached: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def lists(self, *keys: dict[str, Any]) -> None:
        self.status, self.answer = 200, json.dumps({"keys": keys}).encode()


def handler(server: KeyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            server.reached.set()
            server.may_answer.wait(10)
            self.send_response(server.status)
            if server.location:
                self.send_header("Location", server.location)
            self.send_header("Content-Length", str(len(server.answer)))
            self.end_headers()
            self.wfile.write(server.answer)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    return Handler


@pytest.fixture
def server(key) -> Iterator[KeyServer]:
    served = KeyServer()
    served.may_answer.set()
    served.lists(public_key(key, KEY_ID))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(served)) as http:
        served.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        http.shutdown()
        thread.join()


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def check(server, clock) -> EntraTokenCheck:
    return EntraTokenCheck(AUDIENCE, TENANT, server.url, clock)


def claims(server: KeyServer, **other: Any) -> dict[str, Any]:
    """What a token of version 2 says (learn.microsoft.com/entra/identity-platform/access-token-claims-reference)."""
    now = int(time.time())
    right = {
        "aud": AUDIENCE,
        "iss": f"{server.url}/{TENANT}/v2.0",
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "azp": ACTION_GROUPS_APP,
        "azpacr": "2",
        "oid": "5ab0f7d7-0000-4000-8000-000000000001",
        "roles": [ACTION_GROUPS_ROLE],
        "sub": "5ab0f7d7-0000-4000-8000-000000000001",
        "tid": TENANT,
        "ver": "2.0",
    }
    return {name: value for name, value in {**right, **other}.items() if value is not ABSENT}


def version_1(**other: Any) -> dict[str, Any]:
    """How the claims of version 1 differ."""
    return {
        "iss": f"https://sts.windows.net/{TENANT}/",
        "appid": ACTION_GROUPS_APP,
        "azp": ABSENT,
        "azpacr": ABSENT,
        "ver": "1.0",
        **other,
    }


def bearer(key: Any, content: dict[str, Any], algorithm: str = "RS256", **headers: Any) -> str:
    token = jwt.encode(content, key, algorithm=algorithm, headers={"kid": KEY_ID, **headers})
    return f"Bearer {token}"


def part(content: Any) -> str:
    """One part of a token, as it is written."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refused(check: EntraTokenCheck, authorization: str | None) -> tuple[int, str]:
    with pytest.raises(TokenRefusedError) as caught:
        check.check(authorization)
    return caught.value.status, caught.value.reason


# --- the right ones ---


def test_the_action_groups_token_is_taken(check, server, key):
    check.check(bearer(key, claims(server)))


def test_a_token_of_version_1_is_taken_too(check, server, key):
    check.check(bearer(key, claims(server, **version_1())))


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER   "])
def test_the_scheme_is_taken_in_any_case(check, server, key, scheme):
    check.check(bearer(key, claims(server)).replace("Bearer ", scheme))


def test_the_keys_asked_for_are_the_tenants(check, server, key):
    check.check(bearer(key, claims(server)))
    assert server.asked == [f"/{TENANT}/discovery/v2.0/keys"]


def test_clocks_may_be_some_seconds_apart(check, server, key):
    now = int(time.time())
    check.check(bearer(key, claims(server, nbf=now + 30, iat=now + 30)))
    check.check(bearer(key, claims(server, exp=now - 30)))


def test_further_roles_do_no_harm(check, server, key):
    check.check(bearer(key, claims(server, roles=["Other", ACTION_GROUPS_ROLE])))


def test_a_tenant_in_capitals_is_the_same_tenant(server, key):
    EntraTokenCheck(AUDIENCE, TENANT.upper(), server.url).check(bearer(key, claims(server)))


def test_blanks_around_the_audience_setting_do_not_count(server, key):
    EntraTokenCheck(f" {AUDIENCE}\n", TENANT, server.url).check(bearer(key, claims(server)))


# --- the wrong ones ---

NOW = int(time.time())


@pytest.mark.parametrize(
    ("wrong", "status", "reason"),
    [
        ({"aud": "api://somebody-else"}, 401, "another audience"),
        ({"aud": f"{AUDIENCE}/"}, 401, "another audience"),
        ({"aud": [AUDIENCE]}, 401, "another audience"),
        ({"aud": ABSENT}, 401, "claim aud"),
        ({"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0"}, 401, "another tenant, or not from Entra"),
        ({"iss": f"https://sts.windows.net/{OTHER_TENANT}/"}, 401, "another tenant, or not from Entra"),
        ({"iss": f"https://sts.windows.net/{TENANT}"}, 401, "another tenant, or not from Entra"),
        ({"iss": ABSENT}, 401, "claim iss"),
        ({"tid": OTHER_TENANT}, 401, "another tenant"),
        ({"tid": [TENANT]}, 401, "another tenant"),
        ({"tid": ABSENT}, 401, "claim tid"),
        ({"exp": NOW - 3600}, 401, "expired"),
        ({"exp": ABSENT}, 401, "claim exp"),
        ({"exp": "soon"}, 401, "not right"),
        ({"nbf": NOW + 3600}, 401, "not valid yet"),
        ({"azp": "1b730954-1685-4b74-9bfd-dac224a7b894"}, 403, "another application"),
        ({"azp": ABSENT}, 403, "another application"),
        # What version 1 calls its sender does not count in version 2, nor the other way round.
        ({"azp": ABSENT, "appid": ACTION_GROUPS_APP}, 403, "another application"),
        (version_1(appid=ABSENT, azp=ACTION_GROUPS_APP), 403, "another application"),
        (version_1(appid="1b730954-1685-4b74-9bfd-dac224a7b894"), 403, "another application"),
        ({"roles": ABSENT}, 403, "lacks the role"),
        ({"roles": []}, 403, "lacks the role"),
        ({"roles": ["ActionGroupsSecureWebhook2"]}, 403, "lacks the role"),
        ({"roles": f"not {ACTION_GROUPS_ROLE}"}, 403, "lacks the role"),
        ({"roles": {ACTION_GROUPS_ROLE: 1}}, 403, "lacks the role"),
    ],
)
def test_a_token_of_entras_that_is_not_for_this_is_refused(check, server, key, wrong, status, reason):
    answered, said = refused(check, bearer(key, claims(server, **wrong)))
    assert (answered, reason in said) == (status, True), said


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("Basic dXNlcjpwYXNz", "holds no token"),
        ("Bearer", "holds no token"),
        ("Bearer ", "holds no token"),
        ("Bearer not.a token", "holds no token"),
        ("Bearer a.b", "holds no token"),
        ("Bearer a.b.c.d", "holds no token"),
        ("Bearer a.b.c\n", "holds no token"),
        ("Bearer é.b.c", "holds no token"),
        ("Bearer \ud800.b.c", "holds no token"),
        ("Bearer a.b." + "c" * 20_000, "holds no token"),
        ("Bearer a.b.c", "not right"),
        (f"Bearer {part(b'x')}.{part({})}.{part(b'x')}", "not right"),
        (f"Bearer {part([])}.{part({})}.{part(b'x')}", "not right"),
        (f"Bearer {part(b'[' * 9000)}.{part({})}.{part(b'x')}", "not right"),
        (f"Bearer {part({'alg': 'RS256', 'kid': 7})}.{part({})}.{part(b'x')}", "not right"),
        (f"Bearer {part({'alg': 'RS256'})}.{part({})}.{part(b'x')}", "not signed as Entra signs"),
        (f"Bearer {part({'kid': KEY_ID})}.{part({})}.{part(b'x')}", "not signed as Entra signs"),
    ],
)
def test_what_is_no_token_is_refused_without_asking_for_keys(check, server, authorization, reason):
    status, said = refused(check, authorization)
    assert (status, reason in said) == (401, True), said
    assert server.asked == []


def test_a_token_without_a_signature_is_refused(check, server):
    unsigned = f"Bearer {part({'alg': 'none', 'typ': 'JWT', 'kid': KEY_ID})}.{part(claims(server))}."
    assert refused(check, unsigned)[0] == 401


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_token_signed_with_the_public_key_as_a_password_is_refused(check, server, key, encoding):
    password = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': KEY_ID})}.{part(claims(server))}"
    signature = hmac.digest(password, signed.encode(), hashlib.sha256)
    assert refused(check, f"Bearer {signed}.{part(signature)}")[0] == 401


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_other_algorithms_are_refused_even_with_the_right_key(check, server, key, algorithm):
    assert refused(check, bearer(key, claims(server), algorithm))[0] == 401


def test_a_token_that_was_changed_after_signing_is_refused(check, server, key):
    header, _, signature = bearer(key, claims(server, roles=[])).split(".")
    assert refused(check, f"{header}.{part(claims(server))}.{signature}") == (
        401,
        "The token's signature or form is not right.",
    )


def test_a_token_signed_with_somebody_elses_key_is_refused(check, server, other_key):
    assert refused(check, bearer(other_key, claims(server)))[0] == 401


@pytest.mark.parametrize("header", ["jku", "x5u"])
def test_a_key_that_the_token_itself_brings_does_not_count(check, server, key, other_key, header):
    brought = RSAAlgorithm.to_jwk(other_key.public_key(), as_dict=True)
    headers = {"jwk": brought, header: f"{server.url}/elsewhere"}
    assert refused(check, bearer(other_key, claims(server), **headers))[0] == 401
    assert server.asked == [f"/{TENANT}/discovery/v2.0/keys"]


def test_a_token_with_a_demand_that_nobody_knows_is_refused(check, server, key):
    assert refused(check, bearer(key, claims(server), crit=["x"], x=1))[0] == 401


def test_no_reason_repeats_the_token(check, server, key):
    token = bearer(key, claims(server, aud="api://secret-of-somebody"))
    _, said = refused(check, token)
    assert "secret-of-somebody" not in said
    assert token.split()[1] not in said


# --- keys ---


def test_keys_are_fetched_once_for_many_tokens(check, server, key):
    for _ in range(5):
        check.check(bearer(key, claims(server)))
    assert len(server.asked) == 1


def test_a_known_key_needs_no_fetch_when_entra_is_away(check, server, key):
    check.check(bearer(key, claims(server)))
    server.status = 503
    check.check(bearer(key, claims(server)))
    assert len(server.asked) == 1


def test_an_unknown_key_is_looked_for_once_and_then_refused_without_asking_again(check, server, key, other_key, clock):
    check.check(bearer(key, claims(server)))
    clock.now += FRESH_SECONDS
    for number in range(5):
        assert refused(check, bearer(other_key, claims(server), kid=f"made-up-{number}"))[0] == 401
    assert len(server.asked) == 2
    check.check(bearer(key, claims(server)))
    assert len(server.asked) == 2


def test_after_a_while_an_unknown_key_is_looked_for_again(check, server, other_key, clock):
    for _ in range(2):
        assert refused(check, bearer(other_key, claims(server), kid="unknown"))[0] == 401
        clock.now += FRESH_SECONDS
    assert len(server.asked) == 2


def test_a_token_of_a_key_that_entra_began_to_use_a_moment_ago_is_tried_again_by_its_sender(
    check, server, key, other_key, clock
):
    check.check(bearer(key, claims(server)))
    server.lists(public_key(other_key, "new"))
    clock.now += FRESH_SECONDS - 1
    with pytest.raises(LaterError, match="a moment ago"):
        check.check(bearer(other_key, claims(server), kid="new"))
    clock.now += 1
    check.check(bearer(other_key, claims(server), kid="new"))


def test_a_new_key_of_entras_is_found(check, server, key, other_key, clock):
    check.check(bearer(key, claims(server)))
    server.lists(public_key(other_key, "new"))
    clock.now += FRESH_SECONDS
    check.check(bearer(other_key, claims(server), kid="new"))
    # The old one is gone with that.
    assert refused(check, bearer(key, claims(server)))[0] == 401


def test_a_key_that_entra_took_back_is_dropped_when_keys_are_looked_at_again(check, server, key, other_key, clock):
    check.check(bearer(key, claims(server)))
    server.lists(public_key(other_key, "new"))
    clock.now += REFRESHED_AFTER
    assert refused(check, bearer(key, claims(server)))[0] == 401


def test_old_keys_count_for_a_day_while_entra_is_away(check, server, key, clock):
    check.check(bearer(key, claims(server)))
    server.status = 503
    clock.now += KEYS_LAST - 1
    check.check(bearer(key, claims(server)))
    clock.now += 1
    with pytest.raises(LaterError):
        check.check(bearer(key, claims(server)))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (503, b""),
        (404, b"{}"),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": 7}'),
        (200, b'{"keys": [7, {"kid": "x"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]}'),
        (200, b"[" * 100_000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_without_keys_the_caller_is_asked_to_try_again(check, server, key, clock, status, answer):
    right, server.status, server.answer = server.answer, status, answer
    with pytest.raises(LaterError, match="can't be checked now"):
        check.check(bearer(key, claims(server)))
    server.status, server.answer = 200, right
    clock.now += REST_AFTER_FAILURE
    check.check(bearer(key, claims(server)))


@pytest.mark.parametrize("odd", [["x"], {"a": 1}, None, 7])
def test_a_key_with_an_odd_name_does_not_hide_the_others(check, server, key, other_key, odd):
    server.lists({**public_key(other_key, ""), "kid": odd}, public_key(key, KEY_ID))
    check.check(bearer(key, claims(server)))


def test_an_endless_list_of_keys_is_not_read_to_its_end(check, server, key):
    server.answer += b" " * LARGEST_KEYS
    with pytest.raises(LaterError):
        check.check(bearer(key, claims(server)))


def test_while_entra_is_away_it_is_not_asked_for_every_token(check, server, key):
    server.status = 503
    for _ in range(5):
        with pytest.raises(LaterError):
            check.check(bearer(key, claims(server)))
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed(check, server, key):
    server.status, server.location = 302, f"{server.url}/elsewhere"
    with pytest.raises(LaterError):
        check.check(bearer(key, claims(server)))
    assert len(server.asked) == 1


def test_a_port_where_nobody_listens_is_an_outage(server, key):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        away = EntraTokenCheck(AUDIENCE, TENANT, f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(LaterError):
            away.check(bearer(key, claims(server)))


@pytest.mark.parametrize("sends", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n"], ids=["silent", "stuck"])
def test_a_server_that_does_not_finish_is_left_after_three_seconds(server, key, sends):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=dripping, args=(listener, sends))
        thread.start()
        slow = EntraTokenCheck(AUDIENCE, TENANT, f"http://127.0.0.1:{listener.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(LaterError):
            slow.check(bearer(key, claims(server)))
        took = time.monotonic() - begun
        thread.join()
    assert FETCH_SECONDS - 0.5 < took < FETCH_SECONDS + 1.5


def dripping(listener: socket.socket, first: bytes) -> None:
    """Answers one call: with these first bytes, and then, where there are any, a blank each 0.1 s, for 8 s at most."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(first)
        connection.settimeout(0.1)
        for _ in range(80):
            try:
                if first:
                    connection.sendall(b" ")
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


def test_a_token_with_a_known_key_does_not_wait_for_the_fetch_of_another(check, server, key, other_key, clock):
    check.check(bearer(key, claims(server)))
    clock.now += FRESH_SECONDS
    server.reached.clear()
    server.may_answer.clear()
    made_up = bearer(other_key, claims(server), kid="made-up")
    fetching = threading.Thread(target=refused, args=(check, made_up))
    fetching.start()
    assert server.reached.wait(10)
    check.check(bearer(key, claims(server)))
    assert fetching.is_alive()
    server.may_answer.set()
    fetching.join()


def test_threads_that_come_at_once_fetch_once(check, server, key):
    token = bearer(key, claims(server))
    threads = [threading.Thread(target=check.check, args=(token,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(check, server, key, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    check.check(bearer(key, claims(server)))


# --- settings ---


@pytest.mark.parametrize(
    ("audience", "tenant", "authority", "reason"),
    [
        ("", TENANT, LOGIN_HOST, "audience is empty"),
        (" ", TENANT, LOGIN_HOST, "audience is empty"),
        (AUDIENCE, "contoso.onmicrosoft.com", LOGIN_HOST, "is no tenant"),
        (AUDIENCE, "common", LOGIN_HOST, "is no tenant"),
        (AUDIENCE, f"{TENANT}/..", LOGIN_HOST, "is no tenant"),
        (AUDIENCE, TENANT, "http://login.example.com", "not safe"),
        (AUDIENCE, TENANT, f"{LOGIN_HOST}/{TENANT}", "no endpoint"),
    ],
)
def test_settings_that_can_not_be_right_are_refused(audience, tenant, authority, reason):
    with pytest.raises(ValueError, match=reason):
        EntraTokenCheck(audience, tenant, authority)


@pytest.mark.parametrize(
    ("authority", "issuer"),
    [
        (LOGIN_HOST, "https://sts.windows.net"),
        ("https://login.microsoftonline.us", "https://sts.windows.net"),
        ("https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn"),
    ],
)
def test_each_cloud_has_its_issuers(authority, issuer):
    check = EntraTokenCheck(AUDIENCE, TENANT, authority)
    assert check.issuers == (f"{issuer}/{TENANT}/", f"{authority}/{TENANT}/v2.0")
