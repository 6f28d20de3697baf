"""The run book: every mail to the operators is in it, and what needs Azure says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.docs import markdown, run_book, sources

# Their subject is put together elsewhere: what these say is found where they are called.
HANDED_ON = {"_notice"}


def operators_mails() -> Iterator[str]:
    """The subject of each notice that the code can write, … for what is filled in."""
    for path in sorted((sources.PROJECT / "shared").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and function.name not in HANDED_ON:
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in {"notice", "_notice"}:
                        yield subject_of(call, path.name)


def subject_of(call: ast.Call, file: str) -> str:
    """The third argument of each: as it is written, or of the constant that stands in its place."""
    given = call.args[2]
    match given:
        case ast.Starred(ast.Name("TEST_MAIL")):
            return "A mail to try it out"
        case ast.Constant(str(text)):
            written = text
        case ast.JoinedStr(parts):
            written = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)
        case _:
            raise AssertionError(f"{file}, line {call.lineno}: what is its subject? Write it where it is called")
    about_a_project = getattr(call.func, "attr", "") == "_notice"
    return re.sub("…+", "…", f"… {written}" if about_a_project else written)


def test_every_mail_to_the_operators_is_in_the_run_book_and_no_other():
    listed = [row[0] for row in markdown.table(sources.read(run_book.PAGE), "subject")]
    assert len(set(listed)) == len(listed)
    written = set(operators_mails())
    assert len(written) >= 20
    assert set(listed) == written


def test_what_needs_azure_says_so():
    needing = [each for each in run_book.commands() if each.needs_azure]
    assert len(needing) >= 10
    assert [each.text for each in needing if not each.says_so] == []


def test_the_page_has_what_an_operator_looks_for():
    for chapter in (
        "set-up",
        "from-dry-run-to-enforce",
        "a-normal-night",
        "the-cost-api-fails",
        "mail-or-a-web-hook-fails",
        "time-outs",
        "replaying",
        "restoring-a-backup",
        "moving-queues",
        "rotating-keys",
        "upgrading",
        "staging-before-production",
        "go-live",
        "spf-and-dkim",
        "retention-and-personal-data",
        "removing-it",
    ):
        assert chapter in markdown.headings(sources.read(run_book.PAGE))
