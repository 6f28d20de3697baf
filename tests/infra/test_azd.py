"""azure.yaml, main.parameters.json and main.bicep agree."""

from __future__ import annotations

import re

from tests.docs import markdown, sources
from tests.infra import azd
from tests.infra.deployment import ROLES


def test_the_service_of_azure_yaml_is_the_app_that_is_made(deployment):
    services = azd.project()["services"]
    app = deployment.one("Microsoft.Web/sites")
    assert list(services) == [app["tags"]["azd-service-name"]]
    assert services["warden"] == {"project": ".", "language": "py", "host": "function"}


def test_the_template_of_azure_yaml_is_there():
    infra = azd.project()["infra"]
    assert sources.read(f"{infra['path']}/{infra['module']}.bicep")
    assert sources.read(f"{infra['path']}/{infra['module']}.parameters.json")


def test_every_hook_is_a_program_of_infra_hooks():
    hooks = azd.project()["hooks"]
    programs = {name: hook["run"].rpartition("/")[2] for name, hook in hooks.items()}
    assert programs == {"preprovision": "before.py", "predeploy": "database.py", "postdeploy": "running.py"}
    for hook in hooks.values():
        assert hook["kind"] == "python"
        # Else azd takes the environment that is active, and installs nothing into it.
        assert hook["config"] == {"virtualEnvName": "hooks_env"}
        assert sources.read(hook["run"]).startswith('"""')
    assert sources.read("infra/hooks/requirements.txt")
    assert "hooks_env/" in sources.read(".gitignore")


def test_an_azd_that_is_too_old_for_the_hooks_says_so():
    """It has had their environments (`config`) since 1.24.0."""
    assert azd.project()["requiredVersions"] == {"azd": ">= 1.24.0"}
    assert "azd](https://learn.microsoft.com/azure/developer/azure-developer-cli/install-azd) from 1.24.0 on" in (
        sources.read("docs/deployment.md")
    )


def test_the_parameters_are_those_of_the_template(templates):
    declared = templates("main.bicep")["parameters"]
    assert set(azd.written()) == set(declared)


def test_what_counts_without_a_value_is_the_same_in_both(templates):
    """Where the template has no default, azd knows the value or asks for it."""
    declared = templates("main.bicep")["parameters"]
    for name, text in azd.written().items():
        found = azd.PLACE.fullmatch(text)
        assert found, name
        default = declared[name].get("defaultValue")
        usual = None if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert found[2] == usual, name


def test_the_docs_say_of_every_role_where_it_is_needed():
    rows = markdown.table(sources.read("docs/deployment.md"), "role")
    assert sorted(row[0].strip("*") for row in rows) == sorted(role["name"] for role in ROLES.values())
    assert all(len(row) == 3 and row[1] and row[2] for row in rows)


def test_the_docs_command_for_a_further_subscription_is_one_of_the_template(templates):
    page = sources.read("docs/deployment.md")
    command = re.search(r"az deployment sub create (.*?)\n```", page, re.DOTALL)[1]
    given = re.search(r"--parameters (.*)", command)[1].split()
    assert {each.partition("=")[0] for each in given} == set(templates("subscriptions.bicep")["parameters"])


def test_the_table_of_python_worker_and_driver_is_what_is_deployed(installed):
    rows = {row[0]: row[1] for row in markdown.table(sources.read("docs/deployment.md"), "part")}
    site = installed("defaults").one("Microsoft.Web/sites")["properties"]
    assert rows["Python"] == site["functionAppConfig"]["runtime"]["version"]
    pins = dict(
        re.findall(r"^([\w-]+)==(\d+\.\d+)[.\d]*(?: ; python_full_version < '3\.13')?$", both_pins(), re.MULTILINE)
    )
    assert f"`azure-functions` {pins['azure-functions']}" in rows["worker"]
    assert f"`pyodbc` {pins['pyodbc']}" in rows["SQL driver"]
    assert "*ODBC Driver 18 for SQL Server*" in rows["SQL driver"]
    assert "driver=ODBC+Driver+18+for+SQL+Server" in installed("defaults").settings()["DATABASE_URL"]
    assert f"`mssql-python` {pins['mssql-python']}" in rows["where that driver is missing"]


# A package's first two numbers, of those that Python 3.12 takes.
PIN = re.compile(r"^([\w-]+)==(\d+\.\d+)[.\d]*(?: ; python_full_version < '3\.13')?$", re.MULTILINE)


def both_pins() -> str:
    return sources.read("requirements.txt") + sources.read("infra/hooks/requirements.txt")


def test_what_azd_has_to_be_told_stands_in_the_docs():
    page = sources.read("docs/deployment.md")
    named = {found[1] for text in azd.written().values() if (found := azd.PLACE.fullmatch(text))}
    assert {name for name in named if not re.search(rf"`{name}`", page)} == set()
