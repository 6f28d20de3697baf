"""What a person writes of a budget's terms, in a file or to change one; all raise ValueError, saying what to write."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from shared.domain.budgets import Rollover
from shared.domain.money import parse_amount
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.texts import shortened

EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)
KINDS = ", ".join(PeriodKind)
OF_THE_SETTINGS = "default"


def parse_kind(text: str) -> PeriodKind:
    """How often a budget begins anew; annual where the text is empty."""
    if text and text.lower() not in set(PeriodKind):
        raise ValueError(f"'{shortened(text)}' is no period; write one of {KINDS}")
    return PeriodKind(text.lower()) if text else PeriodKind.ANNUAL


def parse_day(text: str) -> date | None:
    """A day from 2000 up to 2100; None where the text is empty."""
    if not text:
        return None
    # fromisoformat alone would also take 20260401 and 2026-W14-3.
    try:
        day = date.fromisoformat(text) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        day = None
    if day is not None and not EARLIEST <= day <= LATEST:
        raise ValueError(f"'{text}' is too far away; write year-month-day, from {EARLIEST} to {LATEST}")
    if day is None:
        raise ValueError(f"'{shortened(text)}' is no date; write year-month-day, such as 2026-04-01")
    return day


def parse_month(text: str) -> date:
    """The first day of a month from 2000 up to 2100."""
    try:
        day = parse_day(f"{text}-01")
    except ValueError:
        day = None
    if day is None:
        raise ValueError(f"'{shortened(text)}' is no month; write year-month, such as 2026-09")
    return day


def parse_opening_balance(text: str) -> Decimal:
    """What was spent before the costs that can be read; 0 for nothing."""
    try:
        return parse_amount(text)
    except ValueError as error:
        raise ValueError(f"the opening balance can't be right: {error}") from None


def parse_rollover(text: str, rule: PeriodRule) -> Rollover:
    """What follows a period of this rule; reset where the text is empty."""
    word = re.sub(r"[\s-]+", "_", text.lower())
    if word and word not in set(Rollover):
        raise ValueError(f"'{shortened(text)}' is no rollover; write one of {', '.join(Rollover)}")
    rollover = Rollover(word) if word else Rollover.RESET
    if word and rule.kind is PeriodKind.FIXED and rollover is not Rollover.STOP:
        raise ValueError(f"a fixed period has no next one, so it can't be {rollover}; leave it empty, or write stop")
    return rollover


def parse_thresholds(text: str) -> tuple[int, ...] | None:
    """A budget's own percents, in order; None for those of the settings."""
    if text.strip().lower() == OF_THE_SETTINGS:
        return None
    parts = [part for each in text.split(",") if (part := each.strip())]
    if not parts or not all(re.fullmatch("[0-9]{1,4}", part) and 0 < int(part) <= 1000 for part in parts):
        raise ValueError(
            f"'{text}' are no thresholds; write whole percents from 1 to 1000 such as 50,90,100, or {OF_THE_SETTINGS}"
        )
    return tuple(sorted({int(part) for part in parts}))
