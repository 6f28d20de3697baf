"""The body of a cost query: read, and refused with the words that Azure has for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from localdev.azure_sim.wire import AzureError

GROUP, SERVICE = "ResourceGroupName", "ServiceName"
# Azure knows some forty dimensions; these are the ones that the simulator's charges have.
DIMENSIONS = {"resourcegroup": GROUP, "resourcegroupname": GROUP, "servicename": SERVICE}
LONGEST_DAILY_QUERY = 31

Matches = Callable[[tuple[str, str]], bool]
"""Whether a filter takes a row with this (resource group, service), both in lower case."""


@dataclass(frozen=True)
class CostQuery:
    """A query that passed: both days included; `grouping`: GROUP and SERVICE in its order; `digest`: of the body.

    by_day: False for one sum of all the days, by currency. metric: ActualCost or AmortizedCost.
    """

    first: date
    last: date
    grouping: tuple[str, ...]
    matches: Matches | None
    digest: str
    by_day: bool = True
    metric: str = "ActualCost"

    @property
    def qpu(self) -> int:
        """The query's price: one unit per calendar month that it touches."""
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1


def parse_query(body: bytes) -> CostQuery:
    """The query in the request's body; AzureError 400 says what is wrong with it."""
    try:
        value = json.loads(body)
    except ValueError:
        raise AzureError(400, "InvalidRequestContent", "The request content was invalid JSON.") from None
    _need(isinstance(value, dict), "Query is invalid or not supplied.")
    metric = _one_of(value, "type", ("ActualCost", "AmortizedCost"))
    _one_of(value, "timeframe", ("Custom",))
    dataset = value.get("dataset")
    _need(isinstance(dataset, dict), "Dataset is invalid or not supplied.")
    # Azure knows others; the app asks by day or for a total, and so does the simulator answer.
    by_day = _one_of(dataset, "granularity", ("Daily", "None")) == "Daily"
    _check_aggregation(dataset.get("aggregation"))
    first, last = _time_period(value.get("timePeriod"), by_day)
    return CostQuery(
        first=first,
        last=last,
        grouping=_grouping(dataset.get("grouping") or [], by_day),
        matches=_filter(dataset["filter"]) if dataset.get("filter") is not None else None,
        digest=sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16],
        by_day=by_day,
        metric=metric,
    )


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise AzureError(400, "BadRequest", f"Invalid query definition: {message}")


def _one_of(value: Mapping[str, Any], name: str, valid: tuple[str, ...]) -> str:
    """The value's proper spelling; Azure takes these words in any case."""
    given = str(value.get(name, ""))
    proper = next((word for word in valid if word.lower() == given.lower()), None)
    listed = ",".join(f"'{word}'" for word in valid)
    _need(proper is not None, f"Invalid {name}: '{given}'; valid values: {listed}.")
    return proper or ""


def _check_aggregation(aggregation: object) -> None:
    _need(isinstance(aggregation, dict) and bool(aggregation), "Dataset aggregation is not supplied.")
    parts = list(aggregation.values()) if isinstance(aggregation, dict) else []
    _need(len(parts) <= 2, "Dataset aggregation is limited to 2.")
    # Azure allows two; the simulator's charges have one amount only.
    _need(len(parts) == 1, "The simulator answers one aggregation.")
    part = parts[0]
    _need(isinstance(part, dict), "Invalid dataset aggregation.")
    _one_of(part, "name", ("Cost", "PreTaxCost"))
    _one_of(part, "function", ("Sum",))


def _time_period(value: object, by_day: bool) -> tuple[date, date]:
    _need(isinstance(value, dict), "Time period is not supplied, and the timeframe is Custom.")
    period = value if isinstance(value, dict) else {}
    first, last = _day(period.get("from")), _day(period.get("to"))
    _need(first <= last, f"Time period 'from' {first} is after 'to' {last}.")
    days = (last - first).days + 1
    _need(
        days <= LONGEST_DAILY_QUERY or not by_day,
        f"The time period for pulling the data cannot exceed {LONGEST_DAILY_QUERY} days "
        f"with granularity Daily; it has {days}.",
    )
    return first, last


def _day(text: object) -> date:
    """The UTC day of an ISO date or date-time."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise AzureError(400, "BadRequest", f"Invalid query definition: '{text}' is not a date-time.") from None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _grouping(value: object, by_day: bool) -> tuple[str, ...]:
    _need(isinstance(value, list), "Dataset grouping is invalid.")
    groupings = value if isinstance(value, list) else []
    _need(len(groupings) <= 2, "Dataset grouping is limited to 2.")
    for grouping in groupings:
        _need(isinstance(grouping, dict), "Dataset grouping is invalid.")
        _one_of(grouping, "type", ("Dimension",))
    names = tuple(_dimension(grouping.get("name"), "grouping") for grouping in groupings)
    wanted = 2 if by_day else 0
    _need(len(set(names)) == wanted, "The simulator answers by resource group and service, or one total of all days.")
    return names


def _dimension(name: object, where: str) -> str:
    known = DIMENSIONS.get(str(name).lower())
    _need(
        known is not None,
        f"Invalid dataset {where}: '{name}'; valid values: 'ResourceGroup','ResourceGroupName','ServiceName'.",
    )
    return known or ""


def _filter(value: object) -> Matches:
    """The filter as a function: a comparison of a dimension."""
    content = value.get("dimensions") if isinstance(value, dict) and len(value) == 1 else None
    _need(content is not None, "The simulator's filters compare dimensions.")
    return _comparison(content)


def _comparison(value: object) -> Matches:
    comparison = value if isinstance(value, dict) else {}
    dimension = _dimension(comparison.get("name"), "filter")
    _one_of(comparison, "operator", ("In",))
    values = comparison.get("values")
    _need(isinstance(values, list) and bool(values), "Dataset filter has no values.")
    wanted = frozenset(str(one).lower() for one in values or ())
    place = 0 if dimension == GROUP else 1
    return lambda names: names[place] in wanted
