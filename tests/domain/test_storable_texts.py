"""Texts made fit for a column, and long lists cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.database.chunks import in_chunks
from shared.domain.texts import fitting, readable, storable, units


@given(st.text(alphabet=st.characters(), max_size=50), st.integers(1, 20))
def test_a_fitting_text_is_short_enough_and_can_be_encoded(text: str, longest: int):
    assert len(fitting(text, longest).encode("utf-16-le")) <= 2 * longest
    assert "\x00" not in fitting(text, longest)


@given(st.text(max_size=20))
def test_a_text_that_fits_stays_as_it_is(text: str):
    clean = text.replace("\x00", "")
    assert fitting(clean, 40) == clean


def test_a_cut_shows():
    assert fitting("abcdef", 4) == "abc…"


def test_a_cut_does_not_halve_a_character():
    assert fitting("ab😀😀", 5) == "ab😀…"


def test_a_cut_that_says_nothing_ends_with_the_text():
    assert fitting("ab😀😀", 5, "") == "ab😀"
    assert fitting("abc", 0, "") == ""


def test_a_text_is_as_long_as_sql_server_counts_it():
    assert [units(text) for text in ("", "abc", "é", "😀", "\ud800")] == [0, 3, 1, 2, 1]


def test_somebody_elses_text_becomes_one_line_that_can_be_shown():
    assert readable("a\x00b\r\n\x1b[31m c\u200b\ud800d", 40) == "a b [31m c d"
    assert readable("x" * 50, 5) == "xxxx…"


def test_what_a_database_refuses_is_replaced():
    assert storable("a\x00b\ud800c") == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])]
)
def test_a_long_list_comes_in_parts_that_hold_it_all(count: int, sizes: list[int]):
    parts = list(in_chunks(range(count)))
    assert [len(part) for part in parts] == sizes
    assert [value for part in parts for value in part] == list(range(count))
