"""`exports read`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.exports.files import EA, SUB, csv_of
from tests.cli.commands import Cli


def test_what_files_come_to_is_written_for_programs_to_the_last_digit(cli: Cli) -> None:
    Path("part.csv").write_text(csv_of([EA, {**EA, "Cost": "1E-20"}]), newline="")
    outcome = cli("exports", "read", "part.csv", "--json")
    assert outcome.code == 0
    assert outcome.json == [
        {
            "name": "part.csv",
            "fault": None,
            "dataset": "EA",
            "cost_column": "Cost",
            "odd": [],
            "metric": "ActualCost, as COST_METRIC says; the file says nothing of it",
            "rows": 2,
            "first_day": "2026-09-21",
            "last_day": "2026-09-21",
            "sums": {"CAD": "1.50000000000000000001"},
            "without_group": {},
            "sub_accounts": [{"provider": "azure", "sub_account_id": SUB}],
        }
    ]


def test_a_file_that_cannot_be_read_ends_in_a_sentence_and_exit_code_1(cli: Cli) -> None:
    Path("part.csv").write_text("a,b\n")
    outcome = cli("exports", "read", "part.csv")
    assert outcome.code == 1
    assert "The file has no costs that are known" in outcome.out


def test_no_setting_is_needed_and_the_metric_alone_is_read(
    cli: Cli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in environment:
        monkeypatch.delenv(name)
    Path("part.csv").write_text(csv_of([EA]), newline="")
    monkeypatch.setenv("COST_METRIC", "AmortizedCost")
    (checked,) = cli("exports", "read", "part.csv", "--json").json
    assert checked["metric"] == "AmortizedCost, as COST_METRIC says; the file says nothing of it"
    monkeypatch.setenv("COST_METRIC", "Nothing")
    outcome = cli("exports", "read", "part.csv")
    assert (outcome.code, "COST_METRIC is not right. It takes ActualCost or AmortizedCost." in outcome.err) == (1, True)


def test_a_folder_without_exports_is_wrong_usage(cli: Cli) -> None:
    outcome = cli("exports", "read", ".")
    assert (outcome.code, ". holds no export" in outcome.err) == (2, True)
    assert cli("exports", "read", "nowhere.csv").code == 2


def test_the_database_and_the_queues_may_be_away(cli: Cli, monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    Path("part.csv").write_text(csv_of([EA]), newline="")
    assert cli("exports", "read", "part.csv").code == 0
