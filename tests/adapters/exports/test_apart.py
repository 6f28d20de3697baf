"""Parquet that breaks whoever reads it breaks a process of its own, and one import."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from shared.adapters.exports.apart import LONGEST_SECONDS, ReadingProcess, seconds_for
from shared.domain.charges import CostMetric
from shared.ports.errors import LaterError, NeverError
from tests.adapters.exports.files import EA, TODAY, read, total

ROWS = 9
BROKE_OFF = (
    r"damaged, or takes more memory or time than any export of its size \(1,200 MB, 60 seconds\): "
    r"reading it broke off\. One with a great many charges has to come in several files \(Azure: `partitionData`\)\.$"
)


def parquet(path: Path) -> Path:
    pl.DataFrame([EA] * ROWS).write_parquet(path, compression="uncompressed", statistics=False)
    return path


def a_count_below_zero(path: Path) -> None:
    """Of the values of a page: the parser asks for 2^61 bytes, and ends the process."""
    of_nine_values = b"\x2c\x15\x12\x15"
    content = parquet(path).read_bytes()
    assert of_nine_values in content
    path.write_bytes(content.replace(of_nine_values, b"\x2c\x15\x13\x15"))


def test_a_file_that_breaks_its_reader_is_one_failed_import_and_the_next_is_read(tmp_path):
    a_count_below_zero(tmp_path / "bad.parquet")
    with pytest.raises(NeverError, match=BROKE_OFF):
        read(tmp_path / "bad.parquet")
    assert total(read(parquet(tmp_path / "good.parquet"))) == ROWS * 3 / 2


def test_a_file_that_unpacks_to_more_than_the_memory_is_refused_and_the_next_is_read(tmp_path):
    long = "x" * 2**20
    pl.DataFrame([{**EA, "MeterCategory": f"{number}{long}"} for number in range(300)]).write_parquet(
        tmp_path / "bomb.parquet", compression="zstd", statistics=False
    )
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000
    reading = ReadingProcess(most_memory_mb=400)
    try:
        with pytest.raises(NeverError, match=r"takes more memory or time than any export of its size \(400 MB"):
            reading.read(tmp_path / "bomb.parquet", CostMetric.ACTUAL, TODAY)
        _, summing = reading.read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)
        assert summing.count == ROWS
    finally:
        reading.close()


def test_a_file_that_takes_for_ever_is_given_up(tmp_path):
    reading = ReadingProcess(longest_seconds=0)
    try:
        with pytest.raises(NeverError, match="reading it broke off"):
            reading.read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)
    finally:
        reading.close()


def test_a_file_may_take_the_longer_the_larger_it_is():
    """Others wait for one that hangs."""
    assert [seconds_for(size) for size in (0, 500_000, 30_000_000)] == [60, 60.5, 90]
    assert seconds_for(1_000_000_000) > LONGEST_SECONDS


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


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_was_ended_while_it_had_nothing_to_do_breaks_no_file(tmp_path, by):
    """As the system does where memory gets scarce."""
    path, reading = parquet(tmp_path / "good.parquet"), ReadingProcess()
    try:
        reading.read(path, CostMetric.ACTUAL, TODAY)
        os.kill(reading.process_id, by)
        _, summing = reading.read(path, CostMetric.ACTUAL, TODAY)
        assert summing.count == ROWS
    finally:
        reading.close()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_what_tells_the_app_to_end_does_not_end_it_while_it_reads(tmp_path, told):
    path, reading = parquet(tmp_path / "good.parquet"), ReadingProcess()
    try:
        reading.read(path, CostMetric.ACTUAL, TODAY)
        before = reading.process_id
        os.kill(before, told)
        _, summing = reading.read(path, CostMetric.ACTUAL, TODAY)
        assert (summing.count, reading.process_id) == (ROWS, before)
    finally:
        reading.close()


def test_a_file_that_breaks_a_process_that_was_kept_breaks_a_new_one_too_and_is_refused(tmp_path):
    a_count_below_zero(tmp_path / "bad.parquet")
    reading = ReadingProcess()
    try:
        reading.read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)
        with pytest.raises(NeverError, match=BROKE_OFF):
            reading.read(tmp_path / "bad.parquet", CostMetric.ACTUAL, TODAY)
    finally:
        reading.close()


def test_that_no_process_can_be_started_is_not_the_files_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(LaterError, match="did not start"):
        ReadingProcess().read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)


def test_that_the_machine_has_no_room_for_a_process_is_not_the_files_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path))
    with pytest.raises(LaterError, match="did not start: Permission denied"):
        ReadingProcess().read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, TODAY)


def test_a_fault_of_ours_in_there_is_raised_here(tmp_path):
    reading = ReadingProcess()
    try:
        with pytest.raises(TypeError):
            reading.read(parquet(tmp_path / "good.parquet"), CostMetric.ACTUAL, None)
    finally:
        reading.close()
