"""`cloud-accounts`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from shared.adapters.database.tables import cloud_accounts
from shared.cli.app import user_name
from shared.composition import Composition
from tests.cli.commands import DIE1, EAU, FIRST, SECOND, Cli, on_terminal, write_csv


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
        "disabled_why": None,
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


def test_one_is_disabled_and_enabled_again_and_the_list_says_why(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    disabled = cli("cloud-accounts", "disable", "1", "--reason", "it moves")
    assert disabled.out == f"Cloud account 1 ({FIRST}) is disabled: nothing is read from it. What is stored stays.\n"
    assert (
        disabled.err == f"warning: nobody reads the costs of 1 sub-account ({FIRST}) now; figures say what they lack\n"
    )
    known = cli("cloud-accounts", "list", "--json").json[0]
    assert (known["status"], known["disabled_why"]) == ("disabled", f"by {user_name()} on 2026-11-20: it moves")
    assert cli("cloud-accounts", "list").out.splitlines()[1].endswith("on 2026-11-20: it moves")
    assert cli("cloud-accounts", "disable", "1").code == 2
    enabled = cli("cloud-accounts", "enable", "1")
    assert enabled.out == f"Cloud account 1 ({FIRST}) is read again; `python -m shared.cli run` does it now.\n"
    assert cli("cloud-accounts", "enable", "1").err == "error: cloud account 1 is not disabled\n"


def test_a_mistyped_place_is_removed_without_a_question(cli: Cli) -> None:
    number = cli("cloud-accounts", "add-exports", "costs/awss", "--json").json["id"]
    removed = cli("cloud-accounts", "remove", str(number))
    said = f"Cloud account {number} (costs/awss) is removed. What is stored stays.\n"
    assert (removed.code, removed.out, removed.err) == (0, said, "")
    assert cli("cloud-accounts", "list", "--json").json == []
    gone = cli("cloud-accounts", "remove", str(number))
    said = f"error: there is no cloud account {number}; `cloud-accounts list` shows them\n"
    assert (gone.code, gone.err) == (2, said)


def test_what_feeds_something_is_removed_only_where_somebody_agrees(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    for more in ([], ["--json"]):
        refused = cli("cloud-accounts", "remove", "1", *more)
        assert (refused.code, refused.err) == (2, "error: nothing was changed; where this is meant, add --yes\n")
    assert refused.json["done"] is False and refused.json["sub_accounts"] == [FIRST]
    said = f"Cloud account 1 ({FIRST}) feeds 1 sub-account ({FIRST}), whose costs nobody reads then."
    on_screen = on_terminal(200, "cloud-accounts", "remove", "1", code=1, answers=["n"])
    assert said in on_screen and "Remove it? [y/N]" in on_screen
    assert len(cli("cloud-accounts", "list", "--json").json) == 2
    assert "is removed" in on_terminal(200, "cloud-accounts", "remove", "1", answers=["y"])
    removed = cli("cloud-accounts", "remove", "2", "--yes", "--json").json
    assert (removed["done"], "makes it anew" in removed["comes_back"]) == (True, True)
    assert cli("cloud-accounts", "list", "--json").json == []


def test_a_cloud_account_is_put_with_others_under_a_name_that_lists_show(cli: Cli) -> None:
    cli("projects", "load", write_csv(DIE1, EAU))
    assert "organization" not in on_terminal(250, "cloud-accounts", "list")
    outcome = cli("cloud-accounts", "set", "2", "--organization", " Musée ")
    assert (outcome.code, outcome.out) == (0, f"Cloud account 2 ({SECOND}) is of Musée now.\n")
    assert cli("cloud-accounts", "set", "2", "--organization", "Musée", "--json").json["organization"] == "Musée"
    assert [each["organization"] for each in cli("cloud-accounts", "list", "--json").json] == ["default", "Musée"]
    assert "organization Musée provider" in " ".join(cli("cloud-accounts", "show", "2").out.split())
    assert "Musée" in cli("cloud-accounts", "list").out


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 101])
def test_the_name_of_an_organization_is_a_line(cli: Cli, name: str) -> None:
    cli("projects", "load", write_csv(DIE1))
    refused = cli("cloud-accounts", "set", "1", "--organization", name)
    assert refused.code == 2
    assert "is no organization: write a line of at most 100 characters" in " ".join(refused.err.split())
    assert cli("cloud-accounts", "list", "--json").json[0]["organization"] == "default"
    assert "there is no cloud account 9" in cli("cloud-accounts", "set", "9", "--organization", "x").err
