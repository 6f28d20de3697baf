"""`--once` and `--drain`: a timer, then the queues until nothing is left in them."""

CHAIN = """
@app.timer_trigger(arg_name="timer", schedule="%Cron%")
def Begin(timer: func.TimerRequest) -> None:
    record("begin")
    send("In", *os.environ.get("Bodies", "a,b").split(","))

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
def Other(timer: func.TimerRequest) -> None:
    record("other")

@app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
def Next(message: func.QueueMessage) -> None:
    body = message.get_body().decode()
    record("next", body)
    if body == "bad":
        raise ValueError("bad")

@app.queue_trigger(arg_name="message", queue_name="%In%-poison", connection="Storage")
def DeadLetters(message: func.QueueMessage) -> None:
    record("dead", message.get_body().decode())
"""
CRON = {"Cron": "0 0 2 * * *"}


def test_once_fires_its_timer_only_and_ends_when_everything_is_handled(sample):
    host = sample.write(CHAIN).host("--once", "Begin", **CRON).start()
    assert host.wait() == 0
    assert sorted(sample.records()) == ["begin", "next a", "next b"]
    assert sample.count("in") == 0


def test_several_timers_are_fired_one_after_the_other(sample):
    host = sample.write(CHAIN).host("--once", "Begin", "--once", "Begin", **CRON).start()
    assert host.wait() == 0
    assert sorted(sample.records()) == ["begin", "begin", *["next a"] * 2, *["next b"] * 2]


def test_what_fails_for_good_is_handled_by_the_poison_queue_and_told_by_the_exit_code(sample):
    host = sample.write(CHAIN, maxDequeueCount=2).host("--once", "Begin", Bodies="a,bad,b", **CRON).start()
    assert host.wait() == 1
    assert sorted(sample.records()) == ["begin", "dead bad", "next a", "next b", "next bad", "next bad"]
    assert "error: 1 failed for good" in host.output


def test_drain_waits_for_messages_that_are_still_hidden(sample):
    sample.write(CHAIN)
    sample.queue("in").send_message("late", visibility_timeout=2)
    host = sample.host("--drain", **CRON).start()
    assert host.wait() == 0
    assert sample.records() == ["next late"]


def test_draining_that_takes_too_long_says_what_is_left(sample):
    sample.write(CHAIN)
    sample.queue("in").send_message("late", visibility_timeout=60)
    host = sample.host("--drain", "--drain-timeout", "0.5", **CRON).start()
    assert host.wait() == 1
    assert f"error: The queues are not drained after 0.5 s; left: {sample.name('in')}: 1." in host.output


def test_a_timer_that_fails_when_fired_by_hand_gives_exit_code_one(sample):
    sample.write("""
        @app.timer_trigger(arg_name="timer", schedule="0 0 2 * * *")
        def Begin(timer: func.TimerRequest) -> None:
            raise ValueError("no database")
    """)
    host = sample.host("--once", "Begin").start()
    assert host.wait() == 1
    assert "ValueError: no database" in host.output


def test_an_unknown_timer_is_told_with_the_names_of_the_others(sample):
    text = sample.write(CHAIN).fails_to_start("--once", "Begn", **CRON)
    assert text == "error: The app has no timer named Begn; its timers: Begin, Other."


def test_drain_is_ended_by_a_signal(sample, until):
    sample.write(CHAIN)
    sample.queue("in").send_message("late", visibility_timeout=60)
    host = sample.host("--drain", **CRON).start()
    assert host.stop() == 0
