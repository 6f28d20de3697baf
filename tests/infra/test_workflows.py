"""What GitHub is to do: pinned, with no more rights than it needs, and with all that azd is told."""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePosixPath

import pytest
import yaml

from tests.docs import sources
from tests.infra import azd

WORKFLOWS = ["ci.yml", "deploy.yml", "audit.yml", "release.yml"]
KINDS = ("vars", "secrets")
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
EXPRESSION = re.compile(r"\$\{\{ (vars|secrets)\.(\w+)(?: \|\| '([^']*)')? \}\}")


def text(name: str) -> str:
    return sources.read(f".github/workflows/{name}")


def jobs(name: str) -> dict:
    return yaml.safe_load(text(name))["jobs"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_by_a_digest_with_its_version(name):
    lines = [line.strip(" -") for line in text(name).splitlines() if "uses:" in line]
    assert len(lines) >= 2
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


def test_an_action_is_pinned_to_one_digest_everywhere():
    found = {tuple(each) for name in WORKFLOWS for each in re.findall(r"uses: (\S+)@(\S+)", text(name))}
    assert len({action for action, _ in found}) == len(found)


RIGHTS = {
    "ci.yml": {"contents": "read"},
    "deploy.yml": {"contents": "read", "id-token": "write"},
    "audit.yml": {"contents": "read"},
    "release.yml": {"contents": "write"},
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_do_no_more_than_it_needs(name):
    read = yaml.safe_load(text(name))
    assert read["permissions"] == RIGHTS[name]
    assert [job for job in read["jobs"].values() if "permissions" in job] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_job_ends_some_time(name):
    assert all(job["timeout-minutes"] <= 60 for job in jobs(name).values())


def test_ci_tests_every_python_that_is_supported():
    wanted = tomllib.loads(sources.read("pyproject.toml"))["project"]["requires-python"]
    tested = jobs("ci.yml")["test"]["strategy"]["matrix"]["python"]
    assert wanted == f">={tested[0]},<3.{int(tested[-1].partition('.')[2]) + 1}"
    assert tested == [f"3.{minor}" for minor in range(int(tested[0][2:]), int(tested[-1][2:]) + 1)]


def test_ci_calls_targets_of_the_makefile_with_the_matrixs_python():
    called = re.findall(r"run: make (\S+) PYTHON=python\n", text("ci.yml"))
    assert called == ["check", "test", "browser-test"]
    assert set(called) <= sources.make_targets()


def test_what_is_pinned_is_audited_each_week_and_a_release_carries_its_bill_of_materials():
    # YAML takes `on` for true.
    (weekly,) = yaml.safe_load(text("audit.yml"))[True]["schedule"]
    assert weekly["cron"].split()[2:] == ["*", "*", "1"]
    called = [re.findall(r"run: make (\S+) PYTHON=python\n", text(name)) for name in ("audit.yml", "release.yml")]
    assert called == [["audit"], ["sbom"]]
    assert {"audit", "sbom"} <= sources.make_targets()
    assert "build/sbom.json" in text("release.yml")


def test_ci_skips_nothing_that_can_be_there():
    switches = set(re.findall(r"REQUIRE_\w+", text("ci.yml")))
    of_ours = set(re.findall(r"REQUIRE_\w+", sources.read(".ci/run")))
    # Microsoft's check of queries is no package: it lies beside this project, or it does not.
    assert switches == of_ours - {"REQUIRE_KQL_CHECK"}


def test_the_only_secret_is_the_mail_providers_key():
    found = {name for each in WORKFLOWS for kind, name, _ in EXPRESSION.findall(text(each)) if kind == "secrets"}
    assert found == {"MAIL_KEY"}


def test_deploy_hands_azd_all_that_it_reads_and_the_same_without_a_value():
    """azd takes a value that is empty for one that is given."""
    given = jobs("deploy.yml")["deploy"]["env"]
    for parameter in azd.written().values():
        name, usual = azd.PLACE.fullmatch(parameter).groups()
        if name in ("AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"):
            continue
        found = EXPRESSION.fullmatch(given[name])
        assert found, name
        assert found[2] == name
        if usual:
            assert found[3] == usual
    assert given["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"


def test_azd_hands_the_pipeline_what_it_reads():
    pipeline = azd.project()["pipeline"]
    found = {kind: {name for each, name, _ in EXPRESSION.findall(text("deploy.yml")) if each == kind} for kind in KINDS}
    # Those it hands over by itself.
    own = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_ENV_NAME", "AZURE_LOCATION"}
    assert set(pipeline["variables"]) == found["vars"] - own
    assert own <= found["vars"]
    assert set(pipeline["secrets"]) == found["secrets"]


def test_deploy_runs_with_the_python_of_the_app(installed):
    steps = jobs("deploy.yml")["deploy"]["steps"]
    (python,) = [step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {})]
    assert (
        python
        == installed("defaults").one("Microsoft.Web/sites")["properties"]["functionAppConfig"]["runtime"]["version"]
    )


def test_dependabot_looks_at_every_place_that_pins_something():
    updates = yaml.safe_load(sources.read(".github/dependabot.yml"))["updates"]
    by_kind = {each["package-ecosystem"]: each for each in updates}
    assert set(by_kind) == {"pip", "docker", "github-actions"}
    assert set(by_kind["pip"]["directories"]) == folders_with("requirements.txt")
    assert {by_kind["docker"]["directory"]} == folders_with("Dockerfile")


def test_dependabot_leaves_alone_what_is_pinned_by_the_version_of_python():
    pins = re.findall(r"^([\w-]+)==\S+ ; .*python", sources.read("requirements.txt"), re.MULTILINE)
    twice = {name for name in pins if pins.count(name) > 1}
    (pip,) = [
        each
        for each in yaml.safe_load(sources.read(".github/dependabot.yml"))["updates"]
        if each["package-ecosystem"] == "pip"
    ]
    assert twice
    assert {each["dependency-name"] for each in pip["ignore"]} == twice


def folders_with(name: str) -> set[str]:
    found = [PurePosixPath("/", each) for each in sources.text_files()]
    return {str(path.parent) for path in found if path.name == name}
