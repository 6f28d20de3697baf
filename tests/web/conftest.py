"""The HTTP API as the function `Web` answers it, over the command line's own folder, settings and queues."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import pytest

from shared import settings
from shared.composition import Composition
from shared.web.app import Handler, made
from shared.web.signin import PRINCIPAL

# What the command line's tests stand on, this stands on.
from tests.cli.commands import BARE, DIE1, EAU, Cli, checked, costs_were_read, spend, write_csv
from tests.cli.conftest import (  # noqa: F401
    app,
    cli,
    environment,
    nothing_left_running,
    queue_names,
    refusing_queues,
    working,
)
from tests.cli.test_aws_syncs import aws  # noqa: F401
from tests.cli.test_export_scan import container  # noqa: F401

HOST = "warden.example.com"
ROLES = {"operator": "Warden.Operator", "viewer": "Warden.Viewer"}
# Contacts of DIE1 and of EAU.
SIGN_IN_NAMES = {"contact": "ANN@Example.com", "other": "eve@example.com"}


@dataclass(frozen=True)
class Answer:
    """An answer, as the host gets it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Call = Callable[..., Answer]


def signed_in(who: str) -> dict[str, str]:
    """The header that Azure writes for one who has signed in."""
    if who == "nobody":
        return {}
    claims = [{"typ": "name", "val": who}, {"typ": "oid", "val": f"id of {who}"}]
    claims += [{"typ": "roles", "val": ROLES[who]}] if who in ROLES else []
    claims += [{"typ": "preferred_username", "val": SIGN_IN_NAMES[who]}] if who in SIGN_IN_NAMES else []
    said = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    return {PRINCIPAL: base64.b64encode(json.dumps(said).encode()).decode()}


@pytest.fixture
def call(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Call:  # noqa: F811
    """Calls an address of one instance of the app: `call("GET", "/finops/…", who="operator")`."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    monkeypatch.setenv("WEB_URL", f"https://{HOST}")
    return Web().call


@dataclass
class Web:
    """The function, as one instance of the app has it."""

    in_azure: bool = True

    @cached_property
    def composition(self) -> Composition:
        # Azure would refuse a SQLite file.
        return Composition(settings.load().model_copy(update={"azure_instance": "a" * 64 if self.in_azure else None}))

    @cached_property
    def handler(self) -> Handler:
        return made(self.composition)

    def call(
        self, method: str, path: str, who: str = "nobody", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = {"Host": HOST} | signed_in(who) | dict(headers or {})
        url = urlsplit(path)
        request = func.HttpRequest(
            method, f"https://{HOST}{path}", headers=sent, params=dict(parse_qsl(url.query)), body=body
        )
        answer = asyncio.run(self.handler(request, CONTEXT))
        return Answer(
            answer.status_code, {name.lower(): text for name, text in answer.headers.items()}, answer.get_body()
        )


class Context:
    """What the host tells a function of its call."""

    invocation_id, function_name = "1", "Web"

    class trace_context:  # noqa: N801 - the worker's own form
        trace_parent = trace_state = ""
        attributes: dict[str, str] = {}  # noqa: RUF012


CONTEXT: Any = Context()


READ_AT = datetime(2026, 11, 20, 2, 10, tzinfo=UTC)


@pytest.fixture
def spent(cli: Cli, app: Composition) -> Composition:  # noqa: F811
    """DIE1 spent 1.005 in April and 30 in November; EAU 5 in October and in November; all was checked."""
    cli("projects", "load", write_csv(DIE1, EAU, BARE))
    spend(app, 11, "1.005", date(2026, 4, 1))
    spend(app, 11, "30", date(2026, 11, 20))
    spend(app, 12, "5", date(2026, 10, 1), date(2026, 11, 1))
    costs_were_read(app, READ_AT)
    checked(app, 11, 12, 13)
    return app
