"""The compiler, once for all tests of infra/, and what it works out for each way of deploying."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localdev.bicep import INFRA, Bicep, BicepError, find
from tests.infra import azd
from tests.infra.deployment import Deployment

A_GROUP = "99999999-0000-0000-0000-00000000000d"
MAIL = {"EMAIL_SENDER": "warden@example.com"}
ENFORCE = MAIL | {"LOCK_MODE": "enforce"}
# Values of azd's environment, by what they are for.
WAYS: dict[str, dict[str, str]] = {
    "defaults": MAIL,
    "enforce": ENFORCE,
    "compute": ENFORCE | {"LOCK_STOP_COMPUTE": "true"},
    "budgets": MAIL | {"AZURE_BUDGETS": "true"},
    "acs": {"EMAIL_PROVIDER": "acs", "ACS_DATA_LOCATION": "Canada"},
    "acs until its domain is verified": MAIL | {"EMAIL_PROVIDER": "acs", "ACS_DOMAIN": "example.com"},
    "acs with a domain": MAIL | {"EMAIL_PROVIDER": "acs", "ACS_DOMAIN": "example.com", "ACS_DOMAIN_VERIFIED": "true"},
    "smtp": MAIL | {"EMAIL_PROVIDER": "smtp", "SMTP_HOST": "mail.example.com", "SMTP_USERNAME": "warden"},
    "larger": MAIL | {"SQL_SIZE": "S1"},
    "free offer": MAIL | {"SQL_FREE_OFFER": "true"},
    "mssqlpython": MAIL | {"SQL_DRIVER": "mssqlpython"},
    "exports": MAIL | {"COST_EXPORT_STORAGE": "own", "COST_EXPORT_EVENTS": "true"},
    "signed in": MAIL | {"WEB_CLIENT_ID": "55555555-0000-0000-0000-00000000000c"},
    "with the key": MAIL | {"MAIL_KEY": "SG.a-secret"},
    "from a pipeline": MAIL | {"AZURE_PRINCIPAL_TYPE": "ServicePrincipal"},
    "for a group": MAIL | {"WARDEN_ADMINISTRATOR_ID": A_GROUP, "WARDEN_ADMINISTRATOR_NAME": "platform-team"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process has them all: the compiler takes three seconds to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("infra"))


@pytest.fixture(scope="session")
def bicep() -> Iterator[Bicep]:
    program = find()
    if program is None:
        reason = "there is no Bicep compiler, in the PATH or in ../shared/tools: what infra/ would deploy is not tested"
        if os.environ.get("REQUIRE_BICEP"):
            pytest.fail(f"{reason}, and REQUIRE_BICEP asks for it")
        pytest.skip(reason)
    with Bicep(program) as running:
        yield running


@pytest.fixture(scope="session")
def templates(bicep: Bicep) -> Callable[[str], dict[str, Any]]:
    """The ARM template of a file of infra/, by its name."""
    made: dict[str, dict[str, Any]] = {}

    def template(name: str) -> dict[str, Any]:
        if name not in made:
            said, contents = bicep.compile(INFRA / name)
            assert contents is not None, said
            made[name] = contents
        return made[name]

    return template


@pytest.fixture(scope="session")
def deploy(
    bicep: Bicep, templates: Callable[[str], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Deployment]:
    """What a file of infra/ would deploy with these parameters, as texts, in a subscription or a resource group."""
    folder = tmp_path_factory.mktemp("parameters")

    def deployment(name: str, values: Mapping[str, str], **where: str) -> Deployment:
        kinds = {each: about["type"].lower() for each, about in templates(name)["parameters"].items()}
        file = folder / f"{len(list(folder.iterdir()))}.bicepparam"
        file.write_text(azd.bicepparam(os.path.relpath(INFRA / name, folder), values, kinds), "utf-8")
        try:
            return Deployment(bicep.snapshot(file, **where))
        except BicepError as error:
            raise AssertionError("\n".join(bicep.why(file))) from error

    return deployment


@pytest.fixture(scope="session")
def installed(deploy: Callable[..., Deployment]) -> Callable[[str], Deployment]:
    """What `azd provision` would deploy, in one of the WAYS."""
    made: dict[str, Deployment] = {}

    def installation(way: str) -> Deployment:
        if way not in made:
            made[way] = deploy("main.bicep", azd.parameters(WAYS[way]), location="westeurope")
        return made[way]

    return installation


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each way of deploying in turn."""
    return str(request.param)


@pytest.fixture
def deployment(installed: Callable[[str], Deployment], way: str) -> Deployment:
    """What each way of deploying would deploy, in turn."""
    return installed(way)
