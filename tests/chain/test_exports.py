"""A subscription that is fed by exports, on real parts: containers and queues of Azurite, the host as a program.

The host is killed at random moments by `make crash-test` only, as nights are (test_crashes.py).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from random import Random

import pytest
from azure.storage.blob import BlobServiceClient
from sqlalchemy import func, select, update

from localdev.azure_sim import AzureSimulator
from localdev.azure_sim.export_runs import SimulatedExport
from localdev.azurite import Azurite
from localdev.processes import Program
from shared.adapters.database.tables import cloud_accounts, export_parts, export_runs, export_sums, projects
from shared.domain.exports.runs import RunState
from shared.ports.cloud_accounts import AccountStatus
from tests.chain.conftest import Install
from tests.chain.installation import CHARGES, NIGHT, NORTH, Installation, book_of, entry, spent_in
from tests.chain.kills import IN_A_HURRY, LEASE, OFTEN_TAKEN, kill_at, let_finish, moments, seeds

BOOK = book_of((NORTH, "rg-11", "10.5"), (NORTH, "rg-12", "30"), (NORTH, "shared", "7.125"), (NORTH, "", "1"))
PROJECTS = (entry(11, "250"), entry(12, "1000"))
Exporting = Callable[..., Installation]


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureSimulator]:
    with AzureSimulator(BOOK) as simulator:
        yield simulator


@pytest.fixture
def exporting(install: Install, azure: AzureSimulator, azurite_blobs: Azurite) -> Exporting:
    """Makes an installation with two projects, of whose subscription two runs of an export lie in a container."""

    def make(parts: int = 3, **more: str) -> Installation:
        container = f"exports-{uuid.uuid4().hex}"
        blobs = BlobServiceClient.from_connection_string(azurite_blobs.connection_string)
        client = blobs.create_container(container)
        export, last = SimulatedExport(NORTH, container=container), NIGHT.date() - timedelta(days=1)
        for first, until in ((date(2026, 10, 1), date(2026, 10, 31)), (last.replace(day=1), last)):
            for name, content in export.run(BOOK, first, until, NIGHT, parts).items():
                client.upload_blob(name, content)
        storage = {"CostExportStorage": azurite_blobs.connection_string, "COST_EXPORT_CONTAINER": container}
        app = install(azure, **storage, **more)
        app.load(*PROJECTS)
        with app.app() as parts_of_app:
            # Nobody asks for this subscription.
            off = update(cloud_accounts).values(status=AccountStatus.DISABLED)
            parts_of_app.database.run(lambda connection: connection.execute(off))
        return app

    return make


def states(app: Installation) -> list[str]:
    return sorted(row[0] for row in app.rows(select(export_runs.c.state)))


def test_what_exports_hold_is_stored_as_what_is_asked_for_and_its_projects_are_told(
    exporting: Exporting, install: Install, azure: AzureSimulator
) -> None:
    app = exporting()
    app.run("--once", "CostExportScanner")
    assert states(app) == [RunState.IMPORTED] * 2
    used = {acronym: view.spent for acronym, view in app.projects().items()}
    assert used == {f"P{each.project.id}": spent_in(BOOK, each, NIGHT.date()) for each in PROJECTS}
    assert sorted(mail["Subject"] for mail in app.outbox()) == [
        # The query read them, until it was disabled.
        "[Budget Warden] About the cost export daily",
        "[P11] 50 % of the budget reached (79.8 % used)",
        "[P12] 50 % of the budget reached (57.0 % used)",
    ]
    asked = install(azure)
    asked.load(*PROJECTS)
    asked.night()
    since = date(2026, 10, 17)
    assert [row for row in sorted(app.rows(CHARGES)) if row[2] >= since] == [
        row for row in sorted(asked.rows(CHARGES)) if row[2] >= since
    ]


@pytest.mark.skipif("CRASH_RUNS" not in os.environ, reason="make crash-test plays it: it takes long")
@pytest.mark.parametrize("seed", seeds(1))
def test_an_import_in_which_the_host_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    exporting: Exporting, seed: int
) -> None:
    expected = _undisturbed(exporting)
    app = exporting(parts=6, **OFTEN_TAKEN, **IN_A_HURRY)
    killed = kill_at(lambda: _start(app), moments(Random(seed), most_ended=12), lambda: _is_through(app))
    print(f"seed {seed}: killed after {', '.join(map(str, killed))}")
    let_finish(lambda: _start(app), lambda: _is_through(app))
    assert _outcome(app) == expected


def _undisturbed(exporting: Exporting) -> dict[str, object]:
    app = exporting(parts=6)
    app.run("--once", "CostExportScanner")
    assert _is_through(app)
    return _outcome(app)


def _outcome(app: Installation) -> dict[str, object]:
    said = select(export_runs.c.state, export_runs.c.rows, export_runs.c.totals, export_runs.c.reason)
    outcome = app.outcome()
    return {
        "runs": sorted(map(str, app.rows(said))),
        "left": app.rows(select(func.count()).select_from(export_sums)) + app.rows(select(export_parts.c.number)),
        "charges": outcome.charges,
        "usage": outcome.usage,
        "mails": sorted(mail["Subject"] for mail in app.outbox()),
        "dead letters": outcome.dead_letters,
    }


def _start(app: Installation) -> Program:
    """The timer's tick that a killed host missed fires when the next one starts."""
    return app.host("--once", "CostExportScanner", "--lease", str(LEASE))


def _is_through(app: Installation) -> bool:
    due = select(func.count()).where(projects.c.check_due_since.is_not(None))
    sent = set(app.mail_states().values())
    return states(app) == [RunState.IMPORTED] * 2 and app.rows(due) == [(0,)] and sent == {"sent"}
