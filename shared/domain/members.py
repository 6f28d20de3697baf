"""Sub-accounts between cloud accounts that are asked: one reads each, and it is let go before another does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a sub-account that some source feeds, or has fed.

    by: the cloud account; None where it is gone. is_read: whether that is not disabled. is_payers: whether it is an
    organization's payer. by_exports: whether exports feed it. is_listed: whether its payer lists it, or has listed it.
    left_on: since when that does not any more, or as one that is closed.
    """

    by: int | None = None
    is_read: bool = False
    is_payers: bool = False
    by_exports: bool = False
    is_listed: bool = False
    left_on: date | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """That a cloud account meets a sub-account.

    is_itself: it is that account. lists: whether it may list its organization's. is_active: it lists it as active.
    """

    by: int
    is_itself: bool = False
    lists: bool = False
    is_active: bool = False


def is_free(held: Held, claim: Claim) -> bool:
    """Whether another cloud account may read it from now on.

    Exports keep it until an order; a cloud account until it is disabled or removed, or, an organization's payer, until
    it lists it no more. An account is of one organization at a time: what a payer can't list is its who lists it.
    """
    if held.by == claim.by:
        return True
    if held.by_exports:
        return False
    if held.by is None or not held.is_read:
        return True
    if not held.is_payers:
        return False
    if held.left_on is not None:
        return claim.is_active or claim.is_itself or not claim.lists
    return claim.is_active and not held.is_listed


def has_moved(held: Held, claim: Claim) -> bool:
    """Whether what is stored of it may be another organization's, so that whoever reads it now tells nothing of it.

    Who read it before is not known of one that is gone. An account tells of itself what its payer does.
    """
    if held.left_on is not None or claim.is_itself:
        return held.left_on is not None
    return held.is_payers or held.by is None
