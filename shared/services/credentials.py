"""Access keys of AWS cloud accounts: given, taken away, sealed anew."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.ports.changes import Action, Change, noted
from shared.ports.clock import Clock
from shared.ports.cloud_accounts import CloudAccount, CloudAccountLedger, ConnectionType
from shared.ports.credentials import AccessKeys, Credentials, Resealed, SealedState
from shared.services.errors import RequestError
from shared.services.findings import Finding

LONG_LIVED = re.compile(r"AKIA[A-Z0-9]{16,124}")
TEMPORARY = re.compile(r"ASIA[A-Z0-9]+")
SECRET = re.compile(r"[A-Za-z0-9/+=]{40,128}")
TEMPORARY_KEYS = (
    "these access keys are temporary (ASIA…, or with a session token) and end within hours: give a user's, AKIA…"
)
NUL = b"\0"
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
RESEAL = "`python -m shared.cli cloud-accounts reseal`"


@dataclass(frozen=True, slots=True)
class CredentialService:
    """Raises LaterError where the database is away, NeverError where keys don't open."""

    accounts: CloudAccountLedger
    credentials: Credentials
    clock: Clock

    def of_explorer(self, cloud_account_id: int) -> CloudAccount:
        """The cloud account to which access keys can be given. Raises RequestError for any other."""
        account = self.accounts.get(cloud_account_id)
        if account is None:
            raise RequestError(f"there is no cloud account {cloud_account_id}")
        if account.connection_type != ConnectionType.COST_EXPLORER:
            raise RequestError(
                f"cloud account {account.id} ({account.name}) is read by {account.connection_type}, which takes no "
                "access keys; those of AWS that are read by COST_EXPLORER do"
            )
        return account

    def keep(self, cloud_account_id: int, keys: AccessKeys) -> None:
        """Seals and keeps them. Raises RequestError where they can't be right; it shows nothing of them."""
        account = self.of_explorer(cloud_account_id)
        refuse_wrong(keys)
        with noted(Change(Action.CREDENTIALS_GIVEN, account.in_words, now := self.clock())):
            is_kept = self.credentials.keep(account.id, keys, now)
        if not is_kept:
            raise RequestError(f"there is no cloud account {cloud_account_id} any more")

    def remove(self, cloud_account_id: int) -> None:
        """Takes its access keys away, if it has any."""
        account, now = self.of_explorer(cloud_account_id), self.clock()
        with noted(Change(Action.CREDENTIALS_REMOVED, account.in_words, now)):
            self.credentials.keep(account.id, None, now)

    def reseal(self) -> Resealed:
        """Seals everything by the current key."""
        with noted(Change(Action.CREDENTIALS_RESEALED, "all sealed credentials", now := self.clock())):
            return self.credentials.reseal(now)


def text_in(content: bytes) -> str:
    """The text of what came in: UTF-8, or UTF-16 as PowerShell's pipes and files have it. Raises RequestError."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    elif NUL in content:
        # Without a mark: what is ASCII has a NUL for every other byte, and it first where the larger byte is.
        encoding = "utf-16-be" if content.startswith(NUL) else "utf-16-le"
        if content.count(NUL) != len(content) / 2:
            line = content[: content.index(NUL)].count(b"\n") + 1
            raise RequestError(
                f"line {line} of what came in holds a NUL character, which is part of no key: leave that out, or type "
                "the keys at the prompt"
            )
    else:
        encoding = "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise RequestError("what came in is no text in UTF-8 or UTF-16: hand it in as one of these") from None


def keys_in(text: str) -> AccessKeys:
    """Access keys from a text: what `aws iam create-access-key` writes, or the id and the secret on a line each.

    Raises RequestError, which shows nothing of the text.
    """
    text = text.removeprefix(BOM)
    words = _created(text) if text.lstrip().startswith("{") else text.split()
    if len(words) != 2:
        raise RequestError(
            "what came in holds no access keys: write the access key id on a line, and the secret access key on the "
            "next, or hand in what `aws iam create-access-key` has written"
        )
    return AccessKeys(*words)


def _created(text: str) -> list[str]:
    """The id and the secret in JSON of AWS's; nothing where they are not there."""
    try:
        content: Any = json.loads(text)
        given = content.get("AccessKey") or content.get("Credentials") or content
        keys, is_temporary = [str(given["AccessKeyId"]), str(given["SecretAccessKey"])], "SessionToken" in given
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    if is_temporary:
        raise RequestError(TEMPORARY_KEYS)
    return keys


def refuse_wrong(keys: AccessKeys) -> None:
    """Raises RequestError where they can't be right; it shows nothing of them."""
    if TEMPORARY.fullmatch(keys.access_key_id):
        raise RequestError(TEMPORARY_KEYS)
    if not LONG_LIVED.fullmatch(keys.access_key_id):
        raise RequestError("the access key id has to be AKIA and 16 or more capitals and digits behind it, and is not")
    if not SECRET.fullmatch(keys.secret_access_key):
        raise RequestError("the secret access key has to be of 40 letters, digits, / + and =, and is not")


def sealed_finding(sealed: SealedState, key_ids: Sequence[str]) -> Finding | None:
    """How sealed credentials are found; None where there are none, and no keys for them. key_ids: the current first."""
    current, *older = key_ids or [""]
    if sealed.faults:
        return Finding("credentials", False, " ".join(sealed.faults))
    if not sealed.rows and not key_ids:
        return None
    count = sum(sealed.rows.values())
    text = f"access keys of {count} cloud account{'' if count == 1 else 's'} are sealed, and open"
    if sealed.rows.keys() - {current}:
        return Finding("credentials", True, text, f"but not all by the current key, {current}: run {RESEAL}")
    idle = f"and {', '.join(older)} in ENCRYPTION_KEYS seals nothing any more, and may go" if older else None
    return Finding("credentials", True, text, idle)
