"""Whose charges of a month count, and what is known of it then: of what one or several sources have delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from shared.domain.coverage import Coverage
from shared.domain.exports.days import Spoken
from shared.domain.exports.feeding import QUERY, Fed, Feeds, feeds_of, suppliers, told_by
from shared.domain.exports.reading import read_through_all
from shared.domain.exports.runs import ExportRun


@dataclass(frozen=True, slots=True)
class Delivery:
    """That a run, which was believed of what its export can feed, spoke for a billing period of it."""

    fed: Fed
    run: ExportRun
    spoken: Spoken

    def covers(self, fed: Fed) -> bool:
        """Whether it says something of all of this."""
        return self.fed in (fed, fed.whole)


def needed(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Those that say something still: of the others, newer runs of their export say all."""
    kept: dict[tuple[str, Fed, date], list[Delivery]] = {}
    for each in sorted(deliveries, key=lambda each: each.run.age, reverse=True):
        newer = kept.setdefault((each.run.export.key, each.fed, each.spoken.period), [])
        left = each.spoken
        for other in newer:
            left = left.without(other.spoken)
        if left:
            newer.append(each)
    return [each for of_one in kept.values() for each in of_one]


def runs_of(
    deliveries: Iterable[Delivery], fed: Fed, month: date, sources: Collection[str]
) -> list[tuple[ExportRun, Spoken]]:
    """Those of some exports that have spoken for a month of what is fed, and for what of it."""
    return [
        (each.run, each.spoken)
        for each in deliveries
        if each.covers(fed) and each.spoken.period == month and each.run.export.key in sources
    ]


@dataclass(frozen=True, slots=True)
class Sources:
    """Who feeds a sub-account, what was delivered of it, and whose charges are stored.

    deliveries: of the metric that is asked for, by export in the order in which these were found. held: export keys, or
    QUERY, by what they say and month; of a group that is not named, as of its sub-account.
    """

    feeds: Feeds
    deliveries: Sequence[Delivery] = ()
    held: Mapping[tuple[Fed, date], tuple[str, ...]] = field(default_factory=dict)

    def of(self, fed: Fed, month: date) -> tuple[str, ...]:
        """Whose charges of the month count for what is fed: all of its days, whatever their billing period.

        Of a month that nobody has delivered or read, that is what those that feed now hold of its days in other months.
        """
        delivered, feeding = self.delivered(fed, month), [each.source for each in feeds_of(self.feeds, fed)]
        holding = [each for each in self._held(fed, month) if each in delivered]
        return suppliers(feeding, delivered, holding) or tuple(each for each in feeding if each != QUERY)

    def delivered(self, fed: Fed, month: date) -> list[str]:
        """Who has delivered a month, the query too where it is held as that has read it."""
        exports = (each.run.export.key for each in self.deliveries if each.covers(fed) and each.spoken.period == month)
        return [*dict.fromkeys(exports), *(each for each in self._held(fed, month) if each == QUERY)]

    def exported(self, month: date) -> dict[Fed, tuple[str, ...]]:
        """The exports whose charges of a month are stored, by what they say."""
        return {fed: sources for (fed, of), sources in self.held.items() if of == month and is_of_exports(sources)}

    def _held(self, fed: Fed, month: date) -> tuple[str, ...]:
        return self.held.get((fed, month)) or self.held.get((fed.whole, month), ())

    @property
    def months(self) -> list[date]:
        """Every month of which something was delivered, or is held."""
        return sorted({each.spoken.period for each in self.deliveries} | {month for _, month in self.held})

    def known(self, fed: Fed, month: date, sources: Sequence[str]) -> Coverage:
        """What is known of a month once these exports say it."""
        teller = told_by(feeds_of(self.feeds, fed), month)
        tellers = [teller.source] if teller and teller.source in sources else sources
        return read_through_all(runs_of(self.deliveries, fed, month, tellers), month)


def is_of_exports(sources: Sequence[str]) -> bool:
    """Whether charges are exports' alone, so that they can be worked out."""
    return bool(sources) and QUERY not in sources
