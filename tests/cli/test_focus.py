"""`focus export`."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text

from shared.adapters.exports.focus import PolarsFocus
from shared.cli.main import main
from shared.composition import Composition
from shared.domain.charges import CostMetric
from shared.ports.errors import NeverError
from shared.ports.focus import FocusCharges, FocusFormat, Given
from shared.services.errors import RequestError
from shared.services.focus import FocusWish
from tests.cli.commands import BARE, DIE1, EAU, FIRST, SECOND, Cli, costs_were_read, program, spend, start, write_csv
from tests.conftest import new_sqlite

DAYS = ("--from", "2026-09-01", "--to", "2026-11-20")


@pytest.fixture
def spent(cli: Cli, app: Composition) -> Composition:
    """DIE1 spent 1.005 in September and 30 in November; EAU 5 on three days."""
    cli("projects", "load", write_csv(DIE1, EAU, BARE))
    for day, cost in ((date(2026, 9, 1), "1.005"), (date(2026, 11, 20), "30")):
        spend(app, 11, cost, day)
    spend(app, 12, "5", date(2026, 9, 30), date(2026, 10, 1), date(2026, 11, 1))
    costs_were_read(app, datetime(2026, 11, 20, 2, 10, tzinfo=UTC))
    return app


def rows_in(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def by_project(text: str) -> dict[str, Decimal]:
    sums = Counter[str]()
    for row in rows_in(text):
        sums[row["x_Project"]] += Decimal(row["BilledCost"])  # type: ignore[assignment]
    return dict(sums)  # type: ignore[arg-type]


def test_csv_goes_to_standard_output_and_nothing_else_does(spent: Composition) -> None:
    outcome = program("focus", "export", *DAYS)
    assert (outcome.code, outcome.err) == (0, "")
    assert by_project(outcome.out) == {"DIE1": Decimal("31.005"), "EAU": Decimal(15)}


def test_days_projects_and_subscriptions_can_be_chosen(cli: Cli, spent: Composition) -> None:
    def chosen(*options: str) -> dict[str, Decimal]:
        return by_project(program("focus", "export", *options).out)

    assert chosen("--from", "2026-09-30", "--to", "2026-10-01") == {"EAU": Decimal(10)}
    assert chosen(*DAYS, "--project", "die1") == {"DIE1": Decimal("31.005")}
    assert chosen(*DAYS, "--project", "die1", "--project", "12") == {"DIE1": Decimal("31.005"), "EAU": Decimal(15)}
    assert chosen(*DAYS, "--subscription", SECOND.upper()) == {"EAU": Decimal(15)}
    assert chosen(*DAYS, "--subscription", SECOND, "--project", "DIE1") == {}


@pytest.mark.parametrize(("name", "option"), [("f.parquet", ()), ("f", ("--format", "parquet"))])
def test_a_file_is_said_with_its_exact_sums(cli: Cli, spent: Composition, name: str, option: tuple[str, ...]) -> None:
    outcome = cli("focus", "export", *DAYS, "--output", name, *option)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"5 charges of 2026-09-01 to 2026-11-20 written to {name}: 46.005 CAD.\n"
    assert pl.read_parquet(name)["BilledCost"].sum() == Decimal("46.005")
    assert [path.name for path in Path().iterdir() if path.suffix == ".tmp"] == []


def test_what_was_exported_is_read_by_exports_read(cli: Cli, spent: Composition) -> None:
    cli("focus", "export", *DAYS, "--output", "f.csv")
    (read,) = cli("exports", "read", "f.csv", "--json").json
    assert (read["fault"], read["rows"], read["sums"]) == (None, 5, {"CAD": "46.005"})
    assert {each["sub_account_id"] for each in read["sub_accounts"]} == {FIRST, SECOND}


def test_what_was_exported_is_imported_into_a_fresh_database_with_the_same_result(
    cli: Cli, spent: Composition, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("focus", "export", *DAYS, "--output", "f.csv")
    monkeypatch.setenv("DATABASE_URL", new_sqlite(request, Path("fresh.db").resolve()))
    assert cli("exports", "import", "f.csv").code == 0
    cli("focus", "export", *DAYS, "--output", "again.csv")
    whose = ("x_Project", "x_Owner", "x_Department", "x_CostCentre")
    before, after = (rows_in(Path(name).read_text()) for name in ("f.csv", "again.csv"))
    assert all(row["x_Project"] for row in before)
    assert sorted(after, key=str) == sorted((row | dict.fromkeys(whose, "") for row in before), key=str)


def test_a_file_that_is_there_is_kept_without_force(cli: Cli, spent: Composition) -> None:
    Path("f.csv").write_text("mine")
    outcome = cli("focus", "export", *DAYS, "--output", "f.csv")
    assert (outcome.code, "f.csv is there already" in outcome.err, Path("f.csv").read_text()) == (2, True, "mine")
    assert cli("focus", "export", *DAYS, "--output", "f.csv", "--force").code == 0
    assert len(rows_in(Path("f.csv").read_text())) == 5


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_a_pipe_is_not_replaced_by_a_file(cli: Cli, spent: Composition, options: tuple[str, ...]) -> None:
    os.mkfifo("pipe")
    outcome = cli("focus", "export", *DAYS, "--output", "pipe", *options)
    assert (outcome.code, "pipe is a device or a pipe; name a file, or - for the" in outcome.err) == (2, True)
    assert Path("pipe").is_fifo()
    assert "/dev/null is a device or a pipe" in cli("focus", "export", *DAYS, "--output", "/dev/null").err


@pytest.mark.parametrize("held", ["old", None])
def test_what_a_link_leads_to_is_written_and_the_link_stays(cli: Cli, spent: Composition, held: str | None) -> None:
    target, link = Path("target.csv"), Path("link.csv")
    link.symlink_to(target)
    if held:
        target.write_text(held)
        assert "link.csv is there already" in cli("focus", "export", *DAYS, "--output", "link.csv").err
    assert cli("focus", "export", *DAYS, "--output", "link.csv", *(["--force"] if held else [])).code == 0
    assert (link.is_symlink(), len(rows_in(target.read_text()))) == (True, 5)


class Meanwhile(PolarsFocus):
    """Somebody else makes the file while this one writes."""

    def write(self, charges: FocusCharges, metric: CostMetric, path: Path, form: FocusFormat) -> Given:
        Path("f.csv").write_text("theirs")
        return super().write(charges, metric, path, form)


@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_came_into_being_meanwhile_is_kept_without_force(spent: Composition, force: bool) -> None:
    service = replace(spent.focus_service, writer=Meanwhile())
    which, before = service.selected(FocusWish(*DAYS[1::2])), {each.name for each in Path().iterdir()}
    with nullcontext() if force else pytest.raises(RequestError, match=r"f\.csv is there already; take another"):
        service.write(which, Path("f.csv"), FocusFormat.CSV, force=force)
    assert (Path("f.csv").read_text() == "theirs") is not force
    assert {each.name for each in Path().iterdir()} == before | {"f.csv"}


def test_a_closed_standard_output_is_said(
    spent: Composition, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it after `>&-`
    assert main(["focus", "export", *DAYS]) == 2
    assert capsys.readouterr().err == "error: the standard output is closed; what is not wanted can go to /dev/null\n"


class FullDisk(PolarsFocus):
    """Has room for half of a file."""

    def write(self, charges: FocusCharges, metric: CostMetric, path: Path, form: FocusFormat) -> Given:
        path.write_text("half")
        raise NeverError("the file can't be written")


@pytest.mark.parametrize("held", ["mine", None])
def test_a_file_that_could_not_be_written_to_its_end_is_not_there(spent: Composition, held: str | None) -> None:
    file = Path("f.csv")
    if held:
        file.write_text(held)
    before = set(Path().iterdir())
    service = replace(spent.focus_service, writer=FullDisk())
    with pytest.raises(NeverError):
        service.write(service.selected(FocusWish(*DAYS[1::2])), file, FocusFormat.CSV, force=True)
    assert set(Path().iterdir()) == before
    assert not held or file.read_text() == held


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "2026-09-02", "--to", "2026-09-01"), "the first day, 2026-09-02, is after the last, 2026-09-01"),
        (("--from", "2026-09-01", "--to", "2026-11-21"), "the last day, 2026-11-21, is in the future"),
        (("--from", "yesterday", "--to", "2026-11-20"), "'yesterday' is no date"),
        (("--from", "", "--to", "2026-11-20"), "--from is empty"),
        (("--to", "2026-11-20"), "--from"),
        ((*DAYS, "--project", "nobody"), "there is no project nobody"),
        ((*DAYS, "--project", ""), "--project is empty"),
        ((*DAYS, "--subscription", "nowhere"), "nothing is known of a subscription nowhere"),
        ((*DAYS, "--format", "parquet"), "Parquet is written to a file only"),
        ((*DAYS, "--format", "xlsx"), "xlsx"),
        ((*DAYS, "--output", "."), "is a folder"),
        ((*DAYS, "--output", "nowhere/f.csv"), "there is no folder nowhere"),
    ],
)
def test_what_can_not_be_right_is_said(cli: Cli, spent: Composition, options: tuple[str, ...], said: str) -> None:
    outcome = cli("focus", "export", *options)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.out == ""


def test_figures_that_lack_something_are_told_beside_the_file(cli: Cli, spent: Composition) -> None:
    outcome = program("focus", "export", "--from", "2025-12-01", "--to", "2026-11-20")
    assert outcome.code == 0
    assert outcome.err.count("warning: incomplete: ") == 2
    assert len(rows_in(outcome.out)) == 5


def test_amortized_costs_are_told_for_what_they_are(
    cli: Cli, spent: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COST_METRIC", "AmortizedCost")
    outcome = cli("focus", "export", *DAYS, "--output", "f.csv")
    assert "BilledCost too, is the amortized one" in outcome.err
    assert {row["x_CostMetric"] for row in rows_in(Path("f.csv").read_text())} == {"AmortizedCost"}


def test_whoever_is_told_to_end_leaves_no_file_that_is_not_whole(spent: Composition) -> None:
    many = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
        "INSERT INTO charges (scope_id, charge_period_start, service_name, billing_currency, billed_cost) "
        "SELECT 1, '2026-11-02', 's' || i, 'CAD', 10000000000 FROM n"
    )
    spent.database.run(lambda connection: connection.execute(many))
    writing = start("focus", "export", *DAYS, "--output", "all.csv")
    while writing.poll() is None and not list(Path().glob(".all.csv.*.tmp")):
        time.sleep(0.005)
    writing.terminate()
    assert (writing.wait(30), list(Path().glob("*all.csv*"))) == (143, [])
