"""Wherever the app is killed, and whatever provider, mail servers and hours do: what is shown is what was served.

Once all are well again, everything is whole again by itself within two nights; within a week, what is restated of
months that no night reads (or as soon as somebody has it read), and what the paid calls of a day did not reach. One
history here; `make crash-test` plays 1,000 (HISTORIES), from CRASH_SEED on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from sqlalchemy import select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import charges, dead_letters, mails, runs, scopes
from shared.domain.budgets import BudgetTerms
from shared.domain.coverage import Coverage
from shared.domain.currencies import Converting
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import Project, ProjectEntry, Scope
from shared.ports.azure import AZURE
from shared.ports.costs import SubAccount
from shared.ports.mails import Refusal
from tests.aws_worlds import cloud_account
from tests.conftest import emptied
from tests.contracts.standing_views import assert_true_or_marked
from tests.pipeline.conftest import OTHER_SUBSCRIPTION, PLAYED, SUBSCRIPTION
from tests.pipeline.mortal import BLANK, BUSY, LATER, REFUSED, TRUE, World
from tests.pipeline.oracle import DAY, Book, Money, Owner, Place, days, first_of, months, reached
from tests.postgres import programs

FIRST_SEED = int(os.environ.get("CRASH_SEED", "1"))
HISTORIES = int(os.environ.get("HISTORIES", "1"))
THRESHOLDS = (25, 50, 80, 100)
SHOP, LAB, MUSEUM, NOBODYS_ACCOUNT = "111111111111", "222222222222", "333333333333", "444444444444"
MEMBERS = {"888888888888": (SHOP, LAB), "999999999999": (MUSEUM, NOBODYS_ACCOUNT)}
PAYERS = {account: payer for payer, accounts in MEMBERS.items() for account in accounts}
OWNERS = (
    Owner(11, ((SUBSCRIPTION, "rg-11"),), Decimal(1000), "CAD"),
    Owner(12, ((SUBSCRIPTION, "rg-12"),), Decimal(6000), "CAD", since=date(2026, 9, 1)),
    Owner(21, ((OTHER_SUBSCRIPTION, "rg-21"), (SHOP, "")), Decimal(1400), "CAD"),
    Owner(
        22,
        ((OTHER_SUBSCRIPTION, "rg-22"), (SUBSCRIPTION, "rg-22"), (MUSEUM, "")),
        Decimal(9000),
        "CAD",
        since=date(2026, 10, 1),
    ),
    Owner(31, ((LAB, ""),), Decimal(900), "CAD"),
)
SUBSCRIPTIONS = (SUBSCRIPTION, OTHER_SUBSCRIPTION)
ACCOUNTS = (*SUBSCRIPTIONS, *PAYERS)
NOBODYS = "rg-shared"
PLACES = tuple(place for owner in OWNERS for place in owner.places)
SINCE = date(2026, 9, 1)
MOODS = [TRUE] * 10 + [BLANK, REFUSED, LATER, LATER, BUSY, BUSY]
FIRES_AFTER = [timedelta(0)] * 3 + [timedelta(seconds=-1), *(timedelta(minutes=each) for each in (1, 40, 300))]
CALLS, FEW_CALLS = 24, (1, 2, 3, 5)
MOST_BLANK = 1
# A day's turn comes within a week, where the calls of a day reach for what is due on one.
NIGHTS_TO_CATCH_UP = 7
# Of histories, and of nights.
RESTATES_OLD, READ_AGAIN, CONVERTS, FEW_CALLS_IN, LEAVES = 0.3, 0.1, 0.5, 0.3, 0.1
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
    """Some nights of five projects in two subscriptions and in the AWS accounts of two organizations."""

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
        self.few_calls = self.random.random() < FEW_CALLS_IN
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
        for _ in range(NIGHTS_TO_CATCH_UP if self.few_calls else 2):
            self.night()
        if self.restates_old:
            self.find_what_is_old()
        self.compare()
        self.all_is_whole()

    # --- what happens ---

    def begin(self) -> None:
        self.choose_currencies()
        entries = [_entry(owner) for owner in OWNERS]
        self.world.chain.projects.load(entries, "tester", self.world.clock())
        for payer, accounts in MEMBERS.items():
            assert self.world.chain.cloud_accounts.add(cloud_account(payer, is_organization=True))
            self.list_members(payer, accounts)
        for day in days(SINCE, self.today):
            for account in ACCOUNTS:
                # No day is truly without a charge.
                self.charge(account, NOBODYS, day, Decimal(1))
        for place in PLACES:
            for day in days(SINCE, self.today):
                if self.random.random() < 0.3:
                    self.charge(*place, day, Decimal(self.random.randint(1, 40)))

    def choose_currencies(self) -> None:
        if self.random.random() < CONVERTS:
            self.convert()
        for payer in (*SUBSCRIPTIONS, *MEMBERS):
            if self.random.random() < 0.3:
                self.world.mood.changes_on[payer] = self.today + DAY * self.random.randint(-20, 5)

    def convert(self) -> None:
        """Dollars count by what they were worth on the last working day before, which in some nobody knows."""
        self.world.chain.parts["rate_feed"] = Nobody()
        self.world.chain.configure(converting=Converting.ECB)
        gap = self.random.choice([SINCE, self.today - 20 * DAY, self.today + 90 * DAY])
        known = [
            day
            for day in days(SINCE - 9 * DAY, self.today + 30 * DAY)
            if day.weekday() < 5 and not gap <= day < gap + 11 * DAY
        ]
        # Where early days are missing, the rates that come with the app are taken, and true ones of other days.
        known.append(SINCE - 1100 * DAY)
        euro = {
            day: (Decimal("1.1") + Decimal(day.day).scaleb(-3), Decimal("1.47") + Decimal(day.month).scaleb(-3))
            for day in known
        }
        rates = [
            (day, name, worth) for day, both in euro.items() for name, worth in zip(("USD", "CAD"), both, strict=True)
        ]
        self.world.chain.rates.keep(rates, self.world.clock())
        self.world.oracle.worth = {day: Fraction(cad) / Fraction(usd) for day, (usd, cad) in euro.items()}

    def list_members(self, payer: str, accounts: Iterable[str]) -> None:
        self.world.payers.listed[payer] = [
            SubAccount(each, f"account {each[0]}", "ACTIVE") for each in (payer, *accounts)
        ]

    def spend(self) -> None:
        """A day's charges come, and some of the last weeks' are restated."""
        for account in ACCOUNTS:
            self.charge(account, NOBODYS, self.today, Decimal(1))
        for place in PLACES:
            for day in (self.today, self.today - DAY * self.random.randint(1, 25)):
                amount = Decimal(self.random.randint(-50, 400)) + Decimal(self.random.randint(0, 10**10)).scaleb(-10)
                self.charge(*place, day, amount)

    def restate_old(self) -> None:
        place = self.random.choice([each for each in PLACES if each[0] in SUBSCRIPTIONS])
        self.charge(*place, SINCE + DAY * self.random.randint(0, 29), Decimal(77))
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
        self.world.mood.by_hand = 3

    def charge(self, account: str, group: str, day: date, amount: Decimal) -> None:
        """In a subscription; or in an AWS account, which has no groups, so that what is nobody's is its own too."""
        payer, oracle = PAYERS.get(account), self.world.oracle
        if payer is None:
            oracle.charge(account, group, day, amount, self.world.mood.currency(account, day))
            self.world.costs.charges[account, group, day, "Storage"] = amount
        elif account not in self.world.payers.gone:
            rows = self.world.payers.charges
            rows[payer, account, day, group or "Amazon EC2"] = amount
            cost = sum(
                (rows.get((payer, account, day, each), Decimal(0)) for each in (NOBODYS, "Amazon EC2")), Decimal(0)
            )
            oracle.charge(account, "", day, cost, self.world.mood.currency(payer, day))

    def leave(self) -> None:
        """An account leaves its organization, and its payer tells nothing of it any more."""
        account = self.random.choice([SHOP, MUSEUM, NOBODYS_ACCOUNT])
        self.world.payers.gone.add(account)
        payer = PAYERS[account]
        self.list_members(payer, [each for each in MEMBERS[payer] if each not in self.world.payers.gone])
        self.world.fate.counted["accounts that left"] += 1

    def change_moods(self) -> None:
        moods, nights = self.world.mood.moods, self.world.mood.blank_nights
        for account in (*ACCOUNTS, *MEMBERS):
            for month in months(SINCE, self.today):
                lasts = moods.get((account, month)) == BLANK and self.random.random() < 0.6
                mood = BLANK if lasts else self.random.choice(MOODS)
                if not self.can_be(account, month, mood):
                    mood = TRUE
                nights[account, month] = nights[account, month] + 1 if mood == BLANK else 0
                moods[account, month] = mood
        if self.random.random() < LEAVES:
            self.leave()
        if self.few_calls:
            self.world.chain.configure(aws_calls_per_day=self.random.choice(FEW_CALLS))
        self.change_mailer(was_well=self.world.mailer.refuses == self.dead and not self.world.mailer.is_away)

    def can_be(self, account: str, month: date, mood: str) -> bool:
        """A payer refuses for all of its accounts, and charges are missing of each by itself.

        Of a month that never was read, not so often that this is believed, since nothing tells a payer's totals; nor of
        two months at once, since what the answers miss next to no charges is believed.
        """
        if account in MEMBERS:
            return mood != BLANK
        if account not in PAYERS or mood != BLANK:
            return account not in PAYERS
        read = self.world.chain.charges.account("aws", account).known.get(month)
        if read is not None and read.read_from is not None and read.read_from <= month:
            return True
        moods, nights = self.world.mood.moods, self.world.mood.blank_nights
        others = (each for each in months(SINCE, self.today) if each != month and moods.get((account, each)) == BLANK)
        return nights[account, month] < MOST_BLANK and not any(others)

    def change_mailer(self, was_well: bool) -> None:
        """Nobody is put off for the three days after which mails are given up: no two nights in a row."""
        mailer = self.world.mailer
        mailer.is_away = was_well and self.random.random() < 0.2
        put_off = self.random.sample(self.living, self.random.choice([0, 0, 1, 2])) if was_well else []
        mailer.refuses = self.dead | {each: Refusal("450 try again later", for_good=False) for each in put_off}

    def get_well(self) -> None:
        self.world.mood.moods.clear()
        self.world.chain.configure(aws_calls_per_day=CALLS)
        self.world.mailer.is_away = False
        self.world.mailer.refuses = self.dead

    def night(self, again: bool = False) -> None:
        """The timer fires: on time, early, late, twice, or not at all; then the day goes by.

        again: whether somebody has all read again at noon.
        """
        self.world.mood.by_hand = max(self.world.mood.by_hand - 1, 0)
        begins = datetime(self.today.year, self.today.month, self.today.day, self.hour, tzinfo=UTC)
        well = not self.world.mood.moods
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

    def note_most(self, stored: Book) -> None:
        """What may have been told: the most that was ever shown of a project's period."""
        for owner in OWNERS:
            for start, end in {owner.period_of(self.today), owner.period_of(self.today - 20 * DAY)}:
                spent = self.world.oracle.spent(owner, stored, start, end)
                self.most[owner.number, start] = max(self.most.get((owner.number, start), Decimal(0)), spent)

    def compare(self) -> None:
        """What is shown of each project with what is stored, and that with what was served."""
        chain = self.world.chain
        # A night goes on after midnight, and some checks are of its next day then.
        assert_true_or_marked(chain.projects, chain.standings, chain.clock().date())
        stored = self.stored()
        for view in self.world.chain.projects.list_projects(self.today):
            owner = next(each for each in OWNERS if each.number == view.project.id)
            if view.period is not None:
                spent = self.world.oracle.spent(owner, stored, view.period.start, self.today + DAY)
                assert view.spent == spent, owner
        for place in PLACES:
            known = self.world.chain.charges.account(_provider(place[0]), place[0]).known
            for month in months(SINCE, self.today):
                if place[0] in PAYERS:
                    self.compare_days(place, month, stored, known.get(month))
                else:
                    self.compare_month(place, month, _sum(stored, place, month), known.get(month))

    def compare_days(self, place: Place, month: date, stored: Book, read: Coverage | None) -> None:
        """Each day that is said to be read is what was served of it then, or later: a payer's windows may be cut."""
        if read is None or read.begun_at is None or read.read_from is None or read.read_through is None:
            return
        for day in days(max(month, read.read_from), read.read_through + DAY):
            money = {currency: cost for currency, cost in stored.get((*place, day), {}).items() if cost}
            assert money in self.world.oracle.possible(place, day, read.begun_at), (place, day, read)

    def compare_month(self, place: Place, month: date, spent: Money, read: Coverage | None) -> None:
        """What is stored of a month is what was served of it until the app says that it was read."""
        if read is None or read.begun_at is None or read.read_through is None:
            assert spent == {}, (place, month)
            return
        told = self.world.oracle.told
        days = (place, month, read.read_through + DAY)
        # An answer about some of the days does not make the others newer, which is all that is said.
        assert spent in told(*days, read.begun_at) or spent in told(*days, self.world.clock()), (place, read)

    def stored(self) -> Book:
        """What is stored of each place and day."""
        day, cost = charges.c.charge_period_start, charges.c.billed_cost
        wanted = select(scopes.c.sub_account_id, scopes.c.group_key, day, charges.c.billing_currency, cost)
        rows = self.world.chain.database.read(lambda connection: connection.execute(wanted.join(scopes)).all())
        stored: Book = {}
        for *row, currency, cost in rows:
            money = stored.setdefault((row[0], row[1], row[2]), {})
            money[currency] = money.get(currency, Decimal(0)) + cost
        return stored

    def all_is_whole(self) -> None:
        read = self.world.chain.database.read
        views = {view.project.id: view for view in self.world.chain.projects.list_projects(self.today - DAY)}
        for owner in OWNERS:
            true, view = self.true(owner), views[owner.number]
            if true is None and not self.is_new(owner):
                assert view.problem is not None or view.gaps, owner
            elif true is not None:
                assert (view.spent, view.problem, view.gaps) == (true, None, ()), owner
        assert self.world.waiting == []
        letters = select(dead_letters.c.queue, dead_letters.c.body, dead_letters.c.reason)
        assert read(lambda connection: connection.execute(letters).all()) == []
        states = read(
            lambda connection: connection.execute(select(runs.c.key, runs.c.state).order_by(runs.c.started_at)).all()
        )
        assert [state for key, state in states[-1:]] == ["done"], states
        self.each_threshold_was_told_once()

    def is_new(self, owner: Owner) -> bool:
        """Whether nothing of its period is due yet, so that nothing is missing."""
        return owner.period_of(self.today - DAY)[0] == self.today - DAY

    def true(self, owner: Owner) -> Decimal | None:
        """What a project has spent; None where that can't be said: some is in a currency that can't be converted, or in
        an account that has left."""
        oracle, (start, end) = self.world.oracle, owner.period_of(self.today - DAY)
        has_left = any(account in self.world.payers.gone for account, _ in owner.places)
        if has_left or oracle.left_out(owner, oracle.book, start, end):
            return None
        return oracle.spent(owner, oracle.book, start, end)

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


class Nobody:
    """A feed that sets no rate."""

    def read(self, since: date) -> list[tuple[date, str, Decimal]]:
        return []


def _sum(stored: Book, place: Place, month: date) -> Money:
    """What is stored of a place's month, in each currency that comes to anything."""
    money: Money = {}
    for (*where, day), costs in stored.items():
        if tuple(where) == place and first_of(day) == month:
            for currency, cost in costs.items():
                money[currency] = money.get(currency, Decimal(0)) + cost
    return {currency: cost for currency, cost in money.items() if cost}


def _provider(account: str) -> str:
    return "aws" if account in PAYERS else AZURE


def _contacts(owner: Owner) -> tuple[str, str]:
    return f"ann-{owner.number}@example.com", f"bob-{owner.number}@example.com"


def _entry(owner: Owner) -> ProjectEntry:
    kind = PeriodKind.ANNUAL if owner.since else PeriodKind.MONTHLY
    rule = PeriodRule(kind, owner.since or date(2026, 9, 1))
    name = f"P{owner.number}"
    project = Project(owner.number, name, name, "en", _contacts(owner), active=True)
    terms = BudgetTerms(owner.amount, owner.currency, rule)
    return ProjectEntry(project, tuple(Scope(_provider(each[0]), *each) for each in owner.places), terms)
