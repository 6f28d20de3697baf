"""Texts from outside, made fit for a column."""

from __future__ import annotations

from shared.domain.texts import UNSTORABLE


def storable(text: str) -> str:
    """The text with `\N{REPLACEMENT CHARACTER}` in place of characters that some database refuses."""
    return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def fitting(text: str, longest: int) -> str:
    """The storable text, cut to `longest` UTF-16 units, which is how SQL Server counts them."""
    cleaned = storable(text)
    if len(cleaned.encode("utf-16-le")) <= 2 * longest:
        return cleaned
    kept = cleaned.encode("utf-16-le")[: 2 * (longest - 1)].decode("utf-16-le", "ignore")
    return kept + "…"
