"""The version before runs on the new tables: steps only add what it need not know of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, inspect, text

from shared.adapters.database import migrate
from shared.adapters.database.engine import Database

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
