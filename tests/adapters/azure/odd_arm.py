"""A loopback server that gives the answers it was told to give, path by path: for those that no simulator would."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

MACHINES = "/virtualMachines?"
SCALE_SETS = "/virtualMachineScaleSets?"


@dataclass(frozen=True)
class Answer:
    """What to answer; `{server}` in the body and the headers stands for the server's own URL."""

    body: str = '{"value": []}'
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def value(*items: Any, link: str | None = None) -> Answer:
    """A page of a list."""
    return Answer(json.dumps({"value": items} | ({"nextLink": link} if link else {})))


def error(status: int, code: str, message: str = "So it is.", headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal in Azure's form."""
    return Answer(json.dumps({"error": {"code": code, "message": message}}), status, headers or {})


class OddArm:
    """Answers each request with what was set for a part of its path and query; with an empty list where nothing was.

    seen: the requests, as method, path and the header Authorization. cookies: those of each. peers: the connections on
    which they came.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str | None]] = []
        self.cookies: list[str | None] = []
        self.peers: set[tuple[str, int]] = set()
        self._answers: dict[str, list[Answer]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def will_answer(self, part: str, *answers: Answer) -> None:
        """Sets the answers to requests with `part` in their path, in turn; the last one stays."""
        self._answers[part] = list(answers)

    def answer_to(self, path: str) -> Answer:
        for part, answers in self._answers.items():
            if part in path:
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Answer()

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for, after the resource group."""
        return [path.partition("/providers/")[2] for _, path, _ in self.seen]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(server: OddArm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one piece; in two, each answer waits 40 ms for the other side's acknowledgement.
        wbufsize = -1

        def answer(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            server.seen.append((self.command, self.path, self.headers["Authorization"]))
            server.cookies.append(self.headers["Cookie"])
            server.peers.add(self.client_address)
            answer = server.answer_to(self.path)
            content = answer.body.replace("{server}", server.url).encode()
            standard = {"Content-Length": str(len(content)), "Content-Type": "application/json"}
            self.send_response(answer.status)
            for name, text in (standard | dict(answer.headers)).items():
                self.send_header(name, text.replace("{server}", server.url))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # http.server calls them so

        def log_message(self, format: str, *words: object) -> None:
            """Says nothing."""

    return Handler
