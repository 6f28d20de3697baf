"""How Azure Resource Manager is reached: at which endpoint, as whom, and through which steps of azure-core.

The SDKs are imported inside the functions: they take a quarter of a second, and only some functions need them.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.domain.texts import shortened
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential
    from azure.core.exceptions import ClientAuthenticationError
    from azure.core.pipeline import PipelineRequest, PipelineResponse
    from azure.core.pipeline.transport import HttpTransport

CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
# One block for nearly every page of costs (350 KB).
BLOCK_BYTES = 1 << 20
DEFAULT_PORTS = {"http": 80, "https": 443}
# Entra and the identity endpoints answer these when the identity or its secret is wrong; trying again won't help.
REFUSED = frozenset({400, 401, 403})
# The same where azure-identity gives no status: IMDS, App Service (both: no such identity), nobody logged in here.
REFUSED_IN_WORDS = re.compile(
    r"no identity has been assigned|managed identity found for specified|please run 'az login'", re.IGNORECASE
)
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

    @property
    def send_options(self) -> dict[str, Any]:
        """Options for each `send_request`, whose answer's body is then read with `read()`.

        azure-core refuses a token over plain http unless told otherwise with each call. Without `stream`, the body
        is read in pieces of 10 KB whatever the block size, at half the speed.
        """
        return {"stream": True} | ({"enforce_https": False} if self.is_local else {})

    def holds(self, url: str) -> bool:
        """Whether the URL leads to this same scheme, host and port."""
        return _origin(url) == self.origin


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


class LocalCredential:
    """Stands in for an identity on a loopback endpoint, where there is nobody to ask for a token."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """A token that is a secret to nobody."""
        from azure.core.credentials import AccessToken

        return AccessToken("local-development", int(time.time()) + 3600)


class EndpointPolicy:
    """A step through azure-core, before the token is added: lets requests to the endpoint through, and no others.

    The SDKs follow a list's next page wherever its link leads. They also refuse a token over plain http, unless told
    otherwise with each call. No subclass of azure-core's HTTPPolicy, since that would load azure-core with the module.
    """

    next: Any = None

    def __init__(self, endpoint: ArmEndpoint) -> None:
        self._endpoint = endpoint

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Passes the request on. Raises NeverError where it would go to another place."""
        if not self._endpoint.holds(request.http_request.url):
            raise NeverError(f"Azure's answer links to another place than {self._endpoint.url} for what comes next.")
        if self._endpoint.is_local:
            request.context.options.setdefault("enforce_https", False)
        response: PipelineResponse[Any, Any] = self.next.send(request)
        return response


def policies_for(endpoint: ArmEndpoint, credential: TokenCredential) -> list[Any]:
    """The steps that a request takes through azure-core, in place of the SDK's own list.

    Left out on purpose: retries (they sleep inside the call, without a cap), the registration of resource providers
    (polls every 10 s without end), redirects (would carry the token elsewhere) and decoding (parses each body into
    floats, which nobody reads; an SDK whose own models are used needs a ContentDecodePolicy at the end).
    """
    from azure.core.pipeline.policies import RequestIdPolicy, UserAgentPolicy
    from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

    return [
        EndpointPolicy(endpoint),
        RequestIdPolicy(),
        UserAgentPolicy(sdk_moniker="BudgetWarden"),
        ARMChallengeAuthenticationPolicy(credential, endpoint.token_scope),
    ]


def transport_for(
    endpoint: ArmEndpoint, connect_seconds: float = CONNECT_SECONDS, read_seconds: float = READ_SECONDS
) -> HttpTransport[Any, Any]:
    """HTTP with time-outs; a proxy from the environment is used, but not to reach this machine itself."""
    from azure.core.pipeline.transport import RequestsTransport

    transport: HttpTransport[Any, Any] = RequestsTransport(
        connection_timeout=connect_seconds,
        read_timeout=read_seconds,
        connection_data_block_size=BLOCK_BYTES,
        use_env_settings=not endpoint.is_local,
    )
    return transport


def token_error(error: ClientAuthenticationError) -> LaterError | NeverError:
    """What it means that no token was to be had.

    Never where the identity was clearly refused; else later: identity endpoints are at times not there, and
    azure-identity tells both by the same exception.
    """
    said = shown(str(error.message))
    status = error.response.status_code if error.response is not None else None
    if status in REFUSED or REFUSED_IN_WORDS.search(str(error.message)):
        return NeverError(
            f"There is no token for Azure: {said} Check AZURE_CLIENT_ID and the app's identity; "
            "on your own machine, run `az login`."
        )
    return LaterError(f"There is no token for Azure yet: {said}")


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
