"""Files without a manifest: each is a run of its billing account's export `file`, submitted when it is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import combinations

from shared.domain.charges import CostMetric
from shared.domain.coverage import day_in_words, month_in_words
from shared.domain.exports.runs import SERVED_BY, Dataset, Export
from shared.domain.exports.sums import Sums
from shared.domain.periods import month_of
from shared.domain.texts import named

FILE = "file"


def file_export(provider: str, billing_account: str, metric: CostMetric, is_focus: bool) -> Export:
    """The export of a billing account's files. Nothing in them says which costs they hold, but FOCUS has both."""
    dataset = Dataset.FOCUS if is_focus else SERVED_BY[metric]
    return Export(provider, f"{billing_account}/{FILE}", FILE, dataset, billing_account=billing_account)


@dataclass(frozen=True, slots=True)
class FileRun:
    """What a file speaks for. last_days: the last day of its charges, by billing period."""

    name: str
    export: Export
    last_days: Mapping[date, date]


def last_days(charges: Sums) -> dict[date, date]:
    """The last day of placed charges in each billing period, of its own month's days where there are some."""
    found: dict[date, set[date]] = {}
    for day, of_rows in charges.days:
        found.setdefault(of_rows or day.replace(day=1), set()).add(day)
    return {period: last_of(period, days) for period, days in found.items()}


def last_of(period: date, days: Iterable[date]) -> date:
    """The last of some days on which a billing period has charges: of its own month's, where there are such."""
    return max(days, key=partial(_rank, period))


def _rank(period: date, day: date) -> tuple[bool, date]:
    return day in month_of(period), day


Stored = Mapping[tuple[str, date], date]
"""The last day of what is stored, by an export's key and billing period"""


def refusals(files: Sequence[FileRun], stored: Stored, *, parts: bool = False, force: bool = False) -> list[str]:
    """Why files can't be imported together, in sentences; none where they can.

    parts: they are parts of one run. force: one that ends before what it would replace is meant to.
    """
    twice = [] if parts else [_of_one_period(*pair) for pair in combinations(files, 2)]
    early = [] if force else _ending_early(files, stored)
    return [each for each in twice if each] + early


def _of_one_period(one: FileRun, other: FileRun) -> str | None:
    both = sorted(one.last_days.keys() & other.last_days.keys())
    if one.export.key != other.export.key or not both:
        return None
    months = named([month_in_words(period) for period in both])
    return f"{one.name} and {other.name} both hold {months}: add --parts if they are parts of one export, or import one"


def _ending_early(files: Sequence[FileRun], stored: Stored) -> list[str]:
    names: dict[tuple[str, date], dict[date, str]] = {}
    for file in files:
        for period, day in file.last_days.items():
            of_days = names.setdefault((file.export.key, period), {})
            of_days[day] = max(of_days.get(day, ""), file.name)
    found = []
    for (key, period), of_days in sorted(names.items()):
        day, last = last_of(period, of_days), stored.get((key, period))
        # Of a month's own days, and of others, which say nothing of how far it is delivered, the own ones are later.
        if last is not None and _rank(period, day) < _rank(period, last):
            found.append(
                f"{of_days[day]} ends on {day_in_words(day)}, and what it would replace of {month_in_words(period)} on "
                f"{day_in_words(last)}: add --force if that is meant"
            )
    return found
