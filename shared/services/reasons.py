"""The reason that a person gives for what they ask; it is kept for good."""

from __future__ import annotations

from shared.domain.texts import UNSTORABLE, units
from shared.messages import LONGEST_REASON
from shared.services.errors import RequestError


def given_reason(text: str, field: str = "the reason") -> str:
    """The reason in `text`. field: how the person knows the place where they wrote it. Raises RequestError."""
    reason = text.strip()
    if not reason:
        raise RequestError(f"{field} is empty; say why")
    if units(reason) > LONGEST_REASON:
        raise RequestError(f"{field} has {units(reason):,} characters; write at most {LONGEST_REASON:,}")
    if UNSTORABLE.search(reason):
        raise RequestError(f"{field} holds a character that can't be stored; write plain text in UTF-8")
    return reason
