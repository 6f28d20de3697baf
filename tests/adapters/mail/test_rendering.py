"""The mails' contents: what stands in them, in which language, and that nothing escapes its place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.adapters.mail.plain_text import html_to_text
from shared.adapters.mail.rendering import TEMPLATES, TemplateRenderer
from shared.ports.errors import NeverError
from shared.ports.mails import RenderedMail
from tests.adapters.mail.tags import Tags

NO_BREAK = "\N{NO-BREAK SPACE}"
ALERT: dict[str, Any] = {
    "acronym": "DIE1",
    "name": "Data Innovation Environment",
    "threshold": 80,
    "percent": "85.436612",
    "spent": "10679.5765",
    "amount": "12500",
    "currency": "CAD",
    "period_start": "2026-04-01",
    "period_end": "2027-04-01",
    "spent_yesterday": "61.4023",
    "spent_last_7_days": "412.77",
    "top_services": [["Virtual Machines", "5120.4471"], ["Storage", "1422.0391"]],
    "used_up_on": "2026-12-21",
    "at_100": "dry-run",
    "portal_link": "https://portal.example.ca/w/DIE1?a=1&b=2",
    "as_of": "2026-11-20",
}
NOTICE = {"subject": "The night is late", "intro": "Two scopes are missing.", "lines": ["a", "b"], "advice": "Wait."}

RENDERER = TemplateRenderer()


def plain_spaces(text: str) -> str:
    return text.replace(NO_BREAK, " ")


def alert(language: str | None = "en", **changes: Any) -> RenderedMail:
    return RENDERER.render("alert", language, ALERT | changes)


def test_the_english_alert_says_everything() -> None:
    mail = alert("en")
    assert mail.subject == "[DIE1] 80 % of the budget reached (85.4 % used)"
    for content in (mail.text, mail.html):
        for words in (
            "Data Innovation Environment",
            "85.4 %",
            "CAD 10,679.58",
            "CAD 12,500.00",
            "CAD 1,820.42",
            "1 April 2026 to 31 March 2027, both days included",
            "CAD 61.40",
            "CAD 412.77",
            "Virtual Machines",
            "CAD 5,120.45",
            "used up on 21 December 2026",
            "the lock is only being tried out",
            "As of 20 November 2026",
        ):
            assert plain_spaces(words) in plain_spaces(content)
    assert ALERT["portal_link"] in mail.text


def test_the_french_alert_says_everything() -> None:
    mail = alert("fr")
    assert plain_spaces(mail.subject) == "[DIE1] Seuil de 80 % du budget atteint (85,4 % utilisés)"
    for content in (mail.text, mail.html):
        for words in (
            "85,4 %",
            f"10{NO_BREAK}679,58{NO_BREAK}CAD",
            "du 1er avril 2026 au 31 mars 2027, ces deux jours compris",
            "sera épuisé le 21 décembre 2026",
            "En date du 20 novembre 2026",
        ):
            assert plain_spaces(words) in plain_spaces(content)
    assert "budget reached" not in mail.text


def test_a_project_without_a_language_gets_both_in_one_mail_english_first() -> None:
    mail = alert(None)
    english, french = plain_spaces(mail.subject).split(" / ")
    assert english == "[DIE1] 80 % of the budget reached (85.4 % used)"
    assert french == "Seuil de 80 % du budget atteint (85,4 % utilisés)"
    assert mail.text.index("has used") < mail.text.index("a utilisé")
    assert mail.html.count('lang="en"') == 2 and mail.html.count('lang="fr"') == 2


@pytest.mark.parametrize("language", ["en", "fr", None])
@pytest.mark.parametrize("threshold", [25, 50, 80, 100, 120])
@pytest.mark.parametrize("at_100", ["nothing", "dry-run", "lock"])
def test_every_alert_is_whole(language: str | None, threshold: int, at_100: str) -> None:
    spent = str(12500 * threshold // 100)
    mail = alert(language, threshold=threshold, percent=str(threshold), spent=spent, at_100=at_100)
    assert f"{threshold} %" in plain_spaces(mail.subject) and mail.subject.startswith("[DIE1] ")
    assert Tags(mail.html).open == []
    assert "{" not in mail.text and "None" not in mail.text and "None" not in mail.html
    assert "\n\n\n" not in mail.text
    assert not re.search(r"https?://(?!portal\.example\.ca)|<img|<link|url\(", mail.html)


def test_at_100_percent_the_words_fit() -> None:
    mail = alert(threshold=100, percent="104.2", spent="13025.01", at_100="lock", used_up_on="2026-11-18")
    assert mail.subject == "[DIE1] 100 % of the budget reached (104.2 % used): the project is being locked"
    for words in ("was used up on 18 November 2026", "is being locked", "Over the budget by", "CAD 525.01", "104.2 %"):
        assert words in mail.text and words in plain_spaces(mail.html)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_without_a_forecast_nothing_is_said_of_days_to_come(language: str) -> None:
    mail = alert(language, used_up_on=None)
    for content in (mail.text, mail.html):
        assert "pace," not in content and "rythme" not in content
    assert "\n\n\n" not in mail.text


def test_nothing_is_said_of_days_that_were_not_read() -> None:
    mail = alert(spent_yesterday=None)
    for content in (mail.text, mail.html):
        assert "Last 7 days" in content and "Yesterday" not in content
    mail = alert(spent_yesterday=None, spent_last_7_days=None)
    for content in (mail.text, mail.html):
        assert "Last 7 days" not in content and "Yesterday" not in content


def test_what_is_not_known_is_left_out() -> None:
    mail = alert(used_up_on=None, lasts=True, top_services=[], portal_link=None)
    assert "not expected to run out" in mail.text
    for content in (mail.text, mail.html):
        assert "cost most in" not in content and "Open the project" not in content


MISSING = [
    ["failed", "2026-06-01", "2026-06-30"],
    ["blank", "2026-07-01", "2026-07-31"],
    ["suspect", "2026-08-01", "2026-10-31"],
    ["unread", "2026-11-01", "2026-11-30"],
]


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        (
            "en",
            "These figures are not complete. Missing: June 2026 (could not be read), July 2026 (came "
            "without any charge, which is not believed yet), August to October 2026 (came with "
            "charges missing, which is not believed yet), November 2026 (not read in full yet).",
        ),
        (
            "fr",
            "Ces montants sont incomplets. Il manque : juin 2026 (les coûts n’ont pas pu être lus), juillet 2026 "
            "(aucun coût n’a été reçu, ce qui reste à confirmer), août à octobre 2026 (des coûts ont disparu, ce qui "
            "reste à confirmer), novembre 2026 (les coûts n’ont pas encore été lus en entier).",
        ),
    ],
)
def test_what_is_missing_of_the_figures_is_said(language: str, sentence: str) -> None:
    mail = alert(language, missing=MISSING)
    assert sentence in mail.text and sentence in mail.html
    assert "\n\n\n" not in mail.text and Tags(mail.html).open == []
    assert sentence[:20] not in alert(language, missing=[]).text + alert(language).text


@pytest.mark.parametrize(
    ("figures", "english", "french"),
    [
        ({}, "used up on 21 December 2026 or sooner", "épuisé le 21 décembre 2026 ou plus tôt"),
        ({"used_up_on": None}, "can't be told while costs are missing", "on ne peut pas dire si le budget suffira"),
        ({"spent": "13025.01"}, "The budget is used up.", "Le budget est épuisé."),
    ],
)
def test_what_is_expected_of_incomplete_figures_is_no_more_than_is_known(
    figures: dict[str, Any], english: str, french: str
) -> None:
    mail = alert(None, missing=MISSING, **figures)
    assert english in mail.text and french in mail.text
    assert "not expected to run out" not in mail.text and "ne devrait pas" not in mail.text


def test_almost_used_up_is_never_shown_as_used_up() -> None:
    mail = alert(spent="12499.9999", percent="99.999999")
    assert "CAD 12,499.99 (99.9 %)" in mail.text and "CAD 0.01" in mail.text
    assert "100.0 %" not in mail.text + mail.html
    assert 'width="99%"' in mail.html and 'width="1%"' in mail.html


def test_the_link_of_a_portal_is_a_web_address_or_no_link() -> None:
    assert 'href="https://portal.example.ca/w/DIE1?a=1&amp;b=2"' in alert().html
    assert "javascript" not in alert(portal_link="javascript:alert(1)").html


@pytest.mark.parametrize("place", ["name", "acronym", "currency", "portal_link"])
def test_html_in_a_figure_stays_text(place: str) -> None:
    attack = 'https://x.ca/"><script>alert(1)</script>'
    mail = alert(None, **{place: attack})
    assert "<script" not in mail.html and Tags(mail.html).open == []
    assert "script" not in Tags(mail.html).seen


def test_html_in_a_services_name_or_a_notice_stays_text() -> None:
    attack = "<script>alert(1)</script>&<b>"
    service = alert(top_services=[[attack, "1"]]).html
    notice = RENDERER.render(
        "notice", None, dict.fromkeys(("subject", "intro", "advice"), attack) | {"lines": [attack]}
    )
    note = alert(undeliverable=[[attack, attack]]).html
    for html in (service, notice.html, note):
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_a_template_in_a_figure_is_not_run() -> None:
    assert "{{ 7 * 7 }}" in alert(name="{{ 7 * 7 }}").text


@pytest.mark.parametrize("figure", sorted(ALERT))
def test_a_missing_figure_is_named(figure: str) -> None:
    with pytest.raises(NeverError, match=f"'{figure}' is undefined"):
        RENDERER.render("alert", None, {name: value for name, value in ALERT.items() if name != figure})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spent": "abc"}, "'abc' is not an amount"),
        ({"percent": "NaN"}, "'NaN' is not an amount"),
        ({"as_of": "20/11/2026"}, "'20/11/2026' is not a day"),
        ({"at_100": "explode"}, "explode"),
        ({"top_services": [["x"]]}, "alert"),
    ],
)
def test_a_figure_that_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NeverError, match=said):
        alert(**changes)


def test_unknown_templates_and_languages_are_said_with_what_there_is() -> None:
    with pytest.raises(NeverError, match="there are: alert, lock, notice, warning, whole"):
        RENDERER.render("../settings", "en", {})
    with pytest.raises(NeverError, match="there are: en, fr"):
        RENDERER.render("alert", "de", ALERT)


def test_a_subject_is_one_line_whatever_the_names_hold() -> None:
    subject = alert(acronym="A\r\nBcc: x@y.ca\x00B").subject
    assert subject == "[A Bcc: x@y.ca B] 80 % of the budget reached (85.4 % used)"


@pytest.mark.parametrize("name", ["Données «ouvertes» – été", "数据创新环境", "🎉 Fête", "x" * 500])
def test_names_in_any_letters_stand_as_they_are(name: str) -> None:
    assert name in alert(name=name).text and name in alert(name=name).html


@pytest.mark.parametrize("language", ["en", "fr", None])
def test_a_notice_is_in_english_once(language: str | None) -> None:
    mail = RENDERER.render("notice", language, NOTICE)
    assert mail.subject == "[Budget Warden] The night is late"
    assert mail.text.count("Two scopes are missing.") == 1
    assert "  - a\n  - b\n" in mail.text and "What to do: Wait." in mail.text
    assert "<li" in mail.html and Tags(mail.html).open == []


def test_a_notice_without_lines_or_advice_is_whole() -> None:
    mail = RENDERER.render("notice", None, NOTICE | {"lines": [], "advice": None})
    assert "What to do" not in mail.text + mail.html and Tags(mail.html).open == []


def test_a_whole_mail_goes_out_as_its_sender_wrote_it() -> None:
    mail = RENDERER.render("whole", None, {"subject": "Hello <you>", "body": "<p>One &amp; <b>two</b></p>"})
    assert mail == RenderedMail("Hello <you>", "One & two\n", mail.html)
    assert mail.html.strip() == "<p>One &amp; <b>two</b></p>"


def test_a_whole_mail_says_what_was_attached_and_is_not_sent() -> None:
    context = {"subject": "Hello", "body": "<p>One</p>", "attachments": ["<a>.pdf", "b.csv"]}
    mail = RENDERER.render("whole", None, context)
    assert mail.text == "Not sent with this mail / Non joint à ce courriel : <a>.pdf, b.csv\n\nOne\n"
    assert "Non joint à ce courriel&nbsp;:</span> &lt;a&gt;.pdf, b.csv</p>" in mail.html
    assert Tags(mail.html).open == []
    assert "joint" not in RENDERER.render("whole", None, context | {"attachments": []}).text


@pytest.mark.parametrize(
    ("template", "figures"),
    [("alert", ALERT), ("notice", NOTICE), ("whole", {"subject": "Hello", "body": "<p>One</p>"})],
)
def test_a_mail_that_could_not_be_delivered_says_to_whom_and_why(template: str, figures: dict[str, Any]) -> None:
    plain = RENDERER.render(template, None, figures)
    mail = RENDERER.render(template, None, figures | {"undeliverable": [["ann@", "there is nothing after the @"]]})
    assert mail.subject == f"[Budget Warden] Undelivered: {plain.subject.removeprefix('[Budget Warden] ')}"
    for content in (mail.text, mail.html):
        assert "ann@" in content and "there is nothing after the @" in content
    assert plain.text.strip() in mail.text
    assert "could not be delivered" not in plain.html


def test_every_template_folder_has_its_three_files_and_both_languages_say_the_same_things() -> None:
    for template in ("alert", "lock", "notice", "warning", "whole"):
        assert {"subject.txt", "body.txt", "body.html"} <= {path.name for path in (TEMPLATES / template).iterdir()}
    named = [
        re.findall(r"{% set (\w+)", (TEMPLATES / "alert" / f"words.{language}.txt").read_text("utf-8"))
        for language in ("en", "fr")
    ]
    assert named[0] == named[1]


# --- whom to ask, what comes first, what happens at 100 % ---

ASKED = {
    ("cloud-help@example.com", True): ("Questions? Reply to this mail, or ask cloud-help@example.com.", "Répondez à"),
    ("555-0100", False): ("Questions? Ask 555-0100.", "Des questions ? Adressez-vous à 555-0100."),
    ("", True): ("Questions? Reply to this mail.", "Des questions ? Répondez à ce courriel."),
}


@pytest.mark.parametrize(("support", "can_reply"), ASKED)
@pytest.mark.parametrize("template", ["alert", "warning", "lock"])
def test_each_mail_says_whom_to_ask(template: str, support: str, can_reply: bool) -> None:
    figures = ALERT | {"forecast": "13300", "low": "12800", "high": "13900"}
    figures |= {"what": "locked", "by_hand": False, "level": "ReadOnly", "stopped": False, "ask": None}
    mail = TemplateRenderer(support=support, can_reply=can_reply).render(template, None, figures)
    for words in ASKED[support, can_reply]:
        assert words in plain_spaces(mail.text) and words in plain_spaces(mail.html)
    assert "Questions?" not in RENDERER.render(template, None, figures).text


def test_what_a_list_of_mails_shows_first_is_the_message_itself() -> None:
    says = "Data Innovation Environment (DIE1) has used 85.4 % of its budget for this period."
    mail = alert(None)
    assert html_to_text(mail.html).startswith(says)
    assert mail.text.startswith("80 % of the budget reached (85.4 % used)\n\n(Le texte français suit")
    assert html_to_text(RENDERER.render("notice", None, NOTICE).html).startswith("Two scopes are missing.")


@pytest.mark.parametrize(
    ("changes", "english", "french"),
    [
        ({}, "it can be changed only in part, or not at all, until", "qu’en partie, ou pas du tout, tant que"),
        ({"lock_level": "CanNotDelete"}, "nothing in it can be deleted until", "rien ne peut y être supprimé tant que"),
        ({"lock_level": "ReadOnly"}, "can be created, changed or deleted until", "ne peut y être créé, modifié ni"),
        ({"lock_stops": True}, "that are running are stopped (deallocated) first", "sont d’abord arrêtés (désalloués)"),
    ],
)
def test_before_100_percent_it_is_said_what_the_lock_will_mean(
    changes: dict[str, Any], english: str, french: str
) -> None:
    mail = alert(None, at_100="lock", **changes)
    for content in (mail.text, mail.html):
        assert english in content and french in plain_spaces(content)
        assert "is being locked" not in content


def test_at_100_percent_nobody_is_told_to_stop_what_can_not_be_changed() -> None:
    full = {"threshold": 100, "percent": "101", "spent": "12625", "at_100": "lock"}
    locked = alert(lock_level="ReadOnly", **full)
    assert "Stop or delete what is not needed" not in locked.text
    assert "ask your platform team to take the lock off for that" in locked.text
    assert "Stop or shrink what is not needed" in alert(lock_level="CanNotDelete", **full).text
    assert "Stop or delete what is not needed" in alert(**full | {"at_100": "nothing"}).text
    assert alert(is_locked=True, **full).subject.endswith("used): the project is locked")


@pytest.mark.parametrize(("acronym", "whose"), [("AIR", "d’AIR"), ("ÉCO", "d’ÉCO"), ("DIE1", "de DIE1")])
def test_french_has_its_elisions_and_spaces(acronym: str, whose: str) -> None:
    mail = alert("fr", acronym=acronym)
    assert f"aux personnes-ressources {whose}." in mail.text
    assert f"Que faire{NO_BREAK}?" in mail.text
    assert "avant qu’il ne soit épuisé" in mail.text


@pytest.mark.parametrize(
    ("language", "label", "locks"),
    [
        (
            "en",
            "of which allocated",
            "Allocated costs lock nothing. Only once its own costs reach the budget is the project locked: nothing in "
            "it can be created, changed or deleted until the lock is taken off.",
        ),
        (
            "fr",
            "dont coûts répartis",
            "Les coûts répartis ne verrouillent rien. Le projet n’est verrouillé que lorsque ses propres coûts "
            "atteignent le budget : rien ne peut y être créé, modifié ni supprimé tant que le verrou n’est pas retiré.",
        ),
    ],
)
def test_what_is_allocated_is_shown_apart_and_locks_nothing(language: str, label: str, locks: str) -> None:
    mail = alert(language, threshold=100, spent="13000", allocated="4000.5", at_100="own", lock_level="ReadOnly")
    for content in (mail.text, mail.html):
        assert label in content
        assert re.search(r"4.000[.,]50", plain_spaces(content))
        assert locks in plain_spaces(content)
        assert "being locked" not in content
        assert "en train d" not in content
    without = alert(language, allocated=None)
    assert label not in without.text + without.html
