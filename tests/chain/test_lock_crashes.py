"""The host is killed while it locks and unlocks, between stop, lock, audit and mail: the end is as if it had not been.

`make crash-test RUNS=1000` runs so many nights; `CRASH_SEED=12 make crash-test RUNS=1` repeats the kills of seed 12.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from sqlalchemy import func, select

from localdev.azure_sim import AzureSimulator
from localdev.processes import Program
from shared.adapters.database.tables import projects
from shared.domain.locks import Outcome
from shared.domain.projects import LockPolicy
from shared.messages import Queue
from shared.pipeline.locking.groups import lock_name
from tests.cases import some
from tests.chain.conftest import Install
from tests.chain.installation import NORTH, SOUTH, Installation, book_of, entry, logged_as_sent, subjects, until
from tests.chain.kills import IN_A_HURRY, LEASE, OFTEN_TAKEN, REST, UNPACED, kill_at, kinds, let_finish, moments, seeds

BOOK = (
    (NORTH, "RG-11", "10.5"),
    (NORTH, "rg-12", "30"),
    (NORTH, "rg-12-too", "1"),
    (NORTH, "rg-13", "5"),
    (NORTH, "rg-14", "7.25"),
    (SOUTH, "rg-21", "77.7"),
)
PROJECTS = (
    entry(11, "150"),
    entry(12, "500", groups=("rg-12", "rg-12-too")),
    entry(13, "1000"),
    entry(14, "100", lock=LockPolicy.NEVER),
    entry(21, "1400", subscription=SOUTH),
)
BEING_LOCKED = "100 % of the budget reached: the project is being locked"
TO_BE_LOCKED = {11: "150", 12: "500", 21: "1400"}
LOCKS = [
    ("rg-11", lock_name(11)),
    ("rg-12", lock_name(12)),
    ("rg-12-too", lock_name(12)),
    ("rg-21", lock_name(21)),
]
STATES = {
    "vm-11": "deallocated",
    "set-11": "deallocated",
    "vm-off": "deallocated",
    "vm-21": "deallocated",
    "vm-13": "running",
    "vm-14": "running",
}
# In each of three parts: the night until the machines stop, the locks after that, and the unlocking.
MOST_KILLS, MOST_ENDED = 3, 8
# Where less is left to be done, so many seconds are all that a host is given.
QUIET = 2
LATER_CHECK = json.dumps({"ProjectIds": [each.project.id for each in PROJECTS]})


def add_machines(azure: AzureSimulator) -> None:
    add = azure.machines.add
    add(NORTH, "RG-11", "vm-11")
    add(NORTH, "RG-11", "set-11", kind="scale set", instances=2)
    add(NORTH, "rg-11", "vm-off", running=False)
    add(NORTH, "rg-13", "vm-13")
    add(NORTH, "rg-14", "vm-14")
    add(SOUTH, "rg-21", "vm-21")


@pytest.mark.skipif("CRASH_RUNS" not in os.environ, reason="make crash-test plays it: it takes long")
@pytest.mark.parametrize("seed", seeds(1))
def test_locking_and_unlocking_end_as_if_nothing_had_happened_however_often_the_host_is_killed(
    install: Install, seed: int
) -> None:
    kind = kinds()[seed % len(kinds())]
    with AzureSimulator(book_of(*BOOK)) as azure:
        add_machines(azure)
        more = {**UNPACED, **OFTEN_TAKEN, **IN_A_HURRY}
        app = install(azure, kind, **more, LOCK_MODE="enforce", LOCK_STOP_COMPUTE="true")
        app.load(*PROJECTS)
        crashes = _Crashes(app, Random(seed), waits=seed % 4 == 3)
        crashes.until(lambda: _all_stop(azure), "--once", "ProjectUsageScheduler", rest=0)
        crashes.ask_again()
        crashes.until(lambda: _night_is_through(app) and crashes.are_over, "--drain")
        _check_locked(app, azure)
        _raise_budgets(app)
        crashes.until(lambda: _all_are_unlocked(app) and crashes.are_over, "--drain")
        _check_unlocked(app, azure)
    print(f"seed {seed} on {kind}: killed after {', '.join(crashes.killed)}")


LOCK_OF = "{}/providers/Microsoft.Authorization/locks/"
# In the order in which the app asks Azure for them.
LOCKING = [
    ("POST", "vm-11/deallocate"),
    ("POST", "set-11/deallocate"),
    ("PUT", LOCK_OF.format("rg-11")),
    ("PUT", LOCK_OF.format("rg-11-too")),
]
UNLOCKING = [("DELETE", LOCK_OF.format("rg-11")), ("DELETE", LOCK_OF.format("rg-11-too"))]


def test_a_host_that_is_killed_at_every_request_to_azure_does_the_rest_when_its_message_comes_back(
    install: Install,
) -> None:
    """`make crash-test` kills it at each, `make test` at every other one."""
    with AzureSimulator(book_of((NORTH, "rg-11", "10"), (NORTH, "rg-11-too", "1"))) as azure:
        azure.machines.add(NORTH, "rg-11", "vm-11")
        azure.machines.add(NORTH, "rg-11", "set-11", kind="scale set")
        app = install(azure, **OFTEN_TAKEN, **IN_A_HURRY, LOCK_MODE="enforce", LOCK_STOP_COMPUTE="true")
        app.load(entry(11, "200", groups=("rg-11", "rg-11-too")))
        for step in some(LOCKING, 2):
            _kill_during(azure, app.host("--once", "ProjectUsageScheduler", "--lease", str(LEASE)), *step)
        assert app.held() == [], "it was killed before it could write down that it had locked"
        app.run("--drain")
        assert sorted(lock.group for lock in azure.locks.of()) == ["rg-11", "rg-11-too"]
        assert azure.machines.states() == {"vm-11": "deallocated", "set-11": "deallocated"}
        assert [decision.outcome for decision in app.audit()] == [Outcome.STOPPING, Outcome.LOCKED]
        assert sorted(name for _, name, _ in app.audit()[0].details["machines"]) == ["set-11", "vm-11"]

        app.cli("budgets", "set", "P11", "5000", "--reason", "more was granted")
        for step in some(UNLOCKING, 2):
            _kill_during(azure, app.host("--drain", "--lease", str(LEASE)), *step)
        assert app.held() == ["P11"]
        app.run("--drain")
        assert azure.locks.of() == []
        assert azure.machines.started == []
        assert [decision.outcome for decision in app.audit()][2:] == [Outcome.UNLOCKED]
    told = Counter(subject for to, subject in subjects(app.outbox()) if "locked" in subject)
    assert told == {
        "[P11] 100 % of the budget reached: the project is being locked": 1,
        "[P11] The project is unlocked": 1,
    }


def _kill_during(azure: AzureSimulator, host: Program, method: str, path: str) -> None:
    """Kills the host while it waits for an answer; what it asked for is done all the same."""
    azure.reset()
    azure.fault("slow", method=method, path=path, delay=0.5)
    wanted = path.lower()
    until(lambda: any(r.method == method and wanted in r.target.lower() for r in azure.record.requests()))
    host.kill()
    until(lambda: all(r.status for r in azure.record.requests()))


class _Crashes:
    """Kills hosts of an app at random moments, and lets the last one finish.

    waits: the messages that wait for machines to stop (20 s), or for another one's claim, come back by themselves;
    else another check asks for the locks again while those are still waiting.
    """

    def __init__(self, app: Installation, chance: Random, waits: bool) -> None:
        self.app, self.chance, self.waits = app, chance, waits
        self.killed: list[str] = []

    @property
    def are_over(self) -> bool:
        """Whether no message waits any more that is waited for."""
        return not self.waits or _waiting(self.app) == 0

    def until(self, is_through: Callable[[], bool], *flags: str, rest: float = REST) -> None:
        """Goes on until this is so, and nothing has happened for so many seconds (rest) since."""

        def start() -> Program:
            return self.app.host(*flags, "--lease", str(LEASE))

        self.killed += map(str, kill_at(start, moments(self.chance, MOST_ENDED, MOST_KILLS), is_through, QUIET))
        let_finish(start, is_through, rest)

    def ask_again(self) -> None:
        if not self.waits:
            self.app.queue(Queue.NOTIFICATION).send_message(LATER_CHECK)


def _waiting(app: Installation) -> int:
    return app.queue(Queue.LOCK).get_queue_properties().approximate_message_count or 0


def _all_stop(azure: AzureSimulator) -> bool:
    """Every machine that is to be stopped before a lock has been told to."""
    return all(state != "running" or STATES[name] == "running" for name, state in azure.machines.states().items())


def _night_is_through(app: Installation) -> bool:
    decided = {decision.project_id for decision in app.audit() if decision.outcome is not Outcome.STOPPING}
    return decided == {*TO_BE_LOCKED, 14} and _rests(app) and app.runs()["night-2026-11-20"].state == "done"


def _all_are_unlocked(app: Installation) -> bool:
    return app.held() == [] and _rests(app)


def _rests(app: Installation) -> bool:
    """No project waits for its check, and every mail is sent."""
    due = select(func.count()).where(projects.c.check_due_since.is_not(None))
    return app.rows(due) == [(0,)] and set(app.mail_states().values()) == {"sent"}


def _check_locked(app: Installation, azure: AzureSimulator) -> None:
    assert sorted((lock.group.lower(), lock.name) for lock in azure.locks.of()) == LOCKS
    assert {lock.level for lock in azure.locks.of()} == {"ReadOnly"}
    assert azure.machines.states() == STATES
    assert {action.action for action in azure.machines.actions} == {"deallocate"}
    assert app.held() == ["P11", "P12", "P21"]
    assert _decisions(app) == [
        (11, Outcome.LOCKED, "the costs that were read show 199.50 of 150.00 CAD"),
        (12, Outcome.LOCKED, "the costs that were read show 589.00 of 500.00 CAD"),
        (14, Outcome.REFUSED, "the project is marked as never to be locked"),
        (21, Outcome.LOCKED, "the costs that were read show 1,476.30 of 1,400.00 CAD"),
    ]
    # Each of two messages for a project may find its machines running: the claim is free for a moment once what is
    # to be stopped is written down. That is no harm: machines that are stopped twice are stopped.
    stopping = Counter(d.project_id for d in app.audit() if d.outcome is Outcome.STOPPING)
    assert set(stopping) == {11, 21}
    assert max(stopping.values()) <= 2
    _check_mails(app, {*(f"[P{number}] {BEING_LOCKED}" for number in TO_BE_LOCKED)})


def _check_unlocked(app: Installation, azure: AzureSimulator) -> None:
    assert azure.locks.of() == []
    assert azure.machines.started == []
    assert azure.machines.states() == STATES
    unlocked = [(number, outcome) for number, outcome, _ in _decisions(app) if outcome is Outcome.UNLOCKED]
    assert unlocked == [(number, Outcome.UNLOCKED) for number in TO_BE_LOCKED]
    assert len(_decisions(app)) == 7
    _check_mails(app, {*(f"[P{number}] The project is unlocked" for number in TO_BE_LOCKED)})


def _decisions(app: Installation) -> list[tuple[int, Outcome, str]]:
    """Project, outcome and reason of every row of the audit but those on machines that are stopped."""
    rows = [(d.project_id, d.outcome, d.reason) for d in app.audit() if d.outcome is not Outcome.STOPPING]
    return sorted(rows)


def _check_mails(app: Installation, expected: set[str]) -> None:
    """Each of these came once, and no mail at all went out twice."""
    found = Counter(subject for _, subject in subjects(app.outbox()))
    assert {subject: found[subject] for subject in expected} == dict.fromkeys(expected, 1)
    assert [key for key, times in Counter(logged_as_sent(app)).items() if times > 1] == []
    assert [subject for subject, times in found.items() if times > 1] == []
    assert app.dead_letters() == []


def _raise_budgets(app: Installation) -> None:
    # What still waits to lock has nothing left to do, as the runs show that wait for it.
    app.queue(Queue.LOCK).clear_messages()
    with app.app() as parts:
        for number in TO_BE_LOCKED:
            terms = parts.projects.revisions(number)[-1].terms
            parts.projects.revise_budget(number, replace(terms, amount=Decimal(100_000)), "tester", "granted", app.now)
    app.queue(Queue.NOTIFICATION).send_message(LATER_CHECK)
