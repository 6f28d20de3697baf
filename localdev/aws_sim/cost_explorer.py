"""GetCostAndUsage of Cost Explorer: daily, by up to two dimensions, in pages that are paid for."""

import json
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from localdev.aws_sim.book import AwsBook, AwsCharge
from localdev.aws_sim.organizations import Organization, OrganizationsApi
from localdev.aws_sim.wire import AwsError, Call

DIMENSIONS: dict[str, Callable[[AwsCharge], str]] = {
    "LINKED_ACCOUNT": lambda charge: charge.account,
    "SERVICE": lambda charge: charge.service,
    "USAGE_TYPE": lambda charge: charge.usage_type,
    "RECORD_TYPE": lambda charge: charge.record_type,
}
METRICS = ("UnblendedCost", "AmortizedCost")
DAY = timedelta(days=1)
Row = tuple[date, tuple[str, ...], str, str]
"""Day, keys, amount, unit"""


class CostExplorerApi:
    """Answers out of a book. rows_a_page: at most; not_enabled: accounts that never enabled Cost Explorer.

    estimated_from: the first estimated day; else the first of today's month. follow_any_token: to the first page.
    """

    def __init__(
        self, book: AwsBook, organizations: OrganizationsApi, rows_a_page: int, today: Callable[[], date] | None
    ):
        self.book, self.rows_a_page, self.today = book, rows_a_page, today
        self.not_enabled: set[str] = set()
        self.follow_any_token = False
        self.estimated_from: date | None = None
        self._organizations = organizations
        self._answers: dict[str, tuple[int, list[Row]]] = {}

    def answer(self, call: Call) -> Mapping[str, Any]:
        """A page of the answer. AwsError."""
        call.check_allowed()
        organization = self._organizations.of(call.account)
        self._check_enabled(call, organization)
        if call.operation != "GetCostAndUsage":
            raise AwsError(400, "UnknownOperationException", f"The simulator does not play {call.operation}.")
        start, end = self._period(call.given)
        asked = {name: value for name, value in call.given.items() if name != "NextPageToken"}
        digest = sha256(json.dumps([call.account, asked], sort_keys=True).encode()).hexdigest()[:16]
        token = None if self.follow_any_token else call.given.get("NextPageToken")
        begin = _position(token, digest)
        rows = self._rows(digest, call, self._readable(call.account, organization), start, end)
        until = begin + self.rows_a_page
        # Days without rows come too, each on the page of the rows around it.
        first = start if begin == 0 else min(rows[begin - 1][0] + DAY, rows[begin][0])
        past = rows[until - 1][0] + DAY if until < len(rows) else end
        days = [first + DAY * number for number in range((past - first).days)]
        page: dict[str, Any] = {
            "GroupDefinitions": call.given["GroupBy"],
            "ResultsByTime": list(self._results(rows[begin:until], days, call.given["Metrics"][0])),
            "DimensionValueAttributes": _names(organization, call.given["GroupBy"]),
        }
        if until < len(rows):
            page["NextPageToken"] = b64encode(json.dumps([digest, until]).encode()).decode()
        return page

    def _check_enabled(self, call: Call, organization: Organization | None) -> None:
        payer = organization.payer if organization else call.account
        if payer in self.not_enabled:
            raise AwsError(400, "AccessDeniedException", "User not enabled for cost explorer access")
        if organization and call.account != payer and not organization.members_see_costs:
            raise AwsError(400, "AccessDeniedException", "Linked account doesn't have access to cost explorer")

    def _readable(self, account: str, organization: Organization | None) -> list[str]:
        """A payer reads what its members spend, those that left too."""
        return list(organization.accounts) if organization and organization.payer == account else [account]

    def _period(self, given: Mapping[str, Any]) -> tuple[date, date]:
        start, end = (date.fromisoformat(given["TimePeriod"][name]) for name in ("Start", "End"))
        if start >= end:
            raise AwsError(400, "ValidationException", "Start date (and hour) should be before end date (and hour)")
        if self.today is None:
            return start, end
        today = self.today()
        if end > (today.replace(day=1) + timedelta(days=32)).replace(day=1):
            raise AwsError(400, "ValidationException", "end date past the beginning of next month")
        if (today.year - start.year) * 12 + today.month - start.month > 14:
            raise AwsError(400, "ValidationException", "You haven't enabled historical data beyond 14 months")
        return start, end

    def _rows(self, digest: str, call: Call, accounts: list[str], start: date, end: date) -> list[Row]:
        """The rows of the whole answer, in its order; kept for the pages that follow."""
        version, rows = self._answers.get(digest, (-1, []))
        if version == self.book.version:
            return rows
        keys = [DIMENSIONS[each["Key"]] for each in _grouping(call.given)]
        passes, metric = _filter(call.given.get("Filter")), call.given["Metrics"][0]
        if metric not in METRICS:
            raise AwsError(400, "ValidationException", f"Invalid metric: {metric}")
        version, rows = self.book.version, []
        for number in range((end - start).days):
            day = start + DAY * number
            charges = (charge for account in accounts for charge in self.book.on(account, day) if passes(charge))
            rows += _summed(day, charges, keys, metric)
        self._answers[digest] = version, rows
        return rows

    def _results(self, rows: list[Row], days: list[date], metric: str) -> Iterator[dict[str, Any]]:
        by_day: dict[date, list[Row]] = {day: [] for day in days}
        for row in rows:
            by_day.setdefault(row[0], []).append(row)
        today = self.today() if self.today else date.max
        estimated_from = self.estimated_from or today.replace(day=1)
        for day, of_day in by_day.items():
            yield {
                "TimePeriod": {"Start": str(day), "End": str(day + DAY)},
                "Total": {},
                "Groups": [
                    {"Keys": list(keys), "Metrics": {metric: {"Amount": amount, "Unit": unit}}}
                    for _day, keys, amount, unit in of_day
                ],
                "Estimated": day >= estimated_from,
            }


def _summed(
    day: date, charges: Iterator[AwsCharge], keys: list[Callable[[AwsCharge], str]], metric: str
) -> Iterator[Row]:
    sums: defaultdict[tuple[tuple[str, ...], str], list[Decimal]] = defaultdict(list)
    for charge in charges:
        sums[tuple(key(charge) for key in keys), charge.unit].append(charge.cost(metric))
    for (names, unit), amounts in sorted(sums.items()):
        # One alone is told as it was written, such as -0.
        yield day, names, str(amounts[0] if len(amounts) == 1 else sum(amounts)), unit


def _grouping(given: Mapping[str, Any]) -> list[Mapping[str, str]]:
    grouping: list[Mapping[str, str]] = given["GroupBy"]
    if given["Granularity"] != "DAILY" or len(given["Metrics"]) != 1:
        raise AwsError(400, "ValidationException", "The simulator answers one metric, by day.")
    if len(grouping) > 2 or any(each["Key"] not in DIMENSIONS for each in grouping):
        raise AwsError(400, "ValidationException", "Group by: at most two, and of the dimensions that are known.")
    return grouping


def _filter(given: Mapping[str, Any] | None) -> Callable[[AwsCharge], bool]:
    if given is None:
        return lambda _charge: True
    ((kind, content),) = given.items()
    if kind == "Not":
        refused = _filter(content)
        return lambda charge: not refused(charge)
    if kind == "And":
        if len(content) < 2:
            raise AwsError(400, "ValidationException", "An And has two expressions at least.")
        parts = [_filter(part) for part in content]
        return lambda charge: all(passes(charge) for passes in parts)
    if kind != "Dimensions":
        raise AwsError(400, "ValidationException", f"The simulator has no filter {kind}.")
    value, wanted = DIMENSIONS[content["Key"]], frozenset(content["Values"])
    return lambda charge: value(charge) in wanted


def _names(organization: Organization | None, grouping: list[Mapping[str, str]]) -> list[dict[str, Any]]:
    if organization is None or all(each["Key"] != "LINKED_ACCOUNT" for each in grouping):
        return []
    accounts = organization.accounts.values()
    return [{"Value": each.id, "Attributes": {"description": each.name}} for each in accounts]


def _position(token: str | None, digest: str) -> int:
    if token is None:
        return 0
    try:
        made_for, begin = json.loads(b64decode(token, validate=True))
    except ValueError:
        raise AwsError(400, "InvalidNextTokenException", "The pagination token is invalid.") from None
    if made_for != digest:
        raise AwsError(400, "RequestChangedException", "Your request parameters changed between pages.")
    return int(begin)
