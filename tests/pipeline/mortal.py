"""The app in a world that kills it: at any step of its work, over and over, on a provider and mail servers with moods.

The host here is a slow one: it works on one message at a time, in any order, and does with it what Azure's does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select

from shared.adapters.database.engine import Database
from shared.adapters.database.tables import mails
from shared.domain.periods import Period
from shared.messages import Message, Queue
from shared.pipeline.rounds import Writing
from shared.ports.cloud_accounts import CloudAccount, ConnectionType
from shared.ports.costs import AccountsQuery, CostQuery, SubAccount
from shared.ports.errors import CallsUsedError, LaterError, NeverError
from shared.ports.mails import Handover, OutgoingMail
from shared.ports.notes import Note
from tests.fakes import FakeCostsWithTotals, FakeMailer, FakePayers, FakeQueues
from tests.pipeline.conftest import Chain
from tests.pipeline.oracle import Oracle, first_of

T = TypeVar("T")
LEASE, RETRY = timedelta(minutes=10), timedelta(seconds=30)
MOST_TAKEN = 5
# A message that is killed more often is rightly a dead letter.
MOST_KILLS_OF_ONE = 3
WATCHDOG = timedelta(hours=1)
# How long a provider that is unwell asks to wait, if it does.
UNWELL_FOR = (None, timedelta(hours=3))
TRUE, BLANK, REFUSED, LATER, BUSY = "true", "blank", "refused", "later", "busy"


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """When the process dies. chance: at each step; left: how often what is worked on now may still be killed."""

    random: Random
    chance: float
    left: int = 0
    counted: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        if self.left and self.random.random() < self.chance:
            self.left = 0
            self.counted["kills"] += 1
            raise Killed

    @property
    def kills(self) -> int:
        return self.counted["kills"]


@dataclass
class AtStep(Fate):
    """It happens at one step, once. count: the steps so far."""

    random: Random = field(default_factory=Random)
    chance: float = 0.0
    at: int = 0
    count: int = 0
    what: Callable[[], BaseException] = Killed

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise self.what()


class MortalDatabase(Database):
    """A database, before and after whose transactions the process may die."""

    def __init__(self, under: Database, fate: Fate, before_writing: Callable[[], None] = lambda: None) -> None:
        super().__init__(under.url.render_as_string(hide_password=False), before_writing=before_writing)
        self.under, self.fate = under, fate

    @property
    def engine(self) -> Engine:
        return self.under.engine

    def run(self, work: Callable[[Connection], T]) -> T:
        self.fate.step()
        result = super().run(work)
        self.fate.step()
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        self.fate.step()
        return super().read(work)


def currency_on(day: date, changes_on: date | None) -> str:
    """An account's currency, which may change on a day."""
    return "USD" if changes_on is not None and day >= changes_on else "CAD"


@dataclass
class Moods:
    """How providers are, for each month of each account (or payer); what they truly serve, the oracle sees.

    changes_on: the days since which accounts are in another currency. blank_nights: for how many nights in a row now
    a month came without any charge. by_hand: for how many more nights a run by hand counts as one, which it is where
    it begins on another day.
    """

    fate: Fate
    oracle: Oracle
    now: Callable[[], datetime]
    moods: dict[tuple[str, date], str] = field(default_factory=dict)
    changes_on: dict[str, date] = field(default_factory=dict)
    blank_nights: Counter[tuple[str, date]] = field(default_factory=Counter)
    by_hand: int = 0

    def ask(self, whom: str, window: Period) -> str:
        """How it answers. Raises what it says no with."""
        self.fate.step()
        mood = self.moods.get((whom, first_of(window.start)), TRUE)
        if mood in {REFUSED, LATER} or (mood == BUSY and self.fate.random.random() < 0.5):
            self.fate.counted[mood] += 1
            raise self._no(mood)
        return mood

    def serve(self, account: str, window: Period, mood: str) -> None:
        """It has answered, truly or without any charge."""
        self.fate.counted[mood] += 1
        days = (self.now(), account, window.start, window.end)
        if mood == BLANK:
            nights = self.blank_nights[account, first_of(window.start)] + bool(self.by_hand)
            self.oracle.serve_nothing(*days, nights)
        else:
            self.oracle.serve(*days)

    def currency(self, account: str, day: date) -> str:
        """That of an account's (or payer's) charges of a day."""
        return currency_on(day, self.changes_on.get(account))

    def _no(self, mood: str) -> Exception:
        if mood == REFUSED:
            return NeverError("The provider refuses it (400).")
        if mood == LATER:
            return LaterError("The provider is unwell (503).", self.fate.random.choice(UNWELL_FOR))
        return LaterError("The provider asks us to wait (429).", timedelta(seconds=self.fate.random.randint(1, 120)))


@dataclass
class MoodyCosts(FakeCostsWithTotals):
    """A provider that is asked for each account."""

    mood: Moods = field(kw_only=True)
    tick: Callable[[], None] = field(kw_only=True)

    def read(self, query: CostQuery, *how: Any) -> Any:
        mood = self._mood(query)
        charges = self.charges
        self.charges = {} if mood == BLANK else charges
        answer = super().read(query, *how)
        self.charges = charges
        self.mood.serve(query.sub_account_id, query.window, mood)
        self.mood.fate.step()
        return answer

    def totals(self, query: CostQuery) -> dict[str, Decimal]:
        mood = self._mood(query)
        self.mood.fate.counted["totals"] += 1
        return {} if mood == BLANK else super().totals(query)

    def _mood(self, query: CostQuery) -> str:
        self.tick()
        mood = self.mood.ask(query.sub_account_id, query.window)
        self.currency_of = lambda day: self.mood.currency(query.sub_account_id, day)
        return mood


@dataclass
class MoodyPayers(FakePayers):
    """One whose payers are asked for all of their accounts. gone: those that have left, of which nothing comes."""

    mood: Moods = field(kw_only=True)
    tick: Callable[[], None] = field(kw_only=True)
    gone: set[str] = field(default_factory=set)

    def read_all(self, query: AccountsQuery, *how: Any) -> Any:
        payer = query.cloud_account.external_account_id
        self.tick()
        self.mood.ask(payer, query.window)
        self.currency_of = self.mood.currency
        members = sorted({account for whose, account, *_ in self.charges if whose == payer} - self.gone)
        month = first_of(query.window.start)
        moods = {each: self.mood.moods.get((each, month), TRUE) for each in members}
        charges = self.charges
        self.charges = {key: cost for key, cost in charges.items() if moods.get(key[1]) == TRUE}
        try:
            answer = super().read_all(query, *how)
        except CallsUsedError:
            self.mood.fate.counted["nights without calls left"] += 1
            raise
        finally:
            self.charges = charges
        for account, mood in moods.items():
            self.mood.serve(account, query.window, mood)
        self.mood.fate.step()
        return answer

    def sub_accounts(self, cloud_account: CloudAccount) -> dict[str, SubAccount] | None:
        self.mood.fate.step()
        return super().sub_accounts(cloud_account)


@dataclass
class MortalQueues(FakeQueues):
    """Queues, before and after whose taking a message or a note the process may die."""

    fate: Fate = field(kw_only=True)

    def send(self, queue: Queue, message: Message | str, delay: timedelta = timedelta(0)) -> None:
        self.fate.step()
        super().send(queue, message, delay)
        self.fate.step()

    def write(self, note: Note, text: str) -> None:
        self.fate.step()
        super().write(note, text)
        self.fate.step()


@dataclass
class MortalMailer(FakeMailer):
    """A mail provider. just_taken: what this process was the last to hand over."""

    fate: Fate = field(kw_only=True)
    is_away: bool = False
    just_taken: str | None = None

    def send(self, mail: OutgoingMail) -> Handover:
        self.fate.step()
        if self.is_away:
            self.fate.counted["mails put off"] += 1
            raise LaterError("the mail provider is unwell (503)")
        handover = super().send(mail)
        self.fate.counted["recipients refused"] += len(handover.refused)
        self.just_taken = mail.message_id
        self.fate.step()
        return handover


@dataclass
class Waiting:
    """A message on its queue, or on that queue's `-poison` queue."""

    queue: Queue
    text: str
    at: datetime
    id: str
    taken: int = 0
    kills: int = 0
    poisoned: bool = False


class World:
    """The app, its host and all that is around it."""

    def __init__(self, database: Database, seed: int, chance: float) -> None:
        self.random = Random(seed)
        self.fate = Fate(self.random, chance)
        self.chain = chain = Chain(MortalDatabase(database, self.fate, self._begins_writing))
        self.clock = chain.clock
        self.oracle = Oracle()
        self.mood = Moods(self.fate, self.oracle, self.clock)
        self.costs = MoodyCosts(mood=self.mood, tick=self._tick)
        self.payers = MoodyPayers(mood=self.mood, tick=self._tick)
        self.queues, self.mailer = MortalQueues(fate=self.fate), MortalMailer(fate=self.fate)
        self.costs.clock = self.payers.clock = self.clock
        sources = {ConnectionType.COST_MANAGEMENT: self.costs, ConnectionType.COST_EXPLORER: self.payers}
        chain.parts["sources"] = sources
        for name in ("costs", "queues", "mailer"):
            chain.parts[name] = getattr(self, name)
            setattr(chain, name, getattr(self, name))
        self._start()
        self.waiting: list[Waiting] = []
        self.looks_at = self.clock()
        self.after_each: Callable[[], None] = lambda: None
        self.numbers = 0
        self.unmarked: Counter[str] = Counter()
        # By mail: several messages may carry one, and it is given up after so many deaths, whoever carried it.
        self.deaths: Counter[int] = Counter()

    def _start(self) -> None:
        """A process of its own."""
        self.writing = Writing(lambda: self.queues, self.clock)
        self.chain.configure()

    def _begins_writing(self) -> None:
        self.writing.begins()

    def _tick(self) -> None:
        self.clock.forward(seconds=1)

    # --- the host ---

    def fire(self, work: Callable[[], object]) -> None:
        """A timer's function: killed or failed, it is tried again."""
        for _ in range(10):
            if self._survives(work, MOST_KILLS_OF_ONE):
                return
            self.clock.forward(seconds=30)

    def run_until(self, end: datetime) -> None:
        """Works on what can be seen, one after the other, while the time goes by; the watchdog looks now and then."""
        while True:
            ready = [each for each in self.waiting if each.at <= self.clock()]
            if ready:
                self._take(self.random.choice(ready))
                self.after_each()
                continue
            next_at = min([self.looks_at, *(each.at for each in self.waiting)])
            if next_at >= end:
                self.clock.now = max(self.clock(), end)
                return
            self.clock.now = max(self.clock(), next_at)
            if self.clock() >= self.looks_at:
                self.fire(lambda: self.chain.send(self.chain.rounds.next()))
                self.looks_at = self.clock() + WATCHDOG

    def _take(self, message: Waiting) -> None:
        message.taken += 1
        if message.taken > MOST_TAKEN and not message.poisoned:
            self._poison(message)
            return
        chain = self.chain.app.chain
        work = (
            (lambda: chain.bury(message.queue, message.text, message.id))
            if message.poisoned
            else (lambda: chain.take(message.queue, message.text, message.id, message.taken))
        )
        kills, about = self.fate.kills, _mails_in(message)
        before = max([message.kills, *(self.deaths[mail_id] for mail_id in about)])
        if self._survives(work, MOST_KILLS_OF_ONE - before):
            self.waiting.remove(message)
        elif self.fate.kills > kills:
            message.kills += 1
            self.deaths.update(about)
            message.at = self.clock() + LEASE
        elif message.poisoned:
            message.at = self.clock() + LEASE
        elif message.taken >= MOST_TAKEN:
            self._poison(message)
        else:
            message.at = self.clock() + RETRY

    def _poison(self, message: Waiting) -> None:
        self.waiting.remove(message)
        self._wait(message.queue, message.text, timedelta(0), poisoned=True)

    def _survives(self, work: Callable[[], object], kills: int) -> bool:
        """Has the app do some work, in a process that is started anew where it dies."""
        self.fate.left, served = max(kills, 0), len(self.oracle.served)
        try:
            work()
            # Between its last step and the message's deletion.
            self.fate.step()
        except Killed:
            self.oracle.lose(served)
            self._note_unmarked()
            self._start()
            return False
        except Exception:  # noqa: BLE001 - whatever leaves a function, the host tries again
            self.fate.counted["failed functions"] += 1
            return False
        finally:
            self.fate.left, self.mailer.just_taken = 0, None
            self.take_sent()
        return True

    def take_sent(self) -> None:
        """What was sent waits on its queue."""
        for queue, text, delay in self.queues.take():
            self._wait(queue, text, delay)
        for queue, text, delay in self.queues.poisoned:
            self._wait(queue, text, delay, poisoned=True)
        self.queues.poisoned.clear()

    def put(self, queue: Queue, text: str) -> None:
        """A message from elsewhere."""
        self._wait(queue, text, timedelta(0))

    def _note_unmarked(self) -> None:
        """A mail that was taken and not marked is sent again: nobody can know what became of it."""
        self.fate.left = 0
        state = select(mails.c.state).where(mails.c.message_id == self.mailer.just_taken)
        if self.chain.database.read(lambda connection: connection.scalar(state)) not in (None, "sent"):
            self.unmarked[str(self.mailer.just_taken)] += 1

    def _wait(self, queue: Queue, text: str, delay: timedelta, poisoned: bool = False) -> None:
        self.numbers += 1
        self.waiting.append(Waiting(queue, text, self.clock() + delay, f"m-{self.numbers}", poisoned=poisoned))


def _mails_in(message: Waiting) -> list[int]:
    """The mails that a message has sent."""
    if message.queue is not Queue.EMAIL:
        return []
    content = json.loads(message.text)
    return content.get("EmailIds") or [content["EmailId"]]
