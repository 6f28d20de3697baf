"""Who feeds a sub-account, or a group of it: one source at a time, so that no charge counts twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

from shared.domain.charges import CostMetric
from shared.domain.coverage import days_in_words
from shared.domain.exports.runs import Dataset, Export, ExportRun, RunState, Width, told_apart
from shared.domain.exports.sums import ChargeKey, Sum, Sums
from shared.domain.periods import Period, month_of
from shared.domain.projects import sub_account_key
from shared.domain.texts import in_shell

DAY = timedelta(days=1)
QUERY = "query"
"""What is fed by no export: by its provider's cost API."""


class Fed(NamedTuple):
    """What one source feeds: a sub-account, or a group of it. group_key: None for all that no group's source feeds."""

    provider: str
    sub_account: str
    group_key: str | None = None

    @property
    def whole(self) -> Fed:
        """The sub-account."""
        return self._replace(group_key=None)

    @property
    def name(self) -> str:
        """As people read it."""
        return f"group {self.group_key} of {self.sub_account}" if self.group_key else self.sub_account

    @property
    def is_fed_alone(self) -> bool:
        """Whether a source can feed it: what is in no group is a part of the rest, which feeds who feeds all of it."""
        return self.group_key != ""

    def overlaps(self, other: Fed) -> bool:
        """Whether a charge can be of both."""
        return self.whole == other.whole and (None in (self.group_key, other.group_key) or self == other)


def place(fed: Fed) -> tuple[str, str, str]:
    """What puts them in order."""
    return fed.provider, fed.sub_account, fed.group_key or ""


def fed_with(export: Export, key: ChargeKey) -> Fed:
    """What an export can feed with a charge: exports of groups a group, others a sub-account."""
    return Fed(key.provider, key.sub_account, key.group_key if export.width is Width.GROUP else None)


@dataclass(frozen=True, slots=True)
class Feed:
    """That a source feeds. export: None for the query. days: of its charges, as far as known; None without any."""

    export: Export | None = None
    days: Period | None = None

    @property
    def source(self) -> str:
        """The export's key, or QUERY."""
        return self.export.key if self.export else QUERY


Feeds = Mapping[Fed, tuple[Feed, ...]]
"""Who feeds what: of each one source, or, where its agreement changed, one after the other."""


def feeds_of(feeds: Feeds, fed: Fed) -> tuple[Feed, ...]:
    """What feeds a group, or a sub-account: what feeds a group counts before what feeds all of its sub-account."""
    return feeds.get(fed) or feeds.get(fed.whole) or ()


def told_by(feeds: Sequence[Feed], month: date) -> Feed | None:
    """Which of those that feed something one after the other says how far a month is known.

    The last that has begun by the month's end: one whose agreement has ended may run on, or not, for others.
    """
    by_start = sorted(
        (each for each in feeds if each.days), key=lambda each: each.days.start if each.days else date.max
    )
    begun = [each for each in by_start if each.days and each.days.start < month_of(month).end]
    return begun[-1] if begun else next(iter([*by_start, *feeds]), None)


def by_fed(export: Export, charges: Sums) -> dict[Fed, Sums]:
    """What an export's charges come to for each that it can feed, whoever does."""
    groups = {key[:3]: key for key in charges.charges}
    fed = {group: fed_with(export, key) for group, key in groups.items()}
    if len(set(fed.values())) == 1:
        return dict.fromkeys(fed.values(), charges)
    found: dict[Fed, dict[ChargeKey, Sum]] = {each: {} for each in fed.values()}
    for key, each in charges.charges.items():
        found[fed[key[:3]]][key] = each
    return {each: Sums(its, charges.group_names) for each, its in found.items()}


def fed_by(feeds: Feeds, export: Export, charges: Mapping[Fed, Sums]) -> dict[Fed, Sums]:
    """What of an export's charges (`by_fed`) is for those that it feeds, and has none of some."""
    found = {}
    for fed in (fed for fed, each in feeds.items() if _is_among(export, each)):
        others = {each for each, its in feeds.items() if each.whole == fed and its and not _is_among(export, its)}
        found[fed] = _without(charges.get(fed, Sums()), others)
    return found


def _without(charges: Sums, groups: Collection[Fed]) -> Sums:
    return charges.where(lambda key: Fed(*key[:3]) not in groups) if groups else charges


def _is_among(export: Export, feeds: tuple[Feed, ...]) -> bool:
    return any(each.source == export.key for each in feeds)


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator ordered by `exports use`.

    source: an export's key, or QUERY. sub_account: None for all that the source covers now and later.
    """

    source: str
    at: datetime
    sub_account: Fed | None = None

    def holds_for(self, fed: Fed) -> bool:
        """Whether it says who feeds this, where its source covers that."""
        return self.sub_account is None or self.sub_account == fed.whole


@dataclass(frozen=True, slots=True)
class Offer:
    """That a run has charges of something. days: those of its charges in their months, None where it has none there."""

    fed: Fed
    run: ExportRun
    days: Period | None = None

    @property
    def feed(self) -> Feed:
        """What it would feed."""
        return Feed(self.run.export, self.days)

    def beside(self, days: Period | None) -> Offer:
        """The same with the days of what its export has delivered before: those, too, would count."""
        return replace(self, days=_both(self.days, days))


def offers_of(run: ExportRun, charges: Sums) -> list[Offer]:
    """What a run could feed. charges: as placed. Corrections of other months say nothing of when an agreement began."""
    days = dict[Fed, set[date]]()
    for fed, its in by_fed(run.export, charges).items():
        found = days[fed] = set()
        for key, each in its.charges.items():
            if key.day not in found and key.billing_period == key.day.replace(day=1) and each.cost > 0:
                found.add(key.day)
    return [Offer(fed, run, _span(days[fed])) for fed in sorted(days, key=place)]


def _span(days: Iterable[date]) -> Period | None:
    found = sorted(days)
    return Period(found[0], found[-1] + DAY) if found else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an offer is used. reason: why it is not, or what operators are told once; None where nothing is."""

    offer: Offer
    used: bool
    reason: str | None = None


def who_feeds(
    offers: Iterable[Offer], feeds: Feeds, metric: CostMetric, orders: Sequence[Order] = ()
) -> tuple[Feeds, list[Verdict]]:
    """Who feeds what once a scan has found these, in whatever order.

    The first that delivers feeds; of several, the one of the widest scope, then the earliest submitted. What the query
    feeds stays the query's. An order changes both, of two the later one.
    """
    after = _by_sub_account({fed: left for fed, each in feeds.items() if (left := _serving(each, metric))})
    verdicts = []
    for offer in sorted(offers, key=lambda each: _turn(each, orders)):
        here = after[offer.fed.whole]
        beside = _beside(offer, here, orders)
        others = {fed: each for fed, each in here.items() if fed not in beside}
        verdict = _verdict(offer, others, metric, orders)
        if verdict.used:
            after[offer.fed.whole] = {**_with(others, offer.fed, offer.feed), **beside}
        verdicts.append(verdict)
    return _together(after), verdicts


def use(order: Order, covered: Mapping[Fed, Feed], feeds: Feeds) -> tuple[Feeds, list[Fed]]:
    """Who feeds what by an order, and of what that changes at once.

    covered: what its source has delivered so far; for the query, which sub-accounts it can read. What comes later is
    for `who_feeds`, which has to know the order.
    """
    by_sub_account = _by_sub_account(feeds)
    for fed in sorted((each for each in covered if order.holds_for(each) and each.is_fed_alone), key=place):
        by_sub_account[fed.whole] = _taken_over(by_sub_account[fed.whole], fed, covered[fed])
    after = _together(by_sub_account)
    return after, moved(feeds, after)


def _sources(feeds: Iterable[Feed]) -> set[str]:
    return {each.source for each in feeds}


def moved(before: Feeds, after: Feeds) -> list[Fed]:
    """Of what something feeds that did not, or no longer does."""
    both = sorted(before.keys() | after.keys(), key=place)
    return [fed for fed in both if _sources(before.get(fed, ())) != _sources(after.get(fed, ()))]


def suppliers(feeding: Sequence[str], delivered: Sequence[str], holding: Sequence[str] = ()) -> tuple[str, ...]:
    """The sources whose charges of a month count for what these feed: those that have delivered it.

    Until one has, the month keeps those of `holding` (whose charges are stored), or takes another's. delivered: what
    has delivered it and was believed, of the metric that is asked for; of several others the first.
    """
    of_feeding = tuple(each for each in feeding if each in delivered)
    return of_feeding or tuple(holding) or tuple(delivered[:1])


def unread(export: Export, metric: CostMetric) -> tuple[RunState, str] | None:
    """What becomes of a run that needs not be read, and why, in a sentence; None where it has to be."""
    if export.dataset is Dataset.OTHER:
        return RunState.NO_COSTS, f"{export.name} holds no costs"
    if not export.dataset.serves(metric):
        return RunState.NOT_USED, f"{export.name} holds {export.dataset} costs, and COST_METRIC is {metric}"
    return None


def goes_first(run: ExportRun, offer: Offer, orders: Sequence[Order] = ()) -> bool:
    """Whether a run, which may hold what this offer is of, has the better turn to feed it."""
    export = run.export
    may_hold = export.width > Width.SUB_ACCOUNT or offer.fed.sub_account in export.key
    return may_hold and _turn(replace(offer, run=run), orders) < _turn(offer, orders)


def outcome(verdicts: Iterable[tuple[bool, str | None]]) -> tuple[RunState, tuple[str, ...]]:
    """What became of a run that was read, and why not all of it is used: each reason once. One without rows is used.

    verdicts: whether each of its offers is used, and the reason.
    """
    of_run = list(verdicts)
    reasons = dict.fromkeys(reason for used, reason in of_run if reason and not used)
    is_used = not of_run or any(used for used, _ in of_run)
    return RunState.IMPORTED if is_used else RunState.NOT_USED, tuple(reasons)


def outcome_anew(
    said: Sequence[tuple[bool, str | None]],
    export: Export,
    spoken: Collection[Fed],
    feeds: Feeds,
    changed: Collection[Fed],
) -> list[tuple[bool, str | None]]:
    """What is said of a run once an order has changed who feeds.

    said: what was, as `outcome` takes it. spoken: that of which its days count for its export; of a run that newer ones
    have replaced, that of the whole export. feeds: of what was changed, and of what the export feeds.
    """
    changed = {*changed, *_overlapping(spoken, changed)}
    about = {each: f"{each.name} is fed " for each in changed}
    is_about = {fed for fed, begins in about.items() if any((reason or "").startswith(begins) for _, reason in said)}
    concerned = {*is_about, *spoken}
    fed = {each for each in concerned if _is_among(export, feeds.get(each, ()))}
    of_others = [(used, reason) for used, reason in said if not (reason or "").startswith(tuple(about.values()))]
    after = [(used, reason) for used, reason in of_others if not used or fed]
    after += [(True, None)] if fed and (True, None) not in after else []
    for each in sorted(concerned.intersection(changed) - fed, key=place):
        others = _feeding(feeds, each)
        after += [(False, _why_not_used(export, each, others[0]))] if others else []
    return after


def _overlapping(feds: Iterable[Fed], changed: Iterable[Fed]) -> list[Fed]:
    """Of what a source can feed, that of which a charge can be of something changed."""
    of_whole = defaultdict[Fed, list[Fed]](list)
    for each in changed:
        of_whole[each.whole].append(each)
    return [fed for fed in feds if fed.is_fed_alone and any(map(fed.overlaps, of_whole.get(fed.whole, ())))]


def _feeding(feeds: Feeds, fed: Fed) -> Sequence[Feed]:
    """What feeds it, or, where nothing feeds all of a sub-account, its groups."""
    return feeds_of(feeds, fed) or [
        each for other in sorted(feeds, key=place) if other.overlaps(fed) for each in feeds[other]
    ]


def _by_sub_account(feeds: Feeds) -> defaultdict[Fed, Feeds]:
    """Apart, since there are thousands of them, and none concerns another."""
    found = defaultdict[Fed, Feeds](dict)
    for fed, each in feeds.items():
        found[fed.whole] = {**found[fed.whole], fed: each}
    return found


def _together(by_sub_account: Mapping[Fed, Feeds]) -> Feeds:
    return {fed: each for feeds in by_sub_account.values() for fed, each in feeds.items()}


# --- one offer -------------------------------------------------------------------------------------------------


def _turn(offer: Offer, orders: Sequence[Order]) -> tuple[float, int, tuple[datetime, int], str, str]:
    export, (_, _, group) = offer.run.export, place(offer.fed)
    return -_ordered_at(export.key, offer.fed, orders), -export.width, offer.run.age, export.key, group


def _serving(feeds: tuple[Feed, ...], metric: CostMetric) -> tuple[Feed, ...]:
    return tuple(each for each in feeds if each.export is None or each.export.dataset.serves(metric))


def _beside(offer: Offer, feeds: Feeds, orders: Sequence[Order]) -> Feeds:
    """The groups that were ordered to others later than their whole sub-account to this: it feeds the rest."""
    at = _ordered_at(offer.feed.source, offer.fed, orders)
    if not at or offer.fed.group_key is not None:
        return {}
    return {
        fed: groups
        for fed, groups in feeds.items()
        if fed.group_key is not None and all(_ordered_at(each.source, fed, orders) > at for each in groups)
    }


def _verdict(offer: Offer, feeds: Feeds, metric: CostMetric, orders: Sequence[Order]) -> Verdict:
    unfit = unread(offer.run.export, metric)
    if unfit:
        return Verdict(offer, False, unfit[1])
    if not offer.fed.is_fed_alone:
        return Verdict(offer, False, _why_never(offer))
    here = feeds.get(offer.fed, ())
    if _is_among(offer.run.export, here):
        return Verdict(offer, True, _why_no_longer(offer, here))
    others = [each for fed in sorted(feeds, key=place) if fed.overlaps(offer.fed) for each in feeds[fed]]
    if others and all(each in here and _follows(each, offer.feed) for each in others):
        return Verdict(offer, True, _why_both(offer, others))
    if all(_is_ordered(offer, each, orders) for each in others):
        return Verdict(offer, True)
    return Verdict(offer, False, _why_not_used(offer.run.export, offer.fed, _feeding(feeds, offer.fed)[0]))


def _follows(one: Feed, other: Feed) -> bool:
    """Whether the charges of one billing account begin where those of another end: one day may be in both.

    That of both begins on the same day, or within the other's days, is no sign of it.
    """
    if not (one.export and other.export and one.days and other.days):
        return False
    accounts = {sub_account_key(each.provider, each.billing_account) for each in (one.export, other.export)}
    first, then = sorted((one.days, other.days), key=lambda each: each.start)
    return "" not in accounts and len(accounts) == 2 and first.start < then.start and first.last_day <= then.start


def _why_no_longer(offer: Offer, here: Sequence[Feed]) -> str | None:
    """That this is the first charge by which one export no longer begins where others end; None where it is not."""
    before = next(each for each in here if each.source == offer.feed.source)
    after = replace(before, days=_both(before.days, offer.days))
    others = [each for each in here if _follows(each, before) and not _follows(each, after)]
    return ". ".join(filter(None, (_why_twice(offer.fed, after, each) for each in others))) or None


def _is_ordered(offer: Offer, other: Feed, orders: Sequence[Order]) -> bool:
    return _ordered_at(offer.feed.source, offer.fed, orders) > _ordered_at(other.source, offer.fed, orders)


def _ordered_at(source: str, fed: Fed, orders: Sequence[Order]) -> float:
    return max((each.at.timestamp() for each in orders if each.source == source and each.holds_for(fed)), default=0)


def _with(feeds: Feeds, fed: Fed, feed: Feed) -> Feeds:
    """With what it has delivered; where it did not feed, in the place of all but those that it follows."""
    here = feeds.get(fed, ())
    if all(each.source != feed.source for each in here):
        return _taken_over(feeds, fed, feed)
    more = (replace(each, days=_both(each.days, feed.days)) if each.source == feed.source else each for each in here)
    return {**feeds, fed: tuple(more)}


def _taken_over(feeds: Feeds, fed: Fed, feed: Feed) -> Feeds:
    kept = tuple(each for each in feeds.get(fed, ()) if each.source != feed.source and _follows(each, feed))
    # Whoever feeds a whole sub-account feeds its groups; a group that is fed by another is not all of its sub-account.
    others = {other: each for other, each in feeds.items() if fed.group_key is not None or not other.overlaps(fed)}
    return {**others, fed: (*kept, feed)}


def _both(one: Period | None, other: Period | None) -> Period | None:
    if one is None or other is None:
        return one or other
    return Period(min(one.start, other.start), max(one.end, other.end))


# --- in words --------------------------------------------------------------------------------------------------


def _why_not_used(export: Export, fed: Fed, other: Feed) -> str:
    called = told_apart(each for each in (export, other.export) if each)
    who = f"by the export {called[other.export.key]}" if other.export else "by the query"
    name, sub_account = in_shell(called[export.key]), in_shell(fed.sub_account)
    return f"{fed.name} is fed {who}; `exports use {name} --for {sub_account}` changes that"


def _why_never(offer: Offer) -> str:
    return (
        f"{offer.run.export.name} holds charges of {offer.fed.sub_account} that are in no resource group, and count "
        "by what feeds all of it: an export of a group feeds that group"
    )


def _why_both(offer: Offer, others: Sequence[Feed]) -> str:
    exports = [*(each.export for each in others if each.export), offer.run.export]
    names = " and ".join(told_apart(exports).values())
    return f"the agreement of {offer.fed.name} changed: what {names} deliver counts"


def _why_twice(fed: Fed, one: Feed, other: Feed) -> str | None:
    if not (one.export and other.export and one.days and other.days):
        return None
    first, last = max(one.days.start, other.days.start), min(one.days.last_day, other.days.last_day)
    names = list(told_apart([one.export, other.export]).values())
    commands = " or ".join(f"`exports use {in_shell(name)} --for {in_shell(fed.sub_account)}`" for name in names)
    return (
        f"{' and '.join(names)} both have charges of {fed.name} of {days_in_words(first, last)}, "
        f"and all of them count; {commands} lets those of one count alone"
    )
