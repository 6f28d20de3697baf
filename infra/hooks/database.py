"""Before the new code is deployed: the app's user in the database, and the tables, as they are to be. Runs again well.

The user is made by the identity's id, not by its name: a server looks a name up in Entra, for which it would need a
right in the directory when a pipeline deploys. It may read and write rows, and nothing else.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import az

sys.path.insert(0, str(az.PROJECT))

from shared import settings

# While this hook runs, the server lets this machine's addresses in under this name, with a number each.
RULE = "azd-deploys"
OTHER_ADDRESS = re.compile(r"Client with IP address '([0-9a-fA-F.:]+)' is not allowed")
# What passes: a paused database wakes up within a minute or two, and lets sign-ins run out meanwhile; a firewall's rule
# counts within five; a server that was just made has no address yet; Azure moves a database, or is busy.
PASSING = re.compile(
    r"\b(40613|42119|40197|40501|49918|10053|10054|10060|HYT00|HYT01)\b|\(258\)|is not currently available|"
    r"is not allowed to access|(?i:login timeout|getaddrinfo|name or service not known|no such host)"
)
TRIES = 20
SECONDS_BETWEEN = 15

Connect = Callable[[], Any]
Sleep = Callable[[float], None]


def statements(user: str, client_id: str) -> list[str]:
    """What makes the app's user: nothing where it is there, anew where its identity is another than it was."""
    quoted, text = user.replace("]", "]]"), user.replace("'", "''")
    sid = f"0x{UUID(client_id).bytes_le.hex()}"
    # Names and ids are azd's own; in such statements there are no parameters.
    there = f"SELECT 1 FROM sys.database_principals WHERE name = N'{text}'"  # noqa: S608
    return [
        f"IF EXISTS ({there} AND sid <> {sid}) DROP USER [{quoted}]",
        f"IF NOT EXISTS ({there}) CREATE USER [{quoted}] WITH SID = {sid}, TYPE = E",
        f"ALTER ROLE db_datareader ADD MEMBER [{quoted}]",
        f"ALTER ROLE db_datawriter ADD MEMBER [{quoted}]",
    ]


def connected(connect: Connect, open_to: Callable[[str], None], sleep: Sleep = time.sleep) -> Any:
    """A connection, once the database is awake and the server lets this address in.

    open_to: has the server let an address in. Raises HookError.
    """
    opened: set[str] = set()
    for attempt in range(TRIES):
        try:
            return connect()
        except Exception as error:
            said = str(error)
            blocked = OTHER_ADDRESS.search(said)
            # Behind some networks each try may come from another address.
            if blocked and blocked[1] not in opened:
                open_to(blocked[1])
                opened.add(blocked[1])
            elif not PASSING.search(said) or attempt == TRIES - 1:
                raise az.refused(said) from error
        sleep(SECONDS_BETWEEN)
    raise AssertionError("unreachable: the last try returns or raises")


def give_user(connection: Any, user: str, client_id: str) -> None:
    """Makes the app's user. Raises HookError."""
    try:
        cursor = connection.cursor()
        for statement in statements(user, client_id):
            cursor.execute(statement)
    except Exception as error:
        raise az.refused(str(error)) from error


def upgrade(database_url: str, queue_uri: str) -> None:
    """Brings the tables up to date with the app's own command. Raises HookError."""
    named = {"DATABASE_URL": database_url, "DatahubStorageConnectionString__queueServiceUri": queue_uri}
    command = [sys.executable, "-m", "shared.cli", "db", "upgrade"]
    # In a folder without local.settings.json.
    with TemporaryDirectory() as folder:
        where = _without_settings() | named | {"PYTHONPATH": str(az.PROJECT)}
        done = subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise az.refused(done.stderr or done.stdout)
    print(done.stdout.strip())


def _without_settings() -> dict[str, str]:
    """The environment without azd's values for the app: they are whole in Azure only. AZURE_… is the sign-in here."""
    of_the_app = {name.lower() for name in settings.setting_names() if not name.startswith("AZURE_")}
    return {name: text for name, text in os.environ.items() if name.lower() not in of_the_app}


@contextmanager
def firewall(group: str, server: str) -> Iterator[Callable[[str], None]]:
    """Lets addresses in; when all is done, no more, nor those of a run that was killed."""
    place = ("--resource-group", group, "--server", server)
    numbers = itertools.count(1)

    def open_to(address: str) -> None:
        range_of_one = ("--start-ip-address", address, "--end-ip-address", address)
        az.az("sql", "server", "firewall-rule", "create", *place, "--name", f"{RULE}-{next(numbers)}", *range_of_one)

    try:
        yield open_to
    finally:
        _close(place)


def _close(place: Sequence[str]) -> None:
    """What is refused here is told, and hides nothing that went wrong before."""
    try:
        for rule in az.az("sql", "server", "firewall-rule", "list", *place) or ():
            if rule["name"].startswith(RULE):
                az.az("sql", "server", "firewall-rule", "delete", *place, "--name", rule["name"])
    except az.HookError as error:
        print(f"Delete the rules {RULE}-… of the database server's firewall by hand. {error}", file=sys.stderr)


def main() -> None:
    """Raises HookError."""
    import mssql_python

    # Whoever azd is signed in as is the server's administrator, not whoever else is signed in here.
    os.environ.setdefault("AZURE_TOKEN_CREDENTIALS", "AzureDeveloperCliCredential")
    host, database = az.value("WARDEN_SQL_HOST"), az.value("WARDEN_SQL_DATABASE")
    user = az.value("WARDEN_IDENTITY_NAME")
    wanted = f"Server={host};Database={database};Authentication=ActiveDirectoryDefault;Encrypt=yes"
    with firewall(az.value("AZURE_RESOURCE_GROUP"), az.value("WARDEN_SQL_SERVER")) as open_to:
        connection = connected(lambda: mssql_python.connect(wanted, autocommit=True), open_to)
        give_user(connection, user, az.value("WARDEN_IDENTITY_CLIENT_ID"))
        connection.close()
        print(f"{user} may read and write the rows of {database}.")
        url = f"mssql+mssqlpython://{host}/{database}?Authentication=ActiveDirectoryDefault"
        upgrade(url, az.value("WARDEN_QUEUE_URI"))


if __name__ == "__main__":
    sys.exit(az.run(main))
