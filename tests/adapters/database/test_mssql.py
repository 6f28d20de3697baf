"""SQL Server without a server: its DDL, what it is sent, how its errors are taken.

The contract suites also run on this stand-in (tests/contracts/conftest.py): there every statement of every ledger is
checked against what SQL Server rejects.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, insert, select, text

from shared.adapters.database import migrate
from shared.adapters.database.charges import SqlCharges
from shared.adapters.database.engine import TRIES, Database
from shared.adapters.database.runs import SqlRuns
from shared.adapters.database.tables import charges, metadata, runs
from shared.domain.charges import ChargeSet
from shared.domain.coverage import Reading, ReadPart
from shared.domain.periods import Period
from shared.messages import ScopeTarget
from shared.ports.azure import AZURE
from shared.ports.errors import LaterError, NeverError
from tests.sql_server import DataError, Error, ProgrammingError, Sent, SqlServer, create_statement, faults

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))


@pytest.fixture
def server(tmp_path: Path) -> SqlServer:
    return SqlServer(tmp_path / "sql-server.db")


@pytest.fixture
def database(server: SqlServer) -> Iterator[Database]:
    database = server.database()
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
    (trigger,) = [batch for batch in batches if "CREATE TRIGGER" in batch]
    assert re.sub(r"\s+", " ", trigger).rstrip("; ") == (
        "CREATE TRIGGER audit_is_never_changed ON audit AFTER UPDATE, DELETE AS IF EXISTS (SELECT 1 FROM deleted) "
        "BEGIN THROW 50001, 'rows of the audit are never changed', 1; END"
    )


# --- what is sent --------------------------------------------------------------------------------------------


def a_reading(days: int, groups: int, cost: str = "1.2345678901") -> Reading:
    charge_set = ChargeSet()
    for day in range(1, days + 1):
        for group in range(groups):
            charge_set.add(f"rg-{group}", date(2026, 11, day), "Storage", Decimal(cost), "CAD")
            charge_set.add(f"rg-{group}", date(2026, 11, day), "storage", Decimal(cost), "CAD")
    part = ReadPart(NOVEMBER, charge_set.rounded())
    return Reading(AZURE, SUBSCRIPTION, frozenset(), (part,), NOW, NOVEMBER.start, complete=True)


def inserts(server: SqlServer, table: str) -> list[Sent]:
    return [sent for sent in server.sent if sent.statement.startswith(f"INSERT INTO {table} ")]


def test_charges_are_written_in_few_fast_batches(server: SqlServer, database: Database):
    scope = SqlRuns(database).scope_of("night", "timer", ScopeTarget(subscription_id=SUBSCRIPTION), NOW)
    SqlCharges(database).store(scope.id, a_reading(days=10, groups=600), NOW)
    sent = inserts(server, "charges")
    assert sum(len(one.rows) for one in sent) == 12_000
    assert all(one.many and one.fast for one in sent)
    assert len(sent) <= 6
    kept = database.read(lambda connection: connection.scalar(select(charges.c.billed_cost).limit(1)))
    assert kept == Decimal("1.2345678901")


def test_an_unchanged_second_reading_writes_no_charges(server: SqlServer, database: Database):
    scope = SqlRuns(database).scope_of("night", "timer", ScopeTarget(subscription_id=SUBSCRIPTION), NOW)
    for _ in range(2):
        server.sent.clear()
        SqlCharges(database).store(scope.id, a_reading(days=2, groups=3), NOW)
    assert not [one for one in server.sent if re.match(r"(INSERT INTO|UPDATE|DELETE FROM) charges\b", one.statement)]


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("SELECT a FROM t WHERE (a, b) IN ((?, ?))", "a tuple before IN"),
        ("SELECT a FROM t ORDER BY a NULLS LAST", "NULLS FIRST or LAST"),
        ("SELECT EXISTS (SELECT 1 FROM t) AS x", "EXISTS among the columns"),
        ("SELECT a FROM t ORDER BY a LIMIT 5", "LIMIT"),
        ("INSERT INTO t (a) VALUES (?) ON CONFLICT DO NOTHING", "ON CONFLICT"),
        ("INSERT INTO t (a) VALUES (?) RETURNING a", "RETURNING"),
        ("SELECT a FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT a FROM t WHERE b IS 1", "IS before a value"),
        ("SELECT a || b FROM t", "|| between texts"),
        ("SELECT a FROM t WHERE b = true", "true or false"),
        ("SELECT a FROM t OFFSET 5 ROWS", "OFFSET without ORDER BY"),
        ("SELECT count(*) AS n FROM t GROUP BY my_alias", "GROUP BY an alias: my_alias"),
        ("SELECT sum((SELECT a FROM u)) FROM t", "a subquery inside of an aggregate"),
        ("SELECT t.a > ? AS x FROM t", "a comparison among the columns"),
    ],
)
def test_the_stand_in_sees_what_sql_server_rejects(statement: str, fault: str):
    assert faults(statement) == [fault]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT a FROM t WHERE coalesce(a, b) IN (?, ?) AND b IS NOT NULL",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a)",
        "SELECT CASE WHEN a > b THEN a ELSE b END AS x FROM t WHERE a = 'true'",
        "SELECT mails.run_key, count(*) AS n FROM mails GROUP BY mails.run_key ORDER BY n",
        "SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 2 ROWS ONLY",
    ],
)
def test_the_stand_in_lets_pass_what_sql_server_takes(statement: str):
    assert faults(statement) == []


def test_the_stand_in_counts_parameters():
    assert faults("SELECT a FROM t", list(range(2101))) == ["2101 parameters"]


# --- its errors ----------------------------------------------------------------------------------------------


def failing(error: Error, times: int) -> tuple[list[int], object]:
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


@pytest.mark.parametrize(
    "error",
    [
        Error("08S01", "[08S01] Communication link failure (0) (SQLExecDirectW)"),
        Error("HYT00", "[HYT00] Login timeout expired (0) (SQLDriverConnect)"),
        ProgrammingError("42000", "[42000] Database 'warden' is not currently available. (40613) (SQLDriverConnect)"),
        Error("HY000", "[HY000] The service is currently busy. (40501) (SQLExecDirectW)"),
    ],
    ids=["cut", "login", "moving", "busy"],
)
def test_a_server_out_of_reach_or_unwell_is_later(database: Database, error: Error):
    _, work = failing(error, times=1)
    with pytest.raises(LaterError, match="can't be used now"):
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
