"""A provider's cost API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.domain.charges import ChargeSet
from shared.domain.periods import Period


@dataclass(frozen=True, slots=True)
class CostQuery:
    """Daily charges of one sub-account, by resource group and service.

    window: within one calendar month. resource_groups: only these, in any spelling; empty for all.
    """

    sub_account_id: str
    window: Period
    resource_groups: tuple[str, ...] = ()


class CostSource(Protocol):
    """A provider's cost API."""

    def read(self, query: CostQuery, progress: bytes | None = None) -> ChargeSet:
        """Every charge of the window, rounded for storing. Raises LaterError, NeverError.

        progress: of an earlier LaterError for the same query: what had come by then is not asked for again.
        """
        ...
