"""The allocations file: a line for each share of each rule, turned into rules, or into a list of all that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from shared.domain.allocation import ALL_OF_IT, Method, Pool, Rule, Share, rule_key, total
from shared.domain.charges import LONGEST_GROUP
from shared.domain.money import plain, stored
from shared.domain.projects import acronym_key, provider_of
from shared.domain.texts import shortened, units
from shared.messages import GUID
from shared.ports.azure import AZURE
from shared.services.project_csv import Columns, ProjectFileError, Record, read_sheet
from shared.services.spreadsheet import Forms, forms_of
from shared.services.terms import parse_day

COLUMNS = Columns(
    ("name", "sub_account_id", "method", "first_day", "project"), ("provider", "resource_group", "last_day", "percent")
)
# What a rule's lines say in common: those after its first may leave it empty.
OF_THE_RULE = ("provider", "sub_account_id", "resource_group", "method", "first_day", "last_day")
ALL_PROJECTS = "*"
# In place of a project's id.
ALL = 0
LONGEST_NAME, LONGEST_PROVIDER, LONGEST_SUB_ACCOUNT = 100, 20, 100


def read_rules(
    content: bytes, projects: Mapping[str, int], is_stored: Callable[[str], bool] = lambda _sub_account: False
) -> list[Rule]:
    """The rules of an allocations file, in its order.

    content: CSV as `read_sheet` takes it. projects: ids by acronym (its key), and by the id as a text.
    is_stored: whether charges are stored of a sub-account; some are their billing account's. Raises ProjectFileError
    with every fault; then nothing of the file is to be used.
    """
    sheet = read_sheet(content, COLUMNS)
    forms = forms_of(sheet.column("percent"), sheet.column("first_day") + sheet.column("last_day"), sheet.separator)
    lines: dict[str, list[Record]] = {}
    for record in sheet.records:
        # The cells of one that has faults already may stand in the wrong columns.
        if not record.faults and (name := record.read("name", _name, "")):
            lines.setdefault(rule_key(name), []).append(record)
    rules = [_rule(records, projects, forms, is_stored) for records in lines.values()]
    faults = [*sheet.ambiguities(), *(fault for record in sheet.records for fault in record.faults), *sheet.faults]
    if not sheet.records and not faults:
        faults = ["the file names no rule; each line after the first is a share of one"]
    if faults:
        raise ProjectFileError(faults)
    return rules


def _rule(
    records: Sequence[Record], projects: Mapping[str, int], forms: Forms, is_stored: Callable[[str], bool]
) -> Rule:
    """The rule that these lines give; what can't be right becomes a fault of one of them."""
    first = records[0]
    for column in OF_THE_RULE:
        for record in records[1:]:
            _same(record, first, column)
    provider = first.read("provider", _provider, AZURE)
    pool = Pool(
        provider,
        first.read("sub_account_id", lambda text: _sub_account(text, provider, is_stored), ""),
        first.read("resource_group", _group, None),
    )
    method = first.read("method", _method, Method.FIXED)
    doubts = first.doubts
    first_day = first.read("first_day", lambda text: _first_day(text, forms), date.min)
    last_day = first.read("last_day", lambda text: _last_day(text, forms), None)
    if last_day is not None and last_day < first_day and first.doubts == doubts:
        first.fault("last_day", f"{last_day} is before the first day, {first_day}")
    shares = _shares(records, method, projects, forms)
    return Rule(first.cells["name"].strip(), pool, method, first_day, last_day, shares)


def _same(record: Record, first: Record, column: str) -> None:
    said, before = (each.cells.get(column, "").strip() for each in (record, first))
    if said and said != before:
        record.fault(column, f"line {first.line} says another of this rule; write the same, or leave it empty")


def _shares(records: Sequence[Record], method: Method, projects: Mapping[str, int], forms: Forms) -> tuple[Share, ...]:
    found: dict[int, Share] = {}
    for record in records:
        written = record.read("project", lambda text: _project(text, projects, method), None)
        percent = record.read("percent", lambda text: _percent(text, forms, method), None)
        if method is Method.FIXED and "percent" not in record.cells:
            record.fault("percent", "the column is missing, and fixed shares need it")
        if written == ALL and len(records) > 1:
            record.fault("project", f"{ALL_PROJECTS} is all projects; as a share, it stands alone in its rule")
        if not written:
            continue
        if written in found:
            record.fault("project", f"{record.cells['project'].strip()} has a share of this rule already")
        found[written] = Share(written, percent)
    together = total(share.percent or Decimal(0) for share in found.values())
    if together > ALL_OF_IT:
        records[-1].fault("percent", f"the shares of this rule come to {plain(together)} %; that can be 100 at most")
    return tuple(found.values())


def _project(text: str, projects: Mapping[str, int], method: Method) -> int:
    if not text:
        others = "" if method is Method.FIXED else f", or {ALL_PROJECTS} for all"
        raise ValueError(f"it is empty, and a rule needs a share; write a project's acronym or id{others}")
    if text == ALL_PROJECTS:
        if method is Method.FIXED:
            raise ValueError(
                f"{ALL_PROJECTS} goes with proportional shares only; name the project that gets the percent"
            )
        return ALL
    if (found := projects.get(acronym_key(text))) is None:
        raise ValueError(f"there is no project {shortened(text)}")
    return found


def _percent(text: str, forms: Forms, method: Method) -> Decimal | None:
    if method is not Method.FIXED:
        if text:
            raise ValueError(f"shares are {method}, and have no percent; leave it empty")
        return None
    number = forms.amount(text.removesuffix("%").strip())
    if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", number) or not 0 < Decimal(number) <= ALL_OF_IT:
        raise ValueError(f"'{shortened(text)}' is no share; write a percent above 0, up to 100")
    if Decimal(number) != stored(Decimal(number)):
        raise ValueError(f"'{shortened(text)}' is too fine; a percent has at most 10 decimal places")
    return Decimal(number)


def _name(text: str) -> str:
    return _needed(text, LONGEST_NAME, "it is empty; give the rule a name")


def _provider(text: str) -> str:
    return _fitting(provider_of(text), LONGEST_PROVIDER) or AZURE


def _sub_account(text: str, provider: str, is_stored: Callable[[str], bool]) -> str:
    if provider == AZURE and text and not GUID.fullmatch(text) and not is_stored(text):
        raise ValueError(
            f"'{shortened(text)}' is no subscription's id, and nothing is stored of such a billing account"
        )
    return _needed(text, LONGEST_SUB_ACCOUNT, "it is empty; write the id of the subscription, or other sub-account")


def _group(text: str) -> str | None:
    return _fitting(text, LONGEST_GROUP) or None


def _method(text: str) -> Method:
    word = re.sub(r"[\s_]+", "-", text.lower())
    if word not in set(Method):
        raise ValueError(f"'{shortened(text)}' is no method; write one of {', '.join(Method)}")
    return Method(word)


def _first_day(text: str, forms: Forms) -> date:
    day = parse_day(forms.day(text))
    if day is None:
        raise ValueError("it is empty; write the first day from which the rule counts, such as 2026-04-01")
    return day


def _last_day(text: str, forms: Forms) -> date | None:
    try:
        return parse_day(forms.day(text))
    except ValueError as error:
        raise ValueError(f"{error}; or leave it empty, where the rule goes on") from None


def _needed(text: str, longest: int, otherwise: str) -> str:
    if not text:
        raise ValueError(otherwise)
    return _fitting(text, longest)


def _fitting(text: str, longest: int) -> str:
    if units(text) > longest:
        raise ValueError(f"'{shortened(text)}' has {units(text):,} characters; write at most {longest:,}")
    return text
