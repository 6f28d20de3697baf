"""Requests and answers as AWS has them: JSON 1.1 (Cost Explorer, Organizations), and the query protocol (STS)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID
from xml.sax.saxutils import escape

from localdev import http
from localdev.http import Answer

JSON_TYPE = ("Content-Type", "application/x-amz-json-1.1")
XML_TYPE = ("Content-Type", "text/xml")
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
# The services by what stands before an operation's name in X-Amz-Target.
TARGETS = {"AWSInsightsIndexService": "ce", "AWSOrganizationsV20161128": "organizations"}


class AwsError(Exception):
    """A refusal with AWS's code."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


@dataclass
class Call:
    """A call of an operation. service: `sts`, `ce`, `organizations`. given: its parameters. account: the caller's,
    actions: what it may do (None: everything), arn: who it is.
    """

    service: str
    operation: str
    given: Mapping[str, Any]
    request: http.Request
    account: str = ""
    arn: str = ""
    actions: frozenset[str] | None = field(default=None)

    @property
    def action(self) -> str:
        """As policies name it."""
        return f"{self.service}:{self.operation}"

    def check_allowed(self) -> None:
        """AwsError where no policy allows it."""
        if self.actions is not None and self.action not in self.actions:
            resource = f"arn:aws:{self.service}:us-east-1:{self.account}:/{self.operation}"
            message = f"User: {self.arn} is not authorized to perform: {self.action} on resource: {resource}"
            raise AwsError(400, "AccessDeniedException", f"{message} because no identity-based policy allows it")


def call_of(request: http.Request) -> Call:
    """Which operation is called. AwsError for none that is known."""
    target, _, operation = str(request.headers.get("X-Amz-Target") or "").partition(".")
    if target:
        if target not in TARGETS:
            raise AwsError(400, "UnknownOperationException", f"The simulator does not play {target}.")
        return Call(TARGETS[target], operation, json.loads(request.body or b"{}"), request)
    given = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    return Call("sts", given.get("Action", ""), given, request)


def answered(call: Call, result: Mapping[str, Any], number: int) -> Answer:
    """The operation's result as an answer."""
    request_id = str(UUID(int=number))
    if call.service != "sts":
        return Answer(200, json.dumps(result).encode(), [JSON_TYPE, ("x-amzn-RequestId", request_id)])
    inner = f"<{call.operation}Result>{_xml(result)}</{call.operation}Result>"
    meta = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    body = f'<{call.operation}Response xmlns="{NAMESPACE}">{inner}{meta}</{call.operation}Response>'
    return Answer(200, body.encode(), [XML_TYPE, ("x-amzn-RequestId", request_id)])


def refused(is_sts: bool, error: AwsError, number: int) -> Answer:
    """The refusal as an answer, in the protocol of the service."""
    request_id = str(UUID(int=number))
    headers = [("x-amzn-RequestId", request_id), *error.headers.items()]
    if not is_sts:
        body = json.dumps({"__type": error.code, "message": str(error)}).encode()
        return Answer(error.status, body, [JSON_TYPE, *headers])
    what = f"<Type>Sender</Type><Code>{error.code}</Code><Message>{escape(str(error))}</Message>"
    text = (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{what}</Error><RequestId>{request_id}</RequestId></ErrorResponse>'
    )
    return Answer(error.status, text.encode(), [XML_TYPE, *headers])


def _xml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
    return escape(str(value))
