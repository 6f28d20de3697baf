"""SQL Server (Azure SQL): how it is reached through either of its drivers, and what its errors mean.

`mssql+pyodbc://…` (the default) needs unixODBC and Microsoft's ODBC driver on the machine; `mssql+mssqlpython://…`,
Microsoft's own package, brings its ODBC driver.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc

# A login may take 30 s: a database that was paused is waking up.
LOGIN_SECONDS = 40
ITS_OWN = "or use mssql+mssqlpython://… with the package mssql-python, which brings its own"
ODBC_DRIVER = f"Microsoft's ODBC driver (msodbcsql18), {ITS_OWN}"
# What the driver's package takes from the system (Debian's names).
LIBRARIES = "libltdl7, libkrb5-3 and libgssapi-krb5-2"

# unixODBC and the package mssql-python, where no ODBC driver could be loaded.
NO_DRIVER = re.compile(r"Can't open lib|IM00[23]|no default driver specified|Failed to load the driver", re.IGNORECASE)

# SQL Server says these of itself while it moves, scales, wakes up, recovers, is busy or has no room, under several
# SQLSTATEs (learn.microsoft.com, "Troubleshoot transient connection errors in SQL Database"; of a failover: 596, 3906
# and 3971; of room: 1101, 1105, 9002 and 40544, which last until somebody makes some; of memory, locks and requests:
# 701, 1204, 1222, 8645, 10936 and 40551). pyodbc ends its text with the number; mssql-python leaves it out, so that the
# words have to do.
UNWELL_NUMBERS = re.compile(
    r"\((?:596|615|701|921|926|978|983|1101|1105|1204|1222|3906|3971|4221|8645|9002|10928|10929|10936|40143|40197|40501|"
    r"40540|40544|40551|40613|42108|42109|49918|49919|49920)\)"
)
UNWELL_WORDS = re.compile(
    "could not find database id|marked suspect by recovery|has not been recovered yet|is not currently available|"
    "has encountered an error processing your request|service is currently busy|"
    "not enough resources to process request|too many operations in progress|failed to resume the transaction|"
    "because the database is read-only|in the kill state|transaction log for database .* is full|"
    "reached its size quota|could not allocate (a new page|space) for|insufficient system memory|"
    "cannot obtain a lock resource|lock request time ?out|waiting for memory resources|"
    "request limit for .* has been reached|session has been terminated because of",
    re.IGNORECASE,
)
# What mssql-python says in place of an SQLSTATE: 40001.
DEADLOCK = "Serialization failure"


def understood(url: URL) -> URL:
    """The URL as SQLAlchemy's dialects understand it.

    They know `authentication` in small letters only: else they ask for a Trusted_Connection too, and Microsoft's driver
    refuses the two together. What pyodbc has to be told of the ODBC driver, mssql-python refuses to hear.
    """
    query = {
        name.lower() if name.lower() in {"authentication", "driver"} else name: each for name, each in url.query.items()
    }
    if url.get_driver_name() == "mssqlpython":
        query.pop("driver", None)
    return url.set(query=query)


def make_engine(url: URL, options: dict[str, Any], statement_seconds: int) -> Engine:
    """The engine of a URL of SQL Server. Raises ImportError where its driver's package can't be loaded."""
    fast: dict[str, Any] = {"connect_args": {"timeout": LOGIN_SECONDS}}
    if url.get_driver_name() == "pyodbc":
        # 29,000 rows a second instead of 4,600, measured through pyodbc with ODBC Driver 18.
        fast["fast_executemany"] = True
    engine = create_engine(url, pool_pre_ping=True, **(fast | options))

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.timeout = statement_seconds  # for each statement; without it there is none

    return engine


def missing_driver(url: URL) -> str | None:
    """What is missing of the driver that the URL asks for, without asking a server; None where it can be loaded.

    Raises ImportError where the driver's package can't be loaded.
    """
    if url.get_driver_name() == "pyodbc":
        name, there = str(url.query.get("driver", "")), import_module("pyodbc").drivers()
        return None if not name or name in there or Path(name).exists() else no_odbc_driver(url)
    driver = import_module("mssql_python")
    try:
        # It loads its ODBC driver before it misses a server.
        driver.connect("").close()
    except driver.Error as error:
        return no_odbc_driver(url) if NO_DRIVER.search(str(error)) else None
    return None


def no_odbc_driver(url: URL) -> str:
    """What to do where the driver's package is there and finds no ODBC driver."""
    if url.get_driver_name() == "mssqlpython":
        return f"the package mssql-python can't load its ODBC driver here: install {LIBRARIES}"
    name = url.query.get("driver")
    if not name:
        return "DATABASE_URL names no ODBC driver: add ?driver=ODBC+Driver+18+for+SQL+Server"
    return f"the ODBC driver {name!r}, which DATABASE_URL names, is not on this machine: install {ODBC_DRIVER}"


def is_unwell(error: exc.DBAPIError) -> bool:
    """Whether SQL Server says of itself that this will pass."""
    said = str(error.orig)
    return UNWELL_NUMBERS.search(said) is not None or UNWELL_WORDS.search(said) is not None


def reads_snapshots(connection: Connection) -> bool:
    """Whether READ_COMMITTED_SNAPSHOT is on: without it, a check and a store of one project may deadlock."""
    asked = "SELECT is_read_committed_snapshot_on FROM sys.databases WHERE database_id = DB_ID()"
    return bool(connection.exec_driver_sql(asked).scalar())
