"""How long an answer asks to wait, whatever stands in its headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.retry_after import LONGEST_WAIT, wait_in

NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("30", timedelta(seconds=30)),
        ("81,120", timedelta(seconds=120)),
        ("Fri, 20 Nov 2026 02:00:30 GMT", timedelta(seconds=30)),
        ("Fri, 20 Nov 2026 01:00:00 GMT", timedelta(0)),
        ("Mon, 20 Nov 2028 02:00:30 GMT", LONGEST_WAIT),
        ("20 Nov 99999999999 02:00:30 GMT", None),
        ("20 Nov 2026 02:00:99999999999", None),
        ("20 Nov 2026 02:00:30 +0000999999999999999", None),
        ("", None),
        ("soon", None),
    ],
)
def test_a_wait_is_seconds_or_a_date_and_what_can_not_be_read_is_none(text: str, wait: timedelta | None) -> None:
    assert wait_in(text, NOW) == wait


@given(st.text(alphabet="0123456789 :+-,.GMTNovFri/", max_size=60))
def test_no_header_is_an_error(text: str) -> None:
    wait = wait_in(text, NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT
