"""SQL Server without a server: its DDL, what it is sent, how its errors are taken, what is missing of its drivers.

The suites of the ledgers, the steps and the chain run on the stand-in too (tests/conftest.py): there every statement
is checked against what SQL Server rejects.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import mssql_python
import pytest
from alembic import command
from sqlalchemy import Connection, UniqueConstraint, insert, select, text

from shared.adapters.database import migrate
from shared.adapters.database import sql_server as sql_server_adapter
from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.engine import TRIES, Database
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.tables import charges, metadata, runs
from shared.cli.failures import explain
from shared.domain.charges import ChargeSet
from shared.domain.coverage import Reading, ReadPart
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.errors import LaterError, NeverError, UntilMendedError
from shared.settings import load
from tests import sql_server
from tests.contracts.ledger_data import MONTHLY, Ledgers, entry, november, terms
from tests.sql_server.dbapi import SAYS, DataError, Driver, Error, InterfaceError, ProgrammingError, Sent
from tests.sql_server.t_sql import create_statement

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))


@pytest.fixture
def server() -> Driver:
    return Driver()


@pytest.fixture
def database(server: Driver, mssql_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copyfile(mssql_template, tmp_path / "sql-server.db")
    database = Database(sql_server.url(tmp_path / "sql-server.db"), module=server)
    yield database
    database.close()


def offline_sql(dialect: str) -> str:
    """The SQL of all steps for `sqlite`, `postgresql` or `mssql`, as Alembic prints it without a server."""
    sql = io.StringIO()
    config = migrate.alembic_config(dialect=dialect)
    config.output_buffer = sql
    command.upgrade(config, "head", sql=True)
    return sql.getvalue()


def column_lines(ddl: str) -> dict[str, str]:
    """`table.column`: what its CREATE TABLE, or the ALTER TABLE that added it, says of it."""
    found = {}
    for table, body in re.findall(r"CREATE TABLE (\w+) \(\n(.*?)\n\)", ddl, re.DOTALL):
        for line in body.splitlines():
            name, _, rest = line.strip().rstrip(", ").partition(" ")
            found[f"{table}.{name.strip('[]')}"] = rest
    for table, name, rest in re.findall(r"ALTER TABLE (\w+) ADD (\w+) (.*);", ddl):
        found[f"{table}.{name}"] = rest
    for table, name, new_name in re.findall(r"sp_rename '(\w+)\.(\w+)', (\w+), 'COLUMN'", ddl):
        found[f"{table}.{new_name}"] = found.pop(f"{table}.{name}")
    return found


# --- tables --------------------------------------------------------------------------------------------------


def test_columns_have_the_types_of_a_present_day_server():
    lines = column_lines("\n".join(create_statement(table) for table in metadata.sorted_tables))
    assert lines["charges.charge_period_start"] == "DATE NOT NULL"
    assert lines["charges.billed_cost"] == "NUMERIC(28, 10) NOT NULL"
    assert lines["charges.service_name"].startswith("NVARCHAR(200)")
    assert lines["mails.notes"] == "NVARCHAR(max) NULL"
    assert lines["mails.context"] == "NVARCHAR(max) NOT NULL"
    assert lines["projects.active"] == "BIT NOT NULL"
    assert lines["projects.id"] == "INTEGER NOT NULL"
    assert lines["mails.id"] == "INTEGER NOT NULL IDENTITY"
    assert lines["runs.started_at"] == "DATETIMEOFFSET NOT NULL"


def test_keys_are_compared_letter_by_letter():
    lines = column_lines("\n".join(create_statement(table) for table in metadata.sorted_tables))
    keys = [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for constraint in table.constraints
        for column in getattr(constraint, "columns", ())
    ]
    for key in keys:
        assert "NVARCHAR" not in lines[key] or "COLLATE Latin1_General_100_BIN2" in lines[key], key


def test_what_is_unique_is_never_empty():
    """SQL Server takes one NULL in a unique column, and other databases any number."""
    for table in metadata.tables.values():
        unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
        assert not [column for each in unique for column in each.columns if column.nullable], table.name


def test_the_sql_of_the_steps_makes_the_tables_of_the_code():
    from_steps = column_lines(offline_sql("mssql"))
    from_code = column_lines("\n".join(create_statement(table) for table in metadata.sorted_tables))
    columns = [f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.columns]
    assert {name: from_steps[name] for name in columns} == {name: from_code[name] for name in columns}


@pytest.mark.parametrize("word", ["NTEXT", r"DATETIME\b(?!OFFSET)", r"\bTEXT\b", "FLOAT", r"(?<!N)VARCHAR\((?!32\))"])
def test_the_sql_of_the_steps_has_no_type_of_old(word: str):
    assert not re.search(word, offline_sql("mssql"))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mssql"])
def test_the_steps_can_be_printed_for_every_database(dialect: str):
    sql = offline_sql(dialect)
    assert sql.count("CREATE TABLE") - sql.count("DROP TABLE") == len(metadata.tables) + 1
    assert f"SET version_num='{migrate.HEAD}'" in sql


def test_the_audits_refusal_is_a_batch_of_its_own():
    batches = [batch.strip() for batch in offline_sql("mssql").split("GO\n")]
    triggers = [re.sub(r"\s+", " ", batch).rstrip("; ") for batch in batches if "CREATE TRIGGER" in batch]
    assert triggers == [
        f"CREATE TRIGGER {name} ON {table} AFTER UPDATE, DELETE AS IF EXISTS (SELECT 1 FROM deleted) "
        "BEGIN THROW 50001, 'rows of the audit are never changed', 1; END"
        for name, table in (("audit_is_never_changed", "audit"), ("changes_are_never_changed", "changes"))
    ]


# --- what is sent --------------------------------------------------------------------------------------------


def a_reading(days: int, groups: int, cost: str = "1.2345678901") -> Reading:
    charge_set = ChargeSet()
    for day in range(1, days + 1):
        for group in range(groups):
            charge_set.add(f"rg-{group}", date(2026, 11, day), "Storage", Decimal(cost), "CAD")
            charge_set.add(f"rg-{group}", date(2026, 11, day), "storage", Decimal(cost), "CAD")
    part = ReadPart(NOVEMBER, (charge_set.rounded(),), NOW)
    return Reading(AZURE, SUBSCRIPTION, frozenset(), (part,), NOW.date())


def inserts(server: Driver, table: str) -> list[Sent]:
    return [sent for sent in server.sent if sent.statement.startswith(f"INSERT INTO {table} ")]


def test_charges_are_written_in_few_fast_batches(server: Driver, database: Database):
    scope = SqlRuns(database).scope_of("night", "timer", ScopeTarget(subscription_id=SUBSCRIPTION), NOW)
    SqlCharges(database, 35).store(scope.id, [a_reading(days=10, groups=600)], NOW)
    sent = inserts(server, "charges")
    assert sum(len(one.rows) for one in sent) == 12_000
    assert all(one.many and one.fast for one in sent)
    assert len(sent) <= 6
    kept = database.read(lambda connection: connection.scalar(select(charges.c.billed_cost).limit(1)))
    assert kept == Decimal("1.2345678901")


def test_an_unchanged_second_reading_writes_no_charges(server: Driver, database: Database):
    scope = SqlRuns(database).scope_of("night", "timer", ScopeTarget(subscription_id=SUBSCRIPTION), NOW)
    for _ in range(2):
        server.sent.clear()
        SqlCharges(database, 35).store(scope.id, [a_reading(days=2, groups=3)], NOW)
    assert not [one for one in server.sent if re.match(r"(INSERT INTO|UPDATE|DELETE FROM) charges\b", one.statement)]


# --- its errors ----------------------------------------------------------------------------------------------


def failing(error: Exception, times: int) -> tuple[list[int], object]:
    """Work whose first tries meet this error of the driver."""
    tries: list[int] = []

    def work(connection: Connection) -> int:
        tries.append(1)
        if len(tries) <= times:
            connection.connection.driver_connection.fails_with = error
        connection.execute(insert(runs).values(key="one", trigger="timer", state="running", started_at=NOW))
        return len(tries)

    return tries, work


def test_a_deadlock_is_tried_again(database: Database):
    _, work = failing(Error("40001", "[40001] chosen as the deadlock victim. (1205) (SQLExecDirectW)"), times=2)
    assert database.run(work) == 3


def test_a_deadlock_that_stays_is_later(database: Database):
    tries, work = failing(Error("40001", "[40001] chosen as the deadlock victim. (1205) (SQLExecDirectW)"), times=99)
    with pytest.raises(LaterError):
        database.run(work)
    assert len(tries) == TRIES


# After a restart or a failover (sqlalchemy#6073, node-mssql#1392), of a session that was killed, of no room, and of
# memory, locks and requests (dotnet/efcore#20923, #25050).
UNWELL = {
    3971: "The server failed to resume the transaction. Desc:3500000001.",
    3906: "Failed to update database 'warden' because the database is read-only.",
    596: "Cannot continue the execution because the session is in the kill state.",
    9002: "The transaction log for database 'warden' is full due to 'LOG_BACKUP'.",
    40544: "The database 'warden' has reached its size quota.",
    1105: "Could not allocate space for object 'dbo.charges' in database 'warden'.",
    701: "There is insufficient system memory in resource pool 'default' to run this query.",
    921: "Database 'warden' has not been recovered yet. Wait and try again.",
    1204: "The instance of the SQL Server Database Engine cannot obtain a LOCK resource at this time.",
    1222: "Lock request time out period exceeded.",
    8645: "A timeout occurred while waiting for memory resources to execute the query in resource pool 'default' (2).",
    10936: "Resource ID : 1. The request limit for the elastic pool is 100 and has been reached.",
    40143: "The service has encountered an error processing your request. Please try again. Error code 40143.",
    40540: "The service has encountered an error processing your request. Please try again. Error code 40540.",
    40551: "The session has been terminated because of excessive TEMPDB usage.",
}


def _said(said: tuple[int, str]) -> Error:
    number, words = said
    return ProgrammingError("42000", f"[42000] {words} ({number}) (SQLExecDirectW)")


@pytest.mark.parametrize("error", [Error("42000", words) for words in UNWELL.values()], ids=map(str, UNWELL))
def test_a_driver_that_leaves_out_the_number_is_understood_by_the_words(database: Database, error: Error):
    _, work = failing(error, times=1)
    with pytest.raises(LaterError, match="can't be used now"):
        database.run(work)


@pytest.mark.parametrize(
    "error",
    [
        Error("08S01", "[08S01] Communication link failure (0) (SQLExecDirectW)"),
        Error("HYT00", "[HYT00] Login timeout expired (0) (SQLDriverConnect)"),
        ProgrammingError("42000", "[42000] Database 'warden' is not currently available. (40613) (SQLDriverConnect)"),
        Error("HY000", "[HY000] The service is currently busy. (40501) (SQLExecDirectW)"),
        ProgrammingError("42000", "[42000] Could not find database ID 7. The database may be offline. (615)"),
        ProgrammingError("42000", "[42000] Database 'warden' cannot be opened. It has been marked SUSPECT. (926)"),
        *map(_said, UNWELL.items()),
    ],
    ids=["cut", "login", "moving", "busy", "615", "926", *map(str, UNWELL)],
)
def test_a_server_out_of_reach_or_unwell_is_later(database: Database, error: Error):
    _, work = failing(error, times=1)
    with pytest.raises(LaterError, match="can't be used now"):
        database.run(work)


def refusal(number: int, words: str, call: str) -> Error:
    return ProgrammingError("42000", f"[42000] {SAYS}[SQL Server]{words} ({number}) ({call})")


def test_a_connection_to_a_server_that_is_no_longer_in_charge_is_let_go(database: Database):
    """It goes on answering reads: nothing but a new connection finds the new one."""
    old: list[object] = []

    def work(connection: Connection) -> bool:
        this = connection.connection.driver_connection
        old.append(this)
        if this is old[0]:
            this.fails_with = refusal(3906, UNWELL[3906], "SQLExecDirectW")
        connection.execute(insert(runs).values(key="one", trigger="timer", state="running", started_at=NOW))
        return True

    with pytest.raises(LaterError, match="the database is read-only"):
        database.run(work)
    assert database.run(work)


@pytest.mark.parametrize(
    ("number", "words", "advice"),
    [
        (
            40615,
            "Cannot open server 'warden' requested by the login. Client with IP address '20.43.7.9' is not allowed to "
            "access the server. To enable access, use the Azure Management Portal.",
            "let the app's address in",
        ),
        (
            40914,
            "Cannot open server 'warden' requested by the login. Client is not allowed to access the server.",
            "let the app's address in",
        ),
        (
            47073,
            "Reason: An instance-specific error occurred while establishing a connection to SQL Server. The public "
            "network interface on this server is not accessible.",
            "let the app's address in",
        ),
        (18456, "Login failed for user 'app'.", "the user and the password in DATABASE_URL"),
        (4060, 'Cannot open database "warden" requested by the login. The login failed.', "names is there"),
        (916, "The server principal 'app' is not able to access the database 'warden'.", "give this right"),
    ],
)
def test_who_is_not_let_in_is_told_why_and_what_to_do_and_not_to_wait(
    database: Database, server: Driver, number: int, words: str, advice: str
):
    server.refuses = refusal(number, words, "SQLDriverConnect")
    with pytest.raises(LaterError) as caught:
        migrate.is_current(database)
    sentence, _ = explain(caught.value)
    assert re.fullmatch(f"the database refuses us: {re.escape(words.rstrip('.'))}; .*{advice}.*", sentence)
    assert "try again" not in sentence and "db upgrade" not in sentence


def test_whatever_it_says_while_connecting_is_later(database: Database, server: Driver):
    server.refuses = refusal(99999, "The stars are not right.", "SQLDriverConnect")
    with pytest.raises(LaterError, match=r"can't be used now \(The stars are not right\)"):
        migrate.is_current(database)


def test_a_right_that_is_missing_is_waited_for_and_named(database: Database):
    denied = "The INSERT permission was denied on the object 'runs', database 'warden', schema 'dbo'."
    _, work = failing(refusal(229, denied, "SQLExecDirectW"), times=1)
    with pytest.raises(UntilMendedError, match=r"INSERT permission was denied .*; have the database's owner give"):
        database.run(work)


def test_a_sum_that_overflows_is_never(database: Database):
    overflow = DataError(
        "22003", "[22003] Arithmetic overflow error converting expression to data type numeric. (8115)"
    )
    _, work = failing(overflow, times=1)
    with pytest.raises(NeverError, match="too large"):
        database.run(work)


def test_a_faulty_statement_is_neither_later_nor_never(database: Database):
    with pytest.raises(Exception, match="no such column") as raised:
        database.read(lambda connection: connection.execute(text("SELECT missing FROM runs")))
    assert not isinstance(raised.value, (LaterError, NeverError))


def test_a_text_that_no_column_holds_is_never(database: Database):
    long = {"key": "k" * 101, "trigger": "timer", "state": "running", "started_at": NOW}
    with pytest.raises(NeverError, match="doesn't fit"):
        database.run(lambda connection: connection.execute(insert(runs).values(long)))


def test_a_login_of_30_seconds_is_waited_for(server: Driver, database: Database):
    server.login_seconds = 30
    assert migrate.is_current(database)


def test_a_login_that_takes_longer_is_later(server: Driver, database: Database):
    server.login_seconds = 60
    with pytest.raises(LaterError):
        migrate.is_current(database)


# --- its drivers ---------------------------------------------------------------------------------------------

ODBC_18 = "ODBC+Driver+18+for+SQL+Server"
PYODBC = f"mssql+pyodbc://warden.example/warden?driver={ODBC_18}"
# Their own words, as they came.
NO_LIB = Error(
    "01000",
    "[01000] [unixODBC][Driver Manager]Can't open lib 'ODBC Driver 18 for SQL Server' : file not found (0) "
    "(SQLDriverConnect)",
)
NO_NAME = InterfaceError(
    "IM002",
    "[IM002] [unixODBC][Driver Manager]Data source name not found and no default driver specified (0) "
    "(SQLDriverConnect)",
)
NOT_LOADED = mssql_python.OperationalError(
    "Connection operation failed",
    "Failed to load the driver. Please read the documentation (https://github.com/microsoft/mssql-python#installation) "
    "to install the required dependencies.",
)


class MssqlPython(Driver):
    """The stand-in under the package mssql-python, with its own errors."""

    __version__ = mssql_python.__version__
    Error = mssql_python.Error
    InterfaceError = mssql_python.InterfaceError
    OperationalError = mssql_python.OperationalError
    ProgrammingError = mssql_python.ProgrammingError
    IntegrityError = mssql_python.IntegrityError

    @staticmethod
    def pooling(*, enabled: bool) -> None:
        assert not enabled, "SQLAlchemy pools connections itself"


def through_mssql_python(path: Path, **driver: Any) -> Database:
    return Database(f"mssql+mssqlpython://stand-in/{path}?driver=stand-in", module=MssqlPython(**driver))


def test_everything_runs_through_microsofts_own_driver_too(tmp_path: Path):
    database = through_mssql_python(tmp_path / "sql-server.db")
    migrate.upgrade(database)
    ledgers = Ledgers(database)
    ledgers.load(entry(1, terms=terms("1000", rule=MONTHLY)))
    ledgers.spend(("rg-1", november(5), "Storage", "300"))
    ledgers.check(1)
    assert ledgers.mailed() == [25]
    database.close()


FULL_URLS = re.findall(r"^mssql\+.*", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("url", [*FULL_URLS, f"{FULL_URLS[0]}&UID=an-identity", f"{FULL_URLS[1]}&UID=an-identity"])
def test_the_full_urls_of_the_docs_ask_the_driver_for_one_way_in(url: str):
    """With an identity and Trusted_Connection too, Microsoft's driver says: "Cannot use Authentication option …"."""
    given = load({"DatahubStorageConnectionString": "UseDevelopmentStorage=true", "DATABASE_URL": url}).database_url
    kind = MssqlPython if "mssqlpython" in url else Driver
    driver = kind(refuses=kind.OperationalError("Login timeout expired", f"{SAYS}Login timeout expired"))
    with pytest.raises(LaterError):
        migrate.is_current(Database(given.get_secret_value(), module=driver))
    (asked,) = set(driver.connected)
    names = [part.partition("=")[0].lower() for part in asked.split(";")]
    assert len(names) == len(set(names))
    assert ("authentication" in names, "pwd" in names, "trusted_connection" in names) in {
        (True, False, False),
        (False, True, False),
    }
    assert ("driver" in names) == (kind is Driver)


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        (PYODBC, NO_LIB, "the ODBC driver 'ODBC Driver 18 for SQL Server', which DATABASE_URL names, is not on this"),
        ("mssql+pyodbc://warden.example/warden", NO_NAME, rf"names no ODBC driver: add \?driver={re.escape(ODBC_18)}"),
    ],
)
def test_an_odbc_driver_that_is_missing_is_said_and_not_waited_for(url: str, error: Error, says: str):
    with pytest.warns() if error is NO_NAME else nullcontext():
        database = Database(url, module=Driver(refuses=error))
        with pytest.raises(NeverError, match=says):
            migrate.is_current(database)


def test_a_package_whose_odbc_driver_lacks_something_says_what(tmp_path: Path):
    database = through_mssql_python(tmp_path / "sql-server.db", refuses=NOT_LOADED)
    with pytest.raises(NeverError, match=r"mssql-python can't load its ODBC driver here: install libltdl7"):
        migrate.is_current(database)


@pytest.mark.parametrize(
    "error",
    [
        mssql_python.OperationalError(
            "Timeout expired", "[Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired"
        ),
        mssql_python.OperationalError(
            "Client unable to establish connection",
            "[Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code",
        ),
        mssql_python.ProgrammingError(
            "Syntax error or access violation",
            "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Database 'warden' is not currently available.",
        ),
        mssql_python.ProgrammingError(
            "Syntax error or access violation",
            "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Could not find database ID 7, name '7'.",
        ),
    ],
)
def test_what_passes_is_known_by_its_words_where_the_driver_leaves_out_the_number(tmp_path: Path, error: Exception):
    database = through_mssql_python(tmp_path / "sql-server.db", refuses=error)
    with pytest.raises(LaterError, match="can't be used now"):
        migrate.is_current(database)


def test_a_deadlock_is_tried_again_whichever_driver_says_it(tmp_path: Path):
    database = through_mssql_python(tmp_path / "sql-server.db")
    migrate.upgrade(database)
    deadlock = mssql_python.OperationalError(
        "Serialization failure", "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]chosen as the victim"
    )
    _, work = failing(deadlock, times=2)
    assert database.run(work) == 3
    database.close()


BROKEN = "raise ImportError('libodbc.so.2: cannot open shared object file: No such file or directory')"
OTHER_DRIVERS = "def drivers():\n    return ['FreeTDS']"


@pytest.mark.parametrize(
    ("pyodbc", "says"),
    [
        (BROKEN, "the package pyodbc, which DATABASE_URL asks for, can't be loaded here (libodbc.so.2: "),
        (OTHER_DRIVERS, "the ODBC driver 'ODBC Driver 18 for SQL Server', which DATABASE_URL names, is not on this"),
    ],
)
def test_the_app_is_not_loaded_where_its_driver_is_missing_and_says_so_in_one_sentence(
    tmp_path: Path, pyodbc: str, says: str
):
    (tmp_path / "pyodbc.py").write_text(pyodbc)
    loaded = _load_the_app(tmp_path, PYODBC)
    *_, sentence = loaded.stderr.splitlines()
    assert loaded.returncode == 1
    assert sentence.startswith(f"shared.ports.errors.NeverError: {says}")
    assert "msodbcsql18" in sentence
    assert "mssql+mssqlpython://" in sentence


def test_the_app_is_loaded_where_its_driver_is_there(tmp_path: Path):
    loaded = _load_the_app(sql_server.DRIVER_FOLDER, sql_server.url(tmp_path / "sql-server.db"))
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert not list(tmp_path.iterdir()), "nothing is opened"


def _load_the_app(modules: Path, url: str) -> subprocess.CompletedProcess[str]:
    settings = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true", "DATABASE_URL": url}
    environment = os.environ | settings | {"PYTHONPATH": f"{modules}:{ROOT}"}
    command = [sys.executable, "-c", "import function_app"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mssql+mssqlpython://server/warden", "mssql-python, which is not installed: run `pip install mssql-python`"),
        ("postgresql+psycopg://server/warden", "psycopg[binary], which is not installed: run `pip install"),
    ],
)
def test_a_package_that_is_not_installed_is_named(url: str, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mssql_python", None)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    database = Database(url)
    for use in (database.load_driver, lambda: database.read(lambda _: None)):
        with pytest.raises(NeverError, match=re.escape(says)):
            use()


def test_microsofts_own_package_loads_its_driver_or_says_what_it_lacks():
    """The genuine one: its ODBC driver needs libraries of the system that are not on every machine."""
    database = Database("mssql+mssqlpython://sa:secret@127.0.0.1:1/warden?Encrypt=no")
    lacks = sql_server_adapter.missing_driver(database.url)
    with pytest.raises(NeverError if lacks else LaterError, match=lacks or "can't be used now"):
        Database(database.url.render_as_string(hide_password=False), connect_args={"timeout": 1}).read(lambda _: None)
