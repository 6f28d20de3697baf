"""A project whose costs come from a provider that nothing here was written for: by a FOCUS file, and nothing else."""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from focus_data_toolkit.cli import main as toolkit

from shared.domain.money import plain, stored
from tests.cli.commands import HEADER, Cli, write_csv

PROJECT = "21,MAPS,Maps,,,5000,USD,annual,2026-04-01,,ann@example.com,en,true,{account}"


def google_file() -> tuple[Path, dict[str, Decimal]]:
    """A file of Google's, as FOCUS has it, and what each of its projects costs.

    The toolkit deals its rows out to two billing accounts, each of which has an export of its own.
    """
    assert (
        toolkit(
            ["generate", "--provider", "gcp", "--focus-version", "1.2", "--rows", "60", "--seed", "7", "--out", "."]
        )
        == 0
    )
    (path,) = Path().glob("*cost_and_usage*.csv")
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    kept = [row for row in rows if row["BillingAccountId"] == rows[0]["BillingAccountId"]]
    costs: dict[str, Decimal] = defaultdict(Decimal)
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, kept[0])
        writer.writeheader()
        for row in kept:
            writer.writerow(row)
            costs[f"{row['ProviderName']}:{row['SubAccountId']}"] += Decimal(row["BilledCost"])
    return path, costs


def test_google_s_focus_file_feeds_a_project_that_names_its_account(cli: Cli) -> None:
    path, costs = google_file()
    account, cost = max(costs.items(), key=lambda each: each[1])
    loaded = cli("projects", "load", write_csv(PROJECT.format(account=account), header=f"{HEADER},sub_accounts"))
    assert loaded.code == 0, loaded.err
    imported = cli("exports", "import", str(path))
    assert imported.code == 0, imported.err
    days = ("--from", "2020-01-01", "--to", "2026-12-31")
    of_project = cli("costs", "MAPS", *days, "--by", "project", "--json").json
    (row,) = of_project["costs"]
    assert (row["cost"], row["currency"]) == (plain(stored(cost)), "USD")
