"""The projects file: what is taken, and what a person is told of what is not."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.mail.addresses import valid_addresses
from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.periods import PeriodKind, make_rule
from shared.domain.projects import LockPolicy, Project, ProjectEntry, Scope
from shared.ports.azure import AZURE
from shared.services.project_csv import ProjectFileError
from shared.services.project_file import COLUMNS, OPTIONAL_COLUMNS, read_projects

SUBSCRIPTION = "1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
GOOD = {
    "id": "11",
    "acronym": "DIE1",
    "name": "Data innovation",
    "subscription_id": SUBSCRIPTION,
    "resource_groups": "fsdh_proj_die1_dev_rg",
    "budget": "12500.00",
    "currency": "CAD",
    "period": "annual",
    "period_start": "2026-04-01",
    "period_end": "",
    "contacts": "ann@example.com",
    "language": "en",
    "active": "true",
}


def csv(*rows: dict[str, str], separator: str = ",", end: str = "\n") -> bytes:
    """A file with these rows, each of GOOD's values where it says nothing else; every cell in quotes.

    The optional columns are there where a row names one.
    """
    columns = COLUMNS + tuple(column for column in OPTIONAL_COLUMNS if any(column in row for row in rows))
    written = [columns] + [[str((GOOD | row).get(column, "")) for column in columns] for row in rows]
    lines = (separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in written)
    return "".join(line + end for line in lines).encode()


def read(content: bytes) -> list[ProjectEntry]:
    return read_projects(content, valid_addresses)


def groups(entry: ProjectEntry) -> list[str]:
    return [scope.resource_group for scope in entry.scopes]


def one(**cells: str) -> ProjectEntry:
    (entry,) = read(csv(cells))
    return entry


def faults(content: bytes) -> tuple[str, ...]:
    with pytest.raises(ProjectFileError) as caught:
        read(content)
    return caught.value.faults


def fault(**cells: str) -> str:
    (only,) = faults(csv(cells))
    return only


def test_a_line_becomes_an_entry() -> None:
    entry = one(resource_groups="rg-A; rg-b;", contacts="ann@example.com;Bob Lee <bob@Example.com>", language="FR")
    project = entry.project
    assert (project.id, project.acronym, project.name) == (11, "DIE1", "Data innovation")
    assert entry.scopes == (Scope(AZURE, SUBSCRIPTION, "rg-A"), Scope(AZURE, SUBSCRIPTION, "rg-b"))
    assert project.contacts == ("ann@example.com", "bob@example.com")
    assert (project.language, project.active) == ("fr", True)
    assert (entry.terms.amount, entry.terms.currency) == (Decimal(12500), "CAD")
    assert (entry.terms.rule.kind, entry.terms.rule.start) == (PeriodKind.ANNUAL, date(2026, 4, 1))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_spreadsheets_write_is_read(separator: str, end: str, mark: bytes) -> None:
    content = csv({"name": 'L\'eau; 20 %, et "plus"'}, {"id": "12", "acronym": "B", "resource_groups": "b;c"})
    other = csv(
        {"name": 'L\'eau; 20 %, et "plus"'},
        {"id": "12", "acronym": "B", "resource_groups": "b;c"},
        separator=separator,
        end=end,
    )
    assert read(mark + other) == read(content)
    assert read(content)[0].project.name == 'L\'eau; 20 %, et "plus"'
    assert groups(read(content)[1]) == ["b", "c"]


@pytest.mark.parametrize("line", ["sep={}", "SEP={}", '"sep={}"', "sep={0}{0}{0}"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_first_line_in_which_a_file_tells_excel_its_separator_is_understood(line: str, separator: str) -> None:
    says = line.format(separator).encode()
    for mark, end in ((b"", "\n"), (b"\xef\xbb\xbf", "\r\n")):
        assert read(mark + says + end.encode() + csv({}, separator=separator, end=end)) == read(csv({}))
    assert faults(says + b"\n" + csv({"id": "x"}, separator=separator))[0].startswith("line 3, id")


def test_columns_come_in_any_order_and_case() -> None:
    names = [*reversed(COLUMNS)]
    row = [GOOD[name] for name in names]
    content = "\n".join([", ".join(name.upper() for name in names), ", ".join(row)]).encode()
    assert read(content) == read(csv({}))


def test_blank_lines_and_rows_of_empty_cells_are_passed_over() -> None:
    header, row = csv({}).decode().splitlines()
    assert len(read(f"\n{header}\n\n,,,,,,,,,,,,\n{row}\n   \n".encode())) == 1


def test_budget_contacts_and_language_may_be_left_empty() -> None:
    entry = one(budget="", currency="", period="", period_start="", contacts="", language="", active="")
    assert (entry.terms.amount, entry.project.contacts, entry.project.language, entry.project.active) == (
        None,
        (),
        None,
        True,
    )


@pytest.mark.parametrize(
    ("text", "active"), [("VRAI", True), ("oui", True), ("1", True), ("FAUX", False), ("No", False)]
)
def test_yes_and_no_are_read_in_both_languages(text: str, active: bool) -> None:
    assert one(active=text).project.active is active


def test_a_fixed_period_has_its_two_days() -> None:
    rule = one(period="Fixed", period_start="2026-01-01", period_end="2027-06-01").terms.rule
    assert (rule.kind, rule.start, rule.end) == (PeriodKind.FIXED, date(2026, 1, 1), date(2027, 6, 2))


WRONG = [
    ("id", "", "it is empty"),
    ("id", "0", "'0' is no id"),
    ("id", "-3", "'-3' is no id"),
    ("id", "1.5", "'1.5' is no id"),
    ("id", "2147483648", "from 1 to 2147483647"),
    ("id", "9" * 5000, "is no id"),
    ("id", "٣", "is no id"),
    ("acronym", "", "it is empty"),
    ("acronym", "DIE 1", "without blanks"),
    ("acronym", "A" * 51, "1 to 50 characters"),
    ("acronym", "\U0001f600" * 26, "1 to 50 characters"),
    ("acronym", "\u0130" * 26, "1 to 50 characters"),  # it is longer in lower case
    ("acronym", "A\u200bB", "is no acronym"),
    ("acronym", "2030", "would be taken for an id"),
    ("name", " ", "it is empty"),
    ("name", "x" * 201, "at most 200"),
    ("name", "\U0001f600" * 101, "at most 200"),
    ("name", "two\nlines", "line break"),
    ("subscription_id", "", "it is empty"),
    ("subscription_id", "my-subscription", "is no subscription"),
    ("resource_groups", " ; ", "at least one resource group"),
    ("resource_groups", "a" * 91, "up to 90"),
    ("resource_groups", "\u0130" * 60, "up to 90"),
    ("resource_groups", "rg-a, rg-b", "join several by ;"),
    ("resource_groups", "rg.", "without a period at the end"),
    ("budget", "abc", "'abc' is not an amount"),
    ("budget", "1e400", "is not an amount"),
    ("budget", "-1", "has to be 0 or more"),
    ("budget", "NaN", "is not an amount"),
    ("budget", "12,500.00", "no separators for thousands but spaces"),
    ("budget", "900000001.00", "the largest amount is 900,000,000"),
    ("budget", "12500.12345678901", "has at most 10 decimal places"),
    ("budget", "12 50,00", "no separators for thousands but spaces"),
    ("budget", "1.250,00", "no separators for thousands but spaces"),
    ("budget", "$12500", "is not an amount"),
    ("budget", "900000001", "too large"),
    ("budget", "0.00000000001", "10 decimal places"),
    ("currency", "", "it is empty, and a budget needs one"),
    ("currency", "dollars", "is not a currency"),
    ("period", "", "annual, quarterly, monthly, fixed"),
    ("period", "yearly", "annual, quarterly, monthly, fixed"),
    ("period", "fixed", "needs period_start and period_end"),
    ("period_start", "04/13/2026", "year-month-day"),
    ("period_start", "31/02/2026", "year-month-day"),
    ("period_start", "00/04/2026", "year-month-day"),
    ("period_start", "01/04/26", "year-month-day"),
    ("period_start", "2026-02-30", "year-month-day"),
    ("period_start", "20260401", "year-month-day"),
    ("period_start", "0026-04-01", "year-month-day"),
    ("period_end", "9999-12-31", "year-month-day"),
    ("period_end", "2027-04-01", "2027-03-31"),
    ("period_start", "31/04/2026", "'31/04/2026' is no date"),
    ("period_start", "31/12/1999", "'31/12/1999' is no date"),
    ("owner", "x" * 201, "at most 200"),
    ("department", "\U0001f600" * 101, "at most 200"),
    ("cost_centre", "\U0001f600" * 51, "at most 100"),
    ("department", "two\nlines", "line break"),
    ("cost_centre", "x" * 101, "at most 100"),
    ("contacts", "ann", "is no mail address"),
    ("contacts", "ann@example.com\nBcc: eve@example.com", "line break"),
    ("contacts", "ann@example.com\n", "line break"),
    ("contacts", "ann@example.com\u2028eve@example.com", "line break"),
    ("contacts", "ann@example.com, bob@example.com", "join several by ;"),
    ("language", "de", "en or fr"),
    ("active", "perhaps", "neither true nor false"),
    ("lock", "always", "'always' is no lock; write auto (locked at 100 %) or never"),
    ("lock", "true", "auto (locked at 100 %) or never"),
    ("lock", "never\nauto", "line break"),
    ("rollover", "keep", "'keep' is no rollover; write one of reset, carry_over, draw_down, stop"),
    ("rollover", "x" * 5000, "is no rollover"),
]


@pytest.mark.parametrize(("column", "text", "said"), WRONG)
def test_a_faulty_cell_is_named_with_line_column_and_what_would_be_right(column: str, text: str, said: str) -> None:
    found = fault(**{column: text})
    line, _, what = found.partition(": ")
    # A period's two days are judged together with its kind.
    assert line in {f"line 2, {column}", "line 2, period"}
    assert said in what
    assert len(found) < 300


def test_separators_for_thousands_are_spoken_of_only_where_there_are_some() -> None:
    for amount in ("900000001.00", "12500.12345678901"):
        assert "thousands" not in fault(budget=amount)


def test_every_faulty_line_is_reported_and_nothing_is_read() -> None:
    found = faults(csv({"budget": "abc", "language": "xx"}, {"id": "12"}, {"id": "x", "acronym": "Q"}))
    assert [text.partition(":")[0] for text in found] == [
        "line 2, budget",
        "line 2, language",
        "line 3, acronym",
        "line 3, resource_groups",
        "line 4, id",
        "line 4, resource_groups",
    ]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    header, row = csv({}).decode().splitlines()
    broken = row.replace("Data innovation", "two\nlines")
    later = row.replace('"11"', '"x"')
    found = faults(f"\n{header}\n\n{broken}\n{later}\n".encode())
    assert [text.partition(":")[0] for text in found][:2] == ["line 4, name", "line 6, id"]


def test_an_unclosed_quote_does_not_swallow_the_lines_after_it() -> None:
    header, row = csv({}).decode().splitlines()
    content = f'{header}\n{row.replace("11", "x", 1)}\n12,"open,{"x," * 11}\n{row}\n'.encode()
    found = faults(content)
    assert found[0].startswith("line 2, id: ")
    assert found[1].startswith("line 3: a cell that begins with a quote on this line does not end with one")


def test_text_after_a_closing_quote_is_a_fault() -> None:
    assert "a quote is written twice" in faults(csv({}).replace(b'"DIE1"', b'"DIE"1'))[0]


def test_a_row_of_another_length_is_a_fault() -> None:
    header, row = csv({}).decode().splitlines()
    short, long = row.rpartition(",")[0], row + ',"more"'
    found = faults(f"{header}\n{short}\n{long}\n".encode())
    assert found[0] == "line 2: it has 12 cells, and the first line names 13 columns"
    assert "has to stand in double quotes" in found[1]
    assert len(read(f"{header}\n{row},,\n".encode())) == 1


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(column: str) -> None:
    content = csv({}).replace(f'"{column}"'.encode(), b'""', 1)
    assert faults(content) == (f"line 1: the column {column} is missing",)


def test_a_mistyped_column_is_named_with_the_one_that_was_meant() -> None:
    (found,) = faults(csv({}).replace(b"acronym", b"acronim"))
    assert found == "line 1: the column acronym is missing; is 'acronim' meant to be it?"


def test_a_column_that_is_there_twice_is_a_fault() -> None:
    assert "line 1: the column name is there twice" in faults(csv({}).replace(b"language", b"name"))


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\r\n  \n"])
def test_an_empty_file_is_told_what_its_first_line_has_to_be(content: bytes) -> None:
    assert "id, acronym, name, subscription_id" in faults(content)[0]


def test_a_file_without_a_header_or_without_projects_is_a_fault() -> None:
    assert "has to name the columns" in faults(b"11,DIE1,Data\n")[0]
    assert "names no project" in faults(csv())[0]


def test_other_encodings_are_told_how_to_be_saved() -> None:
    text = csv({"name": "Qualité"}).decode()
    assert faults(text.encode("cp1252").replace(b"Quali", b"\x81"))[0].startswith(
        "line 2: the file is not in UTF-8; in Excel, choose"
    )
    assert "CSV UTF-8" in faults(text.encode("utf-16"))[0]
    assert "CSV UTF-8" in faults(csv({}).decode().encode("utf-16-le"))[0]
    assert "Excel workbook" in faults(b"PK\x03\x04rest of a zip")[0]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'[{"id": 1, "acronym": "A"}]', "JSON"),
        (b'\xef\xbb\xbf\n{\n  "projects": []\n}', "JSON"),
        (b"---\n- id: 1\n", "YAML"),
        (b"- id: 1\n  acronym: A\n", "YAML"),
        (b"projects:\n  - id: 1\n", "YAML"),
        (b'<?xml version="1.0"?>', "XML or HTML"),
    ],
)
def test_a_file_of_another_kind_is_told_that_csv_is_taken(content: bytes, kind: str) -> None:
    (fault,) = faults(content)
    assert fault.startswith(f"the file is {kind}, and CSV is taken, whose first line names the columns: id, acronym, ")


def test_ids_acronyms_and_groups_belong_to_one_line() -> None:
    (second,) = faults(csv({}, {"acronym": "B", "resource_groups": "b"}))
    assert second == "line 3, id: 11 is on line 2 already, and each project needs its own"
    (second,) = faults(csv({}, {"id": "12", "acronym": "die1", "resource_groups": "b"}))
    assert second.startswith("line 3, acronym: die1 is on line 2 already")
    (second,) = faults(csv({}, {"id": "12", "acronym": "B", "resource_groups": "b;FSDH_proj_die1_dev_rg"}))
    assert second.startswith("line 3, resource_groups: FSDH_proj_die1_dev_rg is on line 2 already")


def test_the_same_group_may_be_in_two_subscriptions_and_twice_in_a_cell() -> None:
    other = SUBSCRIPTION.replace("1", "2").upper()
    first, second = read(csv({"resource_groups": "a;A"}, {"id": "12", "acronym": "B", "subscription_id": other}))
    assert groups(first) == ["a"]
    assert second.scopes[0].sub_account_id == other.lower()


def loaded(
    number: int = 7, acronym: str = "Die1", lock: LockPolicy = LockPolicy.AUTO, terms: BudgetTerms | None = None
) -> ProjectEntry:
    """A project that is loaded already; it has the group that GOOD names."""
    return ProjectEntry(
        Project(number, acronym, "", None, (), True, lock),
        (Scope(AZURE, SUBSCRIPTION, "FSDH_PROJ_DIE1_DEV_RG"),),
        terms or BudgetTerms(None, "", make_rule(PeriodKind.ANNUAL, None, None)),
    )


def test_what_a_loaded_project_keeps_is_a_fault_of_its_line() -> None:
    stored = loaded()
    with pytest.raises(ProjectFileError) as caught:
        read_projects(csv({}), valid_addresses, [stored])
    kept = "belongs to project 7 (Die1), which is not in this file, and each project needs its own"
    assert caught.value.faults == (
        f"line 2, acronym: DIE1 {kept}",
        f"line 2, resource_groups: fsdh_proj_die1_dev_rg {kept}",
    )
    # A file that names both may hand things on from one to the other.
    handed_on = csv({}, {"id": "7", "acronym": "NEW", "resource_groups": "new"})
    assert len(read_projects(handed_on, valid_addresses, [stored])) == 2


# --- as spreadsheets in French save it ---

FRENCH = """\
id;acronym;name;subscription_id;resource_groups;budget;currency;period;period_start;period_end;contacts;language;active
1;EAU;Qualité de l'eau – aperçu;{subscription};"eau;eau-2";12 500,50;CAD;annual;01/04/2026;;;fr;VRAI
2;AIR;Qualité de l'air;{subscription};air;{grouped};EUR;fixed;01/01/2026;05/06/2027;a@example.com;;FAUX
3;SOL;Sols;{subscription};sol;3000;EUR;monthly;;;;;
""".format(subscription=SUBSCRIPTION, grouped="1\u202f234\u00a0567,5")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("space", [" ", "\u00a0", "\u202f"], ids=["space", "no-break", "narrow no-break"])
def test_a_spreadsheet_saved_in_french_is_taken_as_it_is(encoding: str, space: str) -> None:
    # windows-1252 has no narrow space.
    spaces = space if encoding != "cp1252" or space != "\u202f" else " "
    text = FRENCH.replace("\u202f", spaces).replace("\u00a0", spaces).replace("12 500", f"12{spaces}500")
    water, air, soil = read(text.replace("\n", "\r\n").encode(encoding))
    assert water.project.name == "Qualité de l'eau – aperçu"
    assert groups(water) == ["eau", "eau-2"]
    assert [each.terms.amount for each in (water, air, soil)] == [Decimal("12500.5"), Decimal("1234567.5"), 3000]
    assert water.terms.rule.start == date(2026, 4, 1)
    assert (air.terms.rule.start, air.terms.rule.last_day) == (date(2026, 1, 1), date(2027, 6, 5))
    assert [each.project.active for each in (water, air, soil)] == [True, False, True]


def many(column: str, *texts: str, separator: str = ",") -> bytes:
    rows = [
        {"id": str(place + 1), "acronym": f"P{place}", "resource_groups": f"rg{place}", column: text}
        for place, text in enumerate(texts)
    ]
    return csv(*rows, separator=separator)


def test_a_day_that_may_be_read_in_two_ways_is_said_once_for_the_whole_column() -> None:
    for separator in ",;":
        assert faults(many("period_start", "4/1/2026", "2026-04-01", "5/1/2026", "12/2/2026", separator=separator)) == (
            "line 2, period_start: '4/1/2026' (and 2 more in the column) may be 4 January 2026 or 1 April 2026; "
            "give the column the format yyyy-mm-dd (in Excel: Format Cells, Custom), and save the file again",
        )


def test_a_day_that_can_only_be_one_says_how_the_others_are_meant() -> None:
    first, second = read(many("period_start", "4/1/2026", "13/1/2026"))
    assert (first.terms.rule.start, second.terms.rule.start) == (date(2026, 1, 4), date(2026, 1, 13))
    assert [each.terms.rule.start.day for each in read(many("period_start", "04/04/2026", "2026-04-05"))] == [4, 5]
    # A file where months come first is not guessed at.
    mixed = faults(many("period_start", "04/01/2026", "04/13/2026", "13/04/2026", separator=";"))
    assert [fault.partition(":")[0] for fault in mixed] == ["line 2, period_start", "line 3, period_start"]


def test_an_amount_that_may_be_read_in_two_ways_is_said_once_for_the_whole_column() -> None:
    assert faults(many("budget", "3000", "12,500", "1,250")) == (
        "line 3, budget: '12,500' (and 1 more in the column) may be 12500 or 12.500; "
        "give the column the format Number, without a separator for thousands, and save the file again",
    )
    assert "may be" in faults(many("budget", "12,500", "12.5", "0,5"))[0]


def test_an_amount_that_can_only_have_a_decimal_comma_says_how_the_others_are_meant() -> None:
    amounts = [each.terms.amount for each in read(many("budget", "12,500", "0,125", "7,5", "1234,567", "1 234,567"))]
    assert amounts == [Decimal(each) for each in ("12.5", "0.125", "7.5", "1234.567", "1234.567")]


@pytest.mark.parametrize(
    ("separator", "cells"), [(",", ("1.234", "3000")), (";", ("1.234", "3000.5")), ("\t", ("1.234", "1 000.125"))]
)
def test_a_point_is_that_of_decimals_where_the_file_says_so(separator: str, cells: tuple[str, ...]) -> None:
    amounts = [each.terms.amount for each in read(many("budget", *cells, separator=separator))]
    assert amounts == [Decimal(each.replace(" ", "")) for each in cells]


@pytest.mark.parametrize(
    ("separator", "cells"),
    [(";", ("3000", "12.500")), ("\t", ("3000", "12.500")), (";", ("9000,50", "12.500")), (",", ("9000,50", "12.500"))],
)
def test_a_point_that_may_separate_thousands_is_not_guessed_at(separator: str, cells: tuple[str, ...]) -> None:
    (only,) = faults(many("budget", *cells, separator=separator))
    assert only.startswith("line 3, budget: '12.500' may be 12500 or 12.500; give the column the format Number")


# --- the optional columns ---


def test_who_answers_for_a_project_is_taken_and_kept_where_the_file_does_not_say_it() -> None:
    project = one(owner=" Ann Roy ", department="Environnement", cost_centre="CC-1200").project
    assert (project.owner, project.department, project.cost_centre) == ("Ann Roy", "Environnement", "CC-1200")
    stored = [ProjectEntry(project, (), KEPT)]
    (kept,) = read_projects(csv({"department": ""}), valid_addresses, stored)
    assert (kept.project.owner, kept.project.department, kept.project.cost_centre) == ("Ann Roy", None, "CC-1200")


def test_the_rollover_of_a_fixed_period_which_never_counts_stays_where_its_cell_is_empty() -> None:
    stored = [loaded(11, "DIE1", terms=KEPT)]
    (entry,) = read_projects(csv(FIXED | {"rollover": ""}), valid_addresses, stored)
    assert entry.terms.rollover is Rollover.CARRY_OVER


@pytest.mark.parametrize(
    ("text", "rollover"),
    [
        ("", Rollover.RESET),
        ("Reset", Rollover.RESET),
        ("carry_over", Rollover.CARRY_OVER),
        ("carry-over", Rollover.CARRY_OVER),
        ("Carry Over", Rollover.CARRY_OVER),
        ("draw - down", Rollover.DRAW_DOWN),
        (" STOP ", Rollover.STOP),
    ],
)
def test_a_rollover_is_read_in_every_spelling(text: str, rollover: Rollover) -> None:
    assert one(rollover=text).terms.rollover is rollover


@pytest.mark.parametrize(
    ("text", "lock"), [("", LockPolicy.AUTO), ("auto", LockPolicy.AUTO), ("Never", LockPolicy.NEVER)]
)
def test_a_project_is_locked_unless_it_is_never_to_be(text: str, lock: LockPolicy) -> None:
    assert one(lock=text).project.lock is lock


FIXED = {"period": "fixed", "period_start": "2026-01-01", "period_end": "2027-06-01"}


@pytest.mark.parametrize("text", ["reset", "carry_over", "draw_down"])
def test_a_fixed_period_has_no_next_one_to_roll_over_into(text: str) -> None:
    assert fault(**FIXED, rollover=text) == (
        f"line 2, rollover: a fixed period has no next one, so it can't be {text}; leave it empty, or write stop"
    )


@pytest.mark.parametrize("text", ["", "stop"])
def test_a_fixed_period_ends_or_stops(text: str) -> None:
    assert one(**FIXED, rollover=text).terms.rollover == (text or "reset")


KEPT = BudgetTerms(
    Decimal(1), "CAD", make_rule(PeriodKind.ANNUAL, None, None), Rollover.CARRY_OVER, thresholds=(50, 90, 100)
)


def test_what_a_file_without_the_columns_does_not_say_stays_as_it_is() -> None:
    stored = [loaded(11, "DIE1", lock=LockPolicy.NEVER, terms=KEPT)]
    kept, new = read_projects(csv({}, {"id": "12", "acronym": "B", "resource_groups": "b"}), valid_addresses, stored)
    assert (kept.project.lock, kept.terms.rollover, kept.terms.thresholds) == (
        LockPolicy.NEVER,
        Rollover.CARRY_OVER,
        (50, 90, 100),
    )
    assert kept.terms.amount == Decimal(12500)
    assert (new.project.lock, new.terms.rollover, new.terms.thresholds) == (LockPolicy.AUTO, Rollover.RESET, None)


def test_an_empty_cell_says_the_default_and_thresholds_stay_whatever_the_file_says() -> None:
    stored = [loaded(11, "DIE1", lock=LockPolicy.NEVER, terms=KEPT)]
    (entry,) = read_projects(csv({"lock": "", "rollover": ""}), valid_addresses, stored)
    assert (entry.project.lock, entry.terms.rollover) == (LockPolicy.AUTO, Rollover.RESET)
    assert entry.terms.thresholds == (50, 90, 100)


def test_one_of_the_columns_may_be_there_without_the_other() -> None:
    stored = [loaded(11, "DIE1", lock=LockPolicy.NEVER, terms=KEPT)]
    (entry,) = read_projects(csv({"rollover": "stop"}), valid_addresses, stored)
    assert (entry.project.lock, entry.terms.rollover) == (LockPolicy.NEVER, Rollover.STOP)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("lokc", "name it lock, or take it out"),
        ("lcok", "name it lock, or take it out"),
        ("olck", "name it lock, or take it out"),
        ("locks", "name it lock, or take it out"),
        ("roll_over", "name it rollover, or take it out"),
        ("Acronym1", "name it acronym, or take it out"),
        ("remarks", "take it out"),
    ],
)
def test_a_column_that_there_is_not_is_refused_with_the_nearest_that_there_is(name: str, advice: str) -> None:
    content = csv({"lock": "never"}).replace(b'"lock"', f'"{name}"'.encode())
    assert faults(content) == (f"line 1: there is no column '{name.lower()}'; {advice}",)


def test_columns_without_a_name_are_empty() -> None:
    header, row = csv({}).decode().splitlines()
    assert read(f"{header},,\n{row},,\n".encode()) == read(csv({}))
    for cells in (",never,", ",,never"):
        found = faults(f"{header},,\n{row}{cells}\n".encode())
        assert found == ("line 2: a cell stands in a column that the first line does not name",)


def test_an_optional_column_that_is_there_twice_is_a_fault() -> None:
    content = csv({"lock": "never", "rollover": ""}).replace(b"rollover", b"lock")
    assert faults(content) == ("line 1: the column lock is there twice",)


def test_faults_of_the_optional_columns_are_told_with_the_others() -> None:
    found = faults(csv({"budget": "abc", "lock": "x", "rollover": "y"}))
    assert [text.partition(":")[0] for text in found] == ["line 2, budget", "line 2, rollover", "line 2, lock"]


@given(st.binary(max_size=400))
def test_any_bytes_are_entries_or_faults(content: bytes) -> None:
    try:
        assert read(content)
    except ProjectFileError as error:
        assert error.faults


@given(
    st.lists(st.dictionaries(st.sampled_from(COLUMNS + OPTIONAL_COLUMNS), st.text(max_size=30)), min_size=1, max_size=4)
)
def test_any_cells_are_entries_or_faults_of_their_lines(rows: list[dict[str, str]]) -> None:
    try:
        entries = read(csv(*rows))
    except ProjectFileError as error:
        assert error.faults
    else:
        assert entries


AMOUNTS = st.decimals(0, 900_000_000, places=4).map(lambda amount: format(amount, "f"))


@given(st.lists(AMOUNTS, min_size=1, max_size=20))
def test_amounts_are_read_exactly(amounts: list[str]) -> None:
    rows = [
        {"id": str(number + 1), "acronym": f"P{number}", "resource_groups": f"rg{number}", "budget": amount}
        for number, amount in enumerate(amounts)
    ]
    assert [entry.terms.amount for entry in read(csv(*rows))] == [Decimal(amount) for amount in amounts]


def test_taken_groups_of_one_line_are_told_in_their_order() -> None:
    told = faults(csv({"resource_groups": "a;b;c"}, {"id": "12", "acronym": "EAU", "resource_groups": "a;b;c"}))
    assert [fault.split(":")[1].split()[0] for fault in told] == ["a", "b", "c"]


# --- other clouds ---

NOT_AZURE = {"subscription_id": "", "resource_groups": ""}


def test_a_project_has_aws_accounts_and_others_beside_its_groups() -> None:
    entry = one(
        aws_accounts="123456789012; '012345678901;123456789012", sub_accounts="Google Cloud:my-project ; Oracle:ocid1:x"
    )
    assert entry.scopes[-4:] == (
        Scope("aws", "123456789012"),
        Scope("aws", "012345678901"),
        Scope("Google Cloud", "my-project"),
        Scope("Oracle", "ocid1:x"),
    )
    assert entry.scopes[:-4] == one().scopes


@pytest.mark.parametrize(
    ("column", "cell"), [("aws_accounts", "123456789012"), ("sub_accounts", "Google Cloud:my-project")]
)
def test_a_project_may_have_all_it_has_in_another_cloud(column: str, cell: str) -> None:
    assert len(one(**NOT_AZURE, **{column: cell}).scopes) == 1


def test_a_project_without_any_account_or_half_of_azure_is_told_what_is_missing() -> None:
    assert [fault.partition(":")[0] for fault in faults(csv(NOT_AZURE | {"aws_accounts": "", "sub_accounts": ""}))] == [
        "line 2, subscription_id",
        "line 2, resource_groups",
    ]
    (fault,) = faults(csv({"resource_groups": "", "aws_accounts": "123456789012"}))
    assert fault.startswith("line 2, resource_groups: it is empty")


def test_a_file_without_these_columns_leaves_a_project_its_accounts_and_an_empty_cell_does_not() -> None:
    stored = [one(aws_accounts="123456789012", sub_accounts="Oracle:x")]
    (kept,) = read_projects(csv({}), valid_addresses, stored)
    assert kept.scopes == stored[0].scopes
    (bare,) = read_projects(csv({"aws_accounts": "", "sub_accounts": ""}), valid_addresses, stored)
    assert {each.provider for each in bare.scopes} == {"azure"}


@pytest.mark.parametrize(
    ("column", "cell", "why"),
    [
        (
            "aws_accounts",
            "12345678901",
            "no AWS account; write its 12 digits, several accounts joined by ;, and this one "
            "may have lost its zeros to a spreadsheet: 012345678901?",
        ),
        ("aws_accounts", "1.23457E+11", "this one was rounded by a spreadsheet"),
        ("aws_accounts", "1234-5678-9012", "'1234-5678-9012' is no AWS account"),
        ("aws_accounts", "arn:aws:iam::123456789012:root", "is no AWS account"),
        ("sub_accounts", "my-project", "write its provider as FOCUS files name it, a colon and its id"),
        ("sub_accounts", ":my-project", "write its provider"),
        ("sub_accounts", "Google Cloud:", "write its provider"),
        ("sub_accounts", "AWS:123456789012", "is of AWS: write it into aws_accounts"),
        ("sub_accounts", "Microsoft:x", "is of Microsoft: write it into subscription_id and resource_groups"),
        ("sub_accounts", "A provider of many words:x", "a provider has at most 20 characters"),
    ],
)
def test_accounts_that_can_not_be_right_are_told_with_what_would_be(column: str, cell: str, why: str) -> None:
    (fault,) = faults(csv({column: cell}))
    assert fault.startswith(f"line 2, {column}: ")
    assert why in fault


def test_an_account_of_two_projects_is_told_in_its_column() -> None:
    rows = [{"aws_accounts": "123456789012"}, {"id": "12", "acronym": "B", "resource_groups": "b"}]
    (fault,) = faults(csv(rows[0], rows[0] | rows[1]))
    assert fault == "line 3, aws_accounts: 123456789012 is on line 2 already, and each project needs its own"


@pytest.mark.parametrize("written", ["google cloud", "GCP", " Google  Cloud ", "Google Cloud Platform"])
def test_a_provider_is_the_same_however_it_is_spelled(written: str) -> None:
    assert one(sub_accounts=f"{written}:my-project").scopes[-1] == Scope("Google Cloud", "my-project")


def test_a_provider_is_spelled_as_its_stored_costs_are() -> None:
    (entry,) = read_projects(csv({"sub_accounts": "acme CLOUD:x;Other:y"}), valid_addresses, (), ["Acme Cloud"])
    assert entry.scopes[-2:] == (Scope("Acme Cloud", "x"), Scope("Other", "y"))


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("1234-5678-9012", "without anything between them: 123456789012"),
        ("1234567", "this one has 7"),
        ("1234567890123", "this one has 13"),
    ],
)
def test_an_aws_account_that_is_written_otherwise_is_told_how_it_has_to_be(cell: str, why: str) -> None:
    (fault,) = faults(csv({"aws_accounts": cell}))
    assert why in fault
