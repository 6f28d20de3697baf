"""How much is tried of a long set of cases: all of it where EVERY_CASE is set (`make crash-test`), else some."""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")
ALL = "EVERY_CASE" in os.environ


def some(every: Sequence[T], one_in: int) -> Sequence[T]:
    """All, or one in so many, others each time."""
    return every if ALL else every[Random().randrange(one_in) :: one_in]
