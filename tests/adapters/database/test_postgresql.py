"""How PostgreSQL is reached, itself or through a pooler, and how its errors are taken."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from shared.adapters.database import migrate
from shared.adapters.database.engine import Database
from shared.cli.failures import explain
from shared.ports.errors import LaterError, NeverError, UntilMendedError
from tests.postgres import Postgres

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def scalar(statement: str) -> Callable[[Connection], object]:
    return lambda connection: connection.scalar(text(statement))


def fails_with(code: str, words: str = "no") -> Callable[[Connection], object]:
    """Work that the server itself ends with this SQLSTATE."""
    raises = f"DO $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '{code}'; END $$"
    return lambda connection: connection.execute(text(raises))


# --- its errors ---


@pytest.mark.parametrize(
    "code",
    # A failover, time-outs, trouble of its own, memory and room, being stopped, locks, files.
    [
        "25006",
        "25P03",
        "25P04",
        "XX000",
        "XX001",
        "53100",
        "53200",
        "53300",
        "57014",
        "57P01",
        "57P03",
        "55P03",
        "58030",
    ],
)
def test_a_server_that_is_unwell_is_later_in_its_words_and_its_connections_are_let_go(database: Database, code: str):
    before = database.read(scalar("SELECT pg_backend_pid()"))
    with pytest.raises(LaterError, match=r"can't be used now \(short of breath\)"):
        database.run(fails_with(code, "short of breath"))
    assert database.read(scalar("SELECT pg_backend_pid()")) != before


@pytest.mark.parametrize("code", ["42601", "42P01", "25P02", "23505"])
def test_a_fault_of_ours_is_neither_later_nor_never_and_costs_no_connection(database: Database, code: str):
    before = database.read(scalar("SELECT pg_backend_pid()"))
    with pytest.raises(Exception, match="no") as raised:
        database.run(fails_with(code))
    assert not isinstance(raised.value, (LaterError, NeverError))
    assert database.read(scalar("SELECT pg_backend_pid()")) == before


def test_a_right_that_is_missing_is_waited_for_and_named(database: Database):
    with pytest.raises(UntilMendedError, match="no right here; have the database's owner give this right"):
        database.run(fails_with("42501", "no right here"))


class Refusing:
    """A server, or a pooler, that lets nobody in."""

    def __init__(self, words: str) -> None:
        self.asked = b""
        fields = b"SFATAL\0VFATAL\0CXX000\0M" + words.encode() + b"\0\0"
        self._answer = b"E" + struct.pack("!i", 4 + len(fields)) + fields
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://app:hush@127.0.0.1:{self._listener.getsockname()[1]}/warden?sslmode=disable"

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                self.asked = connection.recv(4096)
                connection.sendall(self._answer)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ('password authentication failed for user "app"', "the user and the password in DATABASE_URL are right"),
        ('role "app" does not exist', "the user and the password in DATABASE_URL are right"),
        ('role "app" is not permitted to log in', "the user and the password in DATABASE_URL are right"),
        ('database "warden" does not exist', "what DATABASE_URL names is there"),
        ('permission denied for database "warden"', "give this right"),
        ('no pg_hba.conf entry for host "10.0.0.4", user "app", database "warden", no encryption', "let the app's"),
        ("unsupported startup parameter: search_path", "the pooler in between"),
    ],
)
def test_who_is_not_let_in_is_told_why_and_what_to_do_and_not_to_wait(words: str, advice: str):
    with pytest.raises(LaterError) as caught:
        Database(Refusing(words).url).read(scalar("SELECT 1"))
    sentence, _ = explain(caught.value)
    assert re.fullmatch(f"the database refuses us: {re.escape(words)}; .*{re.escape(advice)}.*", sentence)
    assert "try again" not in sentence


def test_a_server_that_lets_in_nobody_now_is_asked_again():
    with pytest.raises(LaterError) as caught:
        Database(Refusing("the database system is starting up").url).read(scalar("SELECT 1"))
    assert explain(caught.value)[0] == (
        "the database can't be used now (the database system is starting up); try again in a while"
    )


def test_an_option_of_the_url_that_there_is_not_is_named(postgres_url: str):
    with pytest.raises(UntilMendedError, match=r'invalid connection option "sslmod".*what DATABASE_URL asks for'):
        Database(f"{postgres_url}?sslmod=require").read(scalar("SELECT 1"))


# --- what the URL asks for, and what poolers refuse ---


@pytest.fixture
def url_of_a_schema(postgres: Postgres) -> Iterator[str]:
    postgres.execute("CREATE DATABASE of_many")
    postgres.execute("CREATE SCHEMA warden", "of_many")
    yield f"{postgres.url('of_many')}?options=-csearch_path%3Dwarden"
    postgres.execute("DROP DATABASE of_many WITH (FORCE)")


def test_the_tables_are_made_in_the_schema_that_the_url_names(url_of_a_schema: str):
    database = Database(url_of_a_schema)
    migrate.upgrade(database)
    found = database.read(
        scalar("SELECT string_agg(DISTINCT schemaname, ',') FROM pg_tables WHERE tablename = 'charges'")
    )
    database.close()
    assert found == "warden"


@pytest.mark.parametrize(("query", "expected"), [("", "5min"), ("?options=-cstatement_timeout%3D7s", "7s")])
def test_no_statement_runs_without_end(postgres_url: str, query: str, expected: str):
    database = Database(postgres_url + query)
    for use in (database.read, database.run):
        assert use(scalar("SHOW statement_timeout")) == expected
    database.close()


def test_the_urls_own_time_out_of_connecting_counts(postgres_url: str):
    database = Database(f"{postgres_url}?connect_timeout=4")
    asked = database.read(lambda connection: connection.connection.driver_connection.info.get_parameters())
    database.close()
    assert (asked["connect_timeout"], asked["tcp_user_timeout"]) == ("4", "15000")


def test_a_pooler_is_asked_for_nothing_that_it_refuses(database: Database):
    """PgBouncer refuses `options` at the start, and gives each transaction another session."""
    server = Refusing("no")
    with pytest.raises(LaterError):
        Database(server.url).read(scalar("SELECT 1"))
    assert b"user\0app" in server.asked
    assert b"options" not in server.asked
    for _ in range(20):
        database.read(scalar("SELECT count(*) FROM runs"))
    assert database.read(scalar("SELECT count(*) FROM pg_prepared_statements")) == 0
