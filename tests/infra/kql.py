"""What a KQL query of an alert rule answers to rows that are given: so much of the language as those queries use.

What is not understood is an error, not a guess. As in Kusto, `summarize` without `by` makes a row of nothing (its
counts and sums are 0, its least and greatest null), a null compares as false, and what is reckoned with it is null.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]
Value = Callable[[Row], Any]

TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?[dhms]?)\b|'([^']*)'|(!?[a-zA-Z_]\w*)|([=!<>]=|[-+*/()<>=,.]))")
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
# From the loosest to the tightest.
LEVELS: list[dict[str, Callable[[Any, Any], Any]]] = [
    {"or": lambda left, right: left or right},
    {"and": lambda left, right: left and right},
    {
        "==": operator.eq,
        "!=": operator.ne,
        ">=": operator.ge,
        "<=": operator.le,
        ">": operator.gt,
        "<": operator.lt,
        "has": lambda text, word: re.search(rf"(?i)\b{re.escape(word)}\b", text) is not None,
        "startswith": lambda text, start: text.lower().startswith(start.lower()),
        "!startswith": lambda text, start: not text.lower().startswith(start.lower()),
        "in": lambda value, those: value in those,
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
]
COMPARISONS = LEVELS[2]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def answer(query: str, tables: Tables, now: datetime) -> list[dict[str, Any]]:
    """The rows that a query answers with. Raises ValueError for what is not understood."""
    source, *steps = _divided(re.sub(r"//.*", "", query), "|")
    rows = _source(source.strip(), tables, now)
    for step in steps:
        name, _, rest = step.strip().partition(" ")
        if name not in STEPS:
            raise ValueError(f"not understood: {step.strip()}")
        rows = STEPS[name](rows, rest, now)
    return rows


def _source(text: str, tables: Tables, now: datetime) -> list[dict[str, Any]]:
    if text.startswith("union"):
        parts = _divided(text.removeprefix("union"), ",")
        return [row for part in parts for row in answer(part.strip()[1:-1], tables, now)]
    return [dict(row) for row in tables.get(text, ())]


def _divided(text: str, by: str) -> list[str]:
    """The parts of a text between a character that stands in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == by and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _where(rows: list[dict[str, Any]], text: str, now: datetime) -> list[dict[str, Any]]:
    holds = Expression(text, now).value
    return [row for row in rows if holds(row)]


def _extend(rows: list[dict[str, Any]], text: str, now: datetime) -> list[dict[str, Any]]:
    values = _named(text, now)
    return [row | {name: value(row) for name, value in values.items()} for row in rows]


def _project(rows: list[dict[str, Any]], text: str, now: datetime) -> list[dict[str, Any]]:
    values = _named(text, now)
    return [{name: value(row) for name, value in values.items()} for row in rows]


def _expand(rows: list[dict[str, Any]], text: str, now: datetime) -> list[dict[str, Any]]:
    ((name, value),) = _named(text.removesuffix("to typeof(datetime)"), now).items()
    return [row | {name: each} for row in rows for each in value(row)]


def _summarize(rows: list[dict[str, Any]], text: str, now: datetime) -> list[dict[str, Any]]:
    what, _, by = " ".join(text.split()).partition(" by ")
    keys = _named(by, now) if by else {}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {} if keys else {(): []}
    for row in rows:
        groups.setdefault(tuple(value(row) for value in keys.values()), []).append(row)
    return [
        dict(zip(keys, key, strict=True)) | {name: value(its) for name, value in _aggregates(what, now)}
        for key, its in groups.items()
    ]


def _aggregates(text: str, now: datetime) -> list[tuple[str, Callable[[list[dict[str, Any]]], Any]]]:
    found = []
    for part in _divided(text, ","):
        named = re.fullmatch(r"(?:(\w+) = )?(\w+)\((.*)\)", part.strip())
        if named is None or named[2] not in AGGREGATES:
            raise ValueError(f"not understood: {part.strip()}")
        values = [Expression(each, now).value for each in _divided(named[3], ",") if each.strip()]
        found.append((named[1] or f"{named[2]}_", _aggregate(AGGREGATES[named[2]], values)))
    return found


def _aggregate(function: Callable[..., Any], values: list[Value]) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda rows: function(*([value(row) for row in rows] for value in values) if values else [rows])


def _if(function: Callable[[list[Any]], Any]) -> Callable[[list[Any], list[Any]], Any]:
    return lambda values, holds: function([value for value, does in zip(values, holds, strict=True) if does])


AGGREGATES: dict[str, Callable[..., Any]] = {
    "count": len,
    "countif": sum,
    "sum": sum,
    "sumif": _if(sum),
    "dcount": lambda values: len(set(values)),
    "dcountif": _if(lambda values: len(set(values))),
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}
STEPS = {
    "where": _where,
    "extend": _extend,
    "project": _project,
    "mv-expand": _expand,
    "summarize": _summarize,
    "count": lambda rows, _text, _now: [{"Count": len(rows)}],
}


def _named(text: str, now: datetime) -> dict[str, Value]:
    named = {}
    for part in _divided(text, ","):
        found = re.fullmatch(r"(?:(\w+) = (.+)|(\w+))", part.strip(), re.DOTALL)
        if found is None:
            raise ValueError(f"not understood: {part.strip()}")
        named[found[1] or found[3]] = Expression(found[2] or found[3], now).value
    return named


def _bin(value: Any, size: Any) -> Any:
    return EPOCH + (value - EPOCH) // size * size if isinstance(value, datetime) else math.floor(value / size) * size


def _range(start: Any, end: Any, step: Any) -> list[Any]:
    found = []
    while start <= end:
        found.append(start)
        start += step
    return found


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tostring": lambda value: "" if value is None else str(value),
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "bin": _bin,
    "range": _range,
    # Whole ones, by the clock.
    "datetime_diff": lambda _minute, left, right: (_bin(left, UNITS["m"]) - _bin(right, UNITS["m"])) // UNITS["m"],
}


class Expression:
    """value: what an expression comes to for a row."""

    def __init__(self, text: str, now: datetime) -> None:
        self._now, self._tokens, place = now, [], 0
        text = text.strip()
        while place < len(text):
            found = TOKEN.match(text, place)
            if found is None:
                raise ValueError(f"not understood: {text[place:]}")
            self._tokens.append(found.groups())
            place = found.end()
        self.value = self._level(0)
        if self._tokens:
            raise ValueError(f"not understood: {text}")

    def _next(self) -> str:
        """The word or sign that comes next."""
        return (self._tokens[0][2] or self._tokens[0][3] or "") if self._tokens else ""

    def _take(self, *wanted: str) -> None:
        if self._next() not in wanted:
            raise ValueError(f"not understood: {self._next() or 'the end'} in the place of {wanted}")
        del self._tokens[0]

    def _level(self, level: int) -> Value:
        if level == len(LEVELS):
            return self._single()
        value = self._level(level + 1)
        while (sign := self._next()) in LEVELS[level]:
            self._take(sign)
            value = _both(LEVELS[level][sign], value, self._level(level + 1), sign in COMPARISONS)
        return value

    def _single(self) -> Value:
        if not self._tokens:
            raise ValueError("not understood: nothing")
        number, text, word, sign = self._tokens.pop(0)
        if number is not None:
            amount: Any = float(number[:-1]) * UNITS[number[-1]] if number[-1] in UNITS else float(number)
            return lambda _row: amount
        if text is not None:
            return lambda _row: text
        if word in ("true", "false"):
            return lambda _row: word == "true"
        if word is not None:
            return self._called(word) if self._next() == "(" else self._member(word)
        if sign == "(":
            values = self._arguments()
            return values[0] if len(values) == 1 else lambda row: [value(row) for value in values]
        raise ValueError(f"not understood: {sign}")

    def _arguments(self) -> list[Value]:
        """Up to the bracket that closes them; the one that opens them is taken."""
        values = []
        while self._next() != ")":
            values.append(self._level(0))
            if self._next() == ",":
                self._take(",")
        self._take(")")
        return values

    def _called(self, name: str) -> Value:
        self._take("(")
        values = self._arguments()
        if name == "now":
            return lambda _row: self._now
        if name not in FUNCTIONS:
            raise ValueError(f"not understood: {name}()")
        return lambda row: FUNCTIONS[name](*(value(row) for value in values))

    def _member(self, name: str) -> Value:
        path = [name]
        while self._next() == ".":
            self._take(".")
            path.append(self._tokens.pop(0)[2])

        def value(row: Row) -> Any:
            for each in path:
                row = row.get(each) if isinstance(row, Mapping) else None  # type: ignore[assignment]
            return row

        return value


def _both(function: Callable[[Any, Any], Any], left: Value, right: Value, compares: bool) -> Value:
    def value(row: Row) -> Any:
        one, other = left(row), right(row)
        if one is None or other is None:
            return False if compares else None
        return function(one, other)

    return value
