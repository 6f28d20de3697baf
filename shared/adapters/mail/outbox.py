"""Mails as .eml files in a folder: what a new machine has instead of a mail provider."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from shared.adapters.mail import mime
from shared.domain.texts import digest
from shared.ports.clock import Clock, utc_now
from shared.ports.errors import LaterError
from shared.ports.mails import Handover, OutgoingMail


@dataclass(frozen=True, slots=True)
class OutboxMailer:
    """Writes each mail to `folder`; any mail program opens the files.

    The file's name comes from the Message-ID, so that a mail that is sent twice is one file. Blind copies stand
    in a Bcc header, where a person looks for them.
    """

    folder: Path
    sender: str
    sender_name: str
    clock: Clock = utc_now

    def check(self) -> str:
        """Whether the folder can be written."""
        probe = self.folder / f".check.{secrets.token_hex(4)}.tmp"
        try:
            self._put(probe, b"")
            probe.unlink()
        except OSError as error:
            raise self._unwritable(error) from error
        return f"files in {self.folder.resolve()}"

    def send(self, mail: OutgoingMail) -> Handover:
        """Writes the mail; the receipt is the file's name. LaterError where the disk does not take it."""
        message = mime.build(mail, self.sender, self.sender_name, self.clock())
        mime.add_blind_copies(message, mail)
        name = file_name(mail.message_id)
        try:
            self._write(name, message)
        except OSError as error:
            raise self._unwritable(error) from error
        return Handover(name)

    def _unwritable(self, error: OSError) -> LaterError:
        return LaterError(f"the outbox {self.folder} can't be written: {error.strerror or error}")

    def _write(self, name: str, message: EmailMessage) -> None:
        # Two may send the same mail at the same time: each writes a file of its own and moves it into place.
        unfinished = self.folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            self._put(unfinished, message.as_bytes())
            unfinished.replace(self.folder / name)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise

    def _put(self, file: Path, content: bytes) -> None:
        # A call of the system costs more than it seems while other functions compute: only the first makes the folder.
        try:
            file.write_bytes(content)
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def file_name(message_id: str) -> str:
    """The name of the file of the mail with this Message-ID: a readable part, then a hash that makes it unique."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", message_id.strip("<>").split("@")[0]).strip(".-")[:60]
    return f"{readable or 'mail'}-{digest(message_id)}.eml"
