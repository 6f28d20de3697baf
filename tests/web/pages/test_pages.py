"""Pages: what they show, to whom, and in which language."""

from __future__ import annotations

import re
from datetime import date
from html import unescape

import pytest

from shared.composition import Composition
from shared.messages import Queue
from shared.settings import Settings
from shared.web.pages import shell
from tests.cli.commands import DIE1, HOLD, LOCKED, LOCKED_AT, Cli, decided, night, spend, spend_unowned, write_csv
from tests.web.conftest import Answer, Call, Web

PAGES = {
    "/finops": "somebody",
    "/finops/projects/DIE1": "contact",
    "/finops/accounts": "viewer",
    "/finops/imports": "viewer",
    "/finops/unallocated": "viewer",
    "/finops/runs": "viewer",
    "/finops/dead-letters": "operator",
    "/finops/changes": "operator",
    "/finops/settings": "operator",
}
SCRIPT = "<script>alert(1)</script>"


def text_of(answer: Answer) -> str:
    """What a reader sees, in one line."""
    without = re.sub(r"<[^>]+>", " ", answer.body.decode())
    return " ".join(unescape(without).replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_page_is_whole_light_and_closed_to_scripts(
    call: Call, spent: Composition, path: str, language: str
) -> None:
    night(spent)
    answer = call("GET", f"{path}/?lang={language}", who="operator")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.body.decode()
    assert page.startswith("<!DOCTYPE html>")
    assert f'<html lang="{language}">' in page
    assert len(answer.body) < 100_000
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-store"
    assert page.count("<h1>") == 1


@pytest.mark.parametrize(("path", "least"), PAGES.items())
def test_a_page_is_for_whom_it_is(call: Call, spent: Composition, path: str, least: str) -> None:
    ranks = ["nobody", "somebody", "viewer", "operator"]
    for who in ranks:
        status = call("GET", path, who=who).status
        needed = "somebody" if least == "contact" else least
        if ranks.index(who) < ranks.index(needed):
            assert status == (401 if who == "nobody" else 403), who
        elif least == "contact" and who == "somebody":
            assert status == 404
        else:
            assert status == 200, who
    assert call("GET", path, who="other").status == (200 if least == "somebody" else 404 if least == "contact" else 403)


def test_whoever_is_not_signed_in_is_shown_where_to(call: Call) -> None:
    answer = call("GET", "/finops/accounts")
    assert answer.status == 401
    assert 'href="/.auth/login/aad?post_login_redirect_uri=/finops/accounts"' in answer.body.decode()
    assert "<nav" not in answer.body.decode()


def test_in_azure_there_are_pages_only_where_it_is_set_where_they_are(
    call: Call, spent: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEB_URL")
    off = Web().call("GET", "/finops", who="operator")
    assert (off.status, "WEB_URL" in text_of(off)) == (404, True)
    assert Web().call("GET", "/api/v1/projects", who="operator").status == 200


def test_mails_lead_to_the_portal_or_else_to_the_projects_own_page() -> None:
    def link(**values: str) -> str:
        return Settings.model_construct(**({"portal_url": "", "web_url": ""} | values)).project_link

    assert link() == ""
    assert link(web_url="https://w.example.com/") == "https://w.example.com/finops/projects/{acronym}"
    assert link(web_url="https://w.example.com", portal_url="https://p/{acronym}") == "https://p/{acronym}"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_made_up_costs_says_so(
    call: Call, spent: Composition, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("USE_MADE_UP_COSTS", "true")
    assert "This installation is marked: made-up costs" in text_of(Web().call("GET", path, who="operator"))


def test_projects_stand_with_their_percent_and_what_is_wrong(call: Call, cli: Cli, spent: Composition) -> None:
    decided(spent, LOCKED, HOLD, LOCKED_AT)
    cli("budgets", "set", "DIE1", "35", "--reason", "less")
    seen = text_of(call("GET", "/finops", who="viewer"))
    assert "Projects: 3." in seen
    assert "DIE1 Data innovation" in seen
    assert "Locked since 2026-11-20 02:15 UTC" in seen
    assert "Changed; a check is due" in seen
    assert text_of(call("GET", "/finops?locked=true", who="viewer")).count("Quality") == 0
    assert "There is no such project." in text_of(call("GET", "/finops?search=nothing+like+it", who="viewer"))
    assert "DIE1" not in text_of(call("GET", "/finops", who="other"))


def test_a_list_goes_on_on_the_next_page(call: Call, cli: Cli, app: Composition) -> None:
    lines = [DIE1.replace("11,DIE1", f"{100 + n},P{n:03}").replace("die1-dev;die1-prod", f"g{n}") for n in range(60)]
    cli("projects", "load", write_csv(*lines))
    page = call("GET", "/finops?sort=acronym", who="viewer").body.decode()
    assert page.count('<th scope="row">') == 50
    following = unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])  # type: ignore[index]
    second = call("GET", f"/finops{following}", who="viewer").body.decode()
    assert page.count("P049") and "P049" not in second
    assert second.count('<th scope="row">') == 10


def test_a_project_shows_its_days_its_people_and_its_decisions(call: Call, cli: Cli, spent: Composition) -> None:
    cli("budgets", "set", "DIE1", "15000", "--reason", "granted")
    decided(spent, LOCKED, HOLD, LOCKED_AT)
    answer = call("GET", "/finops/projects/die1", who="contact")
    seen = text_of(answer)
    for words in (
        "CAD 15,000.00", "1 April 2026 – 31 March 2027", "CAD 31.00 (0.2 %)", "ann@example.com", "granted", "locked",
        "2026-11-20 CAD 30.00", "Nobody was told anything yet.",
    ):  # fmt: skip
        assert words in seen, words
    page = answer.body.decode()
    assert page.count('<svg class="chart" role="img"') == 2
    assert "https://portal.azure.com/" in page


def test_amounts_and_days_are_french_in_french(call: Call, spent: Composition) -> None:
    seen = text_of(call("GET", "/finops/projects/DIE1", who="contact", headers={"Accept-Language": "fr-CA,fr;q=0.9"}))
    assert "31,00 CAD (0,2 %)" in seen
    assert "1er avril 2026" in seen


def test_a_language_that_is_chosen_stays(call: Call, spent: Composition) -> None:
    chosen = call("GET", "/finops?lang=fr", who="viewer")
    assert "lang=fr" in chosen.headers["set-cookie"]
    assert "Projets" in text_of(call("GET", "/finops", who="viewer", headers={"Cookie": "lang=fr"}))
    assert "set-cookie" not in call("GET", "/finops?lang=xx", who="viewer").headers


def test_both_languages_say_the_same_things() -> None:
    english, french = shell.texts_in("en"), shell.texts_in("fr")
    assert english.keys() == french.keys()
    for key, text in english.items():
        assert text.count("{}") == french[key].count("{}"), key
        assert french[key].strip()


@pytest.mark.parametrize("path", ["/finops", "/finops/projects/11", "/finops/changes", "/finops/unallocated"])
def test_what_people_wrote_is_text_and_never_markup(call: Call, cli: Cli, spent: Composition, path: str) -> None:
    cli("projects", "load", write_csv(DIE1.replace("Data innovation", SCRIPT)))
    cli("budgets", "set", "DIE1", "15000", "--reason", SCRIPT)
    spend_unowned(spent, SCRIPT, "7", date(2026, 11, 2))
    page = call("GET", path, who="operator").body.decode()
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page


def test_dead_letters_and_settings_are_shown_and_no_secret(
    call: Call, spent: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent.letters.record(Queue.UPDATE, '{"ProjectId": 99}', "no such project", "1", spent.clock())
    assert "no such project" in text_of(call("GET", "/finops/dead-letters", who="operator"))
    monkeypatch.setenv("CRON_SECRET", "a-very-secret-token")
    seen = Web().call("GET", "/finops/settings", who="operator")
    assert "a-very-secret-token" not in seen.body.decode()
    assert re.search(r"CRON_SECRET •••", text_of(seen))
    assert "AccountKey" not in seen.body.decode()


def test_an_error_that_nobody_foresaw_is_a_page_that_tells_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, spent: Composition
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("secret of the row")

    monkeypatch.setattr("shared.services.export_history.ExportHistory.summary", fails)
    answer = call("GET", "/finops/imports", who="viewer")
    assert (answer.status, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "This did not work" in text_of(answer)
    assert b"secret" not in answer.body


def test_an_address_that_is_none_and_a_question_that_can_t_be_are_pages_too(call: Call, spent: Composition) -> None:
    nothing = call("GET", "/finops/nothing/here", who="viewer")
    assert (nothing.status, "There is nothing here" in text_of(nothing)) == (404, True)
    wrong = call("GET", "/finops/unallocated?from=2026-13-01", who="viewer")
    assert (wrong.status, "2026-13-01" in text_of(wrong)) == (422, True)
    assert call("GET", "/finops?over=many", who="viewer").status == 422


def test_files_stay_for_ever_under_the_address_of_their_content(call: Call) -> None:
    found = call("GET", shell.static_path("warden.css"))
    assert (found.status, found.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in found.headers["cache-control"]
    for path in ("/finops/static/warden.css", "/finops/static/..%2Fshell.py", "/finops/static/warden.000000000000.css"):
        assert call("GET", path).status in (401, 404)


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (5, "just now", "à l’instant"),
        (60, "1 minute ago", "il y a 1 minute"),
        (7300, "2 hours ago", "il y a 2 heures"),
        (200_000, "2 days ago", "il y a 2 jours"),
    ],
)
def test_how_long_ago_something_was_is_said_in_words(seconds: int, english: str, french: str) -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert shell.ago(now - timedelta(seconds=seconds), now, "en") == english
    assert shell.ago(now - timedelta(seconds=seconds), now, "fr") == french


def test_a_project_of_several_currencies_says_what_its_charts_leave_out(call: Call, spent: Composition) -> None:
    spend(spent, 11, "4", date(2026, 11, 19), currency="EUR")
    assert "Charges in other currencies are not in these charts." in text_of(
        call("GET", "/finops/projects/11", who="viewer")
    )
