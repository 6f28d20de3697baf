"""Azure Resource Manager: the one client through which every adapter asks it, whatever the subscription.

The SDKs are imported inside the functions: each takes a quarter of a second, and only some functions need them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http.cookiejar import DefaultCookiePolicy
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from shared.adapters.azure.access import ArmEndpoint, EndpointPolicy, credential_for, parse_endpoint, shown
from shared.adapters.azure.refusals import RefusedError, is_error
from shared.ports.azure import ResourceGroup
from shared.ports.errors import NeverError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline import PipelineRequest, PipelineResponse
    from azure.core.pipeline.transport import RequestsTransport
    from azure.core.rest import HttpResponse
    from azure.mgmt.consumption import ConsumptionManagementClient
    from azure.mgmt.costmanagement import CostManagementClient

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
# More than an instance ever uses at once: the messages of four queues, and calls over HTTP.
CONNECTIONS = 32
# One block for nearly every page of costs (350 KB).
BLOCK_BYTES = 1 << 20
# Lists come in pages of a hundred or more; no subscription holds as many budgets, no group as many locks or machines.
MOST_PAGES = 200
SUBSCRIPTION = re.compile(r"[0-9A-Za-z-]{1,64}")
# Azure's rule for names. A name of dots only would lead to another place: `resourceGroups/..` is the subscription.
GROUP = re.compile(r"[-\w.()]{0,89}[-\w()]")
# Whatever else Azure lets stand in the names of other things: what would lead to another place in a URL is not in them.
PART = re.compile(r"(?!\.{1,2}$)[^/\\?%\x00-\x1f]{1,260}")

Part = TypeVar("Part")


@dataclass
class ArmClient:
    """Azure Resource Manager. Safe to use from several threads; loads no SDK before its first call.

    endpoint: its URL, or the simulator's on this machine. client_id: the user-assigned identity's; without one, whoever
    is found. credential: in place of those. mark: of an installation that changes nothing in Azure, whoever asks
    for it; empty for one that does. Raises ValueError for an endpoint that can't be used.
    """

    endpoint: str
    client_id: str | None = None
    credential: TokenCredential | None = field(default=None, repr=False)
    connect_seconds: float = CONNECT_SECONDS
    read_seconds: float = READ_SECONDS
    mark: str = ""
    _lock: RLock = field(default_factory=RLock, init=False, repr=False)
    _parts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.place: ArmEndpoint = parse_endpoint(self.endpoint)

    @property
    def cost_management(self) -> CostManagementClient:
        """Microsoft's client of Microsoft.CostManagement; a refusal is a RefusedError."""
        from azure.mgmt.costmanagement import CostManagementClient, __version__

        sdk = f"mgmt-costmanagement/{__version__}"
        return self._once(sdk, lambda: CostManagementClient(self._identity, **self._options(sdk)))

    @property
    def consumption(self) -> ConsumptionManagementClient:
        """Microsoft's client of Microsoft.Consumption; a refusal is a RefusedError.

        It serves every subscription: the operations that we call name their scope, and only others take the client's.
        """
        from azure.mgmt.consumption import ConsumptionManagementClient, __version__

        sdk = f"mgmt-consumption/{__version__}"
        return self._once(sdk, lambda: ConsumptionManagementClient(self._identity, "none", **self._options(sdk)))

    def url(self, path: str, api_version: str, **query: str) -> str:
        """The address of a resource. path: quoted. query: the parameters that Azure writes with a `$`."""
        parameters = {"api-version": api_version, **{f"${name}": value for name, value in query.items()}}
        return f"{self.place.url}{path}?{urlencode(parameters, safe='$()')}"

    def send(self, method: str, url: str, body: Any = None) -> HttpResponse:
        """The answer, read to its end. body: written as JSON. Raises RefusedError, and what azure-core raises."""
        from azure.core import PipelineClient
        from azure.core.rest import HttpRequest

        client = self._once("core", lambda: PipelineClient(**self._options("core")))
        request = HttpRequest(method, url, headers={"Accept": "application/json"}, json=body)
        response: HttpResponse = client.send_request(request)
        return response

    def ask(self, method: str, url: str, body: Any = None) -> Any:
        """The JSON of the answer, its numbers exact. Raises as `send`, and ValueError where it is none."""
        return read_json(self.send(method, url, body))

    def items(self, url: str, page_at: Callable[[str], Any] | None = None) -> Iterator[Any]:
        """What stands in all the pages of a list, as they come; raises as `ask`, and NeverError as `Pages`.

        page_at: gives the JSON of the page at a URL, where that takes more than a GET.
        """
        pages, next_url = Pages(self.place, url), url
        while next_url:
            page = page_at(next_url) if page_at else self.ask("GET", next_url)
            found = within(page, "value")
            if not isinstance(found, list):
                raise TypeError("the answer is no list")
            yield from found
            next_url = pages.after(page.get("nextLink") or "")

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._lock:
            if "transport" in self._parts:
                self._parts["transport"].close()
            self._parts.clear()

    @property
    def _identity(self) -> TokenCredential:
        return self._once("identity", lambda: self.credential or credential_for(self.place, self.client_id))

    def _once(self, name: str, make: Callable[[], Part]) -> Part:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = make()
            part: Part = self._parts[name]
            return part

    def _options(self, sdk: str) -> dict[str, Any]:
        """What an SDK's client is made with, so that it goes our way: one pool of connections, one token."""
        return {
            "base_url": self.place.url,
            "credential_scopes": [self.place.token_scope],
            "policies": self._policies(sdk),
            "transport": self._once("transport", self._transport),
        }

    def _policies(self, sdk: str) -> list[Any]:
        """The steps that a request takes through azure-core, in place of the SDK's own list.

        Left out on purpose: retries (they sleep inside the call, without a cap), the registration of resource providers
        (polls every 10 s without end), redirects (would carry the token elsewhere) and decoding (parses each body into
        floats, which nobody reads).
        """
        from azure.core.pipeline.policies import CustomHookPolicy, RequestIdPolicy, UserAgentPolicy
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

        agent = UserAgentPolicy(user_agent="BudgetWarden", sdk_moniker=sdk)
        token = self._once("token", lambda: ARMChallengeAuthenticationPolicy(self._identity, self.place.token_scope))
        endpoint = EndpointPolicy(self.place, self.mark)
        return [RequestIdPolicy(), agent, CustomHookPolicy(), AnswerPolicy(), endpoint, token, ReadPolicy()]

    def _transport(self) -> RequestsTransport:
        """HTTP with time-outs for whole answers; a proxy from the environment is used, but not for this machine."""
        from azure.core.pipeline.transport import RequestsTransport

        from shared.adapters.azure.connections import BoundedAdapter

        transport = RequestsTransport(
            connection_timeout=self.connect_seconds,
            read_timeout=self.read_seconds,
            connection_data_block_size=BLOCK_BYTES,
            use_env_settings=not self.place.is_local,
        )
        transport.open()
        # One subscription's cookies are no business of another's.
        transport.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme, adapter in list(transport.session.adapters.items()):
            bounded = BoundedAdapter(1, CONNECTIONS, max_retries=adapter.max_retries)
            transport.session.mount(scheme, bounded)
        return transport


class Pages:
    """Follows the links from one page of an answer to the next.

    first: where it begins, or goes on. read: how many pages were read before that. most: how many there may be.
    """

    def __init__(self, place: ArmEndpoint, first: str, most: int = MOST_PAGES, read: int = 0) -> None:
        self._place, self._most, self._read = place, most, read
        self._at, self._seen = first, {first}

    def after(self, link: str) -> str:
        """The next page's URL; empty where there is no link. NeverError where it would leak the token, or not end."""
        self._read += 1
        if not link:
            return ""
        # What can't be joined is no link of ours either.
        with suppress(ValueError):
            link = link if urlsplit(link).scheme else urljoin(self._at, link)
        if not self._place.holds(link):
            raise NeverError(
                f"Azure's answer links to another place than {self._place.url} for its page {self._read + 1}."
            )
        parts = urlsplit(link)
        # Put together anew, so that the token goes to our endpoint whatever else is in the link; the SDKs take braces
        # for placeholders.
        rest = f"{parts.path}?{parts.query}".replace("{", "%7B").replace("}", "%7D")
        url = f"{self._place.url}{rest}"
        if url in self._seen:
            raise NeverError(
                f"Azure's answer goes in a circle: page {self._read} links to a page that was read already."
            )
        if self._read >= self._most:
            raise NeverError(f"Azure's answer does not end: after {self._most} pages there is still another one.")
        self._at = url
        self._seen.add(url)
        return url


class AnswerPolicy:
    """A step through azure-core: raises RefusedError for an answer that is no success.

    No subclass of azure-core's HTTPPolicy, since that would load azure-core with the module.
    """

    next: Any = None

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Passes the request on, and its answer back."""
        # Without it, the body is read in pieces of 10 KB whatever the block size, at half the speed.
        request.context.options["stream"] = True
        response: PipelineResponse[Any, Any] = self.next.send(request)
        answer = response.http_response
        body = answer.read()
        if not 200 <= answer.status_code < 300 or is_error(body):
            raise RefusedError(answer.status_code, answer.headers, body)
        return response


class ReadPolicy:
    """The last step through azure-core: reads each answer to its end, or its connection would be lost.

    That of a 401 too which another step answers with a new token. No subclass, as AnswerPolicy.
    """

    next: Any = None

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Passes the request on, and its answer back."""
        response: PipelineResponse[Any, Any] = self.next.send(request)
        response.http_response.read()
        return response


def read_json(response: HttpResponse) -> Any:
    """An answer's JSON, its numbers exact. Raises ValueError where it is none."""
    return json.loads(response.content, parse_float=Decimal)


def taken(response: HttpResponse, *statuses: int) -> Any:
    """The JSON of an answer that may be empty: None then. Raises ValueError where it is none, or of another status."""
    if response.status_code not in statuses:
        raise ValueError(f"{response.status_code} is no answer to this")
    return read_json(response) if response.content else None


def within(item: Any, *names: str) -> Any:
    """What stands in an answer's JSON under these names; None where nothing does. TypeError for what is no object."""
    for name in names:
        if item is None:
            return None
        if not isinstance(item, dict):
            raise TypeError(f"what should hold '{name}' is no object")
        item = item.get(name)
    return item


def name_of(item: Any, kind: str) -> str:
    """The name of a machine or a lock. Raises ValueError where that is none."""
    name = within(item, "name")
    if isinstance(name, str) and PART.fullmatch(name):
        return name
    raise ValueError(f"the {kind} has no name")


def subscription_scope(subscription_id: str) -> str:
    """The subscription's resource id. Raises NeverError for an id that would lead to another place."""
    if not SUBSCRIPTION.fullmatch(subscription_id):
        raise NeverError(f"'{shown(subscription_id, 80)}' is no id of a subscription.")
    return f"/subscriptions/{subscription_id}"


def group_scope(group: ResourceGroup) -> str:
    """The group's resource id. Raises NeverError for a name that can't be a group's, or would lead to another place."""
    scope = subscription_scope(group.subscription_id)
    if not GROUP.fullmatch(group.name):
        raise NeverError(
            f"'{shown(group.name, 100)}' is no name of a resource group: it may hold up to 90 letters, digits and "
            "-_.() and not end with a dot."
        )
    return f"{scope}/resourceGroups/{group.name}"
