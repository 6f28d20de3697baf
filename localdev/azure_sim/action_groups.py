"""Action Groups: who is called when a budget passes a notification, with what, and how often it is tried.

The JSON is that of Microsoft's samples for cost alerts, in the common schema and in the older one of its own.
"""

import json
from collections import UserDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from time import sleep
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

Schema = Literal["common", "legacy"]
# Azure waits 5, 20, 5, 40 and 5 seconds between its six attempts.
QUICK_DELAYS = (0.01,) * 5
RETRIED = (408, 429, 503, 504)
# Action Groups wait 10 seconds for the answer to a first attempt.
TIMEOUT_SECONDS = 10
CREATOR = "budget.owner@example.com"
SIGNS = {"USD": "$", "CAD": "$", "AUD": "$", "EUR": "€", "GBP": "£"}
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ActionGroup:
    """Whom the group calls. `token_audience`: sends a bearer token for it, as a secure webhook does."""

    url: str
    schema: Schema = "common"
    token_audience: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK_HOSTS:
            raise ValueError(f"The simulator calls this machine only, over http, not '{self.url}'.")
        if self.schema not in ("common", "legacy"):
            raise ValueError(f"There is no schema '{self.schema}'; there are common and legacy.")


class ActionGroups(UserDict[str, ActionGroup]):
    """Action Groups by their resource ids, which are compared without regard to case."""

    def __setitem__(self, key: str, item: ActionGroup) -> None:
        super().__setitem__(key.lower(), item)

    def __getitem__(self, key: str) -> ActionGroup:
        return super().__getitem__(key.lower())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and super().__contains__(key.lower())


@dataclass(frozen=True)
class Alert:
    """A notification that a budget has passed on a day, with what the texts need; `start` is the budget's."""

    subscription: str
    budget: str
    notification: str
    start: date
    amount: Decimal
    limit: Decimal
    spent: Decimal
    unit: str
    day: date

    @property
    def budget_id(self) -> str:
        """The budget's resource id, at subscription scope."""
        return f"/subscriptions/{self.subscription}/providers/Microsoft.Consumption/budgets/{self.budget}"


@dataclass(frozen=True)
class Call:
    """One call of an Action Group: the last status (None: no answer), the attempts, and why there was no answer."""

    action_group: str
    budget_id: str
    notification: str
    url: str | None
    status: int | None
    attempts: int
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The call as the control shows it."""
        return asdict(self)


@dataclass
class Caller:
    """Makes the calls. `delays`: seconds before each retry; `token(audience)` mints the token of a secure webhook."""

    groups: ActionGroups
    token: Callable[[str], str]
    delays: Sequence[float] = QUICK_DELAYS

    def call(self, group_id: str, alert: Alert) -> Call:
        """Calls the group's receiver until it answers with something that is not tried again."""
        group = self.groups.get(group_id)
        if group is None:
            return self._made(group_id, alert, None, None, 0, "no receiver is registered for this action group")
        content = json.dumps(BODIES[group.schema](alert)).encode()
        status: int | None = None
        error: str | None = None
        attempts = 0
        for delay in (0, *self.delays):
            sleep(delay)
            attempts += 1
            status, error = self._attempt(group, content)
            if status is not None and status not in RETRIED:
                break
        return self._made(group_id, alert, group.url, status, attempts, error)

    def _attempt(self, group: ActionGroup, content: bytes) -> tuple[int | None, str | None]:
        parts = urlsplit(group.url)
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "IcMBroadcaster/1.0"}
        if group.token_audience:
            headers["Authorization"] = f"Bearer {self.token(group.token_audience)}"
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", target, content, headers)
            return connection.getresponse().status, None
        except (OSError, HTTPException) as failure:
            return None, f"{type(failure).__name__}: {failure}"
        finally:
            connection.close()

    def _made(
        self, group_id: str, alert: Alert, url: str | None, status: int | None, attempts: int, error: str | None
    ) -> Call:
        return Call(group_id, alert.budget_id, alert.notification, url, status, attempts, error)


def money(amount: Decimal, unit: str) -> str:
    """The amount as the common schema writes it: `$11,111.00`."""
    sign = SIGNS.get(unit, f"{unit} ")
    return f"-{sign}{-amount:,.2f}" if amount < 0 else f"{sign}{amount:,.2f}"


def common_body(alert: Alert) -> dict[str, Any]:
    """The call's JSON in the common alert schema; a budget has no rule, severity or signal."""
    spent, limit = money(alert.spent, alert.unit), money(alert.limit, alert.unit)
    alert_id = uuid5(NAMESPACE_URL, f"{alert.budget_id}/{alert.notification}/{alert.day}")
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "monitoringService": "CostAlerts",
                "firedDateTime": f"{alert.day}T17:53:32.9962396Z",
                "description": f"Your spend for budget {alert.budget} is now {spent} "
                f"exceeding your specified threshold {limit}.",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
                "alertId": f"/subscriptions/{alert.subscription}/providers/Microsoft.CostManagement/alerts/{alert_id}",
                "alertRule": None,
                "severity": None,
                "signalType": None,
                "monitorCondition": "Fired",
                "alertTargetIDs": None,
                "configurationItems": ["budgets"],
                "originAlertId": None,
            },
            "alertContext": {
                "AlertCategory": "budgets",
                "AlertData": {
                    "Scope": f"/subscriptions/{alert.subscription}/",
                    "ThresholdType": "Actual",
                    "BudgetType": "Cost",
                    "BudgetThreshold": money(alert.amount, alert.unit),
                    "NotificationThresholdAmount": limit,
                    "BudgetName": alert.budget,
                    "BudgetId": alert.budget_id,
                    "BudgetStartDate": alert.start.isoformat(),
                    "BudgetCreator": CREATOR,
                    "Unit": alert.unit,
                    "SpentAmount": spent,
                },
            },
        },
    }


def legacy_body(alert: Alert) -> dict[str, Any]:
    """The call's JSON as it is without the common alert schema; it does not say what type the threshold has."""
    return {
        "schemaId": "AIP Budget Notification",
        "data": {
            "SubscriptionName": f"subscription {alert.subscription[:8]}",
            "SubscriptionId": alert.subscription,
            "EnrollmentNumber": "",
            "DepartmentName": "",
            "AccountName": "",
            "BillingAccountId": "",
            "BillingProfileId": "",
            "InvoiceSectionId": "",
            "ResourceGroup": "",
            "SpendingAmount": f"{alert.spent:.2f}",
            "BudgetStartDate": f"{alert.start}T00:00:00Z",
            "Budget": f"{alert.amount:f}",
            "Unit": alert.unit,
            "BudgetCreator": CREATOR,
            "BudgetName": alert.budget,
            "BudgetType": "Cost",
            "NotificationThresholdAmount": f"{alert.limit:f}",
        },
    }


BODIES: dict[Schema, Callable[[Alert], dict[str, Any]]] = {"common": common_body, "legacy": legacy_body}
