"""The body of a budget's PUT: read, and refused as Azure refuses it (Microsoft.Consumption, 2024-08-01).

Rules from the reference of the API and from `azure.mgmt.consumption.models.BudgetProperties`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from localdev.azure_sim.arm import json_object
from localdev.azure_sim.wire import AzureError

# Months that a grain lasts; those of billing periods are for pay-as-you-go subscriptions.
GRAINS = {
    "Monthly": 1,
    "Quarterly": 3,
    "Annually": 12,
    "BillingMonth": 1,
    "BillingQuarter": 3,
    "BillingAnnual": 12,
}
OPERATORS = ("EqualTo", "GreaterThan", "GreaterThanOrEqualTo")
THRESHOLD_TYPES = ("Actual", "Forecasted")
MOST_NOTIFICATIONS = 5
LEAST_THRESHOLD, LARGEST_THRESHOLD = Decimal("0.01"), Decimal(1000)
EARLIEST_START = date(2017, 6, 1)
NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
GROUP_DIMENSIONS = ("resourcegroupname", "resourcegroup")
DEFAULT_YEARS = 10


@dataclass(frozen=True)
class Notification:
    """One notification of a budget; `threshold` in percent of the amount."""

    name: str
    enabled: bool
    operator: str
    threshold: Decimal
    threshold_type: str
    contact_groups: tuple[str, ...]

    def is_passed(self, spend: Decimal, amount: Decimal) -> bool:
        """Whether the spending has passed the threshold; only Actual ones are simulated."""
        limit = self.limit(amount)
        if not self.enabled or self.threshold_type != "Actual":
            return False
        comparisons = {"EqualTo": spend == limit, "GreaterThan": spend > limit}
        return comparisons.get(self.operator, spend >= limit)

    def limit(self, amount: Decimal) -> Decimal:
        """The spending at which the notification is due."""
        return amount * self.threshold / 100


@dataclass(frozen=True)
class BudgetTerms:
    """What a PUT says, checked. `groups`: in lower case; None is the whole subscription. Both days included."""

    amount: Decimal
    grain: str
    start: date
    end: date
    groups: frozenset[str] | None
    notifications: tuple[Notification, ...]
    properties: dict[str, Any]

    def window(self, day: date) -> tuple[date, date] | None:
        """The first and last day of the time grain window that holds the day; None outside the budget's life."""
        if not self.start <= day <= self.end:
            return None
        months = (day.year - self.start.year) * 12 + day.month - self.start.month
        first = add_months(self.start, months - months % GRAINS[self.grain])
        return first, min(self.end, add_months(first, GRAINS[self.grain]) - timedelta(days=1))


def add_months(first_of_month: date, months: int) -> date:
    """The first of the month that is so many months later."""
    number = first_of_month.year * 12 + first_of_month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def read_terms(body: bytes) -> tuple[BudgetTerms, str | None]:
    """The checked budget in a PUT's body, and the eTag that came with it."""
    value = json_object(body)
    given = value.get("properties")
    need(isinstance(given, dict), "The budget's properties are missing.")
    properties = {name: part for name, part in (given or {}).items() if name not in ("currentSpend", "forecastSpend")}
    need(_word(properties, "category", ("Cost",)) == "Cost", "The category must be Cost.")
    amount = _number(properties.get("amount"), "amount")
    need(amount > 0, "The amount must be greater than 0.")
    start, end = _time_period(properties)
    terms = BudgetTerms(
        amount=amount,
        grain=_word(properties, "timeGrain", tuple(GRAINS)),
        start=start,
        end=end,
        groups=_groups(properties.get("filter")),
        notifications=_notifications(properties.get("notifications") or {}),
        properties=properties,
    )
    tag = value.get("eTag")
    return terms, str(tag) if tag else None


def check_name(name: str) -> None:
    """AzureError 400 for a name that no budget can have."""
    need(NAME.fullmatch(name) is not None, f"Budget name '{name}' is invalid: use up to 63 of A-Z a-z 0-9 _ -.")


def check_new_start(terms: BudgetTerms, today: date) -> None:
    """AzureError 400 where a new budget would start too early or too late for Azure.

    The reference: a past start "within the timegrain period", a future one at most twelve months ahead.
    """
    need(terms.start <= add_months(today.replace(day=1), 12), "Start date should not be more than 12 months ahead.")
    need(
        add_months(terms.start, GRAINS[terms.grain]) > today,
        f"Start date should not be prior to the current time grain period ({terms.grain}).",
    )


def need(condition: bool, message: str) -> None:
    """AzureError 400 with this message unless the condition holds."""
    if not condition:
        raise AzureError(400, "400", message)


def _word(properties: Mapping[str, Any], name: str, valid: tuple[str, ...]) -> str:
    """The value in Azure's spelling, which also takes its place."""
    given = str(properties.get(name, ""))
    proper = next((word for word in valid if word.lower() == given.lower()), "")
    need(bool(proper), f"Invalid {name} '{given}'; valid values: {', '.join(valid)}.")
    if isinstance(properties, dict):
        properties[name] = proper
    return proper


def _number(value: object, what: str) -> Decimal:
    # JSON's true is a number to Python.
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise AzureError(400, "400", f"The {what} must be a number.")


def _time_period(properties: dict[str, Any]) -> tuple[date, date]:
    period = properties.get("timePeriod")
    need(isinstance(period, dict), "The timePeriod is missing.")
    start = _day((period or {}).get("startDate"), "start date")
    need(start.day == 1, "Start date must be the first of a month.")
    need(start >= EARLIEST_START, f"Start date must be on or after {EARLIEST_START}.")
    text = (period or {}).get("endDate")
    end = _day(text, "end date") if text else add_months(start, 12 * DEFAULT_YEARS)
    need(start < end, "Start date must be before the end date.")
    # Azure answers with both dates as date-times, and fills in the end.
    properties["timePeriod"] = {"startDate": f"{start}T00:00:00Z", "endDate": f"{end}T00:00:00Z"}
    return start, end


def _day(text: object, what: str) -> date:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise AzureError(400, "400", f"The {what} '{text}' is not a date-time.") from None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _groups(value: object) -> frozenset[str] | None:
    """The resource groups of a filter; `and` takes those that are in all of its parts."""
    if value is None or value == {}:
        return None
    need(isinstance(value, dict) and len(value) == 1, "Filter needs exactly one of and, dimensions, tags.")
    kind, content = next(iter(value.items())) if isinstance(value, dict) else ("", None)
    if kind == "and":
        need(isinstance(content, list) and len(content) >= 2, "Filter 'and' must have at least 2 items.")
        return frozenset.intersection(*(_groups(part) or frozenset() for part in content or ()))
    need(kind == "dimensions", f"The simulator has no charges with {kind}: filter by dimensions.")
    return _dimension(content if isinstance(content, dict) else {})


def _dimension(comparison: Mapping[str, Any]) -> frozenset[str]:
    name, values = str(comparison.get("name", "")), comparison.get("values")
    need(name.lower() in GROUP_DIMENSIONS, f"The simulator's budgets filter by ResourceGroupName, not by '{name}'.")
    need(str(comparison.get("operator", "")).lower() == "in", "Filter operator must be In.")
    need(isinstance(values, list) and bool(values), "Filter values are missing.")
    return frozenset(str(one).lower() for one in values or ())


def _notifications(value: object) -> tuple[Notification, ...]:
    need(isinstance(value, dict), "Notifications must be an object.")
    notifications = value if isinstance(value, dict) else {}
    need(len(notifications) <= MOST_NOTIFICATIONS, f"Budget can have up to {MOST_NOTIFICATIONS} notifications.")
    return tuple(_notification(name, content) for name, content in notifications.items())


def _notification(name: str, content: object) -> Notification:
    need(isinstance(content, dict), f"Notification '{name}' must be an object.")
    given = content if isinstance(content, dict) else {}
    threshold = _number(given.get("threshold"), f"threshold of notification '{name}'")
    need(
        LEAST_THRESHOLD <= threshold <= LARGEST_THRESHOLD,
        f"Threshold of notification '{name}' must be between {LEAST_THRESHOLD} and {LARGEST_THRESHOLD}.",
    )
    emails, groups = given.get("contactEmails"), given.get("contactGroups") or []
    need(isinstance(emails, list), f"contactEmails of notification '{name}' is required; it may be empty.")
    need(isinstance(groups, list), f"contactGroups of notification '{name}' must be a list.")
    reached = bool(emails or groups or given.get("contactRoles"))
    need(reached, f"Notification '{name}' needs a contact email, role or group.")
    need(isinstance(given.get("enabled"), bool), f"Notification '{name}' must say whether it is enabled.")
    given.setdefault("thresholdType", "Actual")
    return Notification(
        name=name,
        enabled=given["enabled"],
        operator=_word(given, "operator", OPERATORS),
        threshold=threshold,
        threshold_type=_word(given, "thresholdType", THRESHOLD_TYPES),
        contact_groups=tuple(str(group) for group in groups),
    )
