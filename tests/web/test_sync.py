"""Syncs that other programs order: queues and containers of Azurite, the app's own functions, what plays AWS."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from azure.storage.blob import ContainerClient

from localdev.aws_sim import AwsSimulator
from localdev.azure_sim import AzureSimulator
from shared.composition import Composition
from shared.web import sync
from tests.aws_worlds import ACCOUNT, role_in
from tests.cli.commands import DIE1, Cli, Working, write_csv
from tests.cli.test_aws_syncs import stored
from tests.cli.test_export_scan import BOOK, upload
from tests.web.conftest import Answer, Call

TOKEN, SECRET = "sync-token", "cron-secret"
ALL, STATUS, CRON = "/finops/api/sync/", "/finops/api/sync/status/", "/api/cron/sync-aws-costs"


@pytest.fixture(autouse=True)
def tokens(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_SYNC_TOKEN", TOKEN)
    monkeypatch.setenv("CRON_SECRET", SECRET)


def sync_all(call: Call, **headers: str) -> Answer:
    return call("POST", ALL, headers={"X-Sync-Token": TOKEN} | headers)


def sync_aws(call: Call) -> Answer:
    return call("GET", CRON, headers={"Authorization": f"Bearer {SECRET}"})


# --- all costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), "é", f" {TOKEN}x"])
def test_a_wrong_token_is_refused(call: Call, token: str | None) -> None:
    answer = call("POST", ALL, headers={} if token is None else {"X-Sync-Token": token})
    assert (answer.status, answer.json["success"]) == (403, False)
    assert set(answer.json) == {"success", "message", "output", "errors", "run"}


@pytest.mark.parametrize("given", ["", "x", TOKEN])
def test_without_a_token_of_ours_each_call_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.delenv("SECRET_SYNC_TOKEN")
    monkeypatch.delenv("CRON_SECRET")
    assert call("POST", ALL, headers={"X-Sync-Token": given}).status == 403
    assert call("GET", CRON, headers={"Authorization": f"Bearer {given}"}).status == 401


def test_a_sync_reads_what_is_asked_for_and_new_exports_and_says_so_line_by_line(
    call: Call,
    cli: Cli,
    container: ContainerClient,
    working: Working,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_csv(DIE1)
    assert cli("projects", "load", "projects.csv").code == 0
    with AzureSimulator(BOOK) as azure:
        monkeypatch.setenv("AZURE_MANAGEMENT_ENDPOINT", azure.url)
        with working():
            answer = sync_all(call)
    assert answer.status == 200, answer.body
    said = answer.json
    run = said.pop("run")
    output = said.pop("output").splitlines()
    assert said == {"success": True, "message": "Cost sync completed successfully", "errors": None}
    assert run.startswith("manual-2026-11-20T")
    assert output[0] == "Exports: 1 new run found."
    assert output[-2:] == [f"Run {run}: 1 cloud account to read.", f"Run {run} has ended: 1 of 1 read."]
    assert any("imported, 4 rows" in line or "imported, 2 rows" in line for line in output)


def test_a_sync_that_fails_is_a_500_with_what_failed_in_words(
    call: Call,
    cli: Cli,
    container: ContainerClient,
    working: Working,
) -> None:
    upload(container, "second", broken=True)
    with working():
        answer = sync_all(call)
    assert (answer.status, answer.json["success"], answer.json["message"]) == (500, False, "Cost sync failed")
    assert isinstance(answer.json["errors"], str)
    assert "second" in answer.json["errors"]
    assert "imported" in answer.json["output"]


def test_queues_that_refuse_us_are_a_500_in_words(call: Call, cli: Cli) -> None:
    write_csv(DIE1)
    cli("projects", "load", "projects.csv")
    answer = sync_all(call)
    assert (answer.status, answer.json["success"], answer.json["run"]) == (500, False, None)
    assert answer.json["errors"]


def test_what_takes_longer_is_answered_202_without_a_location_and_goes_on(
    call: Call, cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(DIE1)
    cli("projects", "load", "projects.csv")
    monkeypatch.setattr(sync, "ANSWERED_WITHIN", timedelta(seconds=0.6))
    answer = sync_all(call)
    assert (answer.status, answer.json["success"], answer.json["message"]) == (202, True, "Cost sync started")
    assert "location" not in answer.headers
    assert cli("status", "--json").json[0]["state"] == "running"
    # Nobody has taken its messages: another call waits for the same run.
    again = sync_all(call)
    assert (again.status, again.json["run"]) == (202, answer.json["run"])
    assert "which went on already" in again.json["output"]


def test_a_logic_app_is_answered_before_it_gives_up(
    call: Call, cli: Cli, queue_names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync.LOGIC_APPS_WITHIN < timedelta(seconds=120) < sync.ANSWERED_WITHIN < timedelta(seconds=230)
    write_csv(DIE1)
    cli("projects", "load", "projects.csv")
    monkeypatch.setattr(sync, "LOGIC_APPS_WITHIN", timedelta(seconds=0.1))
    assert sync_all(call, **{"User-Agent": "azure-logic-apps/1.0 (workflow 3f; version 08)"}).status == 202


def test_without_anything_to_read_a_sync_is_done(call: Call, queue_names: dict[str, str]) -> None:
    answer = sync_all(call)
    assert (answer.status, answer.json["success"]) == (200, True)


# --- what became of exports --------------------------------------------------------------------------------------


def test_the_status_tells_a_few_numbers_and_the_last_import_to_anybody(
    call: Call,
    cli: Cli,
    container: ContainerClient,
    working: Working,
) -> None:
    nothing = {"total_exports": 0, "completed": 0, "failed": 0, "processing": 0}
    assert call("GET", STATUS).json == {"success": True, "stats": nothing, "latest_export": None}
    upload(container, "second", broken=True)
    with working():
        assert cli("exports", "scan", "--wait").code == 1
    # Another instance: this one still says what it has said.
    assert call("GET", STATUS).json["stats"] == nothing
    other = type(call.__self__)().call("GET", STATUS).json  # type: ignore[attr-defined]
    assert other["stats"] == {"total_exports": 2, "completed": 1, "failed": 1, "processing": 0}
    latest = other["latest_export"]
    assert latest.pop("import_completed_at").startswith("2026-11-20T")
    assert latest == {
        "subscription": container.container_name,
        "billing_period_start": "2026-11-01",
        "billing_period_end": "2026-11-19",
        "records_imported": 2,
    }


def test_many_who_ask_at_once_have_the_database_asked_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    kept = sync.Kept()
    made = threading.Barrier(8)

    def make() -> str:
        asked.append(1)
        return "{}"

    def ask(_: int) -> str:
        made.wait()
        return kept.get(make)

    with ThreadPoolExecutor(8) as many:
        assert list(many.map(ask, range(8))) == ["{}"] * 8
    assert len(asked) == 1


# --- AWS accounts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", f"Basic {SECRET}", f"Bearer {SECRET}x", SECRET, "Bearer wrong"])
def test_a_cron_without_its_secret_is_unauthorized(call: Call, header: str | None) -> None:
    answer = call("GET", CRON, headers={} if header is None else {"Authorization": header})
    assert (answer.status, answer.json) == (401, {"error": "Unauthorized"})


def test_each_account_has_a_result_and_one_that_fails_stops_no_other(
    call: Call,
    app: Composition,
    aws: AwsSimulator,
    working: Working,
) -> None:
    aws.iam.roles[role_in(ACCOUNT)].external_id = "another one"
    with working():
        answer = sync_aws(call)
    assert answer.status == 200
    said = answer.json
    first, second = said.pop("results")
    assert said == {"success": True, "syncedAccounts": 2, "successfulSyncs": 1, "totalRecords": 1}
    assert (first["cloudAccountId"], first["name"], first["success"]) == (1, "shop", False)
    assert "external id" in first["error"]
    assert second == {
        "cloudAccountId": 2, "name": "lab", "success": True, "recordsCount": 1, "totalAmount": 7.0,
        "services": ["Amazon EC2"],
    }  # fmt: skip
    # It was not by hand: nobody has to wait.
    assert [each.last_manual_sync_at for each in app.cloud_accounts.accounts()] == [None, None]


def test_without_an_aws_account_there_is_nothing_to_do(call: Call, cli: Cli) -> None:
    answer = sync_aws(call)
    assert (answer.status, answer.json["success"], answer.json["results"]) == (200, True, [])


def account(call: Call, number: int = 1) -> Answer:
    return call("POST", f"/api/cloud-accounts/{number}/sync", who="operator")


def test_an_operator_has_one_account_read(call: Call, cli: Cli, aws: AwsSimulator, working: Working) -> None:
    with working():
        answer = account(call)
    assert (answer.status, answer.json) == (
        200, {"success": True, "recordsCount": 3, "totalAmount": 26.5, "services": ["Amazon EC2", "Amazon S3"]}
    )  # fmt: skip
    # A JSON number, and no text.
    assert b'"totalAmount":26.5' in answer.body.replace(b" ", b"")
    assert stored(cli) == {ACCOUNT: "26.5"}


def test_the_next_one_of_its_organization_waits_and_is_told_how_long(
    call: Call,
    aws: AwsSimulator,
    working: Working,
    cli: Cli,
) -> None:
    with working():
        assert account(call).status == 200
        refused = account(call)
        other = account(call, 2)
    assert refused.status == 429
    wait = int(refused.headers["retry-after"])
    assert refused.json == {"error": f"Rate limit exceeded. Please wait {wait} seconds before syncing again."}
    assert 850 < wait <= 900
    # Another organization's.
    assert other.status == 200


def test_what_the_provider_refuses_is_told_in_its_words(
    call: Call,
    aws: AwsSimulator,
    working: Working,
) -> None:
    aws.iam.roles[role_in(ACCOUNT)].external_id = "another one"
    with working():
        answer = account(call)
    assert (answer.status, answer.json["success"]) == (500, False)
    assert set(answer.json) == {"success", "error"}


def test_one_that_is_not_there_or_disabled_or_of_another_kind_is_told(
    call: Call,
    cli: Cli,
    aws: AwsSimulator,
) -> None:
    assert account(call, 99).status == 404
    cli("cloud-accounts", "disable", "1")
    disabled = account(call)
    assert (disabled.status, disabled.json["success"]) == (409, False)
    assert "is disabled" in disabled.json["error"]


def test_what_could_not_begin_keeps_nobody_waiting(
    call: Call,
    app: Composition,
    aws: AwsSimulator,
    refusing_queues: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DatahubStorageConnectionString", refusing_queues)
    assert account(call).status == 503
    assert app.cloud_accounts.get(1).last_manual_sync_at is None


def test_of_many_instances_that_sync_an_organization_at_once_one_does(
    cli: Cli,
    aws: AwsSimulator,
    call: Call,
    working: Working,
) -> None:
    web = type(call.__self__)  # type: ignore[attr-defined]
    instances = [web() for _ in range(4)]
    start = threading.Barrier(4)

    def sync_one(instance: object) -> int:
        start.wait()
        return account(instance.call).status  # type: ignore[attr-defined]

    with working(), ThreadPoolExecutor(4) as many:
        assert sorted(many.map(sync_one, instances)) == [200, 429, 429, 429]
