"""Contract suites run on every database there is, and on the stand-in for SQL Server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.database.engine import Database
from shared.adapters.database.locks import SqlLocks
from tests.conftest import KINDS, URL_FIXTURES
from tests.sql_server import SqlServer


@pytest.fixture(params=[*KINDS, "sql server stand-in"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database, on each kind in turn."""
    if request.param in URL_FIXTURES:
        database = Database(request.getfixturevalue(URL_FIXTURES[request.param]))
    else:
        database = SqlServer(tmp_path / "sql-server.db").database()
    yield database
    database.close()


@pytest.fixture
def locks(database: Database) -> SqlLocks:
    """The lock ledger: it writes the audit too."""
    return SqlLocks(database, "warden.example.org")
