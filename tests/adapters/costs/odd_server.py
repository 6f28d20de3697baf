"""A loopback server that gives the answers it was told to give, in turn: for those that no simulator would give."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

COLUMNS = ("Cost", "ResourceGroupName", "UsageDate", "ServiceName", "Currency")


@dataclass
class Answer:
    """What to answer; `{server}` in the body stands for the server's own URL."""

    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    path: str
    headers: dict[str, str]
    body: bytes


class OddServer:
    """Answers every POST with the next answer, and then with the last one again."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._answers: list[Answer] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def will_answer(self, *answers: Answer) -> None:
        self._answers = list(answers)

    def next_answer(self) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def page(rows: Sequence[Sequence[Any]] | str, link: str | None = None, columns: Sequence[str] = COLUMNS) -> Answer:
    """A good page, with rows as values or as JSON text."""
    text = rows if isinstance(rows, str) else json.dumps(rows)
    named = json.dumps([{"name": name, "type": "String"} for name in columns])
    return Answer(f'{{"properties":{{"nextLink":{json.dumps(link)},"columns":{named},"rows":{text}}}}}')


def _handler(server: OddServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one piece; in two, each answer waits 40 ms for the other side's acknowledgement.
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.seen.append(Seen(self.path, dict(self.headers), body))
            answer = server.next_answer()
            content = answer.body.replace("{server}", server.url).encode()
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(content))} | dict(answer.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *words: object) -> None:
            """Says nothing."""

    return Handler
