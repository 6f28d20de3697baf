"""BudgetAlert: turns the Action Group's call into a message that asks for a lock.

An alert is a hint: the handler of the message reads the budget and the usage again before anything happens. So
nothing here asks the database or Azure, which would cost alerts on the nights when they are away, and the alert's
amounts, texts in the format of some country, are only passed on for people to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.texts import readable
from shared.messages import GUID, LockAction, LockMessage, LockTrigger
from shared.pipeline.azure_budgets.names import AZURE_NAME, AZURE_PREFIX
from shared.ports.azure import TokenCheck, TokenRefusedError
from shared.ports.errors import LaterError

# An alert takes 2 KB.
LARGEST_BYTES = 64 * 1024
COMMON_SCHEMA, LEGACY_SCHEMA = "azuremonitorcommonalertschema", "aip budget notification"
# What alerts of other kinds are called where the common schema is not chosen (learn.microsoft.com, "Non-common alert
# schema definitions for Test Action Group").
OTHER_SCHEMAS = frozenset({"azuremonitormetricalert", "microsoft.insights/activitylogs", "microsoft.insights/logalert"})
# The budgets of the portal's "Test action group" (learn.microsoft.com, "Common alert schema definitions for Test
# Action Group"; the second is spelled like this).
TEST_BUDGETS = frozenset({"test_actual_cost_budget", "test_forcasted_budget", "test-budgetname"})
EXPECTED = "expected is a budget alert of Azure Monitor, in the common alert schema or as 'AIP Budget Notification'"

# A part of a resource id: neither `.` nor `..`, nor what would lead elsewhere in a URL.
PART = r'(?!\.{1,2}(?:/|$))[^/\\%?#<>&"]+'
BILLING_PARTS = "departments|enrollmentAccounts|billingProfiles|invoiceSections|customers"
# The scopes that a budget can have (learn.microsoft.com/rest/api/consumption/budgets/create-or-update).
BUDGET_ID = re.compile(
    rf"""(?: /subscriptions/(?P<subscription>{GUID.pattern})(?P<group>/resourceGroups/{PART})?
           | /providers/Microsoft\.Management/managementGroups/{PART}
           | /providers/Microsoft\.Billing/billingAccounts/{PART}(?:/(?:{BILLING_PARTS})/{PART}){{0,2}} )
         /providers/Microsoft\.(?:Consumption|CostManagement)/budgets/(?P<name>{PART})""",
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
LONGEST_ID = 1000
OUR_NAME = re.compile(AZURE_PREFIX + AZURE_NAME.pattern, re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class AlertAnswer:
    """What the caller is answered: an HTTP status, and a sentence for a person.

    status: 202 taken, 200 ignored, 400 no alert, 401 or 403 not who may call, 413 too large, 503 try again.
    message: what is to go onto the project-lock queue, with 202 only.
    """

    status: int
    said: str
    message: LockMessage | None = None


@dataclass(frozen=True, slots=True)
class BudgetAlerts:
    """Takes budget alerts. token_check: who may call; None where the function key is all that is asked for.

    Where the message can't be sent, the caller is answered 503 (`Chain.take_alert`): an Action Group tries again on
    408, 429, 503 and 504 only (learn.microsoft.com, "Action groups": webhook retries).
    """

    token_check: TokenCheck | None = None

    def receive(self, body: bytes, authorization: str | None) -> AlertAnswer:
        """What to answer to a call with this body and this Authorization header. Never raises over what they hold.

        The same alert twice makes the same message twice, which the handler takes without effect.
        """
        if len(body) > LARGEST_BYTES:
            return AlertAnswer(413, f"The body has {len(body)} bytes; an alert has at most {LARGEST_BYTES}.")
        try:
            if self.token_check is not None:
                self.token_check.check(authorization)
            message = read_alert(body)
        except TokenRefusedError as refused:
            return AlertAnswer(refused.status, refused.reason)
        except LaterError as unwell:
            return AlertAnswer(503, unwell.reason)
        except AlertIgnoredError as ignored:
            return AlertAnswer(200, f"Ignored: {ignored}.")
        except NotAnAlertError as fault:
            return AlertAnswer(400, f"Refused: {fault}.")
        said = f"Taken: what the project of the budget {message.budget_name} has spent is looked at again."
        return AlertAnswer(202, said, message)


class AlertIgnoredError(Exception):
    """An alert on which nothing is to be done; the text says why, without the full stop."""


class NotAnAlertError(Exception):
    """What is not a budget alert, or can't be right; the text says what would be, without the full stop."""


def read_alert(body: bytes) -> LockMessage:
    """The message that this alert asks for. Raises AlertIgnoredError and NotAnAlertError."""
    alert = _parsed(body)
    schema = _text(alert, "schemaId").lower()
    if schema in OTHER_SCHEMAS:
        raise AlertIgnoredError("this is an alert, but not one of a budget")
    if schema not in {COMMON_SCHEMA, LEGACY_SCHEMA}:
        raise NotAnAlertError(f"schemaId is '{_readable(schema)}'; {EXPECTED}")
    data = _object(alert, "data")
    return _from_common(data) if schema == COMMON_SCHEMA else _from_legacy(data)


# --- the two schemas -----------------------------------------------------------------------------------------


def _from_common(data: Mapping[str, Any]) -> LockMessage:
    essentials = _object(data, "essentials")
    service = _text(essentials, "monitoringService")
    if not service:
        raise NotAnAlertError(f"data.essentials.monitoringService is missing; {EXPECTED}")
    if service.lower() != "costalerts":
        raise AlertIgnoredError(f"this is an alert of {_readable(service)}, not of a budget")
    context = _object(data, "alertContext")
    if _text(context, "AlertCategory").lower() != "budgets":
        raise AlertIgnoredError("this is an alert on costs, but not one of a budget")
    budget = _object(context, "AlertData")
    name, subscription = _subject(budget)
    _check_kind(budget, essentials)
    reason = _reason(budget, ("SpentAmount", "BudgetThreshold"), essentials.get("fireddatetime"))
    return _message(name, subscription, reason)


def _from_legacy(data: Mapping[str, Any]) -> LockMessage:
    name = _our_name(_text(data, "BudgetName"))
    subscription = _text(data, "SubscriptionId")
    if not GUID.fullmatch(subscription):
        raise NotAnAlertError(f"SubscriptionId is '{_readable(subscription)}'; it has to be a subscription's id")
    _check_kind(data, {})
    return _message(name, subscription, _reason(data, ("SpendingAmount", "Budget"), None))


def _check_kind(budget: Mapping[str, Any], essentials: Mapping[str, Any]) -> None:
    """Only these words mean that nothing is to be done: one that Azure comes up with later is looked into."""
    kind = _text(budget, "BudgetType")
    if kind.lower() not in {"", "cost"}:
        raise AlertIgnoredError(f"this budget is one of {_readable(kind)}, not of cost")
    if _text(budget, "ThresholdType").lower() == "forecasted":
        raise AlertIgnoredError("this alert is on a forecast; only what was spent counts")
    # Azure leaves it null in its own samples of budget alerts.
    if _text(essentials, "monitorCondition").lower() == "resolved":
        raise AlertIgnoredError("this alert says that the budget is in order again")


def _message(name: str, subscription: str, reason: str) -> LockMessage:
    return LockMessage(
        action=LockAction.LOCK,
        budget_name=name,
        subscription_id=subscription.lower(),
        reason=reason,
        trigger=LockTrigger.ALERT,
    )


def _reason(budget: Mapping[str, Any], amounts: Sequence[str], fired: Any) -> str:
    """What the alert says of the money, as it says it."""
    spent, amount = (_readable(budget.get(field.lower()), 40) or "unknown" for field in amounts)
    time = f" of {_readable(fired, 40)}" if _readable(fired) else ""
    return f"Azure's budget alert{time}: spent {spent}, budget {amount}"


# --- whose budget --------------------------------------------------------------------------------------------


def _subject(budget: Mapping[str, Any]) -> tuple[str, str]:
    """Name and subscription of one of our budgets."""
    name, budget_id = _text(budget, "BudgetName"), _text(budget, "BudgetId")
    if not budget_id:
        scope = _text(budget, "Scope").removesuffix("/")
        budget_id = f"{scope}/providers/Microsoft.Consumption/budgets/{name}"
    found = BUDGET_ID.fullmatch(budget_id) if len(budget_id) <= LONGEST_ID and budget_id.isprintable() else None
    if found is None:
        raise NotAnAlertError(
            f"BudgetId is '{_readable(budget_id, 120)}'; it has to be like "
            f"/subscriptions/…/providers/Microsoft.Consumption/budgets/{AZURE_PREFIX}…"
        )
    if name and name.lower() != found["name"].lower():
        raise NotAnAlertError(f"BudgetName is '{_readable(name)}', but BudgetId names '{_readable(found['name'])}'")
    our_name = _our_name(found["name"])
    if found["subscription"] is None or found["group"] is not None:
        raise AlertIgnoredError(f"{our_name} is not a budget of a whole subscription, as Budget Warden's are")
    return our_name, found["subscription"]


def _our_name(name: str) -> str:
    """The name in lower case, in which Azure's names are compared."""
    if not name:
        raise NotAnAlertError("BudgetName is missing; it has to be the name of a budget")
    if name.lower() in TEST_BUDGETS:
        raise AlertIgnoredError(
            f"the Action Group's test has arrived; its sample budget {name} is not Budget Warden's, so nothing is done"
        )
    if not name.lower().startswith(AZURE_PREFIX):
        raise AlertIgnoredError(
            f"the budget '{_readable(name)}' is not Budget Warden's, whose names begin with {AZURE_PREFIX}"
        )
    if not OUR_NAME.fullmatch(name):
        raise NotAnAlertError(
            f"BudgetName is '{_readable(name)}'; a name has {AZURE_PREFIX} and up to 56 letters, digits, _ and -"
        )
    return name.lower()


# --- JSON ----------------------------------------------------------------------------------------------------


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        # .NET's writers like to begin with a byte order mark.
        text = body.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_without_case, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise NotAnAlertError(f"the body is not JSON in UTF-8, or not all of it; {EXPECTED}") from None
    if not isinstance(value, dict):
        raise NotAnAlertError(f"the body is JSON, but no object in {{ }}; {EXPECTED}")
    return value


def _without_case(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object with its keys in lower case. Two readers of a doubled key could see two different alerts in it."""
    fields = {key.lower(): value for key, value in pairs}
    if len(fields) < len(pairs):
        raise ValueError
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name.lower())
    if not isinstance(value, dict):
        raise NotAnAlertError(f"{name} is missing, or no object in {{ }}; {EXPECTED}")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    """The field's text; empty where the field is missing or null."""
    value = fields.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NotAnAlertError(f'{name} has to be a text in " "')
    return value


def _readable(value: Any, longest: int = 60) -> str:
    """A text or number from outside as one short line, which can be stored and shown anywhere."""
    return readable(str(value), longest) if isinstance(value, str | int | float) else ""
