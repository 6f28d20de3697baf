"""`exports scan --wait` and `sync`, over imports that run: blobs and queues of Azurite, the app's own functions."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from azure.storage.blob import ContainerClient

from localdev.azure_sim import AzureSimulator, Charge, ChargeBook, SimulatedExport
from localdev.azurite import Azurite
from tests.cli.commands import DIE1, FIRST, SECOND, Cli, Working, on_terminal, write_csv

NIGHT = datetime(2026, 11, 20, 1, tzinfo=UTC)
BOOK = ChargeBook(
    Charge(subscription, group, "Storage", date(2026, 11, day), "CAD", cost)
    for subscription, group, cost in ((FIRST, "die1-dev", Decimal(3)), (SECOND, "eau", Decimal(2)))
    for day in (3, 4)
)


@pytest.fixture
def container(queue_names: dict[str, str], azurite_blobs: Azurite, monkeypatch: pytest.MonkeyPatch) -> ContainerClient:
    """Where exports lie; the first run of the second subscription's does."""
    name = f"exports-{uuid.uuid4().hex}"
    monkeypatch.setenv("CostExportStorage", azurite_blobs.connection_string)
    monkeypatch.setenv("COST_EXPORT_CONTAINER", name)
    monkeypatch.setenv("QueueCostExportImport", f"t{uuid.uuid4().hex[:12]}-export")
    client = ContainerClient.from_connection_string(azurite_blobs.connection_string, name)
    client.create_container()
    upload(client, "daily")
    return client


def upload(client: ContainerClient, name: str, *, broken: bool = False) -> None:
    """A run of the month so far; broken: its part is no export."""
    export = SimulatedExport(SECOND, name=name, container=client.container_name)
    for blob, content in export.run(BOOK, date(2026, 11, 1), date(2026, 11, 19), NIGHT).items():
        client.upload_blob(blob, b"x" * len(content) if broken and blob.endswith(".gz") else content)


def test_a_scan_that_waits_lists_what_became_of_each_run_and_fails_where_one_has(
    cli: Cli, container: ContainerClient, working: Working
) -> None:
    with working():
        scanned = cli("exports", "scan", "--wait")
        again = cli("exports", "scan", "--wait", "--json")
        upload(container, "second", broken=True)
        failed = cli("exports", "scan", "--wait", "--json")
    assert scanned.code == 0, scanned.err
    assert scanned.out.startswith("Exports: 1 new run found.\n")
    assert "imported" in scanned.out and "4.00 CAD" in scanned.out
    assert (again.code, again.json["found"], again.json["runs"]) == (0, [], [])
    assert (failed.code, [each["state"] for each in failed.json["runs"]]) == (1, ["failed"])
    assert failed.err.startswith("error: not all could be read:\n  ")


def test_a_sync_imports_what_is_new_and_reads_what_is_asked_for(
    cli: Cli, container: ContainerClient, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(DIE1))
    with AzureSimulator(BOOK) as azure:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", azure.url)
        with working():
            synced = cli("sync", "--json")
    assert synced.code == 0, synced.err
    assert [each["state"] for each in synced.json["exports"]["runs"]] == ["imported"]
    assert synced.json["run"]["state"] == "done"
    stored = cli("costs", "--by", "sub-account", "--json").json["costs"]
    assert {each["sub_account_id"]: each["cost"] for each in stored} == {FIRST: "6", SECOND: "4"}


def test_a_sync_fails_where_an_export_does_or_azure_refuses(
    cli: Cli, container: ContainerClient, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(DIE1))
    upload(container, "second", broken=True)
    with AzureSimulator(BOOK) as azure:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", azure.url)
        with working():
            of_export = cli("sync", "--json")
            azure.fault("forbidden", times=None)
            of_azure = cli("sync", "--json")
    assert (of_export.code, of_export.json["run"]["state"]) == (1, "done")
    assert {each["state"] for each in of_export.json["exports"]["runs"]} == {"imported", "failed"}
    assert (of_azure.code, of_azure.json["exports"]["runs"]) == (1, [])


def test_a_sync_shows_how_far_it_is(
    cli: Cli, container: ContainerClient, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("projects", "load", write_csv(DIE1))
    with AzureSimulator(BOOK) as azure:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", azure.url)
        with working():
            seen = on_terminal(200, "sync")
    assert "runs imported" in seen and "subscriptions read" in seen
    assert "/100" not in seen, "of how many is not known before they are counted"
