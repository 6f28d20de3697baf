"""Parquet that breaks whoever reads it breaks a process of its own, and one import."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import polars as pl
import pytest

from shared.adapters.exports.apart import ReadingProcess
from shared.domain.charges import CostMetric
from shared.ports.errors import LaterError, NeverError
from tests.adapters.exports.files import EA, TODAY, read, total

ROWS = 9
BROKE_OFF = r"damaged, or takes more memory or time than any export \(1,200 MB, 5 minutes\): reading it broke off\."


def parquet(path: Path) -> Path:
    pl.DataFrame([EA] * ROWS).write_parquet(path, compression="uncompressed", statistics=False)
    return path


def cells_of_a_megabyte(path: Path) -> None:
    """A few kB, that unpack to two gigabytes."""
    frame = pl.DataFrame([EA] * 2000).with_columns(pl.lit("x" * 2**20).alias("MeterCategory"))
    frame.write_parquet(path, compression="zstd", statistics=False)
    assert path.stat().st_size < 50_000


def a_count_below_zero(path: Path) -> None:
    """Of the values of a page: the parser asks for 2^61 bytes, and ends the process."""
    of_nine_values = b"\x2c\x15\x12\x15"
    content = parquet(path).read_bytes()
    assert of_nine_values in content
    path.write_bytes(content.replace(of_nine_values, b"\x2c\x15\x13\x15"))


@pytest.mark.parametrize("make", [cells_of_a_megabyte, a_count_below_zero])
def test_a_file_that_breaks_its_reader_is_one_failed_import_and_the_next_is_read(tmp_path, make):
    make(tmp_path / "bad.parquet")
    with pytest.raises(NeverError, match=BROKE_OFF):
        read(tmp_path / "bad.parquet")
    assert total(read(parquet(tmp_path / "good.parquet"))) == ROWS * 3 / 2


def test_a_file_that_takes_for_ever_is_given_up(tmp_path):
    reading = ReadingProcess(longest_seconds=0)
    try:
        with pytest.raises(NeverError, match="reading it broke off"):
            reading.read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)
    finally:
        reading.close()


def test_the_process_ends_when_it_has_nothing_to_do_and_begins_anew(tmp_path):
    path, reading = parquet(tmp_path / "good.parquet"), ReadingProcess(idle=0.01)
    try:
        for _ in range(2):
            _, summing = reading.read(path, CostMetric.ACTUAL, TODAY)
            assert summing.count == ROWS
            time.sleep(0.3)
    finally:
        reading.close()
    assert reading.process_id is None


def test_that_no_process_can_be_started_is_not_the_files_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LaterError, match="did not start"):
        ReadingProcess().read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)


def test_a_fault_of_ours_in_there_is_raised_here(tmp_path):
    reading = ReadingProcess()
    try:
        with pytest.raises(TypeError):
            reading.read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, None)
    finally:
        reading.close()
