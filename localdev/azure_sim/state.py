"""Changes of charges that come in as JSON while the simulator runs, kept in a file for its next start."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import Lock
from typing import Any

from localdev.azure_sim.charges import Charge, ChargeBook, plain

FIELDS = ("subscription", "group", "service", "day", "currency", "amount")

Change = tuple[Charge, bool]
"""A charge, and whether it is set (else it is removed)."""


class ChargeChanges:
    """Applies changes to a book and, where there is a file, writes all that were ever applied into it."""

    def __init__(self, book: ChargeBook, file: Path | None = None) -> None:
        self._book, self._file = book, file
        self._lock = Lock()
        self._kept: dict[tuple[str, ...], dict[str, Any]] = {}
        if file and file.exists():
            self.apply(json.loads(file.read_text(encoding="utf-8")))

    def apply(self, values: object) -> int:
        """Applies a list of objects with the keys FIELDS, all or none, and returns how many.

        `day` is an ISO date; `amount` a decimal as text or number, or null to remove the row. ValueError names the
        entry that can't be right.
        """
        if not isinstance(values, list):
            raise ValueError("Charges come as a list of objects.")  # noqa: TRY004 - bad input, not a wrong call
        changes = [_change(number, value) for number, value in enumerate(values, start=1)]
        with self._lock:
            for charge, is_set in changes:
                (self._book.set if is_set else self._book.remove)([charge])
                self._kept[(charge.subscription.lower(), charge.day.isoformat(), *charge.key)] = as_json(charge, is_set)
            self._write()
        return len(changes)

    def _write(self) -> None:
        if self._file:
            fresh = self._file.with_name(self._file.name + ".new")
            fresh.write_text(json.dumps(list(self._kept.values()), indent=1), encoding="utf-8")
            fresh.replace(self._file)


def _change(number: int, value: object) -> Change:
    try:
        return _read(value)
    except (TypeError, ValueError, InvalidOperation, KeyError) as error:
        raise ValueError(
            f"Charge {number} can't be read ({error or 'malformed'}): it needs {', '.join(FIELDS)}, "
            "with day as 2026-11-20 and amount as a decimal or null."
        ) from error


def _read(value: object) -> Change:
    if not isinstance(value, Mapping) or set(value) != set(FIELDS):
        raise ValueError("other keys")
    amount = value["amount"]
    charge = Charge(
        subscription=str(value["subscription"]),
        group=str(value["group"]),
        service=str(value["service"]),
        day=date.fromisoformat(value["day"]),
        currency=str(value["currency"]),
        amount=Decimal(0 if amount is None else amount),
    )
    if not charge.amount.is_finite():
        raise ValueError("an amount that is no number")
    return charge, amount is not None


def as_json(charge: Charge, is_set: bool) -> dict[str, str | None]:
    """A change as `ChargeChanges.apply` takes it."""
    return {
        "subscription": charge.subscription,
        "group": charge.group,
        "service": charge.service,
        "day": charge.day.isoformat(),
        "currency": charge.currency,
        "amount": plain(charge.amount) if is_set else None,
    }
