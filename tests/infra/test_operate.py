"""A command of the app on what is in Azure: with the app's settings, and a person's sign-in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localdev.bicep import INFRA
from shared import settings
from tests.infra.azure_cli import AzureCli

sys.path.insert(0, str(INFRA / "hooks"))

import az
import operate

AZD = {
    "AZURE_SUBSCRIPTION_ID": "99999999-0000-0000-0000-00000000000a",
    "AZURE_RESOURCE_GROUP": "rg-prod",
    "AZURE_FUNCTION_NAME": "func-x",
    "WARDEN_SQL_HOST": "sql.database.windows.net",
    "WARDEN_SQL_DATABASE": "warden",
    # azd's own word for what the app has as a setting.
    "EMAIL_PROVIDER": "smtp",
}
# What a developer has tried here before, after the README.
LOCAL = '{"Values": {"DatahubStorageConnectionString": "UseDevelopmentStorage=true", "LOCK_MODE": "off"}}'


@pytest.fixture
def cli(tmp_path: Path) -> AzureCli:
    made = AzureCli(tmp_path / "cli")
    made.azd(AZD)
    return made


def asked(name: str, value: str) -> dict[str, object]:
    return {"name": name, "value": value, "slotSetting": False}


def refuse(_address: str) -> str:
    raise az.HookError("no")


def test_every_way_of_deploying_can_be_operated_by_a_person(installed, way, monkeypatch):
    """The app's settings, and no identity's; whether the vault tells its key or not."""
    for name, text in AZD.items():
        monkeypatch.setenv(name, text)
    there = {name: text for name, text in installed(way).settings().items() if name in settings.setting_names()}
    for secret in (lambda _address: "SG.a-secret", refuse):
        read = settings.load(operate.for_a_person(there, secret))
        assert (read.client_id, read.storage_client_id, read.application_insights) == (None, None, None)
        assert read.lock_mode == there["LOCK_MODE"]
        assert read.email_operators == ("ops@example.com", "on.call@example.com")
        assert "mssqlpython" in read.database_url.get_secret_value()
        has_key = there["SENDGRID_API_KEY"] or there["SMTP_PASSWORD"]
        assert read.email_provider == ("outbox" if secret is refuse and has_key else there["EMAIL_PROVIDER"])


def test_a_command_is_run_as_the_app_is_set_whatever_lies_in_the_folder(cli, tmp_path):
    cli.answers(
        "appsettings list",
        value=[
            asked("DatahubStorageConnectionString__queueServiceUri", "https://st.queue.core.windows.net"),
            asked("EMAIL_PROVIDER", "outbox"),
            asked("LOCK_MODE", "enforce"),
            asked("LOCK_NEVER", "two words"),
            asked("FUNCTIONS_OWN", "not ours"),
        ],
    )
    (tmp_path / "local.settings.json").write_text(LOCAL, "utf-8")
    done = cli.run_hook("operate.py", {}, "db", "upgrade", folder=tmp_path)
    assert done.returncode != 0
    # All that is wrong: what Azure has, and neither what lies here nor azd's own value.
    assert "LOCK_NEVER is not right" in done.stderr
    assert done.stderr.count("\n  - ") == 1, done.stderr


@pytest.mark.parametrize("check", [["check"], ["check", "--json"], ["--debug", "check"]])
def test_check_looks_at_the_roles_of_the_apps_identity(monkeypatch, check):
    monkeypatch.setenv("WARDEN_IDENTITY_PRINCIPAL_ID", "an-identity")
    assert operate.as_meant(check) == [*check, "--identity", "an-identity"]


@pytest.mark.parametrize(
    "command",
    [
        ["check", "--identity", "another"],
        ["check", "--identity=another", "--json"],
        ["--debug", "check", "--identity=another"],
        ["mails", "list"],
        ["projects", "list", "--search", "check"],
        ["--help"],
        [],
    ],
)
def test_other_commands_and_a_check_of_another_identity_are_run_as_they_are(command):
    assert operate.as_meant(command) == command


def test_the_identity_reaches_the_command(cli, tmp_path):
    """One that is none is refused before anybody is asked."""
    cli.azd(AZD | {"WARDEN_IDENTITY_PRINCIPAL_ID": "none"})
    done = cli.run_hook("operate.py", {}, "check", folder=tmp_path)
    assert (done.returncode, "--identity takes the object id" in done.stderr) == (2, True), done.stderr


def test_without_azd_or_its_environment_that_is_said(cli, tmp_path):
    (cli.path / "azd").write_text("#!/bin/sh\necho ERROR: no environment exists >&2; exit 1", "utf-8")
    done = cli.run_hook("operate.py", {}, "status", folder=tmp_path)
    assert (done.returncode, "azd has no environment here: ERROR: no environment exists" in done.stderr) == (1, True)
