"""What files and folders of exports come to, and where they are not what their manifests say."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.exports.reader import PolarsExports
from shared.domain.charges import CostMetric
from shared.services.errors import RequestError
from shared.services.exports import Checked, ExportService
from tests.adapters.exports.files import EA, FOCUS, SUB, csv_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SAYS_NOTHING = "ActualCost, as COST_METRIC says; the file says nothing of it"


def check(*paths: Path) -> list[Checked]:
    return list(ExportService(PolarsExports(), CostMetric.ACTUAL, lambda: NOW).read(paths))


def write_run(folder: Path, *rows: int, kind: str = "ActualCost", under: str = "costs/daily", **more: Any) -> Path:
    """A run with a part of so many rows each, in a copy of its container that begins below `costs`."""
    folder.mkdir(parents=True, exist_ok=True)
    blobs = []
    for number, count in enumerate(rows):
        part = folder / f"part_{number}.csv"
        part.write_text(csv_of([EA] * count, EA), newline="")
        name = f"{under}/{folder.name}/{part.name}"
        blobs.append({"blobName": name, "byteCount": part.stat().st_size, "dataRowCount": count})
    config = {"exportName": "daily", "type": kind, "dataVersion": "2024-08-01"}
    config |= {"resourceId": f"/subscriptions/{SUB}/providers/Microsoft.CostManagement/exports/daily"}
    whole = {"exportConfig": config, "runInfo": {"runId": "7e4b"}, "dataRowCount": sum(rows), "blobs": blobs}
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(whole | more))
    return manifest


def test_a_file_says_days_exact_sums_sub_accounts_and_what_has_no_group(tmp_path):
    path = tmp_path / "part.csv"
    lone = {**EA, "ResourceGroup": "", "Cost": "0.00000000000000000001", "Date": "09/04/2026", "SubscriptionId": ""}
    path.write_text(csv_of([EA, lone, {**EA, "BillingCurrency": "USD"}]), newline="")
    (checked,) = check(path)
    assert (checked.name, checked.fault, checked.metric) == (str(path), None, SAYS_NOTHING)
    assert checked.days == (date(2026, 9, 4), date(2026, 9, 21))
    assert checked.totals == {"CAD": Decimal("1.50000000000000000001"), "USD": Decimal("1.5")}
    assert checked.without_group == {"CAD": Decimal("0.00000000000000000001")}
    assert checked.sub_accounts == [("azure", ""), ("azure", SUB)]


def test_links_that_lead_nowhere_hide_no_other_file_and_are_told_by_their_names(tmp_path):
    broken = write_run(tmp_path / "run", 1, 1).with_name("part_1.csv")
    broken.unlink()
    (tmp_path / "good.csv").write_text(csv_of([EA]), newline="")
    for link in (broken, tmp_path / "manifest.json"):
        link.symlink_to(tmp_path / "nowhere")
    told = {Path(each.name).relative_to(tmp_path).as_posix(): each.fault for each in check(tmp_path)}
    unread = "The file can't be read: No such file or directory."
    assert (told["manifest.json"], told["run/part_1.csv"]) == (unread, unread)
    assert (told["good.csv"], told["run/part_0.csv"]) == (None, None)
    assert str(told["run/manifest.json"]).startswith("It can't be imported yet: ")


def test_a_faulty_file_hides_no_other(tmp_path):
    (tmp_path / "a.csv").write_text("no,costs\n")
    (tmp_path / "b.CSV").write_text(csv_of([EA]), newline="")
    (tmp_path / "notes.txt").write_text("no export")
    faulty, good = check(tmp_path)
    assert "no costs that are known" in (faulty.fault or "")
    assert (good.fault, good.totals) == (None, {"CAD": Decimal("1.5")})


def test_a_manifest_comes_after_its_parts_of_which_it_says_the_metric(tmp_path):
    manifest = write_run(tmp_path / "run", 2, 1, kind="AmortizedCost")
    for given in (tmp_path, manifest):
        first, second, said = check(given)
        assert [each.metric for each in (first, second)] == ["AmortizedCost, as its manifest says"] * 2
        assert (said.name, said.fault, said.manifest and said.manifest.export.name) == (str(manifest), None, "daily")


def test_focus_is_counted_by_the_setting_whatever_its_manifest(tmp_path):
    (tmp_path / "part.csv").write_text(csv_of([FOCUS]), newline="")
    assert check(tmp_path)[0].metric == "ActualCost, as COST_METRIC says"


def test_of_runs_in_folders_beside_each_other_each_has_its_own_parts(tmp_path):
    write_run(tmp_path / "one", 2)
    write_run(tmp_path / "other", 3)
    checked = check(tmp_path)
    assert [(each.fault, each.file and each.file.count) for each in checked] == [
        (None, 2), (None, None), (None, 3), (None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "more", "fault"),
    [
        ((2,), {"dataRowCount": 3}, "Its files have 2 rows, and 3 by what it says."),
        ((0,), {"dataRowCount": 3}, "Its files have 0 rows, and 3 by what it says."),
        ((0,), {}, None),
        ((), {}, None),
    ],
)
def test_a_manifest_that_counts_other_rows_than_its_files_have_is_told(tmp_path, rows, more, fault):
    write_run(tmp_path, *rows, **more)
    assert check(tmp_path)[-1].fault == fault


def test_a_part_that_lacks_rows_is_told_and_its_run_with_it(tmp_path):
    manifest = write_run(tmp_path, 2)
    whole = json.loads(manifest.read_text())
    whole["blobs"][0]["dataRowCount"] = 5
    manifest.write_text(json.dumps(whole))
    part, said = check(tmp_path)
    assert (part.fault, part.file) == ("It has 2 rows, and 5 by its manifest.", None)
    assert said.fault == "It can't be imported: one of its files can't be."


def test_a_part_that_is_missing_or_of_another_size_is_waited_for(tmp_path):
    write_run(tmp_path, 2, 1)
    (tmp_path / "part_0.csv").unlink()
    assert check(tmp_path)[-1].fault == (
        f"It can't be imported yet: 1 of its 2 parts not there yet: costs/daily/{tmp_path.name}/part_0.csv."
    )
    (tmp_path / "part_0.csv").write_text("short")
    assert "part_0.csv has 5 bytes, and " in (check(tmp_path)[-1].fault or "")


def test_datasets_without_costs_are_left_alone(tmp_path):
    write_run(tmp_path, 2, kind="PriceSheet", dataRowCount=7)
    (said,) = check(tmp_path)
    assert (said.fault, said.manifest and said.manifest.export.dataset) == (None, "other")


def test_a_faulty_manifest_is_told(tmp_path):
    (tmp_path / "_Manifest.json").write_text("{")
    assert [each.fault for each in check(tmp_path)] == ["The manifest can't be used: it is no JSON."]


def test_files_that_are_packed_in_whatever_way_are_read_or_told_and_not_passed_over(tmp_path):
    (tmp_path / "part_0_0001.gz").write_bytes(gzip.compress(csv_of([EA]).encode()))
    (tmp_path / "september.csv.zip").write_bytes(b"PK\x03\x04 and more")
    (tmp_path / "notes.txt").write_text("nothing")
    read, zipped = check(tmp_path)
    assert (read.name, read.totals) == (str(tmp_path / "part_0_0001.gz"), {"CAD": Decimal("1.5")})
    assert zipped.fault and "ZIP" in zipped.fault


def test_where_there_is_nothing_to_read_that_is_said(tmp_path):
    with pytest.raises(RequestError, match=r"holds no export \(.csv, .gz, .parquet or a manifest\)"):
        check(tmp_path)
    with pytest.raises(RequestError, match="there is no "):
        check(tmp_path / "none")


def test_a_part_that_is_not_there_is_not_taken_from_another_month_whose_file_has_its_name(tmp_path):
    arn = "arn:aws:bcm-data-exports:us-east-1:111111111111:export/focus-1"
    for month in ("2026-08", "2026-09"):
        data, about = (tmp_path / "focus" / name / f"BILLING_PERIOD={month}" for name in ("data", "metadata"))
        data.mkdir(parents=True)
        about.mkdir(parents=True)
        file = f"s3://bucket/costs/focus/data/BILLING_PERIOD={month}/focus-00001.csv"
        said = {"exportArn": arn, "executionId": month, "dataFiles": [file]}
        (about / "focus-Manifest.json").write_text(json.dumps(said))
    (tmp_path / "focus/data/BILLING_PERIOD=2026-08/focus-00001.csv").write_text(csv_of([FOCUS], FOCUS), newline="")
    faults = {each.manifest.run_id: each.fault for each in check(tmp_path) if each.manifest}
    assert faults["2026-08"] is None
    assert "not there yet" in (faults["2026-09"] or "")
