"""A stand-in for SQL Server and its driver: what `pyodbc` is for SQLAlchemy, on a SQLite file.

The whole app runs on it: a URL `mssql+pyodbc://stand-in//path/of/a.db?driver=stand-in` names the file, and the folder
`driver` beside this file, on the path of modules, has `import pyodbc` find the stand-in. So what the app does takes
SQLAlchemy's whole path for SQL Server (compiling, batching, fast_executemany, wrapping of errors), and the stand-in
behaves like the driver where that has cost us something:

- a statement that SQL Server would reject fails (`t_sql.faults`), and so does a text that is too long for its column;
- SET NOCOUNT ON stays on for the session, and then no statement knows how many rows it changed;
- while rows of a result are unread, the connection takes no other statement (MARS is off);
- no text is told from another by trailing blanks, and only a key by its case;
- each statement sees what is committed when it begins (READ_COMMITTED_SNAPSHOT), until its transaction has written;
- a login can take long.

It shows nothing about SQL Server's locks (a transaction that has written has all of them), its plans or its speed.
"""

from __future__ import annotations

import re
import sqlite3
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.sql_server.t_sql import faults, on_sqlite

# The driver's own patience where nobody names another.
LOGIN_SECONDS = 15
BUSY_SECONDS = 20
DRIVER = "stand-in"
SAYS = "[Microsoft][ODBC Driver 18 for SQL Server]"


class Error(Exception):
    """pyodbc.Error: its first argument is the SQLSTATE."""


class InterfaceError(Error):
    """pyodbc.InterfaceError."""


class DatabaseError(Error):
    """pyodbc.DatabaseError."""


class OperationalError(DatabaseError):
    """pyodbc.OperationalError."""


class IntegrityError(DatabaseError):
    """pyodbc.IntegrityError."""


class ProgrammingError(DatabaseError):
    """pyodbc.ProgrammingError."""


class DataError(DatabaseError):
    """pyodbc.DataError."""


class NotSupportedError(DatabaseError):
    """pyodbc.NotSupportedError."""


class InternalError(DatabaseError):
    """pyodbc.InternalError."""


@dataclass(frozen=True)
class Sent:
    """One call to the driver: the rows of an executemany, or the one row of an execute."""

    statement: str
    rows: list[Sequence[Any]]
    many: bool
    fast: bool


@dataclass
class Driver:
    """The module `pyodbc`; `sent` is everything that was sent through it, `connected` the strings of its connections.

    login_seconds: how long the server takes to let somebody in. snapshots: whether READ_COMMITTED_SNAPSHOT is on.
    refuses: what a connection meets.
    """

    login_seconds: int = 1
    snapshots: bool = True
    refuses: Exception | None = None
    sent: list[Sent] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)

    paramstyle = "qmark"
    version = "5.5.0"
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    ProgrammingError = ProgrammingError
    DataError = DataError
    NotSupportedError = NotSupportedError
    InternalError = InternalError
    Binary = bytes
    STRING, NUMBER, DATETIME, ROWID, BINARY = str, Decimal, datetime, int, bytearray
    SQL_VARCHAR = 12
    SQL_WVARCHAR = -9
    SQL_WLONGVARCHAR = -10
    SQL_DECIMAL = 3
    pooling = False

    def __post_init__(self) -> None:
        self.Cursor = Cursor

    def drivers(self) -> list[str]:
        """The ODBC drivers of this machine."""
        return [DRIVER]

    def connect(self, connection_string: str, timeout: int = 0, **_: Any) -> Connection:
        """A new connection; the string names a SQLite file as its database."""
        self.connected.append(connection_string)
        if self.refuses:
            raise self.refuses
        if self.login_seconds > (timeout or LOGIN_SECONDS):
            raise OperationalError("HYT00", f"[HYT00] {SAYS}Login timeout expired (0) (SQLDriverConnect)")
        path = re.search(r"Database=([^;]+)", connection_string, re.IGNORECASE)
        assert path is not None, "a URL of the stand-in names its file as the database"
        return Connection(self, path[1])


class Connection:
    """pyodbc.Connection."""

    def __init__(self, driver: Driver, path: str) -> None:
        self.driver = driver
        self.sqlite = _open(path, driver)
        self.autocommit = False
        self.timeout = 0
        self.counts = True  # SET NOCOUNT OFF
        self.unread: weakref.ref[Cursor] | None = None
        self.fails_with: Exception | None = None  # what the next statement meets

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        self.refuse_while_unread(None)
        self._end("COMMIT")

    def rollback(self) -> None:
        self._end("ROLLBACK")

    def close(self) -> None:
        self.sqlite.close()

    def add_output_converter(self, *_: Any) -> None:
        pass

    def refuse_while_unread(self, cursor: Cursor | None) -> None:
        """Raises what the driver says to a statement while another cursor than this one has rows that are unread."""
        other = self.unread() if self.unread else None
        if other is not None and other is not cursor:
            busy = "Connection is busy with results for another command"
            raise Error("HY000", f"[HY000] {SAYS}{busy} (0) (SQLExecDirectW)")

    def begin(self) -> None:
        """Takes the locks that a write needs, for the rest of the transaction."""
        if not self.sqlite.in_transaction and not self.autocommit:
            self.sqlite.execute("BEGIN IMMEDIATE")

    def _end(self, how: str) -> None:
        if self.sqlite.in_transaction:
            self.sqlite.execute(how)


class Cursor:
    """pyodbc.Cursor."""

    fast_executemany = False
    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self.rowcount = -1
        self.description: Any = None
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str, *parameters: Any) -> Cursor:
        row = parameters[0] if len(parameters) == 1 and isinstance(parameters[0], (tuple, list)) else parameters
        self._send(Sent(statement, [row], many=False, fast=False))
        return self

    def executemany(self, statement: str, rows: list[Sequence[Any]]) -> None:
        self._send(Sent(statement, list(rows), many=True, fast=self.fast_executemany))

    def _send(self, sent: Sent) -> None:
        connection = self._connection
        connection.driver.sent.append(sent)
        error, connection.fails_with = connection.fails_with, None
        if error is not None:
            raise error
        connection.refuse_while_unread(self)
        self._have_read()
        found = faults(sent.statement, sent.rows[0])
        if found:
            raise AssertionError(f"SQL Server rejects {', '.join(found)}: {sent.statement}")
        try:
            self._run(sent)
        except sqlite3.Error as error:
            raise _said(error, sent.statement) from error

    def _run(self, sent: Sent) -> None:
        connection = self._connection
        if not re.match(r"\s*SELECT\b", sent.statement, re.IGNORECASE):
            connection.begin()
        rows = [[_bound(value) for value in row] for row in sent.rows]
        self.rowcount, self.description = -1, None
        for statement in on_sqlite(sent.statement):
            if sent.many:
                connection.sqlite.executemany(statement, rows)
            else:
                self._keep(connection.sqlite.execute(statement, rows[0]))
        # A trigger's own setting ends with the trigger.
        settings = [] if "CREATE TRIGGER" in sent.statement else re.findall(r"\bSET NOCOUNT (ON|OFF)", sent.statement)
        connection.counts = settings[-1] == "OFF" if settings else connection.counts

    def _keep(self, found: sqlite3.Cursor) -> None:
        """A result stays unread until its end has been seen."""
        self.description, self._rows = found.description, found.fetchall()
        self.rowcount = found.rowcount if self._connection.counts else -1
        if self.description is not None:
            self._connection.unread = weakref.ref(self)

    def _have_read(self) -> None:
        self._rows = []
        if self._connection.unread and self._connection.unread() is self:
            self._connection.unread = None

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        wanted = size or self.arraysize
        some, rest = self._rows[:wanted], self._rows[wanted:]
        if len(some) < wanted:
            self._have_read()
        self._rows = rest
        return [_row(row) for row in some]

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows = self._rows
        self._have_read()
        return [_row(row) for row in rows]

    def nextset(self) -> bool:
        return False

    def setinputsizes(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        self._have_read()


# --- SQLite --------------------------------------------------------------------------------------------------


def _open(path: str, driver: Driver) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.create_collation("USUAL", lambda one, other: _compared(_usual(one), _usual(other)))
    connection.create_collation("AMOUNTS", lambda one, other: _compared(Decimal(one), Decimal(other)))
    connection.create_aggregate("sum", 1, _ExactSum)  # type: ignore[arg-type] - its stub knows no None
    connection.create_function("fits", 2, _fits, deterministic=True)
    connection.create_function("serverproperty", 1, lambda _: "16.0.1000.6")
    connection.create_function("db_id", 0, lambda: 5)
    for name, select in CATALOGUE.items():
        connection.execute(f"CREATE TEMP VIEW {name} AS {select.format(snapshots=int(driver.snapshots))}")
    return connection


# As much of SQL Server's catalogue as somebody asks for.
OURS = "FROM main.sqlite_master WHERE type = 'table' AND name <> 'disabled_triggers'"
CATALOGUE = {
    "sys_schemas": "SELECT 'dbo' AS name, 1 AS schema_id",
    "sys_objects": f"SELECT name, 1 AS schema_id, 'U' AS type {OURS}",
    "information_schema_tables": f"SELECT name AS table_name, 'dbo' AS table_schema, 'BASE TABLE' AS table_type {OURS}",
    "sys_system_views": "SELECT 'dm_exec_sessions' AS name",
    "sys_databases": "SELECT 5 AS database_id, {snapshots} AS is_read_committed_snapshot_on",
}


def _compared(one: Any, other: Any) -> int:
    return (one > other) - (one < other)


def _usual(text: str) -> str:
    return text.rstrip(" ").casefold()


def _fits(text: str | None, length: int) -> bool:
    return text is None or len(text.encode("utf-16-le")) <= 2 * length


class _ExactSum:
    """SUM as a decimal type has it."""

    def __init__(self) -> None:
        self.total: Decimal | None = None

    def step(self, value: Any) -> None:
        if value is not None:
            self.total = (self.total or Decimal(0)) + Decimal(str(value))

    def finalize(self) -> str | int | None:
        if self.total is None:
            return None
        return int(self.total) if self.total == int(self.total) else str(self.total)


def _said(error: sqlite3.Error, statement: str) -> Error:
    """What the driver says of it, with SQL Server's number."""
    text, kind = str(error), getattr(error, "sqlite_errorname", "")
    if kind in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}:
        return IntegrityError("23000", f"[23000] {SAYS}[SQL Server]{text} (2627) (SQLExecDirectW)")
    if kind == "SQLITE_CONSTRAINT_CHECK":
        return DataError("22001", f"[22001] {SAYS}[SQL Server]String would be truncated: {text} (2628)")
    if kind == "SQLITE_CONSTRAINT_TRIGGER":
        return ProgrammingError("42000", f"[42000] {SAYS}[SQL Server]{text} (50001) (SQLExecDirectW)")
    if isinstance(error, sqlite3.IntegrityError):
        return IntegrityError("23000", f"[23000] {SAYS}[SQL Server]{text} (547) (SQLExecDirectW)")
    if kind.startswith("SQLITE_BUSY"):
        return OperationalError("HYT00", f"[HYT00] {SAYS}Query timeout expired (0) (SQLExecDirectW)")
    return ProgrammingError("42000", f"[42000] {SAYS}[SQL Server]{text}: {statement}")


def _bound(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):  # SQLAlchemy binds a DATE that way too
        return value.isoformat(" ", "microseconds") if value.tzinfo else value.date().isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _row(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_fetched(value) for value in row)


def _fetched(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return date.fromisoformat(value)
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", value):
        return datetime.fromisoformat(value)
    return value
