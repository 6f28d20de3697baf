"""HTML to plain text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.mail.plain_text import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two &amp; three</p>", "One\n\nTwo & three"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n\n- two"),
        ("<table><tr><th>Spent</th><td>CAD 5</td></tr></table>", "Spent CAD 5"),
        ('<a href="https://x.ca/?a=1&amp;b=2">here</a>.', "here (https://x.ca/?a=1&b=2)."),
        ('<a href="mailto:a@b.ca">a@b.ca</a>', "a@b.ca"),
        ('<a href="javascript:alert(1)">here</a>', "here"),
        ("<style>p{}</style><script>alert(1)</script>ok", "ok"),
        ("<html><head><title>T</title></head><body>ok</body></html>", "ok"),
        ("line\n   one", "line one"),
        ("été &#127881; &nbsp;x", "été 🎉 x"),
        ("plain", "plain"),
        ("", ""),
        ("<p>unclosed <b>tags", "unclosed tags"),
        ("a < b and 3 > 2", "a < b and 3 > 2"),
    ],
)
def test_the_words_are_kept_and_the_rest_is_not(html: str, text: str) -> None:
    assert html_to_text(html) == text


@example("<![a;")
@example("<![;")
@example("<![CDATA[a > b]]>")
@given(st.text(alphabet="<>/!-?&;#ab \n\"'=[]scripthd", max_size=200))
def test_no_html_is_too_broken(html: str) -> None:
    assert isinstance(html_to_text(html), str)
