"""Where Azure Resource Manager is, and as whom it is asked. azure-core and azure-identity are imported when needed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.domain.texts import shortened
from shared.ports.errors import NeverError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential
    from azure.core.pipeline import PipelineRequest, PipelineResponse

DEFAULT_PORTS = {"http": 80, "https": 443}
# What others read in another way than we do: a path that begins with // is a host to `urljoin`, which the SDKs use; to
# some a backslash is a slash; some leave out control characters; and requests makes a name before the host a login.
AMBIGUOUS = re.compile(r"[\x00-\x1f\x7f\\]|^[^/]*//[^/?#]*(//|@)")
TOKEN_LIKE = re.compile(r"eyJ[\w-]{10,}(\.[\w-]*)*|(?<=\?)[^\s'\"]+")


@dataclass(frozen=True, slots=True)
class ArmEndpoint:
    """Where Azure Resource Manager answers. url: without a slash at the end. origin: scheme, host and port."""

    url: str
    origin: tuple[str, str, int]

    @property
    def is_local(self) -> bool:
        """Whether this is plain http, which is only taken on this machine (the simulator)."""
        return self.origin[0] == "http"

    @property
    def token_scope(self) -> str:
        """What a token is asked for; sovereign clouds name theirs after their own endpoint."""
        return f"{self.url}/.default"

    def holds(self, url: str) -> bool:
        """Whether the URL leads to this same scheme, host and port, whoever reads it."""
        return _origin(url) == self.origin and not AMBIGUOUS.search(url)


def parse_endpoint(text: str) -> ArmEndpoint:
    """The endpoint in a setting such as `https://management.azure.com`. ValueError says what would be right."""
    url = text.strip().rstrip("/")
    origin = _origin(url)
    if origin is None or url.count("/") != 2 or set(url) & set("?#@\\{} "):
        raise ValueError(f"'{shortened(text, 80)}' is no endpoint; write it like https://management.azure.com")
    if origin[0] == "http" and not _is_loopback(origin[1]):
        raise ValueError(f"'{url}' is not safe: plain http is taken for this machine only; write https://{origin[1]}")
    return ArmEndpoint(url, origin)


def credential_for(endpoint: ArmEndpoint, client_id: str | None) -> TokenCredential:
    """Who the app is: a fixed word to the simulator, the named managed identity, or whoever is found."""
    if endpoint.is_local:
        return LocalCredential()
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    if client_id:
        return ManagedIdentityCredential(client_id=client_id)
    # Left: environment, workload identity, managed identity, and the logins of `az` and `azd`. What is excluded
    # are further programs and files that would each be tried in vain before the error comes.
    return DefaultAzureCredential(
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_powershell_credential=True,
        exclude_broker_credential=True,
    )


# The one POST that changes nothing.
COST_QUERY = "/providers/Microsoft.CostManagement/query"


class LocalCredential:
    """Stands in for an identity on a loopback endpoint, where there is nobody to ask for a token."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """A token that is a secret to nobody."""
        from azure.core.credentials import AccessToken

        return AccessToken("local-development", int(time.time()) + 3600)


class EndpointPolicy:
    """A step through azure-core, before the token is added: lets requests to the endpoint through, and no others.

    mark: of an installation that only reads (`ArmClient`). No subclass of azure-core's HTTPPolicy, since that would
    load azure-core with the module.
    """

    next: Any = None

    def __init__(self, place: ArmEndpoint, mark: str = "") -> None:
        self._place, self._mark = place, mark

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Passes the request on. Raises NeverError where it would go to another place, or may not be made."""
        asked = request.http_request
        if not self._place.holds(asked.url):
            raise NeverError(f"Azure's answer links to another place than {self._place.url} for what comes next.")
        if self._mark and not (asked.method == "GET" or urlsplit(asked.url).path.endswith(COST_QUERY)):
            raise NeverError(f"This installation is marked as {self._mark}: it changes nothing in Azure.")
        if self._place.is_local:
            # azure-core refuses a token over plain http unless told otherwise with each call.
            request.context.options["enforce_https"] = False
        response: PipelineResponse[Any, Any] = self.next.send(request)
        return response


def shown(text: str, longest: int = 240) -> str:
    """Somebody else's text as one line for a person, without what looks like a token or a URL's query.

    What can't be seen goes first: no database stores all of it, and it could break a token into harmless pieces.
    """
    visible = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return shortened(TOKEN_LIKE.sub("…", visible), longest)


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host in lower case, and port; None where the URL has none of the kind that we call."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (KeyError, ValueError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
