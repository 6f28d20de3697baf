"""Access keys of cloud accounts: they come in once, are kept sealed, and leave only towards their provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """A provider's long-lived access keys. No part of them is ever shown, whatever prints this."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedState:
    """What is kept sealed. rows: how many, by the id of the key that seals them. faults: of those that can't be opened,
    each in a sentence."""

    rows: Mapping[str, int]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resealed:
    """What sealing anew by the current key came to. faults: of those that stay as they were, each in a sentence.

    mended: the ids of the keys whose check was damaged, and is written anew."""

    resealed: int
    current: str
    faults: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()


class Credentials(Protocol):
    """The access keys of cloud accounts. Raises LaterError where they can't be reached.

    NeverError, with what to do, where they don't open: a key that is missing or another one, a text that was changed or
    is of another cloud account.
    """

    def keys_of(self, cloud_account_id: int) -> AccessKeys | None:
        """A cloud account's access keys; None where it has none. Raises LaterError, NeverError."""
        ...

    def keep(self, cloud_account_id: int, keys: AccessKeys | None, now: datetime) -> bool:
        """Seals the keys by the current key and keeps them, in the place of those before; None takes those away.

        Whether there is such a cloud account. Raises LaterError, NeverError.
        """
        ...

    def reseal(self, now: datetime) -> Resealed:
        """Seals anew, by the current key, what another one seals. NeverError without a current one."""
        ...

    def state(self) -> SealedState:
        """What is sealed by which key, and what of it does not open. Raises LaterError."""
        ...
