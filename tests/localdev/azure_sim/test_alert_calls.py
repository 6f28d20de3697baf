"""What an Action Group sends when a budget passes a notification, and how often."""

import json
from datetime import date
from pathlib import Path

import jwt
import pytest

from localdev.azure_sim import ActionGroup

TODAY = date(2026, 11, 20)
SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "azure"


@pytest.fixture
def passed(running, azure):
    """A simulator in which `warden-a` (100) has spent 11,111.00 of its subscription's USD; not evaluated yet."""
    sim = running([azure.charge("Alpha_RG", amount="11111")])
    azure.budgets(sim.url).create_or_update(azure.scope, "warden-a", azure.budget(thresholds=("50", "100")))
    return sim


def shape(value):
    """The names in a JSON value, at every depth."""
    return {name: shape(part) for name, part in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize("schema", ["common", "legacy"])
def test_the_calls_look_like_microsofts_samples(passed, receiving, azure, schema):
    sample = SAMPLES / f"action_group_budget_{schema}.json"
    if not sample.exists():
        pytest.skip("Microsoft's samples are not beside this repository (../shared/data/azure)")
    receiver = receiving()
    passed.action_groups[azure.action_group.lower()] = ActionGroup(receiver.url, schema)

    calls = passed.evaluate_budgets(TODAY)

    assert [(call.notification, call.status, call.attempts) for call in calls] == [("50", 202, 1), ("100", 202, 1)]
    assert shape(receiver.bodies()[0]) == shape(json.loads(sample.read_text(encoding="utf-8")))


def test_the_common_schema_has_formatted_amounts_and_the_budgets_id(passed, receiving, azure):
    receiver = receiving()
    passed.action_groups[azure.action_group] = ActionGroup(receiver.url)

    passed.evaluate_budgets(TODAY)

    data = receiver.bodies()[0]["data"]["alertContext"]["AlertData"]
    amounts = [data[name] for name in ("SpentAmount", "BudgetThreshold", "NotificationThresholdAmount")]
    assert amounts == ["$11,111.00", "$100.00", "$50.00"]
    assert data["BudgetId"] == f"{azure.scope}/providers/Microsoft.Consumption/budgets/warden-a"
    assert (data["BudgetStartDate"], data["Unit"], data["ThresholdType"]) == ("2026-04-01", "USD", "Actual")
    assert receiver.requests[0].target == "/api/budget-alert?code=abc%3D"


def test_a_notification_calls_once_a_window_and_again_for_a_new_limit(running, receiving, azure):
    sim, receiver = running([azure.charge("Alpha_RG", amount="150")]), receiving()
    budgets = azure.budgets(sim.url)
    budgets.create_or_update(azure.scope, "warden-a", azure.budget("100", grain="Monthly"))
    sim.action_groups[azure.action_group] = ActionGroup(receiver.url)

    made = [len(sim.evaluate_budgets(date(2026, 11, day))) for day in (4, 5, 6, 20)]
    budgets.create_or_update(azure.scope, "warden-a", azure.budget("200", grain="Monthly"))
    raised = len(sim.evaluate_budgets(TODAY))
    sim.book.add([azure.charge("Alpha_RG", amount="50"), azure.charge("Alpha_RG", day="2026-12-02", amount="200")])
    again = [len(sim.evaluate_budgets(day)) for day in (TODAY, TODAY, date(2026, 12, 1), date(2026, 12, 2))]

    assert (made, raised, again) == ([0, 1, 0, 0], 0, [1, 0, 0, 1])
    assert len(receiver.requests) == 3


def test_forecasts_disabled_notifications_and_greater_than_are_told_apart(running, receiving, azure):
    sim = running([azure.charge("Alpha_RG", amount="100")])
    body = azure.budget(thresholds=("25", "50", "100", "99")).as_dict()
    notifications = body["properties"]["notifications"]
    notifications["25"]["enabled"] = False
    notifications["50"]["thresholdType"] = "Forecasted"
    notifications["100"]["operator"] = "GreaterThan"
    azure.budgets(sim.url).create_or_update(azure.scope, "warden-a", body)

    calls = sim.evaluate_budgets(TODAY)

    assert [call.notification for call in calls] == ["99"]


@pytest.mark.parametrize(
    ("statuses", "last", "attempts"),
    [
        ((503, 429, 408, 504, 0, 202), 202, 6),
        ((503,) * 7, 503, 6),
        ((0,) * 7, None, 6),
        ((500, 202), 500, 1),
        ((404,), 404, 1),
    ],
)
def test_what_can_pass_is_tried_up_to_five_times_more(passed, receiving, azure, statuses, last, attempts):
    receiver = receiving(*statuses)
    passed.action_groups[azure.action_group] = ActionGroup(receiver.url)
    passed.alert_delays = (0,) * 5

    first = passed.evaluate_budgets(TODAY)[0]

    assert (first.status, first.attempts) == (last, attempts)
    assert bool(first.error) == (last is None)


def test_nobody_listening_and_nobody_registered_are_reported(passed, receiving, azure):
    unknown = passed.evaluate_budgets(TODAY)[0]
    gone = receiving()
    gone.stop()
    passed.budgets.of()[0].alerted.clear()
    passed.action_groups[azure.action_group] = ActionGroup(gone.url)
    refused = passed.evaluate_budgets(TODAY)[0]

    assert (unknown.status, unknown.attempts, "no receiver" in unknown.error) == (None, 0, True)
    assert (refused.status, refused.attempts, "ConnectionRefused" in refused.error) == (None, 6, True)


def test_a_secure_webhook_gets_a_token_for_its_audience(passed, receiving, azure):
    receiver = receiving()
    passed.action_groups[azure.action_group] = ActionGroup(receiver.url, token_audience="api://warden")

    passed.evaluate_budgets(TODAY)

    scheme, _, token = receiver.requests[0].headers["Authorization"].partition(" ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (scheme, claims["aud"], claims["roles"]) == ("Bearer", "api://warden", ["ActionGroupsSecureWebhook"])


def test_it_calls_this_machine_only():
    with pytest.raises(ValueError, match="this machine only"):
        ActionGroup("https://example.com/api/budget-alert")
    with pytest.raises(ValueError, match="no schema"):
        ActionGroup("http://127.0.0.1:1/", schema="odd")
