"""azure.yaml, main.parameters.json and main.bicep agree."""

from __future__ import annotations

import re

from tests.docs import sources
from tests.infra import azd


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
    assert list(hooks) == ["preprovision", "predeploy", "postdeploy"]
    for hook in hooks.values():
        assert hook["kind"] == "python"
        assert sources.read(hook["run"]).startswith('"""')
    assert sources.read("infra/hooks/requirements.txt")


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


def test_what_azd_has_to_be_told_stands_in_the_docs():
    page = sources.read("docs/deployment.md")
    named = {found[1] for text in azd.written().values() if (found := azd.PLACE.fullmatch(text))}
    assert {name for name in named if not re.search(rf"`{name}`", page)} == set()
