"""The host's queue semantics, as Azure has them: lease, dequeue count, poison queues, outputs."""

from collections import Counter
from datetime import UTC, datetime, timedelta

COPY = """
@app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
def Copy(message: func.QueueMessage) -> None:
    body = message.get_body().decode()
    record("seen", message.dequeue_count, time.time(), body)
    if "fail" in body:
        raise ValueError("this one fails")
    send("Out", body)
"""


def test_a_message_that_succeeds_is_deleted(sample, until):
    sample.write(COPY).put("in", "hello")
    sample.host().start().wait_for("Copy")
    until(lambda: sample.count("in") == 0 and sample.contents("out") == ["hello"])


def test_a_function_sees_the_message_with_all_its_properties(sample, until):
    sample.write("""
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Look(message: func.QueueMessage) -> None:
            times = (message.insertion_time, message.expiration_time, message.time_next_visible)
            record(message.id, message.dequeue_count, bool(message.pop_receipt), message.get_json()["a"],
                   *(t.isoformat() for t in times))
    """)
    sent = sample.queue("in").send_message('{"a": "é<&>"}')
    sample.host().start()
    until(sample.records)
    identity, count, receipt, text, *times = sample.records()[0].split()
    assert (identity, count, receipt, text) == (sent.id, "1", "True", "é<&>")
    inserted, expires, next_visible = (datetime.fromisoformat(value) for value in times)
    assert expires - inserted == timedelta(days=7)
    assert timedelta(minutes=9) < next_visible - datetime.now(UTC) <= timedelta(minutes=10)


def test_a_messages_own_members_take_the_place_of_its_properties(sample, until):
    sample.write("""
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Look(message: func.QueueMessage) -> None:
            record(message.id, message.dequeue_count, message.insertion_time, bool(message.pop_receipt))
    """).put("in", '{"ID": 5, "dequeueCount": "7", "InsertionTime": "2026-11-20T02:00:00Z", "PopReceipt": null}')
    sample.host().start()
    until(sample.records)
    assert sample.records() == ["5 7 2026-11-20 02:00:00+00:00 True"]


def test_a_message_whose_insertion_time_is_no_time_never_reaches_its_functions(sample, until):
    sample.write(
        COPY
        + """
@app.queue_trigger(arg_name="message", queue_name="%In%-poison", connection="Storage")
def Bury(message: func.QueueMessage) -> None:
    record("buried")
""",
        maxDequeueCount=2,
    ).put("in", '{"InsertionTime": "soon"}')
    host = sample.host("--lease", "1").start()
    until(lambda: sample.count("in") == 0)
    host.wait_for("stays in the queue until it expires")
    assert (sample.records(), sample.count("in-poison")) == ([], 1)


def test_after_five_times_a_message_is_poison(sample, until):
    sample.write(COPY).put("in", "fail é")
    host = sample.host().start()
    until(lambda: sample.exists("in-poison") and sample.count("in-poison") == 1)
    until(lambda: sample.count("in") == 0)
    assert [line.split()[1] for line in sample.records()] == ["1", "2", "3", "4", "5"]
    assert sample.contents("in-poison") == ["fail é"]
    assert host.output.count("ValueError: this one fails") == 5
    assert "Traceback" not in host.output
    poison = sample.queue("in-poison").peek_messages()[0]
    assert poison.expires_on - poison.inserted_on == timedelta(days=7)


def test_a_failed_message_comes_back_only_after_the_visibility_timeout(sample, until):
    sample.write(COPY, visibilityTimeout="00:00:02", maxDequeueCount=2, maxPollingInterval="00:00:00.2")
    sample.put("in", "fail")
    sample.host().start()
    until(lambda: sample.count("in-poison") == 1)
    times = [float(line.split()[2]) for line in sample.records()]
    assert len(times) == 2
    assert times[1] - times[0] >= 1.9


def test_a_function_may_run_for_longer_than_the_lease(sample, until):
    sample.write("""
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Slow(message: func.QueueMessage) -> None:
            record("begin", message.dequeue_count)
            time.sleep(3.5)
            record("end")
    """).put("in", "x")
    sample.host("--lease", "1").start()
    until(lambda: sample.records() and sample.count("in") == 0)
    assert sample.records() == ["begin 1", "end"]


def test_a_message_of_a_killed_host_comes_back_when_its_lease_ends(sample, until):
    sample.write("""
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Hang(message: func.QueueMessage) -> None:
            record(message.dequeue_count)
            if message.dequeue_count == 1:
                time.sleep(60)
            send("Out", "done")
    """).put("in", "x")
    first = sample.host("--lease", "2").start()
    until(sample.records)
    assert first.kill() < 0
    sample.host("--lease", "2").start()
    until(lambda: sample.contents("out") == ["done"])
    assert sample.records() == ["1", "2"]


def test_a_message_that_kills_the_host_every_time_ends_in_the_poison_queue_unseen(sample, until):
    sample.write(
        """
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Die(message: func.QueueMessage) -> None:
            record(message.dequeue_count)
            os._exit(9)
        """,
        maxDequeueCount=2,
    ).put("in", "deadly")
    for _ in range(2):
        assert sample.host("--lease", "1").start().wait() == 9
    host = sample.host("--lease", "1").start()
    until(lambda: sample.contents("in-poison") == ["deadly"])
    assert sample.records() == ["1", "2"]
    assert host.running
    assert sample.count("in") == 0


def test_a_failing_function_of_a_poison_queue_leaves_its_message_hidden_until_the_lease_ends(sample, until):
    sample.write(
        """
        @app.queue_trigger(arg_name="message", queue_name="%In%-poison", connection="Storage")
        def DeadLetters(message: func.QueueMessage) -> None:
            record(message.dequeue_count, time.time())
            raise ValueError("no")
        """,
        maxDequeueCount=2,
        maxPollingInterval="00:00:00.2",
    ).put("in-poison", "x")
    host = sample.host("--lease", "1").start()
    host.wait_for("stays in the queue until it expires")
    tries = [line.split() for line in sample.records()]
    assert [count for count, _ in tries] == ["1", "2"]
    assert float(tries[1][1]) - float(tries[0][1]) >= 0.9
    assert sample.count("in-poison") == 1
    assert not sample.exists("in-poison-poison")


def test_a_return_value_without_a_binding_is_a_failure(sample, until):
    sample.write(
        """
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        async def Wrong(message: func.QueueMessage):
            return "lost"
        """,
        maxDequeueCount=1,
    ).put("in", "x")
    host = sample.host().start()
    until(lambda: sample.contents("in-poison") == ["x"])
    assert "without a $return binding returned a non-None value" in host.output


def test_no_more_messages_are_taken_than_a_batch_and_the_threshold(sample, until):
    sample.write(
        """
        import threading
        lock, running = threading.Lock(), 0
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Count(message: func.QueueMessage) -> None:
            global running
            with lock:
                running += 1
                record(running)
            # Two of the first four are slow: four more may be taken while those two run.
            time.sleep(0.02 if int(message.get_body()) % 2 else 0.4)
            with lock:
                running -= 1
        """,
        batchSize=4,
        newBatchThreshold=2,
    ).put("in", *map(str, range(16)))
    sample.host(PYTHON_THREADPOOL_THREAD_COUNT="32").start()
    until(lambda: sample.count("in") == 0)
    assert len(sample.records()) == 16
    assert 4 < max(int(line) for line in sample.records()) <= 6


def test_plain_functions_run_in_as_many_threads_as_the_setting_says(sample, until):
    sample.write("""
        import threading
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Where(message: func.QueueMessage) -> None:
            time.sleep(0.01)
            record(threading.get_ident())
    """).put("in", *map(str, range(20)))
    sample.host(PYTHON_THREADPOOL_THREAD_COUNT="2").start()
    until(lambda: len(sample.records()) == 20)
    assert len(Counter(sample.records())) == 2


def test_a_host_that_is_asked_to_stop_finishes_what_runs_and_takes_nothing_new(sample, until):
    sample.write(
        """
        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Slow(message: func.QueueMessage) -> None:
            record("begin")
            time.sleep(1.5)
            send("Out", "finished")
        """,
        batchSize=1,
        newBatchThreshold=0,
    ).put("in", "first", "second")
    host = sample.host().start()
    until(sample.records)
    assert host.stop() == 0
    assert sample.contents("out") == ["finished"]
    assert sample.contents("in") == ["second"]


def test_messages_are_handled_when_the_queue_is_deleted_and_made_again(sample, until):
    sample.write(COPY)
    host = sample.host().start()
    sample.queue("in").delete_queue()
    sample.put("in", "later")
    until(lambda: sample.contents("out") == ["later"])
    assert host.running


def test_hundreds_of_hops_through_two_queues_lose_and_double_nothing(sample):
    sample.write(
        """
        @app.timer_trigger(arg_name="timer", schedule="0 0 2 * * *")
        def Begin(timer: func.TimerRequest) -> None:
            send("In", *[f"number {n}" for n in range(100)])

        @app.queue_trigger(arg_name="message", queue_name="%In%", connection="Storage")
        def Hop(message: func.QueueMessage) -> None:
            send("Out", message.get_body().decode())

        @app.queue_trigger(arg_name="message", queue_name="%Out%", connection="Storage")
        def End(message: func.QueueMessage) -> None:
            record(message.get_body().decode())
        """
    )
    host = sample.host("--once", "begin", "--quiet").start()
    assert host.wait(60) == 0, host.output
    assert sorted(sample.records()) == sorted(f"number {n}" for n in range(100))
    assert " INFO " not in host.output
