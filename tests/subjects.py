"""Subjects of mails without what would make every comparison long."""

from __future__ import annotations

import re


def short(subject: str) -> str:
    """The subject without how much exactly is used, and without who sends what operators get."""
    return re.sub(r" \([\d.,]+ % used\)", "", subject).removeprefix("[Budget Warden] ")
