"""Wherever the app is killed, and whatever provider, mail servers and hours do: what is shown is what was served.

Once all are well again, everything is whole again by itself within two nights, and what is restated of months that no
night reads within a week, or as soon as somebody has it read. One history here; `make crash-test`
plays 1,000 (HISTORIES), from CRASH_SEED on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, dead_letters, mails, runs, scopes
from shared.domain.budgets import BudgetTerms
from shared.domain.coverage import Coverage
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.ports.azure import AZURE
from shared.ports.mails import Refusal
from tests.conftest import emptied
from tests.pipeline.conftest import OTHER_SUBSCRIPTION, PLAYED, SUBSCRIPTION
from tests.pipeline.mortal import BLANK, BUSY, LATER, REFUSED, TRUE, World, currency_on
from tests.pipeline.oracle import DAY, Money, Owner, days, first_of, months, reached
from tests.postgres import programs

FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
HISTORIES = int(os.environ.get("HISTORIES", "1"))
THRESHOLDS = (25, 50, 80, 100)
OWNERS = (
    Owner(11, SUBSCRIPTION, "rg-11", Decimal(1000), "CAD"),
    Owner(12, SUBSCRIPTION, "RG-12", Decimal(6000), "CAD", since=date(2026, 9, 1)),
    Owner(21, OTHER_SUBSCRIPTION, "rg-21", Decimal(700), "CAD"),
    Owner(22, OTHER_SUBSCRIPTION, "rg-22", Decimal(3000), "CAD", since=date(2026, 10, 1)),
)
ACCOUNTS = (SUBSCRIPTION, OTHER_SUBSCRIPTION)
NOBODYS = "rg-shared"
SINCE = date(2026, 9, 1)
MOODS = [TRUE] * 10 + [BLANK, REFUSED, LATER, LATER, BUSY, BUSY]
FIRES_AFTER = [timedelta(0)] * 3 + [timedelta(seconds=-1), *(timedelta(minutes=each) for each in (1, 40, 300))]
Stored = dict[tuple[int, date], Money]
"""By project and month."""
# Of histories, and of nights.
RESTATES_OLD, READ_AGAIN = 0.3, 0.1
# A week's, and one for what is read again.
NIGHTS_TO_COMPARE = 8
# Of the moments between two messages; looking takes longer than working.
COMPARED = 0.15


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + HISTORIES))
def test_what_is_shown_is_what_was_served_and_all_is_whole_again_two_nights_after(
    seed: int, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    on_server = seed % 5 == 0 and programs() is not None
    history = History(emptied(request, "postgresql" if on_server else "sqlite"), seed)
    history.play()
    history.world.fate.counted["on PostgreSQL"] += on_server
    record_property(PLAYED, dict(history.world.fate.counted))


class History:
    """Some nights of four projects in two subscriptions."""

    def __init__(self, database: Database, seed: int) -> None:
        self.random = Random(f"history {seed}")
        self.world = World(database, seed, chance=self.random.choice([0.0, 0.005, 0.01, 0.02]))
        self.hour = self.random.choice([2, 2, 22])
        self.world.chain.configure(schedule_usage=f"0 0 {self.hour} * * *")
        self.today = date(2026, 11, self.random.randint(21, 29))
        people = [each for owner in OWNERS for each in _contacts(owner)]
        dead = self.random.sample(people, self.random.choice([0, 0, 1, 3]))
        self.dead = {each: Refusal("550 no such user", for_good=True) for each in dead}
        self.living = [each for each in people if each not in dead]
        self.world.mailer.refuses = self.dead
        self.most: dict[tuple[int, date], Decimal] = {}
        # A charge that no night reads any more is restated in some: it is found within a week, or by `run --since`.
        self.restates_old = self.random.random() < RESTATES_OLD
        self.world.after_each = self.after_each

    def play(self) -> None:
        self.world.clock.now = datetime(2026, 11, self.today.day, self.hour - 1, tzinfo=UTC)
        self.world.looks_at = self.world.clock()
        self.begin()
        for _ in range(self.random.randint(2, 6)):
            self.spend()
            self.change_moods()
            if self.restates_old:
                self.restate_old()
            self.night(again=self.random.random() < READ_AGAIN)
        self.spend()
        self.get_well()
        for _ in range(2):
            self.night()
        if self.restates_old:
            self.find_what_is_old()
        self.compare()
        self.all_is_whole()

    # --- what happens ---

    def begin(self) -> None:
        for account in ACCOUNTS:
            if self.random.random() < 0.3:
                self.world.costs.changes_on[account] = self.today + DAY * self.random.randint(-20, 5)
        entries = [_entry(owner) for owner in OWNERS]
        self.world.chain.projects.load(entries, "tester", self.world.clock())
        for day in days(SINCE, self.today):
            for account in ACCOUNTS:
                # No day is truly without a charge.
                self.charge(account, NOBODYS, day, Decimal(1))
        for owner in OWNERS:
            for day in days(SINCE, self.today):
                if self.random.random() < 0.3:
                    self.charge(owner.account, owner.group, day, Decimal(self.random.randint(1, 40)))

    def spend(self) -> None:
        """A day's charges come, and some of the last weeks' are restated."""
        for account in ACCOUNTS:
            self.charge(account, NOBODYS, self.today, Decimal(1))
        for owner in OWNERS:
            for day in (self.today, self.today - DAY * self.random.randint(1, 25)):
                amount = Decimal(self.random.randint(-50, 400)) + Decimal(self.random.randint(0, 10**10)).scaleb(-10)
                self.charge(owner.account, owner.group, day, amount)

    def restate_old(self) -> None:
        owner = self.random.choice(OWNERS)
        self.charge(owner.account, owner.group, SINCE + DAY * self.random.randint(0, 29), Decimal(77))
        self.world.fate.counted["old charges restated"] += 1

    def find_what_is_old(self) -> None:
        if self.random.random() < 0.5:
            self.night(again=True)
        else:
            for _ in range(NIGHTS_TO_COMPARE):
                self.night()

    def read_again(self) -> None:
        """What a person orders by `run --since`."""
        self.world.fire(lambda: self.world.chain.run_now(since=SINCE.isoformat()))
        self.world.fate.counted["runs since"] += 1
        self.world.costs.by_hand = 3

    def charge(self, account: str, group: str, day: date, amount: Decimal) -> None:
        currency = currency_on(day, self.world.costs.changes_on.get(account))
        self.world.oracle.charge(account, group, day, amount, currency)
        self.world.costs.charges[account, group, day, "Storage"] = amount

    def change_moods(self) -> None:
        moods = self.world.costs.moods
        for account in ACCOUNTS:
            for month in months(SINCE, self.today):
                lasts = moods.get((account, month)) == BLANK and self.random.random() < 0.6
                mood = BLANK if lasts else self.random.choice(MOODS)
                nights = self.world.costs.blank_nights
                nights[account, month] = nights[account, month] + 1 if mood == BLANK else 0
                moods[account, month] = mood
        self.change_mailer(was_well=self.world.mailer.refuses == self.dead and not self.world.mailer.is_away)

    def change_mailer(self, was_well: bool) -> None:
        """Nobody is put off for the three days after which mails are given up: no two nights in a row."""
        mailer = self.world.mailer
        mailer.is_away = was_well and self.random.random() < 0.2
        put_off = self.random.sample(self.living, self.random.choice([0, 0, 1, 2])) if was_well else []
        mailer.refuses = self.dead | {each: Refusal("450 try again later", for_good=False) for each in put_off}

    def get_well(self) -> None:
        self.world.costs.moods.clear()
        self.world.mailer.is_away = False
        self.world.mailer.refuses = self.dead

    def night(self, again: bool = False) -> None:
        """The timer fires: on time, early, late, twice, or not at all; then the day goes by.

        again: whether somebody has all read again at noon.
        """
        self.world.costs.by_hand = max(self.world.costs.by_hand - 1, 0)
        begins = datetime(self.today.year, self.today.month, self.today.day, self.hour, tzinfo=UTC)
        well = not self.world.costs.moods
        times = 1 if well else self.random.choice([1, 1, 1, 1, 2, 0])
        # What is checked past midnight is of the next day's period: not at the end, where one is looked at.
        late = sorted(self.random.choice(FIRES_AFTER[: -1 if well else None]) for _ in range(times))
        for each in late:
            self.world.run_until(begins + each)
            self.world.fire(lambda: self.world.chain.send(self.world.chain.scheduler.tonight()))
        self.world.fate.counted["nights"] += 1
        self.world.fate.counted["nights that are odd"] += late != [timedelta(0)]
        if again:
            # Not on the next day in the end, where it could be the first of another period.
            self.world.run_until(begins + timedelta(hours=1 if well else 12))
            self.read_again()
        self.world.run_until(begins + timedelta(hours=23))
        self.today += DAY

    # --- what is compared ---

    def after_each(self) -> None:
        self.note_most(self.stored())
        if self.random.random() < COMPARED:
            self.compare()

    def note_most(self, stored: Stored) -> None:
        """What may have been told: the most that was ever shown of a project's period."""
        for owner in OWNERS:
            for start, end in {owner.period_of(self.today), owner.period_of(self.today - 20 * DAY)}:
                spent = _sum(stored, owner, start, end - DAY)
                self.most[owner.number, start] = max(self.most.get((owner.number, start), Decimal(0)), spent)

    def compare(self) -> None:
        """What is shown of each project with what is stored, and that with what was served."""
        stored = self.stored()
        for view in self.world.chain.projects.list_projects(self.today):
            owner = next(each for each in OWNERS if each.number == view.project.id)
            if view.period is not None:
                assert view.spent == _sum(stored, owner, view.period.start, self.today), owner
        for owner in OWNERS:
            known = self.world.chain.charges.account(AZURE, owner.account).known
            for month in months(SINCE, self.today):
                self.compare_month(owner, month, stored.get((owner.number, month), {}), known.get(month))

    def compare_month(self, owner: Owner, month: date, spent: Money, read: Coverage | None) -> None:
        """What is stored of a month is what was served of it until the app says that it was read."""
        if read is None or read.begun_at is None or read.read_through is None:
            assert spent == {}, (owner, month)
            return
        told = self.world.oracle.told
        days = (owner.account, owner.group, month, read.read_through + DAY)
        # An answer about some of the days does not make the others newer, which is all that is said.
        assert spent in told(*days, read.begun_at) or spent in told(*days, self.world.clock()), (owner, read)

    def stored(self) -> Stored:
        """By project and month, the amounts of each currency that come to anything."""
        wanted = select(
            scopes.c.project_id, charges.c.charge_period_start, charges.c.billing_currency, charges.c.billed_cost
        )
        rows = self.world.chain.database.read(lambda connection: connection.execute(wanted.join(scopes)).all())
        stored: Stored = {}
        for project, day, currency, cost in rows:
            money = stored.setdefault((project, first_of(day)), {})
            money[currency] = money.get(currency, Decimal(0)) + cost
        return {key: {name: cost for name, cost in money.items() if cost} for key, money in stored.items()}

    def all_is_whole(self) -> None:
        read = self.world.chain.database.read
        views = {view.project.id: view for view in self.world.chain.projects.list_projects(self.today - DAY)}
        for owner in OWNERS:
            true, view = self.true(owner), views[owner.number]
            if true is None:
                assert view.problem is not None, owner
            else:
                assert (view.spent, view.problem) == (true, None), owner
        assert self.world.waiting == []
        letters = select(dead_letters.c.queue, dead_letters.c.body, dead_letters.c.reason)
        assert read(lambda connection: connection.execute(letters).all()) == []
        states = read(
            lambda connection: connection.execute(select(runs.c.key, runs.c.state).order_by(runs.c.started_at)).all()
        )
        assert [state for key, state in states[-1:]] == ["done"], states
        self.each_threshold_was_told_once()

    def true(self, owner: Owner) -> Decimal | None:
        """What a project has spent; None where that can't be said, since some of it is in another currency."""
        oracle, day = self.world.oracle, self.today - DAY
        if oracle.currencies(owner, day) - {owner.currency}:
            return None
        return oracle.true(owner, day).get(owner.currency, Decimal(0))

    def each_threshold_was_told_once(self) -> None:
        wanted = select(mails).where(mails.c.topic == "alert")
        rows = self.world.chain.database.read(lambda connection: connection.execute(wanted).all())
        taken = Counter((mail.message_id, each) for mail in self.world.mailer.sent for each in (*mail.to, *mail.bcc))
        for (mail_id, _), count in taken.items():
            assert count <= 1 + self.world.unmarked[mail_id]
        told: dict[tuple[int, date], list[int]] = {}
        for row in rows:
            assert row.state == "sent", row
            owner = next(each for each in OWNERS if each.number == row.project_id)
            people = [each for each in _contacts(owner) if each in self.living] or ["ops@example.com"]
            assert [each for each in people if not taken[row.message_id, each]] == [], row
            told.setdefault((row.project_id, row.period_start), []).append(row.threshold)
        for (number, start), thresholds in told.items():
            owner = next(each for each in OWNERS if each.number == number)
            assert len(thresholds) == len(set(thresholds))
            assert max(thresholds) <= reached(owner.amount, self.most[number, start], THRESHOLDS)
        for owner in OWNERS:
            start, _ = owner.period_of(self.today - DAY)
            true = self.true(owner) or Decimal(0)
            assert max(told.get((owner.number, start), [0])) >= reached(owner.amount, true, THRESHOLDS)


def _sum(stored: Stored, owner: Owner, first: date, last: date) -> Decimal:
    """What is stored of these months in the currency of the project's budget."""
    money = (stored.get((owner.number, month), {}) for month in months(first, last))
    return sum((each.get(owner.currency, Decimal(0)) for each in money), Decimal(0))


def _contacts(owner: Owner) -> tuple[str, str]:
    return f"ann-{owner.number}@example.com", f"bob-{owner.number}@example.com"


def _entry(owner: Owner) -> ProjectEntry:
    kind = PeriodKind.ANNUAL if owner.since else PeriodKind.MONTHLY
    rule = PeriodRule(kind, owner.since or date(2026, 9, 1))
    name = f"P{owner.number}"
    project = Project(owner.number, name, name, "en", _contacts(owner), active=True)
    terms = BudgetTerms(owner.amount, owner.currency, rule)
    return ProjectEntry(project, (Scope(AZURE, owner.account, owner.group),), terms)
