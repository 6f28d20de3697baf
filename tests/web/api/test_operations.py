"""What operators and viewers see over HTTP."""

from __future__ import annotations

from datetime import date

from shared.composition import Composition
from shared.messages import Queue
from tests.cli.commands import FIRST, Cli, night, spend_unowned
from tests.web.conftest import Call


def items(call: Call, path: str, who: str = "viewer") -> list:
    answer = call("GET", f"/api/v1/{path}", who=who)
    assert answer.status == 200, answer.body
    return answer.json["items"]


def test_cloud_accounts_are_told_without_what_signs_in(call: Call, spent: Composition) -> None:
    found = items(call, "cloud-accounts")
    assert [each["connection_type"] for each in found] == ["COST_MANAGEMENT"] * len(found)
    one = call("GET", f"/api/v1/cloud-accounts/{found[0]['id']}", who="viewer").json
    assert one["sub_accounts"] == [found[0]["external_account_id"]]
    assert not {"credentials", "external_id", "role_arn"} & one.keys()


def test_runs_and_what_they_could_not_read_are_told(call: Call, spent: Composition) -> None:
    night(spent)
    (run,) = [each for each in items(call, "runs") if each["trigger"] == "timer"]
    assert call("GET", f"/api/v1/runs/{run['key']}", who="viewer").json["scopes"] == run["scopes"]
    assert call("GET", "/api/v1/runs/night-1999", who="viewer").status == 404


def test_dead_letters_are_for_operators(call: Call, spent: Composition) -> None:
    letter, _ = spent.letters.record(Queue.UPDATE, '{"ProjectId": 99}', "no such project", "1", spent.clock())
    assert call("GET", "/api/v1/dead-letters", who="viewer").status == 403
    (told,) = items(call, "dead-letters", "operator")
    assert (told["id"], told["body"], told["reason"]) == (letter, '{"ProjectId": 99}', "no such project")
    assert call("GET", f"/api/v1/dead-letters/{letter}", who="operator").json == told


def test_the_audit_goes_on_from_an_id_and_holds_sign_ins_of_operators(call: Call, cli: Cli, spent: Composition) -> None:
    cli("budgets", "set", "DIE1", "15000", "--reason", "granted")
    found = items(call, "changes", "operator")
    assert [each["action"] for each in found] == ["project-added"] * 3 + ["budget-revised", "signed-in"]
    signed_in = found[-1]
    assert (signed_in["by"], signed_in["by_id"], signed_in["via"]) == ("operator", "id of operator", "api")
    after = items(call, f"changes?after={found[2]['id']}&limit=1", "operator")
    assert [each["action"] for each in after] == ["budget-revised"]
    assert [each["action"] for each in items(call, "changes?project=die1", "operator")] == [
        "project-added",
        "budget-revised",
    ]


def test_what_no_project_owns_and_what_figures_lack_is_told(call: Call, cli: Cli, spent: Composition) -> None:
    spend_unowned(spent, "hub", "7.5", date(2026, 11, 2))
    costs = call("GET", "/api/v1/costs?unallocated=true&by=sub-account", who="viewer").json
    assert (costs["totals"], costs["items"][0]["of"]["sub_account_id"]) == ({"CAD": "7.5"}, FIRST)
    shown = {each["what"] for each in items(call, "coverage")}
    assert shown == {str(gap) for gap, _ in spent.run_service.incomplete().gaps}


def test_the_description_names_every_route_with_its_refusals(call: Call) -> None:
    about = call("GET", "/api/v1/openapi.json", who="somebody").json
    assert about["openapi"].startswith("3.1")
    for path, methods in about["paths"].items():
        for method, said in methods.items():
            assert {"401", "403", "422", "503"} <= said["responses"].keys(), (method, path)
            assert said["summary"]
            assert "404" in said["responses"] or "{" not in path, path
    assert about["components"]["schemas"]["Problem"]["properties"].keys() == {"type", "title", "status", "detail"}
