"""Schedules and the memory of timers."""

from datetime import UTC, datetime

import pytest

from localdev.functions_host.errors import HostError
from localdev.functions_host.retries import read_retry_policy
from localdev.functions_host.timers import read_schedule

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
TICK = """
@app.timer_trigger(arg_name="timer", schedule="%Cron%")
def Tick(timer: func.TimerRequest) -> None:
    record(timer.past_due, time.time())
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
    assert read_schedule(text, "X").after(NOON) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text", ["0 2 * * *", "", "0 0 25 * * *", "@daily", "0 0 0 30 2 *", "0 0 2 * * 7", "0 0 2 ? * *", "0 0 2 L * *"]
)
def test_what_is_no_six_field_schedule_is_refused_with_its_place(text):
    with pytest.raises(HostError, match=r"^Tick: the schedule is "):
        read_schedule(text, "Tick: the schedule")


def test_a_timer_fires_on_its_seconds(sample, until):
    sample.write(TICK).host(Cron="*/1 * * * * *").start()
    until(lambda: len(sample.records()) >= 3)
    for line in sample.records():
        past_due, moment = line.split()
        assert past_due == "False"
        assert float(moment) % 1 < 0.7


RETRIED = """
@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
@app.retry(strategy="exponential_backoff", max_retry_count="2", minimum_interval="%s", maximum_interval="00:10:00")
def Tick(timer: func.TimerRequest) -> None:
    record("tried")
    raise ValueError("not yet")
"""


def test_a_failing_timer_is_run_again_as_its_retry_policy_says(sample):
    host = sample.write(RETRIED % "00:00:00").host().start()
    host.wait_for("Tick runs again in 0 s", times=2)
    host.wait_for("ValueError: not yet", times=3)
    assert len(sample.records()) >= 3


def test_a_host_does_not_wait_for_a_retry_when_it_is_asked_to_stop(sample):
    host = sample.write(RETRIED % "00:05:00").host().start()
    host.wait_for("Tick runs again in 300 s")
    assert host.stop(timeout=5) == 0
    assert sample.records() == ["tried"]


BACKOFF = {"strategy": "exponential_backoff", "minimum_interval": "00:00:30", "maximum_interval": "00:03:00"}


def test_retries_wait_longer_each_time_up_to_the_longest():
    policy = read_retry_policy("F", {**BACKOFF, "max_retry_count": "5"})
    assert list(policy.delays()) == [30, 60, 120, 180, 180]


@pytest.mark.parametrize(
    "setting",
    [
        {"strategy": "sometimes", "max_retry_count": "1"},
        {"strategy": "fixed_delay", "max_retry_count": "1", "delay_interval": "00:00:30"},
        {**BACKOFF, "max_retry_count": "x"},
        {**BACKOFF, "max_retry_count": "1", "minimum_interval": "30"},
    ],
)
def test_a_retry_policy_that_makes_no_sense_is_refused(setting):
    with pytest.raises(HostError, match=r"^F: "):
        read_retry_policy("F", setting)
