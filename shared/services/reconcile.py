"""Whether what is stored of a month is what its providers' APIs say, and what exports have delivered; if not, why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from time import sleep

from shared.domain.charges import CostMetric, key_of_group
from shared.domain.coverage import DAY, Coverage, Gap, agrees, day_in_words, gaps, month_in_words, utc_day
from shared.domain.exports.feeding import QUERY, Fed
from shared.domain.periods import Period, month_of, months_before
from shared.domain.projects import sub_account_key
from shared.domain.reconcile import (
    NOT_IMPORTED,
    Cause,
    Counted,
    Difference,
    Totals,
    amounts_of,
    days_read,
    in_other_currencies,
    more_in,
    newer_run,
    of_month,
)
from shared.messages import GUID
from shared.ports.azure import AZURE
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.costs import CostQuery, CostSource, TotalsSource
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import ExportLedger, Feeding, closed_on
from shared.ports.reconcile import Delivered, ReconcileLedger, Whole
from shared.ports.spending import By, Selection, SpendingLedger
from shared.services.errors import RequestError
from shared.services.terms import parse_month

# A tenant has quota for 60 queries a minute, and thousands of subscriptions.
TRIES, LONGEST_WAIT = 5, timedelta(minutes=2)
OTHER_METRIC = {CostMetric.ACTUAL: CostMetric.AMORTIZED, CostMetric.AMORTIZED: CostMetric.ACTUAL}


@dataclass(frozen=True, slots=True)
class Compared:
    """A sub-account's month. api: its total; None where it was not asked for, and why not. exports: what each has
    delivered to it as billing period, by name. differences: by who says otherwise.
    """

    provider: str
    sub_account_id: str
    stored: Totals
    api: Totals | None
    not_asked: str
    exports: Mapping[str, Totals]
    differences: Mapping[str, Difference]


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """The exact sum of a run that alone says what its export has delivered to the month, and what is stored of that."""

    export: str
    run: int
    exact: Totals
    stored: Totals
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A month. days: up to today, where it is not over."""

    days: Period
    accounts: Sequence[Compared]
    runs: Sequence[ComparedRun]

    @property
    def differences(self) -> list[Difference]:
        """All of them."""
        of_runs = [each.difference for each in self.runs if each.difference]
        return [*(found for each in self.accounts for found in each.differences.values()), *of_runs]

    @property
    def is_explained(self) -> bool:
        """Whether every difference is."""
        return all(each.cause is not Cause.UNEXPLAINED for each in self.differences)


@dataclass(frozen=True)
class ReconcileService:
    """sources: who tells the totals of one provider, by metric. metric: which is stored. pause: waits so many seconds.

    Raises LaterError where the database is away.
    """

    charges: ChargeLedger
    spending: SpendingLedger
    exports: ExportLedger
    ledger: ReconcileLedger
    sources: Mapping[CostMetric, CostSource]
    metric: CostMetric
    lookback_days: int
    clock: Clock
    pause: Callable[[float], None] = sleep

    def reconcile(self, month: str, subscription: str = "") -> Reconciled:
        """Compares a month (`2026-09`) of all sub-accounts, or of one, in any spelling. Raises RequestError."""
        days = self._days(month)
        accounts = self._accounts(subscription.strip())
        only = accounts[0] if subscription.strip() else None
        feeding = self._feeding()
        compared = [_Comparison(self, *each, days, feeding.get(Fed(*each), ())).compared() for each in accounts]
        runs = [self._compared_run(each, days) for each in self.ledger.whole_runs(days.start, only)]
        return Reconciled(days, [each for each in compared if each], runs)

    @property
    def today(self) -> date:
        """The day in UTC."""
        return self.clock().date()

    def _days(self, text: str) -> Period:
        try:
            month = month_of(parse_month(text))
        except ValueError as error:
            raise RequestError(str(error)) from None
        if month.start > self.today:
            raise RequestError(f"{text} has not begun yet")
        return Period(month.start, min(month.end, self.today + DAY))

    def _accounts(self, subscription: str) -> list[tuple[str, str]]:
        known = self.ledger.sub_accounts()
        found = [each for each in known if each[1] == sub_account_key(each[0], subscription)]
        if subscription and not found:
            raise RequestError(f"nothing is known of {subscription}; `costs --by sub-account` lists what is stored")
        return found if subscription else known

    def _feeding(self) -> dict[Fed, list[Feeding]]:
        """Which exports feed, by sub-account."""
        found: dict[Fed, list[Feeding]] = {}
        for each in self.exports.feeds():
            if each.source != QUERY:
                found.setdefault(each.fed.whole, []).append(each)
        return found

    def _compared_run(self, whole: Whole, days: Period) -> ComparedRun:
        exact, record = whole.record.totals, whole.record
        more, difference = more_in(exact, amounts_of(whole.stored)), None
        if more and agrees(whole.stored, exact):
            difference = Difference(more, Cause.ROUNDING, "each stored charge is rounded to 10 places")
        elif more and record.reason:
            difference = Difference(more, Cause.PERIOD, record.reason)
        elif more:
            difference = Difference(more, Cause.UNEXPLAINED, f"{month_in_words(days.start)} is stored otherwise")
        return ComparedRun(record.run.export.name, record.id, exact, amounts_of(whole.stored), difference)


@dataclass(frozen=True)
class _Comparison:
    """One sub-account's month."""

    service: ReconcileService
    provider: str
    sub_account_id: str
    days: Period
    feeding: Sequence[Feeding]

    def compared(self) -> Compared | None:
        """What was found; None where nobody says anything of it."""
        stored = self._stored(self.days)
        api, not_asked = self._api(self.service.metric, self.days)
        delivered = self.service.ledger.delivered(self.provider, self.sub_account_id, self.days.start)
        if not (stored or api or delivered):
            return None
        exports: dict[str, dict[str, Decimal]] = {}
        for each in delivered:
            _count(exports.setdefault(each.name, {}), each.currency, each.of_period)
        found = {"API": self._against_api(stored, api) if api is not None else None}
        found["exports"] = self._against_exports(delivered)
        differences = {name: each for name, each in found.items() if each}
        return Compared(
            self.provider, self.sub_account_id, amounts_of(stored), api, not_asked, exports, differences
        )  # fmt: skip

    def _stored(self, days: Period) -> Counted:
        return self.service.charges.totals(self.provider, self.sub_account_id, days)

    # --- the API ---

    def _api(self, metric: CostMetric, days: Period) -> tuple[Totals | None, str]:
        """What the API says of these days, or why it was not asked."""
        source = self.service.sources[metric]
        if source.provider != self.provider or not isinstance(source, TotalsSource):
            return None, f"no API of {self.provider} is asked for totals"
        if self.provider == AZURE and not GUID.fullmatch(self.sub_account_id):
            return None, "it is no subscription"
        if days.start < months_before(self.service.today, source.months_of_history):
            return None, "it is longer ago than the API answers for"
        return self._total(source, CostQuery(self.provider, self.sub_account_id, days))

    def _total(self, source: TotalsSource, query: CostQuery, tries: int = TRIES) -> tuple[Totals | None, str]:
        """A total; where the API says how long to wait, it is asked again after that."""
        try:
            return source.totals(query), ""
        except LaterError as error:
            if error.wait is None or error.wait > LONGEST_WAIT or tries == 1:
                return None, error.reason
            self.service.pause(error.wait.total_seconds())
        except NeverError as error:
            return None, error.reason
        return self._total(source, query, tries - 1)

    def _against_api(self, stored: Counted, api: Totals) -> Difference | None:
        """Why the API says otherwise; the first reason that holds."""
        amounts, more = amounts_of(stored), more_in(api, amounts_of(stored))
        if not more:
            return None
        if agrees(stored, api):
            return Difference(more, Cause.ROUNDING, "each stored charge is rounded to 10 places")
        if in_other_currencies(amounts, api):
            both = " and ".join(" and ".join(sorted(each)) for each in (amounts, api))
            return Difference(more, Cause.CURRENCY, f"what is stored and what the API says are not comparable: {both}")
        other = OTHER_METRIC[self.service.metric]
        said, _ = self._api(other, self.days)
        if stored and said is not None and agrees(stored, said):
            return Difference(
                more, Cause.METRIC, f"what is stored is {other}, and COST_METRIC is {self.service.metric}"
            )
        cause, why = self._unread() or self._newer() or (Cause.UNEXPLAINED, "nothing that is known explains it")
        return Difference(more, cause, why)

    def _known(self) -> list[Coverage | None]:
        return of_month(self.service.ledger.known(self.provider, self.sub_account_id), self.days)

    def _unread(self) -> tuple[Cause, str] | None:
        """Where the API agrees on the days that were read; or where a month could not be read at all."""
        read = days_read(self._known(), self.days)
        if read is not None and read != self.days:
            said, _ = self._api(self.service.metric, read)
            if said is not None and agrees(self._stored(read), said):
                return Cause.UNREAD, f"it was read through {day_in_words(read.last_day)}"
        lacking = [gap for gap in self._gaps() if read is None or gap.state]
        return (Cause.UNREAD, str(lacking[0])) if lacking else None

    def _gaps(self) -> list[Gap]:
        service, known = self.service, self.service.ledger.known(self.provider, self.sub_account_id)
        recency = (service.today, service.lookback_days, closed_on(self.provider))
        return [gap for fed, months in known.items() for gap in gaps(fed.name, months, self.days, *recency)]

    def _newer(self) -> tuple[Cause, str] | None:
        """A run that is not stored yet; or what the API has got since a month that still moves was read."""
        known = [each for each in self._known() if each]
        runs = [
            (record.run, record.state)
            for source in sorted({each.source for each in self.feeding})
            for record in self.service.exports.runs(source, NOT_IMPORTED)
        ]
        if found := newer_run(runs, known, month_of(self.days.start)):
            run, state = found
            return Cause.NEWER, f"the run of {run.export.name} of {day_in_words(utc_day(run.at))} is {state}"
        lookback, closes = self.service.lookback_days, closed_on(self.provider)
        moving = [each for each in known if each.begun_at and not each.is_recent(date.max, lookback, closes)]
        if not moving:
            return None
        read_on = min(utc_day(each.begun_at) for each in moving if each.begun_at)
        whose = "exported" if any(each.is_exported for each in moving) else "read"
        return Cause.NEWER, f"the API is newer: the month still moves, and was {whose} on {day_in_words(read_on)}"

    # --- exports ---

    def _against_exports(self, delivered: Sequence[Delivered]) -> Difference | None:
        """Why exports that feed say otherwise of the month, where it is theirs."""
        own = {each.fed for each in self.feeding if each.fed.group_key is not None}
        exported = {each.fed for each in self.feeding if self._is_exported(each.fed)}
        feeds = {(each.fed, each.source) for each in self.feeding}
        stored, period, on_days = dict[str, Decimal](), dict[str, Decimal](), dict[str, Decimal]()
        for group_key, currency, cost in self._by_group():
            if self._fed(group_key, own) in exported:
                _count(stored, currency, cost)
        for part in delivered:
            fed = self._fed(part.group_key, own)
            if fed in exported and (fed, part.export) in feeds:
                _count(period, part.currency, part.of_period)
                _count(on_days, part.currency, part.on_days)
        more = more_in(period, stored)
        if not more:
            return None
        if not more_in(on_days, stored):
            why = "some of its charges lie on days of other months, or others' on its days"
            return Difference(more, Cause.PERIOD, why)
        return Difference(more, Cause.UNEXPLAINED, "it is not what its exports have delivered")

    def _is_exported(self, fed: Fed) -> bool:
        known = self.service.ledger.known(self.provider, self.sub_account_id).get(fed, {})
        return self.days.start in known and known[self.days.start].is_exported

    def _fed(self, group_key: str, own: set[Fed]) -> Fed:
        fed = Fed(self.provider, self.sub_account_id, group_key)
        return fed if fed in own else fed.whole

    def _by_group(self) -> Iterable[tuple[str, str, Decimal]]:
        which = Selection(month_of(self.days.start), sub_account_id=self.sub_account_id)
        for each in self.service.spending.sums(which, By.RESOURCE_GROUP):
            yield key_of_group(each.key[1]), each.currency, each.cost


def _count(sums: dict[str, Decimal], currency: str, cost: Decimal) -> None:
    sums[currency] = sums.get(currency, Decimal(0)) + cost
