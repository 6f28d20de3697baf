"""An answer that broke off, as it is kept until its provider goes on: its pages so far, and where the next one is."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from datetime import datetime

# Pages shrink to a tenth at the fastest level already; they are kept for minutes only.
LEVEL = 1


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """pages: their bodies (JSON), as they came. next_page: where or what the one that is missing is: a URL on our own
    endpoint, a token.

    asked: the question that it answers, word by word. begun_at: when its first page was asked for. begun_anew: how
    often it was, since the next page was refused.
    """

    pages: tuple[bytes, ...]
    next_page: str
    asked: str
    begun_at: datetime
    begun_anew: int = 0


def packed(answer: BrokenOff) -> bytes:
    """The answer as bytes to be kept."""
    head = {
        "next_url": answer.next_page,
        "asked": answer.asked,
        "begun_at": answer.begun_at.isoformat(),
        "begun_anew": answer.begun_anew,
        "lengths": [len(page) for page in answer.pages],
    }
    return zlib.compress(b"\n".join([json.dumps(head).encode(), b"".join(answer.pages)]), LEVEL)


def unpacked(kept: bytes) -> BrokenOff:
    """The answer that was packed."""
    head, _, joined = zlib.decompress(kept).partition(b"\n")
    known = json.loads(head)
    pages, start = [], 0
    for length in known["lengths"]:
        pages.append(joined[start : start + length])
        start += length
    begun_at, begun_anew = datetime.fromisoformat(known["begun_at"]), known.get("begun_anew", 0)
    return BrokenOff(tuple(pages), known["next_url"], known["asked"], begun_at, begun_anew)
