"""The stand-in for SQL Server: it refuses what SQL Server refuses, and behaves as its driver does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic import command
from alembic.util import CommandError
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from shared.adapters.database import migrate
from shared.adapters.database.engine import Database
from shared.adapters.database.tables import accounts
from tests import sql_server
from tests.sql_server.dbapi import Connection, Driver, Error, IntegrityError
from tests.sql_server.t_sql import faults

KEYS = "CREATE TABLE keys (name NVARCHAR(10) COLLATE Latin1_General_100_BIN2 NOT NULL PRIMARY KEY, note NVARCHAR(10))"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """With a table `keys` of two rows."""
    connection = Driver().connect(f"Database={tmp_path / 'server.db'}")
    connection.cursor().execute(KEYS)
    connection.cursor().executemany("INSERT INTO keys (name, note) VALUES (?, ?)", [("a", "One"), ("b", "two")])
    yield connection
    connection.close()


# --- what SQL Server rejects ---------------------------------------------------------------------------------


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
        ("SELECT max(a) AS my_alias, count(*) AS n FROM t GROUP BY my_alias", "GROUP BY an alias: my_alias"),
        ("SELECT t.a, t.b, count(*) AS n FROM t GROUP BY t.a", "neither grouped nor summed up: b"),
        ("SELECT t.a, count(*) AS n FROM t", "neither grouped nor summed up: a"),
        ("SELECT coalesce(a, ?) AS x, count(*) AS n FROM t GROUP BY coalesce(a, ?)", "a value in GROUP BY"),
        ("SELECT DISTINCT a FROM t ORDER BY b", "ORDER BY what DISTINCT does not list: b"),
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


def test_a_key_is_not_compared_with_a_text_that_knows_no_case():
    compared = "SELECT runs.state FROM runs JOIN run_scopes ON {} = run_scopes.run_key"
    assert faults(compared.format("runs.[key]")) == []
    assert faults(compared.format("runs.state")) == [
        "a key compared with another text: runs.state = run_scopes.run_key"
    ]


# --- how its driver behaves ----------------------------------------------------------------------------------


def test_a_statement_waits_until_the_result_before_it_was_read_to_its_end(connection: Connection):
    rows = connection.cursor().execute("SELECT name FROM keys")
    assert rows.fetchone() == ("a",)
    for _ in range(2):
        with pytest.raises(Error, match="Connection is busy with results for another command"):
            connection.cursor().execute("SELECT 1")
        with pytest.raises(Error, match="Connection is busy"):
            connection.commit()
        assert rows.fetchmany(1) in ([("b",)], []), "the end was not seen yet"
    assert connection.cursor().execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("end", ["close", "fetchall"])
def test_a_result_that_is_closed_or_read_whole_is_in_nobodys_way(connection: Connection, end: str):
    rows = connection.cursor().execute("SELECT name FROM keys")
    getattr(rows, end)()
    assert connection.cursor().execute("SELECT 1").fetchone() == (1,)


def test_no_statement_knows_its_rows_after_nocount_until_it_is_off_again(connection: Connection):
    counted = []
    for before in ("SET NOCOUNT OFF", "SET NOCOUNT ON", "SELECT 1", "SET NOCOUNT OFF"):
        connection.cursor().execute(before).close()
        connection.commit()
        counted.append(connection.cursor().execute("UPDATE keys SET note = ?", "x").rowcount)
    assert counted == [2, -1, -1, 2]


def test_keys_differ_by_case_and_not_by_trailing_blanks(connection: Connection):
    insert = "INSERT INTO keys (name, note) VALUES (?, ?)"
    connection.cursor().execute(insert, "A", "three")
    with pytest.raises(IntegrityError, match="2627"):
        connection.cursor().execute(insert, "A ", "four")
    find = "SELECT name FROM keys WHERE {} = ?"
    assert connection.cursor().execute(find.format("name"), "b  ").fetchall() == [("b",)]
    assert connection.cursor().execute(find.format("note"), "ONE ").fetchall() == [("a",)]


def test_a_transaction_sees_what_others_commit_until_it_writes(tmp_path: Path, connection: Connection):
    connection.commit()
    other = Driver().connect(f"Database={tmp_path / 'server.db'}")
    count = "SELECT count(*) FROM keys"
    assert other.cursor().execute(count).fetchall() == [(2,)]
    connection.cursor().execute("DELETE FROM keys")
    assert other.cursor().execute(count).fetchall() == [(2,)]
    connection.commit()
    assert other.cursor().execute(count).fetchall() == [(0,)]
    other.close()


def test_its_url_is_one_that_the_settings_take(tmp_path: Path):
    from shared.settings import DATABASES

    assert sql_server.url(tmp_path).startswith(DATABASES)


# --- the two faults that a real server found, put back -------------------------------------------------------


def test_the_steps_fail_in_a_session_in_which_nocount_stayed_on(tmp_path: Path):
    database = Database(sql_server.url(tmp_path / "empty.db"), module=Driver())
    as_it_was = migrate.MSSQL_LOCK.replace("SET NOCOUNT OFF;\n", "")
    assert as_it_was != migrate.MSSQL_LOCK
    for lock, fails in ((as_it_was, True), (migrate.MSSQL_LOCK, False)):
        with (
            pytest.raises(CommandError, match="-1 found") if fails else nullcontext(),
            database.engine.begin() as begun,
        ):
            assert begun.exec_driver_sql(lock).scalar_one() == 0
            command.upgrade(migrate.alembic_config(connection=begun), "head")
    assert migrate.is_current(database)
    database.close()


def test_the_rows_of_accounts_are_read_before_another_is_asked_for(mssql_template: Path):
    database = Database(sql_server.url(mssql_template), module=Driver())
    with database.engine.connect() as connection:
        keys = [{"provider": "azure", "sub_account_id": each, "suspect_days": 0} for each in ("one", "two")]
        connection.execute(accounts.insert(), keys)
        lazily = (row.sub_account_id for row in connection.execute(select(accounts)))
        with pytest.raises(DBAPIError, match="Connection is busy with results for another command"):
            [connection.scalar(select(accounts).where(accounts.c.sub_account_id == each)) for each in lazily]
        connection.rollback()
    database.close()
