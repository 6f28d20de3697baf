"""Whether what is stored of a month is what its providers' APIs say, and what exports have delivered; if not, why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from time import sleep

from shared.domain.aws import AWS
from shared.domain.charges import CostMetric
from shared.domain.coverage import (
    DAY,
    Coverage,
    CoverageState,
    Gap,
    agrees,
    day_in_words,
    gaps,
    is_forgotten,
    month_in_words,
    utc_day,
)
from shared.domain.exports.runs import told_apart
from shared.domain.money import add
from shared.domain.periods import Period, month_of, months_before
from shared.domain.projects import sub_account_key
from shared.domain.reconcile import (
    NOT_IMPORTED,
    Cause,
    Counted,
    Difference,
    Explained,
    Said,
    Totals,
    amounts_of,
    come_later,
    days_read,
    more_in,
    newer_run,
    of_month,
    overlap,
    rounding_in,
)
from shared.domain.texts import named
from shared.messages import GUID
from shared.ports.azure import AZURE
from shared.ports.charges import ChargeLedger
from shared.ports.clock import Clock
from shared.ports.costs import CostQuery, CostSource, TotalsSource
from shared.ports.errors import LaterError, NeverError
from shared.ports.export_runs import ExportLedger, closed_on
from shared.ports.reconcile import Exported, Place, ReconcileLedger, Whole
from shared.services.errors import RequestError
from shared.services.terms import parse_month

# A tenant has quota for 60 queries a minute, and thousands of subscriptions.
TRIES, LONGEST_WAIT = 5, timedelta(minutes=2)
ROUNDED = "each stored charge is rounded to 10 places"
OTHER_METRIC = {CostMetric.ACTUAL: CostMetric.AMORTIZED, CostMetric.AMORTIZED: CostMetric.ACTUAL}


@dataclass(frozen=True, slots=True)
class Compared:
    """A sub-account's month. api: its total; None where it was not asked for, and why not. exports: what each has
    delivered to it as billing period, by what people call it. differences: by who says otherwise, one for each cause.
    is_compared: with the API or with exports.
    """

    provider: str
    sub_account_id: str
    stored: Totals
    api: Totals | None
    not_asked: str
    exports: Mapping[str, Totals]
    differences: Mapping[str, Sequence[Difference]]
    is_compared: bool

    @property
    def is_empty(self) -> bool:
        """Whether nobody says anything of it."""
        return not (self.stored or self.api or self.exports or self.differences)


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """The exact sum of a run that alone says what its export has delivered to the month, and what is stored of that."""

    export: str
    run: int
    exact: Totals
    stored: Totals
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A month. days: up to today, where it is not over. accounts: those of which somebody says something. not_compared:
    where nothing at all was compared, why; empty where something was.
    """

    days: Period
    accounts: Sequence[Compared]
    runs: Sequence[ComparedRun]
    not_compared: str

    @property
    def differences(self) -> list[Difference]:
        """All of them."""
        of_accounts = (found for each in self.accounts for found in each.differences.values())
        return [difference for found in (*of_accounts, *(run.differences for run in self.runs)) for difference in found]

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
    exports: ExportLedger
    ledger: ReconcileLedger
    sources: Mapping[CostMetric, CostSource]
    metric: CostMetric
    lookback_days: int
    clock: Clock
    pause: Callable[[float], None] = sleep

    def reconcile(self, month: str, subscription: str = "") -> Reconciled:
        """Compares a month (`2026-09`) of all sub-accounts, or of one, in any spelling. Raises RequestError.

        An id that several providers have is all of these, apart.
        """
        days = self._days(month)
        accounts = self._accounts(subscription.strip())
        only = accounts if subscription.strip() else None
        called = told_apart(self.exports.exports())
        compared = [_Comparison(self, *each, days, called).compared() for each in accounts]
        runs = [_compared_run(each, days, called) for each in self.ledger.whole_runs(days.start, only)]
        why_not = "" if runs else _why_nothing(compared)
        return Reconciled(days, [each for each in compared if not each.is_empty], runs, why_not)

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


@dataclass(frozen=True)
class _Comparison:
    """One sub-account's month. called: what people call each export, by its key, but for those found meanwhile."""

    service: ReconcileService
    provider: str
    sub_account_id: str
    days: Period
    called: Mapping[str, str]

    def compared(self) -> Compared:
        """What was found."""
        account = self.provider, self.sub_account_id
        stored, (api, not_asked) = self._stored(self.days), self._api(self.service.metric, self.days)
        delivered = self.service.ledger.delivered(*account, self.days.start)
        exported = self.service.ledger.exported(*account, self.days.start)
        found = {"API": self._against_api(Said(self.days, stored, api), exported) if api is not None else []}
        found["exports"] = _against_exports(exported)
        differences = {name: each for name, each in found.items() if each}
        by_name = dict(sorted((self.called.get(key, key), totals) for key, totals in delivered.items()))
        is_compared = api is not None or bool(exported.exports)
        return Compared(*account, amounts_of(stored), api, not_asked, by_name, differences, is_compared)

    def _stored(self, days: Period) -> Counted:
        return self.service.charges.totals(self.provider, self.sub_account_id, days)

    # --- the API ---

    def _api(self, metric: CostMetric, days: Period) -> tuple[Totals | None, str]:
        """What the API says of these days, or why it was not asked."""
        source = self.service.sources[metric]
        if self.provider == AWS:
            return None, "AWS accounts have no total to compare with"
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

    def _said(self, days: Period) -> Said | None:
        """What is stored of these days, and what the API says of them; None where it does not answer."""
        said, _ = self._api(self.service.metric, days)
        return None if said is None else Said(days, self._stored(days), said)

    def _against_api(self, whole: Said, exported: Exported) -> list[Difference]:
        """Why the API says otherwise: what each reason comes to, in their order, and what none explains."""
        found = Explained(whole.more)
        found.explain(whole.rounding, Cause.ROUNDING, ROUNDED)
        if found.left and whole.is_in_other_currencies:
            both = " and ".join(" and ".join(sorted(each)) for each in (whole.amounts, whole.others))
            why = f"what is stored and what the API says are not comparable: {both}"
            found.explain(found.left, Cause.CURRENCY, why)
        if found.left:
            read = self._read(whole)
            self._explain_unread(found, whole, read)
            rest = Explained({each: amount for each, amount in read.more.items() if each in found.left})
            self._explain_read(rest, read, exported)
            for each in rest.found:
                found.add(each)
        return found.in_all("nothing that is known explains it")

    def _read(self, whole: Said) -> Said:
        """The days that were read; all of them where none was, or where the API does not answer for some."""
        read = days_read(self._known(), self.days)
        return whole if read in (None, self.days) else self._said(read) or whole

    def _explain_unread(self, found: Explained, whole: Said, read: Said) -> None:
        later = come_later(more_in(whole.more, read.more), more_in(whole.amounts, read.amounts))
        first = "" if read.days.start == whole.days.start else f"from {day_in_words(read.days.start)} "
        found.explain(later, Cause.UNREAD, f"it was read {first}through {day_in_words(read.days.last_day)}")

    def _explain_read(self, found: Explained, read: Said, exported: Exported) -> None:
        """Why the API says otherwise of days that were read, or of all where none was."""
        found.explain(read.rounding, Cause.ROUNDING, ROUNDED)
        if found.left and self._is_of_other_metric(read):
            why = f"what is stored is {OTHER_METRIC[self.service.metric]}, and COST_METRIC is {self.service.metric}"
            found.explain(found.left, Cause.METRIC, why)
        if found.left:
            self._explain_gaps(found, read)
            self._explain_newer_run(found, read, exported)
            self._explain_moving(found, read)

    def _is_of_other_metric(self, read: Said) -> bool:
        if not read.stored:
            return False
        said, _ = self._api(OTHER_METRIC[self.service.metric], read.days)
        return said is not None and agrees(read.stored, said)

    def _explain_gaps(self, found: Explained, read: Said) -> None:
        """What was read is old, could not be read anew, or was not believed: what has come since is not stored."""
        for gap in self._gaps(read.days):
            is_doubted = gap.state is CoverageState.SUSPECT and is_forgotten(read.stored, read.others)
            more = found.left if is_doubted else come_later(found.left, read.amounts)
            found.explain(more, Cause.UNREAD, str(gap))

    def _explain_newer_run(self, found: Explained, read: Said, exported: Exported) -> None:
        """Where exports say the month, one that has found a newer run of it, which is not stored yet."""
        runs = [
            (record.run, record.state)
            for source in sorted(exported.exports)
            for record in self.service.exports.runs(source, NOT_IMPORTED)
        ]
        known = [each for each in self._known() if each]
        if newer := newer_run(runs, known, read.days):
            run, state = newer
            days = run.days and overlap(run.days, read.days)
            said = self._said(days) if days and days != read.days else None
            name = self.called.get(run.export.key, run.export.name)
            why = f"the run of {name} of {day_in_words(utc_day(run.at))} is {state}"
            found.explain(said.more if said else found.left, Cause.NEWER, why)

    def _explain_moving(self, found: Explained, read: Said) -> None:
        """What the API has got since a month that still moves was read."""
        lookback, closes = self.service.lookback_days, closed_on(self.provider)
        known = [each for each in self._known() if each and each.begun_at]
        moving = [each for each in known if not each.is_recent(date.max, lookback, closes)]
        if moving:
            read_on = min(utc_day(each.begun_at) for each in moving if each.begun_at)
            whose = "exported" if any(each.is_exported for each in moving) else "read"
            why = f"the API is newer: the month still moves, and was {whose} on {day_in_words(read_on)}"
            found.explain(come_later(found.left, read.amounts), Cause.NEWER, why)

    def _known(self) -> list[Coverage | None]:
        return of_month(self.service.ledger.known(self.provider, self.sub_account_id), self.days)

    def _gaps(self, days: Period) -> list[Gap]:
        service, known = self.service, self.service.ledger.known(self.provider, self.sub_account_id)
        recency = (service.today, service.lookback_days, closed_on(self.provider))
        return [gap for fed, months in known.items() for gap in gaps(fed.name, months, days, *recency)]


def _why_nothing(compared: Sequence[Compared]) -> str:
    """Why nothing was compared, as the end of a sentence; empty where something was."""
    if any(each.is_compared for each in compared):
        return ""
    reasons = dict.fromkeys(each.not_asked.rstrip(".") for each in compared)
    return named(list(reasons), 1) or "no sub-account is known yet"


def _compared_run(whole: Whole, days: Period, called: Mapping[str, str]) -> ComparedRun:
    record, stored = whole.record, amounts_of(whole.stored)
    found = Explained(more_in(record.totals, stored))
    # Why some was left out stands in the history. It is not stored, even where all of the run and what is are equal.
    if left_out := more_in(record.left_out, {}):
        why = "rows were left out, for which a run of other days speaks"
        found.add(Difference(left_out, Cause.PERIOD, why))
    found.explain(rounding_in(found.left, whole.stored), Cause.ROUNDING, ROUNDED)
    of_run = found.in_all(f"{month_in_words(days.start)} is stored otherwise")
    export = record.run.export
    return ComparedRun(called.get(export.key, export.name), record.id, record.totals, stored, of_run)


def _against_exports(exported: Exported) -> list[Difference]:
    """Why exports say otherwise of what is theirs of a month: all that they have delivered of its days is stored."""
    stored, delivered = _by_currency(exported.stored), _by_currency(exported.delivered)
    period = Explained(more_in(exported.of_period, delivered))
    why = "some of its charges lie on days of other months, or others' on its days"
    period.explain(period.left, Cause.PERIOD, why)
    none, places = Decimal(0), {*exported.stored, *exported.delivered}
    wrong = {each for each in places if exported.stored.get(each, none) != exported.delivered.get(each, none)}
    if not wrong:
        return period.found
    # What is too much of one day, and too little of another, is wrong all the same.
    more = {currency: none for _, _, currency in sorted(wrong, key=str)} | more_in(delivered, stored)
    why = f"{day_in_words(min(day for _, day, _ in wrong))} is not stored as its exports have delivered it"
    return [*period.found, Difference(more, Cause.UNEXPLAINED, why)]


def _by_currency(sums: Mapping[Place, Decimal]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for (_, _, currency), cost in sums.items():
        found[currency] = add(found.get(currency, Decimal(0)), cost)
    return found
