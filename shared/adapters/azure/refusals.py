"""What it means when Azure Resource Manager does not do what it was asked for: again later, or never, and in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.adapters.azure.access import shown, token_error
from shared.adapters.retry_after import wait_in
from shared.ports.clock import utc_now
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

# What the SDKs raise over a body that is no JSON, or another JSON than they take.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
# Azure Resource Manager says Retry-After; what is behind it names waits of its own, of which the longest counts.
WAIT_HEADER = re.compile(r"(x-ms-ratelimit-.+-)?retry-after", re.IGNORECASE)
# Besides 5xx. 409: something else is going on with the resource. 412: it was changed since it was read.
PASSING = frozenset({408, 409, 412, 424, 425, 429})
LONGEST_SAID = 600
NO_ROLE = "AuthorizationFailed"
GROUP_GONE = "ResourceGroupNotFound"
LOCKED = "ScopeLocked"
NOT_REGISTERED = "MissingSubscriptionRegistration"
NO_SUBSCRIPTION = frozenset({"SubscriptionNotFound", "InvalidSubscriptionId"})
# A subscription that was not paid for, or was cancelled.
DISABLED = "ReadOnlyDisabledSubscription"
# Codes of a 409 that is there to stay.
LASTING = frozenset({LOCKED, NOT_REGISTERED, DISABLED})
CHECK_SUBSCRIPTION = "Check the id of the subscription, and that it lies in the tenant of the app's identity."
WHAT_TO_DO = {
    LOCKED: "A lock is in the way; whoever put it there has to take it off.",
    NOT_REGISTERED: "Register the resource provider in the subscription.",
    DISABLED: "The subscription has to be enabled again.",
    **dict.fromkeys(NO_SUBSCRIPTION, CHECK_SUBSCRIPTION),
}


@contextmanager
def refusals(what: str, role: str, scope: str) -> Iterator[None]:
    """Turns whatever an SDK raises inside into the LaterError or NeverError of `refusal`."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except (AzureError, OSError, *UNREADABLE) as error:  # OSError: what `requests` raises, where azure-core lets it
        raise refusal(error, what, role, scope) from error


def refusal(error: Exception, what: str, role: str, scope: str) -> LaterError | NeverError:
    """The error that stands for one of an SDK's.

    what: what we wanted to do, to be read after "may not", such as `put the lock warden-die1`. role: the built-in role
    that allows it. scope: on which resource, such as `/subscriptions/…/resourceGroups/…`.
    """
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, ClientAuthenticationError) and not _is_from_arm(error):
        return token_error(error)
    if isinstance(error, HttpResponseError) and (error.status_code or 0) >= 300:
        return _answered(error, what, role, scope)
    return LaterError(f"Azure was asked to {what} on {shown(scope)}, but {_silence(error)} ({type(error).__name__}).")


def code_of(error: HttpResponseError) -> str:
    """Azure's code for the error, such as ResourceGroupNotFound; empty where it is no error of Azure's."""
    return _code_and_message(error)[0]


def is_gone(error: HttpResponseError) -> bool:
    """Whether Azure says that there is no such resource, or no such group, in a subscription that is there."""
    code = code_of(error)
    return error.status_code == 404 and code != "" and code not in NO_SUBSCRIPTION


def longest_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The longest wait that any header names; None where none does, or in a way that can't be understood."""
    waits = [wait_in(value, now) for name, value in headers.items() if WAIT_HEADER.fullmatch(name)]
    return max((wait for wait in waits if wait is not None), default=None)


def _answered(error: HttpResponseError, what: str, role: str, scope: str) -> LaterError | NeverError:
    response: Any = error.response
    status, code = response.status_code, code_of(error)
    said, where = _said(error), shown(scope)
    if status >= 500 or (status in PASSING and code not in LASTING):
        how = "asks us to wait before it lets us" if status == 429 else "can't at the moment"
        return LaterError(f"Azure {how} {what} on {where}: {said}", longest_wait(response.headers, utc_now()))
    if status == 403 and code == NO_ROLE:
        return NeverError(
            f"The app's identity may not {what} on {where}: it lacks the role {role} there. Azure says: {said}"
        )
    return NeverError(f"Azure refuses to {what} on {where}: {said} {_advice(status, code, role)}".rstrip())


def _advice(status: int, code: str, role: str) -> str:
    if status == 401:
        return "Check the app's identity, AZURE_CLIENT_ID and AZURE_MANAGEMENT_ENDPOINT."
    if status == 403:
        # Not for want of a role at this place: a deny assignment, a policy, a role at another place that it names.
        return f"Check that the app's identity has the role {role} there, and that nothing denies it."
    return WHAT_TO_DO.get(code, "") if code else "Check AZURE_MANAGEMENT_ENDPOINT."


def _is_from_arm(error: HttpResponseError) -> bool:
    """Whether it was Azure Resource Manager that did not take our token, and not that we got none."""
    request = getattr(error.response, "request", None)
    return request is not None and urlsplit(request.url).path.lower().startswith("/subscriptions/")


def _silence(error: Exception) -> str:
    from azure.core.exceptions import IncompleteReadError, ServiceRequestError, ServiceResponseError

    if isinstance(error, ServiceRequestError):
        return "it is out of reach"
    if isinstance(error, ServiceResponseError | IncompleteReadError | OSError):
        return "it did not answer in time, or not to the end"
    return "its answer can't be read"


def _said(error: HttpResponseError) -> str:
    """The status with Azure's code and message, as a sentence."""
    code, message = _code_and_message(error)
    said = shown(f"{error.status_code} ({code}) {message}".rstrip() if code else f"{error.status_code}", LONGEST_SAID)
    return said if said.endswith((".", "…")) else f"{said}."


def _code_and_message(error: HttpResponseError) -> tuple[str, str]:
    """What is in the body; nothing where that is no error of Azure's (a proxy's page)."""
    response: Any = error.response
    try:
        body = json.loads(response.text())["error"]
        return str(body["code"]), str(body.get("message") or "")
    except UNREADABLE:
        return "", ""
