"""What holds for every answer, and who may call which route."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter

from shared import settings
from shared.composition import Composition
from shared.web import app as web
from shared.web.guard import ANYBODY, Guarded, is_own, who_may
from shared.web.signin import PRINCIPAL, Role, SignIn
from tests.web.conftest import HOST, Call, signed_in

# Each route and method, and who is let in; of those open to anybody, what one without a token gets.
OPEN = {
    ("POST", "/finops/api/sync"): 403,
    ("GET", "/finops/api/sync/status"): 200,
    ("GET", "/api/cron/sync-aws-costs"): 401,
    ("GET", "/finops/static/{name}"): 404,
}
GUARDED = {
    ("POST", "/api/cloud-accounts/{cloud_account_id}/sync"): "operator",
    ("GET", "/api/v1/projects"): "signed_in",
    ("GET", "/api/v1/projects/{project}"): "signed_in",
    ("GET", "/api/v1/projects/{project}/costs"): "signed_in",
    ("GET", "/api/v1/projects/{project}/mails"): "signed_in",
    ("GET", "/api/v1/projects/{project}/decisions"): "signed_in",
    ("GET", "/api/v1/openapi.json"): "signed_in",
    ("GET", "/api/v1/costs"): "viewer",
    ("GET", "/api/v1/decisions"): "viewer",
    ("GET", "/api/v1/mails"): "viewer",
    ("GET", "/api/v1/cloud-accounts"): "viewer",
    ("GET", "/api/v1/cloud-accounts/{cloud_account_id}"): "viewer",
    ("GET", "/api/v1/exports/runs"): "viewer",
    ("GET", "/api/v1/exports/feeds"): "viewer",
    ("GET", "/api/v1/runs"): "viewer",
    ("GET", "/api/v1/runs/{key}"): "viewer",
    ("GET", "/api/v1/coverage"): "viewer",
    ("GET", "/api/v1/dead-letters"): "operator",
    ("GET", "/api/v1/dead-letters/{letter_id}"): "operator",
    ("GET", "/api/v1/changes"): "operator",
    ("POST", "/api/v1/projects/{project}/budget"): "operator",
    ("POST", "/api/v1/projects/{project}/lock"): "operator",
    ("POST", "/api/v1/projects/{project}/unlock"): "operator",
    ("POST", "/api/v1/dead-letters/{letter_id}/replay"): "operator",
    ("POST", "/api/v1/dead-letters/{letter_id}/discard"): "operator",
    ("POST", "/api/v1/runs"): "operator",
    ("POST", "/finops/projects/{project}/budget"): "operator",
    ("POST", "/finops/projects/{project}/{action}"): "operator",
    ("POST", "/finops/projects/{project}/sync"): "operator",
    ("POST", "/finops/accounts/{cloud_account_id}/sync"): "operator",
    ("POST", "/finops/dead-letters/{letter_id}/replay"): "operator",
    ("POST", "/finops/dead-letters/{letter_id}/discard"): "operator",
    ("GET", "/finops"): "signed_in",
    ("GET", "/finops/projects/{project}"): "signed_in",
    ("GET", "/finops/{path:path}"): "signed_in",
    ("GET", "/finops/accounts"): "viewer",
    ("GET", "/finops/imports"): "viewer",
    ("GET", "/finops/unallocated"): "viewer",
    ("GET", "/finops/runs"): "viewer",
    ("GET", "/finops/dead-letters"): "operator",
    ("GET", "/finops/changes"): "operator",
    ("GET", "/finops/settings"): "operator",
}
RANKS = ("nobody", "signed_in", "viewer", "operator")
WHO = {"nobody": "nobody", "somebody": "signed_in", "viewer": "viewer", "operator": "operator"}
UNKNOWN = re.compile(r"\{[\w:]+\}")


def routes() -> Iterator[tuple[str, Guarded]]:
    for route in web.every_route():
        assert isinstance(route, Guarded)
        for method in sorted(route.methods):
            yield method, route


def test_every_route_says_who_may_call_it_and_none_is_missing_here(environment: dict[str, str]) -> None:
    assert len(web.routes(Composition(settings.load())).routes) == len(web.ROUTERS)
    found = {(method, route.path): who_may(route.endpoint) for method, route in routes()}
    assert {key for key, who in found.items() if who == ANYBODY} == set(OPEN)
    assert {key: who.name.lower() for key, who in found.items() if who != ANYBODY} == GUARDED


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_walk_through_all_routes_lets_in_whom_they_name_and_nobody_else(call: Call, who: str, slash: str) -> None:
    for (method, path), least in GUARDED.items():
        answer = call(method, UNKNOWN.sub("99", path) + slash, who=who)
        is_let_in, found = RANKS.index(WHO[who]) >= RANKS.index(least), 404 if "{" in path else 200
        if is_let_in and method == "POST":
            # Without a body, or a form's token.
            assert answer.status in (403 if path.startswith("/finops") else 404, 422), (method, path, answer.body)
            assert b"has no role" not in answer.body
            continue
        assert answer.status == (found if is_let_in else 401 if who == "nobody" else 403), (method, path, answer.body)
    for (method, path), status in OPEN.items():
        assert call(method, path + slash, who=who).status == status, (method, path)


def test_a_route_that_does_not_say_who_may_call_it_keeps_the_app_from_starting(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgotten() -> None:
        """Nobody said."""

    router = APIRouter(route_class=Guarded)
    router.add_api_route("/forgotten", forgotten)
    monkeypatch.setattr(web, "ROUTERS", (*web.ROUTERS, router))
    with pytest.raises(TypeError, match="does not say who may call it"):
        web.routes(Composition(settings.load()))


def test_a_sign_in_counts_only_where_azure_says_that_it_is_on(call: Call, environment: dict[str, str]) -> None:
    header = signed_in("operator")
    assert SignIn(True, "Warden.Operator", "Warden.Viewer").who(header).role is Role.OPERATOR
    assert SignIn(False, "Warden.Operator", "Warden.Viewer").who(header).role is Role.NOBODY
    loaded = settings.load()
    for instance, said, trusted in (
        ("a", "True", True), ("a", "true", True), ("a", "False", False), ("a", None, False), (None, "True", False)
    ):  # fmt: skip
        assert loaded.model_copy(update={"azure_instance": instance, "auth_enabled": said}).signs_in is trusted


@pytest.mark.parametrize(
    "said",
    [
        "", "no base64!", base64.b64encode(b"no json").decode(), base64.b64encode(b"[1]").decode(),
        base64.b64encode(b'{"userRoles": ["Warden.Operator"]}').decode(),
        base64.b64encode(b'{"claims": [{"typ": "roles"}]}').decode(),
        base64.b64encode(b"[" * 40_000).decode(), base64.b64encode(b'{"claims": {"a": 1}}').decode(),
        "A" * 100_000,
    ],
)  # fmt: skip
def test_a_header_of_another_form_is_nobody(said: str) -> None:
    assert SignIn(True, "o", "v").who({PRINCIPAL: said}).role is Role.NOBODY


def test_only_addresses_that_entra_vouches_for_are_somebodys() -> None:
    def addresses(*claims: tuple[str, str]) -> set[str]:
        said = {"claims": [{"typ": kind, "val": value} for kind, value in claims]}
        header = {PRINCIPAL: base64.b64encode(json.dumps(said).encode()).decode()}
        return set(SignIn(True, "o", "v").who(header).addresses)

    ann = ("preferred_username", "Ann@Example.com")
    assert addresses(ann) == {"ann@example.com"}
    assert addresses(ann, ("verified_primary_email", "a@b.ca"), ("verified_secondary_email", " É@b.ca ")) == {
        "ann@example.com",
        "a@b.ca",
        "é@b.ca",
    }
    # Anybody's tenant can write any address there.
    assert addresses(("email", "boss@example.com")) == set()
    assert addresses(("email", "boss@example.com"), ("xms_edov", "false")) == set()
    assert addresses(("email", "boss@example.com"), ("xms_edov", "1")) == {"boss@example.com"}
    assert addresses(("preferred_username", "no address"), ("name", "ann@example.com")) == set()


def test_roles_are_found_by_the_name_that_the_header_says_and_by_azures_own() -> None:
    def who(kind: str, value: str, role_kind: str) -> Role:
        said = {"claims": [{"typ": kind, "val": value}], "role_typ": role_kind}
        return (
            SignIn(True, "Warden.Operator", "Warden.Viewer")
            .who({PRINCIPAL: base64.b64encode(json.dumps(said).encode()).decode()})
            .role
        )

    uri = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
    assert who("my-roles", "Warden.Viewer", "my-roles") is Role.VIEWER
    assert who(uri, "Warden.Operator", "other") is who("roles", "Warden.Operator", uri) is Role.OPERATOR
    assert who("groups", "Warden.Operator", "roles") is who("roles", "warden.operator", "roles") is Role.SIGNED_IN


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin, cross-site"}, False),
        ({"origin": f"https://{HOST}", "host": HOST}, True),
        ({"origin": f"https://{HOST.upper()}", "host": HOST}, True),
        ({"origin": "https://evil.example.com", "host": HOST}, False),
        ({"origin": "null", "host": HOST}, False),
        ({"origin": f"https://{HOST}.evil.example.com", "host": HOST}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_change_counts_only_where_no_other_site_has_sent_it(headers: dict[str, str], own: bool) -> None:
    assert is_own(headers) is own


def test_another_site_s_page_can_not_sync_an_account_with_an_operator_s_cookie(call: Call) -> None:
    path = "/api/cloud-accounts/99/sync"
    refused = call("POST", path, who="operator", headers={"Sec-Fetch-Site": "cross-site"})
    assert (refused.status, refused.json["detail"]) == (403, "This was sent by another site.")
    assert call("POST", path, who="operator", headers={"Origin": "https://evil.example.com"}).status == 403
    assert call("POST", path, who="operator", headers={"Origin": f"https://{HOST}"}).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404), ("GET", "/docs", 404), ("GET", "/openapi.json", 404),
        ("GET", "/finops/api/sync", 405), ("POST", "/finops/api/sync/status", 405), ("DELETE", "/x", 404),
        ("GET", "/finops/api/sync/status//", 200), ("GET", "/finops/api/other", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_problem_in_words_without_a_redirect(
    call: Call, method: str, path: str, status: int
) -> None:
    answer = call(method, path)
    assert answer.status == status
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json["status"], answer.json["type"]) == (status, "about:blank")
    if status == 405:
        assert answer.headers["allow"]


def test_every_answer_says_that_nothing_of_it_runs_is_framed_or_kept(call: Call) -> None:
    for answer in (call("GET", "/"), call("GET", "/finops/api/sync/status"), call("POST", "/finops/api/sync")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "max-age" in answer.headers["strict-transport-security"]


def test_head_is_answered_as_get_without_a_body(call: Call) -> None:
    answer = call("HEAD", "/finops/api/sync/status")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("number", ["0", "-1", "1e3", "abc", "9" * 30, "%00", "1/../2"])
def test_an_account_s_number_that_is_none_is_refused_in_words(call: Call, number: str) -> None:
    answer = call("POST", f"/api/cloud-accounts/{number}/sync", who="operator")
    assert answer.status in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_error_that_nobody_foresaw_is_our_500_and_tells_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("secret of the row")

    monkeypatch.setattr("shared.services.export_history.ExportHistory.summary", fails)
    answer = call("GET", "/finops/api/sync/status")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert b"secret" not in answer.body
    assert "page_failed path=/finops/api/sync/status reason=ZeroDivisionError at=test_app.py" in caplog.text
    assert "secret" not in caplog.text
