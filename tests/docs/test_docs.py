"""The docs say what the code does: settings, commands, functions, files. Part of `make check`."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import PurePosixPath

import pytest
from pydantic import SecretStr

import shared
from shared import settings
from shared.ports import azure
from tests.docs import markdown, sources

NO_DEFAULT = "–"
# Set by Azure, not by a person: the docs explain it without listing it.
SET_BY_AZURE = {
    "WEBSITE_AUTH_ENABLED",
    "WEBSITE_INSTANCE_ID",
    "WEBSITE_OWNER_NAME",
    "WEBSITE_RESOURCE_GROUP",
    "WEBSITE_SKU",
}
# Settings of Azure Functions itself that our docs may speak of.
OF_AZURE_FUNCTIONS = {*SET_BY_AZURE, "FUNCTIONS_WORKER_RUNTIME", "PYTHON_THREADPOOL_THREAD_COUNT"}
# Values of azd's environment, from which infra/ makes the settings, and what its hooks are told.
OF_AZD = {*re.findall(r"\$\{(\w+)", sources.read("infra/main.parameters.json")), "WARDEN_SUBSCRIPTIONS"}
# What infra/triggers/ reads.
OF_TRIGGERS = {"FINOPS_WEBHOOK_URL", "WARDEN_FOLDER"}
# Switches of our tests.
OF_THE_TESTS = {"TEST_MSSQL_URL", "REQUIRE_POSTGRES", "REQUIRE_WORKER_IF_313"}
EVERYDAY_TARGETS = {"demo", "dev", "test", "check", "bench", "crash-test"}
REQUIREMENTS = ["requirements.txt", "requirements-dev.txt"]


def defaults() -> dict[str, str]:
    """Each setting's default as a person would write it; – where there is none."""
    fields = settings.Settings.model_fields.values()
    return {str(field.validation_alias): written(field.default) for field in fields}


def written(value: object) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Enum():
            return str(value.value)
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value)) or NO_DEFAULT
    return NO_DEFAULT if value is None or value == "" else str(value)


# --- settings ---


def test_the_readme_lists_every_setting_with_its_default_and_no_other():
    """In tables headed `setting`: its name, its default (– where there is none), what it takes."""
    rows = markdown.table(sources.read("README.md"), "setting")
    listed = {row[0].strip("`"): row[1].strip("`") or NO_DEFAULT for row in rows}
    assert len(listed) == len(rows), "a setting is listed twice"
    expected = {name: default for name, default in defaults().items() if name not in SET_BY_AZURE}
    assert listed == expected


@pytest.mark.parametrize("page", sources.doc_pages())
def test_the_docs_speak_of_no_setting_that_there_is_not(page):
    known = {*settings.setting_names(), *OF_AZURE_FUNCTIONS, *OF_AZD, *OF_TRIGGERS, *OF_THE_TESTS}
    looks_like_one = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|(?:Datahub|Queue|ProjectUsage)\w+|\w+CRON")
    named = {span.split("=")[0].strip("%") for span in markdown.spans(sources.read(page))}
    unknown = {name for name in named if looks_like_one.fullmatch(name)} - known - set(sources.triggers())
    assert not unknown


def test_every_setting_that_a_trigger_names_is_in_the_example_of_local_settings():
    source = sources.read("function_app.py")
    named = {*re.findall(r"%(\w+)%", source), *re.findall(r'^STORAGE = "(\w+)"', source, re.MULTILINE)}
    assert len(named) == 9
    assert named <= set(json.loads(sources.read("local.settings.json.example"))["Values"])


def test_the_example_of_local_settings_is_taken_as_it_is(tmp_path):
    copied = tmp_path / "local.settings.json"
    copied.write_text(sources.read("local.settings.json.example"), "utf-8")
    loaded = settings.load({}, copied)
    assert loaded.storage_connection is not None


def test_the_example_of_local_settings_names_no_setting_that_there_is_not():
    values = json.loads(sources.read("local.settings.json.example"))["Values"]
    assert set(values) - set(settings.setting_names()) == {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"}


# --- commands ---


@pytest.mark.parametrize("command", sorted(sources.commands()))
def test_every_command_is_in_the_readme(command):
    """As `python -m shared.cli projects load`, or shorter as `projects load`."""
    start = re.compile(rf"(?:^|shared\.cli ){re.escape(command)}\b", re.MULTILINE)
    assert any(start.search(code) for code in markdown.code(sources.read("README.md")))


@pytest.mark.parametrize("page", sources.doc_pages())
def test_the_docs_name_no_command_that_there_is_not(page):
    known = {tuple(command.split()) for command in sources.commands()}
    groups = {command[0] for command in known if len(command) > 1}
    text = "\n".join(markdown.code(sources.read(page)))
    for first, second in re.findall(r"python -m shared\.cli ([a-z-]+)(?: ([a-z-]+))?", text):
        named = (first, second) if first in groups and second else (first,)
        assert named in known or (named == (first,) and first in groups), f"shared.cli {' '.join(named)}"


def test_the_readme_names_the_make_targets_of_every_day():
    assert make_targets_named_in("README.md") >= EVERYDAY_TARGETS


@pytest.mark.parametrize("page", sources.doc_pages())
def test_every_make_target_that_the_docs_name_is_in_the_makefile(page):
    assert make_targets_named_in(page) <= sources.make_targets()


def make_targets_named_in(page: str) -> set[str]:
    text = "\n".join(markdown.code(sources.read(page)))
    return set(re.findall(r"(?:^|[\s;&])make ([a-z][a-z-]*)", text, re.MULTILINE))


# --- functions ---


def test_the_readme_lists_every_function_with_its_trigger_and_no_other():
    """In a table headed `function`: its name, its trigger with the queue's or schedule's setting (or, for HTTP, method
    and path: `POST /api/…`), what it does."""
    rows = markdown.table(sources.read("README.md"), "function")
    listed = {row[0].strip("`"): markdown.spans(row[1]) for row in rows}
    assert listed == {name: [trigger] for name, trigger in sources.triggers().items()}


def test_function_app_imports_what_a_translation_needs_and_nothing_else():
    allowed = {"azure.functions", "json", "logging", "collections.abc.Callable", "shared.settings"}
    allowed |= {"collections.abc.Awaitable", "functools.cache", "shared.web.app.made"}
    others = sources.imports_of("function_app.py") - allowed
    assert {name for name in others if not name.startswith(("shared.composition.", "shared.messages."))} == set()


# --- files ---


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "CHANGELOG.md", "LICENSE"])
def test_the_project_has_its(page):
    assert sources.read(page).strip()


@pytest.mark.parametrize("page", [*sources.doc_pages(), "CHANGELOG.md"])
def test_every_link_leads_to_a_file_or_heading(page):
    folder = PurePosixPath(page).parent
    for link in markdown.links(sources.read(page)):
        target, _, anchor = link.partition("#")
        path = sources.PROJECT / folder / target
        assert path.exists(), f"{page} links to {link}"
        if anchor:
            assert anchor in markdown.headings(path.read_text("utf-8")), f"{page} links to {link}"


@pytest.mark.parametrize("page", sources.doc_pages())
def test_every_link_within_a_page_leads_to_a_heading(page):
    text = sources.read(page)
    anchors = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert anchors <= set(markdown.headings(text))


def test_the_changelog_has_an_entry_for_this_version():
    version = shared.__version__.partition(".dev")[0]
    assert re.search(rf"^## \[?{re.escape(version)}\b", sources.read("CHANGELOG.md"), re.MULTILINE)


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_exact_versions_from_nowhere_in_particular(name):
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[0-9][0-9a-z.]*( ; [a-z_]+ .+)?")
    lines = [line for line in sources.read(name).splitlines() if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not pin.fullmatch(line) or "://" in line] == []


def test_what_is_deployed_is_tested_at_the_same_versions():
    deployed, tested = (set(sources.read(name).splitlines()) for name in REQUIREMENTS)
    assert deployed <= tested


# Put together from parts, so that this file does not hold what it looks for.
OF_ONE_MACHINE = re.compile(r"/(?:home|root|Users)/\w|[A-Za-z]:\\Users\\\w")
REGISTRY_HOSTS = [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com")]
OF_A_REGISTRY = re.compile("|".join(re.escape(".".join(parts)) for parts in REGISTRY_HOSTS))
# A fact stands where it is needed, with its public source: a chapter of some other paper helps nobody here.
OF_A_PAPER = re.compile(r"\b(?:" + "|".join(("DESI" + "GN", "FAC" + "TS", "STY" + "LE")) + r")\b")
FORBIDDEN = {
    "paths of one machine": OF_ONE_MACHINE,
    "registries": OF_A_REGISTRY,
    "papers that are not here": OF_A_PAPER,
}


@pytest.mark.parametrize("pattern", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_no_file_names(pattern):
    texts = sources.text_files()
    assert "function_app.py" in texts
    assert [f"{name}: {hit[0]}" for name, text in texts.items() if (hit := pattern.search(text))] == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (OF_ONE_MACHINE, "see /" + "home/anna/warden"),
        (OF_ONE_MACHINE, "C:" + r"\Users\anna"),
        (OF_A_REGISTRY, "https://" + ".".join(("files", *REGISTRY_HOSTS[1])) + "/x.whl"),
        (OF_A_PAPER, "as FACT" + "S 6 says"),
    ],
)
def test_what_no_file_may_name_would_be_found(pattern, text):
    assert pattern.search(text)


# --- what is new ---


def test_the_changelog_names_the_revision_that_an_upgrade_reaches():
    unreleased = sources.read("CHANGELOG.md").split("## 0.1.0")[0]
    newest = max(sources.PROJECT.glob("shared/adapters/database/migrations/versions/0*.py")).name[:4]
    assert re.findall(r"db upgrade` \(revision (\d+)\)", unreleased) == [newest]


def test_the_readme_names_the_roles_that_check_looks_for():
    roles = [role.name for role in vars(azure).values() if isinstance(role, azure.AzureRole)]
    assert len(roles) >= 5
    assert [role for role in roles if f"*{role}*" not in sources.read("README.md")] == []
