"""A mail as the bytes that go over the wire (RFC 5322), for every adapter that writes mails itself."""

from __future__ import annotations

import re
from datetime import datetime
from email.charset import BASE64, Charset
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from shared.ports.errors import NeverError
from shared.ports.mails import OutgoingMail

# Python takes the last four for line ends too, and so may a mail program.
LINE_BREAKS = re.compile("[\r\n\0\x0b\x0c\x85\u2028\u2029]")
# In base64: a name may hold no comma, not even an encoded one.
IN_HEADERS = Charset("utf-8")
IN_HEADERS.header_encoding = BASE64
# RFC 3834: keeps out-of-office replies from coming back.
AUTOMATIC = {"Auto-Submitted": "auto-generated"}
# RFC 4021, and what mail programs read that do not know it.
IMPORTANT = {"Importance": "high", "X-Priority": "1"}


def check(mail: OutgoingMail) -> None:
    """Raises NeverError where the mail has no recipient, or can't be written without harm.

    A line break in a header would start another header (header injection).
    """
    if not (mail.to or mail.cc or mail.bcc):
        raise NeverError("the mail has no recipient")
    for name, value in _header_values(mail):
        if LINE_BREAKS.search(value):
            raise NeverError(f"the mail's {name} holds a line break; it has to be one line")
    try:
        "".join([*(value for _, value in _header_values(mail)), mail.text, mail.html]).encode()
    except UnicodeEncodeError as error:
        raise NeverError("the mail holds half a character (a lone surrogate), which can't be sent") from error


def recipients(mail: OutgoingMail) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Who is in `to`, `cc` and `bcc`: each address once, in any case of its letters.

    Providers refuse an address that is there twice (sendgrid-python #788). Without a `to`, the copies take its place.
    """
    seen: set[str] = set()
    to, cc, bcc = (_unseen(addresses, seen) for addresses in (mail.to, mail.cc, mail.bcc))
    return (to, cc, bcc) if to else (cc, (), bcc)


def headers_of(mail: OutgoingMail) -> dict[str, str]:
    """What its header says of how it is to be taken."""
    return AUTOMATIC | (IMPORTANT if mail.urgent else {})


def build(mail: OutgoingMail, sender: str, sender_name: str, now: datetime) -> EmailMessage:
    """The mail with its text and HTML as alternatives, in UTF-8, without the blind copies. Raises NeverError."""
    check(mail)
    try:
        return _message(mail, sender, sender_name, now)
    except (MessageError, ValueError, IndexError) as error:
        # The email package raises these for an address or a name that no header can hold.
        raise NeverError(f"the mail can't be written: {error}") from error


def _message(mail: OutgoingMail, sender: str, sender_name: str, now: datetime) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = mail.message_id
    message["Date"] = now
    message.set_raw("From", _from(sender_name, sender))
    # A mail of blind copies only needs a To all the same; this is the usual one (RFC 5322, 3.4 and A.1.3).
    message["To"] = _addresses(mail.to) if mail.to or mail.cc else "undisclosed-recipients:;"
    if mail.cc:
        message["Cc"] = _addresses(mail.cc)
    message.set_raw("Subject", _encoded("Subject", mail.subject))
    if mail.reply_to:
        message["Reply-To"] = _addresses((mail.reply_to,))
    for name, value in headers_of(mail).items():
        message[name] = value
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def _from(name: str, address: str) -> str:
    """Raises ValueError, MessageError or IndexError for an address that no header can hold."""
    sender = Address(display_name=name, addr_spec=address)
    # Each line is short enough to be left as it is.
    return str(sender) if name.isascii() else f"{_encoded('From', name)}\n <{sender.addr_spec}>"


def _encoded(name: str, text: str) -> str:
    """A header's text, folded. Python's own way of folding (3.11 to 3.13) loses spaces between words with accents."""
    if text.isascii():
        return str(SMTP.header_factory(name, text).fold(policy=SMTP)).removeprefix(f"{name}:").strip()
    return Header(text, IN_HEADERS, header_name=name).encode()


def add_blind_copies(message: EmailMessage, mail: OutgoingMail) -> None:
    """Writes the blind copies into the header: for a mail that is looked at, never for one that is sent."""
    if mail.bcc:
        message["Bcc"] = _addresses(mail.bcc)


def _addresses(addresses: tuple[str, ...]) -> tuple[Address, ...]:
    return tuple(Address(addr_spec=address) for address in addresses)


def _unseen(addresses: tuple[str, ...], seen: set[str]) -> tuple[str, ...]:
    found = []
    for address in addresses:
        if address.casefold() not in seen:
            seen.add(address.casefold())
            found.append(address)
    return tuple(found)


def _header_values(mail: OutgoingMail) -> list[tuple[str, str]]:
    recipients = [
        ("recipients", address) for address in (*mail.to, *mail.cc, *mail.bcc, *filter(None, [mail.reply_to]))
    ]
    return [("Message-ID", mail.message_id), ("subject", mail.subject), *recipients]
