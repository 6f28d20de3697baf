"""HTTP functions of the local host."""

import json
import logging
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from localdev.functions_host.activity import Activity
from localdev.http import LoopbackServer, text_answer

APP = """
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
@app.route("items/{id}", methods=["GET", "POST"])
def Items(req: func.HttpRequest) -> func.HttpResponse:
    body = {"method": req.method, "id": req.route_params["id"], "query": dict(req.params),
            "header": req.headers.get("X-Test"), "body": req.get_body().decode()}
    return func.HttpResponse(__import__("json").dumps(body), status_code=202, mimetype="application/json",
                             headers={"Set-Cookie": "a=1; Path=/"})

@app.route("open", auth_level=func.AuthLevel.ANONYMOUS)
def Open(req: func.HttpRequest) -> str:
    return "open"

@app.route("broken")
def Broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("broken")

@app.route("queue", methods=["POST"])
def Queue(req: func.HttpRequest) -> func.HttpResponse:
    send("Out", req.get_json()["text"])
    return func.HttpResponse(status_code=204)
"""


def _url(host) -> str:
    line = host.wait_for("Ready:")
    return line[line.index("http://") :].split("/api")[0]


def _ask(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


@pytest.fixture
def url(sample) -> str:
    return _url(sample.write(APP).host().start())


def test_a_function_gets_method_route_query_headers_and_body(url):
    status, headers, body = _ask("POST", f"{url}/api/items/7?a=b%20c&e=", "é".encode(), **{"X-Test": "yes"})
    assert status == 202
    assert headers["content-type"] == "application/json"
    assert headers["Set-Cookie"] == "a=1; Path=/"
    assert json.loads(body) == {
        "method": "POST",
        "id": "7",
        "query": {"a": "b c", "e": ""},
        "header": "yes",
        "body": "é",
    }


def test_what_no_route_takes_is_not_found(url):
    for method, path in [
        ("GET", "/api/nothing"),
        ("GET", "/api/items/x/y"),
        ("PUT", "/api/items/7"),
        ("GET", "/items/7"),
    ]:
        assert _ask(method, url + path)[0] == 404


def test_a_text_is_a_page_and_an_exception_an_empty_error(url):
    assert _ask("DELETE", f"{url}/api/OPEN")[::2] == (200, b"open")
    assert _ask("GET", f"{url}/api/broken")[::2] == (500, b"")


def test_with_a_key_only_anonymous_functions_are_open(sample):
    url = _url(sample.write(APP).host("--function-key", "secret").start())
    assert _ask("GET", f"{url}/api/items/7")[0] == 401
    assert _ask("GET", f"{url}/api/items/7?code=wrong")[0] == 401
    assert _ask("GET", f"{url}/api/items/7?code=secret")[0] == 202
    assert _ask("GET", f"{url}/api/items/7", **{"x-functions-key": "secret"})[0] == 202
    assert _ask("GET", f"{url}/api/open")[0] == 200


def test_the_prefix_of_host_json_is_used(sample):
    sample.write(APP)
    (sample.folder / "host.json").write_text(
        '{"extensions": {"http": {"routePrefix": ""}, "queues": {"messageEncoding": "none"}}}', encoding="utf-8"
    )
    line = sample.host().start().wait_for("Ready:")
    url = line[line.index("http://") :].split("/open")[0]
    assert _ask("GET", f"{url}/open")[0] == 200


def test_a_port_in_use_is_told_in_a_sentence(sample, url):
    port = url.rsplit(":", 1)[1]
    text = sample.fails_to_start("--port", port)
    assert text.startswith(f"error: Port {port} can't be used for HTTP: ")


def _raw(url: str, *pieces: bytes, finish: bool = False) -> bytes:
    """What is answered to these very bytes, until the line is closed. finish: we say that no more is coming."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        for piece in pieces:
            line.sendall(piece)
        if finish:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        while more := line.recv(65536):
            answer += more
    return answer


def _post(*headers: str, path: str = "/api/items/7") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _content(answer: bytes) -> dict[str, str]:
    assert answer.startswith(b"HTTP/1.1 202"), answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_body_without_a_known_length_is_refused(url):
    # The refusal comes by the headers alone: whoever was still sending a body would find the line cut.
    answer = _raw(url, _post("Transfer-Encoding: chunked"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Content-Length" in answer.partition(b"\r\n\r\n")[2]


def test_a_body_that_is_not_all_there_reaches_no_function(url):
    answer = _raw(url, _post("Content-Length: 5"), b"abc", finish=True)
    assert answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Content-Length: -1"], 400),
        (["Content-Length: \xb2"], 400),
        (["Content-Length: +1"], 400),
        (["Content-Length: 1", "Content-Length: 3"], 400),
        (["Content-Length: 3, 3"], 400),
        (["Content-Length: 104857601"], 413),
        (["Transfer-Encoding: chunked", "Content-Length: 3"], 413),
    ],
)
def test_a_body_of_no_length_or_too_large_a_one_is_refused_before_it_comes(url, headers, status):
    # Without the body: the line is cut with the refusal, and what was sent meanwhile would cut off the answer too.
    answer = _raw(url, _post(*headers))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer


def test_an_address_that_can_not_be_read_is_not_found(url):
    assert _raw(url, _post(path="//[/api/items/7")).startswith(b"HTTP/1.1 404 ")


def test_a_header_or_a_question_that_comes_twice_arrives_as_both(url):
    """The host hands on StringValues.ToString(), which puts commas between them."""
    content = _content(_raw(url, _post("X-Test: one", "x-test: two", path="/api/items/7?a=1&a=2")))
    assert (content["header"], content["query"]) == ("one,two", {"a": "1,2"})


def test_of_two_keys_the_headers_counts_and_else_the_first(sample):
    """As in the host's AuthenticationLevelHandler."""
    url = _url(sample.write(APP).host("--function-key", "secret").start())
    assert _ask("GET", f"{url}/api/items/7?code=secret", **{"x-functions-key": "wrong"})[0] == 401
    assert _ask("GET", f"{url}/api/items/7?code=wrong", **{"x-functions-key": "secret"})[0] == 202
    assert _ask("GET", f"{url}/api/items/7?code=secret&code=wrong")[0] == 202
    assert _ask("GET", f"{url}/api/items/7?code=wrong&code=secret")[0] == 401
    assert _ask("GET", f"{url}/api/items/7?code=%FF%00")[0] == 401


@pytest.fixture
def empty() -> Iterator[LoopbackServer]:
    """A server that finds nothing, in this process."""
    server = LoopbackServer(lambda _request: text_answer(404))
    server.start()
    yield server
    server.stop()


def test_many_callers_at_once_are_all_taken_within_a_second(empty):
    # A caller who finds no place in the queue tries again after a second.
    begun = time.monotonic()
    with ThreadPoolExecutor(60) as pool:
        answers = [*pool.map(lambda _: _raw(empty.url, _post("Content-Length: 0")), range(60))]
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 404"}
    assert time.monotonic() - begun < 1


def test_the_key_is_not_in_the_log(empty, caplog):
    with caplog.at_level(logging.DEBUG):
        _raw(empty.url, _post("Content-Length: 0", path="/api/items/7?a=b&code=secret"))
    assert "/api/items/7?… HTTP/1.1" in caplog.text
    assert "secret" not in caplog.text


def test_whoever_says_nothing_for_long_is_left():
    activity = Activity()
    server = LoopbackServer(lambda _request: text_answer(404), 0, activity.work, patience=0.2)
    server.start()
    try:
        assert _raw(server.url, b"POST /api/items/7 HTTP/1.1\r\nHost: h") == b""
        assert _raw(server.url, _post("Content-Length: 5"), b"ab") == b""
        assert activity.wait_until_idle(5)
    finally:
        server.stop()
