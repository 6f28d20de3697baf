"""Mails over SMTP, with the standard library."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.mail import mime
from shared.domain.texts import shortened
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import OutgoingMail

IMPLICIT_TLS_PORT = 465
# A reply longer than this is a page of advice; its beginning says why.
LONGEST_REPLY = 200
# Servers look at a mail before they say yes, and RFC 5321 (4.5.3.2.6) gives them ten minutes: to hang up on one that
# then says yes is to send the mail twice.
VERDICT_SECONDS = 240.0


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

    def send(self, mail: OutgoingMail) -> str:
        """Sends the mail; the receipt is empty, or names the recipients that the server refused.

        Where it takes some recipients and refuses others, those that it takes get the mail: to try again would
        send it to them twice. Where it refuses all, that is a LaterError if one of them may be taken later.
        """
        message = mime.build(mail, self.sender, self.sender_name, self.clock())
        recipients = list(dict.fromkeys((*mail.to, *mail.cc, *mail.bcc)))
        try:
            smtp = self._connect()
            try:
                refused = smtp.send_message(message, self.sender, recipients)
            finally:
                _part(smtp)
        except OSError as error:  # smtplib's own errors are OSErrors too
            raise self._translated(error) from error
        except UnicodeError:
            # Without its cause, which quotes a piece of what may be the password.
            raise NeverError("SMTP_HOST, SMTP_USERNAME or SMTP_PASSWORD holds what SMTP can't carry") from None
        return f"refused: {self._listed(refused)}" if refused else ""

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

    def _translated(self, error: OSError) -> LaterError | NeverError:
        where = f"the mail server {self.host}:{self.port}"
        match error:
            case smtplib.SMTPAuthenticationError(smtp_code=code) if code >= 500:
                return NeverError(
                    f"{where} refused the sign-in ({code}); see that SMTP_USERNAME and SMTP_PASSWORD are right"
                )
            case smtplib.SMTPRecipientsRefused(recipients=refused):
                kind = LaterError if any(code < 500 for code, _ in refused.values()) else NeverError
                return kind(f"{where} refused every recipient: {self._listed(refused)}")
            case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
                kind = NeverError if code >= 500 else LaterError
                return kind(f"{where} refused the mail: {self._quoted(code, reply)}")
            case smtplib.SMTPException() if not isinstance(error, smtplib.SMTPServerDisconnected):
                # It lacks something that we asked for, such as STARTTLS or a way to sign in.
                return NeverError(f"{where} can't take the mail: {self._without_password(_plain(str(error)))}")
            case _:
                return LaterError(f"{where} can't be reached: {_plain(str(error))}")

    def _listed(self, refused: dict[str, tuple[int, bytes]]) -> str:
        return "; ".join(f"{address} ({self._quoted(*answer)})" for address, answer in refused.items())

    def _quoted(self, code: int, reply: bytes | str) -> str:
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        return self._without_password(_plain(f"{code} {text}"))

    def _without_password(self, text: str) -> str:
        return text.replace(self.password, "***") if self.password else text


class _Smtp(smtplib.SMTP):
    """A connection that waits longer for the server's word on a whole mail than for its other answers."""

    verdict_timeout = VERDICT_SECONDS

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Hands the mail over; see smtplib."""
        self._wait(self.verdict_timeout)
        try:
            return super().data(msg)
        finally:
            self._wait(self.timeout)

    def _wait(self, seconds: float) -> None:
        if self.sock is not None:  # it is None once the server has hung up
            self.sock.settimeout(seconds)


class _SmtpOverTls(_Smtp, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


def _part(smtp: smtplib.SMTP) -> None:
    """Takes leave. Once the server has taken a mail, a broken goodbye must not look like a failed mail."""
    with suppress(smtplib.SMTPException, OSError):
        smtp.quit()
    smtp.close()


def _plain(text: str) -> str:
    return shortened(" ".join(text.split()), LONGEST_REPLY)
