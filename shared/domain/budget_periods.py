"""The periods of a project's budget: which are opened, what is carried into each, and when that is final."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise

from shared.domain.budgets import BudgetTerms
from shared.domain.periods import Period
from shared.domain.rollover import (
    NOTHING,
    EndedPeriod,
    carried_on,
    depends_on_usage,
    is_stopped,
    period_before,
    periods_begun,
)


@dataclass(frozen=True, slots=True)
class OpenedPeriod:
    """A period that was opened.

    carried: what came into it, in `currency`: that of the budget of the period before. stopped: it began without a
    budget. settled: what was carried is final. closed: it is over, and no night reads its days again. checked_usage,
    checked_thresholds: what its last check saw, once there is a later period.
    """

    period: Period
    currency: str
    carried: Decimal = NOTHING
    stopped: bool = False
    settled: bool = True
    closed: bool = False
    checked_usage: Decimal | None = None
    checked_thresholds: frozenset[int] | None = None

    def carried_in(self, currency: str) -> Decimal:
        """What was carried, for a budget in this currency: two are never added."""
        return self.carried if self.currency == currency else NOTHING


Opened = dict[date, OpenedPeriod]
"""A project's opened periods by first day"""


def carried_since(opened: Opened, start: date) -> date | None:
    """The first day of the charges that still decide what came into the period that begins here; None where that is
    final.

    What had come into the period before may not be final either.
    """
    since = None
    for day, before in pairwise(sorted((day for day in opened if day <= start), reverse=True)):
        if opened[day].settled:
            break
        since = before
    return since


@dataclass(frozen=True, slots=True)
class OverPeriod:
    """A period that is over, with what counted at its end: the revision's number, and its terms.

    carried_since: see `carried_since`.
    """

    opened: OpenedPeriod
    number: int
    terms: BudgetTerms
    carried_since: date | None = None


@dataclass(frozen=True, slots=True)
class BudgetHistory:
    """A project's budget so far: its revisions (when each was made, and its terms; oldest first), its opened periods.

    What happens to it is another history: whoever stores them compares the two.
    """

    revisions: Sequence[tuple[datetime, BudgetTerms]]
    opened: Opened = field(default_factory=dict)

    def terms_before(self, day: date) -> BudgetTerms | None:
        """The terms that counted when the day began; None where there were none yet."""
        number = self._number_before(day)
        return self.revisions[number - 1][1] if number else None

    def terms_in(self, period: Period) -> BudgetTerms | None:
        """The last terms that had this period, and counted before its end; None where there were none.

        Those that gave it up for another rule before its end say nothing of it.
        """
        made = [terms for _, terms in self.revisions[: self._number_before(period.end)]]
        return next((terms for terms in reversed(made) if terms.rule.period_at(period.start) == period), None)

    def begin(self, periods: Iterable[Period]) -> BudgetHistory:
        """These periods are opened, oldest first. What is carried into new ones is still to be reckoned.

        One that begins on the same day as an opened one is that one, with its end moved: what came into it stays.
        """
        history = self
        for period in periods:
            known = history.opened.get(period.start)
            history = history._with(replace(known, period=period) if known else history._new(period))
        return history

    def turn(self, held: Period | None, today: date) -> BudgetHistory:
        """What has begun since `held`, which the last check knew, is opened; nothing where no budget was set yet."""
        return self.begin(periods_begun(self.revisions[-1][1].rule, held, today)) if self.revisions else self

    def set_budget(self, at: datetime, terms: BudgetTerms) -> BudgetHistory:
        """Somebody has set a budget: its present period, if it has one, is opened, and stopped no more."""
        period = terms.rule.period_at(at.astimezone(UTC).date())
        history = replace(self, revisions=[*self.revisions, (at, terms)])
        if period is None:
            return history
        history = history.begin([period])
        return history._with(replace(history.opened[period.start], stopped=False))

    def unsettled(self) -> list[date]:
        """The first days of the periods into which what was carried is not final, oldest first."""
        return sorted(start for start, each in self.opened.items() if not each.settled)

    def charged(self) -> list[tuple[Period, str]]:
        """The ended periods whose charges decide what was carried into others, where that is not final, each with the
        currency of its budget."""
        before = (self._ended_at(start) for start in self.unsettled())
        return [(ended[0], ended[1].terms.currency) for ended in before if ended]

    def follow_charges(self, spent: Mapping[tuple[Period, str], Decimal]) -> BudgetHistory:
        """What was carried, where that is not final, comes from what is now known of the periods before.

        spent: by `charged` period and currency. What comes into a period may go on into the next.
        """
        history = self
        for start in self.unsettled():
            history = history._with(history._followed(history.opened[start], spent))
        return history

    def settle(self, settled_before: date | None) -> BudgetHistory:
        """What was carried from periods that no night reads again is final (`coverage.settled_before`).

        What had come into such a period is final then too: it comes from an older one.
        """
        history = self
        for start in self.unsettled():
            before = self._ended_at(start)
            if before and settled_before and settled_before >= before[0].end:
                history = history._with(replace(self.opened[start], settled=True))
        return history

    def open_from(self) -> date:
        """The first day of the oldest period that is not final yet; what is older no night has to read for it."""
        carried_from = [before[0].start for start in self.unsettled() if (before := self._ended_at(start))]
        still_open = [start for start, each in self.opened.items() if not (each.settled and each.closed)]
        return min([*carried_from, *still_open], default=date.min)

    def over(self, today: date) -> list[OverPeriod]:
        """The periods that are over and not closed, oldest first: late charges may still reach their thresholds.

        Not those that were given up for another rule before their end: no budget was for their days.
        """
        found = ((each, self._number_before(each.period.end)) for each in self._not_closed(today))
        over = [
            OverPeriod(each, number, self.revisions[number - 1][1], carried_since(self.opened, each.period.start))
            for each, number in found
            if number
        ]
        return [each for each in over if each.terms.rule.period_at(each.opened.period.start) == each.opened.period]

    def close(self, settled_before: date | None, today: date) -> BudgetHistory:
        """The periods that are over are closed where no night reads them again."""
        history = self
        for each in self._not_closed(today):
            if settled_before and settled_before >= each.period.end:
                history = history._with(replace(each, closed=True))
        return history

    def _not_closed(self, today: date) -> list[OpenedPeriod]:
        return [each for _, each in sorted(self.opened.items()) if each.period.end <= today and not each.closed]

    def _number_before(self, day: date) -> int:
        """Of the revision that counted when the day began; 0 where there was none yet."""
        begins = datetime.combine(day, time(), UTC)
        made = enumerate(self.revisions, start=1)
        return max((number for number, (made_at, _) in made if made_at < begins), default=0)

    def _with(self, opened: OpenedPeriod) -> BudgetHistory:
        return replace(self, opened={**self.opened, opened.period.start: opened})

    def _new(self, period: Period) -> OpenedPeriod:
        before = self._ended_at(period.start)
        if before is None:
            return OpenedPeriod(period, self.revisions[-1][1].currency)
        ended = before[1]
        return OpenedPeriod(
            period, ended.terms.currency, NOTHING, is_stopped(ended), settled=not depends_on_usage(ended)
        )

    def _followed(self, opened: OpenedPeriod, spent: Mapping[tuple[Period, str], Decimal]) -> OpenedPeriod:
        before = self._ended_at(opened.period.start)
        if before is None:
            return replace(opened, carried=NOTHING, settled=True)
        period, ended = before
        currency = ended.terms.currency
        usage = ended.terms.used(spent.get((period, currency), NOTHING), period)
        return replace(opened, currency=currency, carried=carried_on(replace(ended, usage=usage)))

    def _ended_at(self, start: date) -> tuple[Period, EndedPeriod] | None:
        """The period that ended where another begins, but for its usage; None where none was opened.

        It is found by the rule that counted then: a row of another rule may end on that day too, and the end of this
        one may have been moved since.
        """
        terms = self.terms_before(start)
        period = period_before(terms.rule, start) if terms else None
        opened = self.opened.get(period.start) if period else None
        if terms is None or period is None or opened is None:
            return None
        return period, EndedPeriod(terms, opened.carried_in(terms.currency), opened.stopped)
