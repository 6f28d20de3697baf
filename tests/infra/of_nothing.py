"""What a KQL query answers where there is no data at all.

`summarize` without `by` makes a row of nothing: its counts and sums are 0, its least, greatest and newest are null. All
else makes none. Null compares as false. What is not understood is an error, not a guess.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping

Row = dict[str, float | None]
COUNTS = {"count", "countif", "sum", "sumif", "dcount"}
NOTHING = {"min", "max", "avg", "percentile", "arg_max", "take_any"}
AGGREGATE = re.compile(r"(?:(\w+)\s*=\s*)?(\w+)\((?:[^()]|\([^()]*\))*\)")
ALWAYS_ONE_ROW = "count"


def row_of_nothing(query: str) -> Row | None:
    """The one row of the answer, or None for an answer without rows. Raises ValueError for what is not understood."""
    without_comments = re.sub(r"//.*", "", query)
    row: Row | None = None
    for step in _steps(without_comments)[1:]:
        name, _, rest = step.partition(" ")
        if name == "summarize":
            row = None if re.search(r"\bby\b", rest) else _summarized(rest)
        elif name == ALWAYS_ONE_ROW and not rest:
            row = {"Count": 0}
        elif row is not None and name == "where":
            row = row if all(_holds(each, row) for each in rest.split(" and ")) else None
        elif row is not None and name not in ("project", "order", "top", "extend"):
            raise ValueError(f"not understood: {step}")
    return row


def _steps(query: str) -> list[str]:
    """The query's steps; those within brackets belong to a union, which has no rows where its parts have none."""
    flat = query
    while flat != (flat := re.sub(r"\([^()|]*\|[^()]*(?:\([^()]*\)[^()]*)*\)", "_", flat)):
        pass
    return [" ".join(step.split()) for step in flat.split("|")]


def _summarized(text: str) -> Row:
    row: Row = {}
    for name, function in AGGREGATE.findall(text):
        if function not in COUNTS | NOTHING | {"round"}:
            raise ValueError(f"not understood: {function}")
        row[name or f"{function}_"] = 0 if function in COUNTS else None
    return row


CONDITION = re.compile(r"(?:coalesce\((\w+), ([\d.]+)\)|(\w+)) (>=|<=|==|>|<) ([\d.]+)(?: \* (\w+))?")
COMPARE = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "==": operator.eq}


def _holds(condition: str, row: Mapping[str, float | None]) -> bool:
    found = CONDITION.fullmatch(condition.strip())
    if found is None:
        raise ValueError(f"not understood: {condition}")
    value = row[found[1] or found[3]]
    left = float(found[2]) if value is None and found[2] else value
    factor = 1 if found[6] is None else row[found[6]]
    if left is None or factor is None:
        return False
    return bool(COMPARE[found[4]](left, float(found[5]) * factor))
