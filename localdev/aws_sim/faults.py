"""What the simulator can be told to get wrong, for some calls or until it is told to stop."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from localdev import simulator
from localdev.aws_sim.wire import AwsError, Call
from localdev.http import Answer

HTML = b"<html><body><h1>503 Service Unavailable</h1></body></html>"
# The status, the code and the message of what a call is refused with.
REFUSALS = {
    "server_error": (500, "InternalFailure", "We encountered an internal error. Please try again."),
    "request_changed": (400, "RequestChangedException", "Your request parameters changed between pages."),
    "invalid_token": (400, "InvalidNextTokenException", "The pagination token is invalid."),
    "data_unavailable": (
        400,
        "DataUnavailableException",
        "Data is not available. Try another time period.",
    ),
    "bill_expired": (400, "BillExpirationException", "The requested report expired."),
    "access_denied": (400, "AccessDeniedException", "User is not authorized to perform this action"),
    "expired_token": (400, "ExpiredTokenException", "The security token included in the request is expired"),
    "idp_communication": (400, "IDPCommunicationError", "The identity provider could not be reached."),
    "idp_rejected": (403, "IDPRejectedClaim", "The identity provider reported that authentication failed."),
    "region_disabled": (403, "RegionDisabledException", "STS is not activated in this region for account."),
    "unknown_key": (400, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "opt_in_required": (403, "OptInRequired", "The AWS Access Key Id needs a subscription for the service"),
    "subscription_required": (
        400,
        "SubscriptionRequiredException",
        "The AWS Access Key Id needs a subscription for the service",
    ),
    "unknown": (400, "SomethingNewException", "Nobody has heard of this before"),
}
# Each service has its own word for it.
THROTTLED = {"ce": "LimitExceededException", "sts": "Throttling", "organizations": "TooManyRequestsException"}
KINDS = {
    **{kind: f"{status} {code}" for kind, (status, code, _message) in REFUSALS.items()},
    "throttled": "the service's word for too many calls; with Retry-After where `seconds` is given",
    "unavailable": "503 with a page of HTML; with Retry-After where `seconds` is given",
    "silent": "the connection is closed without an answer",
    "slow": "a good answer, after `seconds`",
    "truncated": "the connection breaks in the middle of the body",
    "invalid_json": "the body is not JSON",
    "cut_off": "the body lacks its end, and its length is right",
    "hollow": "the body has none of its fields",
    "looping_token": "the page leads to the same one, again and again",
    "amount": "the first row's amount is `text`",
    "row": "the first row is `text`, which is JSON",
    "unit": "the last row's unit is `text`",
}


@dataclass
class Fault(simulator.Fault):
    """One kind of fault (see KINDS), for the calls that it is meant for.

    operation: which calls are meant, such as `GetCostAndUsage`; account: of whom; None means all.
    """

    KINDS: ClassVar = KINDS

    operation: str | None = None
    account: str | None = None
    seconds: float | None = None
    text: str = ""

    def is_meant(self, call: Call) -> bool:
        """Whether it is for such a call."""
        return self.operation in (None, call.operation) and self.account in (None, call.account)


def refuse(fault: Fault, call: Call) -> None:
    """Raises what a fault that spoils the whole call stands for; does nothing for the others."""
    headers = {} if fault.seconds is None else {"Retry-After": f"{fault.seconds:g}"}
    if fault.kind == "throttled":
        raise AwsError(400, THROTTLED[call.service], "Rate exceeded", headers)
    if fault.kind in REFUSALS:
        raise AwsError(*REFUSALS[fault.kind])


def spoiled(fault: Fault, answer: Answer) -> Answer:
    """The finished answer, wrong in the way of the fault; unchanged if it is of another kind."""
    if fault.kind == "unavailable":
        headers = [] if fault.seconds is None else [("Retry-After", f"{fault.seconds:g}")]
        return Answer(503, HTML, [("Content-Type", "text/html"), *headers])
    if fault.kind == "truncated":
        return replace(answer, cut_after=len(answer.body) // 2)
    if fault.kind in BODY_SPOILERS:
        return replace(answer, body=BODY_SPOILERS[fault.kind](answer.body))
    spoil = PAGE_SPOILERS.get(fault.kind)
    if spoil is None:
        return answer
    page = json.loads(answer.body)
    spoil(page, fault.text)
    return replace(answer, body=json.dumps(page).encode())


def _hollow(body: bytes) -> bytes:
    if body.startswith(b"{"):
        return b"{}"
    return re.sub(rb"(?<=Result>).*(?=</\w+Result>)", b"", body, flags=re.DOTALL)


def _loop(page: Any, _text: str) -> None:
    if "Accounts" in page:
        page["NextToken"] = "0"
    else:
        page["NextPageToken"] = "the-same-again"


def _amount(page: Any, text: str) -> None:
    _costs(page)[0]["Amount"] = text


def _row(page: Any, text: str) -> None:
    next(result for result in page["ResultsByTime"] if result["Groups"])["Groups"][0] = json.loads(text)


def _unit(page: Any, text: str) -> None:
    _costs(page)[-1]["Unit"] = text


def _costs(page: Any) -> list[dict[str, str]]:
    groups = [group for result in page["ResultsByTime"] for group in result["Groups"]]
    return [cost for group in groups for cost in group["Metrics"].values()]


PAGE_SPOILERS: dict[str, Callable[[Any, str], None]] = {
    "looping_token": _loop,
    "amount": _amount,
    "row": _row,
    "unit": _unit,
}
BODY_SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "invalid_json": lambda body: body.replace(b":", b"=", 1),
    "cut_off": lambda body: body[:-2],
    "hollow": _hollow,
}
