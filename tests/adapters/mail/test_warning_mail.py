"""The early warning's mail: what stands in it, in which language, and that nothing escapes its place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.adapters.mail.rendering import TEMPLATES, TemplateRenderer
from shared.ports.errors import NeverError
from shared.ports.mails import RenderedMail
from tests.adapters.mail.tags import Tags

NO_BREAK = "\N{NO-BREAK SPACE}"
WARNING: dict[str, Any] = {
    "acronym": "DIE1",
    "name": "Data Innovation Environment",
    "spent": "7762.5142",
    "percent": "62.1001",
    "amount": "12500",
    "currency": "CAD",
    "period_start": "2026-04-01",
    "period_end": "2027-04-01",
    "forecast": "14027.3512",
    "low": "12911.02",
    "high": "15143.68",
    "used_up_on": "2027-01-12",
    "as_of": "2026-11-20",
    "at_100": "lock",
    "portal_link": "https://portal.example.ca/w/DIE1?a=1&b=2",
}
RENDERER = TemplateRenderer()


def warning(language: str | None = "en", **changes: Any) -> RenderedMail:
    return RENDERER.render("warning", language, WARNING | changes)


def test_what_is_missing_of_the_figures_is_said() -> None:
    mail = warning(None, missing=[["failed", "2026-06-01", "2026-06-30"]])
    for content in (mail.text, mail.html):
        assert "Missing: June 2026 (could not be read)." in content
        assert "Il manque : juin 2026 (les coûts n’ont pas pu être lus)." in content
    assert "\n\n\n" not in mail.text and Tags(mail.html).open == []


def test_the_english_warning_says_everything() -> None:
    mail = warning("en")
    assert mail.subject == "[DIE1] At this pace, the budget will be used up on 12 January 2027"
    for content in (mail.text, mail.html):
        for words in (
            "Data Innovation Environment (DIE1) has used 62.1 % of its budget",
            "the whole period will cost about CAD 14,027.35",
            "used up on 12 January 2027, before the period ends.",
            "CAD 7,762.51",
            "CAD 12,500.00",
            "CAD 12,911.02 and CAD 15,143.68",
            "CAD 1,527.35",
            "1 April 2026 to 31 March 2027, both days included",
            "This is an estimate",
            "sent once for this budget and period",
            "Look at what costs most, and stop or shrink",
            "ask your platform team for a larger budget",
            "The project is locked",
            "As of 20 November 2026",
            "to the contacts of DIE1",
        ):
            assert words.replace(NO_BREAK, " ") in content.replace(NO_BREAK, " ")
    assert WARNING["portal_link"] in mail.text
    assert 'href="https://portal.example.ca/w/DIE1?a=1&amp;b=2"' in mail.html


def test_the_french_warning_says_everything() -> None:
    mail = warning("fr")
    assert mail.subject == "[DIE1] À ce rythme, le budget sera épuisé le 12 janvier 2027"
    for content in (mail.text, mail.html):
        for words in (
            "Data Innovation Environment (DIE1) a utilisé 62,1 % de son budget",
            f"la période entière coûtera environ 14{NO_BREAK}027,35{NO_BREAK}CAD",
            "sera épuisé le 12 janvier 2027, avant la fin de la période.",
            f"12{NO_BREAK}911,02{NO_BREAK}CAD et 15{NO_BREAK}143,68{NO_BREAK}CAD",
            f"1{NO_BREAK}527,35{NO_BREAK}CAD",
            "du 1er avril 2026 au 31 mars 2027, ces deux jours compris",
            "Il s’agit d’une estimation",
            "une seule fois pour ce budget et cette période",
            "demandez dès maintenant un budget plus élevé",
            "Le projet est verrouillé",
            "En date du 20 novembre 2026",
        ):
            assert words.replace(NO_BREAK, " ") in content.replace(NO_BREAK, " ")
    assert "budget will be" not in mail.text


@pytest.mark.parametrize("language", ["en", "fr", None])
@pytest.mark.parametrize("used_up_on", ["2027-01-12", None])
@pytest.mark.parametrize("at_100", ["nothing", "dry-run", "lock"])
@pytest.mark.parametrize("portal_link", [WARNING["portal_link"], None])
def test_every_warning_is_whole(
    language: str | None, used_up_on: str | None, at_100: str, portal_link: str | None
) -> None:
    mail = warning(language, used_up_on=used_up_on, at_100=at_100, portal_link=portal_link)
    assert mail.subject.startswith("[DIE1] ") and "\n" not in mail.subject
    assert Tags(mail.html).open == []
    for content in (mail.text, mail.html):
        assert not re.search(r"[{}]|\bNone\b", content.partition("</style>")[2] or content)
    assert "\n\n\n" not in mail.text
    assert not re.search(r"https?://(?!portal\.example\.ca)|<img|<link|url\(", mail.html)
    assert ("<a " in mail.html) == (portal_link is not None) == ("https://" in mail.text)


def test_a_project_without_a_language_gets_both_in_one_mail_english_first() -> None:
    mail = warning(None)
    assert mail.subject == (
        "[DIE1] At this pace, the budget will be used up on 12 January 2027"
        " / À ce rythme, le budget sera épuisé le 12 janvier 2027"
    )
    assert mail.text.index("has used") < mail.text.index("a utilisé")
    assert mail.html.count('lang="en"') == 2 and mail.html.count('lang="fr"') == 2


@pytest.mark.parametrize(
    ("language", "subject", "said"),
    [
        (
            "en",
            "[DIE1] At this pace, the budget will not last until the period ends",
            "will be used up before the period ends.",
        ),
        (
            "fr",
            "[DIE1] À ce rythme, le budget sera épuisé avant la fin de la période",
            "sera épuisé avant la fin de la période.",
        ),
    ],
)
def test_without_a_day_it_is_said_without_one(language: str, subject: str, said: str) -> None:
    mail = warning(language, used_up_on=None)
    assert mail.subject == subject
    assert said in mail.text and said in mail.html
    assert "2027-01" not in mail.text and "12 jan" not in mail.text.lower()


@pytest.mark.parametrize(
    ("at_100", "english", "french"),
    [
        ("nothing", "Nothing is stopped: spending goes on", "Rien n’est arrêté : les dépenses continuent"),
        ("dry-run", "the lock is only being tried out", "le verrouillage est seulement à l’essai"),
        ("lock", "The project is locked: it can be changed", "Le projet est verrouillé : il ne peut être modifié"),
    ],
)
def test_what_happens_at_100_percent_is_said(at_100: str, english: str, french: str) -> None:
    mail = warning(None, at_100=at_100)
    for content in (mail.text, mail.html):
        assert english in content
        assert french in content.replace(NO_BREAK, " ")


def test_a_forecast_of_just_the_budget_is_no_overrun() -> None:
    for forecast in ("12500", "12500.0000000001"):
        mail = warning(forecast=forecast)
        assert "overrun" not in mail.text + mail.html
    assert "CAD 0.01" in warning(forecast="12500.01").text


def test_almost_used_up_is_never_shown_as_used_up() -> None:
    mail = warning(spent="12499.9999", percent="99.999999")
    assert "CAD 12,499.99 (99.9 %)" in mail.text and "100.0 %" not in mail.text + mail.html
    assert 'width="99%"' in mail.html and 'width="1%"' in mail.html


@pytest.mark.parametrize("percent", ["-3.2", "0"])
def test_a_credit_leaves_the_bar_almost_empty(percent: str) -> None:
    mail = warning(percent=percent, spent=percent)
    assert 'width="1%"' in mail.html and 'width="99%"' in mail.html


def test_huge_amounts_are_written_out() -> None:
    mail = warning(None, spent="1", amount="900000000", forecast="1E+15", low="1", high="9e17")
    for content in (mail.text, mail.html):
        assert "CAD 1,000,000,000,000,000" in content
        assert "900 000 000 000 000 000 CAD".replace(" ", NO_BREAK) in content


@pytest.mark.parametrize("place", ["name", "acronym", "currency", "portal_link"])
def test_html_in_a_figure_stays_text(place: str) -> None:
    mail = warning(None, **{place: 'https://x.ca/"><script>alert(1)</script>'})
    assert "<script" not in mail.html and Tags(mail.html).open == []
    assert "&lt;script&gt;" in mail.html


def test_a_link_that_is_no_web_address_is_no_link() -> None:
    assert "javascript" not in warning(portal_link="javascript:alert(1)").html


def test_a_template_in_a_figure_is_not_run() -> None:
    mail = warning(name="{{ 7 * 7 }}")
    assert "{{ 7 * 7 }}" in mail.text and "{{ 7 * 7 }}" in mail.html


def test_the_subject_is_one_line_and_names_stand_as_they_are() -> None:
    assert warning(acronym="A\r\nBcc: x@y.ca\x00B").subject.startswith("[A Bcc: x@y.ca B] At this pace")
    for name in ("Données «ouvertes» – été", "数据创新环境", "x" * 500):
        assert name in warning(name=name).text and name in warning(name=name).html


@pytest.mark.parametrize("figure", sorted(WARNING))
def test_a_missing_figure_is_named(figure: str) -> None:
    with pytest.raises(NeverError, match=f"'{figure}' is undefined"):
        RENDERER.render("warning", None, {name: value for name, value in WARNING.items() if name != figure})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forecast": "abc"}, "'abc' is not an amount"),
        ({"low": "NaN"}, "'NaN' is not an amount"),
        ({"high": None}, "'None' is not an amount"),
        ({"used_up_on": "12/01/2027"}, "'12/01/2027' is not a day"),
        ({"at_100": "explode"}, "explode"),
    ],
)
def test_a_figure_that_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NeverError, match=said):
        warning(**changes)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_rows_of_the_text_fit_in_80_columns(language: str) -> None:
    rows = re.findall(r"(?m)^  [^- ].{0,18}  +.*$", warning(language, portal_link=None).text)
    assert len(rows) == 6
    assert max(map(len, rows)) <= 80


def test_both_languages_say_the_same_things() -> None:
    named = [
        re.findall(r"{% set (\w+)", (TEMPLATES / "warning" / f"words.{language}.txt").read_text("utf-8"))
        for language in ("en", "fr")
    ]
    assert named[0] == named[1]
