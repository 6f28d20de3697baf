"""Plays App Service Authentication: signs in whoever is chosen, by the header that Azure would write."""

import base64
import html
import json
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from localdev.http import Answer, Request

HEADER = "x-ms-client-principal"
COOKIE = "LocalSignIn"
LOGIN, LOGOUT = "/.auth/login/aad", "/.auth/logout"
HOME = "/finops/"


class SignIn:
    """Stands before an app. people: each with the claims that Entra would hand on, by what they are called."""

    def __init__(self, people: Mapping[str, Mapping[str, str]], respond: Callable[[Request], Answer]) -> None:
        self._people, self._respond = people, respond

    def answer(self, request: Request) -> Answer:
        """Answers where Azure would; else the app does, told who calls. What a caller says of that is dropped."""
        del request.headers[HEADER]
        if request.path.rstrip("/") == LOGIN:
            return self._sign_in(request)
        if request.path.rstrip("/") == LOGOUT:
            return _to(HOME, "")
        if claims := self._people.get(_who(request)):
            said = {"auth_typ": "aad", "claims": [{"typ": kind, "val": text} for kind, text in claims.items()]}
            request.headers[HEADER] = base64.b64encode(json.dumps(said | {"role_typ": "roles"}).encode()).decode()
        return self._respond(request)

    def _sign_in(self, request: Request) -> Answer:
        asked = parse_qs(request.target.partition("?")[2])
        back, who = asked.get("post_login_redirect_uri", [HOME])[0], asked.get("who", [""])[0]
        # No other site.
        back = back if back.startswith("/") and not back.startswith(("//", "/\\")) else HOME
        if who in self._people:
            return _to(back, who)
        links = "".join(
            f'<li><a href="{LOGIN}?{html.escape(urlencode({"who": each, "post_login_redirect_uri": back}))}">'
            f"{html.escape(each)}</a></li>"
            for each in self._people
        )
        head = "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Sign in</title>"
        page = f"{head}<h1>Who are you?</h1><ul>{links}</ul>"
        return Answer(200, page.encode(), [("Content-Type", "text/html; charset=utf-8")])


def _who(request: Request) -> str:
    try:
        cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _to(place: str, who: str) -> Answer:
    lasts = "" if who else "; Max-Age=0"
    cookie = f'{COOKIE}="{who}"; Path=/; HttpOnly; SameSite=Lax{lasts}'
    return Answer(302, b"", [("Location", place), ("Set-Cookie", cookie)])
