"""What it means when Azure Resource Manager does not do what it was asked for: again later, or never, and in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from shared.adapters.azure.access import shown
from shared.adapters.retry_after import wait_in
from shared.ports import azure
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import GoneError, LaterError, NeverError, NoCostsError, NoSubscriptionError

if TYPE_CHECKING:
    from azure.core.exceptions import ClientAuthenticationError

# What comes of a body that is no JSON, or another JSON than was asked for.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
# Azure Resource Manager says Retry-After; what is behind it names waits of its own (Cost Management: for query units,
# the scope, the tenant, the client type), of which the longest counts.
WAIT_HEADER = re.compile(r"(x-ms-(.+-)?)?retry-?after", re.IGNORECASE)
REQUEST_ID = re.compile(r"\s*\(?Request ID: [\w-]+\)?\.?", re.IGNORECASE)
# Besides 5xx. 409: something else is going on with the resource. 412: it was changed since it was read. 424: seen for a
# while, and gone again, where a service behind was unwell (mivano/azure-cost-cli #24).
PASSING = frozenset({408, 409, 412, 424, 425, 429})
# What says of itself that it passes, such as AnotherOperationInProgress, RetryableError and ServerBusy.
PASSING_CODE = re.compile(r"InProgress|Retry|Throttl|TooMany|Timeout|TimedOut|Unavailable|Busy", re.IGNORECASE)
# With a 401, of a token that is not good any more (terraform-provider-azurerm #20867), or not yet; the next request has
# a new one.
OUT_OF_TIME = re.compile(r"ExpiredAuthenticationToken|token (has )?expir|not yet valid", re.IGNORECASE)
# Of these it is so whatever the status; of the others, some come with refusals that stay, such as TooManyTags.
ALWAYS_PASSING = re.compile(r"Throttl|TooManyRequests|ServerBusy|RequestTimeout", re.IGNORECASE)
# The second is Cost Management's, which says it with a 401.
NO_ROLE = frozenset({"AuthorizationFailed", "RBACAccessDenied"})
GROUP_GONE = (404, "ResourceGroupNotFound")
NOT_REGISTERED = "MissingSubscriptionRegistration"
NO_SUBSCRIPTION = frozenset({"SubscriptionNotFound", "InvalidSubscriptionId"})
CHECK_SUBSCRIPTION = "Check the id of the subscription, and that it lies in the tenant of the app's identity."
# By Azure's code. Where it has one of these, even a 409 is there to stay. The third: not paid for, or cancelled.
WHAT_TO_DO = {
    "ScopeLocked": "A lock is in the way; whoever put it there has to take it off.",
    NOT_REGISTERED: "Register the resource provider in the subscription.",
    "ReadOnlyDisabledSubscription": "The subscription has to be enabled again.",
    **dict.fromkeys(NO_SUBSCRIPTION, CHECK_SUBSCRIPTION),
}
# Entra and the identity endpoints answer these when the identity or its secret is wrong; trying again won't help.
TOKEN_REFUSED = frozenset({400, 401, 403})
# The same where azure-identity gives no status: IMDS, App Service (both: no such identity), nobody logged in here.
TOKEN_REFUSED_IN_WORDS = re.compile(
    r"no identity has been assigned|managed identity found for specified|please run 'az login'", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Words:
    """What it means that Azure's code or message has these words, whatever the status of the refusal. A 409 with them
    is there to stay.

    to_do: what to do; `{where}` stands for the resource. error: makes what stands for the refusal.
    """

    pattern: re.Pattern[str]
    to_do: str
    error: Callable[[str], NeverError] = NeverError


@dataclass(frozen=True, slots=True)
class Right:
    """What the app's identity needs for a kind of request.

    role: the built-in role that allows it. to_do: what to do by the status of a refusal, where that is more than usual;
    `{where}` stands for the resource. Such a status is there to stay, unless the code says otherwise. words: what says
    more than the status. longest: how much of Azure's own words is passed on.
    """

    role: str
    to_do: Mapping[int, str] = field(default_factory=dict)
    words: Sequence[Words] = ()
    longest: int = 600

    def said_of(self, error: RefusedError) -> Words | None:
        """The words that a refusal has, if any."""
        return next((words for words in self.words if words.pattern.search(error.words)), None)


REGISTER_COSTS = "Check that the resource provider Microsoft.CostManagement is registered in {where}."
COSTS = Right(
    azure.COSTS.name,
    {
        400: "The query or the kind of subscription is not one that Cost Management answers for.",
        403: f"Give the app's identity the role {azure.COSTS.name} on {{where}}.",
        404: "Check the id of {where}, and that it lies in the tenant of the app's identity.",
        409: REGISTER_COSTS,
        412: REGISTER_COSTS,
    },
    (
        # AccountCostDisabled (Azure/azqr #581), and the same of departments and of partners' customers.
        Words(
            re.compile(r"^\w+CostDisabled\b"),
            "Have the billing administrator of its enrollment turn on the policy that account owners can view charges.",
        ),
        # JulianHayward/AzAPICall #58.
        Words(
            re.compile("returns null or empty list", re.IGNORECASE),
            "Cost Management does not know {where} yet, which takes up to 48 hours after it was made; "
            "each night tries again.",
            partial(NoCostsError, passes_within=timedelta(hours=48)),
        ),
        # microsoft/AzureTRE #2823, Azure-MG-Sub-Governance-Reporting #54, mivano/azure-cost-cli #24.
        Words(
            re.compile("valid WebDirect/AIRS offer type|data is not supported for subscription|only .*offer types"),
            "Cost Management does not serve the offer that {where} was bought under: its costs can't be read.",
            NoCostsError,
        ),
    ),
    longest=240,
)
BUDGETS = Right(azure.BUDGETS.name)
ACTION_GROUPS = Right(azure.ACTION_GROUPS.name)
LOCKS = Right(azure.LOCKS.name)
MACHINES = Right(
    azure.MACHINES.name,
    words=(
        # OperationNotAllowed, which others share that pass. Azure's "Ephemeral OS disks" (a machine is deleted instead)
        # and "States and billing": who is merely powered off goes on being billed.
        Words(
            re.compile(r"\bephemeral OS disk|deallocate\W+is not supported", re.IGNORECASE),
            "Azure never deallocates such a machine: it costs money, stopped or not, until it is deleted (a scale set: "
            "until it is scaled to 0), for which the lock has to come off. To be stopped at 100 %, it has to be made "
            "anew with an OS disk that is not ephemeral.",
        ),
    ),
)
# Most roles have it.
PERMISSIONS = Right("Reader")


class RefusedError(Exception):
    """An answer that is no success, whatever its status says.

    code, message: Azure's own, such as ResourceGroupNotFound; empty where the body is no error of Azure's (a proxy's
    page).
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        try:
            error = json.loads(body)["error"]
            self.code, self.message = str(error["code"]), str(error.get("message") or "")
        except UNREADABLE:
            self.code = self.message = ""

    @property
    def is_gone(self) -> bool:
        """Whether Azure says that there is no such resource, or no such group, in a subscription that is there."""
        if ALWAYS_PASSING.search(self.code):
            return False
        return self.status == 404 and self.code != "" and self.code not in NO_SUBSCRIPTION

    @property
    def words(self) -> str:
        """Azure's code and message."""
        return f"{self.code} {self.message}"

    def may_pass(self, right: Right) -> bool:
        """Whether it may be otherwise later, where that right was needed."""
        if 200 <= self.status < 300 or ALWAYS_PASSING.search(self.code):
            return True
        if self.status == 401 and OUT_OF_TIME.search(self.words):
            return True
        if self.status in right.to_do and not PASSING_CODE.search(self.code):
            return False
        if self.status == 409 and (self.code in WHAT_TO_DO or right.said_of(self)):
            return False
        return self.status >= 500 or self.status in PASSING

    def said(self, longest: int) -> str:
        """The status with Azure's code and message, as a sentence."""
        named = self.code and self.code != str(self.status)
        # What is told once must read the same each time.
        message = REQUEST_ID.sub("", self.message)
        said = shown(" ".join([str(self.status), *([f"({self.code})"] if named else []), message]), longest)
        return said if said.endswith((".", "…")) else f"{said}."


def is_error(body: bytes) -> bool:
    """Whether a body is an error, whatever the status says that it came with."""
    # Pages of costs are long, and are not parsed twice.
    if b'"error"' not in body.lower():
        return False
    try:
        members = json.loads(body)
    except UNREADABLE:
        return False
    return isinstance(members, dict) and any(
        name.lower() == "error" and isinstance(value, dict | str) for name, value in members.items()
    )


class IfThere:
    """Passes over a refusal that says that the resource, or its group, is gone.

    answers: only those, by status and code. A code alone says nothing: who is throttled or unwell may send any.
    """

    def __init__(self, *answers: tuple[int, str]) -> None:
        self._answers = answers

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _trace: object) -> bool:
        if not isinstance(error, RefusedError):
            return False
        return (error.status, error.code) in self._answers if self._answers else error.is_gone


@contextmanager
def refusals(right: Right, what: str, where: str, clock: Clock = utc_now) -> Iterator[None]:
    """Turns whatever comes of asking Azure inside into a LaterError or a NeverError, as `refusal` words it."""
    from azure.core.exceptions import AzureError

    try:
        yield
    # OSError: what `requests` raises, where azure-core lets it pass.
    except (RefusedError, AzureError, OSError, *UNREADABLE) as error:
        raise refusal(error, right, what, where, clock) from error


def refusal(error: Exception, right: Right, what: str, where: str, clock: Clock = utc_now) -> LaterError | NeverError:
    """The error that stands for one of Azure's, or for its silence.

    what: what Azure was asked to do, such as `put the lock warden-die1 on`. where: the resource, with which that ends.
    """
    from azure.core.exceptions import ClientAuthenticationError

    if isinstance(error, ClientAuthenticationError):
        return token_error(error)
    asked = f"{what} {shown(where)}"
    if not isinstance(error, RefusedError):
        return LaterError(f"Azure was asked to {asked}, but {_silence(error)} ({type(error).__name__}).")
    said = error.said(right.longest)
    if error.may_pass(right):
        how = f"asks us to wait before we ask it to {asked}" if error.status == 429 else f"can't {asked} at the moment"
        return LaterError(f"Azure {how}: {said}", longest_wait(error.headers, clock()))
    if error.code in NO_ROLE and 403 not in right.to_do:
        return NeverError(
            f"The app's identity may not {asked}: it lacks the role {right.role} there. Azure says: {said}"
        )
    refused = f"Azure refuses to {asked}: {said}"
    known = right.said_of(error)
    if known is not None:
        return known.error(f"{refused} {known.to_do.format(where=shown(where))}")
    return _kind(error)(f"{refused} {_to_do(error, right, where)}".rstrip())


def token_error(error: ClientAuthenticationError) -> LaterError | NeverError:
    """What it means that no token was to be had.

    Never where the identity was clearly refused; else later: identity endpoints are at times not there, and
    azure-identity tells both by the same exception.
    """
    said = shown(str(error.message))
    status = error.response.status_code if error.response is not None else None
    if status in TOKEN_REFUSED or TOKEN_REFUSED_IN_WORDS.search(str(error.message)):
        return NeverError(
            f"There is no token for Azure: {said} Check AZURE_CLIENT_ID and the app's identity; "
            "on your own machine, run `az login`."
        )
    return LaterError(f"There is no token for Azure yet: {said} On your own machine, `az login` gives one.")


def longest_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The longest wait that any header names; None where none does, or in a way that can't be understood."""
    waits = [wait_in(value, now) for name, value in headers.items() if WAIT_HEADER.fullmatch(name)]
    return max((wait for wait in waits if wait is not None), default=None)


def _kind(error: RefusedError) -> type[NeverError]:
    if error.status == 404 and error.code in NO_SUBSCRIPTION:
        return NoSubscriptionError
    return GoneError if error.is_gone else NeverError


def _to_do(error: RefusedError, right: Right, where: str) -> str:
    status = 403 if error.code in NO_ROLE else error.status
    if status in right.to_do:
        return right.to_do[status].format(where=shown(where))
    if status == 401:
        return "Check the app's identity, AZURE_CLIENT_ID and AZURE_MANAGEMENT_ENDPOINT."
    if status == 403:
        # Not for want of a role at this place: a deny assignment, a policy, a role at another place that it names.
        return f"Check that the app's identity has the role {right.role} there, and that nothing denies it."
    # No redirect is followed, and what has no code is not Azure's.
    return WHAT_TO_DO.get(error.code, "") if error.code and status >= 400 else "Check AZURE_MANAGEMENT_ENDPOINT."


def _silence(error: Exception) -> str:
    from azure.core.exceptions import DecodeError, ServiceRequestError, ServiceResponseError

    if isinstance(error, ServiceRequestError):
        return "it is out of reach"
    if isinstance(error, ServiceResponseError | DecodeError | OSError):
        return "it did not answer in time, or not to the end"
    return "its answer can't be read"
