"""Contract suites run on every database there is, SQL Server's stand-in among them."""

from __future__ import annotations

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks


@pytest.fixture
def locks(database: Database) -> SqlLocks:
    """The lock ledger: it writes the audit too."""
    return SqlLocks(database, "warden.example.org", 35)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What every kind of database has to pass takes another kind each time; `make crash-test` takes all."""
    if "database" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.one_database)
