"""Contract suites run on every database there is, SQL Server's stand-in among them."""

from __future__ import annotations

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks


@pytest.fixture
def locks(database: Database) -> SqlLocks:
    """The lock ledger: it writes the audit too."""
    return SqlLocks(database, "warden.example.org", 35)
