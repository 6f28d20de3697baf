"""Projects over HTTP: what is told of them, and to whom."""

from __future__ import annotations

import csv
import io

import pytest

from shared.composition import Composition
from tests.cli.commands import DIE1, Cli, write_csv
from tests.web.conftest import Call

PROJECTS = "/api/v1/projects"


def acronyms(call: Call, who: str, query: str = "") -> list[str]:
    return [each["acronym"] for each in call("GET", f"{PROJECTS}{query}", who=who).json["items"]]


def test_a_list_says_how_each_project_stands(call: Call, spent: Composition) -> None:
    page = call("GET", PROJECTS, who="viewer").json
    assert (page["count"], page["unknown"], page["next_cursor"]) == (3, 0, None)
    die1 = page["items"][0]
    assert (die1["acronym"], die1["known"]) == ("DIE1", "current")
    assert (die1["amount"], die1["spent"], die1["currency"], die1["percent"]) == ("12500", "31.005", "CAD", "0.24804")
    assert (die1["period_start"], die1["period_end"], die1["missing"]) == ("2026-04-01", "2027-03-31", [])
    (total,) = page["totals"]
    assert total == {"currency": "CAD", "projects": 2, "amount": "15500", "used": "41.005"}


def test_contacts_see_their_own_projects_and_nothing_of_others(call: Call, spent: Composition) -> None:
    assert acronyms(call, "contact") == ["DIE1"]
    assert acronyms(call, "other") == ["EAU"]
    assert acronyms(call, "somebody") == []
    assert call("GET", PROJECTS, who="contact").json["totals"][0]["amount"] == "12500"
    for path in ("", "/costs", "/mails", "/decisions"):
        assert call("GET", f"{PROJECTS}/die1{path}", who="contact").status == 200
        refused = call("GET", f"{PROJECTS}/DIE1{path}", who="other")
        unknown = call("GET", f"{PROJECTS}/NOBODY{path}", who="other")
        assert (refused.status, unknown.status) == (404, 404)
        assert refused.json["detail"] == unknown.json["detail"].replace("NOBODY", "DIE1")


def test_a_list_is_filtered_sorted_and_paged(call: Call, spent: Composition) -> None:
    assert acronyms(call, "viewer", "?search=eau") == ["EAU"]
    assert acronyms(call, "viewer", "?sort=spent") == ["DIE1", "EAU", "BARE"]
    first = call("GET", f"{PROJECTS}?sort=acronym&limit=2", who="viewer").json
    assert [each["acronym"] for each in first["items"]] == ["BARE", "DIE1"]
    assert acronyms(call, "viewer", f"?sort=acronym&limit=2&cursor={first['next_cursor']}") == ["EAU"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?cursor=nonsense", "is no cursor of a list"),
        ("?limit=0", "greater than or equal to 1"),
        ("?sort=price", "Input should be 'id'"),
        ("?over=many", "valid integer"),
    ],
)
def test_what_can_t_be_asked_is_refused_in_a_sentence(call: Call, spent: Composition, query: str, said: str) -> None:
    answer = call("GET", f"{PROJECTS}{query}", who="viewer")
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.json["detail"]


def test_a_project_says_what_the_command_line_says(call: Call, cli: Cli, spent: Composition) -> None:
    cli("budgets", "set", "DIE1", "15000", "--reason", "granted")
    shown, said = cli("projects", "show", "DIE1", "--json").json, call("GET", f"{PROJECTS}/11", who="contact").json
    same = (
        "id", "acronym", "name", "budget", "carried", "stopped", "amount", "currency", "rollover", "spent", "allocated",
        "percent", "opening_balance", "used_up_on", "period_start", "period_end", "owner", "lock", "active", "missing",
        "language", "contacts", "thresholds", "alerts", "problem",
    )  # fmt: skip
    assert {name: said[name] for name in same} == {name: shown[name] for name in same}
    assert [(each["number"], each["budget"], each["reason"]) for each in said["revisions"]] == [
        (1, "12500", "loaded"),
        (2, "15000", "granted"),
    ]


@pytest.mark.parametrize("by", ["service", "day", "month", "sub-account"])
def test_costs_are_those_of_the_command_line(call: Call, cli: Cli, spent: Composition, by: str) -> None:
    shown = cli("costs", "DIE1", "--by", by, "--json").json
    said = call("GET", f"{PROJECTS}/DIE1/costs?by={by}", who="contact").json
    assert (said["totals"], said["first_day"], said["last_day"]) == (
        shown["totals"],
        shown["first_day"],
        shown["last_day"],
    )
    assert [each["cost"] for each in said["items"]] == [each["cost"] for each in shown["costs"]]


def test_costs_of_days_that_can_t_be_are_refused(call: Call, spent: Composition) -> None:
    answer = call("GET", f"{PROJECTS}/DIE1/costs?from=2026-13-01", who="contact")
    assert answer.status == 422
    assert "2026-13-01" in answer.json["detail"]


def test_who_knows_what_a_list_says_is_told_that_it_is_so_still(call: Call, cli: Cli, spent: Composition) -> None:
    first = call("GET", PROJECTS, who="viewer")
    again = call("GET", PROJECTS, who="viewer", headers={"If-None-Match": f"W/{first.headers['etag']}"})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    cli("budgets", "set", "DIE1", "15000", "--reason", "granted")
    assert call("GET", PROJECTS, who="viewer", headers={"If-None-Match": first.headers["etag"]}).status == 200
    assert first.headers["cache-control"] == "private, no-cache"


def test_a_list_comes_as_csv_for_who_asks_and_no_cell_is_a_formula(call: Call, cli: Cli, spent: Composition) -> None:
    cli("projects", "load", write_csv(DIE1.replace("Data innovation", "=1+2")))
    answer = call("GET", PROJECTS, who="viewer", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(row["acronym"], row["spent"]) for row in rows] == [("DIE1", "31.005"), ("EAU", "10"), ("BARE", "0")]
    assert rows[0]["name"] == "'=1+2"
    as_json = call("GET", PROJECTS, who="viewer", headers={"Accept": "application/json, text/csv"})
    assert as_json.json["count"] == 3
