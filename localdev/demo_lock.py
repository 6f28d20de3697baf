"""The demo's third part: a project reaches 100 % during the day, is locked, gets more money, and is open again.

The parts are those that Azure has too: its budget, its daily evaluation, its Action Group, a virtual machine; here the
simulator has them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.client import HTTPConnection
from pathlib import Path

from azure.storage.queue import QueueClient

from localdev.azure_sim import ActionGroup, AzureSimulator, demo_charges
from localdev.azure_sim.budgets import Budget
from localdev.demo_stage import (
    ROOT,
    WAIT_SECONDS,
    DemoFailedError,
    keep_log,
    say,
    say_folded,
    show_command,
    wait_until,
)
from localdev.processes import Program, ProgramError, local_host
from shared.pipeline.azure_budgets.names import azure_name

# A little after the simulator's alerts say that they were sent.
DAY = datetime(2026, 11, 21, 17, 54, tzinfo=UTC)
ACRONYM, SUBSCRIPTION, GROUP = "WAVES", demo_charges.NORTH, demo_charges.WAVES_GROUP
MACHINE, RAISED_TO = "waves-vm-1", 1000
FUNCTION_KEY = "local-key"
ACTION_GROUPS_OWN = "budget-warden-rg"
ACTION_GROUP_ID = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{ACTION_GROUPS_OWN}"
    "/providers/Microsoft.Insights/actionGroups/budget-warden-lock"
)
SETTINGS = {"LOCK_MODE": "enforce", "LOCK_STOP_COMPUTE": "true", "LOCK_ACTION_GROUP_ID": ACTION_GROUP_ID}
# The shorter of the two forms that Azure has; the simulator sends the other one.
ALERT_BY_HAND = {
    "schemaId": "AIP Budget Notification",
    "data": {
        "SubscriptionId": SUBSCRIPTION,
        "BudgetName": azure_name(ACRONYM),
        "SpendingAmount": "650",
        "Budget": "600",
    },
}
START_PATH = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.Compute/virtualMachines/{MACHINE}/start?api-version=2026-04-01"
)


@dataclass
class Day:
    """What the day's steps work with; `seen` are the mails that were shown already."""

    folder: Path
    settings: Mapping[str, str]
    azure: AzureSimulator
    host: Program
    begun: float
    seen: set[Path] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        """The settings, with the clock at the time that the host's has reached by now."""
        now = DAY + timedelta(seconds=time.monotonic() - self.begun)
        return {**self.settings, "LOCAL_CLOCK_START": now.isoformat()}

    def mails(self) -> Iterator[str]:
        """Each mail that was sent since this was last asked, in a line."""
        for file in sorted(set(self.outbox("*")) - self.seen, key=lambda file: file.stat().st_mtime_ns):
            self.seen.add(file)
            mail = message_from_bytes(file.read_bytes(), policy=policy.default)
            yield f"Mail to {mail['To']}: {mail['Subject']}"

    def outbox(self, names: str) -> list[Path]:
        """The mails whose files have such a name."""
        return list((self.folder / "outbox").glob(f"{names}.eml"))


def make_azure_ready(azure: AzureSimulator) -> None:
    """Gives the project a virtual machine that runs, where it has none yet, and the Action Group its resource group."""
    azure.groups.add(SUBSCRIPTION, ACTION_GROUPS_OWN)
    if azure.machines.get(SUBSCRIPTION, GROUP, MACHINE) is None:
        azure.machines.add(SUBSCRIPTION, GROUP, MACHINE)


def connect(azure: AzureSimulator, host: Program) -> str:
    """Has the Action Group call this host, and returns the address that it calls."""
    found = re.search(r"http://127\.0\.0\.1:\d+/api/budget-alert", host.wait_for("Ready:"))
    if found is None:
        raise DemoFailedError(f"the host does not serve BudgetAlert; it wrote:\n{host.output}")
    address = f"{found[0]}?code={FUNCTION_KEY}"
    azure.action_groups[ACTION_GROUP_ID] = ActionGroup(address)
    return address


def host_with_key(environment: Mapping[str, str], *arguments: str) -> Program:
    """The local host, whose HTTP function asks for FUNCTION_KEY; it is `connect` that waits until it is ready."""
    return local_host(ROOT, "--function-key", FUNCTION_KEY, *arguments, environment=environment, ready="")


def show_lock_and_unlock(folder: Path, environment: Mapping[str, str], azure: AzureSimulator) -> None:
    """Runs the day and prints what happens. Raises DemoFailedError with what did not, and what the host wrote."""
    settings, begun = {**environment, **SETTINGS}, time.monotonic()
    host = host_with_key(settings | {"LOCAL_CLOCK_START": DAY.isoformat()})
    make_azure_ready(azure)
    say(
        "\nThe day after. LOCK_MODE is enforce now, and LOCK_ACTION_GROUP_ID names the Action Group that calls the app."
    )
    say("Azure gets a budget of its own for each project, so that it calls at 100 % even if the app has read nothing:")
    try:
        with host:
            day = Day(folder, settings, azure, host, begun)
            day.seen |= set(day.outbox("*"))
            _sync_budgets(day)
            connect(azure, host)
            _reach_100(day)
            _show_lock(day)
            _raise_budget(day)
    except (DemoFailedError, ProgramError) as error:
        raise DemoFailedError(f"{error}\nThe host wrote:\n{host.output}") from error
    finally:
        keep_log(folder, host.output)


def _sync_budgets(day: Day) -> None:
    show_command(day.environment, "budgets", "sync", only=ACRONYM)
    others = len(day.azure.budgets.of()) - 1
    say(f"  … and {others} more. CROPS gets none: its line in the file says that it is never to be locked.")


def _reach_100(day: Day) -> None:
    charge = demo_charges.past_the_budget(DAY.date())
    day.azure.book.add([charge])
    say(f"\nDuring the day, {ACRONYM} spends {charge.amount} CAD more. The app won't read that before the night, but:")
    budget = _evaluate(day.azure)
    say(f"  Azure evaluates its budgets: {budget.name} is at {budget.spend:,.2f} of {budget.terms.amount:,.2f} CAD.")
    say("  Its Action Group calls the app: POST /api/budget-alert is answered 202.")
    # By then the app has asked Azure to stop the machine, and has put its message back for 10 seconds.
    day.host.wait_for("lock_deferred", WAIT_SECONDS)
    say("  The app asks Azure for the figure itself, and has what runs stopped first, as nothing can be under a lock:")
    say(f"  {MACHINE} is {_state(day.azure)}.")
    say(
        "  It would look again in 10 seconds. To save you that wait, Azure's alert comes a second time, as it may: 202."
    )
    budget.alerted.clear()
    _evaluate(day.azure)
    wait_until(f"a mail that {ACRONYM} is locked", lambda: day.outbox("lock.locked.*"))
    # The message that was put back would find nothing left to do.
    _lock_queue(day).clear_messages()


def _evaluate(azure: AzureSimulator) -> Budget:
    """Azure's daily evaluation of its budgets, on which it calls the app; returns the project's."""
    calls, budget = azure.evaluate_budgets(DAY.date()), azure.budgets.get(SUBSCRIPTION, azure_name(ACRONYM))
    if budget is None or [(call.budget_id.rpartition("/")[2], call.status) for call in calls] != [(budget.name, 202)]:
        expected = f"Azure should have called for {azure_name(ACRONYM)} alone, and been answered 202"
        raise DemoFailedError(f"{expected}; its calls were: {[call.as_json() for call in calls]}")
    return budget


def _show_lock(day: Day) -> None:
    for lock in day.azure.locks.of(SUBSCRIPTION, GROUP):
        say(f"\nOn {lock.group} there is now the {lock.level} lock {lock.name}. Its note:")
        say_folded(lock.notes)
    status, said = _start_machine(day.azure.url)
    if status != 409:
        raise DemoFailedError(f"{MACHINE} could be started under the lock: Azure answered {status} {said}")
    say(f"Somebody tries to start {MACHINE}: {status} {said}.")
    _show_mails(day)


def _raise_budget(day: Day) -> None:
    show_command(day.environment, "budgets", "set", ACRONYM, str(RAISED_TO), "--reason", "storm season: approved")
    wait_until(f"a mail that {ACRONYM} is open again", lambda: day.outbox("lock.unlocked.*"))
    left = day.azure.locks.of(SUBSCRIPTION, GROUP)
    if left:
        raise DemoFailedError(f"these locks are still on {GROUP}: {left}")
    say(f"The lock is off. {MACHINE} is {_state(day.azure)}: the app starts nothing, that is up to its people.")
    _show_mails(day)
    show_command(day.environment, "audit", ACRONYM, width=80)
    show_command(day.environment, "projects", "list")


def _show_mails(day: Day) -> None:
    for line in day.mails():
        say(line)


def _state(azure: AzureSimulator) -> str:
    """The machine's state, as a look at it in the portal shows it."""
    machine = azure.machines.get(SUBSCRIPTION, GROUP, MACHINE)
    return machine.state if machine else "gone"


def _start_machine(url: str) -> tuple[int, str]:
    """Asks Azure to start the machine: the status, and the code of its error."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=WAIT_SECONDS)
    try:
        connection.request("POST", START_PATH, headers={"Authorization": "Bearer anyone", "Content-Length": "0"})
        answer = connection.getresponse()
        content = json.loads(answer.read() or "{}")
    finally:
        connection.close()
    return answer.status, content.get("error", {}).get("code", "")


def _lock_queue(day: Day) -> QueueClient:
    connection, queue = day.settings["DatahubStorageConnectionString"], day.settings["QueueProjectLock"]
    return QueueClient.from_connection_string(connection, queue)
