"""Charges that come in as JSON while the simulator runs, kept in a file for its next start."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import Lock

from localdev.azure_sim.charges import Charge, ChargeBook, plain

FIELDS = ("subscription", "group", "service", "day", "currency", "amount")


class ChargeChanges:
    """Sets charges in a book and, where there is a file, writes all that were ever set into it."""

    def __init__(self, book: ChargeBook, file: Path | None = None) -> None:
        self._book, self._file = book, file
        self._lock = Lock()
        self._kept: dict[tuple[str, ...], dict[str, str]] = {}
        if file and file.exists():
            self.apply(json.loads(file.read_text(encoding="utf-8")))

    def apply(self, values: object) -> int:
        """Sets a list of objects with the keys FIELDS, all or none, and returns how many.

        `day` is an ISO date, `amount` a decimal as text or number. ValueError names the entry that can't be right.
        """
        if not isinstance(values, list):
            raise ValueError("Charges come as a list of objects.")  # noqa: TRY004 - bad input, not a wrong call
        charges = [_charge(number, value) for number, value in enumerate(values, start=1)]
        with self._lock:
            self._book.set(charges)
            self._kept |= {(one.subscription.lower(), one.day.isoformat(), *one.key): as_json(one) for one in charges}
            self._write()
        return len(charges)

    def _write(self) -> None:
        if self._file:
            fresh = self._file.with_name(self._file.name + ".new")
            fresh.write_text(json.dumps(list(self._kept.values()), indent=1), encoding="utf-8")
            fresh.replace(self._file)


def _charge(number: int, value: object) -> Charge:
    try:
        return _read(value)
    except (TypeError, ValueError, InvalidOperation, KeyError) as error:
        raise ValueError(
            f"Charge {number} can't be read ({error or 'malformed'}): it needs {', '.join(FIELDS)}, "
            "with day as 2026-11-20 and amount as a decimal."
        ) from error


def _read(value: object) -> Charge:
    if not isinstance(value, Mapping) or set(value) != set(FIELDS):
        raise ValueError("other keys")
    charge = Charge(
        subscription=str(value["subscription"]),
        group=str(value["group"]),
        service=str(value["service"]),
        day=date.fromisoformat(value["day"]),
        currency=str(value["currency"]),
        amount=Decimal(value["amount"]),
    )
    if not charge.amount.is_finite():
        raise ValueError("an amount that is no number")
    return charge


def as_json(charge: Charge) -> dict[str, str]:
    """A charge as `ChargeChanges.apply` takes it."""
    return {
        "subscription": charge.subscription,
        "group": charge.group,
        "service": charge.service,
        "day": charge.day.isoformat(),
        "currency": charge.currency,
        "amount": plain(charge.amount),
    }
