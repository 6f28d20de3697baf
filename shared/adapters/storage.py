"""An Azure storage account: who signs in, how its SDKs are called, and what their errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.adapters.retry_after import wait_in
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import HttpResponseError

TIMEOUT_SECONDS = 30
# The request itself can't be right: a name that is none, text that XML can't hold, more than the service takes.
REFUSED = frozenset({400, 405, 411, 413, 414, 415, 431})


@dataclass(frozen=True, slots=True)
class Service:
    """One of an account's services, as sentences name it.

    refuses: what a request that can't be right is of. setting: of its connection string; role: that an identity needs.
    """

    name: str
    refuses: str
    setting: str
    uri_setting: str
    role: str

    def to_do(self, code: str, on: str) -> str:
        """What to do about a 401 or 403, by its code (learn.microsoft.com, "Common REST API error codes").

        Keys and signatures (SAS) come with a connection string; where there is no code, it may be either.
        """
        role = f"the app's identity needs the role {self.role} on {on}"
        key = f"see that {self.setting} is right (a key that was replaced?), and the clock of this machine"
        signature = f"the signature (SAS) in {self.setting} does not allow this here"
        known = {
            "AuthenticationFailed": key,
            "AuthorizationPermissionMismatch": f"{role}; or a signature (SAS) does not allow this",
            "InsufficientAccountPermissions": role,
            "KeyBasedAuthenticationNotPermitted": (f"it takes no keys: set {self.uri_setting}, and no {self.setting}"),
            "AuthorizationFailure": "have its firewall (networking) let the app in",
            "AccountIsDisabled": "have the account, or its subscription, enabled again",
            "AuthorizationSourceIPMismatch": signature,
            "AuthorizationProtocolMismatch": signature,
            "AuthorizationServiceMismatch": signature,
            "AuthorizationResourceTypeMismatch": signature,
        }
        return known.get(code, f"{key}; or {role}")


def client_options() -> dict[str, Any]:
    """What every client of a storage SDK is made with."""
    # The SDK's own retries sleep 15 s and more inside the call; here the message comes again instead. Redirects would
    # show the other host our token.
    timeouts = {"connection_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS}
    return {"retry_total": 0, "permit_redirects": False, **timeouts}


def identity(client_id: str | None) -> TokenCredential:
    """The app's identity, or the developer's where there is none."""
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()


def code_of(error: Exception) -> str:
    """The service's code of an error; empty where it has none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


@contextmanager
def translated(service: Service, on: str = "it") -> Iterator[None]:
    """What an SDK raises, as LaterError or NeverError. on: what a role would be needed on."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        raise _meant(error, service, on) from error
    except AzureError as error:
        raise LaterError(f"{service.name} can't be reached ({type(error).__name__})") from error


def _meant(error: HttpResponseError, service: Service, on: str) -> LaterError | NeverError:
    from azure.core.exceptions import ClientAuthenticationError

    # An answer of the service has a code, if only None; azure-identity's errors have none.
    if isinstance(error, ClientAuthenticationError) and not hasattr(error, "error_code"):
        from shared.adapters.azure.refusals import token_error

        return token_error(error)
    code = code_of(error)
    said = f"{error.status_code} {code}".rstrip()
    if error.status_code in {401, 403}:
        return NeverError(f"the storage account refuses us ({said}); {service.to_do(code, on)}")
    if error.status_code in REFUSED:
        return NeverError(f"{service.name} refuse {service.refuses}: {said}")
    asked = getattr(error.response, "headers", {}).get("Retry-After")
    return LaterError(f"{service.name} answered {said}", wait_in(asked, datetime.now(UTC)) if asked else None)
