"""HTTP/1.1 on a loopback address, for the local host and the simulator: a thread a connection."""

import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote

log = logging.getLogger("http")
# The limit of Azure's own Functions host.
LARGEST_BODY = 100 * 1024 * 1024


@dataclass
class Request:
    """One HTTP request; `target` is what was asked for, path and query, as it was written."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query, percent-decoded."""
        return unquote(self.target.split("?", 1)[0])


@dataclass
class Answer:
    """One HTTP answer; with `cut_after`, the connection breaks after that many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    cut_after: int | None = None


Respond = Callable[[Request], Answer]


class HangUp(Exception):  # noqa: N818 - nothing went wrong here: it tells the server to say nothing at all
    """The connection is closed without an answer."""


class _BadRequestError(Exception):
    """A request that is answered without being looked at; status: what is answered, with the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class LoopbackServer(ThreadingHTTPServer):
    """Answers on a port (0: any free one). OSError: it can't be had.

    work: holds for as long as a request is answered. patience: after so many seconds without a word, a caller is left.
    """

    daemon_threads = True
    # Whoever finds no place in a shorter queue tries again after a second.
    request_queue_size = 256

    def __init__(
        self,
        respond: Respond,
        port: int = 0,
        work: Callable[[], AbstractContextManager[None]] = nullcontext,
        patience: float | None = None,
    ) -> None:
        self.respond, self.work, self.patience = respond, work, patience
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Connection)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Answers, in threads of its own."""
        # serve_forever looks this often whether it should stop; half a second, its default, makes tests slow.
        threading.Thread(target=self.serve_forever, args=(0.02,), name="http", daemon=True).start()

    def stop(self) -> None:
        """Takes no more connections; requests under way are still answered. It must have been started."""
        self.shutdown()
        self.server_close()

    def hang_up(self) -> None:
        """Stops, and ends the connections that clients keep alive, too."""
        self.stop()
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
        """A client that went away is no news; anything else is a fault here and is printed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself in the meantime


class _Connection(BaseHTTPRequestHandler):
    """Reads the requests of one connection, of any method, and writes the answers."""

    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet: apart, they would wait 40 ms for the other side's acknowledgement.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    server: LoopbackServer

    def setup(self) -> None:
        self.request.settimeout(self.server.patience)
        super().setup()

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_GET, do_POST and so on; all methods go the same way here.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        with self.server.work():
            try:
                self._write(self.server.respond(self._request()))
            except _BadRequestError as error:
                # Nobody knows where the next request would begin.
                self.close_connection = True
                self._write(text_answer(error.status, str(error)))
            except HangUp:
                self.close_connection = True

    def _request(self) -> Request:
        # A target may be a whole URL (RFC 9112, 3.2.2), as clients send it that follow a nextLink.
        target = re.sub(r"^https?://[^/]*", "", self.path)
        return Request(self.command, target, self.headers, self._body())

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", ["0"])
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
            raise _BadRequestError(400, "The Content-Length has to be one number.")
        length = int(lengths[0])
        # Of a body in chunks the real host hands nothing on: its length is unknown (GrpcMessageConversionExtensions).
        if "Transfer-Encoding" in self.headers or length > LARGEST_BODY:
            raise _BadRequestError(413, "The body needs a Content-Length of at most 100 MB.")
        body = self.rfile.read(length)
        if len(body) < length:
            raise _BadRequestError(400, "The body is shorter than its Content-Length.")
        return body

    def _write(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut_after])
        self.wfile.flush()
        if answer.cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, RUF100 - http.server's name for it
        # What follows the question mark can hold a key.
        log.debug(re.sub(r"\?\S+", "?…", format % args))


def text_answer(status: int, text: str = "") -> Answer:
    """A plain text."""
    return Answer(status, text.encode(), [("Content-Type", "text/plain; charset=utf-8")])
