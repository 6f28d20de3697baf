"""Serves HTTP functions on this machine, under the routes and methods that the app declares."""

import hmac
import logging
import re
import threading
from collections.abc import Iterable
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
# As long as the real one waits for a request's headers.
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


class _Server(ThreadingHTTPServer):
    """One thread a connection; the default of 5 that may wait is few, and whoever finds no place waits a second."""

    daemon_threads = True
    request_queue_size = 128


class HttpServer:
    """A threaded server on the loopback address; port 0 means any free one.

    patience: after so many seconds without a word, a caller in the middle of a request is left.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        port: int,
        key: str,
        runner: Runner,
        activity: Activity,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        # Fixed parts go before places, as in ASP.NET's routing.
        self.routes = sorted(routes, key=lambda route: route.template.count("{"))
        self._key = key
        self._runner = runner
        self._activity = activity
        self._patience = patience
        try:
            self._server = _Server(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise HostError(
                f"Port {port} can't be used for HTTP: {error.strerror}; give another with --port."
            ) from error
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
            timeout = server._patience

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
                # What follows the question mark holds the key.
                log.debug("http: %s", re.sub(r"\?\S+", "?…", format % args))

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> Answer:
        try:
            path, body = unquote(urlsplit(request.path).path), _body(request)
        except (BadRequestError, ValueError) as error:
            # Nobody knows where the next request would begin.
            request.close_connection = True
            return _text(getattr(error, "status", 400), str(error))
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match and (not route.methods or request.command in route.methods):
                return self._call(route, match, request, body)
        return _text(404, "")

    def _call(self, route: Route, match: re.Match[str], request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        query = _joined(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))
        if not self._allowed(route, request):
            return _text(401, "")
        places = {name: text for name, text in match.groupdict().items() if text is not None}
        outcome = self._runner.run(
            route.function,
            lambda: http_value(
                request.command, self.url + request.path, _joined(request.headers.items()), query, places, body
            ),
        )
        return _from_datum(outcome.answer) if outcome.ok else _text(500, "")

    def _allowed(self, route: Route, request: BaseHTTPRequestHandler) -> bool:
        """Without a key of its own the host is open, as Core Tools is.

        Of a header and a question the header counts, and of several the first, as in the host's
        AuthenticationLevelHandler.
        """
        if not self._key or route.open_to_all:
            return True
        question = parse_qsl(urlsplit(request.path).query)
        code = next((text for name, text in question if name.lower() == "code"), "")
        given = str(request.headers.get("x-functions-key", code))
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._key.encode())


class BadRequestError(Exception):
    """A request that reaches no function; status: what is answered, with the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """The whole body. Raises BadRequestError."""
    lengths = request.headers.get_all("Content-Length", ["0"])
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
        raise BadRequestError(400, "The Content-Length has to be one number.")
    length = int(lengths[0])
    # Of a body in chunks, the real host hands nothing on: its length is not known (GrpcMessageConversionExtensions).
    if "Transfer-Encoding" in request.headers or length > _LARGEST_BODY:
        raise BadRequestError(413, "The body needs a Content-Length of at most 100 MB.")
    body = request.rfile.read(length)
    if len(body) < length:
        raise BadRequestError(400, "The body is shorter than its Content-Length.")
    return body


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each name with all its values, between commas, as the host hands them on (StringValues.ToString)."""
    values: dict[str, tuple[str, list[str]]] = {}
    for name, text in pairs:
        values.setdefault(name.lower(), (name, []))[1].append(text)
    return {name: ",".join(texts) for name, texts in values.values()}


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
