"""Sealing of short texts: AES-256-GCM under a ring of keys, each text bound to the place where it is kept.

A sealed text is `v1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`. The associated data hold the place (table, column
and row) and the key's id: a text that was moved to another row does not open. Nonces are random, which is safe for 2^32
texts a key (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.ports.errors import NeverError

FORM = "v1"
NONCE_BYTES = 12
TAG_BYTES = 16
SEALED = re.compile(r"v1\.(?P<key_id>[A-Za-z0-9_-]{1,40})\.(?P<text>[A-Za-z0-9_-]+)")
RESEAL = "`python -m shared.cli cloud-accounts reseal`"


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of ENCRYPTION_KEYS, 32 bytes each, by their ids, the current one first. It may be empty."""

    keys: Mapping[str, bytes] = field(repr=False)

    @property
    def current(self) -> str:
        """The id of the key that seals. Raises NeverError where there is none."""
        if not self.keys:
            raise NeverError(
                "Credentials are kept sealed, and ENCRYPTION_KEYS is missing: set it to an id, a colon and the base64 "
                "of 32 random bytes (the README says how)."
            )
        return next(iter(self.keys))

    def seal(self, text: str, place: str, by: str | None = None) -> str:
        """The text, sealed for this place by the key of an id, else the current. Raises NeverError without one."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, nonce = by or self.current, os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(self.keys[key_id]).encrypt(nonce, text.encode(), _bound_to(key_id, place))
        return f"{FORM}.{key_id}.{urlsafe_b64encode(sealed).decode().rstrip('=')}"

    def unseal(self, sealed: str, place: str, whose: str) -> str:
        """The text. whose: what it is, as the beginning of a sentence. Raises NeverError, which shows nothing of it."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, content = key_id_of(sealed), _content(sealed)
        if key_id is None or len(content) < NONCE_BYTES + TAG_BYTES:
            raise NeverError(f"{whose} are damaged: what is stored is no sealed text. Give them again.")
        if key_id not in self.keys:
            raise NeverError(
                f"{whose} are sealed by the key '{key_id}', which ENCRYPTION_KEYS does not have: add it behind the "
                f"current one; {RESEAL} then seals them anew."
            )
        nonce, rest = content[:NONCE_BYTES], content[NONCE_BYTES:]
        try:
            return AESGCM(self.keys[key_id]).decrypt(nonce, rest, _bound_to(key_id, place)).decode()
        except (InvalidTag, UnicodeDecodeError):
            # From nothing: the error before it carries what was tried.
            raise NeverError(
                f"{whose} do not open by the key '{key_id}': they were changed, or moved from another row. Give them "
                "again, and change them at the provider, since somebody may have had a hand in it."
            ) from None


def key_id_of(sealed: str) -> str | None:
    """The id of the key that seals a text; None for what is no sealed text."""
    found = SEALED.fullmatch(sealed)
    return found["key_id"] if found else None


def _content(sealed: str) -> bytes:
    found = SEALED.fullmatch(sealed)
    if found is None:
        return b""
    try:
        return urlsafe_b64decode(found["text"] + "=" * (-len(found["text"]) % 4))
    except ValueError:
        return b""


def _bound_to(key_id: str, place: str) -> bytes:
    return f"{FORM}.{key_id}.{place}".encode()
