"""Who is never locked, and what only one project can have."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.budgets import BudgetTerms
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project, ProjectEntry, Scope, provider_of, sub_account_key, taken


def test_a_project_is_locked_at_100_percent_unless_it_says_never() -> None:
    project = Project(11, "DIE1", "Project", "en", ("anna@example.com",), active=True)
    assert project.lock is LockPolicy.AUTO
    assert [LockPolicy(word) for word in ("auto", "never")] == [LockPolicy.AUTO, LockPolicy.NEVER]
    with pytest.raises(ValueError, match="sometimes"):
        LockPolicy("sometimes")


# --- what only one project can have ---

RULE = PeriodRule(PeriodKind.MONTHLY, date(2026, 1, 1))


def entry(number: int, *groups: str, acronym: str | None = None) -> ProjectEntry:
    project = Project(number, acronym or f"P{number}", "", None, (), active=True)
    return ProjectEntry(project, tuple(Scope("azure", "sub", group) for group in groups), BudgetTerms(None, "", RULE))


def conflicts(entries: list[ProjectEntry], stored: list[ProjectEntry]) -> list[tuple[int, str, str, int | None]]:
    return [(each.place, each.key[0], each.written, each.earlier) for each in taken(entries, stored)]


def test_an_entry_can_not_have_what_is_earlier_in_the_list_or_what_another_project_keeps() -> None:
    stored = [entry(1, "rg-1"), entry(2, "rg-2", acronym="Two")]
    entries = [entry(3, "RG-1", "rg-3"), entry(4, "rg-3 "), entry(4, acronym="two")]
    assert conflicts(entries, stored) == [
        (0, "scope", "RG-1", None),
        (1, "scope", "rg-3 ", 0),
        (2, "id", "4", 1),
        (2, "acronym", "two", None),
    ]


def test_projects_of_a_list_can_hand_on_to_each_other_what_they_have() -> None:
    stored = [entry(1, "a", acronym="A"), entry(2, "b", acronym="B")]
    assert conflicts([entry(1, "b", acronym="B"), entry(2, "a", acronym="A")], stored) == []


def test_what_could_not_be_read_is_nobodys() -> None:
    blank = ProjectEntry(Project(0, "", "", None, (), active=False), (Scope("azure", "", "rg"),), entry(1).terms)
    assert conflicts([blank, blank], []) == []


def test_the_same_group_in_two_sub_accounts_or_at_two_providers_is_two_scopes() -> None:
    scopes = [Scope("azure", "a", "rg"), Scope("azure", "b", "rg"), Scope("gcp", "a", "rg"), Scope("aws", "a")]
    entries = [replace(entry(number), scopes=(scope,)) for number, scope in enumerate(scopes, 1)]
    assert conflicts(entries, []) == []
    assert [each.written for each in taken([*entries, replace(entry(9), scopes=(scopes[3],))], [])] == ["a"]


def test_the_ids_of_sub_accounts_are_compared_as_their_provider_compares_them() -> None:
    assert sub_account_key("azure", " 1CAAA5A3-2b66") == "1caaa5a3-2b66"
    assert sub_account_key("hetzner", " Acc-11 ") == "Acc-11"
    assert Scope("azure", "A", "RG").key == Scope("azure", "a", "rg").key
    assert Scope("hetzner", "A").key != Scope("hetzner", "a").key


NUMBERS, GROUPS = st.integers(1, 4), st.sampled_from(["a", "A", "b", "c ", "C"])
ENTRIES = st.lists(st.builds(lambda number, groups: entry(number, *groups), NUMBERS, st.lists(GROUPS)), max_size=5)


@given(ENTRIES, ENTRIES)
def test_where_nothing_is_taken_each_thing_has_one_owner_afterwards(
    entries: list[ProjectEntry], stored: list[ProjectEntry]
) -> None:
    assume(not conflicts(stored, []))
    after = {each.project.id: each for each in [*stored, *entries]}
    owned = [key for each in after.values() for key in each.its_own]
    if not conflicts(entries, stored):
        assert len(after) == len({each.project.id for each in stored} | {each.project.id for each in entries})
        assert len(owned) == len(set(owned))
    assert conflicts(entries, stored) or len({each.project.id for each in entries}) == len(entries)


def test_two_spellings_of_the_same_scopes_say_the_same() -> None:
    assert entry(1, "rg-a", "RG-B").says(entry(1, "rg-b", "RG-A", "rg-a "))
    assert not entry(1, "rg-a").says(entry(1, "rg-a", "rg-b"))
    assert not entry(1, "rg-a").says(entry(1, "rg-a", acronym="p1"))


def test_a_provider_is_spelled_as_it_is_known() -> None:
    assert [provider_of(each) for each in ("Microsoft", " AWS ", "gcp", "ACME  cloud")] == [
        "azure",
        "aws",
        "Google Cloud",
        "ACME cloud",
    ]
    assert provider_of("ACME  cloud", ["Acme Cloud"]) == "Acme Cloud"
