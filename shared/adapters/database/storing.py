"""Storing what was read: of one sub-account, or of many that were asked for at once, in as many statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, true

from shared.adapters.database.charge_rows import (
    Metered,
    Row,
    RowChanges,
    StoredRows,
    note_changes,
    stored_charges,
    within,
    write,
    write_meters,
)
from shared.adapters.database.chunks import in_chunks, insert_rows, kept_or, select_in, update_in
from shared.adapters.database.cloud_accounts import lock_accounts
from shared.adapters.database.coverage import known_months, months_delivered, note_stored, stored_lately, write_months
from shared.adapters.database.owners import owners_by_group, owners_of
from shared.adapters.database.scope_rows import Scopes, with_scopes
from shared.adapters.database.standing_rows import note_lacking
from shared.adapters.database.tables import WHOLE, accounts, answers, charges, export_months, group_coverage, projects
from shared.adapters.database.types import largest_amount
from shared.domain.coverage import (
    Coverage,
    CoverageState,
    Reading,
    ReadPart,
    StoredAnswer,
    doubt_about,
    fault_in,
    nights_lookback,
    not_outdated,
    utc_day,
)
from shared.domain.money import plain
from shared.domain.periods import Period, month_of, months_before
from shared.ports.charges import AnswerState, Stored
from shared.ports.costs import CostQuery
from shared.ports.errors import NeverError
from shared.ports.export_runs import closed_on


def store(
    connection: Connection, scope_id: int, readings: Sequence[Reading], now: datetime, lookback_days: int
) -> list[Stored]:
    """As `ChargeLedger.store`."""
    readings = [each.restricted() for each in readings]
    for fault in filter(None, map(fault_in, readings)):
        raise NeverError(fault)
    provider, ids = readings[0].provider, [each.sub_account_id for each in readings]
    lock_accounts(connection, provider, ids)
    since = _read_since(connection, provider, ids)
    readings = [each.told_since(since.get(each.sub_account_id)) for each in readings]
    before = _before(connection, provider, readings)
    lookback = nights_lookback(lookback_days, closed_on(provider))
    taken = [_taken(connection, before, each, lookback) for each in readings]
    write_months(connection, provider, {each.reading.sub_account_id: each.changed for each in taken if each.is_whole})
    changes = RowChanges()
    for each in taken:
        changes.add(each.changes)
    write(connection, changes)
    write_meters(connection, [metered for each in taken for metered in each.metered])
    note_stored(connection, [(each.reading, each.believed) for each in taken], now)
    for each in taken:
        _forget_read_groups(connection, each)
    _note_answers(connection, scope_id, taken, now)
    _mark_due(connection, [each for each in taken if each.counting], now)
    unanswered = [each.reading.sub_account_id for each in taken if each.changed and not each.counting]
    note_lacking(connection, provider, unanswered, now, lookback_days)
    return [each.outcome for each in taken]


# --- what is stored already ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Before:
    """What is known of some sub-accounts, each by its id; of scopes, with those that came up. rows: their charges."""

    known: Mapping[str, dict[date, Coverage]]
    delivered: Mapping[str, Mapping[date, frozenset[str]]]
    lately: Mapping[str, Sequence[StoredAnswer]]
    scopes: Mapping[str, Scopes]
    rows: StoredRows


def _before(connection: Connection, provider: str, readings: Sequence[Reading]) -> _Before:
    ids = [each.sub_account_id for each in readings]
    names = {
        each.sub_account_id: {key: name for part in reversed(each.parts) for key, name in part.group_names.items()}
        for each in readings
    }
    found = with_scopes(connection, provider, names)
    rows = StoredRows(connection)
    if len(readings) > 1:
        scope_ids = [row.id for each in ids for row in found[each].values()]
        rows.fetch({part.window for each in readings for part in each.parts}, scope_ids)
    months = {account: known for (of, account), known in known_months(connection, ids).items() if of == provider}
    delivered = months_delivered(connection, provider, ids)
    return _Before(months, delivered, stored_lately(connection, provider, ids), found, rows)


def _read_since(connection: Connection, provider: str, ids: Sequence[str]) -> Mapping[str, date]:
    """The first day that is read of sub-accounts: what another organization's payer has told of them before stays."""
    account = accounts.c
    found = select(account.sub_account_id, account.read_since).where(account.provider == provider)
    rows = select_in(connection, found.where(account.read_since.is_not(None)), account.sub_account_id, ids)
    return {row.sub_account_id: row.read_since for row in rows}


# --- one reading ---------------------------------------------------------------------------------------------


@dataclass
class _Taken:
    """Goes through a reading's parts: which are believed, which are not and why, and what is to be written then.

    known: what is known of months; changed: of which that is new. read: the scopes that it is about. counting: its
    parts without what exports have delivered that feed it, and of which groups that is.
    """

    reading: Reading
    lookback_days: int
    known: dict[date, Coverage]
    delivered: Mapping[date, frozenset[str]]
    read: Scopes
    counting: list[tuple[ReadPart, frozenset[str]]]
    suspect: dict[Period, str] = field(default_factory=dict)
    gone: dict[Period, str] = field(default_factory=dict)
    changed: dict[date, Coverage] = field(default_factory=dict)
    believed: list[ReadPart] = field(default_factory=list)
    changes: RowChanges = field(default_factory=RowChanges)
    metered: list[Metered] = field(default_factory=list)
    told: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        for window, reason in self.reading.failed:
            if WHOLE not in self.delivered.get(_month(window), ()):
                self._know(self.of(window).failed(reason, self.reading.night, self.lookback_days))

    @property
    def is_whole(self) -> bool:
        """Whether it says something of the whole sub-account."""
        return self.reading.is_whole

    @property
    def outcome(self) -> Stored:
        """What it changed."""
        return Stored(
            added=len(self.changes.added),
            changed=len(self.changes.changed),
            removed=len(self.changes.removed),
            suspect=tuple(self.suspect),
            odd=self.told,
        )

    def believes(self, part: ReadPart, doubt: str | None, is_whole: bool, tonight: Sequence[Period]) -> bool:
        """Whether the part is to be stored. is_whole: whether no newer answer has stored some of what it is about.

        tonight: the days of all of the sub-account that were stored tonight already.
        """
        # Some groups say nothing of the account: where they are doubtful, they are never believed.
        believed = doubt is None
        if self.reading.is_whole:
            known = self.of(part.window)
            if not is_whole:
                part = replace(part, odd={**(known.odd or {}), **part.odd})
            beside = [*tonight, *(each.window for each in self.believed)]
            believed, after = self._read(known, part, doubt, beside)
            self._know(replace(after, source=self.reading.source))
        if doubt:
            (self.gone if believed else self.suspect)[part.window] = doubt
        return believed

    def _read(
        self, known: Coverage, part: ReadPart, doubt: str | None, beside: Sequence[Period]
    ) -> tuple[bool, Coverage]:
        """Whether the part is believed, and what is known then: by what else was read tonight, else in the last days.

        Of these, what was begun before the month was in doubt last says nothing of it; and the month is as old as the
        oldest.
        """
        night, in_turn = self.reading.night, self.reading.in_turn
        found = known.read(part, night, self.lookback_days, doubt, beside, in_turn=in_turn)
        since = known.suspect_at if known.state is CoverageState.SUSPECT else None
        lately = [
            each for each in self.reading.lately if _month(each[0]) == known.month and (not since or each[1] >= since)
        ]
        if found[1].good_on == night or not lately:
            return found
        windows = [*beside, *(window for window, _ in lately)]
        believed, after = known.read(part, night, self.lookback_days, doubt, windows, in_turn=in_turn)
        if after.good_on != night:
            return found
        oldest = min(night, *(utc_day(at) for _, at in lately))
        return believed, replace(after, good_on=max(oldest, known.good_on or oldest))

    def of(self, window: Period) -> Coverage:
        """What is known of a window's month."""
        return self.known.get(_month(window)) or Coverage(_month(window))

    def _know(self, after: Coverage) -> None:
        self.known[after.month] = self.changed[after.month] = after


def _taken(connection: Connection, before: _Before, reading: Reading, lookback_days: int) -> _Taken:
    account = reading.sub_account_id
    found, delivered = before.scopes[account], before.delivered.get(account, {})
    read = {key: row for key, row in found.items() if reading.is_whole or key in reading.group_keys}
    known, counting = before.known.get(account, {}), list(_not_delivered(reading, delivered))
    taken = _Taken(reading, lookback_days, known, delivered, read, counting)
    ids, odd = {key: row.id for key, row in read.items()}, dict[str, str]()
    lately = before.lately.get(account, ())
    tonight = [each.window for each in lately if not each.group_keys and utc_day(each.begun_at) >= reading.night]
    for came, exported in counting:
        part = came if exported else _missed_or_not(connection, taken, came, ids)
        current = not_outdated(part, lately)
        left = [
            (days, {key: ids[key] for key in ids.keys() - silent - exported})
            for some, silent in current
            if (days := some.told)
        ]
        its = RowChanges()
        for days, scope_ids in left:
            note_changes(before.rows, its, days, scope_ids)
        part_odd = {**_too_large(connection, its, account, ids), **part.odd}
        odd |= part_odd
        doubt = _doubt(before.rows, its, left, reading.night)
        # Without any left, what it would say is stored already, and newer: for its run, it has been read.
        if current and taken.believes(replace(part, odd=part_odd), doubt, current == [(part, frozenset())], tonight):
            taken.believed.append(part)
            taken.changes.add(its)
            taken.metered += [(*each, part_odd) for each in left]
    owners = owners_by_group(connection, reading.provider, account, odd) if odd else {}
    if owners and not reading.is_whole:
        # Some groups say nothing of the account, nor of what is missing of it.
        raise NeverError(odd[next(iter(owners))])
    taken.told = tuple((reason, tuple(owners.get(key, {}).values())) for key, reason in odd.items())
    return taken


def _month(window: Period) -> date:
    return window.start.replace(day=1)


def _not_delivered(
    reading: Reading, delivered: Mapping[date, frozenset[str]]
) -> Iterator[tuple[ReadPart, frozenset[str]]]:
    """The parts without what exports have delivered that feed it, and of which groups that is.

    An answer may have been on its way when the export took over; its charges would count beside the export's.
    """
    for part in reading.parts:
        exported = delivered.get(_month(part.window), frozenset())
        if WHOLE not in exported and (reading.is_whole or not reading.group_keys <= exported):
            yield part.without(exported) if exported else part, exported


def _missed_or_not(connection: Connection, taken: _Taken, part: ReadPart, scope_ids: Mapping[str, int]) -> ReadPart:
    """The part, which says whether a payer's answer misses the sub-account's charges."""
    is_without = part.left_out and not part.odd and not any(each.amounts for each in part.charges)
    if not is_without or not taken.of(part.window).is_doubtful_without_charges(part, taken.reading.night):
        return part
    return replace(part, is_missed=_is_next_to_charges(connection, taken.reading, part, scope_ids))


def _is_next_to_charges(connection: Connection, reading: Reading, part: ReadPart, scope_ids: Mapping[str, int]) -> bool:
    """Whether its month, or the one before or after it, has charges, in the reading or stored."""
    month = month_of(part.window.start)
    around = Period(months_before(month.start, 1), month_of(month.end).end)
    days = (day for each in reading.parts for charged in each.charges for _, day, _ in charged.amounts)
    if any(day in around for day in days):
        return True
    found = (select(charges.c.scope_id).where(which).limit(1) for which in within(around, scope_ids.values()))
    return any(connection.execute(each).first() for each in found)


def _doubt(
    stored: StoredRows, changes: RowChanges, left: Sequence[tuple[ReadPart, Mapping[str, int]]], night: date
) -> str | None:
    """`doubt_about` what these changes come from. What takes nothing away is no matter for doubt."""
    if not changes.take_away:
        return None
    rows = (
        row
        for days, scope_ids in left
        for row in stored_charges(stored, days.window, {key: scope_ids[key] for key in scope_ids.keys() - days.odd})
    )
    return doubt_about([charged for days, _ in left for charged in days.charges], rows, night)


def _too_large(
    connection: Connection, changes: RowChanges, sub_account_id: str, scope_ids: Mapping[str, int]
) -> dict[str, str]:
    """Takes the amounts out that can't be stored; what is wrong with them, by group."""
    largest = largest_amount(connection.dialect)
    group_keys = {scope_id: key for key, scope_id in scope_ids.items()}
    why = f"which can't be stored; the largest amount is {plain(largest)}."
    return {
        group_keys[row[0]]: f"The costs of {sub_account_id} came with {_in_words(row)}, {why}"
        for row in changes.set_aside(largest)
    }


def _in_words(row: Row) -> str:
    _, day, service, currency, cost = row
    return f"{plain(cost)} {currency} for {service} on {day}"


# --- what is written beside the charges ----------------------------------------------------------------------


def answer_key(scope_id: int, query: CostQuery) -> dict[str, Any]:
    """The window's end belongs to it: the next page is only given to whoever asks for the very same days."""
    window = {"window_start": query.window.start, "window_end": query.window.end}
    return {"run_scope_id": scope_id, "provider": query.provider, "sub_account_id": query.sub_account_id} | window


def is_answer(scope_id: int, query: CostQuery) -> list[ColumnElement[bool]]:
    """What selects what became of a query."""
    return [answers.c[name] == value for name, value in answer_key(scope_id, query).items()]


def _forget_read_groups(connection: Connection, taken: _Taken) -> None:
    """Forgets whose a month was of groups that were read with all of their sub-account: it is as that from now on."""
    reading, delivered = taken.reading, taken.delivered
    for month in {_month(part.window) for part in taken.believed} if reading.is_whole and delivered else ():
        kept = {WHOLE, *delivered.get(month, ())}
        for table in (export_months, group_coverage):
            its = table.c.provider == reading.provider, table.c.sub_account_id == reading.sub_account_id
            groups = connection.scalars(select(table.c.group_key).where(*its, table.c.month == month)).all()
            for group_key in set(groups) - kept:
                connection.execute(delete(table).where(*its, table.c.month == month, table.c.group_key == group_key))


def _note_answers(connection: Connection, scope_id: int, taken: Sequence[_Taken], now: datetime) -> None:
    """Writes down what became of the queries."""
    states = {each.reading.sub_account_id: _states(each) for each in taken}
    provider, ids = taken[0].reading.provider, sorted(states)
    these = (answers.c.run_scope_id == scope_id) & (answers.c.provider == provider)
    tried = select(answers.c.sub_account_id, answers.c.window_start, answers.c.window_end, answers.c.tries).where(these)
    tries = {
        (row[0], Period(row[1], row[2])): row[3] for row in select_in(connection, tried, answers.c.sub_account_id, ids)
    }
    asked: defaultdict[Period, list[str]] = defaultdict(list)
    for account, its in states.items():
        for window in its:
            if (account, window) in tries:
                asked[window].append(account)
    for window, ids in asked.items():
        is_window = (answers.c.window_start == window.start) & (answers.c.window_end == window.end)
        for some in in_chunks(ids):
            connection.execute(delete(answers).where(these, is_window, answers.c.sub_account_id.in_(some)))
    rows = [
        answer_key(scope_id, CostQuery(provider, account, window))
        | {"state": state, "reason": reason, "tries": tries.get((account, window), 0) + 1, "kept_at": now}
        for account, its in states.items()
        for window, (state, reason) in its.items()
    ]
    insert_rows(connection, answers, rows)


def _states(taken: _Taken) -> dict[Period, tuple[AnswerState, str | None]]:
    """What became of each query, and why."""
    suspect, gone = taken.suspect, taken.gone
    return {
        part.window: (AnswerState.SUSPECT, suspect[part.window])
        if part.window in suspect
        else (AnswerState.READ, gone.get(part.window))
        for part in taken.reading.parts
    } | {window: (AnswerState.FAILED, reason) for window, reason in taken.reading.failed}


def _mark_due(connection: Connection, taken: Sequence[_Taken], now: datetime) -> None:
    """The projects of what was asked for are due for a check; their costs were read where the night's day was."""
    due: dict[str, Any] = {"check_due_since": kept_or(projects.c.check_due_since, now)}
    for is_tonight, read_at in ((False, {}), (True, {"costs_read_at": now})):
        scope_ids = [row.id for each in taken if _has_night(each) == is_tonight for row in each.read.values()]
        owners = sorted(set(owners_of(connection, scope_ids))) if scope_ids else []
        update_in(connection, projects, owners, projects.c.active == true(), **due, **read_at)


def _has_night(taken: _Taken) -> bool:
    windows = (part.window for part, _ in taken.counting)
    return any(taken.reading.night in window and window not in taken.suspect for window in windows)
