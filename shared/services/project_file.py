"""The projects file: what a person wrote in it, turned into entries, or into a list of all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from shared.domain.budgets import BudgetTerms
from shared.domain.charges import LONGEST_GROUP, key_of_group
from shared.domain.money import parse_amount, parse_currency
from shared.domain.periods import PeriodKind, PeriodRule, make_rule
from shared.domain.projects import (
    LANGUAGES,
    LockPolicy,
    Project,
    ProjectEntry,
    Scope,
    Taken,
    acronym_key,
    provider_of,
    taken,
)
from shared.domain.texts import shortened, units
from shared.messages import GUID, LARGEST_ID
from shared.ports.azure import AZURE
from shared.ports.mails import AddressCheck
from shared.services.project_csv import Columns, ProjectFileError, Record, read_sheet
from shared.services.spreadsheet import Forms, forms_of
from shared.services.terms import KINDS, parse_day, parse_kind, parse_rollover

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
OPTIONAL_COLUMNS = ("aws_accounts", "sub_accounts", "lock", "rollover", "owner", "department", "cost_centre")
LONGEST_ACRONYM, LONGEST_NAME, LONGEST_COST_CENTRE, LONGEST_PROVIDER = 50, 200, 100, 20
AWS = "aws"
# Azure's rule for the names of resource groups (learn.microsoft.com, "Naming rules for Azure resources").
GROUP_NAME = re.compile(r"[\w().-]{1,90}(?<!\.)")
# A French Excel turns true and false into VRAI and FAUX when it saves.
YES = frozenset({"", "true", "yes", "1", "vrai", "oui"})
NO = frozenset({"false", "no", "0", "faux", "non"})


def read_projects(
    content: bytes,
    valid_addresses: AddressCheck,
    stored: Sequence[ProjectEntry] = (),
    providers: Collection[str] = (),
) -> list[ProjectEntry]:
    """The entries of a projects file, in its order.

    content: CSV as `read_sheet` takes it, with all of COLUMNS. stored: the projects that are loaded already; an entry
    can't take an acronym or a scope from one of them that the file does not name, and keeps of its own one what the
    file does not say. providers: those whose costs are stored, as they are spelled there. Raises ProjectFileError
    with every fault; then nothing of the file is to be used.
    """
    sheet = read_sheet(content, Columns(COLUMNS, OPTIONAL_COLUMNS))
    records = sheet.records
    forms = forms_of(sheet.column("budget"), sheet.column("period_start") + sheet.column("period_end"), sheet.separator)
    loaded = {entry.project.id: entry for entry in stored}
    entries = [_entry(record, Known(valid_addresses, loaded, forms, providers)) for record in records]
    for each in taken(entries, stored):
        records[each.place].fault(*_taken(each, records))
    faults = [*sheet.ambiguities(), *(fault for record in records for fault in record.faults), *sheet.faults]
    if not records and not faults:
        faults = ["the file names no project; each line after the first is one"]
    if faults:
        raise ProjectFileError(faults)
    return entries


def _taken(each: Taken, records: Sequence[Record]) -> tuple[str, str]:
    """The column in which something stands that another project has, and a sentence on it."""
    column = _column_of(each.key[1]) if each.key[0] == "scope" else each.key[0]
    where = f"belongs to project {each.owner.id} ({each.owner.acronym}), which is not in this file"
    if each.earlier is not None:
        where = f"is on line {records[each.earlier].line} already"
    return column, f"{each.written} {where}, and each project needs its own"


def _column_of(provider: str) -> str:
    """Where a scope of a provider is written."""
    return {AZURE: "resource_groups", AWS: "aws_accounts"}.get(provider, "sub_accounts")


@dataclass(frozen=True, slots=True)
class Known:
    """What a line is read by, besides itself. loaded: the projects, by id. forms: of its amounts and days."""

    valid_addresses: AddressCheck
    loaded: Mapping[int, ProjectEntry]
    forms: Forms
    providers: Collection[str]


def _entry(record: Record, known: Known) -> ProjectEntry:
    """The record's entry; blank where the record has faults."""
    if record.faults:
        # Its cells may stand in the wrong columns: more faults would only confuse.
        return ProjectEntry(Project(0, "", "", None, (), False), (), _no_budget())
    identifier = record.read("id", _identifier, 0)
    present = known.loaded.get(identifier)
    # Read in the order of the columns: so are the faults.
    acronym, name = record.read("acronym", _acronym, ""), record.read("name", _name, "")
    scopes = _scopes(record, present.scopes if present else (), known.providers)
    terms = _terms(record, present.terms if present else _no_budget(), known.forms)
    before = present.project if present else Project(identifier, "", "", None, (), active=False)
    project = Project(
        id=identifier,
        acronym=acronym,
        name=name,
        contacts=record.read("contacts", lambda text: _contacts(text, known.valid_addresses), ()),
        language=record.read("language", _language, None),
        active=record.read("active", _active, False),
        lock=record.read("lock", _lock, before.lock),
        owner=record.read("owner", _text_of(LONGEST_NAME), before.owner),
        department=record.read("department", _text_of(LONGEST_NAME), before.department),
        cost_centre=record.read("cost_centre", _text_of(LONGEST_COST_CENTRE), before.cost_centre),
    )
    return ProjectEntry(project, scopes, terms)


def _scopes(record: Record, present: Sequence[Scope], providers: Collection[str]) -> tuple[Scope, ...]:
    """All clouds' scopes. What the file has no column for, a project that is loaded keeps."""
    doubts = record.doubts
    aws = record.read("aws_accounts", _aws_accounts, tuple(each for each in present if each.provider == AWS))
    apart = tuple(each for each in present if each.provider not in (AZURE, AWS))
    others = (*aws, *record.read("sub_accounts", lambda text: _sub_accounts(text, providers), apart))
    azure = _azure_scopes(record, is_needed=not others and record.doubts == doubts)
    return (*azure, *others)


def _azure_scopes(record: Record, *, is_needed: bool) -> tuple[Scope, ...]:
    """Both cells or, for a project that has all it has elsewhere, none."""
    if not is_needed and not any(record.cells[name].strip() for name in ("subscription_id", "resource_groups")):
        return ()
    no_groups: tuple[str, ...] = ()
    subscription = record.read("subscription_id", _subscription, "")
    return tuple(Scope(AZURE, subscription, group) for group in record.read("resource_groups", _groups, no_groups))


def _no_budget() -> BudgetTerms:
    return BudgetTerms(None, "", make_rule(PeriodKind.ANNUAL, None, None))


def _terms(record: Record, present: BudgetTerms, forms: Forms) -> BudgetTerms:
    amount = record.read("budget", lambda text: _amount(forms.amount(text)), None)
    currency = record.read("currency", _currency, None)
    rule = _rule(record, forms)
    if amount:
        for column, example in {"currency": "its three letters, such as CAD", "period": KINDS}.items():
            if not record.cells[column].strip():
                record.fault(column, f"it is empty, and a budget needs one; write {example}")
    fixed = rule.kind is PeriodKind.FIXED
    # That of a fixed period never counts: where a file says nothing of it, it stays.
    rollover = record.read(
        "rollover", lambda text: parse_rollover(text, rule) if text or not fixed else present.rollover, present.rollover
    )
    opening = present.opening_for(currency or "")
    return BudgetTerms(amount, currency or "", rule, rollover, present.thresholds, opening)


def _rule(record: Record, forms: Forms) -> PeriodRule:
    doubts = record.doubts
    kind = record.read("period", parse_kind, PeriodKind.ANNUAL)
    start = record.read("period_start", lambda text: _day(text, forms), None)
    last_day = record.read("period_end", lambda text: _day(text, forms), None)
    if record.doubts == doubts:
        try:
            return make_rule(kind, start, last_day)
        except ValueError as error:
            record.fault("period", str(error))
    return _no_budget().rule


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
    is_long = max(units(text), units(acronym_key(text))) > LONGEST_ACRONYM
    if is_long or not text.isprintable() or any(character.isspace() for character in text):
        raise ValueError(f"'{shortened(text)}' is no acronym; write 1 to {LONGEST_ACRONYM} characters without blanks")
    if text.isdecimal():
        raise ValueError(f"'{text}' would be taken for an id; an acronym has to hold a letter")
    return text


def _name(text: str) -> str:
    return _fitting(_filled(text, "the project's name"), LONGEST_NAME)


def _fitting(text: str, longest: int) -> str:
    if units(text) > longest:
        raise ValueError(f"it has {units(text)} characters; write at most {longest}")
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
        if not GROUP_NAME.fullmatch(name) or units(key_of_group(name)) > LONGEST_GROUP:
            raise ValueError(
                f"'{shortened(name)}' is no resource group; write up to 90 letters, digits, _ - . ( ), "
                "without a period at the end, and join several by ;"
            )
    return tuple(reversed(names.values()))


def _aws_accounts(text: str) -> tuple[Scope, ...]:
    # A spreadsheet leaves an id alone that begins with an apostrophe.
    ids = list(dict.fromkeys(part.removeprefix("'") for part in _several(text)))
    for each in ids:
        if re.fullmatch("[0-9]{12}", each):
            continue
        hint = ""
        if re.fullmatch("[0-9]{9,11}", each):
            hint = f", and this one may have lost its zeros to a spreadsheet: {each:0>12}?"
        elif re.fullmatch(r"[0-9]{4}[- ][0-9]{4}[- ][0-9]{4}", each):
            hint = f", without anything between them: {re.sub('[- ]', '', each)}"
        elif re.fullmatch("[0-9]+", each):
            hint = f"; this one has {len(each)}"
        elif re.fullmatch(r"[0-9](?:[.,][0-9]+)?E\+[0-9]+", each, re.IGNORECASE):
            hint = ", and this one was rounded by a spreadsheet"
        raise ValueError(
            f"'{shortened(each)}' is no AWS account; write its 12 digits, several accounts joined by ;{hint}"
        )
    return tuple(Scope(AWS, each) for each in ids)


def _sub_accounts(text: str, providers: Collection[str]) -> tuple[Scope, ...]:
    named = (_sub_account(each, providers) for each in _several(text))
    return tuple({each.key: each for each in named}.values())


def _sub_account(text: str, providers: Collection[str]) -> Scope:
    named, colon, account = (part.strip() for part in text.partition(":"))
    provider = provider_of(named, providers)
    if not (named and colon and account):
        raise ValueError(
            f"'{shortened(text)}' is no sub-account; write its provider as FOCUS files name it, a colon and its id, "
            "such as Google Cloud:my-project, and join several by ;"
        )
    if provider in (AZURE, AWS):
        columns = "subscription_id and resource_groups" if provider == AZURE else "aws_accounts"
        raise ValueError(f"'{shortened(text)}' is of {named}: write it into {columns}")
    if units(provider) > LONGEST_PROVIDER or units(account) > LONGEST_GROUP:
        raise ValueError(
            f"'{shortened(text)}' is too long: a provider has at most {LONGEST_PROVIDER} characters, an id "
            f"{LONGEST_GROUP}"
        )
    return Scope(provider, account)


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
        # With one point it is an amount as it should be, and something else is wrong with it.
        if re.fullmatch(r"[0-9]+([,.\s'][0-9]+)+", text) and not re.fullmatch(r"[0-9]+\.[0-9]+", text):
            raise ValueError(f"{error} (no separators for thousands but spaces)") from None
        raise


def _day(text: str, forms: Forms) -> date | None:
    written = forms.day(text)
    try:
        return parse_day(written)
    except ValueError:
        # The fault shows what stands in the file.
        return parse_day(text)


def _text_of(longest: int) -> Callable[[str], str | None]:
    def parse(text: str) -> str | None:
        return _fitting(text, longest) or None

    return parse


def _currency(text: str) -> str | None:
    return parse_currency(text) if text else None


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
