"""What is measured while the chain works: each metric, by what brings it about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import pytest

from shared.domain.locks import LockMode
from shared.messages import Queue
from shared.pipeline.events import event, observers
from shared.pipeline.measures import MEASURES, measure
from shared.ports.errors import LaterError, NeverError
from shared.ports.mails import Refusal
from shared.ports.telemetry import Metric, NoTelemetry
from tests.docs import sources
from tests.pipeline.conftest import Chain, entry
from tests.pipeline.test_dead_letters import Away, burying_by

TODAY = date(2026, 11, 20)
Values = list[tuple[float, dict[str, str]]]


class Recorded(NoTelemetry):
    """Keeps what is measured."""

    def __init__(self) -> None:
        self.values: list[tuple[Metric, float, dict[str, str]]] = []

    def measured(self, metric: Metric, amount: float, attributes: dict[str, str]) -> None:  # type: ignore[override]
        self.values.append((metric, amount, attributes))

    def of(self, metric: Metric) -> Values:
        return [(amount, by) for name, amount, by in self.values if name is metric]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    found = Recorded()
    observe = partial(measure, found)
    observers.append(observe)
    yield found
    observers.remove(observe)


def night(chain: Chain, spent: str = "850") -> None:
    chain.load(entry())
    chain.spend(spent, TODAY)
    chain.night()


def throttled(chain: Chain) -> None:
    answers = iter([LaterError("slower", timedelta(seconds=17)), None])
    chain.costs.fails = lambda _query: next(answers, None)
    night(chain)


def refused(chain: Chain) -> None:
    chain.costs.fails = lambda _query: NeverError("Azure says no")
    night(chain)


def mail_for_now(chain: Chain) -> None:
    answers = iter([LaterError("full"), None])
    chain.mailer.fails = lambda _mail: next(answers, None)
    night(chain)


def mail_refused(chain: Chain) -> None:
    chain.mailer.refuses = {"anna@example.com": Refusal("no such box", for_good=True)}
    night(chain)


def not_locked(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    chain.azure_locks.fails = lambda _call, _group: NeverError("no rights")
    night(chain, "1000")


def lock_for_now(chain: Chain) -> None:
    chain.configure(lock_mode=LockMode.ENFORCE)
    answers = iter([LaterError("throttled", timedelta(seconds=17)), None])
    chain.azure_locks.fails = lambda _call, _group: next(answers, None)
    night(chain, "1000")


@pytest.mark.parametrize(
    ("happens", "metric", "expected"),
    [
        (night, Metric.PROJECTS_UPDATED, (1, {})),
        (night, Metric.ALERTS, (1, {"threshold": "80"})),
        (night, Metric.DELIVERIES, (2, {"outcome": "taken"})),
        (night, Metric.MAIL_LATENCY, None),
        (night, Metric.CHARGES_WRITTEN, (1, {"what": "added"})),
        (night, Metric.COST_QUERIES, (2, {})),
        (night, Metric.COST_UNITS, (2, {})),
        (throttled, Metric.THROTTLE_WAIT, (17, {})),
        (throttled, Metric.PARTS_DEFERRED, (1, {"part": "scope"})),
        (refused, Metric.PARTS_FAILED, (1, {"part": "scope"})),
        (refused, Metric.PARTS_FAILED, (1, {"part": "month"})),
        (mail_for_now, Metric.DELIVERIES, (2, {"outcome": "refused_for_now"})),
        (mail_refused, Metric.DELIVERIES, (1, {"outcome": "refused"})),
        (not_locked, Metric.LOCK_ERRORS, (1, {"outcome": "failed"})),
        (lock_for_now, Metric.LOCK_ERRORS, (1, {"outcome": "put_back"})),
    ],
)
def test_a_night_is_measured(
    chain: Chain,
    recorded: Recorded,
    happens: Callable[[Chain], None],
    metric: Metric,
    expected: tuple[float, dict[str, str]] | None,
) -> None:
    happens(chain)
    found = recorded.of(metric)
    assert found
    assert expected is None or expected in found


def test_a_dead_letter_is_measured_by_its_queue(chain: Chain, recorded: Recorded) -> None:
    chain.work(Queue.LOCK, "no JSON")
    assert recorded.of(Metric.DEAD_LETTERS) == [(1, {"queue": "project-lock"})]


def test_a_dead_letter_is_measured_once_it_is_kept_and_never_again(chain: Chain, recorded: Recorded) -> None:
    well = chain.dead_letters
    burying_by(chain, replace(well, ledger=Away(LaterError("the database is away"))))
    for _ in range(2):
        with pytest.raises(LaterError):
            chain.work(Queue.UPDATE, "no JSON", "one")
    assert recorded.of(Metric.DEAD_LETTERS) == []
    burying_by(chain, well)
    for _ in range(2):
        chain.work(Queue.UPDATE, "no JSON", "one")
    chain.bury(Queue.UPDATE, "no JSON", "one")
    assert recorded.of(Metric.DEAD_LETTERS) == [(1, {"queue": "project-usage-update"})]


def test_a_scope_fails_once_and_not_at_all_once_it_is_done(chain: Chain, recorded: Recorded) -> None:
    chain.load(entry())
    chain.tonight()
    ((queue, text, _),) = chain.queues.take()
    chain.work(queue, text)
    chain.bury(queue, text, "a copy of it")
    assert recorded.of(Metric.PARTS_FAILED) == []
    chain.clock.forward(days=1)
    chain.tonight()
    ((queue, text, _),) = [each for each in chain.queues.take() if each[0] is Queue.UPDATE]
    for copy in range(2):
        chain.bury(queue, text, f"copy {copy}")
    assert recorded.of(Metric.PARTS_FAILED) == [(1, {"part": "scope"})]


def test_only_projects_that_were_compared_with_their_budget_count(chain: Chain, recorded: Recorded) -> None:
    chain.load(entry(), entry(12, active=False))
    chain.work(Queue.NOTIFICATION, '{"ProjectIds": [11, 12, 13]}')
    assert recorded.of(Metric.PROJECTS_UPDATED) == [(1, {})]


def test_the_age_of_the_last_complete_night_is_measured_at_each_round_whether_it_looks_or_not(
    chain: Chain, recorded: Recorded
) -> None:
    night(chain)
    for _ in range(3):
        chain.clock.forward(hours=1)
        chain.send(chain.app.rounds.next())
    assert recorded.of(Metric.NIGHT_AGE) == [(1, {}), (2, {}), (3, {})]
    assert recorded.of(Metric.COVERAGE_GAPS)


@pytest.mark.parametrize(("outcome", "errors"), [("failed", 1), ("locked", 0), ("refused", 0)])
def test_a_lock_that_failed_is_an_error_and_no_other_decision(recorded: Recorded, outcome: str, errors: int) -> None:
    event("lock_decided", project=11, action="lock", outcome=outcome)
    assert len(recorded.of(Metric.LOCK_ERRORS)) == errors


def test_every_metric_comes_of_an_event() -> None:
    assert {each.metric for its in MEASURES.values() for each in its} == set(Metric)


def test_the_run_book_says_what_each_metric_is() -> None:
    page = sources.read("docs/operations.md")
    assert [metric for metric in Metric if f"| `{metric}` |" not in page] == []


def test_what_nobody_measures_is_logged_and_that_is_all(recorded: Recorded) -> None:
    event("something_new", a=1)
    assert recorded.values == []
