"""Two nights and a day over a dozen sample projects, on real queues, a real database and the real SDKs.

`python -m localdev.demo` runs them and shows what came of it; `--keep` leaves the parts running instead, for
trying things by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.table import Table
from sqlalchemy import select

from localdev import demo_aws, demo_exports, demo_lock
from localdev.aws_sim import AwsSimulator, demo_organization
from localdev.azure_sim import AzureSimulator, ChargeBook, Quota, demo_charges
from localdev.azure_sim.state import as_json
from localdev.azurite import Azurite, ensure_installed
from localdev.demo_stage import LOG, ROOT, DemoFailedError, command, console, keep_log, say, shown, together
from localdev.processes import stop_on_signals
from shared import settings
from shared.adapters.database.tables import mails
from shared.cli import output
from shared.composition import Composition
from shared.ports.mails import MailState, Topic

PROJECTS = ROOT / "localdev" / "sample_projects.csv"
PEOPLE = ROOT / "localdev" / "people.json"
NIGHTS = ["2026-11-20T02:00:00+00:00", "2026-11-21T02:00:00+00:00"]
DAY_BETWEEN = "2026-11-20T14:00:00+00:00"
# The exports that lie there by then are read in the same night.
ONCE = ["--once", demo_exports.SCANNER, "--once", "ProjectUsageScheduler"]
# A night takes some ten seconds; this is for a machine that is very busy.
NIGHT_SECONDS = 300
AZURITE_PORT, BLOBS_PORT = 10001, 10000
SIMULATOR_PORT, AWS_PORT = 10080, 10081


@dataclass(frozen=True)
class Standing:
    """One project after a night. mails: what each was about, such as `80 %`, in the order in which they were made."""

    acronym: str
    budget: Decimal
    currency: str
    spent: Decimal
    percent: Decimal | None
    mails: tuple[str, ...]


@dataclass
class Calendar:
    """The simulators' day, and their clock for quotas: the demo's second night comes a day after the first."""

    days: int = 0

    def seconds(self) -> float:
        """Seconds that only grow."""
        return time.monotonic() + self.days * 86_400

    def today(self) -> date:
        """The day of the night."""
        return demo_charges.FIRST_NIGHT + timedelta(days=self.days)


def main() -> int:
    """Runs the demo; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localdev.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    ensure_installed()
    try:
        return _keep() if keep else _two_nights_and_a_day()
    except DemoFailedError as error:
        say(f"The demo stops here: {error}")
        return 1


def _two_nights_and_a_day() -> int:
    folder = _fresh_folder(ROOT / ".local" / "demo")
    charges, calendar = demo_charges.book(), Calendar()
    begun = time.monotonic()
    quota = Quota(clock=calendar.seconds)
    queues, blobs = Azurite(folder / "azurite"), Azurite(folder / "azurite", service="blob")
    try:
        together(queues.start, blobs.start, lambda: command(_settings(folder), "db", "upgrade"))
        with AzureSimulator(charges, quota=quota) as azure, _aws(calendar) as aws:
            environment = _environment(folder, queues, blobs, azure, aws)
            say(f"Azurite and what plays Azure and AWS run; loading {PROJECTS.name} …")
            _two_nights(folder, environment, charges, aws, calendar)
            demo_lock.show_lock_and_unlock(folder, environment, azure)
            refused = azure.stats()["throttled"]
    finally:
        together(queues.stop, blobs.stop)
    _show_files(folder, refused, time.monotonic() - begun)
    return 0


def _two_nights(
    folder: Path, environment: dict[str, str], charges: ChargeBook, aws: AwsSimulator, calendar: Calendar
) -> None:
    together(
        lambda: command(environment | {"LOCAL_CLOCK_START": NIGHTS[0]}, "projects", "load", str(PROJECTS)),
        lambda: demo_aws.add(environment),
        lambda: demo_exports.begin(environment["CostExportStorage"], charges, NIGHTS[0]),
    )
    say("First night: 60 days of charges are there to be read …")
    _night(folder, environment, NIGHTS[0])
    first = _standings(environment, NIGHTS[0])
    raise_budget = ("budgets", "set", "OCEAN", "4500", "--reason", "second phase approved")
    together(
        lambda: demo_exports.switch(environment | {"LOCAL_CLOCK_START": DAY_BETWEEN}),
        lambda: command(environment | {"LOCAL_CLOCK_START": NIGHTS[1]}, *raise_budget),
    )
    demo_organization.spend(aws, calendar.today())
    calendar.days += 1
    changes = demo_charges.change_overnight(charges)
    changes.append("the budget of OCEAN raised from 2,500 to 4,500 CAD")
    demo_exports.deliver(environment["CostExportStorage"], charges, NIGHTS[1])
    say("\nSecond night: " + "; ".join(changes) + " …")
    _night(folder, environment, NIGHTS[1])
    _show_standings(first, _standings(environment, NIGHTS[1]))
    demo_aws.show(environment, calendar.today(), aws)
    demo_exports.show(environment | {"LOCAL_CLOCK_START": NIGHTS[1]})


def _keep() -> int:
    folder = ROOT / ".local" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    charges = demo_charges.book()
    with (
        Azurite(folder / "azurite", port=AZURITE_PORT) as azurite,
        Azurite(folder / "azurite", service="blob", port=BLOBS_PORT) as blobs,
        # What is kept of Azure goes with what the database keeps: locks, budgets, what was spent by hand.
        AzureSimulator(charges, quota=Quota(), port=SIMULATOR_PORT, state_file=folder / "azure.json") as azure,
        _aws(Calendar(), AWS_PORT) as aws,
    ):
        environment = _environment(folder, azurite, blobs, azure, aws) | demo_lock.SETTINGS
        environment["LOCAL_CLOCK_START"] = NIGHTS[0]
        command(environment, "db", "upgrade")
        command(environment, "projects", "load", str(PROJECTS))
        demo_aws.add_missing(environment)
        demo_exports.begin(blobs.connection_string, charges, NIGHTS[0])
        demo_lock.make_azure_ready(azure)
        # Anybody may be signed in there, as if Azure said so.
        people = {"WEBSITE_AUTH_ENABLED": "true"}
        with demo_lock.host_with_key(environment | people, "--people", str(PEOPLE)) as host:
            _say_what_to_try(folder, environment, demo_lock.connect(azure, host), azure.url)
            stop_on_signals().wait()
    say("Stopped.")
    return 0


def _settings(folder: Path) -> dict[str, str]:
    """The settings of local.settings.json.example, with this demo's own database."""
    example: dict[str, str] = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))["Values"]
    return example | {"DATABASE_URL": f"sqlite:///{folder / 'warden.db'}"}


def _aws(calendar: Calendar, port: int = 0) -> AwsSimulator:
    """What plays AWS, with 60 days of charges."""
    return demo_organization.simulator(demo_charges.FIRST_NIGHT, today=calendar.today, port=port)


def _environment(
    folder: Path, queues: Azurite, blobs: Azurite, azure: AzureSimulator, aws: AwsSimulator
) -> dict[str, str]:
    """The same, with this demo's own places of everything."""
    return (
        _settings(folder)
        | demo_aws.settings(aws)
        | {
            "DatahubStorageConnectionString": queues.connection_string,
            "CostExportStorage": blobs.connection_string,
            "OUTBOX_DIR": str(folder / "outbox"),
            "AZURE_MANAGEMENT_ENDPOINT": azure.url,
            "PORTAL_URL": "https://portal.example.com/projects/{acronym}",
            # All that Azure lets through: nobody else asks this one.
            "COST_QPU_PER_MINUTE": "60",
            # Nobody should wait for a look into a queue that is on the same machine.
            "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.3",
        }
    )


def _night(folder: Path, environment: dict[str, str], clock: str) -> None:
    arguments = [sys.executable, "-m", "localdev.host", "--verbose", *ONCE]
    run = subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | environment | {"LOCAL_CLOCK_START": clock},
        capture_output=True,
        text=True,
        timeout=NIGHT_SECONDS,
        check=False,
    )
    keep_log(folder, run.stdout + run.stderr)
    if run.returncode:
        raise DemoFailedError(f"the night failed:\n{run.stdout}{run.stderr}")


def _standings(environment: dict[str, str], clock: str) -> list[Standing]:
    app = Composition(settings.load(environment | {"LOCAL_CLOCK_START": clock}))
    told, views = _mails_by_project(app), app.projects.list_projects(app.clock().date())
    app.database.close()
    return [
        Standing(
            acronym=view.project.acronym,
            budget=view.budget.terms.amount or Decimal(0) if view.budget else Decimal(0),
            currency=view.budget.terms.currency if view.budget else "",
            spent=view.spent,
            percent=view.budget.percent(view.spent) if view.budget else None,
            mails=told.get(view.project.id, ()),
        )
        for view in views
        if view.project.active
    ]


def _mails_by_project(app: Composition) -> dict[int, tuple[str, ...]]:
    told = select(mails.c.project_id, mails.c.topic, mails.c.threshold).where(mails.c.state == MailState.SENT)
    decided = {view.entry.project_id: view.entry.outcome for view in app.lock_ledger.decisions()}
    found: dict[int, tuple[str, ...]] = {}
    for project_id, topic, percent in app.database.read(lambda each: each.execute(told.order_by(mails.c.id)).all()):
        words = mail_in_words(topic, percent, decided.get(project_id))
        found[project_id] = (*found.get(project_id, ()), words)
    return found


def mail_in_words(topic: str, percent: int | None, decided: str | None) -> str:
    """What a mail is about: `80 %`, `forecast`, `lock refused`. decided: the last decision about its project's lock."""
    words = {Topic.ALERT: f"{percent} %", Topic.EARLY_WARNING: "forecast", Topic.LOCK: f"lock {decided}"}
    return words.get(Topic(topic), topic)


def _show_standings(first: list[Standing], second: list[Standing]) -> None:
    table = Table(title="After the second night", title_justify="left")
    for heading in ("Project", "Budget", "Spent", "Change", "Percent"):
        table.add_column(heading, justify="left" if heading == "Project" else "right", no_wrap=True)
    for heading in ("Mails, first night", "Mails, second night"):
        table.add_column(heading)
    for before, after in zip(first, second, strict=True):
        table.add_row(
            after.acronym,
            f"{output.short(after.budget)} {after.currency}",
            f"{after.spent:,.2f}",
            f"{after.spent - before.spent:+,.2f}",
            output.percent(after.percent) or "–",
            ", ".join(before.mails) or "–",
            ", ".join(after.mails[len(before.mails) :]) or "–",
        )
    console.print(table)


def _show_files(folder: Path, refused: Any, seconds: float) -> None:
    found = sorted((folder / "outbox").glob("*.eml"))
    say(f"\n{len(found)} mails lie in {shown(folder / 'outbox')}; open one with a mail program or an editor.")
    say(f"The database is {shown(folder / 'warden.db')}, the app's log {shown(folder / LOG)}.")
    say(f"Azure refused {refused} calls for its quota.")
    say(f"All of it took {seconds:.0f} seconds. Everything is stopped.")


def _say_what_to_try(folder: Path, environment: dict[str, str], alert_url: str, azure_url: str) -> None:
    file = folder / "environment"
    file.write_text("".join(f"export {name}='{value}'\n" for name, value in environment.items()), "utf-8")
    say("Running: Azurite (queues, blobs), what plays Azure and AWS, the Functions host. Ctrl-C stops them.")
    say(f"The pages are at {alert_url.partition('/api/')[0]}/finops/ (after a night; the sign-in asks who you are).")
    say("In another terminal:")
    for line in [
        "source .venv/bin/activate",
        f"source {shown(file)}",
        "python -m shared.cli run --wait",
        "python -m shared.cli projects list",
        "python -m shared.cli exports scan --wait",
        "python -m shared.cli exports list",
        "python -m shared.cli cloud-accounts list",
        f"ls {shown(folder / 'outbox')}",
    ]:
        say(f"  {line}")
    say(f"A project at 100 %: have {demo_lock.ACRONYM} spend more, have Azure evaluate its budgets, and see the lock")
    say("(the app stops the virtual machine first, and looks again 10 seconds later):")
    today = demo_charges.FIRST_NIGHT
    for line in [
        "python -m shared.cli budgets sync",
        f"curl {azure_url}/_sim/charges -d '{json.dumps([as_json(demo_charges.past_the_budget(today))])}'",
        f"curl {azure_url}/_sim/evaluate -d '{json.dumps({'today': today.isoformat()})}'",
        f"python -m shared.cli audit {demo_lock.ACRONYM}",
        f"curl {azure_url}/_sim/locks",
    ]:
        say(f"  {line}")
    say("An alert by hand, as an Action Group sends it (the app asks Azure's budget before it believes it):")
    say(f"  curl '{alert_url}' -d '{json.dumps(demo_lock.ALERT_BY_HAND)}'")
    say("A message by hand works too: README.md, 'A message by hand', in Python.")


def _fresh_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
