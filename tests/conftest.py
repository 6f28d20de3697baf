"""Fixtures that many tests share."""

from __future__ import annotations

import gc
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import hypothesis
import pytest
from sqlalchemy import event, pool

from localdev.azurite import Azurite
from shared.adapters.database import migrate
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import metadata
from tests import sql_server
from tests.cases import ALL
from tests.postgres import Postgres, programs
from tests.sql_server import t_sql
from tests.sql_server.dbapi import Driver

# A busy machine is slow at times, which is no fault of what is tested.
hypothesis.settings.register_profile("warden", deadline=None)
hypothesis.settings.load_profile("warden")

# Where this project is worked on, it lies next to it.
T_SQL_PARSER = Path(__file__).parents[2] / "shared" / "tools" / "tsql-check"
TEMPLATE = "warden_template"
EMPTIED = "warden"
# A SQL Server to test with, in place of the stand-in.
MSSQL_SERVER = os.environ.get("TEST_MSSQL_URL")
if not MSSQL_SERVER:
    sys.path.insert(0, str(sql_server.DRIVER_FOLDER))


@event.listens_for(pool.Pool, "checkout")
def sync_nothing(connection: object, record: pool.ConnectionPoolEntry, _proxy: object) -> None:
    """No test's file has to outlive a power cut, and its end waits for no disk; its commits outlive a process."""
    if isinstance(connection, sqlite3.Connection) and not record.info.get("syncs nothing"):
        connection.execute("PRAGMA synchronous = OFF")
        record.info["syncs nothing"] = True


def pytest_addoption(parser: pytest.Parser) -> None:
    """For tests/cli/test_golden.py."""
    parser.addoption("--write-golden", action="store_true", help="write what commands write to tests/cli/golden")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what `make crash-test` does: slow tests, and of those for one database all kinds but one.

    What somebody names is run.
    """
    if ALL or any("::" in each for each in config.args):
        return
    # Another kind in each run, and the same in all of its processes.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    kinds: dict[str, list[str]] = {}
    for item in items:
        if item.get_closest_marker("one_database"):
            kinds.setdefault(re.sub("sqlite|postgresql", "", item.nodeid), []).append(item.nodeid)
    taken = {cases[crc32(f"{run} {name}".encode()) % len(cases)] for name, cases in kinds.items()}
    left_out = [
        each
        for each in items
        if each.get_closest_marker("slow") or (each.get_closest_marker("one_database") and each.nodeid not in taken)
    ]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [each for each in items if each not in gone]


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: it is not looked through for garbage again and again."""
    gc.freeze()


class MicrosoftsParser:
    """Has Microsoft's own parser read, in the end and once, all that was run on the stand-in for SQL Server.

    Workers hand to the process that distributes the tests what they have run.
    """

    def __init__(self) -> None:
        self.ran: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended; one that crashed hands nothing over."""
        self.ran.update(getattr(node, "workeroutput", {}).get("t_sql", ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Each process's own; a worker only hands on."""
        ran = self.ran | {t_sql.without_repetitions(each) for each in t_sql.ran}
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["t_sql"] = sorted(ran)
        elif T_SQL_PARSER.exists() and ran and (faults := self._faults_in(ran)):
            print(f"\nMicrosoft's parser refuses what was sent to SQL Server:\n{faults}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @staticmethod
    def _faults_in(statements: set[str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "ran.sql"
            script.write_text("\nGO\n".join(sorted(statements)))
            command = [T_SQL_PARSER, "--server", "azure", script]
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if finished.returncode == 0 else finished.stdout + finished.stderr


def pytest_configure(config: pytest.Config) -> None:
    """What is there once for each process."""
    config.pluginmanager.register(MicrosoftsParser())


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Storage queues that all tests of this process share: each names queues of its own."""
    with Azurite(tmp_path_factory.mktemp("azurite"), in_memory=True) as running:
        yield running


@pytest.fixture(scope="session")
def azurite_blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Containers that all tests of this process share: each names containers of its own."""
    with Azurite(tmp_path_factory.mktemp("azurite-blobs"), in_memory=True, service="blob") as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server with a migrated, empty database named TEMPLATE, to be copied but not used."""
    if programs() is None:
        reason = "PostgreSQL's initdb is not on this machine"
        if os.environ.get("REQUIRE_POSTGRES"):
            pytest.fail(f"{reason}, and REQUIRE_POSTGRES asks for it")
        pytest.skip(reason)
    # Not pytest's own folder: the server's user can't walk into it, and a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="warden-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            server.execute(f"CREATE DATABASE {TEMPLATE}")
            migrate.upgrade(Database(server.url(TEMPLATE)))
            server.execute(f"CREATE DATABASE {EMPTIED} TEMPLATE {TEMPLATE}")
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The URL of a migrated database on PostgreSQL, emptied: that is quicker than making one for each test."""
    postgres.empty(EMPTIED, list(metadata.tables))
    return postgres.url(EMPTIED)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate.upgrade(Database(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite file."""
    return new_sqlite(request, tmp_path / "warden.db")


def new_sqlite(request: pytest.FixtureRequest, path: Path) -> str:
    """The URL of a migrated, empty SQLite file of this name."""
    shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def mssql_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty file of the stand-in for SQL Server, to be copied."""
    path = tmp_path_factory.mktemp("sql-server") / "template.db"
    database = Database(sql_server.url(path), module=Driver())
    migrate.upgrade(database)
    database.close()
    return path


@pytest.fixture
def mssql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty database on the stand-in, or on the server that TEST_MSSQL_URL names."""
    return new_mssql(request, tmp_path / "sql-server.db")


def new_mssql(request: pytest.FixtureRequest, path: Path) -> str:
    """The URL of a migrated, empty database: a file of the stand-in, or the server's one database."""
    if MSSQL_SERVER:
        return _emptied(MSSQL_SERVER)
    shutil.copyfile(request.getfixturevalue("mssql_template"), path)
    return sql_server.url(path)


def _emptied(url: str) -> str:
    """Takes all rows out of the server's one database: not for `-n 2`."""
    database = Database(url)
    migrate.upgrade(database)
    with database.engine.begin() as connection:
        # Nothing may be deleted from the audit but here.
        connection.exec_driver_sql("DISABLE TRIGGER audit_is_never_changed ON audit")
        connection.exec_driver_sql("DISABLE TRIGGER changes_are_never_changed ON changes")
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        connection.exec_driver_sql("ENABLE TRIGGER audit_is_never_changed ON audit")
        connection.exec_driver_sql("ENABLE TRIGGER changes_are_never_changed ON changes")
    database.close()
    return url


USUAL = os.environ.get("TEST_DATABASE", "sqlite")
# `make test` takes the first two, `make test-sql-server` SQL Server: together that is too long for one sitting.
KINDS = ["mssql"] if USUAL == "mssql" else ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
URL_FIXTURES = {"sqlite": "sqlite_url", "postgresql": "postgres_url", "mssql": "mssql_url"}


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database, on each kind in turn."""
    url: str = request.getfixturevalue(URL_FIXTURES[request.param])
    return url


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Database:
    """A migrated, empty database, on each kind in turn."""
    return emptied(request, request.param)


@pytest.fixture(scope="session")
def fresh_database(request: pytest.FixtureRequest) -> Callable[[], Database]:
    """Gives an empty SQLite database as often as it is called: the one before is gone."""
    return lambda: emptied(request, "sqlite")


@pytest.fixture(scope="session")
def kept_databases(tmp_path_factory: pytest.TempPathFactory) -> KeptDatabases:
    """What `emptied` keeps from one test to the next."""
    return KeptDatabases(tmp_path_factory.mktemp("kept"))


@dataclass
class KeptDatabases:
    """By kind, the database that one test after the other takes: its statements are compiled once, not for each."""

    folder: Path
    by_kind: dict[str, Database] = field(default_factory=dict)


def emptied(request: pytest.FixtureRequest, kind: str = USUAL) -> Database:
    """A migrated, empty database of this kind, until it is emptied again."""
    kept: KeptDatabases = request.getfixturevalue("kept_databases")
    if kind in kept.by_kind:
        kept.by_kind[kind].engine.dispose()
    url = _emptied_url(request, kind, kept.folder / f"{kind}.db")
    return kept.by_kind.setdefault(kind, Database(url))


def _emptied_url(request: pytest.FixtureRequest, kind: str, path: Path) -> str:
    if kind == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    return new_mssql(request, path) if kind == "mssql" else new_sqlite(request, path)
