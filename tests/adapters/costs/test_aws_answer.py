"""Answers of Cost Explorer's that are odd in part: what is left out of them, what is told, and what fails whole."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.adapters.costs.aws_answer import Answer
from shared.domain.periods import Period
from shared.ports.costs import AccountsAnswer, AccountsQuery
from shared.ports.errors import NeverError
from tests.aws_worlds import ACCOUNT, OTHER, cloud_account

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))
COST = {"UnblendedCost": {"Amount": "2", "Unit": "USD"}}
GOOD = {"Keys": [OTHER, "Amazon EC2"], "Metrics": COST}
NO_ROW = "AWS's answer has a row that is no charge (2026-11-02"


def a_page(*groups: object, end: object = "2026-11-03", **more: object) -> dict[str, Any]:
    """One day's rows. more: of the day."""
    return {"ResultsByTime": [{"TimePeriod": {"Start": "2026-11-02", "End": end}, "Groups": list(groups), **more}]}


def read(*pages: dict[str, Any]) -> AccountsAnswer:
    query = AccountsQuery(cloud_account("400000000004", is_organization=True), NOVEMBER)
    answer = Answer(query, "UnblendedCost", None, NOW)
    for page in pages:
        answer.add(page)
    return answer.whole()


def refused(page: dict[str, Any]) -> str:
    with pytest.raises(NeverError) as error:
        read(page)
    return error.value.reason


@pytest.mark.parametrize(
    ("row", "whose", "why"),
    [
        (None, "", "its keys are not two texts"),
        (5, "", "its keys are not two texts"),
        ([1], "", "its keys are not two texts"),
        ({"Keys": 5, "Metrics": COST}, "", "its keys are not two texts"),
        ({"Keys": "ab", "Metrics": COST}, "", "its keys are not two texts"),
        ({"Keys": {"a": 1, "b": 2}, "Metrics": COST}, "", "its keys are not two texts"),
        ({"Keys": [ACCOUNT, "S3"], "Metrics": [1]}, ACCOUNT, "it has no unit"),
        ({"Keys": [ACCOUNT, "S3"], "Metrics": {"UnblendedCost": [1]}}, ACCOUNT, "it has no unit"),
        (
            {"Keys": [ACCOUNT, "S3"], "Metrics": {"UnblendedCost": {"Unit": ["USD"]}}},
            ACCOUNT,
            "its unit is ['USD'], which is no text",
        ),
    ],
)
def test_a_row_of_another_kind_is_left_out_alone_and_told(row: object, whose: str, why: str) -> None:
    answer = read(a_page(row, GOOD))
    assert [sum(each.amounts.values()) for each in answer.charges[OTHER]] == [Decimal(2)]
    assert set(answer.charges) == {OTHER}
    assert set(answer.odd) == {whose}
    assert answer.odd[whose].startswith(NO_ROW)
    assert answer.odd[whose].endswith(f"): {why}.")


@pytest.mark.parametrize(
    "names",
    [
        5,
        {"a": 1},
        [None],
        [5],
        [{"Value": OTHER}],
        [{"Value": OTHER, "Attributes": None}],
        [{"Value": OTHER, "Attributes": ["description"]}],
        [{"Value": OTHER, "Attributes": {"description": ["x"]}}],
        [{"Value": [OTHER], "Attributes": {"description": "x"}}],
    ],
)
def test_a_name_that_can_not_be_read_is_left_out_and_the_others_stay(names: Any) -> None:
    good = {"Value": ACCOUNT, "Attributes": {"description": "Web"}}
    more = [*names, good] if isinstance(names, list) else names
    answer = read(a_page(GOOD) | {"DimensionValueAttributes": more})
    assert answer.names == ({ACCOUNT: "Web"} if isinstance(names, list) else {})
    assert (set(answer.charges), answer.odd) == ({OTHER}, {})


@pytest.mark.parametrize(
    ("page", "what"),
    [
        (a_page(GOOD) | {"NextPageToken": [1]}, "page 1 names the next one by '[1]', which is no text"),
        (a_page(GOOD) | {"NextPageToken": 5}, "page 1 names the next one by '5', which is no text"),
        ({"ResultsByTime": [None]}, "it has a day without date"),
        ({"ResultsByTime": [{"TimePeriod": None}]}, "it has a day without date"),
        ({"ResultsByTime": [{"TimePeriod": {"Start": 5}}]}, "'5' is no day"),
        ({"ResultsByTime": [{"TimePeriod": {"Start": "2026-W45-1"}}]}, "'2026-W45-1' is no day"),
        ({"ResultsByTime": [{"TimePeriod": {"Start": "2026-11-31"}}]}, "'2026-11-31' is no day"),
        (a_page() | {"ResultsByTime": [a_page()["ResultsByTime"][0] | {"Groups": "abc"}]}, "it has of 2026-11-02"),
    ],
)
def test_an_answer_that_can_not_be_is_told_in_a_sentence(page: dict[str, Any], what: str) -> None:
    assert refused(page).startswith("AWS's answer is not what was asked for: ")
    assert what in refused(page)


@pytest.mark.parametrize("end", ["2026-12-01", "2026-11-02", "2026-11-01", "x", 5, None])
def test_what_is_not_of_one_day_is_left_out_and_told_of_its_accounts(end: object) -> None:
    of_a_month = {"Keys": [ACCOUNT, "Amazon S3"], "Metrics": COST}
    nobody = {"Keys": ["NoLinkedAccount", "Amazon S3"], "Metrics": COST}
    answer = read(a_page(of_a_month, nobody, end=end), a_page(GOOD))
    assert set(answer.charges) == {OTHER}
    assert set(answer.odd) == {ACCOUNT, ""}
    until = "no end" if end is None else str(end)
    assert answer.odd[ACCOUNT] == (f"{NO_ROW}, Amazon S3): it is of 2026-11-02 to {until}, and days were asked for.")


def test_times_are_days_too() -> None:
    day = {"TimePeriod": {"Start": "2026-11-02T00:00:00Z", "End": "2026-11-03T00:00:00Z"}, "Groups": [GOOD]}
    assert read({"ResultsByTime": [day]}).odd == {}


@pytest.mark.parametrize(
    ("said", "is_estimated"),
    [(True, True), (False, False), (None, False), ("false", False), ("true", True), ("maybe", True), ([], True)],
)
def test_a_day_of_which_nobody_knows_whether_it_is_estimated_counts_as_that(said: object, is_estimated: bool) -> None:
    assert read(a_page(GOOD, Estimated=said)).estimated_from == (date(2026, 11, 2) if is_estimated else None)
