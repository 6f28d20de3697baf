"""Cursors: what is handed back is what was written, and nothing else is taken."""

from __future__ import annotations

import base64
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ports.standings import Order, Place
from shared.services.cursors import read_cursor, write_cursor
from shared.services.errors import RequestError

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=100)
places = st.builds(Place, texts, st.decimals("-922337203", "922337203", places=10), st.integers(1, 2**31 - 1))


@given(places, st.sampled_from(Order))
def test_a_cursor_is_read_as_it_was_written(place: Place, order: Order) -> None:
    cursor = write_cursor(place, order)
    assert read_cursor(cursor, order) == place
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_a_cursor_of_another_order_is_refused() -> None:
    cursor = write_cursor(Place("", Decimal(0), 7), Order.ID)
    with pytest.raises(RequestError, match="sorted by id, not by used"):
        read_cursor(cursor, Order.USED)


def packed(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "?",
        "é",
        "AAAA",
        "a" * 5_000,
        packed({"order": "id"}),
        packed(["id", "", "0"]),
        packed(["name", "", "0", 1]),
        packed(["id", "", "0", "1"]),
        packed(["id", "", "0", True]),
        packed(["id", "", "0", 0]),
        packed(["id", "", "0", 10**30]),
        packed(["id", "", "NaN", 1]),
        packed(["id", "", "Infinity", 1]),
        packed(["id", "", "1e999999999", 1]),
        packed(["id", "", "9" * 40, 1]),
        packed(["id", "", "0.00000000001", 1]),
        packed(["id", "\0", "0", 1]),
        packed(["id", "\ud800", "0", 1]),
        packed([["id"], "", "0", 1]),
        "[" * 900,
    ],
)
def test_what_was_never_written_is_refused(cursor: str) -> None:
    with pytest.raises(RequestError, match="is no cursor of a list"):
        read_cursor(cursor, Order.ID)


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda it: base64.urlsafe_b64encode(it).decode()))
def test_whatever_comes_as_a_cursor_is_a_place_or_refused(cursor: str) -> None:
    try:
        read_cursor(cursor, Order.ID)
    except RequestError:
        return
