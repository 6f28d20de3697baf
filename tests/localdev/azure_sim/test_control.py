import json
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path

import pytest

from localdev import demo_charges
from localdev.azure_sim import AzureSimulator, ChargeBook, SimulatorControl, made_up, read_ea_export

ROOT = Path(__file__).resolve().parents[3]
DAY = date(2026, 11, 5)


@pytest.fixture
def started():
    """Starts `python -m localdev.azure_sim` and gives (process, url); what still runs is killed at the end."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "localdev.azure_sim", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process, process.stdout.readline().strip().rpartition(" ")[2]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_statistics_count_calls_rows_units_and_refusals_by_subscription(running, azure):
    sim = running([azure.charge()], vary=False)
    sim.fault("throttled")
    ask = azure.ask(sim.url)
    ask.send("POST", azure.path(azure.subscription), azure.body())
    ask.rows(azure.subscription.upper(), azure.body())

    stats = SimulatorControl(sim.url).stats()

    expected = {"calls": 2, "throttled": 1, "pages": 1, "rows": 1, "qpu": 1, "statuses": {"429": 1, "200": 1}}
    assert stats["subscriptions"] == {azure.subscription: expected}
    assert {name: stats[name] for name in expected} == expected
    assert stats["largest_qpu"]["QueriesPerMin"] == 1
    assert stats == json.loads(json.dumps(sim.stats()))


def test_the_recent_requests_show_headers_and_body_but_no_token(running, azure):
    sim = running([azure.charge()])
    azure.ask(sim.url).rows(azure.subscription, azure.body())

    (seen,) = SimulatorControl(sim.url).stats()["requests"]

    assert seen["headers"]["ClientType"] == "warden-tests"
    assert seen["headers"]["Authorization"] == "Bearer …"
    assert seen["body"] == azure.body()
    assert (seen["method"], seen["status"], seen["fault"]) == ("POST", 200, None)
    assert azure.subscription in seen["target"]
    assert SimulatorControl(sim.url).stats(requests=0)["requests"] == []


def test_faults_are_put_in_force_and_cleared_from_outside(running, azure):
    sim = running([azure.charge()])
    control, ask = SimulatorControl(sim.url), azure.ask(sim.url)

    control.fault("unavailable", times=None, seconds=4, subscription=azure.subscription)
    refused = ask.send("POST", azure.path(azure.subscription), azure.body())
    control.clear_faults()

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "4")
    assert ask.send("POST", azure.path(azure.subscription), azure.body()).status_code == 200


def test_charges_are_set_and_removed_from_outside(running, azure):
    sim = running([azure.charge("One"), azure.charge("Two")])
    control, ask = SimulatorControl(sim.url), azure.ask(sim.url)

    control.set_charges([azure.charge("ONE", amount="0.1234567890123456789"), azure.charge("Three")])
    control.remove_charges([azure.charge("two")])

    rows = ask.rows(azure.subscription, azure.body())
    sums = {}
    for row in rows:
        group = row["ResourceGroupName"].lower()
        sums[group] = sums.get(group, 0) + row["Cost"]
    assert sums == {"one": Decimal("0.1234567890123456789"), "three": Decimal("1.5")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": "abc"}, "Charge 2 can't be read"),
        ({"amount": "NaN"}, "no number"),
        ({"day": "5.11.2026"}, "Charge 2 can't be read"),
        ({"colour": "red"}, "other keys"),
    ],
)
def test_a_list_with_a_faulty_charge_changes_nothing(running, azure, change, words):
    sim = running([azure.charge()])
    good = {"subscription": azure.subscription, "group": "g", "service": "s", "day": "2026-11-05"}
    good |= {"currency": "USD", "amount": "1"}

    answer = azure.post(sim.url, "/_sim/charges", [good, good | change])

    assert answer.status == 400
    assert words in answer.text
    assert len(sim.book.rows(azure.subscription, DAY)) == 1


def test_faulty_control_requests_say_what_is_wrong(running, azure):
    sim = running([azure.charge()])

    for path, body, words in [
        ("/_sim/faults", {"kind": "rain"}, "no fault 'rain'"),
        ("/_sim/faults", ["rain"], "error"),
        ("/_sim/faults", {"kind": "slow", "delay": "long"}, "long"),
        ("/_sim/faults", "{", "not JSON"),
        ("/_sim/charges", {"a": 1}, "a list of objects"),
    ]:
        answer = azure.post(sim.url, path, body)
        assert (answer.status, words in answer.text) == (400, True), answer.text
    assert azure.post(sim.url, "/_sim/nothing", {}).status == 404
    with pytest.raises(RuntimeError, match=r"400.*no fault 'rain'"):
        SimulatorControl(sim.url).fault("rain")


def test_a_reset_forgets_statistics_quota_and_faults_but_no_charges(running, azure):
    sim = running([azure.charge()])
    control, ask = SimulatorControl(sim.url), azure.ask(sim.url)
    control.set_charges([azure.charge("New", amount="4")])
    ask.rows(azure.subscription, azure.body())
    control.fault("server_error", times=None)

    control.reset()

    stats = control.stats()
    assert (stats["calls"], stats["qpu"], stats["requests"], stats["subscriptions"]) == (0, 0, [], {})
    assert set(stats["largest_qpu"].values()) == {0}
    assert sum(row["Cost"] for row in ask.rows(azure.subscription, azure.body())) == Decimal("5.5")


def test_changes_are_kept_in_the_state_file_for_the_next_start(running, azure, tmp_path):
    file = tmp_path / "state.json"
    first = running([azure.charge("One"), azure.charge("Two")], state_file=file)
    SimulatorControl(first.url).set_charges([azure.charge("One", amount="0.00000000001")])
    SimulatorControl(first.url).remove_charges([azure.charge("Two")])

    second = running([azure.charge("One"), azure.charge("Two")], state_file=file)

    assert second.book.rows(azure.subscription, DAY) == first.book.rows(azure.subscription, DAY)
    assert second.book.total(azure.subscription, DAY, DAY) == Decimal("1e-11")


def test_a_stopped_simulator_ends_kept_connections_and_starts_again_at_its_address(azure):
    sim = AzureSimulator(ChargeBook([azure.charge()]))
    sim.start()
    connection = HTTPConnection("127.0.0.1", sim.port, timeout=20)
    connection.request("GET", "/_sim/stats")
    connection.getresponse().read()
    url = sim.url

    sim.stop()
    with pytest.raises(OSError):
        connection.request("GET", "/_sim/stats")
        connection.getresponse()
    sim.start()

    assert sim.url == url
    assert SimulatorControl(url).stats()["calls"] == 0
    sim.stop()


def test_many_clients_at_once_get_each_row_once_and_the_counts_are_right(running, azure):
    from concurrent.futures import ThreadPoolExecutor

    names = [f"00000000-0000-0000-0000-{number:012d}" for number in range(8)]
    book = made_up(1, names, 30, 4, 19, date(2026, 11, 19))
    sim = running(book)

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda name: azure.ask(sim.url).rows(name, azure.body(), top=500), names))

    for name, rows in zip(names, parts, strict=True):
        assert sum(row["Cost"] for row in rows) == book.total(name, date(2026, 11, 1), date(2026, 11, 19))
    counts = sim.record.in_all()
    assert (counts.qpu, counts.rows) == (8, sum(map(len, parts)))


def test_it_listens_on_this_machine_only(azure):
    with pytest.raises(ValueError, match="this machine only"):
        AzureSimulator(ChargeBook(), host="0.0.0.0")


def test_the_program_serves_an_export_and_stops_at_sigterm(started, azure, real_export):
    process, url = started("--charges", real_export, "--plain")
    name = "64e355d7-997c-491d-b0c1-8414dccfcf42"

    rows = azure.ask(url).rows(name, azure.body("2023-09-01", "2023-09-30"))
    process.send_signal(signal.SIGTERM)

    expected = read_ea_export(real_export).total(name, date(2023, 9, 1), date(2023, 9, 30))
    assert sum(row["Cost"] for row in rows) == expected
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


def test_the_program_makes_charges_up_from_a_seed_as_the_library_does(started, azure, tmp_path):
    arguments = ["--seed", 5, "--subscriptions", f"{azure.subscription},other", "--groups", 3, "--services", 2]
    arguments += ["--days", 10, "--end-day", "2026-11-10", "--currency", "CAD", "--no-quota", "--plain"]
    arguments += ["--state", tmp_path / "state.json", "--token", "local"]
    _, url = started(*arguments)
    SimulatorControl(url).set_charges([azure.charge(currency="CAD")])

    rows = azure.ask(url).rows(azure.subscription, azure.body())

    book = made_up(5, [azure.subscription, "other"], 3, 2, 10, date(2026, 11, 10), "CAD")
    book.set([azure.charge(currency="CAD")])
    assert [row["Cost"] for row in rows] == [
        charge.amount for charge in book.charges(azure.subscription, date(2026, 11, 1), date(2026, 11, 19))
    ]
    assert json.loads((tmp_path / "state.json").read_text())[0]["amount"] == "1.5"


def test_the_program_serves_the_sample_projects_spending_up_to_yesterday(started, azure):
    _, url = started("--demo", "--no-quota", "--plain")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    window = {"from": f"{yesterday}T00:00:00Z", "to": f"{yesterday}T23:59:59Z"}
    body = azure.body() | {"timePeriod": window}

    rows = azure.ask(url).rows(demo_charges.NORTH, body)

    assert "FSDH_Proj_DIE1_dev_rg" in {row["ResourceGroupName"] for row in rows}


def test_the_program_says_in_one_line_why_it_cannot_start(started, tmp_path):
    (tmp_path / "no_export.csv").write_text("a,b\n1,2\n")

    process, _ = started("--charges", tmp_path / "no_export.csv")

    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.splitlines() == [
        "The simulator can't start: no_export.csv has no column for the subscription: "
        "expected subscriptionid or subscriptionguid."
    ]
