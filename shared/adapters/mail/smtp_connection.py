"""A connection to a mail server that takes no longer than it is given, and says at which recipient it broke."""

from __future__ import annotations

import io
import smtplib
from time import monotonic
from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

# The reply with which a server hangs up, whatever it was asked.
CLOSING = 421
# How long a goodbye is waited for: the mail is on its way by then, or it is not.
GOODBYE_SECONDS = 5.0
NOT_ASKED = 451, b"it was not asked any more: the server took too long over the others"


class HungUpError(Exception):
    """The server broke off when it heard of a recipient. said: why. accepted: those whom it had taken before."""

    def __init__(self, recipient: str, accepted: Sequence[str], said: str) -> None:
        super().__init__(said)
        self.recipient, self.accepted, self.said = recipient, tuple(accepted), said


class Connection(smtplib.SMTP):
    """A connection whose answers, each of them and all up to the last recipient's, have to come in time.

    timeout: seconds for one answer, however it trickles in; smtplib begins anew at each byte.
    until: the end of the talk up to the last recipient, as `monotonic` counts. verdict_timeout: seconds for the whole
    mail, from DATA to the word on it.
    """

    def __init__(
        self, host: str, port: int, *, timeout: float, until: float, verdict_timeout: float, **options: Any
    ) -> None:
        self._until, self._longest, self._verdict_timeout = until, timeout, verdict_timeout
        self._accepted: list[str] = []
        super().__init__(host, port, timeout=timeout, **options)

    @override
    def rcpt(self, recip: str, options: Sequence[str] = ()) -> tuple[int, bytes]:
        """Asks for a recipient. Raises HungUpError where nothing more can be asked afterwards."""
        if self._until - monotonic() < self._longest:
            return NOT_ASKED
        try:
            code, reply = super().rcpt(recip, options)
        except OSError as error:  # smtplib's own errors are OSErrors too
            raise HungUpError(recip, self._accepted, f"the mail server broke off: {error}") from error
        if code == CLOSING:
            raise HungUpError(recip, self._accepted, as_text(code, reply))
        if _is_yes(code):
            self._accepted.append(recip)
            return 250, reply
        return code, reply

    @override
    def data(self, msg: Any) -> tuple[int, bytes]:
        """Hands the mail over; see smtplib, which takes no other yes than 250 (RFC 5321, 4.2: any 2xx is one)."""
        self._longest, self._until = self._verdict_timeout, monotonic() + self._verdict_timeout
        code, reply = super().data(msg)
        return (250 if _is_yes(code) else code), reply

    @override
    def quit(self) -> tuple[int, bytes]:
        """Takes leave."""
        self._longest, self._until = GOODBYE_SECONDS, monotonic() + GOODBYE_SECONDS
        return super().quit()

    @override
    def getreply(self) -> tuple[int, bytes]:
        """The server's answer. Raises SMTPServerDisconnected where it is not whole in time."""
        self.file: Any = self.file or io.BufferedReader(_Incoming(self))
        self.answer_by = min(monotonic() + self._longest, self._until)
        try:
            return super().getreply()
        finally:
            if self.sock is not None:  # it is None once the server has hung up
                self.sock.settimeout(self.timeout)


class ConnectionOverTls(Connection, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


class _Incoming(io.RawIOBase):
    """What the server says, until the answer's time is over."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        left = self._connection.answer_by - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock: Any = self._connection.sock
        sock.settimeout(left)
        return int(sock.recv_into(buffer))


def as_text(code: int, reply: bytes | str) -> str:
    """An answer as the server wrote it."""
    return f"{code} {reply.decode('utf-8', 'replace') if isinstance(reply, bytes) else reply}"


def _is_yes(code: int) -> bool:
    return code // 100 == 2
