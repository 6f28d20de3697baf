"""Schedules and the memory of timers."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from localdev.functions_host.errors import HostError
from localdev.functions_host.retries import read_retry_policy
from localdev.functions_host.timers import Schedule, Status, StatusFile, status_at_start

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
TICK = """
@app.timer_trigger(arg_name="timer", schedule="%Cron%")
def Tick(timer: func.TimerRequest) -> None:
    record(timer.past_due, time.time(), timer.schedule_status.get("Next"))
    if os.environ.get("Hang"):
        time.sleep(60)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 2 * * *", "2026-11-21T02:00:00+00:00"),
        ("0 15 * * * *", "2026-11-20T12:15:00+00:00"),
        ("0 */15 * * * *", "2026-11-20T12:15:00+00:00"),
        ("*/5 * * * * *", "2026-11-20T12:00:05+00:00"),
        ("30 0 9-17 * * Mon-Fri", "2026-11-20T12:00:30+00:00"),
        ("0 0 0 1 Jan *", "2027-01-01T00:00:00+00:00"),
        ("0 0 0 * * 0", "2026-11-22T00:00:00+00:00"),
        # A day of the month and a day of the week must both be met: Friday the 13th.
        ("0 0 0 13 * 5", "2027-08-13T00:00:00+00:00"),
    ],
)
def test_six_fields_are_read_seconds_first_in_utc(text, expected):
    assert Schedule(text, "X").after(NOON) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "", "0 0 25 * * *", "@daily", "0 0 0 30 2 *", "0 0 2 * * 7", "0 0 2 ? * *", "0 0 2 L * *"]
)
def test_what_is_no_six_field_schedule_is_refused_with_its_place(text):
    with pytest.raises(HostError, match=r"^Tick: the schedule is "):
        Schedule(text, "Tick: the schedule")


def test_a_new_timer_is_due_at_its_next_occurrence():
    status = status_at_start(None, Schedule("0 0 2 * * *", "X"), NOON)
    assert status == Status(None, NOON.replace(day=21, hour=2), NOON)


def test_a_missed_occurrence_stays_due_in_the_past():
    schedule = Schedule("0 0 2 * * *", "X")
    fired = NOON - timedelta(days=2)
    known = Status(fired, schedule.after(fired), fired)
    assert status_at_start(known, schedule, NOON) == known
    assert known.next < NOON


def test_a_changed_schedule_is_never_past_due():
    fired = NOON - timedelta(days=2)
    known = Status(fired, Schedule("0 0 2 * * *", "X").after(fired), fired)
    status = status_at_start(known, Schedule("0 0 3 * * *", "X"), NOON)
    assert status.next == NOON.replace(day=21, hour=3)


def test_statuses_of_several_timers_lie_in_one_file(tmp_path):
    statuses, status = StatusFile(tmp_path / "new"), Status(None, NOON, NOON)
    statuses.write("A", status)
    statuses.write("B", Status(NOON, NOON, NOON))
    assert (statuses.read("A"), statuses.read("B"), statuses.read("C")) == (
        status,
        Status(NOON, NOON, NOON),
        None,
    )


def test_a_timer_fires_on_its_seconds(sample, until):
    sample.write(TICK).host(Cron="*/1 * * * * *").start()
    until(lambda: len(sample.records()) >= 3)
    for line in sample.records():
        past_due, moment, _ = line.split()
        assert past_due == "False"
        assert float(moment) % 1 < 0.7


def _write_state(sample, missed: datetime) -> None:
    fired = missed - timedelta(days=1)
    entry = {"Last": fired.isoformat(), "Next": missed.isoformat(), "LastUpdated": fired.isoformat()}
    state = sample.folder / ".local"
    state.mkdir(exist_ok=True)
    (state / "timers.json").write_text(json.dumps({"Tick": entry}), encoding="utf-8")


def _next(sample) -> str:
    return json.loads((sample.folder / ".local" / "timers.json").read_text(encoding="utf-8"))["Tick"]["Next"]


def _daily(hours_ago: int) -> tuple[datetime, str]:
    """A daily schedule that was due so many hours ago, and the moment it was."""
    missed = (datetime.now(UTC) - timedelta(hours=hours_ago)).replace(minute=0, second=0, microsecond=0)
    return missed, f"0 0 {missed.hour} * * *"


def test_a_tick_that_was_missed_fires_at_once_and_only_once(sample, until):
    missed, cron = _daily(hours_ago=2)
    _write_state(sample.write(TICK), missed)
    host = sample.host(Cron=cron).start()
    until(lambda: sample.records() and _next(sample) == (missed + timedelta(days=1)).isoformat())
    assert sample.records()[0].startswith("True ")
    assert host.stop() == 0
    sample.host(Cron=cron).start().stop()
    assert len(sample.records()) == 1


def test_a_tick_whose_host_was_killed_is_past_due_again(sample, until):
    missed, cron = _daily(hours_ago=2)
    _write_state(sample.write(TICK), missed)
    host = sample.host(Cron=cron, Hang="1").start()
    until(sample.records)
    host.kill()
    sample.host(Cron=cron).start()
    until(lambda: len(sample.records()) == 2)
    assert sample.records()[1].startswith("True ")


def test_on_the_first_start_nothing_is_past_due(sample, until):
    _, cron = _daily(hours_ago=2)
    host = sample.write(TICK).host(Cron=cron).start()
    until((sample.folder / ".local" / "timers.json").exists)
    assert host.stop() == 0
    assert sample.records() == []


RETRIED = """
@app.timer_trigger(arg_name="timer", schedule="0 0 2 * * *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="%s")
def Tick(timer: func.TimerRequest) -> None:
    record("tried")
    raise ValueError("not yet")
"""


def test_a_failing_timer_is_run_again_as_its_retry_policy_says(sample, until):
    host = sample.write(RETRIED % "00:00:00").host().start()
    state = sample.folder / ".local" / "timers.json"
    until(lambda: state.exists() and not json.loads(state.read_text())["Tick"]["Last"].startswith("0001"))
    assert sample.records() == ["tried"] * 3
    assert host.output.count("ValueError: not yet") == 3


def test_a_host_does_not_wait_for_a_retry_when_it_is_asked_to_stop(sample, until):
    host = sample.write(RETRIED % "00:05:00").host().start()
    host.wait_for("Tick runs again in 300 s")
    assert host.stop(timeout=5) == 0
    assert _next(sample) > datetime.now(UTC).isoformat()


def test_retries_wait_longer_each_time_up_to_the_longest():
    setting = {"max_retry_count": "5", "minimum_interval": "00:00:30", "maximum_interval": "00:03:00"}
    policy = read_retry_policy("F", {"strategy": "exponential_backoff", **setting})
    assert list(policy.delays()) == [30, 60, 120, 180, 180]


@pytest.mark.parametrize(
    "setting",
    [
        {"strategy": "sometimes", "max_retry_count": "1"},
        {"strategy": "fixed_delay", "max_retry_count": "x"},
        {"strategy": "fixed_delay", "max_retry_count": "1", "delay_interval": "30"},
    ],
)
def test_a_retry_policy_that_makes_no_sense_is_refused(setting):
    with pytest.raises(HostError, match=r"^F: "):
        read_retry_policy("F", setting)


def test_state_goes_where_it_is_told_and_a_timer_may_run_on_startup(sample, until, tmp_path):
    sample.write("""
        @app.timer_trigger(arg_name="timer", schedule="0 0 2 * * *", run_on_startup=True)
        def Tick(timer: func.TimerRequest) -> None:
            record(timer.past_due)

        @app.timer_trigger(arg_name="timer", schedule="0 0 2 * * *", use_monitor=False)
        def Unseen(timer: func.TimerRequest) -> None: ...
    """)
    sample.host("--state", str(tmp_path / "state")).start()
    until(sample.records)
    assert sample.records() == ["False"]
    assert list(json.loads((tmp_path / "state" / "timers.json").read_text(encoding="utf-8"))) == ["Tick"]
