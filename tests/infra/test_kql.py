"""Alert rules and the workbook: their queries are KQL, and ask for metrics that there are; rules say what to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localdev.azurite import find_node
from shared.ports.telemetry import GAUGES, Metric
from tests.docs import markdown, sources
from tests.infra.kql import Row, Tables, answer

KQL_CHECK = sources.PROJECT.parent / "shared" / "tools" / "kql-check"
# What Azure takes as the window of a log alert rule, in minutes (terraform-provider-azurerm issue 18886).
WINDOWS = {5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1440, 2880}
ON_ABSENCE = {"warden-no-complete-night"}
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


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
    assert {name for name in rules if answer(queries[name], {}, NOW)} == ON_ABSENCE


def metric(name: Metric, *values: float, minutes_ago: int = 30, **dimensions: str) -> list[Row]:
    """A row for each value, as an instance sends them once a minute."""
    at = NOW - timedelta(minutes=minutes_ago)
    about = {"name": name.value, "timestamp": at, "customDimensions": dimensions}
    return [about | {"value": each, "valueSum": each, "valueMax": each} for each in values]


def waits(seconds: int, *minutes_ago: int) -> Tables:
    return {
        "customMetrics": [row for at in minutes_ago for row in metric(Metric.THROTTLE_WAIT, seconds, minutes_ago=at)]
    }


def delivered(taken: int = 0, refused: int = 0, refused_for_now: int = 0) -> Tables:
    outcomes = {"taken": taken, "refused": refused, "refused_for_now": refused_for_now}
    return {"customMetrics": [metric(Metric.DELIVERIES, n, outcome=each)[0] for each, n in outcomes.items() if n]}


def put_back(*minutes_ago: int) -> Tables:
    rows = [metric(Metric.LOCK_ERRORS, 1, minutes_ago=at, outcome="put_back")[0] for at in minutes_ago]
    return {"customMetrics": rows}


def calls(times: int, function: str = "ProjectUsageUpdater", code: str = "0", success: bool = False) -> Tables:
    return {"requests": [{"operation_Name": function, "resultCode": code, "success": success}] * times}


def span(name: str, success: bool) -> Tables:
    return {"dependencies": [{"name": name, "success": success, "timestamp": NOW}]}


GIVEN_UP = "Message has reached MaxDequeueCount of 5. Moving message to queue 'project-lock-poison'."
OTHERS = {"customMetrics": metric(Metric.ALERTS, 1_000_000), "traces": [{"message": "Executed ProjectUsageUpdater"}]}
FIRES: dict[str, list[Tables]] = {
    "no-complete-night": [
        {"customMetrics": metric(Metric.NIGHT_AGE, 26.1, minutes_ago=0)},
        {"customMetrics": metric(Metric.NIGHT_AGE, 30.0, 26.0, minutes_ago=5)},
        # The app has said nothing since.
        {"customMetrics": metric(Metric.NIGHT_AGE, 2.0, minutes_ago=25 * 60)},
        OTHERS,
    ],
    "dead-letters": [
        {"customMetrics": metric(Metric.DEAD_LETTERS, 1, queue="project-lock")},
        {"traces": [{"message": GIVEN_UP}]},
    ],
    "deliveries-failing": [
        delivered(refused=1),
        delivered(taken=4, refused=1),
        delivered(refused_for_now=3),
        delivered(taken=4, refused=1, refused_for_now=100),
    ],
    "throttled": [waits(17, 115, 90, 70, 45, 20), waits(1800, 119, 89, 59, 29), waits(7200, 110)],
    "functions-failing": [calls(3), calls(3, "Health", "500")],
    "locking-fails": [
        {"customMetrics": metric(Metric.LOCK_ERRORS, 1, outcome="failed")},
        put_back(110, 80, 50, 20),
        span("ProjectLockHandler", False),
        span("BudgetAlert", False),
    ],
}
RESTS: dict[str, list[Tables]] = {
    "no-complete-night": [
        {"customMetrics": metric(Metric.NIGHT_AGE, 26.0, minutes_ago=0)},
        # An instance that says less is right: it has seen the newer night.
        {"customMetrics": metric(Metric.NIGHT_AGE, 27.0, 1.0)},
    ],
    "dead-letters": [OTHERS],
    "deliveries-failing": [
        delivered(taken=100),
        delivered(taken=9, refused=2),
        delivered(refused_for_now=2),
        # Over the provider's hourly limit, all night.
        delivered(taken=200, refused_for_now=900),
        OTHERS,
    ],
    "throttled": [waits(17, 115, 90, 70, 45), waits(17, 4, 3, 2, 1), waits(1800, 119, 10), waits(7200, 2), OTHERS],
    "functions-failing": [
        calls(2),
        calls(9, success=True),
        calls(9, "BudgetAlert", "401"),
        calls(9, "Health", "503"),
        {"requests": [*calls(2)["requests"], *calls(2, "ProjectLockHandler")["requests"]]},
    ],
    "locking-fails": [
        # Azure has asked to wait, and was asked again.
        put_back(60, 58, 50),
        put_back(20, 20, 20, 20, 20),
        span("ProjectLockHandler", True),
        span("EmailNotificationHandler", False),
        OTHERS,
    ],
}


@pytest.mark.parametrize(("rule", "fires"), [(rule, fires) for fires in (FIRES, RESTS) for rule in fires])
def test_a_rule_fires_where_it_should_and_only_there(queries, rule, fires):
    query = queries[f"warden-{rule}"]
    wrong = [given for given in fires[rule] if bool(answer(query, given, NOW)) is (fires is RESTS)]
    assert wrong == []


def test_rules_ask_for_functions_that_there_are(queries):
    named = {
        name
        for each in re.findall(r"name in \(([^)]*)\)", queries["warden-locking-fails"])
        for name in each.split(", ")
    }
    assert {name.strip("'") for name in named} == {"ProjectLockHandler", "BudgetAlert"} & set(sources.triggers())


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
    assert bool(answer(query, {}, NOW)) is speaks


@pytest.mark.parametrize(
    "query",
    [
        "requests | summarize n = count() | mv-apply n",
        "requests | summarize n = stdev(n)",
        "requests | where n > 1 n",
        "requests | where strlen(n) > 1",
        "requests | where n ~ 1",
        "requests | where n >",
    ],
)
def test_a_query_that_is_not_understood_is_an_error(query):
    with pytest.raises(ValueError, match="not understood"):
        answer(query, {"requests": [{"n": 1}]}, NOW)


# How bad it is (1: error, 2: warning, 3: for information), and the past that the query needs.
ASKED = {
    "warden-no-complete-night": (1, "P2D"),
    "warden-dead-letters": (2, "PT2H"),
    "warden-deliveries-failing": (2, "PT2H"),
    "warden-throttled": (3, "PT2H"),
    "warden-functions-failing": (2, "PT2H"),
    "warden-locking-fails": (1, "PT2H"),
}
# A rule sees each row twice, so that none is lost between two questions; and it ends by itself.
OF_EVERY_RULE = {
    "enabled": True,
    "evaluationFrequency": "PT1H",
    "autoMitigate": True,
    # The tables are there only once something has been written.
    "skipQueryValidation": True,
}
ANY_ROW = {
    "timeAggregation": "Count",
    "operator": "GreaterThan",
    "threshold": 0,
    "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
}


def test_every_rule_asks_hourly_and_fires_at_any_row(rules, installed):
    assert {name: (rule["severity"], rule["windowSize"]) for name, rule in rules.items()} == ASKED
    for rule in rules.values():
        assert minutes(rule["windowSize"]) in WINDOWS
        (criterion,) = rule["criteria"]["allOf"]
        own = {name: value for name, value in rule.items() if name not in OF_RULES_THEMSELVES}
        assert own == OF_EVERY_RULE
        assert {name: value for name, value in criterion.items() if name != "query"} == ANY_ROW
    assert {each["kind"] for each in installed("defaults").of("Microsoft.Insights/scheduledQueryRules")} == {"LogAlert"}


OF_RULES_THEMSELVES = {"displayName", "description", "severity", "windowSize", "scopes", "criteria", "actions"}


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
