"""Who may call which route: each names that, and one that names nothing is closed."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool

from shared.ports.changes import Actor, Via, act_as, acting
from shared.ports.errors import LaterError, NeverError
from shared.web.problems import ProblemError
from shared.web.signin import Principal, Role, SignIn

if TYPE_CHECKING:
    from shared.composition import Composition

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
WHO = "warden_who"
ANYBODY = "anybody"
"""Of a route that is open to all, or that looks at a token of its own"""
READS = frozenset({"GET", "HEAD", "OPTIONS"})


def open_to(who: Role | str) -> Callable[[Endpoint], Endpoint]:
    """Says who may call an endpoint: whoever has this role, or ANYBODY."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, WHO, who)
        return endpoint

    return mark


def who_may(endpoint: Callable[..., Any]) -> Role | str | None:
    """Who may call it; None where it does not say."""
    who: Role | str | None = getattr(endpoint, WHO, None)
    return who


class Guarded(APIRoute):
    """A route that looks at who calls before it reads anything of what is sent."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own, behind the look."""
        handle, who = super().get_route_handler(), who_may(self.endpoint)

        async def guarded(request: Request) -> Response:
            _admit(request, who)
            await _note_operator(request)
            return await handle(request)

        return guarded


def _admit(request: Request, who: Role | str | None) -> None:
    sign_in: SignIn = request.app.state.sign_in
    principal = request.state.principal = sign_in.who(request.headers)
    if who == ANYBODY:
        return
    if principal.role is Role.NOBODY:
        raise ProblemError(401, "Nobody is signed in.")
    if not isinstance(who, Role) or principal.role < who:
        raise ProblemError(403, "This is not for you: your sign-in has no role that may do this.")
    if request.method not in READS and not is_own(request.headers):
        raise ProblemError(403, "This was sent by another site.")
    via = Via.API if request.url.path.startswith("/api/") else Via.PAGE
    act_as(Actor(principal.name or "somebody without a name", via, principal.id or None))


async def _note_operator(request: Request) -> None:
    """Has the audit know that an operator is here, once a day and instance; what can't be noted now stops nobody."""
    principal, seen = principal_of(request), request.app.state.seen_operators
    today = (principal.id or principal.name, warden_of(request).clock().date())
    if principal.role is not Role.OPERATOR or today in seen:
        return
    seen.add(today)
    with suppress(LaterError, NeverError):
        await run_in_threadpool(warden_of(request).change_service.signed_in, acting())


def is_own(headers: Mapping[str, str]) -> bool:
    """Whether a change was not sent by another site's page in the browser of somebody who is signed in.

    Browsers say where it comes from, by Sec-Fetch-Site or, older ones, by Origin; other programs send neither, and
    have no cookie.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""


def warden_of(request: Request) -> Composition:
    """The app."""
    warden: Composition = request.app.state.warden
    return warden


def whose(request: Request) -> frozenset[int] | None:
    """The ids of the projects that whoever calls may see: those of which they are a contact; None, of all, for others.

    Raises LaterError where the database is away.
    """
    principal = principal_of(request)
    if principal.role >= Role.VIEWER:
        return None
    return warden_of(request).project_service.of_contacts(principal.addresses)


def principal_of(request: Request) -> Principal:
    """Who calls, in a route that is guarded."""
    principal: Principal = request.state.principal
    return principal


def is_token(given: str | None, expected: SecretStr | None) -> bool:
    """Whether this is the token, in a time that tells nothing about it; never, where there is none."""
    sent = (given or "").encode("utf-8", "surrogateescape")
    known = expected.get_secret_value().encode() if expected else b""
    return hmac.compare_digest(sent, known) and bool(known)
