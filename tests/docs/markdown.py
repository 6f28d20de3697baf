"""Reading what the docs say: tables, links, and what is written as code."""

from __future__ import annotations

import re
from collections.abc import Iterator

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"""\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|href)=["']([^"']+)["']""")


def code(text: str) -> list[str]:
    """All that is written as code: fenced blocks, then spans."""
    return FENCED.findall(text) + SPAN.findall(FENCED.sub("", text))


def spans(text: str) -> list[str]:
    """What is written as code within lines."""
    return SPAN.findall(FENCED.sub("", text))


def tables(text: str) -> Iterator[list[list[str]]]:
    """Each table as rows of cells, its head first and without the line of dashes."""
    rows: list[list[str]] = []
    for line in [*FENCED.sub("", text).splitlines(), ""]:
        if line.lstrip().startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        elif rows:
            yield [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
            rows = []


def table(text: str, first_head: str) -> list[list[str]]:
    """The rows, without the head, of all tables whose first column has this head."""
    return [row for found in tables(text) if found[0][0].lower() == first_head for row in found[1:]]


def links(text: str) -> list[str]:
    """Where links and pictures lead, but for those to the web and within the page."""
    targets = [first or second for first, second in LINK.findall(FENCED.sub("", text))]
    return [target for target in targets if not re.match(r"[a-z]+:|#", target)]


def headings(text: str) -> list[str]:
    """The headings' anchors, as GitHub makes them."""
    lines = re.findall(r"^#+ +(.+?)\s*$", FENCED.sub("", text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines]
