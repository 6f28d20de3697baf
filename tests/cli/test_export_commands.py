"""`exports list`, `show`, `feeds`, `use` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localdev.azurite import Azurite
from shared.composition import Composition
from tests.adapters.exports.files import EA, SUB, csv_of
from tests.cli.commands import DIE1, FIRST, Cli, on_terminal, write_csv
from tests.services.test_export_service import write_run

DAILY = f"azure:/subscriptions/{SUB}/providers/microsoft.costmanagement/exports/daily"
FILE = {
    "key": "azure:8611537/file",
    "provider": "azure",
    "id": "8611537/file",
    "name": "file",
    "dataset": "actual",
    "billing_account": "8611537",
}
IMPORTED: dict[str, Any] = {
    "run": 1,
    "export": FILE,
    "months": ["2026-09-01"],
    "first_day": None,
    "last_day": None,
    "run_id": None,
    "container": None,
    "place": "file.csv",
    "state": "imported",
    "reason": None,
    "parts": 1,
    "staged": 1,
    "rows": 1,
    "size": 379,
    "sums": {"CAD": "1.50000000000000000001"},
    "changes": {"added": 1, "changed": 0, "removed": 0, "first_day": "2026-09-21", "last_day": "2026-09-21"},
}


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not name.endswith("_at")}


@pytest.fixture
def file(environment: dict[str, str]) -> str:
    Path("file.csv").write_text(csv_of([{**EA, "Cost": "1.50000000000000000001"}]), newline="")
    return "file.csv"


def test_what_was_imported_is_written_for_programs_to_the_last_digit(cli: Cli, file: str) -> None:
    outcome = cli("exports", "import", file, "--json")
    assert outcome.code == 0
    ours = {"file": file, "found": "new", "fault": None, "projects": []}
    (run,) = outcome.json.pop("runs")
    assert without_times(run) == ours | IMPORTED
    (listed,) = cli("exports", "list", "--json").json
    assert without_times(listed) == IMPORTED
    times = [listed[f"{what}_at"][:10] for what in ("submitted", "found", "started", "finished")]
    assert times == ["2026-11-20"] * 4
    assert cli("exports", "show", "1", "--json").json == listed | {"files": []}
    span = {"first_day": "2026-09-21", "last_day": "2026-09-21"}
    fed = {"provider": "azure", "sub_account_id": SUB, "group": None}
    assert cli("exports", "feeds", "--json").json == [fed | {"source": FILE["key"], "name": "file"} | span]


def test_a_rehearsal_stores_nothing(cli: Cli, file: str) -> None:
    outcome = cli("exports", "import", "--dry-run", file)
    assert (outcome.code, "would be imported" in outcome.out) == (0, True)
    assert cli("exports", "list").out == "No run of an export was found yet.\n"


def test_what_cannot_be_imported_is_told_by_the_exit_code_too(cli: Cli, file: str) -> None:
    Path("broken.csv").write_text("a,b\n")
    outcome = cli("exports", "import", "broken.csv", file)
    assert (outcome.code, "broken.csv: The file has no costs that are known" in outcome.out) == (1, True)
    assert [each["place"] for each in cli("exports", "list", "--json").json] == [file]
    assert cli("exports", "import", "nowhere.csv").code == 2


def test_an_order_is_refused_where_nobody_can_be_asked(cli: Cli, file: str, queue_names: dict[str, str]) -> None:
    cli("exports", "import", file)
    write_run(Path("run"), 2)
    cli("exports", "import", "run")
    outcome = cli("exports", "use", "daily")
    assert (outcome.code, outcome.err) == (2, "error: nothing was changed; where this is meant, add --yes\n")
    assert "1 charge changed (September 2026)" in outcome.out
    refused = cli("exports", "use", "daily", "--json")
    assert (refused.code, refused.json["done"]) == (2, False)
    assert cli("exports", "feeds", "--json").json[0]["name"] == "file"
    done = cli("exports", "use", "daily", "--for", SUB, "--yes", "--json")
    assert (done.code, done.json["done"], done.json["source"]) == (0, True, DAILY)
    assert done.json["handovers"] == [
        {"provider": "azure", "sub_account_id": SUB, "group": None, "fed_by": "file", "then_by": "daily"}
    ]
    back = cli("exports", "use", "query", "--for", SUB, "--yes")
    stays = "Their months are read anew from the next night on; until then, what exports delivered stays."
    said = ["No charge changes.", stays, "No charge changes. No project's figures change."]
    assert back.out.splitlines()[-3:] == said
    cli("exports", "use", "daily", "--yes")
    again = cli("exports", "use", "DAILY")
    assert (again.code, again.out) == (0, "It is so already: daily feeds all that this says.\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--export", "nightly"], "there is no export nightly"),
        (["show", "7"], "there is no run 7"),
        (["use", "nightly"], "there is no export nightly"),
        (["use", "query", "--for", "7f0c"], "no export has delivered 7f0c"),
        (["use", "query", "--for", ""], "--for is empty"),
        (["list", "--state", "done"], "Invalid value for '--state': 'done' is not one of"),
        (["show", "abc"], "Invalid value for 'RUN': it has to be a number ("),
    ],
)
def test_what_there_is_not_is_wrong_usage(cli: Cli, arguments: list[str], words: str) -> None:
    outcome = cli("exports", *arguments)
    assert (outcome.code, words in outcome.err) == (2, True)


def test_where_no_storage_is_set_there_is_nothing_to_scan(cli: Cli) -> None:
    outcome = cli("exports", "scan")
    assert (outcome.code, "set CostExportStorage" in outcome.err) == (1, True)


def test_a_scan_fails_where_a_place_cannot_be_read(
    cli: Cli, app: Composition, queue_names: dict[str, str], azurite_blobs: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.cloud_accounts.add_exports("azure", "nix")
    monkeypatch.setenv("CostExportStorage", azurite_blobs.connection_string)
    outcome = cli("exports", "scan")
    assert (outcome.code, outcome.out) == (1, "Exports: nothing new where they could be read.\n")
    assert outcome.err.startswith("error: not all could be read:\n  nix: there is no container nix")
    added = cli("cloud-accounts", "add-exports", "nix2")
    assert (added.code, "there is no container nix2" in added.err) == (2, True)


@pytest.mark.parametrize("command", ["sync", "sync_daily_costs"])
def test_a_sync_without_projects_and_exports_has_nothing_to_do(
    cli: Cli, command: str, queue_names: dict[str, str]
) -> None:
    outcome = cli(command, "--json")
    assert (outcome.code, outcome.json) == (0, {"exports": None, "run": None})


def two_called_daily() -> tuple[str, str]:
    """Exports of one name, of one subscription, that have both delivered it: the second is not used."""
    keys = []
    for scope in (f"/subscriptions/{SUB}", "/providers/microsoft.billing/billingaccounts/8611537"):
        resource = f"{scope}/providers/microsoft.costmanagement/exports/daily"
        config = {"exportName": "daily", "type": "ActualCost", "dataVersion": "2024-08-01", "resourceId": resource}
        folder = f"run-{len(keys)}"
        write_run(Path(folder), 1, exportConfig=config, runInfo={"runId": folder})
        keys.append(f"azure:{resource}")
    return keys[0], keys[1]


def test_exports_of_one_name_are_told_apart_by_their_keys(cli: Cli, queue_names: dict[str, str]) -> None:
    narrow, wide = two_called_daily()
    for folder in ("run-0", "run-1"):
        assert cli("exports", "import", folder).code == 0
    assert cli("exports", "feeds").out.splitlines()[-1].split()[2] == narrow
    rows = cli("exports", "list").out.splitlines()
    assert [row.split()[1] for row in rows[1:3]] == [wide, narrow]
    reason = cli("exports", "list", "--json").json[0]["reason"]
    assert reason == f"{SUB} is fed by the export {narrow}; `exports use {wide} --for {SUB}` changes that"
    assert f"  {narrow}" in cli("exports", "use", "daily", "--for", SUB).err
    done = cli("exports", "use", wide, "--for", SUB, "--yes", "--json").json
    assert [(each["fed_by"], each["then_by"]) for each in done["handovers"]] == [(narrow, wide)]
    assert cli("exports", "show", "1").out.splitlines()[2].split() == ["key", narrow]


def test_an_empty_file_is_no_folder(cli: Cli, file: str) -> None:
    """It is a script's variable that was not set."""
    for command in (("import",), ("import", "--dry-run", file), ("read",)):
        refused = cli("exports", *command, "")
        assert (refused.code, refused.out) == (2, "")
        assert refused.err == "error: FILE is empty; say what it is, or leave it out\n"


def test_on_a_terminal_an_order_says_who_is_checked_anew_before_it_asks(
    cli: Cli, file: str, queue_names: dict[str, str]
) -> None:
    cli("exports", "import", file)
    cli("projects", "load", write_csv(DIE1.replace(FIRST, SUB).replace("die1-dev;die1-prod", "rg-a")))
    write_run(Path("run"), 2)
    cli("exports", "import", "run")
    asked = on_terminal(200, "exports", "use", "daily", code=1, answers=["n"])
    said, question = asked.index("Checked anew: DIE1."), asked.index("Change it? [y/N]: ")
    assert said < question
    assert cli("exports", "feeds", "--json").json[0]["name"] == "file"
    agreed = on_terminal(200, "exports", "use", "daily", answers=["y"])
    assert "Done: 1 charge changed (September 2026). 1 project checked anew: DIE1." in agreed
    assert cli("exports", "feeds", "--json").json[0]["name"] == "daily"


def test_an_import_names_whose_figures_it_changes(cli: Cli, file: str, queue_names: dict[str, str]) -> None:
    cli("exports", "import", file)
    cli("projects", "load", write_csv(DIE1.replace(FIRST, SUB).replace("die1-dev;die1-prod", "rg-a")))
    Path("november.csv").write_text(csv_of([EA | {"Date": "11/03/2026", "BillingPeriodStartDate": "11/01/2026"}]))
    imported = cli("exports", "import", "november.csv")
    assert imported.out.splitlines()[-1] == "1 project checked anew: DIE1."


def test_an_import_shows_on_a_terminal_how_much_of_its_files_is_read(environment: dict[str, str]) -> None:
    for name, account in (("one.csv", "1"), ("other.csv", "2")):
        Path(name).write_text(csv_of([EA | {"BillingAccountId": account}] * 9), newline="")
    size = Path("one.csv").stat().st_size + Path("other.csv").stat().st_size
    seen = on_terminal(200, "exports", "import", "one.csv", "other.csv")
    assert "Reading one.csv" in seen or "Reading other.csv" in seen
    assert f"{size / 1000:.1f} kB" in seen
    assert "/100 bytes" not in seen
