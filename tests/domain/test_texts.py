"""Texts from outside, cut and told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.texts import bare, digest, is_one_line, shortened, wholly


@given(st.text(max_size=50), st.integers(1, 40))
def test_a_shortened_text_is_never_too_long_and_whole_where_it_fits(text: str, longest: int) -> None:
    short = shortened(text, longest)
    assert len(short) <= longest
    assert short == text if len(text) <= longest else short.endswith("…")


@pytest.mark.parametrize("break_", ["\n", "\r", "\t", "\0", "\x0b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_a_control_character_makes_a_text_more_than_one_line(break_: str) -> None:
    assert not is_one_line(f"a{break_}b")


@pytest.mark.parametrize("text", ["", "Ann Lee", "Qualité de l’eau", "a\u00a0b", "日本語 🎉"])
def test_letters_blanks_and_signs_are_one_line(text: str) -> None:
    assert is_one_line(text)


@given(st.lists(st.text(max_size=9), max_size=3), st.lists(st.text(max_size=9), max_size=3))
def test_texts_are_told_apart_by_twelve_letters_and_digits(some: list[str], others: list[str]) -> None:
    assert digest(*some) == digest("\n".join(some))
    assert len(digest(*some)) == 12
    assert digest(*some).isalnum()
    assert (digest(*some) == digest(*others)) == ("\n".join(some) == "\n".join(others))


def test_halves_of_surrogate_pairs_have_a_digest_too() -> None:
    assert digest("a\ud800") == digest("a?")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no ann@b.co.", ["ann@b.co"]),
        ("<Ann@B.co>, 'ann@b.com'", ["Ann@B.co", "ann@b.com"]),
        ("joann@b.co x.ann@b.co ann@b.community", []),
        *((f"<x{sign}ann@b.co> <o{sign}{sign}ann@b.co>", []) for sign in "!#$%&'*+-/?^_`{|}~"),
        *((f"<ann@b.co{more}>", []) for more in (".uk", "-op", "--op", ".2b", "é")),
        *((f"{sign}ann@b.co{sign}", ["ann@b.co"]) for sign in "!#$%&'*+-/?^`{|}~.,;:()[]<>\"=\n\t"),
        ("mailto:ann@b.co?x to=ann@b.co all...ann@b.co... ann@b.co's", ["ann@b.co"] * 4),
        (r"In JSON: x\nann@b.co\r\nann@b.co\u003cann@b.co", ["ann@b.co"] * 3),
        ("", []),
    ],
)
def test_addresses_are_found_in_any_letters_and_not_within_others(text: str, found: list[str]) -> None:
    assert wholly(["ann@b.co", "", "ann@b.com"]).findall(text) == found
    assert wholly([]).findall(text) == []


@pytest.mark.parametrize(
    ("recipient", "address"),
    [
        (" Ann@B.co ", "ann@b.co"),
        ("Ann <x> <ann@B.co> ", "ann@b.co"),
        ("ann@é.co", "ann@xn--9ca.co"),
        ("o'ann@b.co", "o'ann@b.co"),
        ("", ""),
        ("ann@b..co", "ann@b..co"),
    ],
)
def test_addresses_are_compared_alone_in_small_ascii_letters(recipient: str, address: str) -> None:
    assert bare(recipient) == address
