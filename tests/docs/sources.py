"""What the code says of itself, for the docs to be compared with: read, not run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
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


def triggers() -> dict[str, str]:
    """Each function of function_app.py by name, with its trigger: its queue or schedule, such as %WatchdogCRON%, or
    its method and path, such as POST /api/budget-alert."""
    found = {}
    for node in ast.parse(read("function_app.py")).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            calls = {call.func.attr: call for call in node.decorator_list if _is_method_call(call)}
            found[_constant(calls["function_name"].args[0])] = _trigger(calls)
    return found


def _is_method_call(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def _trigger(calls: dict[str, ast.Call]) -> str:
    if "route" in calls:
        return _request(calls["route"])
    (trigger,) = [call for name, call in calls.items() if name.endswith("_trigger")]
    named = {keyword.arg: keyword.value for keyword in trigger.keywords}
    return _constant(named.get("queue_name") or named["schedule"])


def _request(route: ast.Call) -> str:
    """The prefix is Azure's own; host.json could change it, and does not."""
    assert "routePrefix" not in read("host.json")
    named = {keyword.arg: keyword.value for keyword in route.keywords}
    (method,) = ast.literal_eval(named["methods"])
    return f"{method} /api/{_constant(named['route'])}"


def _constant(node: ast.expr) -> str:
    value = ast.literal_eval(node)
    assert isinstance(value, str)
    return value


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
        yield from _commands(subcommand, (*path, name))
