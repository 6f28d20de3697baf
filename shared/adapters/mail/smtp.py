"""Mails over SMTP, with the standard library."""

from __future__ import annotations

import re
import smtplib
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from time import monotonic

from shared.adapters.mail import mime
from shared.adapters.mail.smtp_connection import Connection, ConnectionOverTls, HungUpError, as_text
from shared.domain.texts import readable
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import LaterError
from shared.ports.mails import Handover, OutgoingMail, Refusal

IMPLICIT_TLS_PORT = 465
# A reply longer than this is a page of advice; its beginning says why.
LONGEST_REPLY = 200
# Servers look at a mail before they say yes, and RFC 5321 (4.5.3.2.6) gives them ten minutes: to hang up on one that
# then says yes is to send the mail twice. Together with the talk before it, and with TIME_FOR_MANY of
# `pipeline/deliver.py`, it is less than a function may run.
VERDICT_SECONDS = 240.0
TALK_SECONDS = 100.0
# A server that hangs up at so many recipients of one mail does so to us.
MOST_HANG_UPS = 10

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
    An empty username means no sign-in. timeout: seconds for each of the server's answers; talk_timeout: for all of
    them up to the last recipient's; verdict_timeout: for its word on the whole mail.
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
    talk_timeout: float = TALK_SECONDS
    verdict_timeout: float = VERDICT_SECONDS
    clock: Clock = utc_now

    @property
    def _is_tls_from_the_start(self) -> bool:
        return self.port == IMPLICIT_TLS_PORT if self.implicit_tls is None else self.implicit_tls

    def check(self) -> str:
        """Signs in, and parts. Raises LaterError."""
        try:
            _part(self._connect(monotonic() + self.talk_timeout))
        except OSError as error:
            raise self._translated(error) from error
        except UnicodeError:
            raise _unspeakable() from None
        return f"{self._where} {'takes our sign-in' if self.username else 'answers; no sign-in is set'}"

    def send(self, mail: OutgoingMail) -> Handover:
        """Sends the mail to those whom the server takes it for. Raises LaterError, and NeverError as `mime.build`.

        Where the server hangs up at a recipient, the others get the mail without that one; where it does so again,
        those whom it had taken before.
        """
        message = mime.build(mail, self.sender, self.sender_name, self.clock())
        asked = list(dict.fromkeys((*mail.to, *mail.cc, *mail.bcc)))
        until = monotonic() + self.talk_timeout
        put_off: dict[str, Refusal] = {}
        for _ in range(MOST_HANG_UPS):
            try:
                return Handover(refused=put_off | self._hand_over(message, asked, until))
            except HungUpError as error:
                said = self._without_password(_plain(error.said))
                left = list(error.accepted) if put_off else []
                left = left or [address for address in asked if address != error.recipient]
                put_off |= {address: Refusal(said, for_good=False) for address in asked if address not in left}
                asked = left
            if not asked:
                return Handover(refused=put_off)
        raise LaterError(f"{self._where} hangs up on us: {said}")

    def _hand_over(self, message: EmailMessage, recipients: list[str], until: float) -> dict[str, Refusal]:
        """One connection; who does not get the mail. Raises HungUpError at a recipient, and LaterError."""
        try:
            smtp = self._connect(until)
            try:
                refused = smtp.send_message(message, self.sender, recipients)
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
            finally:
                _part(smtp)
        except OSError as error:  # smtplib's own errors are OSErrors too
            said = self._said_of_the_mail(error)
            if not said:
                raise self._translated(error) from error
            return dict.fromkeys(recipients, Refusal(said, for_good=True))
        except UnicodeError:
            # Without its cause, which quotes a piece of what may be the password.
            raise _unspeakable() from None
        return {address: self._refusal(*answer) for address, answer in refused.items()}

    def _connect(self, until: float) -> Connection:
        times = {"until": until, "verdict_timeout": self.verdict_timeout, "timeout": self.timeout}
        if self._is_tls_from_the_start:
            context = ssl.create_default_context()
            smtp: Connection = ConnectionOverTls(self.host, self.port, context=context, **times)
        else:
            smtp = Connection(self.host, self.port, **times)
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

    @property
    def _where(self) -> str:
        return f"the mail server {self.host}:{self.port}"

    def _translated(self, error: OSError) -> LaterError:
        where = self._where
        match error:
            case smtplib.SMTPAuthenticationError(smtp_code=code, smtp_error=reply):
                said, advice = self._quoted(code, reply), "see that SMTP_USERNAME and SMTP_PASSWORD are right"
                return LaterError(f"{where} refuses our sign-in: {said}; {advice}")
            case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
                return LaterError(f"{where} takes no mail from us: {self._quoted(code, reply)}")
            case smtplib.SMTPException() if not isinstance(error, smtplib.SMTPServerDisconnected):
                # It lacks something that we asked for, such as STARTTLS or a way to sign in.
                return LaterError(f"{where} can't take the mail: {self._without_password(_plain(str(error)))}")
            case _:
                return LaterError(f"{where} can't be reached: {_plain(str(error))}")

    def _quoted(self, code: int, reply: bytes | str) -> str:
        return self._without_password(_plain(as_text(code, reply)))

    def _without_password(self, text: str) -> str:
        """What the server repeats of a sign-in that it does not understand is in base64."""
        if not self.password:
            return text
        plain = f"\0{self.username}\0{self.password}"
        for secret in (self.password, *(b64encode(each.encode()).decode() for each in (self.password, plain))):
            text = text.replace(secret, "***")
        return text


def _unspeakable() -> LaterError:
    return LaterError("SMTP_HOST, SMTP_USERNAME or SMTP_PASSWORD holds what SMTP can't carry")


def _is_of_us(said: str) -> bool:
    """Whether a refusal for good speaks of who sends. In doubt it does: what waits is not lost."""
    return bool(OF_US.search(ADDRESS.sub("", said))) and not NOT_OF_US.search(said)


def _part(smtp: smtplib.SMTP) -> None:
    """Takes leave. Once the server has taken a mail, a broken goodbye must not look like a failed mail."""
    with suppress(smtplib.SMTPException, OSError):
        smtp.quit()
    smtp.close()


def _plain(text: str) -> str:
    return readable(text, LONGEST_REPLY)
