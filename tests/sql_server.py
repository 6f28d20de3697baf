"""A stand-in for SQL Server: a DBAPI for SQLAlchemy's mssql dialect that checks each statement and runs it on SQLite.

What the ledgers do then takes SQLAlchemy's whole path for SQL Server (compiling, batching, fast_executemany, wrapping
of errors), and a statement that SQL Server would reject fails its test. It shows nothing about SQL Server's locks.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.schema import CreateTable

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import metadata

MOST_PARAMETERS = 2100
MOST_ROWS = 1000

# What SQL Server rejects and another database lets pass, or what is another's own.
REJECTED = {
    "a tuple before IN": r"(?<![\w\]])\([^()]*,[^()]*\)\s+(NOT\s+)?IN\s*\(",
    "NULLS FIRST or LAST": r"\bNULLS\s+(FIRST|LAST)\b",
    "EXISTS among the columns": r"\bSELECT\s+(NOT\s*)?\(*\s*EXISTS\b|,\s*(NOT\s*)?\(*\s*EXISTS\b",
    "LIMIT": r"\bLIMIT\b",
    "ON CONFLICT": r"\bON\s+CONFLICT\b",
    "RETURNING": r"\bRETURNING\b",
    "MERGE": r"^\s*MERGE\b",
    "RECURSIVE": r"\bRECURSIVE\b",
    "FOR UPDATE": r"\bFOR\s+UPDATE\b",
    "IS before a value": r"\bIS\s+(?!NULL\b|NOT\s+NULL\b)",
    "|| between texts": r"\|\|",
    "true or false": r"(?<![\w.'\[])(true|false)\b",
    "OFFSET without ORDER BY": r"^(?!.*\bORDER\s+BY\b).*\bOFFSET\b",
    "a subquery inside of an aggregate": r"\b(SUM|COUNT|MAX|MIN|AVG)\(\s*\(?\s*SELECT\b",
    "a comparison among the columns": r"^SELECT\s+(?:(?!\bFROM\b|\bCASE\b|\().)*[<>=](?:(?!\bCASE\b).)*\bFROM\b",
}
COLUMNS = {column.name for table in metadata.tables.values() for column in table.columns}


def faults(statement: str, parameters: Sequence[Any] = ()) -> list[str]:
    """What SQL Server has against the statement, in words."""
    bare = re.sub(r"'[^']*'", "''", statement)
    found = [words for words, pattern in REJECTED.items() if re.search(pattern, bare, re.IGNORECASE | re.DOTALL)]
    if len(parameters) > MOST_PARAMETERS:
        found.append(f"{len(parameters)} parameters")
    if bare.upper().count("), (") >= MOST_ROWS:
        found.append("too many VALUES rows")
    found += [f"GROUP BY an alias: {name}" for name in _grouped_by(bare) if name not in COLUMNS]
    return found


def _grouped_by(statement: str) -> list[str]:
    clauses = re.findall(r"\bGROUP BY (.*?)(?: HAVING | ORDER BY |\)|$)", statement, re.DOTALL)
    items = [item.strip() for clause in clauses for item in clause.split(",")]
    return [re.split(r"\.", item)[-1].strip("[] ") for item in items]


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
class SqlServer:
    """What is handed to create_engine as `module`, with everything that was sent."""

    path: Path
    sent: list[Sent] = field(default_factory=list)

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
        with _open(self.path) as connection:
            for table in metadata.sorted_tables:
                connection.execute(_on_sqlite(create_statement(table)))

    def connect(self, *_: Any, **__: Any) -> Connection:
        """A new connection."""
        return Connection(self, _open(self.path))

    def database(self) -> Database:
        """A Database that believes to be on SQL Server."""
        return Database("mssql+pyodbc://warden.example/warden?driver=stand-in", module=self)


def create_statement(table: Any) -> str:
    """CREATE TABLE as SQL Server gets it."""
    dialect = MSDialect_pyodbc(deprecate_large_types=True)
    dialect.server_version_info = (16, 0)
    return str(CreateTable(table).compile(dialect=dialect))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=20, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.create_aggregate("sum", 1, _ExactSum)  # type: ignore[arg-type] - its stub knows no None
    connection.create_function("serverproperty", 1, lambda _: "16.0.1000.6")
    connection.create_function("schema_name", 0, lambda: "dbo")
    return connection


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


class Connection:
    """pyodbc.Connection: a transaction begins with the first statement."""

    def __init__(self, server: SqlServer, connection: sqlite3.Connection) -> None:
        self.server = server
        self.sqlite = connection
        self.autocommit = False
        self.fails_with: Error | None = None  # what the next statement meets

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        self._end("COMMIT")

    def rollback(self) -> None:
        self._end("ROLLBACK")

    def close(self) -> None:
        self.sqlite.close()

    def add_output_converter(self, *_: Any) -> None:
        pass

    def _end(self, how: str) -> None:
        if self.sqlite.in_transaction:
            self.sqlite.execute(how)


class Cursor:
    """pyodbc.Cursor."""

    fast_executemany = False
    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.sqlite.cursor()

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def execute(self, statement: str, *parameters: Any) -> Cursor:
        row = parameters[0] if len(parameters) == 1 and isinstance(parameters[0], (tuple, list)) else parameters
        self._send(Sent(statement, [row], many=False, fast=False))
        return self

    def executemany(self, statement: str, rows: list[Sequence[Any]]) -> None:
        self._send(Sent(statement, list(rows), many=True, fast=self.fast_executemany))

    def _send(self, sent: Sent) -> None:
        self._connection.server.sent.append(sent)
        error, self._connection.fails_with = self._connection.fails_with, None
        if error is not None:
            raise error
        found = faults(sent.statement, sent.rows[0])
        if found:
            raise AssertionError(f"SQL Server rejects {', '.join(found)}: {sent.statement}")
        try:
            self._run(_on_sqlite(sent.statement), [[_bound(value) for value in row] for row in sent.rows], sent.many)
        except sqlite3.IntegrityError as error:
            raise IntegrityError("23000", f"[23000] {error} (2627)") from error
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Error("40001", "[40001] chosen as the deadlock victim (1205)") from error
            raise ProgrammingError("42000", f"[42000] {error}: {sent.statement}") from error

    def _run(self, statement: str, rows: list[list[Any]], many: bool) -> None:
        if not self._connection.sqlite.in_transaction and not self._connection.autocommit:
            self._connection.sqlite.execute("BEGIN")
        if many:
            self._cursor.executemany(statement, rows)
        else:
            self._cursor.execute(statement, rows[0])

    def fetchone(self) -> tuple[Any, ...] | None:
        row = self._cursor.fetchone()
        return None if row is None else _row(row)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        return [_row(row) for row in self._cursor.fetchmany(size or 1)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return [_row(row) for row in self._cursor.fetchall()]

    def nextset(self) -> bool:
        return False

    def setinputsizes(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        self._cursor.close()


def _on_sqlite(statement: str) -> str:
    """T-SQL, as far as SQLAlchemy writes it for us, in SQLite's words."""
    statement = statement.replace(" IDENTITY", "").replace("NVARCHAR(max)", "TEXT").replace("VARBINARY(max)", "BLOB")
    # The usual collation of SQL Server knows no case.
    statement = re.sub(r"(NVARCHAR\(\d+\))(?! COLLATE)(?=.*,?$)", r"\1 COLLATE NOCASE", statement, flags=re.MULTILINE)
    statement = statement.replace("COLLATE Latin1_General_100_BIN2", "COLLATE BINARY")
    statement = re.sub(r"CAST\((.*?) AS (NVARCHAR\(\d+\) COLLATE NOCASE|VARCHAR)\)", r"CAST(\1 AS TEXT)", statement)
    output = re.search(r" OUTPUT ((?:inserted\.\[?\w+\]?(?:, )?)+)", statement)
    if output:
        statement = statement.replace(output.group(0), "") + " RETURNING " + output.group(1).replace("inserted.", "")
    statement = re.sub(r"\(SELECT TOP (\d+) ([^()]*)\)", r"(SELECT \2 LIMIT \1)", statement)
    top = re.search(r"^SELECT (DISTINCT )?TOP (\d+) ", statement)
    if top:
        statement = statement.replace(f"TOP {top.group(2)} ", "", 1) + f" LIMIT {top.group(2)}"
    return statement


def _bound(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):  # SQLAlchemy binds a DATE that way
        return value.date().isoformat()
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
