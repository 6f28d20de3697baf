"""`check`: is everything there that the app needs? One line each, green or with what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shared.cli import output
from shared.cli.app import LOCAL_FILE, AsJson, open_app
from shared.cli.failures import FAILED, UPGRADE, explain
from shared.cli.output import Cell

if TYPE_CHECKING:
    from shared.composition import Composition


# What to do where a part does not answer; where it says no, it says itself what would help.
ADVICE = {
    "database": "see that DATABASE_URL is right, and that the server runs",
    "queues": "see that DatahubStorageConnectionString is right; on your own machine, `make dev` runs Azurite",
    "Azure": "the app needs an identity; on your own machine, `az login` gives it yours",
    "mail": "try again in a while",
}
NO_FAILSAFE = "so that nothing locks a project while this app is down: Azure's own budgets have nobody to call"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part was found; `text` says what is there, or what to do.

    warning: the app can do its work, and something is worth a look.
    """

    part: str
    ok: bool
    text: str
    warning: str | None = None


def check(json: AsJson = False) -> None:
    """See whether the app has all it needs.

    Settings, database, queues, Azure, mail, lock: a line each, good or with what to do. Missing queues are made.
    """
    with output.working("Checking …"):
        findings = _findings()
    if json:
        output.write_json([asdict(finding) for finding in findings])
    else:
        output.write_facts([_line(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


def _line(finding: Finding) -> tuple[str, Cell]:
    if finding.warning:
        return finding.part, Cell(f"! {finding.text}; {finding.warning}", "yellow")
    mark, style = ("✓", "green") if finding.ok else ("✗", "red")
    return finding.part, Cell(f"{mark} {finding.text}", style)


def _findings() -> list[Finding]:
    try:
        app = open_app()
    except Exception as error:  # noqa: BLE001 - every fault becomes a line of the report
        return [Finding("settings", False, explain(error)[0])]
    where = f"the environment and {LOCAL_FILE}" if LOCAL_FILE.exists() else f"the environment ({LOCAL_FILE} not found)"
    parts: dict[str, Callable[[Composition], str]] = {
        "database": _database,
        "queues": _queues,
        "Azure": _azure,
        "mail": _mail,
    }
    found = [_found(part, app, parts[part]) for part in parts]
    return [Finding("settings", True, f"read from {where}"), *found, _lock(app)]


def _found(part: str, app: Composition, look: Callable[[Composition], str]) -> Finding:
    from shared.ports.errors import LaterError

    try:
        return Finding(part, True, look(app))
    except LaterError as error:
        return Finding(part, False, f"{error.reason.rstrip('.')}; {ADVICE[part]}")
    except Exception as error:  # noqa: BLE001 - every fault becomes a line of the report
        return Finding(part, False, explain(error)[0])


def _database(app: Composition) -> str:
    from sqlalchemy import text

    from shared.adapters.database.migrate import is_current
    from shared.ports.errors import NeverError

    place = app.database.url.render_as_string(hide_password=True)
    app.database.read(lambda connection: connection.execute(text("SELECT 1")).close())
    if not is_current(app.database):
        raise NeverError(f"{place} answers, but its tables are missing or old; run: {UPGRADE}")
    return f"{place} answers, and its tables are up to date"


def _queues(app: Composition) -> str:
    app.queues.check()
    return f"there are {', '.join(app.settings.queue_names.values())}"


def _azure(app: Composition) -> str:
    """Asks for one day of one group's costs: one query unit."""
    from shared.domain.periods import Period
    from shared.ports.azure import AZURE
    from shared.ports.costs import CostQuery

    views = app.projects.list_projects(app.clock().date())
    scopes = [each for view in views if view.project.active for each in view.scopes if each.provider == AZURE]
    if not scopes:
        return "not asked: no project is loaded yet (`python -m shared.cli projects load FILE.csv`)"
    subscription, group = scopes[0].sub_account_id, scopes[0].resource_group
    today = app.clock().date()
    app.costs.read(CostQuery(AZURE, subscription, Period(today - timedelta(days=1), today), (group,)))
    return f"{app.settings.management_endpoint} tells the costs of subscription {subscription}"


def _lock(app: Composition) -> Finding:
    """What happens at 100 %, as the settings say; whether Azure would let us is seen when it comes to it."""
    from shared.domain.locks import LockMode

    settings = app.settings
    at_100 = {
        LockMode.OFF: "nothing is locked at 100 %",
        LockMode.DRY_RUN: "at 100 % it is only written down what would be locked",
        LockMode.ENFORCE: f"projects are locked at 100 % ({settings.lock_level})",
    }
    text = f"LOCK_MODE is {settings.lock_mode}: {at_100[settings.lock_mode]}, asked for on {settings.queue_lock}"
    if settings.lock_mode is LockMode.ENFORCE and settings.lock_action_group_id is None:
        return Finding("lock", True, text, f"but LOCK_ACTION_GROUP_ID is missing, {NO_FAILSAFE}")
    return Finding("lock", True, text)


def _mail(app: Composition) -> str:
    from shared.ports.errors import NeverError

    settings = app.settings
    if not settings.email_operators:
        raise NeverError("EMAIL_OPERATORS is empty, so nobody learns of what goes wrong; set it to a mail address")
    operators = "; ".join(settings.email_operators)
    place = f" in {Path(settings.outbox_dir).resolve()}" if settings.email_provider == "outbox" else ""
    return f"by {settings.email_provider}{place}; operators: {operators}"
