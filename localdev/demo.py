"""Two nights over a dozen sample projects, on real queues, a real database and the real SDKs.

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
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from localdev import demo_charges
from localdev.azure_sim import AzureSimulator, Quota
from localdev.azurite import Azurite, ensure_installed
from localdev.processes import local_host, stop_on_signals
from shared import settings
from shared.adapters.database.budget_rows import MAILED
from shared.adapters.database.tables import alerts, budgets, mails
from shared.cli import output
from shared.composition import Composition
from shared.ports import MailState

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = ROOT / "localdev" / "sample_projects.csv"
NIGHTS = ["2026-11-20T02:00:00+00:00", "2026-11-21T02:00:00+00:00"]
# A night takes some ten seconds; this is for a machine that is very busy.
NIGHT_SECONDS = 300
AZURITE_PORT = 10001
SIMULATOR_PORT = 10080

# Where the output goes into a file there is no terminal whose width would matter.
console = Console() if sys.stdout.isatty() else Console(width=110)


@dataclass(frozen=True)
class Standing:
    """One project after a night."""

    acronym: str
    budget: Decimal
    currency: str
    spent: Decimal
    percent: Decimal | None
    alerts: tuple[int, ...]
    mails: int


@dataclass
class Calendar:
    """The simulator's clock for its quota: the demo's second night comes a day after the first."""

    days: int = 0

    def seconds(self) -> float:
        """Seconds that only grow."""
        return time.monotonic() + self.days * 86_400


def main() -> int:
    """Runs the demo; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localdev.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    ensure_installed()
    return _keep() if keep else _two_nights()


def _two_nights() -> int:
    folder = _fresh_folder(ROOT / ".local" / "demo")
    charges, calendar = demo_charges.book(), Calendar()
    begun = time.monotonic()
    quota = Quota(clock=calendar.seconds)
    with Azurite(folder / "azurite") as azurite, AzureSimulator(charges, quota=quota) as azure:
        environment = _environment(folder, azurite.connection_string, azure.url)
        _say(f"Azurite and the Azure simulator run; loading {PROJECTS.name} …")
        _command(environment, "db", "upgrade")
        _command(environment | {"LOCAL_CLOCK_START": NIGHTS[0]}, "projects", "load", str(PROJECTS))
        _say("First night: 60 days of charges are there to be read …")
        _night(folder, environment, NIGHTS[0])
        first = _standings(environment, NIGHTS[0])
        calendar.days += 1
        changes = demo_charges.change_overnight(charges)
        raise_budget = ("budget", "set", "OCEAN", "4500", "--reason", "second phase approved")
        _command(environment | {"LOCAL_CLOCK_START": NIGHTS[1]}, *raise_budget)
        changes.append("the budget of OCEAN raised from 2,500 to 4,500 CAD")
        _say("Second night: " + "; ".join(changes) + " …")
        _night(folder, environment, NIGHTS[1])
        second = _standings(environment, NIGHTS[1])
        refused = azure.stats()["throttled"]
    _show(first, second)
    _show_files(folder, refused, time.monotonic() - begun)
    return 0


def _keep() -> int:
    folder = ROOT / ".local" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    charges = demo_charges.book()
    with (
        Azurite(folder / "azurite", port=AZURITE_PORT) as azurite,
        AzureSimulator(charges, quota=Quota(), port=SIMULATOR_PORT) as azure,
    ):
        environment = _environment(folder, azurite.connection_string, azure.url)
        environment["LOCAL_CLOCK_START"] = NIGHTS[0]
        _command(environment, "db", "upgrade")
        _command(environment, "projects", "load", str(PROJECTS))
        with local_host(ROOT, "--state", str(folder), environment=environment):
            _say_what_to_try(folder, environment)
            stop_on_signals().wait()
    _say("Stopped.")
    return 0


def _environment(folder: Path, connection: str, azure_url: str) -> dict[str, str]:
    """The settings of local.settings.json.example, with this demo's own places."""
    example: dict[str, str] = json.loads((ROOT / "local.settings.json.example").read_text("utf-8"))["Values"]
    return example | {
        "DatahubStorageConnectionString": connection,
        "DATABASE_URL": f"sqlite:///{folder / 'warden.db'}",
        "OUTBOX_DIR": str(folder / "outbox"),
        "AZURE_MANAGEMENT_ENDPOINT": azure_url,
        "PORTAL_URL": "https://portal.example.com/projects/{acronym}",
    }


def _night(folder: Path, environment: dict[str, str], clock: str) -> None:
    arguments = [sys.executable, "-m", "localdev.host", "--quiet", "--once", "ProjectUsageScheduler"]
    arguments += ["--state", str(folder)]
    run = subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | environment | {"LOCAL_CLOCK_START": clock},
        capture_output=True,
        text=True,
        timeout=NIGHT_SECONDS,
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"The night failed:\n{run.stdout}{run.stderr}")


def _command(environment: dict[str, str], *arguments: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "shared.cli", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"`python -m shared.cli {' '.join(arguments)}` failed:\n{run.stdout}{run.stderr}")


def _standings(environment: dict[str, str], clock: str) -> list[Standing]:
    app = Composition(settings.load(environment | {"LOCAL_CLOCK_START": clock}))
    sent, mailed = _mails_by_project(app), _alerts_by_project(app)
    views = app.projects.list_projects(app.clock().date())
    app.database.close()
    return [
        Standing(
            acronym=view.acronym,
            budget=view.budget.terms.amount or Decimal(0) if view.budget else Decimal(0),
            currency=view.budget.terms.currency if view.budget else "",
            spent=view.spent,
            percent=view.budget.percent(view.spent) if view.budget else None,
            alerts=mailed.get(view.id, ()),
            mails=sent.get(view.id, 0),
        )
        for view in views
        if view.active
    ]


def _mails_by_project(app: Composition) -> dict[int, int]:
    count = select(mails.c.project_id, func.count()).where(mails.c.state == MailState.SENT).group_by(mails.c.project_id)
    return {row[0]: row[1] for row in app.database.read(lambda connection: connection.execute(count).all())}


def _alerts_by_project(app: Composition) -> dict[int, tuple[int, ...]]:
    """The thresholds that were mailed, under any revision of the budget."""
    mailed = (
        select(budgets.c.project_id, alerts.c.threshold)
        .join(budgets, alerts.c.budget_id == budgets.c.id)
        .where(alerts.c.outcome == MAILED)
        .order_by(alerts.c.id)
    )
    found: dict[int, tuple[int, ...]] = {}
    for project_id, threshold in app.database.read(lambda connection: connection.execute(mailed).all()):
        found[project_id] = (*found.get(project_id, ()), threshold)
    return found


def _show(first: list[Standing], second: list[Standing]) -> None:
    table = Table(title="After the second night", title_justify="left")
    for heading in ("Project", "Budget", "Spent", "Percent"):
        table.add_column(heading, justify="left" if heading == "Project" else "right", no_wrap=True)
    for heading in ("Alerts", "Mails", "What the second night changed"):
        table.add_column(heading)
    for before, after in zip(first, second, strict=True):
        table.add_row(
            after.acronym,
            f"{after.budget:,.2f} {after.currency}",
            f"{after.spent:,.2f}",
            output.percent(after.percent) or "–",
            ", ".join(f"{threshold} %" for threshold in after.alerts) or "–",
            str(after.mails),
            _difference(before, after),
        )
    console.print(table)


def _difference(before: Standing, after: Standing) -> str:
    parts = []
    if after.budget != before.budget:
        parts.append(f"budget {before.budget:,.0f} → {after.budget:,.0f}")
    parts.append(f"spent {after.spent - before.spent:+,.2f}")
    new = [f"{threshold} %" for threshold in after.alerts if threshold not in before.alerts]
    if after.mails > before.mails:
        parts.append("mail: " + ", ".join(new))
    return "; ".join(parts)


def _show_files(folder: Path, refused: Any, seconds: float) -> None:
    found = sorted((folder / "outbox").glob("*.eml"))
    console.print(f"{len(found)} mails lie in {_shown(folder / 'outbox')}; open one with a mail program or an editor.")
    console.print(f"The database is {_shown(folder / 'warden.db')}. Azure refused {refused} calls for its quota.")
    console.print(f"Two nights took {seconds:.0f} seconds. Everything is stopped.")


def _say_what_to_try(folder: Path, environment: dict[str, str]) -> None:
    file = folder / "environment"
    file.write_text("".join(f"export {name}='{value}'\n" for name, value in environment.items()), "utf-8")
    _say("Running: Azurite (queues), the Azure simulator, the Functions host. Ctrl-C stops them.")
    console.print("In another terminal:")
    for line in [
        "source .venv/bin/activate",
        f"source {_shown(file)}",
        "python -m shared.cli run --wait",
        "python -m shared.cli projects list",
        f"ls {_shown(folder / 'outbox')}",
    ]:
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    _say("A message by hand works too: README.md, 'A message by hand', in Python.")


def _fresh_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
