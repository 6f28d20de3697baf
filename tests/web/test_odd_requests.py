"""Odd requests of every route: none is unhandled, none tells what it should not, and none is a 500."""

from __future__ import annotations

import json
import random
import re
from urllib.parse import quote, urlencode

import pytest

from shared.composition import Composition
from shared.web import app as web
from tests.cases import ALL
from tests.web.conftest import Call

REQUESTS = 20_000 if ALL else 250
ODD = [
    "", " ", "0", "-1", "1e400", "NaN", "9" * 40, "2147483648", "true", "null", "\x00", "\ud7ff", "é", "𝄞", "a" * 3000,
    "../../etc/passwd", "<script>alert(1)</script>", "' OR 1=1 --", "%00", "%", "{{7*7}}", "{0.__class__}", "\r\nX: y",
    "2026-13-45", "0000-00-00", "9999-12-31", "1970-01-01", "DIE1", "die1", "11", "id", "used", "service", "day", "[]",
    "{}", "٣", "\u202e", "İ", "ß", "=cmd|' /C calc'!A0", "[1]", "en", "fr",
]  # fmt: skip
METHODS = (*["GET"] * 8, "HEAD", *["POST"] * 4, "PUT", "DELETE", "OPTIONS", "PATCH")
NAMES = (
    "search", "over", "stale", "locked", "active", "owner", "sort", "limit", "cursor", "from", "to", "by", "project",
    "after", "state", "export", "unallocated", "sub_account", "provider", "lang", "done", "every", "unsent",
)  # fmt: skip
HEADERS = ("Accept", "Accept-Language", "If-None-Match", "Cookie", "Idempotency-Key", "Content-Type", "Sec-Fetch-Site")
BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"reason": "x"}',
    b'{"amount": 1e999}',
    b"token=&reason=x",
    b"[" * 9000,
)
PLACE = re.compile(r"\{[\w:]+\}")


def odd_request(rolls: random.Random, paths: list[str]) -> tuple[str, str, str, bytes, dict[str, str]]:
    path = PLACE.sub(lambda _: quote(rolls.choice(ODD) or "x", safe=""), rolls.choice(paths))
    question = urlencode([(rolls.choice(NAMES), rolls.choice(ODD)) for _ in range(rolls.randrange(4))])
    headers = {rolls.choice(HEADERS): rolls.choice(ODD).replace("\r\n", " ") for _ in range(rolls.randrange(3))}
    who = rolls.choice(("nobody", "somebody", "contact", "viewer", "operator", "operator"))
    return rolls.choice(METHODS), f"{path}?{question}" if question else path, who, rolls.choice(BODIES), headers


def test_no_request_is_unhandled(
    call: Call, spent: Composition, queue_names: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    rolls = random.Random(19)
    paths = [route.path for route in web.every_route()] + ["/", "/finops/", "/api", "//", "/admin", "/finops/api/v9"]
    # A sync would wait for its run.
    paths = [path for path in paths if "/sync" not in path]
    statuses: dict[int, int] = {}
    for number in range(REQUESTS):
        method, path, who, body, headers = odd_request(rolls, paths)
        answer = call(method, path, who=who, body=body, headers=headers)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status < 500, (number, method, path, who, body[:80], headers, answer.body[:300])
        assert b"Traceback" not in answer.body
        assert b"<script>alert(1)" not in answer.body or answer.headers["content-type"].startswith(
            ("application/", "text/csv")
        )
        if answer.headers.get("content-type") == "application/problem+json" and answer.body:
            assert json.loads(answer.body)["status"] == answer.status
    assert "page_failed" not in caplog.text
    assert {200, 401, 403, 404, 405, 422} <= statuses.keys()
    print(statuses)
