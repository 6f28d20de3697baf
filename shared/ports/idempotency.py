"""Answers to changes that were ordered under a key, so that whoever orders one twice has it done once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

KEPT_FOR = timedelta(hours=24)
# Longer than any call takes: whoever had the key then is dead.
CLAIMED_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a key was used for. digest: of the request. status, body: of its answer; None while that is being made."""

    digest: str
    status: int | None
    body: str | None


class IdempotencyLedger(Protocol):
    """Keys, each of whoever has used it, and the answers."""

    def claim(self, by: str, key: str, digest: str, now: datetime) -> KeptAnswer | None:
        """Takes a key for a request; None where nobody has, and else what became of the one that did."""
        ...

    def keep(self, by: str, key: str, status: int, body: str) -> None:
        """The answer, for whoever asks again."""
        ...

    def forget(self, by: str, key: str) -> None:
        """Nothing was done under it: it may be used again."""
        ...
