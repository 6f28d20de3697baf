"""The file that projects are written to, and that loads them again."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.mail.addresses import valid_addresses
from shared.domain.budgets import BudgetTerms, OpeningBalance, Rollover
from shared.domain.charges import key_of_group
from shared.domain.periods import PeriodKind, PeriodRule
from shared.domain.projects import LockPolicy, Project, ProjectEntry, Scope, acronym_key
from shared.ports.azure import AZURE
from shared.services.errors import RequestError
from shared.services.project_export import write_projects
from shared.services.project_file import read_projects

SAMPLE = Path(__file__).parents[2] / "localdev" / "sample_projects.csv"
SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"

LINE = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=40)
TEXT = LINE.map(str.strip).filter(bool)
MAYBE = st.none() | TEXT
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))
AMOUNTS = st.none() | st.decimals(0, 900_000_000, places=4)
RECURRING = st.builds(PeriodRule, st.sampled_from([each for each in PeriodKind if each is not PeriodKind.FIXED]), DAYS)
FIXED = st.tuples(DAYS, st.integers(1, 366)).map(
    lambda days: PeriodRule(PeriodKind.FIXED, days[0], min(days[0] + timedelta(days[1]), date(2100, 1, 1)))
)
TERMS = st.builds(
    BudgetTerms,
    amount=AMOUNTS,
    currency=st.sampled_from(["CAD", "EUR"]),
    rule=RECURRING | FIXED,
    rollover=st.sampled_from(Rollover),
    thresholds=st.none() | st.just((50, 90)),
    opening=st.none() | st.builds(OpeningBalance, st.just(Decimal(7)), DAYS),
)
PROJECTS = st.builds(
    Project,
    id=st.integers(1, 2**31 - 1),
    acronym=st.from_regex(r"[A-Za-z\u00c0-\u00ff\"=;,+-]{0,20}[A-Z]", fullmatch=True),
    name=TEXT,
    language=st.sampled_from(["en", "fr", None]),
    contacts=st.lists(st.sampled_from(["ann@example.com", "eve@example.com"]), unique=True).map(tuple),
    active=st.booleans(),
    lock=st.sampled_from(LockPolicy),
    owner=MAYBE,
    department=MAYBE,
    cost_centre=MAYBE,
)
GROUPS = st.lists(st.from_regex(r"[\w().-]{1,20}[a-z]", fullmatch=True), min_size=1, max_size=3, unique_by=key_of_group)
ELSEWHERE = st.lists(
    st.sampled_from([Scope("aws", "012345678901"), Scope("aws", "999999999999")])
    | st.sampled_from([Scope("Google Cloud", "my-project"), Scope("Oracle", "ocid1.tenancy:x")]),
    unique=True,
).map(lambda scopes: sorted(scopes, key=lambda each: each.provider != "aws"))
SCOPES = st.builds(
    lambda names, others: (*(Scope(AZURE, SUBSCRIPTION, name) for name in names), *others),
    GROUPS | st.just([]),
    ELSEWHERE,
).filter(bool)
ENTRIES = st.lists(
    st.builds(ProjectEntry, PROJECTS, SCOPES, TERMS),
    min_size=1,
    max_size=5,
    unique_by=(lambda each: each.project.id, lambda each: acronym_key(each.project.acronym)),
)


def of_their_own(entries: list[ProjectEntry]) -> list[ProjectEntry]:
    """The entries, where no two have the same group."""
    return [
        replace(entry, scopes=tuple(_apart(each, place) for each in scopes))
        for place, entry in enumerate(entries)
        for scopes in [entry.scopes]
    ]


def _apart(scope: Scope, place: int) -> Scope:
    if scope.provider == AZURE:
        return replace(scope, resource_group=f"p{place}-{scope.resource_group}")
    if scope.provider == "aws":
        return replace(scope, sub_account_id=f"{place}{scope.sub_account_id[1:]}")
    return replace(scope, sub_account_id=f"{scope.sub_account_id}-{place}")


@given(ENTRIES.map(of_their_own))
def test_what_is_written_is_read_as_it_was(entries: list[ProjectEntry]) -> None:
    assert read_projects(write_projects(entries).encode(), valid_addresses, entries) == entries


def in_french(text: str, spaces: str) -> str:
    """The file as a spreadsheet in French saves it."""
    rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        for name in ("period_start", "period_end"):
            row[name] = "/".join(reversed(row[name].split("-")))
        if row["budget"]:
            row["budget"] = f"{Decimal(row['budget']):,.2f}".replace(",", spaces).replace(".", ",")
        row["active"] = {"true": "VRAI", "false": "FAUX"}[row["active"]]
    saved = io.StringIO()
    writer = csv.DictWriter(saved, rows[0], delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return saved.getvalue()


@given(ENTRIES.map(of_their_own), st.sampled_from([" ", "\u00a0", "\u202f"]))
def test_a_spreadsheet_in_french_makes_no_difference(entries: list[ProjectEntry], spaces: str) -> None:
    in_cents = [
        replace(each, terms=replace(each.terms, amount=each.terms.amount and round(each.terms.amount, 2)))
        for each in entries
    ]
    written = in_french(write_projects(in_cents), spaces)
    assert read_projects(written.encode("utf-8-sig"), valid_addresses, in_cents) == in_cents


def test_a_file_that_was_loaded_is_written_as_it_says() -> None:
    entries = read_projects(SAMPLE.read_bytes(), valid_addresses)
    written = write_projects(entries)
    assert read_projects(written.encode(), valid_addresses) == entries
    assert "16,ICE,Sea Ice Forecast," in written
    assert ",3000,CAD,fixed,2026-09-01,2027-02-28,per.olsen@example.com,en,true,,,auto,stop,,,\n" in written


@pytest.mark.parametrize("other", [Scope(AZURE, SUBSCRIPTION.replace("1", "2"), "b")], ids=["two"])
def test_a_project_that_no_file_can_hold_is_named(other: Scope) -> None:
    (entry, *_) = read_projects(SAMPLE.read_bytes(), valid_addresses)
    with pytest.raises(RequestError, match="project DIE1 has resources in more than one Azure subscription"):
        write_projects([replace(entry, scopes=(*entry.scopes, other))])
