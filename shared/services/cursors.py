"""Cursors: behind which project a page begins, as a text that whoever asks for the next one hands back."""

from __future__ import annotations

import base64
import json
from decimal import Decimal

from shared.domain.money import plain, stored
from shared.domain.texts import shortened, storable
from shared.messages import LARGEST_ID
from shared.ports.standings import Order, Place
from shared.services.errors import RequestError

# Longer than any that we write.
LONGEST = 2_000
# As much as the databases of servers hold.
LARGEST = Decimal(10**18)


def write_cursor(place: Place, order: Order) -> str:
    """The cursor, in letters that a URL takes as they are."""
    parts = [order, place.text, plain(place.amount), place.project_id]
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")


def read_cursor(cursor: str, order: Order) -> Place:
    """Where the page begins. Raises RequestError where this was never written, or for another order."""
    try:
        of, place = _parsed(cursor)
    except (ValueError, ArithmeticError, RecursionError):
        said = f"'{shortened(cursor, 40)}' is no cursor of a list; take that of the page before, or none for the first"
        raise RequestError(said) from None
    if of is not order:
        raise RequestError(f"this cursor is of a list sorted by {of}, not by {order}; begin with the first page")
    return place


def _parsed(cursor: str) -> tuple[Order, Place]:
    if len(cursor) > LONGEST:
        raise ValueError("too long")
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    match parts:
        case [str(order), str(text), str(amount), int(project_id)] if not isinstance(project_id, bool):
            place = Place(text, Decimal(amount), project_id)
        case _:
            raise ValueError("other parts")
    if not (_is_amount(place.amount) and 0 < project_id <= LARGEST_ID and storable(text) == text):
        raise ValueError("no place")
    return Order(order), place


def _is_amount(amount: Decimal) -> bool:
    return amount.is_finite() and amount.copy_abs() < LARGEST and amount == stored(amount)
