"""Transactions and their errors."""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from shared.adapters.database.engine import TRIES, Database
from shared.adapters.database.failures import without_values
from shared.adapters.database.migrate import see_file
from shared.adapters.database.tables import mails, runs
from shared.ports.errors import LaterError, NeverError
from tests.postgres import Postgres

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def add_run(connection: Connection, key: str) -> None:
    connection.execute(insert(runs).values(key=key, trigger="timer", state="running", started_at=NOW))


def count_runs(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(runs)) or 0


def test_readers_see_what_is_committed(database: Database):
    assert database.reads_snapshots()


def test_a_transaction_that_fails_leaves_nothing(database: Database):
    def fail(connection: Connection) -> None:
        add_run(connection, "one")
        raise RuntimeError("nobody foresaw this")

    with pytest.raises(RuntimeError):
        database.run(fail)
    assert database.read(count_runs) == 0


def test_a_reader_does_not_wait_for_a_writer_and_does_not_see_its_half(database: Database):
    seen = []

    def write(connection: Connection) -> None:
        add_run(connection, "one")
        with ThreadPoolExecutor(1) as reader:
            seen.append(reader.submit(database.read, count_runs).result(10))

    database.run(write)
    assert seen == [0]
    assert database.read(count_runs) == 1


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(database: Database):
    def read_twice(connection: Connection) -> tuple[int, int]:
        before = count_runs(connection)
        with ThreadPoolExecutor(1) as writer:
            writer.submit(database.run, lambda other: add_run(other, "one")).result(10)
        return before, count_runs(connection)

    if database.engine.dialect.name == "mssql":
        pytest.skip("on SQL Server each statement sees its own state")
    assert database.read(read_twice) == (0, 0)


def test_two_inserts_of_one_key_are_one_because_the_second_runs_again(database: Database):
    both = threading.Barrier(2)

    def add_if_missing(connection: Connection) -> None:
        if connection.scalar(select(runs.c.key).where(runs.c.key == "one")) is None:
            add_run(connection, "one")

    def write(_: int) -> None:
        both.wait(10)
        database.run(add_if_missing)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert database.read(count_runs) == 1


def test_a_key_that_stays_taken_is_tried_a_few_times_and_then_an_error(database: Database):
    tries = []
    database.run(lambda connection: add_run(connection, "one"))

    def add_again(connection: Connection) -> None:
        tries.append(1)
        add_run(connection, "one")

    with pytest.raises(IntegrityError):
        database.run(add_again)
    assert len(tries) == TRIES


@pytest.mark.postgres
def test_two_transactions_that_deadlock_both_come_through(postgres_database: Database):
    met = threading.Barrier(2)
    tries = []
    for key in ("a", "b"):
        postgres_database.run(lambda connection, key=key: add_run(connection, key))

    def lock_both(order: str) -> None:
        waited = []

        def work(connection: Connection) -> None:
            tries.append(order)
            for key in order:
                connection.execute(update(runs).where(runs.c.key == key).values(state=order))
                if not waited:
                    waited.append(met.wait(10))

        postgres_database.run(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lock_both, ["ab", "ba"]))
    assert len(tries) > 2


@pytest.mark.postgres
def test_a_server_that_stops_and_comes_back_is_later_and_then_well(postgres: Postgres, postgres_database: Database):
    postgres_database.run(lambda connection: add_run(connection, "one"))
    postgres.stop()
    try:
        for _ in range(2):
            with pytest.raises(LaterError, match="can't be used now"):
                postgres_database.read(count_runs)
            with pytest.raises(LaterError):
                postgres_database.run(lambda connection: add_run(connection, "two"))
    finally:
        postgres.start()
    assert postgres_database.read(count_runs) == 1
    postgres_database.run(lambda connection: add_run(connection, "two"))


@pytest.mark.postgres
def test_a_server_that_stops_within_a_transaction_is_later(postgres: Postgres, postgres_database: Database):
    def stop(connection: Connection) -> None:
        add_run(connection, "one")
        postgres.stop()
        add_run(connection, "two")

    try:
        with pytest.raises(LaterError):
            postgres_database.run(stop)
    finally:
        postgres.start()
    assert postgres_database.read(count_runs) == 0


def test_a_full_pool_is_later(sqlite_url: str):
    database = Database(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with pytest.raises(LaterError, match="connections"):
        database.read(lambda _: database.read(count_runs))
    database.close()


def test_a_faulty_statement_is_neither_later_nor_never(database: Database):
    with pytest.raises(DBAPIError):
        database.read(lambda connection: connection.execute(text("SELECT nothing FROM nowhere")))


@pytest.mark.postgres
def test_no_error_says_what_the_database_was_given(database: Database):
    """A row that may not be so: PostgreSQL would show all of it."""

    def write(connection: Connection) -> None:
        # Not in the line that fails, which the traceback shows.
        row = {"key": "alert/1", "recipients": {"to": ["ann@example.com"]}}
        connection.execute(insert(mails).values(row))

    with pytest.raises(IntegrityError) as caught:
        database.run(write)
    told = "".join(traceback.format_exception(caught.value))
    assert "mails" in told
    assert "ann@example.com" not in told and "alert/1" not in told


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            'null value in column "a" of relation "mails"\nDETAIL:  Failing row contains (1, ann@example.com\n).',
            'null value in column "a" of relation "mails"',
        ),
        (
            'violates unique constraint "u"\nDETAIL:  Key (k)=(ann@example.com) already exists.',
            'violates unique constraint "u"',
        ),
        (
            "invalid input syntax for type numeric: \"ann@example.com\"\nCONTEXT:  portal $1 = 'ann@example.com'",
            "invalid input syntax for type numeric: (not shown)",
        ),
        (
            "[23000] Cannot insert duplicate key row in object 'dbo.mails' with unique index 'u'. The duplicate key "
            "value is (ann@example.com). more (a).). (2601) (SQLExecDirectW)",
            "[23000] Cannot insert duplicate key row in object 'dbo.mails' with unique index 'u'. The duplicate key "
            "value is (not shown). (2601) (SQLExecDirectW)",
        ),
        (
            "would be truncated in table 't', column 'c'. Truncated value: 'ann's@example.com'. (2628)",
            "would be truncated in table 't', column 'c'. Truncated value: (not shown). (2628)",
        ),
        (
            str(("22001", "in table \"t\". Truncated value: 'ann@example.com'. (2628)")),
            "('22001', 'in table \"t\". Truncated value: (not shown). (2628)')",
        ),
        (
            "Conversion failed when converting the nvarchar value 'ann's@example.com' to data type int. (245)",
            "Conversion failed when converting the nvarchar value (not shown) to data type int. (245)",
        ),
        ('password authentication failed for user "warden"', 'password authentication failed for user "warden"'),
        (
            'connection failed: FATAL:  database "w" does not exist',
            'connection failed: FATAL:  database "w" does not exist',
        ),
    ],
)
def test_what_a_server_says_is_kept_but_for_what_it_was_given(said: str, shown: str):
    assert without_values(said) == shown


def test_a_text_that_is_too_long_never_fits(postgres_url: str):
    database = Database(postgres_url)
    with pytest.raises(NeverError, match="doesn't fit"):
        database.run(lambda connection: add_run(connection, "x" * 101))
    database.close()


def test_a_file_that_is_no_database_is_never(tmp_path: Path):
    path = tmp_path / "warden.db"
    path.write_text("id,acronym\n" * 1000)
    with pytest.raises(NeverError, match="no SQLite database"):
        Database(f"sqlite:///{path}").read(count_runs)


def test_threads_that_use_a_file_first_at_once_share_one_engine(sqlite_url: str):
    database = Database(sqlite_url, see_file)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(database.read, [count_runs] * 8)) == [0] * 8
    database.close()


OPEN_AND_ADD = """
import sys
from datetime import UTC, datetime
from sqlalchemy import insert
from shared.adapters.database.engine import Database
from shared.adapters.database.migrate import upgrade
from shared.adapters.database.tables import mails, runs

database = Database(sys.argv[1])
row = {"key": sys.argv[2], "trigger": "manual", "state": "running", "started_at": datetime.now(UTC)}
print("ready", flush=True)
sys.stdin.readline()
upgrade(database)
database.run(lambda connection: connection.execute(insert(runs), [row]))
"""


def test_processes_that_make_a_fresh_file_at_once_all_come_through(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/warden.db"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AND_ADD, url, f"run {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=60)
    assert [process.returncode for process in started] == [0] * 4
    database = Database(url)
    assert database.read(count_runs) == 4
    database.close()
