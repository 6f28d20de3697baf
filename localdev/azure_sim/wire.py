"""HTTP/1.1 on a loopback address: requests, answers, routes and the server that joins them."""

import json
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from localdev.azure_sim.faults import Fault

LARGEST_BODY = 4 * 1024 * 1024


@dataclass
class Request:
    """One HTTP request; names in `query` and `parameters` are in lower case."""

    method: str
    target: str
    headers: Message
    body: bytes
    parameters: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    @property
    def path(self) -> str:
        """The path without the query, percent-decoded; ARM takes `//`, which scopes with a slash lead to, for `/`."""
        path = re.sub("^[^?#]*", lambda found: re.sub("/{2,}", "/", found.group()), self.target)
        return unquote(urlsplit(path).path)

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; a name that comes twice keeps its last value."""
        pairs = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        return {name.lower(): value for name, value in pairs}


@dataclass
class Answer:
    """One HTTP answer; with `cut_after`, the connection breaks after that many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


class AzureError(Exception):
    """A refusal in Azure's envelope: `{"error": {"code": …, "message": …}}`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})

    def answer(self) -> Answer:
        """The error as an HTTP answer."""
        answer = json_answer({"error": {"code": self.code, "message": str(self)}}, self.status)
        answer.headers.update(self.headers)
        return answer


class HangUp(Exception):  # noqa: N818 - nothing went wrong here: it tells the server to say nothing at all
    """The connection is closed without an answer."""


def json_answer(value: Any, status: int = 200) -> Answer:
    """The value as a JSON answer; a Decimal is a number with all its digits, what JSON doesn't know (a date) text."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    text = json.dumps(value, default=_marked)
    return Answer(status, MARKED_NUMBER.sub(r"\1", text).encode(), headers)


MARKED_NUMBER = re.compile(r'"\\u0000(-?\d+(?:\.\d+)?)"')


def _marked(value: Any) -> str:
    """Text in place of the value; of a Decimal such that the quotes around it can be taken off again."""
    return f"\0{value:f}" if isinstance(value, Decimal) and value.is_finite() else str(value)


Handler = Callable[[Request], Answer]


class Routes:
    """Which handler answers which method and path; paths are compared without regard to case, as ARM does."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, template: str, handler: Handler) -> None:
        """Adds a route; `{name}` in the template stands for one segment, found in `request.parameters`."""
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
        self._routes.append((method, re.compile(f"{pattern}/?", re.IGNORECASE), handler))

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """The handler and the path's parameters. AzureError: 404 for the path, 405 for the method."""
        known_path = False
        for route_method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and route_method == method:
                return handler, match.groupdict()
            known_path = known_path or match is not None
        if known_path:
            raise AzureError(
                405, "MethodNotAllowed", f"The requested resource does not support http method '{method}'."
            )
        raise AzureError(404, "InvalidResourceType", f"The resource type could not be found for the path '{path}'.")


class LoopbackServer(ThreadingHTTPServer):
    """A thread per connection; `stop` also ends connections that clients keep alive."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, host: str, port: int, respond: Handler) -> None:
        self.respond = respond
        self._connections: set[socket.socket] = set()
        super().__init__((host, port), Connection)

    def stop(self) -> None:
        """Stops listening and ends every open connection; `serve_forever` must be running."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self._connections):
            _end(connection)

    def server_bind(self) -> None:
        """Binds without asking the DNS for the host's full name, which can take seconds and serves nobody."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        """Takes the next connection, and keeps it in mind until it ends."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection that has ended."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a fault of the simulator and is printed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself in the meantime


class Connection(BaseHTTPRequestHandler):
    """Reads the requests of one connection and writes the answers."""

    protocol_version = "HTTP/1.1"
    server_version = "Microsoft-HTTPAPI/2.0"
    sys_version = ""
    # Headers and body leave in one packet: apart, they would wait 40 ms for the other side's acknowledgement.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    server: LoopbackServer

    def serve(self) -> None:
        """Answers one request of any method."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self._write(AzureError(413, "RequestContentTooLarge", "The request is too large.").answer())
            self.close_connection = True
            return
        # A target may be a whole URL (RFC 9112, 3.2.2), as clients send it that follow a nextLink.
        target = re.sub(r"^https?://[^/]+", "", self.path)
        request = Request(self.command, target, self.headers, self.rfile.read(length))
        try:
            self._write(self.server.respond(request))
        except HangUp:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 - http.server's names

    def _write(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut_after])
        if answer.cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, RUF100 - http.server's name for it
        """Says nothing: what was asked is in the simulator's statistics."""
