"""What the code says of itself, for the docs to be compared with: read, not run."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import typer

PROJECT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    """A file of the project; one that is missing fails the test with its name."""
    path = PROJECT / name
    assert path.is_file(), f"{name} is missing"
    return path.read_text("utf-8")


def doc_pages() -> list[str]:
    """The pages of the docs."""
    return ["README.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]


def text_files() -> dict[str, str]:
    """All text files of the project with their contents, but for what .gitignore leaves out."""
    ignored = [".git", *(line.rstrip("/") for line in read(".gitignore").splitlines())]
    found = {}
    for folder, below, names in os.walk(PROJECT):
        below[:] = _kept(below, ignored)
        for path in (Path(folder, name) for name in _kept(names, ignored)):
            content = path.read_bytes()
            if b"\0" not in content:
                found[str(path.relative_to(PROJECT))] = content.decode("utf-8")
    return found


def _kept(names: list[str], ignored: list[str]) -> list[str]:
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in ignored)]


INDEX = """
import json
import function_app

for function in function_app.app.get_functions():
    trigger = function.get_trigger()
    named = {name: getattr(trigger, name, None) for name in ("queue_name", "schedule", "route")}
    methods = [str(getattr(each, "value", each)) for each in getattr(trigger, "methods", None) or ()]
    print(json.dumps([function.get_function_name(), named, methods]))
"""


@cache
def triggers() -> dict[str, str]:
    """Each function of function_app.py by name, with its trigger: its queue or schedule, such as %WatchdogCRON%, or
    its method and path, such as POST /api/budget-alert. Indexed as the worker does."""
    environment = {"DatahubStorageConnectionString": "UseDevelopmentStorage=true", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", INDEX]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    indexed = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        name: named["queue_name"] or named["schedule"] or _request(named["route"], methods)
        for name, named, methods in indexed
    }


def _request(route: str, methods: list[str]) -> str:
    """host.json leaves Azure's own prefix out: the routes are whole."""
    assert json.loads(read("host.json"))["extensions"]["http"]["routePrefix"] == ""
    return f"{methods[0]} /{route}" if len(methods) == 1 else f"/{route}"


def imports_of(name: str) -> set[str]:
    """All modules that a file imports, wherever in it; for `from a import b` both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(read(name))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def make_targets() -> set[str]:
    """The targets of the Makefile that have a name."""
    return set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))


def commands() -> Iterator[str]:
    """Every command of the command line, such as `projects load`."""
    from shared.cli.main import app

    return _commands(typer.main.get_command(app), ())


def _commands(command: object, path: tuple[str, ...]) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path)
        return
    for name, subcommand in below.items():
        if not subcommand.hidden:
            yield from _commands(subcommand, (*path, name))
