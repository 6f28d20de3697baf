"""Cloud accounts: where costs are read from, looked at."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ports.cloud_accounts import CloudAccount, CloudAccountLedger


@dataclass(frozen=True, slots=True)
class CloudAccountService:
    """Raises LaterError where the database is away."""

    ledger: CloudAccountLedger

    def accounts(self) -> list[CloudAccount]:
        """The cloud accounts, by provider and name, in any case."""
        return sorted(self.ledger.accounts(), key=lambda each: (each.provider, each.name.casefold(), each.id))
