"""The pages in a real browser: Debian's Chromium, driven by Playwright; axe-core looks at what it shows."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func

from localdev.functions_host.sign_in import SignIn
from localdev.http import Answer, LoopbackServer, Request
from shared.web.app import Handler
from tests.web.conftest import CONTEXT

AXE = "axe-core@4.14.1"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PEOPLE = {
    "operator": {"name": "Olive", "oid": "1", "roles": "Warden.Operator"},
    "contact": {"name": "Ann", "oid": "2", "preferred_username": "ann@example.com"},
}


def missing() -> str | None:
    """What of it is not on this machine."""
    if CHROMIUM is None:
        return "Chromium is not on this machine (Debian: apt install chromium)"
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError:
        return "playwright is not installed (`make browser-test` installs it)"
    return None if shutil.which("npm") else "npm, which brings axe-core, is not on this machine"


@contextmanager
def served(handler: Handler) -> Iterator[str]:
    """The function `Web` on a loopback port, behind a stand-in for Azure's sign-in."""

    def answer(request: Request) -> Answer:
        question = dict(parse_qsl(request.target.partition("?")[2]))
        headers = {name.lower(): text for name, text in request.headers.items()}
        asked = func.HttpRequest(
            request.method, f"{server.url}{request.target}", headers=headers, params=question, body=request.body
        )
        said = asyncio.run(handler(asked, CONTEXT))
        sent = [(name, text) for name, text in said.headers.items() if name.lower() != "content-length"]
        return Answer(said.status_code, said.get_body(), sent)

    server = LoopbackServer(SignIn(PEOPLE, answer).answer)
    server.start()
    try:
        yield server.url
    finally:
        server.hang_up()


def axe(folder: Path) -> str:
    """axe-core, from npm."""
    if not (packed := next(folder.glob("axe-core-*.tgz"), None)):
        subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True)
        packed = next(folder.glob("axe-core-*.tgz"))
    with tarfile.open(packed) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def violations(page: Any, script: str) -> list[str]:
    """What axe-core finds on the page as it is: each rule, and where."""
    # Its own world of scripts: the page's policy lets none run.
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found["violations"]]


REQUIRED = bool(os.environ.get("REQUIRE_BROWSER"))
