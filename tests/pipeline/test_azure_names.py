"""The names of projects' budgets in Azure."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.pipeline.azure_budgets.names import AZURE_NAME, AZURE_PREFIX, azure_name

# Azure's longest name of a budget.
LONGEST = 63
ACRONYMS = st.text(min_size=1, max_size=80).filter(str.strip)


@pytest.mark.parametrize(
    ("acronym", "name"),
    [
        ("DIE1", "warden-die1"),
        ("die1", "warden-die1"),
        (" DIE1\t", "warden-die1"),
        ("A_b-3", "warden-a_b-3"),
        ("x" * 56, "warden-" + "x" * 56),
    ],
)
def test_a_project_s_name_in_azure_is_its_acronym_in_lower_case(acronym: str, name: str) -> None:
    assert azure_name(acronym) == name


@pytest.mark.parametrize(
    ("acronym", "start"),
    [
        ("DIE 1", "warden-die-1-"),
        ("R&D/Été", "warden-r-d-t--"),
        ("x" * 57, "warden-" + "x" * 40 + "-"),
        ("..", "warden---"),
        ("漢字", "warden---"),
    ],
)
def test_what_azure_s_names_can_t_hold_is_replaced_and_told_apart_by_a_hash(acronym: str, start: str) -> None:
    name = azure_name(acronym)
    assert name.startswith(start)
    assert len(name) == len(start) + 12


@given(ACRONYMS)
def test_every_name_is_one_that_azure_takes_and_that_is_known_as_ours(acronym: str) -> None:
    name = azure_name(acronym)
    assert name.startswith(AZURE_PREFIX)
    assert AZURE_NAME.fullmatch(name.removeprefix(AZURE_PREFIX))
    assert len(name) <= LONGEST


@given(ACRONYMS, ACRONYMS)
def test_two_projects_never_share_a_name_and_case_makes_no_other(one: str, other: str) -> None:
    assert azure_name(one.lower()) == azure_name(one)
    assume(one.strip().lower() != other.strip().lower())
    assert azure_name(one) != azure_name(other)


@given(ACRONYMS)
def test_an_acronym_that_is_written_like_the_name_of_another_one_has_a_name_of_its_own(acronym: str) -> None:
    written_like_it = azure_name(acronym).removeprefix(AZURE_PREFIX)
    assume(written_like_it != acronym.strip().lower())
    assert azure_name(written_like_it) != azure_name(acronym)
