"""Runs of many exports in any order, late, again and broken off, orders between them, and nights of the query.

After each step the charges are those of a slow model (`export_oracle`). Some histories here; `make crash-test` plays
EXPORT_HISTORIES, from CRASH_SEED on, every fifth on PostgreSQL.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import WHOLE, export_spoken
from shared.domain.exports.runs import Dataset, Export, Width
from shared.domain.exports.sums import Row
from shared.domain.periods import Period
from shared.ports.errors import LaterError
from shared.ports.export_runs import RunRecord
from tests.conftest import emptied
from tests.contracts.export_oracle import QUERY, Line, Oracle, Told, Unit, days_of, first
from tests.contracts.export_world import World, export
from tests.postgres import programs

FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
HISTORIES = int(os.environ.get("EXPORT_HISTORIES", "2"))
STEPS = 25
SUBS, GROUPS = ("7f0c", "9a1b"), ("", "rg", "rg-one", "rg-two")
MONTHS = tuple(date(2026, month, 1) for month in (6, 7, 8, 9, 10))
BEGIN, DAY = datetime(2026, 10, 2, tzinfo=UTC), timedelta(days=1)
EXPORTS = (
    export("daily"),
    export("monthly"),
    export("all", Width.BILLING_ACCOUNT, "42"),
    export("next", Width.BILLING_ACCOUNT, "43"),
    export("one", Width.GROUP),
    export("two", Width.GROUP),
    export("focus", Width.BILLING_ACCOUNT, dataset=Dataset.FOCUS),
)
T = TypeVar("T")


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + HISTORIES))
def test_charges_are_what_the_newest_run_says_of_whoever_feeds(
    seed: int, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    kind = "postgresql" if seed % 5 == 0 and programs() is not None else "sqlite"
    history = History(emptied(request, kind), seed)
    history.play()
    record_property("history", dict(history.counted))


class KilledError(Exception):
    """The app was killed between two transactions."""


class Mortal(Database):
    """A database of an app that can be killed before any of its transactions."""

    left: int | None = None
    made: Callable[[str], None] = staticmethod(lambda _sub: None)

    def run(self, work: Callable[[Connection], T]) -> T:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise KilledError
        done = super().run(work)
        account = getattr(work, "keywords", {}).get("account")
        if account is not None:
            self.made(account.sub_account)
        return done


class History:
    """Some weeks of two sub-accounts."""

    def __init__(self, database: Database, seed: int) -> None:
        self.random = Random(f"exports {seed}")
        self.mortal = Mortal(str(database.url.render_as_string(hide_password=False)))
        self.world = World(self.mortal)
        self.oracle = Oracle(SUBS, GROUPS, MONTHS)
        self.now = BEGIN
        self.open: list[tuple[RunRecord, Told]] = []
        self.past: list[tuple[Export, Period | None, list[Row], dict[str, Any]]] = []
        self.log: list[object] = []
        self.counted = Counter[str]()
        if self.random.random() < 0.5:
            self.world.asked()
            self.oracle.feeds["7f0c", None] = {QUERY: None}

    def play(self) -> None:
        try:
            for _ in range(STEPS):
                self.now += timedelta(hours=self.random.choice([1, 5, 24]))
                self.random.choice([self.deliver] * 6 + [self.repeat, self.order, self.order, self.night, self.go_on])()
                self.compare()
            while self.open:
                self.go_on()
                self.compare()
        finally:
            self.mortal.close()

    # --- what happens ---

    def deliver(self) -> None:
        of = self.random.choice(EXPORTS)
        period = None if of.name == "focus" else self.window()
        rows = self.rows(of, period)
        at = self.now - timedelta(hours=self.random.choice([1, 1, 1, 30, 200]))
        self.found(of, period, rows, {"at": at, "parts": self.random.choice([1, 3]), "name": f"run {len(self.past)}"})

    def repeat(self) -> None:
        """A run that was imported is read again, as somebody wants it to."""
        if self.past:
            of, period, rows, run = self.random.choice(self.past)
            self.counted["runs again"] += 1
            self.found(of, period, rows, run | {"again": True})

    def found(self, of: Export, period: Period | None, rows: list[Row], run: dict[str, Any]) -> None:
        self.counted["runs"] += 1
        if "again" not in run:
            self.past.append((of, period, rows, run))
        record = self.world.stage(of, period, rows, found_at=self.now, **run)
        lines = tuple(Line(each.sub_account_id, each.group, each.day, each.cost, each.billing_period) for each in rows)
        dates = (period.start, period.last_day) if period else None
        is_of_group, account = of.width is Width.GROUP, of.billing_account
        told = Told(of.key, record.id, run["at"], dates, lines, is_of_group, account)
        self.log.append((self.now, "run", record.id, of.name, run["at"], dates, run.get("again", False)))
        self.oracle.find(told)
        self.open = [each for each in self.open if each[0].id != record.id]
        self.make(record, told)

    def make(self, record: RunRecord, told: Told) -> None:
        self.mortal.left = self.random.choice([None, None, self.random.randrange(8), self.random.randrange(40)])
        self.mortal.made = lambda sub: self.made(told, sub)
        try:
            self.world.make(record, self.now)
        except KilledError:
            self.counted["kills"] += 1
            self.log.append((self.now, "killed", record.id))
            self.open.append((record, told))
        except LaterError:
            self.counted["waits"] += 1
            self.open.append((record, told))
        finally:
            self.mortal.left, self.mortal.made = None, lambda _sub: None

    def made(self, told: Told, sub: str) -> None:
        self.log.append((self.now, "made", told.number, sub))
        self.oracle.make(told, sub, self.believed(told, sub))

    def believed(self, told: Told, sub: str) -> set[tuple[Unit, date]]:
        """Of what the run was believed: of all that it has rows of, and of the rest the ledger says it."""
        spoken = export_spoken.c
        columns = (spoken.group_key, spoken.billing_period)
        these = select(*columns).where(spoken.run_id == told.number, spoken.sub_account_id == sub)
        rows = self.mortal.read(lambda connection: connection.execute(these).all())
        return {((sub, None if row[0] == WHOLE else row[0]), row[1]) for row in rows}

    def order(self) -> None:
        of = self.random.choice([*EXPORTS, None])
        sub = self.random.choice(SUBS) if of and self.random.random() < 0.5 else None
        if of is None:
            sub = self.random.choice(SUBS)
        elif of.key not in self.oracle.found:
            return
        source = of.key if of else QUERY
        self.counted["orders"] += 1
        self.log.append((self.now, "order", source, sub))
        self.world.use(source, self.now, sub)
        self.oracle.use(source, self.now, sub)

    def night(self) -> None:
        """The query reads a month of a sub-account that it feeds, some groups of which exports may feed."""
        sub = self.random.choice(SUBS)
        if list(self.oracle.feeds.get((sub, None), ())) != [QUERY]:
            return
        month = self.random.choice(MONTHS[1:4])
        lines = [
            Line(sub, group, day, Decimal(self.random.randint(50, 90))) for group in GROUPS for day in days_of(month)
        ]
        self.counted["nights"] += 1
        self.log.append((self.now, "night", sub, month))
        rows = [Row(sub, each.group, each.day, "Storage", "CAD", None, each.cost) for each in lines]
        days = days_of(month)
        stored = self.world.query(rows, Period(month, days[-1] + DAY), self.now, sub)
        assert not stored.suspect
        self.oracle.query(sub, month, lines)

    def go_on(self) -> None:
        """What broke off, or had to wait, goes on; those that were found first come first."""
        again, self.open = sorted(self.open, key=lambda each: each[0].id), []
        for record, told in again:
            self.make(record, told)

    # --- what runs hold ---

    def window(self) -> Period:
        month = self.random.choice(MONTHS[1:4])
        days = days_of(month)
        start, end = self.random.choice(
            [
                (days[0], days[-1]),
                (days[0], self.random.choice(days)),
                (days[9], days[14]),
                (days[4], days[4]),
                (days[19], days[-1] + 10 * DAY),
                (days[0], days[-1] + 5 * DAY),
            ]
        )
        return Period(start, end + DAY)

    def rows(self, of: Export, period: Period | None) -> list[Row]:
        groups = {"one": ("rg-one",), "two": ("rg-two",)}.get(of.name, GROUPS)
        subs = [each for each in (SUBS if of.width > Width.SUB_ACCOUNT else SUBS[:1]) if self.random.random() < 0.9]
        month = self.random.choice(MONTHS[1:4])
        days = days_of(month) if period is None else [period.start + number * DAY for number in range(period.days)]
        # Where an agreement changed.
        days = {"all": [day for day in days if day.day <= 15], "next": [day for day in days if day.day >= 15]}.get(
            of.name, days
        ) if self.random.random() < 0.5 else days  # fmt: skip
        every = [
            self.row(sub, group, day) for sub in subs for group in groups for day in days if self.random.random() < 0.4
        ]
        odd = [
            self.row(sub, group, day)
            for sub in subs
            for group in groups
            for day in (first(days[0]) - 10 * DAY, days[-1] + DAY)
            if days and self.random.random() < 0.3
        ] if days else []  # fmt: skip
        named = period is None and self.random.random() < 0.5
        return [each._replace(billing_period=month) if named else each for each in every + odd]

    def row(self, sub: str, group: str, day: date) -> Row:
        return Row(sub, group, day, "Storage", "CAD", None, Decimal(self.random.choice(["1", "2.5", "4", "-0.75"])))

    # --- what is stored ---

    def compare(self) -> None:
        found = {(sub, group, day): cost for (sub, group, day, _, _), cost in self.world.rows().items()}
        expected = self.oracle.charges
        if found != expected:
            differs = {key: (found.get(key), expected.get(key)) for key in found.keys() | expected.keys()}
            differs = {key: both for key, both in differs.items() if both[0] != both[1]}
            some = sorted(differs.items())[:5]
            pytest.fail(f"{len(differs)} differ, {some} after " + "\n".join(map(str, self.log)))
        feeding = {(each.fed.sub_account, each.fed.group_key, each.source) for each in self.world.ledger.feeds()}
        fed = {(*unit, source) for unit, sources in self.oracle.feeds.items() for source in sources}
        assert {each for each in feeding ^ fed if each[2] != QUERY} == set(), self.log
