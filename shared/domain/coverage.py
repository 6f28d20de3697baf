"""What is known of a sub-account's charges, month by month, and which answers are believed.

An answer without any charge, where some are stored or where nobody has read before, or without most of those that are
stored, is more likely a fault of the provider's than the truth: it is believed the third night in a row, and what is
stored stays until then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from shared.domain.charges import LONGEST_GROUP, LONGEST_SERVICE, ChargeSet, Key
from shared.domain.currencies import Conversion
from shared.domain.periods import Period, month_of, months_before, split_at_month_ends
from shared.domain.texts import named, shortened, units

# The night in a row on which a doubtful answer is taken after all.
BELIEVED_ON_NIGHT = 3
# … each so long after the one before, whenever it was due.
NIGHTS_APART = timedelta(hours=18)
# An answer is doubtful that leaves less of what is stored. Days that a change of offer takes away are a good part of a
# month; what is restated, a service or two.
LEAST_LEFT = Decimal("0.25")
# Why an answer is doubtful.
NO_CHARGE = "came without any charge"
FEW_CHARGES = "came without most of its charges"
BLANK_DAYS = "came without any charge on some of its days"
DAY = timedelta(days=1)
LONGEST_MONTH = 31
# The source of what exports deliver (a connection type).
BY_EXPORT = "COST_EXPORT"
# So many days an export's month is recent after it was read: exports come a day late, and a run may fail.
RECENT_DAYS = 3
# By so much later than others is a month compared with its total again of which rows were set aside.
SELDOM = timedelta(weeks=3)


@dataclass(frozen=True, slots=True)
class ReadPart:
    """What one query answered for one window, which lies in one month.

    charges: of one currency each. begun_at: when the answer's first page was asked for. odd: what is wrong with rows
    that can't be charges, by the key of their group. left_out: whether it held more than these: rows that exports
    deliver, or all else that is in a file. estimated_from: the first day that the provider calls estimated. is_missed:
    whether a payer's answer has others' rows and none of these, of which there are some in the months next to it.
    told_from: the first day that its source tells of; of those before it says nothing, though they count as read.
    """

    window: Period
    charges: tuple[ChargeSet, ...]
    begun_at: datetime
    odd: Mapping[str, str] = field(default_factory=dict)
    left_out: bool = False
    estimated_from: date | None = None
    is_missed: bool = False
    told_from: date | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it came without any row at all."""
        return not self.odd and not self.left_out and not any(each.amounts for each in self.charges)

    @property
    def is_blank(self) -> bool:
        """Whether it says that nothing was spent: it holds no row, or none but of exactly 0."""
        return not self.odd and not any(any(each.amounts.values()) for each in self.charges)

    @property
    def group_names(self) -> dict[str, str]:
        """The groups that came up, as the provider spells them, by their keys."""
        return {key: name for each in reversed(self.charges) for key, name in each.group_names.items()}

    @property
    def told(self) -> ReadPart | None:
        """The days of it of which its source tells; None where it tells of none."""
        start = max(self.window.start, self.told_from or self.window.start)
        return replace(self, window=Period(start, self.window.end)) if start < self.window.end else None

    def without(self, group_keys: frozenset[str]) -> ReadPart:
        """The same without what exports deliver of these groups."""
        charges = tuple(each.on_days(self.window, group_keys) for each in self.charges)
        odd = {key: reason for key, reason in self.odd.items() if key not in group_keys}
        return replace(self, charges=charges, odd=odd, left_out=self.left_out or not self.is_empty)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """Days that are stored as an answer had them: of all of a sub-account, or of the groups that it was about."""

    window: Period
    begun_at: datetime
    group_keys: frozenset[str] = frozenset()


def not_outdated(part: ReadPart, stored: Iterable[StoredAnswer]) -> list[tuple[ReadPart, frozenset[str]]]:
    """What of a part no answer that was begun later has stored: days in a row, and the groups of which they are silent.

    An answer may take hours, and another one, of some days or some groups, overtake it meanwhile.
    """
    newer = [each for each in stored if each.begun_at > part.begun_at]
    if not newer:
        return [(part, frozenset())]
    window = part.window
    bounds = {day for each in newer for day in (each.window.start, each.window.end) if window.start < day < window.end}
    left = []
    for start, end in pairwise(sorted({window.start, window.end, *bounds})):
        over = [each.group_keys for each in newer if each.window.start <= start and end <= each.window.end]
        if all(over):
            days, but = Period(start, end), frozenset[str]().union(*over)
            charges = tuple(each.on_days(days, but) for each in part.charges)
            left.append((replace(part, window=days, charges=charges), but))
    return left


StoredCharge = tuple[str, Key, Decimal]
"""currency, (group key, day, service), billed cost"""


def doubt_about(charges: Sequence[ChargeSet], stored: Iterable[StoredCharge], night: date) -> str | None:
    """Why an answer with these charges is not believed at once, where these are stored of its days; None where it is.

    Of days that are over, it has to leave a part of what is stored: a charge is left where it comes again, whatever its
    amount and currency; or others come in their place that come to as much. What is 0 is gone, and what was credited
    counts for nothing. Where there are several currencies, one that is left is enough.
    """
    is_empty = not any(each.amounts for each in charges)
    left = {key for each in charges for key, cost in each.amounts.items() if cost}
    before, again = defaultdict[str, Decimal](Decimal), defaultdict[str, Decimal](Decimal)
    for currency, key, cost in stored:
        if is_empty:
            return NO_CHARGE
        if cost > 0 and key[1] < night:
            before[currency] += cost
            again[currency] += cost if key in left else 0
    instead = {each.billing_currency: _spent_before(night, each) for each in charges}
    gone = [max(again[each], instead.get(each, 0)) < LEAST_LEFT * before[each] for each in before]
    return FEW_CHARGES if gone and all(gone) else None


def spent_in(charges: Iterable[ChargeSet]) -> dict[str, Decimal]:
    """What the charges come to without credits, by currency."""
    return {each.billing_currency or "": _spent_before(date.max, each) for each in charges}


def _spent_before(night: date, charges: ChargeSet) -> Decimal:
    return sum((cost for (_, day, _), cost in charges.amounts.items() if cost > 0 and day < night), Decimal(0))


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one sub-account for one scope of a run.

    group_keys: what the queries were restricted to (`charges.key_of_group`); empty for the whole account.
    parts: what was answered; failed: what could not be read, and why. night: the day of the run, which its re-reads
    share. source: what it was read from (a connection type). in_turn: whether all that is due of a month is read, in
    one window after the other. lately: the windows of which answers came in the last days, and when they were begun: a
    month may take more calls than a night has.
    """

    provider: str
    sub_account_id: str
    group_keys: frozenset[str]
    parts: tuple[ReadPart, ...]
    night: date
    source: str = ""
    failed: tuple[tuple[Period, str], ...] = ()
    in_turn: bool = False
    lately: tuple[tuple[Period, datetime], ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the whole account was asked for."""
        return not self.group_keys

    def told_since(self, first: date | None) -> Reading:
        """The reading by a source that tells of these days from this one on."""
        if first is None:
            return self
        told = (
            replace(part, told_from=first, left_out=True, charges=tuple(each.since(first) for each in part.charges))
            if first > part.window.start
            else part
            for part in self.parts
        )
        return replace(self, parts=tuple(told))

    def restricted(self) -> Reading:
        """The reading with charges of the groups that were asked for only: just those are compared and replaced."""
        if self.is_whole:
            return self
        parts = (
            replace(part, charges=tuple(each.of_groups(self.group_keys) for each in part.charges))
            for part in self.parts
        )
        return replace(self, parts=tuple(parts))


def lookback_of(closed_on: int) -> int:
    """The look-back by which an export's month is final once a run of its closing day or later has read it."""
    return closed_on + 1


def nights_lookback(lookback_days: int, closed_on: int) -> int:
    """How many days a night reads again of a source, today among them: no fewer than hold all of the month before until
    the day on which the source calls that closed.
    """
    return max(lookback_days, LONGEST_MONTH + closed_on - 1)


class CoverageState(StrEnum):
    """What the last night made of a month: read, answered without its charges and not believed, or not read."""

    GOOD = "good"
    SUSPECT = "suspect"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of one month of a sub-account.

    month: its first day. source: what it was last read from. read_from, read_through: the first and the last of the
    days that have been read, None where none were. begun_at: when the first page of the newest answer was asked for.
    good_on: the last night that read all that was due; the next reads what has changed since.
    reason: why it is not good. suspect_nights: on how many nights in a row, the last of them `suspect_on`, its answer
    was doubtful; suspect_at: when the last of these was asked for. On a month that is not suspect they say that this
    was believed, and charges are still waited for. compared_on: the last night that compared its total with what is
    stored. odd: what is wrong with rows that were set aside, by the key of their group; None where none were.
    estimated_from: the first day that its provider still calls estimated, closed or not; None where there is none.
    """

    month: date
    source: str = ""
    read_from: date | None = None
    read_through: date | None = None
    begun_at: datetime | None = None
    good_on: date | None = None
    state: CoverageState = CoverageState.GOOD
    reason: str | None = None
    suspect_nights: int = 0
    suspect_on: date | None = None
    suspect_at: datetime | None = None
    compared_on: date | None = None
    odd: Mapping[str, str] | None = field(default=None, hash=False)
    estimated_from: date | None = None

    @property
    def days(self) -> Period:
        """The whole month."""
        return month_of(self.month)

    @property
    def is_good(self) -> bool:
        """Whether the last night that had to has read it."""
        return self.state is CoverageState.GOOD

    @property
    def is_exported(self) -> bool:
        """Whether an export has delivered it."""
        return self.source == BY_EXPORT

    @property
    def blank_believed_on(self) -> date | None:
        """The night on which its charges were taken for gone; None where they were not, or have come back."""
        return self.suspect_on if self.suspect_nights and self.state is not CoverageState.SUSPECT else None

    def due_from(self, night: date, lookback_days: int) -> date | None:
        """The day since which a night reads the month; None where it is final.

        A day is read on `lookback_days` nights in a row, and as long as it is called estimated; those that were missed
        are made up for. Where charges were taken for gone, they are waited for as long, all of them.
        """
        read_on, gone_on = self.good_on, self.blank_believed_on
        if gone_on and night >= gone_on + lookback_days * DAY:
            read_on = gone_on
        if read_on is None:
            return self.month
        since = min(read_on, night - DAY) - (lookback_days - 2) * DAY
        since = min(since, self.estimated_from or since)
        if since >= self.days.end:
            # What was final, and then read once more and found empty, is read until that is sure.
            return self.month if not self.is_good or (gone_on and read_on is not gone_on) else None
        # Nobody knows of which day an odd row was.
        return self.month if self.odd else max(self.month, since)

    def days_to_compare(self, night: date, lookback_days: int, turn: date) -> Period | None:
        """The days whose total is to be compared: of a month that no night reads again, and nobody has since `turn`."""
        if not (self.is_good and self.read_from and self.read_through and self.begun_at):
            return None
        looked_on = max(utc_day(self.begun_at), self.compared_on or date.min)
        if self.odd:
            # The total has what was set aside, so that the month is read again each time.
            turn -= SELDOM
        is_due = looked_on < turn and not self.is_exported and self.due_from(night, lookback_days) is None
        return Period(self.read_from, self.read_through + DAY) if is_due else None

    def is_recent(self, today: date, lookback_days: int, closed_on: int) -> bool:
        """Whether it was read yesterday or later, or by the last night that had to: of what is estimated none is.

        An export's month: whether a run of the last three days has read it, or one of `closed_on` or later, the day of
        the next month on which its provider calls it closed.
        """
        until = self.recent_until(lookback_days, closed_on)
        return self.begun_at is not None and (until is None or today < until)

    def recent_until(self, lookback_days: int, closed_on: int) -> date | None:
        """The first day on which it is not recent any more, where nobody reads it again; None where it stays so."""
        days, lookback = 1, nights_lookback(lookback_days, closed_on)
        if self.is_exported:
            days, lookback = RECENT_DAYS, lookback_of(closed_on)
        last_due = date.max if self.estimated_from else self.days.end + (lookback - 2) * DAY
        if self.begun_at is None or (read_on := utc_day(self.begun_at)) >= last_due:
            return None
        return read_on + (days + 1) * DAY

    def of_groups(self, group_keys: Container[str]) -> Coverage:
        """The same for whoever owns these groups: it was not read where rows of theirs were set aside."""
        reasons = [reason for key, reason in (self.odd or {}).items() if key in group_keys]
        return replace(self, state=CoverageState.FAILED, reason=reasons[0]) if reasons and self.is_good else self

    # --- what a night makes of it ---

    def compared(self, night: date, agrees: bool) -> Coverage:
        """Its total was compared; where something was restated, all of it is due."""
        return replace(self, compared_on=night, good_on=self.good_on if agrees else None)

    def failed(self, reason: str, night: date, lookback_days: int) -> Coverage:
        """It could not be read; what is final stays so, whoever reads it once more."""
        if self.is_good and self.read_from and self.due_from(night, lookback_days) is None:
            return self
        # What was taken for gone is waited for, whether or not a night could ask for it.
        nights = self.suspect_nights if self.blank_believed_on else 0
        on = self.blank_believed_on
        return replace(self, state=CoverageState.FAILED, reason=reason, suspect_nights=nights, suspect_on=on)

    def read(
        self,
        part: ReadPart,
        night: date,
        lookback_days: int,
        doubt: str | None,
        beside: Sequence[Period] = (),
        *,
        in_turn: bool = False,
    ) -> tuple[bool, Coverage]:
        """Whether the part is believed, and what is known then. doubt: `doubt_about` it. in_turn: as of a Reading.

        beside: what else was read tonight, and believed. Only with that does a part of the month say something of all
        of it: that it is good again, or was read when it was due.

        An answer without any row is doubtful, too, where days that are over have never been read, or where the month is
        suspect: it takes no doubt away. Rows of exactly 0 are an answer there: a subscription with nothing but free
        services has no others. What a payer's answer misses is as doubtful, and not waited for once it is believed: a
        month of all its sub-accounts would be paid for each night, and before its first charges each has one without.
        """
        is_final = part.is_missed and doubt is None
        if (part.is_empty or part.is_missed) and self.is_doubtful_without_charges(part, night):
            doubt = doubt or NO_CHARGE
        due = self.due_from(night, lookback_days)
        reaches = self._reaches(_with_neighbours(part.window, beside), due)
        if doubt:
            believed, after = self._doubted(part, night, doubt, reaches, in_turn)
            if believed and is_final and reaches:
                return True, after.settled(night)
            # Of days that no night reads by itself, nothing that was taken for gone would be waited for.
            is_more = believed and due is not None and part.window.start < due
            return believed, replace(after, good_on=None) if is_more else after
        if not reaches:
            return self.read_partly(part, night, None)
        if part.is_blank and self.blank_believed_on:
            return True, self._reaching(part)
        return True, self._reaching(part).settled(night)

    def settled(self, night: date) -> Coverage:
        """All that was due has been read, and nothing is waited for."""
        return replace(self, good_on=night, suspect_nights=0, suspect_on=None, suspect_at=None)

    def is_doubtful_without_charges(self, part: ReadPart, night: date) -> bool:
        """Whether a part without any is doubtful, though none are stored: of days that never were read, or suspect."""
        is_new = part.window.start < min(self.read_from or night, night)
        # Once it is believed of some of a month's windows, the month is suspect until the others are read as well.
        return is_new or (self.state is CoverageState.SUSPECT and self.suspect_nights < BELIEVED_ON_NIGHT)

    def read_partly(self, part: ReadPart, night: date, doubt: str | None) -> tuple[bool, Coverage]:
        """The same of some of the month's days, which say nothing of the others: those stay as old as they were."""
        believed, after = True, replace(self._reaching(part), state=self.state, reason=self.reason)
        if doubt:
            believed, after = self._doubted(part, night, doubt, reaches=True)
        return believed, replace(after, begun_at=self.begun_at)

    def _reaches(self, days: Period, due: date | None) -> bool:
        """Whether these are all the days that are known of the month, since the one from which it is due."""
        if self.read_from is None or self.read_through is None:
            return True
        return (due is None or days.start <= due) and self.read_through < days.end

    def suspected(self, begun_at: datetime, night: date, doubt: str) -> Coverage:
        """What is known once a doubtful answer, begun then, is not believed; one night counts once."""
        suspect = replace(self, state=CoverageState.SUSPECT, reason=doubt)
        if self.state is not CoverageState.SUSPECT or self.suspect_on is None:
            return replace(suspect, suspect_nights=1, suspect_on=night, suspect_at=begun_at)
        if self._is_another_night(begun_at, night):
            return replace(suspect, suspect_nights=self.suspect_nights + 1, suspect_on=night, suspect_at=begun_at)
        return suspect

    def _doubted(
        self, part: ReadPart, night: date, doubt: str, reaches: bool, in_turn: bool = False
    ) -> tuple[bool, Coverage]:
        said = doubt if reaches or doubt != NO_CHARGE else BLANK_DAYS
        suspect = self.suspected(part.begun_at, night, said)
        if suspect.suspect_nights < BELIEVED_ON_NIGHT or not (reaches or in_turn):
            return False, suspect
        believed = replace(self._reaching(part), suspect_nights=suspect.suspect_nights)
        believed = replace(believed, suspect_on=night, suspect_at=suspect.suspect_at)
        if reaches:
            return True, believed
        # Others of its windows are in doubt until they are read as well.
        return True, replace(believed, state=suspect.state, reason=suspect.reason, begun_at=self.begun_at)

    def _is_another_night(self, begun_at: datetime, night: date) -> bool:
        """Whether a doubtful answer counts beside the last: that of a late night and one by hand soon after are one."""
        is_later = self.suspect_at is None or begun_at - self.suspect_at >= NIGHTS_APART
        return is_later and (self.suspect_on is None or self.suspect_on < night)

    def _reaching(self, part: ReadPart) -> Coverage:
        """With the part's days, as of its time; days that leave a gap to those that were read do not count."""
        first, last = part.window.start, part.window.end - DAY
        odd = dict(part.odd)
        if self.read_from and self.read_through:
            if self.read_from < first or part.window.end <= self.read_through:
                odd = {**(self.odd or {}), **odd}
            if part.window.end < self.read_from or first > self.read_through + DAY:
                first, last = self.read_from, self.read_through
            first, last = min(first, self.read_from), max(last, self.read_through)
        good = replace(self, state=CoverageState.GOOD, reason=None, odd=odd or None)
        begun_at, estimated = max(self.begun_at or part.begun_at, part.begun_at), self._estimated_after(part)
        return replace(good, read_from=first, read_through=last, begun_at=begun_at, estimated_from=estimated)

    def _estimated_after(self, part: ReadPart) -> date | None:
        """The first estimated day once a part says whether some of its days are; of the others it says nothing."""
        days = {part.estimated_from}
        if self.estimated_from and self.read_through:
            left = part.window.end if self.estimated_from in part.window else self.estimated_from
            days.add(left if left <= self.read_through else None)
        return min(filter(None, days), default=None)


def _with_neighbours(window: Period, others: Iterable[Period]) -> Period:
    """The days in a row that are a window's, and those of others next to it."""
    (start, end), known = (window.start, window.end), sorted(others, key=lambda each: each.start)
    for each in known:
        end = max(end, each.end) if each.start <= end else end
    for each in sorted(known, key=lambda each: each.end, reverse=True):
        start = min(start, each.start) if each.end >= start else start
    return Period(start, end)


# --- what a figure lacks -------------------------------------------------------------------------------------

# In months: neither Azure nor AWS answers for more.
LONGEST_HISTORY = 13


@dataclass(frozen=True, slots=True)
class Gap:
    """Months of a sub-account that a figure can't count on, one after the other, and why.

    state: None where they were not read (lately). reason: of a provider, or ours. since: the last day that was read of
    the month, or on which it was read. too_old: no provider answers for
    them any more. exported: all that is known of the sub-account came by exports. currency: that of charges for whose
    days, from the first one on, no exchange rate is known; then it is of no one sub-account.
    """

    sub_account_id: str
    days: Period
    state: CoverageState | None = None
    reason: str | None = None
    since: date | None = None
    too_old: bool = False
    exported: bool = False
    currency: str | None = None

    def __str__(self) -> str:
        """As a sentence without its end."""
        if self.currency:
            return f"charges in {self.currency} left out: there is no exchange rate for {self.days.start}"
        whose, months = self.sub_account_id, _span_in_words(self.days)
        if self.state is CoverageState.FAILED:
            return f"{months} of {whose} could not be read: {self.reason}"
        if self.state is CoverageState.SUSPECT:
            return f"{months} of {whose} {self.reason}, which is not believed yet"
        since = self._since_when(months)
        if self.too_old and self.exported:
            return (
                f"{months} of {whose} came by no export; `exports import` takes files of it, or `budgets set "
                "--opening-balance` what was spent then"
            )
        if self.too_old:
            return (
                f"{months} of {whose} can't be read any more; `budgets set --opening-balance` takes what was spent then"
            )
        return f"costs of {whose} not read {since}"

    @property
    def why(self) -> str:
        """In a word, for a mail: a month that came without any charge need not have had one before."""
        if self.currency:
            return "unrated"
        if self.state is None:
            return "unread"
        is_blank = self.state is CoverageState.SUSPECT and self.reason == NO_CHARGE
        return "blank" if is_blank else self.state.value

    @property
    def briefly(self) -> str:
        """The same for a list: without the sub-account, the reason and the way out."""
        if self.currency:
            return f"no rate of {self.currency} for {self.days.start}"
        months = _span_in_words(self.days)
        if self.state is CoverageState.FAILED:
            return f"{months} could not be read"
        if self.state is CoverageState.SUSPECT:
            return f"{months} came blank" if self.why == "blank" else f"{months} came in part"
        if self.too_old and self.exported:
            return f"{months} came by no export"
        return f"{months} can't be read" if self.too_old else f"not read {self._since_when(months)}"

    def _since_when(self, months: str) -> str:
        return f"since {day_in_words(self.since)}" if self.since else f"for {months}"


Known = Mapping[date, Coverage]
"""What is known of a sub-account's months, by their first days"""


def gaps(
    sub_account_id: str,
    known: Known,
    needed: Period,
    today: date,
    lookback_days: int,
    closed_on: int,
    opening: bool = False,
) -> list[Gap]:
    """What is missing of a sub-account for a figure of the `needed` days: none where every month of them is complete.

    closed_on: as for `Coverage.is_recent`. Days that no night, or no export, can have read yet are not missing; nor,
    with an opening balance, those of which no provider can be asked any more, and that were never read: it says what
    they came to.
    """
    oldest = months_before(today, LONGEST_HISTORY)
    first = min((each.read_from for each in known.values() if each.read_from), default=oldest)
    is_exported = bool(known) and all(each.is_exported for each in known.values())
    start, end = needed.start, min(needed.end, _end_of_readable(known, today))
    found: list[Gap] = []
    for days in split_at_month_ends(Period(start, end)) if start < end else ():
        gap = _gap(sub_account_id, known.get(days.start.replace(day=1)), days, today, lookback_days, closed_on)
        is_too_old = gap is not None and gap.state is None and days.start < min(first, oldest)
        if gap and is_too_old:
            if opening:
                continue
            gap = replace(gap, too_old=True, exported=is_exported)
        before = found[-1] if found else None
        if gap and before and before.days.end == gap.days.start and _is_same(before, gap):
            found[-1] = replace(before, days=Period(before.days.start, gap.days.end))
        elif gap:
            found.append(gap)
    return found


def lacks_from(known: Known, needed: Period, today: date, lookback_days: int, closed_on: int) -> date | None:
    """The first day after `today` on which `gaps` finds something of the `needed` days, where nobody reads until then;
    None where it never does. Of what lacks nothing today.
    """
    later = DAY + (today - _end_of_readable(known, today))
    found: list[date] = []
    for days in split_at_month_ends(needed):
        month = known.get(days.start.replace(day=1))
        if month is None or not (month.read_from and month.read_through) or days.start < month.read_from:
            found.append(days.start + later)
            if days.start + later > today:
                break
            # An opening balance says what was spent then.
            continue
        if month.read_through < days.last_day:
            found.append(month.read_through + DAY + later)
        found += filter(None, [month.recent_until(lookback_days, closed_on)])
    return min((day for day in found if day > today), default=None)


@dataclass(frozen=True, slots=True)
class Lacks:
    """What a figure lacks. since: the first day on which it lacks something, where nobody reads until then, or the one
    as of which it does already; None where it never does."""

    gaps: tuple[Gap, ...] = ()
    since: date | None = None

    def and_of(self, other: Lacks) -> Lacks:
        """What a figure of both lacks."""
        since = [each.since for each in (self, other) if each.since]
        return Lacks((*self.gaps, *other.gaps), min(since, default=None))


LACKS_NOTHING = Lacks()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """What figures lack: each gap, with the acronyms of the projects that lack it, those that concern most first."""

    gaps: tuple[tuple[Gap, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, lacking: Mapping[str, Iterable[Gap]]) -> Incomplete:
        """From what each project's figure lacks, by acronym."""
        found: dict[Gap, list[str]] = {}
        for acronym, each in lacking.items():
            for gap in each:
                found.setdefault(gap, []).append(acronym)
        order = sorted(found, key=lambda gap: (-len(found[gap]), gap.sub_account_id, gap.days.start))
        return cls(tuple((gap, tuple(found[gap])) for gap in order))

    @property
    def projects(self) -> int:
        """How many figures are incomplete."""
        return len({acronym for _, acronyms in self.gaps for acronym in acronyms})

    @property
    def lines(self) -> list[str]:
        """Each gap, with whose figures lack it."""
        return [f"{named(acronyms)}: {gap}" for gap, acronyms in self.gaps]


def without_rate(converted: Conversion) -> tuple[Gap, ...]:
    """What a converted figure lacks: charges of days for which nobody knows a rate."""
    return tuple(
        Gap("", Period(day, day + DAY), currency=currency) for currency, day in sorted(converted.missing.items())
    )


def missing_months(lacking: Iterable[Gap]) -> list[tuple[str, Period]]:
    """What is missing, as whole months with why, oldest first: for those whom it does not concern of which account."""
    by_why: dict[str, list[Period]] = {}
    for gap in sorted(lacking, key=lambda gap: gap.days.start):
        by_why.setdefault(gap.why, []).append(gap.days)
    found = [(why, span) for why, windows in by_why.items() for span in _whole_months(windows)]
    return sorted(found, key=lambda each: each[1].start)


def _end_of_readable(known: Known, today: date) -> date:
    """The day before which all can have been read: what comes by exports is the later."""
    return today - RECENT_DAYS * DAY if known and known[max(known)].is_exported else today


def _gap(
    sub_account_id: str, known: Coverage | None, days: Period, today: date, lookback_days: int, closed_on: int
) -> Gap | None:
    if known is not None and not known.is_good:
        return Gap(sub_account_id, days, known.state, known.reason)
    if known is None or not (known.read_from and known.read_through and known.begun_at):
        return Gap(sub_account_id, days)
    if days.start < known.read_from:
        return Gap(sub_account_id, days)
    if known.read_through < days.end - DAY:
        return Gap(sub_account_id, days, since=known.read_through)
    is_recent = known.is_recent(today, lookback_days, closed_on)
    return None if is_recent else Gap(sub_account_id, days, since=utc_day(known.begun_at))


def _is_same(one: Gap, other: Gap) -> bool:
    """Whether both are told in one sentence: what was not read since some day was not read after it either."""
    if one.state is None and other.state is None and one.too_old == other.too_old:
        return other.since is None or one.since is not None
    return (one.state, one.reason, one.too_old) == (other.state, other.reason, other.too_old)


def whole_until(known: Known) -> date | None:
    """The day on which a sub-account's charges were exported last, or up to which; None where no export feeds it."""
    newest = known[max(known)] if known else None
    if newest is None or not (newest.is_exported and newest.begun_at and newest.read_through):
        return None
    return min(utc_day(newest.begun_at), newest.read_through + DAY)


def settled_before(known: Known, lookback_days: int, closed_on: int, since: date = date.min) -> date | None:
    """The day before which no night reads charges again, as of the last by which all was read that was due then, and
    from which on its provider calls some estimated; of the months with days from `since` on. None where none was read.

    Months that are final are as good as read tonight; of those that never were read nothing is known.
    """
    read = [(each, utc_day(each.begun_at)) for each in known.values() if each.begun_at and each.days.end > since]
    if not read:
        return None
    moving = [day for each, day in read if not each.is_good or not each.is_recent(date.max, lookback_days, closed_on)]
    read_until = min(moving) if moving else max(day for _, day in read)
    estimated = [each.estimated_from for each, _ in read if each.estimated_from]
    return min([read_until - nights_lookback(lookback_days, closed_on) * DAY, *estimated])


def month_in_words(month: date) -> str:
    """`June 2026`, whatever the machine's language is."""
    return f"{MONTHS[month.month - 1]} {month.year}"


def day_in_words(day: date) -> str:
    """`12 November 2026`."""
    return f"{day.day} {month_in_words(day)}"


def days_in_words(first: date, last: date) -> str:
    """`12 November 2026`, or `12 November 2026 to 14 November 2026`."""
    return day_in_words(first) + (f" to {day_in_words(last)}" if first < last else "")


MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def months_in_words(windows: Sequence[Period]) -> str:
    """`April to June 2026, August 2026`: the months that hold these windows, which come oldest first."""
    return ", ".join(map(_span_in_words, _whole_months(windows)))


def _whole_months(windows: Iterable[Period]) -> list[Period]:
    """The whole months of these windows, which come oldest first; those that follow each other as one."""
    spans: list[Period] = []
    for window in windows:
        start, end = (month_of(day) for day in _ends(window))
        if spans and start.start <= spans[-1].end:
            spans[-1] = Period(spans[-1].start, max(spans[-1].end, end.end))
        else:
            spans.append(Period(start.start, end.end))
    return spans


def _ends(window: Period) -> tuple[date, date]:
    return window.start, window.end - DAY


def _span_in_words(days: Period) -> str:
    first, last = _ends(days)
    if (first.year, first.month) == (last.year, last.month):
        return month_in_words(first)
    year = "" if first.year == last.year else f" {first.year}"
    return f"{MONTHS[first.month - 1]}{year} to {month_in_words(last)}"


# --- whether a total agrees ------------------------------------------------------------------------------------

# What rounding for storing may take from a charge, or add to it.
ROUNDING = Decimal("0.5e-10")


def agrees(stored: Mapping[str, tuple[Decimal, int]], total: Mapping[str, Decimal]) -> bool:
    """Whether a provider's total, by currency, is what these stored charges come to, each of which was rounded."""
    for currency in stored.keys() | total.keys():
        amount, charges = stored.get(currency, (Decimal(0), 0))
        if abs(total.get(currency, Decimal(0)) - amount) > ROUNDING * charges:
            return False
    return True


def is_forgotten(stored: Mapping[str, tuple[Decimal, int]], total: Mapping[str, Decimal]) -> bool:
    """Whether a provider's total, by currency, leaves next to nothing of what is stored, and puts nothing in its place.

    That is no charge that was restated: a provider forgets what was before a change of offer or of billing account. A
    refund leaves as little; of one, what was `spent_in` the answer is still there.
    """
    spent = {currency: amount for currency, (amount, _) in stored.items() if amount > 0}
    others = [amount for currency, amount in total.items() if currency not in spent and amount > 0]
    return bool(spent) and not others and all(total.get(each, 0) < LEAST_LEFT * spent[each] for each in spent)


# --- what can't be stored ------------------------------------------------------------------------------------


def fault_in(reading: Reading) -> str | None:
    """Why the answers can't be stored, in a sentence; None where they can."""
    whose = f"the costs of {reading.sub_account_id}"
    faults = (_fault_in_part(whose, part.window, each) for part in reading.parts for each in part.charges)
    return next((fault for fault in faults if fault), None)


def _fault_in_part(whose: str, window: Period, charges: ChargeSet) -> str | None:
    strange = [day for day in {day for _, day, _ in charges.amounts} if day not in window]
    if strange:
        return (
            f"{whose} from {window.start} to {window.last_day} came with charges of {min(strange)}, "
            "which lies outside of these days"
        )
    services = {service for _, _, service in charges.amounts}
    return _too_long(whose, "service", services, LONGEST_SERVICE) or _too_long(
        whose, "resource group", (name for both in charges.group_names.items() for name in both), LONGEST_GROUP
    )


def _too_long(whose: str, what: str, names: Iterable[str], longest: int) -> str | None:
    for name in names:
        if units(name) > longest:
            said = f"of {units(name)} characters, of which {longest} can be stored: {shortened(name, 41)}"
            return f"{whose} came with a {what} {said}"
    return None


def utc_day(at: datetime) -> date:
    """The UTC day of a moment."""
    return at.astimezone(UTC).date()
