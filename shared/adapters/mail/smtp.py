"""Mails over SMTP, with the standard library."""

from __future__ import annotations

import re
import smtplib
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.mail import mime
from shared.domain.texts import shortened
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import LaterError
from shared.ports.mails import Handover, OutgoingMail, Refusal

IMPLICIT_TLS_PORT = 465
# A reply longer than this is a page of advice; its beginning says why.
LONGEST_REPLY = 200
# Servers look at a mail before they say yes, and RFC 5321 (4.5.3.2.6) gives them ten minutes: to hang up on one that
# then says yes is to send the mail twice.
VERDICT_SECONDS = 240.0

# The reply with which a server hangs up, whatever it was asked.
CLOSING = 421
# RFC 1870: the one thing that the answer to MAIL FROM says of the mail.
TOO_LARGE = 552
# Its like in the answer to a recipient (RFC 5321, 4.5.3.1.10) says that there are too many of them, which is for now,
# unless it speaks of a mailbox that is full. RFC 3463: 5.5.3 is "too many recipients".
TOO_MANY = re.compile(r"^552 (?!5\.2\.)|\b5\.5\.3\b|too many recipients", re.IGNORECASE)
# Some of what servers say of who sends, with a reply that else speaks of the mail or of an address: the sign-in, the
# sender, relaying, a quota, the sender's domain. It keeps mails waiting for those whom they are for; of other words,
# that nobody at all is taken shows whom they are about (`pipeline/deliver.py`). Enhanced codes: RFC 3463, and those
# of Exchange (5.2.252, 5.7.57, …) and Gmail (5.4.5, 5.7.26). 5.7.1 alone may be anything; 5.7.12x and 5.7.13x are
# mailboxes that take mail from some only.
OF_US = re.compile(
    r"\b5\.(1\.[78]|2\.252|4\.5|7\.(?!1\b|12\d\b|13[0-8]\b)\d+)\b"
    r"|relay|rcpthosts|sender|send ?as|from address|not verified|authenticat|credits|suspended"
    r"|(sending|submission|daily|hourly|monthly).{0,20}(quota|limit)",
    re.IGNORECASE,
)
# A mailbox that is full, not there, or takes mail from some only, a mail that is too large: whatever other words there
# are.
NOT_OF_US = re.compile(r"\b5\.(1\.1|2\.[12]|3\.4|7\.(12\d|13[0-8]))\b|^552 ")
# Whose name may be any of those words.
ADDRESS = re.compile(r"\S+@\S+")


@dataclass(frozen=True, slots=True)
class SmtpMailer:
    """Hands mails to one mail server, a connection for each.

    starttls: the connection is encrypted before the sign-in; the server has to offer it. implicit_tls: it is
    encrypted from its first byte instead; None means that it is on port 465 (RFC 8314). Certificates are
    checked against the machine's authorities, or those in the file that the environment's SSL_CERT_FILE names.
    An empty username means no sign-in. timeout: seconds of silence from the server; verdict_timeout: the same
    once it has the whole mail.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    starttls: bool
    sender: str
    sender_name: str
    implicit_tls: bool | None = None
    timeout: float = 30.0
    verdict_timeout: float = VERDICT_SECONDS
    clock: Clock = utc_now

    @property
    def _is_tls_from_the_start(self) -> bool:
        return self.port == IMPLICIT_TLS_PORT if self.implicit_tls is None else self.implicit_tls

    def send(self, mail: OutgoingMail) -> Handover:
        """Sends the mail to those whom the server takes it for. Raises LaterError, and NeverError as `mime.build`."""
        message = mime.build(mail, self.sender, self.sender_name, self.clock())
        recipients = list(dict.fromkeys((*mail.to, *mail.cc, *mail.bcc)))
        try:
            smtp = self._connect()
            try:
                refused = smtp.send_message(message, self.sender, recipients)
            except smtplib.SMTPRecipientsRefused as error:
                if any(code == CLOSING for code, _ in error.recipients.values()):
                    raise  # it was not asked for the others
                refused = error.recipients
            finally:
                _part(smtp)
        except OSError as error:  # smtplib's own errors are OSErrors too
            said = self._said_of_the_mail(error)
            if not said:
                raise self._translated(error) from error
            return Handover(refused=dict.fromkeys(recipients, Refusal(said, for_good=True)))
        except UnicodeError:
            # Without its cause, which quotes a piece of what may be the password.
            raise LaterError("SMTP_HOST, SMTP_USERNAME or SMTP_PASSWORD holds what SMTP can't carry") from None
        return Handover(refused={address: self._refusal(*answer) for address, answer in refused.items()})

    def _connect(self) -> smtplib.SMTP:
        if self._is_tls_from_the_start:
            context = ssl.create_default_context()
            smtp: _Smtp = _SmtpOverTls(self.host, self.port, timeout=self.timeout, context=context)
        else:
            smtp = _Smtp(self.host, self.port, timeout=self.timeout)
        smtp.verdict_timeout = self.verdict_timeout
        try:
            self._sign_in(smtp)
        except BaseException:
            _part(smtp)
            raise
        return smtp

    def _sign_in(self, smtp: smtplib.SMTP) -> None:
        if self.starttls and not self._is_tls_from_the_start:
            smtp.starttls(context=ssl.create_default_context())
        if self.username:
            smtp.login(self.username, self.password)

    def _refusal(self, code: int, reply: bytes) -> Refusal:
        """Of one recipient: an address that does not work, or one that may be taken later."""
        said = self._quoted(code, reply)
        return Refusal(said, for_good=code >= 500 and not TOO_MANY.search(said) and not _is_of_us(said))

    def _said_of_the_mail(self, error: OSError) -> str:
        """The words in which the server refuses the mail for good; empty where it says other things."""
        if not isinstance(error, smtplib.SMTPResponseException) or error.smtp_code < 500:
            return ""
        if not isinstance(error, smtplib.SMTPDataError) and error.smtp_code != TOO_LARGE:
            return ""
        said = self._quoted(error.smtp_code, error.smtp_error)
        return "" if _is_of_us(said) else said

    def _translated(self, error: OSError) -> LaterError:
        where = f"the mail server {self.host}:{self.port}"
        match error:
            case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=reply):
                said, advice = self._quoted(code, reply), "see that SMTP_USERNAME and SMTP_PASSWORD are right"
                return LaterError(f"{where} refuses our sign-in: {said}; {advice}")
            case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
                return LaterError(f"{where} takes no mail from us: {self._quoted(code, reply)}")
            case smtplib.SMTPRecipientsRefused(recipients=refused):
                said = "; ".join(self._quoted(*answer) for answer in refused.values())
                return LaterError(f"{where} takes no mail from us: {said}")
            case smtplib.SMTPException() if not isinstance(error, smtplib.SMTPServerDisconnected):
                # It lacks something that we asked for, such as STARTTLS or a way to sign in.
                return LaterError(f"{where} can't take the mail: {self._without_password(_plain(str(error)))}")
            case _:
                return LaterError(f"{where} can't be reached: {_plain(str(error))}")

    def _quoted(self, code: int, reply: bytes | str) -> str:
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        return self._without_password(_plain(f"{code} {text}"))

    def _without_password(self, text: str) -> str:
        """What the server repeats of a sign-in that it does not understand is in base64."""
        if not self.password:
            return text
        plain = f"\0{self.username}\0{self.password}"
        for secret in (self.password, *(b64encode(each.encode()).decode() for each in (self.password, plain))):
            text = text.replace(secret, "***")
        return text


class _Smtp(smtplib.SMTP):
    """A connection that waits longer for the server's word on a whole mail than for its other answers."""

    verdict_timeout = VERDICT_SECONDS

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Hands the mail over; see smtplib, which takes no other yes than 250 (RFC 5321, 4.2: any 2xx is one)."""
        self._wait(self.verdict_timeout)
        try:
            code, reply = super().data(msg)
            return (250 if code // 100 == 2 else code), reply
        finally:
            self._wait(self.timeout)

    def _wait(self, seconds: float) -> None:
        if self.sock is not None:  # it is None once the server has hung up
            self.sock.settimeout(seconds)


class _SmtpOverTls(_Smtp, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


def _is_of_us(said: str) -> bool:
    """Whether a refusal for good speaks of who sends. In doubt it does: what waits is not lost."""
    return bool(OF_US.search(ADDRESS.sub("", said))) and not NOT_OF_US.search(said)


def _part(smtp: smtplib.SMTP) -> None:
    """Takes leave. Once the server has taken a mail, a broken goodbye must not look like a failed mail."""
    with suppress(smtplib.SMTPException, OSError):
        smtp.quit()
    smtp.close()


def _plain(text: str) -> str:
    return shortened(" ".join(text.split()), LONGEST_REPLY)
