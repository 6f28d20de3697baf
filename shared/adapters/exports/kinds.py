"""Kinds of files that are no export, by how they begin: each is told what it is, and what would be right."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from shared.adapters.exports.csv_files import GZIP
from shared.ports.errors import NeverError

# So much of a file says what it is, packed by gzip, too.
START = 4096
PARQUET = b"PAR1"
READ = "CSV in UTF-8 (plain or gzip) and Parquet are read"
AS_UTF_8 = "save it as CSV in UTF-8"
THE_EXPORTS_OWN = "take the file that the provider wrote: a spreadsheet rounds ids and costs"
# Where two fit, the first counts.
KINDS = (
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", "in UTF-32", AS_UTF_8),
    (rb"\xff\xfe|\xfe\xff|(?:[\t\n\r -~]\0){4}|(?:\0[\t\n\r -~]){4}", "in UTF-16", AS_UTF_8),
    (rb"PK\x03\x04.{26,}?(?:\[Content_Types\]\.xml|_rels/|docProps/|xl/)", "a workbook (xlsx)", THE_EXPORTS_OWN),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook (xls)", THE_EXPORTS_OWN),
    (rb"PK(?:\x03\x04|\x05\x06)", "a ZIP", f"unpack it; {READ}"),
    (rb"7z\xbc\xaf\x27\x1c", "packed as 7z", f"unpack it; {READ}"),
    (rb"Rar!\x1a\x07", "packed as RAR", f"unpack it; {READ}"),
    (rb"\xfd7zXZ\0", "packed as xz", f"unpack it; {READ}"),
    (rb"BZh[1-9]1AY&SY", "packed as bzip2", f"unpack it; {READ}"),
    (rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", "packed as Zstandard", f"unpack it; {READ}"),
    (rb"\x04\x22\x4d\x18", "packed as LZ4", f"unpack it; {READ}"),
    (rb"\xff\x06\0\0sNaPpY", "packed as Snappy", f"unpack it; {READ}"),
    (rb".{257}ustar", "a tar archive", f"unpack it; {READ}"),
    (rb"Obj\x01", "Avro", READ),
    (rb"ORC(?=.*[\0-\x08])", "ORC", READ),
    (rb"ARROW1\0|FEA1", "Arrow (Feather)", READ),
    (rb"PARE", "Parquet with an encrypted footer", "the reader has no key"),
    (rb"SQLite format 3\0|.{8}DUCK", "a database", READ),
    (rb"%PDF-", "a PDF", READ),
    (rb"(?:\xef\xbb\xbf)?\s*<(?:[?!a-zA-Z])", "XML or a web page", READ),
)


def refuse_others(path: Path) -> None:
    """Raises NeverError for a file that is neither CSV nor Parquet, nor CSV in gzip, as far as its beginning says."""
    with path.open("rb") as file:
        start = file.read(START)
    _refuse(start, "The file is")
    if start.startswith(GZIP):
        _refuse_packed(start)


def _refuse_packed(start: bytes) -> None:
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(start, START)
    except zlib.error:
        # Whoever reads all of it says so.
        return
    what = "The file, unpacked from its gzip, is"
    if unpacked.startswith(GZIP):
        raise NeverError(f"{what} gzip again; it is read where it is packed once.")
    if unpacked.startswith(PARQUET):
        raise NeverError(f"{what} Parquet, which packs itself and is read as it is.")
    _refuse(unpacked, what)


def _refuse(start: bytes, what_is: str) -> None:
    for pattern, kind, right in KINDS:
        if re.match(pattern, start, re.DOTALL):
            raise NeverError(f"{what_is} {kind}; {right}.")
