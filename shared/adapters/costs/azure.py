"""Costs from Azure Cost Management: daily charges of a subscription, by resource group and service.

The SDK's own `query.usage` neither pages nor keeps amounts exact (they pass through floats), so the query is posted
with the client's `send_request`, and each page is read here: Azure/azure-sdk-for-python #18927, #33429, #39242.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from shared.adapters.azure.access import shown
from shared.adapters.azure.arm import ArmClient, Pages
from shared.adapters.azure.refusals import COSTS, refusals
from shared.adapters.costs.azure_answer import Answer, Totals
from shared.adapters.costs.progress import BrokenOff, packed, unpacked
from shared.domain.charges import key_of_group
from shared.domain.quota import Quota
from shared.ports.azure import AZURE
from shared.ports.clock import Clock, utc_now
from shared.ports.costs import CostAnswer, CostQuery
from shared.ports.errors import LaterError, NeverError, PauseError
from shared.ports.export_runs import closed_on

API_VERSION = "2025-03-01"
METRICS = ("ActualCost", "AmortizedCost")
LARGEST_PAGE = 5000
READ_SECONDS = 120.0
# A subscription has at most 980 resource groups: with 160 services in each, every day of a month, it fits.
MOST_PAGES = 1000
# Costs are refreshed every four hours or so: pages from before and after that may have a row twice, or not at all.
PROGRESS_LASTS = timedelta(hours=2)
# How often a night begins an answer anew of which Azure refuses a page.
MOST_BEGINNINGS_ANEW = 2
# Without a ClientType, a request shares one bucket of the tenant's quota with everybody else's tools.
HEADERS = {"ClientType": "BudgetWarden", "Content-Type": "application/json", "Accept": "application/json"}


@dataclass
class AzureCosts:
    """A CostSource that asks Azure Cost Management. Safe to use from several threads; loads no SDK before `read`.

    metric: ActualCost or AmortizedCost; ValueError for another. units_per_minute, units_per_hour: the share of the
    tenant's quota that we may use.
    """

    arm: ArmClient
    metric: str = "ActualCost"
    units_per_minute: int = 50
    units_per_hour: int = 500
    read_seconds: float = READ_SECONDS
    clock: Clock = utc_now

    provider = AZURE
    connection_type = "COST_MANAGEMENT"
    # Past this Azure cuts a daily query's beginning off, without a word.
    longest_window = timedelta(days=31)
    months_of_history = 13
    # Late usage of a month comes in, and is rated, until it is invoiced.
    month_closed_on = closed_on(AZURE)
    has_groups = True

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"'{self.metric}' is no cost metric; it has to be {' or '.join(METRICS)}")
        minute, hour = self.units_per_minute, self.units_per_hour
        # Cost Management's published quota is 12 query units in 10 seconds, a fifth of its minute's 60; we leave two.
        self.quota = Quota(
            minute, hour, 10.0, units_in_shortest=max(12, minute // 5), units_at_once=min(10, minute, hour)
        )

    def read(self, query: CostQuery, progress: bytes | None = None, until: datetime | None = None) -> CostAnswer:
        """Every charge of the window, rounded for storing. Raises LaterError, NeverError.

        progress: of the LaterError that broke the answer to this very query off; it goes on with the next page.
        until: no page but a first one is asked for after it.
        """
        if query.window.days > self.longest_window.days:
            raise NeverError(
                f"Azure answers {self.longest_window.days} days at most; {query.window.days} were asked for."
            )
        body = json.dumps(query_body(query, self.metric)).encode()
        answer, url = self._begun(query, body, progress)
        pages = Pages(self.arm.place, url, MOST_PAGES, answer.pages)
        begun_with = answer.pages
        while url:
            if answer.pages > begun_with and until is not None and self.clock() >= until:
                reason = f"Azure's answer is long; page {answer.pages + 1} is next."
                raise PauseError(reason, timedelta(0), self._progress(url, body, answer))
            url = pages.after(self._add_page(url, body, answer, resumed=0 < begun_with == answer.pages) or "")
        return CostAnswer(answer.charges(), answer.begun_at, answer.odd)

    def totals(self, query: CostQuery) -> Mapping[str, Decimal]:
        """What the window's charges come to, by currency: one query unit, and a page. Raises LaterError, NeverError."""
        body = json.dumps(total_body(query, self.metric)).encode()
        answer, url = Totals(query, self.clock()), query_url(self.arm, query.sub_account_id)
        pages = Pages(self.arm.place, url, MOST_PAGES, 0)
        while url:
            page = self._page(url, body, query.sub_account_id)
            url = pages.after((answer.add(page) if page is not None else None) or "")
        return answer.sums

    def _begun(self, query: CostQuery, body: bytes, progress: bytes | None) -> tuple[Answer, str]:
        """The answer as far as it has come, and where its next page is."""
        now, begun_anew = self.clock(), 0
        if progress:
            broken_off = unpacked(progress)
            if broken_off.asked == self._asked(query, body):
                begun_anew = broken_off.begun_anew
                if broken_off.pages and now - broken_off.begun_at <= PROGRESS_LASTS:
                    return Answer(query, broken_off.begun_at, broken_off.pages, begun_anew), broken_off.next_page
        return Answer(query, now, begun_anew=begun_anew), query_url(self.arm, query.sub_account_id)

    def _asked(self, query: CostQuery, body: bytes) -> str:
        """The whole question, with the endpoint, the groups and the metric, any of which may be others by now."""
        return f"{query_url(self.arm, query.sub_account_id)} {body.decode()}"

    def _add_page(self, url: str, body: bytes, answer: Answer, resumed: bool) -> str | None:
        """Adds one page, and returns the link to the next; those before it go with a LaterError, so that they need not
        be asked for again.
        """
        has_come = False
        try:
            page = self._page(url, body, answer.query.sub_account_id)
            has_come = True
            if page is None:
                _see_end(answer)
            return None if page is None else answer.add(page)
        except LaterError as error:
            raise LaterError(error.reason, error.wait, self._progress(url, body, answer)) from error
        except NeverError as error:
            # Nobody says how long a link to a page holds. If that is not it, the first page will say so.
            is_of_the_link = answer.pages > 0 and (resumed or not has_come)
            if not is_of_the_link or answer.begun_anew == MOST_BEGINNINGS_ANEW:
                raise
            anew = Answer(answer.query, answer.begun_at, begun_anew=answer.begun_anew + 1)
            reason = f"Azure does not go on with its answer, which is begun anew: {error.reason}"
            raise LaterError(reason, progress=self._progress(url, body, anew)) from error

    def _progress(self, url: str, body: bytes, answer: Answer) -> bytes | None:
        if not answer.pages and not answer.begun_anew:
            return None
        asked = self._asked(answer.query, body)
        return packed(BrokenOff(tuple(answer.bodies), url, asked, answer.begun_at, answer.begun_anew))

    def _page(self, url: str, body: bytes, subscription: str) -> bytes | None:
        """The body of one page, None for a 204."""
        from azure.core.rest import HttpRequest

        request = HttpRequest("POST", url, headers=HEADERS, content=body)
        with refusals(COSTS, "tell the costs of", f"subscription {shown(subscription, 60)}", self.clock):
            response = self.arm.cost_management.send_request(request, read_timeout=self.read_seconds)
        return None if response.status_code == 204 else response.content


def _see_end(answer: Answer) -> None:
    """A 204 says that there is no data; where a page was announced, it says that something went wrong."""
    if answer.pages:
        raise LaterError(f"Azure's answer broke off after page {answer.pages}: the next one is empty (204).")


def query_url(arm: ArmClient, subscription: str) -> str:
    """Where the query is posted: at subscription scope, since a ReadOnly lock on a group blocks POSTs there."""
    path = f"/subscriptions/{quote(subscription, safe='')}/providers/Microsoft.CostManagement/query"
    return arm.url(path, API_VERSION, top=str(LARGEST_PAGE))


def query_body(query: CostQuery, metric: str) -> dict[str, Any]:
    """The query as JSON. Both ends of Azure's time period are included; ours ends before its end."""
    last = query.window.end - timedelta(days=1)
    dataset: dict[str, Any] = {
        "granularity": "Daily",
        "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
        "grouping": [{"type": "Dimension", "name": "ResourceGroupName"}, {"type": "Dimension", "name": "ServiceName"}],
    }
    if query.resource_groups:
        names = _spellings(query.resource_groups)
        dataset["filter"] = {"dimensions": {"name": "ResourceGroupName", "operator": "In", "values": names}}
    return {
        "type": metric,
        "timeframe": "Custom",
        "timePeriod": {"from": f"{query.window.start}T00:00:00Z", "to": f"{last}T23:59:59Z"},
        "dataset": dataset,
    }


def total_body(query: CostQuery, metric: str) -> dict[str, Any]:
    """The same query without days and groups: a row for each currency."""
    body = query_body(query, metric)
    dataset = {name: value for name, value in body["dataset"].items() if name != "grouping"}
    return body | {"dataset": dataset | {"granularity": "None"}}


def _spellings(groups: tuple[str, ...]) -> list[str]:
    """The groups as given and in lower case: no document says that the filter disregards case."""
    return list(dict.fromkeys(name for group in groups for name in (group, key_of_group(group))))
