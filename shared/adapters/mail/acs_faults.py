"""What Azure Communication Services says of a mail that it does not send: of whom, of us, and whether that passes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.adapters.azure.refusals import ALWAYS_PASSING, UNREADABLE, RefusedError
from shared.domain.texts import wholly

# Besides 5xx.
PASSING = frozenset({408, 429})
PASSING_CODE = re.compile(f"{ALWAYS_PASSING.pattern}|InternalServerError|ServiceUnavailable", re.IGNORECASE)
# What it says of one mail, unless it names the sender (InvalidSenderUserName is a 400). All else it says of us.
OF_THE_MAIL = frozenset({400, 413, 415, 422})
# Of an operation that has ended badly; any other cause of that may pass.
OF_ALL_RECIPIENTS = re.compile("suppress", re.IGNORECASE)
# What it is about us, with what to see to.
CHECK_SENDER = "see that EMAIL_SENDER is one of the MailFrom addresses of a domain that is connected to that service"
OF_US = (
    (re.compile("sender|mail ?from|DomainNotLinked", re.IGNORECASE), CHECK_SENDER),
    (re.compile("reply-? ?to", re.IGNORECASE), "see that EMAIL_REPLY_TO is right"),
)
# A recipient by its place in the request: `recipients.to[1].address`.
PLACE = re.compile(r"(?<![\w-])(to|cc|bcc)[\[./](\d+)", re.IGNORECASE)
ANY_ADDRESS = re.compile(r"\S+@\S+")

Recipients = Sequence[tuple[str, str]]
"""Addresses, each with its place: to, cc or bcc"""


class AcsError(RefusedError):
    """A refusal, or an operation that has ended badly (its status is a success).

    Errors may hold others (learn.microsoft.com, `CommunicationError`): message has those of all of them.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status, headers, body)
        found = list(_errors_in(body))
        self.message = " ".join(dict.fromkeys(filter(None, (_text(each, "message") for each in found))))
        self._names = " ".join(_text(each, name) for each in found for name in ("code", "target"))

    @property
    def has_ended(self) -> bool:
        """Whether it took the mail, and did not send it."""
        return 200 <= self.status < 300

    @property
    def passes(self) -> bool:
        """Whether it says of itself that it may be otherwise later."""
        return self.status >= 500 or self.status in PASSING or bool(PASSING_CODE.search(self._names))

    def is_of(self, some: Recipients) -> bool:
        """Whether these recipients, or some of them, do not get the mail for good."""
        if self.passes or self.to_see_to(some):
            return False
        if self.has_ended:
            return bool(self.named(some) or OF_ALL_RECIPIENTS.search(self.words))
        return self.status in OF_THE_MAIL

    def named(self, some: Recipients) -> list[str]:
        """Those of the recipients whom it names, by their address or their place."""
        said = f"{self._names} {self.message}"
        addresses = [address for _, address in some]
        by_address = {found.group().lower() for found in wholly(addresses).finditer(said)}
        by_place = {_at(some, place.lower(), int(number[:9])) for place, number in PLACE.findall(said)}
        return [address for address in addresses if address.lower() in by_address or address in by_place]

    def to_see_to(self, some: Recipients) -> str | None:
        """What to do where it is about us: by a code or a member's name, or by words that name no recipient."""
        said = self._names if self.named(some) else f"{self._names} {self.message}"
        said = ANY_ADDRESS.sub("", wholly(address for _, address in some).sub("", said))
        return next((to_do for pattern, to_do in OF_US if pattern.search(said)), None)


def _errors_in(body: bytes) -> Iterator[dict[str, Any]]:
    """The error, and those in it."""
    try:
        left = [json.loads(body)["error"]]
    except UNREADABLE:
        return
    for each in left:
        if isinstance(each, dict):
            yield each
            details = each.get("details")
            left += [*(details if isinstance(details, list) else []), each.get("innererror")]


def _text(error: Mapping[str, Any], name: str) -> str:
    return str(error.get(name) or "")


def _at(some: Recipients, place: str, number: int) -> str | None:
    its = [address for at, address in some if at == place]
    return its[number] if number < len(its) else None
