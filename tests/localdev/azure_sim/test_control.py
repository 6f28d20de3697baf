import json
import signal
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.client import HTTPConnection

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localdev.azure_sim import ActionGroup, AzureSimulator, ChargeBook, SimulatorControl, demo_charges, made_up
from localdev.azure_sim.state import as_json

SIMULATOR = "localdev.azure_sim"
DAY = date(2026, 11, 5)


def set_charges(sim, azure, *charges):
    """As `curl` does it."""
    answer = azure.post(sim.url, "/_sim/charges", [as_json(charge) for charge in charges])
    assert (answer.status, answer.text) == (200, f'{{"charges": {len(charges)}}}')


def test_statistics_count_calls_rows_units_and_refusals(running, azure):
    sim = running([azure.charge()], vary=False)
    sim.fault("throttled")
    ask = azure.ask(sim.url)
    ask.send("POST", azure.path(azure.subscription), azure.body())
    ask.rows(azure.subscription.upper(), azure.body())

    stats = SimulatorControl(sim.url).stats()

    expected = {"calls": 2, "throttled": 1, "pages": 1, "rows": 1, "qpu": 1, "statuses": {"429": 1, "200": 1}}
    assert {name: stats[name] for name in expected} == expected
    assert stats["largest_qpu"]["QueriesPerMin"] == 1
    assert stats == json.loads(json.dumps(sim.stats()))
    assert sim.record.of(azure.subscription).calls == 2


def test_the_recent_requests_show_what_was_asked(running, azure):
    sim = running([azure.charge()])
    azure.ask(sim.url).rows(azure.subscription, azure.body())

    (seen,) = sim.record.requests()

    assert seen.body == azure.body()
    assert (seen.method, seen.status, seen.subscription) == ("POST", 200, azure.subscription)
    assert azure.subscription in seen.target


def test_charges_are_set_from_outside(running, azure):
    sim = running([azure.charge("One"), azure.charge("Two")])

    set_charges(sim, azure, azure.charge("ONE", amount="0.1234567890123456789"), azure.charge("Three"))

    sums = {}
    for row in azure.ask(sim.url).rows(azure.subscription, azure.body()):
        group = row["ResourceGroupName"].lower()
        sums[group] = sums.get(group, 0) + row["Cost"]
    assert sums == {"one": Decimal("0.1234567890123456789"), "two": Decimal("1.5"), "three": Decimal("1.5")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": "abc"}, "Charge 2 can't be read"),
        ({"amount": "NaN"}, "no number"),
        ({"amount": None}, "Charge 2 can't be read"),
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


def test_what_the_control_cannot_take_is_said(running, azure):
    sim = running([azure.charge()])

    for path, body in [("/_sim/charges", "{"), ("/_sim/charges", {"a": 1}), ("/_sim/evaluate", {"today": "soon"})]:
        answer = azure.post(sim.url, path, body)
        assert (answer.status, "The simulator can't take this" in answer.text) == (400, True), answer.text
    assert azure.post(sim.url, "/_sim/evaluate", "{").status == 400
    assert azure.post(sim.url, "/_sim/nothing", {}).status == 404


def test_a_reset_forgets_statistics_quota_and_faults_but_no_charges(running, azure):
    sim = running([azure.charge()])
    control, ask = SimulatorControl(sim.url), azure.ask(sim.url)
    set_charges(sim, azure, azure.charge("New", amount="4"))
    ask.rows(azure.subscription, azure.body())
    sim.fault("server_error", times=None)

    control.reset()

    stats = control.stats()
    assert (stats["calls"], stats["qpu"], sim.record.requests()) == (0, 0, [])
    assert set(stats["largest_qpu"].values()) == {0}
    assert sum(row["Cost"] for row in ask.rows(azure.subscription, azure.body())) == Decimal("5.5")


def test_budgets_are_evaluated_and_locks_seen_from_outside(running, receiving, azure):
    sim, receiver = running([azure.charge("Alpha_RG", amount="100.10")]), receiving()
    azure.budgets(sim.url).create_or_update(azure.scope, "warden-a", azure.budget())
    sim.action_groups[azure.action_group] = ActionGroup(receiver.url, "legacy")
    sim.add_lock(azure.subscription, "Beta", "finance", "CanNotDelete", "ask us")

    answer = azure.post(sim.url, "/_sim/evaluate", {"today": "2026-11-20"})

    (call,) = json.loads(answer.text)["calls"]
    assert (call["status"], call["notification"], call["attempts"]) == (202, "100", 1)
    assert receiver.bodies()[0]["data"]["SpendingAmount"] == "100.10"
    connection = HTTPConnection(sim.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/_sim/locks")
    (lock,) = json.loads(connection.getresponse().read())["locks"]
    connection.close()
    assert (lock["group"], lock["name"], lock["level"], lock["notes"]) == ("Beta", "finance", "CanNotDelete", "ask us")


def test_charges_are_kept_in_the_state_file_for_the_next_start(running, azure, tmp_path):
    file = tmp_path / "state.json"
    first = running([azure.charge("One")], state_file=file)
    set_charges(first, azure, azure.charge("One", amount="0.00000000001"))

    second = running([azure.charge("One")], state_file=file)

    assert second.book.rows(azure.subscription, DAY) == first.book.rows(azure.subscription, DAY)
    assert second.book.total(azure.subscription, DAY, DAY) == Decimal("1e-11")


def test_resources_are_kept_beside_the_state_file_for_the_next_start(running, receiving, azure, tmp_path):
    charges, file = [azure.charge("Alpha_RG", amount="100")], tmp_path / "state.json"
    first, receiver = running(charges, state_file=file), receiving()
    azure.budgets(first.url).create_or_update(azure.scope, "warden-a", azure.budget())
    first.action_groups[azure.action_group] = ActionGroup(receiver.url)
    first.evaluate_budgets(date(2026, 11, 20))
    first.machines.add(azure.subscription, "Beta", "vm")
    azure.compute(first.url).virtual_machines.begin_deallocate("Beta", "vm", polling=False)
    assert first.machines.get(azure.subscription, "Beta", "vm").state == "deallocated"
    first.add_lock(azure.subscription, "Beta", "finance")
    first.groups.remove(azure.subscription, "Alpha_RG")
    first.stop()

    again = running(charges, state_file=file)

    assert [budget.as_azure() for budget in again.budgets.of()] == [budget.as_azure() for budget in first.budgets.of()]
    assert again.locks.as_json() == first.locks.as_json() != []
    assert again.machines.as_json() == first.machines.as_json() != []
    assert again.machines.actions == first.machines.actions != []
    assert again.evaluate_budgets(date(2026, 11, 21)) == []
    with pytest.raises(ResourceNotFoundError, match="ResourceGroupNotFound"):
        list(azure.locks(again.url).list_at_resource_group_level("Alpha_RG"))
    assert len(receiver.requests) == 1


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


def test_the_program_makes_charges_up_from_a_seed_as_the_library_does_and_stops_at_sigterm(started, azure):
    arguments = ["--seed", 5, "--subscriptions", f"{azure.subscription},other", "--groups", 3, "--services", 2]
    arguments += ["--days", 10, "--end-day", "2026-11-10", "--currency", "CAD", "--no-quota", "--plain"]
    process, url = started(*arguments)

    rows = azure.ask(url).rows(azure.subscription, azure.body())
    process.send_signal(signal.SIGTERM)

    book = made_up(5, [azure.subscription, "other"], 3, 2, 10, date(2026, 11, 10), "CAD")
    assert [row["Cost"] for row in rows] == [
        charge.amount for charge in book.charges(azure.subscription, date(2026, 11, 1), date(2026, 11, 19))
    ]
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


def test_the_program_serves_the_sample_projects_spending_up_to_yesterday(started, azure):
    _, url = started("--demo", "--no-quota", "--plain")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    window = {"from": f"{yesterday}T00:00:00Z", "to": f"{yesterday}T23:59:59Z"}
    body = azure.body() | {"timePeriod": window}

    rows = azure.ask(url).rows(demo_charges.NORTH, body)

    assert "FSDH_Proj_DIE1_dev_rg" in {row["ResourceGroupName"] for row in rows}


def test_the_program_says_in_one_line_why_it_cannot_start(started, running, azure):
    process, _ = started("--port", running([azure.charge()]).port)

    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("The simulator can't start: ")
    assert "already in use" in line
