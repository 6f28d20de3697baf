"""Our budgets in Azure, as they were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal

from sqlalchemy import Connection, delete, select, true
from typing_extensions import override

from shared.adapters.database.chunks import insert_rows
from shared.adapters.database.ledger import Ledger, reads, record, writes
from shared.adapters.database.tables import azure_budgets
from shared.domain.money import LARGEST_AMOUNT, stored
from shared.ports.azure_budgets import SeenBudget, SeenBudgets

seen = azure_budgets.c


class SqlSeenBudgets(Ledger, SeenBudgets):
    """SeenBudgets on a SQL database."""

    @override
    @reads
    def seen_in(self, connection: Connection, subscription_id: str) -> dict[str, SeenBudget]:
        here = select(azure_budgets).where(seen.subscription_id == subscription_id.lower())
        return {row.name: record(SeenBudget, row) for row in connection.execute(here)}

    @override
    @writes
    def note(self, connection: Connection, subscription_id: str, budgets: Sequence[SeenBudget]) -> None:
        where = subscription_id.lower()
        for each in budgets:
            this = (seen.subscription_id == where) & (seen.name == each.name)
            connection.execute(delete(azure_budgets).where(this))
        rows = [asdict(each) | {"subscription_id": where, "spend": _storable(each.spend)} for each in budgets]
        insert_rows(connection, azure_budgets, rows)

    @override
    @reads
    def subscriptions(self, connection: Connection) -> list[str]:
        there = select(seen.subscription_id).where(seen.is_there == true()).distinct()
        return sorted(connection.scalars(there))


def _storable(spend: Decimal | None) -> Decimal | None:
    """More than can be stored is as good as the most that can; Azure's figure may have more places."""
    return None if spend is None else stored(min(spend, LARGEST_AMOUNT))
