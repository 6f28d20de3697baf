"""Files of other kinds: what each is told, packed by gzip or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from shared.ports.errors import NeverError
from tests.adapters.exports.files import EA, csv_of, read, total

TEXT = csv_of([EA] * 20).encode()
FRAME = pl.DataFrame([EA] * 20)


def written(by: str) -> bytes:
    """As Polars writes it."""
    file = io.BytesIO()
    getattr(FRAME, by)(file)
    return file.getvalue()


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as into:
        for name in names:
            into.writestr(name, TEXT)
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as into:
        entry = tarfile.TarInfo("costs.csv")
        entry.size = len(TEXT)
        into.addfile(entry, io.BytesIO(TEXT))
    return file.getvalue()


WORKBOOK = "take the file that the provider wrote: a spreadsheet rounds ids and costs."
UNPACK = "unpack it; CSV in UTF-8 (plain or gzip) and Parquet are read."
READ = "CSV in UTF-8 (plain or gzip) and Parquet are read."
# Where nothing here writes a kind: how its specification says that it begins.
KINDS = {
    "UTF-16 with a BOM": (TEXT.decode().encode("utf-16"), "in UTF-16; save it as CSV in UTF-8."),
    "UTF-16": (TEXT.decode().encode("utf-16-le"), "in UTF-16; save it as CSV in UTF-8."),
    "UTF-16, the other way": (TEXT.decode().encode("utf-16-be"), "in UTF-16; save it as CSV in UTF-8."),
    "UTF-32": (TEXT.decode().encode("utf-32"), "in UTF-32; save it as CSV in UTF-8."),
    "zip": (archive("costs.csv"), f"a ZIP; {UNPACK}"),
    "zip of nothing": (archive(), f"a ZIP; {UNPACK}"),
    "xlsx": (archive("[Content_Types].xml", "xl/workbook.xml"), f"a workbook (xlsx); {WORKBOOK}"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), f"a workbook (xls); {WORKBOOK}"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(200)), f"packed as 7z; {UNPACK}"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(range(200)), f"packed as RAR; {UNPACK}"),
    "xz": (lzma.compress(TEXT), f"packed as xz; {UNPACK}"),
    "bzip2": (bz2.compress(TEXT), f"packed as bzip2; {UNPACK}"),
    "zstd": (b"\x28\xb5\x2f\xfd\x24" + bytes(range(200)), f"packed as Zstandard; {UNPACK}"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40" + bytes(range(200)), f"packed as LZ4; {UNPACK}"),
    "snappy": (b"\xff\x06\0\0sNaPpY\0" + bytes(range(200)), f"packed as Snappy; {UNPACK}"),
    "tar": (tar(), f"a tar archive; {UNPACK}"),
    "avro": (written("write_avro"), f"Avro; {READ}"),
    "orc": (b"ORC\n\x03\0\0" + bytes(range(200)), f"ORC; {READ}"),
    "arrow": (written("write_ipc"), f"Arrow (Feather); {READ}"),
    "parquet, encrypted": (b"PARE" + bytes(range(200)), "Parquet with an encrypted footer; the reader has no key."),
    "database": (b"SQLite format 3\0" + bytes(200), f"a database; {READ}"),
    "pdf": (b"%PDF-1.7\n" + TEXT, f"a PDF; {READ}"),
    "xml": (b'\xef\xbb\xbf<?xml version="1.0"?>\r\n<Costs/>', f"XML or a web page; {READ}"),
    "web page": (b"\r\n<!DOCTYPE html><html><table>", f"XML or a web page; {READ}"),
}


def said(path: Path, content: bytes) -> str:
    with pytest.raises(NeverError) as error:
        read(path, content)
    return error.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_told_what_it_is_and_what_would_be_right(tmp_path, kind):
    content, sentence = KINDS[kind]
    assert said(tmp_path / "part", content) == f"The file is {sentence}"
    assert said(tmp_path / "part.csv.gz", gzip.compress(content)) == f"The file, unpacked from its gzip, is {sentence}"


@pytest.mark.parametrize(
    ("content", "is_what"),
    [
        (gzip.compress(TEXT), "gzip again; it is read where it is packed once."),
        (written("write_parquet"), "Parquet, which packs itself and is read as it is."),
    ],
)
def test_what_is_read_by_itself_is_told_where_it_is_packed_once_more(tmp_path, content, is_what):
    assert total(read(tmp_path / "part", content)) == 30
    assert said(tmp_path / "part", gzip.compress(content)) == f"The file, unpacked from its gzip, is {is_what}"


@pytest.mark.parametrize("name", ["ORCHESTRATOR", "PK", "Obj", "7z", "Rar", "DUCK", "BZh9", "PARTNER", "%PDF", "ustar"])
def test_a_column_that_is_called_like_a_kind_is_a_column(tmp_path, name):
    assert total(read(tmp_path / "part", csv_of([{name: "x", **EA}]))) == Decimal("1.5")
