"""The token that the app's identity shows to AWS, as App Service's own endpoint gives it to azure-identity."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from localdev.http import Answer, LoopbackServer, Request
from shared.adapters.costs.aws_access import IdentityToken
from shared.ports.errors import LaterError

JSON_TYPE = ("Content-Type", "application/json")


class Identities:
    """App Service's endpoint of identities. status: what it answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200

    def respond(self, request: Request) -> Answer:
        self.asked.append(parse_qs(urlsplit(request.target).query))
        token = {"access_token": "eyJ.of.aws", "expires_on": str(int(time.time()) + 3600), "token_type": "Bearer"}
        return Answer(self.status, json.dumps(token if self.status == 200 else {}).encode(), [JSON_TYPE])


@pytest.fixture
def identities(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identities]:
    made = Identities()
    server = LoopbackServer(made.respond)
    server.start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "a-header")
    yield made
    server.hang_up()


def test_the_token_is_for_the_audience_and_of_the_named_identity(identities: Identities) -> None:
    assert IdentityToken("11111111-0000-4000-8000-000000000001", "api://budget-warden-aws")() == "eyJ.of.aws"
    (asked,) = identities.asked
    assert asked["resource"] == ["api://budget-warden-aws"]
    assert asked["client_id"] == ["11111111-0000-4000-8000-000000000001"]


def test_a_token_that_is_not_to_be_had_is_told_with_the_setting_that_it_is_for(identities: Identities) -> None:
    identities.status = 400
    with pytest.raises(LaterError, match=r"^We can't sign in to AWS: There is no token .* AWS_WEB_IDENTITY_AUDIENCE"):
        IdentityToken("11111111-0000-4000-8000-000000000001", "api://nowhere")()
