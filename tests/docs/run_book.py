"""The commands of the run book, for the tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.docs import markdown, sources

PAGE = "docs/operations.md"
OF_AZURE = {"az", "azd"}
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# A paragraph, an item of a list, or a row of a table.
PIECES = re.compile(r"\n\s*\n|\n(?=\s*(?:[-|]|\d+\.) )")


@dataclass(frozen=True)
class Command:
    """A command as it is written. says_so: `needs Azure` stands with it."""

    text: str
    says_so: bool

    @property
    def program(self) -> str:
        """Its first word, after what is set for it alone."""
        return next(word for word in self.text.split() if "=" not in word)

    @property
    def needs_azure(self) -> bool:
        """Whether nothing can run it here."""
        return self.program in OF_AZURE


@cache
def commands() -> list[Command]:
    """Each once, in the page's order."""
    return list({each.text: each for each in _found(sources.read(PAGE))}.values())


def _found(text: str) -> Iterator[Command]:
    blocks = [found.span() for found in FENCE.finditer(text)]
    for start, end in blocks:
        says_so = "needs Azure" in PIECES.split(text[:start].rstrip())[-1]
        for line in text[start:end].splitlines()[1:-1]:
            yield Command(line.strip(), says_so)
    for piece in PIECES.split(FENCE.sub("", text)):
        for span in markdown.SPAN.findall(re.sub(r"\s+", " ", piece)):
            if _is_command(span):
                yield Command(span, "needs Azure" in piece)


@cache
def _programs() -> set[str]:
    return {command.split()[0] for command in sources.commands()} | OF_AZURE


def _is_command(span: str) -> bool:
    words = [word for word in span.split() if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    return bool(words) and words[0] in _programs()
