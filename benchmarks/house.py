"""What the code comes to, by one script for every commit: `python -m benchmarks.house [FOLDER of a checkout]`.

Code lines are those that are neither blank, nor a comment, nor part of a docstring.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module


def main() -> None:
    """Prints the counts of `shared` and function_app.py as the rows of a Markdown table."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    files = [root / "function_app.py", *sorted((root / "shared").rglob("*.py"))]
    folders: dict[str, int] = {}
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    for file in files:
        tree = ast.parse(file.read_text("utf-8"))
        folder = _folder(file.relative_to(root))
        folders[folder] = folders.get(folder, 0) + code_lines(file.read_text("utf-8"), tree)
        functions += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for folder, lines in folders.items():
        print(f"| {folder} | {lines:,} |")
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)
    print(f"| all | {sum(folders.values()):,} |")
    print(f"| files | {len(files)} |")
    print(f"| functions | {len(functions):,} |")
    print(f"| their lines: median, nine in ten under, longest | {_spread(lengths)} |")


def code_lines(source: str, tree: ast.Module) -> int:
    """How many lines say something to Python."""
    told = {number for node in ast.walk(tree) if isinstance(node, Definition) for number in _docstring(node)}
    lines = enumerate((line.strip() for line in source.splitlines()), 1)
    return sum(bool(line) and not line.startswith("#") and number not in told for number, line in lines)


def _docstring(node: Definition) -> Iterator[int]:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _folder(file: Path) -> str:
    """`shared/pipeline`, `shared/adapters/database`, and for a file of its own its name."""
    folder = file.parent
    if folder.parts[:3] == ("shared", "adapters", "database") and "migrations" in folder.parts:
        return "shared/adapters/database/migrations"
    return str(file) if folder in (Path(), Path("shared")) else str(folder)


def _spread(lengths: list[int]) -> str:
    return f"{statistics.median(lengths):g}, {lengths[int(len(lengths) * 0.9)]}, {lengths[-1]}"


if __name__ == "__main__":
    main()
