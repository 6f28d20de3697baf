"""The projects file: CSV that a person wrote, turned into entries, or into a list of all that is wrong with it."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TypeVar

from shared.domain.budgets import BudgetTerms, Rollover
from shared.domain.charges import key_of_group
from shared.domain.money import parse_amount, parse_currency
from shared.domain.periods import PeriodKind, PeriodRule, make_rule
from shared.domain.projects import LANGUAGES, LockPolicy, Project, ProjectEntry, Scope
from shared.domain.texts import is_one_line, shortened
from shared.messages import GUID, LARGEST_ID
from shared.ports.azure import AZURE
from shared.ports.mails import AddressCheck

COLUMNS = (
    "id",
    "acronym",
    "name",
    "subscription_id",
    "resource_groups",
    "budget",
    "currency",
    "period",
    "period_start",
    "period_end",
    "contacts",
    "language",
    "active",
)
# Where a file lacks one of these, a project that is loaded already keeps what it has.
OPTIONAL_COLUMNS = ("lock", "rollover")
KNOWN_COLUMNS = COLUMNS + OPTIONAL_COLUMNS
SEPARATORS = (",", ";", "\t")
# Thirty times what 10,000 projects take: larger is another file by mistake.
LARGEST_BYTES = 100 * 1024 * 1024
LONGEST_ACRONYM, LONGEST_NAME = 50, 200
# Azure's rule for the names of resource groups (learn.microsoft.com, "Naming rules for Azure resources").
GROUP_NAME = re.compile(r"[\w().-]{1,90}(?<!\.)")
# A French Excel turns true and false into VRAI and FAUX when it saves.
YES = frozenset({"", "true", "yes", "1", "vrai", "oui"})
NO = frozenset({"false", "no", "0", "faux", "non"})
EARLIEST, LATEST = date(2000, 1, 1), date(2100, 1, 1)
BAD_QUOTES = (
    'a cell that begins with a quote on this line does not end with one (inside it, a quote is written twice: ""); '
    "the lines after it were not read"
)
WORKBOOK = b"PK\x03\x04"
AS_UTF8 = "in Excel, choose Save As and 'CSV UTF-8 (Comma delimited)'"

T = TypeVar("T")


class ProjectFileError(ValueError):
    """A projects file that can't be loaded. `faults` names every faulty line, and what would be right."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(slots=True)
class _Record:
    """One project's cells by column. line: where it begins, as an editor counts. faults: what is wrong with it."""

    line: int
    cells: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def read(self, column: str, parse: Callable[[str], T], otherwise: T) -> T:
        """The cell as `parse` takes it; what is wrong with it becomes a fault.

        otherwise: where it is faulty, or the file has no such column.
        """
        if column not in self.cells:
            return otherwise
        try:
            return parse(_one_line(self.cells[column]))
        except ValueError as error:
            self.fault(column, str(error))
            return otherwise

    def fault(self, column: str, what: str) -> None:
        """Notes what is wrong in a column."""
        self.faults.append(f"line {self.line}, {column}: {what}")


def read_projects(
    content: bytes, valid_addresses: AddressCheck, stored: Iterable[ProjectEntry] = ()
) -> list[ProjectEntry]:
    """The entries of a projects file, in its order.

    content: CSV in UTF-8, separated by commas, semicolons or tabs; its first line names all of COLUMNS, in any
    order and case, and may name OPTIONAL_COLUMNS (others are passed over). stored: the projects that are loaded
    already; an entry can't take an acronym or a resource group from one of them that the file does not name, and
    keeps of its own one what the file does not say.
    Raises ProjectFileError with every fault; then nothing of the file is to be used.
    """
    records, faults = _records(_text(content))
    loaded = {entry.project.id: entry for entry in stored}
    entries = [_entry(record, valid_addresses, loaded) for record in records]
    _refuse_claimed_twice(records, entries, loaded.values())
    faults = [fault for record in records for fault in record.faults] + faults
    if not records and not faults:
        faults = ["the file names no project; each line after the first is one"]
    if faults:
        raise ProjectFileError(faults)
    return entries


# --- the file ------------------------------------------------------------------------------------------------


def _text(content: bytes) -> str:
    if len(content) > LARGEST_BYTES:
        raise ProjectFileError([f"the file has {len(content):,} bytes; a projects file is smaller than 100 MB"])
    if content.startswith(WORKBOOK):
        raise ProjectFileError([f"the file is an Excel workbook; {AS_UTF8}"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ProjectFileError([f"line {line}: the file is not in UTF-8; {AS_UTF8}"]) from None
    if "\0" in text:
        raise ProjectFileError([f"the file is not text in UTF-8; {AS_UTF8}"])
    return text


def _records(text: str) -> tuple[list[_Record], list[str]]:
    """The projects' cells, and the fault that ends the reading, if there is one."""
    records: list[_Record] = []
    header: list[str] | None = None
    for line, cells in _rows(text):
        if isinstance(cells, str):
            return records, [f"line {line}: {cells}"]
        if header is None:
            header = _header(line, cells)
        else:
            records.append(_record(line, header, cells))
    if header is None:
        raise ProjectFileError([f"the file is empty; its first line has to name the columns: {', '.join(COLUMNS)}"])
    return records, []


def _rows(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """Each row that is not blank, with the line on which it begins; at a row that can't be read, a sentence."""
    lines = io.StringIO(text, newline="")
    # strict: otherwise a quote that is never closed would swallow all the lines after it, without a word.
    reader = csv.reader(lines, delimiter=_separator(text), strict=True, skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        yield line, BAD_QUOTES


def _separator(text: str) -> str:
    """The one that splits the first line into the most columns that we know."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return max(SEPARATORS, key=lambda separator: len(set(_names(first.split(separator))) & set(KNOWN_COLUMNS)))


def _names(cells: Iterable[str]) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in cells]


def _header(line: int, cells: Sequence[str]) -> list[str]:
    names = _names(cells)
    missing = [column for column in COLUMNS if column not in names]
    faults = [f"line {line}: the column {name} is there twice" for name in KNOWN_COLUMNS if names.count(name) > 1]
    if len(missing) == len(COLUMNS):
        faults = [f"line {line}: the first line has to name the columns: {', '.join(COLUMNS)}"]
    else:
        faults += [f"line {line}: the column {name} is missing{_meant(name, names)}" for name in missing]
        faults += [f"line {line}: {fault}" for fault in _mistyped(names)]
    if faults:
        raise ProjectFileError(faults)
    return names


def _meant(column: str, names: Iterable[str]) -> str:
    unknown = [name for name in names if name not in KNOWN_COLUMNS]
    similar = difflib.get_close_matches(column, unknown, n=1)
    return f"; is '{shortened(similar[0])}' meant to be it?" if similar else ""


def _mistyped(names: Sequence[str]) -> Iterator[str]:
    """Columns that look like an optional one: passed over, a project that is never to be locked would be."""
    unknown = [name for name in names if name not in KNOWN_COLUMNS]
    for column in (column for column in OPTIONAL_COLUMNS if column not in names):
        for similar in difflib.get_close_matches(column, unknown, n=1, cutoff=0.8):
            yield f"is the column '{shortened(similar)}' meant to be {column}? Name it so; if not, name it otherwise"


def _record(line: int, header: Sequence[str], cells: list[str]) -> _Record:
    record = _Record(line, dict(zip(header, cells + [""] * len(header), strict=False)))
    if len(cells) < len(header):
        record.faults.append(f"line {line}: it has {len(cells)} cells, and the first line names {len(header)} columns")
    elif any(cell.strip() for cell in cells[len(header) :]):
        record.faults.append(
            f"line {line}: it has {len(cells)} cells, and the first line names {len(header)} columns; "
            "a cell that holds the separator has to stand in double quotes"
        )
    return record


# --- a project -----------------------------------------------------------------------------------------------


def _entry(record: _Record, valid_addresses: AddressCheck, loaded: Mapping[int, ProjectEntry]) -> ProjectEntry:
    """The record's entry; blank where the record has faults."""
    if record.faults:
        # Its cells may stand in the wrong columns: more faults would only confuse.
        return ProjectEntry(Project(0, "", "", None, (), False), (), _no_budget())
    identifier = record.read("id", _identifier, 0)
    present = loaded.get(identifier)
    # Read in the order of the columns: so are the faults.
    acronym, name = record.read("acronym", _acronym, ""), record.read("name", _name, "")
    scopes = _scopes(record)
    terms = _terms(record, present.terms if present else _no_budget())
    project = Project(
        id=identifier,
        acronym=acronym,
        name=name,
        contacts=record.read("contacts", lambda text: _contacts(text, valid_addresses), ()),
        language=record.read("language", _language, None),
        active=record.read("active", _active, False),
        lock=record.read("lock", _lock, present.project.lock if present else LockPolicy.AUTO),
    )
    return ProjectEntry(project, scopes, terms)


def _scopes(record: _Record) -> tuple[Scope, ...]:
    no_groups: tuple[str, ...] = ()
    subscription = record.read("subscription_id", _subscription, "")
    return tuple(Scope(AZURE, subscription, group) for group in record.read("resource_groups", _groups, no_groups))


def _no_budget() -> BudgetTerms:
    return BudgetTerms(None, "", make_rule(PeriodKind.ANNUAL, None, None))


def _terms(record: _Record, present: BudgetTerms) -> BudgetTerms:
    amount = record.read("budget", _amount, None)
    currency = record.read("currency", _currency, None)
    rule = _rule(record)
    if amount:
        for column, example in {"currency": "its three letters, such as CAD", "period": _kinds()}.items():
            if not record.cells[column].strip():
                record.fault(column, f"it is empty, and a budget needs one; write {example}")
    rollover = record.read("rollover", lambda text: _rollover(text, rule), present.rollover)
    return BudgetTerms(amount, currency or "", rule, rollover, present.thresholds)


def _rule(record: _Record) -> PeriodRule:
    faults = len(record.faults)
    kind = record.read("period", parse_kind, PeriodKind.ANNUAL)
    start = record.read("period_start", parse_day, None)
    end = record.read("period_end", parse_day, None)
    if len(record.faults) == faults:
        try:
            return make_rule(kind, start, end)
        except ValueError as error:
            record.fault("period", str(error))
    return _no_budget().rule


def _one_line(text: str) -> str:
    if not is_one_line(text):
        raise ValueError("it holds a line break or another control character; write one line of text")
    return text.strip()


def _filled(text: str, example: str) -> str:
    if not text:
        raise ValueError(f"it is empty; write {example}")
    return text


def _identifier(text: str) -> int:
    _filled(text, f"a whole number from 1 to {LARGEST_ID}")
    if not re.fullmatch("[0-9]{1,10}", text) or not 0 < int(text) <= LARGEST_ID:
        raise ValueError(f"'{shortened(text)}' is no id; write a whole number from 1 to {LARGEST_ID}")
    return int(text)


def _acronym(text: str) -> str:
    _filled(text, "a short name without blanks, such as DIE1")
    if len(text) > LONGEST_ACRONYM or not text.isprintable() or any(character.isspace() for character in text):
        raise ValueError(f"'{shortened(text)}' is no acronym; write 1 to {LONGEST_ACRONYM} characters without blanks")
    if text.isdecimal():
        raise ValueError(f"'{text}' would be taken for an id; an acronym has to hold a letter")
    return text


def _name(text: str) -> str:
    _filled(text, "the project's name")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"it has {len(text)} characters; write at most {LONGEST_NAME}")
    return text


def _subscription(text: str) -> str:
    example = "the subscription's id, such as 1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
    if not GUID.fullmatch(_filled(text, example)):
        raise ValueError(f"'{shortened(text)}' is no subscription; write {example}")
    return text.lower()


def _groups(text: str) -> tuple[str, ...]:
    names = {key_of_group(name): name for name in reversed(_several(text))}
    if not names:
        raise ValueError("it is empty; write at least one resource group, several joined by ;")
    for name in names.values():
        if not GROUP_NAME.fullmatch(name):
            raise ValueError(
                f"'{shortened(name)}' is no resource group; write up to 90 letters, digits, _ - . ( ), "
                "without a period at the end, and join several by ;"
            )
    return tuple(reversed(names.values()))


def _contacts(text: str, valid_addresses: AddressCheck) -> tuple[str, ...]:
    valid, invalid = valid_addresses(_several(text))
    if invalid:
        listed = "; ".join(f"'{shortened(address)}' is no mail address: {reason}" for address, reason in invalid)
        raise ValueError(f"{listed.rstrip('.')}; write addresses such as ann@example.com, and join several by ;")
    return valid


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _amount(text: str) -> Decimal | None:
    try:
        return parse_amount(text) if text else None
    except ValueError as error:
        if re.fullmatch(r"[0-9]+([,.\s'][0-9]+)+", text):
            raise ValueError(f"{error} (no separators for thousands, and a point for decimals)") from None
        raise


def _currency(text: str) -> str | None:
    return parse_currency(text) if text else None


def _kinds() -> str:
    return ", ".join(PeriodKind)


def parse_kind(text: str) -> PeriodKind:
    """How often a budget begins anew, from a person's text; annual where that is empty. Raises ValueError."""
    if text and text.lower() not in set(PeriodKind):
        raise ValueError(f"'{shortened(text)}' is no period; write one of {_kinds()}")
    return PeriodKind(text.lower()) if text else PeriodKind.ANNUAL


def parse_day(text: str) -> date | None:
    """A day from a person's text, from 2000 up to 2100; None where that is empty. Raises ValueError."""
    if not text:
        return None
    # fromisoformat alone would also take 20260401 and 2026-W14-3.
    try:
        day = date.fromisoformat(text) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        day = None
    if day is None or not EARLIEST <= day <= LATEST:
        raise ValueError(f"'{shortened(text)}' is no date; write year-month-day, such as 2026-04-01")
    return day


def parse_rollover(text: str) -> Rollover:
    """A budget's rollover from a person's text; reset where that is empty. Raises ValueError."""
    word = re.sub(r"[\s-]+", "_", text.lower())
    if word and word not in set(Rollover):
        raise ValueError(f"'{shortened(text)}' is no rollover; write one of {', '.join(Rollover)}")
    return Rollover(word) if word else Rollover.RESET


def check_rollover(rollover: Rollover, rule: PeriodRule) -> None:
    """Raises ValueError for a rollover into the next period, where there is none."""
    if rule.kind is PeriodKind.FIXED and rollover is not Rollover.STOP:
        raise ValueError(f"a fixed period has no next one, so it can't be {rollover}; leave it empty, or write stop")


def _rollover(text: str, rule: PeriodRule) -> Rollover:
    rollover = parse_rollover(text)
    if text:
        check_rollover(rollover, rule)
    return rollover


def _lock(text: str) -> LockPolicy:
    if text and text.lower() not in set(LockPolicy):
        raise ValueError(f"'{shortened(text)}' is no lock; write auto (locked at 100 %) or never")
    return LockPolicy(text.lower()) if text else LockPolicy.AUTO


def _language(text: str) -> str | None:
    if text and text.lower() not in LANGUAGES:
        raise ValueError(f"'{shortened(text)}' is no language; write en or fr, or leave it empty for both")
    return text.lower() or None


def _active(text: str) -> bool:
    if text.lower() not in YES | NO:
        raise ValueError(f"'{shortened(text)}' is neither true nor false; write one of them")
    return text.lower() in YES


# --- what only one project can have --------------------------------------------------------------------------


def _refuse_claimed_twice(
    records: Sequence[_Record], entries: Sequence[ProjectEntry], stored: Iterable[ProjectEntry]
) -> None:
    named = {entry.project.id for entry in entries}
    owners = {
        claim: f"belongs to project {entry.project.id} ({entry.project.acronym}), which is not in this file"
        for entry in stored
        if entry.project.id not in named
        for claim in _claims(entry)
    }
    for record, entry in zip(records, entries, strict=True):
        for claim, value in _claims(entry).items():
            if claim in owners:
                record.fault(claim[0], f"{value} {owners[claim]}, and each project needs its own")
            else:
                owners[claim] = f"is on line {record.line} already"


def _claims(entry: ProjectEntry) -> dict[tuple[str, ...], str]:
    """What nobody else can have, by column and key, each as it is written; nothing for what could not be read."""
    claims: dict[tuple[str, ...], str] = {}
    project = entry.project
    if project.id:
        claims["id", str(project.id)] = str(project.id)
    if project.acronym:
        claims["acronym", project.acronym.lower()] = project.acronym
    for scope in entry.scopes:
        if scope.sub_account_id:
            claims["resource_groups", *scope.key] = scope.resource_group
    return claims
