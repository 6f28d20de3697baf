"""The hooks of `azd up`: what they ask of Azure, that they can run twice, and what they say where Azure says no."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from localdev.bicep import INFRA
from shared.adapters.database.engine import Database
from tests.docs import sources
from tests.infra import azd
from tests.infra.azure_cli import AzureCli

sys.path.insert(0, str(INFRA / "hooks"))

import az
import before
import database
import refusals
import running

T_SQL_PARSER = sources.PROJECT.parent / "shared" / "tools" / "tsql-check"
SUBSCRIPTION, OTHER = "99999999-0000-0000-0000-00000000000a", "99999999-0000-0000-0000-00000000000b"
CLIENT = "01234567-89ab-cdef-0123-456789abcdef"
ENVIRONMENT = {
    "AZURE_ENV_NAME": "prod",
    "AZURE_LOCATION": "westeurope",
    "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
    "AZURE_RESOURCE_GROUP": "rg-prod",
    "AZURE_FUNCTION_NAME": "func-x",
    "WARDEN_APP_HOST": "func-x.azurewebsites.net",
    "WARDEN_LOCK_GROUP": "ag-lock-x",
    "WARDEN_IDENTITY_PRINCIPAL_ID": "99999999-0000-0000-0000-00000000000c",
}
NO_RIGHT = (
    "ERROR: (AuthorizationFailed) The client 'anna@example.com' with object id 'x' does not have authorization to "
    "perform action 'Microsoft.Authorization/roleAssignments/write' over scope "
    f"'/subscriptions/{SUBSCRIPTION}' or the scope is invalid."
)


@pytest.fixture
def cli(tmp_path: Path) -> AzureCli:
    return AzureCli(tmp_path / "cli")


@pytest.fixture
def az_in_path(cli: AzureCli, monkeypatch: pytest.MonkeyPatch) -> AzureCli:
    """The program for hooks that are called within this process, with azd's values."""
    monkeypatch.setenv("PATH", str(cli.path), prepend=":")
    for name, text in ENVIRONMENT.items():
        monkeypatch.setenv(name, text)
    return cli


def given(call: list[str]) -> dict[str, object]:
    """The parameters of a deployment."""
    file = json.loads(call[call.index("--parameters") + 1])
    return {name: each["value"] for name, each in file["parameters"].items()}


# --- before anything is made ---

GOOD = {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "EMAIL_OPERATORS": "ops@example.com", "EMAIL_PROVIDER": "sendgrid"}
GOOD |= {"EMAIL_SENDER": "warden@example.com", "MAIL_KEY": "SG.a-secret"}
MAY_ALL = {"value": [{"actions": ["*"], "notActions": []}]}
# Contributor's own.
MAY_NOT = {"value": [{"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]}]}


def test_before_says_nothing_against_values_that_the_app_takes(cli):
    cli.answers("permissions", value=MAY_ALL)
    done = cli.run_hook("before.py", GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "What azd's environment says is what the app takes.\n"


def test_before_says_all_that_is_wrong_at_once_and_never_the_key(cli):
    cli.answers("permissions", value=MAY_NOT)
    wrong = {"EMAIL_SENDER": "", "LOCK_MODE": "sometimes", "EMAIL_OPERATORS": "nobody"}
    done = cli.run_hook("before.py", GOOD | wrong | {"PROJECT_USAGE_CRON": "at night"})
    assert done.returncode == 1
    for name in ("EMAIL_SENDER", "LOCK_MODE", "EMAIL_OPERATORS", "ProjectUsageCRON", "azd env set", "Owner"):
        assert name in done.stderr
    assert "SG.a-secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_before_judges_every_value_that_is_a_setting():
    same = {"EMAIL_SENDER", "EMAIL_OPERATORS", "SMTP_HOST", "LOCK_MODE", "LOCK_STOP_COMPUTE", "LOCK_NEVER"}
    assert same <= before.SAME


SMTP = {"EMAIL_PROVIDER": "smtp", "SMTP_HOST": "mail.example.com", "SMTP_USERNAME": "warden"}


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, None),
        ({"MAIL_KEY": ""}, "SENDGRID_API_KEY"),
        ({"EMAIL_PROVIDER": "smtp"}, "SMTP_HOST"),
        (SMTP, None),
        (SMTP | {"MAIL_KEY": ""}, "SMTP_PASSWORD"),
        ({"EMAIL_SENDER": ""}, "EMAIL_SENDER"),
        ({"LOCK_MODE": "enforce"}, None),
    ],
)
def test_before_asks_for_what_is_missing_and_for_the_key_until_the_vault_may_have_it(values, missing):
    told = before.faults_of_values(GOOD | values)
    assert (told is None) if missing is None else f"{missing} is missing" in str(told)


KEY = "kv-x/secrets/mail-key"


@pytest.mark.parametrize(
    ("refusal", "is_kept"),
    [("", True), ("ERROR: (SecretNotFound) A secret with (name/id) mail-key was not found", False), (NO_RIGHT, True)],
)
def test_before_asks_the_vault_whether_it_has_the_key(az_in_path, monkeypatch, refusal, is_kept):
    """So it is missed where mails went out another way before. Where Azure does not say, nothing is surely wrong."""
    monkeypatch.setenv("WARDEN_VAULT", "kv-x")
    az_in_path.answers(KEY, refusal=refusal)
    told = before.faults_of_values(GOOD | {"MAIL_KEY": ""}, before.key_is_kept)
    assert (told is None) is is_kept
    assert f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-prod/" in az_in_path.asked()[0][4]


def test_the_key_that_before_asks_for_is_the_one_that_the_app_refers_to(installed):
    reference = installed("defaults").settings()["SENDGRID_API_KEY"]
    assert before.KEY_IN_VAULT.partition("?")[0] in reference


def test_where_no_key_is_needed_or_there_is_no_vault_yet_nobody_is_asked(az_in_path, monkeypatch):
    assert "SENDGRID_API_KEY is missing" in str(before.faults_of_values(GOOD | {"MAIL_KEY": ""}, before.key_is_kept))
    monkeypatch.setenv("WARDEN_VAULT", "kv-x")
    for values in (GOOD, GOOD | {"EMAIL_PROVIDER": "acs", "MAIL_KEY": ""}):
        assert before.faults_of_values(values, before.key_is_kept) is None
    assert az_in_path.asked() == []


# Go's strconv.ParseBool, by which azd reads a switch; for all else the template's default counts.
OF_GO = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(("0", "f", "F", "false"), False)
BOOLEANS = sorted(before.PLACES[name] for name, kind in before.TYPES.items() if kind == "bool")


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("said", [*OF_GO, "yes", "on", "y", "tRue", " true", "no", "nonsense"])
def test_a_switch_means_the_same_to_before_azd_and_the_hooks_or_is_refused(monkeypatch, name, said):
    monkeypatch.setenv(name, said)
    told = before.misread({name: said})
    assert (told == {}) is (said in ("true", "false"))
    if told:
        assert told[name] in str(before.faults_of_values(GOOD | {name: said}))
    else:
        assert az.is_on(name) is OF_GO[said]


@pytest.mark.parametrize(
    ("name", "said", "takes"),
    [
        ("DAILY_LOG_GIGABYTES", "0.5", "a whole number"),
        ("DAILY_LOG_GIGABYTES", "5 GB", "a whole number"),
        ("INSTANCE_MEGABYTES", "4GB", "512 or 2048 or 4096"),
        ("INSTANCE_MEGABYTES", "1024", "512 or 2048 or 4096"),
        ("LOCK_MODE", "Enforce", "off or dry-run or enforce"),
        ("SQL_SIZE", "S7", "Basic or S0 or S1 or S2"),
        ("MAIL_KEY", 'pa"ss', 'a line without " and \\'),
        ("MAIL_KEY", "pa\\nss", 'a line without " and \\'),
        ("SUPPORT_CONTACT", 'the "help" desk', 'a line without " and \\'),
        ("EMAIL_REPLY_TO", "a@example.com\nb", 'a line without " and \\'),
        ("WARDEN_ADMINISTRATOR_TYPE", "group", "User or Group or ServicePrincipal"),
    ],
)
def test_what_azd_would_read_as_something_else_is_refused_and_what_it_takes_is_said(name, said, takes):
    told = str(before.faults_of_values(GOOD | {name: said}))
    assert f"{name} takes {takes}" in told
    assert said not in told
    assert "missing" not in told


def test_before_knows_the_parameters_as_the_template_has_them(templates):
    declared = templates("main.bicep")["parameters"]
    assert set(before.PLACES) == set(before.TYPES) == set(declared)
    for name, about in declared.items():
        pattern, _ = before.takes(before.TYPES[name])
        kind, allowed = about["type"].lower(), [str(each) for each in about.get("allowedValues", ())]
        assert all(re.fullmatch(pattern, each) for each in allowed)
        assert (re.fullmatch(pattern, "x") is not None) is (kind in ("string", "securestring") and not allowed)
        assert (re.fullmatch(pattern, "1") is not None) is (kind != "bool" and not allowed)
        assert (re.fullmatch(pattern, "true") is not None) is (kind == "bool" or (kind != "int" and not allowed))


GROUP = {
    "WARDEN_ADMINISTRATOR_ID": "99999999-0000-0000-0000-00000000000d",
    "WARDEN_ADMINISTRATOR_NAME": "platform-team",
}
OWN = {"EMAIL_PROVIDER": "acs", "ACS_DOMAIN": "example.com", "ACS_DOMAIN_VERIFIED": "true"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (GROUP, None),
        (GROUP | {"WARDEN_ADMINISTRATOR_NAME": ""}, "WARDEN_ADMINISTRATOR_NAME is missing"),
        (GROUP | {"WARDEN_ADMINISTRATOR_ID": "platform-team"}, "WARDEN_ADMINISTRATOR_ID takes the object id"),
        ({"AZURE_ENV_NAME": "x" * 64}, None),
        ({"AZURE_ENV_NAME": "prod."}, "ends in a period"),
        ({"WARDEN_STAGING": "true", "AZURE_BUDGETS": "true"}, "two installations"),
        (OWN, None),
        (OWN | {"EMAIL_SENDER": "warden@example.org"}, "an address of ACS_DOMAIN (example.com)"),
        (OWN | {"ACS_DOMAIN": ""}, "an address of ACS_DOMAIN"),
        (OWN | {"ACS_DOMAIN_VERIFIED": "false", "EMAIL_SENDER": ""}, None),
    ],
)
def test_before_judges_what_the_app_knows_nothing_of(values, told):
    found = before.faults_of_values(GOOD | values)
    assert found is None if told is None else told in str(found)


@pytest.mark.parametrize("page", ["README.md", "docs/deployment.md", "docs/operations.md"])
def test_the_docs_ways_to_a_new_environment_are_whole(page):
    """What they set is enough for `azd up`."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", sources.read(page), re.DOTALL | re.MULTILINE)
    ways = [block for block in blocks if "azd env new" in block]
    assert ways
    for way in ways:
        values = {name: text.strip('"') for name, text in re.findall(r"azd env set (\w+) (.+)", way)}
        assert before.faults_of_values(values) is None, way


def test_with_azures_own_mail_and_domain_nothing_needs_to_be_said_of_a_sender():
    assert before.faults_of_values({"EMAIL_OPERATORS": "ops@example.com", "EMAIL_PROVIDER": "acs"}) is None


MAKE, GIVE = before.NEEDED


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        (MAY_ALL["value"], []),
        (MAY_NOT["value"], [GIVE]),
        ([*MAY_NOT["value"], {"actions": ["Microsoft.Authorization/roleAssignments/*"]}], []),
        # Role Based Access Control Administrator alone.
        ([{"actions": ["Microsoft.Authorization/roleAssignments/write", "*/read"], "notActions": []}], [MAKE]),
        ([{"actions": None}], [MAKE, GIVE]),
        ([], [MAKE, GIVE]),
    ],
)
def test_before_sees_which_rights_are_missing(az_in_path, held, missing):
    az_in_path.answers("permissions", value={"value": held})
    assert before.missing_rights(SUBSCRIPTION) == missing


def test_where_no_subscription_is_chosen_yet_before_says_that_it_has_not_looked(cli):
    done = cli.run_hook("before.py", GOOD | {"AZURE_SUBSCRIPTION_ID": ""})
    assert (done.returncode, done.stderr) == (0, "")
    assert "azd knows no subscription yet" in done.stdout


@pytest.mark.parametrize("odd", [None, [], {}, {"value": None}, "text"])
def test_an_answer_that_says_nothing_of_rights_is_told(az_in_path, odd):
    az_in_path.answers("permissions", value=odd)
    with pytest.raises(az.HookError, match="Azure does not say what you may do"):
        before.missing_rights(SUBSCRIPTION)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("#!/bin/sh\necho WARNING", "answers no JSON: WARNING"),
        ("#!/bin/sh\nexit 3", "Azure says: nothing (exit code 3"),
        ("no program", "can't be run: "),
    ],
)
def test_an_azure_cli_that_is_none_is_told(az_in_path, program, told):
    (az_in_path.path / "az").write_text(program, "utf-8")
    with pytest.raises(az.HookError, match=re.escape(told)):
        az.az("account", "show")


def test_without_the_azure_cli_a_hook_says_so(cli, tmp_path):
    done = cli.run_hook("before.py", GOOD | {"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "The Azure CLI (az) is not installed" in done.stderr


# --- the database ---


def test_the_apps_user_is_made_by_its_id_once_and_anew_where_the_identity_is_another():
    drop, create, *roles = database.statements("id-x", CLIENT)
    sid = "0x67452301ab89efcd0123456789abcdef"
    there = "SELECT 1 FROM sys.database_principals WHERE name = N'id-x'"
    assert drop == f"IF EXISTS ({there} AND sid <> {sid}) DROP USER [id-x]"
    assert create == f"IF NOT EXISTS ({there}) CREATE USER [id-x] WITH SID = {sid}, TYPE = E"
    assert roles == [f"ALTER ROLE {role} ADD MEMBER [id-x]" for role in ("db_datareader", "db_datawriter")]


@pytest.mark.skipif(not T_SQL_PARSER.exists(), reason="Microsoft's T-SQL parser is not beside this project")
@pytest.mark.parametrize("name", ["id-x", "an]odd'name"])
def test_the_statements_for_the_apps_user_are_t_sql(tmp_path, name):
    script = tmp_path / "user.sql"
    script.write_text("\nGO\n".join(database.statements(name, CLIENT)), "utf-8")
    done = subprocess.run([T_SQL_PARSER, "--server", "azure", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


class Server:
    """Refuses connections with these texts, one after the other, and then takes them; notes statements."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.statements: list[str] = []
        self.slept: list[float] = []
        self.opened: list[str] = []

    def connect(self) -> Server:
        if self.refusals:
            raise RuntimeError(self.refusals.pop(0))
        return self

    def connected(self) -> object:
        return database.connected(self.connect, self.opened.append, self.slept.append)

    def cursor(self) -> Server:
        return self

    def execute(self, statement: str) -> None:
        self.statements.append(statement)

    def close(self) -> None:
        self.statements.append("close")


PAUSED = "Database 'warden' on server 'sql' is not currently available. Please retry the connection later. (40613)"
OUTSIDE = (
    "Cannot open server 'sql' requested by the login. Client with IP address '203.0.113.7' is not allowed to access "
    "the server. It may take up to five minutes for this change to take effect. (40615)"
)
STRANGER = "Login failed for user '<token-identified principal>'. (18456)"


# What two drivers say of a database that was paused and has not answered in time.
SLOW = (
    "HYT00: [Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired",
    "[08001] [Microsoft][ODBC Driver 18]Unable to complete login process due to delay in login response (258)",
)


@pytest.mark.parametrize("said", [PAUSED, *SLOW, "(40197) The service has encountered an error", "getaddrinfo failed"])
def test_a_database_that_wakes_up_is_waited_for(said):
    server = Server(said, said)
    assert server.connected() is server
    assert len(server.slept) == 2


def test_the_address_that_the_server_names_is_let_in_once_and_waited_for():
    server = Server(OUTSIDE, OUTSIDE, PAUSED)
    assert server.connected() is server
    assert server.opened == ["203.0.113.7"]


def test_a_network_with_two_addresses_is_let_in_from_both(az_in_path):
    other = OUTSIDE.replace("203.0.113.7", "203.0.113.8")
    server = Server(OUTSIDE, other, OUTSIDE, other)
    with database.firewall("rg-prod", "sql-x") as open_to:
        database.connected(server.connect, open_to, server.slept.append)
    made = [
        (call[call.index("--name") + 1], call[call.index("--end-ip-address") + 1]) for call in az_in_path.asked()[:2]
    ]
    assert made == [("azd-deploys-1", "203.0.113.7"), ("azd-deploys-2", "203.0.113.8")]


@pytest.mark.parametrize(("said", "tries"), [(STRANGER, 1), (PAUSED, database.TRIES), (OUTSIDE, database.TRIES)])
def test_a_server_that_refuses_for_good_is_told_in_its_words_and_plain_ones(said, tries):
    server = Server(*[said] * 100)
    with pytest.raises(az.HookError) as refused:
        server.connected()
    assert str(refused.value).startswith(f"Azure says: {said}\n")
    assert len(server.refusals) == 100 - tries


def test_the_users_statements_are_run_one_by_one():
    server = Server()
    database.give_user(server, "id-x", CLIENT)
    assert server.statements == database.statements("id-x", CLIENT)


RULES = [{"name": name} for name in ("AllowAllWindowsAzureIps", "azd-deploys", "azd-deploys-1", "office")]


def test_the_firewall_is_closed_again_whatever_happens(az_in_path):
    """So are rules of a run that was killed; others stay."""
    az_in_path.answers("firewall-rule list", value=RULES)
    with pytest.raises(az.HookError, match="no"), database.firewall("rg-prod", "sql-x") as open_to:
        open_to("203.0.113.7")
        raise az.HookError("no")
    opened, listed, *closed = az_in_path.asked()
    for call, what in zip((opened, listed, *closed), ("create", "list", "delete", "delete"), strict=True):
        assert call[:4] == ["sql", "server", "firewall-rule", what]
        assert call[call.index("--subscription") + 1] == SUBSCRIPTION
        assert call[call.index("--server") + 1] == "sql-x"
    assert opened.count("203.0.113.7") == 2
    assert [call[call.index("--name") + 1] for call in closed] == ["azd-deploys", "azd-deploys-1"]


@pytest.mark.parametrize("refused", ["firewall-rule create", "firewall-rule list", "firewall-rule delete"])
def test_what_went_wrong_first_is_told_whatever_becomes_of_the_firewall(az_in_path, capsys, refused):
    az_in_path.answers(refused, refusal="ERROR: (TooManyRequests) later")
    az_in_path.answers("firewall-rule list", value=RULES)
    first = "TooManyRequests" if "create" in refused else "the true fault"
    with pytest.raises(az.HookError, match=first), database.firewall("rg-prod", "sql-x") as open_to:
        open_to("203.0.113.7")
        raise az.HookError("the true fault")
    assert ("by hand" in capsys.readouterr().err) is ("create" not in refused)


def test_the_tables_are_made_and_made_again_without_harm(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/warden.db"
    for _ in range(2):
        database.upgrade(url, "https://st.queue.core.windows.net")
        assert "are up to date" in capsys.readouterr().out


def test_no_value_that_azd_has_for_the_app_keeps_the_tables_from_being_made(tmp_path, monkeypatch, capsys):
    """Azure alone has them all: EMAIL_PROVIDER acs without ACS_ENDPOINT would be refused here."""
    named = {name for text in azd.written().values() for name, _ in azd.PLACE.findall(text)}
    for name in named - {"AZURE_PRINCIPAL_ID"}:
        monkeypatch.setenv(name, "no value of anything")
    database.upgrade(f"sqlite:///{tmp_path}/warden.db", "https://st.queue.core.windows.net")
    assert "are up to date" in capsys.readouterr().out


def test_the_hook_signs_in_as_azd_lets_itself_in_makes_the_apps_user_then_the_tables_and_shuts_the_door(
    az_in_path, tmp_path, monkeypatch, capsys
):
    """With the driver, and the Python that runs the app's command, in other hands."""
    server, asked = Server(), []
    monkeypatch.setitem(sys.modules, "mssql_python", SimpleNamespace(connect=partial(signed_in, server, asked)))
    monkeypatch.setattr(sys, "executable", str(program_that_notes(tmp_path)))
    monkeypatch.setattr(database.time, "sleep", server.slept.append)
    monkeypatch.delenv("AZURE_TOKEN_CREDENTIALS", raising=False)
    for name, text in OF_THE_DATABASE.items():
        monkeypatch.setenv(name, text)
    az_in_path.answers("firewall-rule list", value=RULES[2:3])
    database.main()
    assert asked == [("Server=sql.x;Database=warden;Authentication=ActiveDirectoryDefault;Encrypt=yes", True)]
    assert server.statements == [*database.statements("id-x", CLIENT), "close"]
    assert (tmp_path / "noted").read_text("utf-8").splitlines() == [
        "-m shared.cli db upgrade",
        "AzureDeveloperCliCredential",
        "mssql+mssqlpython://sql.x/warden?Authentication=ActiveDirectoryDefault",
        "https://st.queue.core.windows.net",
    ]
    assert [(call[3], call[call.index("--server") + 1], call[-1]) for call in named_calls(az_in_path)] == [
        ("list", "sql-x", "rg-prod"),
        ("delete", "sql-x", "azd-deploys-1"),
    ]
    assert "id-x may read and write the rows of warden." in capsys.readouterr().out


OF_THE_DATABASE = {
    "WARDEN_SQL_HOST": "sql.x",
    "WARDEN_SQL_SERVER": "sql-x",
    "WARDEN_SQL_DATABASE": "warden",
    "WARDEN_IDENTITY_NAME": "id-x",
    "WARDEN_IDENTITY_CLIENT_ID": CLIENT,
    "WARDEN_QUEUE_URI": "https://st.queue.core.windows.net",
}


def signed_in(server: Server, asked: list[tuple[str, bool]], wanted: str, autocommit: bool = False) -> Server:
    asked.append((wanted, autocommit))
    return server


def program_that_notes(folder: Path) -> Path:
    """What it is asked, as whom, and where."""
    program = folder / "python"
    queues = "printenv DatahubStorageConnectionString__queueServiceUri"
    program.write_text(
        f'#!/bin/sh\n(echo "$*"; echo "$AZURE_TOKEN_CREDENTIALS"; echo "$DATABASE_URL"; {queues}) > {folder}/noted\n',
        "utf-8",
    )
    program.chmod(0o755)
    return program


def named_calls(cli: AzureCli) -> list[list[str]]:
    """Each with the last of its own arguments at its end: the rule's name, or the group."""
    own = [call[: call.index("--subscription")] for call in cli.asked()]
    return [call if "--name" in call else [*call, call[call.index("--resource-group") + 1]] for call in own]


def test_tables_that_cannot_be_made_are_told(tmp_path):
    with pytest.raises(az.HookError, match="DATABASE_URL"):
        database.upgrade("oracle://x", "https://st.queue.core.windows.net")


@pytest.mark.parametrize("driver", ["mssqlpython", "pyodbc"])
def test_the_database_urls_of_infra_are_understood(installed, driver):
    """Authentication is what both drivers read, whoever writes it large."""
    url = installed("mssqlpython" if driver == "mssqlpython" else "defaults").settings()["DATABASE_URL"]
    understood = Database(url).url
    assert understood.get_driver_name() == driver
    assert (understood.host, understood.database) == ("sql.database.windows.net", "warden")
    assert understood.query["authentication"] == "ActiveDirectoryMsi"
    assert understood.query["UID"] == "99999999-0000-0000-0000-000000000004"


# --- once the app runs ---


def test_a_subscription_gets_the_rights_that_the_switches_need(cli):
    switches = {"LOCK_MODE": "enforce", "LOCK_STOP_COMPUTE": "true"}
    done = cli.run_hook("running.py", ENVIRONMENT | switches)
    assert (done.returncode, done.stderr) == (0, "")
    (call,) = cli.asked()
    assert call[:3] == ["deployment", "sub", "create"]
    assert call[call.index("--subscription") + 1] == SUBSCRIPTION
    assert Path(call[call.index("--template-file") + 1]) == INFRA / "subscriptions.bicep"
    assert given(call) == {
        "principalId": ENVIRONMENT["WARDEN_IDENTITY_PRINCIPAL_ID"],
        "lockMode": "enforce",
        "lockStopCompute": True,
        "azureBudgets": False,
    }


def test_the_hooks_give_templates_the_parameters_that_they_have(cli, templates):
    cli.run_hook("running.py", ENVIRONMENT | {"AZURE_BUDGETS": "true"})
    calls = {Path(call[call.index("--template-file") + 1]).name: given(call) for call in cli.asked()}
    assert {name: set(values) for name, values in calls.items()} == {
        name: set(templates(name)["parameters"]) for name in ("running.bicep", "subscriptions.bicep")
    }


def test_a_deployment_in_a_subscription_has_a_name_of_its_own_in_each_region_and_environment(cli):
    """Azure keeps a name for the region in which it was used first; 64 letters are the most."""
    places = [("prod", "westeurope"), ("prod", "northeurope"), ("staging", "westeurope"), ("x" * 64, "westeurope")]
    for environment, region in places:
        done = cli.run_hook("running.py", ENVIRONMENT | {"AZURE_ENV_NAME": environment, "AZURE_LOCATION": region})
        assert done.returncode == 0
    names = [call[call.index("--name") + 1] for call in cli.asked()]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[\w.()-]{1,64}", name) for name in names)


def test_one_subscription_that_refuses_keeps_no_other_from_its_rights(cli):
    cli.answers(f"--subscription {SUBSCRIPTION}", refusal=NO_RIGHT)
    done = cli.run_hook("running.py", ENVIRONMENT | {"WARDEN_SUBSCRIPTIONS": f"{SUBSCRIPTION}; {OTHER}"})
    assert done.returncode == 1
    assert f"The app may do in {OTHER} what its settings need." in done.stdout
    assert f"The app gets no rights in {SUBSCRIPTION}. Azure says: ERROR: (AuthorizationFailed)" in done.stderr
    assert f"You may not do {GIVE} on /subscriptions/{SUBSCRIPTION}." in done.stderr
    assert "azd hooks run postdeploy" in done.stderr


def test_what_was_refused_is_made_up_for_by_the_next_run(cli):
    cli.answers(f"--subscription {OTHER}", refusal=NO_RIGHT, times=1)
    environment = ENVIRONMENT | {"WARDEN_SUBSCRIPTIONS": f"{SUBSCRIPTION}; {OTHER}"}
    assert [cli.run_hook("running.py", environment).returncode for _ in range(2)] == [1, 0]
    assert len(cli.asked()) == 4


NOT_FOUND = "ERROR: (ResourceNotFound) The Resource 'Microsoft.Web/sites/func-x/functions/BudgetAlert' was not found."


def test_the_action_group_waits_for_the_function_that_it_calls(az_in_path, capsys):
    az_in_path.answers("deployment group", refusal=NOT_FOUND, times=2)
    slept: list[float] = []
    running.lock_group(slept.append)
    assert len(slept) == 2
    create = ["deployment", "group", "create", "--resource-group", "rg-prod"]
    assert [call[:5] for call in az_in_path.asked()] == [create] * 3
    assert "through ag-lock-x" in capsys.readouterr().out


def test_where_the_function_never_comes_the_hook_says_that_the_app_did_not_start(az_in_path):
    az_in_path.answers("deployment group", refusal=NOT_FOUND)
    with pytest.raises(az.RefusedError, match="did not start"):
        running.lock_group(lambda _seconds: None)


def test_an_action_group_that_is_refused_keeps_no_subscription_from_its_rights(cli):
    cli.answers("deployment group", refusal=NO_RIGHT)
    done = cli.run_hook("running.py", ENVIRONMENT | {"AZURE_BUDGETS": "true"})
    assert done.returncode == 1
    assert "The Action Group for Azure's budgets can't be made." in done.stderr
    assert f"The app may do in {SUBSCRIPTION}" in done.stdout


def test_the_hooks_packages_are_the_apps_and_the_tested_driver():
    lines = [line for line in sources.read("infra/hooks/requirements.txt").splitlines() if line[0] != "#"]
    assert lines[0] == "-r ../../requirements.txt"
    assert len(lines) == 4
    assert set(lines[1:]) <= set(sources.read("requirements-dev.txt").splitlines())


def test_what_azd_has_not_set_yet_is_named(cli):
    done = cli.run_hook("running.py", {})
    assert done.returncode == 1
    assert "AZURE_SUBSCRIPTION_ID is not set" in done.stderr


# --- what Azure's refusals mean ---


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (NO_RIGHT, "needs the role Owner"),
        ("(VaultAlreadyExists) The vault name 'kv-x' is already in use.", "az keyvault purge --name"),
        ("A vault with the same name already exists in deleted state.", "az keyvault purge --name"),
        ("(Conflict) Website with given name func-abc already exists.", "A name is taken"),
        ("StorageAccountAlreadyTaken: The storage account named stx is already taken.", "A name is taken"),
        ("The subscription has reached its limit of free databases: FreeLimitDatabaseCount", "SQL_FREE_OFFER false"),
        ("ProvisioningDisabled: Provisioning is restricted in this region.", "azd down --purge"),
        ("QuotaExceeded: the total quota of the region is 0.", "azd down --purge"),
        (
            "InvalidResourceGroupLocation: Invalid resource group location 'northeurope'. The Resource group already "
            "exists in location 'westeurope'.",
            "azd down --purge",
        ),
        (
            "InvalidDeploymentLocation: Invalid deployment location 'northeurope'. The deployment 'subscriptions' "
            "already exists in location 'westeurope'.",
            "--name",
        ),
        (
            "DeploymentActive: Unable to edit or replace deployment 'x': previous deployment is active",
            "wait for its end",
        ),
        (
            "Subscription 99999999 is not registered with the required resource providers, please register with the "
            "resource providers Microsoft.App and retry.",
            "az provider register --namespace Microsoft.App",
        ),
        (
            "InvalidParameterValue: Invalid value given for parameter ExternalAdministratorLoginSid.",
            "does not take this",
        ),
        ("Invalid value given for parameter AzureADOnlyAuthentication. Specify a valid one.", "does not take this"),
        (
            "AadOnlyAuthenticationIsEnabled: Azure Active Directory Only Authentication is enabled.",
            "does not take this",
        ),
        (
            "InaccessibleStorageException: Failed to access storage account for deployment: BlobUploadFailedException: "
            "Response status code does not indicate success: 403",
            "`azd deploy` again",
        ),
        ("RoleAssignmentUpdateNotPermitted: Tenant ID, application ID, principal ID … can't change.", "delete the"),
        ("RoleAssignmentLimitExceeded: No more role assignments can be created.", "as many role assignments"),
        ("ScopeLocked: The scope '/x' cannot perform write operation because following scope(s) are locked", "unlock"),
        ("ReadOnlyDisabledSubscription: The subscription 'x' is disabled", "is disabled"),
        ("(TooManyRequests) The request is being throttled as the limit has been reached", "asks to wait"),
        ("AzureDeveloperCliCredential: Azure Developer CLI could not be found.", "azd is not in the PATH"),
        ("ERROR: Error while attempting to retrieve the latest Bicep version", "az bicep install"),
        (
            "MissingSubscriptionRegistration: The subscription is not registered to use namespace 'Microsoft.Sql'.",
            "az provider register --namespace Microsoft.Sql",
        ),
        ("RequestDisallowedByPolicy: Resource 'stx' was disallowed by policy 'No public storage'.", "policy"),
        ("RoleAssignmentExists: The role assignment already exists.", "has that role already"),
        ("PrincipalNotFound: Principal x does not exist in the directory.", "in a minute"),
        ("ERROR: Please run 'az login' to setup account.", "azd auth login"),
        ("AADSTS700024: Client assertion is not within its valid time range.", "azd auth login"),
        (
            "AzureDeveloperCliCredential: Failed to invoke; DefaultAzureCredential failed to retrieve a token",
            "azd auth login",
        ),
        ("DDBC Error: Failed to load the driver. Please read the documentation", "apt install libltdl7"),
        ("SubscriptionNotFound: The subscription 'x' could not be found.", "az account list"),
        (NOT_FOUND, "did not start"),
        (OUTSIDE, "firewall"),
        (STRANGER, "Sign azd in so"),
        (PAUSED, "waking up"),
        *[(said, "waking up") for said in SLOW],
    ],
)
def test_a_refusal_is_told_in_plain_words(said, meant):
    assert meant in " ".join(refusals.plain(said))


def test_what_is_not_known_is_not_explained():
    assert refusals.plain("InternalServerError: try again") == []


def test_each_refusal_that_the_docs_name_is_known():
    page = sources.read("docs/deployment.md").split("## Where Azure says no")[1].split("\n## ")[0]
    codes = re.findall(r"`([A-Z][A-Za-z]+)`", page)
    assert len(codes) >= 6
    said = "{}: not registered to use namespace 'Microsoft.Sql'"
    assert [code for code in codes if not refusals.plain(said.format(code))] == []
