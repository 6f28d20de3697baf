"""`make clean` takes nothing away that can't be made again, unless it is told to."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which everything was made that `make clean` takes away."""
    shutil.copy(MAKEFILE, tmp_path)
    for name in (".venv", ".azurite", ".local", ".hypothesis"):
        (tmp_path / name).mkdir()
    (tmp_path / ".local" / "mail.eml").write_text("")
    return tmp_path


def clean(folder: Path, answer: str | None) -> str:
    """What it writes. answer: None where nobody is there to give one."""
    given = {"input": answer} if answer is not None else {"stdin": subprocess.DEVNULL}
    result = subprocess.run(["make", "clean"], cwd=folder, capture_output=True, text=True, check=True, **given)
    return result.stdout


@pytest.mark.parametrize("name", ["warden.db", "other/mine.sqlite3"])
@pytest.mark.parametrize(
    ("answer", "kept"), [(None, True), ("", True), ("\n", True), ("n\n", True), ("y\n", False), ("Yes\n", False)]
)
def test_a_database_is_only_deleted_where_somebody_says_so(
    folder: Path, name: str, answer: str | None, kept: bool
) -> None:
    file = folder / ".local" / name
    file.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (c)")
    connection.close()
    said = clean(folder, answer)
    assert f".local/{name}" in said
    assert (file.exists(), "Kept .local." in said) == (kept, kept)
    assert not (folder / ".venv").exists()


def test_without_a_database_nobody_is_asked(folder: Path) -> None:
    clean(folder, None)
    assert [each.name for each in folder.iterdir()] == ["Makefile"]
