"""Reads the answer to a question to Cost Explorer: pages of days, groups and amounts, made into charges.

What is no answer to what was asked ends in a NoAnswerError; a row that can't be a charge is set aside, for it is a
fault of its account's alone.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from shared.domain.aws import AwsNameError, parse_account
from shared.domain.charges import ChargeSet, meter_name, metered_columns, rounded_columns, service_name
from shared.domain.money import MoneyError, parse_currency
from shared.domain.periods import DAY
from shared.domain.texts import readable, storable
from shared.ports.costs import AccountsAnswer, AccountsQuery
from shared.ports.errors import LaterError, NoAnswerError

# More than any database here holds.
PAST_ALL_BOUNDS = Decimal("1e18")
AMOUNT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?=T|$)")
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

        Raises LaterError where it is cut or garbled, NoAnswerError where it is not what was asked for or goes in a
        circle.
        """
        page = {name: answer[name] for name in KEPT if name in answer}
        if not isinstance(page.get("ResultsByTime"), list):
            raise LaterError("AWS's answer can't be read: it has no days.")
        token = self._next_token(page)
        for result in page["ResultsByTime"]:
            self._add_day(_fields(result))
        self._add_names(page.get("DimensionValueAttributes"))
        self._tokens.update(filter(None, [token]))
        self.token = token
        self.pages.append(page)

    def _next_token(self, page: Mapping[str, Any]) -> str | None:
        number, token = len(self.pages) + 1, page.get("NextPageToken") or None
        if token is not None and not isinstance(token, str):
            raise _not_asked_for(f"page {number} names the next one by {readable(str(token))!r}, which is no text")
        if token is not None and token in self._tokens:
            raise NoAnswerError(f"AWS's answer goes in a circle: page {number} leads to a page that was read already.")
        return token

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
        period, groups = _fields(result.get("TimePeriod")), result.get("Groups") or []
        day = self._day(period.get("Start"))
        if not isinstance(groups, list):
            raise _not_asked_for(f"what it has of {day} are no rows")
        # What says neither counts as estimated, for those days are read again.
        if result.get("Estimated") not in (None, False, "false"):
            self._estimated.add(day)
        for group in map(_fields, groups):
            keys, cost = group.get("Keys"), _fields(_fields(group.get("Metrics")).get(self.metric))
            if isinstance(keys, list) and [type(key) for key in keys] == [str, str]:
                self._add_row(day, period.get("End"), keys, cost)
            else:
                self._set_aside("" if self._by_account else self._account, day, "", "its keys are not two texts")

    def _add_row(self, day: date, end: object, keys: list[str], cost: Mapping[str, Any]) -> None:
        # By account and service, or by service and meter of the only account.
        account, service, meter = (keys[0], keys[1], "") if self._by_account else (self._account, *keys[:2])
        if self.wanted is not None and account not in self.wanted:
            return
        try:
            linked = parse_account(account)
            _refuse_longer(day, end)
            row = linked, _currency(_text(cost, "Unit")), _amount(_text(cost, "Amount"))
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

    def _day(self, text: object) -> date:
        window, day = self.query.window, _day_in(text)
        if day is None:
            why = "it has a day without date" if text is None else f"'{readable(str(text))}' is no day"
            raise _not_asked_for(why)
        if day not in window:
            raise _not_asked_for(f"it has {day}, outside of {window.start} to {window.last_day}")
        return day

    def _add_names(self, attributes: object) -> None:
        """Names are only names: those that can't be read are left out."""
        for value in map(_fields, attributes if isinstance(attributes, list) else []):
            account, name = value.get("Value"), _fields(value.get("Attributes")).get("description")
            if not (isinstance(account, str) and isinstance(name, str)):
                continue
            if self._by_account and (self.wanted is None or account in self.wanted) and readable(name):
                self._names[account] = readable(name, LONGEST_NAME)


def has_meters(query: AccountsQuery) -> bool:
    """Whether charges come by meter: of one account only, for Cost Explorer groups by two things at most."""
    return query.cloud_account.detail == "meter" and not query.cloud_account.is_organization


def _not_asked_for(what: str) -> NoAnswerError:
    return NoAnswerError(f"AWS's answer is not what was asked for: {what}.")


def _fields(value: object) -> Mapping[str, Any]:
    """The fields of an object; none of anything else."""
    return value if isinstance(value, Mapping) else {}


def _day_in(text: object) -> date | None:
    """The day of a date, or of a time, as AWS writes them; None where it is none."""
    # Python alone would take 2026-W45-1 and 20261102, too.
    found = DATE.match(text) if isinstance(text, str) else None
    try:
        return date.fromisoformat(found[0]) if found else None
    except ValueError:
        return None


def _refuse_longer(day: date, end: object) -> None:
    """Raises CellError where a row is not of one day, such as of a month."""
    if _day_in(end) != day + DAY:
        until = readable(str(end)) if end is not None else "no end"
        raise CellError(f"it is of {day} to {until}, and days were asked for")


def _text(cost: Mapping[str, Any], name: str) -> str:
    """A field as AWS wrote it. A number's text is lost where JSON is read, and it may have had more digits."""
    value = cost.get(name)
    if not isinstance(value, str):
        what = name.lower()
        why = f"it has no {what}" if value is None else f"its {what} is {readable(repr(value))}, which is no text"
        raise CellError(why)
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
