"""Mails of a staging installation, and of costs that are made up, say so."""

from __future__ import annotations

import pytest

from shared.adapters.mail.marked import MarkedMailer
from shared.ports.errors import LaterError
from shared.ports.mails import OutgoingMail, Refusal
from tests.fakes import FakeMailer

MAIL = OutgoingMail(
    "<1@example.com>",
    ("ann@example.com",),
    "80 %",
    "Hello",
    '<html><body class="x"><p>Hello</p></body></html>',
    cc=("bob@example.com",),
    bcc=("cat@example.com",),
)
OPERATORS = ("ops@example.com", "more@example.com")


def test_the_operators_of_staging_get_all_mails_and_read_whom_they_are_for() -> None:
    inner = FakeMailer()
    assert MarkedMailer(lambda: inner, "staging", OPERATORS).send(MAIL).refused == {}
    (sent,) = inner.sent
    assert (sent.to, sent.cc, sent.bcc) == (OPERATORS, (), ())
    assert sent.subject == "[staging] 80 %"
    assert sent.text == "[staging] For: ann@example.com, bob@example.com, cat@example.com\n\nHello"
    assert '<body class="x"><p><strong>[staging] For: ann@example.com' in sent.html
    assert sent.message_id == MAIL.message_id


def test_made_up_costs_are_marked_and_go_to_whom_they_are_for() -> None:
    inner = FakeMailer()
    MarkedMailer(lambda: inner, "made-up costs").send(MAIL)
    (sent,) = inner.sent
    assert (sent.to, sent.cc, sent.bcc) == (MAIL.to, MAIL.cc, MAIL.bcc)
    assert sent.subject == "[made-up costs] 80 %"
    assert sent.text.startswith("[made-up costs]\n")


@pytest.mark.parametrize("bare", ["<p>Hello</p>", ""])
def test_html_without_a_body_begins_with_the_mark(bare: str) -> None:
    inner = FakeMailer()
    MarkedMailer(lambda: inner, "<x>").send(OutgoingMail("<1@example.com>", MAIL.to, "s", "t", bare))
    assert inner.sent[0].html == f"<p><strong>[&lt;x&gt;]</strong></p>{bare}"


def test_where_all_operators_are_refused_it_is_tried_again() -> None:
    inner = FakeMailer(refuses={address: Refusal("550 unknown", for_good=True) for address in OPERATORS})
    with pytest.raises(LaterError, match="550 unknown"):
        MarkedMailer(lambda: inner, "staging", OPERATORS).send(MAIL)


def test_an_operator_who_is_named_twice_is_refused_as_one() -> None:
    inner = FakeMailer(refuses={"ops@example.com": Refusal("550 unknown", for_good=True)})
    with pytest.raises(LaterError, match="550 unknown"):
        MarkedMailer(lambda: inner, "staging", ("ops@example.com", "OPS@example.com")).send(MAIL)
