"""HTML to plain text: what a mail program without HTML shows of a whole mail."""

from __future__ import annotations

import re
from html.parser import HTMLParser

BLOCKS = frozenset(
    (
        "address",
        "article",
        "blockquote",
        "div",
        "dl",
        "dt",
        "dd",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tr",
        "ul",
    )
)
UNSEEN = frozenset(("head", "script", "style", "template", "title"))


def html_to_text(html: str) -> str:
    """The words of some HTML, a line for each block, links with their address; never fails, whatever the HTML."""
    parser = _TextParser()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _TextParser(HTMLParser):
    """Collects the text in `pieces`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen: list[str] = []
        self._links: list[tuple[str, int]] = []

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Takes `<![…` for a comment up to `>`, as browsers do; Python's parser raises over unknown kinds of it."""
        return self.parse_bogus_comment(i, report)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begins a line for a block; remembers a link."""
        if tag in UNSEEN:
            self._unseen.append(tag)
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in ("td", "th"):
            self.pieces.append(" ")
        elif tag in BLOCKS:
            self.pieces.append("\n- " if tag == "li" else "\n")
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.pieces)))

    def handle_endtag(self, tag: str) -> None:
        """Ends a block, or writes a link's address after its words."""
        if tag in self._unseen:
            # What is left open inside ends with it.
            del self._unseen[self._unseen.index(tag) :]
        elif tag == "a" and self._links:
            self._end_link()
        elif tag in BLOCKS:
            self.pieces.append("\n\n" if tag == "p" else "\n")

    def handle_data(self, data: str) -> None:
        """Keeps the text that is seen; line ends in it are only spaces."""
        if not self._unseen:
            self.pieces.append(re.sub(r"\s+", " ", data))

    def _end_link(self) -> None:
        address, start = self._links.pop()
        words = "".join(self.pieces[start:]).strip()
        if address.startswith(("http:", "https:", "mailto:")) and address.removeprefix("mailto:") != words:
            self.pieces.append(f" ({address})")
