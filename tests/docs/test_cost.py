"""docs/cost.md is reckoned from its own counts, by the prices that it names."""

from __future__ import annotations

import re

import pytest

from benchmarks import cost
from tests.docs import markdown, sources

PAGE = "docs/cost.md"
MOST_DOLLARS = 1.0


def numbers(cell: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", cell)]


def rows(heading: str) -> dict[float, list[float]]:
    """By number of projects: what stands in the table whose second column has this heading."""
    found = next(table for table in markdown.tables(sources.read(PAGE)) if table[0][1] == heading)
    return {numbers(row[0])[0]: [numbers(cell)[0] for cell in row[1:]] for row in found[1:]}


def test_a_month_is_what_its_nights_come_to():
    counted, months = rows("executions"), rows("Functions")
    assert list(counted) == list(months) == [100, 1000, 10000]
    for projects, (executions, seconds, messages, log_bytes, *_) in counted.items():
        month = cost.month(cost.Counts(int(executions), seconds, int(messages), int(log_bytes)))
        reckoned = [month.functions, month.without_grant, month.storage, month.logs, month.total]
        assert months[projects] == pytest.approx(reckoned, abs=0.005), projects
        assert month.total < MOST_DOLLARS


def test_the_prices_are_those_that_the_benchmark_reckons_with():
    given = [each for row in markdown.table(sources.read(PAGE), "price") for each in numbers(row[1])]
    assert given == [
        cost.A_GB_SECOND,
        cost.A_MILLION_EXECUTIONS,
        cost.FREE_GB_SECONDS,
        cost.FREE_EXECUTIONS,
        cost.TEN_THOUSAND_QUEUE_OPERATIONS,
        cost.A_GB_OF_LOGS,
    ]


def test_an_execution_is_billed_by_the_second_then_by_tenths():
    assert [cost.billed(seconds) for seconds in (0.01, 1.0, 1.01, 1.3)] == pytest.approx([1.0, 1.0, 1.1, 1.3])
