"""Mails through Twilio SendGrid's v3 API (package `sendgrid`)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

from shared.adapters.http import opener
from shared.adapters.mail import mime
from shared.adapters.retry_after import bounded, wait_in
from shared.domain.texts import readable
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import Handover, OutgoingMail, Refusal

ACCEPTED, BAD_REQUEST = 202, 400
MAY_SEND = "mail.send"
# What comes of a body that is not as SendGrid writes it.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
LONGEST_REASON = 300
# A number this long is an instant in Unix time (2001 and later), a shorter one a number of seconds.
UNIX_TIME = re.compile(r"[0-9]{10,}")
LAST_INSTANT = 10_000_000_000

# What it says of one mail, unless it names the sender. All else it says of us or of the address that we ask: then other
# mails fare no better, and this one goes out once that is mended.
OF_THE_MAIL = frozenset({400, 413, 415, 422})
ADVICE = {
    400: "see that EMAIL_SENDER is right, and a verified sender",
    401: "see that SENDGRID_API_KEY is right and not revoked, and that its account has credits left",
    403: "the API key needs the permission Mail Send, and EMAIL_SENDER has to be a verified sender",
}
# How it names a recipient in an error's `field`: `personalizations.0.to.1.email`.
RECIPIENT = re.compile(r"personalizations\.(\d+)\.(to|cc|bcc)\.(\d+)")
SENDER = re.compile(r"from\b")
OF_THE_ENDPOINT = "see that SENDGRID_ENDPOINT is right; for most it is https://api.sendgrid.com"


@dataclass(slots=True)
class SendGridMailer:
    """Hands mails to SendGrid; the receipt is its X-Message-Id, which means accepted, not delivered.

    endpoint: `https://api.sendgrid.com`, or another for the EU. timeout: seconds of silence from the server.
    SendGrid has no idempotency key; Message-ID is not among the headers that it reserves (its page "Mail Send:
    Errors"), so a mail that goes out twice carries the same one.
    """

    api_key: str = field(repr=False)
    sender: str
    sender_name: str
    endpoint: str = "https://api.sendgrid.com"
    timeout: float = field(default=30.0, kw_only=True)
    clock: Clock = field(default=utc_now, kw_only=True)

    def __post_init__(self) -> None:
        self.api_key, self.endpoint = self.api_key.strip(), self.endpoint.rstrip("/")

    def check(self) -> str:
        """Asks what the key may do. Raises LaterError, and NeverError where it may not send."""
        from python_http_client.exceptions import HTTPError

        try:
            with _reached():
                answer = self._at("scopes").get()
        except HTTPError as error:
            raise self._refusal(error) from error
        try:
            allowed = json.loads(answer.body)["scopes"]
        except UNREADABLE as error:
            raise LaterError(
                "SendGrid answers otherwise than it should: see that SENDGRID_ENDPOINT is right"
            ) from error
        if MAY_SEND not in allowed:
            raise NeverError(f"SENDGRID_API_KEY may not send mails: give it the permission Mail Send ({MAY_SEND})")
        return "SendGrid knows the key, which may send mails"

    def send(self, mail: OutgoingMail) -> Handover:
        """Hands the mail over, to all or to nobody: where it names a faulty address, the others are to be asked again.

        Raises LaterError, and NeverError as `mime.check`.
        """
        from python_http_client.exceptions import HTTPError

        mime.check(mail)
        body = self._body(mail)
        try:
            with _reached():
                response = self._at("mail", "send").post(request_body=body)
        except HTTPError as error:
            if error.status_code not in OF_THE_MAIL or is_of_sender(error.body):
                raise self._refusal(error) from error
            return Handover(refused=self._refused(error, body["personalizations"]))
        if response.status_code != ACCEPTED:
            # Something in between answered, such as a proxy's sign-in page.
            raise LaterError(f"SendGrid answered {response.status_code} where {ACCEPTED} means that it took the mail")
        return Handover(str(response.headers.get("X-Message-Id") or ""))

    def _at(self, *path: str) -> Any:
        """The package's client of a place under /v3."""
        from sendgrid import SendGridAPIClient

        # At DEBUG the package logs each request with its Authorization header.
        logging.getLogger("python_http_client").setLevel(logging.INFO)
        client = SendGridAPIClient(self.api_key, host=self.endpoint).client
        # The package has no time-out of its own: python_http_client waits for ever.
        client.timeout = self.timeout
        for part in path:
            client = client._(part)
        ask = client._make_request
        # Its own opener follows redirects, with the key.
        client._make_request = lambda _opener, *args, **options: ask(opener(), *args, **options)
        return client

    def _body(self, mail: OutgoingMail) -> dict[str, Any]:
        sender = {"email": self.sender, "name": self.sender_name}
        reply_to = {"reply_to": {"email": mail.reply_to}} if mail.reply_to else {}
        return reply_to | {
            "from": sender if self.sender_name else {"email": self.sender},
            "personalizations": personalizations(mail),
            "subject": mail.subject,
            # SendGrid takes them in this order only, and none of them empty.
            "content": [
                {"type": kind, "value": value}
                for kind, value in (("text/plain", mail.text), ("text/html", mail.html))
                if value
            ],
            "headers": {"Message-ID": mail.message_id, **mime.headers_of(mail)},
            # Links stay as they are written, and nobody is watched reading.
            "tracking_settings": {
                "click_tracking": {"enable": False, "enable_text": False},
                "open_tracking": {"enable": False},
            },
        }

    def _refused(self, error: Any, asked: list[dict[str, Any]]) -> dict[str, Refusal]:
        """Who does not get the mail: those whom it names for good, else all."""
        named = refused_in(error.body, asked) if error.status_code == BAD_REQUEST else {}
        if named:
            return {address: replace(each, reason=self._without_key(each.reason)) for address, each in named.items()}
        return dict.fromkeys(_addresses(asked), Refusal(f"SendGrid refuses it{self._words(error)}", True))

    def _words(self, error: Any) -> str:
        said = self._without_key(said_in(error.body))
        return f" ({error.status_code}): {said}" if said else f" ({error.status_code})"

    def _without_key(self, text: str) -> str:
        return text.replace(self.api_key, "***")

    def _refusal(self, error: Any) -> LaterError:
        code, wait = error.status_code, wait_of(error.headers, self.clock())
        if code == 429 or code >= 500 or code == 408:
            return LaterError(f"SendGrid asks to wait{self._words(error)}", wait)
        return LaterError(f"SendGrid refuses us{self._words(error)}; {ADVICE.get(code, OF_THE_ENDPOINT)}", wait)


@contextmanager
def _reached() -> Iterator[None]:
    """Raises LaterError where SendGrid is out of reach."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise LaterError(f"SendGrid can't be reached: {getattr(error, 'reason', error)}") from error
    except ValueError:
        # http.client quotes a header that it does not take, and this one is the key.
        raise LaterError("SENDGRID_API_KEY or SENDGRID_ENDPOINT holds what no request can carry") from None


def personalizations(mail: OutgoingMail) -> list[dict[str, Any]]:
    """The recipients as SendGrid takes them, always with a `to`: blind copies alone, which must not see each other, get
    a mail each."""
    to, cc, bcc = mime.recipients(mail)
    if not to:
        return [{"to": _entries([address])} for address in bcc]
    return [{kind: _entries(found) for kind, found in (("to", to), ("cc", cc), ("bcc", bcc)) if found}]


def _entries(addresses: Iterable[str]) -> list[dict[str, str]]:
    return [{"email": address} for address in addresses]


def wait_of(headers: Any, now: datetime) -> timedelta | None:
    """The longest wait that `Retry-After` or `X-RateLimit-Reset` asks for, at most a day; None where none does."""
    waits = [_wait(headers.get(name) or "", now) for name in ("Retry-After", "X-RateLimit-Reset")]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(value: str, now: datetime) -> timedelta | None:
    """A wait from a number of seconds, an instant in Unix time, or an HTTP date."""
    if not UNIX_TIME.fullmatch(value.strip()):
        return wait_in(value, now)
    instant = min(int(value.strip()[:20]), LAST_INSTANT)
    return bounded(datetime.fromtimestamp(instant, UTC) - now)


def refused_in(body: bytes, asked: list[dict[str, Any]]) -> dict[str, Refusal]:
    """What SendGrid's answer says of single recipients of these personalizations; empty where it says other things."""
    named: dict[str, Refusal] = {}
    try:
        for error in json.loads(body)["errors"]:
            block, kind, number = RECIPIENT.match(error["field"]).groups()  # type: ignore[union-attr]
            named[asked[int(block)][kind][int(number)]["email"]] = Refusal(
                readable(str(error["message"]), LONGEST_REASON), True
            )
    except UNREADABLE:
        return {}
    others = Refusal(f"SendGrid took the mail for nobody, over {', '.join(named)}", for_good=False)
    return {address: named.get(address, others) for address in _addresses(asked)} if named else {}


def is_of_sender(body: bytes) -> bool:
    """Whether SendGrid's answer speaks of the sender."""
    try:
        return any(SENDER.match(str(error["field"])) for error in json.loads(body)["errors"])
    except UNREADABLE:
        return False


def _addresses(asked: list[dict[str, Any]]) -> list[str]:
    return [entry["email"] for block in asked for entries in block.values() for entry in entries]


def said_in(body: bytes) -> str:
    """The errors' messages in SendGrid's answer, in one line; empty where it says none. Some are plain texts."""
    try:
        errors = json.loads(body)["errors"]
        text = "; ".join(error if isinstance(error, str) else str(error["message"]) for error in errors)
    except UNREADABLE:
        return ""
    return readable(text, LONGEST_REASON)
