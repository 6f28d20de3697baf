"""The demo's subscription that is fed by exports: first read by query, and switched between the two nights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient

from localdev.azure_sim import ChargeBook, SimulatedExport, demo_charges
from localdev.demo_stage import say, show_command

EXPORT = SimulatedExport(demo_charges.EAST)
# When the export ran for the last time of October; it was made in that month.
LAST_OF_OCTOBER = datetime(2026, 11, 5, 1, tzinfo=UTC)
SCANNER = "CostExportScanner"


def begin(connection: str, charges: ChargeBook, night: str) -> None:
    """Writes what the export has left in its container by the first night."""
    with BlobServiceClient.from_connection_string(connection) as blobs, suppress(ResourceExistsError):
        blobs.create_container(EXPORT.container)
    _write(connection, EXPORT.month_before(charges, LAST_OF_OCTOBER))
    deliver(connection, charges, night)


def deliver(connection: str, charges: ChargeBook, night: str) -> None:
    """Writes the run of a night, an hour before it begins."""
    at = datetime.fromisoformat(night)
    _write(connection, EXPORT.nightly(charges, at.replace(hour=at.hour - 1)))


def switch(environment: Mapping[str, str]) -> None:
    """Has the export feed its subscription, in the query's place."""
    say(f"\nThe subscription of {demo_charges.LAKES} has a cost export, too. Its runs are known, and not used yet.")
    say("From now on it shall feed the subscription; it has days of October that the query did not read:")
    show_command(environment, "exports", "use", EXPORT.name, "--yes")


def show(environment: Mapping[str, str]) -> None:
    """What became of its runs in both nights."""
    say(f"\nThe second night read {demo_charges.LAKES} from its export, and asked Azure nothing about it:")
    show_command(environment, "exports", "list", "--state", "imported")


def _write(connection: str, blobs: Mapping[str, bytes]) -> None:
    with BlobServiceClient.from_connection_string(connection) as service:
        for name, content in blobs.items():
            # What is there stays as it is: written again, it would be another run.
            with suppress(ResourceExistsError):
                service.get_blob_client(EXPORT.container, name).upload_blob(content)
