"""A PostgreSQL server of the tests' own: a folder, a free port, gone with the tests."""

from __future__ import annotations

import copy
import os
import pwd
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

import psycopg
from psycopg import sql

# Nothing here has to outlive a power cut; but commits outlive a server that is stopped at once (synchronous_commit).
CONFIGURATION = """
fsync = off
full_page_writes = off
max_connections = 60
deadlock_timeout = 100ms
"""


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the PATH, or where Debian keeps it."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class Postgres:
    """One server. `start` after `stop` brings it back on the same port with the same data."""

    def __init__(self, folder: Path) -> None:
        binaries = programs()
        if binaries is None:
            raise FileNotFoundError("initdb is not on this machine")
        self._binaries = binaries
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = _free_port()
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._initialise(folder)

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of one of the server's databases."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        self._run("pg_ctl", "start", "-w", "-t", "60", "-D", str(self._data), "-l", str(self._log))

    def stop(self) -> None:
        """Stops the server at once, cutting its connections."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", str(self._data))

    def fail_over(self, folder: Path) -> Postgres:
        """A server of its own, in `folder`, goes on with the data; this one comes back, and is only read from."""
        self._run("pg_ctl", "stop", "-m", "fast", "-w", "-D", str(self._data))
        successor = copy.copy(self)
        successor.port, successor._data, successor._log = _free_port(), folder / "data", folder / "log"
        if self._user:
            _let_in(folder, self._user)
        subprocess.run(["cp", "-a", self._data, successor._data], check=True)
        with (successor._data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"port = {successor.port}\n")
        signal = self._data / "standby.signal"
        signal.touch()
        if self._user:
            _let_in(signal, self._user)
        for server in (successor, self):
            server.start()
        return successor

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Runs a statement outside of a transaction, such as CREATE DATABASE."""
        server = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement))

    def empty(self, database: str, tables: list[str]) -> None:
        """Takes all rows out of these tables; what a killed test left connected is cut off first."""
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        # Without triggers and foreign keys. For the few rows of a test, TRUNCATE takes ten times as long.
        deletions = "; ".join(f"DELETE FROM {table}" for table in tables)
        numbers = "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) FROM pg_sequences"
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others};"
            f"SET session_replication_role = replica; {deletions}; {numbers} WHERE last_value IS NOT NULL",
            database,
        )

    def _initialise(self, folder: Path) -> None:
        if self._user:
            _let_in(folder, self._user)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        sockets = f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n"
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION + sockets)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        if self._user:
            command = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups", *command]
        # The server inherits what it is given: a pipe would keep us waiting for its end.
        finished = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/", check=False)
        if finished.returncode:
            log = self._log.read_text() if self._log.exists() else "no log"
            raise RuntimeError(f"{program} ended with {finished.returncode}: {log[-2000:]}")


def _let_in(folder: Path, user: str) -> None:
    """Gives the folder (or file) to the user, who must also be able to walk to it: pytest's own folders are private."""
    os.chown(folder, pwd.getpwnam(user).pw_uid, -1)


def _free_port() -> int:
    """One that no outgoing connection is given before the server has it: Linux gives those 32768 and above."""
    while True:
        port = SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
