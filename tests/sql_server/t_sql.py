"""T-SQL without a server: what SQL Server has against a statement, and what does the same on SQLite.

The statements are parsed by sqlglot, which knows less of T-SQL than SQL Server does. What is checked is what another
database lets pass and SQL Server rejects, as far as SQLAlchemy can be made to write it. Where Microsoft's own parser
lies next to the project, it reads them too (tests/conftest.py).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import sqlglot
from sqlalchemy import Table
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.schema import CreateTable
from sqlglot import exp
from sqlglot.expressions import DataType

from shared.adapters.database.tables import metadata
from shared.adapters.database.types import Money

MOST_PARAMETERS = 2100
MOST_ROWS = 1000
BINARY = "Latin1_General_100_BIN2"

# It warns of what has no equal on SQLite, which is looked after here.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

# What SQL Server rejects and another database lets pass, or what is another's own, by what it looks like.
REJECTED = {
    "a tuple before IN": r"(?<![\w\]])\([^()]*,[^()]*\)\s+(NOT\s+)?IN\s*\(",
    "NULLS FIRST or LAST": r"\bNULLS\s+(FIRST|LAST)\b",
    "EXISTS among the columns": r"\bSELECT\s+(NOT\s*)?\(*\s*EXISTS\b|,\s*(NOT\s*)?\(*\s*EXISTS\b",
    "LIMIT": r"\bLIMIT\b",
    "ON CONFLICT": r"\bON\s+CONFLICT\b",
    "RETURNING": r"\bRETURNING\b",
    "MERGE": r"^\s*MERGE\b",
    "RECURSIVE": r"\bRECURSIVE\b",
    "FOR UPDATE": r"\bFOR\s+UPDATE\b",
    "IS before a value": r"\bIS\s+(?!NULL\b|NOT\s+NULL\b)",
    "|| between texts": r"\|\|",
    "true or false": r"(?<![\w.'\[])(true|false)\b",
    "OFFSET without ORDER BY": r"^(?!.*\bORDER\s+BY\b).*\bOFFSET\b",
    "a comparison among the columns": r"^SELECT\s+(?:(?!\bFROM\b|\bCASE\b|\().)*[<>=](?:(?!\bCASE\b).)*\bFROM\b",
}


def dialect() -> MSDialect_pyodbc:
    """SQLAlchemy's dialect as it is with a present-day server."""
    made = MSDialect_pyodbc(deprecate_large_types=True)
    made.server_version_info = (16, 0)
    return made


def create_statement(table: Table) -> str:
    """CREATE TABLE as SQL Server gets it."""
    return str(CreateTable(table).compile(dialect=dialect()))


# --- what SQL Server has against a statement -----------------------------------------------------------------


def faults(statement: str, parameters: Sequence[Any] = ()) -> list[str]:
    """What SQL Server has against the statement, in words."""
    found = [f"{len(parameters)} parameters"] if len(parameters) > MOST_PARAMETERS else []
    return [*_faults(statement), *found]


@lru_cache(maxsize=5000)
def _faults(statement: str) -> tuple[str, ...]:
    bare = re.sub(r"'[^']*'", "''", statement)
    found = [words for words, pattern in REJECTED.items() if re.search(pattern, bare, re.IGNORECASE | re.DOTALL)]
    if found or _by_hand(statement) is not None:
        return tuple(found)
    try:
        return tuple(fault for tree in _read(statement) for fault in _faults_in(tree))
    except sqlglot.errors.SqlglotError as error:
        return (f"what can't be read ({error})",)


@lru_cache(maxsize=100)
def _read(statement: str) -> list[exp.Expr]:
    return [tree for tree in sqlglot.parse(statement, read="tsql") if tree is not None]


def _faults_in(tree: exp.Expr) -> Iterator[str]:
    for values in tree.find_all(exp.Values):
        if len(values.expressions) > MOST_ROWS:
            yield "too many VALUES rows"
    for select in tree.find_all(exp.Select):
        yield from _faults_of_groups(select)
        yield from _faults_of_distinct(select)
    for aggregate in tree.find_all(exp.AggFunc):
        if aggregate.find(exp.Select):
            yield "a subquery inside of an aggregate"
    yield from _faults_of_collations(tree)


def _faults_of_groups(select: exp.Select) -> Iterator[str]:
    """What is neither grouped by nor summed up; a parameter is not equal to another with the same value."""
    aliases = {each.alias for each in select.expressions if each.alias}
    group = select.args.get("group")
    grouped = group.expressions if group else []
    for each in grouped:
        if isinstance(each, exp.Column) and not each.table and each.name in aliases:
            yield f"GROUP BY an alias: {each.name}"
        if each.find(exp.Placeholder, exp.Literal):
            yield "a value in GROUP BY"
    if grouped or any(each.find(exp.AggFunc) for each in select.expressions if not each.find(exp.Select, exp.Window)):
        for each in select.expressions:
            yield from (f"neither grouped nor summed up: {name}" for name in _loose(each.unalias(), set(grouped)))


def _loose(part: exp.Expr, grouped: set[exp.Expr]) -> Iterator[str]:
    if part in grouped or isinstance(part, (exp.AggFunc, exp.Select, exp.Window)):
        return
    if isinstance(part, exp.Column):
        yield part.name
    for each in part.iter_expressions():
        yield from _loose(each, grouped)


def _faults_of_distinct(select: exp.Select) -> Iterator[str]:
    order = select.args.get("order")
    if not order or not select.args.get("distinct"):
        return
    listed = {each.unalias() for each in select.expressions}
    names = {each.alias_or_name for each in select.expressions}
    for each in order.expressions:
        if each.this not in listed and not (isinstance(each.this, exp.Column) and each.this.name in names):
            yield f"ORDER BY what DISTINCT does not list: {each.this.sql()}"


def _faults_of_collations(tree: exp.Expr) -> Iterator[str]:
    """Keys are compared letter by letter and other texts without regard to case: the two can't be compared."""
    tables = {table.alias_or_name: table.name for table in tree.find_all(exp.Table)}
    for compared in tree.find_all(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE):
        if isinstance(compared.parent, exp.Update):
            continue  # an assignment
        sides = [side for side in (compared.this, compared.expression) if isinstance(side, exp.Column)]
        if len({_collations().get((tables.get(side.table, ""), side.name)) for side in sides} - {None}) > 1:
            yield f"a key compared with another text: {compared.sql()}"


@cache
def _collations() -> dict[tuple[str, str], str | None]:
    """The collation of each column that holds text."""
    found = {}
    for table in metadata.tables.values():
        for column in table.columns:
            kind = str(column.type.compile(dialect())) if column.type else ""
            if "VARCHAR" in kind:
                found[(table.name, column.name)] = BINARY if BINARY in kind else "usual"
    return found


# --- the same on SQLite --------------------------------------------------------------------------------------

# What was run in this process.
ran: set[str] = set()


@lru_cache(maxsize=5000)
def on_sqlite(statement: str) -> tuple[str, ...]:
    """T-SQL, as far as SQLAlchemy, Alembic and our steps write it, in SQLite's words."""
    ran.add(statement)
    by_hand = _by_hand(statement)
    if by_hand is not None:
        return by_hand
    return tuple(_translated(tree.copy()).sql(dialect="sqlite") for tree in _read(statement))


def without_repetitions(statement: str) -> str:
    """The same as far as a parser is concerned: of rows and values in a list, one or two stand for all."""
    one_row = re.sub(r"(\((?:\?|NULL)(?:, (?:\?|NULL))*\))(?:, \1)+", r"\1", statement)
    return re.sub(r"\?(?:, \?)+", "?, ?", one_row)


# What sqlglot does not take apart, and what it becomes.
BATCHES: dict[str, Callable[[re.Match[str]], list[str]]] = {
    r".*\bEXEC (@\w+) = sp_getapplock\b.*\bSELECT \1;.*": lambda _: ["SELECT 0"],
    r"\s*SET (?:NOCOUNT|IDENTITY_INSERT [\w\[\].]+) \w+;?\s*": lambda _: [],
    r"SELECT 1 FROM fn_listextendedproperty\(.*": lambda _: ["SELECT 1"],
    r".*FROM sys\.dm_exec_sessions\b.*": lambda _: ["SELECT 'READ COMMITTED'"],
    r"select @@version": lambda _: ["SELECT 'Microsoft SQL Azure (RTM) - 16.0.1000.6'"],
    # Default values are no objects of their own on SQLite.
    r"declare @const_name .*": lambda _: [],
    r"EXEC sp_rename '(\w+)\.(\w+)', \[?(\w+)\]?, 'COLUMN'": lambda found: [
        f"ALTER TABLE {found[1]} RENAME COLUMN {found[2]} TO {found[3]}"
    ],
    r"\s*CREATE TRIGGER (\w+) ON (\w+) AFTER (\w+) AS\s+SET NOCOUNT ON; (INSERT INTO \w+) SELECT ('\w+') FROM \w+\s*": (
        lambda found: [
            f"CREATE TRIGGER {found[1]} AFTER {found[3]} ON {found[2]} BEGIN {found[4]} VALUES ({found[5]}); END"
        ]
    ),
    r"\s*CREATE TRIGGER (\w+) ON (\w+) AFTER ([A-Z, ]+) AS\s.*THROW \d+, '([^']*)'.*": lambda found: [
        "CREATE TABLE IF NOT EXISTS disabled_triggers (name TEXT)",
        *(
            f"CREATE TRIGGER {found[1]}_{change} BEFORE {change} ON {found[2]} "
            f"WHEN NOT EXISTS (SELECT 1 FROM disabled_triggers WHERE name = '{found[1]}') "
            f"BEGIN SELECT RAISE(ABORT, '{found[4]}'); END"
            for change in found[3].split(", ")
        ),
    ],
    r"DISABLE TRIGGER (\w+) ON \w+": lambda found: [f"INSERT INTO disabled_triggers VALUES ('{found[1]}')"],
    r"ENABLE TRIGGER (\w+) ON \w+": lambda found: [f"DELETE FROM disabled_triggers WHERE name = '{found[1]}'"],
}


def _by_hand(statement: str) -> tuple[str, ...] | None:
    for pattern, words in BATCHES.items():
        found = re.fullmatch(pattern, statement, re.DOTALL)
        if found:
            return tuple(words(found))
    return None


def _translated(tree: exp.Expr) -> exp.Expr:
    if isinstance(tree, exp.Drop) and tree.args.get("kind") == "INDEX":
        tree.set("cluster", None)
    for returned in tree.find_all(exp.Returning):
        for column in returned.find_all(exp.Column):
            column.set("table", None)
    for definition in list(tree.find_all(exp.ColumnDef)):
        _keep_as_sqlite_can(definition)
    return tree.transform(_part, copy=False)


def _part(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Cast) and node.to.this in TEXTS:
        return exp.cast(node.this, "TEXT")
    if isinstance(node, exp.Add) and any(isinstance(side, exp.Literal) and side.is_string for side in node.flatten()):
        return exp.DPipe(this=node.this, expression=node.expression)
    if _chooses_amount(node):
        # Unlike a type, a collation does not go with what is chosen among columns.
        return exp.Collate(this=node, expression=exp.var("AMOUNTS"))
    if isinstance(node, exp.CurrentSchema):
        return exp.Literal.string("dbo")
    if isinstance(node, exp.Collate):
        return exp.Collate(this=node.this, expression=exp.var(_collation(node.expression.name)))
    # The catalogue's views stand on each connection under one name.
    schema = node.args.get("db") if isinstance(node, (exp.Table, exp.Column)) else None
    if schema is not None:
        part = "this" if isinstance(node, exp.Table) else "table"
        node.set(part, exp.to_identifier(f"{schema.name}_{node.args[part].name}".lower()))
        node.set("db", None)
    return node


def _chooses_amount(node: exp.Expr | None) -> bool:
    """Whether it is CASE or COALESCE, and chooses among amounts."""
    if isinstance(node, exp.Case):
        chosen = [*(each.args["true"] for each in node.args["ifs"]), node.args.get("default")]
    elif isinstance(node, exp.Coalesce):
        chosen = [node.this]
    else:
        return False
    return any(
        (each.table, each.name) in _amounts() if isinstance(each, exp.Column) else _chooses_amount(each)
        for each in chosen
    )


@cache
def _amounts() -> set[tuple[str, str]]:
    """The columns that hold amounts."""
    columns = (column for table in metadata.tables.values() for column in table.columns)
    return {(each.table.name, each.name) for each in columns if isinstance(each.type, Money)}


TEXTS = {DataType.Type.NVARCHAR, DataType.Type.VARCHAR}
KEPT_AS = {
    DataType.Type.DECIMAL: "TEXT COLLATE AMOUNTS",
    DataType.Type.DATE: "TEXT",
    DataType.Type.TIMESTAMPTZ: "TEXT",
    DataType.Type.BIT: "INTEGER",
    DataType.Type.INT: "INTEGER",
    DataType.Type.BIGINT: "INTEGER",
    DataType.Type.VARBINARY: "BLOB",
}


def _keep_as_sqlite_can(definition: exp.ColumnDef) -> None:
    kind = definition.args["kind"]
    others = [each for each in definition.constraints if not isinstance(each.kind, DROPPED)]
    if kind.this in TEXTS:
        collations = [each.kind.this.name for each in definition.constraints if isinstance(each.kind, DROPPED[1])]
        length = kind.expressions[0].name
        kept = f"TEXT COLLATE {_collation(*collations)}"
        if length.isdigit():
            others.append(_checked(f"fits({definition.this.sql('sqlite')}, {length})"))
    else:
        kept = KEPT_AS[kind.this]
    definition.set("kind", exp.var(kept))
    definition.set("constraints", others)


DROPPED = (exp.AutoIncrementColumnConstraint, exp.CollateColumnConstraint)


def _checked(condition: str) -> exp.ColumnConstraint:
    return exp.ColumnConstraint(kind=exp.CheckColumnConstraint(this=sqlglot.parse_one(condition, read="sqlite")))


def _collation(name: str = "usual") -> str:
    """Neither collation tells trailing blanks apart; the usual one knows no case either."""
    return "RTRIM" if name == BINARY else "USUAL"
