"""A mail as bytes: what stands in its headers is what a reader's program makes of them."""

from __future__ import annotations

import base64
import quopri
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.adapters.mail.mime import build
from shared.ports.errors import NeverError
from shared.ports.mails import OutgoingMail

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SOME = (
    *("le", "budget", "épuisé", "à", "été", "qu’il", "(100 %)", "[FORÊT]"),
    *("déjà", "/", "décembre", "85,3", "–", "…", "ÉÉÉ"),
)
WORDS = st.sampled_from(SOME)
TEXTS = st.lists(WORDS, min_size=1, max_size=30).map(" ".join)


def header(name: str, subject: str = "x", sender_name: str = "Warden", reply_to: str = "") -> str:
    """A header's text as RFC 2047 has it read: unfolded, and without the blanks between encoded words."""
    mail = OutgoingMail("<a@b.ca>", ("a@b.ca",), subject, "text", "<p>", reply_to=reply_to)
    content = build(mail, "warden@b.ca", sender_name, NOW).as_bytes()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    found = re.search(rb"^" + name.encode() + rb": ?((?:.|\r\n[ \t])*?)\r\n(?![ \t])", content, re.MULTILINE)
    assert found is not None
    unfolded = re.sub(r"\r\n(?=[ \t])", "", found[1].decode("ascii"))
    together = re.sub(r"(\?=)[ \t]+(=\?)", r"\1\2", unfolded)
    return re.sub(r"=\?utf-8\?([qb])\?(.*?)\?=", _decoded, together, flags=re.IGNORECASE).strip()


def _decoded(word: re.Match[str]) -> str:
    text = word[2].replace("_", " ").encode()
    return (quopri.decodestring(text) if word[1].lower() == "q" else base64.b64decode(text)).decode()


@given(subject=TEXTS)
@example(subject="[P11] 100 % of the budget reached (100.0 % used): the project is being locked")
@example(subject="word" * 30 + ": and more")
def test_a_folded_subject_keeps_one_space_where_there_was_one(subject: str) -> None:
    assert header("Subject", subject=subject) == subject


@given(name=TEXTS)
def test_a_folded_name_does_so_too(name: str) -> None:
    assert header("From", sender_name=name).replace('"', "") == f"{name} <warden@b.ca>"


def test_an_answer_can_not_bring_a_header_with_it() -> None:
    with pytest.raises(NeverError, match="line break"):
        header("Reply-To", reply_to="a@b.ca\r\nBcc: x@y.ca")
