"""Pages as people see them: wide and narrow, light and dark, in French, by keyboard, without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.composition import Composition
from tests.cli.commands import HOLD, LOCKED, LOCKED_AT, Cli, decided, night
from tests.web.conftest import Web
from tests.web.pages import browser
from tests.web.pages.test_pages import PAGES

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if (why := browser.missing()) is not None:
        if browser.REQUIRED:
            pytest.fail(f"{why}, and REQUIRE_BROWSER asks for it")
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser.CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> str:
    return browser.axe(Path(tmp_path_factory.mktemp("axe")))


@pytest.fixture
def site(cli: Cli, spent: Composition, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The pages of some projects, of which one is locked."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "true")
    cli("budgets", "set", "DIE1", "40", "--reason", "less")
    decided(spent, LOCKED, HOLD, LOCKED_AT)
    night(spent)
    with browser.served(Web(in_azure=False).handler) as url:
        yield url


def opened(chromium: Any, site: str, who: str = "operator", **how: Any) -> Any:
    """A page of a browser in which somebody has signed in."""
    page = chromium.new_context(**how).new_page()
    page.goto(f"{site}/.auth/login/aad?who={who}")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_can_be_used_by_everybody_at_any_width(
    chromium: Any, axe: str, site: str, width: int, scheme: str
) -> None:
    page = opened(chromium, site, viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for path in (*PAGES, "/finops/nothing/here"):
        page.goto(site + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than its window"
        assert browser.violations(page, axe) == [], path
    assert [each for each in said if "404" not in each] == []


def test_what_nobody_can_use_is_found(chromium: Any, axe: str) -> None:
    page = chromium.new_page()
    page.set_content('<html lang="en"><title>No</title><main><h1>No</h1><input type="text"></main></html>')
    assert [each.partition(":")[0] for each in browser.violations(page, axe)] == ["label"]


def test_pages_are_whole_without_a_script_and_in_french(chromium: Any, site: str) -> None:
    page = opened(chromium, site, java_script_enabled=False, locale="fr-CA")
    for path in PAGES:
        page.goto(site + path)
        assert page.locator("html").get_attribute("lang") == "fr"
        assert page.locator("h1").count() == 1
    page.goto(f"{site}/finops")
    page.get_by_label("Acronyme ou nom").fill("eau")
    page.get_by_role("button", name="Afficher").click()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("tbody tr").count() == 1, "the language is another, and the filter the same"


def test_all_can_be_reached_by_the_keyboard_alone(chromium: Any, site: str) -> None:
    page = opened(chromium, site)
    page.goto(f"{site}/finops")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
    assert {"search", "over", "sort", "stale", "locked", "Show", "DIE1", "EAU"} <= reached
    page.get_by_label("Acronym or name").fill("die1")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="DIE1").focus()
    page.keyboard.press("Enter")
    assert "DIE1" in page.locator("h1").inner_text()


def test_an_operator_raises_a_budget_without_a_script(chromium: Any, site: str, app: Composition) -> None:
    page = opened(chromium, site, java_script_enabled=False)
    page.goto(f"{site}/finops/projects/11")
    page.get_by_label("New budget").fill("15000")
    page.get_by_label("Reason", exact=True).fill("storm season")
    page.get_by_role("button", name="Revise the budget").click()
    assert page.get_by_role("status").inner_text() == "The budget is revised; the project is checked."
    assert [each.reason for each in app.projects.revisions(11)][-1] == "storm season"
    assert app.change_service.listed("DIE1", 1)[0].by == "Olive"


def test_a_contact_goes_to_their_project_and_is_led_to_no_other(chromium: Any, site: str) -> None:
    page = opened(chromium, site, who="contact")
    page.goto(f"{site}/finops")
    assert page.locator("nav a").all_inner_texts() == ["Projects"]
    page.get_by_role("link", name="DIE1").click()
    assert page.get_by_text("Locked since").count() == 1
    assert page.goto(f"{site}/finops/projects/EAU").status == 404
    page.get_by_role("link", name="Sign out").click()
    assert page.get_by_role("heading", name="Please sign in").count() == 1
