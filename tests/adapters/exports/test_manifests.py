"""Manifests: what Azure's and AWS's say, and in which sentence each faulty one ends."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from localdev.azure_sim.export_runs import STORAGE_ACCOUNT
from shared.adapters.exports.manifests import MOST_BYTES, is_manifest, read_manifest
from shared.domain.exports.runs import Dataset, Width
from shared.domain.periods import Period
from shared.ports.errors import NeverError
from shared.ports.exports import ManifestPart

SUB = "/subscriptions/1caaa5a3-2b66-438e-8ab4-bce37d518c5d"
OF = "/providers/Microsoft.CostManagement/exports/daily"
BILLING = "/providers/Microsoft.Billing/billingAccounts/8611537"
FOLDER = "costs/daily/20260901-20260930/7e4b"


def blob(name: str = f"{FOLDER}/part_0.csv", size: Any = 100, rows: Any = 3) -> dict[str, Any]:
    return {"blobName": name, "byteCount": size, "dataRowCount": rows}


def azure(blobs: Any = None, config: Any = None, run: Any = None, **more: Any) -> bytes:
    config = {
        "exportName": "daily",
        "resourceId": SUB + OF,
        "dataVersion": "2024-08-01",
        "type": "ActualCost",
        "timeFrame": "MonthToDate",
    } | (config or {})
    run = {
        "executionType": "Scheduled",
        "submittedTime": "2026-09-30T04:05:06.1234567Z",
        "runId": "7e4b",
        "startDate": "2026-09-01T00:00:00",
        "endDate": "2026-09-30T00:00:00",
    } | (run or {})
    whole = {
        "manifestVersion": "2024-04-01",
        "blobCount": 1,
        "dataRowCount": 3,
        "exportConfig": config,
        "deliveryConfig": {"containerUri": "https://acct.blob.core.windows.net/msexports", "rootFolderPath": "costs"},
        "runInfo": run,
        "blobs": [blob()] if blobs is None else blobs,
    }
    return json.dumps(whole | more).encode()


def aws(**more: Any) -> bytes:
    whole = {
        "executionId": "b1f9",
        "exportArn": "arn:aws:bcm-data-exports:us-east-1:123456789012:export/focus-0a1b",
        "columns": [{"name": "BilledCost", "type": "double"}, {"name": "ChargePeriodStart", "type": "timestamp"}],
        "dataFiles": ["s3://bills/exports/focus/data/BILLING_PERIOD=2026-09/focus-00001.snappy.parquet"],
        "additionalOutputFiles": [],
    }
    return json.dumps(whole | more).encode()


def test_the_storage_account_s_resource_id_says_nothing_of_the_container():
    """As Microsoft's own tutorial, and manifests of real exports, have it."""
    content = azure(deliveryConfig={"containerUri": STORAGE_ACCOUNT, "rootFolderPath": "costs"})
    assert [read_manifest(content, name).container for name in ("msexports", "")] == ["msexports", ""]


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "a/b/manifest.json",
        "a/_manifest.json",
        "a/MANIFEST.JSON",
        "m/focus-Manifest.json",
        "x-manifest.json",
    ],
)
def test_a_manifest_is_told_by_its_name_in_any_case(name):
    assert is_manifest(name)


@pytest.mark.parametrize("name", ["part_0.csv", "a/manifest.json/part.csv", "mymanifest.json", "manifest.json.gz"])
def test_other_files_are_no_manifests(name):
    assert not is_manifest(name)


def test_azures_manifest_says_export_run_days_and_parts():
    said = read_manifest(azure(), "MSExports")
    assert (said.export.provider, said.export.id, said.export.name) == ("azure", SUB + OF, "daily")
    assert (said.export.dataset, said.version, said.run_id) == (Dataset.ACTUAL, "2024-08-01", "7e4b")
    assert said.submitted_at == datetime(2026, 9, 30, 4, 5, 6, 123456, UTC)
    assert said.days == Period(date(2026, 9, 1), date(2026, 10, 1))
    assert said.parts == (ManifestPart(f"{FOLDER}/part_0.csv", 100, 3),)
    assert (said.container, said.rows) == ("msexports", 3)


def test_awss_manifest_says_export_and_files_and_no_times():
    said = read_manifest(aws(), "mirror")
    assert (said.export.provider, said.export.name, said.export.billing_account) == (
        "aws",
        "focus-0a1b",
        "123456789012",
    )
    assert (said.export.dataset, said.run_id, said.container) == (Dataset.FOCUS, "b1f9", "bills")
    assert (said.submitted_at, said.days, said.rows) == (None, None, None)
    name = "exports/focus/data/BILLING_PERIOD=2026-09/focus-00001.snappy.parquet"
    assert said.parts == (ManifestPart(name, None, None),)


def test_an_export_of_awss_own_columns_has_no_costs_that_are_read():
    cur = [{"name": "line_item_unblended_cost", "type": "double"}]
    assert read_manifest(aws(columns=cur)).export.dataset is Dataset.OTHER
    assert read_manifest(aws(columns=["BilledCost"])).export.dataset is Dataset.FOCUS
    assert read_manifest(aws(columns=None)).export.dataset is Dataset.FOCUS


@pytest.mark.parametrize(
    ("kind", "dataset"),
    [
        ("ActualCost", Dataset.ACTUAL),
        ("Usage", Dataset.ACTUAL),
        ("AmortizedCost", Dataset.AMORTIZED),
        ("FocusCost", Dataset.FOCUS),
        ("PriceSheet", Dataset.OTHER),
        ("ReservationTransactions", Dataset.OTHER),
        (None, Dataset.OTHER),
    ],
)
def test_a_dataset_is_what_the_manifest_says_and_others_hold_no_costs(kind, dataset):
    assert read_manifest(azure(config={"type": kind})).export.dataset is dataset


@pytest.mark.parametrize(
    ("scope", "width", "account"),
    [
        (f"{SUB}/resourceGroups/rg", Width.GROUP, ""),
        (SUB, Width.SUB_ACCOUNT, ""),
        ("/providers/Microsoft.Management/managementGroups/mg", Width.PART, ""),
        (f"{BILLING}/departments/7", Width.PART, "8611537"),
        (BILLING, Width.BILLING_ACCOUNT, "8611537"),
    ],
)
def test_how_much_an_exports_scope_holds_is_read_from_its_id(scope, width, account):
    export = read_manifest(azure(config={"resourceId": scope + OF})).export
    assert (export.width, export.billing_account) == (width, account)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-30T04:05:06Z", datetime(2026, 9, 30, 4, 5, 6, tzinfo=UTC)),
        ("2026-09-30T04:05:06", datetime(2026, 9, 30, 4, 5, 6, tzinfo=UTC)),
        ("2026-09-30T04:05:06.7Z", datetime(2026, 9, 30, 4, 5, 6, 700000, tzinfo=UTC)),
        ("2026-09-30T04:05:06.1234567", datetime(2026, 9, 30, 4, 5, 6, 123456, tzinfo=UTC)),
        ("2026-09-30T06:05:06+02:00", datetime(2026, 9, 30, 4, 5, 6, tzinfo=UTC)),
        ("2026-09-30T06:05:06+02", datetime(2026, 9, 30, 4, 5, 6, tzinfo=UTC)),
        ("2026-09-30T04:05Z", datetime(2026, 9, 30, 4, 5, tzinfo=UTC)),
        ("2026-09-30", datetime(2026, 9, 30, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_come_with_and_without_zone_and_with_seven_digits(text, expected):
    assert read_manifest(azure(run={"submittedTime": text})).submitted_at == expected


@pytest.mark.parametrize("more", [{"blobCount": None}, {"blobCount": 0}, {"blobCount": 0, "Blobs": None}])
def test_a_run_without_parts_is_one_of_no_charges(more):
    assert read_manifest(azure([], dataRowCount=None, **more)).parts == ()


def test_stray_spaces_in_names_a_bom_and_odd_cases_of_fields_do_no_harm():
    text = azure([blob("  costs/part_0.csv ")]).decode().replace("exportConfig", "ExportConfig")
    assert [part.name for part in read_manifest(b"\xef\xbb\xbf" + text.encode()).parts] == ["costs/part_0.csv"]


def test_a_blob_may_be_named_by_its_whole_address_in_the_container():
    said = read_manifest(azure([blob("https://acct.blob.core.windows.net/msexports/a/part_0.csv")]))
    assert said.parts[0].name == "a/part_0.csv"


def test_a_manifest_may_leave_out_days_version_sizes_and_rows():
    bare = {"exportConfig": {"resourceId": SUB + OF, "type": "ActualCost"}, "runInfo": {}, "blobs": [{"blobName": "p"}]}
    said = read_manifest(json.dumps(bare).encode(), "msexports")
    assert (said.days, said.version, said.rows, said.export.name) == (None, "", None, "daily")
    assert (said.parts, said.container) == ((ManifestPart("p", None, None),), "msexports")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is no JSON"),
        (b"BillingAccountId,Cost\n1,2\n", "it is no JSON"),
        (b"\xff\xfe{}", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no object"),
        (b"{}", "it names no export, by `exportConfig` (Azure) or by `exportArn` (AWS)"),
        (b" " * (MOST_BYTES + 1), "it has 16,777,217 bytes, and 16,777,216 at most are read"),
        (azure(config={"resourceId": None}), "its `exportConfig` has no `resourceId`, which says what export it is of"),
        (azure(config={"type": 7}), "its `type` is 7, and no text"),
        (azure(runInfo=None), "runInfo is no object"),
        (azure("part_0.csv"), "its `blobs` is no list"),
        (azure(["part_0.csv"]), "a blob is no object"),
        (azure([blob("../other/part_0.csv")]), "it lists '../other/part_0.csv', which is no name of a file"),
        (azure([blob("a\\..\\part_0.csv")]), r"it lists 'a\\..\\part_0.csv', which is no name of a file"),
        (azure([blob(" ")]), "it lists '', which is no name of a file"),
        (azure([blob("/part_0.csv")]), "it lists '/part_0.csv', which is not in its container"),
        (
            azure([blob("https://acct.blob.core.windows.net/other/p.csv")]),
            "it lists 'https://acct.blob.core.windows.net/other/p.csv', which is not in its container",
        ),
        (
            azure(deliveryConfig={"containerUri": "https://acct.blob.core.windows.net/other"}),
            "its files are in the container other, and it lies in msexports",
        ),
        (azure([blob(), blob(f" {FOLDER}/part_0.csv")], blobCount=2), f"it lists '{FOLDER}/part_0.csv' twice"),
        (azure([blob()], blobCount=2), "it counts 2 blobs, and lists 1"),
        (
            azure([{"blobName": "p"}] * 100_000, blobCount=100_000),
            "its `blobs` are 100,000, and 10,000 at most are read",
        ),
        (azure([blob(size=-1)]), "its `byteCount` is '-1', which is no size or count"),
        (azure([blob(size=1e30)]), "its `byteCount` is '1e+30', which is no size or count"),
        (azure([blob(size=10**30)]), f"its `byteCount` is '{10**30}', which is no size or count"),
        (azure([blob(size=True)]), "its `byteCount` is 'True', which is no size or count"),
        (azure([blob(rows="3")]), "its `dataRowCount` is '3', which is no size or count"),
        (
            azure(run={"startDate": "yesterday"}),
            "its `startDate` is 'yesterday', and no time such as 2026-09-01T00:00:00Z",
        ),
        (
            azure(run={"endDate": "2026-02-30"}),
            "its `endDate` is '2026-02-30', and no time such as 2026-09-01T00:00:00Z",
        ),
        (azure(run={"endDate": "2026-08-31"}), "it ends on 2026-08-31, and begins on 2026-09-01"),
        (azure(run={"endDate": "9999-12-31"}), "it ends on 9999-12-31, and begins on 2026-09-01"),
        (aws(exportArn="arn:aws:s3:::bills"), "its `exportArn` is 'arn:aws:s3:::bills', and no export's"),
        (aws(dataFiles=None), "its `dataFiles` is no list"),
        (aws(dataFiles=["s3://a/x", "s3://b/x"]), "its files are in different buckets: a, b"),
        (aws(dataFiles=["/a/x"]), "it lists '/a/x', which is no address such as s3://bucket/key"),
        (aws(dataFiles=[7]), "it lists '7', which is no address such as s3://bucket/key"),
        (aws(dataFiles=["s3://a/../x"]), "it lists '../x', which is no name of a file"),
        (aws(dataFiles=["s3://a/x", "s3://a/x"]), "it lists 'x' twice"),
    ],
)
def test_a_manifest_that_cannot_be_right_ends_in_one_sentence(content, sentence):
    with pytest.raises(NeverError) as error:
        read_manifest(content, "msexports")
    assert error.value.reason == f"The manifest can't be used: {sentence}."
