"""What it means when Azure does not answer a cost query: tried again later, or never, and in which words."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.adapters.azure.access import shown
from shared.adapters.retry_after import wait_in
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.core.rest import HttpResponse

# A 429 names several waits: for query units, the scope (entity), the tenant, the client type; the longest counts.
WAIT_HEADER = re.compile(r"(x-ms-ratelimit-microsoft\.costmanagement-.+-)?retry-after", re.IGNORECASE)
# Besides 5xx. 424: seen for a while, and gone again, where a service behind was unwell (mivano/azure-cost-cli #24).
PASSING = frozenset({408, 424, 425, 429})
WHAT_TO_DO = {
    400: "The query or the kind of subscription is not one that Cost Management answers for.",
    401: "Check the app's identity, AZURE_CLIENT_ID and AZURE_MANAGEMENT_ENDPOINT.",
    403: "Give the app's identity the role Cost Management Reader on subscription {subscription}.",
    404: "Check the id of subscription {subscription}, and that it lies in the tenant of the app's identity.",
    409: "Check that the resource provider Microsoft.CostManagement is registered in subscription {subscription}.",
}


def refusal(response: HttpResponse, subscription: str, now: datetime) -> LaterError | NeverError:
    """The error that stands for an answer other than 200 and 204."""
    status = response.status_code
    said = _error_text(response)
    said = f"{status} {said}" if said else f"{status}."
    if status in PASSING or status >= 500:
        what = "asks us to wait" if status == 429 else "can't answer now"
        return LaterError(f"Azure Cost Management {what}: {said}", longest_wait(response.headers, now))
    advice = WHAT_TO_DO.get(status, "Check AZURE_MANAGEMENT_ENDPOINT.").format(subscription=shown(subscription, 60))
    return NeverError(f"Azure refuses to tell the costs of subscription {shown(subscription, 60)}: {said} {advice}")


def silence(error: Exception) -> LaterError:
    """The error for no answer at all: out of reach, timed out, broken off."""
    from azure.core.exceptions import ServiceRequestError

    what = "is out of reach" if isinstance(error, ServiceRequestError) else "did not answer in time, or not to the end"
    return LaterError(f"Azure Cost Management {what} ({type(error).__name__}).")


def longest_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The longest wait that any header names; None where none does, or in a way that can't be understood."""
    waits = [wait_in(value, now) for name, value in headers.items() if WAIT_HEADER.fullmatch(name)]
    return max((wait for wait in waits if wait is not None), default=None)


def _error_text(response: HttpResponse) -> str:
    """Azure's code and message in short; nothing where the body is no error of Azure's (a proxy's page)."""
    try:
        error = json.loads(response.content)["error"]
        code, message = str(error["code"]), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    said = shown(f"({code}) {message}" if code != str(response.status_code) else message)
    return said if said.endswith((".", "…")) else f"{said}."
