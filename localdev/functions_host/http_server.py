"""Serves HTTP functions on this machine, under the routes and methods that the app declares."""

import hmac
import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from localdev.functions_host.activity import Activity
from localdev.functions_host.app import AppFunction
from localdev.functions_host.bindings import http_value
from localdev.functions_host.errors import HostError
from localdev.functions_host.runner import Runner

log = logging.getLogger("host")
_PLACE = re.compile(r"\{(\*?)(\w+)(?::(\w+))?(\?)?\}")
_KINDS = {"int": r"-?\d+", "guid": r"[0-9A-Fa-f-]{36}", "alpha": r"[A-Za-z]+", "bool": r"(?i:true|false)"}
# The host's own limit for a request body.
_LARGEST_BODY = 100 * 1024 * 1024


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


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def make_route(function: AppFunction, prefix: str) -> Route:
    """Reads the route of an HTTP function, such as `items/{id:int}` or `files/{*path}`."""
    template = (function.trigger.route or function.name).strip("/")
    methods = function.trigger.methods or ()
    names = frozenset(str(getattr(method, "value", method)).upper() for method in methods)
    parts = [part for part in (*prefix.split("/"), *template.split("/")) if part]
    pattern = "".join(_part(part, function.name) for part in parts)
    return Route(function, "/" + "/".join(parts), re.compile(pattern + "/?", re.IGNORECASE), names)


def _part(part: str, name: str) -> str:
    place = _PLACE.fullmatch(part)
    if place is None:
        return "/" + re.escape(part)
    rest, key, kind, optional = place.groups()
    if kind and kind not in _KINDS:
        raise HostError(f"{name}: the local host knows no route constraint {kind!r}; it knows {', '.join(_KINDS)}.")
    inside = ".*" if rest else _KINDS.get(kind or "", "[^/]+")
    return f"(?:/(?P<{key}>{inside}))?" if optional or rest else f"/(?P<{key}>{inside})"


class HttpServer:
    """A threaded server on the loopback address; port 0 means any free one."""

    def __init__(self, routes: Iterable[Route], port: int, key: str, runner: Runner, activity: Activity) -> None:
        # Fixed parts go before places, as in ASP.NET's routing.
        self.routes = sorted(routes, key=lambda route: route.template.count("{"))
        self._key = key
        self._runner = runner
        self._activity = activity
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise HostError(
                f"Port {port} can't be used for HTTP: {error.strerror}; give another with --port."
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def url(self) -> str:
        """The address, such as http://127.0.0.1:7071."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more connections; requests under way are still answered."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                # The base class looks for do_GET, do_POST and so on; all methods go the same way here.
                if name.startswith("do_"):
                    return self._serve
                raise AttributeError(name)

            def _serve(self) -> None:
                with server._activity.work():
                    self._reply(server._answer(self))

            def _reply(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                log.debug("http: %s", format % args)

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> Answer:
        address = urlsplit(request.path)
        body = _body(request)
        if body is None:
            request.close_connection = True
            return _text(413, "The body needs a Content-Length of at most 100 MB.")
        for route in self.routes:
            match = route.pattern.fullmatch(unquote(address.path))
            if match and (not route.methods or request.command in route.methods):
                return self._call(route, match, request, body)
        return _text(404, "")

    def _call(self, route: Route, match: re.Match[str], request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        query = dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))
        if not self._allowed(route, query, request):
            return _text(401, "")
        places = {name: text for name, text in match.groupdict().items() if text is not None}
        outcome = self._runner.run(
            route.function,
            lambda: http_value(
                request.command, self.url + request.path, dict(request.headers.items()), query, places, body
            ),
        )
        return _from_datum(outcome.answer) if outcome.ok else _text(500, "")

    def _allowed(self, route: Route, query: Mapping[str, str], request: BaseHTTPRequestHandler) -> bool:
        """Without a key of its own the host is open, as Core Tools is."""
        if not self._key or route.open_to_all:
            return True
        given = query.get("code") or request.headers.get("x-functions-key") or ""
        return hmac.compare_digest(given.encode(), self._key.encode())


def _body(request: BaseHTTPRequestHandler) -> bytes | None:
    length = request.headers.get("Content-Length", "0")
    if "Transfer-Encoding" in request.headers or not length.isdigit() or int(length) > _LARGEST_BODY:
        return None
    return request.rfile.read(int(length))


def _text(status: int, text: str) -> Answer:
    return Answer(status, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())


def _from_datum(datum: Any) -> Answer:
    """Turns the encoded return value into an answer; a function that returns nothing answers 204."""
    if datum is None:
        return Answer(204)
    if datum.type != "http":
        return _text(200, str(datum.value))
    value = datum.value
    headers = [(name, header.value) for name, header in value["headers"].items()]
    cookies = [morsel.OutputString() for jar in value["cookies"] or () for morsel in jar.values()]
    headers += [("Set-Cookie", cookie) for cookie in cookies]
    kept = tuple((name, text) for name, text in headers if name.lower() != "content-length")
    return Answer(int(value["status_code"].value), kept, value["body"].value)
