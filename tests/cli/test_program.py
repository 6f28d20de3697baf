"""The command line as a program: exit codes, pipes, terminals, and errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import __version__
from shared.cli.main import main
from shared.composition import Composition
from tests.cli.commands import DIE1, EAU, FIRST, Outcome, night, on_terminal, program, start, write_csv


def test_the_exit_code_is_0_when_all_went_well(environment: dict[str, str]) -> None:
    assert program("projects", "load", write_csv(DIE1)) == Outcome(
        0, "projects.csv: 1 added, 0 changed, 0 unchanged.\n", ""
    )
    assert "dead-letters" in program("--help").out


def test_it_says_its_version() -> None:
    assert program("--version").out == f"budget-warden {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["projects"], ["budgets", "set"], ["status", "--limit", "x"]])
def test_the_exit_code_is_2_for_wrong_usage(environment: dict[str, str], arguments: list[str]) -> None:
    outcome = program(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err


def test_missing_settings_are_told_and_the_exit_code_is_1(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DatahubStorageConnectionString")
    outcome = program("projects", "list")
    assert outcome.code == 1
    assert "DatahubStorageConnectionString is missing" in outcome.err


def test_the_local_settings_file_counts(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DatahubStorageConnectionString")
    values = {"Values": {"DatahubStorageConnectionString": "UseDevelopmentStorage=true"}}
    Path("local.settings.json").write_text(json.dumps(values), encoding="utf-8")
    assert program("projects", "list").code == 0


def test_a_database_that_is_away_is_one_sentence_without_its_password(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://warden:hush@127.0.0.1:1/warden")
    outcome = program("projects", "list")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: the database can't be used now")
    assert len(outcome.err.splitlines()) == 1
    check = program("check")
    assert check.code == 1
    assert "DATABASE_URL" in check.out
    assert "hush" not in outcome.err + check.out + check.err


def test_what_nobody_foresaw_is_a_sentence_and_with_debug_a_traceback(
    environment: dict[str, str], app: Composition
) -> None:
    with app.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE locks")
    outcome = program("projects", "list")
    assert outcome.code == 1
    assert "something that nobody foresaw went wrong (" in outcome.err
    # What the error itself says may hold anything.
    assert "no such table" not in outcome.err
    assert "Traceback" in program("--debug", "projects", "list").err


def test_a_reader_that_leaves_early_meets_no_traceback(environment: dict[str, str], app: Composition) -> None:
    lines = [f"{n},P{n},Project {n},{FIRST},rg-{n},100,CAD,monthly,,,a@example.com,,\n" for n in range(1, 1001)]
    main(["projects", "load", write_csv("".join(lines).rstrip())])
    for arguments in (["projects", "list", "--json"], ["projects", "list"]):
        writer = start(*arguments)
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.read(1)
        writer.stdout.close()
        assert writer.stderr.read() == ""
        writer.stderr.close()
        assert writer.wait(30) in {0, 1}


def test_an_output_that_knows_no_accents_gets_escapes(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["projects", "load", write_csv(EAU)])
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    process = start("projects", "list")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Qualit\\xe9 de l'eau" in out


def test_a_full_disk_is_one_sentence(environment: dict[str, str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = start("projects", "list", "--json", stdout=full)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, len(err.splitlines())) == (1, 1)
    assert err.startswith("error: the operating system refuses: ")


@pytest.mark.parametrize("columns", [40, 120])
def test_nothing_is_cut_off_on_any_terminal(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, app: Composition, columns: int
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    main(["projects", "load", write_csv(DIE1, EAU)])
    night(app)
    listed = on_terminal(columns, "projects", "list")
    for words in ("DIE1", "EAU", *(("12,500 CAD", "2027-03-31") if columns == 120 else ("Left out", "budget"))):
        assert words in listed
    assert "…" not in listed
    # The night is not finished, hours after its end was planned.
    assert "night-2026-11-20" in on_terminal(columns, "status", code=1)
    # No project has a forecast yet; a pipe gets the column all the same, so that the others keep their places.
    assert "forecast" not in listed
    assert "FORECAST" in program("projects", "list").out


def test_a_list_that_is_longer_than_the_screen_goes_through_the_pager(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PAGER", "tee paged.txt")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    one = DIE1.split(",")
    many = [",".join([str(100 + n), f"P{n}", *one[2:4], f"rg-{n}", *one[5:]]) for n in range(60)]
    main(["projects", "load", write_csv(*many)])
    shown = on_terminal(80, "projects", "list")
    paged = (tmp_path / "paged.txt").read_text()
    assert paged.count("Data innovation") == 60
    assert "60 projects, 60 active" in shown
    assert "60 projects" not in paged
    (tmp_path / "paged.txt").unlink()
    on_terminal(80, "projects", "list", "--limit", "20")
    assert not (tmp_path / "paged.txt").exists()
