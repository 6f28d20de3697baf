"""BudgetAlert: which calls become a message on the queue, and what the caller is told of the others."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import LockAction, LockMessage, LockTrigger, Queue, parse_lock, to_json
from shared.pipeline.azure_budgets.names import azure_name
from shared.pipeline.budget_alert import LARGEST_BYTES, AlertAnswer, BudgetAlerts
from shared.pipeline.chain import Chain
from shared.pipeline.dead_letters import DeadLetters
from shared.ports.azure import TokenCheck, TokenRefusedError
from shared.ports.errors import LaterError, NeverError
from shared.ports.telemetry import NoTelemetry
from tests.fakes import FakeQueues

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "azure"
SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
AT_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION}"
BUDGETS = "/providers/Microsoft.Consumption/budgets/"
NAME = azure_name("DIE1")

COMMON: dict[str, Any] = {
    "schemaId": "azureMonitorCommonAlertSchema",
    "data": {
        "essentials": {
            "monitoringService": "CostAlerts",
            "firedDateTime": "2026-11-20T17:53:32.996Z",
            "monitorCondition": "Fired",
            "configurationItems": ["budgets"],
        },
        "alertContext": {
            "AlertCategory": "budgets",
            "AlertData": {
                "Scope": f"{AT_SUBSCRIPTION}/",
                "ThresholdType": "Actual",
                "BudgetType": "Cost",
                "BudgetThreshold": "$10,000.00",
                "NotificationThresholdAmount": "$10,000.00",
                "BudgetName": NAME,
                "BudgetId": f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}",
                "Unit": "CAD",
                "SpentAmount": "$11,111.00",
            },
        },
    },
}
LEGACY: dict[str, Any] = {
    "schemaId": "AIP Budget Notification",
    "data": {
        "SubscriptionName": "test-subscription",
        "SubscriptionId": SUBSCRIPTION,
        "ResourceGroup": "",
        "SpendingAmount": "11111.32",
        "Budget": "10000",
        "Unit": "CAD",
        "BudgetName": NAME,
        "BudgetType": "Cost",
        "NotificationThresholdAmount": "10000.0",
    },
}
# Where the fields stand that the tests change.
ALERT_DATA = ("data", "alertContext", "AlertData")
ESSENTIALS = ("data", "essentials")
ABSENT = object()


def answered(
    queues: FakeQueues, body: bytes, authorization: str | None = None, doorkeeper: TokenCheck | None = None
) -> AlertAnswer:
    """What the function does with a call."""
    return Chain({}, lambda message: message, cast("DeadLetters", None), queues, NoTelemetry()).take_alert(
        BudgetAlerts(doorkeeper).receive(body, authorization)
    )


def receive(alert: Any, authorization: str | None = None) -> AlertAnswer:
    """What an app without a token check answers to an alert, or to these very bytes.

    Whatever it is, the message of the answer is what was queued, once and at once; without one, nothing was.
    """
    body = alert if isinstance(alert, bytes) else json.dumps(alert).encode()
    queues = FakeQueues()
    answer = answered(queues, body, authorization)
    expected = [] if answer.message is None else [(Queue.LOCK, to_json(answer.message), timedelta(0))]
    assert queues.sent == expected
    return answer


def changed(alert: dict[str, Any], where: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A copy of the alert with these fields of one of its objects set, or left out (ABSENT)."""
    result = copy.deepcopy(alert)
    target = result
    for step in where:
        target = target[step]
    for name, value in fields.items():
        target.pop(name, None)
        if value is not ABSENT:
            target[name] = value
    return result


def common(**fields: Any) -> dict[str, Any]:
    return changed(COMMON, ALERT_DATA, **fields)


def legacy(**fields: Any) -> dict[str, Any]:
    return changed(LEGACY, ("data",), **fields)


def taken(alert: Any) -> LockMessage:
    answer = receive(alert)
    assert (answer.status, answer.message is not None) == (202, True), answer.said
    assert answer.message is not None
    return answer.message


def ignored(alert: Any) -> str:
    answer = receive(alert)
    assert (answer.status, answer.message) == (200, None), answer.said
    return answer.said


def refused(alert: Any) -> str:
    answer = receive(alert)
    assert (answer.status, answer.message) == (400, None), answer.said
    return answer.said


# --- taken ---


@pytest.mark.parametrize("alert", [COMMON, LEGACY], ids=["common", "legacy"])
def test_an_alert_of_one_of_our_budgets_asks_to_lock_its_project(alert):
    message = taken(alert)
    assert message.action is LockAction.LOCK
    assert message.trigger is LockTrigger.ALERT
    assert (message.project_id, message.budget_name, message.subscription_id) == (None, NAME, SUBSCRIPTION)
    assert parse_lock(to_json(message)) == message


def test_the_answer_says_which_budget_was_taken():
    assert NAME in receive(COMMON).said


def test_the_same_alert_makes_the_same_message_again():
    assert taken(COMMON) == taken(COMMON)


def test_names_and_ids_are_taken_in_any_case():
    message = taken(
        common(
            BudgetName="Warden-DIE1",
            BudgetId=f"/SUBSCRIPTIONS/{SUBSCRIPTION.upper()}/Providers/microsoft.consumption/BUDGETS/WARDEN-die1",
        )
    )
    assert (message.budget_name, message.subscription_id) == (NAME, SUBSCRIPTION)


def with_keys(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {rename(key): with_keys(inner, rename) for key, inner in value.items()}
    return value


@pytest.mark.parametrize("alert", [COMMON, LEGACY], ids=["common", "legacy"])
@pytest.mark.parametrize("rename", [str.lower, str.upper])
def test_keys_are_taken_in_any_case(alert, rename):
    assert taken(with_keys(alert, rename)) == taken(alert)


@pytest.mark.parametrize("acronym", ["DIE1", "a", "x" * 56, "a_b-c", "École d'été 1", "x" * 57])
def test_every_name_that_the_app_gives_a_budget_is_taken(acronym):
    name = azure_name(acronym)
    assert taken(common(BudgetName=name, BudgetId=f"{AT_SUBSCRIPTION}{BUDGETS}{name}")).budget_name == name


@pytest.mark.parametrize(
    "alert",
    [
        changed(COMMON, ESSENTIALS, monitorCondition=None),
        changed(COMMON, ESSENTIALS, monitorCondition=ABSENT),
        changed(COMMON, ESSENTIALS, monitorCondition="fired"),
        changed(COMMON, ESSENTIALS, monitoringService="costalerts"),
        common(ThresholdType="actual"),
        common(ThresholdType=None),
        common(BudgetType="COST"),
        common(BudgetName=ABSENT),
        common(BudgetId=f"{AT_SUBSCRIPTION}/providers/Microsoft.CostManagement/budgets/{NAME}"),
        common(BudgetId=ABSENT),
        common(BudgetId="", Scope=AT_SUBSCRIPTION),
        legacy(ResourceGroup="test-RG"),
        legacy(BudgetType=ABSENT),
        legacy(SubscriptionId=SUBSCRIPTION.upper()),
        b"\xef\xbb\xbf" + json.dumps(COMMON).encode(),
        json.dumps(COMMON, indent=2).encode() + b"\r\n",
    ],
)
def test_alerts_that_say_the_same_otherwise_are_taken_too(alert):
    message = taken(alert)
    assert (message.budget_name, message.subscription_id) == (NAME, SUBSCRIPTION)


# --- amounts: for people only ---


@pytest.mark.parametrize(
    ("spent", "shown"),
    [
        ("$11,111.00", "$11,111.00"),
        ("11.111,00\xa0€", "11.111,00 €"),
        (" 11 111,00\n$ ", "11 111,00 $"),
        ("", "unknown"),
        (None, "unknown"),
        (ABSENT, "unknown"),
        (["$11,111.00"], "unknown"),
        (11111.5, "11111.5"),
        ("-5", "-5"),
        ("\ud800\x00\u202e9", "9"),
        ("9" * 5000, "9" * 39 + "…"),
    ],
)
def test_the_spent_amount_goes_as_it_is_into_the_reason_and_decides_nothing(spent, shown):
    message = taken(common(SpentAmount=spent))
    assert message.reason == f"Azure's budget alert of 2026-11-20T17:53:32.996Z: spent {shown}, budget $10,000.00"
    assert parse_lock(to_json(message)) == message


def test_the_legacy_schema_has_its_amounts_in_other_fields():
    assert taken(LEGACY).reason == "Azure's budget alert: spent 11111.32, budget 10000"


# --- ignored ---


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("action_group_budget_common.json", "Test_actual_cost_budget"),
        ("action_group_budget_legacy.json", "test-budgetName"),
    ],
)
def test_the_portals_test_is_told_that_it_has_arrived(file, name):
    if not (SAMPLES / file).is_file():
        pytest.skip(f"Azure's sample {file} is not there: put it into ../shared/data/azure, next to this project")
    said = ignored((SAMPLES / file).read_bytes())
    assert "test has arrived" in said
    assert name in said


@pytest.mark.parametrize("name", ["Test_forcasted_budget", "TEST_ACTUAL_COST_BUDGET"])
def test_the_portals_test_is_recognised_whatever_else_it_says(name):
    forecast = common(BudgetName=name, BudgetId=f"{AT_SUBSCRIPTION}{BUDGETS}{name}", ThresholdType="Forecasted")
    assert "test has arrived" in ignored(forecast)


@pytest.mark.parametrize(
    "name", ["finance-2026", "warden", "die1", "my-warden-die1", "Wárden-die1", "ward\u0435n-die1"]
)
def test_other_peoples_budgets_are_ignored(name):
    assert "not Budget Warden's" in ignored(common(BudgetName=name, BudgetId=f"{AT_SUBSCRIPTION}{BUDGETS}{name}"))
    assert "not Budget Warden's" in ignored(legacy(BudgetName=name, SubscriptionId="whatever"))


@pytest.mark.parametrize(
    "scope",
    [
        f"{AT_SUBSCRIPTION}/resourceGroups/fsdh_proj_die1_dev_rg",
        "/providers/Microsoft.Management/managementGroups/all",
        "/providers/Microsoft.Billing/billingAccounts/1234567",
        "/providers/Microsoft.Billing/billingAccounts/1234567/departments/42",
        "/providers/Microsoft.Billing/billingAccounts/a:b_2019-05-31/billingProfiles/X1/invoiceSections/Y2",
    ],
)
def test_budgets_of_other_scopes_are_not_ours_whatever_their_name(scope):
    assert "whole subscription" in ignored(common(BudgetId=f"{scope}{BUDGETS}{NAME}"))


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (common(ThresholdType="Forecasted"), "forecast"),
        (common(ThresholdType="FORECASTED"), "forecast"),
        (common(BudgetType="ReservationUtilization"), "ReservationUtilization"),
        (legacy(BudgetType="Usage"), "Usage"),
        (changed(COMMON, ESSENTIALS, monitorCondition="Resolved"), "in order again"),
        (changed(COMMON, ESSENTIALS, monitoringService="Platform"), "an alert of Platform"),
        (
            changed(COMMON, ("data",), essentials={"monitoringService": "ServiceHealth"}, alertContext=None),
            "ServiceHea",
        ),
        (changed(COMMON, ("data", "alertContext"), AlertCategory="anomaly"), "not one of a budget"),
        (changed(COMMON, ("data", "alertContext"), AlertCategory=ABSENT), "not one of a budget"),
        ({"schemaId": "AzureMonitorMetricAlert", "data": {}}, "not one of a budget"),
        ({"schemaId": "Microsoft.Insights/activityLogs", "data": {}}, "not one of a budget"),
    ],
)
def test_what_asks_for_nothing_is_ignored_with_its_reason(alert, reason):
    assert reason in ignored(alert)


# --- refused ---


@pytest.mark.parametrize(
    "budget_id",
    [
        f"{AT_SUBSCRIPTION}{BUDGETS}../{NAME}",
        f"{AT_SUBSCRIPTION}{BUDGETS}..",
        f"{AT_SUBSCRIPTION}{BUDGETS}",
        f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}/",
        f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}/more",
        f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}\n",
        f"{AT_SUBSCRIPTION}{BUDGETS}warden%2Fdie1",
        f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}?x=1",
        f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}\x00",
        f"{AT_SUBSCRIPTION}{BUDGETS}{NAME}\ud800",
        f"{AT_SUBSCRIPTION}/../x{BUDGETS}{NAME}",
        f"{AT_SUBSCRIPTION}/resourceGroups/..{BUDGETS}{NAME}",
        f"{AT_SUBSCRIPTION}/resourceGroups/{BUDGETS}{NAME}",
        f"{AT_SUBSCRIPTION}/{BUDGETS}{NAME}",
        f"/{AT_SUBSCRIPTION}{BUDGETS}{NAME}",
        f"{AT_SUBSCRIPTION}\\{BUDGETS}{NAME}",
        f" {AT_SUBSCRIPTION}{BUDGETS}{NAME}",
        f"subscriptions/{SUBSCRIPTION}{BUDGETS}{NAME}",
        f"https://management.azure.com{AT_SUBSCRIPTION}{BUDGETS}{NAME}",
        f"/subscriptions/1caaa5a3{BUDGETS}{NAME}",
        f"{AT_SUBSCRIPTION}/providers/Microsoft.Other/budgets/{NAME}",
        f"{AT_SUBSCRIPTION}{BUDGETS}{'x' * 1000}",
        NAME,
    ],
)
def test_an_id_that_azure_would_not_write_is_refused(budget_id):
    assert "BudgetId is" in refused(common(BudgetId=budget_id, BudgetName=ABSENT))


@pytest.mark.parametrize(
    "name", ["warden-", "warden-a b", "warden-é", "warden-\u212a", "warden-die1.", "warden-" + "x" * 57]
)
def test_a_name_with_our_prefix_that_azure_would_not_take_is_refused(name):
    assert "BudgetName is" in refused(legacy(BudgetName=name))
    assert "BudgetName is" in refused(common(BudgetName=name, BudgetId=f"{AT_SUBSCRIPTION}{BUDGETS}{name}"))


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (common(BudgetName="warden-other"), "BudgetId names 'warden-die1'"),
        (common(BudgetName=ABSENT, BudgetId=ABSENT), "BudgetId is"),
        (common(BudgetId=ABSENT, Scope=ABSENT), "BudgetId is"),
        (common(BudgetId=ABSENT, Scope="/subscriptions/.."), "BudgetId is"),
        (common(BudgetId=ABSENT, BudgetName=f"../budgets/{NAME}"), "BudgetId is"),
        (common(BudgetId=7), "BudgetId has to be a text"),
        (common(BudgetName=["x"]), "BudgetName has to be a text"),
        (common(ThresholdType={}), "ThresholdType has to be a text"),
        (common(BudgetType=1e400), "the body is not JSON"),
        (changed(COMMON, ESSENTIALS, monitoringService=ABSENT), "monitoringService is missing"),
        (changed(COMMON, ESSENTIALS, monitorCondition=True), "monitorCondition has to be a text"),
        (changed(COMMON, ("data",), essentials=None), "essentials is missing"),
        (changed(COMMON, ("data",), alertContext="x"), "alertContext is missing, or no object"),
        (changed(COMMON, ("data", "alertContext"), AlertData=[]), "AlertData is missing, or no object"),
        (changed(COMMON, data=None), "data is missing"),
        (changed(COMMON, schemaId="something else"), "schemaId is 'something else'; expected is a budget alert"),
        (changed(COMMON, schemaId=ABSENT), "expected is a budget alert"),
        (changed(COMMON, schemaId=1), "schemaId has to be a text"),
        (legacy(SubscriptionId=ABSENT), "SubscriptionId is ''"),
        (legacy(SubscriptionId=f"{SUBSCRIPTION}/.."), "has to be a subscription's id"),
        (legacy(SubscriptionId=f"{SUBSCRIPTION}\n"), "has to be a subscription's id"),
        (legacy(BudgetName=""), "BudgetName is missing"),
        (changed(LEGACY, data=[]), "data is missing, or no object"),
    ],
)
def test_what_can_not_be_right_is_refused_with_what_would_be(alert, reason):
    assert reason in refused(alert)


BODY = json.dumps(COMMON).encode()
TWICE = BODY.replace(b'"BudgetName": "warden-die1"', b'"BudgetName": "other", "BudgetName": "warden-die1"')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{}",
        b"not json",
        BODY[:-1],
        BODY[:200],
        BODY + b"}",
        BODY.decode().encode("utf-16"),
        b"\xff" + BODY,
        BODY.replace(b"$11", b"\xe9"),
        BODY.replace(b'"$11,111.00"', b"NaN"),
        BODY.replace(b'"$11,111.00"', b"-Infinity"),
        BODY.replace(b'"$11,111.00"', b"9" * 5000),
        TWICE,
        TWICE.replace(b'"BudgetName": "other"', b'"budgetname": "other"'),
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_object_or_an_ambiguous_one_is_refused(body):
    assert "expected is" in refused(body)


def test_the_doubled_key_of_these_tests_is_really_there():
    assert TWICE != BODY


def test_a_body_of_64_kib_is_read_and_a_larger_one_is_not():
    assert receive(BODY + b" " * (LARGEST_BYTES - len(BODY))).status == 202
    answer = receive(BODY + b" " * (LARGEST_BYTES - len(BODY) + 1))
    assert (answer.status, answer.message) == (413, None)
    assert str(LARGEST_BYTES) in answer.said


# --- the queue ---


def receive_while(error: Exception, body: bytes, says: Exception | None = None) -> tuple[AlertAnswer, int]:
    """What is answered while the queue answers with this error, and how often it was asked."""
    tries = []

    def fail() -> Exception:
        tries.append(error)
        return error

    queues = FakeQueues(fails=fail)
    answer = answered(queues, body, doorkeeper=Doorkeeper(says))
    assert queues.sent == []
    return answer, len(tries)


@pytest.mark.parametrize("alert", [COMMON, LEGACY], ids=["common", "legacy"])
@pytest.mark.parametrize(
    "error",
    [
        LaterError("the queues can't be reached (ServiceRequestError)"),
        LaterError("the queues answered 500", timedelta(seconds=30)),
        NeverError("the storage account refuses us"),
    ],
    ids=repr,
)
def test_while_the_queue_can_not_be_written_the_caller_is_asked_to_try_again_and_told_why(alert, error):
    """An Action Group tries again after a 503, and not after a 500."""
    answer, tries = receive_while(error, json.dumps(alert).encode())
    assert (answer.status, answer.message, tries) == (503, None, 1)
    assert answer.said == error.reason


def test_an_alert_that_could_not_be_queued_is_taken_when_it_comes_again():
    errors: list[Exception] = [LaterError("the queues answered 503")]
    queues = FakeQueues(fails=lambda: errors.pop() if errors else None)
    assert [answered(queues, BODY).status for _ in range(3)] == [503, 202, 202]
    first, second = queues.take()
    assert first == second, "the handler takes the same message twice without effect"


@pytest.mark.parametrize(
    ("body", "says", "status"),
    [
        (json.dumps(changed(COMMON, schemaId="AzureMonitorMetricAlert")).encode(), None, 200),
        (b"not json", None, 400),
        (BODY, TokenRefusedError(401, "No token."), 401),
        (BODY, TokenRefusedError(403, "No role."), 403),
        (b" " * (LARGEST_BYTES + 1), None, 413),
        (BODY, LaterError("No keys."), 503),
    ],
)
@pytest.mark.parametrize("error", [LaterError("away"), NeverError("refused")])
def test_what_is_not_taken_does_not_ask_the_queue_and_gets_its_answer_though_that_is_away(body, says, status, error):
    answer, tries = receive_while(error, body, says)
    assert (answer.status, answer.message, tries) == (status, None, 0)


def test_a_queue_that_is_away_is_logged_as_a_warning_with_what_was_said(caplog):
    caplog.set_level(logging.INFO, "warden")
    receive_while(LaterError("the queues answered 503"), BODY)
    (record,) = caplog.records
    assert (record.levelname, record.warden_status) == ("WARNING", "503")
    assert "the queues answered 503" in record.getMessage()


# --- who may call ---


@dataclass
class Doorkeeper:
    """A token check that says one thing, and remembers whom it was asked about."""

    says: Exception | None = None
    seen: list[str | None] = field(default_factory=list)

    def check(self, authorization: str | None) -> None:
        self.seen.append(authorization)
        if self.says is not None:
            raise self.says


def test_without_a_token_check_the_header_does_not_matter():
    assert receive(COMMON, "Basic whatever").status == 202


def test_with_a_token_check_the_header_is_what_it_is_asked_about():
    doorkeeper = Doorkeeper()
    queues = FakeQueues()
    assert answered(queues, BODY, "Bearer a.b.c", doorkeeper).status == 202
    assert doorkeeper.seen == ["Bearer a.b.c"]
    assert len(queues.sent) == 1


@pytest.mark.parametrize(
    ("says", "status"),
    [
        (TokenRefusedError(401, "No token."), 401),
        (TokenRefusedError(403, "No role."), 403),
        (LaterError("No keys."), 503),
    ],
)
@pytest.mark.parametrize("body", [BODY, b"not json"])
def test_who_may_not_call_learns_that_and_nothing_about_the_body(says, status, body):
    queues = FakeQueues()
    answer = answered(queues, body, doorkeeper=Doorkeeper(says))
    assert (answer.status, answer.said, answer.message) == (status, str(says), None)
    assert queues.sent == []


def test_a_body_that_is_too_large_is_refused_before_anything_else():
    doorkeeper = Doorkeeper()
    assert answered(FakeQueues(), b" " * (LARGEST_BYTES + 1), None, doorkeeper).status == 413
    assert doorkeeper.seen == []


def test_every_call_is_logged_and_refused_ones_as_warnings(caplog):
    caplog.set_level(logging.INFO, "warden")
    receive(COMMON)
    receive(b"{}")
    assert [(record.levelname, record.warden_status) for record in caplog.records] == [
        ("INFO", "202"),
        ("WARNING", "400"),
    ]


def test_a_log_line_stays_one_line_whatever_the_alert_says(caplog):
    caplog.set_level(logging.INFO, "warden")
    receive(changed(COMMON, schemaId="x\nbudget_alert status=202\x1b[2J"))
    (record,) = caplog.records
    assert record.getMessage().isprintable()


# --- anything ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.sampled_from("warden-WARDEN_dé1/.% \n"), max_size=20) | st.just(NAME)
# Alerts nearly right: most of the way in, with anything at all in one of the places that are read.
FIELDS = [
    (COMMON, (), "schemaId"),
    (COMMON, (), "data"),
    (COMMON, ("data",), "essentials"),
    (COMMON, ("data",), "alertContext"),
    (COMMON, ESSENTIALS, "monitoringService"),
    (COMMON, ESSENTIALS, "monitorCondition"),
    (COMMON, ESSENTIALS, "firedDateTime"),
    (COMMON, ("data", "alertContext"), "AlertCategory"),
    *((COMMON, ALERT_DATA, name) for name in COMMON["data"]["alertContext"]["AlertData"]),
    *((LEGACY, ("data",), name) for name in LEGACY["data"]),
]


def holds(answer: AlertAnswer) -> bool:
    """Whether an answer is one that may be given, with a message that may be sent."""
    assert answer.status in {200, 202, 400}
    assert answer.said.isprintable()
    assert (answer.message is not None) == (answer.status == 202)
    if answer.message is not None:
        assert re.fullmatch("warden-[a-z0-9_-]{1,56}", answer.message.budget_name or "")
        assert parse_lock(to_json(answer.message)) == answer.message
    return True


@given(st.binary(max_size=300))
def test_no_bytes_at_all_are_an_error_of_another_kind(body):
    assert holds(receive(body))
    assert receive(body).status == 400


@given(JSON)
def test_no_json_at_all_is_an_error_of_another_kind(value):
    assert holds(receive(value))


@given(st.sampled_from(FIELDS), JSON)
def test_nothing_in_a_place_that_is_read_is_an_error_of_another_kind(place, value):
    alert, where, name = place
    assert holds(receive(changed(alert, where, **{name: value})))


@given(NAMES, NAMES)
def test_only_names_with_our_prefix_become_a_message(name, other):
    answers = [
        receive(legacy(BudgetName=name)),
        receive(common(BudgetName=name, BudgetId=f"{AT_SUBSCRIPTION}{BUDGETS}{name}")),
        receive(common(BudgetName=name, BudgetId=f"{AT_SUBSCRIPTION}{BUDGETS}{other}")),
        receive(common(BudgetName=name, BudgetId=None)),
    ]
    assert all(holds(answer) for answer in answers)


@given(st.sampled_from(FIELDS), JSON, st.booleans())
def test_while_the_queue_is_away_what_would_be_taken_is_put_off_and_the_rest_is_answered_as_ever(place, value, later):
    alert, where, name = place
    body = json.dumps(changed(alert, where, **{name: value})).encode()
    answer, tries = receive_while(LaterError("away") if later else NeverError("refused"), body)
    assert (answer.status, tries) in {(200, 0), (400, 0), (503, 1)}
    assert (receive(body).status == 202) == (answer.status == 503)


@given(st.integers(0, len(BODY) - 1))
def test_no_truncated_alert_is_taken(length):
    assert receive(BODY[:length]).status == 400
