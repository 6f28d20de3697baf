"""Serves HTTP functions on this machine, under the routes and methods that the app declares."""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from localdev.functions_host.activity import Activity
from localdev.functions_host.app import AppFunction
from localdev.functions_host.bindings import http_value
from localdev.functions_host.errors import HostError
from localdev.functions_host.runner import Runner
from localdev.functions_host.sign_in import SignIn
from localdev.http import Answer, LoopbackServer, Request, text_answer

_PLACE = re.compile(r"\{(\*?)(\w+)\}")
# As long as the real host waits for a request's headers.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Route:
    """One HTTP function: the pattern of its path and its methods (none means all of them)."""

    function: AppFunction
    template: str
    pattern: re.Pattern[str]
    methods: frozenset[str]

    @property
    def open_to_all(self) -> bool:
        """Whether it can be called without a key."""
        level = self.function.trigger.auth_level
        return str(getattr(level, "value", level)).lower() == "anonymous"


def make_route(function: AppFunction, prefix: str) -> Route:
    """Reads the route of an HTTP function, such as `items/{id}` or `{*path}`."""
    template = (function.trigger.route or function.name).strip("/")
    methods = function.trigger.methods or ()
    names = frozenset(str(getattr(method, "value", method)).upper() for method in methods)
    parts = [part for part in (*prefix.split("/"), *template.split("/")) if part]
    pattern = "".join(_part(part, function.name) for part in parts)
    return Route(function, "/" + "/".join(parts), re.compile(pattern + "/?", re.IGNORECASE), names)


def _part(part: str, name: str) -> str:
    place = _PLACE.fullmatch(part)
    if place:
        return f"(?:/(?P<{place[2]}>.*))?" if place[1] else f"/(?P<{place[2]}>[^/]+)"
    if "{" in part:
        raise HostError(f"{name}: the local host knows the places {{name}} and {{*rest}} in a route, not {part!r}.")
    return "/" + re.escape(part)


class HttpFunctions:
    """Answers for the HTTP functions on a port (0: any free one), from `server.start()` to `server.stop()`."""

    def __init__(
        self,
        routes: Iterable[Route],
        port: int,
        key: str,
        runner: Runner,
        activity: Activity,
        people: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        # Fixed parts go before places, as in ASP.NET's routing.
        self.routes = sorted(routes, key=lambda route: route.template.count("{"))
        self._key = key
        self._runner = runner
        try:
            respond = SignIn(people, self._answer).answer if people else self._answer
            self.server = LoopbackServer(respond, port, activity.work, _PATIENCE_SECONDS)
        except OSError as error:
            raise HostError(
                f"Port {port} can't be used for HTTP: {error.strerror}; give another with --port."
            ) from error

    def _answer(self, request: Request) -> Answer:
        for route in self.routes:
            match = route.pattern.fullmatch(request.path)
            if match and (not route.methods or request.method in route.methods):
                return self._call(route, match, request)
        return text_answer(404)

    def _call(self, route: Route, match: re.Match[str], request: Request) -> Answer:
        question = parse_qsl(request.target.partition("?")[2], keep_blank_values=True)
        if not self._allowed(route, request, question):
            return text_answer(401)
        places = {name: text for name, text in match.groupdict().items() if text is not None}
        url, headers = self.server.url + request.target, _joined(request.headers.items())
        outcome = self._runner.run(
            route.function, lambda: http_value(request.method, url, headers, _joined(question), places, request.body)
        )
        return _from_datum(outcome.answer) if outcome.ok else text_answer(500)

    def _allowed(self, route: Route, request: Request, question: Iterable[tuple[str, str]]) -> bool:
        """Without a key of its own the host is open, as Core Tools is.

        Of a header and a question the header counts, and of several the first, as in the host's
        AuthenticationLevelHandler.
        """
        if not self._key or route.open_to_all:
            return True
        code = next((text for name, text in question if name.lower() == "code"), "")
        given = str(request.headers.get("x-functions-key", code))
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._key.encode())


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each name with all its values, between commas, as the host hands them on (StringValues.ToString)."""
    values: dict[str, tuple[str, list[str]]] = {}
    for name, text in pairs:
        values.setdefault(name.lower(), (name, []))[1].append(text)
    return {name: ",".join(texts) for name, texts in values.values()}


def _from_datum(datum: Any) -> Answer:
    """Turns the encoded return value into an answer; a function that returns nothing answers 204."""
    if datum is None:
        return Answer(204)
    if datum.type != "http":
        return text_answer(200, str(datum.value))
    value = datum.value
    headers = [(name, header.value) for name, header in value["headers"].items() if name.lower() != "content-length"]
    cookies = [morsel.OutputString() for jar in value["cookies"] or () for morsel in jar.values()]
    headers += [("Set-Cookie", cookie) for cookie in cookies]
    return Answer(int(value["status_code"].value), value["body"].value, headers)
