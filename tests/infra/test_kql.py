"""Alert rules and the workbook: their queries are KQL, and ask for metrics that there are; rules say what to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest

from localdev.azurite import find_node
from shared.ports.telemetry import GAUGES, Metric
from tests.docs import markdown, sources
from tests.infra.of_nothing import row_of_nothing

KQL_CHECK = sources.PROJECT.parent / "shared" / "tools" / "kql-check"
# What Azure takes as the window of a log alert rule, in minutes (terraform-provider-azurerm issue 18886).
WINDOWS = {5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1440, 2880}
ON_ABSENCE = {"warden-no-complete-night"}


@pytest.fixture(scope="session")
def rules(installed) -> dict[str, dict[str, Any]]:
    """The alert rules, by name."""
    found = installed("defaults").of("Microsoft.Insights/scheduledQueryRules")
    return {rule["name"]: rule["properties"] for rule in found}


@pytest.fixture(scope="session")
def queries(rules, installed) -> dict[str, str]:
    """Every query that would be deployed, by what asks it."""
    of_rules = {name: rule["criteria"]["allOf"][0]["query"] for name, rule in rules.items()}
    of_charts = {item["name"]: item["content"]["query"] for item in workbook(installed)["items"] if item["type"] == 3}
    return of_rules | of_charts


def workbook(installed) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(
        installed("defaults").one("Microsoft.Insights/workbooks")["properties"]["serializedData"]
    )
    return data


def test_there_is_a_rule_for_each_thing_that_operators_are_told_from_outside(rules):
    told = {
        "no-complete-night",
        "dead-letters",
        "deliveries-failing",
        "throttled",
        "functions-failing",
        "locking-fails",
    }
    assert set(rules) == {f"warden-{each}" for each in told}


def test_every_query_is_kql_as_microsoft_reads_it(queries, tmp_path):
    if not KQL_CHECK.exists():
        assert not os.environ.get("REQUIRE_KQL_CHECK")
        pytest.skip("Microsoft's check of queries is not beside this project: the queries of infra/ are not checked")
    file = tmp_path / "queries.json"
    file.write_text(json.dumps(queries), "utf-8")
    done = subprocess.run([find_node().program, KQL_CHECK, "--json", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} queries read" in done.stdout


def test_every_query_of_infra_is_deployed(queries):
    files = sorted((sources.PROJECT / "infra" / "queries").rglob("*.kql"))
    assert sorted(queries.values()) == sorted(file.read_text("utf-8") for file in files)


def test_the_queries_ask_for_metrics_that_the_app_has(queries):
    asked = {name for query in queries.values() for name in re.findall(r"'(warden\.[\w.]+\w)'", query)}
    assert len(asked) > 5
    assert asked <= set(Metric)
    assert GAUGES & asked == {Metric.NIGHT_AGE}, "its last value counts; of all others a sum is asked for"


def test_where_there_is_no_data_the_rule_on_absence_fires_and_no_other(rules, queries):
    assert {name for name in rules if row_of_nothing(queries[name]) is not None} == ON_ABSENCE


@pytest.mark.parametrize(
    ("query", "speaks"),
    [
        ("requests | summarize n = count() | where n == 0", True),
        ("requests | count | where Count == 0", True),
        ("requests | summarize newest = max(timestamp) | where coalesce(newest, 0) < 26", True),
        ("requests | summarize newest = max(timestamp) | where newest < 26", False),
        ("requests | summarize n = count() | where n > 0", False),
        ("requests | summarize n = count() by name | where n == 0", False),
        ("requests | where success == false", False),
        ("union (requests | project n = 1), (traces | project n = 1) | summarize n = sum(n) | where n == 0", True),
    ],
)
def test_what_queries_say_of_nothing_is_known(query, speaks):
    assert (row_of_nothing(query) is not None) is speaks


def test_a_query_that_is_not_understood_is_an_error():
    with pytest.raises(ValueError, match="not understood"):
        row_of_nothing("requests | summarize n = count() | mv-expand n")


def test_every_rule_is_what_azure_takes(rules):
    for rule in rules.values():
        assert minutes(rule["windowSize"]) in WINDOWS
        assert rule["evaluationFrequency"] == "PT1H"
        assert minutes(rule["windowSize"]) >= 60
        assert rule["severity"] in range(5)
        (criterion,) = rule["criteria"]["allOf"]
        assert criterion["operator"] in ("Equals", "GreaterThan", "GreaterThanOrEqual", "LessThan", "LessThanOrEqual")
        # The two exclude each other.
        assert rule["autoMitigate"] is True
        assert "muteActionsDuration" not in rule


def minutes(duration: str) -> int:
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(\d+)H)?", duration)
    assert found, duration
    return int(found[1] or 0) * 1440 + int(found[2] or 0) * 60


def test_a_rule_sees_as_much_of_the_past_as_its_query_asks_for(rules, queries):
    assert minutes(rules["warden-no-complete-night"]["windowSize"]) > 26 * 60
    assert "> 26" in queries["warden-no-complete-night"]


def test_every_rule_asks_application_insights_and_tells_the_operators(rules, installed):
    made = installed("defaults")
    insights = made.one("Microsoft.Insights/components")["id"]
    group = made.one("Microsoft.Insights/actionGroups")
    for rule in rules.values():
        assert rule["scopes"] == [insights]
        assert rule["actions"]["actionGroups"] == [group["id"]]
    assert [each["emailAddress"] for each in group["properties"]["emailReceivers"]] == [
        "ops@example.com",
        "on.call@example.com",
    ]


def test_every_rule_names_the_chapter_of_the_run_book_that_is_about_it(rules):
    for rule in rules.values():
        page, _, chapter = rule["description"].rpartition(": ")[2].partition("#")
        assert chapter in markdown.headings(sources.read(page)), rule["description"]


def test_the_workbook_shows_each_chart_of_the_app_in_the_time_that_is_chosen(installed):
    items = workbook(installed)["items"]
    (parameters,) = [item for item in items if item["type"] == 9]
    (chosen,) = parameters["content"]["parameters"]
    charts = [item["content"] for item in items if item["type"] == 3]
    assert len(charts) == 6
    insights = installed("defaults").one("Microsoft.Insights/components")["id"]
    for chart in charts:
        assert chart["timeContextFromParameter"] == chosen["name"]
        assert chart["crossComponentResources"] == [insights]


def test_the_workbooks_name_is_a_guid(installed):
    name = installed("defaults").one("Microsoft.Insights/workbooks")["name"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)
