"""HTTP functions of the local host."""

import json
import urllib.error
import urllib.request
from http.client import HTTPConnection

import pytest

APP = """
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
@app.route("items/{id:int}", methods=["GET", "POST"])
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
@app.queue_output(arg_name="out", queue_name="%Out%", connection="Storage")
def Queue(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set(req.get_json()["text"])
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
        ("GET", "/api/items/x"),
        ("PUT", "/api/items/7"),
        ("GET", "/items/7"),
    ]:
        assert _ask(method, url + path)[0] == 404


def test_a_text_is_a_page_and_an_exception_an_empty_error(url):
    assert _ask("DELETE", f"{url}/api/OPEN")[::2] == (200, b"open")
    assert _ask("GET", f"{url}/api/broken")[::2] == (500, b"")


def test_outputs_are_written_before_the_answer(url, sample):
    assert _ask("POST", f"{url}/api/queue", b'{"text": "hello"}')[0] == 204
    assert sample.contents("out") == ["hello"]


def test_with_a_key_only_anonymous_functions_are_open(sample):
    url = _url(sample.write(APP).host("--function-key", "secret").start())
    assert _ask("GET", f"{url}/api/items/7")[0] == 401
    assert _ask("GET", f"{url}/api/items/7?code=wrong")[0] == 401
    assert _ask("GET", f"{url}/api/items/7?code=secret")[0] == 202
    assert _ask("GET", f"{url}/api/items/7", **{"x-functions-key": "secret"})[0] == 202
    assert _ask("GET", f"{url}/api/open")[0] == 200


def test_the_prefix_of_host_json_is_used(sample):
    sample.write(APP)
    (sample.folder / "host.json").write_text('{"extensions": {"http": {"routePrefix": ""}}}', encoding="utf-8")
    line = sample.host().start().wait_for("Ready:")
    url = line[line.index("http://") :].split("/open")[0]
    assert _ask("GET", f"{url}/open")[0] == 200


def test_a_port_in_use_is_told_in_a_sentence(sample, url):
    port = url.rsplit(":", 1)[1]
    text = sample.fails_to_start("--port", port)
    assert text.startswith(f"error: Port {port} can't be used for HTTP: ")


def test_a_body_without_a_known_length_is_refused(url):
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/api/items/7")
    connection.putheader("Transfer-Encoding", "chunked")
    # The refusal comes by the headers alone: whoever was still sending a body would find the line cut.
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, b"Content-Length" in answer.read()) == (413, True)
    connection.close()
