"""The glossary's words are the code's, and retired ones are not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs import markdown, sources

PAGE = "docs/glossary.md"
FEWEST_WORDS = 25


@cache
def identifiers() -> set[str]:
    """Every name that `shared` defines or uses, and those of its modules."""
    found = set()
    for file in (sources.PROJECT / "shared").rglob("*.py"):
        found |= {file.stem, *names_in(ast.parse(file.read_text("utf-8")))}
    return found


@cache
def definitions() -> set[str]:
    """Every name that `shared` itself gives to something: modules, classes, functions, arguments, variables."""
    found = set()
    for file in (sources.PROJECT / "shared").rglob("*.py"):
        found |= {
            *file.relative_to(sources.PROJECT).with_suffix("").parts,
            *defined_in(ast.parse(file.read_text("utf-8"))),
        }
    return found


def names_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                yield name
    yield from defined_in(tree)


def defined_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def words_of(name: str) -> str:
    """The name's words, each between underscores: `_patience_is_over_` for both kinds of spelling."""
    return f"_{re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower().strip('_')}_"


def rows() -> list[list[str]]:
    return markdown.table(sources.read(PAGE), "word")


@cache
def retired() -> tuple[list[str], list[str]]:
    """The words that no name may hold, and those that may not be a name by themselves."""
    _, within, whole = sources.read(PAGE).split("\nRetired")
    return markdown.spans(within), markdown.spans(whole)


def is_retired(name: str) -> bool:
    within, whole = retired()
    return any(words_of(word) in words_of(name) for word in within) or words_of(name) in map(words_of, whole)


def test_the_glossary_is_one_page_of_at_least_25_words_each_once():
    words = [row[0] for row in rows()]
    assert len(set(words)) == len(words) >= FEWEST_WORDS
    assert all(len(row) == 3 and row[1] for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_word_is_in_the_code_under_its_name(row):
    named = markdown.spans(row[2])
    assert named
    assert set(named) <= identifiers()


def test_retired_words_name_nothing_in_the_code():
    assert all(retired())
    assert {name for name in definitions() if is_retired(name)} == set()


def test_a_retired_word_would_be_found_in_every_spelling():
    source = (
        "class WorkPatience: ...\nclass Case: ...\ndef note(patience_left, without_case): in_step = BudgetsInStep()"
    )
    found = {name for name in defined_in(ast.parse(source)) if is_retired(name)}
    assert found == {"WorkPatience", "Case", "patience_left", "in_step"}
