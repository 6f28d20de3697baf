"""Texts from outside, cut and told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.texts import is_one_line, shortened


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
