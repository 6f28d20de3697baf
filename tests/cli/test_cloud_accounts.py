"""`cloud-accounts`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from shared.adapters.database.tables import cloud_accounts
from shared.composition import Composition
from tests.cli.commands import DIE1, EAU, FIRST, SECOND, Cli, write_csv


def test_without_any_it_says_what_brings_the_first(cli: Cli) -> None:
    assert "projects load" in cli("cloud-accounts", "list").out
    assert cli("cloud-accounts", "list", "--json").json == []


def test_subscriptions_are_listed_as_soon_as_projects_name_them(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    first, second = cli("cloud-accounts", "list", "--json").json
    assert first == {
        "id": 1,
        "name": FIRST,
        "organization": "default",
        "provider": "azure",
        "connection_type": "COST_MANAGEMENT",
        "external_account_id": FIRST,
        "status": "pending",
        "last_synced_at": None,
        "last_sync_error": None,
    }
    assert second["name"] == SECOND
    cli("projects", "load", write_csv(DIE1, EAU))
    assert len(cli("cloud-accounts", "list", "--json").json) == 2


def test_what_became_of_the_last_sync_is_listed_for_people_and_programs(cli: Cli, app: Composition) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    synced = {"status": "active", "last_synced_at": datetime(2026, 11, 20, 2, 1, tzinfo=UTC)}

    def was_synced(connection: object) -> None:
        this = update(cloud_accounts).where(cloud_accounts.c.name == FIRST)
        connection.execute(this.values(synced))

    app.database.run(was_synced)
    app.cloud_accounts.mark_failed(2, "Azure says no (403)")
    first, second = cli("cloud-accounts", "list", "--json").json
    assert (first["status"], first["last_synced_at"]) == ("active", "2026-11-20T02:01:00+00:00")
    assert (second["status"], second["last_sync_error"]) == ("error", "Azure says no (403)")
    heads, *rows = cli("cloud-accounts", "list").out.splitlines()
    assert heads.split()[:6] == ["ID", "NAME", "PROVIDER", "CONNECTION", "ACCOUNT", "STATUS"]
    assert rows[0].split() == ["1", FIRST, "azure", "COST_MANAGEMENT", FIRST, "active", "2026-11-20", "02:01"]
    assert rows[1].endswith("error                     Azure says no (403)")


def test_a_further_place_of_exports_is_added_once(cli: Cli) -> None:
    for place in ("costs/aws/", "/costs/aws"):
        added = cli("cloud-accounts", "add-exports", place, "--json").json
        assert (added["connection_type"], added["external_account_id"]) == ("COST_EXPORT", "costs/aws")
    cli("cloud-accounts", "add-exports", "costs")
    found = [each["external_account_id"] for each in cli("cloud-accounts", "list", "--json").json]
    assert sorted(found) == ["costs", "costs/aws"]


@pytest.mark.parametrize("place", ["", "a", "Costs", "$web/x", "costs/" + "x" * 300, "costs\n"])
def test_what_is_no_place_of_exports_is_refused(cli: Cli, place: str) -> None:
    refused = cli("cloud-accounts", "add-exports", place)
    assert refused.code != 0 and "is no place of exports" in refused.err
