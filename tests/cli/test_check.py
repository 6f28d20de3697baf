"""`db upgrade` and `check`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook
from shared.composition import Composition
from tests import sql_server
from tests.adapters.mail.servers import AcsServer, acs_fault
from tests.cli.commands import DIE1, FIRST, SECOND, Cli, write_csv
from tests.conftest import MSSQL_SERVER
from tests.postgres import Postgres

on_the_stand_in = pytest.mark.skipif(bool(MSSQL_SERVER), reason="`import pyodbc` finds the driver, not the stand-in")


def test_the_tables_are_made_and_stay_as_they_are(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///new/fresh.db")
    for _ in range(2):
        outcome = cli("db", "upgrade")
        assert (outcome.code, outcome.err) == (0, "")
        assert "sqlite:///new/fresh.db are up to date" in outcome.out


def test_a_mistyped_database_makes_no_file_and_no_folder_but_where_one_is_asked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///mistyped/warden.db")
    for command in (["projects", "list"], ["check"], ["run"], ["status"], ["dead-letters", "list"]):
        outcome = cli(*command)
        assert outcome.code == 1
        assert "there is no database mistyped/warden.db: give DATABASE_URL the right file" in outcome.out + outcome.err
        assert not Path("mistyped").exists()
    assert "Made the database mistyped/warden.db." in cli("projects", "load", write_csv(DIE1)).out
    assert "Made the database" not in cli("projects", "load", write_csv(DIE1)).out
    assert cli("projects", "list").code == 0


@pytest.fixture
def fresh(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, in which the role `app` may make no tables, as in PostgreSQL 15 and later."""
    postgres.execute("CREATE DATABASE fresh")
    postgres.execute("CREATE ROLE app LOGIN")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "fresh")
    yield postgres.url("fresh")
    postgres.execute("DROP DATABASE fresh WITH (FORCE)")
    postgres.execute("DROP ROLE app")


@pytest.mark.postgres
def test_who_may_not_make_tables_is_not_sent_in_a_circle(cli: Cli, fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", fresh.replace("postgres@", "app@"))
    outcome = cli("db", "upgrade")
    assert (outcome.code, outcome.err) == (
        1,
        "error: the database refuses us: permission denied for schema public; "
        "have the database's owner give this right to the user of DATABASE_URL\n",
    )


@pytest.mark.postgres
def test_tables_that_others_have_made_are_named_by_the_upgrade(
    cli: Cli, fresh: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("CREATE TABLE charges (id integer)", "fresh")
    monkeypatch.setenv("DATABASE_URL", fresh)
    outcome = cli("db", "upgrade")
    assert (outcome.code, outcome.err) == (
        1,
        'error: the tables can\'t be made: the database says: relation "charges" already exists\n',
    )


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_named_by_every_command(
    cli: Cli, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres.url("elsewhere"))
    said = 'the database refuses us: database "elsewhere" does not exist; see that what DATABASE_URL names is there'
    for command in (["db", "upgrade"], ["projects", "list"], ["status"]):
        assert cli(*command).err == f"error: {said}\n"
    found = {finding["part"]: finding["text"] for finding in cli("check", "--json").json}
    assert found["database"] == said
    assert "az login" not in found["Azure"]


@pytest.fixture
def simulator(cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureSimulator]:
    """Azure, with costs of the one project that is loaded."""
    cli("projects", "load", write_csv(DIE1))
    charge = Charge(FIRST, "die1-dev", "VM", date(2026, 11, 19), "CAD", Decimal(7))
    with AzureSimulator(ChargeBook([charge])) as running:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", running.url)
        yield running


@pytest.mark.usefixtures("simulator")
def test_the_check_is_good_where_all_is_there(cli: Cli) -> None:
    outcome = cli("check")
    parts = ("settings", "database", "queues", "Azure", "costs", "accounts", "mail", "lock")
    assert [line.split()[:2] for line in outcome.out.splitlines()] == [[part, "✓"] for part in parts], outcome.out
    assert (outcome.code, outcome.err) == (0, "")


def test_the_check_says_what_to_do_where_something_is_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("projects", "load", write_csv(DIE1))
    monkeypatch.setenv("EMAIL_OPERATORS", "")
    with AzureSimulator(ChargeBook([])) as simulator:
        simulator.fault("forbidden", times=None)
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        outcome = cli("check", "--json")
    assert outcome.code == 1
    found = {finding["part"]: finding for finding in outcome.json}
    assert [part for part in found if not found[part]["ok"]] == ["queues", "Azure", "mail"]
    assert "Storage Queue Data Contributor" in found["queues"]["text"]
    assert "Cost Management Reader" in found["Azure"]["text"]
    assert found["costs"]["warning"] == f"Azure does not tell it what it may do in {FIRST} (DIE1)"
    assert "EMAIL_OPERATORS is empty" in found["mail"]["text"]


def test_the_check_names_the_role_that_is_missing(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(DIE1))
    monkeypatch.setenv("LOCK_MODE", "enforce")
    charge = Charge(FIRST, "die1-dev", "VM", date(2026, 11, 19), "CAD", Decimal(7))
    with AzureSimulator(ChargeBook([charge])) as simulator:
        simulator.groups.add(FIRST, "die1-prod")
        simulator.permissions.allow(FIRST, "*/read")
        simulator.permissions.allow(FIRST, "Microsoft.Authorization/locks/*", group="die1-dev")
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", simulator.url)
        outcome = cli("check")
    assert outcome.code == 1
    (bad,) = [line for line in outcome.out.splitlines() if "✗" in line]
    assert bad.split() == [
        *("locks", "✗", "the", "app's", "identity", "lacks", "the", "role", "Locks", "Contributor", "in"),
        *("die1-prod", "of", FIRST, "(DIE1):", "it", "may", "not", "do"),
        *("Microsoft.Authorization/locks/delete,", "Microsoft.Authorization/locks/write", "there"),
    ]


def test_the_check_looks_at_the_roles_of_the_identity_that_is_named(cli: Cli, simulator: AzureSimulator) -> None:
    simulator.permissions.allow(FIRST, "Microsoft.Web/*")
    outcome = cli("check", "--identity", SECOND)
    asked = [request.target for request in simulator.record.requests()]
    assert outcome.code == 1
    assert "the app's identity lacks the role Cost Management Reader" in " ".join(outcome.out.split())
    assert any("roleAssignments" in path for path in asked)
    assert not any("permissions" in path for path in asked)
    assert cli("check", "--identity", "id-x").code == 2


def test_a_mail_is_sent_to_whoever_asks_for_one(cli: Cli, queue_names: dict[str, str]) -> None:
    outcome = cli("check", "--send-mail", "ann@example.com")
    assert outcome.code == 0
    assert "test mail  ✓ outbox has taken one for ann@example.com" in outcome.out
    (file,) = Path(".local/outbox").glob("*.eml")
    assert "To: ann@example.com" in file.read_text()
    assert cli("check", "--send-mail", "ann").code == 1


def test_the_check_signs_in_at_azures_mail_service(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = AcsServer()
    for name, value in {"PROVIDER": "acs", "SENDER": "warden@example.com"}.items():
        monkeypatch.setenv(f"EMAIL_{name}", value)
    monkeypatch.setenv("ACS_ENDPOINT", server.endpoint)
    assert "✓ by acs: Azure Communication Services takes our sign-in" in cli("check").out
    server.answer = acs_fault(401, "Denied", "no")
    assert "✗ Azure Communication Services refuses us: 401 (Denied) no; see that the app's" in cli("check").out
    server.stop()


def test_the_check_tells_of_the_lock_queue_and_what_happens_at_100_percent(
    cli: Cli, queue_names: dict[str, str]
) -> None:
    found = {finding["part"]: finding for finding in cli("check", "--json").json}
    assert queue_names["QueueProjectLock"] in found["queues"]["text"]
    lock = found["lock"]
    assert (lock["ok"], lock["warning"]) == (True, None)
    assert lock["text"].startswith("LOCK_MODE is dry-run: at 100 % it is only written down")


def test_the_check_warns_where_azure_has_nobody_to_call(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCK_MODE", "enforce")
    outcome = cli("check")
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("lock")]
    assert line.split()[1] == "!"
    assert "LOCK_MODE is enforce: projects are locked at 100 % (ReadOnly)" in line
    assert "LOCK_ACTION_GROUP_ID is missing" in line
    # A warning is no failure.
    assert outcome.code == 0
    group = "/subscriptions/{}/resourceGroups/ops/providers/Microsoft.Insights/actionGroups/lock"
    monkeypatch.setenv("LOCK_ACTION_GROUP_ID", group.format(FIRST))
    (line,) = [line for line in cli("check").out.splitlines() if line.startswith("lock")]
    assert line.split()[1] == "✓"


def test_the_check_tells_of_every_faulty_setting(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COST_LOOKBACK_DAYS", "many")
    monkeypatch.setenv("EMAIL_PROVIDER", "pigeon")
    outcome = cli("check")
    assert outcome.code == 1
    assert outcome.out.startswith("settings  ✗ ")
    assert "COST_LOOKBACK_DAYS" in outcome.out
    assert "EMAIL_PROVIDER" in outcome.out


def test_the_check_warns_of_a_setting_that_is_not_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_OPERATOR", "me@example.com")
    (line,) = [line for line in cli("check").out.splitlines() if line.startswith("settings")]
    assert line.split()[1] == "!"
    assert line.endswith("; EMAIL_OPERATOR is not read: its name is EMAIL_OPERATORS.")


@pytest.mark.postgres
def test_a_database_without_tables_is_told_how_to_get_them(
    cli: Cli, postgres_url: str, app: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.adapters.database.engine import Database
    from shared.adapters.database.tables import metadata

    database = Database(postgres_url)
    metadata.drop_all(database.engine)
    database.run(lambda connection: connection.exec_driver_sql("DROP FUNCTION refuse_change_of_audit"))
    database.run(lambda connection: connection.exec_driver_sql("DROP TABLE alembic_version"))
    database.close()
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    for command in (["projects", "list"], ["check"]):
        outcome = cli(*command)
        assert outcome.code == 1
        assert "python -m shared.cli db upgrade" in outcome.out + outcome.err
    assert cli("db", "upgrade").code == 0
    assert cli("projects", "list").code == 0


@on_the_stand_in
def test_sql_server_is_asked_whether_its_readers_wait_for_writers(
    cli: Cli, queue_names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyodbc

    monkeypatch.setenv("DATABASE_URL", sql_server.url(tmp_path / "sql-server.db"))
    cli("db", "upgrade")
    for is_on in (True, False):
        monkeypatch.setattr(pyodbc, "snapshots", is_on)
        (line,) = [line for line in cli("check").out.splitlines() if line.startswith("database")]
        assert (line.split()[1], "READ_COMMITTED_SNAPSHOT is off" in line) == ("✓" if is_on else "!", not is_on)


@on_the_stand_in
def test_a_missing_driver_is_said_in_one_sentence_and_not_waited_for(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyodbc

    monkeypatch.setenv("DATABASE_URL", "mssql+pyodbc://warden.example/warden?driver=ODBC+Driver+18+for+SQL+Server")
    missing = "[01000] [unixODBC][Driver Manager]Can't open lib 'ODBC Driver 18 for SQL Server' : file not found (0)"
    monkeypatch.setattr(pyodbc, "refuses", pyodbc.Error("01000", missing))
    for command in (["check"], ["projects", "list"], ["db", "upgrade"]):
        outcome = cli(*command)
        said = outcome.out + outcome.err
        assert outcome.code == 1
        assert "ODBC Driver 18 for SQL Server', which DATABASE_URL names, is not on this machine: install" in said
        assert "again" not in said


def rates_line(cli: Cli) -> dict[str, object] | None:
    return next((each for each in cli("check", "--json").json if each["part"] == "rates"), None)


def test_exchange_rates_are_looked_at_where_they_are_used(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("db", "upgrade")
    assert rates_line(cli) is None
    monkeypatch.setenv("CURRENCY_CONVERSION", "ecb")
    none_yet = rates_line(cli)
    assert none_yet is not None and none_yet["ok"] is True
    assert "there are no exchange rates yet" in str(none_yet["warning"])
    monkeypatch.setenv("REPORTING_CURRENCY", "CAD")
    for day, warns in (("2026-10-30", True), ("2026-11-19", False)):
        Path("rates.csv").write_text(f"Date,USD,CAD,\n{day},1.1172,1.5606,\n")
        cli("rates", "update", "--file", "rates.csv")
        found = rates_line(cli)
        assert found is not None and bool(found["warning"]) is warns
        assert f"the newest rates are of {day}; totals over projects are in CAD" in str(found["text"])


@pytest.mark.parametrize(("currency", "ok"), [("XYZ", False), ("AED", False), ("EUR", True), ("BGN", True)])
def test_a_reporting_currency_without_rates_is_found(
    cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch, currency: str, ok: bool
) -> None:
    cli("db", "upgrade")
    monkeypatch.setenv("CURRENCY_CONVERSION", "ecb")
    monkeypatch.setenv("REPORTING_CURRENCY", currency)
    Path("rates.csv").write_text("Date,USD,CAD,\n2026-11-19,1.1172,1.5606,\n")
    cli("rates", "update", "--file", "rates.csv")
    found = rates_line(cli)
    assert found is not None and found["ok"] is ok
    if not ok:
        assert f"REPORTING_CURRENCY is {currency}, of which there are no rates; it takes EUR or one of CAD, USD" in str(
            found["text"]
        )
        cli("rates", "set", "CAD", currency, "2", "--from", "2026-04-01", "--to", "2027-03-31", "--reason", "year")
        fixed = rates_line(cli)
        assert fixed is not None and fixed["ok"] is True


def test_a_reporting_currency_that_is_none_or_without_conversion_is_a_fault_of_the_settings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORTING_CURRENCY", "euros")
    assert "REPORTING_CURRENCY is not right. It takes the currency of totals over projects" in cli("check").out
    monkeypatch.setenv("REPORTING_CURRENCY", "EUR")
    assert "REPORTING_CURRENCY is set, and CURRENCY_CONVERSION is off" in cli("check").out
