"""Sums a file's rows exactly, batch by batch: what Polars' Decimal holds exactly there, and the rest in Python's.

A cost of up to 9 digits before its point and 20 after it is summed in Polars' Decimal(38, 20), which holds a billion
sums of the largest of them; one with an exponent likewise, with those of the same exponent. Others are few.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import compress
from typing import Any

import polars as pl
from typing_extensions import override

from shared.adapters.exports import cells
from shared.adapters.exports.cells import CellError
from shared.adapters.exports.columns import (
    BILLING_ACCOUNT,
    BOM,
    COST,
    CURRENCY,
    DAY,
    GROUP,
    PERIOD,
    PROVIDER,
    RESOURCE,
    SERVICE,
    SUB_ACCOUNT,
    Layout,
)
from shared.domain.charges import group_name, service_name
from shared.domain.exports.sums import SUMMING, Row
from shared.domain.projects import provider_of
from shared.domain.texts import readable, storable
from shared.ports.azure import AZURE
from shared.ports.errors import NeverError

PLACES = 20
AMOUNTS, LARGEST_PLAIN = pl.Decimal(38, PLACES), Decimal(10**9)
PLAIN = r"^-?[0-9]{1,9}(?:\.[0-9]{1,20})?$"
SCIENTIFIC = r"^(-?[0-9]{1,9}(?:\.[0-9]{1,20})?)(?:[eE]([+-]?[0-9]{1,2}))?$"
# Past these a number goes to Python, which says whether anything costs as much.
EXPONENTS = (-30, 5)
GROUP_OF_RESOURCE = r"(?i)^/?subscriptions/[^/]+/resourcegroups/([^/]+)"
KEYS = (SUB_ACCOUNT, GROUP, DAY, SERVICE, CURRENCY, PERIOD, BILLING_ACCOUNT, PROVIDER)
ROW, AMOUNT, EXPONENT, ROWS = "row", "amount", "exponent", "rows"
# So many sums of batches are held before they are added up.
MOST_HELD = 500_000
SOME = 100
# So many rows are made at a time.
SLICE = 50_000
# So many take a gigabyte and a half at most, where each has a long name of its own; half of it where names are few.
MOST_SUMS = 1_000_000

# What is made of a name or an id, by the cell.
NAMES: Mapping[str, Callable[[str], str]] = {
    SUB_ACCOUNT: cells.sub_account,
    GROUP: lambda text: group_name(cells.group(text)),
    SERVICE: service_name,
    BILLING_ACCOUNT: cells.billing_account,
    PROVIDER: provider_of,
}

Key = tuple[Any, ...]
Columns = dict[str, list[Any]]
"""Cells of as many sums each, by what we call them"""
PARTIES = ("InvoiceIssuerName", "ServiceProviderName", "HostProviderName")
# As they were called before FOCUS 1.0, and are in Oracle's reports.
OLDER = {"ProviderName": "Provider", "InvoiceIssuerName": "InvoiceIssuer"}
# By the name that `cells.provider` knows: how the names of its companies begin, and what ids of its sub-accounts are.
CLOUDS = {
    "Microsoft": ("(microsoft|azure)", "(/?subscriptions/.+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"),
    "AWS": (r"(aws|amazon web services)\b", r"""(?:'|=")?[0-9]{12}(?:['"]|\.0+)?"""),
}


class Summing:
    """Takes batches of a file's rows, in their order: columns of text, named by what we call them.

    provider: of rows that name none. count: rows so far; read: these, and lines without anything. Raises NeverError
    for a row that can't be right, with its number.
    """

    def __init__(self, today: date, provider: str, most_sums: int = MOST_SUMS) -> None:
        self.count = self.read = 0
        self._today, self._provider, self._most_sums = today, provider, most_sums
        self._known: dict[str, dict[str, Any]] = {cell: {} for cell in KEYS}
        self._sums: list[pl.DataFrame] = []
        self._held = 0
        self._others: dict[Key, tuple[Decimal, int]] = {}
        self._without_cost = 0
        self.notes: list[str] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Counts a batch in."""
        is_plain = _is_plain(batch[COST])
        # Only a cost is summed as a number: what else, by an odd provider, is a DECIMAL is a text here.
        as_texts = pl.col(pl.Decimal).exclude(COST) if is_plain else pl.col(pl.Decimal)
        frame = batch.with_columns(as_texts.cast(pl.String)).with_row_index(ROW, offset=self.read)
        self.read += frame.height
        if not is_plain:
            frame = self._with_cost(frame)
        self.count += frame.height
        frame = self._with_keys(frame)
        amounts = _plain_amounts(frame) if is_plain else self._with_amounts(frame)
        amounts = self._with_currency(amounts)
        sums = _summed(amounts, pl.len())
        self._check_names(frame, sums)
        # Each name is held once then, however many sums have it.
        self._sums.append(sums.with_columns(pl.col(pl.String).cast(pl.Categorical)))
        self._held += sums.height
        if self._held > MOST_HELD:
            self._add_up()

    def added_up(self) -> Summing:
        """Itself, when all rows are in: no more than has to be kept for rows()."""
        self._add_up()
        self._known.clear()
        return self

    def rows(self) -> dict[str, Collection[Row]]:
        """The sums, by provider."""
        self._add_up()
        [sums] = self._sums or [pl.DataFrame()]
        others = self._columns_of_others()
        absent = pl.Series([None] * bool(sums.height), dtype=pl.Categorical)
        of_sums = sums[PROVIDER] if PROVIDER in sums.columns else absent
        names = {text: self._provider_of(text or "") for text in {*of_sums.unique().to_list(), *others[PROVIDER]}}
        found: dict[str, Collection[Row]] = {}
        for provider in dict.fromkeys(names.values()):
            texts = [text for text, name in names.items() if name == provider]
            its = sums if len(texts) == len(names) else sums.filter(pl.lit(of_sums.is_in(texts, nulls_equal=True)))
            is_its = [each in texts for each in others[PROVIDER]]
            only = {cell: list(compress(each, is_its)) for cell, each in others.items()}
            found[provider] = SumRows(provider, its, only)
        return found

    def _provider_of(self, text: str) -> str:
        return _name(provider_of, text) or self._provider

    @property
    def odd(self) -> tuple[str, ...]:
        """What a person should know, in sentences."""
        one = "1 row has no cost, and counts for nothing."
        several = f"{self._without_cost:,} rows have no cost, and count for nothing."
        without_cost = [one if self._without_cost == 1 else several] if self._without_cost else []
        return (*without_cost, *self.notes)

    # --- a batch -------------------------------------------------------------------------------------------------

    def _with_cost(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Without the rows that have no cost; a line without anything is no row."""
        frame = frame.with_columns(pl.col(COST).str.strip_chars())
        lacks = pl.col(COST).is_null() | pl.col(COST).is_in(cells.ABSENT)
        said = frame.filter(lacks).select(pl.exclude(ROW)).filter(pl.any_horizontal(pl.all().is_not_null())).height
        self._without_cost += said
        self.count += said
        return frame.filter(~lacks)

    def _with_keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        if RESOURCE in frame.columns:
            group = pl.col(RESOURCE).str.extract(GROUP_OF_RESOURCE).alias(GROUP)
            frame = frame.with_columns(group).drop(RESOURCE)
        frame = frame.with_columns(
            self._read_each(frame, DAY, partial(cells.read_day, today=self._today), pl.Date),
            self._read_each(frame, CURRENCY, cells.read_currency, pl.String),
            *(
                [self._read_each(frame, PERIOD, partial(cells.read_month, today=self._today), pl.Date)]
                if PERIOD in frame.columns
                else []
            ),
        )
        if frame[DAY].null_count():
            self._refuse(frame, pl.col(DAY).is_null(), f"has no {DAY}")
        return frame

    def _read_each(self, frame: pl.DataFrame, cell: str, read: Callable[[str], Any], dtype: Any) -> pl.Expr:
        """A column's values: each text is read once, when it is first met."""
        texts = frame[cell].drop_nulls().unique().to_list()
        known = self._each_read(frame, cell, texts, read)
        if len(texts) <= 1 and frame[cell].null_count() in (0, frame.height):
            return pl.lit(known[texts[0]] if texts else None, dtype).alias(cell)
        return pl.col(cell).replace_strict(texts, [known[text] for text in texts], return_dtype=dtype)

    def _check_names(self, frame: pl.DataFrame, sums: pl.DataFrame) -> None:
        """Refuses ids and names that can't be right. There are far fewer sums than rows."""
        for cell, read in NAMES.items():
            if cell in sums.columns:
                self._each_read(frame, cell, sums[cell].drop_nulls().unique().to_list(), partial(_name, read))

    def _each_read(
        self, frame: pl.DataFrame, cell: str, texts: list[str], read: Callable[[str], Any]
    ) -> dict[str, Any]:
        known = self._known[cell]
        if len(known) > MOST_HELD:
            known.clear()
        for text in texts:
            if text not in known:
                try:
                    known[text] = None if cells.is_absent(text) else read(text)
                except CellError as error:
                    self._refuse(frame, pl.col(cell) == text, f"is wrong: the {cell} {error}")
        return known

    def _with_amounts(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Amounts and exponents of the rows that Polars sums exactly; the others are counted here."""
        cost = pl.col(COST)
        frame = frame.with_columns(
            cost.str.extract(SCIENTIFIC, 1).str.to_decimal(scale=PLACES).alias(AMOUNT),
            cost.str.extract(SCIENTIFIC, 2).cast(pl.Int32).fill_null(0).alias(EXPONENT),
        )
        fits = pl.col(AMOUNT).is_not_null() & pl.col(EXPONENT).is_between(*EXPONENTS)
        others = frame.filter(~fits)
        keys = _keys(others)
        self._check_names(others, others)
        for row, text, *values in others.select(ROW, COST, *keys).iter_rows():
            try:
                cost_here = cells.read_cost(text)
            except CellError as error:
                raise _wrong(row, f"is wrong: the {COST} {error}") from None
            self._count_other(row, dict(zip(keys, values, strict=True)), cost_here)
        return frame.filter(fits)

    def _count_other(self, row: int, of: Mapping[str, Any], cost: Decimal) -> None:
        if of[CURRENCY] is None:
            if cost:
                raise _wrong(row, f"has a {COST}, and no {CURRENCY}")
            return
        key = tuple(of.get(name) for name in KEYS)
        before, rows = self._others.get(key, (Decimal(0), 0))
        self._others[key] = (SUMMING.add(before, cost), rows + 1)

    def _with_currency(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Without the rows of exactly 0 that name no currency: such an amount has none."""
        if not frame[CURRENCY].null_count():
            return frame
        lacking = pl.col(CURRENCY).is_null()
        self._refuse(frame, lacking & (pl.col(AMOUNT) != 0), f"has a {COST}, and no {CURRENCY}")
        return frame.filter(~lacking)

    def _refuse(self, frame: pl.DataFrame, wrong: pl.Expr, why: str) -> None:
        found = frame.lazy().filter(wrong).select(ROW).head(1).collect()
        if found.height:
            raise _wrong(found.item(), why)

    # --- all of them -----------------------------------------------------------------------------------------------

    def _add_up(self) -> None:
        if len(self._sums) > 1:
            self._sums = [_summed(pl.concat(self._sums), pl.col(ROWS).sum())]
        self._held = self._sums[0].height if self._sums else 0
        if self._held + len(self._others) > self._most_sums:
            raise NeverError(
                f"The file has more than {self._most_sums:,} different charges, by sub-account, group, day, service "
                "and billing period, for which there is no memory; have the export write several smaller files (Azure: "
                "`partitionData`), which can have as many each."
            )

    def _columns_of_others(self) -> Columns:
        columns: Columns = {name: [key[place] for key in self._others] for place, name in enumerate(KEYS)}
        columns[AMOUNT] = [cost for cost, _ in self._others.values()]
        columns[ROWS] = [rows for _, rows in self._others.values()]
        return columns


class SumRows(Collection[Row]):
    """Sums of a provider, as rows, which take far more memory: made some at a time when somebody goes through them.

    sums: as `_summed` them. others: those that Python summed.
    """

    def __init__(self, provider: str, sums: pl.DataFrame, others: Columns) -> None:
        self._provider, self._sums, self._others = provider, sums, others

    @override
    def __len__(self) -> int:
        return self._sums.height + len(self._others[AMOUNT])

    @override
    def __iter__(self) -> Iterator[Row]:
        # One text of each, however many rows have it.
        known: dict[str, dict[Any, Any]] = {cell: {} for cell in KEYS}
        for some in self._sums.iter_slices(SLICE):
            yield from _rows(_columns(some), self._provider, known)
        yield from _rows(self._others, self._provider, known)

    @override
    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)


def summing_of(layout: Layout, today: date) -> Summing:
    """For the rows of a file of this layout."""
    return Summing(today, "" if layout.is_focus else AZURE)


def columns_of(layout: Layout, column: Callable[[str, int], pl.Expr]) -> list[pl.Expr]:
    """What is read, by what we call it. column: that of a cell, at a place."""
    found = {
        cell: _filled_up([column(cell, each) for each in (at, *layout.others.get(cell, ()))])
        for cell, at in layout.places.items()
    }
    if len(layout.provider_names) > 1:
        named = {name: column(PROVIDER, at) for name, at in layout.provider_names.items()}
        found[PROVIDER] = _provider(named, found.get(SUB_ACCOUNT, pl.lit("")))
    return [each.alias(cell) for cell, each in found.items()]


def _filled_up(columns: Sequence[pl.Expr]) -> pl.Expr:
    """The first of these cells that says something."""
    if len(columns) == 1:
        return columns[0]
    return pl.coalesce(_given(each) for each in columns)


def _given(column: pl.Expr) -> pl.Expr:
    """Its texts; null where a cell says nothing."""
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(~text.is_in(cells.ABSENT)).then(text)


def _provider(named: Mapping[str, pl.Expr], sub_account: pl.Expr) -> pl.Expr:
    """Whose sub-account a charge is of: ProviderName says it, which FOCUS 1.4 has no more.

    For what is sold through a cloud's marketplace the service provider is the seller, and the cloud issues the invoice;
    for what a reseller sells, he may be both, and the cloud is the host; and what runs on a cloud, and is sold by its
    maker, is of its maker (FOCUS 1.3, Participating Entity Identification).
    """
    given = {name: _given(each) for name, each in named.items()}
    given = {**given, **{name: given[older] for name, older in OLDER.items() if older in given and name not in given}}
    issuer, service, host = (given.get(name, pl.lit(None, pl.String)) for name in PARTIES)
    clouds = [
        pl.when(each.str.contains(f"(?i)^{pattern}") & is_its).then(pl.lit(cloud))
        for each, of_cloud in ((issuer, False), (service, False), (host, True))
        for cloud, (pattern, ids) in CLOUDS.items()
        for is_its in ([sub_account.cast(pl.String).str.contains(f"(?i)^{ids}$")] if of_cloud else [pl.lit(value=True)])
    ]
    return pl.coalesce(given.get("ProviderName", pl.lit(None, pl.String)), *clouds, service, issuer, host)


def _is_plain(costs: pl.Series) -> bool:
    """Whether Polars holds and sums each of these costs exactly."""
    if isinstance(costs.dtype, pl.Decimal):
        small = costs.abs() < LARGEST_PLAIN
        return costs.dtype.scale <= PLACES and small.fill_null(False).all()
    return costs.str.contains(PLAIN).fill_null(False).all()


def _plain_amounts(frame: pl.DataFrame) -> pl.DataFrame:
    is_decimal = isinstance(frame.schema[COST], pl.Decimal)
    amount = pl.col(COST).cast(AMOUNTS) if is_decimal else pl.col(COST).str.to_decimal(scale=PLACES)
    return frame.with_columns(amount.alias(AMOUNT), pl.lit(0, pl.Int32).alias(EXPONENT))


def _summed(frame: pl.DataFrame, rows: pl.Expr) -> pl.DataFrame:
    keys = [*_keys(frame), EXPONENT]
    # What is the same in all rows need not be compared in each.
    same = {key: pl.lit(frame[key][0], frame.schema[key]) for key in keys if _is_one(frame[key])}
    found = frame.lazy().group_by([key for key in keys if key not in same])
    sums = found.agg(pl.col(AMOUNT).sum(), rows.cast(pl.UInt64).alias(ROWS)).with_columns(**same)
    return sums.select(*keys, AMOUNT, ROWS).collect(engine="streaming")


def _is_one(column: pl.Series) -> bool:
    """Whether its values are all the same; of none there is no value."""
    some = column.head(SOME)
    return bool(column.len()) and all(each.eq_missing(some.head(1)).all() for each in (some, column))


def _keys(frame: pl.DataFrame) -> list[str]:
    return [name for name in KEYS if name in frame.columns]


def _columns(frame: pl.DataFrame) -> Columns:
    absent = [None] * frame.height
    columns: Columns = {name: frame[name].to_list() if name in frame.columns else absent for name in (*KEYS, ROWS)}
    columns[AMOUNT] = frame[AMOUNT].to_list()
    if (frame[EXPONENT] != 0).any():
        columns[AMOUNT] = list(map(SUMMING.scaleb, columns[AMOUNT], frame[EXPONENT].to_list()))
    return columns


def _rows(columns: Columns, provider: str, known: dict[str, dict[Any, Any]]) -> Iterator[Row]:
    def names(cell: str, read: Callable[[str], str]) -> Iterator[str]:
        """A column of names; each is read once, however many sums have it."""
        its = known[cell]
        its.update({text: _name(read, text or "") for text in set(columns[cell]) - its.keys()})
        return map(its.__getitem__, columns[cell])

    def values(cell: str) -> Iterator[Any]:
        return map(known[cell].setdefault, columns[cell], columns[cell])

    each = zip(
        names(SUB_ACCOUNT, lambda text: cells.account_of(provider, NAMES[SUB_ACCOUNT](text))),
        names(GROUP, NAMES[GROUP]),
        values(DAY),
        names(SERVICE, NAMES[SERVICE]),
        values(CURRENCY),
        values(PERIOD),
        columns[AMOUNT],
        columns[ROWS],
        names(BILLING_ACCOUNT, lambda text: cells.account_of(provider, NAMES[BILLING_ACCOUNT](text))),
        strict=True,
    )
    # What Row(*each) does, without a step of Python's for each: there are millions.
    return map(partial(tuple.__new__, Row), each)


def _name(read: Callable[[str], str], text: str) -> str:
    """A name as it is stored. Raises CellError for one of two lines, of which none has, or whose quote is none."""
    if "\n" in text or "\r" in text.strip():
        raise CellError(f"is {readable(text)!r}, of two lines: its quotes, or those before it, are broken")
    if text.startswith(f'{BOM}"'):
        raise CellError(f"is {readable(text)!r}, quoted after a byte order mark: several files were put together")
    return read("" if cells.is_absent(text) else storable(text.removeprefix(BOM)))


def _wrong(row: int, why: str) -> NeverError:
    return NeverError(f"Row {row + 1:,} after the header {why}.")
