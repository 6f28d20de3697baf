"""Files of every dataset and form, and what each faulty one is told."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import random
import re
import resource
import zlib
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from focus_data_toolkit.cli import main as toolkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.exports import csv_files, csv_rows
from shared.adapters.exports.summing import SLICE, Summing
from shared.domain.charges import CostMetric
from shared.domain.exports.runs import Dataset, Export
from shared.domain.exports.sums import Row, sums_of
from shared.ports.errors import LaterError, NeverError
from tests.adapters.exports.files import (
    CSP,
    DATA,
    EA,
    FOCUS,
    MCA,
    PAY_AS_YOU_GO,
    SUB,
    by_provider,
    csv_of,
    exact,
    read,
    rows_of,
    total,
)

SEPTEMBER = date(2026, 9, 1)
CHARGE = Row(SUB, "rg-a", date(2026, 9, 21), "Storage", "CAD", SEPTEMBER, Decimal("1.5"), 1, "8611537")
DATASETS = {
    "EA": (EA, CHARGE),
    "MCA": (MCA, CHARGE),
    "CSP": (CSP, CHARGE._replace(billing_period=None)),
    "pay-as-you-go": (PAY_AS_YOU_GO, CHARGE._replace(billing_period=None, billing_account_id="")),
    "FOCUS 1.0": (FOCUS, CHARGE),
    "FOCUS 1.1": ({**FOCUS, "ServiceSubcategory": "x"}, CHARGE),
    "FOCUS 1.2": ({**FOCUS, "InvoiceId": "1"}, CHARGE),
    "FOCUS 1.3": ({**FOCUS, "ServiceProviderName": "Microsoft"}, CHARGE),
    "FOCUS 1.4": (
        {"ServiceProviderName" if name == "ProviderName" else name: cell for name, cell in FOCUS.items()},
        CHARGE,
    ),
}


def published(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the published file {name} is not here; it is looked for in ../shared/data")
    return path


# --- what is understood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper])
def test_each_dataset_is_understood_by_its_columns_in_any_case(tmp_path, dataset, spelled):
    row, charge = DATASETS[dataset]
    file = read(tmp_path / "part", csv_of([{spelled(name): cell for name, cell in row.items()}]))
    assert (file.dataset, by_provider(file), file.count, file.odd) == (dataset, {"azure": [charge]}, 1, ())


@pytest.mark.parametrize("dataset", DATASETS)
def test_gzip_and_parquet_hold_the_same_as_csv_whatever_the_files_are_called(tmp_path, dataset):
    row, charge = DATASETS[dataset]
    text = csv_of([row, row])
    twice = {"azure": [charge._replace(cost=Decimal(3), rows=2)]}
    assert by_provider(read(tmp_path / "a", gzip.compress(text.encode()))) == twice
    frame = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False)
    for compression in ("snappy", "gzip", "uncompressed"):
        frame.write_parquet(tmp_path / "b", compression=compression)
        assert by_provider(read(tmp_path / "b")) == twice


def test_a_gzip_of_two_members_is_one_file(tmp_path):
    header, line = csv_of([EA]).encode().split(b"\r\n")[:2]
    members = gzip.compress(header + b"\r\n" + line + b"\r\n") + gzip.compress(line + b"\r\n")
    assert total(read(tmp_path / "part.csv.gz", members)) == 3


def test_a_localised_header_is_read_by_what_stands_in_its_brackets(tmp_path):
    localised = {f"Ein Wort ({name})": cell for name, cell in PAY_AS_YOU_GO.items()}
    file = read(tmp_path / "part", csv_of([localised]))
    assert (file.dataset, file.cost_column) == ("pay-as-you-go", "PreTaxCost")
    assert rows_of(file)[0].cost == Decimal("1.5")


@pytest.mark.parametrize(
    "first", ["SubscriptionId", "ResourceGroup", "MeterCategory", "Date", "Cost", "BillingCurrency"]
)
def test_a_bom_before_a_quoted_header_is_no_part_of_its_first_name(tmp_path, first):
    names = [first, *(each for each in EA if each != first)]
    path = tmp_path / "part.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([names, [EA[name] for name in names]])
    plain = tmp_path / "plain.csv"
    plain.write_text(csv_of([EA]), newline="")
    assert by_provider(read(path)) == by_provider(read(plain))


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("first", ["8611537", '"8611537, of Trey"'])
def test_boms_before_the_header_and_the_first_row_are_no_part_of_them(tmp_path, packed, first):
    header, line = csv_of([EA]).split("\r\n")[:2]
    line = line.replace("8611537", first, 1)
    text = f"\ufeff{header}\n\ufeff{line}\n{line}\n"
    file = read(tmp_path / "part", packed(text.encode()))
    account = first.strip('"')
    assert rows_of(file) == [CHARGE._replace(cost=Decimal("3.0"), rows=2, billing_account_id=account)]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("09/21/2023", date(2023, 9, 21)),
        ("9/2/2023", date(2023, 9, 2)),
        ("2023-09-21", date(2023, 9, 21)),
        ("09/21/2023 00:00:00", date(2023, 9, 21)),
        ("2023-09-21T00:00Z", date(2023, 9, 21)),
        ("2023-09-21T23:59:59Z", date(2023, 9, 21)),
        ("2023-09-21 23:00:00", date(2023, 9, 21)),
        ("2023-09-21T00:00:00.0000000Z", date(2023, 9, 21)),
        ("2023-09-21T00:00:00.0000000", date(2023, 9, 21)),
        ("2023-09-21T01:00:00+02:00", date(2023, 9, 20)),
        ("2023-09-21 00:00:00 UTC", date(2023, 9, 21)),
        ("2023-09-21 00:00:00+00", date(2023, 9, 21)),
        ("2023-09-21T23:30:00-07", date(2023, 9, 22)),
        ("2023-09-21 00:00:00.5 +02", date(2023, 9, 20)),
        ("2023-09-21T23:59:60Z", date(2023, 9, 21)),
        ("9/21/2023 12:00:00 AM", date(2023, 9, 21)),
        ("09/21/2023 11:59 PM", date(2023, 9, 21)),
    ],
)
def test_every_form_of_a_day_is_its_utc_day(tmp_path, text, day):
    assert [row.day for row in rows_of(read(tmp_path / "part", csv_of([{**EA, "Date": text}])))] == [day]


@pytest.mark.parametrize("name", ["CostInBillingCurrency", "Cost"])
@pytest.mark.parametrize("currency", ["BillingCurrencyCode", "BillingCurrency"])
def test_the_versions_of_a_dataset_name_cost_and_currency_in_their_ways(tmp_path, name, currency):
    row = {{"Cost": name, "BillingCurrency": currency}.get(each, each): cell for each, cell in EA.items()}
    assert rows_of(read(tmp_path / "part", csv_of([row]))) == [CHARGE]


def test_focus_has_both_metrics_and_the_one_that_is_asked_for_counts(tmp_path):
    amortized = read(tmp_path / "part", csv_of([FOCUS]), CostMetric.AMORTIZED)
    assert (amortized.cost_column, total(amortized)) == ("EffectiveCost", Decimal("0.25"))
    assert read(tmp_path / "part").cost_column == "BilledCost"


@pytest.mark.parametrize("absent", ["", "NULL"])
def test_absent_values_are_empty_or_null(tmp_path, absent):
    lacking = ("BillingAccountId", "BillingPeriodStart", "ServiceName", "SubAccountId", "x_ResourceGroupName")
    file = read(tmp_path / "part", csv_of([FOCUS | dict.fromkeys(lacking, absent)]))
    assert rows_of(file) == [CHARGE._replace(
        sub_account_id="", group="", service="Unassigned", billing_period=None, billing_account_id=""
    )]  # fmt: skip


@pytest.mark.parametrize("group", ["Others", "Not applicable", "not Applicable", " ", ""])
def test_azures_words_for_no_group_are_no_group(tmp_path, group):
    assert rows_of(read(tmp_path / "part", csv_of([{**EA, "ResourceGroup": group}])))[0].group == ""


@pytest.mark.parametrize("column", ["ResourceId", "InstanceId", "InstanceName"])
@pytest.mark.parametrize(
    ("resource", "group"),
    [
        (f"/subscriptions/{SUB}/resourceGroups/rg-a/providers/x/y/z", "rg-a"),
        (f"/subscriptions/{SUB}/resourcegroups/RG-A", "RG-A"),
        ("/providers/Microsoft.Capacity/reservationOrders/49ed", ""),
        ("arn:aws:sqs:us-test-2:347410479675:queue", ""),
        ("", ""),
    ],
)
def test_where_no_column_has_the_group_the_resource_says_it(tmp_path, column, resource, group):
    row = {name: cell for name, cell in EA.items() if name not in ("ResourceGroup", "ResourceId")} | {column: resource}
    assert rows_of(read(tmp_path / "part", csv_of([row])))[0].group == group


def test_focus_of_other_providers_goes_by_its_sub_accounts_and_ids_stay_texts(tmp_path):
    names = {"Amazon Web Services": "aws", "AWS": "aws", "Google Cloud": "Google Cloud", "NULL": ""}
    rows = [{**FOCUS, "ProviderName": name, "SubAccountId": "000123456789", "ResourceId": "arn"} for name in names]
    rows = [{name: cell for name, cell in row.items() if name != "x_ResourceGroupName"} for row in rows]
    file = read(tmp_path / "part", csv_of(rows))
    assert set(file.rows) == set(names.values())
    assert {(row.sub_account_id, row.group) for row in rows_of(file)} == {("000123456789", "")}
    assert sum(row.rows for row in file.rows["aws"]) == 2


GUID, LINKED = f"/subscriptions/{SUB}", "123456789012"
# ProviderName (of 1.3), ServiceProviderName, InvoiceIssuerName, HostProviderName, sub-account: the provider of that.
WHO_TAKES_PART = [
    (("Microsoft", "Solora AI", "Microsoft", "Microsoft", GUID), "azure"),
    (("", "Solora AI", "Microsoft", "Microsoft", GUID), "azure"),
    (("NULL", "Solora AI", "Microsoft Ireland Operations Limited", "", SUB), "azure"),
    ((None, "Solora AI", "Amazon Web Services EMEA SARL", "Hetzner", LINKED), "aws"),
    (("", "AWS", "A Reseller Ltd", "AWS", LINKED), "aws"),
    (("", "A Reseller Ltd", "A Reseller Ltd", "AWS", LINKED), "aws"),
    (("", "A Reseller Ltd", "A Reseller Ltd", "Microsoft", GUID), "azure"),
    (("", "Databricks", "Databricks", "AWS", "workspace-1"), "Databricks"),
    (("", "Awsome Hosting", "Awsome Hosting", "Awsome Hosting", "123456789012"), "Awsome Hosting"),
    (("Oracle", "AWS", "AWS", "AWS", LINKED), "Oracle"),
]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(("parties", "provider"), WHO_TAKES_PART)
def test_a_charge_is_of_the_cloud_whose_sub_account_it_is_whoever_sells_it(tmp_path, parties, provider, form):
    *names, sub_account = parties
    columns = ("ProviderName", "ServiceProviderName", "InvoiceIssuerName", "HostProviderName")
    row = {**FOCUS, "SubAccountId": sub_account, **dict(zip(columns, names, strict=True))}
    path = tmp_path / "part"
    frame = pl.DataFrame([row], schema=dict.fromkeys(row, pl.String))
    if form == "csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    file = read(path)
    assert (file.dataset, {name: len(rows) for name, rows in file.rows.items()}) == ("FOCUS 1.3", {provider: 1})


@pytest.mark.parametrize(
    ("names", "provider"),
    [
        ({"Provider": "Oracle"}, "Oracle"),
        ({"Provider": "Oracle", "InvoiceIssuer": "A Reseller"}, "Oracle"),
        ({"Provider": "", "InvoiceIssuer": "Microsoft"}, "azure"),
        ({"ProviderName": "Oracle", "Provider": "Another"}, "Oracle"),
    ],
)
def test_a_provider_is_found_by_the_names_of_columns_before_focus_1_0_too(tmp_path, names, provider):
    row = {name: cell for name, cell in FOCUS.items() if name != "ProviderName"} | names
    assert list(read(tmp_path / "part", csv_of([row])).rows) == [provider]


def test_a_purchase_is_on_the_day_on_which_its_year_begins(tmp_path):
    year = {**FOCUS, "ChargePeriodStart": "2026-09-04T00:00:00Z", "ChargePeriodEnd": "2027-09-04T00:00:00Z"}
    assert rows_of(read(tmp_path / "part", csv_of([year])))[0].day == date(2026, 9, 4)


@pytest.mark.parametrize(
    "start",
    [
        "2026-09-01T07:00:00Z",  # Google's, at midnight in Los Angeles
        "2026-08-31T16:00:00Z",  # Tencent's and Alibaba's, in Beijing
        "2026-09-01T00:00:00+08:00",
        "2026-08-31 10:00:00+00",
        "2026-09-01T12:00:00Z",
        "2026-09-01 00:00:00",
        "09/01/2026 12:00:00 AM",
        "08/31/2026 04:00:00 PM",
        "2026-09-01",
        "09/30/2026",
        "2026-09-01+09:00",
    ],
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_billing_period_is_the_month_that_begins_at_midnight_somewhere(tmp_path, start, form):
    row = {**FOCUS, "BillingPeriodStart": start, "ChargePeriodStart": "2026-10-01T05:00:00Z"}
    path = tmp_path / "part"
    if form == "csv":
        path.write_text(csv_of([row]))
    else:
        pl.DataFrame([row]).write_parquet(path)
    found = rows_of(read(path))[0]
    assert (found.billing_period, found.day) == (SEPTEMBER, date(2026, 10, 1))


@pytest.mark.parametrize(
    ("moment", "month"),
    [(datetime(2026, 8, 31, 16, tzinfo=UTC), SEPTEMBER), (datetime(2026, 8, 31, 9, 59, tzinfo=UTC), date(2026, 8, 1))],
)
def test_a_billing_period_that_is_a_time_in_parquet_is_the_month_that_begins_then(tmp_path, moment, month):
    for value in (moment, moment.replace(tzinfo=None)):
        pl.DataFrame([{**FOCUS, "BillingPeriodStart": value}]).write_parquet(tmp_path / "part")
        assert rows_of(read(tmp_path / "part"))[0].billing_period == month
    pl.DataFrame([{**FOCUS, "BillingPeriodStart": date(2026, 8, 31)}]).write_parquet(tmp_path / "part")
    assert rows_of(read(tmp_path / "part"))[0].billing_period == date(2026, 8, 1)


EMPTY_GUID = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("guid", [EMPTY_GUID, f"/subscriptions/{EMPTY_GUID}", f" {EMPTY_GUID} "])
def test_the_empty_guid_of_older_exports_is_no_subscription_and_its_charges_are_the_billing_accounts(tmp_path, guid):
    file = read(tmp_path / "part", csv_of([{**EA, "SubscriptionId": guid}]))
    assert rows_of(file) == [CHARGE._replace(sub_account_id="")]
    summed = sums_of(file.rows["azure"], Export("azure", "x", "x", Dataset.ACTUAL))
    assert [key.sub_account for key in summed.charges] == ["8611537"]


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("123456789012.0", "123456789012"),
        ("123456789012.00", "123456789012"),
        ("'123456789012", "123456789012"),
        ("'012345678901'", "012345678901"),
        ('="012345678901"', "012345678901"),
        ("12345678901", "012345678901"),
        ("123456789.0", "000123456789"),
        ("'my-account", "'my-account"),
        ("123456789012.5", "123456789012.5"),
        ("1234567890123", "1234567890123"),
    ],
)
def test_an_account_that_a_program_held_as_a_number_or_kept_from_it_is_itself(tmp_path, text, account):
    row = {**FOCUS, "ProviderName": "AWS", "SubAccountId": text, "BillingAccountId": text}
    rows = rows_of(read(tmp_path / "part", csv_of([row, {**row, "ProviderName": "Oracle"}])))
    assert {account} <= {each.sub_account_id for each in rows} <= {account, account.lstrip("0")}
    [aws] = read(tmp_path / "part").rows["aws"]
    assert (aws.sub_account_id, aws.billing_account_id) == (account, account)


def test_only_aws_has_accounts_of_twelve_digits(tmp_path):
    names = {"AWS": "012345678901", "Oracle": "12345678901", "Microsoft": "12345678901"}
    rows = [{**FOCUS, "ProviderName": name, "SubAccountId": "12345678901"} for name in names]
    file = read(tmp_path / "part", csv_of(rows))
    assert {name: row.sub_account_id for name, [row] in file.rows.items()} == {
        "aws": "012345678901",
        "Oracle": "12345678901",
        "azure": "12345678901",
    }


@pytest.mark.parametrize("scale", [0, 2])
@pytest.mark.parametrize("names", [{"ProviderName": "AWS"}, {"InvoiceIssuerName": "X", "HostProviderName": "AWS"}])
def test_ids_that_are_decimals_in_parquet_are_their_digits(tmp_path, scale, names):
    row = {name: cell for name, cell in FOCUS.items() if name != "ProviderName"} | names
    ids = pl.Series("SubAccountId", [Decimal(123456789012)], pl.Decimal(38, scale))
    pl.DataFrame([row]).with_columns(ids).write_parquet(tmp_path / "part")
    assert [each.sub_account_id for each in read(tmp_path / "part").rows["aws"]] == ["123456789012"]


@pytest.mark.parametrize(("guid", "right"), [(SUB, SUB), ("", "481516"), (" ", "481516")])
def test_the_guid_is_the_subscription_where_another_column_numbers_it(tmp_path, guid, right):
    row = {**EA, "SubscriptionId": "481516", "SubscriptionGuid": guid}
    assert rows_of(read(tmp_path / "part", csv_of([row]))) == [CHARGE._replace(sub_account_id=right)]


@pytest.mark.parametrize("empty", ["", "NULL", "  "])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_where_a_cell_is_empty_the_other_column_of_its_kind_counts(tmp_path, empty, form):
    full = {"CostInBillingCurrency": "2.5", "BillingCurrencyCode": "EUR", "UsageDateTime": "2026-09-01"}
    rows = [{**EA, **full}, {**EA, **dict.fromkeys(full, empty)}]
    frame = pl.DataFrame(rows)
    if form == "csv":
        frame.write_csv(tmp_path / "part")
    else:
        decimal = pl.col("Cost").cast(pl.Decimal(20, 4))
        frame.with_columns(decimal).write_parquet(tmp_path / "part")
    file = read(tmp_path / "part")
    assert {(row.currency, row.cost) for row in rows_of(file)} == {("EUR", Decimal("2.5")), ("CAD", Decimal("1.5"))}
    assert (file.count, file.odd, file.cost_column) == (2, (), "CostInBillingCurrency")


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0 ", " NULL "])
def test_a_cell_of_blanks_says_nothing(tmp_path, blank):
    names = ("BillingAccountId", "BillingPeriodStart", "ServiceName", "SubAccountId", "x_ResourceGroupName")
    rows = [FOCUS | dict.fromkeys(names, blank), {**FOCUS, "BilledCost": blank}]
    file = read(tmp_path / "part", csv_of(rows))
    assert rows_of(file) == [CHARGE._replace(
        sub_account_id="", group="", service="Unassigned", billing_period=None, billing_account_id=""
    )]  # fmt: skip
    assert (file.count, file.odd) == (2, ("1 row has no cost, and counts for nothing.",))
    for name, lacks in (("ChargePeriodStart", "no day"), ("BillingCurrency", "a cost, and no currency")):
        with pytest.raises(NeverError, match=rf"^Row 1 after the header has {lacks}\.$"):
            read(tmp_path / "part", csv_of([{**FOCUS, name: blank}]))


@pytest.mark.parametrize("cost", ["1e5", "1e+05", "1E5"])
def test_an_exponent_may_have_a_sign(tmp_path, cost):
    assert total(read(tmp_path / "part", csv_of([{**EA, "Cost": cost}]))) == 100_000


def test_currencies_are_kept_apart_and_a_row_of_nothing_needs_none(tmp_path):
    rows = [EA, {**EA, "BillingCurrency": "usd"}, {**EA, "BillingCurrency": "", "Cost": "0.00"}]
    file = read(tmp_path / "part", csv_of(rows))
    assert {row.currency: row.cost for row in rows_of(file)} == {"CAD": Decimal("1.5"), "USD": Decimal("1.5")}
    assert file.count == 3


def test_a_row_without_a_cost_counts_for_nothing_and_is_told_and_an_empty_line_is_no_row(tmp_path):
    file = read(tmp_path / "part", csv_of([EA, {**EA, "Cost": ""}, {**EA, "Cost": "NULL"}]) + "\r\n\r\n")
    assert (total(file), file.count) == (Decimal("1.5"), 3)
    assert file.odd == ("2 rows have no cost, and count for nothing.",)


@pytest.mark.parametrize("ending", ["", "\r\n", "\n"])
def test_a_header_and_no_rows_is_a_run_of_no_charges(tmp_path, ending):
    file = read(tmp_path / "part", ",".join(EA) + ending)
    assert (file.dataset, file.rows, file.count) == ("EA", {}, 0)


def test_line_breaks_in_tags_and_three_hundred_columns_do_no_harm(tmp_path):
    wide = {**EA, "Tags": 'a\nb, "c"', **{f"x_{number}": "1" for number in range(300)}}
    assert rows_of(read(tmp_path / "part", csv_of([wide, EA | wide]))) == [CHARGE._replace(cost=Decimal(3), rows=2)]


def test_a_field_of_a_megabyte_is_read(tmp_path):
    assert rows_of(read(tmp_path / "part", csv_of([{**EA, "Tags": "x" * 2**20}, EA]))) == [
        CHARGE._replace(cost=Decimal(3), rows=2)
    ]


def test_many_rows_in_many_batches_are_summed_once_each(tmp_path, monkeypatch):
    monkeypatch.setattr("shared.adapters.exports.summing.MOST_HELD", 100)
    monkeypatch.setattr(csv_rows, "BATCH_ROWS", 500)
    monkeypatch.setattr(csv_files, "FIRST_PIECE", 2**12)
    monkeypatch.setattr(csv_files, "PIECE", 2**16)
    monkeypatch.setattr(csv_files, "NEAR", 2**10)
    rows = [{**EA, "Cost": f"0.0{number}", "ResourceGroup": f"rg-{number % 70}"} for number in range(5000)]
    file = read(tmp_path / "part", csv_of(rows))
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        expected[row["ResourceGroup"]] += Decimal(row["Cost"])
    assert {row.group: row.cost for row in rows_of(file)} == expected
    assert file.count == sum(row.rows for row in rows_of(file)) == 5000


# --- exact sums --------------------------------------------------------------------------------------------------

DECIMALS = st.one_of(
    st.decimals(-(10**9), 10**9, places=20).map(str),
    st.decimals(-(10**9), 10**9, places=20).map("{:f}".format),
    st.decimals(-(10**14), 10**14, places=3).map("{:f}".format),
    st.integers(-(10**14), 10**14).map(str),
    st.floats(-1e14, 1e14, allow_nan=False).filter(lambda cost: cost == 0 or abs(cost) > 1e-30).map(repr),
    st.sampled_from(
        [
            "0",
            "-0",
            "1E-20",
            "8e-7",
            "-8.0E-7",
            "+1.5",
            ".5",
            "5.",
            "1e+3",
            "1.5e05",
            "999999999.99999999999999999999",
            "0." + "0" * 30 + "1234567890123",
            "123456789012345",
        ]
    ),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(DECIMALS, st.sampled_from(["a", "b"])), min_size=1, max_size=12))
def test_a_files_sums_are_those_of_its_decimals(tmp_path_factory, costs):
    groups = {group for _, group in costs}
    expected = {one: exact(Decimal(text) for text, group in costs if group == one) for one in groups}
    rows = [{**EA, "Cost": text, "ResourceGroup": group} for text, group in costs]
    file = read(tmp_path_factory.getbasetemp() / "sums.csv", csv_of(rows))
    summed = sums_of(file.rows["azure"], Export("azure", "x", "x", Dataset.ACTUAL))
    assert {key.group_key: each.cost for key, each in summed.charges.items()} == expected


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(-1e12, 1e12, allow_nan=False).filter(lambda cost: cost == 0 or abs(cost) > 1e-30), min_size=1)
)
def test_doubles_in_parquet_are_summed_by_their_shortest_texts(tmp_path_factory, costs):
    path = tmp_path_factory.getbasetemp() / "doubles.parquet"
    pl.DataFrame([{**EA, "Cost": cost} for cost in costs]).write_parquet(path)
    assert total(read(path)) == exact(Decimal(repr(cost)) for cost in costs)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.decimals(-(10**12), 10**12, places=18), min_size=1))
def test_decimals_in_parquet_are_summed_as_they_are(tmp_path_factory, costs):
    path = tmp_path_factory.getbasetemp() / "decimals.parquet"
    frame = pl.DataFrame([{**EA, "Cost": "0"}] * len(costs))
    frame.with_columns(pl.Series("Cost", costs, pl.Decimal(38, 18))).write_parquet(path)
    assert total(read(path)) == exact(costs)


@pytest.mark.parametrize(
    "cost",
    [
        "0.000000000000000000001",
        "-1.123456789012345678901",
        "999999999.99999999999999999999",
        "1234567890.12345678901234567890",
        "9.99999999999999999999e-30",
        "9.99999999999999999999e-31",
        "999999999e5",
        "999999999e6",
    ],
)
def test_just_within_and_past_what_polars_holds_a_cost_keeps_each_digit(tmp_path, cost):
    costs = [cost, cost, "1"]
    for some in ([cost], costs):
        file = read(tmp_path / "part", csv_of([{**EA, "Cost": each} for each in some]))
        assert total(file) == exact(Decimal(each) for each in some)


def test_a_first_decimal_that_comes_late_is_no_surprise(tmp_path):
    rows = [{**EA, "Cost": "1"}] * 5000 + [{**EA, "Cost": "0.00000000000000000001"}, {**EA, "Cost": "2e-21"}]
    assert total(read(tmp_path / "part", csv_of(rows))) == Decimal("5000.000000000000000000012")


def test_times_in_parquet_are_their_utc_days(tmp_path):
    late = datetime(2026, 9, 21, 23, 30, tzinfo=UTC)
    for value in (late, late.replace(tzinfo=None), late.date()):
        pl.DataFrame([{**FOCUS, "ChargePeriodStart": value, "BilledCost": 1.5}]).write_parquet(tmp_path / "part")
        assert rows_of(read(tmp_path / "part")) == [CHARGE]
    frame = pl.DataFrame([{**FOCUS, "ChargePeriodStart": late}])
    madrid = frame.with_columns(pl.col("ChargePeriodStart").dt.convert_time_zone("Europe/Madrid"))
    madrid.write_parquet(tmp_path / "part")
    assert rows_of(read(tmp_path / "part"))[0].day == late.date()


# --- real ones ---------------------------------------------------------------------------------------------------


def test_a_real_ea_export_sums_to_what_it_holds():
    file = read(published("azure/ea_actual_cost.csv"))
    assert (file.dataset, file.count, total(file)) == ("EA", 11, Decimal("8.5450077867419368"))
    summed = sums_of(file.rows["azure"], Export("azure", "x", "x", Dataset.ACTUAL))
    assert sum(summed.rounded().values()) == Decimal("8.5450077867")
    assert [row.cost for row in rows_of(file) if not row.group] == [Decimal("3.25")]


def test_a_real_export_without_rows_is_no_charges():
    file = read(published("azure/ea_no_rows.csv"))
    assert (file.dataset, file.rows, file.count) == ("EA", {}, 0)


@pytest.mark.parametrize(
    ("name", "dataset", "group", "cost"),
    [
        ("enterprisecamel", "CSP", "databricks", "0.012"),
        ("german", "pay-as-you-go", "Example-Resource-Group", "0.075"),
    ],
)
def test_headers_that_were_seen_are_understood(name, dataset, group, cost):
    file = read(published(f"azure/export_header_{name}.csv"))
    assert (file.dataset, [row.group for row in rows_of(file)], total(file)) == (dataset, [group], Decimal(cost))


def test_the_focus_sample_has_all_its_providers():
    path = published("focus/focus_1_0_sample.csv")
    file = read(path)
    with path.open(encoding="utf-8-sig", newline="") as text:
        expected: dict[str, Decimal] = defaultdict(Decimal)
        for row in csv.DictReader(text):
            expected[{"AWS": "aws", "Microsoft": "azure"}.get(row["ProviderName"], row["ProviderName"])] += Decimal(
                row["BilledCost"]
            )
    assert {name: sum(row.cost for row in rows) for name, rows in file.rows.items()} == expected
    assert expected["azure"] == Decimal("1.97651418586")
    assert {name: sum(row.rows for row in rows) for name, rows in file.rows.items()} == {
        "aws": 942,
        "azure": 51,
        "Oracle": 7,
    }
    assert all(row.group and "/" not in row.sub_account_id for row in file.rows["azure"])


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_files_of_the_focus_toolkit_sum_to_what_they_hold(tmp_path, provider, version):
    arguments = ["generate", "--provider", provider, "--focus-version", version, "--rows", "60", "--seed", "7"]
    assert toolkit([*arguments, "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*cost_and_usage*.csv")
    with path.open(encoding="utf-8-sig", newline="") as text:
        expected = [Decimal(row["BilledCost"]) for row in csv.DictReader(text)]
    file = read(path)
    assert (file.dataset, file.count, total(file)) == (f"FOCUS {version}", 60, exact(expected))
    assert len(file.rows) == 1


# --- faulty ones -------------------------------------------------------------------------------------------------


def without(column: str) -> str:
    return csv_of([{name: cell for name, cell in EA.items() if name != column}])


def with_cell(**cells: str) -> str:
    return csv_of([EA, {**EA, **cells}])


ROW = "Row 2 after the header"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            without("Cost"),
            "has none for the cost (CostInBillingCurrency or Cost or PreTaxCost), only BillingAccountId, ",
        ),
        (without("Date"), "The file, EA by its columns, has none for the day (Date or UsageDateTime), only "),
        (
            without("BillingCurrency"),
            "none for the currency (BillingCurrencyCode or BillingCurrency or Currency), only",
        ),
        (
            "MeterId,UnitPrice,Currency\r\nm,1,USD\r\n",
            "no costs that are known (EA, MCA, CSP, pay-as-you-go or FOCUS): its",
        ),
        ("line_item_unblended_cost\r\n1\r\n", "which should name its columns, is line_item_unblended_cost."),
        ("sep=,\r\n", "its first line, which should name its columns, is sep=, one without a name."),
        (csv_of([EA]).replace("Quantity", "Cost"), "The file has the column Cost twice."),
        (csv_of([EA]).replace(",", ";"), "The file's cells are separated by semicolons; commas are read."),
        (csv_of([{**EA, "Cost": "1,5"}]).replace(",", ";").replace('"1;5"', "1,5"), "are separated by semicolons"),
        (csv_of([EA]).replace(",", "\t"), "The file's cells are separated by tabs; commas are read."),
        ('\ufeff {"properties": {"rows": [1, 2]}}', "The file is JSON, and no manifest of an export."),
        (
            with_cell(SubscriptionId="1.23457E+11"),
            f"{ROW} is wrong: the sub-account is '1.23457E+11', a number that a spreadsheet has rounded, and no id any",
        ),
        (with_cell(BillingAccountId="8,6e+6"), f"{ROW} is wrong: the billing account is '8,6e+6', a number that"),
        (
            with_cell(SubscriptionId="1234567890123456.0"),
            f"{ROW} is wrong: the sub-account is '1234567890123456.0', a num",
        ),
        (with_cell(SubscriptionId="########"), f"{ROW} is wrong: the sub-account is '########', a number that"),
        (with_cell(SubscriptionId="nan"), f"{ROW} is wrong: the sub-account is 'nan', as programs write that there is"),
        (with_cell(BillingAccountId="<NA>"), f"{ROW} is wrong: the billing account is '<NA>', as programs write that"),
        (with_cell(BillingCurrency="nan"), f"{ROW} is wrong: the currency is 'nan', as programs write that there is"),
        (with_cell(BillingCurrency="NAN"), f"{ROW} is wrong: the currency is 'NAN', as programs write that there is"),
        (
            with_cell(BillingCurrency="C4D"),
            f"{ROW} is wrong: the currency is 'C4D', and not three letters such as CAD.",
        ),
        (with_cell(SubscriptionId="1.2E+11", Cost="1e12"), f"{ROW} is wrong: the sub-account is '1.2E+11', a number"),
        (with_cell(Cost="1e+-5"), f"{ROW} is wrong: the cost is '1e+-5', which is no number."),
        (with_cell(Cost="1E-+05"), f"{ROW} is wrong: the cost is '1E-+05', which is no number."),
        (with_cell(Date="09/21/2026 99:99"), f"{ROW} is wrong: the day is '09/21/2026 99:99', which is no day such as"),
        (with_cell(Date="09/21/2026 24:00"), "is '09/21/2026 24:00', which is no day such as"),
        (with_cell(Date="2026-09-21T00:00:99Z"), "is '2026-09-21T00:00:99Z', which is no day such as"),
        (with_cell(Date="2026-09-21T24:00Z"), "is '2026-09-21T24:00Z', which is no day such as"),
        (with_cell(Date="2026-09-21T00:00+25"), "is '2026-09-21T00:00+25', which is no day such as"),
        (with_cell(Date="2026-09-21-07"), "is '2026-09-21-07', which is no day such as"),
        (with_cell(MeterCategory="a\nb"), f"{ROW} is wrong: the service is 'a b', of two lines: its quotes, or those"),
        (with_cell(Cost="free"), f"{ROW} is wrong: the cost is 'free', which is no number."),
        (
            with_cell(Cost="1,5"),
            f"{ROW} is wrong: the cost is '1,5', which is no number; a decimal comma is not taken.",
        ),
        (with_cell(Cost="1 000.5"), f"{ROW} is wrong: the cost is '1 000.5', which is no number."),
        (with_cell(Cost="NaN"), f"{ROW} is wrong: the cost is 'NaN', which is no number."),
        (with_cell(Cost="-inf"), f"{ROW} is wrong: the cost is '-inf', which is no number."),
        (with_cell(Cost="1e30"), f"{ROW} is wrong: the cost is '1e30', which nothing costs."),
        (with_cell(Cost="1e-99"), f"{ROW} is wrong: the cost is '1e-99', which nothing costs."),
        (with_cell(Cost="1e-9999"), f"{ROW} is wrong: the cost is '1e-9999', which is no number."),
        (with_cell(Cost="٣"), f"{ROW} is wrong: the cost is '٣', which is no number."),
        (with_cell(Date=""), f"{ROW} has no day."),
        (with_cell(Date="1999-12-31"), f"{ROW} is wrong: the day is '1999-12-31', which is before 2000."),
        (with_cell(Date="12/02/2027"), f"{ROW} is wrong: the day is '12/02/2027', which is more than a year ahead."),
        (
            with_cell(Date="21/09/2026"),
            f"{ROW} is wrong: the day is '21/09/2026', which is no day such as 2026-09-21 or",
        ),
        (with_cell(Date="2026-02-30"), "is '2026-02-30', which is no day such as"),
        (with_cell(Date="soon"), "is 'soon', which is no day such as"),
        (with_cell(Date="09/21/2026 garbage"), "which is no day such as"),
        (with_cell(Date="٠٩/٢١/٢٠٢٦"), "which is no day such as"),
        (with_cell(BillingPeriodStartDate="9999-12-31T23:00Z"), "is '9999-12-31T23:00Z', which is no day such as"),
        (with_cell(BillingPeriodStartDate="1999-12-31T09:59Z"), "is '1999-12-31T09:59Z', which is before 2000."),
        (with_cell(BillingPeriodStartDate="soon"), f"{ROW} is wrong: the billing period is 'soon', which is no day"),
        (
            with_cell(BillingCurrency="dollars"),
            f"{ROW} is wrong: the currency is 'dollars', and not three letters such as",
        ),
        (with_cell(BillingCurrency=""), f"{ROW} has a cost, and no currency."),
        (with_cell(BillingCurrency="", Cost="1e12"), f"{ROW} has a cost, and no currency."),
        (with_cell(ResourceGroup="a\nb"), f"{ROW} is wrong: the resource group is 'a b', of two lines: its quotes"),
        (with_cell(ResourceGroup="a\rb"), f"{ROW} is wrong: the resource group is 'a b', of two lines: its quotes"),
        (
            csv_of([EA] * 9000) + '\ufeff"' + csv_of([EA]).split("\n")[1].replace(",", '",', 1) + "\n",
            "Row 9,001 after the header is wrong: the billing account is",
        ),
        ("", "The file is empty; an export without charges has a header."),
        (gzip.compress(b"", mtime=0), "The file is empty; an export without charges has a header."),
        (csv_of([EA]) + '1,"2,3\r\n' + csv_of([EA]), "The file's quotes are broken ("),
        (csv_of([EA, {**EA, "Cost": "1,5"}]).replace('"1,5"', "1,5"), "Row 2 after the header has 12 cells, and the"),
        (csv_of([EA, EA]).rsplit(",", 2)[0], "Row 2 after the header has 9 cells, and the header 11."),
        (csv_of([EA, EA]).replace("\r\n", "\r"), "The file has"),
        (csv_of([EA]) + csv_of([EA, EA]).split("\n", 1)[1].replace("\r\n", "\r"), "end in a carriage return alone"),
        (csv_of([{**EA, "ResourceGroup": "é"}]).encode("latin-1"), "The file is broken: it is not in UTF-8."),
        (csv_of([EA]).encode("utf-16"), "The file is in UTF-16; save it as CSV in UTF-8."),
        (b"PK\x03\x04 and more", "The file is a ZIP; unpack it; CSV in UTF-8 (plain or gzip) and Parquet are read."),
        (
            gzip.compress(csv_of([EA] * 500).encode(), mtime=0)[:-20],
            "The file is cut off or damaged: its gzip can't be unpacked",
        ),
        (b"\x1f\x8b and no more", "The file is cut off or damaged: its gzip can't be unpacked"),
        (b"PAR1 and no more", "The file is broken: it is no Parquet file, or not all of one ("),
        (b"\x00" * 3000, "The file"),
    ],
)
def test_a_faulty_file_ends_in_one_sentence(tmp_path, content, sentence):
    with pytest.raises(NeverError) as error:
        read(tmp_path / "part", content)
    reason = error.value.reason
    assert sentence in reason
    assert (reason[0].isupper(), reason[-1], "\n" in reason) == (True, ".", False)


FILLING = 40_000
"""So many rows are more than is looked at before a file is parsed"""


@pytest.mark.parametrize("packed", [bytes, partial(gzip.compress, compresslevel=1)])
@pytest.mark.parametrize("other", ['7" disk', '"{"a": 7", "c": "d"}"', '"abc'])
@pytest.mark.parametrize("one", ['5" disk', '"abc', '"{"a": 5", "c": "d"}"'])
def test_no_row_is_lost_between_two_odd_quotes_of_a_column_that_is_not_read(tmp_path, packed, one, other):
    header, row = (
        "SubscriptionId,ResourceGroup,Date,Cost,BillingCurrency,MeterCategory,Tags\n",
        "s,rg,09/21/2026,1,CAD,Storage,{}\n",
    )
    text = header + row.format("") * FILLING + "".join(map(row.format, (one, "", "", other, "")))
    assert len(header) + len(row) * FILLING > csv_files.FIRST_PIECE
    try:
        file = read(tmp_path / "part", packed(text.encode()))
    except NeverError as error:
        assert "broken" in error.reason
    else:
        assert (file.count, total(file)) == (FILLING + 5, FILLING + 5)


@pytest.fixture
def small_pieces(monkeypatch):
    for name, size in {"FIRST_PIECE": 2**9, "PIECE": 2**11, "NEAR": 2**8}.items():
        monkeypatch.setattr(csv_files, name, size)


CELLS = st.text(alphabet='ab,;"\n\r é', max_size=12).map(lambda text: text.replace("\r", "\r\n"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(CELLS, CELLS, st.integers(0, 10**6)), min_size=30, max_size=150),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([1, 700, 2**20]),
)
def test_wherever_pieces_and_members_end_all_rows_are_summed(
    tmp_path_factory, small_pieces, rows, quoted, line, member
):
    path, written = tmp_path_factory.getbasetemp() / "pieces", io.StringIO()
    writer = csv.writer(written, lineterminator=line, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerow(["Tags", "Date", "Cost", "BillingCurrency", "Note"])
    writer.writerows([tags, "2026-09-21", f"{cost / 1000:.3f}", "CAD", note] for tags, note, cost in rows)
    content = written.getvalue().encode()
    members = [gzip.compress(content[at : at + member], 1) for at in range(0, len(content), member)]
    for each in (content, b"".join(members)) if member > 1 or len(content) < 4000 else (content,):
        file = read(path, each)
        assert (file.count, total(file)) == (len(rows), Decimal(sum(cost for *_, cost in rows)) / 1000)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        # What moves is empty, or not read.
        (",3,1.5,", ",3,5,1.5,", "Row 251 after the header has 7 cells, and the header 6."),
        (",,\n", ",\n", "Row 251 after the header has 5 cells, and the header 6."),
        ("CAD,,\n", "CAD\n", "Row 251 after the header has 4 cells, and the header 6."),
        (",,\n", ",,,\n", "Row 251 after the header has 7 cells, and the header 6."),
        (",,\n", ',,"a\n', "The file's quotes are broken: one is opened that nobody closes."),
        (",,\n", ",,\r", "The file has lines that end in a carriage return alone"),
    ],
)
def test_a_late_row_that_is_no_row_is_refused_by_its_number(tmp_path, small_pieces, packed, before, after, sentence):
    row = "2026-09-21,3,1.5,CAD,,\n"
    odd = row.replace(before, after, 1)
    text = "Date,Quantity,Cost,BillingCurrency,Tags,Note\n" + row * 250 + odd + row * 250
    assert odd != row
    with pytest.raises(NeverError) as error:
        read(tmp_path / "part", packed(text.encode()))
    assert sentence in error.value.reason


LONG = (",1.5,CAD,,", ",1234,50,CAD,,"), (",,\n", ",,a,b\n"), ("21,3", "21,large, 3")
SHORT = (",3,", ","), (",,\n", ",\n"), (",CAD,,", ",CAD")


@pytest.mark.parametrize("short", SHORT)
@pytest.mark.parametrize("long", LONG)
def test_a_late_row_with_a_cell_too_many_and_one_with_too_few_do_not_hide_each_other(
    tmp_path, small_pieces, long, short
):
    row = "2026-09-21,3,1.5,CAD,,\n"
    odd = [row.replace(*long, 1), row.replace(*short, 1)]
    for some in (odd, odd[::-1]):
        rows = row * 250 + (row * 3).join(some) + row * 250
        with pytest.raises(NeverError, match="Row 251 after the header has "):
            read(tmp_path / "part", "Date,Quantity,Cost,BillingCurrency,Tags,Note\n" + rows)


@pytest.mark.parametrize("line", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["Date,Cost,Quantity,BillingCurrency", "Quantity,BillingCurrency,Date,Cost"])
@pytest.mark.parametrize(
    ("odd", "cells"),
    [
        ("2026-09-21,1.5,3", 3),
        ("2026-09-21,1.5,3,CAD,", 5),
        # A quote in the midst of a cell hides no comma behind it.
        ('2026-09-21,5",1.5,3,CAD"', 5),
        # What is put behind each line to count its cells stands in one.
        ("2026-09-21,1.5,3,CAD,\x1e", 5),
        ("2026-09-21,1.5,\x1e", 3),
        ('2026-09-21,1.5,"\x1e\r\n"', 3),
        ("2026-09-21", 1),
        (",,,,,,,,", 9),
    ],
)
def test_a_late_row_of_any_kind_with_other_cells_than_the_header_is_refused(
    tmp_path, small_pieces, header, odd, cells, line
):
    row = ("2026-09-21,1.5,3,CAD" if header.startswith("Date") else "3,CAD,2026-09-21,1.5") + line
    said = f"Row 251 after the header has {cells} cells?, and the header 4"
    for other in ("", ",,2026-09-21,\x1e" + line, "2026-09-21,1.5,3,CAD,9,9" + line, ",," + line):
        with pytest.raises(NeverError, match=said):
            read(tmp_path / "part", header + line + row * 250 + odd + line + row + other + row * 250)


HEADERS = (
    "Tags,Date,Cost,BillingCurrency,Note",
    "Note,Date,Tags,BillingCurrency,Cost",
    "Cost,BillingCurrency,Tags,Note,Date",
    "Cost,Date,Tags,Note,BillingCurrency",
)
TAGS = (
    "",
    "a",
    '""',
    '"""a"": ""b"",""c"": 1"',
    '"x,y"',
    '"two\r\nlines"',
    '"two\nlines"',
    '5" disk',
    "NULL",
    "\0",
    "é",
)
ENDS = ("", ",", ",,", ",9", ",\x1e", ',"', '"', "\r", "\x1e")


def hostile(chance: random.Random) -> bytes:
    """A file of some kB, of which a row or two may have other cells than the header, or odd signs."""
    header = chance.choice(HEADERS)
    line = chance.choice(["\n", "\r\n"])
    kinds = chance.choice([TAGS[:4], chance.sample(TAGS, 3)])
    mark = chance.choice(["", '"'])

    def row() -> str:
        said = {"Date": "2026-09-21", "Cost": f"{chance.randrange(999)}", "BillingCurrency": "CAD"}
        cells = {name: f"{mark}{cell}{mark}" for name, cell in said.items()}
        return ",".join(cells.get(name, chance.choice(kinds)) for name in header.split(","))

    rows = [row() for _ in range(chance.randrange(60, 160))]
    for _ in range(chance.choice([0, 1, 2, 2])):
        at = chance.randrange(40, len(rows))
        cells = rows[at].split(",")
        place = chance.randrange(len(cells))
        if chance.random() < 0.7:
            cells[place : place + 1] = chance.choice([[], [cells[place], ""], ["", cells[place]], ["x", cells[place]]])
        rows[at] = ",".join(cells) + (chance.choice(ENDS) if chance.random() < 0.5 else "")
    text = "".join(each + (chance.choice(["\n", "\r\n"]) if chance.random() < 0.01 else line) for each in rows)
    bom = chance.choice(["", "", "\ufeff"])
    return (bom + header + line + (text if chance.random() < 0.7 else text.removesuffix(line))).encode()


@pytest.mark.parametrize("seed", range(6))
def test_files_with_odd_rows_are_read_or_refused_as_one_that_is_read_by_the_letter(tmp_path, small_pieces, seed):
    chance = random.Random(seed)
    for _ in range(40):
        content = hostile(chance)
        by_the_letter = outcome(tmp_path / "one", content, piece=2**20)
        # Of quotes and line ends, the standard library is stricter than any program that writes them.
        if "quotes are broken" not in str(by_the_letter) and "carriage return" not in str(by_the_letter):
            assert outcome(tmp_path / "pieces", content, piece=2**9) == by_the_letter, content


def outcome(path: Path, content: bytes, piece: int) -> object:
    """What a file comes to, or what it is refused for; its first piece is read by the letter."""
    csv_files.FIRST_PIECE = piece
    try:
        file = read(path, content)
    except NeverError as error:
        return error.reason
    return file.count, rows_of(file), file.odd


def test_quotes_in_the_midst_of_cells_move_no_column(tmp_path, small_pieces):
    row = "x,,,,y,,2026-09-21,1.5,CAD\n"
    odd = 'x",,a_b,"""""",x",,2026-09-21,908.70,CAD\n'
    file = read(tmp_path / "part", "A,B,C,D,E,F,Date,Cost,BillingCurrency\n" + row * 100 + odd + row * 100)
    assert (file.count, file.odd, total(file)) == (201, (), Decimal("1208.70"))


def test_empty_lines_are_no_rows_wherever_they_are(tmp_path, small_pieces):
    row = "2026-09-21,1.5,CAD\n"
    file = read(tmp_path / "part", "Date,Cost,BillingCurrency\n\n" + (row * 40 + "\n\r\n\n") * 20 + "\n" * 3000 + row)
    assert (file.count, file.odd, total(file)) == (801, (), Decimal("1201.5"))


@pytest.mark.parametrize("zeros", [1, 511, 2**21])
def test_zeros_after_a_gzip_fill_a_block_and_say_nothing(tmp_path, zeros):
    one, other = (gzip.compress(each.encode()) for each in (csv_of([EA]), csv_of([EA]).split("\r\n")[1]))
    assert total(read(tmp_path / "part", one + bytes(zeros) + other + bytes(zeros))) == 3


@pytest.mark.parametrize("left", [b"x", b"\x1f\x8b", b"\n", bytes(9) + b"x"])
def test_anything_else_after_a_gzip_is_refused(tmp_path, left):
    with pytest.raises(NeverError, match="its gzip can't be unpacked to its end"):
        read(tmp_path / "part", gzip.compress(csv_of([EA]).encode()) + left)


@pytest.mark.parametrize("damage", [(-8, b"\0"), (-4, b"\1"), (40, b"\0\0\0\0")])
def test_a_gzip_of_which_a_byte_was_changed_is_refused(tmp_path, damage):
    at, put = damage
    packed = bytearray(gzip.compress(csv_of([{**EA, "Tags": str(number)} for number in range(999)]).encode(), mtime=0))
    packed[at : len(packed) + at + len(put) if at < 0 else at + len(put)] = put
    with pytest.raises(NeverError, match="its gzip can't be unpacked to its end"):
        read(tmp_path / "part", bytes(packed))


def test_cells_of_several_lines_are_a_part_of_their_row(tmp_path):
    rows = [{**EA, "Tags": "a\nb\n\nc"}, EA, {**EA, "Tags": "\r\n"}] * FILLING
    assert total(read(tmp_path / "part", csv_of(rows))) == Decimal("4.5") * FILLING


@pytest.mark.parametrize("rows", [3, 400_000])
def test_a_parquet_file_of_which_not_all_rows_can_be_read_is_refused(tmp_path, rows):
    """A day that no calendar has breaks a thread of the parser, which ends the rows and says nothing."""
    is_last = pl.int_range(rows) == rows - 1
    day = pl.when(is_last).then(2**30).otherwise(20717).cast(pl.Int32).cast(pl.Date)
    others = {"SubscriptionId": "s", "BillingCurrency": "CAD"}
    cost = pl.int_range(rows).cast(pl.String).alias("Cost")
    columns = [day.alias("Date"), cost, *(pl.lit(value).alias(name) for name, value in others.items())]
    pl.select(columns).write_parquet(tmp_path / "part.parquet", row_group_size=50_000)
    with pytest.raises(NeverError, match="The file is broken"):
        read(tmp_path / "part.parquet")


def test_a_day_with_a_zone_and_no_time_is_the_day_that_it_says(tmp_path):
    assert rows_of(read(tmp_path / "part", csv_of([{**EA, "Date": "2026-09-21+02:00"}]))) == [CHARGE]


def test_a_column_that_is_there_twice_in_brackets_is_told(tmp_path):
    header, rows = csv_of([{**EA, "Quantity": "7"}]).split("\r\n", 1)
    twice = header.replace("Quantity", "Prix (Cost)").replace(",Cost,", ",Kosten (Cost),")
    with pytest.raises(NeverError, match="The file has the column Cost twice"):
        read(tmp_path / "part", f"{twice}\r\n{rows}")


def test_boms_of_parts_that_were_put_together_are_no_part_of_ids(tmp_path):
    names = ["SubscriptionId", *(each for each in EA if each != "SubscriptionId")]
    one = csv_of([{name: EA[name] for name in names}])
    again = "\ufeff" + one.split("\r\n", 1)[1]
    assert {row.sub_account_id for row in rows_of(read(tmp_path / "part", one + again))} == {SUB}


def test_ids_that_were_made_numbers_with_a_point_are_told(tmp_path):
    pl.DataFrame([{**EA, "SubscriptionId": 123456789012.0}]).write_parquet(tmp_path / "part.parquet")
    with pytest.raises(
        NeverError, match="column SubscriptionId has numbers with a point, where the sub-account is a text"
    ):
        read(tmp_path / "part.parquet")


def test_more_different_charges_than_fit_into_memory_are_told():
    cells = {"day": "2026-09-21", "currency": "CAD", "cost": "1"}
    few = Summing(date(2026, 11, 30), "azure", most_sums=2)
    few.add(pl.DataFrame([{**cells, "sub-account": str(number % 2)} for number in range(9)]))
    assert len(few.rows()["azure"]) == 2
    many = Summing(date(2026, 11, 30), "azure", most_sums=2)
    many.add(pl.DataFrame([{**cells, "sub-account": str(number)} for number in range(3)]))
    with pytest.raises(NeverError) as told:
        many.rows()
    assert told.value.reason == (
        "The file has more than 2 different charges, by sub-account, group, day, service and billing period, for which "
        "there is no memory; have the export write several smaller files (Azure: `partitionData`), which can have as "
        "many each."
    )


def test_rows_are_made_anew_each_time_they_are_gone_through_and_hold_one_text_of_each_name():
    """They take several times the memory of what they are made of: nobody is handed a list of them."""
    summing, some = Summing(date(2026, 11, 30), "azure"), 2 * SLICE + 1
    cells = {"day": "2026-09-21", "currency": "CAD", "cost": "0.1", "service": "Virtual Machines"}
    frame = pl.DataFrame({"resource group": [f"rg-{number}" for number in range(some)]})
    for _ in range(2):
        summing.add(frame.with_columns(**{cell: pl.lit(text) for cell, text in cells.items()}))
    rows = summing.rows()["azure"]
    assert len(rows) == some
    assert {row.group for row in rows} == set(frame["resource group"])
    assert {(row.cost, row.rows) for row in rows} == {(Decimal("0.2"), 2)}
    assert len({id(text) for row in list(rows) for text in (row.service, row.currency, row.day)}) == 3
    assert next(iter(rows)) in rows
    assert "rg-1" not in rows


@pytest.mark.parametrize("zone", ["-07:30", "+05:30", "Z     "])
def test_times_in_zones_that_only_arrow_knows_are_in_utc_all_the_same(tmp_path, zone):
    """As pyarrow writes them: in a copy of the schema, beside Parquet's own. Six letters take the place of six."""
    path = tmp_path / "part.parquet"
    late = datetime(2026, 9, 21, 23, 30, tzinfo=UTC)
    frame = pl.DataFrame([{**EA, "Date": late}]).with_columns(pl.col("Date").dt.convert_time_zone("Turkey"))
    frame.write_parquet(path)
    content = path.read_bytes()
    schema = re.search(rb"ARROW:schema.{1,8}?([A-Za-z0-9+/]{40,}=*)", content, re.DOTALL)
    assert schema
    arrows = base64.b64decode(schema[1])
    assert b"Turkey" in arrows
    path.write_bytes(content.replace(schema[1], base64.b64encode(arrows.replace(b"Turkey", zone.encode()))))
    assert rows_of(read(path)) == [CHARGE]


# Date, BillingCurrency, and a Cost of 1.5 as DECIMAL(76, 10): by pyarrow, packed.
DECIMAL_256 = (
    "c-jka3^EjD5Y-UX&=F+<GT21fWEdD2m_V433rHFn7@6rBSn3*qlu3z7VNu2mB%K{yfWkhaK3L=#a0BK#!D|enERsH^3=(X`$r-7+iK1)_"
    "qCBch5-cu>C8??mJ|J_z0{l*yIXRhm>CUA^MX7nol`uIzQ3p|=a_9Ww5>+ly5z!fpIx%1hC@IDyDI;m4#vmigBdN;9APF&56eup{C+4Td"
    ";VA=jEQ2T$gN>MoB%7of*u_Z7(d`85bP#h;3q#V$hN6=XY7xjiVC6+(MQYO+5$ZKzs>K?Z#F*4LfE0s<LP26tVQFfKZgN3^ZemeUez`(f"
    "YEf}!ex8DnnVx~3p`;Davk=5!2=rP2Fya746h3<"
)


def test_decimals_of_more_digits_than_are_read_are_told(tmp_path):
    with pytest.raises(NeverError, match=r"The file's column Cost has decimals of 76 digits; 38 are read\."):
        read(tmp_path / "part.parquet", zlib.decompress(base64.b85decode(DECIMAL_256)))


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_that_a_last_cell_which_counts_may_have_been_cut_off_is_said(tmp_path, packed):
    said = "The file does not end with a line break: were it cut off, its last cell, the cost, might lack its end."
    whole = "Date,BillingCurrency,Cost\n2026-09-21,CAD,123.45\n"
    odd = {text: read(tmp_path / "part", packed(text.encode())).odd for text in (whole, whole[:-1], whole[:-3])}
    assert list(odd.values()) == [(), (said,), (said,)]
    # Where the last cell is not read, nothing is lost with its end; and a row that ends before is none.
    assert read(tmp_path / "part", csv_of([{**EA, "Tags": "abc"}])[:-3]).odd == ()
    with pytest.raises(NeverError, match="Row 1 after the header has 2 cells, and the header 3"):
        read(tmp_path / "part", packed(whole.rsplit(",", 1)[0].encode()))


def test_a_file_that_is_called_parquet_and_is_none_is_told(tmp_path):
    with pytest.raises(NeverError, match="it is no Parquet file"):
        read(tmp_path / "part.parquet", csv_of([EA]))


def test_a_parquet_file_that_is_cut_off_or_has_lists_is_told(tmp_path):
    path = tmp_path / "part.parquet"
    pl.DataFrame([EA] * 100).write_parquet(path)
    with pytest.raises(NeverError, match="it is no Parquet file, or not all of one"):
        read(path, path.read_bytes()[:-9])
    pl.DataFrame([{**EA, "Cost": ["1"]}]).write_parquet(path)
    with pytest.raises(NeverError, match="The file's column Cost has lists or structures"):
        read(path)


def test_a_parquet_file_of_nothing_but_repetitions_is_refused(tmp_path):
    path = tmp_path / "part.parquet"
    pl.DataFrame([EA]).select(pl.all().repeat_by(300_000).explode()).write_parquet(path)
    with pytest.raises(NeverError, match="more rows than bytes"):
        read(path)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_line_that_would_fill_the_memory_is_refused(tmp_path, packed):
    line = csv_of([{**EA, "Tags": "0123456789abcdef" * 2**16}])[:-2]
    with pytest.raises(NeverError, match="has a line of more than 16 MB"):
        read(tmp_path / "part", packed((line + "x" * csv_files.LONGEST_LINE).encode()))


@pytest.mark.parametrize("packed", [bytes, partial(gzip.compress, compresslevel=1)])
def test_a_quote_that_nobody_closes_is_refused_before_it_fills_the_memory(tmp_path, packed):
    header, row = csv_of([{**EA, "Tags": ""}]).encode().splitlines(keepends=True)
    many = row * (csv_files.LONGEST_LINE // len(row) + 2)
    with pytest.raises(NeverError, match="quotes are broken: one is opened that nobody closes"):
        read(tmp_path / "part", packed(header + row.replace(b"rg-a", b'"rg-a') + many))
    assert read(tmp_path / "part", packed(header + row.replace(b"rg-a", b'"rg-a"') + many)).count > 50_000


def test_a_decompression_bomb_is_refused(tmp_path):
    header, row = csv_of([EA]).encode().splitlines(keepends=True)
    bomb = gzip.compress(header) + gzip.compress(row * 2**16) * 6
    with pytest.raises(NeverError, match="unpacks to more than 200 times its size"):
        read(tmp_path / "part.csv.gz", bomb)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(NeverError, match="The file can't be read: No such file or directory"):
        read(tmp_path / "part")


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path):
    (tmp_path / "part_1.csv").write_text(csv_of([EA, EA]))
    assert read(tmp_path / "part_[1*].csv", csv_of([EA])).count == 1


def test_what_the_machine_lacks_is_no_fault_of_the_file(tmp_path):
    path = tmp_path / "part"
    path.write_text(csv_of([EA]), newline="")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = [path.open()]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened[0].fileno() + 1, before[1]))
        with pytest.raises(LaterError, match="The file can't be read: Too many open files"):
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        opened[0].close()
    assert total(read(path)) == Decimal("1.5")
    for name in ("none", "none.parquet"):
        with pytest.raises(NeverError, match="The file can't be read: No such file"):
            read(tmp_path / name)


def test_all_columns_of_microsofts_focus_1_0r2_are_read_as_csv_and_as_typed_parquet(tmp_path):
    said = json.loads((DATA / "focus" / "columns_focus_1_0r2.json").read_text())
    types = {each["source"]["name"]: each["source"]["type"] for each in said["translator"]["mappings"]}
    samples = {"Decimal": "2.5", "DateTimeOffset": "2026-09-01T00:00:00Z"}
    row = {name: samples.get(its, "x") for name, its in types.items()}
    row |= {name: text for name, text in FOCUS.items() if name in types}
    file = read(tmp_path / "part.csv", csv_of([row]))
    typed = pl.DataFrame([row]).with_columns(
        *(pl.col(name).str.to_datetime(time_zone="UTC") for name, its in types.items() if its == "DateTimeOffset"),
        *(pl.col(name).cast(pl.Decimal(38, 18)) for name, its in types.items() if its == "Decimal"),
    )
    typed.write_parquet(tmp_path / "part.parquet", compression="snappy")
    assert (file.dataset, rows_of(read(tmp_path / "part.parquet"))) == ("FOCUS 1.0", rows_of(file))
    [only] = rows_of(file)
    assert (only.sub_account_id, only.group, only.day, only.service) == (SUB, "rg-a", date(2026, 9, 21), "Storage")
    assert only.cost == Decimal("1.5")
