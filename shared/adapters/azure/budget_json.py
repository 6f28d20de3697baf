"""Azure's JSON of a budget (Microsoft.Consumption/budgets, 2024-08-01), read and written.

The SDK's own models parse each number through a binary float, and stop at the first odd budget of a list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.domain.charges import key_of_group
from shared.ports.azure import AzureBudget, BudgetNotice

GROUP_DIMENSIONS = ("resourcegroupname", "resourcegroup")
READ_ONLY = ("currentSpend", "forecastSpend")
# "If not provided, we default this to 10 years from the start date" (the reference, timePeriod.endDate).
DEFAULT_LIFE = timedelta(days=3650)
# JSON can spell numbers of any size. No database holds 10**18; the floats that Azure writes have up to 17 digits, and
# what is left where they should come to nothing is some 1E-14.
LARGEST_NUMBER, MOST_DIGITS = Decimal(10**18), 30


def read_budget(item: Any) -> AzureBudget | None:
    """The budget in an answer; None for what is no budget of costs, or lacks what each budget has."""
    try:
        return _budget(item)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None


def is_at(item: Any, subscription_id: str) -> bool:
    """Whether the item of a list is at the subscription itself, and not at a resource group of it."""
    identity = str(item.get("id") or "") if isinstance(item, dict) else ""
    parent, _, _ = identity.strip("/").lower().rpartition("/providers/microsoft.consumption/budgets/")
    return parent == f"subscriptions/{subscription_id.lower()}"


def written(budget: AzureBudget, before: Mapping[str, Any] | None) -> bytes:
    """The body that makes the budget, or brings `before` (Azure's JSON of it) to it; the rest of that stays."""
    kept = dict(before["properties"]) if before else {}
    properties = {
        **{name: value for name, value in kept.items() if name not in READ_ONLY},
        "category": budget.category,
        "amount": budget.amount,
        "timeGrain": budget.time_grain,
        "timePeriod": {"startDate": _text_of(budget.first_day), "endDate": _text_of(budget.last_day)},
        "notifications": _notifications(budget, kept.get("notifications") or {}),
    }
    if budget.resource_groups is not None:
        values = list(budget.resource_groups)
        properties["filter"] = {"dimensions": {"name": "ResourceGroupName", "operator": "In", "values": values}}
    body = {"properties": properties} | ({"eTag": budget.e_tag} if budget.e_tag else {})
    # A float is written with the fewest digits that mean it: of up to 15, as of any amount in cents that is less than
    # ten trillion, each one stays.
    return json.dumps(body, default=float).encode()


def _budget(item: Any) -> AzureBudget:
    properties = item["properties"]
    if properties["category"].lower() != "cost":
        raise ValueError("not a budget of costs")
    first_day = _day(properties["timePeriod"]["startDate"])
    end = properties["timePeriod"].get("endDate")
    spend = properties.get("currentSpend") or {}
    return AzureBudget(
        name=_text(item["name"]),
        amount=_number(properties["amount"]),
        time_grain=_text(properties["timeGrain"]),
        first_day=first_day,
        last_day=_day(end) if end else first_day + DEFAULT_LIFE,
        resource_groups=_groups(properties.get("filter")),
        notices={name: _notice(given) for name, given in (properties.get("notifications") or {}).items()},
        category=properties["category"],
        current_spend=_number(spend["amount"]) if spend.get("amount") is not None else None,
        currency=_text(spend["unit"]).upper() if spend.get("unit") else None,
        e_tag=item.get("eTag") or None,
    )


def _notice(given: Any) -> BudgetNotice:
    return BudgetNotice(
        threshold=_number(given["threshold"]),
        operator=_text(given["operator"]),
        forecast=str(given.get("thresholdType")).lower() == "forecasted",
        action_groups=_texts(given.get("contactGroups")),
        emails=_texts(given.get("contactEmails")),
        roles=_texts(given.get("contactRoles")),
        enabled=given.get("enabled") is not False,
    )


def _groups(given: Any) -> tuple[str, ...] | None:
    """The resource groups that a filter lets through, each once; None for any other filter, and for none."""
    parts = {kind: content for kind, content in (given or {}).items() if content}
    if set(parts) == {"and"} and len(parts["and"]) == 1:
        return _groups(parts["and"][0])
    if set(parts) != {"dimensions"}:
        return None
    dimension = parts["dimensions"]
    if str(dimension["name"]).lower() not in GROUP_DIMENSIONS or str(dimension["operator"]).lower() != "in":
        return None
    names: dict[str, str] = {}
    for name in _texts(dimension["values"]):
        names.setdefault(key_of_group(name), name)
    return tuple(names.values())


def _notifications(budget: AzureBudget, before: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are as they were stay to the letter, with what we don't know of, such as their language."""
    return {
        name: before[name] if _same(before.get(name), notice) else {**before.get(name, {}), **_given(notice)}
        for name, notice in budget.notices.items()
    }


def _same(given: Any, notice: BudgetNotice) -> bool:
    return given is not None and _notice(given) == notice


def _given(notice: BudgetNotice) -> dict[str, Any]:
    """A notification as Azure takes it: `contactEmails` has to be there, and may be empty beside an action group."""
    return {
        "enabled": notice.enabled,
        "operator": notice.operator,
        "threshold": notice.threshold,
        "thresholdType": "Forecasted" if notice.forecast else "Actual",
        "contactEmails": list(notice.emails),
        "contactRoles": list(notice.roles),
        "contactGroups": list(notice.action_groups),
    }


def _text_of(day: date) -> str:
    return f"{day}T00:00:00Z"


def _day(text: str) -> date:
    moment = datetime.fromisoformat(text)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _number(value: Any) -> Decimal:
    """An amount or a percentage, exactly; not one that would overflow, or fill pages, when it is reckoned with."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
        digits = max(len(number.as_tuple().digits), -number.adjusted())
        if number.copy_abs() < LARGEST_NUMBER and digits <= MOST_DIGITS:
            return number
    raise ValueError("not a number that means anything")


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("not a text")


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(_text(value) for value in values or ())
