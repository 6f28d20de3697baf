"""The SDKs' clients, one for each subscription, and the resource groups that they are asked about."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared.adapters.azure.access import (
    CONNECT_SECONDS,
    ArmEndpoint,
    credential_for,
    parse_endpoint,
    policies_for,
    shown,
    transport_for,
)
from shared.ports.azure import ResourceGroup
from shared.ports.errors import NeverError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.paging import ItemPaged
    from azure.core.pipeline import PipelineResponse

READ_SECONDS = 30.0
# Lists come in pages of a hundred or more; no group holds as many locks or machines as that.
MOST_PAGES = 200
SUBSCRIPTION = re.compile(r"[0-9A-Za-z-]{1,64}")
# Azure's rule for names. A name of dots only would lead to another place: `resourceGroups/..` is the subscription.
GROUP = re.compile(r"[-\w.()]{0,89}[-\w()]")

# Whatever else Azure lets stand in the names of other things: what would lead to another place in a URL is not in them.
PART = re.compile(r"(?!\.{1,2}$)[^/\\?%\x00-\x1f]{1,260}")

Client = TypeVar("Client", bound=Any)
Item = TypeVar("Item")


@dataclass
class SubscriptionClients(Generic[Client]):
    """One client a subscription, made when it is first needed, and kept. Safe to use from several threads.

    load: imports the SDK and returns its client's class. credential: in place of the identity `client_id`, or of
    whoever is found.
    """

    arm: ArmEndpoint
    load: Callable[[], type[Client]]
    client_id: str | None = None
    credential: TokenCredential | None = field(default=None, repr=False)
    connect_seconds: float = CONNECT_SECONDS
    read_seconds: float = READ_SECONDS
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _clients: dict[str, Client] = field(default_factory=dict, init=False, repr=False)

    def of(self, subscription_id: str) -> Client:
        """The client of a subscription."""
        with self._lock:
            key = subscription_id.lower()
            if key not in self._clients:
                self._clients[key] = self._made(subscription_id)
            return self._clients[key]

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._lock:
            while self._clients:
                self._clients.popitem()[1].close()

    def _made(self, subscription_id: str) -> Client:
        from azure.core.pipeline.policies import ContentDecodePolicy, CustomHookPolicy

        made = self.load()
        # One for all subscriptions: it keeps its token.
        self.credential = self.credential or credential_for(self.arm, self.client_id)
        client: Client = made(
            self.credential,
            subscription_id,
            base_url=self.arm.url,
            credential_scopes=[self.arm.token_scope],
            policies=[*policies_for(self.arm, self.credential), CustomHookPolicy(), ContentDecodePolicy()],
            transport=transport_for(self.arm, self.connect_seconds, self.read_seconds),
        )
        return client


@dataclass
class ArmAdapter(ABC, Generic[Client]):
    """What speaks to Azure Resource Manager through an SDK that has one client a subscription.

    Safe to use from several threads; loads no SDK before its first call. endpoint: Azure Resource Manager's, or the
    simulator's on this machine. client_id: the user-assigned identity's; without one, whoever is found. credential: in
    place of those. Raises ValueError for an endpoint that can't be used.
    """

    endpoint: str
    client_id: str | None = None
    credential: TokenCredential | None = field(default=None, repr=False)
    connect_seconds: float = CONNECT_SECONDS
    read_seconds: float = READ_SECONDS

    def __post_init__(self) -> None:
        self._arm = parse_endpoint(self.endpoint)
        self._clients: SubscriptionClients[Client] = SubscriptionClients(
            self._arm, self._load, self.client_id, self.credential, self.connect_seconds, self.read_seconds
        )

    @abstractmethod
    def _load(self) -> type[Client]:
        """Imports the SDK and returns its client's class."""

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        self._clients.close()


def scope_of(group: ResourceGroup) -> str:
    """The group's id. Raises NeverError for a name that can't be a group's, or would lead to another place."""
    if not SUBSCRIPTION.fullmatch(group.subscription_id):
        raise NeverError(f"'{shown(group.subscription_id, 80)}' is no id of a subscription.")
    if not GROUP.fullmatch(group.name):
        raise NeverError(
            f"'{shown(group.name, 100)}' is no name of a resource group: it may hold up to 90 letters, digits and "
            "-_.() and not end with a dot."
        )
    return f"/subscriptions/{group.subscription_id}/resourceGroups/{group.name}"


def name_of(shown: Any, item: str) -> str:
    """The name in a machine or lock as an SDK shows it. Raises ValueError where that is none."""
    # The SDKs pass on whatever stands there.
    if isinstance(shown, str) and PART.fullmatch(shown):
        return shown
    raise ValueError(f"the {item} has no name")


def every(list_them: Callable[..., ItemPaged[Item]], *args: str, **options: str) -> Iterable[Item]:
    """The items of all pages of an SDK's list, as they come.

    Raises NeverError for a list that does not end, ValueError for what is no list.
    """
    pages: Any = list_them(*args, raw_response_hook=_check_list, **options).by_page()
    links: set[str | None] = set()
    for page in pages:
        yield from page
        link = pages.continuation_token
        if link in links:
            raise NeverError("Azure's list goes in a circle: a page links to one that was read already.")
        if len(links) >= MOST_PAGES:
            raise NeverError(f"Azure's list does not end: after {MOST_PAGES} pages there is still another one.")
        links.add(link)


def _check_list(response: PipelineResponse[Any, Any]) -> None:
    """The newer SDKs take an answer without a list for an empty one: then nothing would seem to run."""
    from azure.core.pipeline.policies import ContentDecodePolicy

    content = response.context.get(ContentDecodePolicy.CONTEXT_NAME)
    is_list = isinstance(content, dict) and isinstance(content.get("value"), list)
    if response.http_response.status_code == HTTPStatus.OK and not is_list:
        raise ValueError("the answer is no list")
