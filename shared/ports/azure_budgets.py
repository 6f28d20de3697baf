"""What is known of Azure's own budgets that Azure does not say: since when they count what they count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SeenBudget:
    """One of our budgets in Azure, as it was written or seen last.

    name: in lower case. project_id: whose it was. counts: a digest of what it counts. since: when it was first known to
    count that; spend: what it showed then, None where it was new then. is_evaluated: Azure has evaluated it since,
    as far as can be told. currency: the subscription's. is_there: it was not deleted.
    """

    name: str
    project_id: int | None
    counts: str
    since: datetime
    spend: Decimal | None = None
    is_evaluated: bool = False
    currency: str | None = None
    is_there: bool = True


class SeenBudgets(Protocol):
    """Our budgets in Azure, as they were seen."""

    def seen_in(self, subscription_id: str) -> dict[str, SeenBudget]:
        """Those of a subscription by their names, those that were deleted among them."""
        ...

    def note(self, subscription_id: str, budgets: Sequence[SeenBudget]) -> None:
        """Writes these down, in the place of what was known of them."""
        ...

    def subscriptions(self) -> list[str]:
        """The subscriptions in which one of them is there."""
        ...
