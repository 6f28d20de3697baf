"""What the errors of a database mean, in the ports' words, whichever database and driver they are of."""

from __future__ import annotations

import re
import sqlite3

from sqlalchemy import URL, exc
from sqlalchemy.engine import ExceptionContext

from shared.adapters.database import postgresql, sql_server
from shared.ports.errors import LaterError, NeverError, UntilMendedError

# PostgreSQL: deadlock_detected, serialization_failure. SQL Server: SQLSTATE 40001 (error 1205).
DEADLOCK_CODES = {"40P01", "40001", sql_server.DEADLOCK}

# The servers' own words in an error of connecting (PostgreSQL) or in any (SQL Server): the first that there are.
SAID = re.compile(
    r"(?:(?:FATAL|ERROR): +|\[SQL Server\]|(?=invalid connection option))(.+?)\.?(?: \(\d+\) \(SQL\w+\)|$)",
    re.MULTILINE,
)

# What stays until somebody mends it, by the SQLSTATE and the words that follow it, and what to do. PostgreSQL gives no
# SQLSTATE while connecting. SQL Server: 4060, 40615, 40914, 47073, 18456, and refusals of rights.
TO_MEND = {
    r"^3[DF]000|database \".*\" does not exist|cannot open database": "see that what DATABASE_URL names is there",
    "pg_hba.conf|not allowed to access the server|network interface .* not accessible": (
        "have the server let the app's address in"
    ),
    r"^28|authentication failed|role \".*\" (does not exist|is not permitted)|login failed for user": (
        "see that the user and the password in DATABASE_URL are right"
    ),
    "^42501|permission|not able to access the database": (
        "have the database's owner give this right to the user of DATABASE_URL"
    ),
    "SQLITE_(READONLY|CANTOPEN|PERM)": "see who may write to the file of DATABASE_URL and its folder",
    "unsupported startup parameter|invalid connection option": (
        "the server, or the pooler in between, does not take what DATABASE_URL asks for"
    ),
}

# Where servers say in an error what they were given. PostgreSQL: a key or a whole row in the lines after its first one,
# and a text that it can't read after a colon. SQL Server: of a double key, a text that is too long or no number; in the
# text of a tuple (pyodbc), quotes may have a backslash before them.
VALUES = re.compile(
    r"(?<=: )\"[^\n]*\"(?=$|\n)|\n(?:DETAIL|CONTEXT):.*|(?<=duplicate key value is )\(.*\)(?=\.)|"
    r"(?<=Truncated value: )\\?'.*'(?=\.)|(?<= value )\\?'.*'(?= to data type| overflowed)",
    re.DOTALL,
)


def hide_values(context: ExceptionContext) -> None:
    """Takes what the database was given out of what it says of an error."""
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None:
            error.args = tuple(without_values(each) if isinstance(each, str) else each for each in error.args)


def without_values(said: str) -> str:
    """What a server says of an error, without what it was given."""
    return VALUES.sub(lambda found: "" if found[0].startswith("\n") else "(not shown)", said)


def met_another(error: exc.SQLAlchemyError) -> bool:
    """Whether the transaction failed because of another one, so that running it again is right."""
    if isinstance(error, exc.IntegrityError):
        return True
    return isinstance(error, exc.DBAPIError) and not error.connection_invalidated and _code(error) in DEADLOCK_CODES


def let_go(context: ExceptionContext) -> None:
    """Has the pool let go of its connections where the server is unwell: it may not be the one that is in charge.

    After a failover the old server may go on answering reads; only a new connection finds the new one.
    """
    error = context.sqlalchemy_exception
    if isinstance(error, exc.DBAPIError) and not met_another(error) and isinstance(_of_driver(error), LaterError):
        context.is_disconnect = True


def translated(error: exc.SQLAlchemyError, url: URL) -> Exception:
    """LaterError where the database is out of reach, unwell or refuses us; NeverError where the value can't be held."""
    if isinstance(error, exc.DBAPIError):
        if url.get_backend_name() == "mssql" and sql_server.NO_DRIVER.search(str(error.orig)):
            return NeverError(sql_server.no_odbc_driver(url))
        return _of_driver(error)
    if isinstance(error, exc.StatementError) and isinstance(error.orig, ValueError):
        return NeverError(str(error.orig))
    if isinstance(error, exc.TimeoutError):
        return LaterError("all the database's connections are in use")
    return error


def said(error: exc.DBAPIError) -> str:
    """What the database itself says of it, without the statement; the kind of the error where it is the driver's."""
    if isinstance(error.orig, sqlite3.Error):
        return str(error.orig)
    primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    found = SAID.search(str(error.orig))
    return primary or (found[1] if found else type(error.orig).__name__)


def _of_driver(error: exc.DBAPIError) -> Exception:
    if isinstance(error, exc.IntegrityError):
        return error
    never = _never(error)
    if never is not None:
        return NeverError(never)
    for pattern, to_do in TO_MEND.items():
        if re.search(pattern, f"{_code(error)} {said(error)}", re.IGNORECASE):
            return UntilMendedError(f"the database refuses us: {said(error)}; {to_do}")
    return LaterError(f"the database can't be used now ({said(error)})") if _is_unwell(error) else error


def _never(error: exc.DBAPIError) -> str | None:
    if "overflow" in str(error.orig).lower() or _code(error) == "22003":
        return "a sum of amounts is too large to be held exactly by this database"
    if getattr(error.orig, "sqlite_errorname", None) in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
        return f"the database's file is no SQLite database, or is damaged: {error.orig}"
    if isinstance(error, exc.DataError):
        return f"a value doesn't fit into the database: {error.orig}"
    return None


def _is_unwell(error: exc.DBAPIError) -> bool:
    if getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR":
        return False  # a faulty statement, which SQLite calls an operational error too
    if isinstance(error, (exc.OperationalError, exc.InterfaceError)) or error.connection_invalidated:
        return True
    if error.statement is None:
        return True  # while connecting, or at a commit
    code = _code(error)
    return code in DEADLOCK_CODES or bool(postgresql.UNWELL.fullmatch(code)) or sql_server.is_unwell(error)


def _code(error: exc.DBAPIError) -> str:
    # psycopg names the SQLSTATE, mssql-python says it in words, pyodbc puts it first; SQLite has names of its own.
    for name in ("sqlstate", "driver_error", "sqlite_errorname"):
        if state := getattr(error.orig, name, None):
            return str(state)
    return str(next(iter(getattr(error.orig, "args", ())), ""))
