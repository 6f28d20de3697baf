"""The database connection: transactions, and its errors in the ports' words."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from typing_extensions import override

from shared.adapters.database import failures, postgresql, sql_server
from shared.ports.changes import pending
from shared.ports.errors import NeverError

T = TypeVar("T")
Prepare = Callable[[Engine], None]

# Tries of a transaction that met another one (deadlock, two inserts of the same key): each sees more than the last.
TRIES = 5
BUSY_MILLISECONDS = 60_000
WAL_TRIES = 100
# Far more than any statement takes, and less than the ten minutes after which the host kills a function.
STATEMENT_SECONDS = 300
READ_ONLY = "warden_read_only"


class Database:
    """Transactions on one database. `url` is SQLAlchemy's.

    prepare: what is done to the database before its first use (`migrate.see_file`). before_writing: called before each
    transaction that writes. `options` go to create_engine (tests hand in a DBAPI stand-in that way).
    """

    def __init__(
        self,
        url: str,
        prepare: Prepare | None = None,
        before_writing: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        parsed = make_url(url)
        self.url = sql_server.understood(parsed) if parsed.get_backend_name() == "mssql" else parsed
        self._engine: Engine | None = None
        self._prepare = prepare
        self._before_writing = before_writing
        self._options = options
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine, made on first use. Raises LaterError, NeverError, and what `prepare` raises."""
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = self.open(self._prepare)
        return self._engine

    def open(self, prepare: Prepare | None) -> Engine:
        """An engine of its own, once `prepare` is through. Raises LaterError, NeverError, and what `prepare` raises."""
        try:
            engine = _make_engine(self.url, self._options)
        except ImportError as error:
            raise NeverError(_not_loaded(self.url, error)) from error
        try:
            if prepare is not None:
                prepare(engine)
        except BaseException as error:
            engine.dispose()
            if isinstance(error, exc.SQLAlchemyError):
                raise failures.translated(error, self.url) from error
            raise
        return engine

    def load_driver(self) -> None:
        """Raises NeverError, saying what is missing, where the driver that the URL asks for can't be loaded here."""
        try:
            self.url.get_dialect().import_dbapi()
            missing = sql_server.missing_driver(self.url) if self.url.get_backend_name() == "mssql" else None
        except ImportError as error:
            raise NeverError(_not_loaded(self.url, error)) from error
        if missing is not None:
            raise NeverError(missing)

    def reads_snapshots(self) -> bool:
        """Whether readers see what is committed and don't wait for writers: on SQL Server, its database may say no."""
        return self.url.get_backend_name() != "mssql" or self.read(sql_server.reads_snapshots)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction of its own and returns what it returns.

        `work` may be run again from its start where it met another transaction: it must have no effect but on the
        database. What is noted of it (`ports.changes.noted`) is written in the same transaction.
        Raises LaterError where the database is unwell, NeverError where it can't hold a value.
        """
        self._before_writing()
        result = self._retried(lambda: self._write(work))
        pending().clear()
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work`, which only reads, without waiting for writers where that can be.

        SQLite and PostgreSQL show it one consistent state; on SQL Server each statement sees its own.
        """
        return self._retried(lambda: self._read(work))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction as `read` has it, which is not run again: for what is handed on while it is read.

        Raises LaterError where the database is unwell.
        """
        try:
            with self._to_read() as connection:
                yield connection
        except exc.SQLAlchemyError as error:
            raise failures.translated(error, self.url) from error

    @contextmanager
    def rehearsing(self) -> Iterator[Database]:
        """The same database while it lasts, as one transaction, of which nothing is kept: it is rolled back at the end.

        It is not run again where it meets another.
        """
        self._before_writing()
        with self.engine.connect() as connection:
            yield _Rehearsal(self, connection)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as connection:
            result = work(connection)
            if changes := pending():
                # Loaded only then: most transactions are the chain's.
                from shared.adapters.database.noting import note

                note(connection, changes)
            return result

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._to_read() as connection:
            return work(connection)

    @contextmanager
    def _to_read(self) -> Iterator[Connection]:
        options: dict[str, Any] = {READ_ONLY: True}
        if self.url.get_backend_name() == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def _retried(self, transaction: Callable[[], T]) -> T:
        for attempt in range(TRIES):
            try:
                return transaction()
            except exc.SQLAlchemyError as error:
                if not failures.met_another(error) or attempt == TRIES - 1:
                    raise failures.translated(error, self.url) from error
                time.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def let_go(self) -> None:
        """Closes the connections that nobody uses; the next transaction opens one."""
        if self._engine is not None:
            self._engine.dispose()

    def close(self) -> None:
        """Closes all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


class _Rehearsal(Database):
    """All that is done is one transaction on this connection, which another ends."""

    def __init__(self, database: Database, connection: Connection) -> None:
        super().__init__("sqlite://")
        self.url, self._engine = database.url, database.engine
        self._connection = connection

    @override
    def _write(self, work: Callable[[Connection], T]) -> T:
        return work(self._connection)

    @override
    def _read(self, work: Callable[[Connection], T]) -> T:
        return work(self._connection)

    @override
    def _retried(self, transaction: Callable[[], T]) -> T:
        try:
            return transaction()
        except exc.SQLAlchemyError as error:
            raise failures.translated(error, self.url) from error


def _make_engine(url: URL, options: dict[str, Any]) -> Engine:
    # Mails, addresses and figures are what statements are about: no error carries them into a log.
    hiding: dict[str, Any] = {"hide_parameters": True} | options
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, hiding)
    make = sql_server.make_engine if url.get_backend_name() == "mssql" else postgresql.make_engine
    engine = make(url, hiding, STATEMENT_SECONDS)
    event.listen(engine, "handle_error", failures.hide_values)
    event.listen(engine, "handle_error", failures.let_go)
    return engine


def _sqlite_engine(url: URL, options: dict[str, Any]) -> Engine:
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # begin() below says when a transaction begins
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        # 16 MB a connection: in SQLite's own 2 MB the upper pages of a year of charges have no room.
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Taking the write lock at the start is what keeps two checks of a project apart, and avoids the
        # SQLITE_BUSY that upgrading a read lock meets.
        reads = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Several programs that open a fresh file at once get "locked" here, whatever the busy time-out says."""
    for _ in range(WAL_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            time.sleep(0.05)
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


# What pip calls the packages that drivers come in.
PACKAGES = {"psycopg": "psycopg[binary]", "mssqlpython": "mssql-python"}


def _not_loaded(url: URL, error: ImportError) -> str:
    package = PACKAGES.get(url.get_driver_name(), url.get_driver_name())
    if isinstance(error, ModuleNotFoundError):
        return f"DATABASE_URL asks for the package {package}, which is not installed: run `pip install {package}`"
    what = f"the package {package}, which DATABASE_URL asks for, can't be loaded here ({error})"
    return f"{what}: install unixODBC and {sql_server.ODBC_DRIVER}" if package == "pyodbc" else what
