"""Reads the answer to a question to Cost Explorer: pages of days, groups and amounts, made into charges.

What is no answer to what was asked ends in a NeverError; a row that can't be a charge is set aside, for it is a fault
of its account's alone.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from shared.domain.aws import AwsNameError, parse_account
from shared.domain.charges import ChargeSet, meter_name, metered_columns, rounded_columns, service_name
from shared.domain.money import MoneyError, parse_currency
from shared.domain.texts import readable, storable
from shared.ports.costs import AccountsAnswer, AccountsQuery
from shared.ports.errors import LaterError, NeverError

# More than any database here holds.
PAST_ALL_BOUNDS = Decimal("1e18")
AMOUNT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
LONGEST_NAME = 100
# What of a page is read.
KEPT = ("ResultsByTime", "DimensionValueAttributes", "NextPageToken")


class CellError(ValueError):
    """What keeps a row from being a charge, as the end of a sentence."""


class Answer:
    """Collects the pages of the answer to one question.

    wanted: only these accounts, where not None. pages: those that were taken. token: of the next page; None before the
    first and after the last one. begun_anew: how often the answer was, since a page was refused.
    """

    def __init__(
        self,
        query: AccountsQuery,
        metric: str,
        wanted: frozenset[str] | None,
        begun_at: datetime,
        begun_anew: int = 0,
    ) -> None:
        self.query, self.metric, self.begun_at, self.begun_anew = query, metric, begun_at, begun_anew
        self.pages: list[Mapping[str, Any]] = []
        self.token: str | None = None
        self.wanted = wanted
        self._by_account = not has_meters(query)
        # By account and currency: days, services, meters, amounts.
        self._columns: dict[tuple[str, str], tuple[list[date], list[str], list[str], list[Decimal]]] = {}
        self._estimated: set[date] = set()
        self._names: dict[str, str] = {}
        self._odd: dict[str, str] = {}
        self._tokens: set[str] = set()

    @property
    def is_whole(self) -> bool:
        """Whether the last page has come."""
        return bool(self.pages) and self.token is None

    def bodies(self) -> tuple[bytes, ...]:
        """The pages, to be kept until it goes on."""
        return tuple(json.dumps(page).encode() for page in self.pages)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Takes the next page.

        Raises LaterError where it is cut or garbled, NeverError where it is not what was asked for or goes in a circle.
        """
        page = {name: answer[name] for name in KEPT if name in answer}
        if not isinstance(page.get("ResultsByTime"), list):
            raise LaterError("AWS's answer can't be read: it has no days.")
        token = page.get("NextPageToken") or None
        if token is not None and token in self._tokens:
            raise NeverError(
                f"AWS's answer goes in a circle: page {len(self.pages) + 1} leads to a page that was read already."
            )
        try:
            for result in page["ResultsByTime"]:
                self._add_day(result)
            self._add_names(page.get("DimensionValueAttributes") or [])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise NeverError(
                f"AWS's answer is not what was asked for: page {len(self.pages) + 1} lacks {readable(str(error))}."
            ) from error
        self._tokens.update(filter(None, [token]))
        self.token = token
        self.pages.append(page)

    def whole(self) -> AccountsAnswer:
        """All that has come."""
        charges: defaultdict[str, list[ChargeSet]] = defaultdict(list)
        for (account, currency), (days, services, meters, amounts) in sorted(self._columns.items()):
            charges[account].append(
                rounded_columns([""] * len(days), days, services, amounts, currency)
                if self._by_account
                else metered_columns(days, services, meters, amounts, currency)
            )
        return AccountsAnswer(
            {account: tuple(sets) for account, sets in charges.items()},
            self.begun_at,
            min(self._estimated, default=None),
            self._names,
            self._odd,
        )

    def _add_day(self, result: Mapping[str, Any]) -> None:
        day = self._day(result["TimePeriod"]["Start"])
        if result.get("Estimated"):
            self._estimated.add(day)
        for group in result.get("Groups") or []:
            keys, cost = group.get("Keys") or [], (group.get("Metrics") or {}).get(self.metric) or {}
            if [type(key) for key in keys] == [str, str]:
                self._add_row(day, keys, cost)
            else:
                self._set_aside("" if self._by_account else self._account, day, "", "its keys are not two texts")

    def _add_row(self, day: date, keys: list[str], cost: Mapping[str, Any]) -> None:
        # By account and service, or by service and meter of the only account.
        account, service, meter = (keys[0], keys[1], "") if self._by_account else (self._account, *keys[:2])
        if self.wanted is not None and account not in self.wanted:
            return
        try:
            row = parse_account(account), _currency(_text(cost, "Unit")), _amount(_text(cost, "Amount"))
        except (CellError, AwsNameError) as error:
            self._set_aside(account if not isinstance(error, AwsNameError) else "", day, service, str(error))
            return
        days, services, meters, amounts = self._columns.setdefault(row[:2], ([], [], [], []))
        days.append(day)
        services.append(service_name(storable(service)))
        meters.append(meter_name(meter))
        amounts.append(row[2])

    def _set_aside(self, account: str, day: date, service: str, why: str) -> None:
        where = ", ".join(filter(None, [str(day), readable(service)]))
        self._odd.setdefault(account, f"AWS's answer has a row that is no charge ({where}): {why}.")

    @property
    def _account(self) -> str:
        return self.query.cloud_account.external_account_id

    def _day(self, text: str) -> date:
        window = self.query.window
        try:
            day = date.fromisoformat(text[:10])
        except ValueError as error:
            raise NeverError(f"AWS's answer is not what was asked for: '{readable(text)}' is no day.") from error
        if day not in window:
            raise NeverError(
                f"AWS's answer is not what was asked for: it has {day}, outside of {window.start} to {window.last_day}."
            )
        return day

    def _add_names(self, attributes: Iterable[Mapping[str, Any]]) -> None:
        for value in attributes:
            name = readable(str(value.get("Attributes", {}).get("description") or ""), LONGEST_NAME)
            account = str(value.get("Value"))
            if name and self._by_account and (self.wanted is None or account in self.wanted):
                self._names[account] = name


def has_meters(query: AccountsQuery) -> bool:
    """Whether charges come by meter: of one account only, for Cost Explorer groups by two things at most."""
    return query.cloud_account.detail == "meter" and not query.cloud_account.is_organization


def _text(cost: Mapping[str, Any], name: str) -> str:
    """A field as AWS wrote it. A number's text is lost where JSON is read, and it may have had more digits."""
    value = cost.get(name)
    if not isinstance(value, str):
        what = name.lower()
        raise CellError(f"it has no {what}" if value is None else f"its {what} is {value!r}, which is no text")
    return value


def _currency(unit: str) -> str:
    try:
        return parse_currency(unit)
    except MoneyError as error:
        raise CellError(f"its unit is wrong: {error}") from None


def _amount(text: str) -> Decimal:
    """An amount as AWS writes it, such as `12.3456789012`, `1E-7`, `-0`."""
    try:
        amount = Decimal(text) if AMOUNT.fullmatch(text) else None
    except InvalidOperation:
        amount = None
    if amount is None:
        raise CellError(f"its amount is '{readable(text)}', which is no number")
    if amount.copy_abs() >= PAST_ALL_BOUNDS:
        raise CellError(f"its amount is too large to be kept: {amount:.3E}")
    # Zeros come with signs of their own.
    return amount or Decimal(0)
