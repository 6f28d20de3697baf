"""Making the tables, and bringing them up to date.

Alembic is imported only where there is something to do: a cold start on a database that is up to date reads one row.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, column, exc, inspect, select, table, text

from shared.adapters.database.engine import READ_ONLY, Database
from shared.adapters.database.failures import said
from shared.ports.errors import LaterError, NeverError

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
# The newest step's, whose names begin with their numbers; a test compares.
HEAD = max(step.name for step in (MIGRATIONS / "versions").glob("0*.py"))[:4]
COMMAND = "python -m shared.cli db upgrade"

# Any number that nothing else locks.
POSTGRES_LOCK = 7_305_121
LOCK_SECONDS = 60
# NOCOUNT keeps what EXEC does from being the first result. It would stay on for the session, and Alembic counts rows.
MSSQL_LOCK = f"""
SET NOCOUNT ON;
DECLARE @granted int;
EXEC @granted = sp_getapplock @Resource = 'budget-warden-upgrade', @LockMode = 'Exclusive',
    @LockOwner = 'Transaction', @LockTimeout = {LOCK_SECONDS * 1000};
SET NOCOUNT OFF;
SELECT @granted;
"""

# Alembic keeps its context in a global.
_alembic = threading.Lock()

_versions = table("alembic_version", column("version_num"))


def upgrade(database: Database) -> None:
    """Makes the tables, or brings them to the newest revision, in one transaction; a second upgrade meanwhile waits.

    A SQLite file that is not there is made, with its folder. Raises LaterError, and NeverError where that can't be, or
    the database is newer than this program.
    """
    file = _file(database.url)
    if file is not None:
        _make_folder(file.parent)
    try:
        database.open(_upgrade).dispose()
    except exc.ProgrammingError as error:
        raise NeverError(f"the tables can't be made: the database says: {said(error)}") from error


def make_missing(database: Database) -> bool:
    """Makes a SQLite file that is not there, with its tables; returns whether it did. Raises as `upgrade`."""
    file = _file(database.url)
    if file is None or file.exists():
        return False
    upgrade(database)
    return True


def see_file(engine: Engine) -> None:
    """Raises NeverError, saying what to do, where a SQLite file is not there or its tables are not up to date.

    A file that is missing is made by nobody who only uses it: mostly its name is mistyped. Servers say so themselves.
    """
    file = _file(engine.url)
    if file is None:
        return
    if not file.exists():
        raise NeverError(f"there is no database {file}: give DATABASE_URL the right file, or make this one: {COMMAND}")
    with engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        revision = _revision(connection)
        names = [] if revision == HEAD else inspect(connection).get_table_names()
    if revision != HEAD:
        raise NeverError(_outdated(revision, names))


def is_current(database: Database) -> bool:
    """Whether the tables are those of this program."""
    return database.read(_revision) == HEAD


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        _take_lock(connection)
        revision = _revision(connection)
        if revision != HEAD:
            _run_steps(connection, revision)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_versions.name):
        return None
    revision: str | None = connection.scalar(select(_versions.c.version_num))
    return revision


def _take_lock(connection: Connection) -> None:
    """Waits for other upgrades to end. SQLite's transaction has the write lock from its begin on."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": POSTGRES_LOCK})
    elif connection.dialect.name == "mssql":
        granted = connection.exec_driver_sql(MSSQL_LOCK).scalar_one()
        if granted < 0:
            raise LaterError("another upgrade of the database is running")


def _run_steps(connection: Connection, revision: str | None) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        with _alembic:
            command.upgrade(alembic_config(connection=connection), "head")
    except CommandError as error:
        raise NeverError(f"the database's revision is {revision}, which this program does not know: {error}") from error


def alembic_config(**attributes: Any) -> Config:
    """How Alembic finds the steps; attributes: for migrations/env.py."""
    from alembic.config import Config

    config = Config()
    # Alembic reads a % in an option as the beginning of a reference.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


def _file(url: URL) -> Path | None:
    """The file of a SQLite database that is in one."""
    in_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if in_file else None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NeverError(f"the database's folder {folder} can't be made: {error.strerror}") from error


def _outdated(revision: str | None, tables: Sequence[str]) -> str:
    if revision is None and tables:
        return "the database file holds tables that are not Budget Warden's; give DATABASE_URL another file"
    return f"the database's tables are of revision {revision}, and {HEAD} is needed; run: {COMMAND}"
