"""Mails through Azure Communication Services, by its REST API.

Not by Microsoft's package: its `begin_send` leaves a thread behind that asks for the result, and the rest is one POST.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request
from uuid import UUID, uuid5

from shared.adapters.azure.access import ArmEndpoint, credential_for, parse_endpoint, shown
from shared.adapters.azure.refusals import UNREADABLE, longest_wait, token_error
from shared.adapters.http import opener
from shared.adapters.mail import mime
from shared.adapters.mail.acs_faults import AcsError, Recipients
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import LaterError
from shared.ports.mails import Handover, OutgoingMail, Refusal

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

API_VERSION = "2025-09-01"
NAME = "Azure Communication Services"
# learn.microsoft.com, "Service limits": so many in one mail.
MOST_RECIPIENTS = 50
LONGEST_REASON = 300
LARGEST_ANSWER = 1 << 20
# Ids of operations are made from it, so that they are nobody else's; by itself it is the id of no mail.
OUR_OPERATIONS = UUID("5b0f5a2c-3a77-4f0e-9d4c-5e1f6d1a7c52")
# A mail has no more, however often they end badly.
MOST_OPERATIONS = 1024
ACCEPTED, CONFLICT, NOT_FOUND = 202, 409, 404

CHECK_ROLE = "see that the app's identity has the role Communication and Email Service Owner on that service"
CHECK_ENDPOINT = "see that ACS_ENDPOINT is right"
WHAT_TO_DO = {401: CHECK_ROLE, 403: CHECK_ROLE}
ENDED_BADLY = frozenset({"failed", "canceled"})


@dataclass
class AcsMailer:
    """Hands mails to Azure Communication Services; the receipt is the operation's id: accepted, not delivered.

    endpoint: `https://NAME.communication.azure.com`. client_id: the user-assigned identity's; without one, whoever is
    found. timeout: seconds for a whole answer. The name that mails come from is set at the domain in Azure: the API
    takes none. A mail that is sent again, to the same people, is the same operation, unless that has ended badly over
    what may pass: then nobody has it. Raises ValueError for an endpoint that can't be used.
    """

    endpoint: str
    client_id: str | None
    sender: str
    timeout: float = field(default=30.0, kw_only=True)
    clock: Clock = field(default=utc_now, kw_only=True)
    credential: TokenCredential | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        self.place: ArmEndpoint = parse_endpoint(self.endpoint)

    def check(self) -> str:
        """Signs in, and asks after a mail that there can't be. Raises LaterError."""
        try:
            self._ask("GET", f"/emails/operations/{OUR_OPERATIONS}")
        except AcsError as error:
            if error.status != NOT_FOUND:
                raise self._later(error, ()) from error
        return f"{NAME} takes our sign-in"

    def send(self, mail: OutgoingMail) -> Handover:
        """Hands the mail over, in several where it has more recipients than one may have. Does not wait for the result.

        Raises LaterError where nobody gets it now, and NeverError as `mime.check`.
        """
        mime.check(mail)
        first, *others = _parts(mail)
        handover = self._hand_over(mail, first)
        refused = dict(handover.refused)
        for some in others:
            try:
                refused |= self._hand_over(mail, some).refused
            except LaterError as error:
                refused |= dict.fromkeys(_addresses(some), Refusal(error.reason, for_good=False))
        return Handover(handover.receipt, refused)

    def _hand_over(self, mail: OutgoingMail, some: Recipients) -> Handover:
        """To all of them or nobody. Raises LaterError."""
        try:
            answer = self._begun(mail, some)
        except AcsError as error:
            if not error.is_of(some):
                raise self._later(error, some) from error
            return Handover(refused=_refused(error, some))
        return Handover(str(answer["id"] or ""))

    def _begun(self, mail: OutgoingMail, some: Recipients) -> dict[str, Any]:
        """The mail's operation, whether it begins now or was there before. Raises AcsError and LaterError.

        One that was there and has ended badly stays so for good: then it is the first that is not there yet. Where the
        last that ended refused recipients, its answer was lost: that counts, until a person asks again.
        """
        body, operation = self._body(mail, some), partial(_operation, mail, some)
        answer, is_new = self._posted(operation(0), body)
        if not is_new and _has_ended_badly(answer):
            state = cache(lambda number: self._state(operation(number)))
            numbers = range(MOST_OPERATIONS)
            after = bisect_left(numbers, True, lo=1, key=lambda number: not _has_ended_badly(state(number)))
            last = _error_of(state(after - 1) if after > 1 else answer)
            if last.is_of(some) and not (mail.asked_again or state(after)):
                raise last
            answer, _ = self._posted(operation(after), body)
        if _has_ended_badly(answer):
            raise _error_of(answer)
        return answer

    def _posted(self, operation: str, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """How the operation stands, and whether it begins now. Raises AcsError and LaterError."""
        try:
            return {"id": operation} | self._ask("POST", "/emails:send", body, operation), True
        except AcsError as error:
            if error.status != CONFLICT:
                raise
        return {"id": operation} | self._ask("GET", f"/emails/operations/{operation}"), False

    def _state(self, operation: str) -> dict[str, Any]:
        """How the operation stands; empty if it is not there. Raises AcsError and LaterError."""
        try:
            return self._ask("GET", f"/emails/operations/{operation}")
        except AcsError as error:
            if error.status != NOT_FOUND:
                raise
        return {}

    def _ask(self, method: str, path: str, body: object = None, operation: str | None = None) -> dict[str, Any]:
        """The answer's JSON. Raises AcsError, and LaterError where there is no token or no answer."""
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        request = Request(  # noqa: S310 - an ArmEndpoint is http or https
            f"{self.place.url}{path}?api-version={API_VERSION}",
            None if body is None else json.dumps(body).encode(),
            headers | ({"Operation-Id": operation} if operation else {}),
            method=method,
        )
        try:
            status, answered, content = self._answer(request)
        except (OSError, HTTPException) as error:
            raise LaterError(f"{NAME} can't be reached: {getattr(error, 'reason', error)}") from error
        if status >= 300:
            raise AcsError(status, answered, content)
        try:
            members: dict[str, Any] = {**json.loads(content)}
        except UNREADABLE as error:
            # Something in between answered, such as a proxy's sign-in page.
            raise LaterError(f"{NAME} answers otherwise than it should ({status}): {CHECK_ENDPOINT}") from error
        return members

    def _answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, whatever the status. Raises OSError and HTTPException."""
        try:
            response = opener(self.place.is_local).open(request, timeout=self.timeout)
        except HTTPError as error:
            response = error
        with response:
            return response.status, dict(response.headers.items()), response.read(LARGEST_ANSWER)

    @cached_property
    def _identity(self) -> TokenCredential:
        return self.credential or credential_for(self.place, self.client_id)

    def _token(self) -> str:
        """Raises LaterError, whosever fault it is: mails wait until there is one."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        _, known, cloud = self.place.origin[1].partition(".communication.")
        try:
            return self._identity.get_token(f"https://communication.{cloud if known else 'azure.com'}/.default").token
        except ClientAuthenticationError as error:
            raise LaterError(token_error(error).reason) from error
        except (AzureError, OSError, ValueError) as error:
            raise LaterError(f"There is no token for {NAME} yet: {shown(str(error))}") from error

    def _body(self, mail: OutgoingMail, some: Recipients) -> dict[str, Any]:
        reply_to = {"replyTo": [{"address": mail.reply_to}]} if mail.reply_to else {}
        return reply_to | {
            "senderAddress": self.sender,
            "recipients": {
                place: [{"address": address} for at, address in some if at == place]
                for place in dict.fromkeys(at for at, _ in some)
            },
            "content": {"subject": mail.subject, "plainText": mail.text, "html": mail.html},
            "headers": {"Message-ID": mail.message_id, **mime.headers_of(mail)},
            # Links stay as they are written, and nobody is watched reading.
            "userEngagementTrackingDisabled": True,
        }

    def _later(self, error: AcsError, some: Recipients) -> LaterError:
        said, wait = error.said(LONGEST_REASON), longest_wait(error.headers, self.clock())
        to_do = error.to_see_to(some)
        if error.passes:
            return LaterError(f"{NAME} asks to wait: {said}", wait)
        if error.has_ended and to_do is None:
            return LaterError(f"{NAME} took the mail, but could not send it: {said}", wait)
        to_do = to_do or WHAT_TO_DO.get(error.status, CHECK_ENDPOINT)
        return LaterError(f"{NAME} refuses us: {said.rstrip('.')}; {to_do}", wait)


def _parts(mail: OutgoingMail) -> list[Recipients]:
    """As many recipients as one may have in each, and the same ones however many of the others have it already."""
    places = zip(("to", "cc", "bcc"), mime.recipients(mail), strict=True)
    asked = [(place, address) for place, addresses in places for address in addresses]
    order = list(dict.fromkeys([*mail.everybody, *_addresses(asked)]))
    cut = [{*order[at : at + MOST_RECIPIENTS]} for at in range(0, len(order), MOST_RECIPIENTS)]
    parts = [[each for each in asked if each[1] in some] for some in cut]
    return [some for some in parts if some]


def _addresses(some: Recipients) -> list[str]:
    return [address for _, address in some]


def _operation(mail: OutgoingMail, some: Recipients, number: int) -> str:
    """The id of the mail's operation for these recipients; number: of those that ended badly before."""
    names = [mail.message_id, *_addresses(some), *([str(number)] if number else [])]
    return str(uuid5(OUR_OPERATIONS, "\n".join(names)))


def _has_ended_badly(answer: Mapping[str, Any]) -> bool:
    return str(answer.get("status")).lower() in ENDED_BADLY


def _error_of(ended: Mapping[str, Any]) -> AcsError:
    return AcsError(ACCEPTED, {}, json.dumps(ended).encode())


def _refused(error: AcsError, some: Recipients) -> dict[str, Refusal]:
    """Who does not get the mail: those for good whom it names, and the others for now; where it names nobody, all."""
    said = error.said(LONGEST_REASON).removesuffix(".")
    named = error.named(some)
    others = Refusal(f"{NAME} took the mail for nobody, over {', '.join(named)}", for_good=False)
    refusal = Refusal(f"{NAME} refuses it: {said}", for_good=True)
    return {address: refusal if address in named or not named else others for address in _addresses(some)}
