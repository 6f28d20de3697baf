"""Costs from Azure Cost Management: daily charges of a subscription, by resource group and service.

The SDK's own `query.usage` neither pages nor keeps amounts exact (they pass through floats), so the query is posted
with the client's `send_request`, and each page is read here: Azure/azure-sdk-for-python #18927, #33429, #39242.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from shared.adapters.azure.access import (
    CONNECT_SECONDS,
    READ_SECONDS,
    ArmEndpoint,
    credential_for,
    parse_endpoint,
    policies_for,
    token_error,
    transport_for,
)
from shared.adapters.costs.azure_answer import Answer
from shared.adapters.costs.azure_progress import BrokenOff, packed, unpacked
from shared.adapters.costs.azure_refusal import refusal, silence
from shared.domain.charges import ChargeSet, key_of_group
from shared.ports.azure import AZURE
from shared.ports.clock import Clock, utc_now
from shared.ports.costs import CostQuery, Quota
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse
    from azure.mgmt.costmanagement import CostManagementClient

API_VERSION = "2025-03-01"
METRICS = ("ActualCost", "AmortizedCost")
LARGEST_PAGE = 5000
# A subscription has at most 980 resource groups: with 160 services in each, every day of a month, it fits.
MOST_PAGES = 1000
# Past this Azure cuts a daily query's beginning off, without a word.
LONGEST_WINDOW_DAYS = 31
# A message asks for up to four answers, and a function that runs for ten minutes is killed, with all that it has read.
LONGEST_READ = timedelta(minutes=2)
# Costs are refreshed every four hours or so: pages from before and after that may have a row twice, or not at all.
PROGRESS_LASTS = timedelta(hours=2)
# Without a ClientType, a request shares one bucket of the tenant's quota with everybody else's tools.
HEADERS = {"ClientType": "BudgetWarden", "Content-Type": "application/json", "Accept": "application/json"}


@dataclass
class AzureCosts:
    """A CostSource that asks Azure Cost Management. Safe to use from several threads; loads no SDK before `read`.

    endpoint: Azure Resource Manager's, or the simulator's on this machine. metric: ActualCost or AmortizedCost.
    client_id: the user-assigned identity's; without one, whoever is found. credential: in place of those.
    Raises ValueError for an endpoint or a metric that can't be used.
    """

    endpoint: str
    metric: str = "ActualCost"
    client_id: str | None = None
    credential: TokenCredential | None = field(default=None, repr=False)
    connect_seconds: float = CONNECT_SECONDS
    read_seconds: float = READ_SECONDS
    clock: Clock = utc_now
    units_per_minute: int = 50
    units_per_hour: int = 500
    provider: str = field(default=AZURE, init=False)
    connection_type: str = field(default="COST_MANAGEMENT", init=False)
    longest_window: timedelta = field(default=timedelta(days=LONGEST_WINDOW_DAYS), init=False)
    months_of_history: int = field(default=13, init=False)
    has_groups: bool = field(default=True, init=False)
    quota: Quota = field(init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _client: CostManagementClient | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._arm: ArmEndpoint = parse_endpoint(self.endpoint)
        # Cost Management's published quota is 12 query units in 10 seconds, a fifth of its minute's 60; we leave two.
        in_shortest, at_once = max(12, self.units_per_minute // 5), min(10, self.units_per_minute, self.units_per_hour)
        self.quota = Quota(self.units_per_minute, self.units_per_hour, 10.0, in_shortest, at_once)
        if self.metric not in METRICS:
            raise ValueError(f"'{self.metric}' is no cost metric; it has to be {' or '.join(METRICS)}")

    def read(self, query: CostQuery, progress: bytes | None = None) -> ChargeSet:
        """Every charge of the window, rounded for storing. Raises LaterError, NeverError.

        progress: of the LaterError that broke the answer to this very query off; it goes on with the next page.
        """
        if query.window.days > LONGEST_WINDOW_DAYS:
            raise NeverError(f"Azure answers {LONGEST_WINDOW_DAYS} days at most; {query.window.days} were asked for.")
        body = json.dumps(query_body(query, self.metric)).encode()
        answer, url = self._begun(query, body, progress)
        seen: set[str] = set()
        started_at = self.clock()
        while url is not None:
            if seen and self.clock() - started_at > LONGEST_READ:
                reason = f"Azure's answer is long; page {answer.pages + 1} is next."
                raise LaterError(reason, timedelta(0), self._progress(url, body, answer))
            resumed = not seen and answer.pages > 0
            seen.add(url)
            page = self._next_page(url, body, answer, resumed)
            if page is None:
                return self._without_content(answer)
            link = answer.add(page)
            url = self._following(link, seen, answer.pages) if link else None
        return answer.charges()

    def _begun(self, query: CostQuery, body: bytes, progress: bytes | None) -> tuple[Answer, str | None]:
        """The answer as far as it has come, and where its next page is."""
        now = self.clock()
        broken_off = unpacked(progress) if progress else None
        if broken_off is None or not self._goes_on(broken_off, query, body, now):
            return Answer(query, now), query_url(self._arm, query.sub_account_id)
        answer = Answer(query, broken_off.begun_at)
        for page in broken_off.pages:
            answer.add(page)
        return answer, broken_off.next_url

    def _goes_on(self, broken_off: BrokenOff, query: CostQuery, body: bytes, now: datetime) -> bool:
        return broken_off.asked == self._asked(query, body) and now - broken_off.begun_at <= PROGRESS_LASTS

    def _asked(self, query: CostQuery, body: bytes) -> str:
        """The whole question, with the endpoint, the groups and the metric, any of which may be others by now."""
        return f"{query_url(self._arm, query.sub_account_id)} {body.decode()}"

    def close(self) -> None:
        """Closes the connections; a later `read` opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _without_content(self, answer: Answer) -> ChargeSet:
        """A 204 says that there is no data; where a page was announced, it says that something went wrong."""
        if answer.pages:
            raise LaterError(f"Azure's answer broke off after page {answer.pages}: the next one is empty (204).")
        return answer.charges()

    def _next_page(self, url: str, body: bytes, answer: Answer, resumed: bool) -> bytes | None:
        """The body of one page; those before it go with a LaterError, so that they need not be asked for again."""
        try:
            return self._page(url, body, answer.query.sub_account_id)
        except LaterError as error:
            raise LaterError(error.reason, error.wait, self._progress(url, body, answer)) from error
        except NeverError as error:
            if not resumed:
                raise
            # Nobody says how long a link to a page holds. If that is not it, the first page will say so.
            raise LaterError(f"Azure does not go on with an answer that broke off: {error.reason}") from error

    def _progress(self, url: str, body: bytes, answer: Answer) -> bytes | None:
        if not answer.pages:
            return None
        return packed(BrokenOff(tuple(answer.bodies), url, self._asked(answer.query, body), answer.begun_at))

    def _page(self, url: str, body: bytes, subscription: str) -> bytes | None:
        """The body of one page, None for a 204."""
        response = self._send(url, body)
        if response.status_code == 200:
            return response.content
        if response.status_code == 204:
            return None
        raise refusal(response, subscription, self.clock())

    def _send(self, url: str, body: bytes) -> HttpResponse:
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from azure.core.rest import HttpRequest

        request = HttpRequest("POST", url, headers=HEADERS, content=body)
        try:
            response = self._connected().send_request(request, **self._arm.send_options)
            response.read()
        except ClientAuthenticationError as error:
            raise token_error(error) from error
        except (AzureError, OSError) as error:  # OSError: what `requests` raises, where azure-core lets it pass
            raise silence(error) from error
        return response

    def _connected(self) -> CostManagementClient:
        with self._lock:
            if self._client is None:
                self._client = self._made()
            return self._client

    def _made(self) -> CostManagementClient:
        from azure.mgmt.costmanagement import CostManagementClient

        credential = self.credential or credential_for(self._arm, self.client_id)
        return CostManagementClient(
            credential,
            base_url=self._arm.url,
            credential_scopes=[self._arm.token_scope],
            policies=policies_for(self._arm, credential),
            transport=transport_for(self._arm, self.connect_seconds, self.read_seconds),
        )

    def _following(self, link: str, seen: set[str], pages: int) -> str:
        """The next page's URL. NeverError where following it would leak the token, or never end."""
        if not self._arm.holds(link):
            raise NeverError(f"Azure's answer links to another place than {self._arm.url} for its page {pages + 1}.")
        parts = urlsplit(link)
        # Put together anew, so that the token goes to our endpoint whatever else is in the link; the SDK takes
        # braces for placeholders.
        rest = f"{parts.path}?{parts.query}".replace("{", "%7B").replace("}", "%7D")
        url = f"{self._arm.url}{rest}"
        if url in seen:
            raise NeverError(f"Azure's answer goes in a circle: page {pages} links to a page that was read already.")
        if pages >= MOST_PAGES:
            raise NeverError(f"Azure's answer does not end: after {MOST_PAGES} pages there is still another one.")
        return url


def query_url(arm: ArmEndpoint, subscription: str) -> str:
    """Where the query is posted: at subscription scope, since a ReadOnly lock on a group blocks POSTs there."""
    scope = f"/subscriptions/{quote(subscription, safe='')}"
    return f"{arm.url}{scope}/providers/Microsoft.CostManagement/query?api-version={API_VERSION}&$top={LARGEST_PAGE}"


def query_body(query: CostQuery, metric: str) -> dict[str, Any]:
    """The query as JSON. Both ends of Azure's time period are included; ours ends before its end."""
    last = query.window.end - timedelta(days=1)
    dataset: dict[str, Any] = {
        "granularity": "Daily",
        "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
        "grouping": [
            {"type": "Dimension", "name": "ResourceGroupName"},
            {"type": "Dimension", "name": "ServiceName"},
        ],
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


def _spellings(groups: tuple[str, ...]) -> list[str]:
    """The groups as given and in lower case: no document says that the filter disregards case."""
    return list(dict.fromkeys(name for group in groups for name in (group, key_of_group(group))))
