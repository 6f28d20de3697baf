"""The wait that an HTTP answer asks for."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# No quota that we meet runs longer than an hour: a wait of more than a day is a mistake, and would lose the night.
LONGEST_WAIT = timedelta(days=1)


def wait_in(text: str, now: datetime) -> timedelta | None:
    """The wait in a header such as Retry-After: seconds or an HTTP date (RFC 9110), between nothing and a day.

    The longest, where several were joined (`81,120`); None where there is none.
    """
    # A date is cut behind its day of the week, without which it says the same.
    waits = [_one_wait(part.strip(), now) for part in text.split(",")]
    return max((wait for wait in waits if wait is not None), default=None)


def bounded(wait: timedelta) -> timedelta:
    """The wait, but not less than nothing and not more than a day."""
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def _one_wait(text: str, now: datetime) -> timedelta | None:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return bounded(timedelta(seconds=math.ceil(float(text))))
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # A date without a zone is GMT, as every HTTP date is.
    return bounded((until if until.tzinfo else until.replace(tzinfo=UTC)) - now)
