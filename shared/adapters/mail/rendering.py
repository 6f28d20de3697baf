"""Mails from templates and their context, with Jinja2.

A template is a folder in shared/templates with `subject.txt`, `body.txt` and `body.html`. Its structure is
written once; its sentences stand in `words.en.txt` and `words.fr.txt`, as plain text (blocks `{% set name %}`),
which `body.html` escapes like any value. A translator touches nothing else. A template without words files is
in English only. The comment at the top of `body.txt` says what the template takes. `layout.txt` and
`layout.html` are what all mails have around them, and `parts.html` is what several are made of.

Every template understands `undeliverable`, a list of [address, reason]: it is then a mail that could
not reach these people (an empty list: that is for nobody) and goes to the operators, with a note at its top and in its
subject.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.adapters.mail import formats
from shared.adapters.mail.plain_text import html_to_text
from shared.domain.projects import LANGUAGES
from shared.ports.errors import NeverError
from shared.ports.mails import RenderedMail

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.runtime import Context

# At the start of the subjects of what operators get.
OPERATORS = "[Budget Warden]"
TEMPLATES = Path(__file__).parents[2] / "templates"


class TemplateRenderer:
    """Its `render` is a MailRenderer; templates are read and compiled once, when they are first used.

    support: whom a project's people can ask, as a text; empty for nobody. can_reply: whether replies are read.
    """

    def __init__(self, folder: Path = TEMPLATES, support: str = "", can_reply: bool = False) -> None:
        self._folder = folder
        self._contact = {"support": support or None, "can_reply": can_reply}

    def render(self, template: str, language: str | None, context: Mapping[str, Any]) -> RenderedMail:
        """The mail in `en`, in `fr`, or for None in both, English first.

        Raises NeverError, which names the template, the language or the value that is missing or wrong.
        """
        from jinja2 import TemplateError

        languages = self._languages(template, language)
        try:
            return self._rendered(template, languages, self._contact | {"undeliverable": None} | dict(context))
        except (TemplateError, ValueError, TypeError, ArithmeticError) as error:
            raise NeverError(f"the mail '{template}' can't be made from its figures: {error}") from error

    def _languages(self, template: str, language: str | None) -> Sequence[str]:
        if template not in self._names:
            raise NeverError(f"there is no mail template '{template}'; there are: {', '.join(self._names)}")
        if language is not None and language not in LANGUAGES:
            raise NeverError(f"there are no mails in the language '{language}'; there are: {', '.join(LANGUAGES)}")
        if not (self._folder / template / "words.en.txt").exists():
            return ("en",)
        return (language,) if language else LANGUAGES

    @cached_property
    def _names(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob("*/subject.txt"))

    def _rendered(self, template: str, languages: Sequence[str], context: dict[str, Any]) -> RenderedMail:
        parts = [self._part(template, language, context) for language in languages]
        subjects = [part["words"].subject for part in parts if part["words"]]
        subject = one_line(self._fill(f"{template}/subject.txt", context | {"subjects": subjects}))
        whole = context | {"parts": parts, "subject": subject, "preview": _preview(parts[0]["text"], subject)}
        own_layout = f"{template}/layout.html"
        return RenderedMail(
            subject=subject if context["undeliverable"] is None else _undelivered(subject),
            text=self._fill("layout.txt", whole).strip() + "\n",
            html=self._fill(own_layout if (self._folder / own_layout).exists() else "layout.html", whole),
        )

    def _part(self, template: str, language: str, context: dict[str, Any]) -> dict[str, Any]:
        """One language's words, text and HTML."""
        known = context | {"language": language}
        words = None
        if (self._folder / template / f"words.{language}.txt").exists():
            words = _environment(self._folder).get_template(f"{template}/words.{language}.txt").make_module(known)
        known["words"] = words
        return {
            "language": language,
            "words": words,
            "text": self._fill(f"{template}/body.txt", known).strip(),
            "html": formats.unbroken(self._fill(f"{template}/body.html", known)),
        }

    def _fill(self, name: str, values: Mapping[str, Any]) -> str:
        return _environment(self._folder).get_template(name).render(values)


def _undelivered(subject: str) -> str:
    return f"{OPERATORS} Undelivered: {subject.removeprefix(OPERATORS).lstrip()}"


def _preview(text: str, subject: str) -> str:
    """The first paragraph that says more than the subject."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return next((each for each in paragraphs if each and each.casefold() not in subject.casefold()), "")


def one_line(text: str) -> str:
    """The text as a mail's subject: control characters become spaces, and several spaces one."""
    spaced = (" " if unicodedata.category(character) == "Cc" else character for character in text)
    return " ".join("".join(spaced).split())


@cache
def _environment(folder: Path) -> Environment:
    """The folder's templates, each compiled once in a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(("html",), default=False),
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": pass_context(_money),
        "percent": pass_context(_percent),
        "day": pass_context(_day),
        "months_to": pass_context(_months_to),
        "day_before": formats.day_before,
        "decimal": formats.decimal,
        "shown": formats.shown,
        "html_to_text": html_to_text,
        "one_line": one_line,
        "rough": pass_context(_rough),
        "de": formats.de,
    }
    return environment


def _money(context: Context, amount: Any, currency: str) -> str:
    return formats.money(amount, currency, context["language"])


def _rough(context: Context, amount: Any, currency: str) -> str:
    return formats.rough(amount, currency, context["language"])


def _percent(context: Context, value: Any) -> str:
    return formats.percent(value, context["language"])


def _day(context: Context, value: Any) -> str:
    return formats.day(value, context["language"])


def _months_to(context: Context, first: Any, last: Any) -> str:
    return formats.months(first, last, context["language"])
