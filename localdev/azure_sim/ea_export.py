"""Charges out of an Enterprise Agreement cost export (CSV), as Cost Management writes it into blob storage."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from localdev.azure_sim.charges import Charge, ChargeBook

# Newer and older versions of the export name these columns differently.
COLUMNS = {
    "subscription": ("subscriptionid", "subscriptionguid"),
    "group": ("resourcegroup", "resourcegroupname"),
    "service": ("metercategory",),
    "day": ("date",),
    "currency": ("billingcurrencycode", "billingcurrency"),
    "amount": ("costinbillingcurrency", "cost"),
}


def read_ea_export(path: Path) -> ChargeBook:
    """A book with the file's charges; rows of one (group, service, day) are summed exactly.

    The file is UTF-8 with or without a byte order mark, with dates as MM/DD/YYYY or YYYY-MM-DD. Raises ValueError
    with the file, the line and the fault where it can't be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        return ChargeBook(_charges(path, csv.DictReader(file)))


def _charges(path: Path, reader: "csv.DictReader[str]") -> Iterator[Charge]:
    columns = _columns(path, reader.fieldnames or ())
    for line in reader:
        try:
            yield _charge({meaning: line[column] or "" for meaning, column in columns.items()})
        except ValueError as error:
            raise ValueError(f"{path.name}, line {reader.line_num}: {error}") from error


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Which column of the file holds what."""
    present = {name.strip().lower(): name for name in header}
    found = {}
    for meaning, names in COLUMNS.items():
        name = next((present[name] for name in names if name in present), None)
        if name is None:
            raise ValueError(f"{path.name} has no column for the {meaning}: expected {' or '.join(names)}.")
        found[meaning] = name
    return found


def _charge(values: Mapping[str, str]) -> Charge:
    return Charge(
        subscription=values["subscription"].strip(),
        group=values["group"].strip(),
        service=values["service"].strip(),
        day=_day(values["day"].strip()),
        currency=values["currency"].strip(),
        amount=_amount(values["amount"].strip()),
    )


def _day(text: str) -> date:
    form = "%m/%d/%Y" if "/" in text else "%Y-%m-%d"
    return datetime.strptime(text, form).replace(tzinfo=UTC).date()


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ValueError(f"the cost {text!r} is not an amount.")
    return amount
