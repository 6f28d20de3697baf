"""The watchdog's rounds: an idle app leaves its database asleep, and what is lost is found as soon as ever."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from shared.adapters.database.engine import Database
from shared.domain.locks import LockMode
from shared.domain.schedules import Schedule
from shared.messages import EmailMessage, Queue
from shared.pipeline.left_over import LeftOver
from shared.pipeline.rounds import Writing
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import NewMail, Topic
from shared.ports.notes import Note
from tests.docs import sources
from tests.pipeline.conftest import Chain, entry, only
from tests.pipeline.export_files import CONTAINER, with_exports

TODAY = date(2026, 11, 20)
# One of them is CostExportScanner's, and one is of whoever comes after it: it lets go of what others have left open.
MOST_CONNECTIONS = 6


class Counted:
    """A chain on a database whose connections are counted, and which tells who writes, as the app's own does."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.connections, self.open = chain, 0, 0
        url = chain.database.url.render_as_string(hide_password=False)
        writing = Writing(lambda: chain.queues, chain.clock)
        chain.parts["database"] = self.database = Database(url, before_writing=writing.begins)
        chain.configure()
        event.listen(self.database.engine, "connect", self._opened)
        event.listen(self.database.engine, "close", self._closed)

    def _opened(self, *_of: object) -> None:
        self.connections, self.open = self.connections + 1, self.open + 1

    def _closed(self, *_of: object) -> None:
        self.open -= 1

    def round(self) -> list[Any]:
        """What the watchdog's timer does; returns what it sends."""
        return self.chain.send(self.chain.app.rounds.next())

    def go_by(self, hours: float) -> list[Any]:
        """The rounds of so many hours; returns what they send."""
        sent = []
        for _ in range(round(hours * 4)):
            self.chain.clock.forward(minutes=15)
            sent += self.round()
        return sent

    def connects(self, work: Callable[[], object]) -> int:
        before = self.connections
        work()
        return self.connections - before

    def rest(self) -> None:
        """The rounds after which nothing is left to look at for a while."""
        for _ in range(2):
            self.chain.clock.forward(hours=1)
            self.round()
            self.chain.drain()
        assert self.connects(self.round) == 0


@pytest.fixture
def counted(chain: Chain) -> Iterator[Counted]:
    chain.load(entry())
    chain.spend("100", TODAY)
    with_exports(chain)
    chain.cloud_accounts.add_exports("azure", CONTAINER)
    found = Counted(chain)
    yield found
    found.database.close()


def timers_of(counted: Counted) -> dict[str, Callable[[], object]]:
    """What each timer of the app does."""
    chain = counted.chain
    return {
        "ProjectUsageScheduler": lambda: (chain.send(chain.app.scheduler.tonight()), chain.drain()),
        "CostExportScanner": lambda: (chain.send(chain.app.scan_exports()), chain.drain()),
        "PipelineWatchdog": counted.round,
    }


def test_every_timer_of_the_app_is_in_the_day_that_is_counted(counted: Counted) -> None:
    functions = re.findall(r'@app.function_name\("(\w+)"\)\n@app.timer_trigger', sources.read("function_app.py"))
    assert functions == list(timers_of(counted))


def a_day(counted: Counted, since: datetime, dead: str = "") -> tuple[list[int], list[bool]]:
    """24 hours with every timer at its time, and somebody who asks each 5 minutes how the app is.

    dead: the function that never runs. Returns the connections of each timer after the first hour, and the answers.
    """
    chain, settings = counted.chain, counted.chain.app.settings
    schedules = {
        "ProjectUsageScheduler": settings.nights,
        "CostExportScanner": Schedule.read(settings.schedule_exports),
        "PipelineWatchdog": settings.watchdog_rounds,
    }
    of_the_day, answers = list[int](), list[bool]()
    for minute in range(0, 24 * 60, 5):
        chain.clock.now = now = since + timedelta(minutes=minute)
        for name, work in timers_of(counted).items():
            if schedules[name].latest(now) == now and name != dead:
                its = counted.connects(work)
                assert counted.open == 0 or minute <= 60, f"{name} leaves a connection open at {now:%H:%M}"
                of_the_day += [its] if minute > 60 else []
                chain.drain()
        answers += [chain.app.health.is_well()]
    assert len(of_the_day) > 90
    return of_the_day, answers


def test_an_idle_day_takes_six_connections_at_most_beside_the_nights(counted: Counted) -> None:
    of_the_day, answers = a_day(counted, datetime(2026, 11, 20, 2, 0, tzinfo=UTC))
    assert sum(of_the_day) <= MOST_CONNECTIONS
    assert sum(of_the_day) >= 1, "it still looks"
    assert all(answers[1:])


def test_a_day_without_nights_takes_no_more_once_it_is_told(counted: Counted) -> None:
    """The scheduler is dead, or switched off: of each missed night operators are told once, which is the day's mail."""
    chain = counted.chain
    chain.night()
    chain.clock.now = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    counted.round()
    chain.drain()
    chain.mailer.sent.clear()
    since = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
    of_the_day, answers = a_day(counted, since, dead="ProjectUsageScheduler")
    assert sum(of_the_day) <= MOST_CONNECTIONS
    assert not any(answers)
    assert chain.subjects() == ["There was no run last night"]


def test_whoever_asks_how_the_app_is_opens_no_database(counted: Counted) -> None:
    counted.round()
    assert counted.connects(counted.chain.app.health.is_well) == 0


def test_a_night_that_a_crash_broke_off_is_found_though_all_was_quiet(counted: Counted) -> None:
    counted.rest()
    chain = counted.chain
    chain.clock.now = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    chain.queues.sent, fails = [], chain.queues.fails
    chain.tonight()
    chain.queues.take()  # lost
    chain.queues.fails = fails
    for _ in range(4):
        chain.clock.forward(minutes=15)
        counted.round()
    chain.drain()
    assert chain.runs.recent_runs(1)[0].state == "done"


def a_mail(chain: Chain, key: str) -> int:
    new = NewMail(
        key=key, template="notice", to=(), context={"title": "t", "intro": "i", "lines": []}, topic=Topic.OTHER
    )
    mail_id: int = chain.mails.add(new, chain.clock())
    return mail_id


def test_what_one_has_written_who_then_died_is_found_within_the_hour(counted: Counted) -> None:
    """Whoever it was: a stage, a command, a page. It wrote, and that is all."""
    counted.rest()
    mail_id = a_mail(counted.chain, "lost")
    found: list[EmailMessage] = []
    for _ in range(5):
        counted.chain.clock.forward(minutes=15)
        found += only(EmailMessage, counted.round())
    assert [each.email_id for each in found] == [mail_id]


def test_what_is_written_late_in_a_long_piece_of_work_is_found_too(counted: Counted) -> None:
    """The round that looks in the middle of it is not the last."""
    counted.rest()
    chain = counted.chain
    a_mail(chain, "first")
    chain.mails.mark_sent(1, "", (), chain.clock())
    chain.clock.forward(minutes=4)
    counted.round()
    mail_id = a_mail(chain, "second")
    found: list[EmailMessage] = []
    for _ in range(5):
        chain.clock.forward(minutes=15)
        found += only(EmailMessage, counted.round())
    assert mail_id in [each.email_id for each in found]


def test_a_mail_that_waits_for_hours_is_left_alone_until_then(counted: Counted) -> None:
    chain = counted.chain
    mail_id = a_mail(chain, "waits")
    chain.mails.claim(mail_id, "me", chain.clock() + timedelta(minutes=5), chain.clock())
    chain.mails.release(mail_id, "me", "not now", chain.clock() + timedelta(hours=6))
    counted.rest()
    assert counted.connects(lambda: counted.go_by(4.5)) == 1, "whether a night was missed"
    assert chain.queues.take() == []
    assert [each.email_id for each in only(EmailMessage, counted.go_by(0.5))] == [mail_id]


def test_a_night_that_never_began_is_told_when_it_is_missed(counted: Counted) -> None:
    counted.chain.night()
    counted.rest()
    counted.chain.clock.now = datetime(2026, 11, 21, 5, 45, tzinfo=UTC)
    counted.round()
    counted.chain.clock.now = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
    assert only(EmailMessage, counted.round())


def test_a_dead_letter_after_the_days_mail_is_told_on_the_next_day(counted: Counted) -> None:
    chain = counted.chain
    for number in (1, 2):
        chain.work(Queue.UPDATE, "no JSON", f"letter-{number}")
        counted.round()
    chain.drain()
    counted.rest()
    chain.clock.now = datetime(2026, 11, 20, 23, 45, tzinfo=UTC)
    counted.round()
    chain.clock.forward(minutes=15)
    assert only(EmailMessage, counted.round())


def test_a_lock_that_is_to_be_looked_at_is_looked_at_then(counted: Counted) -> None:
    chain = counted.chain
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.spend("1000", TODAY)
    chain.night()
    counted.rest()
    chain.lock_ledger.look_at(11, chain.clock() + timedelta(hours=3))
    counted.rest()
    assert chain.queues.sent == []
    chain.clock.forward(hours=1)
    counted.round()
    assert [queue for queue, _text, _delay in chain.queues.take()] == [Queue.LOCK]


def test_a_dead_scheduler_is_told_of_after_its_first_missed_night_whose_schedule_is_new(counted: Counted) -> None:
    chain = counted.chain
    chain.night()
    counted.rest()
    chain.configure(schedule_usage="0 0 9 * * *")
    chain.clock.now = datetime(2026, 11, 20, 4, 15, tzinfo=UTC)
    assert counted.connects(counted.round) >= 1
    chain.clock.forward(hours=1)
    counted.round()
    assert counted.connects(counted.round) == 0, "it has looked"
    chain.clock.now = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
    assert only(EmailMessage, counted.round())


@pytest.mark.parametrize(
    "text", ["2026-11-30", "2026-11-30T02:00:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "[" * 9000]
)
@pytest.mark.parametrize("note", list(Note))
def test_a_note_that_makes_no_sense_ends_no_round_and_keeps_no_database_awake(
    counted: Counted, note: Note, text: str
) -> None:
    counted.rest()
    counted.chain.queues.notes[note] = text
    counted.chain.clock.forward(minutes=15)
    counted.round()
    counted.chain.clock.forward(minutes=15)
    assert counted.connects(counted.round) == 0


@pytest.mark.parametrize("lost", [Note.ROUND, Note.WRITING])
def test_without_a_note_a_round_looks_or_is_not_long_in_looking(counted: Counted, lost: Note) -> None:
    counted.rest()
    del counted.chain.queues.notes[lost]
    counted.chain.clock.forward(hours=8)
    assert counted.connects(counted.round) == 1


def test_one_note_that_was_not_taken_hides_nothing(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    counted.rest()
    queues = counted.chain.queues
    taken, lost = queues.write, list[Note]()

    def write(note: Note, text: str) -> None:
        if not lost:
            lost.append(note)
            raise LaterError("the queues can't be reached (ReadTimeout)")
        taken(note, text)

    monkeypatch.setattr(queues, "write", write)
    mail_ids = [a_mail(counted.chain, key) for key in ("first", "second")]
    assert lost == [Note.WRITING]
    assert [each.email_id for each in only(EmailMessage, counted.go_by(1.25))] == mail_ids


def test_what_was_written_while_the_queues_were_away_is_found_within_the_hour(counted: Counted) -> None:
    """Neither its message nor its note was taken, and the rounds of that time broke off."""
    counted.rest()
    queues = counted.chain.queues
    queues.fails = lambda: LaterError("away")
    mail_id = a_mail(counted.chain, "lost")
    for _ in range(2):
        counted.chain.clock.forward(minutes=15)
        counted.round()
    queues.fails = lambda: None
    assert [each.email_id for each in only(EmailMessage, counted.go_by(0.75))] == [mail_id]


def test_where_the_notes_stay_away_nobody_waits_for_them_at_each_write(counted: Counted) -> None:
    asked, away = list[Note](), [True]

    def write(note: Note, _text: str) -> None:
        asked.append(note)
        if away[0]:
            raise LaterError("away")

    writing = Writing(lambda: SimpleNamespace(write=write), counted.chain.clock)  # type: ignore[arg-type,return-value]
    for _ in range(10):
        writing.begins()
    assert len(asked) == 2
    for away[0], after in ((True, 1), (False, 2), (True, 20)):
        asked.clear()
        counted.chain.clock.forward(minutes=after)
        for _ in range(10):
            writing.begins()
        assert len(asked) == (2 if after == 20 else 1), "once it was taken, it counts anew"


def test_a_message_that_nobody_gets_hold_of_keeps_no_database_awake(counted: Counted) -> None:
    """It lies there for a week, and each round waits for it; operators are told, by the rounds that look."""
    chain = counted.chain
    counted.rest()
    chain.queues.put_back_poisoned(Queue.LOCK, '{"InsertionTime": "soon"}', timedelta(days=7))
    began, before = chain.clock(), counted.connections
    for number in range(1, 24 * 4 + 1):
        chain.clock.now = began + number * timedelta(minutes=15)
        left = LeftOver(chain.app.chain, lambda _: chain.clock.forward(seconds=30), chain.clock).bury()
        assert left == [Queue.LOCK]
        chain.send(chain.app.rounds.next(left))
        assert counted.open == 0
        chain.drain()
    assert chain.subjects().count("Messages that can't be read") == 1
    assert counted.connections - before <= MOST_CONNECTIONS + 2, "with the mail, and the look after it"


def test_where_it_can_not_be_read_whether_somebody_writes_a_round_looks(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted.rest()
    read = counted.chain.queues.noted

    def noted(note: Note) -> str | None:
        if note is Note.WRITING:
            raise LaterError("away")
        return read(note)

    monkeypatch.setattr(counted.chain.queues, "noted", noted)
    assert counted.connects(counted.round) == 1


@pytest.mark.parametrize("error", [LaterError("away"), NeverError("refused")])
def test_where_the_notes_can_not_be_read_every_round_looks(counted: Counted, error: Exception) -> None:
    counted.rest()
    counted.chain.queues.fails = lambda: error
    assert [counted.connects(counted.round) for _ in range(3)] == [1, 1, 1]


def test_nobody_is_kept_from_writing_by_notes_that_can_not_be_written(counted: Counted) -> None:
    counted.chain.queues.fails = lambda: LaterError("away")
    assert a_mail(counted.chain, "all the same") > 0


def test_a_round_that_breaks_off_looks_again(counted: Counted) -> None:
    counted.rest()
    mail_id = a_mail(counted.chain, "lost")
    counted.chain.clock.forward(hours=1)
    sender = counted.chain.queues.send
    counted.chain.queues.send = partial(_refuse)  # type: ignore[method-assign] # the queues alone, not the notes
    with pytest.raises(LaterError):
        counted.round()
    assert counted.open == 0
    counted.chain.queues.send = sender  # type: ignore[method-assign]
    found: list[EmailMessage] = []
    for _ in range(4):
        counted.chain.clock.forward(minutes=15)
        found += only(EmailMessage, counted.round())
    assert [each.email_id for each in found] == [mail_id]


def _refuse(*_message: object) -> None:
    raise LaterError("the queues can't be reached")
