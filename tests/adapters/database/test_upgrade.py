"""The version before runs on the new tables: steps only add what it need not know of."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, inspect, text

from shared.adapters.database import migrate
from shared.adapters.database.engine import Database

ROOT = Path(__file__).parents[3]
# From here on; before it, steps moved tables, and the app has to be stopped meanwhile (CHANGELOG).
FIRST = "0024"


def tables_of(connection: Connection) -> dict[str, dict[str, Any]]:
    """Each table: its columns by name, and what has to be unique or refer to others."""
    seen = inspect(connection)
    return {
        name: {
            "columns": {column["name"]: column for column in seen.get_columns(name)},
            "rules": {
                *(("unique", *each["column_names"]) for each in seen.get_unique_constraints(name)),
                *(("unique", *each["column_names"]) for each in seen.get_indexes(name) if each["unique"]),
                *(("refers", *each["constrained_columns"]) for each in seen.get_foreign_keys(name)),
                ("key", *seen.get_pk_constraint(name)["constrained_columns"]),
            },
        }
        for name in seen.get_table_names()
    }


def in_the_way(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What a program that knows the tables only as they were would stumble over."""
    for name, table in before.items():
        if name not in after:
            yield f"{name} is gone"
            continue
        yield from _columns_in_the_way(name, table["columns"], after[name]["columns"])
        yield from (f"{name}: new rule {rule}" for rule in sorted(after[name]["rules"] - table["rules"]))


def _columns_in_the_way(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for column, old in before.items():
        if column not in after:
            yield f"{name}.{column} is gone"
        elif str(after[column]["type"]) != str(old["type"]):
            yield f"{name}.{column} is of another type"
        elif old["nullable"] and not after[column]["nullable"]:
            yield f"{name}.{column} may not be empty any more"
    for column in after.keys() - before.keys():
        if not after[column]["nullable"] and after[column]["default"] is None:
            yield f"{name}.{column} has to be filled in"


def at(tmp_path: Path, revision: str) -> Database:
    database = Database(f"sqlite:///{tmp_path / revision}.db")
    with database.engine.begin() as connection:
        command.upgrade(migrate.alembic_config(connection=connection), revision)
    return database


def test_the_version_before_runs_on_the_new_tables(tmp_path: Path):
    with at(tmp_path, FIRST).engine.connect() as before, at(tmp_path, "head").engine.connect() as after:
        assert list(in_the_way(tables_of(before), tables_of(after))) == []


def test_what_would_be_in_its_way_is_found(tmp_path: Path):
    database = at(tmp_path, FIRST)
    with database.engine.begin() as connection:
        before = tables_of(connection)
        for statement in (
            "DROP TABLE answers",
            "ALTER TABLE mails RENAME COLUMN reason TO why",
            "ALTER TABLE mails ADD COLUMN harmless INTEGER",
            "ALTER TABLE runs ADD COLUMN also_harmless INTEGER DEFAULT 0 NOT NULL",
            "CREATE UNIQUE INDEX once ON runs (started_at)",
            "CREATE TABLE songs (id INTEGER)",
        ):
            connection.execute(text(statement))
        after = tables_of(connection)
    after["projects"]["columns"]["owner"]["nullable"] = False
    after["projects"]["columns"]["name"]["type"] = "DATE"
    after["projects"]["columns"]["new"] = {"nullable": False, "default": None}
    assert set(in_the_way(before, after)) == {
        "answers is gone",
        "mails.reason is gone",
        "runs: new rule ('unique', 'started_at')",
        "projects.owner may not be empty any more",
        "projects.name is of another type",
        "projects.new has to be filled in",
    }


# What the version before does in between: loads, lists, compares with budgets, mails.
NIGHT = """
import sys
from shared import settings
from shared.cli.main import main
from shared.composition import Composition
from shared.messages import NotificationMessage

codes = [main(["projects", "load", file, "--yes"]) for file in sys.argv[1:]]
app = Composition(settings.load())
app.notifier.notify(NotificationMessage((11, 12)), "m1")
codes += [main(["projects", "list"]), main(["costs"]), main(["mails", "list", "--json"])]
sys.exit(any(codes))
"""
LINE = "11,DIE1,Data,1caaa5a3-2b66-438e-8ab4-bce37d518c5d,rg-1,{amount},CAD,annual,2026-04-01,,ann@example.com,en,true"
HEADER = (
    "id,acronym,name,subscription_id,resource_groups,budget,currency,period,period_start,period_end,contacts,"
    "language,active"
)


@pytest.mark.postgres
def test_the_code_before_the_newest_step_works_on_the_tables_after_it(tmp_path: Path, postgres_url: str):
    """From the repository's own history; skipped where there is none (a download, a shallow clone)."""
    newest = max((migrate.MIGRATIONS / "versions").glob("0*.py")).relative_to(ROOT)
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", str(newest)).decode().strip()
    archive = git("archive", f"{added}^", "shared") if added else b""
    if not archive:
        pytest.skip("the history of this repository is not here")
    with tarfile.open(fileobj=BytesIO(archive)) as code:
        code.extractall(tmp_path, filter="data")
    assert not (tmp_path / newest).exists()
    files = []
    for amount in ("1000", "2000"):
        files.append(tmp_path / f"{amount}.csv")
        files[-1].write_text(f"{HEADER}\n{LINE.format(amount=amount)}\n", "utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": postgres_url,
        "DatahubStorageConnectionString": "UseDevelopmentStorage=true",
    }
    command_line = [sys.executable, "-c", NIGHT, *map(str, files)]
    done = subprocess.run(command_line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2,000 CAD" in done.stdout


def git(*arguments: str) -> bytes:
    """What it writes; nothing where it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout
