"""Charges as FOCUS 1.2 has them, with the names of 1.4 beside: a batch after the other, written by Polars.

A row is what a sub-account's resource group cost on a day for a service. What is not stored is null where FOCUS allows
that; a constant that says the least, or a repetition of what is known, where it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
from polars.exceptions import PolarsError
from polars.io.plugins import register_io_source
from typing_extensions import override

from shared.adapters.exports.cells import FOCUS_NAMES
from shared.domain.charges import CostMetric
from shared.domain.money import add
from shared.domain.texts import readable
from shared.ports.errors import NeverError
from shared.ports.focus import FocusCharge, FocusCharges, FocusFormat, FocusProject, FocusScope, FocusWriter, Given

PLACES = 10
MONEY, TIME = pl.Decimal(38, PLACES), pl.Datetime("us", "UTC")
SCOPE, DAY, PROJECT, COST = "scope", "day", "project", "BilledCost"
FRAME_ROWS = 50_000
WITHOUT_EXPONENT = "{:f}".format
TIMES = "%Y-%m-%dT%H:%M:%SZ"
LINE_BREAKS = r"\s*[\r\n]\s*"
CHARGES: dict[str, Any] = {
    SCOPE: pl.Int64,
    DAY: pl.Date,
    "ServiceName": pl.String,
    "BillingCurrency": pl.String,
    COST: pl.String,
    PROJECT: pl.Int64,
    "SkuMeter": pl.String,
}
SCOPES: dict[str, Any] = {
    SCOPE: pl.Int64,
    "ProviderName": pl.String,
    "SubAccountId": pl.String,
    "SubAccountName": pl.String,
    "x_ResourceGroupName": pl.String,
    "BillingAccountId": pl.String,
    "BillingAccountName": pl.String,
}
PROJECTS: dict[str, Any] = {
    PROJECT: pl.Int64,
    "x_Project": pl.String,
    "x_Owner": pl.String,
    "x_Department": pl.String,
    "x_CostCentre": pl.String,
}
# What the other columns hold, in the order of FOCUS's specification. A row sums charges of whatever category, and
# Adjustment is the one for what falls into no other; only with it may quantities be null.
COLUMNS: dict[str, pl.Expr] = {
    COST: pl.col(COST),
    "BillingAccountId": pl.col("BillingAccountId"),
    "BillingAccountName": pl.col("BillingAccountName"),
    "BillingCurrency": pl.col("BillingCurrency"),
    "BillingPeriodEnd": pl.col("BillingPeriodEnd"),
    "BillingPeriodStart": pl.col("BillingPeriodStart"),
    "ChargeCategory": pl.lit("Adjustment"),
    "ChargeClass": pl.lit(None, pl.String),
    "ChargeDescription": pl.col("ServiceName"),
    "ChargeFrequency": pl.lit("Usage-Based"),
    "ChargePeriodEnd": pl.col("ChargePeriodEnd"),
    "ChargePeriodStart": pl.col("ChargePeriodStart"),
    "ContractedCost": pl.col(COST),
    "EffectiveCost": pl.col(COST),
    "HostProviderName": pl.col("ProviderName"),
    "InvoiceId": pl.lit(None, pl.String),
    "InvoiceIssuerName": pl.col("ProviderName"),
    "ListCost": pl.col(COST),
    "PricingQuantity": pl.lit(None, MONEY),
    "PricingUnit": pl.lit(None, pl.String),
    "ProviderName": pl.col("ProviderName"),
    "PublisherName": pl.col("ProviderName"),
    "ServiceCategory": pl.lit("Other"),
    "ServiceName": pl.col("ServiceName"),
    "ServiceProviderName": pl.col("ProviderName"),
    "ServiceSubcategory": pl.lit("Other (Other)"),
    # By FOCUS no SKU without an id has a meter; what is known of it is the meter alone.
    "SkuId": pl.col("SkuMeter"),
    "SkuMeter": pl.col("SkuMeter"),
    "SubAccountId": pl.col("SubAccountId"),
    "SubAccountName": pl.col("SubAccountName"),
    "x_ResourceGroupName": pl.col("x_ResourceGroupName"),
    "x_CostMetric": pl.lit(""),
    **{name: pl.col(name) for name in PROJECTS if name != PROJECT},
}


class PolarsFocus(FocusWriter):
    """FOCUS files: CSV in UTF-8, and Parquet (zstd), with costs as DECIMAL(38, 10)."""

    @override
    def write(self, charges: FocusCharges, metric: CostMetric, path: Path, form: FocusFormat) -> Given:
        frames = _Frames(charges, metric)
        rows = register_io_source(frames.for_polars, schema=frames.empty.schema)
        try:
            if form is FocusFormat.CSV:
                rows.sink_csv(path, datetime_format=TIMES)
            else:
                rows.sink_parquet(path)
        except (OSError, PolarsError) as error:
            # Of a full disk Polars says that the file is out of specification.
            said = "" if isinstance(error, OSError) else "; is there room on the disk?"
            raise NeverError(f"the file can't be written: {readable(str(error), 200)}{said}") from error
        return frames.given

    @override
    def stream(self, charges: FocusCharges, metric: CostMetric, out: BinaryIO) -> Given:
        frames = _Frames(charges, metric)
        out.write(frames.empty.write_csv().encode())
        for frame in frames:
            out.write(frame.write_csv(include_header=False, datetime_format=TIMES).encode())
        return frames.given


class _Frames:
    """Charges as frames of FOCUS's columns. given: what they have come to so far."""

    def __init__(self, charges: FocusCharges, metric: CostMetric) -> None:
        self.given = Given(0, {})
        self._batches = charges.batches
        self._scopes, self._projects = _scopes(charges.scopes), _projects(charges.projects)
        self._columns = [
            expression.alias(name) for name, expression in (COLUMNS | {"x_CostMetric": pl.lit(metric.value)}).items()
        ]
        self.empty = self._frame(_no_charges())

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for columns in _columns(self._batches):
            frame = self._frame(columns)
            self.given = _given(self.given, frame)
            yield frame

    def for_polars(
        self,
        with_columns: list[str] | None,  # noqa: ARG002 - Polars's own
        predicate: pl.Expr | None,  # noqa: ARG002
        n_rows: int | None,  # noqa: ARG002
        batch_size: int | None,  # noqa: ARG002
    ) -> Iterator[pl.DataFrame]:
        """As Polars asks for them; what a writer asks for is all of them."""
        return iter(self)

    def _frame(self, columns: Sequence[list[Any]]) -> pl.DataFrame:
        charges = pl.DataFrame(dict(zip(CHARGES, columns, strict=True)), schema=CHARGES)
        day = pl.col(DAY)
        return (
            charges.lazy()
            .with_columns(
                pl.col("ServiceName", "SkuMeter").str.replace_all(LINE_BREAKS, " "),
                pl.col(COST).str.to_decimal(scale=PLACES),
            )
            .join(self._scopes, on=SCOPE, how="left", maintain_order="left")
            .join(self._projects, on=PROJECT, how="left", maintain_order="left")
            .with_columns(
                day.cast(TIME).alias("ChargePeriodStart"),
                (day + timedelta(days=1)).cast(TIME).alias("ChargePeriodEnd"),
                day.dt.month_start().cast(TIME).alias("BillingPeriodStart"),
                (day.dt.month_end() + timedelta(days=1)).cast(TIME).alias("BillingPeriodEnd"),
            )
            .select(self._columns)
            .collect()
        )


def _columns(batches: Iterable[Sequence[FocusCharge]]) -> Iterator[list[list[Any]]]:
    """The charges by column, so many that Polars's own time for a frame is of no account."""
    columns = _no_charges()
    for batch in filter(None, batches):
        for name, column, values in zip(CHARGES, columns, zip(*batch, strict=True), strict=True):
            # Of texts without an exponent Polars makes its decimals in a third of the time, and as exactly.
            column.extend(map(WITHOUT_EXPONENT, values) if name == COST else values)
        if len(columns[0]) >= FRAME_ROWS:
            yield columns
            columns = _no_charges()
    if columns[0]:
        yield columns


def _no_charges() -> list[list[Any]]:
    return [[] for _ in CHARGES]


def _scopes(scopes: Sequence[FocusScope]) -> pl.LazyFrame:
    rows = [
        (
            each.id,
            FOCUS_NAMES.get(each.provider, each.provider),
            each.sub_account_id,
            each.sub_account_name,
            each.resource_group or None,
            each.billing_account_id,
            each.billing_account_name,
        )
        for each in scopes
    ]
    return _one_line(pl.DataFrame(rows, schema=SCOPES, orient="row"))


def _projects(projects: Sequence[FocusProject]) -> pl.LazyFrame:
    return _one_line(pl.DataFrame(projects, schema=PROJECTS, orient="row"))


def _one_line(frame: pl.DataFrame) -> pl.LazyFrame:
    """No name has two lines in a file: whoever reads it would have to take that for a broken quote."""
    return frame.lazy().with_columns(pl.col(pl.String).str.replace_all(LINE_BREAKS, " "))


def _given(before: Given, frame: pl.DataFrame) -> Given:
    totals = dict(before.totals)
    for currency, total in frame.group_by("BillingCurrency").agg(pl.col(COST).sum()).iter_rows():
        totals[currency] = add(totals.get(currency, Decimal(0)), total)
    return Given(before.rows + frame.height, dict(sorted(totals.items())))
