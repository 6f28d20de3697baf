"""The stand-in for App Service Authentication on a developer's machine."""

from __future__ import annotations

import base64
import json
from email.message import Message

import pytest

from localdev.functions_host.sign_in import HEADER, SignIn
from localdev.http import Answer, Request
from shared.settings import Settings
from shared.web.signin import Role
from shared.web.signin import SignIn as Trusting

PEOPLE = {"Olive, an operator": {"name": "Olive", "roles": "Warden.Operator"}, "Ines": {"preferred_username": "i@b.ca"}}


class App:
    """What stands behind it, and what it was told."""

    def __init__(self) -> None:
        self.told: list[str | None] = []

    def answer(self, request: Request) -> Answer:
        self.told.append(request.headers[HEADER])
        return Answer(200, b"the app")


@pytest.fixture
def app() -> App:
    return App()


def asked(app: App, target: str, **headers: str) -> Answer:
    message = Message()
    for name, text in headers.items():
        message[name.replace("_", "-")] = text
    return SignIn(PEOPLE, app.answer).answer(Request("GET", target, message, b""))


def test_whoever_is_chosen_is_told_to_the_app_until_they_leave(app: App) -> None:
    page = asked(app, "/.auth/login/aad?post_login_redirect_uri=/finops/projects/7")
    assert b"Olive, an operator" in page.body
    chosen = asked(app, "/.auth/login/aad?who=Olive%2C+an+operator&post_login_redirect_uri=/finops/projects/7")
    headers = dict(chosen.headers)
    assert (chosen.status, headers["Location"]) == (302, "/finops/projects/7")
    asked(app, "/finops/", cookie=headers["Set-Cookie"].partition(";")[0])
    (told,) = app.told
    assert told is not None
    claims = json.loads(base64.b64decode(told))["claims"]
    assert {"typ": "roles", "val": "Warden.Operator"} in claims
    assert "Max-Age=0" in dict(asked(app, "/.auth/logout").headers)["Set-Cookie"]


def test_nobody_is_who_was_not_chosen_and_what_a_caller_says_is_dropped(app: App) -> None:
    asked(app, "/finops/", X_Ms_Client_Principal="forged", cookie='LocalSignIn="Somebody else"')
    asked(app, "/finops/", cookie="no cookie at all;;=")
    assert app.told == [None, None]


@pytest.mark.parametrize("back", ["https://evil.example.com", "//evil.example.com", "/\\evil.example.com", ""])
def test_it_leads_to_no_other_site(app: App, back: str) -> None:
    answer = asked(app, f"/.auth/login/aad?who=Ines&post_login_redirect_uri={back}")
    assert dict(answer.headers)["Location"] == "/finops/"


def test_the_app_believes_it_under_a_loopback_address_only_and_never_in_azure() -> None:
    said = base64.b64encode(json.dumps({"claims": [{"typ": "roles", "val": "Warden.Operator"}]}).encode()).decode()
    here = Trusting(False, "Warden.Operator", "Warden.Viewer", here=True)
    for host, role in (
        ("127.0.0.1:7071", Role.OPERATOR), ("localhost:7071", Role.OPERATOR), ("[::1]:7071", Role.OPERATOR),
        ("warden.example.com:443", Role.NOBODY), ("127.0.0.1.evil.com:80", Role.NOBODY), ("", Role.NOBODY),
    ):  # fmt: skip
        assert here.who({HEADER: said, "host": host}).role is role, host
    for instance, set_, counts in (("a", "true", False), (None, "true", True), (None, None, False)):
        assert Settings.model_construct(azure_instance=instance, auth_enabled=set_).signs_in_here is counts
