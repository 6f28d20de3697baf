"""The mails on a lock: what people are told when their project was locked or unlocked, and in which words."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest

from shared.adapters.mail.rendering import TEMPLATES, TemplateRenderer
from shared.ports.errors import NeverError
from shared.ports.mails import RenderedMail
from tests.adapters.mail.tags import Tags

NO_BREAK = "\N{NO-BREAK SPACE}"
LOCKED: dict[str, Any] = {
    "what": "locked",
    "acronym": "DIE1",
    "name": "Data Innovation Environment",
    "by_hand": False,
    "level": "ReadOnly",
    "stopped": True,
    "spent": "12611.4042",
    "amount": "12500",
    "currency": "CAD",
    "period_start": "2026-04-01",
    "period_end": "2027-04-01",
    "ask": "cloud-team@example.ca",
    "portal_link": "https://portal.example.ca/w/DIE1?a=1&b=2",
}
UNLOCKED = LOCKED | {"what": "unlocked", "amount": "20000"}
NOTHING_KNOWN = dict.fromkeys(("spent", "amount", "currency", "period_start", "period_end", "ask", "portal_link"))
RENDERER = TemplateRenderer()


def mail_on(figures: dict[str, Any], language: str | None = "en", **changes: Any) -> RenderedMail:
    return RENDERER.render("lock", language, figures | changes)


def plain_spaces(text: str) -> str:
    return text.replace(NO_BREAK, " ")


def says(mail: RenderedMail, *sentences: str) -> None:
    """Asserts that the sentences stand in the text and in the HTML."""
    for content in (mail.text, mail.html.replace("&#39;", "'")):
        for sentence in sentences:
            assert sentence in plain_spaces(content)


def says_not(mail: RenderedMail, *sentences: str) -> None:
    """Asserts that the sentences stand in neither."""
    for content in (mail.text, mail.html.replace("&#39;", "'")):
        for sentence in sentences:
            assert sentence not in plain_spaces(content)


def test_what_is_missing_of_the_figures_is_said_where_there_are_any() -> None:
    missing = [["failed", "2026-06-01", "2026-06-30"]]
    mail = mail_on(LOCKED, None, missing=missing)
    says(mail, "Missing: June 2026 (could not be read).", "Il manque : juin 2026 (les coûts n’ont pas pu être lus).")
    assert "\n\n\n" not in mail.text and Tags(mail.html).open == []
    says_not(mail_on(LOCKED, None, missing=missing, spent=None), "June", "juin")


def test_the_english_mail_on_a_lock_says_everything() -> None:
    mail = mail_on(LOCKED)
    assert mail.subject == "[DIE1] The project is locked: its budget is used up"
    says(
        mail,
        "Data Innovation Environment (DIE1) is locked from now on, because its budget is used up.",
        "Nothing in the project can be created, changed or deleted.",
        "Virtual machines and scale sets that were running have been stopped (deallocated).",
        "are not started again when it comes off",
        "goes on costing money",
        "Stored data is not lost",
        "ask cloud-team@example.ca for a larger budget",
        "The lock comes off by itself once the budget is raised",
        "CAD 12,611.40",
        "CAD 12,500.00",
        "CAD 111.40",
        "1 April 2026 to 31 March 2027, both days included",
        "8 to 24 hours late",
        "to the contacts of DIE1",
    )
    assert LOCKED["portal_link"] in mail.text
    assert 'href="https://portal.example.ca/w/DIE1?a=1&amp;b=2"' in mail.html


def test_the_french_mail_on_a_lock_says_everything() -> None:
    mail = mail_on(LOCKED, "fr")
    assert plain_spaces(mail.subject) == "[DIE1] Le projet est verrouillé : son budget est épuisé"
    says(
        mail,
        "Le projet Data Innovation Environment (DIE1) est désormais verrouillé, car son budget est épuisé.",
        "Rien ne peut être créé, modifié ni supprimé dans le projet.",
        "qui étaient en marche ont été arrêtés (désalloués)",
        "ne seront pas redémarrés quand il sera retiré",
        "continue de coûter",
        "Les données enregistrées ne sont pas perdues",
        "demandez un budget plus élevé à cloud-team@example.ca",
        "Le verrou est retiré automatiquement",
        "12 611,40 CAD",
        "111,40 CAD",
        "du 1er avril 2026 au 31 mars 2027, ces deux jours compris",
    )
    says_not(mail, "locked", "budget is")


def test_the_mails_on_an_unlock_say_everything() -> None:
    english, french = mail_on(UNLOCKED), mail_on(UNLOCKED, "fr")
    assert english.subject == "[DIE1] The project is unlocked"
    says(
        english,
        "Data Innovation Environment (DIE1) is no longer locked: there is money in its budget again.",
        "The project can be changed again",
        "start those that you need yourselves",
        "CAD 12,611.40",
        "CAD 20,000.00",
        "CAD 7,388.60",
    )
    says_not(english, "Over the budget", "is locked from now on", "Nothing in the project")
    assert french.subject == "[DIE1] Le projet est déverrouillé"
    says(
        french,
        "Le projet Data Innovation Environment (DIE1) n’est plus verrouillé : son budget est de nouveau suffisant.",
        "Le projet peut de nouveau être modifié",
        "démarrez vous-mêmes ceux dont vous avez besoin",
        "7 388,60 CAD",
    )


def test_the_mails_on_a_lock_that_could_not_be_put_on_say_what_to_do() -> None:
    failed = LOCKED | {"what": "not locked", "stopped": False}
    english, french = mail_on(failed), mail_on(failed, "fr")
    assert english.subject == "[DIE1] The project could not be locked"
    says(
        english,
        "Data Innovation Environment (DIE1) could not be locked, though you were told that it was being locked.",
        "What is running goes on costing money, although the budget is used up.",
        "You get a mail once it is locked.",
        "Stop or delete what is not needed",
        "ask cloud-team@example.ca for a larger budget now",
    )
    says_not(english, "from now on", "deallocated", "data", "comes off")
    assert french.subject == "[DIE1] Le projet n’a pas pu être verrouillé"
    says(
        french,
        "Le projet Data Innovation Environment (DIE1) n’a pas pu être verrouillé",
        "Ce qui est en marche continue de coûter, alors que le budget est épuisé.",
        "Vous recevrez un courriel dès que le projet sera verrouillé.",
        "demandez dès maintenant un budget plus élevé à cloud-team@example.ca",
    )
    says(mail_on(failed, None, stopped=True), "(deallocated) for the lock", "(désalloués) en vue du verrouillage")


def test_the_mails_on_a_lock_name_the_groups_that_could_not_be_locked() -> None:
    mail = mail_on(LOCKED, None, left_open=["rg-a", "rg-b"])
    says(mail, "still open, and goes on costing money: rg-a, rg-b.", "et continue de coûter : rg-a, rg-b.")
    says_not(mail_on(LOCKED, None), "could not be locked", "pas pu être")


def test_a_project_without_a_language_gets_both_in_one_mail_english_first() -> None:
    mail = mail_on(UNLOCKED, None)
    assert mail.subject == "[DIE1] The project is unlocked / Le projet est déverrouillé"
    assert mail.text.index("no longer locked") < mail.text.index("plus verrouillé")
    assert mail.html.count('lang="en"') == 2 and mail.html.count('lang="fr"') == 2


@pytest.mark.parametrize("language", ["en", "fr", None])
@pytest.mark.parametrize(
    ("what", "level", "by_hand", "stopped"),
    list(product(["locked", "unlocked", "not locked"], ["ReadOnly", "CanNotDelete"], [True, False], [True, False])),
)
def test_every_mail_on_a_lock_is_whole(
    language: str | None, what: str, level: str, by_hand: bool, stopped: bool
) -> None:
    kind = {"what": what, "level": level, "by_hand": by_hand, "stopped": stopped}
    for known in ({}, NOTHING_KNOWN, {"spent": None}, {"amount": None}, {"amount": "20000"}, {"period_end": None}):
        mail = mail_on(LOCKED, language, **kind, **known)
        assert mail.subject.startswith("[DIE1] ") and "\n" not in mail.subject
        assert Tags(mail.html).open == []
        for content in (mail.text, mail.html):
            assert not re.search(r"[{}]|\bNone\b", content.partition("</style>")[2] or content)
        assert "\n\n\n" not in mail.text and not mail.text.startswith("\n")
        assert not re.search(r"https?://(?!portal\.example\.ca)|<img|<link|url\(", mail.html)


@pytest.mark.parametrize(
    ("level", "stopped", "english", "french"),
    [
        (
            "ReadOnly",
            True,
            ["can be created, changed or deleted.", "They can't be started while the lock is on", "Everything else"],
            ["créé, modifié ni supprimé dans le projet.", "Ils ne peuvent pas être démarrés", "Tout le reste"],
        ),
        (
            "ReadOnly",
            False,
            [
                "and machines can't be started or stopped.",
                "What is running goes on running, and goes on costing money.",
            ],
            ["ne peuvent être ni démarrées ni arrêtées.", "continue de fonctionner, et de coûter."],
        ),
        (
            "CanNotDelete",
            True,
            [
                "Nothing in the project can be deleted. You can still create",
                "(deallocated). They are not started again",
            ],
            ["Rien ne peut être supprimé dans le projet.", "(désalloués). Ils ne seront pas redémarrés"],
        ),
        (
            "CanNotDelete",
            False,
            ["Nothing in the project can be deleted. You can still create", "goes on costing money until you stop it."],
            ["Rien ne peut être supprimé dans le projet.", "tant que vous ne l’arrêtez pas."],
        ),
    ],
)
def test_what_a_lock_means_is_said_for_its_level(
    level: str, stopped: bool, english: list[str], french: list[str]
) -> None:
    mail = mail_on(LOCKED, None, level=level, stopped=stopped)
    says(mail, *english, *french)
    data = ("temporary disk is gone", "No data is lost: everything stays where it is.")
    says(mail, data[0] if stopped else data[1])
    says_not(mail, data[1] if stopped else data[0])
    assert ("deallocated" in mail.text) == ("désalloués" in mail.text) == stopped
    assert ("take the lock off for that" in mail.text) == (level == "ReadOnly")


def test_a_lock_by_hand_is_the_platform_teams_and_stays() -> None:
    mail = mail_on(LOCKED, None, by_hand=True)
    assert mail.subject == "[DIE1] The project is locked / Le projet est verrouillé"
    says(
        mail,
        "is locked from now on, by order of the platform team.",
        "ask cloud-team@example.ca. This lock stays on until the platform team takes it off.",
        "est désormais verrouillé, à la demande de l’équipe de plateforme.",
        "Ce verrou reste en place jusqu’à ce que l’équipe de plateforme le retire.",
    )
    says_not(mail, "comes off by itself", "retiré automatiquement", "because", "car son budget")


def test_an_unlock_by_hand_says_so_and_that_the_budget_is_still_used_up() -> None:
    mail = mail_on(UNLOCKED, None, by_hand=True, amount="12500")
    says(
        mail,
        "is no longer locked: the platform team has taken the lock off.",
        "The budget is still used up: start only what can't wait.",
        "Ask cloud-team@example.ca for a larger budget.",
        "n’est plus verrouillé : l’équipe de plateforme a retiré le verrou.",
        "Le budget est encore épuisé",
    )
    says_not(mail, "there is money in its budget", "de nouveau suffisant")
    says_not(mail_on(UNLOCKED, None, by_hand=True), "still used up", "encore épuisé")


@pytest.mark.parametrize(
    ("known", "english", "french"),
    [
        ({"spent": "12499.999"}, "reached us do not show it yet", "ne le montrent pas encore"),
        ({"spent": None}, "The exact figures are not known yet.", "Les montants exacts ne sont pas encore connus."),
        (NOTHING_KNOWN, "The exact figures are not known yet.", "Les montants exacts ne sont pas encore connus."),
    ],
)
def test_a_budget_that_is_not_seen_as_used_up_is_not_said_to_be(
    known: dict[str, Any], english: str, french: str
) -> None:
    """A lock can rest on Azure's figure, or on none at all (LOCK_WHEN_UNSURE)."""
    mail = mail_on(LOCKED, None, **known)
    assert mail.subject == "[DIE1] The project is locked / Le projet est verrouillé"
    says(mail, "because its budget was reported as used up", "car son budget a été signalé comme épuisé")
    says(mail, english, french)
    says_not(mail, "because its budget is used up", "car son budget est épuisé")


def test_just_used_up_is_used_up_with_nothing_left() -> None:
    mail = mail_on(LOCKED, spent="12500.00")
    assert mail.subject.endswith("its budget is used up")
    says(mail, "CAD 0.00", "Left")
    says_not(mail, "Over the budget by")


def test_almost_used_up_is_never_shown_as_used_up() -> None:
    says(mail_on(UNLOCKED, amount="12500", spent="12499.9999"), "CAD 12,499.99", "CAD 0.01")


def test_what_is_not_known_is_left_out() -> None:
    mail = mail_on(LOCKED, **NOTHING_KNOWN)
    says_not(mail, "Spent so far", "Period", "hours late", "Open the project", "CAD")
    assert "<a " not in mail.html and "\n  Budget " not in mail.text and ">Budget<" not in mail.html
    without_budget = mail_on(LOCKED, amount=None)
    says(without_budget, "CAD 12,611.40", "Spent so far")
    says_not(without_budget, "Over the budget by", ">Left<", "  Left ")


def test_without_an_address_the_platform_team_is_asked() -> None:
    mail = mail_on(LOCKED, None, ask=None)
    says(mail, "ask your platform team for a larger budget", "un budget plus élevé à votre équipe de plateforme")


def test_what_was_not_stopped_for_the_lock_is_not_said_to_be() -> None:
    mail = mail_on(UNLOCKED, None, stopped=False)
    says(mail, "Nothing was started: what is stopped", "Rien n’a été démarré")
    says_not(mail, "stopped for the lock", "arrêtés pour le verrouillage")


@pytest.mark.parametrize("what", ["locked", "unlocked", "not locked"])
@pytest.mark.parametrize("place", ["name", "acronym", "currency", "ask", "portal_link"])
def test_html_in_a_figure_stays_text(what: str, place: str) -> None:
    mail = mail_on(LOCKED, None, what=what, **{place: 'https://x.ca/"><script>alert(1)</script>'})
    assert "<script" not in mail.html and Tags(mail.html).open == []
    assert "&lt;script&gt;" in mail.html


def test_a_link_that_is_no_web_address_is_no_link() -> None:
    assert "javascript" not in mail_on(LOCKED, portal_link="javascript:alert(1)").html


def test_a_template_in_a_figure_is_not_run() -> None:
    says(mail_on(LOCKED, name="{{ 7 * 7 }}"), "{{ 7 * 7 }}")


@pytest.mark.parametrize("figures", [LOCKED, UNLOCKED])
def test_the_subject_is_one_line_and_names_stand_as_they_are(figures: dict[str, Any]) -> None:
    assert mail_on(figures, acronym="A\r\nBcc: x@y.ca\x00B").subject.startswith("[A Bcc: x@y.ca B] The project is")
    for name in ("Données «ouvertes» – été", "数据创新环境", "x" * 500):
        says(mail_on(figures, name=name), name)


def test_huge_amounts_are_written_out() -> None:
    says(mail_on(LOCKED, None, spent="9e17"), "CAD 900,000,000,000,000,000.00", "900 000 000 000 000 000,00 CAD")


@pytest.mark.parametrize("figure", sorted(LOCKED))
def test_a_missing_figure_is_named(figure: str) -> None:
    with pytest.raises(NeverError, match=f"'{figure}' is undefined"):
        RENDERER.render("lock", None, {name: value for name, value in LOCKED.items() if name != figure})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"what": "explode"}, "explode"),
        ({"level": "Sealed"}, "Sealed"),
        ({"spent": "abc"}, "'abc' is not an amount"),
        ({"amount": "NaN"}, "'NaN' is not an amount"),
        ({"period_start": "1 April"}, "'1 April' is not a day"),
    ],
)
def test_a_figure_that_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NeverError, match=said):
        mail_on(LOCKED, **changes)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_rows_of_the_text_fit_in_80_columns(language: str) -> None:
    rows = re.findall(r"(?m)^  [^- ].{0,18}  +.*$", mail_on(LOCKED, language, portal_link=None).text)
    assert len(rows) == 4
    assert max(map(len, rows)) <= 80


def test_both_languages_say_the_same_things() -> None:
    named = [
        re.findall(r"{% set (\w+)", (TEMPLATES / "lock" / f"words.{language}.txt").read_text("utf-8"))
        for language in ("en", "fr")
    ]
    assert named[0] == named[1]
